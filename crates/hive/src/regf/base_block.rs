//! The first 4096 bytes of a hive.

use super::record::{Record, put};
use crate::{HiveError, Structure};

/// Size of the base block, and of the smallest hive bin.
pub(super) const PAGE: usize = 4096;
/// Smallest sector of a disk, and the part of a base block that logs have a copy of.
pub(super) const SECTOR: usize = 512;
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

/// Where a hive says how its file was called: 64 bytes of UTF-16, which nothing reads.
const FILE_NAME: usize = 48;
/// The name that delta hives written here give. Genuine ones end in `_Delta`, or have none.
const OWN_NAME: [u8; 12] = *b"O\0r\0i\0e\0l\0\0\0";

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
    /// File type: 0 is a hive, others are logs.
    pub(super) file_type: u32,
    /// Time of the last write, which a log of the old format shares with its hive.
    pub(super) last_write: u64,
    /// Reference to the root key.
    pub(super) root: u32,
    /// Size of all hive bins in bytes.
    pub(super) bins_size: usize,
    /// Size of a sector of the disk, in units of 512 bytes.
    pub(super) clustering: usize,
    /// Number set when a write begins.
    pub(super) primary: u32,
    /// Number set when it ended.
    pub(super) secondary: u32,
}

impl BaseBlock {
    /// Reads the base block of a hive and checks its sum.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, HiveError> {
        if bytes.starts_with(b"regf") && bytes.len() < PAGE {
            return Err(HiveError::Truncated { structure: Structure::BaseBlock, offset: 0 });
        }
        let block = Self::parse_copy(bytes)?;
        if block.file_type == 0 {
            return Ok(block);
        }
        Err(HiveError::Version { major: 1, minor: block.minor, kind: block.file_type })
    }

    /// Reads the part of the base block that logs have a copy of, and checks its sum.
    pub(super) fn parse_copy(bytes: &[u8]) -> Result<Self, HiveError> {
        let structure = Structure::BaseBlock;
        if !bytes.starts_with(b"regf") {
            return Err(HiveError::NotAHive);
        }
        let bytes = bytes.get(..SECTOR).ok_or(HiveError::Truncated { structure, offset: 0 })?;
        let record = Record { bytes, structure, offset: 0 };
        let (stored, computed) = (record.u32(SUMMED)?, checksum(bytes));
        if stored != computed {
            return Err(HiveError::Checksum { stored, computed });
        }
        let (major, minor, kind) = (record.u32(20)?, record.u32(24)?, record.u32(28)?);
        if major != 1 || !(3..=LAYERED_MINOR).contains(&minor) || record.u32(32)? != 1 {
            return Err(HiveError::Version { major, minor, kind });
        }
        Ok(Self {
            minor,
            file_type: kind,
            last_write: record.u64(12)?,
            root: record.u32(36)?,
            bins_size: record.size(40)?,
            clustering: record.size(44)?,
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
            put(hive, FILE_NAME, OWN_NAME);
        }
        sum(hive);
    }

    /// Whether a delta hive was written here.
    pub(super) fn is_own(hive: &[u8]) -> bool {
        hive.get(FILE_NAME..).is_some_and(|name| name.starts_with(&OWN_NAME))
    }

    /// Makes the base block of `hive` that of a clean hive: a sequence number, and the size of its
    /// bins.
    pub(super) fn settle(hive: &mut [u8], sequence: u32, bins_size: u32) {
        for (at, field) in [(4, sequence), (8, sequence), (28, 0), (40, bins_size)] {
            put(hive, at, u32::to_le_bytes(field));
        }
        sum(hive);
    }
}

/// Writes the checksum of a base block.
fn sum(hive: &mut [u8]) {
    let sum = checksum(hive);
    put(hive, SUMMED, sum.to_le_bytes());
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
