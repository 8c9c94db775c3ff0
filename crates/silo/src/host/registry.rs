//! The registry of a running silo.
//!
//! The execution agent writes the trees into a directory of the prefix, where every program of the
//! silo could reach them. So they are copied to where none can, and on the way nothing is taken for
//! granted: a guest may have killed or replaced its agent, and put anything in the place of the
//! directory and the files. No link is followed, nothing but a regular file is opened, and no more
//! is read than a registry can have.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use fs_err as fs;
use oriel_hcs::{
    ComputeError, SystemId,
    bridge::{MAX_CHANGES, RegistryOperation},
};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, fstat, open, openat, unlinkat},
    io::Errno,
};

use crate::{
    error::{Attempt, SiloError},
    launch::REGISTRY_FILES,
};

/// What the names of directories with a saved registry begin with.
const SAVED: &str = "saved-";

/// Longest registry file that is taken over: more than that of a full Windows Server.
const MAX_FILE: u64 = 256 << 20;

/// Most entries of a prefix that are looked at: a guest can make them faster than they are read.
const MAX_ENTRIES: usize = 10_000;

/// A name for a directory that nobody can have made before.
pub(super) fn new_name() -> io::Result<String> {
    let bytes = random::<16>()?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{SAVED}{digits}"))
}

/// Bytes nobody can foretell.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The operations in pieces to send.
pub(super) fn pieces(
    id: &SystemId,
    changes: &[RegistryOperation],
) -> Result<Vec<Vec<u8>>, ComputeError> {
    let pieces = RegistryOperation::pieces(changes);
    let total: usize = pieces.iter().map(Vec::len).sum();
    if total > MAX_CHANGES {
        return Err(super::host_error(
            &format!("change the registry of silo {id}"),
            &format!(
                "{total} bytes of changes at once, more than {MAX_CHANGES}: make them in parts"
            ),
        ));
    }
    Ok(pieces)
}

/// Takes over what the execution agent saved as `name`: moves it out of the guest's reach, into a
/// new directory of the sandbox. Blocks.
pub(super) fn collect(sandbox: &Path, name: &str) -> Result<PathBuf, SiloError> {
    let target = sandbox.join(name);
    let taken = fs::create_dir(&target)
        .attempt(|| "make a directory for the saved registry".to_owned())
        .and_then(|()| copy(&sandbox.join("registry"), name, &target));
    discard(&sandbox.join("registry"), name);
    match taken {
        Ok(()) => Ok(target),
        Err(error) => {
            // Whatever stays is removed when the silo is opened or cleaned.
            let _ = fs::remove_dir_all(&target);
            Err(error)
        }
    }
}

fn copy(prefix: &Path, name: &str, target: &Path) -> Result<(), SiloError> {
    let attempt = || "take over the saved registry".to_owned();
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let prefix = open(prefix, directory, Mode::empty()).attempt(attempt)?;
    let saved = openat(&prefix, name, directory, Mode::empty()).attempt(attempt)?;
    for file in REGISTRY_FILES {
        let attempt = || format!("take over {file} of the saved registry");
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = openat(&saved, file, flags, Mode::empty()).attempt(attempt)?;
        let stat = fstat(&source).attempt(attempt)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no regular file")).attempt(attempt);
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if size > MAX_FILE {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge)).attempt(attempt);
        }
        // What a guest adds from now on is none of it.
        let mut source = std::fs::File::from(source).take(size);
        let mut copy = fs::File::create_new(target.join(file)).attempt(attempt)?;
        io::copy(&mut source, &mut copy).attempt(attempt)?;
    }
    Ok(())
}

/// Removes what the execution agent made. What a guest put beside it stays until the next start,
/// which clears the prefix.
fn discard(prefix: &Path, name: &str) {
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let remove = || -> Result<(), Errno> {
        let prefix = open(prefix, directory, Mode::empty())?;
        let saved = openat(&prefix, name, directory, Mode::empty())?;
        for file in REGISTRY_FILES {
            let _ = unlinkat(&saved, file, AtFlags::empty());
        }
        unlinkat(&prefix, name, AtFlags::REMOVEDIR)
    };
    if let Err(error) = remove() {
        tracing::debug!(%error, name, "a saved registry stays in a prefix");
    }
}

/// Removes all that was saved and not used, because a daemon died. Blocks.
pub(super) fn clear(sandbox: &Path) {
    let names = |directory: &Path| -> Vec<String> {
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        let names = entries.flatten().take(MAX_ENTRIES);
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with(SAVED)).collect()
    };
    for name in names(sandbox) {
        if let Err(error) = fs::remove_dir_all(sandbox.join(name)) {
            tracing::warn!(%error, "cannot remove a saved registry");
        }
    }
    let prefix = sandbox.join("registry");
    for name in names(&prefix) {
        discard(&prefix, &name);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A sandbox in whose prefix `saved-1` has a registry.
    fn sandbox() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let saved = place.path().join("registry/saved-1");
        fs::create_dir_all(&saved).unwrap();
        for file in REGISTRY_FILES {
            fs::write(saved.join(file), file).unwrap();
        }
        place
    }

    fn is_clean(sandbox: &Path) -> bool {
        fs::read_dir(sandbox).unwrap().flatten().all(|entry| entry.file_name() == "registry")
    }

    #[test]
    fn what_was_saved_is_moved_out_of_the_guests_reach() {
        let place = sandbox();
        let taken = collect(place.path(), "saved-1").unwrap();
        assert_eq!(taken, place.path().join("saved-1"));
        assert_eq!(fs::read_to_string(taken.join("user.reg")).unwrap(), "user.reg");
        assert!(!place.path().join("registry/saved-1").exists());
        fs::create_dir(place.path().join("registry/saved-2")).unwrap();
        clear(place.path());
        assert!(is_clean(place.path()) && !place.path().join("registry/saved-2").exists());
    }

    #[test]
    fn a_link_or_a_pipe_in_the_place_of_a_file_is_refused_and_nothing_stays() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("user.reg"), "the host's").unwrap();
        let change = |change: &dyn Fn(&Path)| {
            let place = sandbox();
            change(&place.path().join("registry/saved-1"));
            assert!(collect(place.path(), "saved-1").is_err());
            assert!(is_clean(place.path()));
        };
        change(&|saved| {
            fs::remove_file(saved.join("user.reg")).unwrap();
            symlink(outside.path().join("user.reg"), saved.join("user.reg")).unwrap();
        });
        change(&|saved| {
            fs::remove_file(saved.join("user.reg")).unwrap();
            nix::unistd::mkfifo(&saved.join("user.reg"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        });
        change(&|saved| {
            fs::remove_dir_all(saved).unwrap();
            symlink(outside.path(), saved).unwrap();
        });
        change(&|saved| fs::remove_file(saved.join("system.reg")).unwrap());
        change(&|saved| {
            let file = fs::File::create(saved.join("system.reg")).unwrap();
            file.set_len(MAX_FILE + 1).unwrap();
        });
        assert_eq!(fs::read_to_string(outside.path().join("user.reg")).unwrap(), "the host's");
    }

    #[test]
    fn a_guest_that_adds_to_what_was_saved_delays_nothing() {
        let place = sandbox();
        fs::create_dir_all(place.path().join("registry/saved-1/a/b")).unwrap();
        collect(place.path(), "saved-1").unwrap();
        assert!(place.path().join("registry/saved-1/a/b").exists());
    }
}
