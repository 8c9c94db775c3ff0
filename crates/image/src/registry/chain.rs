//! The registry of a chain of layers: base hives with the deltas above them.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use oriel_hive::Key;
use oriel_wclayer::{LayerPath, Root};

use super::RegistryTrees;
use crate::ImageError;
use crate::disk::Dir;
use crate::error::Attempt;
use crate::extract::find_file;
use crate::view::View;

/// Largest hive that is read. The largest of Windows Server, SOFTWARE, has about 100 MiB.
const MAX_HIVE: u64 = 512 << 20;

/// The hives below `HKEY_LOCAL_MACHINE`: key, file of a base layer, file of the layers above.
const MACHINE_HIVES: [(&str, &str, &str); 2] =
    [("System", "SYSTEM", "System_Delta"), ("Software", "SOFTWARE", "Software_Delta")];

/// Reads and merges the hives of a chain, topmost layer first.
pub(super) fn merge(layers: &[PathBuf], account: &str) -> Result<RegistryTrees, ImageError> {
    let mut machine = Key::new("");
    for (key, file, delta) in MACHINE_HIVES {
        machine.insert(hive(layers, file, delta)?.renamed(key));
    }
    let default = hive(layers, "DEFAULT", "DefaultUser_Delta")?;
    Ok(RegistryTrees { machine, default, user: user(layers, account)? })
}

/// One hive of the base with the deltas of the layers above.
pub(super) fn hive(layers: &[PathBuf], file: &str, delta: &str) -> Result<Key, ImageError> {
    let (base, above) = layers
        .split_last()
        .ok_or(ImageError::BadPath { path: String::new(), problem: "a chain without layers" })?;
    let path = format!("Windows/System32/config/{file}");
    let mut merged = match read_file(base, Root::Files, &path)? {
        // imgutil writes empty files.
        Some(bytes) if !bytes.is_empty() => oriel_hive::read_unclean(&bytes)
            .attempt(|| format!("read hive {file} of {}", base.display()))?,
        _ => Key::new(""),
    };
    for layer in above.iter().rev() {
        if let Some(bytes) = read_file(layer, Root::Hives, delta)? {
            let change = oriel_hive::read_delta(&bytes)
                .attempt(|| format!("read {delta} of {}", layer.display()))?;
            oriel_hive::apply(&mut merged, &change);
        }
    }
    Ok(merged)
}

/// The account's own hive, else that of new accounts: files of the chain like any other, which a
/// layer above can replace and remove.
pub(super) fn user(layers: &[PathBuf], account: &str) -> Result<Key, ImageError> {
    for profile in [account, "Default"] {
        let name = format!("Users/{profile}/NTUSER.DAT");
        let attempt = || format!("read {name}");
        let path = LayerPath::below(Root::Files, &name).attempt(attempt)?;
        let dirs = layers.iter().map(|layer| Dir::open(layer)).collect::<Result<_, _>>();
        let view = View { dirs: dirs.attempt(attempt)?, upper: false };
        if let Some((dir, file)) = view.file(&path).attempt(attempt)? {
            return oriel_hive::read_unclean(&read(&dir, &file, attempt)?).attempt(attempt);
        }
    }
    Ok(Key::new(""))
}

/// Reads a file of a layer; `None` when the layer has none.
fn read_file(layer: &Path, root: Root, path: &str) -> Result<Option<Vec<u8>>, ImageError> {
    let attempt = || format!("read {path} of {}", layer.display());
    let path = LayerPath::below(root, path).attempt(attempt)?;
    let dir = Dir::open(layer).attempt(attempt)?;
    let Some((dir, name)) = find_file(&dir, &path).attempt(attempt)? else { return Ok(None) };
    read(&dir, &name, attempt).map(Some)
}

/// Reads a hive.
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
