//! Getting a sandbox ready for its next life.
//!
//! The directory `registry/` becomes Wine's prefix, writable by the guest, so what lies in it may
//! be anything: only the three registry files, and only as regular files, are taken over. No
//! guest runs in the sandbox now, so nothing changes between look and use; still no link is
//! followed.

use std::{
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
};

use fs_err as fs;
use rustix::{
    fs::{AtFlags, CWD, Mode, chmodat, chownat},
    process::{Gid, Uid},
};

use crate::{
    error::{Attempt, SiloError},
    launch::CONTAINER_IDS,
};

/// Wine's registry files: HKLM, HKCU and HKU\.Default.
pub(crate) const REGISTRY_FILES: [&str; 3] = ["system.reg", "user.reg", "userdef.reg"];

/// Makes `upper/`, `work/` and `registry/` of the sandbox at `path` what a silo expects.
pub(super) fn prepare(path: &Path) -> Result<(), SiloError> {
    let upper = path.join("upper");
    for directory in [&upper, &path.join("work")] {
        fs::create_dir_all(directory).attempt(|| "make the sandbox's directories".to_owned())?;
    }
    // The merged root takes its owner and mode from here.
    own(&upper)?;
    let registry = path.join("registry");
    clear_strangers(&registry)?;
    for name in REGISTRY_FILES {
        let file = registry.join(name);
        if !file.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            let place = registry.display().to_string();
            return Err(SiloError::Missing { file: name.to_owned(), place });
        }
        own(&file)?;
    }
    furnish(&registry).attempt(|| format!("furnish the prefix {}", registry.display()))?;
    own(&registry)
}

/// Removes whatever is not a registry file, without following links.
fn clear_strangers(registry: &Path) -> Result<(), SiloError> {
    let clear = || -> std::io::Result<()> {
        for entry in fs::read_dir(registry)? {
            let entry = entry?;
            let name = entry.file_name();
            if REGISTRY_FILES.iter().any(|file| name == *file) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    clear().attempt(|| format!("clear the prefix {}", registry.display()))
}

/// What a Wine prefix has besides its registry. C: is the only drive; the word in
/// `.update-timestamp` keeps Wine from refreshing the prefix. The drive is mounted elsewhere, for
/// wineserver makes `drive_c/windows/system32` in the prefix at each start (server/registry.c),
/// and would hide a layer's `Windows` behind an empty `windows`.
fn furnish(registry: &Path) -> std::io::Result<()> {
    fs::write(registry.join(".update-timestamp"), "disable\n")?;
    fs::create_dir(registry.join("drive_c"))?;
    fs::create_dir(registry.join("dosdevices"))?;
    symlink("../../drive_c", registry.join("dosdevices/c:"))
}

/// Gives `path` itself to the container's user 0.
fn own(path: &Path) -> Result<(), SiloError> {
    let id = CONTAINER_IDS.outside;
    let metadata = fs::symlink_metadata(path).attempt(|| "look at the sandbox".to_owned())?;
    let attempt = || format!("give {} to the container", path.display());
    if metadata.uid() != id || metadata.gid() != id {
        let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
        chownat(CWD, path, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW).attempt(attempt)?;
    }
    let mode = if metadata.is_dir() { 0o755 } else { 0o644 };
    if metadata.mode() & 0o7777 != mode {
        chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty()).attempt(attempt)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("registry")).unwrap();
        for name in REGISTRY_FILES {
            fs::write(place.path().join("registry").join(name), "WINE REGISTRY\n").unwrap();
        }
        place
    }

    fn root() -> bool {
        let root = rustix::process::geteuid().is_root();
        if !root {
            #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
            {
                eprintln!("skipped: changing owners needs root");
            }
        }
        root
    }

    #[test]
    fn what_a_guest_left_in_the_prefix_is_gone_at_the_next_start() {
        if !root() {
            return;
        }
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("precious"), "kept").unwrap();
        let place = sandbox();
        symlink(outside.path(), place.path().join("registry/drive_c")).unwrap();
        symlink("/etc/passwd", place.path().join("registry/evil")).unwrap();
        prepare(place.path()).unwrap();
        assert!(place.path().join("registry/drive_c").symlink_metadata().unwrap().is_dir());
        assert!(!place.path().join("registry/evil").exists());
        assert!(outside.path().join("precious").exists());
        prepare(place.path()).unwrap();
    }

    #[test]
    fn a_registry_file_that_is_a_link_is_refused_and_its_target_untouched() {
        if !root() {
            return;
        }
        let target = tempfile::NamedTempFile::new().unwrap();
        let owner = target.as_file().metadata().unwrap().uid();
        let place = sandbox();
        let file = place.path().join("registry/user.reg");
        fs::remove_file(&file).unwrap();
        symlink(target.path(), &file).unwrap();
        assert!(matches!(prepare(place.path()), Err(SiloError::Missing { .. })));
        assert_eq!(target.as_file().metadata().unwrap().uid(), owner);
    }
}
