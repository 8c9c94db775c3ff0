//! Fields of records: little-endian numbers at fixed offsets, never beyond the record.

use crate::{HiveError, Structure};

/// The bytes of one structure, with its place for errors.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) structure: Structure,
    pub(super) offset: u32,
}

impl<'a> Record<'a> {
    /// `length` bytes at `at`.
    pub(super) fn slice(&self, at: usize, length: usize) -> Result<&'a [u8], HiveError> {
        let end = at.checked_add(length);
        end.and_then(|end| self.bytes.get(at..end)).ok_or_else(|| self.bad_size())
    }

    pub(super) fn u8(&self, at: usize) -> Result<u8, HiveError> {
        self.array::<1>(at).map(|[byte]| byte)
    }

    pub(super) fn u16(&self, at: usize) -> Result<u16, HiveError> {
        self.array(at).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&self, at: usize) -> Result<u32, HiveError> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&self, at: usize) -> Result<u64, HiveError> {
        self.array(at).map(u64::from_le_bytes)
    }

    /// A number of 32 bits that counts or measures something in memory.
    pub(super) fn size(&self, at: usize) -> Result<usize, HiveError> {
        usize::try_from(self.u32(at)?).map_err(|_| self.bad_size())
    }

    /// A reference to another cell, unless it is `NIL`.
    pub(super) fn reference(&self, at: usize) -> Result<Option<u32>, HiveError> {
        Ok(Some(self.u32(at)?).filter(|offset| *offset != super::NIL))
    }

    /// Requires the two bytes every record begins with.
    pub(super) fn signed(self, signature: [u8; 2]) -> Result<Self, HiveError> {
        if self.bytes.starts_with(&signature) {
            return Ok(self);
        }
        Err(HiveError::Signature { structure: self.structure, offset: self.offset })
    }

    pub(super) fn bad_size(&self) -> HiveError {
        HiveError::BadSize { structure: self.structure, offset: self.offset }
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], HiveError> {
        self.bytes.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or_else(|| self.bad_size())
    }
}

/// Overwrites the bytes at `at`, which the caller has made.
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&field);
}
