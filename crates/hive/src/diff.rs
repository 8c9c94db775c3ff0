//! Finding what changed between two trees.
//!
//! The marks follow what Windows writes into a container's hives: keys that lead to a change merge
//! and inherit their class, new keys merge and have their own, what is gone has a tombstone.
//! "Deleted and made anew" never needs to be told apart from "everything in it changed".

use std::cmp::Ordering;

use crate::delta::{ClassChange, Delta, DeltaKey, Semantics, ValueChange};
use crate::order::NameIndex;
use crate::{Key, KeyFlags, Value};

/// The least delta that makes `new` of `old`.
///
/// Times, security, the case of names and the order of values are not compared: Wine keeps none of
/// them. A key that changed for another reason carries its time and security into the delta.
#[must_use]
pub fn diff(old: &Key, new: &Key) -> Delta {
    let mut root = changed(old, new).unwrap_or_else(|| lead(old, new, false));
    root.name = new.name().clone();
    Delta { root }
}

/// What changed at a key both trees have; nothing when it is the same.
fn changed(old: &Key, new: &Key) -> Option<DeltaKey> {
    let values = changed_values(old.values(), new.values());
    let subkeys = changed_subkeys(old.subkeys(), new.subkeys());
    let class = if old.class == new.class {
        ClassChange::Inherit
    } else {
        ClassChange::Set(new.class.clone())
    };
    let itself = !values.is_empty() || class != ClassChange::Inherit;
    let key = DeltaKey { values, subkeys, class, ..lead(old, new, itself) };
    (itself || !key.subkeys.is_empty()).then_some(key)
}

/// A key without changes; its time is the old one unless the key itself changes.
fn lead(old: &Key, new: &Key, itself: bool) -> DeltaKey {
    DeltaKey {
        name: old.name().clone(),
        last_write: if itself { new.last_write } else { old.last_write },
        flags: new.flags,
        security: new.security.clone().or_else(|| old.security.clone()),
        ..DeltaKey::default()
    }
}

fn changed_values(old: &[Value], new: &[Value]) -> Vec<ValueChange> {
    if old == new {
        return Vec::new();
    }
    let before = NameIndex::new(old, |value| &value.name);
    let after = NameIndex::new(new, |value| &value.name);
    let same = |value: &Value| {
        let earlier = before.find(&value.name).map(|at| &old[at]);
        earlier.is_some_and(|old| old.kind == value.kind && old.data == value.data)
    };
    let set = new.iter().filter(|value| !same(value)).cloned().map(ValueChange::Set);
    let gone = old.iter().filter(|value| after.find(&value.name).is_none());
    set.chain(gone.map(|value| ValueChange::Tombstone(value.name.clone()))).collect()
}

/// Walks both lists, which are in the order of names, side by side.
fn changed_subkeys(old: &[Key], new: &[Key]) -> Vec<DeltaKey> {
    let mut changes = Vec::new();
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => old.name().name_order(new.name()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return changes,
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        changes.extend(match (before, after) {
            (Some(before), Some(after)) => changed_subkey(before, after),
            (Some(before), None) => Some(gone(before)),
            (None, Some(after)) => Some(whole(after, Semantics::Merge)),
            (None, None) => None,
        });
    }
}

/// Like [`changed`], but a key that becomes a link, or no longer is one, is another key.
fn changed_subkey(old: &Key, new: &Key) -> Option<DeltaKey> {
    if old.is_symlink() == new.is_symlink() {
        changed(old, new)
    } else {
        Some(whole(new, Semantics::SupersedeTree))
    }
}

fn gone(key: &Key) -> DeltaKey {
    DeltaKey {
        name: key.name().clone(),
        semantics: Semantics::Tombstone,
        flags: KeyFlags::default(),
        security: key.security.clone(),
        ..DeltaKey::default()
    }
}

/// `key` with everything below it.
fn whole(key: &Key, semantics: Semantics) -> DeltaKey {
    DeltaKey {
        name: key.name().clone(),
        semantics,
        class: ClassChange::Set(key.class.clone()),
        last_write: key.last_write,
        flags: key.flags,
        security: key.security.clone(),
        values: key.values().iter().cloned().map(ValueChange::Set).collect(),
        subkeys: key.subkeys().iter().map(|key| whole(key, semantics)).collect(),
    }
}
