//! Commits: from a sandbox to a layer and an image.
//!
//! The layer is what a Windows host would have exported: `Files` with everything `upper` holds,
//! removals directly after the directory they happened in, then `Hives` with one delta per hive
//! that changed (hcsshim, `internal/wclayer/legacy.go`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use oriel_wclayer::{
    Attributes, Entry, FileTime, Kind, LayerError, LayerPath, Root, Writer, security,
};
use rustix::fs::FileType;

use crate::error::Attempt;
use crate::files::View;
use crate::registry::{self, RegistryChanges};
use crate::upper::{Changed, below_root, changed_in, check_depth};
use crate::{
    Arrival, Commit, History, ImageConfig, ImageError, ImageId, ImageStore, Layer, Sandbox,
    attributes, disk, links, rfc3339,
};

/// Length of the buffer before the blob of a layer.
const BUFFER: usize = 256 * 1024;

impl ImageStore {
    /// Makes an image of a sandbox's changes, or of a new configuration alone.
    ///
    /// The container must not run, or its registry must have been flushed.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::NoSuchSandbox`], [`ImageError::Hive`].
    pub fn commit(&self, commit: &Commit) -> Result<ImageId, ImageError> {
        let _recording = self.recording();
        let parent = self.image_by_id(&commit.parent)?;
        let mut layers = parent.layers.clone();
        let mut config = parent.config.clone();
        if let Some(id) = &commit.sandbox {
            let sandbox = self.sandbox(id)?;
            let layer = self.commit_layer(&sandbox, &layers, commit)?;
            config.rootfs.diff_ids.push(layer.diff_id);
            layers.push(layer);
        }
        describe(&mut config, commit);
        self.record(Arrival {
            config: serde_json::to_vec(&config).attempt(|| "write a configuration".into())?,
            layers,
            substitution: parent.substitution,
            parent: Some(commit.parent),
            ..Arrival::default()
        })
    }

    /// Writes the changes of `sandbox` as a layer on top of `parents` and takes it in.
    fn commit_layer(
        &self,
        sandbox: &Sandbox,
        parents: &[Layer],
        commit: &Commit,
    ) -> Result<Layer, ImageError> {
        let chain = self.sandbox_chain(&sandbox.id)?;
        let top = chain.first().cloned().unwrap_or_default();
        let directories: Vec<_> =
            chain.iter().map(|chain| self.layers().root().join(chain)).collect();
        let rendered = self.registry().rendered(&top, &sandbox.account, &directories)?;
        let registry = registry::changes(&rendered, &sandbox.path.join("registry"))?;

        let attempt = || format!("export the changes of {}", sandbox.id);
        let root = self.sandbox_files(sandbox).root().attempt(attempt)?;
        let time = crate::time::file_time(commit.created);
        let blob = BufWriter::with_capacity(BUFFER, self.content().begin()?);
        let mut export = Export {
            writer: Writer::new(blob),
            linked: HashMap::new(),
            time,
            hive: registry.user.as_deref().map(|hive| (sandbox.account.as_str(), hive)),
        };
        export.layer(&root, &registry)?;
        let output = export.writer.finish().attempt(attempt)?;
        let blob = output.into_inner().map_err(io::IntoInnerError::into_error).attempt(attempt)?;
        self.install_plain(blob, parents)
    }
}

/// Puts the commit's own part into the configuration of its parent.
fn describe(config: &mut ImageConfig, commit: &Commit) {
    let created = Some(rfc3339(commit.created));
    config.created.clone_from(&created);
    config.author.clone_from(&commit.author);
    config.config = commit.config.clone();
    for key in ["container", "container_config", "id", "parent", "docker_version"] {
        config.extra.remove(key);
    }
    config.history.push(History {
        created,
        created_by: commit.created_by.clone(),
        author: commit.author.clone(),
        comment: commit.comment.clone(),
        empty_layer: commit.sandbox.is_none(),
        extra: serde_json::Map::new(),
    });
}

/// A layer being written.
struct Export<'a, W: Write> {
    writer: Writer<W>,
    /// First name of each file that has several, by device and inode.
    linked: HashMap<(u64, u64), LayerPath>,
    /// Time of what has none of its own.
    time: FileTime,
    /// The account whose hive changed, and its new hive.
    hive: Option<(&'a str, &'a [u8])>,
}

