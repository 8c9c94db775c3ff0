//! Errors of images, layers and sandboxes.

use std::io;

use oriel_hcs::Class;
use oriel_hive::HiveError;
use oriel_wclayer::LayerError;

use crate::{DiffId, Digest, ImageId};

/// Why an operation on images or sandboxes failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No image has that name. The text is Docker's.
    #[error("No such image: {name}")]
    NoSuchImage {
        /// The name asked for, with its tag.
        name: String,
    },
    /// An id prefix that fits several images. The text is Docker's.
    #[error("multiple IDs found with provided prefix: {prefix}")]
    AmbiguousId {
        /// The prefix.
        prefix: String,
    },
    /// A name that is no reference. The text is Docker's.
    #[error("invalid reference format")]
    InvalidReference,
    /// A repository with capitals. The text is Docker's.
    #[error("invalid reference format: repository name ({name}) must be lowercase")]
    UppercaseReference {
        /// The repository.
        name: String,
    },
    /// A digest that is not `sha256:` and 64 digits.
    #[error("invalid digest `{text}`")]
    InvalidDigest {
        /// What was given.
        text: String,
    },
    /// A container needs the name that was to be removed. The text is Docker's.
    #[error(
        "conflict: unable to remove repository reference \"{name}\" (must force) - container \
         {container} is using its referenced image {image}"
    )]
    ReferenceInUse {
        /// The reference.
        name: String,
        /// The container's short id.
        container: String,
        /// The image's short id.
        image: String,
    },
    /// Something needs the image that was to be removed. The text is Docker's.
    #[error("conflict: unable to delete {image} ({force}) - {reason}")]
    ImageInUse {
        /// The image's short id.
        image: String,
        /// `cannot be forced` or `must be forced`.
        force: &'static str,
        /// Who needs it, in Docker's words.
        reason: String,
    },
    /// No sandbox has that id.
    #[error("no sandbox {id}")]
    NoSuchSandbox {
        /// The container's id.
        id: String,
    },
    /// There is a sandbox of that id.
    #[error("sandbox {id} exists already")]
    SandboxExists {
        /// The container's id.
        id: String,
    },
    /// A sandbox id that cannot be a directory name.
    #[error("`{id}` is not a container id")]
    InvalidSandboxId {
        /// What was given.
        id: String,
    },
    /// A sandbox was to have a size no sandbox can have.
    #[error("a sandbox of {size} bytes is not possible: ask for {smallest} to {largest} bytes")]
    SandboxSize {
        /// What was asked for.
        size: u64,
        /// The least there can be.
        smallest: u64,
        /// The most there can be.
        largest: u64,
    },
    /// The host cannot limit the size of a sandbox.
    #[error("this host cannot limit the size of a sandbox: it lacks {missing}")]
    NoDisks {
        /// What is missing, and how to get it.
        missing: String,
    },
    /// A path is absent in a container.
    #[error("{path}: the system cannot find the path specified")]
    PathNotFound {
        /// The path as it was given.
        path: String,
    },
    /// A path in a container is not what the operation needs.
    #[error("{path}: {problem}")]
    BadPath {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An archive was to be unpacked into what is no directory. The text is Docker's.
    #[error("extraction point is not a directory")]
    NoDirectory,
    /// An archive has a file where a container has a directory, or the other way round. The text
    /// is Docker's.
    #[error("cannot overwrite {old} {path:?} with {new} {name:?}")]
    Clash {
        /// What is there.
        old: &'static str,
        /// Where.
        path: String,
        /// What the archive has.
        new: &'static str,
        /// Its name there.
        name: String,
    },
    /// A mount takes no changes. The text is Docker's.
    #[error("mounted volume is marked read-only")]
    ReadOnlyMount,
    /// A file of an archive cannot be put into a container.
    #[error("cannot unpack {name:?}: {problem}")]
    Member {
        /// Its name in the archive.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The image is for another system. The text is Docker's.
    #[error("cannot load {os} image on windows")]
    ForeignSystem {
        /// The image's system.
        os: String,
    },
    /// The image is for a newer Windows than this host presents. The text is Docker's.
    #[error("a Windows version {image}-based image is incompatible with a {host} host")]
    TooNew {
        /// The image's Windows.
        image: String,
        /// The host's Windows.
        host: String,
    },
    /// An index has nothing for Windows on this processor. The text is Docker's.
    #[error("no matching manifest for windows/amd64 {host} in the manifest list entries")]
    NoMatchingManifest {
        /// The host's Windows.
        host: String,
    },
    /// The image of this host that is to stand in for a foreign base is missing.
    #[error(
        "the image stands on a Windows base that is substituted by `{base}`, which is not here: \
         run `oriel base build`"
    )]
    NoSubstitute {
        /// Name of the image that is to stand in.
        base: String,
    },
    /// An image cannot be rebased, because it stands on no base of this host.
    #[error(
        "image {image} stands on no base image of this host, so there is nothing to replace: \
         rebase an image that was built FROM nanoserver or windowsservercore"
    )]
    NoBase {
        /// The image.
        image: ImageId,
    },
    /// Layers of an image need the base of this host.
    #[error(
        "image {image} needs the base it has: {}; build it without that, or rebase with --force",
        obstacles.join(", ")
    )]
    NeedsBase {
        /// The image.
        image: ImageId,
        /// What makes no sense on another base, a few examples.
        obstacles: Vec<String>,
    },
    /// The image has no layers to stand on.
    #[error("image {image} has no layers")]
    NoLayers {
        /// The image.
        image: ImageId,
    },
    /// Received or stored data is damaged or hostile.
    #[error("{what}: {problem}")]
    Damaged {
        /// What it is, such as `manifest.json` or `layer 2 of sha256:…`.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Data does not have the digest it was announced with.
    #[error("{what} has digest {found}, expected {expected}")]
    DigestMismatch {
        /// What it is.
        what: String,
        /// The digest announced.
        expected: Digest,
        /// The digest found.
        found: Digest,
    },
    /// An archive names something it does not hold.
    #[error("the archive lacks {what}")]
    MissingPart {
        /// What is not there.
        what: String,
    },
    /// An archive names a layer that it does not hold and that is not here.
    #[error(
        "layer {layer} is not in the archive, only that it may be had from {url}: pull the image, \
         or load an archive that holds all its layers"
    )]
    AbsentLayer {
        /// The layer.
        layer: DiffId,
        /// Where it may be had.
        url: String,
    },
    /// A bound on untrusted input was exceeded.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What is too large or too many.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// A layer cannot be read or written.
    #[error("cannot {attempt}")]
    Layer {
        /// What was attempted on what.
        attempt: String,
        /// Why it failed.
        #[source]
        source: LayerError,
    },
    /// A registry hive cannot be read or written.
    #[error("cannot {attempt}")]
    Hive {
        /// What was attempted on what.
        attempt: String,
        /// Why it failed.
        #[source]
        source: HiveError,
    },
    /// A document cannot be read or written.
    #[error("cannot {attempt}")]
    Json {
        /// What was attempted on what.
        attempt: String,
        /// Why it failed.
        #[source]
        source: serde_json::Error,
    },
    /// The records cannot be read or written.
    #[error("cannot {attempt}")]
    Database {
        /// What was attempted on what.
        attempt: &'static str,
        /// Why it failed.
        #[source]
        source: Box<redb::Error>,
    },
    /// The host refused.
    #[error("cannot {attempt}")]
    Io {
        /// What was attempted on what.
        attempt: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl ImageError {
    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NoSuchImage { .. }
            | Self::NoSuchSandbox { .. }
            | Self::PathNotFound { .. }
            | Self::NoMatchingManifest { .. }
            | Self::NoSubstitute { .. } => Class::NotFound,
            Self::AmbiguousId { .. }
            | Self::InvalidReference
            | Self::UppercaseReference { .. }
            | Self::InvalidDigest { .. }
            | Self::InvalidSandboxId { .. }
            | Self::SandboxSize { .. }
            | Self::BadPath { .. }
            | Self::NoDirectory
            | Self::Clash { .. }
            | Self::ReadOnlyMount
            | Self::Member { .. }
            | Self::NoBase { .. }
            | Self::MissingPart { .. }
            | Self::AbsentLayer { .. }
            | Self::Limit { .. }
            | Self::Layer { .. } => Class::Invalid,
            Self::ReferenceInUse { .. }
            | Self::ImageInUse { .. }
            | Self::SandboxExists { .. }
            | Self::NeedsBase { .. } => Class::Conflict,
            Self::NoDisks { .. }
            | Self::ForeignSystem { .. }
            | Self::NoLayers { .. }
            | Self::TooNew { .. } => Class::Unsupported,
            Self::Damaged { .. }
            | Self::DigestMismatch { .. }
            | Self::Hive { .. }
            | Self::Json { .. } => Class::Corrupt,
            Self::Database { .. } | Self::Io { .. } => Class::Host,
        }
    }
}

/// Adds what was attempted to an I/O error.
pub(crate) trait Attempt<T> {
    /// Names the attempt, such as `make the sandbox of 3f2a`.
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, ImageError>;
}

impl<T> Attempt<T> for io::Result<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, ImageError> {
        self.map_err(|source| ImageError::Io { attempt: what(), source })
    }
}

impl<T> Attempt<T> for Result<T, LayerError> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, ImageError> {
        self.map_err(|source| ImageError::Layer { attempt: what(), source })
    }
}

impl<T> Attempt<T> for Result<T, HiveError> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, ImageError> {
        self.map_err(|source| ImageError::Hive { attempt: what(), source })
    }
}

impl<T> Attempt<T> for Result<T, serde_json::Error> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, ImageError> {
        self.map_err(|source| ImageError::Json { attempt: what(), source })
    }
}
