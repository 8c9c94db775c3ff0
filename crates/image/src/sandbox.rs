//! Sandboxes: the writable top of a container.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::disk::Dir;
use crate::error::Attempt;
use crate::ingest::remove_whole;
use crate::registry::{self, Settings};
use crate::scratch::{self, DISK, Hold};
use crate::{ChainId, ImageError, ImageId, ImageStore, SandboxFiles};

/// Host user and group that own what a sandbox's `upper` holds: the container's uid 0.
pub const CONTAINER_ROOT_UID: u32 = 100_000;

/// The account of containers whose image names none.
const DEFAULT_ACCOUNT: &str = "ContainerAdministrator";

/// File of a sandbox that says what it is.
const RECORD: &str = "sandbox.json";

/// What a new sandbox is made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxSettings {
    /// The computer's DNS name, in the registry as such and as a NetBIOS name. Empty: as the image
    /// has it.
    pub computer_name: String,
    /// The DNS domain it is in.
    pub domain_name: String,
    /// The account whose profile becomes `HKEY_CURRENT_USER`: `ContainerAdministrator`,
    /// `ContainerUser`, or empty for the former.
    pub account: String,
    /// Variables put in the registry for programs that read them there. No commit keeps them.
    pub variables: Vec<(String, String)>,
    /// Its time zone, by its name in the IANA database; any other name is UTC. `None` is what the
    /// image has.
    pub time_zone: Option<String>,
    /// Bytes its drive C: has room for; `None` is as much as the host has.
    pub size: Option<u64>,
}

/// A container's sandbox on disk. One that has a size is mounted as long as this lives.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The container's id.
    pub id: String,
    /// The directory with `upper/`, `work/` and `registry/`.
    pub path: PathBuf,
    /// `Files` directories of the layer chain, topmost first, base last; never empty.
    pub layers: Vec<PathBuf>,
    /// The image it was made from.
    pub image: ImageId,
    /// The account its `user.reg` belongs to.
    pub account: String,
    /// Keeps its disk mounted, when it has one.
    _disk: Option<Arc<Hold>>,
}

/// What `sandbox.json` holds.
#[derive(Serialize, Deserialize)]
struct SandboxRecord {
    image: ImageId,
    account: String,
    /// Topmost first.
    layers: Vec<ChainId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// The entry of the registry cache that it got.
    #[serde(default)]
    registry: String,
    /// What it got besides.
    #[serde(default)]
    settings: Settings,
}

impl ImageStore {
    /// Makes the sandbox of container `id` on top of `image`, and opens it.
    ///
    /// # Errors
    /// Those of [`ImageStore::make_sandbox`] and [`ImageStore::sandbox`].
    pub fn create_sandbox(
        &self,
        id: &str,
        image: &ImageId,
        settings: &SandboxSettings,
    ) -> Result<Sandbox, ImageError> {
        self.make_sandbox(id, image, settings)?;
        self.sandbox(id)
    }

