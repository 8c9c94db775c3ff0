//! The log of a container: what its program printed, kept in files of this host.
//!
//! | driver | file | old files |
//! |---|---|---|
//! | `json-file` | `containers/ID/ID-json.log`, as Docker's | none, unless options say so |
//! | `local` | `containers/ID/local-logs/container.log`, in [frames](format) | 5 of 20 MiB |
//! | `none` | none | none |
//!
//! ```text
//! output ─▶ Writer ─▶ x.log ─full─▶ x.log.1 ─▶ x.log.1.gz ─▶ x.log.2.gz ─▶ removed
//!                       └──────────────┴── Reader: by generation, whatever a file is called now
//! ```
//! A line of output becomes a record when its end has come, when it grows beyond [`LONGEST_LINE`],
//! or when the container ends; a record is written whole into one file. Writers never wait for
//! readers: one that is so slow that files it has not begun were removed misses them.

mod attributes;
mod files;
mod follow;
mod format;
mod options;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use follow::LogOptions;
pub use options::{LogDriver, check_log_options};

pub(crate) use files::{LogFiles, Position};
pub(crate) use writer::LogWriter;

use crate::{EngineError, Stream, Time};

/// Longest line kept in one record, as with Docker; a longer one becomes several records.
const LONGEST_LINE: usize = 16 << 10;

/// Longest record believed when reading: each byte of a line may need six in JSON, and
/// [attributes](attributes) come on top.
const LONGEST_RECORD: usize = 256 << 10;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Where it was printed.
    pub stream: Stream,
    /// When.
    pub time: Time,
    /// What, with its line end if it has one.
    pub text: Vec<u8>,
}

/// Why a log cannot be opened for writing.
pub(crate) fn log_unusable(source: std::io::Error) -> EngineError {
    EngineError::File { attempt: "open a container's log", source }
}
