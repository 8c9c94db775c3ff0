//! Commits: from a sandbox to a layer and an image.
//!
//! The layer is what a Windows host would have exported: `Files` with everything `upper` holds,
//! removals directly after the directory they happened in, then `Hives` with one delta per hive
//! that changed (hcsshim, `internal/wclayer/legacy.go`).

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use oriel_wclayer::{
    Attributes, Entry, FileTime, Kind, LayerError, LayerPath, Root, Writer, security,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::fs::FileType;

use crate::attributes::Known;
use crate::disk::Dir;
use crate::error::Attempt;
use crate::extract::Taken;
use crate::registry::LayerHives;
use crate::upper::{Changed, all_in, below_root, changed_in, check_depth};
use crate::view::View;
use crate::{
    Arrival, Commit, Digest, History, ImageConfig, ImageError, ImageId, ImageStore, Layer,
    RegistryChange, RunConfig, Sandbox, SandboxFiles, SandboxSettings, attributes, disk, links,
    rfc3339,
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
        self.commit_keeping(commit, Sources::Stay)
    }

    /// As [`ImageStore::commit`], for a sandbox that is then removed and that no container had: its
    /// files become those of the layer, instead of copies.
    ///
    /// # Errors
    /// Those of [`ImageStore::commit`].
    pub fn commit_last(&self, commit: &Commit) -> Result<ImageId, ImageError> {
        self.commit_keeping(commit, Sources::Taken)
    }

    fn commit_keeping(&self, commit: &Commit, sources: Sources) -> Result<ImageId, ImageError> {
        let _recording = self.recording();
        let parent = self.image_by_id(&commit.parent)?;
        let mut layers = parent.layers.clone();
        let mut config = parent.config.clone();
        let layer = match (&commit.sandbox, &commit.registry_change) {
            (Some(id), _) => {
                Some(self.commit_layer((&self.sandbox(id)?, sources), &layers, commit)?)
            }
            (None, Some(change)) => Some(self.commit_change(change, &layers, commit)?),
            (None, None) => None,
        };
        if let Some(layer) = layer {
            config.rootfs.diff_ids.push(layer.diff_id);
            layers.push(layer);
        }
        let step = History {
            created: Some(rfc3339(commit.created)),
            created_by: commit.created_by.clone(),
            author: commit.author.clone(),
            comment: commit.comment.clone(),
            empty_layer: commit.sandbox.is_none() && commit.registry_change.is_none(),
            extra: serde_json::Map::new(),
        };
        describe(&mut config, &commit.config, step);
        self.record(Arrival {
            config: serde_json::to_vec(&config).attempt(|| "write a configuration".into())?,
            layers,
            substitution: parent.substitution,
            parent: Some(commit.parent),
            ..Arrival::default()
        })
    }

    /// Makes the image that a step made of `parent` elsewhere: with the layer it had there, or
    /// none, and its place in the history. Whoever has taken the layer in holds a lease meanwhile.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::Io`], [`ImageError::Database`].
    pub fn adopt(
        &self,
        parent: &ImageId,
        step: History,
        layer: Option<Layer>,
        run: &RunConfig,
    ) -> Result<ImageId, ImageError> {
        let _recording = self.recording();
        let parent = self.image_by_id(parent)?;
        let mut config = parent.config;
        config.rootfs.diff_ids.extend(layer.as_ref().map(|layer| layer.diff_id));
        describe(&mut config, run, step);
        self.record(Arrival {
            config: serde_json::to_vec(&config).attempt(|| "write a configuration".into())?,
            layers: parent.layers.into_iter().chain(layer).collect(),
            substitution: parent.substitution,
            parent: Some(parent.id),
            ..Arrival::default()
        })
    }

    /// Makes a layer with nothing but a change of the registry, in a sandbox for just that.
    fn commit_change(
        &self,
        change: &RegistryChange,
        parents: &[Layer],
        commit: &Commit,
    ) -> Result<Layer, ImageError> {
        let id = temporary_id()?;
        let account = self.image_by_id(&commit.parent)?.config.config.user;
        let settings = SandboxSettings { account, ..SandboxSettings::default() };
        let sandbox = self.create_sandbox(&id, &commit.parent, &settings)?;
        let layer = self
            .change_registry(&sandbox, change)
            .and_then(|()| self.commit_layer((&sandbox, Sources::Stay), parents, commit));
        let removed = self.remove_sandbox(&id);
        let layer = layer?;
        removed.map(|()| layer)
    }

    /// Writes the changes of `sandbox` as a layer on top of `parents` and takes it in.
    fn commit_layer(
        &self,
        (sandbox, sources): (&Sandbox, Sources),
        parents: &[Layer],
        commit: &Commit,
    ) -> Result<Layer, ImageError> {
        let registry = self.changed_hives(sandbox, commit.registry.as_deref())?;
        let attempt = || format!("export the changes of {}", sandbox.id);
        let files = self.sandbox_files(sandbox);
        let root = files.root().attempt(attempt)?;
        let time = crate::time::file_time(commit.created);
        let blob = BufWriter::with_capacity(BUFFER, self.content().begin()?);
        let mut export = Export {
            writer: Writer::new(blob),
            files: &files,
            linked: HashMap::new(),
            time,
            hive: registry.user.as_deref().map(|hive| (sandbox.account.as_str(), hive)),
            extent: Extent::Changes,
            latest: commit.latest.map(crate::time::file_time),
        };
        export.layer(&root, &registry)?;
        let output = export.writer.finish().attempt(attempt)?;
        let blob = output.into_inner().map_err(io::IntoInnerError::into_error).attempt(attempt)?;
        let taken = match sources {
            // The hive in the layer is another than the one in `upper`, if there is one.
            Sources::Taken if registry.user.is_none() => {
                Some(Taken::of(&sandbox.path.join("upper")).attempt(attempt)?)
            }
            _ => None,
        };
        self.install_plain(blob, parents, taken)
    }
}

