//! Blobs, as pulls and pushes need them.
//!
//! A download goes to a file of its own under the blob's digest, so that it can be resumed, by a
//! later daemon too:
//!
//! ```text
//! absent ──▶ content/downloads/DIGEST ──▶ content/blobs/sha256/DIGEST
//!   ▲            │                       all there, digest right, synced
//!   │            ├─▶ dropped: stays for a later attempt
//!   └────────────┘   digest wrong, disk full, a day old at start-up, pruned
//! ```

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::sync::Arc;
use std::time::Duration;

use crate::content::{BlobWriter, GZIP_LAYER, LAYER, check};
use crate::decompress::decompressed;
use crate::digest::Hasher;
use crate::error::Attempt;
use crate::extract::Taken;
use crate::follow::{Follower, Growing};
use crate::ingest::{Blob, STRIDE};
use crate::pipeline::{Meter, split};
use crate::{ChainId, DiffId, Digest, ImageError, ImageStore, Layer};

/// A layer that a registry offers.
#[derive(Clone, Copy, Debug)]
pub struct IncomingLayer<'a> {
    /// Digest of its blob as it is transferred.
    pub blob: Digest,
    /// Length of the blob in bytes.
    pub size: u64,
    /// What the manifest says it is, in Docker's or OCI's words.
    pub media_type: &'a str,
    /// Digest of the uncompressed tar, as the configuration states it.
    pub diff_id: DiffId,
}

impl ImageStore {
    /// Length of the blob `digest` in bytes; `None` when it is not here.
    #[must_use]
    pub fn blob_size(&self, digest: Digest) -> Option<u64> {
        self.content().size(digest)
    }

    /// Opens the blob `digest`.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn open_blob(&self, digest: Digest) -> Result<File, ImageError> {
        self.content().read(digest)
    }

    /// Reads the document (manifest, index, configuration) `digest` and checks its digest.
    ///
    /// # Errors
    /// [`ImageError::Io`], [`ImageError::DigestMismatch`].
    pub fn document(&self, digest: Digest) -> Result<Vec<u8>, ImageError> {
        self.content().get(digest)
    }

    /// Stores a document. Hold a [`crate::Lease`] until something recorded refers to it.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn put_document(&self, bytes: &[u8]) -> Result<Digest, ImageError> {
        self.content().put(bytes)
    }

    /// Begins or takes up the download of a blob of `size` bytes; `None` when it is here already.
    ///
    /// What an earlier attempt left, perhaps of a daemon that was killed, is digested again and
    /// counted. Waits while somebody else downloads the same blob. Hold a [`crate::Lease`] until
    /// something recorded refers to the blob.
    ///
    /// # Errors
    /// [`ImageError::Io`]; [`ImageError::Damaged`] when a blob of another size has that digest.
    pub fn download(&self, digest: Digest, size: u64) -> Result<Option<Download>, ImageError> {
        let claim = Claim::new(self, digest);
        if let Some(found) = self.blob_size(digest) {
            return if found == size { Ok(None) } else { Err(size_mismatch(digest, size, found)) };
        }
        let attempt = || format!("begin the download of {digest}");
        let path = self.content().partial(digest);
        let (file, _) = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .attempt(attempt)?
            .into_parts();
        if file.metadata().attempt(attempt)?.len() > size {
            file.set_len(0).attempt(attempt)?;
        }
        let mut hasher = Hasher::new();
        let offset = io::copy(&mut &file, &mut hasher).attempt(attempt)?;
        let file = Growing::new(file, offset);
        Ok(Some(Download { claim, size, file, hasher, spoilt: false }))
    }

    /// Removes partial downloads that nobody is at, and returns how many bytes they had.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn forget_downloads(&self) -> Result<u64, ImageError> {
        self.content().drop_downloads(Duration::ZERO)
    }

    /// The layer `diff_id` on top of `parents` (base first), if an image has it already.
    ///
    /// # Errors
    /// [`ImageError::Database`].
    pub fn known_layer(
        &self,
        parents: &[Layer],
        diff_id: DiffId,
    ) -> Result<Option<Layer>, ImageError> {
        let chain = ChainId::above(parents, diff_id);
        let snapshot = self.records().snapshot()?;
        let mut layers = snapshot.images.into_values().flat_map(|record| record.layers);
        let known = layers.find(|layer| layer.chain_id == chain);
        Ok(known.filter(|layer| {
            self.layers().directory(chain).exists() && self.blob_size(layer.blob).is_some()
        }))
    }

    /// Takes in one layer on top of `parents` (base first) from its blob: gzip, zstd or plain.
    ///
    /// `input` yields the blob, which is stored or being stored meanwhile ([`Download::follow`]).
    /// `progress` learns from time to time how many of its bytes were read. Hold a
    /// [`crate::Lease`] until an image with the layer is recorded.
    ///
    /// # Errors
    /// [`ImageError::DigestMismatch`] when the tar is not `diff_id`; [`ImageError::Layer`],
    /// [`ImageError::Io`], [`ImageError::Limit`]. Then nothing of the layer is kept but its blob.
    pub fn take_in_layer(
        &self,
        parents: &[Layer],
        incoming: &IncomingLayer<'_>,
        input: impl Read + Send,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Layer, ImageError> {
        let consumed = Meter::default();
        let tar = decompressed(consumed.count(input))?;
        let (taken, diff_id) =
            self.layers().take_in(tar, parents, &mut |_| progress(consumed.total()))?;
        check(incoming.diff_id.0, diff_id.0, || format!("the content of blob {}", incoming.blob))?;
        let blob = Blob {
            digest: incoming.blob,
            length: incoming.size,
            media_type: in_oci_words(incoming.media_type),
        };
        self.layers().install(taken, diff_id, parents, blob)
    }
}

