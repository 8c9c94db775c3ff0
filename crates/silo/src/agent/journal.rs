//! What the host has yet to learn, on disk.
//!
//! The journal is a file of bridge frames in the state directory, which outlives the silo. It
//! begins with a `Hello` that names the processes and with the exits known, so that whoever reads
//! it knows how each process ended, even when the agent is gone:
//!
//! ```text
//! a host listens     [Hello, Exited…] then each Created and Exited as it happens
//! no host listens    [Hello, Exited…] then every frame, in order
//! ```
//!
//! When it has [`CAPACITY`] bytes, nothing more is read from the guest until a host comes: output
//! waits in pipes and programs block, as on Windows when nobody reads; nothing is dropped.

use std::{
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use fs_err as fs;
use oriel_hcs::bridge::{Frame, LENGTH_SIZE};

/// Most bytes kept for an absent host. A chatty service writes some megabytes in the minutes that
/// an upgrade of the daemon takes.
pub(crate) const CAPACITY: u64 = 64 << 20;

/// Most bytes read from a journal; it exceeds [`CAPACITY`] by a few frames at most.
const READ_LIMIT: u64 = CAPACITY + (8 << 20);

/// The journal being written.
#[derive(Debug)]
pub(super) struct Journal {
    file: fs::File,
    length: u64,
}

impl Journal {
    /// Makes an empty one.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Self { file, length: 0 })
    }

    /// Begins anew with these frames.
    pub(super) fn reset(&mut self, frames: &[Frame]) -> io::Result<()> {
        self.file.set_len(0)?;
        self.length = 0;
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        self.append(&bytes)
    }

    /// Adds a frame.
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        self.file.file().write_all_at(frame, self.length)?;
        self.length += frame.len() as u64;
        self.file.flush()
    }

    /// Reads some bytes from `offset` on; none at the end.
    pub(super) fn read(&self, offset: u64, size: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        let count = self.file.file().read_at(&mut bytes, offset)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// Bytes in it.
    pub(super) fn len(&self) -> u64 {
        self.length
    }
}

/// Reads the journal that a dead agent left. A last frame cut short is left out.
pub(crate) fn load(path: &Path) -> io::Result<Vec<Frame>> {
    let file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, READ_LIMIT), &mut bytes)?;
    Ok(parse(&bytes))
}

fn parse(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((field, rest)) = bytes.split_first_chunk::<LENGTH_SIZE>() {
        let Ok(length) = Frame::body_length(*field) else { break };
        let Some((body, rest)) = rest.split_at_checked(length) else { break };
        let Ok(frame) = Frame::decode(body) else { break };
        frames.push(frame);
        bytes = rest;
    }
    frames
}

#[cfg(test)]
mod tests {
    use oriel_hcs::{ProcessId, bridge::Message};

    use super::*;

    fn frames() -> Vec<Frame> {
        [Message::Stdout(b"a\r\n".to_vec()), Message::Exited(0xc000_0005)]
            .map(|message| Frame { process: ProcessId::INIT, message })
            .to_vec()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("journal");
        let mut journal = Journal::create(&path).unwrap();
        journal.append(b"stale").unwrap();
        journal.reset(&frames()[..1]).unwrap();
        journal.append(&frames()[1].encode()).unwrap();
        assert_eq!(load(&path).unwrap(), frames());
        assert_eq!(journal.read(0, 1 << 20).unwrap().len() as u64, journal.len());
        assert!(journal.read(journal.len(), 16).unwrap().is_empty());
    }

    #[test]
    fn a_journal_cut_anywhere_yields_its_whole_frames() {
        let frames = frames();
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        for cut in 0..bytes.len() {
            let found = parse(&bytes[..cut]);
            assert_eq!(found[..], frames[..found.len()], "cut at {cut}");
        }
    }
}
