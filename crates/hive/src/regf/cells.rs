//! Cells: the only door to the bytes of a hive.
//!
//! [`Cells::take`] hands out the content of a cell once. As no byte is handed out twice, whatever
//! is built of cells is no larger than a constant times the hive, and no walk can go in circles.

use super::base_block::PAGE;
use super::record::Record;
use crate::{HiveError, Structure};

/// Size of a bin's header.
pub(super) const BIN_HEADER: usize = 32;
/// Cells begin and end at multiples of this.
pub(super) const CELL_ALIGN: usize = 8;
/// Size of the number before a cell's content.
pub(super) const CELL_HEADER: usize = 4;

/// All cells of a hive.
pub(super) struct Cells<'a> {
    bins: &'a [u8],
    /// Where the bin ends that holds each page.
    bin_ends: Vec<usize>,
    taken: Taken,
}

impl<'a> Cells<'a> {
    /// Checks the headers of all bins in the first `size` bytes after the base block.
    pub(super) fn new(hive: &'a [u8], size: usize) -> Result<Self, HiveError> {
        let end = size.checked_add(PAGE).filter(|_| size.is_multiple_of(PAGE) && size > 0);
        let end = end.ok_or(HiveError::BadSize { structure: Structure::BaseBlock, offset: 0 })?;
        let bins = hive.get(PAGE..end).ok_or_else(|| {
            let offset = u32::try_from(hive.len().saturating_sub(PAGE)).unwrap_or(u32::MAX);
            HiveError::Truncated { structure: Structure::Bin, offset }
        })?;
        let bin_ends = bin_ends(bins)?;
        Ok(Self { bins, bin_ends, taken: Taken::new(size) })
    }

    /// Size of all bins in bytes.
    pub(super) fn size(&self) -> usize {
        self.bins.len()
    }

    /// The content of the cell in use at `offset`, which no structure may have taken before.
    pub(super) fn take(
        &mut self,
        structure: Structure,
        offset: u32,
    ) -> Result<Record<'a>, HiveError> {
        let (start, end) =
            self.bounds(offset).ok_or(HiveError::BadReference { structure, offset })?;
        if !self.taken.mark(start, end) {
            return Err(HiveError::UsedTwice { structure, offset });
        }
        let bytes = &self.bins[start + CELL_HEADER..end];
        Ok(Record { bytes, structure, offset })
    }

    /// Where the cell in use at `offset` begins and ends.
    fn bounds(&self, offset: u32) -> Option<(usize, usize)> {
        let start =
            usize::try_from(offset).ok().filter(|start| start.is_multiple_of(CELL_ALIGN))?;
        let bin_end = *self.bin_ends.get(start / PAGE)?;
        let size = i32::from_le_bytes(*self.bins.get(start..)?.first_chunk()?);
        let length = usize::try_from(size.checked_neg()?).ok()?;
        let fits = length >= CELL_ALIGN && length.is_multiple_of(CELL_ALIGN);
        let end = start.checked_add(length)?;
        (fits && end <= bin_end).then_some((start, end))
    }
}

/// For each page the end of its bin.
fn bin_ends(bins: &[u8]) -> Result<Vec<usize>, HiveError> {
    let mut ends = Vec::with_capacity(bins.len() / PAGE);
    while ends.len() * PAGE < bins.len() {
        let start = ends.len() * PAGE;
        let offset = u32::try_from(start).unwrap_or(u32::MAX);
        let record = Record { bytes: &bins[start..], structure: Structure::Bin, offset };
        if record.slice(0, 4)? != b"hbin" || record.u32(4)? != offset {
            return Err(HiveError::Signature { structure: Structure::Bin, offset });
        }
        let size = record.size(8)?;
        if size == 0 || !size.is_multiple_of(PAGE) || size > bins.len() - start {
            return Err(record.bad_size());
        }
        ends.resize(ends.len() + size / PAGE, start + size);
    }
    Ok(ends)
}

/// One bit for every 8 bytes of the bins.
struct Taken(Vec<u64>);

impl Taken {
    /// Bytes that one word tells of.
    const WORD: usize = 64 * CELL_ALIGN;

    fn new(size: usize) -> Self {
        Self(vec![0; size.div_ceil(Self::WORD)])
    }

    /// Marks the bytes from `start` to `end`; false when some were marked already.
    fn mark(&mut self, start: usize, end: usize) -> bool {
        let mut at = start;
        while at < end {
            let word_end = (at / Self::WORD + 1) * Self::WORD;
            let count = (end.min(word_end) - at) / CELL_ALIGN;
            let mask = (u64::MAX >> (64 - count)) << (at % Self::WORD / CELL_ALIGN);
            let word = &mut self.0[at / Self::WORD];
            if *word & mask != 0 {
                return false;
            }
            *word |= mask;
            at = word_end;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_taken_once() {
        let mut taken = Taken::new(4096);
        assert!(taken.mark(32, 40));
        assert!(taken.mark(40, 2048));
        assert!(taken.mark(2048, 4096));
        for start in (32..4096).step_by(8) {
            assert!(!taken.mark(start, start + 8), "{start}");
        }
        assert!(taken.mark(0, 32));
    }
}
