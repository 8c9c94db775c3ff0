//! Changes of the registry as a layer carries them.

use oriel_hive::{Delta, Key};

use super::cache::Rendered;
use super::chain::{Chain, Hive};
use super::seen::Shape;
use super::{RegistryChange, RegistryTrees, capture, policy, project};
use crate::ImageError;
use crate::error::Attempt;

/// Hive files of a layer.
#[derive(Debug, Default)]
pub(crate) struct LayerHives {
    /// Names, below `Hives` or `Windows/System32/config`, with their content, in the order of a
    /// genuine export.
    pub(crate) hives: Vec<(&'static str, Vec<u8>)>,
    /// The account's new `NTUSER.DAT`, when its hive changed.
    pub(crate) user: Option<Vec<u8>>,
}

/// The way back: from what programs see to what the layers of a chain store.
pub(super) struct Below<'a> {
    chain: Chain<'a>,
    account: &'a str,
    shape: Shape,
    /// What programs saw.
    seen: RegistryTrees,
}

impl<'a> Below<'a> {
    /// What is below a container of `account` that got `rendered`.
    pub(super) fn new(
        chain: Chain<'a>,
        account: &'a str,
        rendered: &Rendered,
    ) -> Result<Self, ImageError> {
        let shape = rendered.shape()?;
        // What programs see is as stored, nearly always.
        let seen = if shape.whole && shape.user {
            RegistryTrees::default()
        } else {
            capture::read(&rendered.path)?
        };
        Ok(Self { chain, account, shape, seen })
    }

    /// What a layer on top has of `change`.
    pub(super) fn layer(&self, change: &RegistryChange) -> Result<LayerHives, ImageError> {
        let mut hives = Vec::new();
        for hive in Hive::ALL {
            let delta = self.lift(hive, change, || self.chain.stored(hive))?;
            if !delta.is_empty() {
                let name = hive.delta_file();
                let attempt = || format!("write {name}");
                hives.push((name, oriel_hive::write_delta(&delta).attempt(attempt)?));
            }
        }
        Ok(LayerHives { hives, user: self.user(change)? })
    }

    /// All that is stored, with `change`, as a base layer has it.
    pub(super) fn whole(&self, change: &RegistryChange) -> Result<LayerHives, ImageError> {
        let mut hives = Vec::new();
        for hive in Hive::ALL {
            let name = hive.file();
            let mut tree = self.chain.stored(hive)?;
            let delta = self.lift(hive, change, || Ok(tree.clone()))?;
            oriel_hive::apply(&mut tree, &delta);
            if hive == Hive::Software && self.shape.foreign {
                policy::disown_base(&mut tree);
            }
            hives.push((name, oriel_hive::write(&tree).attempt(|| format!("write hive {name}"))?));
        }
        Ok(LayerHives { hives, user: self.user(change)? })
    }

    /// What a change that programs made means for a hive, which holds `stored`.
    fn lift(
        &self,
        hive: Hive,
        change: &RegistryChange,
        stored: impl FnOnce() -> Result<Key, ImageError>,
    ) -> Result<Delta, ImageError> {
        let mut delta = part(change, hive);
        if hive == Hive::System {
            project::swap_delta(&mut delta, self.shape.control_set);
        }
        if self.shape.whole || delta.is_empty() {
            return Ok(delta);
        }
        let seen = match hive.key() {
            Some(key) => self.seen.machine.get(key),
            None => Some(&self.seen.default),
        };
        let mut seen = seen.cloned().unwrap_or_default();
        if hive == Hive::System {
            project::swap(&mut seen, self.shape.control_set);
        }
        Ok(oriel_hive::lift(delta, &seen, &stored()?))
    }

    /// The account's hive, when it changed.
    fn user(&self, change: &RegistryChange) -> Result<Option<Vec<u8>>, ImageError> {
        if change.user.is_empty() {
            return Ok(None);
        }
        let mut hive = self.chain.account(self.account)?;
        if self.shape.user {
            oriel_hive::apply(&mut hive, &change.user);
        } else {
            let delta = oriel_hive::lift(change.user.clone(), &self.seen.user, &hive);
            oriel_hive::apply(&mut hive, &delta);
            policy::disown_user(&mut hive);
        }
        oriel_hive::write(&hive).attempt(|| "write NTUSER.DAT".into()).map(Some)
    }
}

/// The part of a change that concerns one hive.
fn part(change: &RegistryChange, hive: Hive) -> Delta {
    let Some(name) = hive.key() else { return change.default.clone() };
    let mut keys = change.machine.root.subkeys.iter();
    let root = keys.find(|key| key.name.matches(name));
    root.map_or_else(Delta::default, |root| Delta { root: root.clone() })
}
