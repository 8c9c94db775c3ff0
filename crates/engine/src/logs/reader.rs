//! Reads a log, over all its files, from where it is told to begin.

use std::{
    io::{self, Seek as _, SeekFrom},
    sync::Arc,
};

use super::{
    LogRecord,
    files::{LogFile, LogFiles, Position},
};
use crate::Time;

/// Records of one batch; with their bound that of its bytes, and of what a slow client holds.
const BATCH: usize = 512;
/// Bytes after which a batch is large enough.
const BATCH_BYTES: usize = 128 << 10;

/// See [module documentation](self). It has one file open at a time, which stays readable when it
/// is removed meanwhile. All calls block for the time of a disk read.
pub(super) struct LogReader {
    files: Arc<LogFiles>,
    /// Which file is read.
    generation: u64,
    /// It, once it was there.
    file: Option<LogFile>,
    /// Where the next record begins in it.
    offset: u64,
    /// A record that is not whole yet.
    pending: Vec<u8>,
}

impl LogReader {
    /// Reads all that came after `since`, and maybe some of what came before.
    pub(super) fn since(files: Arc<LogFiles>, since: Option<Time>) -> Self {
        let generation = match since {
            Some(since) => files.oldest_since(since),
            None => files.oldest(),
        };
        Self::at(files, generation, None, 0)
    }

    /// Reads the last `count` records and what comes. Files before them are not touched.
    pub(super) fn tail(files: Arc<LogFiles>, count: u64) -> io::Result<Self> {
        let (newest, oldest) = (files.newest(), files.oldest());
        let mut start = Self::at(files.clone(), newest, None, 0);
        let mut left = count;
        for generation in (oldest..=newest).rev() {
            let Some(file) = files.open(generation)? else { continue };
            let (file, offset, found) = last(&files, file, left, generation)?;
            start = Self::at(files.clone(), generation, Some(file), offset);
            left -= found;
            if left == 0 {
                break;
            }
        }
        Ok(start)
    }

    fn at(files: Arc<LogFiles>, generation: u64, file: Option<LogFile>, offset: u64) -> Self {
        Self { files, generation, file, offset, pending: Vec::new() }
    }

    /// The next records before `end`; none when there are no more yet. A damaged one is skipped.
    pub(super) fn read(&mut self, end: Position) -> io::Result<Vec<LogRecord>> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < BATCH && bytes < BATCH_BYTES && self.position() < end {
            // Asked for first: what is written until a rotation is in the file before it.
            let newest = self.files.newest();
            if self.fill()? {
                let record = self.files.format.parse(&self.pending);
                self.offset += self.pending.len() as u64;
                bytes += self.pending.len();
                self.pending.clear();
                records.extend(record);
            } else if self.generation < newest {
                self.next_file();
            } else {
                break;
            }
        }
        Ok(records)
    }

    fn position(&self) -> Position {
        Position { generation: self.generation, offset: self.offset }
    }

    /// Reads on until there is a whole record; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        if self.file.is_none() {
            self.file = self.files.open(self.generation)?;
        }
        let Some(file) = &mut self.file else { return Ok(false) };
        match self.files.format.fill(file.input(), &mut self.pending) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(error = %error, "a part of a log cannot be read");
                self.pending.clear();
                Ok(false)
            }
            filled => filled,
        }
    }

    /// Goes on with the next file there is.
    fn next_file(&mut self) {
        self.generation = (self.generation + 1).max(self.files.oldest());
        self.file = None;
        self.offset = 0;
        self.pending.clear();
    }
}

/// Brings a file to its last `count` records; tells where those begin, and how many they are.
fn last(
    files: &LogFiles,
    mut file: LogFile,
    count: u64,
    generation: u64,
) -> io::Result<(LogFile, u64, u64)> {
    if let LogFile::Plain(input) = &mut file
        && let Some((offset, found)) = files.format.tail(input.get_mut(), count)?
    {
        input.seek(SeekFrom::Start(offset))?;
        return Ok((file, offset, found));
    }
    let (all, _) = skip(files, &mut file, u64::MAX)?;
    let found = count.min(all);
    let Some(mut file) = files.open(generation)? else { return Ok((file, 0, 0)) };
    let (_, offset) = skip(files, &mut file, all - found)?;
    Ok((file, offset, found))
}

/// Reads past at most `most` records; tells how many there were, and how many bytes they had.
fn skip(files: &LogFiles, file: &mut LogFile, most: u64) -> io::Result<(u64, u64)> {
    let (mut count, mut bytes, mut pending) = (0, 0, Vec::new());
    while count < most && files.format.fill(file.input(), &mut pending).unwrap_or(false) {
        count += 1;
        bytes += pending.len() as u64;
        pending.clear();
    }
    Ok((count, bytes))
}
