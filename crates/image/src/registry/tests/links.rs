//! Keys that Wine has links for.

use oriel_hive::{KeyFlags, ValueKind};

use super::*;

/// Puts a link at `path` below `root`.
fn link(root: &mut Key, path: &str, target: &str) {
    let key = root.get_or_create(path).unwrap();
    key.flags = KeyFlags::SYMLINK;
    let data: Vec<u8> = target.encode_utf16().flat_map(u16::to_le_bytes).collect();
    key.set_value(Value::new("SymbolicLinkValue", ValueKind::LINK, data));
}

/// A base with links as Wine has them.
fn with_links() -> Layers {
    let mut software = tree(&[
        ("Wine", Value::dword("x", 1)),
        (r"Clients\Mail", Value::sz("", "none")),
        (r"Wow6432Node\Classes64", Value::sz("", "plain")),
    ]);
    link(&mut software, r"Wow6432Node\Clients", r"\Registry\Machine\Software\Clients");
    link(&mut software, r"Wow6432Node\Outside", r"\Registry\Elsewhere\X");
    Layers::on(&[(Hive::Software, software)])
}

#[test]
fn what_windows_has_below_a_link_of_wines_goes_to_its_target() {
    let mut layers = with_links();
    // To Windows it is a key.
    let mut stored = Key::new("ROOT");
    set(&mut stored, r"WOW6432Node\Clients\Mail", Value::sz("", "Example"));
    set(&mut stored, r"WOW6432Node\Clients\Media\Player", Value::sz("", "Example"));
    set(&mut stored, r"WOW6432Node\Vendor", Value::sz("Version", "1"));
    set(&mut stored, r"WOW6432Node\Outside\Y", Value::sz("", "lost"));
    let delta = oriel_hive::diff(&Key::new("ROOT"), &stored);
    let mut bytes = oriel_hive::write_delta(&delta).unwrap();
    without_name(&mut bytes);
    layers.add().file(Root::Hives, "Software_Delta", &bytes);
    let seen = layers.seen();
    let software = seen.machine.get("Software").unwrap();
    assert_eq!(text(software, r"Clients\Mail", "").as_deref(), Some("Example"));
    assert_eq!(text(software, r"Clients\Media\Player", "").as_deref(), Some("Example"));
    assert_eq!(text(software, r"Wow6432Node\Vendor", "Version").as_deref(), Some("1"));
    for path in [r"Wow6432Node\Clients", r"Wow6432Node\Outside"] {
        let link = software.get(path).unwrap();
        assert!(link.is_symlink() && link.subkeys().is_empty(), "{path}");
    }
}

#[test]
fn links_are_not_carried_into_deltas_and_stay_where_they_are() {
    let mut layers = with_links();
    // What wineserver makes of a program that writes below the link.
    let made = layers.commit(&[], |trees| {
        set(&mut trees.machine, r"Software\Clients\Mail", Value::sz("", "New"));
    });
    let delta = oriel_hive::read(&made.hives[0].1).unwrap();
    assert!(delta.get("Wow6432Node").is_none());
    let seen = layers.seen();
    assert!(seen.machine.get(r"Software\Wow6432Node\Clients").unwrap().is_symlink());
    assert_eq!(text(&seen.machine, r"Software\Clients\Mail", "").as_deref(), Some("New"));
}

#[test]
fn a_change_below_a_link_is_made_where_it_leads() {
    let mut seen = oriel().seen();
    let mut wanted = Key::new("");
    set(&mut wanted, r"System\CurrentControlSet\Services\App\Parameters", Value::dword("x", 1));
    let change = oriel_hive::diff(&Key::new(""), &wanted);
    super::super::links::apply(&mut seen.machine, &change, r"\Registry\Machine").unwrap();
    assert!(seen.machine.get(r"System\CurrentControlSet").unwrap().is_symlink());
    assert!(seen.machine.get(r"System\ControlSet001\Services\App\Parameters").is_some());
    assert!(seen.machine.get(r"System\ControlSet001\Services\Spooler").is_some());
}

#[test]
fn links_in_a_ring_end() {
    let mut root = Key::new("");
    link(&mut root, "a", r"\Registry\Machine\b\c");
    link(&mut root, r"b\c", r"\Registry\Machine\b");
    let mut wanted = Key::new("");
    set(&mut wanted, r"a\c\c\c", Value::dword("x", 1));
    let change = oriel_hive::diff(&Key::new(""), &wanted);
    super::super::links::apply(&mut root, &change, r"\Registry\Machine").unwrap();
}