    /// Makes the sandbox of container `id` on top of `image`.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::SandboxExists`], [`ImageError::Hive`],
    /// [`ImageError::SandboxSize`] and [`ImageError::NoDisks`] for one that has a size.
    pub fn make_sandbox(
        &self,
        id: &str,
        image: &ImageId,
        settings: &SandboxSettings,
    ) -> Result<(), ImageError> {
        let path = self.sandbox_path(id)?;
        if path.exists() {
            return Err(ImageError::SandboxExists { id: id.to_owned() });
        }
        settings.size.map(scratch::check_size).transpose()?;
        let _recording = self.recording();
        let (record, _) = self
            .records()
            .one(image)?
            .ok_or_else(|| ImageError::NoSuchImage { name: image.to_string() })?;
        if record.layers.is_empty() {
            return Err(ImageError::NoLayers { image: *image });
        }
        let account = account_or_default(&settings.account);
        let layers: Vec<_> = record.layers.iter().rev().map(|layer| layer.chain_id).collect();
        let rendered = self.rendered_registry(&layers, account)?;
        let own = Settings::from(settings);

        let attempt = || format!("make the sandbox of {id}");
        let made = self.layers().root().join(format!("{id}-creating"));
        if made.exists() {
            fs_err::remove_dir_all(&made).attempt(attempt)?;
        }
        let inside = if settings.size.is_some() { made.join(DISK) } else { made.clone() };
        furnish(&inside, &rendered.path, &own)?;
        let sandbox = SandboxRecord {
            image: *image,
            account: account.to_owned(),
            layers,
            size: settings.size,
            registry: rendered.name(),
            settings: own,
        };
        let text = serde_json::to_vec(&sandbox).attempt(attempt)?;
        fs_err::write(made.join(RECORD), text).attempt(attempt)?;
        let disk = settings.size.map_or(Ok(()), |size| scratch::make(&made, size));
        if let Err(error) = disk.and_then(|()| fs_err::rename(&made, &path).attempt(attempt)) {
            // What stays is removed when the store is opened.
            let _ = fs_err::remove_dir_all(&made);
            return Err(error);
        }
        Ok(())
    }

    /// The sandbox of container `id`, mounted if it has a size.
    ///
    /// # Errors
    /// [`ImageError::NoSuchSandbox`], [`ImageError::NoDisks`].
    pub fn sandbox(&self, id: &str) -> Result<Sandbox, ImageError> {
        let path = self.sandbox_path(id)?;
        let record = read_record(&path, id)?;
        let disk = record.size.map(|_| self.disks().hold(&path)).transpose()?;
        let layers = record.layers.iter();
        Ok(Sandbox {
            id: id.to_owned(),
            layers: layers.map(|chain| self.layers().directory(*chain).join("Files")).collect(),
            path: if disk.is_some() { path.join(DISK) } else { path },
            image: record.image,
            account: record.account,
            _disk: disk.map(Arc::new),
        })
    }

    /// Puts the sandbox of container `id`, in which nothing was written yet, on top of `image`:
    /// from now on it is as if it had been made so. Returns `false`, and leaves it as it was, when
    /// something was written or `image` would have given it another registry.
    ///
    /// A system that runs on it still shows the layers it had, and writes where nobody looks.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::NoSuchSandbox`], [`ImageError::Hive`].
    pub fn move_sandbox(&self, id: &str, image: &ImageId) -> Result<bool, ImageError> {
        let attempt = || format!("move the sandbox of {id}");
        let path = self.sandbox_path(id)?;
        let _recording = self.recording();
        let snapshot = self.records().snapshot()?;
        let found = snapshot.images.get(image);
        let found = found.ok_or_else(|| ImageError::NoSuchImage { name: image.to_string() })?;
        let sandbox = self.sandbox(id)?;
        let record = read_record(&path, id)?;
        let layers: Vec<_> = found.layers.iter().rev().map(|layer| layer.chain_id).collect();
        let rendered = self.rendered_registry(&layers, &record.account)?;
        let upper = Dir::open(&sandbox.path.join("upper")).attempt(attempt)?;
        let untouched = upper.names().attempt(attempt)?.is_empty();
        if !untouched || !self.registry_below(&sandbox)?.shows_the_same(&rendered)? {
            return Ok(false);
        }
        let moved = SandboxRecord { image: *image, layers, registry: rendered.name(), ..record };
        let text = serde_json::to_vec(&moved).attempt(attempt)?;
        set_aside(&sandbox.path).attempt(attempt)?;
        let new = path.join(format!("{RECORD}-new"));
        fs_err::write(&new, text).attempt(attempt)?;
        fs_err::rename(new, path.join(RECORD)).attempt(attempt)?;
        Ok(true)
    }

