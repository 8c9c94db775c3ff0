//! What a registry says of an image, without pulling it.

use oriel_image::{Descriptor, Index, Reference};
use serde_json::{Value, json};

use super::pull::lists_manifests;
use super::{TransferError, Transfers};
use crate::{Access, Credentials};

/// An image in a registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspected {
    /// What its name leads to.
    pub descriptor: Descriptor,
    /// The platforms it is for.
    pub platforms: Vec<Value>,
}

impl Transfers {
    /// Asks the registry what `reference` is.
    ///
    /// # Errors
    /// Those of a pull before its first layer.
    pub async fn inspect(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Inspected, TransferError> {
        let repository = self.registries.repository(reference, credentials, Access::Pull).await?;
        let fetched = repository.manifest(&super::pull::tag_or_digest(reference)).await?;
        let size = fetched.bytes.len() as u64;
        let descriptor = Descriptor::new(&fetched.media_type, fetched.digest, size);
        let platforms = if lists_manifests(&fetched.media_type) {
            let index: Index = super::pull::parse(&fetched, "the index", reference)?;
            index.manifests.into_iter().filter_map(|entry| entry.platform).collect()
        } else {
            let config = self.describe(&repository, reference).await?.config;
            vec![json!({
                "architecture": config.architecture,
                "os": config.os,
                "os.version": config.os_version,
            })]
        };
        Ok(Inspected { descriptor, platforms })
    }
}
