//! From entries to bytes.

use std::io::{Read, Write};

use crate::{Entry, LayerError};

/// Writes a layer tar, laid out byte for byte as Go's `archive/tar` does for genuine producers.
///
/// The caller chooses the order; genuine exports are depth first, names in byte order.
pub struct Writer<W> {
    output: W,
}

impl<W: Write> Writer<W> {
    /// Writes an uncompressed tar to `output`.
    pub fn new(output: W) -> Self {
        Self { output }
    }

    /// Writes `entry` and its data, which must be exactly as long as the entry says.
    ///
    /// # Errors
    /// [`LayerError::Size`] when the data is shorter or longer, [`LayerError::Limit`] when security
    /// descriptor and extended attributes are too large for a PAX header, [`LayerError::Io`].
    pub fn add(&mut self, _entry: &Entry, _data: impl Read) -> Result<(), LayerError> {
        todo!()
    }

    /// Writes the end marker and gives the output back.
    ///
    /// # Errors
    /// [`LayerError::Io`].
    pub fn finish(self) -> Result<W, LayerError> {
        todo!()
    }
}
