//! Layered keys resolved as Windows does it: by walking down the layers of each path.
//!
//! Told apart from how `apply` does it, which folds one layer after the other.

use std::collections::{BTreeMap, BTreeSet};

use oriel_hive::{ClassChange, DeltaKey, Semantics, ValueChange};

use crate::model::{Content, Model, upcased};

/// The nodes of one path, topmost layer first, as far down as layers show through.
#[derive(Clone)]
pub(crate) struct Stack<'a> {
    pub(crate) nodes: Vec<&'a DeltaKey>,
}

impl<'a> Stack<'a> {
    /// What the layers amount to.
    pub(crate) fn resolve(&self) -> Model {
        let mut all = Model(BTreeMap::new());
        self.walk(&mut Vec::new(), &mut all);
        all
    }

    fn walk(&self, path: &mut Vec<String>, all: &mut Model) {
        all.0.insert(path.clone(), self.content());
        let subkeys = self.nodes.iter().flat_map(|node| &node.subkeys);
        let names: BTreeSet<String> = subkeys.map(|key| upcased(&key.name.to_string())).collect();
        for name in names {
            if let Some(stack) = self.subkey(&name) {
                path.push(name);
                stack.walk(path, all);
                path.pop();
            }
        }
    }

    fn subkey(&self, name: &str) -> Option<Self> {
        let mut nodes = Vec::new();
        for node in &self.nodes {
            // What a key hides tree and all, it hides of its subkeys too.
            let last = node.semantics == Semantics::SupersedeTree;
            if let Some(below) = node.subkeys.iter().find(|key| key.name.matches(name)) {
                if below.semantics == Semantics::Tombstone {
                    break;
                }
                nodes.push(below);
                if below.semantics == Semantics::SupersedeTree {
                    break;
                }
            }
            if last {
                break;
            }
        }
        (!nodes.is_empty()).then_some(Self { nodes })
    }

    fn content(&self) -> Content {
        let mut content = Content::default();
        let mut values = BTreeMap::new();
        let mut class = None;
        for node in &self.nodes {
            content.last_write = content.last_write.max(node.last_write);
            if let ClassChange::Set(set) = &node.class {
                class.get_or_insert(set);
            }
            for change in &node.values {
                values.entry(upcased(&change.name().to_string())).or_insert(change);
            }
            if node.semantics == Semantics::SupersedeLocal {
                break;
            }
        }
        content.class = class.and_then(|class| class.as_ref().map(ToString::to_string));
        content.values = values
            .into_iter()
            .filter_map(|(name, change)| match change {
                ValueChange::Set(value) => Some((name, (value.kind.0, value.data.clone()))),
                ValueChange::Tombstone(_) => None,
            })
            .collect();
        content
    }
}
