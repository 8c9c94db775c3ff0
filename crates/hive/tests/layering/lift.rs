//! Changes of a container that saw another tree than its image has.

use std::collections::BTreeSet;

use oriel_hive::{
    ClassChange, Delta, DeltaKey, Key, KeyFlags, Security, Semantics, Value, ValueChange, apply,
    diff, lift,
};

use crate::model::{Content, Model, Random, flat};
use crate::through_file;

/// What a container sees: Wine's keys and over them the image's, less those kept from Wine.
fn projected(wine: &Key, image: &Key) -> Key {
    let mut shown = image.clone();
    for kept in ["B", r"a\C", r"é\a\é"] {
        shown.remove(kept);
    }
    let mut seen = wine.clone();
    apply(&mut seen, &diff(&Key::new("ROOT"), &shown));
    seen
}

/// What an image must become when its container made `after` of `seen`.
fn expected(image: &Model, seen: &Model, after: &Model) -> Model {
    let paths: BTreeSet<&Vec<String>> =
        [image, seen, after].iter().flat_map(|it| it.0.keys()).collect();
    let mut result = Model::new();
    // Longest first: a key is there when one below it is.
    for path in paths.into_iter().rev() {
        let leads =
            result.0.keys().any(|other| other.len() > path.len() && other.starts_with(path));
        let replaced = (0..path.len()).any(|length| {
            seen.0.contains_key(&path[..length]) != after.0.contains_key(&path[..length])
        });
        let below = image.0.get(path);
        let content = match (seen.0.get(path), after.0.get(path)) {
            (None, Some(after)) => Some(after.clone()),
            (Some(_), None) => None,
            (Some(seen), Some(after)) => {
                let content = changed(below, seen, after);
                let set = seen.class != after.class || !content.values.is_empty();
                (below.is_some() || leads || set).then_some(content)
            }
            (None, None) => below.filter(|_| !replaced).cloned(),
        };
        result.0.extend(content.map(|content| (path.clone(), content)));
    }
    result
}

/// A key of the image with the changes that a container made to the one it saw.
fn changed(below: Option<&Content>, seen: &Content, after: &Content) -> Content {
    let mut content = below.cloned().unwrap_or_default();
    if seen.class != after.class {
        content.class.clone_from(&after.class);
    }
    content
        .values
        .retain(|name, _| !seen.values.contains_key(name) || after.values.contains_key(name));
    let set = after.values.iter().filter(|(name, value)| seen.values.get(*name) != Some(value));
    content.values.extend(set.map(|(name, value)| (name.clone(), value.clone())));
    content
}

/// Every key of a delta hides something or says something, and hides as genuine ones do.
fn check(change: &DeltaKey, below: Option<&Key>) {
    for subkey in &change.subkeys {
        let below = below.and_then(|below| below.subkey(&subkey.name));
        match subkey.semantics {
            Semantics::Tombstone => assert!(below.is_some(), "{subkey:?}"),
            Semantics::SupersedeTree if change.semantics != Semantics::SupersedeTree => {
                assert!(below.is_some(), "{subkey:?}");
            }
            semantics => assert!(
                change.semantics != Semantics::SupersedeTree || semantics == change.semantics
            ),
        }
        let inherits = subkey.class == ClassChange::Inherit;
        let gone = subkey.semantics == Semantics::Tombstone;
        assert!(!inherits || gone || below.is_some(), "{subkey:?} has a class to inherit");
        assert!(!inherits || gone || !subkey.values.is_empty() || !subkey.subkeys.is_empty());
        for value in &subkey.values {
            let known = below.is_some_and(|below| below.value(&value.name().to_string()).is_some());
            assert!(known || matches!(value, ValueChange::Set(_)), "{subkey:?}");
        }
        check(subkey, below);
    }
}

#[test]
fn a_lifted_change_does_to_the_image_what_the_container_did_to_what_it_saw() {
    for seed in 0..500 {
        let mut random = Random(seed);
        let [mut wine, mut image] = [Key::new("ROOT"), Key::new("ROOT")];
        random.changes(30).iter().for_each(|change| change.make(&mut wine));
        random.changes(60).iter().for_each(|change| change.make(&mut image));
        let seen = projected(&wine, &image);
        let mut after = seen.clone();
        random.changes(12).iter().for_each(|change| change.make(&mut after));

        let delta = lift(diff(&seen, &after), &seen, &image);
        check(&delta.root, Some(&image));
        let mut result = image.clone();
        apply(&mut result, &through_file(&delta));
        assert_eq!(
            flat(&result),
            expected(&flat(&image), &flat(&seen), &flat(&after)),
            "seed {seed}"
        );
    }
}

/// A container that saw `kept` and `shown` of `image`, and the delta of what `change` made.
fn lifted(image: &Key, hidden: &str, change: impl Fn(&mut Key)) -> Delta {
    let mut seen = image.clone();
    seen.remove(hidden);
    seen.get_or_create(r"Wine\own").unwrap().set_value(Value::dword("v", 1));
    let mut after = seen.clone();
    change(&mut after);
    lift(diff(&seen, &after), &seen, image)
}

fn image() -> Key {
    let mut image = Key::new("ROOT");
    let key = image.get_or_create(r"Services\Http").unwrap();
    key.set_value(Value::dword("Start", 3));
    key.last_write = 7;
    key.flags = KeyFlags(0x20_0000);
    key.security = Some(Security::from([1, 2, 3, 4].as_slice()));
    image.get_or_create(r"Enum\Root\Device").unwrap();
    image
}

#[test]
fn a_key_made_where_the_image_hid_one_replaces_it() {
    let delta = lifted(&image(), "Enum", |seen| {
        seen.get_or_create(r"Enum\Mine").unwrap();
    });
    let key = &delta.root.subkeys[0];
    assert_eq!(key.semantics, Semantics::SupersedeTree);
    assert_eq!(key.subkeys[0].semantics, Semantics::SupersedeTree);
}

#[test]
fn deleting_what_is_only_wines_changes_nothing() {
    let delta = lifted(&image(), "Enum", |seen| {
        seen.remove("Wine");
    });
    assert!(delta.is_empty(), "{delta:?}");
    let delta = lifted(&image(), "Enum", |seen| {
        seen.get_mut(r"Wine\own").unwrap().remove_value("v");
    });
    assert!(delta.is_empty(), "{delta:?}");
}

#[test]
fn deleting_a_key_hides_what_the_container_could_not_see_below_it() {
    let delta = lifted(&image(), r"Enum\Root", |seen| {
        seen.remove("Enum");
    });
    let mut image = image();
    apply(&mut image, &delta);
    assert!(image.get("Enum").is_none());
}

#[test]
fn what_text_does_not_keep_comes_from_the_image() {
    let image = image();
    let mut seen = Key::new("ROOT");
    seen.get_or_create(r"Services\Http").unwrap();
    let mut after = seen.clone();
    after.get_or_create(r"Services\Http\new").unwrap();
    let delta = lift(diff(&seen, &after), &seen, &image);
    let key = &delta.root.subkeys[0].subkeys[0];
    let below = image.get(r"Services\Http").unwrap();
    assert_eq!((key.last_write, key.flags), (below.last_write, below.flags));
    assert_eq!(key.security, below.security);
}
