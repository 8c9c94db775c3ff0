//! Layers on disk: from a stream of entries to a directory overlayfs can show.
//!
//! Windows compares names without case and overlayfs does not, so an entry is stored under the
//! spelling the layers below have: `WINDOWS/system32` of one layer and `Windows/System32` of
//! another must be one directory. The directories along the current path are kept open together
//! with their names; tars are depth first, so each directory is listed about once.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

use oriel_wclayer::{Entry, Kind, LayerPath, Reader};
use rustix::fs::FileType;

use crate::attributes::{self, OPAQUE};
use crate::disk::{self, Dir, fold};
use crate::error::Attempt;
use crate::links;
use crate::{ImageError, Limits};

/// An open directory of the layer being written, and the same directory in the layers below.
struct Level {
    /// Folded name of the directory.
    folded: String,
    /// Name on disk.
    name: String,
    here: Dir,
    /// Nearest first.
    below: Vec<Dir>,
    /// Folded names to names on disk, in this layer and below.
    names: HashMap<String, String>,
}

impl Level {
    fn open(name: &str, here: Dir, below: Vec<Dir>) -> io::Result<Self> {
        let mut names = HashMap::new();
        for dir in std::iter::once(&here).chain(&below) {
            for name in dir.names()? {
                names.entry(fold(&name)).or_insert(name);
            }
        }
        Ok(Self { folded: fold(name), name: name.to_owned(), here, below, names })
    }

    /// The name on disk of what an entry calls `name`.
    fn spelling(&self, name: &str) -> String {
        self.names.get(&fold(name)).cloned().unwrap_or_else(|| name.to_owned())
    }

    /// Whether a layer below shows `name`.
    fn is_below(&self, name: &str) -> io::Result<bool> {
        for dir in &self.below {
            if let Some(stat) = dir.stat(name)? {
                return Ok(!disk::is_whiteout(&stat));
            }
        }
        Ok(false)
    }

    /// The directories `name` below, nearest first, as far as they show through.
    fn directories_below(&self, name: &str) -> io::Result<Vec<Dir>> {
        let mut found = Vec::new();
        for dir in &self.below {
            let Some(stat) = dir.stat(name)? else { continue };
            let Some(child) = dir.child(name)? else { break };
            let opaque = disk::xattr(&child, OPAQUE).is_some();
            if disk::kind_of(&stat) == FileType::Directory {
                found.push(child);
            }
            if opaque {
                break;
            }
        }
        Ok(found)
    }
}

/// A layer being extracted.
pub(crate) struct Extraction {
    /// The layer's directory, then the directories along the current path.
    levels: Vec<Level>,
    /// Directories whose times are set at the end, for making children changes them.
    directory_times: Vec<(LayerPath, (i64, u32))>,
    /// Hard links whose targets come later.
    links: Vec<(LayerPath, LayerPath)>,
    size: u64,
}

/// Extracts `reader` into the empty directory `target`, on top of the layer directories `parents`,
/// nearest first. Returns the bytes of all files.
pub(crate) fn extract<R: Read>(
    reader: &mut Reader<R>,
    target: &Path,
    parents: &[std::path::PathBuf],
) -> Result<u64, ImageError> {
    let open = |path: &Path| Dir::open(path).attempt(|| format!("open layer {}", path.display()));
    let below = parents.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
    let root = Level::open("", open(target)?, below)
        .attempt(|| format!("list layer {}", target.display()))?;
    let mut extraction =
        Extraction { levels: vec![root], directory_times: Vec::new(), links: Vec::new(), size: 0 };
    while let Some(entry) = reader.next_entry().attempt(|| "read a layer".into())? {
        if extraction.size.saturating_add(entry.size()) > Limits::LAYER_BYTES {
            return Err(ImageError::Limit { what: "a layer", limit: Limits::LAYER_BYTES });
        }
        extraction.take(&entry, reader).attempt(|| format!("extract `{}`", entry.path))?;
        let kept = extraction.links.len() + extraction.directory_times.len();
        if kept as u64 > Limits::LAYER_DIRECTORIES {
            let limit = Limits::LAYER_DIRECTORIES;
            return Err(ImageError::Limit { what: "the number of directories", limit });
        }
    }
    extraction.finish().attempt(|| "finish a layer".into())?;
    Ok(extraction.size)
}

