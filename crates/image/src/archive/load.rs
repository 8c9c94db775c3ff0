//! `docker load`.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::thread;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::spool::{Jobs, Spool, Spooled};
use crate::content::{BUFFER, Descriptor, Index, LAYER, MAX_DOCUMENT, Manifest, check};
use crate::decompress::{Compression, decompressed};
use crate::digest::Hasher;
use crate::error::Attempt;
use crate::ingest::Blob;
use crate::pipeline::Meter;
use crate::{
    Arrival, ChainId, DiffId, Digest, ImageConfig, ImageError, ImageStore, Layer, LoadEvent,
    Loaded, MAX_LAYERS, Reference,
};

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
    /// Foreign layers by diff id.
    #[serde(default)]
    layer_sources: Option<BTreeMap<String, Descriptor>>,
}

/// An image found in an archive.
struct Found<'a> {
    config: &'a Spooled,
    layers: Vec<Source<'a>>,
    names: Vec<Reference>,
    /// What Docker's manifest says of foreign layers, by diff id.
    foreign: BTreeMap<String, Descriptor>,
    /// The manifest it came with, if it is one a registry would know.
    manifest: Option<Vec<u8>>,
}

/// A layer of an image in an archive.
struct Source<'a> {
    /// What the archive calls it.
    name: String,
    /// Its bytes; a foreign layer or a damaged archive has none.
    data: Option<&'a Spooled>,
    /// What a manifest says of its blob.
    stated: Option<Descriptor>,
}

/// What is common to all layers of an archive.
struct Loading<'a> {
    /// The layers that are here, by chain.
    known: BTreeMap<ChainId, Layer>,
    progress: &'a mut dyn FnMut(LoadEvent),
}

