//! Taking in a layer: one pass that extracts, digests and compresses.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use oriel_wclayer::Reader;
use tempfile::TempDir;

use crate::content::{BlobWriter, Content};
use crate::digest::Hasher;
use crate::error::Attempt;
use crate::extract::extract;
use crate::{ChainId, DiffId, Digest, ImageError, Layer, Limits};

/// Level of gzip: layers are written once and mostly read back on the same host, so time counts
/// more than the last tenth of size.
const LEVEL: u32 = 2;

/// Where layers are, and how they get there.
pub(crate) struct LayerStore {
    root: PathBuf,
}

/// A layer that is complete but not yet in its place. Dropped, it leaves nothing behind.
pub(crate) struct Incoming {
    directory: TempDir,
    blob: Option<BlobWriter>,
    /// Digest of the uncompressed tar.
    pub(crate) diff_id: DiffId,
    size: u64,
}

/// A blob that is stored as it came.
#[derive(Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) length: u64,
}

impl LayerStore {
    /// Opens `windowsfilter` and removes what a crash left there.
    pub(crate) fn open(root: PathBuf) -> Result<Self, ImageError> {
        let attempt = || "open the layer store".to_owned();
        fs_err::create_dir_all(&root).attempt(attempt)?;
        for entry in fs_err::read_dir(&root).attempt(attempt)? {
            let entry = entry.attempt(attempt)?;
            let name = entry.file_name();
            if ["-importing", "-creating", "-removing"]
                .iter()
                .any(|end| name.to_str().is_some_and(|name| name.ends_with(end)))
            {
                fs_err::remove_dir_all(entry.path()).attempt(attempt)?;
            }
        }
        Ok(Self { root })
    }

    /// `windowsfilter`.
    pub(crate) fn root(&self) -> &PathBuf {
        &self.root
    }

    /// Directory of a layer.
    pub(crate) fn directory(&self, chain: ChainId) -> PathBuf {
        self.root.join(chain.0.hex())
    }

    /// Directories of a chain, topmost first.
    pub(crate) fn directories(&self, layers: &[Layer]) -> Vec<PathBuf> {
        layers.iter().rev().map(|layer| self.directory(layer.chain_id)).collect()
    }

    /// Removes the layers whose 64 digits are not in `chains`. Sandboxes are none of them.
    pub(crate) fn retain(&self, chains: &BTreeSet<String>) -> Result<(), ImageError> {
        let attempt = || "remove unused layers".to_owned();
        for entry in fs_err::read_dir(&self.root).attempt(attempt)? {
            let entry = entry.attempt(attempt)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let layer = entry.path().join("layerchain.json").exists();
            if layer && !chains.contains(&name) && !name.ends_with("-importing") {
                remove_whole(&entry.path()).attempt(attempt)?;
            }
        }
        Ok(())
    }

    /// Extracts the uncompressed tar `input` on top of `parents` (base first). With `content` the
    /// tar is compressed into a new blob on the way.
    pub(crate) fn take_in(
        &self,
        input: impl Read,
        parents: &[Layer],
        content: Option<&Content>,
    ) -> Result<Incoming, ImageError> {
        let directory = tempfile::Builder::new()
            .suffix("-importing")
            .tempdir_in(&self.root)
            .attempt(|| "begin a layer".into())?;
        crate::disk::set_mode(
            crate::disk::Dir::open(directory.path()).attempt(|| "begin a layer".into())?,
            0o755,
        )
        .attempt(|| "begin a layer".into())?;
        let encoder = match content {
            Some(content) => Some(GzEncoder::new(content.begin()?, Compression::new(LEVEL))),
            None => None,
        };
        let tee = Tee { input, hasher: Hasher::new(), encoder, length: 0 };
        let parent_directories = self.directories(parents);
        let mut reader = Reader::new(tee);
        let size = extract(&mut reader, directory.path(), &parent_directories)?;
        let mut tee = reader.into_inner();
        // The digest covers the padding after the end marker as well.
        io::copy(&mut tee, &mut io::sink()).attempt(|| "read the end of a layer".into())?;
        let blob = match tee.encoder {
            Some(encoder) => Some(encoder.finish().attempt(|| "compress a layer".into())?),
            None => None,
        };
        fs_err::create_dir_all(directory.path().join("Files"))
            .attempt(|| "finish a layer".into())?;
        let chain =
            serde_json::to_vec(&parent_directories).attempt(|| "write layerchain.json".into())?;
        let chain = if parents.is_empty() { b"null".to_vec() } else { chain };
        fs_err::write(directory.path().join("layerchain.json"), chain)
            .attempt(|| "write layerchain.json".into())?;
        Ok(Incoming { directory, blob, diff_id: DiffId(tee.hasher.finish()), size })
    }

    /// Puts a layer in its place on top of `parents`; `stored` is its blob unless it brings one.
    pub(crate) fn install(
        &self,
        incoming: Incoming,
        parents: &[Layer],
        content: &Content,
        stored: Option<Stored>,
    ) -> Result<Layer, ImageError> {
        let diff_id = incoming.diff_id;
        let chain_id =
            parents.last().map_or(ChainId::base(diff_id), |below| below.chain_id.with(diff_id));
        let (blob, compressed_size) = match (incoming.blob, stored) {
            (Some(blob), _) => content.finish(blob)?,
            (None, Some(stored)) => (stored.digest, stored.length),
            (None, None) => (diff_id.0, 0),
        };
        let place = self.directory(chain_id);
        if !place.exists() {
            // The directory can be made again from the blob, which was synced: no sync here.
            let made = incoming.directory.keep();
            fs_err::rename(made, place).attempt(|| format!("install layer {chain_id}"))?;
        }
        Ok(Layer { diff_id, chain_id, blob, compressed_size, size: incoming.size })
    }
}

/// Removes a directory of the store so that a crash leaves it whole or marked as removed.
pub(crate) fn remove_whole(path: &Path) -> io::Result<()> {
    let mut doomed = path.as_os_str().to_owned();
    doomed.push("-removing");
    match fs_err::rename(path, &doomed) {
        Ok(()) => fs_err::remove_dir_all(doomed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Digests and compresses everything that is read through it.
struct Tee<R> {
    input: R,
    hasher: Hasher,
    encoder: Option<GzEncoder<BlobWriter>>,
    length: u64,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.length += count as u64;
        if self.length > Limits::LAYER_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the layer is too large"));
        }
        self.hasher.update(&buffer[..count]);
        if let Some(encoder) = &mut self.encoder {
            encoder.write_all(&buffer[..count])?;
        }
        Ok(count)
    }
}
