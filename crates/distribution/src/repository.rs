//! One repository on one registry.

use std::io;

use bytes::Bytes;
use oriel_image::Digest;
use tokio::io::AsyncRead;

use crate::DistributionError;

/// A manifest, as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Digest of `bytes`.
    pub digest: Digest,
    /// One of the four media types of manifests and lists of manifests.
    pub media_type: String,
    /// The manifest, byte for byte.
    pub bytes: Bytes,
}

/// What a registry says of a manifest without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A blob to fetch: what a manifest's descriptor says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its digest. The caller compares.
    pub digest: Digest,
    /// Its size in bytes. No more is ever handed out.
    pub size: u64,
    /// Where else a foreign layer may be had. Only `http` and `https` are followed.
    pub urls: Vec<String>,
}

/// One repository with the right to pull or push. Cheap to clone.
#[derive(Clone)]
pub struct Repository;

/// The bytes of a blob, as they come. Dropping it ends the transfer.
pub struct BlobStream;

impl BlobStream {
    /// The next bytes; `None` when `size` is reached. Resumes by itself where a connection broke.
    /// Cancel safe.
    ///
    /// # Errors
    /// When the last attempt failed. The stream is of no use then.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, DistributionError> {
        todo!()
    }

    /// How much of the blob has been handed out, the offset it began at included.
    #[must_use]
    pub fn position(&self) -> u64 {
        todo!()
    }
}

impl Repository {
    /// Fetches the manifest `what`, a tag or a digest, and checks its digest.
    ///
    /// # Errors
    /// [`DistributionError`] of all classes.
    pub async fn manifest(&self, what: &str) -> Result<Fetched, DistributionError> {
        let _ = what;
        todo!()
    }

    /// Asks what the manifest `what` is; `None` when there is none.
    ///
    /// # Errors
    /// Those of [`Self::manifest`] but `ManifestUnknown`.
    pub async fn head_manifest(&self, what: &str) -> Result<Option<Head>, DistributionError> {
        let _ = what;
        todo!()
    }

    /// Begins to fetch `blob` at `offset`. Nothing is sent before the first
    /// [`chunk`](BlobStream::chunk).
    #[must_use]
    pub fn blob(&self, blob: Blob, offset: u64) -> BlobStream {
        let _ = (blob, offset);
        todo!()
    }

    /// Whether the registry has the blob in this repository.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn has_blob(&self, digest: Digest) -> Result<bool, DistributionError> {
        let _ = digest;
        todo!()
    }

    /// Asks the registry to take the blob from its repository `from`, such as `library/nanoserver`;
    /// `false` when it wants it uploaded instead.
    ///
    /// # Errors
    /// When the registry allows neither.
    pub async fn mount_blob(&self, digest: Digest, from: &str) -> Result<bool, DistributionError> {
        let _ = (digest, from);
        todo!()
    }

    /// Uploads a blob of `size` bytes. `open` gives a reader at its beginning, for each attempt
    /// anew; `progress` is told how many bytes of the current attempt were handed to the network.
    ///
    /// # Errors
    /// [`DistributionError::Source`] when the reader fails; otherwise the registry's refusal.
    pub async fn push_blob<R: AsyncRead + Send + 'static>(
        &self,
        digest: Digest,
        size: u64,
        open: impl Fn() -> io::Result<R> + Send + Sync,
        progress: impl Fn(u64) + Clone + Send + Sync + 'static,
    ) -> Result<(), DistributionError> {
        let _ = (digest, size, open, progress);
        todo!()
    }

    /// Writes a manifest under `what`, a tag or its digest, and returns its digest.
    ///
    /// # Errors
    /// The registry's refusal.
    pub async fn push_manifest(
        &self,
        what: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest, DistributionError> {
        let _ = (what, media_type, bytes);
        todo!()
    }

    /// All tags, sorted as the registry does.
    ///
    /// # Errors
    /// [`DistributionError::Limit`] when there are absurdly many.
    pub async fn tags(&self) -> Result<Vec<String>, DistributionError> {
        todo!()
    }
}
