//! Recording an image: the last step of every build, load, import and pull.

use std::collections::BTreeSet;

use crate::content::{CONFIG, Descriptor, MANIFEST, Manifest};
use crate::error::Attempt;
use crate::records::{Batch, ImageRecord};
use crate::steps;
use crate::store::now_seconds;
use crate::{Digest, ImageError, ImageId, ImageStore, Layer, Lease, Reference, Substitution};

/// An image whose layers are in place.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    /// Its configuration, byte for byte: the digest is its id.
    pub config: Vec<u8>,
    /// Its layers here, base first.
    pub layers: Vec<Layer>,
    /// What stands in for its base, if it is not its own.
    pub substitution: Option<Substitution>,
    /// The manifest it came with, byte for byte.
    pub manifest: Option<Vec<u8>>,
    /// Names it gets.
    pub names: Vec<Reference>,
    /// Repositories that know it, each with the digest of its manifest or index there.
    pub digests: Vec<Reference>,
    /// The image it was built on.
    pub parent: Option<ImageId>,
}

impl ImageStore {
    /// Records an image whose layers and blobs `_lease` has kept.
    ///
    /// # Errors
    /// [`ImageError::Io`], [`ImageError::Database`].
    pub fn admit(&self, _lease: &Lease, arrival: Arrival) -> Result<ImageId, ImageError> {
        self.record(arrival)
    }

    /// Records an image. What was known of the same image and is not said anew is kept.
    pub(crate) fn record(&self, arrival: Arrival) -> Result<ImageId, ImageError> {
        let content = self.content();
        let id = ImageId(content.put(&arrival.config)?);
        let _editing = self.records().edit();
        let known = self.records().one(&id)?.map(|(record, _)| record);
        let tagged_before = known.as_ref().and_then(|known| known.last_tagged);
        let mut digests = known.as_ref().map_or_else(Vec::new, |known| known.digests.clone());
        digests.extend(arrival.digests);
        digests.sort();
        digests.dedup();
        let (manifest, manifest_type) = match arrival.manifest {
            Some(bytes) if is_complete(&bytes, &arrival.layers, arrival.substitution.as_ref()) => {
                (content.put(&bytes)?, media_type_of(&bytes))
            }
            _ => {
                let length = arrival.config.len() as u64;
                let substitution = arrival.substitution.as_ref();
                self.put_manifest(&manifest_of(id, length, &arrival.layers, substitution))?
            }
        };
        let parent = arrival.parent.or(known.and_then(|known| known.parent));
        let record = ImageRecord {
            manifest,
            manifest_type,
            parent,
            step: parent.and_then(|_| steps::last_step(&arrival.config)),
            layers: arrival.layers,
            substitution: arrival.substitution,
            digests,
            last_tagged: if arrival.names.is_empty() { tagged_before } else { Some(now_seconds()) },
        };
        self.records().apply(&Batch {
            put: vec![(id, record)],
            name: arrival.names.into_iter().map(|name| (name, id)).collect(),
            ..Batch::default()
        })?;
        self.write_index()?;
        Ok(id)
    }

    /// Stores a manifest and returns its digest and its media type.
    pub(crate) fn put_manifest(&self, manifest: &Manifest) -> Result<(Digest, String), ImageError> {
        let bytes = serde_json::to_vec(manifest).attempt(|| "write a manifest".into())?;
        Ok((self.content().put(&bytes)?, manifest.media_type.clone()))
    }
}

/// The manifest of an image, as its layers are here; those of a substituted base as stated.
pub(crate) fn manifest_of(
    id: ImageId,
    config_size: u64,
    layers: &[Layer],
    substitution: Option<&Substitution>,
) -> Manifest {
    let stated = substitution.iter().flat_map(|it| &it.stated).map(|it| it.descriptor.clone());
    let own = layers
        .iter()
        .skip(substitution.map_or(0, |it| it.base_layers))
        .map(|layer| Descriptor::new(&layer.media_type, layer.blob, layer.compressed_size));
    Manifest {
        schema_version: 2,
        media_type: MANIFEST.into(),
        config: Descriptor::new(CONFIG, id.0, config_size),
        layers: stated.chain(own).collect(),
    }
}

/// Whether every layer that a manifest names is here or is stood in for.
fn is_complete(manifest: &[u8], layers: &[Layer], substitution: Option<&Substitution>) -> bool {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(manifest) else { return false };
    let stated = substitution.iter().flat_map(|it| &it.stated).map(|it| it.descriptor.digest);
    let here: BTreeSet<Digest> = layers.iter().map(|layer| layer.blob).chain(stated).collect();
    manifest.layers.iter().all(|layer| here.contains(&layer.digest))
}

/// The media type of a manifest.
fn media_type_of(manifest: &[u8]) -> String {
    let read = serde_json::from_slice::<Manifest>(manifest);
    read.map_or_else(|_| MANIFEST.to_owned(), |manifest| manifest.kind())
}
