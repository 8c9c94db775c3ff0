//! Errors of compute systems, and the classes every Oriel error falls in.

use crate::{ProcessId, SystemId};

/// Whose fault an error is, and so which HTTP status it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The thing named does not exist.
    NotFound,
    /// The request is wrong.
    Invalid,
    /// The request does not fit the present state.
    Conflict,
    /// It is already so.
    NotModified,
    /// The caller may not.
    Denied,
    /// It may work later.
    Unavailable,
    /// Oriel cannot do it.
    Unsupported,
    /// The caller gave up.
    Cancelled,
    /// Stored or received data is damaged.
    Corrupt,
    /// The host lacks something or refused.
    Host,
    /// A defect of Oriel.
    Bug,
}

/// Why an operation on a compute system failed.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    /// No compute system of that name exists.
    #[error("no compute system {id}")]
    SystemNotFound {
        /// The name asked for.
        id: SystemId,
    },
    /// No such process runs in the system.
    #[error("no process {process:?} in compute system {id}")]
    ProcessNotFound {
        /// The system.
        id: SystemId,
        /// The process asked for.
        process: ProcessId,
    },
    /// The system has ended or its agent does not answer.
    #[error("compute system {id} is gone")]
    SystemGone {
        /// The system.
        id: SystemId,
    },
    /// Windows refused to create the process. The text is Docker's on Windows: clients look for
    /// "The system cannot find the file specified." and map it to exit status 127.
    #[error(
        "container {id} encountered an error during hcs::System::CreateProcess: {command}: \
         failure in a Windows system call: {message} (0x{code:x})"
    )]
    CreateProcess {
        /// The system.
        id: SystemId,
        /// The command line asked for.
        command: String,
        /// Windows' text for `code`.
        message: String,
        /// Win32 error.
        code: u32,
    },
    /// Windows in the container refused to read or change its registry.
    #[error("cannot {attempt} in container {id}: {message} (0x{code:x})")]
    Registry {
        /// The system.
        id: SystemId,
        /// What was attempted on what, such as `set value x of HKLM\Software\y`.
        attempt: String,
        /// Windows' text for `code`.
        message: String,
        /// Win32 error.
        code: u32,
    },
    /// The host lacks something the system needs.
    #[error("cannot {attempt}: {reason}")]
    Host {
        /// What was attempted on what, such as `mount the layer chain of 3f2a on C:\`.
        attempt: String,
        /// Why it failed.
        reason: String,
    },
    /// An agent sent something the protocol does not allow.
    #[error("compute system {id} broke the bridge protocol: {detail}")]
    Protocol {
        /// The system.
        id: SystemId,
        /// What was wrong.
        detail: String,
    },
    /// The document asks for something this host cannot give.
    #[error("{what} is not supported")]
    Unsupported {
        /// What was asked for.
        what: String,
    },
}

impl ComputeError {
    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::SystemNotFound { .. } | Self::ProcessNotFound { .. } => Class::NotFound,
            Self::SystemGone { .. } | Self::Registry { .. } => Class::Conflict,
            Self::CreateProcess { .. } => Class::Invalid,
            Self::Host { .. } => Class::Host,
            Self::Protocol { .. } => Class::Corrupt,
            Self::Unsupported { .. } => Class::Unsupported,
        }
    }
}
