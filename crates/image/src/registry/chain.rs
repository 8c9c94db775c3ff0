//! The registry as a chain of layers stores it: base hives with the deltas above them.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use oriel_hive::{Delta, HiveError, Key};
use oriel_wclayer::{LayerPath, Root};

use crate::ImageError;
use crate::disk::Dir;
use crate::error::Attempt;
use crate::extract::find_file;
use crate::view::View;

/// Largest hive that is read. The largest of Windows Server, SOFTWARE, has about 100 MiB.
const MAX_HIVE: u64 = 512 << 20;

/// Endings of the logs that may lie beside a hive.
const LOGS: [&str; 2] = [".LOG1", ".LOG2"];

/// The profile that new accounts get theirs from.
const NEW_ACCOUNT: &str = "Default";

/// Where an account's own classes are on Windows, below its profile.
pub(super) const CLASSES_FILE: &str = "AppData/Local/Microsoft/Windows/UsrClass.dat";
/// Where programs see them, below `HKEY_CURRENT_USER`.
const CLASSES: &str = r"Software\Classes";

/// One of the hives that layers have deltas of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hive {
    /// `HKEY_USERS\.Default`.
    Default,
    /// `HKEY_LOCAL_MACHINE\SAM`.
    Sam,
    /// `HKEY_LOCAL_MACHINE\SECURITY`.
    Security,
    /// `HKEY_LOCAL_MACHINE\Software`.
    Software,
    /// `HKEY_LOCAL_MACHINE\System`.
    System,
}

impl Hive {
    /// All, in the order of a genuine export.
    pub(super) const ALL: [Self; 5] =
        [Self::Default, Self::Sam, Self::Security, Self::Software, Self::System];

    /// Its file in `Windows\System32\config` of a base layer.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Default => "DEFAULT",
            Self::Sam => "SAM",
            Self::Security => "SECURITY",
            Self::Software => "SOFTWARE",
            Self::System => "SYSTEM",
        }
    }

    /// Its file in `Hives` of the layers above.
    pub(super) fn delta_file(self) -> &'static str {
        match self {
            Self::Default => "DefaultUser_Delta",
            Self::Sam => "Sam_Delta",
            Self::Security => "Security_Delta",
            Self::Software => "Software_Delta",
            Self::System => "System_Delta",
        }
    }

    /// Its key below `HKEY_LOCAL_MACHINE`, if it is there.
    pub(super) fn key(self) -> Option<&'static str> {
        match self {
            Self::Default => None,
            Self::Sam => Some("SAM"),
            Self::Security => Some("SECURITY"),
            Self::Software => Some("Software"),
            Self::System => Some("System"),
        }
    }
}

/// What one layer changes in one hive.
pub(super) struct LayerDelta {
    pub(super) delta: Delta,
    /// Whether a container of Oriel's made it.
    pub(super) own: bool,
}

/// The layers of a chain.
#[derive(Clone, Copy)]
pub(super) struct Chain<'a> {
    base: &'a Path,
    /// Topmost first.
    above: &'a [PathBuf],
    /// All of them.
    layers: &'a [PathBuf],
}

impl<'a> Chain<'a> {
    /// The chain of these directories, topmost first.
    pub(super) fn new(layers: &'a [PathBuf]) -> Result<Self, ImageError> {
        let problem = "a chain without layers";
        let ends = layers.split_last().ok_or(ImageError::BadPath { path: String::new(), problem });
        ends.map(|(base, above)| Self { base, above, layers })
    }

    /// The base layer alone.
    pub(super) fn bottom(self) -> Self {
        Self { above: &[], layers: &self.layers[self.above.len()..], ..self }
    }

    /// A hive of the base layer; an empty one where it has none.
    pub(super) fn base(self, hive: Hive) -> Result<Key, ImageError> {
        let name = hive.file();
        let attempt = || format!("read hive {name} of {}", self.base.display());
        let path = format!("Windows/System32/config/{name}");
        match find(self.base, Root::Files, &path)? {
            Some((dir, file)) => plain(&dir, &file, attempt),
            None => Ok(Key::new("")),
        }
    }

    /// What the layers above the base change in a hive, lowest first.
    pub(super) fn deltas(self, hive: Hive) -> Result<Vec<LayerDelta>, ImageError> {
        let read = |layer: &PathBuf| layer_delta(layer, hive).transpose();
        self.above.iter().rev().filter_map(read).collect()
    }

    /// A hive with all that the layers change in it.
    pub(super) fn stored(self, hive: Hive) -> Result<Key, ImageError> {
        let mut stored = self.base(hive)?;
        for layer in self.deltas(hive)? {
            oriel_hive::apply(&mut stored, &layer.delta);
        }
        Ok(stored)
    }

