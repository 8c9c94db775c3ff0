//! Files that are read while they are still being written.
//!
//! A layer is digested or extracted while the rest of it is under way. Reader and writer share
//! the file, whose pages are in memory anyway, and how far it is written: no second buffer, and
//! neither waits for the other longer than for the bytes it needs.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A file being written from its start.
pub(crate) struct Growing {
    file: File,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    written: u64,
    phase: Phase,
}

/// ```text
/// Written ──▶ Complete
///    └──────▶ Abandoned
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Written,
    Complete,
    Abandoned,
}

impl Growing {
    /// Goes on writing `file` after its first `written` bytes.
    pub(crate) fn new(file: File, written: u64) -> Arc<Self> {
        let state = Mutex::new(State { written, phase: Phase::Written });
        Arc::new(Self { file, state, changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment, so a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Bytes written.
    pub(crate) fn written(&self) -> u64 {
        self.lock().written
    }

    /// Writes `bytes` after what is there.
    pub(crate) fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let at = self.written();
        self.file.write_all_at(bytes, at)?;
        self.lock().written = at + bytes.len() as u64;
        self.changed.notify_all();
        Ok(())
    }

    /// Begins again from the first byte.
    pub(crate) fn restart(&self) -> io::Result<()> {
        self.lock().written = 0;
        self.file.set_len(0)
    }

    /// Says that nothing more will come.
    pub(crate) fn complete(&self) {
        self.end(Phase::Complete);
    }

    /// Says that the rest will never come, unless all came.
    pub(crate) fn abandon(&self) {
        self.end(Phase::Abandoned);
    }

    fn end(&self, phase: Phase) {
        let mut state = self.lock();
        if state.phase == Phase::Written {
            state.phase = phase;
            self.changed.notify_all();
        }
    }

    /// Reads the file from its start.
    pub(crate) fn follow(self: &Arc<Self>) -> Follower {
        Follower { file: self.clone(), position: 0 }
    }
}

/// Reads a blob while it is still being written: waits for more, and fails when no more will come.
pub struct Follower {
    file: Arc<Growing>,
    position: u64,
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let there = self.wait()?;
            let count = usize::try_from(there).unwrap_or(usize::MAX).min(buffer.len());
            let count = self.file.file.read_at(&mut buffer[..count], self.position)?;
            // None of what was there: the writer began again.
            if count > 0 || there == 0 {
                self.position += count as u64;
                return Ok(count);
            }
        }
    }
}

impl Follower {
    /// Waits for bytes after those read, and says how many there are; none at the end.
    fn wait(&self) -> io::Result<u64> {
        let mut state = self.file.lock();
        while state.phase == Phase::Written && state.written <= self.position {
            state = self.file.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.phase == Phase::Abandoned {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the transfer broke off"));
        }
        Ok(state.written.saturating_sub(self.position))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::Growing;

    #[test]
    fn a_follower_reads_all_that_is_ever_written() {
        let growing = Growing::new(tempfile::tempfile().unwrap(), 0);
        let mut follower = growing.follow();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            follower.read_to_end(&mut all).map(|_| all)
        });
        for piece in [&b"one "[..], b"two ", b"three"] {
            growing.append(piece).unwrap();
        }
        growing.complete();
        assert_eq!(reader.join().unwrap().unwrap(), b"one two three");
    }

    #[test]
    fn a_follower_fails_when_the_rest_never_comes() {
        let growing = Growing::new(tempfile::tempfile().unwrap(), 0);
        let mut follower = growing.follow();
        growing.append(b"one").unwrap();
        growing.abandon();
        let error = follower.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "the transfer broke off");
    }

    #[test]
    fn a_restart_gives_a_follower_what_it_had_not_read() {
        let growing = Growing::new(tempfile::tempfile().unwrap(), 0);
        let mut follower = growing.follow();
        growing.append(b"abc").unwrap();
        let mut first = [0; 3];
        follower.read_exact(&mut first).unwrap();
        growing.restart().unwrap();
        growing.append(b"ab").unwrap();
        growing.append(b"cd").unwrap();
        growing.complete();
        let mut rest = String::new();
        follower.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "d");
    }
}
