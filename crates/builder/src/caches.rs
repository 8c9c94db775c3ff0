//! Caches of builds: directories that `RUN --mount=type=cache` shows and that stay from build to
//! build.
//!
//! ```text
//! ROOT/<sha256 of the id>-0/        the cache
//!      <sha256 of the id>-1/ …      others of the same id, for `sharing=private` at one time
//!          id                       the id, as text
//!          uses                     how often it was used, as text
//!          files/                   what containers see
//! ```
//!
//! Who uses a cache holds its lock: several at once when it is shared, one when not. Locks live in
//! this process, which is the only one that runs builds on ROOT.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use oriel_image::{Digest, directory_bytes, free_bytes};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::{ContextError, parse::Sharing};

/// All caches.
#[derive(Clone, Debug)]
pub struct BuildCaches {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    locks: Mutex<BTreeMap<String, Arc<RwLock<()>>>>,
}

/// A cache in use.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its files.
    pub(crate) files: PathBuf,
    /// Whether nobody has used it before.
    pub(crate) is_new: bool,
    _lock: Lock,
}

#[derive(Debug)]
enum Lock {
    Shared(#[expect(dead_code, reason = "held, not read")] OwnedRwLockReadGuard<()>),
    Alone(#[expect(dead_code, reason = "held, not read")] OwnedRwLockWriteGuard<()>),
}

/// What is known of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheView {
    /// Its name on disk, by which it is pruned.
    pub name: String,
    /// The id that Dockerfiles call it by.
    pub id: String,
    /// When it was made, or last used where the file system does not tell.
    pub created: SystemTime,
    /// When it was last used.
    pub used: SystemTime,
    /// How often it was used.
    pub uses: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Whether a build uses it now.
    pub in_use: bool,
}

/// How much room caches may keep, in bytes; 0 says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheRoom {
    /// As much may stay in any case.
    pub reserved: u64,
    /// As much may stay otherwise.
    pub most: u64,
    /// As much is to be free on the disk.
    pub free: u64,
}

impl CacheRoom {
    /// Bytes that may stay, of `total` on a disk with `free` bytes left: BuildKit's rule, but that
    /// everything stays when all that was asked for is room, and there is enough.
    fn bytes(&self, total: u64, free: u64) -> u64 {
        let lacking = self.free.saturating_sub(free);
        let most = match (lacking, self.most) {
            (0, 0) if self.free > 0 => total,
            (0, most) => most,
            (lacking, 0) => total.saturating_sub(lacking),
            (lacking, most) => most.min(total.saturating_sub(lacking)),
        };
        most.max(self.reserved)
    }
}

impl BuildCaches {
    /// The caches below `root`, which is made when the first is.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { inner: Arc::new(Inner { root, locks: Mutex::default() }) }
    }

    /// Takes a cache, waiting for others as `sharing` says.
    pub(crate) async fn take(&self, id: &str, sharing: Sharing) -> Result<Held, ContextError> {
        let stem = Digest::of(id.as_bytes()).hex();
        let first = format!("{stem}-0");
        let (name, lock) = match sharing {
            Sharing::Shared => {
                let lock = self.lock(&first).read_owned().await;
                (first, Lock::Shared(lock))
            }
            Sharing::Locked => {
                let lock = self.lock(&first).write_owned().await;
                (first, Lock::Alone(lock))
            }
            Sharing::Private => self.first_free(&stem),
        };
        let directory = self.inner.root.join(name);
        let files = directory.join("files");
        let is_new = !files.exists();
        fs_err::create_dir_all(&files)?;
        // Written at each use: its time is the time of the last one.
        fs_err::write(directory.join("id"), id)?;
        self.count(&directory)?;
        Ok(Held { files, is_new, _lock: lock })
    }

    fn count(&self, directory: &Path) -> Result<(), ContextError> {
        // Two who share a cache count one after the other.
        let _counting = self.inner.locks.lock().unwrap_or_else(PoisonError::into_inner);
        let uses = uses(directory).saturating_add(1);
        Ok(fs_err::write(directory.join("uses"), uses.to_string())?)
    }

    fn first_free(&self, stem: &str) -> (String, Lock) {
        let mut number = 0_u64;
        loop {
            let name = format!("{stem}-{number}");
            if let Ok(lock) = self.lock(&name).try_write_owned() {
                return (name, Lock::Alone(lock));
            }
            number += 1;
        }
    }

    fn lock(&self, name: &str) -> Arc<RwLock<()>> {
        let mut locks = self.inner.locks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(name.to_owned()).or_default())
    }

    /// All caches, by their names on disk. Blocking: it counts bytes.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn list(&self) -> std::io::Result<Vec<CacheView>> {
        let mut views = Vec::new();
        if !self.inner.root.exists() {
            return Ok(views);
        }
        for entry in fs_err::read_dir(&self.inner.root)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // One without its id is about to be made or removed.
            let Ok(id) = fs_err::read_to_string(path.join("id")) else { continue };
            let used = fs_err::metadata(path.join("id"))?.modified()?;
            views.push(CacheView {
                in_use: self.lock(&name).try_write().is_err(),
                created: fs_err::metadata(&path)?.created().unwrap_or(used),
                used,
                uses: uses(&path),
                bytes: directory_bytes(&path.join("files")).map_err(std::io::Error::other)?,
                name,
                id,
            });
        }
        views.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(views)
    }

    /// Removes caches that `wanted` accepts and no build uses, those first that were used longest
    /// ago, until the rest takes what it may `keep`. Returns their names and their bytes. Blocking.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn prune(
        &self,
        wanted: impl Fn(&CacheView) -> bool,
        keep: &CacheRoom,
    ) -> std::io::Result<(Vec<String>, u64)> {
        let mut views = self.list()?;
        views.sort_by_key(|view| view.used);
        let mut total: u64 = views.iter().map(|view| view.bytes).sum();
        let free = match keep.free {
            0 => 0,
            _ if views.is_empty() => 0,
            _ => free_bytes(&self.inner.root)?,
        };
        // Who wants room in plenty is not one who says nothing.
        let says_nothing = *keep == CacheRoom::default();
        let keep = keep.bytes(total, free);
        let (mut removed, mut bytes) = (Vec::new(), 0);
        for view in views {
            let over = says_nothing || total > keep;
            if over && wanted(&view) && self.remove(&view)? {
                total -= view.bytes;
                bytes += view.bytes;
                removed.push(view.name);
            }
        }
        Ok((removed, bytes))
    }

    /// Removes a cache unless a build uses it; returns whether it is gone.
    fn remove(&self, view: &CacheView) -> std::io::Result<bool> {
        let lock = self.lock(&view.name);
        let Ok(_alone) = lock.try_write() else { return Ok(false) };
        let path = self.inner.root.join(&view.name);
        fs_err::remove_file(path.join("id"))?;
        fs_err::remove_dir_all(path)?;
        Ok(true)
    }
}

