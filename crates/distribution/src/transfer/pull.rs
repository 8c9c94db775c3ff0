//! Pulling.
//!
//! ```text
//! tag ─▶ manifest ─▶ (index: entry for this host) ─▶ configuration ─▶ base recognised?
//!                                                                        │ not fetched
//!   layers: download ∥ download ∥ download ──follow──▶ extract, in order ▼
//!                                                      on the base ─▶ recorded
//! ```
//!
//! Layers are downloaded side by side and extracted while they come, in order, because each is
//! extracted in view of those below it.

use bytes::Bytes;
use oriel_hcs::Class;
use oriel_image::{
    Arrival, Descriptor, Digest, ImageConfig, ImageError, ImageId, ImageStore, Index, Layer,
    MAX_DOCUMENT, MAX_LAYERS, Manifest, Reference, Substitution, WindowsVersion, select,
};

use super::layers::{Layers, blob};
use super::{Steps, TransferError, Transfers, blocking};
use crate::{Access, Credentials, DistributionError, Fetched, Repository};

/// What a pull brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Pulled {
    /// The image.
    pub image: ImageId,
    /// Digest of the manifest or index that the name led to; `None` when a base of this host
    /// stands in for the whole image.
    pub digest: Option<Digest>,
    /// Whether the name leads to another image than before.
    pub newer: bool,
    /// What stands in for the image's base.
    pub substitution: Option<Substitution>,
}

/// What an image looks like from outside: everything but its layers.
pub(super) struct Description {
    /// Digest of what the name led to.
    pub(super) digest: Digest,
    pub(super) manifest: Bytes,
    pub(super) layers: Vec<Descriptor>,
    pub(super) config_bytes: Vec<u8>,
    pub(super) config: ImageConfig,
}

impl Transfers {
    /// Pulls `reference` and names the image so. Ends early when nobody listens to `steps`.
    ///
    /// # Errors
    /// Of any class; then nothing is recorded. What was downloaded is kept for the next attempt.
    pub async fn pull(
        &self,
        reference: &Reference,
        credentials: &Credentials,
        steps: &Steps,
    ) -> Result<Pulled, TransferError> {
        if self.store.substitutes().is_own(reference) {
            return self.own_base(reference, steps).await;
        }
        let repository = self.registries.repository(reference, credentials, Access::Pull).await?;
        let pull = self.pull_from(&repository, reference, steps);
        let pulled = tokio::select! {
            pulled = pull => pulled,
            () = steps.closed() => Err(TransferError::Cancelled),
        };
        match pulled {
            Err(TransferError::Registry(error)) => self.stand_in(reference, steps, error).await,
            Err(error) => {
                // What another attempt could use is kept, but not of an image that is damaged.
                if error.class() != Class::Cancelled {
                    blocking(&self.store, |store| {
                        store.clean_up();
                        Ok(())
                    })
                    .await?;
                }
                Err(error)
            }
            pulled => pulled,
        }
    }

    /// A base image of this host is up to date by nature.
    async fn own_base(
        &self,
        reference: &Reference,
        steps: &Steps,
    ) -> Result<Pulled, TransferError> {
        let name = reference.familiar();
        let image = blocking(&self.store, move |store| Ok(store.local_base(&name)?.id)).await?;
        steps.say(format!("{} is a base image of this host", reference.familiar())).await;
        Ok(Pulled { image, digest: None, newer: false, substitution: None })
    }

    /// Names the base of this host that stands in for `reference` when its registry is out of
    /// reach; otherwise the error stays.
    async fn stand_in(
        &self,
        reference: &Reference,
        steps: &Steps,
        error: DistributionError,
    ) -> Result<Pulled, TransferError> {
        let out_of_reach = matches!(
            error,
            DistributionError::Unreachable { .. } | DistributionError::Stalled { .. }
        );
        // What Microsoft once had on Docker Hub is gone from there.
        let gone = reference.domain() == "docker.io";
        let base = self.store.substitutes().stand_in(reference).filter(|_| out_of_reach || gone);
        let (Some(base), None) = (base, reference.digest()) else { return Err(error.into()) };
        let status = format!(
            "{} cannot be reached: {base} of this host stands in for {}",
            reference.domain(),
            reference.familiar()
        );
        tracing::warn!(%error, base, "a registry cannot be reached, a base stands in");
        let name = reference.clone();
        let (image, newer) = blocking(&self.store, move |store| {
            if let Ok(known) = store.resolve(&name.familiar()) {
                return Ok((known.id, false));
            }
            let image = store.local_base(&base)?;
            store.tag(&image.id, &name)?;
            Ok((image.id, true))
        })
        .await?;
        steps.say(status).await;
        Ok(Pulled { image, digest: None, newer, substitution: None })
    }

