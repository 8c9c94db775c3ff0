//! The registry of a container that runs, saved for as long as somebody reads it.

use std::path::{Path, PathBuf};

use crate::{EngineError, container::Live};

/// A directory with a running container's registry; it goes with this.
pub(crate) struct SavedRegistry(PathBuf);

impl SavedRegistry {
    /// Asks a running container for its registry.
    ///
    /// # Errors
    /// `Conflict` when Windows does not save it.
    pub(crate) async fn of(live: &Live) -> Result<Self, EngineError> {
        Ok(Self(live.system.save_registry().await?))
    }

    /// The directory. What is in it is the guest's.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SavedRegistry {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_dir_all(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(error = %error, "cannot remove a saved registry");
        }
    }
}
