//! Why the engine refuses or fails. Texts that Docker clients match are Docker's.

use oriel_hcs::{Class, ComputeError, NetworkError};
use oriel_hive::reg::RegError;
use oriel_image::ImageError;

/// Why an operation of the engine failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No container has that id or name.
    #[error("No such container: {reference}")]
    NoSuchContainer {
        /// What was asked for.
        reference: String,
    },
    /// Several containers' ids begin so.
    #[error("multiple IDs found with provided prefix: {prefix}")]
    AmbiguousPrefix {
        /// What was asked for.
        prefix: String,
    },
    /// No exec has that id.
    #[error("No such exec instance: {id}")]
    NoSuchExec {
        /// What was asked for.
        id: String,
    },
    /// No network has that id or name.
    #[error("network {name} not found")]
    NoSuchNetwork {
        /// What was asked for.
        name: String,
    },
    /// Neither a container nor an image has that name.
    #[error("No such container or image: {reference}")]
    NoSuchTarget {
        /// What was asked for.
        reference: String,
    },
    /// The registry has no such key.
    #[error("No such registry key: {key}")]
    NoSuchKey {
        /// Its full name.
        key: String,
    },
    /// The name is not that of a registry key.
    #[error("`{key}` is no name of a registry key: {reason}")]
    BadKey {
        /// What was asked for.
        key: String,
        /// Why it is none.
        reason: &'static str,
    },
    /// A registry file cannot be read or written.
    #[error(transparent)]
    RegistryFile(#[from] RegError),
    /// A path is not in a container.
    #[error("Could not find the file {path} in container {container}")]
    NoSuchFile {
        /// The path.
        path: String,
        /// The container, as the client named it.
        container: String,
    },
    /// No volume has that name.
    #[error("get {name}: no such volume")]
    NoSuchVolume {
        /// What was asked for.
        name: String,
    },
    /// No volume driver has that name.
    #[error(
        "create {name}: error looking up volume plugin {driver}: plugin \"{driver}\" not found"
    )]
    NoSuchVolumeDriver {
        /// The volume to be.
        name: String,
        /// The driver asked for.
        driver: String,
    },
    /// Containers have the volume.
    #[error("remove {name}: volume is in use - [{}]", users.join(", "))]
    VolumeInUse {
        /// The volume.
        name: String,
        /// Ids of the containers.
        users: Vec<String>,
    },
    /// The name belongs to another container.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You \
         have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Id of its owner.
        owner: String,
    },
    /// The name is not one.
    #[error("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// The request is refused for the reason that its text says.
    #[error("{reason}")]
    Refused {
        /// Whose fault it is.
        class: Class,
        /// Why.
        reason: String,
    },
    /// The request is wrong in a way its text says.
    #[error("{reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
    /// Neither the client nor the image says what to run.
    #[error("no command specified")]
    NoCommand,
    /// Nothing to execute.
    #[error("No exec command specified")]
    NoExecCommand,
    /// Not a signal.
    #[error("invalid signal: {signal}")]
    InvalidSignal {
        /// What was asked for.
        signal: String,
    },
    /// It runs already.
    #[error("container {id} is already started")]
    AlreadyStarted {
        /// The container.
        id: String,
    },
    /// It is stopped already.
    #[error("container {id} is already stopped")]
    AlreadyStopped {
        /// The container.
        id: String,
    },
    /// It does not run.
    #[error("container {id} is not running")]
    NotRunning {
        /// The container.
        id: String,
    },
    /// It is paused already.
    #[error("Container {id} is already paused")]
    AlreadyPaused {
        /// The container.
        id: String,
    },
    /// It is not paused.
    #[error("Container {id} is not paused")]
    NotPaused {
        /// The container.
        id: String,
    },
    /// It ended and will start again.
    #[error("Container {id} is restarting, wait until the container is running")]
    Restarting {
        /// The container.
        id: String,
    },
    /// Nothing can be executed in what is paused.
    #[error("Container {reference} is paused, unpause the container before exec")]
    ExecPaused {
        /// What was asked for.
        reference: String,
    },
    /// What is paused is not attached to.
    #[error("container {reference} is paused, unpause the container before attach")]
    AttachPaused {
        /// What was asked for.
        reference: String,
    },
    /// What is paused runs already.
    #[error("cannot start a paused container, try unpause instead")]
    StartPaused,
    /// The exec has been started before.
    #[error("exec {id} has already been started")]
    ExecStarted {
        /// The exec.
        id: String,
    },
    /// The exec does not run, so it has no console to resize.
    #[error("exec {id} is not running")]
    ExecNotRunning {
        /// The exec.
        id: String,
    },
    /// It runs, so it cannot be removed.
    #[error(
        "cannot remove container \"{name}\": container is running: stop the container before \
         removing or force remove"
    )]
    StillRunning {
        /// The container's name, with its slash.
        name: String,
    },
    /// It is paused, so it cannot be removed.
    #[error("cannot remove container \"{name}\": container is paused and must be unpaused first")]
    StillPaused {
        /// The container's name, with its slash.
        name: String,
    },
    /// It is being removed.
    #[error("removal of container {id} is already in progress")]
    RemovalInProgress {
        /// The container.
        id: String,
    },
    /// It did not end, even when killed.
    #[error("tried to kill container {id}, but did not receive an exit event")]
    DoesNotEnd {
        /// The container.
        id: String,
    },
    /// Its log driver keeps nothing.
    #[error("configured logging driver does not support reading")]
    LogsUnreadable,
    /// Oriel cannot do it.
    #[error("{what}")]
    Unsupported {
        /// What is not supported, as a sentence.
        what: String,
    },
    /// There is no NT personality yet.
    #[error(
        "this host has no NT personality yet: run `oriel base build` once to make it and the base \
         images"
    )]
    NoPersonality,
    /// The compute host failed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// The network driver failed.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The image store failed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The database failed.
    #[error("cannot {attempt} in the database")]
    Database {
        /// What was attempted.
        attempt: &'static str,
        /// Why it failed.
        #[source]
        source: redb::Error,
    },
    /// A record cannot be read.
    #[error("the record of {id} is damaged")]
    Record {
        /// The container or volume.
        id: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file failed.
    #[error("cannot {attempt}")]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// Why it failed; names the path.
        #[source]
        source: std::io::Error,
    },
    /// A task of the engine died.
    #[error("a task of the engine ended unexpectedly")]
    Task,
}

