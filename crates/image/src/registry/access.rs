//! Looking at and changing the registry of images and containers.

use std::path::{Path, PathBuf};

use super::{FILES, LayerHives, RegistryChange, RegistryTrees, capture};
use crate::disk::Dir;
use crate::error::Attempt;
use crate::{ImageError, ImageId, ImageStore, Sandbox};

/// Where a sandbox keeps the registry files of its container.
const DIRECTORY: &str = "registry";

impl ImageStore {
    /// The registry that containers of `image` start with, but for what each has of its own.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::Hive`], [`ImageError::Io`].
    pub fn image_registry(&self, image: &ImageId) -> Result<RegistryTrees, ImageError> {
        let _lease = self.lease();
        let image = self.image_by_id(image)?;
        let top = image.layers.last().ok_or(ImageError::NoLayers { image: image.id })?;
        let layers = self.layers().directories(&image.layers);
        let account = crate::sandbox::account_or_default(&image.config.config.user);
        capture::read(&self.registry().rendered(&top.chain_id.0.hex(), account, &layers)?)
    }

    /// The registry of the container of `sandbox`. `saved` is a directory that a running container
    /// wrote it to; one that does not run has it in its sandbox.
    ///
    /// # Errors
    /// [`ImageError::Hive`], [`ImageError::Io`].
    pub fn sandbox_registry(
        &self,
        sandbox: &Sandbox,
        saved: Option<&Path>,
    ) -> Result<RegistryTrees, ImageError> {
        match saved {
            Some(directory) => capture::read(directory),
            None => capture::read(&sandbox.path.join(DIRECTORY)),
        }
    }

    /// The registry that the container of `sandbox` was made with, but for what is its own.
    ///
    /// # Errors
    /// [`ImageError::Hive`], [`ImageError::Io`].
    pub fn registry_before(&self, sandbox: &Sandbox) -> Result<RegistryTrees, ImageError> {
        capture::read(&self.registry_below(sandbox)?.1)
    }

    /// What the container of `sandbox` changed in its registry, without what a mere boot changes.
    /// `saved` is as for [`ImageStore::sandbox_registry`].
    ///
    /// # Errors
    /// [`ImageError::Hive`], [`ImageError::Io`].
    pub fn registry_changes(
        &self,
        sandbox: &Sandbox,
        saved: Option<&Path>,
    ) -> Result<RegistryChange, ImageError> {
        let (_, rendered) = self.registry_below(sandbox)?;
        let new = self.sandbox_registry(sandbox, saved)?;
        Ok(capture::compare(capture::read(&rendered)?, new))
    }

    /// Changes the registry of a container that does not run.
    ///
    /// # Errors
    /// [`ImageError::Hive`], [`ImageError::Io`].
    pub fn change_registry(
        &self,
        sandbox: &Sandbox,
        change: &RegistryChange,
    ) -> Result<(), ImageError> {
        let mut trees = self.sandbox_registry(sandbox, None)?;
        oriel_hive::apply(&mut trees.machine, &change.machine);
        oriel_hive::apply(&mut trees.default, &change.default);
        oriel_hive::apply(&mut trees.user, &change.user);
        let attempt = || format!("change the registry of {}", sandbox.id);
        let directory = Dir::open(&sandbox.path.join(DIRECTORY)).attempt(attempt)?;
        for (file, text) in FILES.iter().zip(trees.render()) {
            directory.replace(file, &text).attempt(attempt)?;
        }
        Ok(())
    }

    /// The directories of the layers below a sandbox, nearest first, and their merged registry.
    pub(super) fn registry_below(
        &self,
        sandbox: &Sandbox,
    ) -> Result<(Vec<PathBuf>, PathBuf), ImageError> {
        let chain = self.sandbox_chain(&sandbox.id)?;
        let top = chain.first().cloned().unwrap_or_default();
        let layers: Vec<_> = chain.iter().map(|chain| self.layers().root().join(chain)).collect();
        let rendered = self.registry().rendered(&top, &sandbox.account, &layers)?;
        Ok((layers, rendered))
    }

    /// The hives of a layer with what the container of `sandbox` changed.
    pub(crate) fn changed_hives(
        &self,
        sandbox: &Sandbox,
        saved: Option<&Path>,
    ) -> Result<LayerHives, ImageError> {
        let change = self.registry_changes(sandbox, saved)?;
        let (layers, _) = self.registry_below(sandbox)?;
        LayerHives::above(&layers, &sandbox.account, &change)
    }

    /// The hives of a base layer with the whole registry of the container of `sandbox`.
    pub(crate) fn whole_hives(
        &self,
        sandbox: &Sandbox,
        saved: Option<&Path>,
    ) -> Result<LayerHives, ImageError> {
        let change = self.registry_changes(sandbox, saved)?;
        let (layers, _) = self.registry_below(sandbox)?;
        LayerHives::whole(&layers, &sandbox.account, &change)
    }
}
