//! How much room images and containers take, in Docker's terms: bytes of files, not of blocks.

use std::collections::{BTreeMap, HashSet};
use std::io;

use rustix::fs::FileType;

use crate::disk::{self, Dir};
use crate::error::Attempt;
use crate::upper::check_depth;
use crate::{ChainId, Image, ImageError, ImageId, ImageStore};

/// Most files of one container that are counted: a bound on the time a guest can cost the daemon.
const MOST_FILES: u64 = 5_000_000;

/// All layers of `images` with their bytes, each once.
#[must_use]
pub fn layer_sizes(images: &[Image]) -> BTreeMap<ChainId, u64> {
    let layers = images.iter().flat_map(|image| &image.layers);
    layers.map(|layer| (layer.chain_id, layer.size)).collect()
}

/// For each of `images`, the bytes of those of its layers that another one of them has too.
#[must_use]
pub fn shared_sizes(images: &[&Image]) -> BTreeMap<ImageId, u64> {
    let mut users: BTreeMap<ChainId, u32> = BTreeMap::new();
    for layer in images.iter().flat_map(|image| &image.layers) {
        *users.entry(layer.chain_id).or_default() += 1;
    }
    let shared = |image: &Image| {
        let layers = image.layers.iter().filter(|layer| users[&layer.chain_id] > 1);
        layers.map(|layer| layer.size).sum()
    };
    images.iter().map(|image| (image.id, shared(image))).collect()
}

/// Bytes of the files below `path`, which programs may change meanwhile. Takes time in proportion
/// to their number.
///
/// # Errors
/// [`ImageError::Io`], [`ImageError::Limit`] for more files than anybody has.
pub fn directory_bytes(path: &std::path::Path) -> Result<u64, ImageError> {
    let attempt = || format!("measure {}", path.display());
    let dir = Dir::open(path).attempt(attempt)?;
    let mut tally = Tally::default();
    tally.add(&dir, 0).attempt(attempt)?;
    tally.bytes()
}

/// Bytes that the disk with the directory `path` has room for.
///
/// # Errors
/// When the disk refuses.
pub fn free_bytes(path: &std::path::Path) -> io::Result<u64> {
    disk::room(Dir::open(path)?)
}

impl ImageStore {
    /// Bytes of the files that the container `id` has made or changed; it may run meanwhile. Takes
    /// time in proportion to their number.
    ///
    /// # Errors
    /// [`ImageError::NoSuchSandbox`], [`ImageError::Limit`] for more files than anybody has.
    pub fn sandbox_bytes(&self, id: &str) -> Result<u64, ImageError> {
        let attempt = || format!("measure the sandbox of {id}");
        let sandbox = self.sandbox(id)?;
        let upper = Dir::open(&sandbox.path.join("upper")).attempt(attempt)?;
        let mut tally = Tally::default();
        tally.add(&upper, 0).attempt(attempt)?;
        tally.bytes()
    }
}

/// A count under way.
#[derive(Default)]
struct Tally {
    files: u64,
    bytes: u64,
    /// Files with several names that were counted.
    linked: HashSet<u64>,
}

impl Tally {
    fn bytes(&self) -> Result<u64, ImageError> {
        if self.files > MOST_FILES {
            return Err(ImageError::Limit { what: "the number of files", limit: MOST_FILES });
        }
        Ok(self.bytes)
    }

    fn add(&mut self, dir: &Dir, depth: usize) -> io::Result<()> {
        check_depth(depth)?;
        for name in dir.names()? {
            self.files += 1;
            if self.files > MOST_FILES {
                break;
            }
            // What a running container removes meanwhile does not count.
            let Some(stat) = dir.stat(&name)? else { continue };
            match disk::kind_of(&stat) {
                FileType::Directory => {
                    if let Some(child) = dir.child(&name)? {
                        self.add(&child, depth + 1)?;
                    }
                }
                _ if stat.st_nlink > 1 && !self.linked.insert(stat.st_ino) => {}
                _ => self.bytes += u64::try_from(stat.st_size).unwrap_or(0),
            }
        }
        Ok(())
    }
}
