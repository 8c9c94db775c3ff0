//! Rendered registries, kept.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{FILES, chain, project};
use crate::ImageError;
use crate::disk::fold;
use crate::error::Attempt;

/// The rendered registries of all chains.
pub(crate) struct RegistryCache {
    root: PathBuf,
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

    /// Removes the registries of chains that are not in `chains`.
    pub(crate) fn retain(&self, chains: &BTreeSet<String>) -> Result<(), ImageError> {
        let attempt = || "remove unused registries".to_owned();
        for entry in fs_err::read_dir(&self.root).attempt(attempt)? {
            let entry = entry.attempt(attempt)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let chain = name.split('-').next().unwrap_or_default();
            if !chains.contains(chain) {
                fs_err::remove_dir_all(entry.path()).attempt(attempt)?;
            }
        }
        Ok(())
    }

    /// The directory with the registry of `chain` for `account`, made when it is not there yet.
    /// `layers` are the chain's directories, topmost first.
    pub(crate) fn rendered(
        &self,
        chain: &str,
        account: &str,
        layers: &[PathBuf],
    ) -> Result<PathBuf, ImageError> {
        let place = self.root.join(format!("{chain}-{}", fold(account)));
        if place.exists() {
            return Ok(place);
        }
        let mut trees = chain::merge(layers, account)?;
        project::prepare(&mut trees)?;
        let attempt = || format!("render the registry of {chain}");
        let made =
            tempfile::Builder::new().suffix("-creating").tempdir_in(&self.root).attempt(attempt)?;
        for (file, text) in FILES.iter().zip(trees.render()) {
            fs_err::write(made.path().join(file), text).attempt(attempt)?;
        }
        match fs_err::rename(made.path(), &place) {
            Ok(()) => drop(made.keep()),
            // Another container was faster; its registry is the same.
            Err(_) if place.exists() => {}
            Err(error) => return Err(error).attempt(attempt),
        }
        Ok(place)
    }
}
