//! `RUN`: a command in a container, and what it sees besides the image.
//!
//! ```text
//! wanted ──▶ cache? ──yes──▶ next image
//!              └─no──▶ mounts: files copied out, caches taken, secrets fetched
//!                      container ──▶ command ──▶ empty mount points removed ──▶ commit
//! ```

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use oriel_hcs::{CommandLine as HostCommand, DLL_NOT_FOUND};
use oriel_image::{ImageId, ImageStore, SandboxFiles};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{
    Execution,
    cache::Record,
    reading,
    secret::{self, Secret},
};
use crate::{
    BuildError, BuildEvent, ContextError, RunContainer, RunMount, RunMountSource, RunOutput,
    RunStep, StepId, TransferError,
    caches::Held,
    copy::{self, Chosen, Exporter, Keep},
    parse::{MountKind, Run, Sharing},
    paths,
    plan::{Base, Step},
    script::{self, Script},
    state::State,
};

/// Pieces of output under way from a container: small, so that a slow client slows the program.
const OUTPUT_PIECES: usize = 16;

/// A mount that a step wants.
struct Wanted {
    what: What,
    target: String,
    read_only: bool,
}

/// What a mount shows.
enum What {
    /// Files.
    Files(Taken),
    /// A cache, with the files that a new one begins with.
    Cache { id: String, sharing: Sharing, seed: Option<Taken> },
    /// Memory.
    Memory { size_bytes: Option<u64> },
    /// A secret of the client.
    Secret(Secret),
}

/// Files that a mount takes.
struct Taken {
    chosen: Chosen,
    /// The image they are in; `None` for the context.
    image: Option<ImageId>,
    /// What they are called in the history.
    label: String,
}

/// Mounts, ready for a container, with what has to live as long as that.
#[derive(Default)]
pub(super) struct Mounts {
    list: Vec<RunMount>,
    _folders: Vec<TempDir>,
    _caches: Vec<Held>,
}

