//! Layers of random changes: what `diff` finds, `apply` must bring back, also through files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod lift;
mod model;
mod stack;
mod text;

use std::collections::BTreeMap;

use oriel_hive::wine::{self, Branch};
use oriel_hive::{
    ClassChange, Delta, DeltaKey, Key, Semantics, Value, ValueChange, apply, diff, read,
    read_delta, write, write_delta,
};

use model::{Model, Random, flat, upcased};
use stack::Stack;

/// The states of a registry after each of some random runs of changes, as tree and as model.
fn states(random: &mut Random) -> Vec<(Key, Model)> {
    let (mut tree, mut model) = (Key::new("ROOT"), Model::new());
    let mut states = vec![(tree.clone(), model.clone())];
    for most in [60, 12, 1, 12, 4] {
        for change in random.changes(most) {
            change.make(&mut tree);
            model.make(&change);
        }
        states.push((tree.clone(), model.clone()));
    }
    states
}

#[test]
fn a_tree_agrees_with_a_simple_map_in_every_form() {
    for seed in 0..200 {
        for (tree, model) in states(&mut Random(seed)) {
            assert_eq!(flat(&tree), model, "seed {seed}");
            let stored = read(&write(&tree).unwrap()).unwrap();
            assert_eq!(flat(&stored), model, "seed {seed}");
            let text = wine::render(&stored, &Branch::Machine);
            let parsed = wine::parse(&text).unwrap();
            assert_eq!(flat(&parsed), model, "seed {seed}");
            assert_eq!(wine::render(&parsed, &Branch::Machine), text, "seed {seed}");
        }
    }
}

#[test]
fn applying_a_difference_gives_the_new_tree() {
    for seed in 0..60 {
        let states = states(&mut Random(seed));
        for ((old, before), (new, after)) in
            states.iter().flat_map(|a| states.iter().map(move |b| (a, b)))
        {
            let delta = diff(old, new);
            assert_eq!(delta.is_empty(), before == after, "seed {seed}");
            let stored = read_delta(&write_delta(&delta).unwrap()).unwrap();
            for delta in [&delta, &stored] {
                let mut tree = old.clone();
                apply(&mut tree, delta);
                assert_eq!(flat(&tree), *after, "seed {seed}");
            }
        }
    }
}

#[test]
fn folding_layers_of_changes_gives_the_last_state() {
    for seed in 0..200 {
        let states = states(&mut Random(seed));
        let layers: Vec<Delta> =
            states.windows(2).map(|pair| through_file(&diff(&pair[0].0, &pair[1].0))).collect();
        let mut folded = Key::new("ROOT");
        layers.iter().for_each(|layer| apply(&mut folded, layer));
        let last = &states.last().unwrap().1;
        assert_eq!(flat(&folded), *last, "seed {seed}");
        let nodes = layers.iter().rev().map(|layer| &layer.root).collect();
        assert_eq!(Stack { nodes }.resolve(), *last, "seed {seed}");
    }
}

fn through_file(delta: &Delta) -> Delta {
    read_delta(&write_delta(delta).unwrap()).unwrap()
}

/// A key of a layer that says anything a layer can say.
fn random_change(random: &mut Random, name: &str, depth: u64) -> DeltaKey {
    let semantics = [
        Semantics::Merge,
        Semantics::Tombstone,
        Semantics::SupersedeLocal,
        Semantics::SupersedeTree,
    ];
    let mut values = BTreeMap::new();
    for _ in 0..random.below(4) {
        let name = random.name();
        let value = Value::dword(name, u32::try_from(random.below(3)).unwrap());
        let gone = random.below(3) == 0;
        let change =
            if gone { ValueChange::Tombstone(name.into()) } else { ValueChange::Set(value) };
        values.insert(upcased(name), change);
    }
    let mut subkeys = BTreeMap::new();
    for _ in 0..random.below(4).min(depth) {
        let name = random.name();
        subkeys.insert(upcased(name), random_change(random, name, depth - 1));
    }
    let class = [ClassChange::Inherit, ClassChange::Set(None), ClassChange::Set(Some("c".into()))];
    DeltaKey {
        name: name.into(),
        // Half of the keys only lead to others, as in genuine layers.
        semantics: semantics[usize::try_from(random.below(8)).unwrap().saturating_sub(4)],
        class: class[usize::try_from(random.below(3)).unwrap()].clone(),
        last_write: random.below(100),
        values: values.into_values().collect(),
        subkeys: subkeys.into_values().collect(),
        ..DeltaKey::default()
    }
}

#[test]
fn folding_any_layers_agrees_with_walking_down_their_stack() {
    for seed in 0..2000 {
        let mut random = Random(seed);
        let layers: Vec<Delta> = (0..=random.below(4))
            .map(|_| through_file(&Delta { root: random_change(&mut random, "ROOT", 4) }))
            .collect();
        let mut folded = Key::new("ROOT");
        layers.iter().for_each(|layer| apply(&mut folded, layer));
        let nodes = layers.iter().rev().map(|layer| &layer.root).collect();
        let (mut walked, folded) = (Stack { nodes }.resolve(), flat(&folded));
        // A hive cannot say whether the class of its root is inherited, and a layer that changes
        // nothing does not touch the root's time either.
        let root = walked.0.get_mut(&Vec::new()).unwrap();
        root.class.clone_from(&folded.0[&Vec::new()].class);
        root.last_write = folded.0[&Vec::new()].last_write;
        assert_eq!(folded, walked, "seed {seed}");
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
