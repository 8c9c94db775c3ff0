//! Bringing a hive to the state its logs tell of.
//!
//! Follows M. Suhanov's specification, "Dirty state of a hive" and "Multiple transaction log
//! files". A log that does not fit is passed over as Windows does, and an entry that is not sound
//! ends its log; but where Windows puts an empty bin in the place of a bad one, the bad one stays
//! and reading the hive names it.

use std::borrow::Cow;

use super::base_block::{BaseBlock, PAGE, SECTOR};
use super::log::{Change, Log};
use crate::HiveError;

/// Where in a hive the time of its first bin is.
const FIRST_BIN_TIME: usize = PAGE + 20;

/// The bytes of a clean hive: `hive` itself, or what its `logs` make of it when it is dirty.
///
/// Logs of the new format (Windows 8.1 and later) are applied in the order of their sequence
/// numbers, whatever their order here; of those of the old format the first that fits. A base block
/// that was damaged is taken from the log that fits.
///
/// # Errors
///
/// [`HiveError::NoLogFits`] when the hive is dirty and no log fits it: [`crate::read_unclean`]
/// reads it as it stands. When its base block is damaged and no log fits, what is wrong with the
/// base block.
pub fn recover<'a>(hive: &'a [u8], logs: &[&[u8]]) -> Result<Cow<'a, [u8]>, HiveError> {
    let block = match BaseBlock::parse(hive) {
        Ok(block) if block.clean().is_ok() => return Ok(Cow::Borrowed(hive)),
        Ok(block) => Ok(block),
        Err(damage @ (HiveError::NotAHive | HiveError::Checksum { .. })) => Err(damage),
        Err(other) => return Err(other),
    };
    // Windows makes empty logs ahead of need: one that is no log does not fit either.
    let parsed: Vec<Log<'_>> = logs.iter().filter_map(|log| Log::parse(log).ok()).collect();
    let repaired = match &block {
        Ok(block) => new_logs(hive, block, &parsed).or_else(|| old_log(hive, Some(block), &parsed)),
        Err(_) => latest_log(hive, &parsed).or_else(|| old_log(hive, None, &parsed)),
    };
    repaired.map(Cow::Owned).ok_or(match block {
        Ok(BaseBlock { primary, secondary, .. }) => {
            HiveError::NoLogFits { primary, secondary, logs: logs.len() }
        }
        Err(damage) => damage,
    })
}

/// Applies all logs of the new format that go on where the hive stopped.
fn new_logs(hive: &[u8], block: &BaseBlock, logs: &[Log<'_>]) -> Option<Vec<u8>> {
    let fits = |log: &&Log<'_>| log.is_new() && log.block.primary >= block.secondary;
    let mut logs: Vec<&Log<'_>> = logs.iter().filter(fits).collect();
    logs.sort_by_key(|log| log.block.primary);
    let mut repair = Repair::new(hive);
    for log in logs {
        let next = repair.sequence.map(|last| last.wrapping_add(1));
        repair.apply_all(log.entries(next.unwrap_or(log.block.primary)));
    }
    repair.finish()
}

/// Applies the log of the new format that goes furthest, and takes its base block.
fn latest_log(hive: &[u8], logs: &[Log<'_>]) -> Option<Vec<u8>> {
    let entries = |log: &Log<'_>| log.entries(log.block.primary).count();
    let sound = |log: &&Log<'_>| log.is_new() && entries(log) > 0;
    let log = logs.iter().filter(sound).max_by_key(|log| log.block.primary)?;
    let mut repair = Repair::with_base_block(hive, log)?;
    repair.apply_all(log.entries(log.block.primary));
    repair.finish()
}

/// Applies the log of the old format that was written together with the hive.
fn old_log(hive: &[u8], block: Option<&BaseBlock>, logs: &[Log<'_>]) -> Option<Vec<u8>> {
    let of_first_bin = || hive.get(FIRST_BIN_TIME..)?.first_chunk().copied();
    let time = match block {
        Some(block) => block.last_write,
        None => u64::from_le_bytes(of_first_bin()?),
    };
    logs.iter().filter(|log| log.block.last_write == time).find_map(|log| {
        let mut repair = match block {
            Some(_) => Repair::new(hive),
            None => Repair::with_base_block(hive, log)?,
        };
        repair.apply_all(log.dirty_pages().into_iter());
        repair.finish()
    })
}

/// A hive while logs are applied to it.
struct Repair {
    hive: Vec<u8>,
    /// Sequence number of the last change applied.
    sequence: Option<u32>,
    bins_size: u32,
}

impl Repair {
    fn new(hive: &[u8]) -> Self {
        Self { hive: hive.to_vec(), sequence: None, bins_size: 0 }
    }

    /// Begins with the base block that `log` has a copy of.
    fn with_base_block(hive: &[u8], log: &Log<'_>) -> Option<Self> {
        let mut repair = Self::new(hive);
        repair.hive.get_mut(..PAGE)?[..SECTOR].copy_from_slice(log.base_block());
        Some(repair)
    }

    /// Applies changes up to the first that does not fit.
    fn apply_all<'a>(&mut self, mut changes: impl Iterator<Item = Change<'a>>) {
        while changes.next().is_some_and(|change| self.apply(&change).is_some()) {}
    }

    /// Applies one change; nothing is done when it does not fit.
    fn apply(&mut self, change: &Change<'_>) -> Option<()> {
        let bins_size = u32::try_from(change.bins_size).ok()?;
        // A hive grows by bins that are in its log: a log cannot make a large hive of a small one.
        let brought: usize = change.pages.iter().map(|(_, page)| page.len()).sum();
        let end = change.bins_size.checked_add(PAGE)?;
        let inside = |(at, page): &(usize, &[u8])| {
            at.checked_add(page.len()).is_some_and(|end| end <= change.bins_size)
        };
        if end > self.hive.len() + brought || !change.pages.iter().all(inside) {
            return None;
        }
        self.hive.resize(end.max(self.hive.len()), 0);
        for (at, page) in &change.pages {
            self.hive[PAGE + at..][..page.len()].copy_from_slice(page);
        }
        (self.sequence, self.bins_size) = (Some(change.sequence), bins_size);
        Some(())
    }

    /// The hive, clean; nothing when no change fitted it.
    fn finish(mut self) -> Option<Vec<u8>> {
        BaseBlock::settle(&mut self.hive, self.sequence?, self.bins_size);
        Some(self.hive)
    }
}