impl Found<'_> {
    /// What the archive says of a layer.
    fn stated<'a>(&'a self, diff: DiffId, source: &'a Source<'_>) -> Option<&'a Descriptor> {
        source.stated.as_ref().or_else(|| self.foreign.get(&diff.to_string()))
    }

    /// The same, or what the layer's bytes tell.
    fn describe(&self, diff: DiffId, source: &Source<'_>) -> Descriptor {
        let length = source.data.map_or(0, |data| data.length);
        let stated = self.stated(diff, source).cloned();
        stated.unwrap_or_else(|| Descriptor::new(LAYER, diff.0, length))
    }
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
            self.clean_up();
        }
        result
    }

    fn load_all(
        &self,
        input: &mut (dyn Read + Send),
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Vec<Loaded>, ImageError> {
        thread::scope(|scope| {
            let (jobs, digest) = Jobs::queue();
            scope.spawn(digest);
            let spool = Spool::read(input, self.content(), &jobs)?;
            drop(jobs);
            self.load_spooled(&spool, progress)
        })
    }

    fn load_spooled(
        &self,
        spool: &Spool,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Vec<Loaded>, ImageError> {
        let found = match spool.find("manifest.json") {
            Some(manifest) => docker_images(spool, manifest)?,
            None => oci_images(spool)?,
        };
        if found.len() > MAX_IMAGES {
            let limit = MAX_IMAGES as u64;
            return Err(ImageError::Limit { what: "the number of images", limit });
        }
        // All layers first: records are made when nothing can fail any more but the disk.
        let mut loading = Loading { known: self.known_layers()?, progress };
        let mut arrivals = Vec::new();
        for image in found {
            let bytes = image.config.document()?;
            let config: ImageConfig = parse(&bytes, "the image configuration")?;
            check_config(&config, &image)?;
            let descriptors: Vec<_> = config
                .rootfs
                .diff_ids
                .iter()
                .zip(&image.layers)
                .map(|(diff, source)| image.describe(*diff, source))
                .collect();
            let base = self.substitute(image.names.first(), &config, &descriptors)?;
            let (base, substitution) =
                base.map_or((Vec::new(), None), |(layers, it)| (layers, Some(it)));
            let skipped = substitution.as_ref().map_or(0, |it| it.stated.len());
            let layers = self.load_layers(&image, &config, (base, skipped), &mut loading)?;
            arrivals.push(Arrival {
                config: bytes,
                layers,
                substitution,
                manifest: image.manifest,
                names: image.names,
                ..Arrival::default()
            });
        }
        let mut loaded = Vec::new();
        for arrival in arrivals {
            let names = arrival.names.clone();
            let id = self.record(arrival)?;
            if names.is_empty() {
                loaded.push(Loaded::Id(id));
            }
            loaded.extend(names.into_iter().map(|name| Loaded::Reference(name, id)));
        }
        Ok(loaded)
    }

    /// Takes in the layers of an image, except those that are there. The first `skipped` are those
    /// that `layers` stand in for.
    fn load_layers(
        &self,
        image: &Found<'_>,
        config: &ImageConfig,
        (mut layers, skipped): (Vec<Layer>, usize),
        loading: &mut Loading<'_>,
    ) -> Result<Vec<Layer>, ImageError> {
        let pairs = config.rootfs.diff_ids.iter().zip(&image.layers);
        for (diff, source) in pairs.skip(skipped) {
            let chain = ChainId::above(&layers, *diff);
            let layer = match (loading.known.get(&chain), source.data) {
                (Some(layer), Some(spooled)) => {
                    verify(spooled, layer)?;
                    layer.clone()
                }
                (Some(layer), None) => layer.clone(),
                (None, None) => return Err(absent(*diff, source, image)),
                (None, Some(spooled)) => {
                    let id = diff.0.short();
                    self.load_layer(spooled, *diff, &layers, &mut |current| {
                        let total = spooled.length;
                        (loading.progress)(LoadEvent::Layer { id: id.clone(), current, total });
                    })?
                }
            };
            if let (Some(spooled), Some(stated)) = (source.data, &source.stated) {
                check(stated.digest, spooled.digest()?, || source.name.clone())?;
            }
            loading.known.insert(chain, layer.clone());
            layers.push(layer);
        }
        Ok(layers)
    }

    /// Takes in a layer, whose blob is kept as it came: it is what a push must send.
    fn load_layer(
        &self,
        spooled: &Spooled,
        diff: DiffId,
        parents: &[Layer],
        progress: &mut dyn FnMut(u64),
    ) -> Result<Layer, ImageError> {
        progress(0);
        let file = spooled.open()?;
        let compression = Compression::read(spooled.open()?).attempt(|| "read a layer".into())?;
        let media_type = compression.layer().ok_or_else(|| ImageError::Damaged {
            what: format!("layer {diff}"),
            problem: "no registry takes layers compressed with bzip2 or xz; compress the archive \
                      instead"
                .into(),
        })?;
        let (incoming, found) = thread::scope(|scope| {
            let synced = scope.spawn(|| file.sync_all());
            let taken = match compression {
                Compression::None => {
                    let tar = BufReader::with_capacity(BUFFER, spooled.open()?);
                    let incoming = self.layers().unpack(tar, parents, progress)?;
                    (incoming, DiffId(spooled.digest()?))
                }
                _ => {
                    let read = Meter::default();
                    let tar = decompressed(read.count(spooled.open()?))?;
                    let mut progress = |_| progress(read.total());
                    self.layers().take_in(tar, parents, &mut progress)?
                }
            };
            let synced = synced.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            synced.attempt(|| "store a layer of the archive".into())?;
            Ok(taken)
        })?;
        check(diff.0, found.0, || "a layer of the archive".into())?;
        let (digest, length) = spooled.keep(self.content())?;
        let blob = Blob { digest, length, media_type: media_type.to_owned() };
        let layer = self.layers().install(incoming, diff, parents, blob)?;
        progress(spooled.length);
        Ok(layer)
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

/// Checks the archive's copy of a layer that is here already: an archive is damaged or it is not,
/// wherever it is loaded.
fn verify(spooled: &Spooled, layer: &Layer) -> Result<(), ImageError> {
    let attempt = || "read a layer of the archive".to_owned();
    let digest = spooled.digest()?;
    if digest == layer.diff_id.0 || digest == layer.blob {
        return Ok(());
    }
    let mut hasher = Hasher::new();
    let mut tar = BufReader::with_capacity(BUFFER, decompressed(spooled.open()?)?);
    io::copy(&mut tar, &mut hasher).attempt(attempt)?;
    check(layer.diff_id.0, hasher.finish(), || "a layer of the archive".into())
}

/// A layer that is neither in the archive nor here.
fn absent(diff: DiffId, source: &Source<'_>, image: &Found<'_>) -> ImageError {
    match image.stated(diff, source).and_then(|stated| stated.urls.first()) {
        Some(url) => ImageError::AbsentLayer { layer: diff, url: url.chars().take(200).collect() },
        None => ImageError::MissingPart { what: source.name.clone() },
    }
}

/// Refuses images that cannot run here or do not fit together.
fn check_config(config: &ImageConfig, image: &Found<'_>) -> Result<(), ImageError> {
    if let Some(os) = config.foreign_system() {
        return Err(ImageError::ForeignSystem { os });
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
    let short = |name: &str| name.chars().take(200).collect::<String>();
    let mut found = Vec::new();
    for image in images {
        let config = spool
            .find(&image.config)
            .ok_or_else(|| ImageError::MissingPart { what: short(&image.config) })?;
        check_name(&image.config, config.digest()?)?;
        let layer =
            |name: &String| Source { name: short(name), data: spool.find(name), stated: None };
        let tags = image.repo_tags.unwrap_or_default();
        found.push(Found {
            config,
            layers: image.layers.unwrap_or_default().iter().map(layer).collect(),
            names: tags.iter().map(|name| tag(name)).collect::<Result<_, _>>()?,
            foreign: image.layer_sources.unwrap_or_default(),
            manifest: None,
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
        let Some((digest, bytes, manifest)) = resolve(spool, entry, 0)? else { continue };
        let found = match images.entry(digest) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let layers = manifest.layers.iter().map(|layer| oci_layer(spool, layer));
                place.insert(Found {
                    config: spool.checked(manifest.config.digest)?,
                    layers: layers.collect(),
                    names: Vec::new(),
                    foreign: BTreeMap::new(),
                    manifest: Some(bytes),
                })
            }
        };
        found.names.extend(name);
    }
    Ok(images.into_values().collect())
}

/// A layer of a manifest.
fn oci_layer<'a>(spool: &'a Spool, layer: &Descriptor) -> Source<'a> {
    Source {
        name: format!("blobs/sha256/{}", layer.digest.hex()),
        data: spool.blob(layer.digest),
        stated: Some(layer.clone()),
    }
}

/// The image manifest a descriptor leads to; of an index the first entry for Windows.
fn resolve(
    spool: &Spool,
    entry: &Descriptor,
    depth: usize,
) -> Result<Option<(Digest, Vec<u8>, Manifest)>, ImageError> {
    if depth > MAX_INDEXES {
        return Err(ImageError::Limit { what: "indexes in indexes", limit: MAX_INDEXES as u64 });
    }
    let bytes = spool.checked(entry.digest)?.document()?;
    let any: AnyManifest = parse(&bytes, "a manifest")?;
    if any.manifests.is_none() {
        let manifest = parse(&bytes, "a manifest")?;
        return Ok(Some((entry.digest, bytes, manifest)));
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
