//! Pushing.
//!
//! A layer is sent only if the registry has it neither in this repository nor in another one it
//! can be mounted from. Layers of a substituted base are not here: where the registry lacks them
//! they are described as foreign, to be fetched from where the base is published.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use oriel_image::{Descriptor, Digest, ImageId, ImageStore, Reference, Shipment, ShippedLayer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Steps, TransferError, Transfers, blocking};
use crate::{Access, Credentials, Repository};

/// Media types of foreign layers, by the kind of manifest (OCI image specification, layer.md;
/// Docker's `image-manifest-v2-2.md`).
const FOREIGN_OCI: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
const FOREIGN_DOCKER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// What a push made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The image.
    pub image: ImageId,
    /// The tag.
    pub tag: String,
    /// Digest of the manifest in the registry.
    pub digest: Digest,
    /// Length of the manifest in bytes.
    pub size: usize,
}

impl Transfers {
    /// Pushes the image `reference` names. Ends early when nobody listens to `steps`.
    ///
    /// # Errors
    /// Of any class.
    pub async fn push(
        &self,
        reference: &Reference,
        credentials: &Credentials,
        steps: &Steps,
    ) -> Result<Pushed, TransferError> {
        let repository = self.registries.repository(reference, credentials, Access::Push).await?;
        let at_once = self.registries.options().uploads;
        let push = Push { store: &self.store, repository, reference, steps, at_once };
        tokio::select! {
            pushed = push.run() => pushed,
            () = steps.closed() => Err(TransferError::Cancelled),
        }
    }
}

struct Push<'a> {
    store: &'a ImageStore,
    repository: Repository,
    reference: &'a Reference,
    steps: &'a Steps,
    /// How many layers are uploaded at once.
    at_once: usize,
}

impl Push<'_> {
    async fn run(&self) -> Result<Pushed, TransferError> {
        let shipment = self.prepare().await?;
        let layers = self.layers(&shipment.layers).await?;
        let changed = layers.iter().zip(&shipment.layers).any(|(a, b)| *a != b.descriptor);
        let shipment = if changed { shipment.with_layers(layers)? } else { shipment };
        if !self.repository.has_blob(shipment.config.digest).await? {
            self.upload(&shipment.config).await?;
        }
        let tag = self.reference.tag().unwrap_or("latest").to_owned();
        let size = shipment.manifest.len();
        let manifest = Bytes::from(shipment.manifest);
        let digest = self.repository.push_manifest(&tag, &shipment.media_type, manifest).await?;
        let (image, name) = (shipment.image, self.reference.with_digest(digest));
        blocking(self.store, move |store| store.note_digest(&image, name)).await?;
        self.steps.say(format!("{tag}: digest: {digest} size: {size}")).await;
        Ok(Pushed { image, tag, digest, size })
    }

    /// Finds the image and has its layers compressed.
    async fn prepare(&self) -> Result<Shipment, TransferError> {
        let (name, steps) = (self.reference.familiar(), self.steps.clone());
        blocking(self.store, move |store| {
            let image: ImageId = store.resolve(&name)?.id;
            let lease = store.lease();
            store.shipment(&lease, &image, &mut |layer| {
                steps.meter(layer.blob, "Compressing", layer.compressed_size)
            })
        })
        .await
    }

    /// Brings all layers there, and returns what the manifest is to say of each.
    async fn layers(&self, layers: &[ShippedLayer]) -> Result<Vec<Descriptor>, TransferError> {
        let slots = Arc::new(Semaphore::new(self.at_once));
        let mut moves = JoinSet::new();
        let mut seen = std::collections::BTreeSet::new();
        for (at, layer) in layers.iter().enumerate() {
            // Some images have the same layer twice.
            if !seen.insert(layer.descriptor.digest) {
                continue;
            }
            self.steps.of(layer.descriptor.digest, "Preparing").await;
            let task = Layer {
                store: self.store.clone(),
                repository: self.repository.clone(),
                domain: self.reference.domain().to_owned(),
                steps: self.steps.clone(),
                layer: layer.clone(),
            };
            let slots = slots.clone();
            moves.spawn(async move {
                let _slot = slots.acquire().await.map_err(|_| TransferError::Broken)?;
                Ok::<_, TransferError>((at, task.run().await?))
            });
        }
        let mut described: Vec<Descriptor> =
            layers.iter().map(|layer| layer.descriptor.clone()).collect();
        while let Some(moved) = moves.join_next().await {
            let (at, descriptor) = moved.map_err(|_| TransferError::Broken)??;
            for same in &mut described {
                if same.digest == layers[at].descriptor.digest {
                    same.clone_from(&descriptor);
                }
            }
        }
        Ok(described)
    }

    async fn upload(&self, blob: &Descriptor) -> Result<(), TransferError> {
        upload(self.store, &self.repository, blob, |_| ()).await
    }
}

