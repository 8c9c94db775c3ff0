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

mod ahead;
mod cache;
mod run;
mod transfer;

pub(crate) use ahead::Ahead;

use std::collections::BTreeMap;
use std::sync::Arc;

use oriel_image::{
    Commit, Digest, Image, ImageError, ImageId, ImageStore, Reference, RunConfig, SandboxFiles,
    SandboxSettings,
};
use ring::rand::{SecureRandom, SystemRandom};

use crate::{
    BaseSource, BuildCaches, BuildError, BuildHost, BuildRequest, Built, DockerfileError,
    HostError, Problem,
    context::Context,
    parse::{self, Instruction, Statement},
    paths,
    plan::{Base, Plan, Stage, Step},
    report::Report,
    state::State,
};
use cache::Record;

/// A build that runs.
pub(crate) struct Execution<'a> {
    pub(crate) images: ImageStore,
    pub(crate) host: &'a dyn BuildHost,
    pub(crate) bases: &'a dyn BaseSource,
    pub(crate) caches: &'a BuildCaches,
    pub(crate) report: Report,
    pub(crate) request: BuildRequest,
    pub(crate) context: Arc<Context>,
    pub(crate) tags: Vec<Reference>,
    pub(crate) escape: char,
    pub(crate) globals: BTreeMap<String, String>,
    pub(crate) done: BTreeMap<usize, (ImageId, RunConfig, String)>,
    pub(crate) step: usize,
    pub(crate) steps: usize,
}

