//! A directory of the host in memory, for secrets on their way into a container.
//!
//! It is a `ramfs`, which is never swapped out, that only the daemon's own user may enter. A build
//! that has secrets gets one of its own, which goes with it; what a daemon left that was killed is
//! removed by the next.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
};
use oriel_sys::mount::{Attributes, Tree};

/// Names of directories.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A directory in memory, as long as this lives.
#[derive(Debug)]
pub(super) struct Memory {
    place: PathBuf,
}

impl Memory {
    /// Makes one below `parent`. Blocking.
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        let place = parent.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        fs_err::create_dir_all(&place)?;
        // From here on, it is removed on failure.
        let memory = Self { place };
        let attributes = Attributes::NO_SUID.and(Attributes::NO_DEV).and(Attributes::NO_EXEC);
        let tree = Tree::new("ramfs", &[("mode", "0700")], attributes)?;
        tree.attach(fs_err::File::open(&memory.place)?.file())?;
        Ok(memory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.place
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.place) {
            tracing::warn!(error = %error, "a directory for secrets is left behind");
        }
    }
}

/// Removes what a daemon left that was killed.
pub(crate) fn sweep(parent: &Path) -> io::Result<()> {
    let entries = match fs_err::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        remove(&entry?.path())?;
    }
    Ok(())
}

fn remove(place: &Path) -> io::Result<()> {
    match umount2(place, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => fs_err::remove_dir(place),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_in_memory_and_gone_with_their_build() {
        let parent = tempfile::tempdir().unwrap();
        let memory = Memory::new(parent.path()).unwrap();
        let place = memory.path().to_owned();
        fs_err::write(place.join("secret"), "x").unwrap();
        let kind = nix::sys::statfs::statfs(&place).unwrap().filesystem_type();
        assert_eq!(kind.0, 0x8584_58f6, "RAMFS_MAGIC");
        drop(memory);
        assert!(!place.exists());
        std::mem::forget(Memory::new(parent.path()).unwrap());
        sweep(parent.path()).unwrap();
        assert_eq!(fs_err::read_dir(parent.path()).unwrap().count(), 0);
    }
}
