//! The image store: names, images and their layers.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::{
    ChainId, Change, DiffId, Digest, ImageConfig, ImageError, ImageId, Reference, RunConfig,
    Sandbox, SandboxFiles, SandboxSettings,
};

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// The layer with all below it.
    pub chain_id: ChainId,
    /// Digest of the stored blob.
    pub blob: Digest,
    /// Length of the stored blob in bytes.
    pub compressed_size: u64,
    /// Bytes of all files in the layer.
    pub size: u64,
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
    /// Its layers, base first.
    pub layers: Vec<Layer>,
    /// When a name was last given to it.
    pub last_tagged: Option<SystemTime>,
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
    /// The sandbox whose changes become a layer; `None` for a step that changes only `config`.
    pub sandbox: Option<String>,
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
    root: PathBuf,
    database: Arc<redb::Database>,
}

impl ImageStore {
    /// Opens the store below `root`, makes what is missing and removes what a crash left half made.
    ///
    /// # Errors
    /// [`ImageError::Io`], [`ImageError::Database`].
    pub fn open(root: &Path, database: Arc<redb::Database>) -> Result<Self, ImageError> {
        Ok(Self { inner: Arc::new(Inner { root: root.to_owned(), database }) })
    }

    /// Finds an image by `name[:tag]`, `name@digest`, `sha256:id`, id or unique id prefix.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::InvalidReference`], [`ImageError::AmbiguousId`].
    pub fn resolve(&self, _name: &str) -> Result<Image, ImageError> {
        let _ = (&self.inner.root, &self.inner.database);
        todo!()
    }

    /// All images, newest first.
    ///
    /// # Errors
    /// [`ImageError::Database`], [`ImageError::Damaged`].
    pub fn list(&self) -> Result<Vec<Image>, ImageError> {
        todo!()
    }

    /// Gives `image` the name `reference`, taking it from the image that has it.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::InvalidReference`] for a name with a digest.
    pub fn tag(&self, _image: &ImageId, _reference: &Reference) -> Result<(), ImageError> {
        todo!()
    }

    /// Removes a name, and the image with its unused parents when that was the last one.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::ReferenceInUse`], [`ImageError::ImageInUse`].
    pub fn remove(
        &self,
        _name: &str,
        _force: bool,
        _noprune: bool,
        _in_use: &dyn Fn(&ImageId) -> Option<InUse>,
    ) -> Result<Vec<Removed>, ImageError> {
        todo!()
    }

    /// Writes the images `names` as `docker save` does: an OCI layout with Docker's manifest.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`] before the first byte, [`ImageError::Io`].
    pub fn save(&self, _names: &[String], _output: &mut dyn Write) -> Result<(), ImageError> {
        todo!()
    }

    /// Reads an archive of `docker save` or an OCI layout; tar, gzip or zstd.
    ///
    /// # Errors
    /// Any; then nothing of the archive is kept.
    pub fn load(
        &self,
        _input: &mut dyn Read,
        _progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Vec<Loaded>, ImageError> {
        todo!()
    }

    /// Takes in a base image. The same layer and configuration again is no work.
    ///
    /// # Errors
    /// [`ImageError::Layer`], [`ImageError::Io`].
    pub fn import_base(&self, _base: &BaseImport) -> Result<ImageId, ImageError> {
        todo!()
    }

    /// Makes the sandbox of container `id` on top of `image`.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::SandboxExists`], [`ImageError::Hive`].
    pub fn create_sandbox(
        &self,
        _id: &str,
        _image: &ImageId,
        _settings: &SandboxSettings,
    ) -> Result<Sandbox, ImageError> {
        todo!()
    }

    /// The sandbox of container `id`.
    ///
    /// # Errors
    /// [`ImageError::NoSuchSandbox`].
    pub fn sandbox(&self, _id: &str) -> Result<Sandbox, ImageError> {
        todo!()
    }

    /// Removes the sandbox of container `id`; there being none is no error.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn remove_sandbox(&self, _id: &str) -> Result<(), ImageError> {
        todo!()
    }

    /// Ids of all sandboxes, sorted.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn sandboxes(&self) -> Result<Vec<String>, ImageError> {
        todo!()
    }

    /// How the files of `sandbox` differ from its image, sorted by path.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn changes(&self, _sandbox: &Sandbox) -> Result<Vec<Change>, ImageError> {
        todo!()
    }

    /// Makes an image of a sandbox's changes, or of a new configuration alone.
    ///
    /// The container must not run, or its registry must have been flushed.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::NoSuchSandbox`], [`ImageError::Hive`].
    pub fn commit(&self, _commit: &Commit) -> Result<ImageId, ImageError> {
        todo!()
    }

    /// The files of `sandbox`, for a container that does not run.
    #[must_use]
    pub fn sandbox_files(&self, _sandbox: &Sandbox) -> SandboxFiles {
        todo!()
    }
}
