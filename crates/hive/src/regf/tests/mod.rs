//! Hives that are well and hives that are not.

mod hostile;
mod recover;

use super::base_block::{PAGE, checksum};
use super::write::name_hash;
use super::*;
use crate::delta::{ClassChange, Semantics, ValueChange};
use crate::{KeyFlags, MAX_DEPTH, Security, Structure, Value, ValueKind, WideString};

/// A tree with every feature that a base hive has.
fn specimen() -> Key {
    let mut root = Key::new("ROOT");
    root.last_write = 0x01da_1756_a1e4_b800;
    root.security = Some(Security::from(security::DEFAULT));
    let key = root.get_or_create(r"ControlSet001\Control\Session Manager").unwrap();
    key.last_write = 7;
    key.class = Some("GenericClass".into());
    for (name, length) in [("none", 0), ("one", 1), ("four", 4), ("five", 5), ("cell", SEGMENT)] {
        key.set_value(Value::new(name, ValueKind::BINARY, vec![0xa5; length]));
    }
    key.set_value(Value::sz("", "the default value"));
    key.set_value(Value::new("odd type", ValueKind(0xffff_0012), [1, 2, 3]));
    for name in ["Grüße", "日本語", "a\0b", "MiXed"] {
        key.set_value(Value::expand_sz(name, "%PATH%"));
        key.get_or_create(name).unwrap().set_value(Value::qword("q", u64::MAX));
    }
    key.insert(Key::new(WideString::from(vec![0xd800, 0x61])));
    let link = root.get_or_create("CurrentControlSet").unwrap();
    link.flags = KeyFlags(KeyFlags::SYMLINK.0 | 0x2 << 16);
    link.set_value(Value::new("SymbolicLinkValue", ValueKind::LINK, *b"\\\0R\0"));
    let guarded = root.get_or_create("Guarded").unwrap();
    guarded.security = Some(Security::from([1, 2, 3, 4].as_slice()));
    root
}

/// A small hive for damaging.
fn small_hive() -> Vec<u8> {
    let mut root = Key::new("ROOT");
    let key = root.get_or_create(r"a\b").unwrap();
    key.class = Some("class".into());
    key.set_value(Value::sz("name", "some text"));
    root.get_or_create("c").unwrap().set_value(Value::new("big", ValueKind::BINARY, [7; 20_000]));
    write(&root).unwrap()
}

/// Security descriptors are written for every key; trees are compared without them.
fn without_security(key: &mut Key) {
    key.security = None;
    key.subkeys_mut().iter_mut().for_each(without_security);
}

/// Where the first `bytes` from `start` on are in the file.
fn find(hive: &[u8], start: usize, bytes: &[u8]) -> usize {
    start + hive[start..].windows(bytes.len()).position(|window| window == bytes).unwrap()
}

/// The hive with a field overwritten.
fn overwritten<const N: usize>(hive: &[u8], at: usize, field: [u8; N]) -> Vec<u8> {
    let mut hive = hive.to_vec();
    hive[at..at + N].copy_from_slice(&field);
    hive
}

/// The hive with a field overwritten and its sum right again.
fn damaged<const N: usize>(hive: &[u8], at: usize, field: [u8; N]) -> Vec<u8> {
    let mut hive = overwritten(hive, at, field);
    let sum = checksum(&hive);
    hive[508..512].copy_from_slice(&sum.to_le_bytes());
    hive
}

#[test]
fn names_hash_as_windows_does() {
    // "The Windows Registry Adventure #6", Google Project Zero, and genuine hives.
    let known = [
        ("Microsoft", 0x7f00_cd26),
        ("Windows", 0x2f7d_e68b),
        ("CurrentVersion", 0x7e25_f69d),
        ("Café", 0x0035_2f57),
    ];
    for (name, hash) in known {
        assert_eq!(name_hash(&name.into()), hash, "{name}");
    }
}

