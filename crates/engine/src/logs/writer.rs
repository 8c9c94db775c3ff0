//! Writes a log.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use fs_err::File;

use super::{
    LONGEST_LINE,
    files::{LogFiles, Position},
};
use crate::{Stream, Time};

/// See [`super`].
pub(crate) struct LogWriter {
    files: Arc<LogFiles>,
    file: File,
    generation: u64,
    length: u64,
    /// Length from which on the file is full.
    full_at: u64,
    partial: [Vec<u8>; 2],
}

impl LogWriter {
    /// Goes on with a log, or begins it.
    pub(crate) fn open(files: Arc<LogFiles>) -> io::Result<Self> {
        let (file, length) = files.open_newest()?;
        let full_at = files.keeping.max_size.unwrap_or(u64::MAX);
        let generation = files.newest();
        Ok(Self { files, file, generation, length, full_at, partial: Default::default() })
    }

    /// Where the next record begins.
    pub(crate) fn position(&self) -> Position {
        Position { generation: self.generation, offset: self.length }
    }

    /// Adds output, until the file is full and has to be [changed](Self::rotate). Returns how many
    /// bytes it has taken.
    pub(crate) fn write(&mut self, stream: Stream, time: Time, bytes: &[u8]) -> io::Result<usize> {
        let stamp = self.files.format.stamp(stream, time, &self.files.attributes);
        let mut partial = std::mem::take(&mut self.partial[stream.index()]);
        let (mut records, mut taken) = (Vec::new(), 0);
        while taken < bytes.len() && self.length + (records.len() as u64) < self.full_at {
            let room = LONGEST_LINE - partial.len();
            let rest = &bytes[taken..bytes.len().min(taken + room)];
            let end = rest.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let piece = &rest[..end.unwrap_or(rest.len())];
            taken += piece.len();
            match end {
                // Most lines come whole.
                Some(_) if partial.is_empty() => stamp.render(&mut records, piece),
                _ => {
                    partial.extend_from_slice(piece);
                    if end.is_some() || partial.len() == LONGEST_LINE {
                        stamp.render(&mut records, &partial);
                        partial.clear();
                    }
                }
            }
        }
        self.partial[stream.index()] = partial;
        self.append(&records)?;
        Ok(taken)
    }

    /// Ends lines that have no end.
    pub(crate) fn finish(&mut self, time: Time) -> io::Result<()> {
        let mut records = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = std::mem::take(&mut self.partial[stream.index()]);
            if !partial.is_empty() {
                let stamp = self.files.format.stamp(stream, time, &self.files.attributes);
                stamp.render(&mut records, &partial);
            }
        }
        self.append(&records)
    }

    /// Goes on in a new file. One that cannot be made is tried again after as much as a file holds.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        match self.files.rotate() {
            Ok(file) => {
                self.file = file;
                self.generation = self.files.newest();
                self.length = 0;
                self.full_at = self.files.keeping.max_size.unwrap_or(u64::MAX);
                Ok(())
            }
            Err(error) => {
                let more = self.files.keeping.max_size.unwrap_or(u64::MAX);
                self.full_at = self.length.saturating_add(more);
                Err(error)
            }
        }
    }

    /// Adds whole records, all of them or none.
    fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(records) {
            // The disk may have taken a part; when it does not give that back either, the next
            // start does.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += records.len() as u64;
        Ok(())
    }
}