impl ImageStore {
    /// Stores a gzip blob of a layer whose blob is uncompressed, and returns the layer with it, to
    /// be recorded in the place of the other; any other layer is returned as it is.
    ///
    /// The same layer always gives the same blob. `progress` learns from time to time how many
    /// bytes of the tar were read. Hold a [`crate::Lease`] until the layer is recorded.
    ///
    /// # Errors
    /// [`ImageError::DigestMismatch`] when the stored blob is damaged; [`ImageError::Io`].
    pub fn compress_layer(
        &self,
        layer: &Layer,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Layer, ImageError> {
        if layer.media_type != LAYER {
            return Ok(layer.clone());
        }
        let attempt = || format!("compress layer {}", layer.diff_id);
        let read = Meter::default();
        let mut hasher = Hasher::new();
        let tee = |bytes: &[u8]| hasher.write_all(bytes);
        let mut encoder = self.content().compress()?;
        split(read.count(self.open_blob(layer.blob)?), tee, |pieces| {
            while io::copy(&mut pieces.take(STRIDE), &mut encoder).attempt(attempt)? > 0 {
                progress(read.total());
            }
            Ok(())
        })?;
        check(layer.diff_id.0, hasher.finish(), || format!("blob {}", layer.blob))?;
        let (blob, compressed_size) = self.content().finish(encoder.finish().attempt(attempt)?)?;
        let tar_size = Some(read.total());
        Ok(Layer {
            blob,
            media_type: GZIP_LAYER.into(),
            compressed_size,
            tar_size,
            ..layer.clone()
        })
    }

    /// Takes in the uncompressed tar `blob` as a layer on top of `parents` (base first), and keeps
    /// it as it is: most layers are never pushed, and compressing costs ten seconds a gigabyte.
    /// `taken` are the files that it was made of, when they may become those of the layer.
    pub(crate) fn install_plain(
        &self,
        blob: BlobWriter,
        parents: &[Layer],
        taken: Option<Taken>,
    ) -> Result<Layer, ImageError> {
        let tar = (blob.reopen()?, taken);
        let incoming = self.layers().unpack_taking(tar, parents, &mut |_| ())?;
        let (digest, length) = self.content().finish(blob)?;
        let blob = Blob { digest, length, media_type: LAYER.to_owned() };
        self.layers().install(incoming, DiffId(digest), parents, blob)
    }
}

/// A layer's media type in OCI's words.
fn in_oci_words(media_type: &str) -> String {
    match media_type {
        "application/vnd.docker.image.rootfs.diff.tar" => LAYER.to_owned(),
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => GZIP_LAYER.to_owned(),
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => format!("{LAYER}+zstd"),
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => {
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".to_owned()
        }
        other => other.to_owned(),
    }
}

/// The exclusive right to download a blob.
struct Claim {
    store: ImageStore,
    digest: Digest,
}

impl Claim {
    /// Waits until nobody else has it.
    fn new(store: &ImageStore, digest: Digest) -> Self {
        store.content().claim(digest);
        Self { store: store.clone(), digest }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.store.content().release(self.digest);
    }
}

/// A blob on its way. Dropped unfinished, what came stays for a later attempt.
pub struct Download {
    claim: Claim,
    size: u64,
    file: Arc<Growing>,
    hasher: Hasher,
    /// What came is of no use to a later attempt.
    spoilt: bool,
}

impl Download {
    /// Bytes that are here: where to go on.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.file.written()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`ImageError::Damaged`] when they are more than were announced, [`ImageError::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let digest = self.claim.digest;
        if bytes.len() as u64 > self.size.saturating_sub(self.offset()) {
            let problem = format!("more than the {} bytes it was announced with", self.size);
            return Err(ImageError::Damaged { what: format!("blob {digest}"), problem });
        }
        let written = self.file.append(bytes);
        // A full disk must not keep what made it full.
        self.spoilt |= written.is_err();
        written.attempt(|| format!("store blob {digest}"))?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Forgets what came and begins again, for a server that cannot go on in the middle.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn restart(&mut self) -> Result<(), ImageError> {
        self.hasher = Hasher::new();
        self.file.restart().attempt(|| format!("begin blob {} again", self.claim.digest))
    }

