//! Sandboxes: the writable top of a container.

use std::io::Read;
use std::path::PathBuf;
use std::time::SystemTime;

use oriel_wclayer::Attributes;

use crate::{ImageError, ImageId};

/// Host user and group that own what a sandbox's `upper` holds: the container's uid 0.
pub const CONTAINER_ROOT_UID: u32 = 100_000;

/// What a new sandbox is made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxSettings {
    /// The computer name written to the registry.
    pub computer_name: String,
    /// The account whose profile becomes `HKEY_CURRENT_USER`: `ContainerAdministrator`,
    /// `ContainerUser`, or empty for the former.
    pub account: String,
    /// Variables put in `HKCU\Volatile Environment`, which no commit keeps.
    pub variables: Vec<(String, String)>,
}

/// A container's sandbox on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The container's id.
    pub id: String,
    /// The directory with `upper/`, `work/` and `registry/`.
    pub path: PathBuf,
    /// `Files` directories of the layer chain, topmost first, base last; never empty.
    pub layers: Vec<PathBuf>,
    /// The image it was made from.
    pub image: ImageId,
    /// The account its `user.reg` belongs to.
    pub account: String,
}

/// How a path of a container differs from its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Docker's 0.
    Modified,
    /// Docker's 1.
    Added,
    /// Docker's 2.
    Deleted,
}

/// One line of `docker diff`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path, such as `/app/x.txt`.
    pub path: String,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What a path of a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link or junction that leads to nothing in the container.
    Link,
}

/// What is known of a file in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is; links are followed.
    pub kind: FileKind,
    /// Length in bytes; 0 for directories.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// Windows' attributes.
    pub attributes: Attributes,
}

/// One name in a directory of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryItem {
    /// The name in its own case.
    pub name: String,
    /// What it is.
    pub stat: Stat,
}

/// The files of a sandbox, seen through its layers, for a container that does not run.
///
/// Paths are Windows paths such as `C:\app\x` or `app/x`: both separators, a drive letter C or
/// none, any case. `..` is resolved by name and stops at the root. Symbolic links of layers are
/// followed inside the container's view only.
#[derive(Clone, Debug)]
pub struct SandboxFiles {
    sandbox: Sandbox,
}

impl SandboxFiles {
    /// What `path` is; `None` when there is nothing.
    ///
    /// # Errors
    /// [`ImageError::BadPath`] for a path no container can have, [`ImageError::Io`].
    pub fn stat(&self, _path: &str) -> Result<Option<Stat>, ImageError> {
        let _ = &self.sandbox;
        todo!()
    }

    /// Whether there is anything at `path`.
    ///
    /// # Errors
    /// As [`SandboxFiles::stat`].
    pub fn exists(&self, path: &str) -> Result<bool, ImageError> {
        Ok(self.stat(path)?.is_some())
    }

    /// Whether `path` is a directory.
    ///
    /// # Errors
    /// As [`SandboxFiles::stat`].
    pub fn is_dir(&self, path: &str) -> Result<bool, ImageError> {
        Ok(self.stat(path)?.is_some_and(|stat| stat.kind == FileKind::Directory))
    }

    /// The names in the directory `path`, sorted without case.
    ///
    /// # Errors
    /// [`ImageError::PathNotFound`], [`ImageError::BadPath`] when it is no directory.
    pub fn list(&self, _path: &str) -> Result<Vec<DirectoryItem>, ImageError> {
        todo!()
    }

    /// Opens the file `path` for reading.
    ///
    /// # Errors
    /// [`ImageError::PathNotFound`], [`ImageError::BadPath`] when it is no file.
    pub fn read(&self, _path: &str) -> Result<Box<dyn Read + Send>, ImageError> {
        todo!()
    }

    /// Makes the directory `path` and those above it, as far as they are missing.
    ///
    /// # Errors
    /// [`ImageError::BadPath`] when a file is in the way.
    pub fn create_dir_all(&self, _path: &str) -> Result<(), ImageError> {
        todo!()
    }

    /// Writes the file `path`, making the directories above it; an existing file is replaced and
    /// keeps the case of its name. Returns the number of bytes written.
    ///
    /// # Errors
    /// [`ImageError::BadPath`] when a directory is in the way.
    pub fn write_file(
        &self,
        _path: &str,
        _data: &mut dyn Read,
        _modified: Option<SystemTime>,
    ) -> Result<u64, ImageError> {
        todo!()
    }

    /// Removes the file or directory tree `path`; nothing there is no error.
    ///
    /// # Errors
    /// [`ImageError::BadPath`] for the root, [`ImageError::Io`].
    pub fn remove(&self, _path: &str) -> Result<(), ImageError> {
        todo!()
    }
}
