//! Runs a plan: one image per step, each from the cache or made.
//!
//! ```text
//! step ──▶ new configuration + history text ──▶ cache? ──yes──▶ next image
//!                                                 └─no──▶ RUN: container, commit   ──▶ next image
//!                                                         COPY, WORKDIR: sandbox, commit
//!                                                         others: commit of the configuration
//! ```
//!
//! [`graph`] orders the stages, [`bases`] finds what they stand on.
//!
//! A step owns its sandbox or container and removes it before it ends, however it ends.

mod ahead;
mod bases;
mod cache;
mod fetch;
mod graph;
mod run;
mod secret;
mod transfer;

pub(crate) use ahead::Ahead;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicUsize},
    time::SystemTime,
};

use oriel_image::{
    Commit, Digest, Footing, Image, ImageId, ImageStore, Reference, RunConfig, SandboxFiles,
    SandboxSettings,
};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Mutex, Semaphore, watch};

use crate::{
    BuildError, BuildRequest, BuildSite, Built, StepId, StepView,
    context::Context,
    epoch,
    event::Report,
    parse::{Instruction, Statement},
    paths,
    plan::{Plan, Step},
    state::State,
};
use cache::{Record, Sources};

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
    /// One permit for each step that may run at this time.
    permits: Semaphore,
    /// What became of each stage, by its place in the Dockerfile.
    done: BTreeMap<usize, watch::Sender<Option<Finished>>>,
    /// Base images found so far. Held while one is looked for, so that each is pulled once.
    bases: Mutex<BTreeMap<String, Image>>,
    /// The images that the build stands on.
    footing: Arc<Footing>,
    /// Where steps may be that were made elsewhere.
    sources: Sources,
    /// `SOURCE_DATE_EPOCH`
    epoch: Option<SystemTime>,
}

/// What others take from a stage that is done.
#[derive(Clone)]
struct Finished {
    image: ImageId,
    config: RunConfig,
    author: String,
}

impl<'a> Execution<'a> {
    pub(crate) fn new(
        site: BuildSite<'a>,
        report: Report,
        (request, context): (BuildRequest, Context),
        plan: &Plan,
    ) -> Result<Self, BuildError> {
        let views = plan.views();
        let permits = site.parallel.get().min(Semaphore::MAX_PERMITS);
        Ok(Self {
            footing: Arc::new(site.images.footing()),
            sources: Sources::default(),
            epoch: epoch::of(&request)?,
            site,
            report,
            request,
            context: Arc::new(context),
            escape: plan.escape,
            globals: plan.arguments.clone(),
            next_id: AtomicUsize::new(views.len()),
            views,
            permits: Semaphore::new(permits),
            done: plan.stages.iter().map(|stage| (stage.index, watch::Sender::default())).collect(),
            bases: Mutex::default(),
        })
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
        let footing = Arc::clone(&self.footing);
        state.image = self
            .blocking(move |images| {
                in_sandbox((images, &footing), commit, |files| Ok(files.create_dir_all(&path)?))
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
    (images, footing): (&ImageStore, &Footing),
    mut commit: Commit,
    change: impl FnOnce(&SandboxFiles) -> Result<(), BuildError>,
) -> Result<ImageId, BuildError> {
    let id = random_id()?;
    let settings =
        SandboxSettings { account: commit.config.user.clone(), ..SandboxSettings::default() };
    let sandbox = images.create_sandbox(&id, &commit.parent, &settings)?;
    let result = change(&images.sandbox_files(&sandbox)).and_then(|()| {
        commit.sandbox = Some(id.clone());
        Ok(footing.commit_last(&commit)?)
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