impl Extraction {
    fn take(&mut self, entry: &Entry, data: &mut impl Read) -> io::Result<()> {
        match &entry.kind {
            Kind::Directory => self.directory(entry),
            Kind::OpaqueWhiteout => {
                self.enter(&entry.path)?;
                attributes::keep(&self.top().here, OPAQUE, b"y")
            }
            Kind::Whiteout => self.whiteout(&entry.path),
            Kind::File { size } => self.file(entry, None, *size, data),
            Kind::Stream { name, size } => self.file(entry, Some(name), *size, data),
            Kind::Symlink { target } | Kind::Junction { target } => self.symlink(entry, target),
            Kind::HardLink { target } => {
                if !self.hard_link(&entry.path, target)? {
                    self.links.push((entry.path.clone(), target.clone()));
                }
                Ok(())
            }
        }
    }

    fn top(&mut self) -> &mut Level {
        self.levels.last_mut().expect("the layer's own directory is never left")
    }

    /// Opens the directory `path`, making what is missing.
    fn enter(&mut self, path: &LayerPath) -> io::Result<()> {
        let names: Vec<&str> =
            std::iter::once(path.root().name()).chain(path.components()).collect();
        let common = self.levels[1..]
            .iter()
            .zip(&names)
            .take_while(|(level, name)| level.folded == fold(name))
            .count();
        self.levels.truncate(common + 1);
        for name in &names[common..] {
            let level = self.top();
            let name = level.spelling(name);
            make_directory(level, &name)?;
            let here = level.here.child(&name)?.ok_or(io::ErrorKind::NotADirectory)?;
            let opaque = disk::xattr(&here, OPAQUE).is_some();
            let below = if opaque { Vec::new() } else { level.directories_below(&name)? };
            let next = Level::open(&name, here, below)?;
            self.levels.push(next);
        }
        Ok(())
    }