/// What becomes of the files that a layer is made of.
#[derive(Clone, Copy)]
enum Sources {
    /// They stay what they are.
    Stay,
    /// They become files of the layer.
    Taken,
}

/// A name for a sandbox that no container has.
fn temporary_id() -> Result<String, ImageError> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the host gives no random numbers"))
        .attempt(|| "name a sandbox".into())?;
    Ok(Digest::of(&bytes).hex())
}

/// Puts what a step says of itself into the configuration of its parent.
fn describe(config: &mut ImageConfig, run: &RunConfig, step: History) {
    config.created.clone_from(&step.created);
    config.author.clone_from(&step.author);
    config.config = run.clone();
    for key in ["container", "container_config", "id", "parent", "docker_version"] {
        config.extra.remove(key);
    }
    config.history.push(step);
}

/// How much of a container a layer holds.
pub(crate) enum Extent {
    /// What differs from the layers below.
    Changes,
    /// All of it; the hives, by their folded path below `Files`, take the place of the files.
    Whole(HashMap<String, Vec<u8>>),
}

/// A layer being written.
pub(crate) struct Export<'a, W: Write> {
    pub(crate) writer: Writer<W>,
    pub(crate) files: &'a SandboxFiles,
    /// First name of each file that has several, by device and inode.
    pub(crate) linked: HashMap<(u64, u64), LayerPath>,
    /// Time of what has none of its own.
    pub(crate) time: FileTime,
    /// The account whose hive changed, and its new hive.
    pub(crate) hive: Option<(&'a str, &'a [u8])>,
    pub(crate) extent: Extent,
    /// The latest time a file may have.
    pub(crate) latest: Option<FileTime>,
}

