//! The image store: names, images and their layers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::content::{Content, Descriptor, GZIP_LAYER, Index};
use crate::error::Attempt;
use crate::ingest::LayerStore;
use crate::lease::{Lease, Leases};
use crate::records::{Batch, ImageRecord, Records, Snapshot};
use crate::registry::RegistryCache;
use crate::scratch::Disks;
use crate::steps::Held;
use crate::{
    Arrival, ChainId, DiffId, Digest, ImageConfig, ImageError, ImageId, Reference, RegistryChange,
    RunConfig, Substitutes, Substitution,
};

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// The layer with all below it.
    pub chain_id: ChainId,
    /// Digest of the stored blob.
    pub blob: Digest,
    /// Media type of the stored blob, in OCI's words.
    #[serde(default = "gzip_layer")]
    pub media_type: String,
    /// Length of the stored blob in bytes.
    pub compressed_size: u64,
    /// Length of the uncompressed tar in bytes; records of older versions lack it.
    #[serde(default)]
    pub tar_size: Option<u64>,
    /// Bytes of all files in the layer.
    pub size: u64,
}

/// What every stored blob was before there were other kinds.
fn gzip_layer() -> String {
    GZIP_LAYER.to_owned()
}

/// An image in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Digest of the configuration.
    pub id: ImageId,
    /// Digest of the manifest, which a registry or `image@digest` names.
    pub manifest: Digest,
    /// The names it has, sorted.
    pub references: Vec<Reference>,
    /// Its configuration.
    pub config: ImageConfig,
    /// The image it was built on, when it was built here.
    pub parent: Option<ImageId>,
    /// Bytes of all files in all layers.
    pub size: u64,
    /// Its layers here, base first; those of a substituted base are this host's.
    pub layers: Vec<Layer>,
    /// What stands in for its base, if it is not its own.
    pub substitution: Option<Substitution>,
    /// Repositories that know it, each with the digest of its manifest or index there.
    pub digests: Vec<Reference>,
    /// When a name was last given to it.
    pub last_tagged: Option<SystemTime>,
}

impl Image {
    /// Bytes of all files in each layer that its configuration states, base first. The layers of a
    /// substituted base are not here: the first of them counts for what stands in.
    #[must_use]
    pub fn layer_sizes(&self) -> Vec<u64> {
        let (base, stated) = self
            .substitution
            .as_ref()
            .map_or((0, 0), |substitution| (substitution.base_layers, substitution.stated.len()));
        let mut sizes = vec![0; stated];
        if let Some(first) = sizes.first_mut() {
            *first = self.layers.iter().take(base).map(|layer| layer.size).sum();
        }
        sizes.extend(self.layers.iter().skip(base).map(|layer| layer.size));
        sizes
    }
}

/// A base image to be imported.
#[derive(Clone, Debug, PartialEq)]
pub struct BaseImport {
    /// Repository, such as `nanoserver`; tagged `latest` and `ltsc2022`.
    pub name: String,
    /// Uncompressed layer tar; hives in `Files/Windows/System32/config`.
    pub layer_tar: PathBuf,
    /// Configuration; `rootfs` is filled in by the import.
    pub config: ImageConfig,
}

/// What a commit makes an image of.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// The sandbox whose changes become a layer; `None` for a step that changes only `config`, or
    /// only the registry.
    pub sandbox: Option<String>,
    /// Where the container of `sandbox` wrote its registry to, when it runs.
    pub registry: Option<PathBuf>,
    /// Without a sandbox: what the new layer changes in the registry.
    pub registry_change: Option<RegistryChange>,
    /// The image below.
    pub parent: ImageId,
    /// How containers of the new image run.
    pub config: RunConfig,
    /// The command, for the history.
    pub created_by: String,
    /// Why, for the history.
    pub comment: String,
    /// Who.
    pub author: String,
    /// When.
    pub created: SystemTime,
    /// Times of the layer's files after this one become this one, and those that say when a file
    /// was read go: so the same files make the same layer.
    pub latest: Option<SystemTime>,
}

