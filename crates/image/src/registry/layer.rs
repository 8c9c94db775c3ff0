//! Changes of the registry as a layer carries them.

use super::chain::{Chain, Hive};
use super::seen::Shape;
use super::{RegistryChange, policy};
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

impl LayerHives {
    /// What a layer above `chain`, of which programs see what `shape` says, has of `change`.
    pub(super) fn above(
        chain: Chain<'_>,
        shape: &Shape,
        account: &str,
        change: &RegistryChange,
    ) -> Result<Self, ImageError> {
        let mut hives = Vec::new();
        for hive in Hive::ALL {
            let delta = shape.lift(chain, hive, change)?;
            if !delta.is_empty() {
                let name = hive.delta_file();
                let attempt = || format!("write {name}");
                hives.push((name, oriel_hive::write_delta(&delta).attempt(attempt)?));
            }
        }
        Ok(Self { hives, user: user(chain, account, change)? })
    }

    /// All that `chain` stores, with `change`, as a base layer has it.
    pub(super) fn whole(
        chain: Chain<'_>,
        shape: &Shape,
        account: &str,
        change: &RegistryChange,
    ) -> Result<Self, ImageError> {
        let mut hives = Vec::new();
        for hive in Hive::ALL {
            let name = hive.file();
            let mut tree = chain.stored(hive)?;
            oriel_hive::apply(&mut tree, &shape.lift(chain, hive, change)?);
            if hive == Hive::Software && shape.foreign {
                policy::disown_base(&mut tree);
            }
            hives.push((name, oriel_hive::write(&tree).attempt(|| format!("write hive {name}"))?));
        }
        Ok(Self { hives, user: user(chain, account, change)? })
    }
}

/// The account's hive, when it changed.
fn user(
    chain: Chain<'_>,
    account: &str,
    change: &RegistryChange,
) -> Result<Option<Vec<u8>>, ImageError> {
    if change.user.is_empty() {
        return Ok(None);
    }
    let mut hive = chain.account(account)?;
    let own = policy::is_own_user(&hive);
    oriel_hive::apply(&mut hive, &change.user);
    if !own {
        policy::disown_user(&mut hive);
    }
    oriel_hive::write(&hive).attempt(|| "write NTUSER.DAT".into()).map(Some)
}
