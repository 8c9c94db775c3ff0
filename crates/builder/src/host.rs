//! The seams between a build and what is around it.
//!
//! A build needs containers for `RUN` only; every other instruction works on image records and
//! sandbox layers. [`BuildHost`] is all a build asks of the engine, and [`BaseSource`] all it asks
//! of registries and of the web, so the whole builder runs in a unit test on fakes.
//! [`SecretSource`] is what it asks of the client.
//!
//! ```text
//! create_run ──▶ run ──exit 0──▶ (the builder commits the sandbox) ──▶ remove
//!                 ├──exit n──▶ remove, unless the client asked to keep it
//!                 └──client gone: the future of `run` is dropped ──▶ remove
//! ```

use std::{any::Any, path::PathBuf, time::SystemTime};

use async_trait::async_trait;
use oriel_hcs::{Class, CommandLine, MissingLibrary};
use oriel_image::{Descriptor, DiffId, ImageConfig, Layer, Reference};
use tokio::sync::mpsc;

/// Runs the containers of a build.
///
/// The builder calls `remove` exactly once for each container that `create_run` made, also after
/// failures and after cancellation, unless the request says to keep containers (`rm=0`).
#[async_trait]
pub trait BuildHost: Send + Sync {
    /// Makes a container for one `RUN` instruction and does not start it. The container must be
    /// visible to clients like any other. On error nothing of it is left behind.
    async fn create_run(&self, step: &RunStep) -> Result<RunContainer, HostError>;

    /// Begins to make ready, once the container `after` runs, what a step like this one will need
    /// that differs in its command and in the layers of its image. Does not wait for it. `None`
    /// when the host does no such thing.
    fn expect_run(&self, _step: &RunStep, _after: &RunContainer) -> Option<ExpectedRun> {
        None
    }

    /// Makes a container of what was expected, as [`BuildHost::create_run`] would; `None` when that
    /// is not possible, with nothing left of it.
    async fn claim_run(&self, _expected: ExpectedRun, _step: &RunStep) -> Option<RunContainer> {
        None
    }

    /// Starts the container, sends what it prints, and returns its exit code.
    ///
    /// On return the compute system has ended and its registry is written to the sandbox
    /// (`Registry::Keep`), all output has been sent, and the sandbox may be committed. A send
    /// that fails must not stop the program. Dropping the future must be safe at any point; the
    /// builder then calls [`BuildHost::remove`].
    async fn run(&self, container: &str, output: mpsc::Sender<RunOutput>)
    -> Result<u32, HostError>;

    /// The DLLs for lack of which a program in the container did not begin, once
    /// [`BuildHost::run`] has returned [`oriel_hcs::DLL_NOT_FOUND`].
    async fn missing_libraries(&self, container: &str) -> Vec<MissingLibrary>;

    /// The time, for the records of the images made.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Removes the container with its sandbox, ending it first when it still runs. Succeeds when
    /// it is not there.
    async fn remove(&self, container: &str) -> Result<(), HostError>;
}

/// Gets what is not here: base images, and files of the web.
#[async_trait]
pub trait BaseSource: Send + Sync {
    /// Pulls `name` into the image store. `output` gets progress as JSON lines of the Docker API.
    async fn pull(&self, name: &Reference, output: mpsc::Sender<Vec<u8>>) -> Result<(), HostError>;

    /// Looks at an image that may hold cached steps: at its manifest and its configuration.
    async fn describe(&self, name: &Reference) -> Result<DescribedImage, HostError>;

    /// Takes one layer of `name` into the image store, on top of `onto` (base first). `output` gets
    /// progress as [`BaseSource::pull`] has it. The caller holds a lease.
    async fn take_layer(
        &self,
        name: &Reference,
        layer: (DiffId, Descriptor),
        onto: Vec<Layer>,
        output: mpsc::Sender<Vec<u8>>,
    ) -> Result<Layer, HostError>;

