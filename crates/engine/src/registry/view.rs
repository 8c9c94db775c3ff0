//! The registry as programs see it: roots that are parts of others, links that are followed.

use std::borrow::Cow;
use std::collections::VecDeque;

use oriel_hcs::bridge::RegistryHive;
use oriel_hive::{Key, Value, WideString, apply, diff, wine::LOCAL_USER};
use oriel_image::RegistryTrees;

use super::name::{KeyName, RootKey, full};
use crate::EngineError;

/// Links followed on the way to one key; a circle of them is no longer than that.
const MOST_LINKS: usize = 64;

/// Where classes are in a tree.
const CLASSES: [&str; 2] = ["Software", "Classes"];

/// The value of a link that names what it leads to.
const TARGET: &str = "SymbolicLinkValue";

/// The registry of a container or image at one moment.
pub struct RegistryView {
    pub(super) trees: RegistryTrees,
}

/// A key that was found.
pub struct FoundKey<'a> {
    /// Its full name, as the registry spells it.
    pub name: WideString,
    /// The key.
    pub key: Cow<'a, Key>,
}

/// A key by the tree it is stored in, all links followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) hive: RegistryHive,
    pub(super) names: Vec<WideString>,
}

/// Where a name leads.
struct Way<'a> {
    place: Place,
    /// The names that were asked for, as the registry spells them.
    shown: Vec<WideString>,
    key: Option<&'a Key>,
}

impl RegistryView {
    /// Finds a key.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn key(&self, name: &KeyName) -> Result<FoundKey<'_>, EngineError> {
        let missing = || EngineError::NoSuchKey { key: name.to_string() };
        match (name.root, name.names.as_slice()) {
            (RootKey::Users, []) => {
                Ok(FoundKey { name: name.root.name().into(), key: Cow::Owned(self.users()) })
            }
            (RootKey::ClassesRoot, _) => self.class(name).ok_or_else(missing),
            _ => {
                let (start, skipped) = start(name).ok_or_else(missing)?;
                let way = self.walk(start, true).ok_or_else(missing)?;
                let root = full(name.root.name(), &name.names[..skipped]).to_string();
                let key = way.key.ok_or_else(missing)?;
                Ok(FoundKey { name: full(&root, &way.shown), key: Cow::Borrowed(key) })
            }
        }
    }

    /// Where changes to a key are made. `itself`: a link at the end is meant itself.
    ///
    /// # Errors
    /// `Invalid` for keys that no hive holds.
    pub(super) fn place(&self, name: &KeyName, itself: bool) -> Result<Place, EngineError> {
        let bad = |reason| EngineError::BadKey { key: name.to_string(), reason };
        if name.root == RootKey::ClassesRoot {
            // Windows' rule: what the user has is changed there, all else for everybody.
            let here = |hive| self.walk(below_classes(hive, &name.names), !itself);
            let user = here(RegistryHive::User).filter(|way| way.key.is_some());
            let way = user.or_else(|| here(RegistryHive::Machine));
            return way.map(|way| way.place).ok_or_else(|| bad(LOST));
        }
        let (start, _) =
            start(name).ok_or_else(|| bad("HKEY_USERS holds .DEFAULT and the container's user"))?;
        self.walk(start, !itself).map(|way| way.place).ok_or_else(|| bad(LOST))
    }

    pub(super) fn root(&self, hive: RegistryHive) -> &Key {
        match hive {
            RegistryHive::Machine => &self.trees.machine,
            RegistryHive::Default => &self.trees.default,
            RegistryHive::User => &self.trees.user,
        }
    }

    /// What `HKEY_USERS` holds.
    fn users(&self) -> Key {
        let mut users = Key::new("");
        users.insert(self.trees.default.clone().renamed(".DEFAULT"));
        users.insert(self.trees.user.clone().renamed(LOCAL_USER));
        users
    }

    /// A key of `HKEY_CLASSES_ROOT`: what everybody has, and over it what the user has.
    fn class(&self, name: &KeyName) -> Option<FoundKey<'_>> {
        let find = |hive| self.walk(below_classes(hive, &name.names), true);
        let found = |hive| find(hive).and_then(|way| Some((way.key?, way.shown)));
        let (key, shown) = match (found(RegistryHive::Machine), found(RegistryHive::User)) {
            (Some((below, shown)), Some((above, _))) => {
                let mut merged = below.clone();
                apply(&mut merged, &diff(&Key::new(""), above));
                (Cow::Owned(merged), shown)
            }
            (Some((key, shown)), None) | (None, Some((key, shown))) => (Cow::Borrowed(key), shown),
            (None, None) => return None,
        };
        let name = full(name.root.name(), shown.get(CLASSES.len()..).unwrap_or_default());
        Some(FoundKey { name, key })
    }

    /// Walks to a key and follows links on the way, at its end when `last`. Nothing when a link
    /// leads out of what a container keeps, or there are too many.
    fn walk(&self, start: Place, last: bool) -> Option<Way<'_>> {
        let mut rest: VecDeque<WideString> = start.names.into();
        let mut place = Place { hive: start.hive, names: Vec::new() };
        let (mut shown, mut links, mut of_links) = (Vec::new(), 0, 0);
        let mut key = Some(self.root(place.hive));
        while let Some(name) = rest.pop_front() {
            let next = key.and_then(|key| key.subkey(&name));
            let spelled = next.map_or(name, |key| key.name().clone());
            if of_links == 0 {
                shown.push(spelled.clone());
            } else {
                of_links -= 1;
            }
            match next.filter(|key| key.is_symlink() && (last || !rest.is_empty())) {
                Some(link) => {
                    let target = target(link).filter(|_| links < MOST_LINKS)?;
                    links += 1;
                    of_links += target.names.len();
                    target.names.into_iter().rev().for_each(|name| rest.push_front(name));
                    place = Place { hive: target.hive, names: Vec::new() };
                    key = Some(self.root(place.hive));
                }
                None => {
                    place.names.push(spelled);
                    key = next;
                }
            }
        }
        Some(Way { place, shown, key })
    }
}

