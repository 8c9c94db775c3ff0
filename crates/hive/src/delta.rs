//! What one layer changes in a registry tree.
//!
//! A delta is a tree of its own: keys that only lead to a change, keys that are new, and marks
//! ("tombstones") for keys and values that are gone. The terms are those of Windows' layered keys.

use crate::{KeyFlags, Security, Value, WideString};

/// How a key of a delta combines with the key of the same path in the layers below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Semantics {
    /// Both contribute; what the delta says wins.
    #[default]
    Merge,
    /// The key is gone, with everything below it.
    Tombstone,
    /// Values and class below are hidden, subkeys below are not.
    SupersedeLocal,
    /// Everything below is hidden: the key was deleted and made anew.
    SupersedeTree,
}

/// What a delta says of a key's class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClassChange {
    /// As in the layers below.
    #[default]
    Inherit,
    /// This class, or none.
    Set(Option<WideString>),
}

/// What a delta says of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueChange {
    /// It is this one.
    Set(Value),
    /// The value of that name is gone.
    Tombstone(WideString),
}

impl ValueChange {
    /// Name of the value.
    #[must_use]
    pub fn name(&self) -> &WideString {
        match self {
            Self::Set(value) => &value.name,
            Self::Tombstone(name) => name,
        }
    }
}

/// One key of a delta.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeltaKey {
    /// Name of the key.
    pub name: WideString,
    /// How it combines with the key below.
    pub semantics: Semantics,
    /// What becomes of the class.
    pub class: ClassChange,
    /// Time of the last change as a FILETIME.
    pub last_write: u64,
    /// Lasting flags.
    pub flags: KeyFlags,
    /// Security descriptor; `None` means as the key below or else as the key above.
    pub security: Option<Security>,
    /// Values set and values gone; no two of the same name.
    pub values: Vec<ValueChange>,
    /// Keys below that change, in the order of their upcased names; no two of the same name.
    pub subkeys: Vec<Self>,
}

impl DeltaKey {
    /// Whether the key says nothing of itself and leads to no other.
    pub(crate) fn is_idle(&self) -> bool {
        let empty = self.values.is_empty() && self.subkeys.is_empty();
        empty && self.class == ClassChange::Inherit
    }
}

/// Everything one layer changes in one hive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The root, which always merges.
    pub root: DeltaKey,
}

impl Delta {
    /// Whether applying the delta would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_idle()
    }
}