    /// Fetches a file of the web for `ADD`. `pieces` gets its content, in order; a receiver that
    /// is gone has seen enough, which is no error. Dropping the future breaks off.
    async fn fetch(&self, url: &str, pieces: mpsc::Sender<Vec<u8>>) -> Result<Fetched, HostError>;
}

/// An image in a registry, as its manifest and its configuration describe it.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedImage {
    /// Its configuration.
    pub config: ImageConfig,
    /// Its layers, base first: as many as the configuration states.
    pub layers: Vec<Descriptor>,
}

/// What a server says of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// When it was last written (`Last-Modified`).
    pub modified: Option<SystemTime>,
    /// What it suggests as a name (`Content-Disposition`), as it was sent.
    pub disposition: Option<String>,
}

/// Gets what `RUN --mount=type=secret` shows.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// The secret of this id; `None` when the client has none. Nobody keeps it for longer than the
    /// step runs.
    async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, HostError>;

    /// A directory of the host that is in memory and the daemon's own, for files with secrets. It
    /// is there for as long as this. Asked for only when there is a secret.
    async fn folder(&self) -> Result<PathBuf, HostError>;
}

/// What clients of the classic builder send: no secrets.
#[derive(Clone, Copy, Debug)]
pub struct NoSecrets;

#[async_trait]
impl SecretSource for NoSecrets {
    async fn secret(&self, _id: &str) -> Result<Option<Vec<u8>>, HostError> {
        Ok(None)
    }

    async fn folder(&self) -> Result<PathBuf, HostError> {
        let message = "the classic builder has no secrets".to_owned();
        Err(HostError { class: Class::Unsupported, message })
    }
}

/// One `RUN` instruction, ready to be run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunStep {
    /// Id of the image to start from, such as `sha256:…`.
    pub image: String,
    /// What to run. Replaces command and entry point of the image.
    pub command: CommandLine,
    /// `NAME=value` pairs: the stage's `ENV`, then the build arguments in scope.
    pub environment: Vec<String>,
    /// Absolute directory on C:, or empty for the engine's default.
    pub working_directory: String,
    /// Account, or empty for the engine's default.
    pub user: String,
    /// Labels for the container.
    pub labels: Vec<(String, String)>,
    /// What the container shows besides the image.
    pub mounts: Vec<RunMount>,
    /// What the client asked for about the containers of this build.
    pub options: RunOptions,
}

/// Something that a container shows besides the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunMount {
    /// What it shows.
    pub source: RunMountSource,
    /// Where: an absolute path on C:.
    pub target: String,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunMountSource {
    /// A directory or file of the host, by its absolute path.
    Host(PathBuf),
    /// Memory.
    Memory {
        /// Bytes; `None` is the host's choice.
        size_bytes: Option<u64>,
    },
}

/// What `POST /build` may ask about the containers of a build. Zero and empty mean "not said".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Network of the containers (`networkmode`).
    pub network_mode: String,
    /// Isolation of the containers (`isolation`).
    pub isolation: String,
    /// Memory limit in bytes (`memory`).
    pub memory_bytes: u64,
    /// Relative processor weight (`cpushares`).
    pub cpu_shares: u64,
    /// `name:address` pairs for the hosts file (`extrahosts`).
    pub extra_hosts: Vec<String>,
}

/// What a host makes ready for a step to come; what is in it is the host's. Dropped, it is given
/// up.
pub struct ExpectedRun(pub Box<dyn Any + Send + Sync>);

/// A container made for one `RUN` instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunContainer {
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// Id of its sandbox in the image store.
    pub sandbox: String,
}

/// Something a `RUN` container printed, in the order it was printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunOutput {
    /// Bytes of standard output.
    Stdout(Vec<u8>),
    /// Bytes of standard error.
    Stderr(Vec<u8>),
}

/// Why the engine could not do what the build asked. The text reaches the client unchanged.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// Whose fault it is.
    pub class: Class,
    /// What was attempted on what, and why it failed.
    pub message: String,
}
