//! Keys: the tree that every form of the registry is read into.

use std::sync::Arc;

use crate::{HiveError, MAX_KEY_NAME, Value, WideString};

/// How deep keys may be nested ("Registry Element Size Limits", Microsoft Learn).
pub const MAX_DEPTH: usize = 512;

/// A self-relative security descriptor, opaque and shared by all keys that have the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Security(Arc<[u8]>);

impl Security {
    /// The bytes of the descriptor.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Security {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

/// The lasting flags of a key: bits 0-15 as at offset 2 of an `nk` record, bits 16-23 the byte at
/// its offset 54 (flags for 32-bit programs and virtualisation).
///
/// Flags that tell of storage (volatile, hive root, compressed name) are not part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyFlags(pub u32);

impl KeyFlags {
    /// The key may not be deleted.
    pub const NO_DELETE: Self = Self(0x8);
    /// The key is a symbolic link: its `SymbolicLinkValue` names another key.
    pub const SYMLINK: Self = Self(0x10);

    /// Whether all flags of `other` are set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A registry key with its values and all keys below it.
///
/// Subkeys are kept in the order of their upcased names, values in the order they were set. No two
/// subkeys and no two values have names that differ in case only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    name: WideString,
    /// Class name, which few keys have.
    pub class: Option<WideString>,
    /// Time of the last change as a FILETIME, 100 ns units since 1601; 0 when unknown.
    pub last_write: u64,
    /// Lasting flags.
    pub flags: KeyFlags,
    /// Who may do what; `None` means as the key above.
    pub security: Option<Security>,
    values: Vec<Value>,
    subkeys: Vec<Self>,
}

impl Key {
    /// An empty key. The name of a hive's root does not matter.
    pub fn new(name: impl Into<WideString>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The same key under another name.
    #[must_use]
    pub fn renamed(self, name: impl Into<WideString>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Name of the key, without those above it.
    #[must_use]
    pub fn name(&self) -> &WideString {
        &self.name
    }

    /// Keys directly below, in the order of their upcased names.
    #[must_use]
    pub fn subkeys(&self) -> &[Self] {
        &self.subkeys
    }

    /// Values, in the order they were set.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Whether the key is a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.flags.contains(KeyFlags::SYMLINK)
    }

    /// The key directly below that is called `name`, which need not be text.
    #[must_use]
    pub fn subkey(&self, name: &WideString) -> Option<&Self> {
        let at = self.subkeys.binary_search_by(|key| key.name.name_order(name)).ok()?;
        self.subkeys.get(at)
    }

    /// The key at `path`, names separated by `\`; the empty path is the key itself.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Self> {
        components(path)
            .try_fold(self, |key, name| key.position(name).ok().and_then(|at| key.subkeys.get(at)))
    }

    /// Like [`Key::get`], to change the key.
    pub fn get_mut(&mut self, path: &str) -> Option<&mut Self> {
        components(path).try_fold(self, |key, name| {
            key.position(name).ok().and_then(|at| key.subkeys.get_mut(at))
        })
    }

    /// The key at `path`, made with all keys above it where missing.
    ///
    /// # Errors
    ///
    /// [`HiveError::NameTooLong`] or [`HiveError::TooDeep`] when no registry could hold such a key;
    /// nothing is made then.
    pub fn get_or_create(&mut self, path: &str) -> Result<&mut Self, HiveError> {
        check_path(path)?;
        Ok(components(path).fold(self, |key, name| {
            let at = key.position(name).unwrap_or_else(|at| {
                key.subkeys.insert(at, Self::new(name));
                at
            });
            &mut key.subkeys[at]
        }))
    }

    /// Removes the key at `path` and everything below it.
    pub fn remove(&mut self, path: &str) -> Option<Self> {
        let (parent, name) = path.trim_end_matches('\\').rsplit_once('\\').unwrap_or(("", path));
        let parent = self.get_mut(parent)?;
        let at = parent.position(name.trim_end_matches('\\')).ok()?;
        Some(parent.subkeys.remove(at))
    }

    /// Puts `key` below this one and returns the key of that name it replaces.
    pub fn insert(&mut self, key: Self) -> Option<Self> {
        let order = |other: &Self| other.name.name_order(&key.name);
        match self.subkeys.binary_search_by(order) {
            Ok(at) => Some(std::mem::replace(&mut self.subkeys[at], key)),
            Err(at) => {
                self.subkeys.insert(at, key);
                None
            }
        }
    }

