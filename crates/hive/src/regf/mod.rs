//! The regf format: hives as Windows stores them.

use crate::{Delta, HiveError, Key};

/// Reads a clean base hive of format 1.3 to 1.6.
///
/// # Errors
///
/// A [`HiveError`] naming the first structure that is damaged; [`HiveError::Dirty`] when the hive
/// was not written to its end.
pub fn read(bytes: &[u8]) -> Result<Key, HiveError> {
    let _ = bytes;
    todo!()
}

/// Like [`read`], but takes a hive whose last write did not end as it stands.
///
/// # Errors
///
/// As [`read`], but never [`HiveError::Dirty`].
pub fn read_unclean(bytes: &[u8]) -> Result<Key, HiveError> {
    let _ = bytes;
    todo!()
}

/// Writes a base hive of format 1.5, always the same bytes for the same tree.
///
/// # Errors
///
/// [`HiveError::NameTooLong`], [`HiveError::TooDeep`] or [`HiveError::TooLarge`] when the tree does
/// not fit a hive.
pub fn write(root: &Key) -> Result<Vec<u8>, HiveError> {
    let _ = root;
    todo!()
}

/// Reads a delta hive; a plain hive is read as one that only adds and changes.
///
/// # Errors
///
/// As [`read`].
pub fn read_delta(bytes: &[u8]) -> Result<Delta, HiveError> {
    let _ = bytes;
    todo!()
}

/// Writes a delta hive of format 1.6, always the same bytes for the same delta.
///
/// # Errors
///
/// As [`write`].
pub fn write_delta(delta: &Delta) -> Result<Vec<u8>, HiveError> {
    let _ = delta;
    todo!()
}