impl<W: Write> Export<'_, W> {
    fn layer(&mut self, root: &View, registry: &LayerHives) -> Result<(), ImageError> {
        let attempt = || "write a layer".to_owned();
        let below = below_root(root).attempt(attempt)?;
        let files = LayerPath::root_of(Root::Files);
        self.bare(files.clone(), Kind::Directory, b"")?;
        self.directory(root, &below, &files)?;
        self.bare(LayerPath::root_of(Root::Hives), Kind::Directory, b"")?;
        for (name, bytes) in &registry.hives {
            let path = LayerPath::below(Root::Hives, name).attempt(attempt)?;
            self.bare(path, Kind::File { size: bytes.len() as u64 }, bytes)?;
        }
        Ok(())
    }

    /// Writes an entry without a security descriptor, as genuine exports do outside of C:.
    pub(crate) fn bare(
        &mut self,
        path: LayerPath,
        kind: Kind,
        data: &[u8],
    ) -> Result<(), ImageError> {
        let entry = Entry::new(path, kind, self.time);
        self.add(&entry, data).attempt(|| format!("write `{}`", entry.path))
    }

    /// Writes what a directory of `upper` holds, and on the way the hive of an account.
    pub(crate) fn directory(
        &mut self,
        view: &View,
        below: &View,
        path: &LayerPath,
    ) -> Result<(), ImageError> {
        let attempt = || format!("export `{path}`");
        check_depth(path.components().count()).attempt(attempt)?;
        let prefix = if path.is_root() { String::new() } else { format!("{}/", path.rest()) };
        let changed = match self.extent {
            Extent::Changes => changed_in(view, below, &prefix),
            Extent::Whole(_) => all_in(view),
        };
        let changed = changed.attempt(attempt)?;
        for name in &changed.gone {
            self.whiteout(path, name)?;
        }
        let mut step = self.hive_step(path);
        for entry in &changed.present {
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
            self.item(Place { view, below, path, streams: &changed.streams }, entry)?;
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
                let stat = &dir.status().attempt(attempt)?;
                let known = Known { stat, below: None, changed: false };
                attributes::load(dir, &known, &mut entry);
            }
            self.add(&entry, io::empty()).attempt(attempt)?;
            return match self.hive_step(&inner) {
                Some(step) => self.missing_step(&child, &inner, &step),
                None => Ok(()),
            };
        };
        let mut entry = Entry::new(inner, Kind::File { size: bytes.len() as u64 }, self.time);
        entry.attributes = entry.attributes | Attributes::HIDDEN;
        entry.security = Some(security::default_file());
        self.add(&entry, bytes).attempt(attempt)
    }

    /// Writes one thing that changed, with its streams and what is in it.
    fn item(&mut self, place: Place<'_>, changed: &Changed) -> Result<(), ImageError> {
        let name = &changed.name;
        let path = match place.path.join(name) {
            Ok(path) => path,
            Err(error) => {
                skipped(&format!("{}/{name}", place.path), &error.to_string());
                return Ok(());
            }
        };
        let attempt = || format!("export `{path}`");
        let Some(dir) = place.view.dirs.get(changed.layer) else { return Ok(()) };
        let known = Known {
            stat: &changed.stat,
            below: changed.below.as_ref(),
            changed: changed.layer == 0,
        };
        match disk::kind_of(&changed.stat) {
            FileType::Directory => {
                let mut entry = Entry::new(path.clone(), Kind::Directory, self.time);
                attributes::load(dir.named(name), &known, &mut entry);
                if !self.add_or_skip(&entry, io::empty())? {
                    return Ok(());
                }
                self.streams(&place, &path, changed)?;
                if changed.layer > 0 && matches!(self.extent, Extent::Changes) {
                    return Ok(());
                }
                let [view, below] = [place.view.child(name), place.below.child(name)];
                self.directory(&view.attempt(attempt)?, &below.attempt(attempt)?, &path)
            }
            FileType::RegularFile => {
                let file = dir.read(name).attempt(attempt)?;
                if self.file(path.clone(), &file, &known)? {
                    self.streams(&place, &path, changed)?;
                }
                Ok(())
            }
            FileType::Symlink => {
                let entry = self.link(dir, &path, changed, &known).attempt(attempt)?;
                self.add_or_skip(&entry, io::empty()).map(drop)
            }
            _ => {
                skipped(&path.to_string(), "neither file nor directory");
                Ok(())
            }
        }
    }

    /// The entry of a link: as the layer had it, or as what made it in the container meant it.
    fn link(
        &self,
        dir: &Dir,
        path: &LayerPath,
        changed: &Changed,
        known: &Known<'_>,
    ) -> io::Result<Entry> {
        let text = dir.link_target(&changed.name)?;
        let target = links::to_windows(&text);
        let mut entry = Entry::new(path.clone(), Kind::Symlink { target }, self.time);
        if attributes::load_link(dir.named(&changed.name), known, &mut entry) {
            return Ok(entry);
        }
        entry.modified = disk_time(disk::modified(known.stat));
        entry.created = entry.modified;
        entry.security = Some(security::default_file());
        if self.files.is_dir(path.rest()).unwrap_or(false) {
            entry.attributes = entry.attributes | Attributes::DIRECTORY;
            entry.security = Some(security::default_directory());
        }
        Ok(entry)
    }

    /// Writes a file; `false` when it is another name of one that is written.
    fn file(
        &mut self,
        path: LayerPath,
        file: &File,
        known: &Known<'_>,
    ) -> Result<bool, ImageError> {
        let whole = matches!(self.extent, Extent::Whole(_));
        let several = (known.changed || whole) && known.stat.st_nlink > 1;
        let inode = (known.stat.st_dev, known.stat.st_ino);
        let size = u64::try_from(known.stat.st_size).unwrap_or(0);
        let mut entry = Entry::new(path.clone(), Kind::File { size }, self.time);
        attributes::load(file, known, &mut entry);
        if let Some(target) = self.linked.get(&inode).filter(|_| several).cloned() {
            entry.kind = Kind::HardLink { target };
            entry.security = None;
            entry.extended.clear();
            return self.add_or_skip(&entry, io::empty()).map(|_| false);
        }
        if let Extent::Whole(hives) = &mut self.extent
            && let Some(hive) = hives.remove(&disk::fold(path.rest()))
        {
            entry.kind = Kind::File { size: hive.len() as u64 };
            return self.add_or_skip(&entry, hive.as_slice());
        }
        let written = self.add_or_skip(&entry, steady(file, size))?;
        if written && several {
            self.linked.insert(inode, path);
        }
        Ok(written)
    }

    /// Writes the streams of `owner`: those it had, as far as they are still to be seen, and those
    /// that the container made. They are files that Wine calls `owner:stream`.
    fn streams(
        &mut self,
        place: &Place<'_>,
        path: &LayerPath,
        owner: &Changed,
    ) -> Result<(), ImageError> {
        let Some(dir) = place.view.dirs.get(owner.layer) else { return Ok(()) };
        let folded = disk::fold(&owner.name);
        let made = place.streams.iter().filter(|file| {
            file.split_once(':').is_some_and(|(name, _)| disk::fold(name) == folded)
        });
        let had = attributes::streams(dir.named(&owner.name));
        let had = had.iter().map(|stream| format!("{}:{stream}", owner.name));
        let files: BTreeMap<String, String> =
            had.chain(made.cloned()).map(|file| (disk::fold(&file), file)).collect();
        let mut files: Vec<String> = files.into_values().collect();
        files.sort();
        for file in &files {
            let attempt = || format!("export `{}/{file}`", place.path);
            let Some((layer, stat)) = place.view.exact(file).attempt(attempt)? else { continue };
            let Some((_, stream)) = file.split_once(':') else { continue };
            if disk::kind_of(&stat) != FileType::RegularFile {
                continue;
            }
            let data = place.view.dirs[layer].read(file).attempt(attempt)?;
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            let kind = Kind::Stream { name: stream.to_owned(), size };
            let entry = Entry::new(path.clone(), kind, disk_time(disk::modified(&stat)));
            self.add_or_skip(&entry, steady(&data, size))?;
        }
        Ok(())
    }

    /// Writes an entry with times that it may have.
    fn add(&mut self, entry: &Entry, data: impl Read) -> Result<(), LayerError> {
        let Some(latest) = self.latest else { return self.writer.add(entry, data) };
        let modified = entry.modified.min(latest);
        let entry = Entry {
            modified,
            created: entry.created.min(latest),
            accessed: Some(modified),
            changed: Some(modified),
            ..entry.clone()
        };
        self.writer.add(&entry, data)
    }

    /// Writes an entry; `false` when a layer can hold nothing of its name.
    fn add_or_skip(&mut self, entry: &Entry, data: impl Read) -> Result<bool, ImageError> {
        match self.add(entry, data) {
            Ok(()) => Ok(true),
            Err(LayerError::Name { name, detail }) => {
                skipped(&name, detail);
                Ok(false)
            }
            Err(error) => Err(error).attempt(|| format!("write `{}`", entry.path)),
        }
    }
}

/// A directory that is being written.
struct Place<'a> {
    /// The directory as the container sees it.
    view: &'a View,
    /// The same below the sandbox.
    below: &'a View,
    path: &'a LayerPath,
    /// Files of the sandbox that hold streams.
    streams: &'a [String],
}

/// The first `size` bytes of a file, with zeros where it has become shorter: a container that is
/// not paused may write to it at this moment.
fn steady(file: impl Read, size: u64) -> impl Read {
    file.take(size).chain(io::repeat(0)).take(size)
}

fn disk_time((seconds, nanoseconds): (i64, u32)) -> FileTime {
    FileTime::from_unix(seconds, nanoseconds)
}

/// One name on the way `Users/ACCOUNT/NTUSER.DAT`.
struct HiveStep {
    name: String,
    is_hive: bool,
}

fn skipped(path: &str, why: &str) {
    tracing::warn!(path, why, "left out of the layer");
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    #[test]
    fn a_file_that_is_written_meanwhile_has_the_size_it_was_announced_with() {
        for (found, expected) in [("abcdef", "abcd"), ("ab", "ab\0\0"), ("abcd", "abcd")] {
            let mut text = String::new();
            super::steady(found.as_bytes(), 4).read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
        }
    }
}
