//! Hive bins while they are written.

use super::base_block::PAGE;
use super::cells::{BIN_HEADER, CELL_ALIGN, CELL_HEADER};
use super::record::put;
use crate::HiveError;

/// A hive that grows at its end: cells follow one another, what is left of a bin is one free cell.
pub(super) struct Bins {
    /// Room for the base block, then the bins up to the last cell.
    hive: Vec<u8>,
    /// Where in `hive` the last bin ends.
    bin_end: usize,
}

impl Bins {
    pub(super) fn new() -> Self {
        Self { hive: vec![0; PAGE], bin_end: PAGE }
    }

    /// Adds a cell and returns its offset.
    pub(super) fn add(&mut self, content: &[u8]) -> Result<u32, HiveError> {
        let length = (content.len() + CELL_HEADER).next_multiple_of(CELL_ALIGN);
        if length > self.bin_end - self.hive.len() {
            self.open_bin(length)?;
        }
        let start = self.hive.len();
        let size = i32::try_from(length).map_err(|_| HiveError::TooLarge)?;
        self.hive.extend_from_slice(&(-size).to_le_bytes());
        self.hive.extend_from_slice(content);
        self.hive.resize(start + length, 0);
        u32::try_from(start - PAGE).map_err(|_| HiveError::TooLarge)
    }

    /// Content of the cell at an offset that [`Bins::add`] returned, up to the end of the hive.
    pub(super) fn content(&mut self, offset: u32) -> &mut [u8] {
        let start = usize::try_from(offset).unwrap_or(usize::MAX - 2 * PAGE) + PAGE;
        &mut self.hive[start + CELL_HEADER..]
    }

    /// Closes the last bin and returns the hive, its base block still empty, and the bins' size.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, u32), HiveError> {
        self.close_bin()?;
        let size = u32::try_from(self.hive.len() - PAGE).map_err(|_| HiveError::TooLarge)?;
        Ok((self.hive, size))
    }

    /// Begins a bin that has room for a cell of `length` bytes.
    fn open_bin(&mut self, length: usize) -> Result<(), HiveError> {
        self.close_bin()?;
        let start = self.hive.len();
        let size = (BIN_HEADER + length).next_multiple_of(PAGE);
        self.bin_end = start + size;
        // Offsets from 2 GiB on mean volatile storage.
        if i32::try_from(self.bin_end - PAGE).is_err() {
            return Err(HiveError::TooLarge);
        }
        let mut header = [0; BIN_HEADER];
        put(&mut header, 0, *b"hbin");
        put(&mut header, 4, number(start - PAGE)?);
        put(&mut header, 8, number(size)?);
        self.hive.extend_from_slice(&header);
        Ok(())
    }

    /// Makes a free cell of what is left of the last bin.
    fn close_bin(&mut self) -> Result<(), HiveError> {
        let left = self.bin_end - self.hive.len();
        if left > 0 {
            self.hive.extend_from_slice(&number(left)?);
            self.hive.resize(self.bin_end, 0);
        }
        Ok(())
    }
}

fn number(size: usize) -> Result<[u8; 4], HiveError> {
    u32::try_from(size).map(u32::to_le_bytes).map_err(|_| HiveError::TooLarge)
}
