//! What a registry is given of an image.

use std::collections::BTreeSet;

use crate::arrival::manifest_of;
use crate::content::LAYER;
use crate::error::Attempt;
use crate::records::Batch;
use crate::{
    Descriptor, Digest, Image, ImageError, ImageId, ImageStore, Layer, Lease, Manifest, Reference,
    StatedLayer,
};

/// A layer, as a registry is to get it.
#[derive(Clone, Debug, PartialEq)]
pub struct ShippedLayer {
    /// What the manifest says of it.
    pub descriptor: Descriptor,
    /// Whether its blob is here.
    pub here: bool,
    /// Repositories that are known to have it, such as `localhost:5000/app`.
    pub known_at: Vec<String>,
}

/// An image, as a registry is to get it.
#[derive(Clone, Debug)]
pub struct Shipment {
    /// The image.
    pub image: ImageId,
    /// Its manifest, byte for byte.
    pub manifest: Vec<u8>,
    /// The manifest's media type.
    pub media_type: String,
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, base first.
    pub layers: Vec<ShippedLayer>,
}

impl Shipment {
    /// The same image with another description of some layers, which gives another manifest.
    ///
    /// # Errors
    /// [`ImageError::Json`].
    pub fn with_layers(mut self, layers: Vec<Descriptor>) -> Result<Self, ImageError> {
        let read = || format!("read the manifest of image {}", self.image);
        let mut manifest: Manifest = serde_json::from_slice(&self.manifest).attempt(read)?;
        manifest.layers = layers;
        self.manifest = serde_json::to_vec(&manifest).attempt(|| "write a manifest".into())?;
        Ok(self)
    }
}

impl ImageStore {
    /// Makes `image` ready for a registry: layers that are stored uncompressed are compressed, for
    /// this image and all others that have them. `progress` is asked for each such layer who is
    /// to learn how many bytes of it were read.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::DigestMismatch`], [`ImageError::Io`].
    pub fn shipment<P: FnMut(u64)>(
        &self,
        _lease: &Lease,
        image: &ImageId,
        progress: &mut dyn FnMut(&Layer) -> P,
    ) -> Result<Shipment, ImageError> {
        let plain = |layer: &&Layer| layer.media_type == LAYER;
        for layer in self.image_by_id(image)?.layers.iter().filter(plain) {
            let packed = self.compress_layer(layer, &mut progress(layer))?;
            self.replace_layer(&packed)?;
        }
        let image = self.image_by_id(image)?;
        let bytes = self.document(image.manifest)?;
        let read = || format!("read the manifest of image {}", image.id);
        let manifest: Manifest = serde_json::from_slice(&bytes).attempt(read)?;
        let layers = manifest.layers.iter().map(|layer| self.shipped(&image, layer));
        Ok(Shipment {
            image: image.id,
            layers: layers.collect::<Result<_, _>>()?,
            media_type: manifest.kind(),
            config: manifest.config,
            manifest: bytes,
        })
    }

    /// Notes that a registry has `image` under this digest.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::Database`].
    pub fn note_digest(&self, image: &ImageId, digest: Reference) -> Result<(), ImageError> {
        let missing = || ImageError::NoSuchImage { name: image.to_string() };
        let _editing = self.records().edit();
        let mut record = self.records().snapshot()?.images.remove(image).ok_or_else(missing)?;
        if !record.digests.contains(&digest) {
            record.digests.push(digest);
            record.digests.sort();
        }
        self.records().apply(&Batch { put: vec![(*image, record)], ..Batch::default() })
    }

    fn shipped(&self, image: &Image, layer: &Descriptor) -> Result<ShippedLayer, ImageError> {
        let stated = |it: &StatedLayer| it.descriptor.digest == layer.digest;
        let source = image.substitution.iter().filter(|it| it.stated.iter().any(stated));
        let mut known: BTreeSet<String> = source.map(|it| it.source.clone()).collect();
        known.extend(self.repositories_with(layer.digest)?);
        Ok(ShippedLayer {
            here: self.blob_size(layer.digest) == Some(layer.size),
            descriptor: layer.clone(),
            known_at: known.into_iter().collect(),
        })
    }

    /// Repositories from or to which images with the layer blob `digest` were moved.
    fn repositories_with(&self, digest: Digest) -> Result<BTreeSet<String>, ImageError> {
        let records = self.records().snapshot()?.images.into_values();
        let having = records.filter(|it| it.layers.iter().any(|layer| layer.blob == digest));
        Ok(having.flat_map(|it| it.digests).map(|name| name.repository()).collect())
    }

    /// Records `packed` in the place of the same layer with another blob, wherever that is.
    fn replace_layer(&self, packed: &Layer) -> Result<(), ImageError> {
        let _editing = self.records().edit();
        let mut batch = Batch::default();
        for (id, mut record) in self.records().snapshot()?.images {
            let same =
                |layer: &&mut Layer| layer.chain_id == packed.chain_id && layer.media_type == LAYER;
            let Some(layer) = record.layers.iter_mut().find(same) else { continue };
            packed.clone_into(layer);
            let length = self.document(id.0)?.len() as u64;
            let manifest = manifest_of(id, length, &record.layers, record.substitution.as_ref());
            (record.manifest, record.manifest_type) = self.put_manifest(&manifest)?;
            batch.put.push((id, record));
        }
        self.records().apply(&batch)?;
        self.write_index()
    }
}
