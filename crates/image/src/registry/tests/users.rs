//! The hives of accounts.

use super::*;

fn profile(file: &str) -> String {
    format!("Users/{ACCOUNT}/{file}")
}

fn hive(values: &[(&str, Value)]) -> Vec<u8> {
    oriel_hive::write(&tree(values)).unwrap()
}

/// A hive of an account as Oriel's bases have it, with one value.
fn own(value: &str) -> Vec<u8> {
    let wine = (r"Software\Wine\Drivers", Value::sz("Graphics", "null"));
    hive(&[wine, ("Console", Value::sz("which", value))])
}

fn which(layers: &Layers) -> Option<String> {
    text(&layers.seen().user, "Console", "which")
}

#[test]
fn the_topmost_hive_of_an_account_counts_and_can_be_removed() {
    let mut layers = oriel();
    layers.file(Root::Files, "Users/Default/NTUSER.DAT", &own("new account"));
    layers.add().file(Root::Files, &profile("NTUSER.DAT"), &own("own"));
    assert_eq!(which(&layers).as_deref(), Some("own"));
    layers.add().file(Root::Files, "users/CONTAINERADMINISTRATOR/x", b"");
    let removed = layers.chain[0].join("Files/Users").join(ACCOUNT);
    fs_err::remove_dir_all(layers.chain[0].join("Files")).unwrap();
    fs_err::create_dir_all(&removed).unwrap();
    let directory = crate::disk::Dir::open(&removed).unwrap();
    if let Err(error) = directory.whiteout("NTUSER.DAT") {
        crate::tests::writeln_skipped(&format!("no whiteouts here: {error}"));
        return;
    }
    assert_eq!(which(&layers).as_deref(), Some("new account"));
}

#[test]
fn an_opaque_profile_hides_the_hive_below() {
    let mut layers = oriel();
    layers.file(Root::Files, "Users/Default/NTUSER.DAT", &own("new account"));
    layers.add();
    let opaque = layers.chain[0].join("Files/Users").join(ACCOUNT);
    fs_err::create_dir_all(&opaque).unwrap();
    let directory = crate::disk::Dir::open(&opaque).unwrap();
    if !crate::disk::set_xattr(&directory, crate::attributes::OPAQUE, b"y").unwrap() {
        crate::tests::writeln_skipped("only root can make directories opaque");
        return;
    }
    assert_eq!(which(&layers).as_deref(), Some("new account"));
}

#[test]
fn a_hive_from_windows_stands_on_what_wine_needs() {
    let mut layers = oriel();
    let windows = hive(&[
        ("Console", Value::sz("which", "windows")),
        ("Volatile Environment", Value::sz("USERNAME", "builder")),
        (r"Software\Vendor", Value::sz("Key", "x")),
    ]);
    layers.add().file(Root::Files, &profile("NTUSER.DAT"), &windows);
    let seen = layers.seen();
    assert_eq!(text(&seen.user, "Console", "which").as_deref(), Some("windows"));
    assert_eq!(text(&seen.user, r"Software\Wine\Drivers", "Graphics").as_deref(), Some("null"));
    assert!(seen.user.get("Volatile Environment").is_none());
    let made = layers.commit(&[], |trees| {
        set(&mut trees.user, r"Software\Vendor", Value::sz("Key", "y"));
        set(&mut trees.user, r"Software\Wine", Value::sz("Version", "win7"));
    });
    let stored = oriel_hive::read(&made.user.unwrap()).unwrap();
    assert_eq!(text(&stored, r"Software\Vendor", "Key").as_deref(), Some("y"));
    assert_eq!(text(&stored, "Volatile Environment", "USERNAME").as_deref(), Some("builder"));
    assert!(stored.get(r"Software\Wine").is_none());
    let seen = layers.seen();
    assert_eq!(text(&seen.user, r"Software\Wine\Drivers", "Graphics").as_deref(), Some("null"));
}

#[test]
fn classes_of_an_account_are_found_in_either_file() {
    let mut layers = oriel();
    let classes = hive(&[(r".example\shell", Value::sz("", "open"))]);
    layers.add().file(Root::Files, &profile(super::super::chain::CLASSES_FILE), &classes);
    let seen = layers.seen();
    let path = r"Software\Classes\.example\shell";
    assert_eq!(text(&seen.user, path, "").as_deref(), Some("open"));
    layers.commit(&[], |trees| set(&mut trees.user, path, Value::sz("", "edit")));
    assert_eq!(text(&layers.seen().user, path, "").as_deref(), Some("edit"));
}

#[test]
fn a_dirty_hive_is_recovered_from_its_logs_or_taken_as_it_stands() {
    let mut dirty = own("dirty");
    dirty[4] = 9;
    dirty[508..512].fill(0);
    let (numbers, _) = dirty[..508].as_chunks::<4>();
    let sum = numbers.iter().fold(0, |sum, number| sum ^ u32::from_le_bytes(*number));
    dirty[508..512].copy_from_slice(&sum.to_le_bytes());
    let mut layers = oriel();
    layers.add().file(Root::Files, &profile("NTUSER.DAT"), &dirty);
    layers.file(Root::Files, &profile("ntuser.dat.LOG1"), b"");
    assert_eq!(which(&layers).as_deref(), Some("dirty"));
}
