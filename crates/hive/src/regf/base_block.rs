//! The first 4096 bytes of a hive.

use super::record::{Record, put};
use crate::{HiveError, Structure};

/// Size of the base block, and of the smallest hive bin.
pub(super) const PAGE: usize = 4096;
/// The first minor version with layered keys ("Containerized registry hives in Windows", 2020).
pub(super) const LAYERED_MINOR: u32 = 6;
/// Minor version of what [`crate::write`] makes: the first with hashed subkey lists.
const PLAIN_MINOR: u32 = 5;
/// Bytes covered by the checksum, which follows them.
const SUMMED: usize = 508;
/// Base block flag: the hive holds layered keys.
const LAYERED_FLAG: u32 = 0x2;
/// Mark of `offreg.dll`, which made the genuine delta hive known.
const OFFREG_MARK: [u8; 4] = *b"OfRg";

/// Which kind of hive to write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A base hive.
    Plain,
    /// A delta hive.
    Layered,
}

/// What the base block says.
#[derive(Clone, Copy)]
pub(super) struct BaseBlock {
    /// Minor version, 3 to 6.
    pub(super) minor: u32,
    /// Reference to the root key.
    pub(super) root: u32,
    /// Size of all hive bins in bytes.
    pub(super) bins_size: usize,
    primary: u32,
    secondary: u32,
}

impl BaseBlock {
    /// Reads the base block and checks its sum.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, HiveError> {
        let structure = Structure::BaseBlock;
        if !bytes.starts_with(b"regf") {
            return Err(HiveError::NotAHive);
        }
        let bytes = bytes.get(..PAGE).ok_or(HiveError::Truncated { structure, offset: 0 })?;
        let record = Record { bytes, structure, offset: 0 };
        let (stored, computed) = (record.u32(SUMMED)?, checksum(bytes));
        if stored != computed {
            return Err(HiveError::Checksum { stored, computed });
        }
        let (major, minor, kind) = (record.u32(20)?, record.u32(24)?, record.u32(28)?);
        if major != 1 || !(3..=LAYERED_MINOR).contains(&minor) || kind != 0 || record.u32(32)? != 1
        {
            return Err(HiveError::Version { major, minor, kind });
        }
        Ok(Self {
            minor,
            root: record.u32(36)?,
            bins_size: record.size(40)?,
            primary: record.u32(4)?,
            secondary: record.u32(8)?,
        })
    }

    /// Requires that the last write to the hive came to its end.
    pub(super) fn clean(self) -> Result<Self, HiveError> {
        if self.primary == self.secondary {
            return Ok(self);
        }
        Err(HiveError::Dirty { primary: self.primary, secondary: self.secondary })
    }

    /// Writes the base block of a clean hive over the first bytes of `hive`.
    pub(super) fn write(hive: &mut [u8], kind: Kind, root: u32, last_write: u64, bins_size: u32) {
        let minor = if kind == Kind::Layered { LAYERED_MINOR } else { PLAIN_MINOR };
        put(hive, 0, *b"regf");
        for (at, field) in [(4, 1), (8, 1), (20, 1), (24, minor), (28, 0), (32, 1), (36, root)] {
            put(hive, at, u32::to_le_bytes(field));
        }
        put(hive, 12, last_write.to_le_bytes());
        put(hive, 40, bins_size.to_le_bytes());
        put(hive, 44, 1_u32.to_le_bytes());
        if kind == Kind::Layered {
            put(hive, 144, LAYERED_FLAG.to_le_bytes());
            put(hive, 176, OFFREG_MARK);
            put(hive, 180, 1_u32.to_le_bytes());
        }
        let sum = checksum(hive);
        put(hive, SUMMED, sum.to_le_bytes());
    }
}

/// The exclusive or of the first 127 numbers; never 0 or all ones.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let (numbers, _) = bytes[..SUMMED].as_chunks::<4>();
    match numbers.iter().fold(0, |sum, number| sum ^ u32::from_le_bytes(*number)) {
        0 => 1,
        u32::MAX => u32::MAX - 1,
        sum => sum,
    }
}
