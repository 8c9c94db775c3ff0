//! Runs a plan: one image per step, each from the cache or made.
//!
//! ```text
//! step ──▶ new configuration + history text ──▶ cache? ──yes──▶ next image
//!                                                 └─no──▶ RUN: container, commit   ──▶ next image
//!                                                         COPY, WORKDIR: sandbox, commit
//!                                                         others: commit of the configuration
//! ```
//!
//! A step owns its sandbox or container and removes it before it ends, however it ends.

mod run;
mod transfer;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use oriel_image::{
    Commit, Digest, Image, ImageError, ImageId, ImageStore, Reference, RunConfig, SandboxFiles,
    SandboxSettings,
};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;

use crate::{
    BuildError, BuildEvent, BuildRequest, BuildSite, Built, DockerfileError, HostError, Problem,
    StepId, StepView,
    context::Context,
    event::Report,
    parse::{self, Instruction, Statement},
    paths,
    plan::{self, Base, Plan, Stage, Step},
    state::State,
};

/// Lines of a pull under way to the client.
const PULL_LINES: usize = 16;

/// A build that runs.
pub(crate) struct Execution<'a> {
    site: BuildSite<'a>,
    report: Report,
    request: BuildRequest,
    context: Arc<Context>,
    escape: char,
    globals: BTreeMap<String, String>,
    views: Vec<StepView>,
    /// The id of the next trigger.
    next_id: AtomicUsize,
    /// The stages that are done, by their place in the Dockerfile.
    done: Mutex<BTreeMap<usize, Finished>>,
}

/// What others take from a stage that is done.
#[derive(Clone)]
struct Finished {
    image: ImageId,
    config: RunConfig,
    author: String,
}

/// What a step leaves in the history.
struct Record {
    created_by: String,
}

impl<'a> Execution<'a> {
    pub(crate) fn new(
        site: BuildSite<'a>,
        report: Report,
        (request, context): (BuildRequest, Context),
        plan: &Plan,
    ) -> Self {
        let views = plan.views();
        Self {
            site,
            report,
            request,
            context: Arc::new(context),
            escape: plan.escape,
            globals: plan.arguments.clone(),
            next_id: AtomicUsize::new(views.len()),
            views,
            done: Mutex::default(),
        }
    }

    /// Runs the plan to its end.
    pub(crate) async fn run(&self, plan: &Plan) -> Result<ImageId, BuildError> {
        self.report.send(BuildEvent::Planned(self.views.clone())).await?;
        for warning in &plan.warnings {
            self.report.warn(warning.clone()).await?;
        }
        if !self.request.cache_from.is_empty() {
            let text = "steps are looked for among those that were built here";
            self.report.warn(format!("[Warning] --cache-from has no effect: {text}")).await?;
        }
        for id in (0..plan.globals.len()).map(StepId) {
            self.report.started(id).await?;
            self.report.done(id, None).await?;
        }
        let mut last = None;
        for stage in &plan.stages {
            last = Some(self.stage(stage).await?);
        }
        if !plan.unused.is_empty() {
            let names = plan.unused.join(" ");
            let text = format!("[Warning] One or more build-args [{names}] were not consumed");
            self.report.warn(text).await?;
        }
        last.ok_or_else(|| DockerfileError::whole(Problem::NoStage).into())
    }

    /// Gives the result its names.
    pub(crate) async fn tag(
        &self,
        image: ImageId,
        references: &[Reference],
    ) -> Result<Built, BuildError> {
        let mut tags = Vec::new();
        for reference in references {
            tags.push(reference.familiar());
            let reference = reference.clone();
            self.blocking(move |images| Ok(images.tag(&image, &reference)?)).await?;
        }
        Ok(Built { image, tags })
    }

    async fn stage(&self, stage: &Stage) -> Result<ImageId, BuildError> {
        let begin = self.begin(&stage.base, stage.id);
        let mut state = self.told(stage.id, begin).await?;
        let triggers = state.config.on_build.take().unwrap_or_default();
        state = self.triggers(state, &triggers, stage).await?;
        for step in &stage.steps {
            state = self.told(step.id, self.execute(state, step)).await?;
        }
        let State { image, config, author, .. } = state;
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.insert(stage.index, Finished { image, config, author });
        Ok(image)
    }

    /// Tells how a step begins and how it ends.
    async fn told(
        &self,
        step: StepId,
        work: impl Future<Output = Result<State, BuildError>>,
    ) -> Result<State, BuildError> {
        self.report.started(step).await?;
        let result = work.await;
        match &result {
            Ok(state) => self.report.done(step, Some(state.image)).await?,
            Err(error) => self.report.failed(step, error).await,
        }
        result
    }

