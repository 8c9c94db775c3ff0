//! Moving a change from the tree a container saw to the tree its image has.
//!
//! The two differ: Wine's own keys lie below the image's, and some of the image's keys are kept
//! from Wine. A delta that was found by comparing what the container saw says too much of the
//! former and too little of the latter.

use crate::delta::{ClassChange, Delta, DeltaKey, Semantics, ValueChange};
use crate::order::NameIndex;
use crate::{Key, KeyFlags};

/// Makes of `delta`, found by comparing `seen` with a later tree, one for `below`: the merged tree
/// of the layers the delta is to lie on.
///
/// - A key that is new to `seen` but not to `below` hides what is there ([`SupersedeTree`]).
/// - Tombstones for keys and values that `below` does not have are left out, and keys that led to
///   nothing else.
/// - A key that `below` does not have has no class to inherit.
/// - A key that `below` has takes from it what text of Wine does not keep: security, flags, and the
///   time when it only leads to a change.
///
/// [`SupersedeTree`]: Semantics::SupersedeTree
#[must_use]
pub fn lift(delta: Delta, seen: &Key, below: &Key) -> Delta {
    let mut root = delta.root;
    onto(&mut root, seen, below);
    Delta { root }
}

/// What a change at a subkey becomes; nothing when there is nothing to change.
fn subkey(mut change: DeltaKey, seen: &Key, below: Option<&Key>) -> Option<DeltaKey> {
    let seen = seen.subkey(&change.name);
    let below = below.and_then(|below| below.subkey(&change.name));
    let whole = matches!(change.semantics, Semantics::SupersedeTree) || seen.is_none();
    match (change.semantics, seen, below) {
        (Semantics::Tombstone, _, below) => change.security = below?.security.clone(),
        (_, Some(seen), Some(below)) if !whole => onto(&mut change, seen, below),
        (_, Some(seen), None) if !whole => on_nothing(&mut change, seen),
        (_, _, Some(_)) => replace(&mut change, Semantics::SupersedeTree),
        (_, _, None) => replace(&mut change, Semantics::Merge),
    }
    let says = whole || change.semantics != Semantics::Merge || !change.is_idle();
    says.then_some(change)
}

fn subkeys(change: &mut DeltaKey, seen: &Key, below: Option<&Key>) {
    let changes = std::mem::take(&mut change.subkeys).into_iter();
    change.subkeys = changes.filter_map(|it| subkey(it, seen, below)).collect();
}

/// A key that both trees have.
fn onto(change: &mut DeltaKey, seen: &Key, below: &Key) {
    subkeys(change, seen, Some(below));
    let index = NameIndex::new(below.values(), |value| &value.name);
    change.values.retain(|it| is_set(it) || index.find(it.name()).is_some());
    if change.values.is_empty() && change.class == ClassChange::Inherit {
        (change.last_write, change.flags) = (below.last_write, below.flags);
    } else {
        let link = change.flags.0 & KeyFlags::SYMLINK.0;
        change.flags = KeyFlags(below.flags.0 & !KeyFlags::SYMLINK.0 | link);
    }
    if change.security.is_none() {
        change.security.clone_from(&below.security);
    }
}

/// A key that the container saw and the layers below do not have.
fn on_nothing(change: &mut DeltaKey, seen: &Key) {
    subkeys(change, seen, None);
    change.values.retain(is_set);
    if !change.is_idle() && change.class == ClassChange::Inherit {
        change.class = ClassChange::Set(None);
    }
}

/// A key that is all there is of its path. With one that hides everything below it, those below
/// must say the same.
fn replace(change: &mut DeltaKey, semantics: Semantics) {
    if change.semantics != Semantics::Tombstone {
        change.semantics = semantics;
        change.subkeys.iter_mut().for_each(|it| replace(it, semantics));
    }
}

fn is_set(change: &ValueChange) -> bool {
    matches!(change, ValueChange::Set(_))
}
