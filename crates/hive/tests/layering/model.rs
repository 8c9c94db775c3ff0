//! A registry as simple as can be, and random changes to it and to a tree alike.

use std::collections::BTreeMap;

use oriel_hive::{Key, Value, ValueKind};

/// A small deterministic generator (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// One of a few names, in any case.
    pub(crate) fn name(&mut self) -> &'static str {
        let names = ["a", "A", "b", "C", "c", "é", "É", "ß", "_", "日", "Zz", "zZ"];
        names[usize::try_from(self.below(12)).unwrap()]
    }

    pub(crate) fn path(&mut self) -> String {
        let names: Vec<&str> = (0..=self.below(4)).map(|_| self.name()).collect();
        names.join("\\")
    }

    /// A change somewhere in the registry.
    pub(crate) fn change(&mut self) -> Change {
        let (path, name) = (self.path(), self.name());
        match self.below(20) {
            0..4 => Change::DeleteKey(path),
            4..8 => Change::DeleteValue(path, name),
            8 => Change::DeleteValue(path, ""),
            9..11 => Change::SetClass(path, Some(name)),
            11 => Change::SetClass(path, None),
            12 => Change::CreateKey(path),
            _ => {
                let length = if self.below(50) == 0 { 20_000 } else { self.below(6) };
                let byte = u8::try_from(self.below(3)).unwrap();
                let data = vec![byte; usize::try_from(length).unwrap()];
                let kind = u32::try_from(self.below(13)).unwrap();
                let name = if self.below(10) == 0 { "" } else { name };
                Change::SetValue(path, name, (kind, data))
            }
        }
    }

    pub(crate) fn changes(&mut self, most: u64) -> Vec<Change> {
        (0..self.below(most + 1)).map(|_| self.change()).collect()
    }
}

/// Type and data of a value.
type Typed = (u32, Vec<u8>);

/// One change to a registry.
#[derive(Debug)]
pub(crate) enum Change {
    CreateKey(String),
    DeleteKey(String),
    SetClass(String, Option<&'static str>),
    SetValue(String, &'static str, Typed),
    DeleteValue(String, &'static str),
}

impl Change {
    pub(crate) fn make(&self, tree: &mut Key) {
        match self {
            Self::CreateKey(path) => {
                tree.get_or_create(path).unwrap();
            }
            Self::DeleteKey(path) => {
                tree.remove(path);
            }
            Self::SetClass(path, class) => {
                if let Some(key) = tree.get_mut(path) {
                    key.class = class.map(Into::into);
                }
            }
            Self::SetValue(path, name, (kind, data)) => {
                let value = Value::new(*name, ValueKind(*kind), data.clone());
                tree.get_or_create(path).unwrap().set_value(value);
            }
            Self::DeleteValue(path, name) => {
                tree.get_mut(path).and_then(|key| key.remove_value(name));
            }
        }
    }
}

/// Everything that counts of a key: its class, its time and its values by their upcased names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Content {
    pub(crate) last_write: u64,
    pub(crate) class: Option<String>,
    pub(crate) values: BTreeMap<String, Typed>,
}

/// A registry as a map from upcased path to content.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Model(pub(crate) BTreeMap<Vec<String>, Content>);

impl Model {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::from([(Vec::new(), Content::default())]))
    }

    pub(crate) fn make(&mut self, change: &Change) {
        match change {
            Change::CreateKey(path) => {
                self.create(path);
            }
            Change::DeleteKey(path) => {
                let path = upcased_path(path);
                self.0.retain(|other, _| !other.starts_with(&path));
            }
            Change::SetClass(path, class) => {
                if let Some(key) = self.0.get_mut(&upcased_path(path)) {
                    key.class = class.map(ToOwned::to_owned);
                }
            }
            Change::SetValue(path, name, typed) => {
                self.create(path).values.insert(upcased(name), typed.clone());
            }
            Change::DeleteValue(path, name) => {
                if let Some(key) = self.0.get_mut(&upcased_path(path)) {
                    key.values.remove(&upcased(name));
                }
            }
        }
    }

    fn create(&mut self, path: &str) -> &mut Content {
        let path = upcased_path(path);
        for length in 0..path.len() {
            self.0.entry(path[..length].to_vec()).or_default();
        }
        self.0.entry(path).or_default()
    }
}

/// What a tree says, as a model.
pub(crate) fn flat(key: &Key) -> Model {
    fn walk(key: &Key, path: &mut Vec<String>, all: &mut Model) {
        let value = |it: &Value| (upcased(&it.name.to_string()), (it.kind.0, it.data.clone()));
        let content = Content {
            last_write: key.last_write,
            class: key.class.as_ref().map(ToString::to_string),
            values: key.values().iter().map(value).collect(),
        };
        assert_eq!(content.values.len(), key.values().len(), "each name is there once");
        assert!(all.0.insert(path.clone(), content).is_none(), "each path is there once");
        for subkey in key.subkeys() {
            path.push(upcased(&subkey.name().to_string()));
            walk(subkey, path, all);
            path.pop();
        }
    }
    let mut all = Model(BTreeMap::new());
    walk(key, &mut Vec::new(), &mut all);
    all
}

/// The upper case of the names of [`Random::name`]: Windows' table leaves `ß` as it is.
pub(crate) fn upcased(name: &str) -> String {
    name.chars().map(|c| if c == 'é' { 'É' } else { c.to_ascii_uppercase() }).collect()
}

fn upcased_path(path: &str) -> Vec<String> {
    path.split('\\').map(upcased).collect()
}
