//! Rebase: the reverse of substitution.
//!
//! An image built on a base of this host gets another base, by manifest and configuration only:
//! the layers of the other base are stated, ours stay below the image here. So what was built on
//! Linux is shipped on Microsoft's base and runs on Windows.
//!
//! That is right as long as the image's own layers make sense on any Windows. [`obstacles`] looks
//! for those that do not: hard links into our base, changed files of ours, and programs that only
//! Wine has.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use oriel_wclayer::{Kind, LayerPath, Reader, Root};

use crate::archive::open_plain;
use crate::disk::fold;
use crate::error::Attempt;
use crate::{
    Arrival, Descriptor, History, Image, ImageConfig, ImageError, ImageId, ImageStore, Layer,
    Reference, StatedLayer, Substitution,
};

/// A base, as its registry describes it.
#[derive(Clone, Debug)]
pub struct NewBase {
    /// Its repository, such as `mcr.microsoft.com/windows/nanoserver`.
    pub repository: String,
    /// Its configuration.
    pub config: ImageConfig,
    /// Its layers, base first.
    pub layers: Vec<Descriptor>,
}

/// What to do about layers that make no sense on another base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacles {
    /// Refuse.
    Refuse,
    /// Go on: the user knows better.
    Ignore,
}

/// Most obstacles that are named.
const MOST_NAMED: usize = 5;

impl ImageStore {
    /// Gives `image` the base `onto`; the image as it was stays. The result has the names `names`.
    ///
    /// # Errors
    /// [`ImageError::NoBase`] when it stands on no base of this host, [`ImageError::NeedsBase`]
    /// with [`Obstacles::Refuse`], [`ImageError::Damaged`] for a base that contradicts itself.
    pub fn rebase(
        &self,
        image: &ImageId,
        onto: &NewBase,
        obstacles: Obstacles,
        names: Vec<Reference>,
    ) -> Result<ImageId, ImageError> {
        let _recording = self.recording();
        let image = self.image_by_id(image)?;
        let (base, base_layers) = self.base_below(&image)?;
        if obstacles == Obstacles::Refuse {
            let found = self.obstacles(&image.layers, base_layers)?;
            if !found.is_empty() {
                return Err(ImageError::NeedsBase { image: image.id, obstacles: found });
            }
        }
        let replaced = image.substitution.as_ref().map_or(base_layers, |it| it.stated.len());
        let substitution = Substitution {
            base,
            base_layers,
            stated: stated_layers(onto)?,
            source: onto.repository.clone(),
        };
        let config = rebased(&image.config, replaced, onto);
        self.record(Arrival {
            config: serde_json::to_vec(&config).attempt(|| "write a configuration".into())?,
            layers: image.layers,
            substitution: Some(substitution),
            names,
            ..Arrival::default()
        })
    }

    /// The name of the base of this host below `image`, and how many layers it has.
    fn base_below(&self, image: &Image) -> Result<(String, usize), ImageError> {
        if let Some(substitution) = &image.substitution {
            return Ok((substitution.base.clone(), substitution.base_layers));
        }
        let is_below = |other: &Image| {
            other.substitution.is_none()
                && other.parent.is_none()
                && other.layers.len() < image.layers.len()
                && other.layers.iter().zip(&image.layers).all(|(a, b)| a.chain_id == b.chain_id)
        };
        let bases = self.list()?;
        let found = bases.iter().filter(|other| is_below(other)).max_by_key(|it| it.layers.len());
        let base = found.ok_or(ImageError::NoBase { image: image.id })?;
        let own = base.references.iter().find(|name| self.substitutes().is_own(name));
        let name = own.or(base.references.first());
        let name = name.map_or(base.id.to_string(), Reference::familiar);
        Ok((name, base.layers.len()))
    }

