//! The files of a container.
//!
//! COPY, ADD and WORKDIR of a build, and `docker cp`, need no silo: they look names up through the
//! sandbox and the layers below it as overlayfs would, and write to `upper`. While the container
//! runs, overlayfs does that itself, so its drive C: is then taken for the one directory there is.
//! What is mounted is looked for in its own directory on the host, in either case.

mod digests;
mod directory;
mod mounted;
mod owner;
mod pack;
mod unpack;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use oriel_wclayer::Attributes;
use rustix::fs::FileType;

use crate::attributes::{self, OPAQUE};
use crate::disk::{self, Dir};
use crate::error::Attempt;
use crate::view::View;
use crate::{ImageError, Sandbox};

pub use directory::{Content, OpenDirectory};
pub use mounted::FileMount;
use mounted::{Mounted, is_copied};
pub use pack::{PathMode, PathStat};
pub use unpack::{Clash, Unpack};

/// Most symbolic links along a path, as in Linux.
const MAX_LINKS: u32 = 40;

/// What a path of a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link or junction.
    Link,
}

/// What is known of a file in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
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
    /// What it is; links are not followed.
    pub stat: Stat,
}

/// The files of a container. Whoever has this keeps the container from starting and ending, but
/// its programs may change any of them at any time.
///
/// Paths are Windows paths such as `C:\app\x` or `app/x`: both separators, a drive letter C or
/// none, any case. `..` is resolved by name and stops at the root. Symbolic links of layers are
/// followed inside the container's view only.
#[derive(Clone, Debug)]
pub struct SandboxFiles {
    sandbox: Sandbox,
    /// Drive C: of the container, while it runs.
    live: Option<Arc<Dir>>,
    mounts: Vec<Arc<Mounted>>,
}

/// Where a path leads.
struct Place {
    /// Names on disk of the directories above.
    parents: Vec<String>,
    parent: View,
    /// Name on disk, or as given when nothing is there; `None` for the root.
    name: Option<String>,
    /// Layer and status of what is there.
    found: Option<(usize, rustix::fs::Stat)>,
    /// Whether it is a file that is mounted; `name` is then that of the source.
    mounted: bool,
}

impl Place {
    /// Names on disk along it.
    fn names(&self) -> Vec<String> {
        self.parents.iter().chain(&self.name).cloned().collect()
    }
}

/// What to do with a link at the end of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastLink {
    Follow,
    Keep,
}

impl SandboxFiles {
    pub(crate) fn new(sandbox: Sandbox) -> Self {
        Self { sandbox, live: None, mounts: Vec::new() }
    }

    /// The files of the container while it runs; `drive` is where the host reaches its drive C:.
    ///
    /// # Errors
    /// [`ImageError::Io`] when it does not run any more.
    pub fn live(self, drive: &Path) -> Result<Self, ImageError> {
        let dir = Dir::open(drive).attempt(|| format!("open {}", drive.display()))?;
        Ok(Self { live: Some(Arc::new(dir)), ..self })
    }

