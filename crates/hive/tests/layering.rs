//! Layers of random changes: what `diff` finds, `apply` must bring back, also through files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};

use oriel_hive::{
    ClassChange, Delta, DeltaKey, Key, Semantics, Value, ValueChange, ValueKind, apply, diff,
    read_delta, write_delta,
};

/// A small deterministic generator (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn name(&mut self) -> String {
        let letters = ["a", "b", "C", "é", "_", "日", "Zz"];
        letters[usize::try_from(self.below(7)).unwrap()].to_owned()
    }

    fn path(&mut self) -> String {
        let names: Vec<String> = (0..=self.below(4)).map(|_| self.name()).collect();
        names.join("\\")
    }

    /// Makes one change somewhere in `tree`.
    fn change(&mut self, tree: &mut Key) {
        let (path, name) = (self.path(), self.name());
        match self.below(10) {
            0 | 1 => {
                tree.remove(&path);
            }
            2 | 3 => {
                let removed = |key: &mut Key| key.remove_value(&name);
                tree.get_mut(&path).and_then(removed);
            }
            4 => tree.get_or_create(&path).unwrap().class = Some(name.as_str().into()),
            5 => {
                if let Some(key) = tree.get_mut(&path) {
                    key.class = None;
                }
            }
            _ => {
                let length = if self.below(50) == 0 { 20_000 } else { self.below(6) };
                let data = vec![7; usize::try_from(length).unwrap()];
                let kind = ValueKind(u32::try_from(self.below(12)).unwrap());
                tree.get_or_create(&path).unwrap().set_value(Value::new(name.as_str(), kind, data));
            }
        }
    }
}

/// Everything that counts of a key: its class and its values.
type Content = (Option<String>, BTreeMap<String, (u32, Vec<u8>)>);

/// A tree as a map from path to content; letters of the generator have one case each.
fn flat(key: &Key) -> BTreeMap<String, Content> {
    fn walk(key: &Key, path: &str, all: &mut BTreeMap<String, Content>) {
        let class = key.class.as_ref().map(ToString::to_string);
        let value = |value: &Value| (value.name.to_string(), (value.kind.0, value.data.clone()));
        all.insert(path.to_owned(), (class, key.values().iter().map(value).collect()));
        for subkey in key.subkeys() {
            walk(subkey, &format!("{path}\\{}", subkey.name()), all);
        }
    }
    let mut all = BTreeMap::new();
    walk(key, "", &mut all);
    all
}

fn random_tree(random: &mut Random) -> Key {
    let mut tree = Key::new("ROOT");
    for _ in 0..random.below(40) {
        random.change(&mut tree);
    }
    tree
}

#[test]
fn applying_a_difference_gives_the_new_tree() {
    for seed in 0..1500 {
        let mut random = Random(seed);
        let old = random_tree(&mut random);
        let mut new = if seed % 2 == 0 { old.clone() } else { random_tree(&mut random) };
        (0..random.below(8)).for_each(|_| random.change(&mut new));
        let delta = diff(&old, &new);
        let stored = read_delta(&write_delta(&delta).unwrap()).unwrap();
        for delta in [&delta, &stored] {
            let mut tree = old.clone();
            apply(&mut tree, delta);
            assert_eq!(flat(&tree), flat(&new), "seed {seed}");
        }
        assert_eq!(delta.is_empty(), flat(&old) == flat(&new), "seed {seed}");
    }
}

/// The nodes of one path, topmost layer first, as far down as layers show through.
///
/// This is how Windows resolves a layered key, told apart from how `apply` does.
#[derive(Clone)]
struct Stack<'a> {
    nodes: Vec<&'a DeltaKey>,
}

impl<'a> Stack<'a> {
    fn subkey(&self, name: &str) -> Option<Self> {
        let mut nodes = Vec::new();
        for node in &self.nodes {
            let Some(below) = node.subkeys.iter().find(|key| key.name.matches(name)) else {
                // What a key hides tree and all, it hides of its subkeys too.
                if node.semantics == Semantics::SupersedeTree {
                    break;
                }
                continue;
            };
            if below.semantics == Semantics::Tombstone {
                break;
            }
            nodes.push(below);
            if below.semantics == Semantics::SupersedeTree
                || node.semantics == Semantics::SupersedeTree
            {
                break;
            }
        }
        (!nodes.is_empty()).then_some(Self { nodes })
    }