impl Execution<'_> {
    /// Runs the plan to its end.
    pub(crate) async fn run(mut self, plan: Plan) -> Result<Built, BuildError> {
        let result = self.all(plan).await;
        if result.is_err() {
            self.report.give_up_quiet().await;
        }
        result
    }

    async fn all(&mut self, plan: Plan) -> Result<Built, BuildError> {
        for warning in &plan.warnings {
            self.report.stream(&format!("{warning}\n")).await?;
        }
        if !self.request.cache_from.is_empty() {
            let text = "steps are looked for among those that were built here";
            self.report.stream(&format!("[Warning] --cache-from has no effect: {text}\n")).await?;
        }
        for statement in &plan.globals {
            self.announce(&statement.text).await?;
        }
        let mut last = None;
        for stage in &plan.stages {
            last = Some(self.stage(stage).await?);
        }
        if !plan.unused.is_empty() {
            let names = plan.unused.join(" ");
            let text = format!("[Warning] One or more build-args [{names}] were not consumed\n");
            self.report.stream(&text).await?;
        }
        let image = last.ok_or_else(|| DockerfileError::whole(Problem::NoStage))?;
        self.finish(image).await
    }

    async fn finish(&mut self, image: ImageId) -> Result<Built, BuildError> {
        let mut tags = Vec::new();
        for reference in self.tags.clone() {
            tags.push(reference.familiar());
            self.blocking(move |images| Ok(images.tag(&image, &reference)?)).await?;
        }
        if self.request.quiet {
            self.report.result(&format!("{image}\n")).await?;
        } else {
            self.report.stream(&format!("Successfully built {}\n", image.0.short())).await?;
            for tag in &tags {
                self.report.stream(&format!("Successfully tagged {tag}\n")).await?;
            }
        }
        Ok(Built { image, tags })
    }

    async fn announce(&mut self, text: &str) -> Result<(), BuildError> {
        self.step += 1;
        self.report.stream(&format!("Step {}/{} : {text}", self.step, self.steps)).await?;
        self.report.stream("\n").await
    }

    async fn stage(&mut self, stage: &Stage) -> Result<ImageId, BuildError> {
        self.announce(&stage.from.text).await?;
        let mut state = self.begin(&stage.base).await?;
        let triggers = state.config.on_build.take().unwrap_or_default();
        self.report.arrow(&state.image.0.short()).await?;
        self.triggers(&mut state, &triggers, &stage.from).await?;
        for (index, step) in stage.steps.iter().enumerate() {
            state.ahead.look(&stage.steps[index + 1..]);
            self.announce(&step.statement.text).await?;
            self.execute(&mut state, step).await?;
            self.report.arrow(&state.image.0.short()).await?;
        }
        self.report.image(&state.image.to_string()).await?;
        let image = state.image;
        self.done.insert(stage.index, (image, state.config, state.author));
        Ok(image)
    }

    /// Runs what the base image's `ONBUILD` instructions left.
    async fn triggers(
        &mut self,
        state: &mut State,
        triggers: &[String],
        from: &Statement,
    ) -> Result<(), BuildError> {
        if triggers.is_empty() {
            return Ok(());
        }
        let s = if triggers.len() == 1 { "" } else { "s" };
        self.report.stream(&format!("# Executing {} build trigger{s}\n", triggers.len())).await?;
        for text in triggers {
            let statement = parse::trigger(text, self.escape, from)?;
            self.report.stream(&format!("Step : {text}\n")).await?;
            // A trigger knows no stages, only images.
            let step = Step::new(statement, &[])?;
            // A future that may hold itself needs a place of its own.
            Box::pin(self.execute(state, &step)).await?;
        }
        self.report.arrow(&state.image.0.short()).await
    }

    async fn begin(&mut self, base: &Base) -> Result<State, BuildError> {
        let (image, config, author) = match base {
            Base::Stage(index) => match self.done.get(index) {
                Some(done) => done.clone(),
                None => return Err(BuildError::Lost),
            },
            Base::Image(name) => {
                let image = self.base(name).await?;
                (image.id, image.config.config, image.config.author)
            }
        };
        let busted = self.request.no_cache;
        Ok(State { author, busted, ..State::new(image, config) })
    }

    /// Finds a base image, here or in its registry.
    async fn base(&mut self, name: &str) -> Result<Image, BuildError> {
        let here = self.resolve(name).await?;
        let image = match here.filter(|_| !self.request.pull) {
            Some(image) => image,
            None => self.pull(name).await?,
        };
        if !image.config.os.eq_ignore_ascii_case("windows") {
            return Err(BuildError::NotWindows { name: name.to_owned(), os: image.config.os });
        }
        Ok(image)
    }

    async fn pull(&mut self, name: &str) -> Result<Image, BuildError> {
        let reference = Reference::parse(name)?.or_latest();
        let pulled = tokio::select! {
            pulled = self.bases.pull(&reference, self.report.output()) => pulled,
            () = self.report.closed() => return Err(BuildError::Cancelled),
        };
        pulled.map_err(|HostError { class, message }| BuildError::NoBase { class, message })?;
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

    async fn execute(&mut self, state: &mut State, step: &Step) -> Result<(), BuildError> {
        let statement = &step.statement;
        match &statement.instruction {
            Instruction::Run(run) => self.run_step(state, run, step).await,
            Instruction::Transfer(transfer) => self.transfer(state, transfer, step).await,
            Instruction::Workdir(path) => {
                let path = self.expand(state, statement, path)?;
                let path = paths::workdir(&state.config.working_dir, &path)?;
                self.workdir(state, path).await
            }
            _ => {
                let (comment, warning) = match &statement.instruction {
                    Instruction::Arg(list) => (self.declare(state, statement, list)?, None),
                    _ => state.configure(statement, self.escape)?,
                };
                if let Some(warning) = warning {
                    self.report.arrow(warning).await?;
                }
                let created_by = format!("{} #(nop)  {comment}", state.shell());
                self.commit_metadata(state, Record { created_by }).await
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

    async fn workdir(&mut self, state: &mut State, path: String) -> Result<(), BuildError> {
        state.config.working_dir.clone_from(&path);
        let created_by = format!("{} #(nop) WORKDIR {path}", state.shell());
        let record = Record { created_by };
        if self.cached(state, &record).await? {
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
        let images = self.images.clone();
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
        Ok(images.commit_last(&commit)?)
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

/// The first 12 digits of a container's id.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests;