/// One layer on its way.
struct Layer {
    store: ImageStore,
    repository: Repository,
    domain: String,
    steps: Steps,
    layer: ShippedLayer,
}

impl Layer {
    /// Brings the layer there and returns what the manifest is to say of it.
    async fn run(self) -> Result<Descriptor, TransferError> {
        let Descriptor { digest, size, .. } = self.layer.descriptor;
        if self.repository.has_blob(digest).await? {
            self.steps.of(digest, "Layer already exists").await;
            return Ok(self.layer.descriptor);
        }
        if self.layer.descriptor.is_foreign() && !self.layer.descriptor.urls.is_empty() {
            self.steps.of(digest, "Skipped foreign layer").await;
            return Ok(self.layer.descriptor);
        }
        for known in &self.layer.known_at {
            let Some(path) = known.strip_prefix(&self.domain).and_then(|it| it.strip_prefix('/'))
            else {
                continue;
            };
            if self.repository.mount_blob(digest, path).await? {
                self.steps.of(digest, format!("Mounted from {path}")).await;
                return Ok(self.layer.descriptor);
            }
        }
        if !self.layer.here {
            return self.elsewhere().await;
        }
        self.steps.of(digest, "Pushing").await;
        let meter = Arc::new(Mutex::new(self.steps.meter(digest, "Pushing", size)));
        let progress = move |done| {
            let mut meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
            meter(done);
        };
        upload(&self.store, &self.repository, &self.layer.descriptor, progress).await?;
        self.steps.of(digest, "Pushed").await;
        Ok(self.layer.descriptor)
    }

    /// Describes a layer that is not here as foreign: whoever pulls fetches it from its source.
    async fn elsewhere(self) -> Result<Descriptor, TransferError> {
        let digest = self.layer.descriptor.digest;
        let sources = self.layer.known_at.iter().filter_map(|known| known.split_once('/'));
        let urls: Vec<String> = sources
            .filter(|(domain, _)| *domain != self.domain)
            .map(|(domain, path)| format!("https://{domain}/v2/{path}/blobs/{digest}"))
            .collect();
        if urls.is_empty() {
            return Err(TransferError::BaseElsewhere {
                digest,
                registry: self.domain,
                source_repository: self.layer.known_at.first().cloned().unwrap_or_default(),
            });
        }
        self.steps.of(digest, "Skipped foreign layer").await;
        let docker = self.layer.descriptor.media_type.starts_with("application/vnd.docker.");
        let media_type = if docker { FOREIGN_DOCKER } else { FOREIGN_OCI };
        Ok(Descriptor { media_type: media_type.to_owned(), urls, ..self.layer.descriptor })
    }
}

/// Sends a blob of the store.
async fn upload(
    store: &ImageStore,
    repository: &Repository,
    blob: &Descriptor,
    progress: impl Fn(u64) + Clone + Send + Sync + 'static,
) -> Result<(), TransferError> {
    let digest = blob.digest;
    let open = || {
        let file = store.open_blob(digest).map_err(std::io::Error::other)?;
        Ok(tokio::fs::File::from_std(file))
    };
    Ok(repository.push_blob(digest, blob.size, open, progress).await?)
}
