//! The registry of a container that runs, saved for as long as somebody reads it.

use std::path::{Path, PathBuf};

use oriel_image::Sandbox;

use crate::{
    Engine, EngineError,
    container::{Container, Live},
};

/// A directory with a running container's registry; it goes with this.
pub(crate) struct SavedRegistry {
    path: PathBuf,
    /// The directory is in the sandbox, which may be on a disk that is mounted while it is in use.
    _sandbox: Sandbox,
}

impl SavedRegistry {
    /// Asks a running container for its registry.
    ///
    /// # Errors
    /// `Conflict` when Windows does not save it.
    pub(crate) async fn of(
        engine: &Engine,
        container: &Container,
        live: &Live,
    ) -> Result<Self, EngineError> {
        let id = container.id.clone();
        let sandbox = engine.blocking(move |engine| engine.images().sandbox(&id)).await?;
        Ok(Self { path: live.system.save_registry().await?, _sandbox: sandbox })
    }

    /// The directory. What is in it is the guest's.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SavedRegistry {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_dir_all(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(error = %error, "cannot remove a saved registry");
        }
    }
}
