//! Answers that are lines of JSON, read one line at a time however long the answer is.

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;

use crate::connection::Stream;

/// Longest line: a value of the registry with as much data as a sensible one ever has, in hex.
const MAX_LINE: usize = 1 << 30;

/// The lines of an answer.
pub(crate) struct Lines {
    stream: Stream,
    waiting: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where there is no end of that line.
    searched: usize,
}

impl Lines {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, waiting: Vec::new(), start: 0, searched: 0 }
    }

    /// The next line; `None` at the end of the answer.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        loop {
            let found = self.waiting[self.searched..].iter().position(|byte| *byte == b'\n');
            if let Some(found) = found {
                let end = self.searched + found;
                let line = serde_json::from_slice(&self.waiting[self.start..end]);
                (self.start, self.searched) = (end + 1, end + 1);
                return line.map(Some).context("the daemon's answer is not understood");
            }
            self.waiting.drain(..self.start);
            (self.start, self.searched) = (0, self.waiting.len());
            if self.waiting.len() > MAX_LINE {
                bail!("the daemon sent a line of more than {MAX_LINE} bytes");
            }
            match self.stream.piece().await? {
                Some(piece) => self.waiting.extend_from_slice(&piece),
                None if self.waiting.is_empty() => return Ok(None),
                None => bail!("the daemon broke off its answer"),
            }
        }
    }
}
