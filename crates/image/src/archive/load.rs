//! `docker load`.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::spool::{Spool, Spooled};
use crate::content::{Descriptor, Index, LAYER, MAX_DOCUMENT, Manifest, check};
use crate::decompress::decompressed;
use crate::error::Attempt;
use crate::ingest::Blob;
use crate::{
    Arrival, ChainId, DiffId, Digest, ImageConfig, ImageError, ImageStore, Layer, LoadEvent,
    Loaded, Reference,
};

/// Most layers of an image; Docker's own bound (`MaxLayerDepth`).
const MAX_LAYERS: usize = 127;

/// Most images of an archive.
const MAX_IMAGES: usize = 1_000;

/// Deepest nesting of indexes in indexes.
const MAX_INDEXES: usize = 4;

/// One image of Docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// An image found in an archive.
struct Found<'a> {
    config: &'a Spooled,
    layers: Vec<&'a Spooled>,
    names: Vec<Reference>,
}

/// Whatever a descriptor of an index may lead to.
#[derive(Deserialize)]
struct AnyManifest {
    #[serde(default)]
    manifests: Option<serde_json::Value>,
}

impl ImageStore {
    /// Reads an archive of `docker save` or an OCI layout; tar, gzip or zstd.
    ///
    /// # Errors
    /// Any; then nothing of the archive is kept.
    pub fn load(
        &self,
        input: &mut (dyn Read + Send),
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Vec<Loaded>, ImageError> {
        let result = {
            let _recording = self.recording();
            self.load_all(input, progress)
        };
        if result.is_err() {
            // Layers and blobs that no image came to use go again; why the load failed matters more
            // than why they do not.
            if let Err(error) = self.collect() {
                tracing::warn!(%error, "cannot remove what a failed load left");
            }
        }
        result
    }

    fn load_all(
        &self,
        input: &mut (dyn Read + Send),
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Vec<Loaded>, ImageError> {
        let spool = Spool::read(input, self.content())?;
        let found = match spool.find("manifest.json") {
            Some(manifest) => docker_images(&spool, manifest)?,
            None => oci_images(&spool)?,
        };
        if found.len() > MAX_IMAGES {
            let limit = MAX_IMAGES as u64;
            return Err(ImageError::Limit { what: "the number of images", limit });
        }
        // All layers first: records are made when nothing can fail any more but the disk.
        let mut ready = Vec::new();
        for image in &found {
            let bytes = image.config.document()?;
            let config: ImageConfig = parse(&bytes, "the image configuration")?;
            check_config(&config, image)?;
            let layers = self.load_layers(image, &config, progress)?;
            ready.push((bytes, layers, image.names.clone()));
        }
        let mut loaded = Vec::new();
        for (config, layers, names) in ready {
            let id = self.record(Arrival {
                config,
                layers,
                names: names.clone(),
                ..Arrival::default()
            })?;
            if names.is_empty() {
                loaded.push(Loaded::Id(id));
            }
            loaded.extend(names.into_iter().map(|name| Loaded::Reference(name, id)));
        }
        Ok(loaded)
    }

    /// Takes in the layers of an image, except those that are there.
    fn load_layers(
        &self,
        image: &Found<'_>,
        config: &ImageConfig,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Vec<Layer>, ImageError> {
        let known = self.known_layers()?;
        let diffs = &config.rootfs.diff_ids;
        let mut layers: Vec<Layer> = Vec::new();
        for ((diff, chain), spooled) in diffs.iter().zip(ChainId::chain(diffs)).zip(&image.layers) {
            let mut report = |current| {
                let id = diff.0.short();
                progress(LoadEvent::Layer { id, current, total: spooled.length });
            };
            report(0);
            let layer = match known.get(&chain) {
                Some(layer) => layer.clone(),
                None => self.load_layer(spooled, *diff, &layers)?,
            };
            report(spooled.length);
            layers.push(layer);
        }
        Ok(layers)
    }

    fn load_layer(
        &self,
        spooled: &Spooled,
        diff: DiffId,
        parents: &[Layer],
    ) -> Result<Layer, ImageError> {
        let tar = decompressed(spooled.open()?)?;
        let (incoming, found) = self.layers().take_in(tar, parents, &mut |_| ())?;
        check(diff.0, found.0, || "a layer of the archive".into())?;
        // It is kept as it came: that blob is what a push must send.
        let content = self.content();
        let mut blob = content.begin()?;
        std::io::copy(&mut spooled.open()?, &mut blob)
            .attempt(|| "store a layer of the archive".into())?;
        let (digest, length) = content.finish(blob)?;
        let media_type = if digest == diff.0 { LAYER.to_owned() } else { format!("{LAYER}+gzip") };
        self.layers().install(incoming, diff, parents, Blob { digest, length, media_type })
    }

    /// The layers of all images, by chain.
    fn known_layers(&self) -> Result<BTreeMap<ChainId, Layer>, ImageError> {
        let snapshot = self.records().snapshot()?;
        let layers = snapshot.images.into_values().flat_map(|record| record.layers);
        Ok(layers
            .map(|layer| (layer.chain_id, layer))
            .filter(|(chain, _)| self.layers().directory(*chain).exists())
            .collect())
    }
}

/// Refuses images that cannot run here or do not fit together.
fn check_config(config: &ImageConfig, image: &Found<'_>) -> Result<(), ImageError> {
    let os = if config.os.is_empty() { "linux" } else { &config.os };
    if !os.eq_ignore_ascii_case("windows") {
        return Err(ImageError::ForeignSystem { os: os.chars().take(32).collect() });
    }
    let stated = config.rootfs.diff_ids.len();
    if stated == 0 || stated != image.layers.len() {
        return Err(ImageError::Damaged {
            what: "the image configuration".into(),
            problem: format!("states {stated} layers where the archive has {}", image.layers.len()),
        });
    }
    if stated > MAX_LAYERS {
        return Err(ImageError::Limit { what: "the number of layers", limit: MAX_LAYERS as u64 });
    }
    Ok(())
}

/// The images of Docker's `manifest.json`.
fn docker_images<'a>(spool: &'a Spool, manifest: &Spooled) -> Result<Vec<Found<'a>>, ImageError> {
    let images: Vec<DockerImage> = parse(&manifest.document()?, "manifest.json")?;
    let find = |name: &str| {
        spool
            .find(name)
            .ok_or_else(|| ImageError::MissingPart { what: name.chars().take(200).collect() })
    };
    let mut found = Vec::new();
    for image in images {
        let config = find(&image.config)?;
        check_name(&image.config, config.digest)?;
        let layers = image.layers.unwrap_or_default();
        let tags = image.repo_tags.unwrap_or_default();
        found.push(Found {
            config,
            layers: layers.iter().map(|name| find(name)).collect::<Result<_, _>>()?,
            names: tags.iter().map(|name| tag(name)).collect::<Result<_, _>>()?,
        });
    }
    Ok(found)
}

/// A configuration named by its digest must have it: `<64 digits>.json` or `blobs/sha256/…`.
fn check_name(name: &str, found: Digest) -> Result<(), ImageError> {
    let last = name.rsplit('/').next().unwrap_or(name);
    match Digest::from_hex(last.strip_suffix(".json").unwrap_or(last)) {
        Some(expected) => check(expected, found, || "the image configuration".into()),
        None => Ok(()),
    }
}

/// The images of an OCI layout.
fn oci_images(spool: &Spool) -> Result<Vec<Found<'_>>, ImageError> {
    let index = spool
        .find("index.json")
        .ok_or_else(|| ImageError::MissingPart { what: "manifest.json and index.json".into() })?;
    let index: Index = parse(&index.document()?, "index.json")?;
    let mut images: BTreeMap<Digest, Found<'_>> = BTreeMap::new();
    for entry in &index.manifests {
        let name = name_of(entry)?;
        let Some((digest, manifest)) = resolve(spool, entry, 0)? else { continue };
        let found = match images.entry(digest) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let layers = manifest.layers.iter().map(|layer| spool.blob(layer.digest));
                place.insert(Found {
                    config: spool.blob(manifest.config.digest)?,
                    layers: layers.collect::<Result<_, _>>()?,
                    names: Vec::new(),
                })
            }
        };
        found.names.extend(name);
    }
    Ok(images.into_values().collect())
}

