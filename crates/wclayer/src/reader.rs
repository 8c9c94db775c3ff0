//! From bytes to entries.

use std::io::{self, Read};

use crate::{Entry, LayerError};

/// Reads a layer tar entry by entry; reading from it yields the data of the current one.
///
/// Memory use does not depend on the layer's size.
pub struct Reader<R> {
    input: R,
}

impl<R: Read> Reader<R> {
    /// Reads the uncompressed tar `input`.
    pub fn new(input: R) -> Self {
        Self { input }
    }

    /// Skips what is left of the current entry's data and reads the next entry; `None` at the end.
    ///
    /// # Errors
    /// [`LayerError`] for anything a layer cannot hold; the reader is of no use after that.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, LayerError> {
        todo!()
    }

    /// Gives the input back, positioned after the tar's end marker.
    pub fn into_inner(self) -> R {
        self.input
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        todo!()
    }
}