    /// The files with what is mounted among them.
    ///
    /// # Errors
    /// [`ImageError::Io`] when a source is gone.
    pub fn with_mounts(self, mounts: &[FileMount]) -> Result<Self, ImageError> {
        let open = |mount: &FileMount| {
            let attempt = || format!("open {}", mount.source.display());
            Mounted::open(mount).attempt(attempt).map(Arc::new)
        };
        let mounts = mounts.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { mounts, ..self })
    }

    /// What `path` is, links followed; `None` when there is nothing.
    ///
    /// # Errors
    /// [`ImageError::BadPath`] for a path no container can have, [`ImageError::Io`].
    pub fn stat(&self, path: &str) -> Result<Option<Stat>, ImageError> {
        let Some(place) = self.locate(path, LastLink::Follow)? else { return Ok(None) };
        self.describe(&place).attempt(|| format!("look at {path}"))
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
    pub fn list(&self, path: &str) -> Result<Vec<DirectoryItem>, ImageError> {
        let place = self.existing(path)?;
        let attempt = || format!("list {path}");
        let names = place.names();
        let view = match (self.mounted(&names), &place.name) {
            (Some(mount), _) => mount.view().attempt(attempt)?,
            (None, Some(name)) => place.parent.child(name).attempt(attempt)?,
            (None, None) => place.parent,
        };
        if view.dirs.is_empty() {
            return Err(bad(path, "the directory name is invalid"));
        }
        let mut items = Vec::new();
        for name in view.names().attempt(attempt)?.into_values() {
            let found = view.find(&name).attempt(attempt)?;
            if let Some((name, at, stat)) = found.filter(|(_, _, stat)| is_copied(stat)) {
                let stat = stat_of(&view.dirs[at], &name, &stat);
                items.push(DirectoryItem { name, stat });
            }
        }
        for mount in self.mounts.iter().filter(|mount| mount.is_in(&names)) {
            let stat = mount.stat().attempt(attempt)?;
            match items.iter_mut().find(|item| disk::fold(&item.name) == disk::fold(mount.name())) {
                Some(item) => item.stat = stat,
                None => items.push(DirectoryItem { name: mount.name().to_owned(), stat }),
            }
        }
        Ok(items)
    }

    /// Opens the file `path` for reading.
    ///
    /// # Errors
    /// [`ImageError::PathNotFound`], [`ImageError::BadPath`] when it is no file.
    pub fn read(&self, path: &str) -> Result<Box<dyn Read + Send>, ImageError> {
        let place = self.existing(path)?;
        match (&place.name, &place.found) {
            (Some(name), Some((at, stat))) if disk::kind_of(stat) == FileType::RegularFile => {
                let file = place.parent.dirs[*at].read(name).attempt(|| format!("open {path}"))?;
                Ok(Box::new(file))
            }
            _ => Err(bad(path, "is not a file")),
        }
    }

    /// Makes the directory `path` and those above it, as far as they are missing.
    ///
    /// # Errors
    /// [`ImageError::BadPath`] when a file is in the way.
    pub fn create_dir_all(&self, path: &str) -> Result<(), ImageError> {
        let parents = self.directory_path(path)?;
        if !self.is_dir(path)? {
            self.check_writable(&parents)?;
        }
        self.upper_directory(&parents).attempt(|| format!("make directory {path}"))?;
        Ok(())
    }

    /// Writes the file `path`, making the directories above it; an existing file is replaced and
    /// keeps the case of its name. Returns the number of bytes written.
    ///
    /// # Errors
    /// [`ImageError::BadPath`] when a directory is in the way.
    pub fn write_file(
        &self,
        path: &str,
        data: &mut dyn Read,
        modified: Option<SystemTime>,
    ) -> Result<u64, ImageError> {
        let (parents, name) = self.target(path)?;
        self.check_change(path, &parents, &name)?;
        let attempt = || format!("write {path}");
        let dir = self.upper_directory(&parents).attempt(attempt)?;
        if dir.child(&name).attempt(attempt)?.is_some() {
            return Err(bad(path, "is a directory"));
        }
        dir.remove(&name).attempt(attempt)?;
        let mut file = dir.create(&name).attempt(attempt)?;
        let length = io::copy(data, &mut file).attempt(attempt)?;
        dir.give(&name, self.owner(&parents)).attempt(attempt)?;
        attributes::show(&file, &name).attempt(attempt)?;
        if let Some(modified) = modified.map(unix) {
            disk::set_times(&file, &disk::timestamps(modified, modified)).attempt(attempt)?;
        }
        Ok(length)
    }

    /// Removes the file or directory tree `path`; nothing there is no error. Links are not
    /// followed.
    ///
    /// # Errors
    /// [`ImageError::BadPath`] for the root, [`ImageError::Io`].
    pub fn remove(&self, path: &str) -> Result<(), ImageError> {
        let Some(place) = self.locate(path, LastLink::Keep)? else { return Ok(()) };
        let name = place.name.ok_or_else(|| bad(path, "is the root"))?;
        if place.found.is_none() {
            return Ok(());
        }
        self.check_change(path, &place.parents, &name)?;
        let attempt = || format!("remove {path}");
        let dir = self.upper_directory(&place.parents).attempt(attempt)?;
        dir.remove(&name).attempt(attempt)?;
        let skipped = usize::from(place.parent.upper);
        let below =
            View { dirs: place.parent.dirs.into_iter().skip(skipped).collect(), upper: false };
        if below.find(&name).attempt(attempt)?.is_some() {
            dir.whiteout(&name).attempt(attempt)?;
        }
        Ok(())
    }

    /// Whether anything is mounted, or the container runs.
    fn is_mounted(&self) -> bool {
        self.live.is_some() || !self.mounts.is_empty()
    }

    /// The root of C: as its layers show it.
    pub(crate) fn root(&self) -> io::Result<View> {
        let mut dirs = vec![self.top()?];
        if self.live.is_none() {
            for layer in &self.sandbox.layers {
                dirs.push(Dir::open(layer)?);
            }
        }
        Ok(View { dirs, upper: true })
    }

    /// The directory that changes go to.
    fn top(&self) -> io::Result<Dir> {
        match &self.live {
            Some(drive) => drive.duplicate(),
            None => Dir::open(&self.sandbox.path.join("upper")),
        }
    }

    /// Follows `path` through the layers; `None` when a directory on the way is missing.
    fn locate(&self, path: &str, last: LastLink) -> Result<Option<Place>, ImageError> {
        let pending: VecDeque<String> = components(path)?.into();
        self.walk(pending, last).attempt(|| format!("look up {path}"))
    }

    fn walk(&self, mut pending: VecDeque<String>, last: LastLink) -> io::Result<Option<Place>> {
        let mut names: Vec<String> = Vec::new();
        let mut views = vec![self.root()?];
        let mut links = 0;
        while let Some(component) = pending.pop_front() {
            if component == ".." {
                if names.pop().is_some() {
                    views.pop();
                }
                continue;
            }
            let view = views.last().expect("the root is never left");
            let is_last = pending.is_empty();
            names.push(component);
            let mount = self.mounted(&names);
            let component = names.pop().expect("it was put there");
            match mount {
                Some(mount) if mount.is_file() => {
                    let parents = names;
                    return if is_last { mount.place(parents).map(Some) } else { Ok(None) };
                }
                Some(mount) => {
                    views.push(mount.view()?);
                    names.push(component);
                    continue;
                }
                None => {}
            }
            let found = view.find(&component)?;
            let Some((name, at, stat)) = found else {
                let place = views.pop().map(|parent| Place {
                    parents: names,
                    parent,
                    name: Some(component),
                    found: None,
                    mounted: false,
                });
                return Ok(place.filter(|_| is_last));
            };
            let kind = disk::kind_of(&stat);
            if kind == FileType::Symlink && !(is_last && last == LastLink::Keep) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(io::Error::other("too many links along the path"));
                }
                // Links on disk are relative; one that is not leads to the root of C:.
                let target = view.dirs[at].link_target(&name)?;
                if target.starts_with('/') {
                    names.clear();
                    views.truncate(1);
                }
                let parts = target.split('/').filter(|part| !matches!(*part, "" | "."));
                parts.rev().for_each(|part| pending.push_front(part.to_owned()));
                continue;
            }
            if kind == FileType::Directory {
                let child = view.child(&name)?;
                names.push(name);
                views.push(child);
                continue;
            }
            let place = views.pop().map(|parent| Place {
                parents: names,
                parent,
                name: Some(name),
                found: Some((at, stat)),
                mounted: false,
            });
            return Ok(place.filter(|_| is_last));
        }
        let Some(name) = names.pop() else {
            let parent = views.pop().expect("the root is never left");
            let (name, found, mounted) = (None, None, false);
            return Ok(Some(Place { parents: names, parent, name, found, mounted }));
        };
        let here = views.pop().expect("the root is never left");
        let parent = views.pop().expect("the root is never left");
        let mut found = parent.find(&name)?.map(|(_, at, stat)| (at, stat));
        if found.is_none() {
            // Something is mounted where nothing was.
            found = Some((0, here.dirs[0].status()?));
        }
        Ok(Some(Place { parents: names, parent, name: Some(name), found, mounted: false }))
    }

    fn existing(&self, path: &str) -> Result<Place, ImageError> {
        self.locate(path, LastLink::Follow)?
            .filter(|place| place.name.is_none() || place.found.is_some())
            .ok_or_else(|| ImageError::PathNotFound { path: path.to_owned() })
    }

    fn describe(&self, place: &Place) -> io::Result<Option<Stat>> {
        match (&place.name, &place.found) {
            (Some(name), Some((at, stat))) => {
                Ok(Some(stat_of(&place.parent.dirs[*at], name, stat)))
            }
            (Some(_), None) => Ok(None),
            (None, _) => {
                let stat = place.parent.dirs[0].stat(".")?;
                Ok(stat.map(|stat| stat_of(&place.parent.dirs[0], ".", &stat)))
            }
        }
    }

    /// Names on disk along the directory `path`, whose missing part is as given.
    fn directory_path(&self, path: &str) -> Result<Vec<String>, ImageError> {
        let mut known: Vec<String> = Vec::new();
        let mut missing = false;
        for component in components(path)? {
            if component == ".." {
                known.pop();
                missing = false;
                continue;
            }
            if missing {
                known.push(component);
                continue;
            }
            let joined = [known.as_slice(), &[component]].concat().join("/");
            let place = self
                .locate(&joined, LastLink::Follow)?
                .ok_or_else(|| bad(path, "leads through a file"))?;
            missing = place.name.is_some() && place.found.is_none();
            if place.found.is_some_and(|(_, stat)| disk::kind_of(&stat) != FileType::Directory) {
                return Err(bad(path, "leads through a file"));
            }
            known = place.parents;
            known.extend(place.name);
        }
        Ok(known)
    }

    /// Names on disk of the directories above `path`, and of the file itself.
    fn target(&self, path: &str) -> Result<(Vec<String>, String), ImageError> {
        let mut parts = components(path)?;
        let name =
            parts.pop().filter(|name| name != "..").ok_or_else(|| bad(path, "is no file"))?;
        let parents = self.directory_path(&parts.join("/"))?;
        let joined = [parents.as_slice(), std::slice::from_ref(&name)].concat().join("/");
        match self.locate(&joined, LastLink::Follow)? {
            Some(place) => Ok((place.parents, place.name.unwrap_or(name))),
            None => Ok((parents, name)),
        }
    }

    /// The sandbox's own directory of that path, copied up or made where missing.
    fn upper_directory(&self, path: &[String]) -> io::Result<Dir> {
        let mut view = self.root()?;
        let mut dir = self.top()?;
        for (depth, name) in path.iter().enumerate() {
            if let Some(mount) = self.mounted(&path[..=depth]) {
                view = mount.view()?;
                dir = mount.view()?.dirs.swap_remove(0);
                continue;
            }
            let next = view.child(name)?;
            if !next.upper {
                let hides = dir.stat(name)?.is_some();
                dir.remove(name)?;
                dir.make_dir(name)?;
                dir.give(name, self.owner(&path[..depth]))?;
                let made = dir.child(name)?.ok_or(io::ErrorKind::NotADirectory)?;
                match next.dirs.first() {
                    Some(below) => attributes::copy_up(below, &made)?,
                    None => attributes::show(&made, name)?,
                }
                if hides && next.dirs.is_empty() {
                    attributes::keep(&made, OPAQUE, b"y")?;
                }
            }
            view = next;
            dir = dir.child(name)?.ok_or(io::ErrorKind::NotADirectory)?;
        }
        Ok(dir)
    }
}

