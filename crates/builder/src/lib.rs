//! Builds Windows images from Dockerfiles, as Docker's classic builder does.
//!
//! `POST /build` goes through this crate in two halves, because a client sees a bad Dockerfile as
//! HTTP status 400 and everything later as a line of the response:
//!
//! ```text
//! Build::prepare   context ─▶ parse ─▶ plan            blocking; errors are HTTP errors
//! Build::run       each step: cache, or make and commit    async; errors are the last line
//! ```
//!
//! The builder talks to the image store for layers and records, and to the engine through
//! [`BuildHost`] for the containers of `RUN`.

mod archive;
mod caches;
mod classic;
mod configure;
mod context;
mod copy;
#[cfg(test)]
mod corpus;
mod definition;
mod epoch;
mod error;
mod event;
mod execute;
mod expand;
mod host;
mod lint;
mod parse;
mod paths;
mod plan;
mod remote;
mod script;
mod state;

use std::{collections::BTreeMap, io::Read, num::NonZeroUsize, path::Path};

pub use caches::{BuildCaches, CacheRoom, CacheView};
pub use configure::apply_changes;
pub use definition::{Definition, Files};
pub use error::{BuildError, ContextError, PathError, Place, TransferError};
pub use event::{BuildEvent, StepId, StepView};
pub use expand::ExpandError;
pub use host::{
    BaseSource, BuildHost, DescribedImage, ExpectedRun, Fetched, HostError, NoSecrets,
    RunContainer, RunMount, RunMountSource, RunOptions, RunOutput, RunStep, SecretSource,
};
pub use lint::{Finding, Findings};
use oriel_image::{ImageId, ImageStore, Reference};
pub use parse::{DockerfileError, Position, Problem};
pub use remote::is_git;
use tokio::sync::mpsc;

use context::Context;
use event::Report;
use execute::Execution;
use oriel_ignore::Ignore;
use plan::Plan;

/// Longest `.dockerignore` read.
const MAX_IGNORE_BYTES: u64 = 1 << 20;

/// What a client asks for with `POST /build`, decoded from its query.
#[derive(Clone, Debug, Default)]
pub struct BuildRequest {
    /// Path of the Dockerfile within the context (`dockerfile`); empty means `Dockerfile`.
    pub dockerfile: String,
    /// The Dockerfile, when it is not taken from the context; its path is a name only then.
    pub definition: Option<Definition>,
    /// Names for the result (`t`, repeatable).
    pub tags: Vec<String>,
    /// Build arguments (`buildargs`); `None` takes no value from the client's environment.
    pub build_args: BTreeMap<String, Option<String>>,
    /// Labels laid over those of the Dockerfile (`labels`).
    pub labels: BTreeMap<String, String>,
    /// Stage to stop at (`target`); empty means the last.
    pub target: String,
    /// Platform asked for (`platform`), such as `windows/amd64`; empty means any.
    pub platform: String,
    /// Whether cached steps are run again (`nocache`).
    pub no_cache: bool,
    /// Images to take cached steps from (`cachefrom`).
    pub cache_from: Vec<String>,
    /// Whether base images are to be looked up in a registry first (`pull`).
    pub pull: bool,
    /// Whether containers of successful steps are removed (`rm`, default true).
    pub remove: bool,
    /// Whether containers of failed steps are removed too (`forcerm`).
    pub force_remove: bool,
    /// Whether only the image id is printed (`q`).
    pub quiet: bool,
    /// What is asked about the containers.
    pub run: RunOptions,
}

impl BuildRequest {
    /// Path of the Dockerfile within the context.
    fn dockerfile_name(&self) -> &str {
        if self.dockerfile.is_empty() { remote::DOCKERFILE } else { &self.dockerfile }
    }
}

/// A build that is parsed, planned, and ready to run. Owns the unpacked context; dropping it
/// removes that.
#[derive(Debug)]
pub struct Build {
    request: BuildRequest,
    context: Context,
    plan: Plan,
    tags: Vec<Reference>,
    findings: Findings,
}

/// What a build works with.
#[derive(Clone)]
pub struct BuildSite<'a> {
    /// Where images are.
    pub images: ImageStore,
    /// What runs containers.
    pub host: &'a dyn BuildHost,
    /// Where base images come from.
    pub bases: &'a dyn BaseSource,
    /// What stays from build to build.
    pub caches: &'a BuildCaches,
    /// What gives the secrets of the client.
    pub secrets: &'a dyn SecretSource,
    /// Most steps that run at one time.
    pub parallel: NonZeroUsize,
}

