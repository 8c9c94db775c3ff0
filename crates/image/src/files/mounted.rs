//! What is mounted among the files of a container.
//!
//! A mount is looked into on the host, where its owners are as on disk, and never through the
//! container: there this process is nobody, for the mount maps owners.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat as Status};

use super::{LastLink, Place, SandboxFiles, Stat, bad, components, stat_of};
use crate::disk::{self, Dir, fold};
use crate::view::View;
use crate::{CONTAINER_ROOT_UID, ImageError};

/// Something that is mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMount {
    /// Path inside, such as `C:\data`.
    pub target: String,
    /// Directory or regular file of the host.
    pub source: PathBuf,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// A mount whose source is open.
#[derive(Debug)]
pub(super) struct Mounted {
    /// Names along its target.
    names: Vec<String>,
    /// The source, or the directory that a source that is a file lies in.
    dir: Dir,
    /// The name of a source that is a file.
    file: Option<String>,
    read_only: bool,
    /// Who owns the source. A container sees itself as that, so what it makes is owned so, too.
    owner: u32,
}

impl Mounted {
    pub(super) fn open(mount: &FileMount) -> io::Result<Self> {
        let names = components(&mount.target).map_err(io::Error::other)?;
        // The host chose this path; links along it are its own.
        let source = fs_err::canonicalize(&mount.source)?;
        let (dir, file) = if fs_err::metadata(&source)?.is_dir() {
            (Dir::open(&source)?, None)
        } else {
            let name = source.file_name().and_then(|name| name.to_str());
            let name = name.ok_or(io::ErrorKind::InvalidData)?.to_owned();
            (Dir::open(source.parent().unwrap_or(Path::new("/")))?, Some(name))
        };
        let owner = dir.status()?.st_uid;
        Ok(Self { names, dir, file, read_only: mount.read_only, owner })
    }

    /// The last name of its target.
    pub(super) fn name(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    pub(super) fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// Whether the path `names` is its target.
    fn is_at(&self, names: &[String]) -> bool {
        self.names.len() == names.len() && self.covers(names)
    }

    /// Whether its target lies right in the directory `names`.
    pub(super) fn is_in(&self, names: &[String]) -> bool {
        self.names.len() == names.len() + 1
            && self.names.iter().zip(names).all(|(a, b)| fold(a) == fold(b))
    }

    /// Whether the path `names` is its target, or lies below.
    fn covers(&self, names: &[String]) -> bool {
        self.names.len() <= names.len()
            && self.names.iter().zip(names).all(|(a, b)| fold(a) == fold(b))
    }

    /// The directory it shows.
    pub(super) fn view(&self) -> io::Result<View> {
        Ok(View { dirs: vec![self.dir.duplicate()?], upper: true })
    }

    /// What it shows, as a place in the directory `parents` of the container.
    pub(super) fn place(&self, parents: Vec<String>) -> io::Result<Place> {
        let name = self.file.clone().ok_or(io::ErrorKind::IsADirectory)?;
        let status = self.dir.stat(&name)?.ok_or(io::ErrorKind::NotFound)?;
        let (parent, found) = (self.view()?, Some((0, status)));
        Ok(Place { parents, parent, name: Some(name), found, mounted: true })
    }

    /// What it shows.
    pub(super) fn stat(&self) -> io::Result<Stat> {
        match &self.file {
            Some(name) => {
                let status = self.dir.stat(name)?.ok_or(io::ErrorKind::NotFound)?;
                Ok(stat_of(&self.dir, name, &status))
            }
            None => Ok(stat_of(&self.dir, ".", &self.dir.status()?)),
        }
    }
}

impl SandboxFiles {
    /// What is mounted at the path `names`.
    pub(super) fn mounted(&self, names: &[String]) -> Option<&Mounted> {
        self.mounts.iter().map(AsRef::as_ref).find(|mount| mount.is_at(names))
    }

    /// What the path `names` is in: the innermost mount around it.
    fn around(&self, names: &[String]) -> Option<&Mounted> {
        let around = self.mounts.iter().map(AsRef::as_ref).filter(|mount| mount.covers(names));
        around.max_by_key(|mount| mount.names.len())
    }

    /// Who owns what is made in the directory `names`.
    pub(super) fn owner(&self, names: &[String]) -> u32 {
        self.around(names).map_or(CONTAINER_ROOT_UID, |mount| mount.owner)
    }

    /// Refuses changes in the directory `names` when it is in a mount that takes none.
    pub(super) fn check_writable(&self, names: &[String]) -> Result<(), ImageError> {
        match self.around(names) {
            Some(mount) if mount.read_only => Err(ImageError::ReadOnlyMount),
            _ => Ok(()),
        }
    }

    /// Refuses to replace or remove `name` of the directory `parents` when it is a mount, or in
    /// one that takes no changes.
    pub(super) fn check_change(
        &self,
        path: &str,
        parents: &[String],
        name: &str,
    ) -> Result<(), ImageError> {
        self.check_writable(parents)?;
        let mut names = parents.to_vec();
        names.push(name.to_owned());
        let place = self.locate(path, LastLink::Keep)?;
        if self.mounted(&names).is_some() || place.is_some_and(|place| place.mounted) {
            return Err(bad(path, "something is mounted there, which cannot be replaced"));
        }
        Ok(())
    }

    /// Bytes that there is room for in the directory `names`.
    pub(super) fn room(&self, names: &[String]) -> io::Result<u64> {
        match self.around(names) {
            Some(mount) => disk::room(&mount.dir),
            None => disk::room(&self.top()?),
        }
    }
}

/// Whether a status is that of something an archive can hold.
pub(super) fn is_copied(status: &Status) -> bool {
    matches!(disk::kind_of(status), FileType::Directory | FileType::RegularFile | FileType::Symlink)
}
