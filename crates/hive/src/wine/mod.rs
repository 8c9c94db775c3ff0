//! The registry as Wine keeps it: `system.reg`, `userdef.reg` and `user.reg`.
//!
//! The text is what wineserver's `server/registry.c` reads and writes: one section for each key
//! that has something to say, keys without values implied by those below them.
//!
//! ```text
//! WINE REGISTRY Version 2
//! ;; All keys relative to REGISTRY\\Machine
//!
//! #arch=win64
//!
//! [Software\\Example] 1700000000
//! #time=1da1756a1e4b800
//! "Name"="text"
//! ```
//!
//! Security descriptors, the order of values and the times of implied keys have no place in it.

mod changed;
mod escape;
mod parse;
mod render;

#[cfg(test)]
mod tests;

use std::io;

use crate::{HiveError, Key};

/// Which part of the registry a file of Wine holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Branch {
    /// `HKEY_LOCAL_MACHINE`, in `system.reg`.
    Machine,
    /// `HKEY_USERS\.Default`, in `userdef.reg`.
    Default,
    /// The user of this SID, in `user.reg`; [`LOCAL_USER`] is the one Wine expects.
    User(String),
}

/// SID that wineserver gives every Unix user (`server/token.c`, `local_user_sid`).
pub const LOCAL_USER: &str = "S-1-5-21-0-0-0-1000";

/// The line that every registry file begins with.
const SIGNATURE: &str = "WINE REGISTRY Version 2";

/// Seconds from 1601, where FILETIMEs begin, to 1970, where Unix times do.
const EPOCH_SECONDS: u64 = 11_644_473_600;

/// Units of a FILETIME in a second.
const TICKS: u64 = 10_000_000;

/// The beginning of 1970 as a FILETIME: what wineserver makes of a key that is said to be of second
/// 0, and so what stands for no time here. Texts that differ in that only would have to be compared
/// key by key.
const NO_TIME: u64 = EPOCH_SECONDS * TICKS;

/// Reads a registry file of Wine; the root is the branch's own key.
///
/// # Errors
///
/// [`HiveError::NotWine`] or [`HiveError::WineSyntax`] for text that wineserver would not have
/// written, [`HiveError::TooDeep`] and [`HiveError::NameTooLong`] for keys it would not take.
pub fn parse(text: &[u8]) -> Result<Key, HiveError> {
    parse::file(text)
}

/// Reads two states of one file as two trees that [`diff`](crate::diff) finds the same changes in
/// as in those [`parse`] makes of them.
///
/// Keys that are the same in both are mostly left out, and keys that only lead to others may lack
/// their time, class and flags: [`lift`](crate::lift) gives them what they have in the image.
/// `old` must be what [`render`] or wineserver wrote; then `new` may be anything.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_changed(old: &[u8], new: &[u8]) -> Result<(Key, Key), HiveError> {
    changed::files(old, new)
}

/// Writes a registry file of Wine, byte for byte as wineserver does.
#[must_use]
pub fn render(root: &Key, branch: &Branch) -> Vec<u8> {
    let mut text = Vec::new();
    let written = render_to(&mut text, root, branch);
    debug_assert!(written.is_ok(), "memory takes all that is written to it");
    text
}

/// Like [`render`], but writes the text while it is made: it needs little more memory than the
/// longest section.
///
/// # Errors
///
/// What `out` fails with.
pub fn render_to(out: &mut impl io::Write, root: &Key, branch: &Branch) -> io::Result<()> {
    render::file(out, root, branch)
}
