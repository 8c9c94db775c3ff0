//! Registry hives as values: read, write, compare and layer them, without any I/O.
//!
//! Windows keeps the registry in *hives*, files of the regf format; a container layer carries
//! *delta hives* that say how the hives below it change; Wine keeps the same tree as text. This
//! crate turns all three into one tree of [`Key`]s and back, and knows the two operations that
//! layering needs: [`diff`] finds what changed between two trees and [`apply`] lays such a change
//! on a tree.
//!
//! ```text
//!  base hive  --read-->  Key  --apply(Delta)-->  Key  --wine::render-->  system.reg
//!  delta hive --read_delta--> Delta                      wine::parse <-- system.reg
//!                                    diff(Key, Key) --> Delta --write_delta--> delta hive
//! ```
//!
//! What a container changed in a tree that is not its image's is brought there by [`lift`].
//! A hive that was being written when its machine stopped is brought in order by [`recover`] first.
//! People read and write the same tree as text of the Registry Editor: [`reg`].
//!
//! All input is hostile: whatever the bytes, reading ends within time and memory proportional to
//! their number, with a tree or with a [`HiveError`] that names the structure and its place.
//!
//! `docs/formats/regf.md` describes the formats and their sources.

#![forbid(unsafe_code)]

mod apply;
mod delta;
mod diff;
mod error;
mod key;
mod lift;
mod order;
pub mod reg;
mod regf;
mod upcase;
mod value;
mod wide;
pub mod wine;

pub use apply::apply;
pub use delta::{ClassChange, Delta, DeltaKey, Semantics, ValueChange};
pub use diff::diff;
pub use error::{HiveError, Structure, WineProblem};
pub use key::{Key, KeyFlags, MAX_DEPTH, Security};
pub use lift::lift;
pub use regf::{is_own_delta, read, read_delta, read_unclean, recover, write, write_delta};
pub use value::{Value, ValueKind};
pub use wide::{MAX_KEY_NAME, MAX_VALUE_NAME, WideString};