impl EngineError {
    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NoSuchContainer { .. }
            | Self::NoSuchExec { .. }
            | Self::NoSuchNetwork { .. }
            | Self::NoSuchTarget { .. }
            | Self::NoSuchKey { .. }
            | Self::NoSuchFile { .. }
            | Self::NoSuchVolume { .. }
            | Self::NoSuchVolumeDriver { .. } => Class::NotFound,
            Self::AmbiguousPrefix { .. }
            | Self::InvalidName { .. }
            | Self::BadKey { .. }
            | Self::RegistryFile(_)
            | Self::Invalid { .. }
            | Self::NoCommand
            | Self::NoExecCommand
            | Self::InvalidSignal { .. } => Class::Invalid,
            Self::NameTaken { .. }
            | Self::VolumeInUse { .. }
            | Self::NotRunning { .. }
            | Self::ExecStarted { .. }
            | Self::ExecNotRunning { .. }
            | Self::AlreadyPaused { .. }
            | Self::NotPaused { .. }
            | Self::Restarting { .. }
            | Self::ExecPaused { .. }
            | Self::AttachPaused { .. }
            | Self::StartPaused
            | Self::StillRunning { .. }
            | Self::StillPaused { .. }
            | Self::RemovalInProgress { .. } => Class::Conflict,
            Self::AlreadyStarted { .. } | Self::AlreadyStopped { .. } => Class::NotModified,
            Self::LogsUnreadable | Self::Unsupported { .. } => Class::Unsupported,
            Self::NoPersonality => Class::Unavailable,
            Self::Compute(error) => error.class(),
            Self::Network(error) => error.class(),
            Self::Image(error) => error.class(),
            Self::Database { .. } | Self::File { .. } | Self::DoesNotEnd { .. } => Class::Host,
            Self::Record { .. } => Class::Corrupt,
            Self::Refused { class, .. } => *class,
            Self::Task => Class::Bug,
        }
    }

    /// A request that is wrong, in words.
    #[must_use]
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }

    /// Something Oriel cannot do, in words.
    #[must_use]
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }

    /// Exit code that Docker records for a container whose start failed so (moby
    /// `daemon/errors.go`): 127 not found, 126 not executable, else 128.
    #[must_use]
    pub fn start_exit_code(&self) -> u32 {
        let text = self.to_string().to_lowercase();
        let not_found = [
            "executable file not found",
            "no such file or directory",
            "system cannot find the file specified",
            "system cannot find the path specified",
        ];
        if not_found.iter().any(|phrase| text.contains(phrase)) {
            127
        } else if ["permission denied", "access is denied", "not a valid win32 application"]
            .iter()
            .any(|phrase| text.contains(phrase))
        {
            126
        } else {
            128
        }
    }
}
