//! Layers on disk: from a stream of entries to a directory overlayfs can show.
//!
//! Windows compares names without case and overlayfs does not, so an entry is stored under the
//! spelling the layers below have: `WINDOWS/system32` of one layer and `Windows/System32` of
//! another must be one directory. The directories along the current path are kept open together
//! with their names; tars are depth first, so each directory is listed about once.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use oriel_wclayer::{Attributes, Entry, Kind, LayerPath, Reader, Root};
use rustix::fs::{FileType, Timestamps};
use rustix::io::Errno;

use crate::attributes;
use crate::disk::{self, Dir, fold};
use crate::error::Attempt;
use crate::level::Level;
use crate::links;
use crate::view::View;
use crate::{ImageError, Limits};

/// Room for data on its way to a file; also the unit in which sparse files have holes, as on NTFS.
const BUFFER: usize = 64 * 1024;

/// Name of a link until it takes another's place; no entry of a layer can have it.
const REPLACEMENT: &str = ".oriel:link:";

/// The files that a layer was made of, which may become its own: those of `upper` of a sandbox that
/// nobody uses any more.
pub(crate) struct Taken {
    upper: std::path::PathBuf,
}

impl Taken {
    /// Those of this directory.
    pub(crate) fn of(upper: &Path) -> io::Result<Self> {
        Ok(Self { upper: fs_err::canonicalize(upper)? })
    }

    /// The file at `path` of the layer.
    fn file(&self, path: &LayerPath) -> Option<std::path::PathBuf> {
        (path.root() == Root::Files).then(|| self.upper.join(path.rest()))
    }
}

/// Names of a file that may be taken: in the layer, in the sandbox, and where it came from.
const NAMES_TAKEN: u64 = 3;

/// A layer being extracted.
pub(crate) struct Extraction {
    /// The layer's directory, then the directories along the current path.
    levels: Vec<Level>,
    /// Directories whose times are set at the end, for making children changes them.
    directory_times: Vec<(String, Timestamps)>,
    /// Hard links whose targets come later or lie below.
    links: Vec<(LayerPath, LayerPath)>,
    /// Links whose targets may have a prefix too much.
    doubtful: Vec<(LayerPath, String)>,
    /// Bytes that these three take, about.
    remembered: u64,
    buffer: Vec<u8>,
    size: u64,
    taken: Option<Taken>,
}

