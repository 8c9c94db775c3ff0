//! Builds Windows images from Dockerfiles, as Docker's classic builder does.
//!
//! `POST /build` goes through this crate in two halves, because a client sees a bad Dockerfile as
//! HTTP status 400 and everything later as a line of the response:
//!
//! ```text
//! Build::prepare   context ─▶ temp dir ─▶ parse ─▶ plan          blocking; errors are HTTP errors
//! Build::run       per step: cache look-up, or run / copy / commit   async; errors are the last line
//! ```
//!
//! The builder talks to the image store for layers and records, and to the engine through
//! [`BuildHost`] for the containers of `RUN`.

mod host;

use std::{collections::BTreeMap, io::Read, path::Path};

pub use host::{BuildHost, HostError, RunContainer, RunOptions, RunOutput, RunStep};
use oriel_hcs::Class;
use oriel_image::{ImageId, ImageStore};
use tokio::sync::mpsc;

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
pub struct Build {}

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
        let _ = (request, context, scratch);
        todo!()
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
        images: ImageStore,
        host: &dyn BuildHost,
        output: mpsc::Sender<Vec<u8>>,
    ) -> Result<Built, BuildError> {
        let _ = (images, host, output);
        todo!()
    }
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The engine could not do what the build asked.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The client has gone away.
    #[error("build cancelled")]
    Cancelled,
}

impl BuildError {
    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Host(error) => error.class,
            Self::Cancelled => Class::Cancelled,
        }
    }

    /// The error as the last line of a build's output:
    /// `{"errorDetail":{"code":3,"message":"…"},"error":"…"}` and a newline.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        todo!()
    }
}
