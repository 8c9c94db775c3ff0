//! The input of a console: keys that wait, and the read that waits for keys.

use std::collections::VecDeque;

use super::keys::{CTRL, Key, virtual_key as vk};
use super::request::units;

/// `ENABLE_PROCESSED_INPUT` and friends of `wincon.h`.
pub(super) const PROCESSED: u32 = 1;
pub(super) const LINE: u32 = 2;
pub(super) const ECHO: u32 = 4;
pub(super) const WINDOW: u32 = 8;
pub(super) const TERMINAL: u32 = 0x200;

/// What a console begins with: the above and mouse, insert, quick edit, extended flags and
/// position.
pub(super) const DEFAULT_MODE: u32 = 0x1f7;

/// Records that wait at most. A program that reads none loses what is typed after these.
const MOST_RECORDS: usize = 256 << 10;

/// `KEY_EVENT` and `WINDOW_BUFFER_SIZE_EVENT`.
const KEY_EVENT: u16 = 1;
const SIZE_EVENT: u16 = 4;

/// An `INPUT_RECORD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record(pub(super) [u8; Self::SIZE]);

impl Record {
    /// Bytes of one.
    pub(super) const SIZE: usize = 20;

    fn new(kind: u16, halves: [u16; 6], state: u32) -> Self {
        let mut record = [0; Self::SIZE];
        record[..2].copy_from_slice(&kind.to_le_bytes());
        for (place, half) in record[4..16].as_chunks_mut::<2>().0.iter_mut().zip(halves) {
            *place = half.to_le_bytes();
        }
        record[16..].copy_from_slice(&state.to_le_bytes());
        Self(record)
    }

    /// A key that goes down, or up.
    pub(super) fn key(key: Key, down: bool) -> Self {
        let halves = [u16::from(down), 0, 1, key.code, key.scan, key.unit];
        Self::new(KEY_EVENT, halves, key.state)
    }

    /// The window has another size.
    pub(super) fn size(columns: usize, rows: usize) -> Self {
        let half = |cells| u16::try_from(cells).unwrap_or(u16::MAX);
        Self::new(SIZE_EVENT, [half(columns), half(rows), 0, 0, 0, 0], 0)
    }

    /// The key that this says went down.
    pub(super) fn pressed(&self) -> Option<Key> {
        let halves = units(&self.0);
        let down = halves[0] == KEY_EVENT && (halves[2], halves[3]) != (0, 0);
        let state = u32::from(halves[8]) | u32::from(halves[9]) << 16;
        down.then(|| Key { unit: halves[7], code: halves[5], scan: halves[6], state })
    }

    /// The control event that the key means, if it is one of those.
    pub(super) fn event(&self) -> Option<u32> {
        let halves = units(&self.0);
        let held = halves[8] & 0xc != 0;
        if halves[0] != KEY_EVENT {
            None
        } else if halves[7] == 3 && (held || halves[5] == 0) {
            Some(0)
        } else if halves[5] == vk::CANCEL && u32::from(halves[8]) & CTRL != 0 {
            Some(1)
        } else {
            None
        }
    }
}

/// Records in the order they came.
#[derive(Debug, Default)]
pub(super) struct Records(pub(super) VecDeque<Record>);

impl Records {
    /// Adds one.
    pub(super) fn push(&mut self, record: Record) {
        if self.0.len() < MOST_RECORDS {
            self.0.push_back(record);
        }
    }

    /// The next key that went down.
    pub(super) fn next_key(&mut self) -> Option<Key> {
        while let Some(record) = self.0.pop_front() {
            if let Some(key) = record.pressed() {
                return Some(key);
            }
        }
        None
    }

    /// Bytes of the first records, as many as fit.
    pub(super) fn bytes(&self, room: usize) -> Vec<u8> {
        self.0.iter().take(room / Record::SIZE).flat_map(|record| record.0).collect()
    }
}

/// What a read is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Records.
    Records,
    /// UTF-16.
    Text,
    /// UTF-16, with the keys held at its end before it.
    TextAndState,
    /// Bytes in the input's code page.
    Bytes,
}

/// A read that waits.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) wanted: Wanted,
    /// Bytes that fit.
    pub(super) room: usize,
    /// Control characters that end a line, as bits.
    pub(super) stops: u32,
}