/// The image manifest a descriptor leads to; of an index the first entry for Windows.
fn resolve(
    spool: &Spool,
    entry: &Descriptor,
    depth: usize,
) -> Result<Option<(Digest, Manifest)>, ImageError> {
    if depth > MAX_INDEXES {
        return Err(ImageError::Limit { what: "indexes in indexes", limit: MAX_INDEXES as u64 });
    }
    let bytes = spool.blob(entry.digest)?.document()?;
    let any: AnyManifest = parse(&bytes, "a manifest")?;
    if any.manifests.is_none() {
        return Ok(Some((entry.digest, parse(&bytes, "a manifest")?)));
    }
    let index: Index = parse(&bytes, "an index")?;
    let os = |entry: &Descriptor| {
        let platform = entry.platform.as_ref()?;
        platform.get("os")?.as_str().map(str::to_owned)
    };
    let chosen = index
        .manifests
        .iter()
        .find(|entry| os(entry).as_deref() == Some("windows"))
        .or_else(|| index.manifests.iter().find(|entry| os(entry).is_none()));
    match (chosen, index.manifests.first()) {
        (Some(entry), _) => resolve(spool, entry, depth + 1),
        (None, Some(other)) => {
            Err(ImageError::ForeignSystem { os: os(other).unwrap_or_else(|| "linux".into()) })
        }
        (None, None) => Ok(None),
    }
}

/// The name an index gives to one of its entries; a bare tag is none.
fn name_of(entry: &Descriptor) -> Result<Option<Reference>, ImageError> {
    let annotation = |key: &str| entry.annotations.get(key).and_then(|value| value.as_str());
    if let Some(name) = annotation("io.containerd.image.name") {
        return tag(name).map(Some);
    }
    match annotation("org.opencontainers.image.ref.name") {
        Some(name) if name.contains([':', '/']) => tag(name).map(Some),
        _ => Ok(None),
    }
}

/// Parses a name with a tag.
fn tag(name: &str) -> Result<Reference, ImageError> {
    let reference = Reference::parse(name)?.or_latest();
    if reference.digest().is_some() {
        return Err(ImageError::InvalidReference);
    }
    Ok(reference)
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, ImageError> {
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(ImageError::Limit { what: "a document", limit: MAX_DOCUMENT });
    }
    serde_json::from_slice(bytes).attempt(|| format!("read {what}"))
}