/// What a build made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The image.
    pub image: ImageId,
    /// Names it was given, in Docker's familiar form.
    pub tags: Vec<String>,
}

impl Build {
    /// Unpacks the context (a tar, plain or gzip or zstd) below `scratch`, reads the Dockerfile,
    /// checks it and plans the build. Blocking.
    ///
    /// # Errors
    /// `Invalid` for a bad request, context or Dockerfile; `Host` when the disk refuses.
    pub fn prepare(
        mut request: BuildRequest,
        context: &mut dyn Read,
        scratch: &Path,
    ) -> Result<Self, BuildError> {
        let tags = tags(&request.tags)?;
        epoch::of(&request)?;
        plan::check_platform(&request.platform).map_err(DockerfileError::whole)?;
        let mut context = Context::unpack(context, scratch)?;
        let definition = request.definition.take();
        let name = request.dockerfile_name();
        let (text, ignore) = match definition {
            Some(definition) => (definition.text, rules(".dockerignore", &definition.ignore)?),
            None => {
                let text = context
                    .read(name, parse::MAX_DOCKERFILE_BYTES)?
                    .ok_or_else(|| BuildError::NoDockerfile { name: name.to_owned() })?;
                (text, ignored(&context, name)?)
            }
        };
        context.apply(&ignore);
        let file = parse::parse(name, &text)?;
        let findings = lint::check(&file, &ignore);
        let plan = Plan::new(file, &request).map_err(|error| error.named(name))?;
        Ok(Self { request, context, plan, tags, findings })
    }

    /// Prepares a build of what an address gave (`remote`): a context, or a Dockerfile alone.
    /// Blocking.
    ///
    /// # Errors
    /// As for [`Build::prepare`].
    pub fn prepare_remote(
        mut request: BuildRequest,
        content: &mut dyn Read,
        scratch: &Path,
    ) -> Result<Self, BuildError> {
        let mut content = remote::read(content)?;
        if content.is_dockerfile {
            request.dockerfile.clear();
        }
        Self::prepare(request, &mut content.archive, scratch)
    }

    /// What the checks of the Dockerfile found.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Runs the build. `events` gets what happens; the end of the build is what is returned.
    ///
    /// The build is cancelled by dropping the receiver of `events`: running steps are stopped,
    /// their containers and sandboxes are removed, and `Cancelled` is returned. The future itself
    /// must be polled to its end, so give it a task of its own rather than the connection's.
    ///
    /// # Errors
    /// Of any class; nothing half-made is left behind.
    pub async fn run(
        self,
        site: BuildSite<'_>,
        events: mpsc::Sender<BuildEvent>,
    ) -> Result<Built, BuildError> {
        let Self { request, context, plan, tags, findings } = self;
        if findings.error && !findings.list.is_empty() {
            return Err(BuildError::Checks { rules: findings.rules() });
        }
        let report = Report::new(events);
        let execution = Execution::new(site, report.clone(), (request, context), &plan)?;
        let image = execution.run(&plan).await?;
        for text in findings.brief() {
            report.warn(text).await?;
        }
        execution.tag(image, &tags).await
    }
}

/// What the build does not see. A file of the Dockerfile's own wins over that of all.
fn ignored(context: &Context, dockerfile: &str) -> Result<Ignore, BuildError> {
    for file in [format!("{dockerfile}.dockerignore"), ".dockerignore".to_owned()] {
        if let Some(lines) = context.read(&file, MAX_IGNORE_BYTES)? {
            return rules(&file, &lines);
        }
    }
    Ok(Ignore::default())
}

/// Reads the rules of an ignore file.
fn rules(file: &str, lines: &[u8]) -> Result<Ignore, BuildError> {
    let rules = Ignore::parse(&String::from_utf8_lossy(lines));
    rules.map_err(|bad| {
        let file = file.to_owned();
        BuildError::BadIgnore { file, line: bad.line, text: bad.text }
    })
}

/// Reads the names for the result.
fn tags(names: &[String]) -> Result<Vec<Reference>, BuildError> {
    let names = names.iter().filter(|name| !name.is_empty());
    names
        .map(|name| {
            let reference = Reference::parse(name)?;
            if reference.digest().is_some() {
                return Err(BuildError::DigestTag);
            }
            Ok(reference.or_latest())
        })
        .collect()
}
