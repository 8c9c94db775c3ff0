#![forbid(unsafe_code)]
//! Windows container layer tars: reader and writer.
//!
//! A layer of a Windows image is a tar whose entries describe NTFS objects: attributes, security
//! descriptors, times of 100 ns, reparse points and alternate streams travel in PAX records. This
//! crate turns such a stream into [`Entry`] values and back, and nothing else: it opens no file
//! and knows no host. `image` extracts with it, `personality` and `image` write with it.
//!
//! ```text
//! bytes ──▶ archive::Archive (bounded tar) ──▶ Reader ──▶ Entry + data
//! Entry + data ──▶ Writer ──▶ bytes, laid out as Go's archive/tar does for genuine producers
//! ```
//!
//! It is tolerant where producers differ (records absent, GNU long names, a trailing slash on
//! directories, directories that come twice) and strict where it is a matter of safety: names that
//! leave the tree, names that stand for two things, what lies below a link, devices, and every
//! size that an attacker could choose.

pub mod archive;
mod entry;
mod error;
mod names;
mod path;
mod reader;
mod records;
mod sddl;
pub mod security;
mod time;
mod writer;

pub use entry::{Attributes, Entry, Kind};
pub use error::LayerError;
pub use path::{LayerPath, Root, fold};
pub use reader::Reader;
pub use time::FileTime;
pub use writer::Writer;
