//! Taking in layers: from a tar to a directory in its place.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use oriel_wclayer::Reader;
use tempfile::TempDir;

use crate::content::{Content, GZIP_LAYER};
use crate::digest::Hasher;
use crate::disk::Dir;
use crate::error::Attempt;
use crate::extract::{Taken, extract};
use crate::pipeline::split;
use crate::{ChainId, DiffId, Digest, ImageError, Layer, Limits};

/// Where layers are, and how they get there.
pub(crate) struct LayerStore {
    root: PathBuf,
}

/// A layer that is extracted but not yet in its place. Dropped, it leaves nothing behind.
pub(crate) struct Incoming {
    directory: TempDir,
    /// Length of the tar.
    tar_size: u64,
    /// Bytes of all files.
    size: u64,
}

/// The stored blob of a layer.
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) length: u64,
    pub(crate) media_type: String,
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

    /// Extracts the uncompressed tar `input` on top of `parents` (base first) and digests it.
    pub(crate) fn take_in(
        &self,
        input: impl Read + Send,
        parents: &[Layer],
        progress: &mut dyn FnMut(u64),
    ) -> Result<(Incoming, DiffId), ImageError> {
        let mut hasher = Hasher::new();
        let tee = |bytes: &[u8]| {
            hasher.update(bytes);
            Ok(())
        };
        let incoming = split(input, tee, |pieces| self.unpack(pieces, parents, progress))?;
        Ok((incoming, DiffId(hasher.finish())))
    }

    /// Takes in the base layer `input`, an uncompressed tar, whose blob is compressed on the way.
    pub(crate) fn take_in_compressing(
        &self,
        input: impl Read + Send,
        content: &Content,
    ) -> Result<Layer, ImageError> {
        let mut hasher = Hasher::new();
        let mut encoder = content.compress()?;
        let tee = |bytes: &[u8]| {
            hasher.update(bytes);
            encoder.write_all(bytes)
        };
        let incoming = split(input, tee, |pieces| self.unpack(pieces, &[], &mut |_| ()))?;
        let blob = encoder.finish().attempt(|| "compress a layer".into())?;
        let (digest, length) = content.finish(blob)?;
        let blob = Blob { digest, length, media_type: GZIP_LAYER.to_owned() };
        self.install(incoming, DiffId(hasher.finish()), &[], blob)
    }

    /// Extracts the uncompressed tar `input` on top of `parents` (base first). From time to time
    /// `progress` learns how much of it was read.
    pub(crate) fn unpack(
        &self,
        input: impl Read,
        parents: &[Layer],
        progress: &mut dyn FnMut(u64),
    ) -> Result<Incoming, ImageError> {
        self.unpack_taking((input, None), parents, progress)
    }

    /// The same, with the files that the tar was made of where they may become the layer's.
    pub(crate) fn unpack_taking(
        &self,
        (input, taken): (impl Read, Option<Taken>),
        parents: &[Layer],
        progress: &mut dyn FnMut(u64),
    ) -> Result<Incoming, ImageError> {
        let attempt = || "begin a layer".to_owned();
        let directory = tempfile::Builder::new()
            .suffix("-importing")
            .tempdir_in(&self.root)
            .attempt(attempt)?;
        let handle = Dir::open(directory.path()).attempt(attempt)?;
        crate::disk::set_mode(handle, 0o755).attempt(attempt)?;
        let parent_directories = self.directories(parents);
        let mut reader = Reader::new(Counted { input, count: 0, told: 0, progress });
        let size = extract(&mut reader, directory.path(), &parent_directories, taken)?;
        let mut counted = reader.into_inner();
        // The layer is all of the stream, with the padding after the end marker.
        io::copy(&mut counted, &mut io::sink()).attempt(|| "read the end of a layer".into())?;
        fs_err::create_dir_all(directory.path().join("Files"))
            .attempt(|| "finish a layer".into())?;
        crate::registry::check(directory.path(), parents.is_empty())?;
        let attempt = || "write layerchain.json".to_owned();
        let chain = serde_json::to_vec(&parent_directories).attempt(attempt)?;
        let chain = if parents.is_empty() { b"null".to_vec() } else { chain };
        fs_err::write(directory.path().join("layerchain.json"), chain).attempt(attempt)?;
        Ok(Incoming { directory, tar_size: counted.count, size })
    }

    /// Puts a layer, whose blob is stored, in its place on top of `parents`.
    pub(crate) fn install(
        &self,
        incoming: Incoming,
        diff_id: DiffId,
        parents: &[Layer],
        blob: Blob,
    ) -> Result<Layer, ImageError> {
        let chain_id = ChainId::above(parents, diff_id);
        let place = self.directory(chain_id);
        if !place.exists() {
            // The directory can be made again from the blob, which was synced: no sync here.
            let made = incoming.directory.keep();
            fs_err::rename(made, place).attempt(|| format!("install layer {chain_id}"))?;
        }
        Ok(Layer {
            diff_id,
            chain_id,
            blob: blob.digest,
            media_type: blob.media_type,
            compressed_size: blob.length,
            tar_size: Some(incoming.tar_size),
            size: incoming.size,
        })
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

/// Bytes between two reports of progress.
pub(crate) const STRIDE: u64 = 1 << 20;

/// Counts what is read through it, and ends with an error when it is more than a layer may be.
struct Counted<'a, R> {
    input: R,
    count: u64,
    told: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count += count as u64;
        if self.count > Limits::LAYER_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the layer is too large"));
        }
        if self.count >= self.told + STRIDE {
            self.told = self.count;
            (self.progress)(self.count);
        }
        Ok(count)
    }
}
