//! Two states of a file of Wine, of which only what differs is read.

use oriel_hive::wine::{self, Branch};
use oriel_hive::{ClassChange, Delta, DeltaKey, Key, KeyFlags, Value, diff};

use crate::model::Random;

/// A delta without what a key that only leads to others says of itself.
fn without_leads(mut delta: Delta) -> Delta {
    fn strip(key: &mut DeltaKey) {
        if key.values.is_empty() && key.class == ClassChange::Inherit {
            (key.last_write, key.flags) = (0, KeyFlags::default());
        }
        key.subkeys.iter_mut().for_each(strip);
    }
    strip(&mut delta.root);
    delta
}

fn assert_same_changes(old: &[u8], new: &[u8], what: &str) -> [usize; 2] {
    let [whole_old, whole_new] = [old, new].map(|text| wine::parse(text).unwrap());
    let (read_old, read_new) = wine::parse_changed(old, new).unwrap();
    let [whole, read] =
        [diff(&whole_old, &whole_new), diff(&read_old, &read_new)].map(without_leads);
    assert_eq!(read, whole, "{what}");
    [whole_new.key_count(), read_new.key_count()]
}

#[test]
fn what_differs_is_found_without_reading_the_rest() {
    for seed in 0..150 {
        let mut random = Random(seed);
        let mut tree = Key::new("");
        random.changes(80).iter().for_each(|change| change.make(&mut tree));
        let mut later = tree.clone();
        random
            .changes(if seed % 2 == 0 { 2 } else { 20 })
            .iter()
            .for_each(|it| it.make(&mut later));
        let [tree, later] = [tree, later].map(|tree| wine::render(&tree, &Branch::Machine));
        assert_same_changes(&tree, &later, &format!("seed {seed}"));
        assert_same_changes(&later, &tree, &format!("seed {seed}"));
    }
}

#[test]
fn keys_that_are_the_same_are_not_read() {
    let mut tree = Key::new("");
    for number in 0..1000 {
        let key = tree.get_or_create(&format!(r"Software\Vendor\{number:04}")).unwrap();
        key.set_value(Value::dword("v", number));
    }
    let old = wine::render(&tree, &Branch::Machine);
    tree.get_mut(r"Software\Vendor\0500").unwrap().set_value(Value::dword("v", 0));
    let new = wine::render(&tree, &Branch::Machine);
    let [whole, read] = assert_same_changes(&old, &new, "one value");
    assert_eq!(whole, 1003);
    assert!(read < 10, "{read}");
}

#[test]
fn what_a_container_wrote_itself_is_read_as_a_whole() {
    let file = |sections: &str| format!("WINE REGISTRY Version 2\n;; x\n\n#arch=win64\n{sections}");
    let old =
        file("\n[A] 1\n\"v\"=\"1\"\n\n[B] 1\n\"v\"=\"1\"\n\n[B\\\\C] 1\n\n[D] 1\n\"v\"=\"1\"\n");
    let others = [
        "",
        "[D] 1\n\"v\"=\"1\"\n[A] 1\n\"v\"=\"1\"\n",
        "\n[A] 1\n\"v\"=\"1\"\n\n[B] 1\n\"v\"=\"1\"\n\n[B] 2\n\"v\"=\"2\"\n\n[D] 1\n\"v\"=\"1\"\n",
        "\n[A] 1\n\"v\"=\"1\"\n[D] 1\n\"v\"=\"1\"\n\n[A] 1\n\"v\"=\"2\"\n",
        "\r\n[a] 1\r\n\"V\"=\"1\"\r\n",
        "\n[A] 1\n\"v\"=hex:01,\\\n  02\n\n[B\\\\C] 1\n",
    ];
    for other in others {
        assert_same_changes(old.as_bytes(), file(other).as_bytes(), other);
    }
    let broken = file("\n[A] 1\n\"v\"=\"1\"\n\n[B] 1\n\"v\"=what\n");
    let error = wine::parse(broken.as_bytes()).unwrap_err();
    assert_eq!(wine::parse_changed(old.as_bytes(), broken.as_bytes()), Err(error));
}
