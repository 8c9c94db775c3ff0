//! What keys of trees and keys of deltas have in common on disk.

use crate::delta::{ClassChange, DeltaKey, Semantics, ValueChange};
use crate::{Key, KeyFlags, Security, ValueKind, WideString};

use super::INHERIT_CLASS;

/// What a key says of itself, without its values and subkeys.
pub(super) struct Fields<'a> {
    pub(super) name: &'a WideString,
    pub(super) class: Option<&'a WideString>,
    /// Layer byte: semantics and class inheritance.
    pub(super) layer: u8,
    pub(super) last_write: u64,
    pub(super) flags: KeyFlags,
    pub(super) security: Option<&'a Security>,
}

/// A value, or with no content the mark that it is gone.
pub(super) struct ValueFields<'a> {
    pub(super) name: &'a WideString,
    pub(super) content: Option<(ValueKind, &'a [u8])>,
}

/// A key as read, its subkeys already made.
pub(super) struct Parts<N> {
    pub(super) name: WideString,
    pub(super) class: Option<WideString>,
    /// Layer byte, in hives that have layered keys.
    pub(super) layer: Option<u8>,
    pub(super) last_write: u64,
    pub(super) flags: KeyFlags,
    pub(super) security: Option<Security>,
    pub(super) values: Vec<ValueChange>,
    pub(super) subkeys: Vec<N>,
}

/// A key of either tree.
pub(super) trait Node: Sized {
    /// The key without values and subkeys.
    fn fields(&self) -> Fields<'_>;
    /// Its values, in order.
    fn values(&self) -> impl Iterator<Item = ValueFields<'_>>;
    /// The keys below it.
    fn subkeys(&self) -> &[Self];
    /// Name of the key.
    fn name(&self) -> &WideString;
    /// Makes a key of what was read; values and subkeys have names of their own each, subkeys are
    /// in order.
    fn build(parts: Parts<Self>) -> Self;
}

impl Node for Key {
    fn fields(&self) -> Fields<'_> {
        Fields {
            name: self.name(),
            class: self.class.as_ref(),
            layer: 0,
            last_write: self.last_write,
            flags: self.flags,
            security: self.security.as_ref(),
        }
    }

    fn values(&self) -> impl Iterator<Item = ValueFields<'_>> {
        self.values().iter().map(|value| ValueFields {
            name: &value.name,
            content: Some((value.kind, &value.data)),
        })
    }

    fn subkeys(&self) -> &[Self] {
        self.subkeys()
    }

    fn name(&self) -> &WideString {
        self.name()
    }

    fn build(parts: Parts<Self>) -> Self {
        let mut key = Self::new(parts.name);
        key.class = parts.class;
        key.last_write = parts.last_write;
        key.flags = parts.flags;
        key.security = parts.security;
        let values = parts.values.into_iter();
        *key.values_mut() = values.filter_map(ValueChange::into_value).collect();
        *key.subkeys_mut() = parts.subkeys;
        key
    }
}

impl Node for DeltaKey {
    /// A tombstone is written as Windows does: with neither time nor flags nor class.
    fn fields(&self) -> Fields<'_> {
        let gone = self.semantics == Semantics::Tombstone;
        let (class, inherit) = match &self.class {
            ClassChange::Set(class) if !gone => (class.as_ref(), 0),
            ClassChange::Inherit if !gone => (None, INHERIT_CLASS),
            _ => (None, 0),
        };
        Fields {
            name: &self.name,
            class,
            layer: self.semantics.bits() | inherit,
            last_write: if gone { 0 } else { self.last_write },
            flags: if gone { KeyFlags::default() } else { self.flags },
            security: self.security.as_ref(),
        }
    }

    fn values(&self) -> impl Iterator<Item = ValueFields<'_>> {
        let gone = self.semantics == Semantics::Tombstone;
        let values = if gone { &[] } else { self.values.as_slice() };
        values.iter().map(|change| ValueFields {
            name: change.name(),
            content: match change {
                ValueChange::Set(value) => Some((value.kind, &value.data)),
                ValueChange::Tombstone(_) => None,
            },
        })
    }

    fn subkeys(&self) -> &[Self] {
        if self.semantics == Semantics::Tombstone { &[] } else { &self.subkeys }
    }

    fn name(&self) -> &WideString {
        &self.name
    }

    /// A plain hive says nothing of layers: its keys merge, and a class they have is set.
    fn build(parts: Parts<Self>) -> Self {
        let layer = parts.layer.unwrap_or(INHERIT_CLASS);
        let semantics = Semantics::from_bits(layer);
        let inherited =
            layer & INHERIT_CLASS != 0 && (parts.class.is_none() || parts.layer.is_some());
        let gone = semantics == Semantics::Tombstone;
        Self {
            name: parts.name,
            semantics,
            class: if inherited || gone {
                ClassChange::Inherit
            } else {
                ClassChange::Set(parts.class)
            },
            last_write: parts.last_write,
            flags: parts.flags,
            security: parts.security,
            values: if gone { Vec::new() } else { parts.values },
            subkeys: if gone { Vec::new() } else { parts.subkeys },
        }
    }
}

impl Semantics {
    /// `LayerSemantics`, the low two bits of the layer byte.
    fn bits(self) -> u8 {
        match self {
            Self::Merge => 0,
            Self::Tombstone => 1,
            Self::SupersedeLocal => 2,
            Self::SupersedeTree => 3,
        }
    }

    fn from_bits(layer: u8) -> Self {
        match layer & 3 {
            0 => Self::Merge,
            1 => Self::Tombstone,
            2 => Self::SupersedeLocal,
            _ => Self::SupersedeTree,
        }
    }
}

impl ValueChange {
    /// The value, unless it is gone.
    fn into_value(self) -> Option<crate::Value> {
        match self {
            Self::Set(value) => Some(value),
            Self::Tombstone(_) => None,
        }
    }
}
