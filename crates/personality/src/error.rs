//! Why a build failed.

use std::io;
use std::path::PathBuf;

use oriel_hcs::Class;

/// Why the personality could not be built or read.
#[derive(Debug, thiserror::Error)]
pub enum PersonalityError {
    /// A program the build needs is not installed.
    #[error("cannot build the personality: `{tool}` is not installed (Debian package {package})")]
    MissingTool {
        /// The program.
        tool: String,
        /// The Debian package that has it.
        package: String,
    },
    /// A file or directory could not be read or written; the source names it.
    #[error("cannot {attempt}")]
    Io {
        /// What was attempted.
        attempt: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A program failed.
    #[error("cannot {attempt}: `{tool}` {status}: {output}")]
    Tool {
        /// What was attempted.
        attempt: String,
        /// The program.
        tool: String,
        /// How it ended.
        status: String,
        /// The last lines it wrote.
        output: String,
    },
    /// The host's package sources name no Debian mirror.
    #[error("no Debian mirror in {directory}: give one with --mirror")]
    NoMirror {
        /// Where was looked.
        directory: PathBuf,
    },
    /// Something the packages should have is not in them, or has another form.
    #[error("cannot {attempt}: {detail}")]
    Unexpected {
        /// What was attempted.
        attempt: String,
        /// What was found instead.
        detail: String,
    },
}

impl PersonalityError {
    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::MissingTool { .. } | Self::Io { .. } | Self::Tool { .. } => Class::Host,
            Self::NoMirror { .. } => Class::Invalid,
            Self::Unexpected { .. } => Class::Corrupt,
        }
    }
}