/// A container that uses an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    /// The container's short id.
    pub container: String,
    /// Whether it runs.
    pub running: bool,
}

/// What a removal did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone; in its familiar form.
    Untagged(String),
    /// An image is gone.
    Deleted(ImageId),
}

/// Progress of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadEvent {
    /// A layer is being taken in.
    Layer {
        /// First 12 digits of its diff id.
        id: String,
        /// Bytes done.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
}

/// What a load brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// An image with a name.
    Reference(Reference, ImageId),
    /// An image without one.
    Id(ImageId),
}

/// Images, layers and sandboxes of one data root. Cheap to clone; all clones share the state.
#[derive(Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

struct Inner {
    content: Content,
    layers: LayerStore,
    records: Records,
    registry: RegistryCache,
    substitutes: Substitutes,
    disks: Disks,
    /// Who keeps what is not yet recorded.
    leases: Leases,
    /// Which images builds stand on.
    held: Held,
}

impl ImageStore {
    /// Opens the store below `root`, makes what is missing and removes what a crash left half made.
    /// Bases are substituted as Oriel does by default.
    ///
    /// # Errors
    /// [`ImageError::Io`], [`ImageError::Database`].
    pub fn open(root: &Path, database: Arc<redb::Database>) -> Result<Self, ImageError> {
        Self::open_with(root, database, Substitutes::default())
    }

    /// The same, with bases substituted as `substitutes` says.
    ///
    /// # Errors
    /// [`ImageError::Io`], [`ImageError::Database`].
    pub fn open_with(
        root: &Path,
        database: Arc<redb::Database>,
        substitutes: Substitutes,
    ) -> Result<Self, ImageError> {
        Disks::clear(&root.join("windowsfilter"))?;
        let store = Self {
            inner: Arc::new(Inner {
                content: Content::open(root.join("content"))?,
                layers: LayerStore::open(root.join("windowsfilter"))?,
                records: Records::open(database)?,
                registry: RegistryCache::open(root.join("registry-cache"))?,
                substitutes,
                disks: Disks::default(),
                leases: Leases::default(),
                held: Held::default(),
            }),
        };
        store.index_steps()?;
        store.collect()?;
        Ok(store)
    }

    /// When and by what bases are substituted.
    #[must_use]
    pub fn substitutes(&self) -> &Substitutes {
        &self.inner.substitutes
    }

    /// Finds an image by `name[:tag]`, `name@digest`, `sha256:id`, id or unique id prefix.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::InvalidReference`], [`ImageError::AmbiguousId`].
    pub fn resolve(&self, name: &str) -> Result<Image, ImageError> {
        let snapshot = self.records().snapshot()?;
        let (id, _) = find(&snapshot, name)?;
        self.image(&snapshot, id)
    }

    /// The image of that id.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`].
    pub fn image_by_id(&self, id: &ImageId) -> Result<Image, ImageError> {
        match self.records().one(id)? {
            Some((record, names)) => self.with_configuration(*id, &record, names),
            None => Err(ImageError::NoSuchImage { name: id.to_string() }),
        }
    }

    /// All images, newest first.
    ///
    /// # Errors
    /// [`ImageError::Database`], [`ImageError::Damaged`].
    pub fn list(&self) -> Result<Vec<Image>, ImageError> {
        let snapshot = self.records().snapshot()?;
        let ids = snapshot.images.keys();
        let mut images = ids.map(|id| self.image(&snapshot, *id)).collect::<Result<Vec<_>, _>>()?;
        images.sort_by(|a, b| b.config.created.cmp(&a.config.created).then(a.id.cmp(&b.id)));
        Ok(images)
    }

