//! What a container changed in its files.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;

use rustix::fs::{FileType, Stat};

use crate::attributes::OPAQUE;
use crate::disk;
use crate::error::Attempt;
use crate::view::View;
use crate::{ImageError, ImageStore, Sandbox};

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
    /// The path below C:, with forward slashes, such as `/app/x.txt`.
    pub path: String,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// Placeholders for what a silo binds over the container's files; never part of a change.
const ARTEFACTS: [&str; 1] = ["WINDOWS/SYSTEM32/CEXECSVC.EXE"];

/// Deepest nesting of directories that is followed.
const MAX_DEPTH: usize = 250;

/// One thing in a directory of `upper`.
pub(crate) struct Changed {
    pub(crate) name: String,
    pub(crate) stat: Stat,
    /// Which directory of the view it is in; not the first when only its streams changed.
    pub(crate) layer: usize,
    /// The status of what the layers below show of that name.
    pub(crate) below: Option<Stat>,
}

/// What one directory of `upper` says.
#[derive(Default)]
pub(crate) struct ChangedDirectory {
    /// Names that are gone, in byte order.
    pub(crate) gone: Vec<String>,
    /// Names that are there, in byte order.
    pub(crate) present: Vec<Changed>,
    /// Files of `upper` that hold alternate streams of what is there.
    pub(crate) streams: Vec<String>,
}

/// Compares one directory of `upper`, the first of `view`, with what is below it. `path` ends in a
/// slash, or is empty for the root.
pub(crate) fn changed_in(view: &View, below: &View, path: &str) -> io::Result<ChangedDirectory> {
    let mut changed = ChangedDirectory::default();
    let Some(upper) = view.dirs.first() else { return Ok(changed) };
    let mut names = upper.names()?;
    names.sort();
    let mut streams = Vec::new();
    for name in names {
        if ARTEFACTS.contains(&disk::fold(&format!("{path}{name}")).as_str()) {
            continue;
        }
        let Some(stat) = upper.stat(&name)? else { continue };
        let below = below.exact(&name)?.map(|(_, stat)| stat);
        let whiteout = disk::is_whiteout(&stat);
        if name.contains(':') {
            if disk::kind_of(&stat) == FileType::RegularFile || (whiteout && below.is_some()) {
                streams.push((name, whiteout));
            }
        } else if whiteout {
            changed.gone.extend(below.map(|_| name));
        } else {
            changed.present.push(Changed { name, stat, layer: 0, below });
        }
    }
    for (name, whiteout) in streams {
        owner(view, &name, &mut changed)?;
        if !whiteout {
            changed.streams.push(name);
        }
    }
    if disk::xattr(upper, OPAQUE).is_some() {
        for (_, name) in below.names()? {
            if !name.contains(':') && view.exact(&name)?.is_none() {
                changed.gone.push(name);
            }
        }
        changed.gone.sort();
        changed.gone.dedup();
    }
    Ok(changed)
}

/// Takes the owner of the changed stream `stream` for changed: a layer holds files whole.
fn owner(view: &View, stream: &str, changed: &mut ChangedDirectory) -> io::Result<()> {
    let Some((owner, _)) = stream.split_once(':') else { return Ok(()) };
    let Some((name, layer, stat)) = view.find(owner)? else { return Ok(()) };
    if let Err(at) = changed.present.binary_search_by(|other| other.name.cmp(&name)) {
        changed.present.insert(at, Changed { name, stat, layer, below: Some(stat) });
    }
    Ok(())
}

/// Everything that a directory shows.
pub(crate) fn all_in(view: &View) -> io::Result<ChangedDirectory> {
    let mut seen: BTreeMap<String, Changed> = BTreeMap::new();
    for (layer, dir) in view.dirs.iter().enumerate() {
        for name in dir.names()? {
            let Some(stat) = dir.stat(&name)? else { continue };
            match seen.entry(disk::fold(&name)) {
                Entry::Vacant(place) => {
                    place.insert(Changed { name, stat, layer, below: None });
                }
                Entry::Occupied(mut above) => {
                    above.get_mut().below.get_or_insert(stat);
                }
            }
        }
    }
    let shown = seen.into_values().filter(|entry| !disk::is_whiteout(&entry.stat));
    let (streams, mut present): (Vec<_>, Vec<_>) =
        shown.partition(|entry| entry.name.contains(':'));
    present.sort_by(|a, b| a.name.cmp(&b.name));
    let streams = streams.into_iter().map(|stream| stream.name).collect();
    Ok(ChangedDirectory { gone: Vec::new(), present, streams })
}

/// The layers below `view`, as if `upper` were not opaque.
pub(crate) fn below_root(view: &View) -> io::Result<View> {
    let dirs = view.dirs.iter().skip(1).map(disk::Dir::duplicate).collect::<io::Result<_>>()?;
    Ok(View { dirs, upper: false })
}

/// Refuses what no Windows program could have made.
pub(crate) fn check_depth(depth: usize) -> io::Result<()> {
    if depth <= MAX_DEPTH {
        return Ok(());
    }
    Err(io::Error::other("directories are nested too deeply"))
}

impl ImageStore {
    /// How the files of `sandbox` differ from its image, sorted by path.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn changes(&self, sandbox: &Sandbox) -> Result<Vec<Change>, ImageError> {
        let attempt = || format!("compare the files of {}", sandbox.id);
        let root = self.sandbox_files(sandbox).root().attempt(attempt)?;
        let below = below_root(&root).attempt(attempt)?;
        let mut changes = Vec::new();
        collect(&root, &below, "", 0, &mut changes).attempt(attempt)?;
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(changes)
    }
}

fn collect(
    view: &View,
    below: &View,
    path: &str,
    depth: usize,
    changes: &mut Vec<Change>,
) -> io::Result<()> {
    check_depth(depth)?;
    let changed = changed_in(view, below, path)?;
    for name in changed.gone {
        changes.push(Change { path: format!("/{path}{name}"), kind: ChangeKind::Deleted });
    }
    for entry in changed.present {
        let kind = if entry.below.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        let inner = format!("{path}{}", entry.name);
        changes.push(Change { path: format!("/{inner}"), kind });
        if disk::kind_of(&entry.stat) == FileType::Directory && entry.layer == 0 {
            let [view, below] = [view.child(&entry.name)?, below.child(&entry.name)?];
            collect(&view, &below, &format!("{inner}/"), depth + 1, changes)?;
        }
    }
    Ok(())
}