    fn content(&self) -> Content {
        let inherits = |node: &&&DeltaKey| node.class != ClassChange::Inherit;
        let class = match self.nodes.iter().find(inherits).map(|node| &node.class) {
            Some(ClassChange::Set(class)) => class.as_ref().map(ToString::to_string),
            _ => None,
        };
        let mut values = BTreeMap::new();
        for node in &self.nodes {
            for change in &node.values {
                let known = values.entry(change.name().to_string());
                known.or_insert_with(|| match change {
                    ValueChange::Set(value) => Some((value.kind.0, value.data.clone())),
                    ValueChange::Tombstone(_) => None,
                });
            }
            if node.semantics == Semantics::SupersedeLocal {
                break;
            }
        }
        let values = values.into_iter().filter_map(|(name, value)| Some((name, value?)));
        (class, values.collect())
    }

    fn walk(&self, path: &str, all: &mut BTreeMap<String, Content>) {
        all.insert(path.to_owned(), self.content());
        let subkeys = self.nodes.iter().flat_map(|node| &node.subkeys);
        let names: BTreeSet<String> = subkeys.map(|key| key.name.to_string()).collect();
        for name in names {
            if let Some(stack) = self.subkey(&name) {
                stack.walk(&format!("{path}\\{name}"), all);
            }
        }
    }
}

#[test]
fn folding_layers_agrees_with_walking_down_their_stack() {
    for seed in 0..600 {
        let mut random = Random(seed);
        let mut below = Key::new("ROOT");
        let mut layers: Vec<Delta> = Vec::new();
        for _ in 0..=random.below(4) {
            let mut above = below.clone();
            (0..random.below(12)).for_each(|_| random.change(&mut above));
            layers.insert(0, diff(&below, &above));
            below = above;
        }
        let mut walked = BTreeMap::new();
        let nodes = layers.iter().map(|layer| &layer.root).collect();
        Stack { nodes }.walk("", &mut walked);
        let mut folded = Key::new("ROOT");
        layers.iter().rev().for_each(|layer| apply(&mut folded, layer));
        // The class of a root is not layered: a hive cannot say that it is inherited.
        assert_eq!(flat(&folded), flat(&below), "seed {seed}");
        assert_eq!(walked, flat(&folded), "seed {seed}");
    }
}

#[test]
fn a_key_made_anew_does_not_bring_back_what_was_below_it() {
    let mut base = Key::new("ROOT");
    base.get_or_create(r"k\child").unwrap().set_value(Value::dword("v", 1));
    let gone = diff(&base, &Key::new("ROOT"));
    let mut anew = Key::new("ROOT");
    anew.get_or_create("K").unwrap();
    let again = diff(&Key::new("ROOT"), &anew);
    apply(&mut base, &gone);
    assert!(base.get("k").is_none());
    apply(&mut base, &again);
    assert!(base.get("k").is_some());
    assert!(base.get(r"k\child").is_none());
}

#[test]
fn semantics_hide_what_they_say() {
    let mut base = Key::new("ROOT");
    base.get_or_create(r"k\child").unwrap();
    base.get_mut("k").unwrap().set_value(Value::dword("v", 1));
    let with = |semantics| {
        let key = DeltaKey { name: "K".into(), semantics, ..DeltaKey::default() };
        let root = DeltaKey { subkeys: vec![key], ..DeltaKey::default() };
        let mut tree = base.clone();
        apply(&mut tree, &Delta { root });
        let key = tree.get("k");
        (key.is_some_and(|key| key.value("v").is_some()), tree.get(r"k\child").is_some())
    };
    assert_eq!(with(Semantics::Merge), (true, true));
    assert_eq!(with(Semantics::SupersedeLocal), (false, true));
    assert_eq!(with(Semantics::SupersedeTree), (false, false));
    assert_eq!(with(Semantics::Tombstone), (false, false));
}

#[test]
fn a_small_change_in_a_large_hive_is_a_small_delta() {
    let mut old = Key::new("ROOT");
    for number in 0..3000 {
        let key = old.get_or_create(&format!(r"Software\Vendor\{number:05}")).unwrap();
        key.set_value(Value::sz("v", "text"));
    }
    let mut new = old.clone();
    new.get_mut(r"Software\Vendor\01234").unwrap().set_value(Value::sz("v", "other"));
    assert_eq!(write_delta(&diff(&old, &new)).unwrap().len(), 8192);
}