    async fn pull_from(
        &self,
        repository: &Repository,
        reference: &Reference,
        steps: &Steps,
    ) -> Result<Pulled, TransferError> {
        let described = self.describe(repository, reference).await?;
        let tag = reference.tag().map_or_else(|| described.digest.to_string(), str::to_owned);
        steps.about(tag, format!("Pulling from {}", reference.path())).await;
        // Nothing that arrives is collected before it is recorded.
        let lease = self.store.lease();
        let (base, substitution) = self.substitute(&described, reference, steps).await?;
        check_version(&described.config, substitution.is_some())?;
        let skipped = substitution.as_ref().map_or(0, |it| it.stated.len());
        let own: Vec<_> = described
            .config
            .rootfs
            .diff_ids
            .iter()
            .copied()
            .zip(described.layers.iter().cloned())
            .skip(skipped)
            .collect();
        let at_once = self.registries.options().downloads;
        let layers = Layers { store: &self.store, repository, steps, at_once };
        let layers = layers.fetch(base, own).await?;
        let arrival = Arrival {
            config: described.config_bytes,
            layers,
            substitution: substitution.clone(),
            manifest: Some(described.manifest.to_vec()),
            names: reference.digest().is_none().then(|| reference.clone()).into_iter().collect(),
            digests: vec![reference.with_digest(described.digest)],
            parent: None,
        };
        let name = reference.clone();
        let (image, newer) = blocking(&self.store, move |store| {
            let image = ImageId(Digest::of(&arrival.config));
            let newer = leads_elsewhere(store, &name, image);
            let image = store.admit(&lease, arrival)?;
            drop(lease);
            Ok((image, newer))
        })
        .await?;
        Ok(Pulled { image, digest: Some(described.digest), newer, substitution })
    }

    /// Fetches manifest and configuration of `reference`; of an index those for this host.
    pub(super) async fn describe(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Description, TransferError> {
        let image = || reference.familiar();
        let first = repository.manifest(&tag_or_digest(reference)).await?;
        let digest = first.digest;
        let fetched = if lists_manifests(&first.media_type) {
            let index: Index = parse(&first, "the index", reference)?;
            let chosen = select(&index.manifests, WindowsVersion::host())?;
            repository.manifest(&chosen.digest.to_string()).await?
        } else {
            first
        };
        let manifest: Manifest = parse(&fetched, "the manifest", reference)?;
        let config_bytes = fetch_document(repository, &manifest.config).await?;
        let config: ImageConfig = serde_json::from_slice(&config_bytes).map_err(|source| {
            TransferError::Document { what: "the configuration", image: image(), source }
        })?;
        check_config(&config, &manifest, image())?;
        let layers = manifest.layers;
        Ok(Description { digest, manifest: fetched.bytes, layers, config_bytes, config })
    }

    /// The layers that stand in for a base, and what is to be recorded of that.
    async fn substitute(
        &self,
        described: &Description,
        reference: &Reference,
        steps: &Steps,
    ) -> Result<(Vec<Layer>, Option<Substitution>), TransferError> {
        let (name, config) = (reference.clone(), described.config.clone());
        let layers = described.layers.clone();
        let found =
            blocking(&self.store, move |store| store.substitute(Some(&name), &config, &layers));
        let Some((layers, substitution)) = found.await? else { return Ok((Vec::new(), None)) };
        for layer in &substitution.stated {
            let status = format!("Substituted by {}", substitution.base);
            steps.of(layer.descriptor.digest, status).await;
        }
        Ok((layers, Some(substitution)))
    }
}

/// Whether a document of this media type is an index.
pub(super) fn lists_manifests(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json"
    )
}

/// Whether `name` leads to another image than `image`, or to none.
fn leads_elsewhere(store: &ImageStore, name: &Reference, image: ImageId) -> bool {
    store.resolve(&name.familiar()).map_or(true, |known| known.id != image)
}

/// Refuses images made for a newer Windows, unless their base is this host's.
fn check_version(config: &ImageConfig, substituted: bool) -> Result<(), ImageError> {
    let host = WindowsVersion::host();
    if !substituted && host.is_older_than(&config.os_version) {
        return Err(host.incompatible(&config.os_version));
    }
    Ok(())
}

/// Refuses images that cannot run here or do not fit together.
fn check_config(
    config: &ImageConfig,
    manifest: &Manifest,
    image: String,
) -> Result<(), TransferError> {
    if let Some(os) = config.foreign_system() {
        return Err(TransferError::ForeignSystem { os });
    }
    let (stated, there) = (config.rootfs.diff_ids.len(), manifest.layers.len());
    if stated == 0 || stated != there {
        return Err(TransferError::LayerCount { image, manifest: there, config: stated });
    }
    if stated > MAX_LAYERS {
        let limit = MAX_LAYERS as u64;
        return Err(ImageError::Limit { what: "the number of layers", limit }.into());
    }
    Ok(())
}

/// Reads a manifest or an index of `image`.
pub(super) fn parse<T: serde::de::DeserializeOwned>(
    fetched: &Fetched,
    what: &'static str,
    image: &Reference,
) -> Result<T, TransferError> {
    serde_json::from_slice(&fetched.bytes).map_err(|source| TransferError::Document {
        what,
        image: image.familiar(),
        source,
    })
}

/// What a registry is asked for.
pub(super) fn tag_or_digest(reference: &Reference) -> String {
    match reference.digest() {
        Some(digest) => digest.to_string(),
        None => reference.tag().unwrap_or("latest").to_owned(),
    }
}

/// Fetches a small blob into memory and checks its digest.
async fn fetch_document(
    repository: &Repository,
    descriptor: &Descriptor,
) -> Result<Vec<u8>, TransferError> {
    if descriptor.size > MAX_DOCUMENT {
        return Err(ImageError::Limit { what: "a document", limit: MAX_DOCUMENT }.into());
    }
    let mut stream = repository.blob(blob(descriptor), 0);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.chunk().await? {
        bytes.extend_from_slice(&piece);
    }
    let found = Digest::of(&bytes);
    if found != descriptor.digest {
        let (what, expected) = (format!("blob {}", descriptor.digest), descriptor.digest);
        return Err(ImageError::DigestMismatch { what, expected, found }.into());
    }
    Ok(bytes)
}
