//! What can go wrong with a silo.

use std::io;

use oriel_hcs::{Class, ComputeError};

/// Why a silo could not be made or driven.
#[derive(Debug, thiserror::Error)]
pub enum SiloError {
    /// The kernel refused.
    #[error("cannot {attempt}")]
    Kernel {
        /// What was attempted on what.
        attempt: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The compute-system document cannot be followed.
    #[error("cannot follow the compute-system document: {detail}")]
    Document {
        /// What is wrong with it.
        detail: String,
    },
    /// An image or the personality lacks a file that a silo needs.
    #[error("cannot find {file} in {place}")]
    Missing {
        /// The file.
        file: String,
        /// Where it should be.
        place: String,
    },
    /// The NT side did not come up.
    #[error("the NT personality did not start: {reason}")]
    Boot {
        /// What was seen.
        reason: String,
    },
}

impl SiloError {
    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Kernel { .. } | Self::Boot { .. } => Class::Host,
            Self::Document { .. } => Class::Invalid,
            Self::Missing { .. } => Class::Corrupt,
        }
    }

    /// The whole chain in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        match self {
            Self::Kernel { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }
}

impl From<SiloError> for ComputeError {
    fn from(error: SiloError) -> Self {
        match error {
            SiloError::Kernel { attempt, source } => {
                Self::Host { attempt, reason: source.to_string() }
            }
            other => Self::Host { attempt: "run the silo".to_owned(), reason: other.to_string() },
        }
    }
}

/// Says what was attempted when an I/O operation fails.
pub(crate) trait Attempt<T> {
    /// `what` completes the sentence "cannot …".
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, SiloError>;
}

impl<T, E: Into<io::Error>> Attempt<T> for Result<T, E> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, SiloError> {
        self.map_err(|source| SiloError::Kernel { attempt: what(), source: source.into() })
    }
}