#[test]
fn a_written_hive_reads_back_the_same() {
    let tree = specimen();
    let mut back = read(&write(&tree).unwrap()).unwrap();
    let guarded = back.get("Guarded").and_then(|key| key.security.clone());
    assert_eq!(guarded.unwrap().as_bytes(), [1, 2, 3, 4]);
    let mut tree = tree;
    without_security(&mut tree);
    without_security(&mut back);
    assert_eq!(back, tree);
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    assert_eq!(write(&specimen()).unwrap(), write(&specimen()).unwrap());
}

#[test]
fn data_of_any_length_around_the_segment_size_survives() {
    for length in [SEGMENT, SEGMENT + 1, 2 * SEGMENT, 2 * SEGMENT + 1, 100_000] {
        let data: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut root = Key::new("ROOT");
        root.set_value(Value::new("v", ValueKind::BINARY, data));
        assert_eq!(read(&write(&root).unwrap()).unwrap().values(), root.values(), "{length}");
    }
}

#[test]
fn a_hundred_thousand_keys_in_one_list_survive() {
    let mut root = Key::new("ROOT");
    for number in 0..100_000 {
        root.insert(Key::new(format!("{number:06}")));
    }
    let hive = write(&root).unwrap();
    let back = read(&hive).unwrap();
    assert_eq!(back.subkeys().len(), 100_000);
    assert!(back.get("099999").is_some());
    // 198 lists of 507 names, and one list of those.
    assert!(hive.windows(4).any(|bytes| bytes == [b'r', b'i', 198, 0]));
}

#[test]
fn keys_without_a_descriptor_take_that_of_the_key_above() {
    let mut root = Key::new("ROOT");
    root.get_or_create(r"a\b").unwrap();
    root.get_mut("a").unwrap().security = Some(Security::from([9].as_slice()));
    let hive = write(&root).unwrap();
    let back = read(&hive).unwrap();
    let of = |path| back.get(path).and_then(|key| key.security.clone()).unwrap();
    assert_eq!(of("").as_bytes(), security::DEFAULT);
    assert_eq!(of(r"a\b").as_bytes(), [9]);
    let record = find(&hive, PAGE, b"sk");
    assert_eq!(hive[record + 12..record + 16], [1, 0, 0, 0], "one key uses the first");
    let second = find(&hive, record + 4, b"sk");
    assert_eq!(hive[second + 12..second + 16], [2, 0, 0, 0], "two keys use the second");
}

#[test]
fn the_default_descriptor_is_as_long_as_offreg_writes_it() {
    assert_eq!(security::DEFAULT.len(), 144);
}

#[test]
fn what_no_hive_holds_is_refused() {
    let mut root = Key::new("ROOT");
    root.insert(Key::new(""));
    assert_eq!(write(&root), Err(HiveError::EmptyName));
    let mut root = Key::new("ROOT");
    root.insert(Key::new("x".repeat(257)));
    assert_eq!(write(&root), Err(HiveError::NameTooLong { length: 257, limit: 256 }));
    let mut key = Key::new("leaf");
    for _ in 0..=MAX_DEPTH {
        let mut above = Key::new("k");
        above.insert(key);
        key = above;
    }
    assert_eq!(write(&key), Err(HiveError::TooDeep { limit: MAX_DEPTH }));
}