impl Execution<'_> {
    pub(super) async fn run_step(
        &self,
        state: &mut State,
        run: &Run,
        step: &Step,
    ) -> Result<(), BuildError> {
        let script = script::script(state, run).map_err(|problem| step.statement.error(problem))?;
        let wanted = self.wanted(state, run, step).await?;
        let arguments = state.visible_arguments();
        let network = if run.no_network { "--network=none " } else { "" };
        let command = [network.to_owned(), mounts_text(&wanted), script.text.clone()].concat();
        let created_by = match arguments.as_slice() {
            [] => command.clone(),
            list => format!("|{} {} {command}", list.len(), list.join(" ")),
        };
        let record = Record { created_by };
        if self.cached(state, &record, step.id).await? {
            return Ok(());
        }
        let mounts = self.mounts(wanted, &script, step).await?;
        let wish = self.host_step(state, run, script, (arguments, mounts.list.clone()));
        let container = state.ahead.container(self.site.host, (&wish, run)).await?;
        let what = (step.id, command.as_str(), &mounts);
        let result = self.run_container(state, record, &container, what).await;
        if !self.removes(&result) {
            return result;
        }
        let told = match self.site.host.remove(&container.id).await {
            Ok(()) => {
                let RunContainer { id: container, .. } = container;
                self.report.send(BuildEvent::Removed { step: step.id, container }).await
            }
            Err(error) => Err(error.into()),
        };
        result.and(told)
    }

    /// Whether a container goes. One whose command failed stays, for whoever asks why, unless the
    /// client said that it goes in any case; one that was stopped says nothing.
    fn removes(&self, result: &Result<(), BuildError>) -> bool {
        let asked = match result {
            Ok(()) => self.request.remove,
            Err(BuildError::Command { .. }) => false,
            Err(_) => true,
        };
        asked || self.request.force_remove
    }

    fn host_step(
        &self,
        state: &State,
        run: &Run,
        script: Script,
        (arguments, mounts): (Vec<String>, Vec<RunMount>),
    ) -> RunStep {
        let mut words = script.line.words;
        let mut options = self.request.run.clone();
        if run.no_network {
            options.network_mode = "none".to_owned();
        }
        RunStep {
            image: state.image.to_string(),
            command: match script.line.escaped {
                true => HostCommand::Verbatim(words.pop().unwrap_or_default()),
                false => HostCommand::Arguments(words),
            },
            environment: [state.config.env.clone(), arguments, state.proxies(&self.request)]
                .concat(),
            working_directory: state.config.working_dir.clone(),
            user: state.config.user.clone(),
            labels: state.config.labels.clone().into_iter().collect(),
            mounts,
            options,
        }
    }

    async fn run_container(
        &self,
        state: &mut State,
        record: Record,
        container: &RunContainer,
        (step, command, mounts): (StepId, &str, &Mounts),
    ) -> Result<(), BuildError> {
        let targets: Vec<String> = mounts.list.iter().map(|mount| mount.target.clone()).collect();
        let image = state.image;
        let missing = match targets.is_empty() {
            true => Vec::new(),
            false => {
                let read = move |files: &SandboxFiles| missing(files, &targets);
                self.blocking(move |images| reading(images, &image, read)).await?
            }
        };
        let running = BuildEvent::Running { step, container: container.id.clone() };
        self.report.send(running).await?;
        let code = self.output_of(&container.id, step).await?;
        if code != 0 {
            let missing = match code {
                DLL_NOT_FOUND => self.site.host.missing_libraries(&container.id).await,
                _ => Vec::new(),
            };
            return Err(BuildError::Command { command: command.to_owned(), code, missing });
        }
        let commit = self.commit(state, record, Some(container.sandbox.clone()));
        let (sandbox, footing) = (container.sandbox.clone(), Arc::clone(&self.footing));
        let finish = move |images: &ImageStore| {
            if !missing.is_empty() {
                let sandbox = images.sandbox(&sandbox)?;
                remove_empty(&images.sandbox_files(&sandbox), &missing)?;
            }
            Ok(footing.commit(&commit)?)
        };
        state.image = self.blocking(finish).await?;
        Ok(())
    }

    /// Runs a container to its end, passing on what it prints.
    async fn output_of(&self, container: &str, step: StepId) -> Result<u32, BuildError> {
        let (sender, mut pieces) = mpsc::channel::<RunOutput>(OUTPUT_PIECES);
        let running = self.site.host.run(container, sender);
        tokio::pin!(running);
        let code = loop {
            let output = tokio::select! {
                biased;
                () = self.report.closed() => return Err(BuildError::Cancelled),
                Some(output) = pieces.recv() => output,
                code = &mut running => break code?,
            };
            self.report.send(BuildEvent::Output { step, output }).await?;
        };
        while let Ok(output) = pieces.try_recv() {
            self.report.send(BuildEvent::Output { step, output }).await?;
        }
        Ok(code)
    }

    /// Finds what the mounts of a step are to show.
    async fn wanted(
        &self,
        state: &State,
        run: &Run,
        step: &Step,
    ) -> Result<Vec<Wanted>, BuildError> {
        let mut all = Vec::new();
        for (flag, from) in run.mounts.iter().zip(&step.mounts) {
            let text = |word: &Option<String>| match word {
                Some(word) => self.expand(state, &step.statement, word).map(Some),
                None => Ok(None),
            };
            let (target, source, id) = (text(&flag.target)?, text(&flag.source)?, text(&flag.id)?);
            let mut target = target.unwrap_or_default();
            let (mut source, mut id) = (source, id);
            if flag.kind == MountKind::Secret {
                let (name, place) = secret::named(id.take(), source.take(), &target);
                id = Some(name);
                target = place.unwrap_or(target);
            }
            let at = paths::destination(&state.config.working_dir, &target);
            let at = at.map_err(|problem| failed(problem.into()))?.path;
            let what = match flag.kind {
                MountKind::Bind => What::Files(self.files(source, from.as_ref(), step.id).await?),
                MountKind::Cache => What::Cache {
                    id: id.unwrap_or_else(|| at.clone()),
                    sharing: flag.sharing,
                    seed: match (from, &source) {
                        (None, None) => None,
                        _ => Some(self.files(source, from.as_ref(), step.id).await?),
                    },
                },
                MountKind::Tmpfs => What::Memory { size_bytes: flag.size_bytes },
                MountKind::Secret => {
                    What::Secret(Secret { id: id.unwrap_or_default(), required: flag.required })
                }
                MountKind::Ssh => {
                    let name = id.unwrap_or_else(|| "default".to_owned());
                    self.no_secret(name, flag.required, step).await?;
                    continue;
                }
            };
            let is_given = matches!(flag.kind, MountKind::Bind | MountKind::Secret);
            let read_only = flag.read_only.unwrap_or(is_given);
            all.push(Wanted { what, target: at, read_only });
        }
        Ok(all)
    }

    /// The file or directory that a mount takes.
    async fn files(
        &self,
        source: Option<String>,
        from: Option<&Base>,
        step: StepId,
    ) -> Result<Taken, BuildError> {
        let source = source.unwrap_or_else(|| ".".to_owned());
        let image = match from {
            Some(base) => Some(self.begin(base, step).await?.image),
            None => None,
        };
        let (context, cancelled) = (Arc::clone(&self.context), self.report.probe());
        let find = move |images: &ImageStore| {
            let sources = [source];
            let take = |files: Option<&SandboxFiles>| {
                let found = match files {
                    None => copy::from_context(&context, &sources, Keep::Name).map_err(failed)?,
                    Some(files) => copy::from_image(files, &sources, Keep::Name)?,
                };
                let label = copy::label(&found, files, &cancelled)?;
                let [chosen] = <[Chosen; 1]>::try_from(found)
                    .map_err(|_| failed(TransferError::NothingMatches))?;
                Ok(Taken { chosen, image, label })
            };
            match image {
                None => take(None),
                Some(image) => reading(images, &image, |files| take(Some(files))),
            }
        };
        self.blocking(find).await
    }

    /// Makes what the container is to see.
    async fn mounts(
        &self,
        wanted: Vec<Wanted>,
        script: &Script,
        step: &Step,
    ) -> Result<Mounts, BuildError> {
        let mut mounts = Mounts::default();
        if !script.files.is_empty() {
            let folder = self.folder()?;
            for (name, text) in &script.files {
                fs_err::write(folder.path().join(name), text).map_err(disk)?;
            }
            mounts.show(folder.path().to_owned(), script::DIRECTORY.to_owned(), true);
            mounts._folders.push(folder);
        }
        let mut caches = self.caches(&wanted).await?;
        for Wanted { what, target, read_only } in wanted {
            match what {
                What::Memory { size_bytes } => {
                    let source = RunMountSource::Memory { size_bytes };
                    mounts.list.push(RunMount { source, target, read_only });
                }
                What::Files(taken) => {
                    let folder = self.folder()?;
                    let place = folder.path().join("files");
                    self.export(taken, place.clone()).await?;
                    mounts.show(place, target, read_only);
                    mounts._folders.push(folder);
                }
                What::Secret(secret) => {
                    self.show_secret(secret, target, (step, &mut mounts)).await?;
                }
                What::Cache { id, seed, .. } => {
                    let held = caches.get_mut(&id).ok_or(BuildError::Lost)?;
                    let is_new = std::mem::take(&mut held.is_new);
                    let files = held.files.clone();
                    if let Some(seed) = seed.filter(|_| is_new) {
                        self.export(seed, files.clone()).await?;
                    }
                    mounts.show(files, target, read_only);
                }
            }
        }
        mounts._caches = caches.into_values().collect();
        Ok(mounts)
    }

    /// Takes the caches of a step, each once and in the order of their ids: steps that run side by
    /// side and name them in other orders would wait for each other without end.
    async fn caches(&self, wanted: &[Wanted]) -> Result<BTreeMap<String, Held>, BuildError> {
        let mut sharings = BTreeMap::new();
        for Wanted { what, .. } in wanted {
            if let What::Cache { id, sharing, .. } = what {
                let strictest = sharings.entry(id).or_insert(*sharing);
                *strictest = (*strictest).max(*sharing);
            }
        }
        let mut caches = BTreeMap::new();
        for (id, sharing) in sharings {
            let held = tokio::select! {
                held = self.site.caches.take(id, sharing) => held?,
                () = self.report.closed() => return Err(BuildError::Cancelled),
            };
            caches.insert(id.clone(), held);
        }
        Ok(caches)
    }

    fn folder(&self) -> Result<TempDir, BuildError> {
        let made = tempfile::Builder::new().prefix("run-").tempdir_in(self.context.scratch());
        made.map_err(disk)
    }

    async fn export(
        &self,
        Taken { chosen, image, .. }: Taken,
        to: PathBuf,
    ) -> Result<(), BuildError> {
        let cancelled = self.report.probe();
        self.blocking(move |images| {
            let write = |source: Option<&SandboxFiles>| {
                Exporter { source, cancelled: &cancelled }.write(&chosen, &to)
            };
            match image {
                None => write(None),
                Some(image) => reading(images, &image, |files| write(Some(files))),
            }
        })
        .await
    }
}

