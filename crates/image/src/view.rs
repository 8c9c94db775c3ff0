//! Directories of several layers seen as one, as overlayfs shows them.

use std::collections::BTreeMap;
use std::io;

use oriel_wclayer::LayerPath;
use rustix::fs::FileType;

use crate::attributes::OPAQUE;
use crate::disk::{self, Dir, fold};
use crate::extract::find_name;

/// A directory as its layers together show it, topmost first.
pub(crate) struct View {
    pub(crate) dirs: Vec<Dir>,
    /// Whether the first of `dirs` is the sandbox's.
    pub(crate) upper: bool,
}

impl View {
    /// The name on disk, the layer and the status of `name`; `None` when it is not visible.
    pub(crate) fn find(&self, name: &str) -> io::Result<Option<(String, usize, rustix::fs::Stat)>> {
        for (at, dir) in self.dirs.iter().enumerate() {
            if let Some((name, stat)) = find_name(dir, name)? {
                let visible = !disk::is_whiteout(&stat);
                return Ok(visible.then_some((name, at, stat)));
            }
        }
        Ok(None)
    }

    /// The layer and the status of what is spelt `name`; `None` when it is not visible. What is
    /// spelt otherwise is something else to overlayfs, and looking for it means listing.
    pub(crate) fn exact(&self, name: &str) -> io::Result<Option<(usize, rustix::fs::Stat)>> {
        for (at, dir) in self.dirs.iter().enumerate() {
            if let Some(stat) = dir.stat(name)? {
                return Ok((!disk::is_whiteout(&stat)).then_some((at, stat)));
            }
        }
        Ok(None)
    }

    /// Whether there is something at `path`; links on the way are not followed.
    pub(crate) fn shows(&self, path: &[&str]) -> io::Result<bool> {
        let Some((name, rest)) = path.split_first() else { return Ok(true) };
        match self.find(name)? {
            Some((name, _, _)) => Ok(rest.is_empty() || self.child(&name)?.shows(rest)?),
            None => Ok(false),
        }
    }

    /// The directory and name of the regular file `path`.
    pub(crate) fn file(mut self, path: &LayerPath) -> io::Result<Option<(Dir, String)>> {
        let mut names = std::iter::once(path.root().name()).chain(path.components()).peekable();
        while let Some(name) = names.next() {
            let Some((name, at, stat)) = self.find(name)? else { return Ok(None) };
            if names.peek().is_none() {
                let regular = disk::kind_of(&stat) == FileType::RegularFile;
                return Ok(regular.then(|| (self.dirs.swap_remove(at), name)));
            }
            self = self.child(&name)?;
        }
        Ok(None)
    }

    /// The directory `name`, spelt as on disk.
    pub(crate) fn child(&self, name: &str) -> io::Result<Self> {
        let mut child = Self { dirs: Vec::new(), upper: false };
        for (at, dir) in self.dirs.iter().enumerate() {
            let Some(stat) = dir.stat(name)? else { continue };
            if disk::kind_of(&stat) != FileType::Directory {
                break;
            }
            let Some(next) = dir.child(name)? else { break };
            let opaque = disk::xattr(&next, OPAQUE).is_some();
            child.upper |= at == 0 && self.upper;
            child.dirs.push(next);
            if opaque {
                break;
            }
        }
        Ok(child)
    }

    /// All visible names by their folded form.
    pub(crate) fn names(&self) -> io::Result<BTreeMap<String, String>> {
        let mut seen = BTreeMap::new();
        for dir in &self.dirs {
            for name in dir.names()? {
                let Some(stat) = dir.stat(&name)? else { continue };
                let visible = (!disk::is_whiteout(&stat)).then(|| name.clone());
                seen.entry(fold(&name)).or_insert(visible);
            }
        }
        Ok(seen.into_iter().filter_map(|(folded, name)| Some((folded, name?))).collect())
    }
}