    /// The value called `name`; the default value is called "".
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|value| value.name.matches(name))
    }

    /// Sets a value and returns the value of that name it replaces, whose place it takes.
    pub fn set_value(&mut self, value: Value) -> Option<Value> {
        let same = |other: &&mut Value| other.name.name_order(&value.name).is_eq();
        match self.values.iter_mut().find(same) {
            Some(old) => Some(std::mem::replace(old, value)),
            None => {
                self.values.push(value);
                None
            }
        }
    }

    /// Removes the value called `name`.
    pub fn remove_value(&mut self, name: &str) -> Option<Value> {
        let at = self.values.iter().position(|value| value.name.matches(name))?;
        Some(self.values.remove(at))
    }

    /// Number of keys in the tree, this one included.
    #[must_use]
    pub fn key_count(&self) -> usize {
        1 + self.subkeys.iter().map(Self::key_count).sum::<usize>()
    }

    /// The values, for code of this crate that keeps their names apart.
    pub(crate) fn values_mut(&mut self) -> &mut Vec<Value> {
        &mut self.values
    }

    /// The subkeys, for code of this crate that keeps them in order.
    pub(crate) fn subkeys_mut(&mut self) -> &mut Vec<Self> {
        &mut self.subkeys
    }

    /// Changes how the name is spelled.
    pub(crate) fn set_name(&mut self, name: WideString) {
        self.name = name;
    }

    /// Where the subkey called `name` is, or belongs.
    fn position(&self, name: &str) -> Result<usize, usize> {
        self.subkeys.binary_search_by(|key| key.name.order_to(name))
    }
}

/// The names along `path`; empty ones are skipped.
fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('\\').filter(|name| !name.is_empty())
}

/// Refuses paths that no registry could hold.
fn check_path(path: &str) -> Result<(), HiveError> {
    if components(path).count() > MAX_DEPTH {
        return Err(HiveError::TooDeep { limit: MAX_DEPTH });
    }
    let longest = components(path).map(|name| name.encode_utf16().count()).max().unwrap_or(0);
    if longest > MAX_KEY_NAME {
        return Err(HiveError::NameTooLong { length: longest, limit: MAX_KEY_NAME });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_in_any_case() {
        let mut root = Key::new("ROOT");
        root.get_or_create(r"Software\Été\x").unwrap();
        assert!(root.get(r"SOFTWARE\éTÉ\X").is_some());
        assert!(root.get(r"\Software\").is_some());
        assert!(root.get("").is_some());
        assert!(root.get(r"Software\y").is_none());
    }

    #[test]
    fn keys_are_made_once() {
        let mut root = Key::new("ROOT");
        root.get_or_create(r"A\b").unwrap();
        root.get_or_create(r"a\B").unwrap();
        assert_eq!(root.key_count(), 3);
    }

    #[test]
    fn subkeys_stay_in_the_order_of_windows() {
        let mut root = Key::new("ROOT");
        for name in ["_", "b", "A", "Z", "é", "a1"] {
            root.get_or_create(name).unwrap();
        }
        let names: Vec<String> = root.subkeys().iter().map(|key| key.name().to_string()).collect();
        assert_eq!(names, ["A", "a1", "b", "Z", "_", "é"]);
    }

    #[test]
    fn removing_a_key_returns_all_of_it() {
        let mut root = Key::new("ROOT");
        root.get_or_create(r"a\b\c").unwrap();
        assert_eq!(root.remove(r"A\B\").unwrap().key_count(), 2);
        assert!(root.remove(r"a\b").is_none());
        assert!(root.remove("").is_none());
        assert_eq!(root.remove("a").unwrap().key_count(), 1);
    }

    #[test]
    fn inserting_replaces_the_key_of_that_name() {
        let mut root = Key::new("ROOT");
        assert!(root.insert(Key::new("System")).is_none());
        assert!(root.insert(Key::new("ROOT").renamed("SYSTEM")).is_some());
        assert_eq!(root.subkeys().len(), 1);
    }

    #[test]
    fn values_keep_their_place_when_set_again() {
        let mut key = Key::new("k");
        key.set_value(Value::dword("one", 1));
        key.set_value(Value::dword("two", 2));
        assert_eq!(key.set_value(Value::dword("ONE", 3)), Some(Value::dword("one", 1)));
        assert_eq!(key.values(), [Value::dword("ONE", 3), Value::dword("two", 2)]);
        assert_eq!(key.remove_value("one").and_then(|value| value.number()), Some(3));
        assert_eq!(key.remove_value("one"), None);
    }

    #[test]
    fn keys_that_no_registry_holds_are_not_made() {
        let mut root = Key::new("ROOT");
        let deep = [r"k\"; MAX_DEPTH + 1].concat();
        assert_eq!(root.get_or_create(&deep), Err(HiveError::TooDeep { limit: MAX_DEPTH }));
        assert!(root.get_or_create(&"x".repeat(MAX_KEY_NAME + 1)).is_err());
        assert_eq!(root.key_count(), 1);
    }
}
