//! Rebasing onto a base that a registry describes.

use oriel_image::{ImageId, NewBase, Obstacles, Reference};

use super::{TransferError, Transfers, blocking};
use crate::{Access, Credentials};

impl Transfers {
    /// Gives `image` the base that `onto` names, whose layers are not fetched. The result has the
    /// names `names`.
    ///
    /// # Errors
    /// Those of a pull of `onto`, and those of [`oriel_image::ImageStore::rebase`].
    pub async fn rebase(
        &self,
        image: ImageId,
        (onto, credentials): (&Reference, &Credentials),
        obstacles: Obstacles,
        names: Vec<Reference>,
    ) -> Result<ImageId, TransferError> {
        let repository = self.registries.repository(onto, credentials, Access::Pull).await?;
        let described = self.describe(&repository, onto).await?;
        let base = NewBase {
            repository: onto.repository(),
            config: described.config,
            layers: described.layers,
        };
        blocking(&self.store, move |store| store.rebase(&image, &base, obstacles, names)).await
    }
}
