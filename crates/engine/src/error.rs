//! Why the engine refuses or fails. Texts that Docker clients match are Docker's.

use oriel_hcs::{Class, ComputeError, NetworkError};
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
    #[error("the record of container {id} is damaged")]
    Record {
        /// The container.
        id: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A network's record cannot be read.
    #[error("the record of network {id} is damaged")]
    NetworkRecord {
        /// The network.
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
            Self::NoSuchContainer { .. } | Self::NoSuchExec { .. } | Self::NoSuchNetwork { .. } => {
                Class::NotFound
            }
            Self::AmbiguousPrefix { .. }
            | Self::InvalidName { .. }
            | Self::Invalid { .. }
            | Self::NoCommand
            | Self::NoExecCommand
            | Self::InvalidSignal { .. } => Class::Invalid,
            Self::NameTaken { .. }
            | Self::NotRunning { .. }
            | Self::ExecStarted { .. }
            | Self::ExecNotRunning { .. }
            | Self::StillRunning { .. }
            | Self::RemovalInProgress { .. } => Class::Conflict,
            Self::AlreadyStarted { .. } | Self::AlreadyStopped { .. } => Class::NotModified,
            Self::LogsUnreadable | Self::Unsupported { .. } => Class::Unsupported,
            Self::NoPersonality => Class::Unavailable,
            Self::Compute(error) => error.class(),
            Self::Network(error) => error.class(),
            Self::Image(error) => error.class(),
            Self::Database { .. } | Self::File { .. } | Self::DoesNotEnd { .. } => Class::Host,
            Self::Record { .. } | Self::NetworkRecord { .. } => Class::Corrupt,
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
