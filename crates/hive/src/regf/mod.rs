//! The regf format: hives as Windows stores them.
//!
//! ```text
//!  base block 4096 | hive bin 4096·n | hive bin | ...          offsets count from the first bin
//!                    | 32 header | cell | cell | ... | free
//!                                 | i32 size, negative = in use | nk vk sk lf lh li ri db or bytes
//! ```
//!
//! Reading goes from bytes to [`cells`] (bounds, no byte used twice) to [`record`]s (fields) to the
//! tree in [`read`]; writing goes through [`node`]s, which both trees offer, into [`bins`].
//! Field names and offsets follow the specification of M. Suhanov, "Windows registry file format
//! specification", and what genuine hives hold; `docs/formats/regf.md` lists them.

mod base_block;
mod bins;
mod cells;
mod log;
mod marvin;
mod node;
mod read;
mod record;
mod recover;
mod security;
mod values;
mod write;

#[cfg(test)]
mod tests;

use crate::delta::{Delta, DeltaKey};
use crate::{HiveError, Key, apply};
use base_block::{BaseBlock, LAYERED_MINOR};
pub use recover::recover;

/// `NIL`: the reference that leads nowhere.
const NIL: u32 = u32::MAX;

/// Data longer than this is split into segments of this size (`CM_KEY_VALUE_BIG` in public
/// symbols; formats 1.4 and later).
const SEGMENT: usize = 16_344;

/// Most data a big data record can hold: its segment count has 16 bits.
const MAX_DATA: usize = SEGMENT * 65_535;

/// Bits of an `nk` record's flags that are about storage, not about the key: volatile, hive exit,
/// hive root, compressed name, predefined handle.
const STORAGE_FLAGS: u16 = ROOT | COMPRESSED | PREDEFINED | 0x3;
/// The key is the root of its hive.
const ROOT: u16 = 0x4;
/// The key may not be deleted; every root has it.
const NO_DELETE: u16 = 0x8;
/// The name has one byte a character.
const COMPRESSED: u16 = 0x20;
/// The key stands for a predefined handle and has no values.
const PREDEFINED: u16 = 0x40;

/// Where the fields of an `nk` record are.
mod key_field {
    pub(super) const FLAGS: usize = 2;
    pub(super) const LAST_WRITE: usize = 4;
    pub(super) const ACCESS_BITS: usize = 12;
    pub(super) const LAYER: usize = 13;
    pub(super) const PARENT: usize = 16;
    pub(super) const SUBKEY_COUNT: usize = 20;
    pub(super) const SUBKEYS: usize = 28;
    /// Nothing but garbage on disk.
    pub(super) const VOLATILE_SUBKEYS: usize = 32;
    pub(super) const VALUE_COUNT: usize = 36;
    pub(super) const VALUES: usize = 40;
    pub(super) const SECURITY: usize = 44;
    pub(super) const CLASS: usize = 48;
    /// 16 bits wide, unlike the others.
    pub(super) const LONGEST_SUBKEY_NAME: usize = 52;
    pub(super) const USER_FLAGS: usize = 54;
    pub(super) const LONGEST_SUBKEY_CLASS: usize = 56;
    pub(super) const LONGEST_VALUE_NAME: usize = 60;
    pub(super) const LONGEST_DATA: usize = 64;
    pub(super) const NAME_LENGTH: usize = 72;
    pub(super) const CLASS_LENGTH: usize = 74;
    pub(super) const NAME: usize = 76;
}

/// `InheritClass` in the layer byte of an `nk` record; its low two bits are the semantics.
const INHERIT_CLASS: u8 = 0x80;

/// Flag of a value whose name has one byte a character.
const VALUE_COMPRESSED: u16 = 0x1;
/// Flag of a value that is gone, in delta hives.
const VALUE_TOMBSTONE: u16 = 0x2;
/// Bit of a value's size that says its data, 4 bytes at most, is in the record.
const INLINE: u32 = 0x8000_0000;

/// Reads a clean base hive of format 1.3 to 1.6.
///
/// A delta hive is read as laid on nothing.
///
/// # Errors
///
/// A [`HiveError`] naming the first structure that is damaged; [`HiveError::Dirty`] when the hive
/// was not written to its end, which [`recover`] makes up for when there are logs.
pub fn read(bytes: &[u8]) -> Result<Key, HiveError> {
    BaseBlock::parse(bytes)?.clean()?;
    read_unclean(bytes)
}

/// Like [`read`], but takes a hive whose last write did not end as it stands.
///
/// # Errors
///
/// As [`read`], but never [`HiveError::Dirty`].
pub fn read_unclean(bytes: &[u8]) -> Result<Key, HiveError> {
    let block = BaseBlock::parse(bytes)?;
    if block.minor < LAYERED_MINOR {
        return read::tree(bytes, &block);
    }
    let delta = Delta { root: read::tree(bytes, &block)? };
    let mut root = Key::new(delta.root.name.clone());
    apply(&mut root, &delta);
    Ok(root)
}

/// Writes a base hive of format 1.5, always the same bytes for the same tree.
///
/// # Errors
///
/// [`HiveError::EmptyName`], [`HiveError::NameTooLong`], [`HiveError::TooDeep`] or
/// [`HiveError::TooLarge`] when the tree does not fit a hive.
pub fn write(root: &Key) -> Result<Vec<u8>, HiveError> {
    write::tree(root, base_block::Kind::Plain)
}

/// Reads a delta hive; a plain hive is read as one that only adds and changes.
///
/// # Errors
///
/// As [`read`].
pub fn read_delta(bytes: &[u8]) -> Result<Delta, HiveError> {
    let block = BaseBlock::parse(bytes)?.clean()?;
    let root: DeltaKey = read::tree(bytes, &block)?;
    Ok(Delta { root })
}

/// Whether [`write_delta`] wrote a delta hive, not Windows. Anyone can claim so: it says what a
/// hive is likely to hold, not whom to trust.
#[must_use]
pub fn is_own_delta(bytes: &[u8]) -> bool {
    BaseBlock::is_own(bytes)
}

/// Writes a delta hive of format 1.6, always the same bytes for the same delta.
///
/// # Errors
///
/// As [`write`].
pub fn write_delta(delta: &Delta) -> Result<Vec<u8>, HiveError> {
    write::tree(&delta.root, base_block::Kind::Layered)
}