impl<W: Write> Export<'_, W> {
    fn layer(&mut self, root: &View, registry: &RegistryChanges) -> Result<(), ImageError> {
        let attempt = || "write a layer".to_owned();
        let below = below_root(root).attempt(attempt)?;
        let files = LayerPath::root_of(Root::Files);
        self.bare(files.clone(), Kind::Directory, b"")?;
        self.directory(root, &below, &files)?;
        self.bare(LayerPath::root_of(Root::Hives), Kind::Directory, b"")?;
        for (name, bytes) in &registry.deltas {
            let path = LayerPath::below(Root::Hives, name).attempt(attempt)?;
            self.bare(path, Kind::File { size: bytes.len() as u64 }, bytes)?;
        }
        Ok(())
    }

    /// Writes an entry without a security descriptor, as genuine exports do outside of C:.
    fn bare(&mut self, path: LayerPath, kind: Kind, data: &[u8]) -> Result<(), ImageError> {
        let entry = Entry::new(path, kind, self.time);
        self.writer.add(&entry, data).attempt(|| format!("write `{}`", entry.path))
    }

    /// Writes what a directory of `upper` holds, and on the way the hive of an account.
    fn directory(&mut self, view: &View, below: &View, path: &LayerPath) -> Result<(), ImageError> {
        let attempt = || format!("export `{path}`");
        check_depth(path.components().count()).attempt(attempt)?;
        let prefix = if path.is_root() { String::new() } else { format!("{}/", path.rest()) };
        let changed = changed_in(view, below, &prefix).attempt(attempt)?;
        for name in &changed.gone {
            self.whiteout(path, name)?;
        }
        let mut step = self.hive_step(path);
        let (streams, present): (Vec<_>, Vec<_>) =
            changed.present.into_iter().partition(|entry| entry.name.contains(':'));
        for entry in &present {
            let due = step.take_if(|step| {
                step.name < entry.name || disk::fold(&step.name) == disk::fold(&entry.name)
            });
            if let Some(step) = due {
                let same = disk::fold(&step.name) == disk::fold(&entry.name);
                if step.is_hive || !same {
                    self.missing_step(view, path, &step)?;
                }
                if step.is_hive && same {
                    continue;
                }
            }
            self.item(view, below, path, entry)?;
            self.streams(view, path, entry, &streams)?;
        }
        match step {
            Some(step) => self.missing_step(view, path, &step),
            None => Ok(()),
        }
    }

    fn whiteout(&mut self, path: &LayerPath, name: &str) -> Result<(), ImageError> {
        match path.join(name) {
            Ok(path) => self
                .add_or_skip(&Entry::new(path, Kind::Whiteout, self.time), io::empty())
                .map(drop),
            Err(error) => {
                skipped(&format!("{path}/{name}"), &error.to_string());
                Ok(())
            }
        }
    }

    /// The name in the directory `path` that leads to the account's hive.
    fn hive_step(&self, path: &LayerPath) -> Option<HiveStep> {
        let (account, _) = self.hive?;
        let steps = ["Users", account, "NTUSER.DAT"];
        let depth = path.components().count();
        let on_the_way = path.components().zip(steps).all(|(a, b)| disk::fold(a) == disk::fold(b));
        let name = (*steps.get(depth).filter(|_| on_the_way)?).to_owned();
        Some(HiveStep { name, is_hive: depth + 1 == steps.len() })
    }

    /// Writes the directory towards an account's hive that `upper` lacks, or the hive itself.
    fn missing_step(
        &mut self,
        view: &View,
        path: &LayerPath,
        step: &HiveStep,
    ) -> Result<(), ImageError> {
        let attempt = || format!("export `{path}`");
        let found = view.find(&step.name).attempt(attempt)?;
        let name = found.map_or_else(|| step.name.clone(), |(name, _, _)| name);
        let inner = path.join(&name).attempt(attempt)?;
        let (true, Some((_, bytes))) = (step.is_hive, self.hive) else {
            let child = view.child(&name).attempt(attempt)?;
            let mut entry = Entry::new(inner.clone(), Kind::Directory, self.time);
            entry.security = Some(security::default_directory());
            if let Some(dir) = child.dirs.first() {
                attributes::load(dir, 0o755, &mut entry);
            }
            self.writer.add(&entry, io::empty()).attempt(attempt)?;
            return match self.hive_step(&inner) {
                Some(step) => self.missing_step(&child, &inner, &step),
                None => Ok(()),
            };
        };
        let mut entry = Entry::new(inner, Kind::File { size: bytes.len() as u64 }, self.time);
        entry.attributes = entry.attributes | Attributes::HIDDEN;
        entry.security = Some(security::default_file());
        self.writer.add(&entry, bytes).attempt(attempt)
    }

    /// Writes one thing of `upper`, with what is in it.
    fn item(
        &mut self,
        view: &View,
        below: &View,
        parent: &LayerPath,
        changed: &Changed,
    ) -> Result<(), ImageError> {
        let name = &changed.name;
        let path = match parent.join(name) {
            Ok(path) => path,
            Err(error) => {
                skipped(&format!("{parent}/{name}"), &error.to_string());
                return Ok(());
            }
        };
        let attempt = || format!("export `{path}`");
        let Some(upper) = view.dirs.first() else { return Ok(()) };
        let (seconds, nanoseconds) = disk::modified(&changed.stat);
        let time = FileTime::from_unix(seconds, nanoseconds);
        match disk::kind_of(&changed.stat) {
            FileType::Directory => {
                let mut entry = Entry::new(path.clone(), Kind::Directory, time);
                let [view, below] = [view.child(name), below.child(name)];
                let [view, below] = [view.attempt(attempt)?, below.attempt(attempt)?];
                if let Some(dir) = view.dirs.first() {
                    attributes::load(dir, changed.stat.st_mode, &mut entry);
                }
                if self.add_or_skip(&entry, io::empty())? {
                    self.directory(&view, &below, &path)?;
                }
                Ok(())
            }
            FileType::RegularFile => {
                let file = upper.read(name).attempt(attempt)?;
                self.file(path, &file, &changed.stat, time)
            }
            FileType::Symlink => {
                let target = links::to_windows(&upper.link_target(name).attempt(attempt)?);
                let mut entry = Entry::new(path, Kind::Symlink { target }, time);
                entry.security = Some(security::default_file());
                self.add_or_skip(&entry, io::empty()).map(drop)
            }
            _ => {
                skipped(&path.to_string(), "neither file nor directory");
                Ok(())
            }
        }
    }

    fn file(
        &mut self,
        path: LayerPath,
        file: &File,
        stat: &rustix::fs::Stat,
        time: FileTime,
    ) -> Result<(), ImageError> {
        let several = stat.st_nlink > 1;
        let inode = (stat.st_dev, stat.st_ino);
        if let Some(target) = self.linked.get(&inode).filter(|_| several).cloned() {
            let mut entry = Entry::new(path, Kind::HardLink { target }, time);
            attributes::load(file, stat.st_mode, &mut entry);
            entry.security = None;
            return self.add_or_skip(&entry, io::empty()).map(drop);
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut entry = Entry::new(path.clone(), Kind::File { size }, time);
        attributes::load(file, stat.st_mode, &mut entry);
        if self.add_or_skip(&entry, file)? && several {
            self.linked.insert(inode, path);
        }
        Ok(())
    }

    /// Writes the streams of `owner`: files that Wine calls `owner:stream`.
    fn streams(
        &mut self,
        view: &View,
        parent: &LayerPath,
        owner: &Changed,
        streams: &[Changed],
    ) -> Result<(), ImageError> {
        let Some(upper) = view.dirs.first() else { return Ok(()) };
        for stream in streams {
            let Some((name, stream_name)) = stream.name.split_once(':') else { continue };
            let regular = disk::kind_of(&stream.stat) == FileType::RegularFile;
            if disk::fold(name) != disk::fold(&owner.name) || !regular {
                continue;
            }
            let attempt = || format!("export `{parent}/{}`", stream.name);
            let file = upper.read(&stream.name).attempt(attempt)?;
            let size = u64::try_from(stream.stat.st_size).unwrap_or(0);
            let kind = Kind::Stream { name: stream_name.to_owned(), size };
            let (seconds, nanoseconds) = disk::modified(&stream.stat);
            let time = FileTime::from_unix(seconds, nanoseconds);
            let entry = Entry::new(parent.join(&owner.name).attempt(attempt)?, kind, time);
            self.add_or_skip(&entry, &file)?;
        }
        Ok(())
    }

    /// Writes an entry; `false` when a layer can hold nothing of its name.
    fn add_or_skip(&mut self, entry: &Entry, data: impl io::Read) -> Result<bool, ImageError> {
        match self.writer.add(entry, data) {
            Ok(()) => Ok(true),
            Err(LayerError::Name { name, detail }) => {
                skipped(&name, detail);
                Ok(false)
            }
            Err(error) => Err(error).attempt(|| format!("write `{}`", entry.path)),
        }
    }
}

/// One name on the way `Users/ACCOUNT/NTUSER.DAT`.
struct HiveStep {
    name: String,
    is_hive: bool,
}

fn skipped(path: &str, why: &str) {
    tracing::warn!(path, why, "left out of the layer");
}