    /// Reads the blob from its start while it comes. At its end the reader waits for
    /// [`Download::finish`], and fails when that fails.
    #[must_use]
    pub fn follow(&self) -> Follower {
        self.file.follow()
    }

    /// Checks size and digest and puts the blob in its place.
    ///
    /// # Errors
    /// [`ImageError::Damaged`] when bytes are missing, which a later attempt may bring;
    /// [`ImageError::DigestMismatch`], after which nothing is kept; [`ImageError::Io`].
    pub fn finish(mut self) -> Result<(), ImageError> {
        let (digest, found) = (self.claim.digest, self.offset());
        if found != self.size {
            return Err(size_mismatch(digest, self.size, found));
        }
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new());
        let attempt = || format!("store blob {digest}");
        let content = self.claim.store.content();
        let placed = check(digest, hasher.finish(), || format!("blob {digest}")).and_then(|()| {
            self.file.file().sync_all().attempt(attempt)?;
            crate::disk::set_mode(self.file.file(), 0o644).attempt(attempt)?;
            fs_err::rename(content.partial(digest), content.path(digest)).attempt(attempt)
        });
        self.spoilt = placed.is_err();
        if placed.is_ok() {
            self.file.complete();
        }
        placed
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.file.abandon();
        if self.spoilt {
            // Best effort: start-up removes it, too.
            let _ = fs_err::remove_file(self.claim.store.content().partial(self.claim.digest));
        }
    }
}

fn size_mismatch(digest: Digest, expected: u64, found: u64) -> ImageError {
    ImageError::Damaged {
        what: format!("blob {digest}"),
        problem: format!("has {found} bytes, expected {expected}"),
    }
}
