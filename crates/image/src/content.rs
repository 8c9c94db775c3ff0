//! Blobs by digest: an OCI image layout on disk.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use crate::digest::Hasher;
use crate::error::Attempt;
use crate::{Digest, ImageError};

/// Media type of an OCI manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image configuration.
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an uncompressed layer; `+gzip` or `+zstd` is appended for others.
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Media type of a layer compressed with gzip.
pub(crate) const GZIP_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Media type of a layer compressed with Zstandard.
pub(crate) const ZSTD_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Level of gzip: layers are written once and mostly read back on the same host, so time counts
/// more than the last tenth of size.
const LEVEL: u32 = 2;

/// Largest document (manifest, index, configuration) that is read into memory.
pub const MAX_DOCUMENT: u64 = 8 << 20;

/// What one document says of another (OCI image specification, descriptor.md).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of blob it is.
    #[serde(default)]
    pub media_type: String,
    /// Digest of the blob.
    pub digest: Digest,
    /// Length of the blob in bytes.
    pub size: u64,
    /// Where else than in the registry the blob may be had: foreign layers have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// What is said of it beside.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub annotations: Map<String, Value>,
    /// What an image runs on, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Value>,
}

impl Descriptor {
    /// Describes a blob, and nothing else of it.
    #[must_use]
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: Map::new(),
            platform: None,
        }
    }
}

impl Descriptor {
    /// Whether it is a layer that registries need not hold (OCI image specification, layer.md).
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
            || self.media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
    }
}

/// An image manifest: OCI's, or Docker's schema 2, which has the same shape.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2.
    pub schema_version: u32,
    /// Which of the two it is.
    #[serde(default)]
    pub media_type: String,
    /// The image's configuration.
    pub config: Descriptor,
    /// Its layers, base first.
    pub layers: Vec<Descriptor>,
}

impl Manifest {
    /// Its media type: OCI's is said outside of a manifest more often than inside.
    pub(crate) fn kind(&self) -> String {
        let stated = (!self.media_type.is_empty()).then(|| self.media_type.clone());
        stated.unwrap_or_else(|| MANIFEST.to_owned())
    }
}

/// An OCI index, or Docker's manifest list, which has the same shape.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2.
    pub schema_version: u32,
    /// Which of the two it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// What it lists, manifests or further indexes.
    pub manifests: Vec<Descriptor>,
}

/// The text of `oci-layout`.
pub(crate) const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Length of the buffer behind a file.
pub(crate) const BUFFER: usize = 256 * 1024;

/// How long a partial download is kept for somebody to take up.
const RESUMABLE: Duration = Duration::from_secs(24 * 60 * 60);

/// The blobs of a data root.
#[derive(Debug)]
pub(crate) struct Content {
    root: PathBuf,
    /// Blobs being downloaded.
    claimed: Mutex<BTreeSet<Digest>>,
    /// A download ended.
    released: Condvar,
}

impl Content {
    /// Opens the layout at `root`, makes it where missing and removes half-written blobs.
    pub(crate) fn open(root: PathBuf) -> Result<Self, ImageError> {
        let content = Self { root, claimed: Mutex::default(), released: Condvar::new() };
        fs_err::create_dir_all(content.root.join("blobs/sha256"))
            .attempt(|| "make the content store".into())?;
        let ingest = content.ingest();
        if ingest.exists() {
            fs_err::remove_dir_all(&ingest).attempt(|| "clean the content store".into())?;
        }
        fs_err::create_dir_all(&ingest).attempt(|| "make the content store".into())?;
        content.replace("oci-layout", LAYOUT.as_bytes())?;
        fs_err::create_dir_all(content.downloads()).attempt(|| "make the content store".into())?;
        content.drop_downloads(RESUMABLE)?;
        Ok(content)
    }

    /// Where blobs are while they are written.
    pub(crate) fn ingest(&self) -> PathBuf {
        self.root.join("ingest")
    }

    /// Where blobs are while they are downloaded, by digest. They outlive the daemon.
    fn downloads(&self) -> PathBuf {
        self.root.join("downloads")
    }

