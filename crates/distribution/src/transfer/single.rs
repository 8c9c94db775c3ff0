//! Parts of images: what builds take of those that were built elsewhere.

use oriel_image::{Descriptor, DiffId, ImageConfig, Layer, Reference};

use super::layers::Layers;
use super::{Steps, TransferError, Transfers};
use crate::{Access, Credentials};

/// An image in a registry, as its manifest and its configuration describe it.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Its configuration.
    pub config: ImageConfig,
    /// Its layers, base first: as many as the configuration states.
    pub layers: Vec<Descriptor>,
}

impl Transfers {
    /// Fetches manifest and configuration of `reference`, and no layer.
    ///
    /// # Errors
    /// Those of a pull before its first layer.
    pub async fn look_at(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Described, TransferError> {
        let repository = self.registries.repository(reference, credentials, Access::Pull).await?;
        let found = self.describe(&repository, reference).await?;
        Ok(Described { config: found.config, layers: found.layers })
    }

    /// Takes one layer of `reference` in on top of `onto` (base first), which it was made on.
    /// Ends early when nobody listens to `steps`. Hold a [`oriel_image::Lease`] until an image
    /// with the layer is recorded.
    ///
    /// # Errors
    /// Those of a pull.
    pub async fn take_layer(
        &self,
        (reference, credentials): (&Reference, &Credentials),
        layer: (DiffId, Descriptor),
        onto: Vec<Layer>,
        steps: &Steps,
    ) -> Result<Layer, TransferError> {
        let repository = self.registries.repository(reference, credentials, Access::Pull).await?;
        let at_once = self.registries.options().downloads;
        let layers = Layers { store: &self.store, repository: &repository, steps, at_once };
        let taken = tokio::select! {
            taken = layers.fetch(onto, vec![layer]) => taken?,
            () = steps.closed() => return Err(TransferError::Cancelled),
        };
        taken.into_iter().next_back().ok_or(TransferError::Broken)
    }
}
