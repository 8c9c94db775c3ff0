//! Looking at and changing the registry of images and containers.

use std::path::{Path, PathBuf};

use oriel_hive::wine;

use super::cache::Rendered;
use super::chain::Chain;
use super::layer::Below;
use super::seen::Floor;
use super::{FILES, LayerHives, RegistryChange, RegistryTrees, capture, links};
use crate::disk::Dir;
use crate::error::Attempt;
use crate::{ChainId, ImageError, ImageId, ImageStore, NANOSERVER, SERVERCORE, Sandbox};

/// Where a sandbox keeps the registry files of its container.
const DIRECTORY: &str = "registry";

/// How programs name the trees of [`RegistryTrees`].
const ROOTS: [&str; 3] =
    [r"\Registry\Machine", r"\Registry\User\.Default", r"\Registry\User\S-1-5-21-0-0-0-1000"];

impl ImageStore {
    /// The registry that containers of `image` start with, but for what each has of its own.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::Hive`], [`ImageError::Io`].
    pub fn image_registry(&self, image: &ImageId) -> Result<RegistryTrees, ImageError> {
        let _lease = self.lease();
        let image = self.image_by_id(image)?;
        let chain: Vec<ChainId> = image.layers.iter().rev().map(|layer| layer.chain_id).collect();
        let account = crate::sandbox::account_or_default(&image.config.config.user);
        capture::read(&self.rendered_registry(&chain, account)?.path)
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

    /// The registry that the container of `sandbox` was made with.
    ///
    /// # Errors
    /// [`ImageError::Hive`], [`ImageError::Io`].
    pub fn registry_before(&self, sandbox: &Sandbox) -> Result<RegistryTrees, ImageError> {
        capture::before(&self.registry_below(sandbox)?.path, &self.sandbox_settings(&sandbox.id)?)
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
        let own = sandbox.path.join(DIRECTORY);
        let settings = self.sandbox_settings(&sandbox.id)?;
        let rendered = self.registry_below(sandbox)?;
        capture::changes(&rendered.path, &settings, saved.unwrap_or(&own))
    }

    /// Changes the registry of a container that does not run. What is said of keys below a link is
    /// done where it leads, as when programs change them.
    ///
    /// # Errors
    /// [`ImageError::Hive`], [`ImageError::Io`].
    pub fn change_registry(
        &self,
        sandbox: &Sandbox,
        change: &RegistryChange,
    ) -> Result<(), ImageError> {
        let mut trees = self.sandbox_registry(sandbox, None)?;
        let changes = [&change.machine, &change.default, &change.user];
        let keys = [&mut trees.machine, &mut trees.default, &mut trees.user];
        for ((tree, change), root) in keys.into_iter().zip(changes).zip(ROOTS) {
            links::apply(tree, change, root)?;
        }
        let attempt = || format!("change the registry of {}", sandbox.id);
        let directory = Dir::open(&sandbox.path.join(DIRECTORY)).attempt(attempt)?;
        for ((file, (tree, branch)), change) in FILES.iter().zip(trees.branches()).zip(changes) {
            if !change.is_empty() {
                directory.replace(file, &wine::render(tree, &branch)).attempt(attempt)?;
            }
        }
        Ok(())
    }

    /// The rendered registry of a chain, topmost layer first.
    pub(crate) fn rendered_registry(
        &self,
        chain: &[ChainId],
        account: &str,
    ) -> Result<Rendered, ImageError> {
        let top = chain.first().map(|chain| chain.0.hex()).unwrap_or_default();
        let layers: Vec<_> = chain.iter().map(|chain| self.layers().directory(*chain)).collect();
        self.registry().rendered(&top, account, &layers, || self.floors())
    }

    /// The hives of a layer with what the container of `sandbox` changed.
    pub(crate) fn changed_hives(
        &self,
        sandbox: &Sandbox,
        saved: Option<&Path>,
    ) -> Result<LayerHives, ImageError> {
        self.hives(sandbox, saved, |below, change| below.layer(change))
    }

    /// The hives of a base layer with the whole registry of the container of `sandbox`.
    pub(crate) fn whole_hives(
        &self,
        sandbox: &Sandbox,
        saved: Option<&Path>,
    ) -> Result<LayerHives, ImageError> {
        self.hives(sandbox, saved, |below, change| below.whole(change))
    }

    /// What the container of `sandbox` changed, as the hives that `make` makes of it.
    fn hives(
        &self,
        sandbox: &Sandbox,
        saved: Option<&Path>,
        make: fn(&Below<'_>, &RegistryChange) -> Result<LayerHives, ImageError>,
    ) -> Result<LayerHives, ImageError> {
        let change = self.registry_changes(sandbox, saved)?;
        let (layers, rendered) = (self.layers_below(sandbox)?, self.registry_below(sandbox)?);
        make(&Below::new(Chain::new(&layers)?, &sandbox.account, &rendered)?, &change)
    }

    /// The registry that a container got, but for its settings.
    pub(crate) fn registry_below(&self, sandbox: &Sandbox) -> Result<Rendered, ImageError> {
        match self.registry().entry(&self.sandbox_entry(&sandbox.id)?) {
            Some(rendered) => Ok(rendered),
            None => self.rendered_registry(&self.sandbox_chain(&sandbox.id)?, &sandbox.account),
        }
    }

    /// The directories of the layers below a sandbox, topmost first.
    fn layers_below(&self, sandbox: &Sandbox) -> Result<Vec<PathBuf>, ImageError> {
        let chain = self.sandbox_chain(&sandbox.id)?;
        Ok(chain.iter().map(|chain| self.layers().directory(*chain)).collect())
    }

    /// The bases of Oriel's that are here, newest first.
    fn floors(&self) -> Result<Vec<Floor>, ImageError> {
        let images = self.list()?.into_iter();
        let bases = images.filter(|image| {
            let history = &image.config.history;
            history.first().is_some_and(|step| step.comment == oriel_hcs::BASE_COMMENT)
                && history.len() == 1
        });
        let floor = |image: crate::Image| {
            let mut names = image.references.iter().map(|name| name.familiar_repository());
            let name = names.find(|name| [NANOSERVER, SERVERCORE].contains(&name.as_str()));
            let top = image.layers.last()?.chain_id.0.hex();
            let layers = self.layers().directories(&image.layers);
            Some(Floor { name: name.unwrap_or_default(), chain: top, layers })
        };
        let mut floors: Vec<Floor> = bases.filter_map(floor).collect();
        floors.sort_by_key(|floor| floor.name != SERVERCORE);
        Ok(floors)
    }
}
