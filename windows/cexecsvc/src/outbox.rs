//! The way out: whole frames, one after the other.

use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};

use oriel_hcs::ProcessId;
use oriel_hcs::bridge::{Frame, Message};

/// The writing end of the bridge, shared by all threads. A host that does not read makes
/// [`Outbox::send`] wait, and so, in the end, the programs.
pub(crate) struct Outbox(Mutex<File>);

impl Outbox {
    /// Frames will be written to this file.
    pub(crate) fn new(output: File) -> Self {
        Self(Mutex::new(output))
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// When the bridge is gone, and with it the silo.
    pub(crate) fn send(&self, process: ProcessId, message: Message) -> io::Result<()> {
        use std::io::Write;

        let bytes = Frame { process, message }.encode();
        // A thread that panicked while writing left a torn frame only if the pipe is gone anyway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes)
    }
}
