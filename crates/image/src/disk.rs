//! Directories by descriptor: no name is ever resolved through a symbolic link.
//!
//! Layers are untrusted and hold symbolic links, so a path such as `a/b` must not be given to the
//! kernel as a whole: `a` may be a link to `/etc`. Every function here takes one name in an open
//! directory and refuses to follow it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

pub(crate) use oriel_wclayer::fold;
use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

impl Dir {
    /// Opens a directory of the store itself.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(fs::open(path, DIRECTORY, Mode::empty())?))
    }

    /// Opens the directory `name`; `None` when there is none, or something else.
    pub(crate) fn child(&self, name: &str) -> io::Result<Option<Self>> {
        match fs::openat(&self.0, name, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(Self(fd))),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Another handle of the same directory.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// What `name` is, without following it.
    pub(crate) fn stat(&self, name: &str) -> io::Result<Option<Stat>> {
        match fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All names in it; those that are not UTF-8 are left out, for no Windows program sees them.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.0)? {
            if let Ok(name) = entry?.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Makes the directory `name`.
    pub(crate) fn make_dir(&self, name: &str) -> io::Result<()> {
        Ok(fs::mkdirat(&self.0, name, Mode::from_raw_mode(0o755))?)
    }

    /// Makes the file `name`, which must not exist.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(fs::openat(&self.0, name, flags, Mode::from_raw_mode(0o644))?.into())
    }

    /// Opens the regular file `name` for reading.
    pub(crate) fn read(&self, name: &str) -> io::Result<File> {
        // A FIFO would block the open; NONBLOCK has no meaning for regular files.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file: File = fs::openat(&self.0, name, flags, Mode::empty())?.into();
        if kind_of(&fs::fstat(&file)?) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file)
    }

    /// Makes the symbolic link `name`.
    pub(crate) fn symlink(&self, name: &str, target: &str) -> io::Result<()> {
        Ok(fs::symlinkat(target, &self.0, name)?)
    }

    /// Where the symbolic link `name` leads.
    pub(crate) fn link_target(&self, name: &str) -> io::Result<String> {
        let target = fs::readlinkat(&self.0, name, Vec::new())?;
        target.into_string().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Makes `name` another name of `target` in `from`.
    pub(crate) fn link(&self, name: &str, from: &Self, target: &str) -> io::Result<()> {
        Ok(fs::linkat(&from.0, target, &self.0, name, AtFlags::empty())?)
    }

    /// Marks `name` as removed, in overlayfs' way: a character device 0/0.
    pub(crate) fn whiteout(&self, name: &str) -> io::Result<()> {
        Ok(fs::mknodat(&self.0, name, FileType::CharacterDevice, Mode::empty(), 0)?)
    }

    /// Removes the file or the directory tree `name`; nothing there is fine.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
        let Some(child) = self.child(name)? else { return Ok(()) };
        for entry in fs::Dir::read_from(&child.0)? {
            let entry = entry?;
            match entry.file_name().to_str() {
                Ok("." | "..") => {}
                Ok(inner) => child.remove(inner)?,
                Err(_) => fs::unlinkat(&child.0, entry.file_name(), AtFlags::empty())?,
            }
        }
        Ok(fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// Gives `name` to `owner`, if this process may.
    pub(crate) fn give(&self, name: &str, owner: u32) -> io::Result<()> {
        let ids = (Uid::from_raw(owner), Gid::from_raw(owner));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        match fs::chownat(&self.0, name, Some(ids.0), Some(ids.1), flags) {
            Ok(()) | Err(rustix::io::Errno::PERM) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets the times of `name` without following it.
    pub(crate) fn set_time(&self, name: &str, time: (i64, u32)) -> io::Result<()> {
        Ok(fs::utimensat(&self.0, name, &timestamps(time), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The type of what `stat` describes.
pub(crate) fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether `stat` describes overlayfs' mark of a removal.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    kind_of(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Seconds and nanoseconds of the last write.
pub(crate) fn modified(stat: &Stat) -> (i64, u32) {
    (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

/// Sets access and write time.
pub(crate) fn set_times(file: impl AsFd, time: (i64, u32)) -> io::Result<()> {
    Ok(fs::futimens(file, &timestamps(time))?)
}

fn timestamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Sets permission bits.
pub(crate) fn set_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    Ok(fs::fchmod(file, Mode::from_raw_mode(mode))?)
}

/// Sets an extended attribute. `Ok(false)`: the host does not permit or know such attributes.
pub(crate) fn set_xattr(file: impl AsFd, name: &str, value: &[u8]) -> io::Result<bool> {
    match fs::fsetxattr(file, name, value, XattrFlags::empty()) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::PERM | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ACCESS) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Largest extended attribute the kernel stores (`XATTR_SIZE_MAX`).
const XATTR_MAX: usize = 64 * 1024;

/// Reads an extended attribute; `None` when there is none.
pub(crate) fn xattr(file: impl AsFd, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; XATTR_MAX];
    let length = fs::fgetxattr(file, name, value.as_mut_slice()).ok()?;
    value.truncate(length);
    Some(value)
}