    /// Opens the directory that holds `path` and returns the spelling of the last name.
    fn enter_parent(&mut self, path: &LayerPath) -> io::Result<String> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        self.enter(&parent)?;
        Ok(self.top().spelling(path.file_name()))
    }

    fn directory(&mut self, entry: &Entry) -> io::Result<()> {
        self.enter(&entry.path)?;
        attributes::store(&self.top().here, entry)?;
        self.directory_times.push((entry.path.clone(), entry.modified.to_unix()));
        Ok(())
    }

    fn file(
        &mut self,
        entry: &Entry,
        stream: Option<&str>,
        size: u64,
        data: &mut impl Read,
    ) -> io::Result<()> {
        let mut name = self.enter_parent(&entry.path)?;
        if let Some(stream) = stream {
            // Wine keeps the streams it makes in files of such names.
            name = format!("{name}:{stream}");
        }
        let level = self.top();
        level.here.remove(&name)?;
        let mut file = level.here.create(&name)?;
        level.names.insert(fold(&name), name);
        let copied = io::copy(data, &mut file)?;
        if copied != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.size += copied;
        if stream.is_none() {
            attributes::store(&file, entry)?;
        }
        disk::set_times(&file, entry.modified.to_unix())
    }

    fn symlink(&mut self, entry: &Entry, target: &str) -> io::Result<()> {
        let name = self.enter_parent(&entry.path)?;
        let parents: Vec<String> =
            self.levels[1..].iter().skip(1).map(|level| level.name.clone()).collect();
        let text = links::to_linux(&parents, target);
        let level = self.top();
        level.here.remove(&name)?;
        level.here.symlink(&name, &text)?;
        level.here.set_time(&name, entry.modified.to_unix())?;
        level.names.insert(fold(&name), name);
        Ok(())
    }

    fn whiteout(&mut self, path: &LayerPath) -> io::Result<()> {
        if path.is_root() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let name = self.enter_parent(path)?;
        let level = self.top();
        if !level.is_below(&name)? {
            return Ok(());
        }
        match level.here.stat(&name)? {
            None => level.here.whiteout(&name),
            // This layer made it anew before: what is below must not show through.
            Some(_) => match level.here.child(&name)? {
                Some(child) => attributes::keep(&child, OPAQUE, b"y"),
                None => Ok(()),
            },
        }
    }

    /// Makes `path` another name of `target` in this layer or below; `false` when it is not there.
    fn hard_link(&mut self, path: &LayerPath, target: &LayerPath) -> io::Result<bool> {
        if path == target {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let Some((from, old)) = self.find(target)? else { return Ok(false) };
        let new = self.enter_parent(path)?;
        let level = self.top();
        if level.here.stat(&new)?.is_some() {
            level.here.remove(&new)?;
        }
        level.here.link(&new, &from, &old)?;
        level.names.insert(fold(&new), new);
        Ok(true)
    }

    /// The directory and name of the file `path`, in this layer or the nearest below.
    fn find(&self, path: &LayerPath) -> io::Result<Option<(Dir, String)>> {
        let root = &self.levels[0];
        for start in std::iter::once(&root.here).chain(&root.below) {
            if let Some(found) = find_file(start, path)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Makes the links that had to wait and sets the times of directories, children first.
    fn finish(&mut self) -> io::Result<()> {
        for (path, target) in std::mem::take(&mut self.links) {
            if !self.hard_link(&path, &target)? {
                let text = format!("hard link to `{target}`, which no layer has");
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
        }
        for (path, time) in std::mem::take(&mut self.directory_times).into_iter().rev() {
            self.enter(&path)?;
            disk::set_times(&self.top().here, time)?;
        }
        Ok(())
    }
}

/// Makes the directory `name` of a level unless it is there.
fn make_directory(level: &mut Level, name: &str) -> io::Result<()> {
    let hides = match level.here.stat(name)? {
        Some(stat) if disk::kind_of(&stat) == FileType::Directory => return Ok(()),
        Some(stat) => {
            level.here.remove(name)?;
            disk::is_whiteout(&stat)
        }
        None => false,
    };
    level.here.make_dir(name)?;
    level.names.insert(fold(name), name.to_owned());
    if hides && let Some(child) = level.here.child(name)? {
        attributes::keep(&child, OPAQUE, b"y")?;
    }
    Ok(())
}

/// Finds the regular file `path` below `start`, names compared without case.
pub(crate) fn find_file(start: &Dir, path: &LayerPath) -> io::Result<Option<(Dir, String)>> {
    let mut current: Option<Dir> = None;
    let mut names = std::iter::once(path.root().name()).chain(path.components()).peekable();
    while let Some(name) = names.next() {
        let dir = current.as_ref().unwrap_or(start);
        let Some((name, stat)) = find_name(dir, name)? else { return Ok(None) };
        if names.peek().is_none() {
            let regular = disk::kind_of(&stat) == FileType::RegularFile;
            return Ok(current.filter(|_| regular).map(|dir| (dir, name)));
        }
        let Some(child) = dir.child(&name)? else { return Ok(None) };
        current = Some(child);
    }
    Ok(None)
}

/// The entry of `dir` whose name is `name` without case; an exact match is preferred.
pub(crate) fn find_name(dir: &Dir, name: &str) -> io::Result<Option<(String, rustix::fs::Stat)>> {
    if let Some(stat) = dir.stat(name)? {
        return Ok(Some((name.to_owned(), stat)));
    }
    let folded = fold(name);
    let Some(found) = dir.names()?.into_iter().find(|other| fold(other) == folded) else {
        return Ok(None);
    };
    Ok(dir.stat(&found)?.map(|stat| (found, stat)))
}
