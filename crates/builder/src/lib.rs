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
mod configure;
mod context;
mod copy;
mod error;
mod execute;
mod expand;
mod host;
mod parse;
mod paths;
mod plan;
mod report;
mod script;
mod state;

use std::{collections::BTreeMap, io::Read, path::Path, sync::Arc};

pub use caches::{BuildCaches, CacheView};
pub use configure::apply_changes;
pub use error::{BuildError, ContextError, PathError, TransferError};
pub use expand::ExpandError;
pub use host::{
    BaseSource, BuildHost, ExpectedRun, Fetched, HostError, RunContainer, RunMount, RunMountSource,
    RunOptions, RunOutput, RunStep,
};
use oriel_image::{ImageId, ImageStore, Reference};
pub use parse::{DockerfileError, Position, Problem};
use tokio::sync::mpsc;

use context::Context;
use execute::Execution;
use oriel_ignore::Ignore;
use plan::Plan;
use report::Report;

/// Longest `.dockerignore` read.
const MAX_IGNORE_BYTES: u64 = 1 << 20;

/// What a client asks for with `POST /build`, decoded from its query.
#[derive(Clone, Debug, Default)]
pub struct BuildRequest {
    /// Path of the Dockerfile within the context (`dockerfile`); empty means `Dockerfile`.
    pub dockerfile: String,
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

/// A build that is parsed, planned, and ready to run. Owns the unpacked context; dropping it
/// removes that.
#[derive(Debug)]
pub struct Build {
    request: BuildRequest,
    context: Context,
    plan: Plan,
    tags: Vec<Reference>,
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
    /// Unpacks the context (a tar, plain or gzip or zstd) below `scratch`, reads the Dockerfile
    /// and plans the build. Blocking.
    ///
    /// # Errors
    /// `Invalid` for a bad request, context or Dockerfile; `Host` when the disk refuses.
    pub fn prepare(
        request: BuildRequest,
        context: &mut dyn Read,
        scratch: &Path,
    ) -> Result<Self, BuildError> {
        let tags = tags(&request.tags)?;
        plan::check_platform(&request.platform).map_err(DockerfileError::whole)?;
        let mut context = Context::unpack(context, scratch)?;
        let name = match request.dockerfile.as_str() {
            "" => "Dockerfile",
            name => name,
        };
        let text = context
            .read(name, parse::MAX_DOCKERFILE_BYTES)?
            .ok_or_else(|| BuildError::NoDockerfile { name: name.to_owned() })?;
        if let Some(lines) = context.read(".dockerignore", MAX_IGNORE_BYTES)? {
            let ignore = Ignore::parse(&String::from_utf8_lossy(&lines))
                .map_err(|bad| BuildError::BadIgnore { line: bad.line, text: bad.text })?;
            context.apply(&ignore);
        }
        let plan = Plan::new(parse::parse(name, &text)?, &request)?;
        Ok(Self { request, context, plan, tags })
    }

    /// Runs the build. `output` gets complete JSON lines as the Docker API has them, the newline
    /// included; an error returned is not among them: the caller turns it into the last line with
    /// [`BuildError::line`].
    ///
    /// The build is cancelled by dropping the receiver of `output`: the running step is stopped,
    /// its container and sandbox are removed, and `Cancelled` is returned. The future itself must
    /// be polled to its end, so give it a task of its own rather than the connection's.
    ///
    /// # Errors
    /// Of any class; nothing half-made is left behind.
    pub async fn run(
        self,
        site: BuildSite<'_>,
        output: mpsc::Sender<Vec<u8>>,
    ) -> Result<Built, BuildError> {
        let BuildSite { images, host, bases, caches } = site;
        let execution = Execution {
            images,
            host,
            bases,
            caches,
            report: Report::new(output, self.request.quiet),
            context: Arc::new(self.context),
            tags: self.tags,
            escape: self.plan.escape,
            globals: self.plan.arguments.clone(),
            done: BTreeMap::new(),
            step: 0,
            steps: self.plan.steps(),
            request: self.request,
        };
        execution.run(self.plan).await
    }
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
