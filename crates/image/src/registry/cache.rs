//! Rendered registries, kept.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::seen::{self, Floor, Shape};
use super::{FILES, policy, settings};
use crate::disk::fold;
use crate::error::Attempt;
use crate::{Digest, ImageError};

/// File of an entry that says how it differs from what the layers store.
const SHAPE: &str = "shape.json";

/// Digits of a floor's chain in the name of an entry.
const FLOOR_DIGITS: usize = 12;

/// The rendered registries of all chains.
///
/// An entry is named by its chain, the version of the policy it was made under, its account, and
/// the floor it stands on when the chain's base is not Oriel's.
pub(crate) struct RegistryCache {
    root: PathBuf,
}

/// The rendered registry of a chain.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    /// Where it is.
    pub(crate) path: PathBuf,
}

impl Rendered {
    /// Name of the entry, which [`RegistryCache::entry`] finds again.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whether a container gets the same registry from both.
    pub(crate) fn shows_the_same(&self, other: &Self) -> Result<bool, ImageError> {
        let attempt = || "compare cached registries".to_owned();
        if self.path == other.path {
            return Ok(true);
        }
        for file in FILES.into_iter().chain([settings::ZONES]) {
            let [own, others] = [self, other].map(|entry| fs_err::read(entry.path.join(file)));
            if own.attempt(attempt)? != others.attempt(attempt)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How it differs from what the layers store.
    pub(super) fn shape(&self) -> Result<Shape, ImageError> {
        let path = self.path.join(SHAPE);
        let attempt = || "read a cached registry".to_owned();
        serde_json::from_slice(&fs_err::read(path).attempt(attempt)?).attempt(attempt)
    }
}

impl RegistryCache {
    /// Opens the cache and removes what a crash left half made.
    pub(crate) fn open(root: PathBuf) -> Result<Self, ImageError> {
        let attempt = || "open the registry cache".to_owned();
        fs_err::create_dir_all(&root).attempt(attempt)?;
        for entry in fs_err::read_dir(&root).attempt(attempt)? {
            let entry = entry.attempt(attempt)?;
            if entry.file_name().to_string_lossy().ends_with("-creating") {
                fs_err::remove_dir_all(entry.path()).attempt(attempt)?;
            }
        }
        Ok(Self { root })
    }

    /// Removes the registries of chains that are not in `chains`, and those made under an older
    /// policy that are not in `used`.
    pub(crate) fn retain(
        &self,
        chains: &BTreeSet<String>,
        used: &BTreeSet<String>,
    ) -> Result<(), ImageError> {
        let attempt = || "remove unused registries".to_owned();
        for entry in fs_err::read_dir(&self.root).attempt(attempt)? {
            let entry = entry.attempt(attempt)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut parts = name.split('-');
            let chain = parts.next().unwrap_or_default();
            let current = parts.next() == Some(&version());
            if !(chains.contains(chain) && (current || used.contains(&name))) {
                fs_err::remove_dir_all(entry.path()).attempt(attempt)?;
            }
        }
        Ok(())
    }

    /// The entry of that name, if it is there.
    pub(super) fn entry(&self, name: &str) -> Option<Rendered> {
        let path = self.root.join(name);
        let is_entry = !name.is_empty() && !name.contains('/') && path.join(SHAPE).exists();
        is_entry.then_some(Rendered { path })
    }

    /// The registry of `chain` for `account`, made when it is not there yet. `layers` are the
    /// chain's directories, topmost first; `floors` are what a foreign base can stand on.
    pub(super) fn rendered(
        &self,
        chain: &str,
        account: &str,
        layers: &[PathBuf],
        floors: impl FnOnce() -> Result<Vec<Floor>, ImageError>,
    ) -> Result<Rendered, ImageError> {
        let name = format!("{chain}-{}-{}", version(), file_name(account));
        if let Some(known) = self.entry(&name) {
            return Ok(known);
        }
        let floors = floors()?;
        let known = floors.iter().find_map(|floor| self.entry(&on_floor(&name, floor)));
        if let Some(known) = known {
            return Ok(known);
        }
        let seen = seen::merge(layers, account, &floors)?;
        let name = seen.floor.map_or_else(|| name.clone(), |floor| on_floor(&name, floor));
        self.keep(&self.root.join(name), &seen)
    }

    /// Writes an entry.
    fn keep(&self, place: &Path, seen: &seen::Seen<'_>) -> Result<Rendered, ImageError> {
        let attempt = || format!("render {}", place.display());
        let made =
            tempfile::Builder::new().suffix("-creating").tempdir_in(&self.root).attempt(attempt)?;
        for (file, (tree, branch)) in FILES.iter().zip(seen.trees.branches()) {
            let file = fs_err::File::create(made.path().join(file)).attempt(attempt)?;
            let mut file = BufWriter::new(file);
            oriel_hive::wine::render_to(&mut file, tree, &branch).attempt(attempt)?;
            file.flush().attempt(attempt)?;
        }
        settings::keep_zones(&seen.trees.machine, made.path())?;
        let shape = serde_json::to_vec(&seen.shape).attempt(attempt)?;
        fs_err::write(made.path().join(SHAPE), shape).attempt(attempt)?;
        match fs_err::rename(made.path(), place) {
            Ok(()) => drop(made.keep()),
            // Another container was faster; its registry is the same.
            Err(_) if place.exists() => {}
            Err(error) => return Err(error).attempt(attempt),
        }
        Ok(Rendered { path: place.to_owned() })
    }
}

/// The version of the policy, as the names of entries have it.
fn version() -> String {
    format!("v{}", policy::VERSION)
}

/// An account as the names of entries have it: an image can name any.
fn file_name(account: &str) -> String {
    let plain = !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if plain { fold(account) } else { Digest::of(fold(account).as_bytes()).hex() }
}

/// Name of an entry on a floor.
fn on_floor(name: &str, floor: &Floor) -> String {
    let digits = floor.chain.get(..FLOOR_DIGITS).unwrap_or(&floor.chain);
    format!("{name}-{digits}")
}