/// Extracts `reader` into the empty directory `target`, on top of the layer directories `parents`,
/// nearest first. Files of `taken` are not written again. Returns the bytes of all files.
pub(crate) fn extract<R: Read>(
    reader: &mut Reader<R>,
    target: &Path,
    parents: &[std::path::PathBuf],
    taken: Option<Taken>,
) -> Result<u64, ImageError> {
    let open = |path: &Path| Dir::open(path).attempt(|| format!("open layer {}", path.display()));
    let below = parents.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
    let root =
        Level::root(open(target)?, below).attempt(|| format!("list layer {}", target.display()))?;
    let mut extraction = Extraction {
        levels: vec![root],
        directory_times: Vec::new(),
        links: Vec::new(),
        doubtful: Vec::new(),
        remembered: 0,
        buffer: vec![0; BUFFER],
        size: 0,
        taken,
    };
    while let Some(entry) = reader.next_entry().attempt(|| "read a layer".into())? {
        if extraction.size.saturating_add(entry.size()) > Limits::LAYER_BYTES {
            return Err(ImageError::Limit { what: "a layer", limit: Limits::LAYER_BYTES });
        }
        extraction.take(&entry, reader).attempt(|| format!("extract `{}`", entry.path))?;
        if extraction.remembered > Limits::LAYER_NAMES {
            let limit = Limits::LAYER_NAMES;
            return Err(ImageError::Limit { what: "names of directories and links", limit });
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
                self.top().hide_all(entry.path.is_root())
            }
            Kind::Whiteout => self.whiteout(&entry.path),
            Kind::File { .. } => self.file(entry, data),
            Kind::Stream { name, .. } => self.stream(entry, name, data),
            Kind::Symlink { target } | Kind::Junction { target } => {
                self.symlink(entry, target)?;
                if links::without_prefix(target).is_some() {
                    self.remember(&[entry.path.rest(), target]);
                    self.doubtful.push((entry.path.clone(), target.clone()));
                }
                Ok(())
            }
            Kind::HardLink { target } => {
                if fold(&entry.path.to_string()) == fold(&target.to_string()) {
                    return Err(io::Error::other("a hard link to itself"));
                }
                let found = find_file(&self.levels[0].here, target)?;
                match found {
                    Some((from, old)) => self.hard_link(&entry.path, &from, &old),
                    None => {
                        self.remember(&[entry.path.rest(), target.rest()]);
                        self.links.push((entry.path.clone(), target.clone()));
                        Ok(())
                    }
                }
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
            let next = level.enter(&level.spelling(name))?;
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
        let names: Vec<&str> = self.levels[1..].iter().map(|level| level.name.as_str()).collect();
        let path = names.join("/");
        self.remember(&[&path]);
        self.directory_times.push((path, times(entry)));
        Ok(())
    }

    fn remember(&mut self, names: &[&str]) {
        /// What a name costs besides its letters.
        const OVERHEAD: usize = 64;
        self.remembered += names.iter().map(|name| (name.len() + OVERHEAD) as u64).sum::<u64>();
    }

    fn file(&mut self, entry: &Entry, data: &mut impl Read) -> io::Result<()> {
        let name = self.enter_parent(&entry.path)?;
        self.top().hide_streams(&name)?;
        let file = match self.take_file(&name, entry)? {
            Some(file) => file,
            None => self.write(name, entry, data)?,
        };
        attributes::store(&file, entry)?;
        disk::set_times(&file, &times(entry))
    }

    /// Makes the file that `entry` was made of the layer's own, if that is possible.
    fn take_file(&mut self, name: &str, entry: &Entry) -> io::Result<Option<File>> {
        let found = self.taken.as_ref().and_then(|taken| taken.file(&entry.path));
        let Some(source) = found.filter(|_| !entry.attributes.contains(Attributes::SPARSE)) else {
            return Ok(None);
        };
        self.top().here.remove(name)?;
        let Some(file) = self.top().here.take(name, &source, NAMES_TAKEN)? else {
            return Ok(None);
        };
        if file.metadata()?.len() != entry.size() {
            return Err(io::Error::other("it changed while its layer was made"));
        }
        attributes::clear(&file)?;
        self.top().note(name.to_owned());
        self.size += entry.size();
        Ok(Some(file))
    }

    /// Wine keeps the streams it makes in files of such names.
    fn stream(&mut self, entry: &Entry, stream: &str, data: &mut impl Read) -> io::Result<()> {
        let owner = self.enter_parent(&entry.path)?;
        if self.top().stream_count(&owner) >= Limits::FILE_STREAMS {
            let text = format!("a file with more than {} streams", Limits::FILE_STREAMS);
            return Err(io::Error::other(text));
        }
        let name = self.top().spelling(&format!("{owner}:{stream}"));
        let file = self.write(name, entry, data)?;
        attributes::hide(&file)?;
        disk::set_times(&file, &times(entry))?;
        self.top().own_streams(&owner)
    }

    /// Writes the file `name` of the current directory.
    fn write(&mut self, name: String, entry: &Entry, data: &mut impl Read) -> io::Result<File> {
        let holes = entry.attributes.contains(Attributes::SPARSE);
        let mut file = self.top().here.create(&name)?;
        self.top().note(name);
        let copied = copy(data, &mut file, &mut self.buffer, holes)?;
        if copied != entry.size() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.size += copied;
        Ok(file)
    }

    /// Makes a link on disk for a link of the layer, as if its target were `target`.
    fn symlink(&mut self, entry: &Entry, target: &str) -> io::Result<()> {
        let name = self.enter_parent(&entry.path)?;
        let text = links::to_linux(&self.directories(entry.path.root()), target);
        let level = self.top();
        level.hide_streams(&name)?;
        level.here.remove(&name)?;
        level.here.symlink(&name, &text)?;
        attributes::store_link(level.here.named(&name), entry)?;
        level.here.set_times(&name, &times(entry))?;
        level.note(name);
        Ok(())
    }

    /// Names on disk from the root of C: to the current directory.
    fn directories(&self, root: Root) -> Vec<String> {
        // The layer's own directory and `Files`, or `UtilityVM/Files`.
        let outside = if root == Root::UtilityVm { 3 } else { 2 };
        self.levels.iter().skip(outside).map(|level| level.name.clone()).collect()
    }

    fn whiteout(&mut self, path: &LayerPath) -> io::Result<()> {
        if path.is_root() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let name = self.enter_parent(path)?;
        self.top().hide(&name)
    }

    /// Makes `path` another name of the file `old` in `from`, and its streams those of that file.
    fn hard_link(&mut self, path: &LayerPath, from: &Dir, old: &str) -> io::Result<()> {
        let new = self.enter_parent(path)?;
        let level = self.top();
        level.hide_streams(&new)?;
        level.here.remove(&new)?;
        link(&level.here, &new, from, old)?;
        for stream in attributes::streams(from.named(old)) {
            let [old, new] = [old, &new].map(|name| format!("{name}:{stream}"));
            if from.stat(&old)?.is_some_and(|stat| !disk::is_whiteout(&stat)) {
                level.here.remove(&new)?;
                link(&level.here, &new, from, &old)?;
                level.note(new);
            }
        }
        level.note(new);
        Ok(())
    }

    /// Makes what had to wait and sets the times of directories, children first.
    fn finish(&mut self) -> io::Result<()> {
        for (path, target) in std::mem::take(&mut self.links) {
            let found = match find_file(&self.levels[0].here, &target)? {
                Some(found) => Some(found),
                None => self.below()?.file(&target)?,
            };
            let Some((from, old)) = found else {
                let text = format!("`{path}` is a hard link to `{target}`, which no layer has");
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            };
            self.hard_link(&path, &from, &old)?;
        }
        for (path, target) in std::mem::take(&mut self.doubtful) {
            self.decide(&path, &target)?;
        }
        for (path, times) in std::mem::take(&mut self.directory_times).into_iter().rev() {
            if let Some(dir) = self.levels[0].here.descend(&path)? {
                disk::set_times(&dir, &times)?;
            }
        }
        Ok(())
    }

    /// The layers below.
    fn below(&self) -> io::Result<View> {
        let dirs = self.levels[0].below.iter().map(Dir::duplicate).collect::<io::Result<_>>()?;
        Ok(View { dirs, upper: false })
    }

    /// Takes the prefix from a link's target that leads nowhere with it.
    fn decide(&mut self, path: &LayerPath, target: &str) -> io::Result<()> {
        let name = self.enter_parent(path)?;
        let still = self.top().here.stat(&name)?;
        let directories = self.directories(path.root());
        let (Some(stat), Some(meant), Some(names)) =
            (still, links::without_prefix(target), links::resolve(&directories, target))
        else {
            return Ok(());
        };
        let mut view = self.below()?;
        view.dirs.insert(0, self.levels[0].here.duplicate()?);
        let outside = [Root::UtilityVm.name(), Root::Files.name()];
        let skipped = if path.root() == Root::UtilityVm { 0 } else { 1 };
        let literal: Vec<&str> = outside.into_iter().skip(skipped).chain(names).collect();
        if disk::kind_of(&stat) == FileType::Symlink && !view.shows(&literal)? {
            let here = &self.top().here;
            here.symlink(REPLACEMENT, &links::to_linux(&directories, meant))?;
            attributes::copy_link(here.named(&name), here.named(REPLACEMENT))?;
            let times = disk::timestamps(disk::modified(&stat), disk::accessed(&stat));
            here.set_times(REPLACEMENT, &times)?;
            here.rename(REPLACEMENT, &name)?;
        }
        Ok(())
    }
}

/// The times an entry gives to a file. Linux keeps the change of attributes to itself.
fn times(entry: &Entry) -> Timestamps {
    let accessed = entry.accessed.unwrap_or(entry.modified);
    disk::timestamps(entry.modified.to_unix(), accessed.to_unix())
}

/// Copies `data` to `file`; with `holes`, blocks of zeros take no room.
fn copy(data: &mut impl Read, file: &mut File, buffer: &mut [u8], holes: bool) -> io::Result<u64> {
    let mut copied = 0;
    loop {
        let count = fill(data, buffer)?;
        let part = &buffer[..count];
        if holes && part.iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Current(i64::try_from(count).unwrap_or(0)))?;
        } else {
            file.write_all(part)?;
        }
        copied += count as u64;
        if count < buffer.len() {
            break;
        }
    }
    if holes {
        file.set_len(copied)?;
    }
    Ok(copied)
}

/// Reads until `buffer` is full or the data ends.
fn fill(data: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match data.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Makes `new` another name of `old`, or a copy where the file system has no more names for it.
fn link(here: &Dir, new: &str, from: &Dir, old: &str) -> io::Result<()> {
    match here.link(new, from, old) {
        Err(error) if is_refused_link(&error) => {
            let (source, copy) = (from.read(old)?, here.create(new)?);
            io::copy(&mut &source, &mut &copy)?;
            attributes::copy_file(&source, &copy)
        }
        other => other,
    }
}

/// Whether a hard link is refused for a reason that a copy does not have.
fn is_refused_link(error: &io::Error) -> bool {
    [Errno::XDEV, Errno::MLINK, Errno::PERM]
        .iter()
        .any(|refusal| error.raw_os_error() == Some(refusal.raw_os_error()))
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