    /// Runs what the base image's `ONBUILD` instructions left.
    async fn triggers(
        &self,
        mut state: State,
        triggers: &[String],
        stage: &Stage,
    ) -> Result<State, BuildError> {
        let mut steps = Vec::new();
        let mut views = Vec::new();
        for text in triggers {
            let statement = parse::trigger(text, self.escape, &stage.from)?;
            // A trigger knows no stages, only images.
            let mut step = Step::new(statement, &[])?;
            step.id = StepId(self.next_id.fetch_add(1, Ordering::Relaxed));
            let before = views.last().or_else(|| self.views.get(stage.id.0));
            let before: Vec<&StepView> = before.into_iter().collect();
            let view = plan::view(step.id, &step.statement, Some(stage), &before);
            views.push(StepView { text: text.clone(), ..view });
            steps.push(step);
        }
        if !views.is_empty() {
            let event = BuildEvent::Triggered { step: stage.id, triggers: views };
            self.report.send(event).await?;
        }
        for step in &steps {
            state = self.told(step.id, self.execute(state, step)).await?;
        }
        Ok(state)
    }

    async fn begin(&self, base: &Base, step: StepId) -> Result<State, BuildError> {
        let Finished { image, config, author } = match base {
            Base::Stage(index) => self.finished(*index)?,
            Base::Image(name) => {
                let Image { id, config, .. } = self.base(name, step).await?;
                Finished { image: id, config: config.config, author: config.author }
            }
        };
        let busted = self.request.no_cache;
        Ok(State { author, busted, ..State::new(image, config) })
    }

    fn finished(&self, stage: usize) -> Result<Finished, BuildError> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.get(&stage).cloned().ok_or(BuildError::Lost)
    }

    /// Finds a base image, here or in its registry.
    async fn base(&self, name: &str, step: StepId) -> Result<Image, BuildError> {
        let here = self.resolve(name).await?;
        let image = match here.filter(|_| !self.request.pull) {
            Some(image) => image,
            None => self.pull(name, step).await?,
        };
        if !image.config.os.eq_ignore_ascii_case("windows") {
            return Err(BuildError::NotWindows { name: name.to_owned(), os: image.config.os });
        }
        Ok(image)
    }

    async fn pull(&self, name: &str, step: StepId) -> Result<Image, BuildError> {
        let reference = Reference::parse(name)?.or_latest();
        let (sender, mut lines) = mpsc::channel(PULL_LINES);
        let pass_on = async {
            while let Some(line) = lines.recv().await {
                self.report.send(BuildEvent::Progress { step, line }).await?;
            }
            Ok::<_, BuildError>(())
        };
        let pulling = async { tokio::join!(self.site.bases.pull(&reference, sender), pass_on) };
        let (pulled, passed) = tokio::select! {
            ended = pulling => ended,
            () = self.report.closed() => return Err(BuildError::Cancelled),
        };
        pulled.map_err(|HostError { class, message }| BuildError::NoBase { class, message })?;
        passed?;
        let found = self.resolve(name).await?;
        found.ok_or_else(|| ImageError::NoSuchImage { name: name.to_owned() }.into())
    }

    async fn resolve(&self, name: &str) -> Result<Option<Image>, BuildError> {
        let name = name.to_owned();
        self.blocking(move |images| match images.resolve(&name) {
            Ok(image) => Ok(Some(image)),
            Err(ImageError::NoSuchImage { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        })
        .await
    }

    async fn execute(&self, mut state: State, step: &Step) -> Result<State, BuildError> {
        // A future this size needs a place of its own.
        Box::pin(self.change(&mut state, step)).await?;
        Ok(state)
    }

    async fn change(&self, state: &mut State, step: &Step) -> Result<(), BuildError> {
        let statement = &step.statement;
        match &statement.instruction {
            Instruction::Run(run) => self.run_step(state, run, step).await,
            Instruction::Transfer(transfer) => self.transfer(state, transfer, step).await,
            Instruction::Workdir(path) => {
                let path = self.expand(state, statement, path)?;
                let path = paths::workdir(&state.config.working_dir, &path)?;
                self.workdir(state, path, step.id).await
            }
            _ => {
                let (comment, warning) = match &statement.instruction {
                    Instruction::Arg(list) => (self.declare(state, statement, list)?, None),
                    _ => state.configure(statement, self.escape)?,
                };
                if let Some(warning) = warning {
                    self.report.note(step.id, warning).await?;
                }
                let created_by = format!("{} #(nop)  {comment}", state.shell());
                self.commit_metadata(state, Record { created_by }, step.id).await
            }
        }
    }

    fn expand(
        &self,
        state: &State,
        statement: &Statement,
        word: &str,
    ) -> Result<String, BuildError> {
        Ok(state.expand_in(statement, self.escape, word)?)
    }

    fn declare(
        &self,
        state: &mut State,
        statement: &Statement,
        list: &[(String, Option<String>)],
    ) -> Result<String, BuildError> {
        let mut text = "ARG".to_owned();
        for (name, default) in list {
            let default = match default {
                Some(word) => Some(self.expand(state, statement, word)?),
                None => None,
            };
            text.push_str(&format!(" {name}"));
            text.extend(default.iter().flat_map(|value| ["=", value]));
            state.declare(name, default, &self.request, &self.globals);
        }
        Ok(text)
    }

    /// Looks for an image that this step made before: same parent, same history text, same
    /// configuration.
    async fn cached(
        &self,
        state: &mut State,
        record: &Record,
        step: StepId,
    ) -> Result<bool, BuildError> {
        if state.busted {
            return Ok(false);
        }
        let (parent, config) = (state.image, state.config.clone());
        let (author, created_by) = (state.author.clone(), record.created_by.clone());
        let found = self
            .blocking(move |images| {
                let same = |image: &Image| {
                    let last = image.config.history.last();
                    image.parent == Some(parent)
                        && image.config.config == config
                        && image.config.author == author
                        && last.is_some_and(|history| history.created_by == created_by)
                };
                Ok(images.list()?.into_iter().find(same).map(|image| image.id))
            })
            .await?;
        match found {
            Some(image) => {
                state.image = image;
                self.report.send(BuildEvent::Cached { step }).await?;
                Ok(true)
            }
            None => {
                state.busted = true;
                Ok(false)
            }
        }
    }

    fn commit(&self, state: &State, record: Record, sandbox: Option<String>) -> Commit {
        Commit {
            sandbox,
            registry: None,
            registry_change: None,
            parent: state.image,
            config: state.config.clone(),
            created_by: record.created_by,
            comment: String::new(),
            author: state.author.clone(),
            created: self.site.host.now(),
        }
    }

    async fn commit_metadata(
        &self,
        state: &mut State,
        record: Record,
        step: StepId,
    ) -> Result<(), BuildError> {
        if self.cached(state, &record, step).await? {
            return Ok(());
        }
        let commit = self.commit(state, record, None);
        state.image = self.blocking(move |images| Ok(images.commit(&commit)?)).await?;
        Ok(())
    }

    async fn workdir(
        &self,
        state: &mut State,
        path: String,
        step: StepId,
    ) -> Result<(), BuildError> {
        state.config.working_dir.clone_from(&path);
        let created_by = format!("{} #(nop) WORKDIR {path}", state.shell());
        let record = Record { created_by };
        if self.cached(state, &record, step).await? {
            return Ok(());
        }
        let commit = self.commit(state, record, None);
        state.image = self
            .blocking(move |images| {
                in_sandbox(images, commit, |files| Ok(files.create_dir_all(&path)?))
            })
            .await?;
        Ok(())
    }

    /// The one place where the builder leaves the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ImageStore) -> Result<T, BuildError> + Send + 'static,
    ) -> Result<T, BuildError> {
        if (self.report.probe())() {
            return Err(BuildError::Cancelled);
        }
        let images = self.site.images.clone();
        let result = tokio::task::spawn_blocking(move || work(&images)).await;
        result.map_err(|_| BuildError::Lost)?
    }
}

