//! Sections gathered into one change.
//!
//! A file may name a key any number of times, delete it in between and make it anew; what counts
//! is what it is in the end.

use std::collections::BTreeMap;

use super::{MAX_CHANGES, RegError, RegProblem, Section};
use crate::order::keep_last;
use crate::upcase::upcase;
use crate::{ClassChange, DeltaKey, Key, Semantics, ValueChange, WideString};

/// What some sections, made in order, change in one tree.
#[derive(Debug, Default)]
pub struct Changes {
    root: Node,
    keys: usize,
}

#[derive(Debug, Default)]
struct Node {
    name: WideString,
    fate: Fate,
    /// In the order they were made; the last of a name counts.
    values: Vec<ValueChange>,
    /// By upcased name.
    subkeys: BTreeMap<Vec<u16>, Self>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Stays,
    Gone,
    /// Gone, and then made again.
    Anew,
}

impl Changes {
    /// Makes what `section` says, to the key at `path` of the tree.
    ///
    /// # Errors
    ///
    /// [`RegProblem::TooMany`] when more keys are named than memory should be spent on.
    pub fn add(&mut self, path: &[WideString], section: Section) -> Result<(), RegError> {
        let mut node = &mut self.root;
        for name in path {
            node.revive();
            let folded = name.units().iter().copied().map(upcase).collect();
            node = node.subkeys.entry(folded).or_insert_with(|| {
                self.keys += 1;
                Node { name: name.clone(), ..Node::default() }
            });
        }
        if self.keys > MAX_CHANGES {
            let problem = RegProblem::TooMany;
            return Err(RegError::Syntax { line: section.line, problem });
        }
        if section.deleted {
            node.values.clear();
            node.subkeys.clear();
            node.fate = Fate::Gone;
        } else {
            node.revive();
            node.values.extend(section.values);
        }
        Ok(())
    }

    /// The change to `base`, as [`apply`](crate::apply) takes it. It may say what `base` says
    /// already.
    #[must_use]
    pub fn delta(self, base: &Key) -> DeltaKey {
        self.root.delta(Some(base))
    }
}

impl Node {
    /// Makes the key, should it be gone.
    fn revive(&mut self) {
        if self.fate == Fate::Gone {
            self.fate = Fate::Anew;
        }
    }

    fn delta(mut self, base: Option<&Key>) -> DeltaKey {
        if self.fate == Fate::Gone {
            return DeltaKey {
                name: self.name,
                semantics: Semantics::Tombstone,
                ..DeltaKey::default()
            };
        }
        keep_last(&mut self.values, ValueChange::name);
        let (semantics, kept) = match self.fate {
            Fate::Anew => (Semantics::SupersedeTree, None),
            Fate::Stays | Fate::Gone => (Semantics::Merge, base),
        };
        let below = |node: Self| {
            let base = kept.and_then(|key| key.subkey(&node.name));
            node.delta(base)
        };
        DeltaKey {
            name: kept.map_or(self.name, |key| key.name().clone()),
            semantics,
            class: if kept.is_some() { ClassChange::Inherit } else { ClassChange::Set(None) },
            last_write: 0,
            flags: kept.map(|key| key.flags).unwrap_or_default(),
            security: None,
            values: self.values,
            subkeys: self.subkeys.into_values().map(below).collect(),
        }
    }
}