/// How often a cache was used; one of an older version has kept no count.
fn uses(directory: &Path) -> u64 {
    let text = fs_err::read_to_string(directory.join("uses"));
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: CacheRoom = CacheRoom { reserved: 0, most: 0, free: 0 };
    const FIVE: CacheRoom = CacheRoom { reserved: 5, most: 0, free: 0 };

    #[test]
    fn room_is_reckoned_as_buildkit_does() {
        let room = |reserved, most, free| CacheRoom { reserved, most, free }.bytes(100, 40);
        assert_eq!([room(10, 0, 0), room(0, 30, 0), room(50, 30, 0)], [10, 30, 50]);
        // 20 bytes are lacking on the disk, or none.
        assert_eq!([room(0, 0, 60), room(0, 90, 60), room(0, 70, 60)], [80, 80, 70]);
        assert_eq!([room(95, 0, 60), room(0, 0, 30), room(0, 0, 500)], [95, 100, 0]);
    }

    fn caches() -> (tempfile::TempDir, BuildCaches) {
        let directory = tempfile::tempdir().unwrap();
        let caches = BuildCaches::new(directory.path().join("caches"));
        (directory, caches)
    }

    #[tokio::test]
    async fn a_cache_stays_from_build_to_build() {
        let (_directory, caches) = caches();
        let held = caches.take("npm", Sharing::Shared).await.unwrap();
        assert!(held.is_new);
        fs_err::write(held.files.join("x"), "12345").unwrap();
        drop(held);
        let again = caches.take("npm", Sharing::Locked).await.unwrap();
        assert!(!again.is_new && again.files.join("x").exists());
        assert!(caches.take("other", Sharing::Shared).await.unwrap().is_new);
        let views = caches.list().unwrap();
        assert_eq!(views.len(), 2);
        let npm = views.iter().find(|view| view.id == "npm").unwrap();
        assert_eq!((npm.bytes, npm.in_use, npm.uses), (5, true, 2));
    }

    #[tokio::test]
    async fn sharing_says_who_waits() {
        let (_directory, caches) = caches();
        let one = caches.take("x", Sharing::Shared).await.unwrap();
        let two = caches.take("x", Sharing::Shared).await.unwrap();
        assert_eq!(one.files, two.files);
        let alone = caches.take("x", Sharing::Private).await.unwrap();
        let other = caches.take("x", Sharing::Private).await.unwrap();
        assert!(alone.files != one.files && other.files != alone.files);
        let waits = tokio::spawn({
            let caches = caches.clone();
            async move { caches.take("x", Sharing::Locked).await.unwrap().files }
        });
        drop((one, two));
        assert!(waits.await.unwrap().to_string_lossy().contains("-0/"));
    }

    #[tokio::test]
    async fn only_what_nobody_uses_is_removed() {
        let (_directory, caches) = caches();
        let held = caches.take("x", Sharing::Shared).await.unwrap();
        fs_err::write(held.files.join("f"), "12345").unwrap();
        drop(caches.take("y", Sharing::Shared).await.unwrap());
        let (removed, bytes) = caches.prune(|_| true, &ALL).unwrap();
        assert_eq!((removed.len(), bytes), (1, 0));
        drop(held);
        assert_eq!(caches.prune(|_| true, &FIVE).unwrap().0.len(), 0);
        assert_eq!(caches.prune(|view| view.id == "y", &ALL).unwrap().0.len(), 0);
        assert_eq!(caches.prune(|_| true, &ALL).unwrap().1, 5);
        assert_eq!(caches.list().unwrap(), []);
    }
}