    /// Gives `image` the name `reference`, taking it from the image that has it.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::InvalidReference`] for a name with a digest.
    pub fn tag(&self, image: &ImageId, reference: &Reference) -> Result<(), ImageError> {
        if reference.digest().is_some() {
            return Err(ImageError::InvalidReference);
        }
        let _recording = self.recording();
        let _editing = self.records().edit();
        let snapshot = self.records().snapshot()?;
        let record = snapshot
            .images
            .get(image)
            .ok_or_else(|| ImageError::NoSuchImage { name: image.to_string() })?;
        let record = ImageRecord { last_tagged: Some(now_seconds()), ..record.clone() };
        self.records().apply(&Batch {
            put: vec![(*image, record)],
            name: vec![(reference.clone().or_latest(), *image)],
            ..Batch::default()
        })?;
        self.write_index()
    }

    /// Takes in a base image. The same layer and configuration again is no work.
    ///
    /// # Errors
    /// [`ImageError::Layer`], [`ImageError::Io`].
    pub fn import_base(&self, base: &BaseImport) -> Result<ImageId, ImageError> {
        let _recording = self.recording();
        let attempt = || format!("open {}", base.layer_tar.display());
        let tar = fs_err::File::open(&base.layer_tar).attempt(attempt)?;
        let layer = self.inner.layers.take_in_compressing(tar, &self.inner.content)?;
        let mut config = base.config.clone();
        config.rootfs = crate::RootFs { diff_ids: vec![layer.diff_id], ..config.rootfs };
        let name = Reference::parse(&base.name)?;
        let names = vec![name.with_tag("latest")?, name.with_tag("ltsc2022")?];
        self.record(Arrival {
            config: serde_json::to_vec(&config).attempt(|| "write a configuration".into())?,
            layers: vec![layer],
            names,
            ..Arrival::default()
        })
    }

    /// Puts an image's record and its configuration together.
    pub(crate) fn image(&self, snapshot: &Snapshot, id: ImageId) -> Result<Image, ImageError> {
        let record = snapshot
            .images
            .get(&id)
            .ok_or_else(|| ImageError::NoSuchImage { name: id.to_string() })?;
        self.with_configuration(id, record, snapshot.names_of(&id))
    }

    fn with_configuration(
        &self,
        id: ImageId,
        record: &ImageRecord,
        references: Vec<Reference>,
    ) -> Result<Image, ImageError> {
        let bytes = self.inner.content.get(id.0)?;
        let config = serde_json::from_slice(&bytes)
            .attempt(|| format!("read the configuration of image {id}"))?;
        Ok(Image {
            id,
            manifest: record.manifest,
            references,
            config,
            parent: record.parent,
            size: record.layers.iter().map(|layer| layer.size).sum(),
            layers: record.layers.clone(),
            substitution: record.substitution.clone(),
            digests: record.digests.clone(),
            last_tagged: record
                .last_tagged
                .map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
        })
    }

    pub(crate) fn records(&self) -> &Records {
        &self.inner.records
    }

    pub(crate) fn content(&self) -> &Content {
        &self.inner.content
    }

    pub(crate) fn layers(&self) -> &LayerStore {
        &self.inner.layers
    }

    pub(crate) fn registry(&self) -> &RegistryCache {
        &self.inner.registry
    }

    pub(crate) fn disks(&self) -> &Disks {
        &self.inner.disks
    }

    pub(crate) fn leases(&self) -> &Leases {
        &self.inner.leases
    }

    pub(crate) fn held(&self) -> &Held {
        &self.inner.held
    }

    /// Keeps [`ImageStore::collect`] from taking what is not recorded yet.
    pub(crate) fn recording(&self) -> Lease {
        self.lease()
    }