    /// The hive of `account`, else that of new accounts; an empty one where there is neither.
    ///
    /// These are files of the chain like any other, which a layer above can replace and remove.
    pub(super) fn account(self, account: &str) -> Result<Key, ImageError> {
        for profile in [account, NEW_ACCOUNT] {
            let Some(mut user) = self.profile_hive(profile, "NTUSER.DAT")? else { continue };
            // Windows keeps no such key: there it is a link to the hive of the other file. Wine
            // has the key, and so have hives that were written here.
            if user.get(CLASSES).is_none()
                && let Some(classes) = self.profile_hive(profile, CLASSES_FILE)?
            {
                let attempt = || format!("read the registry of {profile}");
                let software = user.get_or_create("Software").attempt(attempt)?;
                software.insert(classes.renamed("Classes"));
            }
            return Ok(user);
        }
        Ok(Key::new(""))
    }

    fn profile_hive(self, profile: &str, file: &str) -> Result<Option<Key>, ImageError> {
        let name = format!("Users/{profile}/{file}");
        let attempt = || format!("read {name}");
        let path = LayerPath::below(Root::Files, &name).attempt(attempt)?;
        let dirs = self.layers.iter().map(|layer| Dir::open(layer)).collect::<Result<_, _>>();
        let view = View { dirs: dirs.attempt(attempt)?, upper: false };
        let Some((dir, file)) = view.file(&path).attempt(attempt)? else { return Ok(None) };
        plain(&dir, &file, attempt).map(Some)
    }
}

/// Reads every hive that the layer in `directory` brings, to find a damaged one when it arrives
/// and not when its first container is made.
pub(crate) fn check(directory: &Path, is_base: bool) -> Result<(), ImageError> {
    let layers = [directory.to_path_buf()];
    let chain = Chain::new(&layers)?;
    for hive in Hive::ALL {
        if is_base {
            chain.base(hive)?;
        } else {
            layer_delta(directory, hive)?;
        }
    }
    for account in ["ContainerAdministrator", "ContainerUser"] {
        chain.account(account)?;
    }
    Ok(())
}

/// What a layer changes in a hive.
fn layer_delta(layer: &Path, hive: Hive) -> Result<Option<LayerDelta>, ImageError> {
    let name = hive.delta_file();
    let attempt = || format!("read {name} of {}", layer.display());
    let Some((dir, file)) = find(layer, Root::Hives, name)? else { return Ok(None) };
    let bytes = read(&dir, &file, attempt)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let clean = recovered(&dir, &file, &bytes).attempt(attempt)?;
    let delta = oriel_hive::read_delta(clean.as_deref().unwrap_or(&bytes)).attempt(attempt)?;
    Ok(Some(LayerDelta { delta, own: oriel_hive::is_own_delta(&bytes) }))
}

/// Reads a hive that stands for itself.
fn plain(dir: &Dir, file: &str, attempt: impl Fn() -> String + Copy) -> Result<Key, ImageError> {
    let bytes = read(dir, file, attempt)?;
    // imgutil writes empty files.
    if bytes.is_empty() {
        return Ok(Key::new(""));
    }
    let clean = recovered(dir, file, &bytes).attempt(attempt)?;
    oriel_hive::read_unclean(clean.as_deref().unwrap_or(&bytes)).attempt(attempt)
}

/// What the logs beside a hive make of it; nothing when it needs none, or none fits.
fn recovered(dir: &Dir, file: &str, hive: &[u8]) -> Result<Option<Vec<u8>>, HiveError> {
    if oriel_hive::recover(hive, &[]).is_ok() {
        return Ok(None);
    }
    let logs = LOGS.iter().filter_map(|end| {
        let name = crate::extract::find_name(dir, &format!("{file}{end}")).ok()??.0;
        read(dir, &name, String::new).ok()
    });
    let logs: Vec<Vec<u8>> = logs.collect();
    let logs: Vec<&[u8]> = logs.iter().map(Vec::as_slice).collect();
    match oriel_hive::recover(hive, &logs) {
        Ok(clean) => Ok(Some(clean.into_owned())),
        Err(HiveError::NoLogFits { .. }) => {
            tracing::warn!(hive = file, "taken as it stands: a write did not end, no log fits");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Finds a file of a layer.
fn find(layer: &Path, root: Root, path: &str) -> Result<Option<(Dir, String)>, ImageError> {
    let attempt = || format!("read {path} of {}", layer.display());
    let path = LayerPath::below(root, path).attempt(attempt)?;
    let dir = Dir::open(layer).attempt(attempt)?;
    find_file(&dir, &path).attempt(attempt)
}

/// Reads a hive or a log.
fn read(dir: &Dir, name: &str, attempt: impl Fn() -> String) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    dir.read(name)
        .and_then(|file| file.take(MAX_HIVE + 1).read_to_end(&mut bytes))
        .attempt(attempt)?;
    if bytes.len() as u64 > MAX_HIVE {
        return Err(ImageError::Limit { what: "a registry hive", limit: MAX_HIVE });
    }
    Ok(bytes)
}
