//! Directories by descriptor: no name is ever resolved through a symbolic link.
//!
//! Layers are untrusted and hold symbolic links, so a path such as `a/b` must not be given to the
//! kernel as a whole: `a` may be a link to `/etc`. Every function here takes one name in an open
//! directory and refuses to follow it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

pub(crate) use oriel_wclayer::fold;
use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, StatxFlags, Timespec,
    Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

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
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the directory `path` below, of several names; `None` when there is none.
    pub(crate) fn descend(&self, path: &str) -> io::Result<Option<Self>> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match fs::openat2(&self.0, path, DIRECTORY, Mode::empty(), resolve) {
            Ok(fd) => Ok(Some(Self(fd))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What `name` is, itself, for its extended attributes.
    pub(crate) fn named<'a>(&'a self, name: &'a str) -> Named<'a> {
        Named { dir: self, name }
    }

    /// Another handle of the same directory.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// What the directory itself is.
    pub(crate) fn status(&self) -> io::Result<Stat> {
        Ok(fs::fstat(&self.0)?)
    }

    /// What `name` is, without following it.
    pub(crate) fn stat(&self, name: &str) -> io::Result<Option<Stat>> {
        match fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
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

    /// Makes the file `name` in the place of whatever is there.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || fs::openat(&self.0, name, flags, Mode::from_raw_mode(0o644));
        match open() {
            Err(Errno::EXIST) => {
                self.remove(name)?;
                Ok(open()?.into())
            }
            other => Ok(other?.into()),
        }
    }

    /// Puts a file with `data` in the place of `name`, at once: a crash leaves the old or the new.
    pub(crate) fn replace(&self, name: &str, data: &[u8]) -> io::Result<()> {
        let new = format!("{name}-creating");
        let mut file = self.create(&new)?;
        file.write_all(data)?;
        file.sync_all()?;
        self.rename(&new, name)
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

    /// Calls what is called `old` `new`, in the place of whatever is there.
    pub(crate) fn rename(&self, old: &str, new: &str) -> io::Result<()> {
        Ok(fs::renameat(&self.0, old, &self.0, new)?)
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

    /// Makes `name` another name of `target`, a path of the host, as long as that has at most
    /// `names` names then; `None`, and nothing made, when it has more, is not there, or the file
    /// system has none left. Whoever takes files so takes them from nobody else: two that try at
    /// once see both.
    pub(crate) fn take(&self, name: &str, target: &Path, names: u64) -> io::Result<Option<File>> {
        match fs::linkat(fs::CWD, target, &self.0, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let file = self.read(name)?;
        if fs::fstat(&file)?.st_nlink <= names {
            return Ok(Some(file));
        }
        fs::unlinkat(&self.0, name, AtFlags::empty())?;
        Ok(None)
    }

    /// Marks `name` as removed, in overlayfs' way: a character device 0/0.
    pub(crate) fn whiteout(&self, name: &str) -> io::Result<()> {
        Ok(fs::mknodat(&self.0, name, FileType::CharacterDevice, Mode::empty(), 0)?)
    }

    /// Removes the file or the directory tree `name`; nothing there is fine.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
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
            Ok(()) | Err(Errno::PERM) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets the times of `name` without following it.
    pub(crate) fn set_times(&self, name: &str, times: &Timestamps) -> io::Result<()> {
        Ok(fs::utimensat(&self.0, name, times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Bytes that the file system of `file` has room for.
pub(crate) fn room(file: impl AsFd) -> io::Result<u64> {
    let status = fs::fstatvfs(file)?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
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

/// Seconds and nanoseconds of the last access.
pub(crate) fn accessed(stat: &Stat) -> (i64, u32) {
    (stat.st_atime, u32::try_from(stat.st_atime_nsec).unwrap_or(0))
}

/// Seconds and nanoseconds of the last change of data or attributes.
pub(crate) fn changed(stat: &Stat) -> (i64, u32) {
    (stat.st_ctime, u32::try_from(stat.st_ctime_nsec).unwrap_or(0))
}

/// Sets access and write time.
pub(crate) fn set_times(file: impl AsFd, times: &Timestamps) -> io::Result<()> {
    Ok(fs::futimens(file, times)?)
}

/// The times of a file that was written at `modified` and read at `accessed`.
pub(crate) fn timestamps(modified: (i64, u32), accessed: (i64, u32)) -> Timestamps {
    let time = |(seconds, nanoseconds): (i64, u32)| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    Timestamps { last_access: time(accessed), last_modification: time(modified) }
}

/// Sets permission bits.
pub(crate) fn set_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    Ok(fs::fchmod(file, Mode::from_raw_mode(mode))?)
}

/// A name in an open directory: what it stands for is never followed.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    dir: &'a Dir,
    name: &'a str,
}

impl Named<'_> {
    /// A path for the system calls that take no directory: the kernel opens the directory by its
    /// descriptor, so only the last name is resolved.
    fn path(self) -> String {
        use std::os::fd::AsRawFd as _;
        format!("/proc/self/fd/{}/{}", self.dir.0.as_raw_fd(), self.name)
    }
}

/// What has extended attributes: open files, and names that cannot be opened such as links.
pub(crate) trait Attributed: Copy {
    /// Reads the attribute `name` into `value`.
    fn read(self, name: &str, value: &mut [u8]) -> rustix::io::Result<usize>;
    /// Sets the attribute `name`.
    fn write(self, name: &str, value: &[u8]) -> rustix::io::Result<()>;
    /// When it came to be on this file system, where that is known.
    fn born(self) -> Option<(i64, u32)>;
}

impl<T: AsFd + Copy> Attributed for T {
    fn read(self, name: &str, value: &mut [u8]) -> rustix::io::Result<usize> {
        fs::fgetxattr(self, name, value)
    }

    fn write(self, name: &str, value: &[u8]) -> rustix::io::Result<()> {
        fs::fsetxattr(self, name, value, XattrFlags::empty())
    }

    fn born(self) -> Option<(i64, u32)> {
        birth(fs::statx(self, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME))
    }
}

impl Attributed for Named<'_> {
    fn read(self, name: &str, value: &mut [u8]) -> rustix::io::Result<usize> {
        fs::lgetxattr(self.path(), name, value)
    }

    fn write(self, name: &str, value: &[u8]) -> rustix::io::Result<()> {
        fs::lsetxattr(self.path(), name, value, XattrFlags::empty())
    }

    fn born(self) -> Option<(i64, u32)> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        birth(fs::statx(&self.dir.0, self.name, flags, StatxFlags::BTIME))
    }
}

fn birth(status: rustix::io::Result<fs::Statx>) -> Option<(i64, u32)> {
    let status = status.ok()?;
    let known = StatxFlags::from_bits_retain(status.stx_mask).contains(StatxFlags::BTIME);
    known.then_some((status.stx_btime.tv_sec, status.stx_btime.tv_nsec))
}

/// Largest value for which a lack of room means a full disk. Ext4 keeps all attributes of a file in
/// one block and says the same when that is full.
const SMALL_XATTR: usize = 1024;

/// Sets an extended attribute. `Ok(false)`: the host does not permit or know such attributes, or
/// none so large.
pub(crate) fn set_xattr(node: impl Attributed, name: &str, value: &[u8]) -> io::Result<bool> {
    match node.write(name, value) {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::ACCESS | Errno::TOOBIG) => Ok(false),
        Err(Errno::NOSPC) if value.len() > SMALL_XATTR => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Largest extended attribute the kernel stores (`XATTR_SIZE_MAX`).
const XATTR_MAX: usize = 64 * 1024;

/// Removes an extended attribute, if it is there.
pub(crate) fn remove_xattr(file: &File, name: &str) -> io::Result<()> {
    match fs::fremovexattr(file, name) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reads an extended attribute; `None` when there is none.
pub(crate) fn xattr(node: impl Attributed, name: &str) -> Option<Vec<u8>> {
    // Nearly all have room here, and most are not there at all.
    let mut small = [0; 256];
    match node.read(name, &mut small) {
        Ok(length) => Some(small[..length].to_vec()),
        Err(Errno::RANGE) => {
            let mut value = vec![0; XATTR_MAX];
            let length = node.read(name, &mut value).ok()?;
            value.truncate(length);
            Some(value)
        }
        Err(_) => None,
    }
}
