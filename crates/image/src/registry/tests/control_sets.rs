//! Control sets, there and back.

use super::*;

/// A base whose second control set is the current one.
fn second() -> Layers {
    let system = tree(&[
        ("Select", Value::dword("Current", 2)),
        ("Select", Value::dword("Default", 2)),
        ("Select", Value::dword("LastKnownGood", 1)),
        (r"ControlSet001\Control", Value::sz("which", "old")),
        (r"ControlSet002\Control", Value::sz("which", "current")),
    ]);
    let software = tree(&[("Wine", Value::dword("x", 1))]);
    Layers::on(&[(Hive::System, system), (Hive::Software, software)])
}

#[test]
fn the_current_control_set_is_the_first_to_programs() {
    let trees = second().seen();
    let system = trees.machine.get("System").unwrap();
    assert_eq!(text(system, r"ControlSet001\Control", "which").as_deref(), Some("current"));
    assert_eq!(text(system, r"ControlSet002\Control", "which").as_deref(), Some("old"));
    let select = system.get("Select").unwrap();
    let numbers = ["Current", "Default", "LastKnownGood"]
        .map(|name| select.value(name).unwrap().number().unwrap());
    assert_eq!(numbers, [1, 1, 2]);
    assert!(system.get("CurrentControlSet").unwrap().is_symlink());
}

#[test]
fn a_change_of_the_current_control_set_goes_back_to_its_number() {
    let mut layers = second();
    let made = layers.commit(&[], |trees| {
        set(&mut trees.machine, r"System\ControlSet001\Services\App", Value::dword("Type", 0x10));
        set(&mut trees.machine, r"System\Select", Value::dword("Failed", 1));
    });
    let [(name, hive)] = &made.hives[..] else { panic!("{:?}", made.hives) };
    assert_eq!(*name, "System_Delta");
    let delta = oriel_hive::read(hive).unwrap();
    assert!(delta.get(r"ControlSet002\Services\App").is_some());
    assert!(delta.get("ControlSet001").is_none());
    assert_eq!(delta.get("Select").unwrap().value("Failed").unwrap().number(), Some(2));
    let seen = layers.seen();
    assert!(seen.machine.get(r"System\ControlSet001\Services\App").is_some());
    let whole = layers.exported(&[], "SYSTEM");
    assert!(whole.get(r"ControlSet002\Services\App").is_some());
    assert_eq!(text(&whole, r"ControlSet001\Control", "which").as_deref(), Some("old"));
}

#[test]
fn the_link_to_the_current_control_set_is_in_no_layer() {
    let mut layers = oriel();
    let made = layers.commit(&[], |trees| {
        trees.machine.remove(r"System\CurrentControlSet");
    });
    assert!(made.hives.is_empty() && made.user.is_none());
    let hive = layers.exported(&[], "SYSTEM");
    assert!(hive.get("CurrentControlSet").is_none());
}

#[test]
fn a_current_control_set_that_is_not_there_is_the_first() {
    let layers = Layers::on(&[
        (Hive::System, tree(&[("Select", Value::dword("Current", 7))])),
        (Hive::Software, tree(&[("Wine", Value::dword("x", 1))])),
    ]);
    assert!(layers.seen().machine.get(r"System\ControlSet001").is_some());
}
