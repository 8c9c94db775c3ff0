//! Errors of reading and writing layer tars.

use std::io;

/// Why a layer tar could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The underlying stream failed.
    #[error("cannot {attempt} the layer at byte {offset}")]
    Io {
        /// `read` or `write`.
        attempt: &'static str,
        /// Offset in the uncompressed tar.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The stream ended inside an entry.
    #[error("the layer ends in the middle of an entry, at byte {offset}")]
    Truncated {
        /// Offset in the uncompressed tar.
        offset: u64,
    },
    /// A header is not a tar header.
    #[error("bad tar header at byte {offset}: {detail}")]
    Header {
        /// Offset of the header in the uncompressed tar.
        offset: u64,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A PAX record cannot be understood.
    #[error("bad PAX record {key} of `{name}`: {detail}")]
    Record {
        /// Name of the entry.
        name: String,
        /// Key of the record.
        key: String,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// An entry's name or link target is not allowed in a layer.
    #[error("bad name `{name}` in layer: {detail}")]
    Name {
        /// The name as it stands in the tar.
        name: String,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// An entry is of a kind that has no place in a layer.
    #[error("`{name}` has tar type {flag:?}, which a layer cannot hold")]
    Kind {
        /// Name of the entry.
        name: String,
        /// The tar type flag.
        flag: char,
    },
    /// A bound on untrusted input was exceeded.
    #[error("the layer has more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// The data given for an entry is not as long as the entry says.
    #[error("`{name}` was announced with {expected} bytes but has {found}")]
    Size {
        /// Name of the entry.
        name: String,
        /// Length the entry states.
        expected: u64,
        /// Length of the data, or one more than `expected` when there is more.
        found: u64,
    },
}
