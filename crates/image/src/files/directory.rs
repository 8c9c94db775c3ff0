//! A directory that gets many files, one after the other.
//!
//! To look a path up means to walk it through all layers, and to list a directory whenever a name
//! is not there in that very case. So a directory is walked to and listed once, and knows its names
//! from then on.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use super::{SandboxFiles, bad, is_name, unix};
use crate::ImageError;
use crate::attributes;
use crate::disk::{self, Dir, fold};
use crate::error::Attempt;

/// Where the content of a file comes from.
pub enum Content<'a> {
    /// A file of the host that this process made. When it has no other name the sandbox gets that
    /// very file, so nobody may write to it any more; otherwise a copy.
    Kept(&'a Path),
    /// Whatever is read here.
    Read(&'a mut dyn Read),
}

/// A directory of a sandbox that is written to.
pub struct OpenDirectory<'a> {
    files: &'a SandboxFiles,
    path: String,
    dir: Dir,
    owner: u32,
    /// Names that are there, in any layer, folded.
    known: HashSet<String>,
}

impl SandboxFiles {
    /// Makes the directory `path` and those above it, as far as they are missing, and opens it.
    ///
    /// # Errors
    /// [`ImageError::BadPath`] when a file is in the way.
    pub fn open_directory(&self, path: &str) -> Result<OpenDirectory<'_>, ImageError> {
        let attempt = || format!("open directory {path}");
        self.create_dir_all(path)?;
        let parents = self.directory_path(path)?;
        let dir = self.upper_directory(&parents).attempt(attempt)?;
        let known = self.list(path)?.into_iter().map(|item| fold(&item.name)).collect();
        let owner = self.owner(&parents);
        Ok(OpenDirectory { files: self, path: path.to_owned(), dir, owner, known })
    }
}

impl OpenDirectory<'_> {
    /// Writes the file `name`, as [`SandboxFiles::write_file`] does.
    ///
    /// # Errors
    /// Those of [`SandboxFiles::write_file`].
    pub fn write(
        &mut self,
        name: &str,
        content: Content<'_>,
        modified: Option<SystemTime>,
    ) -> Result<(), ImageError> {
        let path = format!("{}\\{name}", self.path.trim_end_matches('\\'));
        if !is_name(name) || name == ".." {
            return Err(bad(&path, "the file name syntax is incorrect"));
        }
        let attempt = || format!("write {path}");
        if self.files.is_mounted() || !self.known.insert(fold(name)) {
            return match content {
                Content::Read(data) => self.files.write_file(&path, data, modified).map(drop),
                Content::Kept(file) => {
                    let mut file = fs_err::File::open(file).attempt(attempt)?;
                    self.files.write_file(&path, &mut file, modified).map(drop)
                }
            };
        }
        let file = new_file(&self.dir, name, content).attempt(attempt)?;
        self.dir.give(name, self.owner).attempt(attempt)?;
        attributes::show(&file, name).attempt(attempt)?;
        if let Some(modified) = modified.map(unix) {
            disk::set_times(&file, &disk::timestamps(modified, modified)).attempt(attempt)?;
        }
        Ok(())
    }
}

fn new_file(dir: &Dir, name: &str, content: Content<'_>) -> io::Result<std::fs::File> {
    let copy = |data: &mut dyn Read| {
        let mut file = dir.create(name)?;
        io::copy(data, &mut file).map(|_| file)
    };
    let path = match content {
        Content::Read(data) => return copy(data),
        Content::Kept(path) => path,
    };
    // What no layer shows may still be marked as removed here.
    dir.remove(name)?;
    // Its own name, and this one.
    match dir.take(name, path, 2)? {
        Some(file) => Ok(file),
        None => copy(&mut fs_err::File::open(path)?),
    }
}
