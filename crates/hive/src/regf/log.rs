//! What Windows wrote beside a hive before it wrote the hive: `.LOG`, `.LOG1` and `.LOG2`.
//!
//! ```text
//!  old  copy of the base block | "DIRT", one bit for each 512 bytes of the bins | dirty pages
//!  new  copy of the base block, 512 | entry | entry | ...
//!         entry: "HvLE" size flags sequence bins-size count hash hash | references | pages
//! ```
//!
//! A log may come from a stranger like its hive: all it names is checked before it is used, and
//! what it makes of a hive is never larger than both together.

use super::base_block::{BaseBlock, PAGE, SECTOR};
use super::marvin;
use crate::HiveError;

/// File types of logs of the old format; 2 is Windows 2000's.
const OLD_TYPES: [u32; 2] = [1, 2];
/// File type of logs of the new format, since Windows 8.1.
const NEW_TYPE: u32 = 6;
/// Where the page references of an entry begin.
const REFERENCES: usize = 40;
/// Bytes of an entry that its second hash guards.
const GUARDED: usize = 32;
/// Largest sector of any disk Windows kept hives on, in units of 512 bytes.
const MAX_CLUSTERING: usize = 8;

/// A log whose base block is in order.
pub(super) struct Log<'a> {
    pub(super) block: BaseBlock,
    bytes: &'a [u8],
}

/// Pages that were to be written to the hive at once.
pub(super) struct Change<'a> {
    /// Sequence number of the hive once they are written.
    pub(super) sequence: u32,
    /// Size of all bins once they are written.
    pub(super) bins_size: usize,
    /// Where each page belongs in the bins, and the page.
    pub(super) pages: Vec<(usize, &'a [u8])>,
}

impl<'a> Log<'a> {
    /// Reads a log's base block.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, HiveError> {
        BaseBlock::parse_copy(bytes).map(|block| Self { block, bytes })
    }

    /// Whether the log is of the new format.
    pub(super) fn is_new(&self) -> bool {
        self.block.file_type == NEW_TYPE
    }

    /// The copy of the base block.
    pub(super) fn base_block(&self) -> &'a [u8] {
        &self.bytes[..SECTOR]
    }

    /// The changes of a log of the new format, from `first` on as far as each is sound and has the
    /// sequence number after that of the one before.
    pub(super) fn entries(&self, first: u32) -> impl Iterator<Item = Change<'a>> {
        let (mut rest, mut expected) = (&self.bytes[SECTOR..], first);
        std::iter::from_fn(move || {
            let (change, after) = entry(rest).filter(|(it, _)| it.sequence == expected)?;
            expected = expected.wrapping_add(1);
            rest = after;
            Some(change)
        })
    }

    /// The one change a log of the old format holds.
    pub(super) fn dirty_pages(&self) -> Option<Change<'a>> {
        let block = &self.block;
        let ended = OLD_TYPES.contains(&block.file_type) && block.primary == block.secondary;
        let sound = ended && (1..=MAX_CLUSTERING).contains(&block.clustering);
        let sector = block.clustering * SECTOR;
        let vector = self.bytes.get(sector..).filter(|_| sound)?.strip_prefix(b"DIRT")?;
        let bitmap = vector.get(..block.bins_size / SECTOR / 8)?;
        let mut rest = self.bytes.get(sector + (4 + bitmap.len()).next_multiple_of(sector)..)?;
        let mut pages = Vec::new();
        for at in (0..8 * bitmap.len()).filter(|at| bitmap[at / 8] >> (at % 8) & 1 != 0) {
            let (page, after) = rest.split_at_checked(SECTOR)?;
            pages.push((at * SECTOR, page));
            rest = after;
        }
        Some(Change { sequence: block.primary, bins_size: block.bins_size, pages })
    }
}

/// Reads the entry that `bytes` begin with; returns it and what follows it, or nothing when it is
/// not sound.
fn entry(bytes: &[u8]) -> Option<(Change<'_>, &[u8])> {
    let [size, sequence, bins_size, count] = [4, 12, 16, 20].map(|at| number(bytes, at));
    let (entry, after) = bytes.split_at_checked(size?)?;
    let whole = entry.len().is_multiple_of(SECTOR) && bins_size?.is_multiple_of(PAGE);
    if !whole || !entry.starts_with(b"HvLE") {
        return None;
    }
    let guarded = [&entry[REFERENCES..], &entry[..GUARDED]];
    if [24, 32].map(|at| hash_at(entry, at)) != guarded.map(|bytes| Some(marvin::hash(bytes))) {
        return None;
    }
    let (references, mut rest) = entry[REFERENCES..].split_at_checked(count?.checked_mul(8)?)?;
    let mut pages = Vec::with_capacity(count?);
    for reference in references.as_chunks::<8>().0 {
        let (page, after) = rest.split_at_checked(number(reference, 4)?)?;
        pages.push((number(reference, 0)?, page));
        rest = after;
    }
    let sequence = u32::try_from(sequence?).ok()?;
    Some((Change { sequence, bins_size: bins_size?, pages }, after))
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

fn hash_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}