impl Mounts {
    /// Keeps a directory as long as the container.
    pub(super) fn keep(&mut self, folder: TempDir) {
        self._folders.push(folder);
    }

    pub(super) fn show(&mut self, source: PathBuf, target: String, read_only: bool) {
        self.list.push(RunMount { source: RunMountSource::Host(source), target, read_only });
    }
}

/// What the mounts of a step are called in the history: what is in them decides, so that the cache
/// has the step only when they are the same.
fn mounts_text(wanted: &[Wanted]) -> String {
    let texts = wanted.iter().map(|Wanted { what, target, read_only }| {
        let what = match what {
            What::Files(taken) => taken.label.clone(),
            What::Cache { id, .. } => format!("cache:{id}"),
            What::Memory { .. } => "tmpfs".to_owned(),
            What::Secret(Secret { id, .. }) => format!("secret:{id}"),
        };
        let mode = if *read_only { ":ro" } else { "" };
        format!("--mount={what}:{target}{mode} ")
    });
    texts.collect()
}

/// The first directory on the way to each target that is not there.
fn missing(files: &SandboxFiles, targets: &[String]) -> Result<Vec<Vec<String>>, BuildError> {
    let mut all = Vec::new();
    for target in targets {
        let mut path = target.clone();
        let mut gone = Vec::new();
        while path.contains('\\') && !path.ends_with('\\') && !files.exists(&path)? {
            gone.push(path.clone());
            path = path.rsplit_once('\\').map(|(parent, _)| parent.to_owned()).unwrap_or_default();
        }
        all.push(gone);
    }
    Ok(all)
}

/// Removes mount points that were made for a step, innermost first, as far as they are empty: what
/// a mount showed is no part of the image, and neither is its place.
fn remove_empty(files: &SandboxFiles, made: &[Vec<String>]) -> Result<(), BuildError> {
    for path in made.iter().flatten() {
        let empty = match files.stat(path)? {
            None => continue,
            Some(stat) => match stat.kind {
                oriel_image::FileKind::Directory => files.list(path)?.is_empty(),
                _ => stat.size == 0,
            },
        };
        if empty {
            files.remove(path)?;
        }
    }
    Ok(())
}

fn failed(problem: TransferError) -> BuildError {
    BuildError::Transfer { keyword: "RUN --mount", problem }
}

pub(super) fn disk(error: std::io::Error) -> BuildError {
    BuildError::Context(ContextError::from(error))
}