    /// Removes the sandbox of container `id`; there being none is no error.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn remove_sandbox(&self, id: &str) -> Result<(), ImageError> {
        let path = self.sandbox_path(id)?;
        if !path.join(RECORD).exists() {
            return Ok(());
        }
        self.disks().forget(&path)?;
        remove_whole(&path).attempt(|| format!("remove the sandbox of {id}"))
    }

    /// Ids of all sandboxes, sorted.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn sandboxes(&self) -> Result<Vec<String>, ImageError> {
        let attempt = || "list the sandboxes".to_owned();
        let mut ids = Vec::new();
        for entry in fs_err::read_dir(self.layers().root()).attempt(attempt)? {
            let entry = entry.attempt(attempt)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if check_id(&name).is_ok() && entry.path().join(RECORD).exists() {
                ids.push(name);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// The files of `sandbox`, for a container that does not run.
    #[must_use]
    pub fn sandbox_files(&self, sandbox: &Sandbox) -> SandboxFiles {
        SandboxFiles::new(sandbox.clone())
    }

    /// The chains a sandbox stands on, topmost first.
    pub(crate) fn sandbox_chain(&self, id: &str) -> Result<Vec<ChainId>, ImageError> {
        Ok(read_record(&self.sandbox_path(id)?, id)?.layers)
    }

    /// Name of the cached registry that a sandbox got.
    pub(crate) fn sandbox_entry(&self, id: &str) -> Result<String, ImageError> {
        Ok(read_record(&self.sandbox_path(id)?, id)?.registry)
    }

    /// What a sandbox has of its own in its registry.
    pub(crate) fn sandbox_settings(&self, id: &str) -> Result<Settings, ImageError> {
        Ok(read_record(&self.sandbox_path(id)?, id)?.settings)
    }

    fn sandbox_path(&self, id: &str) -> Result<PathBuf, ImageError> {
        check_id(id)?;
        Ok(self.layers().root().join(id))
    }
}

/// Makes what a container finds: an empty `upper`, and the registry of its image.
fn furnish(inside: &Path, rendered: &Path, settings: &Settings) -> Result<(), ImageError> {
    let attempt = || format!("furnish {}", inside.display());
    fs_err::create_dir_all(inside.join("registry")).attempt(attempt)?;
    make_writable(inside).attempt(attempt)?;
    registry::personalise(rendered, &inside.join("registry"), settings)
}

/// Makes the directories that overlayfs writes to.
fn make_writable(inside: &Path) -> io::Result<()> {
    for name in ["upper", "work"] {
        fs_err::create_dir_all(inside.join(name))?;
    }
    Dir::open(inside)?.give("upper", CONTAINER_ROOT_UID)
}

/// Makes them anew: two mounts must never share them.
fn set_aside(inside: &Path) -> io::Result<()> {
    let aside = tempfile::Builder::new().prefix("aside-").tempdir_in(inside)?.keep();
    for name in ["upper", "work"] {
        fs_err::rename(inside.join(name), aside.join(name))?;
    }
    make_writable(inside)
}

/// The account that a setting names.
pub(crate) fn account_or_default(name: &str) -> &str {
    if name.is_empty() { DEFAULT_ACCOUNT } else { name }
}

/// Refuses ids that are no directory names of their own.
fn check_id(id: &str) -> Result<(), ImageError> {
    let plain = !id.is_empty()
        && id.len() <= 128
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let reserved = ["-creating", "-importing", "-removing"].iter().any(|end| id.ends_with(end));
    if plain && !reserved {
        return Ok(());
    }
    Err(ImageError::InvalidSandboxId { id: id.chars().take(128).collect() })
}

fn read_record(path: &Path, id: &str) -> Result<SandboxRecord, ImageError> {
    let attempt = || format!("read the sandbox of {id}");
    match fs_err::read(path.join(RECORD)) {
        Ok(text) => serde_json::from_slice(&text).attempt(attempt),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(ImageError::NoSuchSandbox { id: id.to_owned() })
        }
        Err(error) => Err(error).attempt(attempt),
    }
}