    /// What in the layers above `base_layers` makes no sense without the base of this host.
    fn obstacles(&self, layers: &[Layer], base_layers: usize) -> Result<Vec<String>, ImageError> {
        let (base, own) = layers.split_at(base_layers.min(layers.len()));
        let directories = self.layers().directories(base);
        let in_base = |path: &LayerPath| {
            let path = format!("Files/{}", path.rest());
            directories.iter().any(|directory| is_there(directory, &path))
        };
        let mut seen = BTreeSet::new();
        let mut found = BTreeMap::new();
        for layer in own {
            let mut reader = Reader::new(open_plain(self, layer.blob)?);
            each_entry(&mut reader, |path, kind| {
                if let Some(why) = obstacle(path, kind, &seen, &in_base)
                    && found.len() < MOST_NAMED
                {
                    found.insert(path.to_string(), why);
                }
                seen.insert(fold(&path.to_string()));
            })?;
        }
        Ok(found.into_iter().map(|(path, why)| format!("`{path}` {why}")).collect())
    }
}

/// Calls `visit` for every entry of a layer.
fn each_entry(
    reader: &mut Reader<impl Read>,
    mut visit: impl FnMut(&LayerPath, &Kind),
) -> Result<(), ImageError> {
    while let Some(entry) = reader.next_entry().attempt(|| "read a layer".into())? {
        visit(&entry.path, &entry.kind);
    }
    Ok(())
}

/// Where Windows keeps what belongs to it alone.
const SYSTEM_DIRECTORIES: [&str; 3] = ["WINDOWS/SYSTEM32/", "WINDOWS/SYSWOW64/", "WINDOWS/WINSXS/"];

/// Why an entry makes no sense on another base, if so. `seen` are the paths of entries before.
fn obstacle(
    path: &LayerPath,
    kind: &Kind,
    seen: &BTreeSet<String>,
    in_base: &dyn Fn(&LayerPath) -> bool,
) -> Option<&'static str> {
    if path.root() != Root::Files {
        return None;
    }
    match kind {
        Kind::HardLink { target } if !seen.contains(&fold(&target.to_string())) => {
            Some("is a hard link to a file of the base of this host")
        }
        Kind::File { .. } => {
            let folded = fold(path.rest());
            let system = SYSTEM_DIRECTORIES.iter().any(|directory| folded.starts_with(directory));
            if folded.starts_with("USERS/") && folded.ends_with("/NTUSER.DAT") {
                return Some("is an account's registry made from that of this host");
            }
            (system && in_base(path)).then_some("is a changed file of the base of this host")
        }
        _ => None,
    }
}

/// Whether a layer has a file at `path`, whatever its case.
fn is_there(directory: &std::path::Path, path: &str) -> bool {
    let Ok(mut here) = crate::disk::Dir::open(directory) else { return false };
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        let Ok(Some((name, _))) = crate::extract::find_name(&here, name) else { return false };
        if names.peek().is_none() {
            return true;
        }
        let Ok(Some(next)) = here.child(&name) else { return false };
        here = next;
    }
    false
}

/// The layers of a base as its configuration and its manifest state them.
fn stated_layers(base: &NewBase) -> Result<Vec<StatedLayer>, ImageError> {
    let diff_ids = &base.config.rootfs.diff_ids;
    if diff_ids.is_empty() || diff_ids.len() != base.layers.len() {
        return Err(ImageError::Damaged {
            what: format!("the base {}", base.repository),
            problem: format!(
                "its configuration states {} layers and its manifest {}",
                diff_ids.len(),
                base.layers.len()
            ),
        });
    }
    Ok(StatedLayer::all(&base.config, &base.layers))
}

/// The configuration of an image on another base: how it runs stays, what it stands on changes.
fn rebased(config: &ImageConfig, replaced: usize, onto: &NewBase) -> ImageConfig {
    let mut made = config.clone();
    made.os_version.clone_from(&onto.config.os_version);
    made.os_features.clone_from(&onto.config.os_features);
    made.rootfs.diff_ids.clone_from(&onto.config.rootfs.diff_ids);
    made.rootfs.diff_ids.extend(config.rootfs.diff_ids.iter().skip(replaced));
    made.history.clone_from(&onto.config.history);
    made.history.extend(own_history(&config.history, replaced).cloned());
    made
}

/// The steps after those that made the first `replaced` layers.
fn own_history(history: &[History], replaced: usize) -> impl Iterator<Item = &History> {
    let mut left = replaced;
    history.iter().skip_while(move |step| {
        let of_base = left > 0;
        left -= usize::from(of_base && !step.empty_layer);
        of_base
    })
}
