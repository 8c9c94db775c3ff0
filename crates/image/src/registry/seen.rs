//! The registry of a chain as programs see it.

use std::path::PathBuf;

use oriel_hive::Key;
use serde::{Deserialize, Serialize};

use super::chain::{Chain, Hive};
use super::policy::{self, Guard};
use super::{RegistryTrees, project};
use crate::{ImageError, NANOSERVER, SERVERCORE};

/// A base of Oriel's, on which the registry of an image without one stands.
pub(crate) struct Floor {
    /// `nanoserver` or `windowsservercore`, if it has one of these names.
    pub(crate) name: String,
    /// Digits of its chain.
    pub(crate) chain: String,
    /// Its layers, topmost first.
    pub(crate) layers: Vec<PathBuf>,
}

/// How what programs see differs from what the layers store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// The current control set of the layers; programs see it as the first.
    pub(super) control_set: u32,
    /// Whether programs see all of it and nothing else.
    pub(super) whole: bool,
    /// Whether the same is true of the account's hive.
    pub(super) user: bool,
    /// Whether the base is not Oriel's.
    pub(super) foreign: bool,
}

/// A merged registry.
pub(super) struct Seen<'a> {
    pub(super) trees: RegistryTrees,
    pub(super) shape: Shape,
    /// What it stands on, if its base is not Oriel's.
    pub(super) floor: Option<&'a Floor>,
}

/// Merges the registry of a chain for `account` as programs are to see it.
pub(super) fn merge<'a>(
    layers: &[PathBuf],
    account: &str,
    floors: &'a [Floor],
) -> Result<Seen<'a>, ImageError> {
    let chain = Chain::new(layers)?;
    let [system, software, default] =
        [chain.base(Hive::System)?, chain.base(Hive::Software)?, chain.base(Hive::Default)?];
    let foreign = !policy::is_own_base(&software);
    let floor = if foreign { choose(floors, &software) } else { None };
    let on = Ground { chain, foreign, floor, control_set: project::current(&system) };
    let mut whole = !foreign;
    let mut machine = Key::new("");
    for (hive, base) in [(Hive::System, system), (Hive::Software, software)] {
        let (tree, as_stored) = on.hive(hive, base)?;
        whole &= as_stored;
        machine.insert(tree.renamed(hive.key().unwrap_or_default()));
    }
    let (default, as_stored) = on.hive(Hive::Default, default)?;
    whole &= as_stored;
    let (user, as_stored) = on.user(account)?;
    let shape = Shape { control_set: on.control_set, whole, user: as_stored, foreign };
    let trees = RegistryTrees { machine, default, user };
    let mut seen = Seen { trees, shape, floor };
    project::show(&mut seen.trees, on.control_set)?;
    Ok(seen)
}

/// The floor that fits a foreign base best.
fn choose<'a>(floors: &'a [Floor], software: &Key) -> Option<&'a Floor> {
    let version = software.get(r"Microsoft\Windows NT\CurrentVersion");
    let kind = version.and_then(|key| key.value("InstallationType")?.text());
    let nano = kind.is_some_and(|kind| kind.eq_ignore_ascii_case("Nano Server"));
    let name = if nano { NANOSERVER } else { SERVERCORE };
    floors.iter().find(|floor| floor.name == name).or(floors.first())
}

/// What the registry of a chain stands on.
struct Ground<'a> {
    chain: Chain<'a>,
    foreign: bool,
    floor: Option<&'a Floor>,
    /// The current control set.
    control_set: u32,
}

impl Ground<'_> {
    /// One hive, of which the base layer has `base`, and whether it is as stored.
    fn hive(&self, hive: Hive, base: Key) -> Result<(Key, bool), ImageError> {
        let mut tree = if self.foreign { self.floored(hive, &base)? } else { base };
        let guard = Guard::new(hive, &tree, self.control_set);
        let mut whole = true;
        for layer in self.chain.deltas(hive)? {
            if layer.own {
                oriel_hive::apply(&mut tree, &layer.delta);
            } else {
                whole = false;
                guard.apply(&mut tree, &layer.delta)?;
            }
        }
        Ok((tree, whole))
    }

    /// A hive of the floor with what is taken over of `base`.
    fn floored(&self, hive: Hive, base: &Key) -> Result<Key, ImageError> {
        let mut tree = match self.floor {
            Some(floor) => Chain::new(&floor.layers)?.base(hive)?,
            None => Key::new(""),
        };
        if hive == Hive::System {
            project::swap(&mut tree, self.control_set);
        }
        let set = project::control_set(self.control_set);
        policy::adopt(&mut tree, base, (hive, &set))?;
        Ok(tree)
    }

    /// The hive of an account, and whether it is as stored.
    fn user(&self, account: &str) -> Result<(Key, bool), ImageError> {
        let user = self.chain.account(account)?;
        if policy::is_own_user(&user) {
            return Ok((user, true));
        }
        let below = match self.floor {
            Some(floor) => Chain::new(&floor.layers)?.account(account)?,
            None if self.foreign => Key::new(""),
            None => self.chain.bottom().account(account)?,
        };
        Ok((policy::adopt_user(below, user), false))
    }
}
