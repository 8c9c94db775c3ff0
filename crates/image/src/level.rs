//! A directory of a layer that is being written, above the same directory of the layers below.

use std::collections::HashMap;
use std::io;

use rustix::fs::FileType;

use crate::attributes::{self, OPAQUE};
use crate::disk::{self, Dir, fold};

/// An open directory of the layer being written, and the same directory in the layers below.
pub(crate) struct Level {
    /// Folded name of the directory.
    pub(crate) folded: String,
    /// Name on disk.
    pub(crate) name: String,
    pub(crate) here: Dir,
    /// Nearest first.
    pub(crate) below: Vec<Dir>,
    /// Folded names to names on disk, in this layer and below.
    names: HashMap<String, String>,
    /// Folded names of owners to the files that hold their alternate streams, here and below.
    streams: HashMap<String, Vec<String>>,
}

/// What was found in the place of a directory.
enum Place {
    /// A directory of this layer.
    Taken,
    /// Nothing of this layer.
    Free,
    /// Something else, which hid what is below.
    Hidden,
}

impl Level {
    /// The layer's own directory.
    pub(crate) fn root(here: Dir, below: Vec<Dir>) -> io::Result<Self> {
        let names = here.names()?;
        Self::new("", here, below, names)
    }

    fn new(name: &str, here: Dir, below: Vec<Dir>, names: Vec<String>) -> io::Result<Self> {
        let mut level = Self {
            folded: fold(name),
            name: name.to_owned(),
            here,
            below: Vec::new(),
            names: HashMap::new(),
            streams: HashMap::new(),
        };
        names.into_iter().for_each(|name| level.note(name));
        for dir in &below {
            dir.names()?.into_iter().for_each(|name| level.note(name));
        }
        level.below = below;
        Ok(level)
    }

    /// Remembers a name on disk; the first of several that differ in case counts.
    pub(crate) fn note(&mut self, name: String) {
        if let Some((owner, _)) = name.split_once(':') {
            let streams = self.streams.entry(fold(owner)).or_default();
            if !streams.contains(&name) {
                streams.push(name.clone());
            }
        }
        self.names.entry(fold(&name)).or_insert(name);
    }

    /// The name on disk of what an entry calls `name`.
    pub(crate) fn spelling(&self, name: &str) -> String {
        self.names.get(&fold(name)).cloned().unwrap_or_else(|| name.to_owned())
    }

    /// How many streams are known of what is called `owner`.
    pub(crate) fn stream_count(&self, owner: &str) -> usize {
        self.streams.get(&fold(owner)).map_or(0, Vec::len)
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

    /// Opens the directory `name`, made when it is missing.
    pub(crate) fn enter(&mut self, name: &str) -> io::Result<Self> {
        let place = self.make_directory(name)?;
        let here = self.here.child(name)?.ok_or(io::ErrorKind::NotADirectory)?;
        let opaque = match place {
            Place::Taken => disk::xattr(&here, OPAQUE).is_some(),
            Place::Free => false,
            Place::Hidden => {
                attributes::keep(&here, OPAQUE, b"y")?;
                true
            }
        };
        let names = if matches!(place, Place::Taken) { here.names()? } else { Vec::new() };
        let below = if opaque { Vec::new() } else { self.directories_below(name)? };
        Self::new(name, here, below, names)
    }

    /// Makes the directory `name` of this layer unless it is there.
    fn make_directory(&mut self, name: &str) -> io::Result<Place> {
        let place = match self.here.stat(name)? {
            Some(stat) if disk::kind_of(&stat) == FileType::Directory => return Ok(Place::Taken),
            Some(stat) => {
                self.here.remove(name)?;
                if disk::is_whiteout(&stat) { Place::Hidden } else { Place::Free }
            }
            None => Place::Free,
        };
        self.here.make_dir(name)?;
        self.note(name.to_owned());
        Ok(place)
    }

    /// The directories `name` below, nearest first, as far as they show through.
    fn directories_below(&self, name: &str) -> io::Result<Vec<Dir>> {
        let mut found = Vec::new();
        for dir in &self.below {
            let Some(stat) = dir.stat(name)? else { continue };
            if disk::kind_of(&stat) != FileType::Directory {
                break;
            }
            let Some(child) = dir.child(name)? else { break };
            let opaque = disk::xattr(&child, OPAQUE).is_some();
            found.push(child);
            if opaque {
                break;
            }
        }
        Ok(found)
    }

    /// Hides what the layers below show as `name`, and its streams. What this layer has of that
    /// name stays, whether it came before or comes later.
    pub(crate) fn hide(&mut self, name: &str) -> io::Result<()> {
        if !self.is_below(name)? {
            return Ok(());
        }
        match self.here.stat(name)? {
            None => {
                self.hide_streams(name)?;
                self.here.whiteout(name)
            }
            Some(_) => match self.here.child(name)? {
                Some(child) => attributes::keep(&child, OPAQUE, b"y"),
                None => Ok(()),
            },
        }
    }

    /// Hides everything the layers below show in this directory.
    pub(crate) fn hide_all(&mut self, root: bool) -> io::Result<()> {
        if root {
            // Overlayfs looks for no mark on the roots of layers.
            let names: Vec<String> = self.names.values().cloned().collect();
            names.iter().try_for_each(|name| self.hide(name))?;
        } else {
            attributes::keep(&self.here, OPAQUE, b"y")?;
        }
        self.below.clear();
        self.names.clear();
        self.streams.clear();
        self.here.names()?.into_iter().for_each(|name| self.note(name));
        Ok(())
    }

    /// Removes the streams of what was called `name`: on Windows they go when it goes.
    pub(crate) fn hide_streams(&mut self, name: &str) -> io::Result<()> {
        if self.streams.is_empty() {
            return Ok(());
        }
        for stream in self.streams.remove(&fold(name)).unwrap_or_default() {
            self.here.remove(&stream)?;
            if self.is_below(&stream)? {
                self.here.whiteout(&stream)?;
            }
        }
        Ok(())
    }

    /// Notes on the owner `name` which streams it has.
    pub(crate) fn own_streams(&self, name: &str) -> io::Result<()> {
        let streams = self.streams.get(&fold(name)).map_or(&[][..], Vec::as_slice);
        let names: Vec<&str> =
            streams.iter().filter_map(|name| name.split_once(':')).map(|(_, name)| name).collect();
        match self.here.stat(name)? {
            Some(_) => attributes::store_streams(self.here.named(name), &names),
            None => Ok(()),
        }
    }
}
