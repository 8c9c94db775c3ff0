//! Archives of images: `docker save` and `docker load`.

use std::io::{Read, Write};

use crate::{ImageError, ImageStore, LoadEvent, Loaded};

impl ImageStore {
    /// Writes the images `names` as `docker save` does: an OCI layout with Docker's manifest.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`] before the first byte, [`ImageError::Io`].
    pub fn save(&self, _names: &[String], _output: &mut dyn Write) -> Result<(), ImageError> {
        todo!()
    }

    /// Reads an archive of `docker save` or an OCI layout; tar, gzip or zstd.
    ///
    /// # Errors
    /// Any; then nothing of the archive is kept.
    pub fn load(
        &self,
        _input: &mut dyn Read,
        _progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Vec<Loaded>, ImageError> {
        todo!()
    }
}
