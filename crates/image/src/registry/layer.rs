//! Changes of the registry as a layer carries them.

use std::path::PathBuf;

use oriel_hive::{Delta, DeltaKey, Key};

use super::{RegistryChange, chain};
use crate::ImageError;
use crate::error::Attempt;

/// The hives of a layer: file of a base layer, file of the layers above, and the key below
/// `HKEY_LOCAL_MACHINE`, or nothing for `HKEY_USERS\.Default`.
const HIVES: [(&str, &str, Option<&str>); 5] = [
    ("DEFAULT", "DefaultUser_Delta", None),
    ("SAM", "Sam_Delta", Some("SAM")),
    ("SECURITY", "Security_Delta", Some("SECURITY")),
    ("SOFTWARE", "Software_Delta", Some("Software")),
    ("SYSTEM", "System_Delta", Some("System")),
];

/// Hive files of a layer.
#[derive(Debug, Default)]
pub(crate) struct LayerHives {
    /// Names, below `Hives` or `Windows/System32/config`, with their content, in the order of a
    /// genuine export.
    pub(crate) hives: Vec<(&'static str, Vec<u8>)>,
    /// The account's new `NTUSER.DAT`, when its hive changed.
    pub(crate) user: Option<Vec<u8>>,
}

impl LayerHives {
    /// What a layer above the chain of `layers`, topmost first, says of `change`.
    pub(super) fn above(
        layers: &[PathBuf],
        account: &str,
        change: &RegistryChange,
    ) -> Result<Self, ImageError> {
        let mut hives = Vec::new();
        for (_, file, key) in HIVES {
            let delta = part(change, key);
            if !delta.is_empty() {
                let attempt = || format!("write {file}");
                hives.push((file, oriel_hive::write_delta(&delta).attempt(attempt)?));
            }
        }
        Ok(Self { hives, user: user(layers, account, change)? })
    }

    /// The whole registry of the chain of `layers` with `change`, as a base layer carries it.
    pub(super) fn whole(
        layers: &[PathBuf],
        account: &str,
        change: &RegistryChange,
    ) -> Result<Self, ImageError> {
        let mut hives = Vec::new();
        for (file, delta, key) in HIVES {
            let mut hive = chain::hive(layers, file, delta)?;
            oriel_hive::apply(&mut hive, &part(change, key));
            hives.push((file, oriel_hive::write(&hive).attempt(|| format!("write hive {file}"))?));
        }
        Ok(Self { hives, user: user(layers, account, change)? })
    }
}

/// The part of a change that concerns one hive.
fn part(change: &RegistryChange, key: Option<&str>) -> Delta {
    let Some(name) = key else { return change.default.clone() };
    let keys = &change.machine.root.subkeys;
    match keys.iter().find(|key| key.name.to_string().eq_ignore_ascii_case(name)) {
        Some(root) => Delta { root: root.clone() },
        None => Delta { root: DeltaKey::default() },
    }
}

/// The account's hive, when it changed.
fn user(
    layers: &[PathBuf],
    account: &str,
    change: &RegistryChange,
) -> Result<Option<Vec<u8>>, ImageError> {
    if change.user.is_empty() {
        return Ok(None);
    }
    let mut hive: Key = chain::user(layers, account)?;
    oriel_hive::apply(&mut hive, &change.user);
    oriel_hive::write(&hive).attempt(|| "write NTUSER.DAT".into()).map(Some)
}