/// Describes a file.
fn stat_of(dir: &Dir, name: &str, stat: &rustix::fs::Stat) -> Stat {
    let kind = match disk::kind_of(stat) {
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::File,
    };
    let size = if kind == FileKind::Directory { 0 } else { stat.st_size };
    let attributes = match kind {
        FileKind::Link => Attributes::REPARSE_POINT,
        _ => attributes::attributes(dir.named(name), stat),
    };
    let size = u64::try_from(size).unwrap_or(0);
    Stat { kind, size, modified: system_time(disk::modified(stat)), attributes }
}

fn system_time((seconds, nanoseconds): (i64, u32)) -> SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

fn unix(time: SystemTime) -> (i64, u32) {
    let after = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos())
}

fn bad(path: &str, problem: &'static str) -> ImageError {
    ImageError::BadPath { path: path.to_owned(), problem }
}

/// Splits a Windows path into names; `..` is kept.
fn components(path: &str) -> Result<Vec<String>, ImageError> {
    let plain = path.strip_prefix(r"\\?\").unwrap_or(path);
    let plain = match plain.as_bytes() {
        [b'c' | b'C', b':', ..] => &plain[2..],
        [_, b':', ..] => return Err(bad(path, "only drive C: exists")),
        [b'\\', b'\\', ..] => return Err(bad(path, "network paths do not exist")),
        _ => plain,
    };
    let mut parts = Vec::new();
    for part in plain.split(['\\', '/']).filter(|part| !matches!(*part, "" | ".")) {
        if part != ".." && !is_name(part) {
            return Err(bad(
                path,
                "the filename, directory name, or volume label syntax is incorrect",
            ));
        }
        parts.push(part.to_owned());
    }
    Ok(parts)
}

/// Whether Windows can have a file of that name.
fn is_name(name: &str) -> bool {
    name.len() <= 255
        && !name.chars().any(|c| c < ' ' || matches!(c, '<' | '>' | '"' | ':' | '|' | '?' | '*'))
}
