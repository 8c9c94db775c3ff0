//! Whose files are.

use oriel_wclayer::security;
use rustix::fs::FileType;

use super::{SandboxFiles, bad};
use crate::disk;
use crate::error::Attempt;
use crate::{ImageError, attributes};

impl SandboxFiles {
    /// Gives the file or directory `path`, which this sandbox has made or changed, to the account
    /// `sid`, such as `S-1-5-93-2-2`, as `COPY --chown` does on Windows. Layers carry that;
    /// programs in containers are shown what Wine makes of the Unix owner.
    ///
    /// # Errors
    /// [`ImageError::PathNotFound`], also for what only the layers below have;
    /// [`ImageError::BadPath`] when `sid` is none.
    pub fn set_owner(&self, path: &str, sid: &str) -> Result<(), ImageError> {
        let missing = || ImageError::PathNotFound { path: path.to_owned() };
        let place = self.existing(path)?;
        let (Some(name), Some((0, stat)), true) = (&place.name, &place.found, place.parent.upper)
        else {
            return Err(missing());
        };
        let directory = disk::kind_of(stat) == FileType::Directory;
        let owned = security::owned(sid, directory);
        let owned = owned.ok_or_else(|| bad(path, "has no such owner"))?;
        attributes::secure(place.parent.dirs[0].named(name), &owned)
            .attempt(|| format!("give {path} to {sid}"))
    }
}
