//! The registry: from the hives of a chain of layers to what Wine reads, and back.
//!
//! ```text
//!  hives of the layers ----chain----> stored ----seen----> what programs see ----cache----> *.reg
//!  and of the floor                     ^      (policy,                                       |
//!                                       |       project)                            settings  |
//!  Hives/*_Delta, NTUSER.DAT <--layer---+----lift---- changes <--capture-- a container's *.reg
//! ```
//!
//! What the layers store and what programs see differ: hives that Windows wrote hold things that
//! break Wine ([`policy`]), and Wine has its own idea of control sets ([`project`]). Merging and
//! rendering costs tens of milliseconds, so the result is kept per chain and account; a container
//! gets copies of it with its own [`settings`]. The copies must be real ones: wineserver truncates
//! a registry file in place when it has a second link (`server/registry.c`, `save_branch`).
//!
//! `docs/registry.md` tells users of this.

mod access;
mod cache;
mod capture;
mod chain;
mod layer;
mod links;
mod noise;
mod policy;
mod project;
mod seen;
mod settings;
mod zones;

#[cfg(test)]
mod tests;

use oriel_hive::{Delta, Key, wine};

pub(crate) use cache::RegistryCache;
pub(crate) use chain::check;
pub(crate) use layer::LayerHives;
pub(crate) use settings::{Settings, personalise};

/// What Wine reads, by file: the trees of [`RegistryTrees`] in their order.
const FILES: [&str; 3] = ["system.reg", "userdef.reg", "user.reg"];

/// The registry as programs see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryTrees {
    /// `HKEY_LOCAL_MACHINE`.
    pub machine: Key,
    /// `HKEY_USERS\.Default`.
    pub default: Key,
    /// `HKEY_CURRENT_USER` of the container's account.
    pub user: Key,
}

impl RegistryTrees {
    /// What [`FILES`] hold, and which part of the registry that is.
    fn branches(&self) -> [(&Key, wine::Branch); 3] {
        [
            (&self.machine, wine::Branch::Machine),
            (&self.default, wine::Branch::Default),
            (&self.user, wine::Branch::User(wine::LOCAL_USER.to_owned())),
        ]
    }
}

/// What a container changed in its registry, or what is to be changed there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryChange {
    /// Below `HKEY_LOCAL_MACHINE`.
    pub machine: Delta,
    /// Below `HKEY_USERS\.Default`.
    pub default: Delta,
    /// Below `HKEY_CURRENT_USER`.
    pub user: Delta,
}

impl RegistryChange {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.machine.is_empty() && self.default.is_empty() && self.user.is_empty()
    }
}
