//! The registry: from the hives of a chain of layers to what Wine reads, and back.
//!
//! ```text
//!  hives of the layers --chain--> true registry --project--> what programs see --cache--> *.reg
//!                                       ^                                       settings |
//!  Hives/*_Delta, NTUSER.DAT <--layer---+---- changes <----capture---- a container's *.reg
//! ```
//!
//! The base layer carries plain hives, every layer above deltas. Merging and rendering costs tens
//! of milliseconds, so the result is kept per chain and account; a container gets copies of it.
//! The copies must be real ones: wineserver truncates a registry file in place when it has a
//! second link (`server/registry.c`, `save_branch`).

mod access;
mod cache;
mod capture;
mod chain;
mod layer;
mod noise;
mod project;
mod settings;

use oriel_hive::{Delta, Key, wine};

pub(crate) use cache::RegistryCache;
pub(crate) use layer::LayerHives;
pub(crate) use settings::personalise;

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
    /// The texts of [`FILES`].
    fn render(&self) -> [Vec<u8>; 3] {
        let user = wine::Branch::User(wine::LOCAL_USER.to_owned());
        [
            wine::render(&self.machine, &wine::Branch::Machine),
            wine::render(&self.default, &wine::Branch::Default),
            wine::render(&self.user, &user),
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