#[test]
fn keys_as_deep_as_windows_permits_survive() {
    let path = [r"k\"; MAX_DEPTH].concat();
    let mut root = Key::new("ROOT");
    root.get_or_create(&path).unwrap();
    assert!(read(&write(&root).unwrap()).unwrap().get(&path).is_some());
}

#[test]
fn every_truncation_is_an_error() {
    let hive = small_hive();
    for length in 0..hive.len() {
        assert!(read(&hive[..length]).is_err(), "{length}");
        assert!(read_delta(&hive[..length]).is_err(), "{length}");
    }
}

#[test]
fn every_flipped_byte_of_the_header_is_an_error() {
    let hive = small_hive();
    for at in 0..512 {
        for bits in [0x01, 0x80, 0xff] {
            let mut hive = hive.clone();
            hive[at] ^= bits;
            assert!(read(&hive).is_err(), "byte {at} ^ {bits:#x}");
        }
    }
}

#[test]
fn a_dirty_hive_is_read_only_on_demand() {
    let hive = damaged(&small_hive(), 4, 2_u32.to_le_bytes());
    assert_eq!(read(&hive), Err(HiveError::Dirty { primary: 2, secondary: 1 }));
    assert!(read_unclean(&hive).is_ok());
}

/// A delta with every kind of change.
fn delta_specimen() -> Delta {
    let below = |name: &str, semantics| DeltaKey {
        name: name.into(),
        semantics,
        class: ClassChange::Set(None),
        ..DeltaKey::default()
    };
    let local = DeltaKey {
        class: ClassChange::Set(Some("class".into())),
        ..below("local", Semantics::SupersedeLocal)
    };
    let gone = DeltaKey { class: ClassChange::Inherit, ..below("gone", Semantics::Tombstone) };
    let renamed =
        DeltaKey { class: ClassChange::Inherit, ..below("renamed", Semantics::SupersedeTree) };
    let lead = DeltaKey {
        name: "lead".into(),
        values: vec![
            ValueChange::Set(Value::dword("set", 1)),
            ValueChange::Tombstone("gone".into()),
            ValueChange::Tombstone(WideString::default()),
            ValueChange::Set(Value::new("empty", ValueKind::NONE, [])),
        ],
        subkeys: vec![below("new", Semantics::Merge)],
        ..DeltaKey::default()
    };
    let subkeys = vec![gone, lead, local, renamed];
    Delta { root: DeltaKey { name: "ROOT".into(), subkeys, ..DeltaKey::default() } }
}

fn without_delta_security(key: &mut DeltaKey) {
    key.security = None;
    key.subkeys.iter_mut().for_each(without_delta_security);
}

#[test]
fn a_written_delta_reads_back_the_same() {
    let delta = delta_specimen();
    let mut back = read_delta(&write_delta(&delta).unwrap()).unwrap();
    without_delta_security(&mut back.root);
    assert_eq!(back, delta);
}

#[test]
fn tombstones_are_written_as_windows_does() {
    let hive = write_delta(&delta_specimen()).unwrap();
    let key = find(&hive, PAGE, b"gone") - key_field::NAME;
    assert_eq!(hive[key..key + 4], *b"nk\x20\0");
    assert_eq!(hive[key + 4..key + 14], [0, 0, 0, 0, 0, 0, 0, 0, 2, 1]);
    let value = find(&hive, key + 80, b"gone") - 20;
    assert_eq!(hive[value..value + 12], *b"vk\x04\0\0\0\0\0\xff\xff\xff\xff");
    assert_eq!(hive[value + 12..value + 18], [0, 0, 0, 0, 3, 0]);
}

#[test]
fn delta_hives_have_the_version_and_marks_of_genuine_ones() {
    let hive = write_delta(&Delta::default()).unwrap();
    assert_eq!(hive[24], 6);
    assert_eq!(hive[144], 2);
    assert_eq!(hive[176..184], *b"OfRg\x01\0\0\0");
    assert!(read_delta(&hive).unwrap().is_empty());
}

#[test]
fn a_plain_hive_is_a_delta_that_only_adds() {
    let delta = read_delta(&write(&specimen()).unwrap()).unwrap();
    let mut tree = Key::new("ROOT");
    tree.get_or_create("kept").unwrap();
    apply(&mut tree, &delta);
    assert!(tree.get("kept").is_some());
    let class = tree.get(r"controlset001\CONTROL\session manager").unwrap().class.clone();
    assert_eq!(class, Some("GenericClass".into()));
}

#[test]
fn a_delta_read_as_a_hive_is_what_it_makes_of_nothing() {
    let tree = read(&write_delta(&delta_specimen()).unwrap()).unwrap();
    let names: Vec<String> = tree.subkeys().iter().map(|key| key.name().to_string()).collect();
    assert_eq!(names, ["lead", "local", "renamed"]);
    assert_eq!(tree.get("lead").unwrap().values().len(), 2);
}

#[test]
fn deltas_written_here_are_told_from_others() {
    assert!(is_own_delta(&write_delta(&Delta::default()).unwrap()));
    assert!(!is_own_delta(&write(&Key::new("ROOT")).unwrap()));
    assert!(!is_own_delta(b"regf"));
}
