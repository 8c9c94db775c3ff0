//! Walking directories that a guest may have arranged.
//!
//! A path string below a container's drive must never be resolved by the host: a guest can put a
//! symbolic link anywhere. A [`Folder`] is a descriptor; each step enters one real directory and
//! refuses links, and names compare without case, as on Windows.

use std::{
    ffi::{CStr, CString, OsStr},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chownat, fchown, mkdirat, openat, statat},
    io::Errno,
    process::{Gid, Uid},
};

/// A directory held open.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl Folder {
    /// Opens a directory of the host by its path, which the host chose.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, path, flags, Mode::empty())?))
    }

    /// Opens a directory that is held already.
    pub(crate) fn of(pinned: &OwnedFd) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(pinned, ".", flags, Mode::empty())?))
    }

    /// Opens a path of the host chosen by the host, whatever it is, just to name it.
    pub(crate) fn pin(path: &Path) -> io::Result<OwnedFd> {
        Ok(openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// Enters the directory called `name`; `None` when there is none.
    pub(crate) fn enter(&self, name: &str) -> io::Result<Option<Self>> {
        let Some(name) = self.find(name)? else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Some(Self(openat(&self.0, name, flags, Mode::empty())?)))
    }

    /// Enters several directories, one below the other.
    pub(crate) fn descend(&self, names: &[&str]) -> io::Result<Option<Self>> {
        let mut here = Self(self.0.try_clone()?);
        for name in names {
            let Some(next) = here.enter(name)? else { return Ok(None) };
            here = next;
        }
        Ok(Some(here))
    }

    /// Enters the directory called `name`, making it, owned by `owner`, when there is none.
    pub(crate) fn enter_or_make(&self, name: &str, owner: u32) -> io::Result<Self> {
        if let Some(folder) = self.enter(name)? {
            return Ok(folder);
        }
        mkdirat(&self.0, name, Mode::from_raw_mode(0o755))?;
        chownat(
            &self.0,
            name,
            Some(Uid::from_raw(owner)),
            Some(Gid::from_raw(owner)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        self.enter(name)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes the empty file `name`, owned by `owner`, when nothing is called so.
    pub(crate) fn make_file(&self, name: &str, owner: u32) -> io::Result<()> {
        if self.find(name)?.is_some() {
            return Ok(());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::from_raw_mode(0o644))?;
        let (user, group) = (Uid::from_raw(owner), Gid::from_raw(owner));
        Ok(fchown(file, Some(user), Some(group))?)
    }

    /// Names the regular file called `name`; `None` when there is none or it is something else.
    pub(crate) fn file(&self, name: &str) -> io::Result<Option<OwnedFd>> {
        let Some(name) = self.find(name)? else { return Ok(None) };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::empty())?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        Ok((kind == FileType::RegularFile).then_some(file))
    }

    /// The name on disk of what Windows would call `name`: the exact one, or else the first that
    /// differs in case only.
    fn find(&self, name: &str) -> io::Result<Option<CString>> {
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => return CString::new(name).map(Some).map_err(io::Error::from),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let wanted = name.to_lowercase();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            if same_name(entry.file_name(), &wanted) {
                return Ok(Some(entry.file_name().to_owned()));
            }
        }
        Ok(None)
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn same_name(name: &CStr, wanted_lower: &str) -> bool {
    let name = OsStr::from_bytes(name.to_bytes());
    name.to_str().is_some_and(|name| name.to_lowercase() == wanted_lower)
}

/// Splits an absolute path on C: into its components; `None` when it is anything else.
pub(crate) fn components(path: &str) -> Option<Vec<&str>> {
    let rest = path.strip_prefix(['C', 'c'])?.strip_prefix(':')?;
    let rest = rest.strip_prefix(['\\', '/'])?;
    let parts: Vec<&str> = rest.split(['\\', '/']).filter(|part| !part.is_empty()).collect();
    let good = |part: &&str| *part != "." && *part != ".." && !part.contains([':', '\0']);
    (!parts.is_empty() && parts.iter().all(good)).then_some(parts)
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn names_are_found_without_case_and_exact_ones_first() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("WINDOWS/system32")).unwrap();
        fs::write(place.path().join("WINDOWS/system32/A.exe"), "").unwrap();
        let root = Folder::open(place.path()).unwrap();
        let system = root.descend(&["Windows", "System32"]).unwrap().unwrap();
        assert!(system.file("a.EXE").unwrap().is_some());
        assert!(system.file("b.exe").unwrap().is_none());
        assert!(root.descend(&["Windows", "nope"]).unwrap().is_none());
    }

    #[test]
    fn a_symbolic_link_is_never_entered() {
        let place = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", place.path().join("Windows")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", place.path().join("file")).unwrap();
        let root = Folder::open(place.path()).unwrap();
        assert!(root.enter("windows").is_err());
        assert!(root.file("file").unwrap().is_none());
    }

    #[test]
    fn only_absolute_paths_on_c_have_components() {
        assert_eq!(components("C:\\a\\b"), Some(vec!["a", "b"]));
        assert_eq!(components("c:/a//b/"), Some(vec!["a", "b"]));
        for bad in ["", "C:", "C:\\", "a", "D:\\a", "C:\\..\\a", "C:\\a:b", "\\a"] {
            assert_eq!(components(bad), None, "{bad}");
        }
    }
}
