//! Laying a delta on a tree.
//!
//! A delta is folded onto the merged tree of all layers below it, one layer at a time from the
//! lowest up; that gives the same tree as Windows' walk down a stack of layered keys.

use crate::delta::{ClassChange, Delta, DeltaKey, Semantics, ValueChange};
use crate::order::{NameIndex, remove_places, sort_names};
use crate::{Key, Value};

/// Changes `base` as `delta` says.
///
/// Marks for keys and values that `base` does not have do nothing. The root of a hive always
/// merges and keeps its name.
pub fn apply(base: &mut Key, delta: &Delta) {
    if !delta.is_empty() {
        merge(base, &delta.root);
    }
}

/// Lays `change` on the key of the same path.
fn fold(key: &mut Key, change: &DeltaKey) {
    if change.semantics != Semantics::Merge {
        // A class that is inherited is inherited from nothing then.
        key.class = None;
        key.last_write = 0;
        key.values_mut().clear();
    }
    if change.semantics == Semantics::SupersedeTree {
        key.subkeys_mut().clear();
    }
    key.set_name(change.name.clone());
    merge(key, change);
}

/// Lays what `change` says on `key`, without hiding anything first.
fn merge(key: &mut Key, change: &DeltaKey) {
    if let ClassChange::Set(class) = &change.class {
        key.class.clone_from(class);
    }
    if let Some(security) = &change.security {
        key.security = Some(security.clone());
    }
    key.flags = change.flags;
    key.last_write = key.last_write.max(change.last_write);
    change_values(key.values_mut(), &change.values);
    change_subkeys(key.subkeys_mut(), &change.subkeys);
}

fn change_values(values: &mut Vec<Value>, changes: &[ValueChange]) {
    if changes.is_empty() {
        return;
    }
    let index = NameIndex::new(values, |value| &value.name);
    let places: Vec<Option<usize>> =
        changes.iter().map(|change| index.find(change.name())).collect();
    let mut gone = Vec::new();
    for (change, place) in changes.iter().zip(places) {
        match (change, place) {
            (ValueChange::Set(value), Some(at)) => values[at] = value.clone(),
            (ValueChange::Set(value), None) => values.push(value.clone()),
            (ValueChange::Tombstone(_), Some(at)) => gone.push(at),
            (ValueChange::Tombstone(_), None) => {}
        }
    }
    remove_places(values, &gone);
}

fn change_subkeys(subkeys: &mut Vec<Key>, changes: &[DeltaKey]) {
    let mut gone = Vec::new();
    let mut added = Vec::new();
    for change in changes {
        let place = subkeys.binary_search_by(|key| key.name().name_order(&change.name));
        match (change.semantics, place) {
            (Semantics::Tombstone, Ok(at)) => gone.push(at),
            (Semantics::Tombstone, Err(_)) => {}
            (_, Ok(at)) => fold(&mut subkeys[at], change),
            (_, Err(_)) => {
                let mut key = Key::new(change.name.clone());
                fold(&mut key, change);
                added.push(key);
            }
        }
    }
    remove_places(subkeys, &gone);
    if !added.is_empty() {
        subkeys.append(&mut added);
        sort_names(subkeys, Key::name);
    }
}