/// Makes a sandbox on the commit's parent, changes it, commits it, and removes it in any case.
fn in_sandbox(
    images: &ImageStore,
    mut commit: Commit,
    change: impl FnOnce(&SandboxFiles) -> Result<(), BuildError>,
) -> Result<ImageId, BuildError> {
    let id = random_id()?;
    let settings =
        SandboxSettings { account: commit.config.user.clone(), ..SandboxSettings::default() };
    let sandbox = images.create_sandbox(&id, &commit.parent, &settings)?;
    let result = change(&images.sandbox_files(&sandbox)).and_then(|()| {
        commit.sandbox = Some(id.clone());
        Ok(images.commit(&commit)?)
    });
    let removed = images.remove_sandbox(&id);
    let image = result?;
    removed?;
    Ok(image)
}

/// Makes a sandbox on an image to read its files, and removes it in any case.
fn reading<T>(
    images: &ImageStore,
    image: &ImageId,
    read: impl FnOnce(&SandboxFiles) -> Result<T, BuildError>,
) -> Result<T, BuildError> {
    let id = random_id()?;
    let sandbox = images.create_sandbox(&id, image, &SandboxSettings::default())?;
    let result = read(&images.sandbox_files(&sandbox));
    let removed = images.remove_sandbox(&id);
    let value = result?;
    removed?;
    Ok(value)
}

/// A name for a sandbox that no container has.
fn random_id() -> Result<String, BuildError> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| BuildError::Lost)?;
    Ok(Digest::of(&bytes).hex())
}

#[cfg(test)]
mod tests;