    /// Where the blob `digest` is while it is downloaded.
    pub(crate) fn partial(&self, digest: Digest) -> PathBuf {
        self.downloads().join(digest.hex())
    }

    /// Removes partial downloads that nobody wrote to for `age`, and returns their bytes.
    pub(crate) fn drop_downloads(&self, age: Duration) -> Result<u64, ImageError> {
        let attempt = || "remove partial downloads".to_owned();
        // Held, so that no download begins with a file that is being removed.
        let claimed = self.claimed();
        let mut bytes = 0;
        for entry in fs_err::read_dir(self.downloads()).attempt(attempt)? {
            let entry = entry.attempt(attempt)?;
            let digest = entry.file_name().to_str().and_then(Digest::from_hex);
            let metadata = entry.metadata().attempt(attempt)?;
            let idle = metadata.modified().attempt(attempt)?.elapsed().unwrap_or_default();
            if idle >= age && !digest.is_some_and(|digest| claimed.contains(&digest)) {
                fs_err::remove_file(entry.path()).attempt(attempt)?;
                bytes += metadata.len();
            }
        }
        Ok(bytes)
    }

    fn claimed(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        // Each change is one insertion or removal, so a panic elsewhere spoils nothing.
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody downloads `digest`, and then is the one who does.
    pub(crate) fn claim(&self, digest: Digest) {
        let mut claimed = self.claimed();
        while !claimed.insert(digest) {
            claimed = self.released.wait(claimed).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends a claim.
    pub(crate) fn release(&self, digest: Digest) {
        self.claimed().remove(&digest);
        self.released.notify_all();
    }

    /// Length of the blob `digest`; `None` when it is not there.
    pub(crate) fn size(&self, digest: Digest) -> Option<u64> {
        fs_err::metadata(self.path(digest)).ok().map(|metadata| metadata.len())
    }

    /// Where the blob `digest` is.
    pub(crate) fn path(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Begins a blob.
    pub(crate) fn begin(&self) -> Result<BlobWriter, ImageError> {
        let file = NamedTempFile::new_in(self.ingest()).attempt(|| "begin a blob".into())?;
        Ok(BlobWriter { file, hasher: Hasher::new(), length: 0 })
    }

    /// Begins a blob that holds what it is given compressed, without a time or a name.
    pub(crate) fn compress(&self) -> Result<GzEncoder<BlobWriter>, ImageError> {
        Ok(GzEncoder::new(self.begin()?, Compression::new(LEVEL)))
    }

    /// Ends a blob: from now on it is there under its digest.
    pub(crate) fn finish(&self, blob: BlobWriter) -> Result<(Digest, u64), ImageError> {
        let digest = blob.hasher.finish();
        let attempt = || format!("store blob {digest}");
        blob.file.as_file().sync_all().attempt(attempt)?;
        self.adopt(blob.file, digest)?;
        Ok((digest, blob.length))
    }

    /// Moves a complete, verified file to its place.
    pub(crate) fn adopt(&self, file: NamedTempFile, digest: Digest) -> Result<(), ImageError> {
        let attempt = || format!("store blob {digest}");
        crate::disk::set_mode(file.as_file(), 0o644).attempt(attempt)?;
        file.persist(self.path(digest)).map_err(|error| error.error).attempt(attempt)?;
        Ok(())
    }

    /// Gives a complete, verified, synced file of [`Content::ingest`] its place beside the name it
    /// has.
    pub(crate) fn link(&self, file: &Path, digest: Digest) -> Result<(), ImageError> {
        let attempt = || format!("store blob {digest}");
        let handle = fs_err::File::open(file).attempt(attempt)?;
        crate::disk::set_mode(&handle, 0o644).attempt(attempt)?;
        match fs_err::hard_link(file, self.path(digest)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result.attempt(attempt),
        }
    }

    /// Stores a document.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Digest, ImageError> {
        let digest = Digest::of(bytes);
        if self.path(digest).exists() {
            return Ok(digest);
        }
        let mut blob = self.begin()?;
        blob.write_all(bytes).attempt(|| format!("store blob {digest}"))?;
        self.finish(blob).map(|(digest, _)| digest)
    }

    /// Reads a document and checks its digest.
    pub(crate) fn get(&self, digest: Digest) -> Result<Vec<u8>, ImageError> {
        let attempt = || format!("read blob {digest}");
        let file = fs_err::File::open(self.path(digest)).attempt(attempt)?;
        let bytes = read_bounded(file, "a document").attempt(attempt)?;
        check(digest, Digest::of(&bytes), || format!("blob {digest}"))?;
        Ok(bytes)
    }

    /// Opens a blob.
    pub(crate) fn read(&self, digest: Digest) -> Result<File, ImageError> {
        let file =
            fs_err::File::open(self.path(digest)).attempt(|| format!("open blob {digest}"))?;
        Ok(file.into_parts().0)
    }

    /// All blobs there are.
    pub(crate) fn digests(&self) -> Result<Vec<Digest>, ImageError> {
        let attempt = || "list the blobs".to_owned();
        let mut found = Vec::new();
        for entry in fs_err::read_dir(self.root.join("blobs/sha256")).attempt(attempt)? {
            let name = entry.attempt(attempt)?.file_name();
            found.extend(name.to_str().and_then(Digest::from_hex));
        }
        Ok(found)
    }

    /// Removes a blob.
    pub(crate) fn remove(&self, digest: Digest) -> Result<(), ImageError> {
        match fs_err::remove_file(self.path(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.attempt(|| format!("remove blob {digest}")),
        }
    }

    /// Writes `index.json`, so that other tools can read the store.
    pub(crate) fn write_index(&self, index: &Index) -> Result<(), ImageError> {
        let bytes = serde_json::to_vec(index).attempt(|| "write index.json".into())?;
        self.replace("index.json", &bytes)
    }

    /// Replaces a file of the layout at once.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), ImageError> {
        let attempt = || format!("write {name}");
        let mut file = NamedTempFile::new_in(self.ingest()).attempt(attempt)?;
        file.write_all(bytes).attempt(attempt)?;
        crate::disk::set_mode(file.as_file(), 0o644).attempt(attempt)?;
        file.persist(self.root.join(name)).map_err(|error| error.error).attempt(attempt)?;
        Ok(())
    }

    /// The layout's directory.
    #[cfg(test)]
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

/// Reads at most [`MAX_DOCUMENT`] bytes.
pub(crate) fn read_bounded(input: impl Read, what: &'static str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{what} is too large")));
    }
    Ok(bytes)
}

/// Compares digests.
pub(crate) fn check(
    expected: Digest,
    found: Digest,
    what: impl FnOnce() -> String,
) -> Result<(), ImageError> {
    if expected == found {
        return Ok(());
    }
    Err(ImageError::DigestMismatch { what: what(), expected, found })
}

/// A blob being written. Dropped without [`Content::finish`] it leaves nothing behind.
pub(crate) struct BlobWriter {
    file: NamedTempFile,
    hasher: Hasher,
    length: u64,
}

impl BlobWriter {
    /// Reads from its start what was written.
    pub(crate) fn reopen(&self) -> Result<BufReader<File>, ImageError> {
        let file = self.file.reopen().attempt(|| "read a blob being written".into())?;
        Ok(BufReader::with_capacity(BUFFER, file))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::Content;
    use crate::Digest;

    #[test]
    fn blobs_are_found_by_digest_and_checked() {
        let root = tempfile::tempdir().unwrap();
        let content = Content::open(root.path().join("content")).unwrap();
        let digest = content.put(b"{}").unwrap();
        assert_eq!(digest, Digest::of(b"{}"));
        assert_eq!(content.get(digest).unwrap(), b"{}");
        fs_err::write(content.path(digest), b"[]").unwrap();
        assert!(content.get(digest).unwrap_err().to_string().contains("has digest"));
        content.remove(digest).unwrap();
        content.remove(digest).unwrap();
        assert!(content.digests().unwrap().is_empty());
    }

    #[test]
    fn an_abandoned_blob_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let content = Content::open(root.path().join("content")).unwrap();
        drop(content.begin().unwrap());
        assert_eq!(fs_err::read_dir(content.ingest()).unwrap().count(), 0);
        assert!(content.root().join("oci-layout").exists());
    }
}