    /// Removes blobs, layers and registries that no image has. Called by [`ImageStore::collect`].
    pub(crate) fn sweep(&self) -> Result<(), ImageError> {
        let snapshot = self.records().snapshot()?;
        let mut blobs: std::collections::BTreeSet<Digest> = Default::default();
        let mut chains: std::collections::BTreeSet<String> = Default::default();
        let mut registries: std::collections::BTreeSet<String> = Default::default();
        for (id, record) in &snapshot.images {
            blobs.extend([id.0, record.manifest]);
            blobs.extend(record.layers.iter().map(|layer| layer.blob));
            chains.extend(record.layers.iter().map(|layer| layer.chain_id.0.hex()));
        }
        for sandbox in self.sandboxes()? {
            // A container keeps its layers when its image is removed by force.
            chains.extend(self.sandbox_chain(&sandbox)?.iter().map(|chain| chain.0.hex()));
            registries.insert(self.sandbox_entry(&sandbox)?);
        }
        for digest in self.content().digests()? {
            if !blobs.contains(&digest) {
                self.content().remove(digest)?;
            }
        }
        self.layers().retain(&chains)?;
        self.registry().retain(&chains, &registries)
    }

    /// Brings `index.json` up to date.
    pub(crate) fn write_index(&self) -> Result<(), ImageError> {
        let snapshot = self.records().snapshot()?;
        let mut manifests = Vec::new();
        for (id, record) in &snapshot.images {
            let names = snapshot.names_of(id);
            let size = fs_err::metadata(self.content().path(record.manifest))
                .attempt(|| format!("read the manifest of image {id}"))?
                .len();
            let mut add = |annotations| {
                let descriptor = Descriptor::new(&record.manifest_type, record.manifest, size);
                manifests.push(Descriptor { annotations, ..descriptor });
            };
            if names.is_empty() {
                add(Map::new());
            }
            names.iter().for_each(|name| add(annotations(name)));
        }
        let index = Index { schema_version: 2, media_type: String::new(), manifests };
        self.content().write_index(&index)
    }
}

/// The annotations by which Docker and containerd find names in an index.
pub(crate) fn annotations(name: &Reference) -> Map<String, Value> {
    let tag = name.tag().unwrap_or_default();
    Map::from_iter([
        ("io.containerd.image.name".to_owned(), Value::from(name.to_string())),
        ("org.opencontainers.image.ref.name".to_owned(), Value::from(tag)),
    ])
}

/// Fewest digits of an id that name an image.
const MIN_PREFIX: usize = 1;

/// Finds the image `name` and the reference it was found by, if it was by one.
pub(crate) fn find(
    snapshot: &Snapshot,
    name: &str,
) -> Result<(ImageId, Option<Reference>), ImageError> {
    let missing = |name: String| ImageError::NoSuchImage { name };
    let bare = name.strip_prefix("sha256:").unwrap_or(name);
    if let Some(digest) = Digest::from_hex(bare) {
        let id = ImageId(digest);
        let known = snapshot.images.contains_key(&id);
        return known.then_some((id, None)).ok_or_else(|| missing(name.to_owned()));
    }
    if !name.starts_with("sha256:") {
        let reference = Reference::parse(name)?;
        if let Some(digest) = reference.digest() {
            let same = |other: &Reference| other.repository() == reference.repository();
            let of_digest = snapshot.images.iter().find(|(id, record)| {
                let known = |other: &Reference| other.digest() == Some(digest) && same(other);
                record.digests.iter().any(known)
                    || (record.manifest == digest && snapshot.names_of(id).iter().any(same))
            });
            return of_digest.map(|(id, _)| (*id, None)).ok_or_else(|| missing(name.to_owned()));
        }
        let tagged = reference.clone().or_latest();
        if let Some(id) = snapshot.references.get(&tagged) {
            return Ok((*id, Some(tagged)));
        }
        if reference.tag().is_some() {
            return Err(missing(tagged.familiar()));
        }
    }
    let hex = bare.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut fitting = snapshot
        .images
        .keys()
        .filter(|id| hex && bare.len() >= MIN_PREFIX && id.0.hex().starts_with(bare));
    match (fitting.next(), fitting.next()) {
        (Some(id), None) => Ok((*id, None)),
        (Some(_), Some(_)) => Err(ImageError::AmbiguousId { prefix: name.to_owned() }),
        (None, _) => Err(missing(match Reference::parse(name) {
            Ok(reference) => reference.or_latest().familiar(),
            Err(_) => name.to_owned(),
        })),
    }
}

/// Seconds after 1970.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