/// Why a key that a link hides is none.
const LOST: &str = "a link on the way to it leads nowhere";

/// Where the walk to a key begins, and how many of its names that takes.
fn start(name: &KeyName) -> Option<(Place, usize)> {
    let (hive, taken) = match (name.root, name.names.first()) {
        (RootKey::LocalMachine, _) => (RegistryHive::Machine, 0),
        (RootKey::CurrentUser, _) => (RegistryHive::User, 0),
        (RootKey::Users, Some(user)) => (user_hive(user)?, 1),
        (RootKey::Users, None) | (RootKey::ClassesRoot, _) => return None,
    };
    Some((Place { hive, names: name.names[taken..].to_vec() }, taken))
}

/// The tree of a user below `HKEY_USERS`.
fn user_hive(name: &WideString) -> Option<RegistryHive> {
    match name {
        name if name.matches(".DEFAULT") => Some(RegistryHive::Default),
        name if name.matches(LOCAL_USER) => Some(RegistryHive::User),
        _ => None,
    }
}

fn below_classes(hive: RegistryHive, names: &[WideString]) -> Place {
    let classes = CLASSES.iter().map(|name| WideString::from(*name));
    Place { hive, names: classes.chain(names.iter().cloned()).collect() }
}

/// What a link leads to: `\Registry\Machine\...` or `\Registry\User\...`.
fn target(link: &Key) -> Option<Place> {
    let units: Vec<u16> = link.value(TARGET).map(units)?;
    let mut names = units
        .split(|unit| *unit == u16::from(b'\\'))
        .filter(|name| !name.is_empty())
        .map(|name| WideString::from(name.to_vec()));
    names.next().filter(|name| name.matches("Registry"))?;
    let hive = match names.next()? {
        name if name.matches("Machine") => RegistryHive::Machine,
        name if name.matches("User") => user_hive(&names.next()?)?,
        _ => return None,
    };
    Some(Place { hive, names: names.collect() })
}

/// Where a link leads, as it says.
#[must_use]
pub fn link_target(key: &Key) -> Option<String> {
    let value = key.value(TARGET).filter(|_| key.is_symlink())?;
    Some(String::from_utf16_lossy(&units(value)))
}

fn units(value: &Value) -> Vec<u16> {
    value.data.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect()
}
