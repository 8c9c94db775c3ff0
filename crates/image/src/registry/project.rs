//! Between the registry of a chain and the one that Wine has.
//!
//! Windows numbers its control sets, `Select\Current` says which one is the current one, and the
//! boot loader makes the link `CurrentControlSet`. Wine always wants the first. So the current set
//! and the first change places on the way to Wine, and again on the way back.

use oriel_hive::{Delta, Key, KeyFlags, Value, ValueChange, ValueKind};

use super::RegistryTrees;
use crate::ImageError;
use crate::error::Attempt;

/// The control set that Wine uses.
const FIRST: u32 = 1;

/// The key that says which control set is which.
const SELECT: &str = "Select";

/// Name of a control set.
pub(super) fn control_set(number: u32) -> String {
    format!("ControlSet{number:03}")
}

/// Which control set of a system hive is the current one.
pub(super) fn current(system: &Key) -> u32 {
    let number = system
        .get(SELECT)
        .and_then(|select| select.value("Current"))
        .and_then(Value::number)
        .filter(|number| *number <= 999);
    number.filter(|number| system.get(&control_set(*number)).is_some()).unwrap_or(FIRST)
}

/// Lets the first control set and that of `number` change places.
pub(super) fn swap(system: &mut Key, number: u32) {
    if number == FIRST {
        return;
    }
    let names = [control_set(FIRST), control_set(number)];
    let sets = names.each_ref().map(|name| system.remove(name));
    for (set, name) in sets.into_iter().zip(names.into_iter().rev()) {
        if let Some(set) = set {
            system.insert(set.renamed(name));
        }
    }
    if let Some(select) = system.get_mut(SELECT) {
        let values = select.values().to_vec();
        values.into_iter().for_each(|value| drop(select.set_value(swapped(value, number))));
    }
}

/// The same in what changes.
pub(super) fn swap_delta(system: &mut Delta, number: u32) {
    if number == FIRST {
        return;
    }
    let names = [control_set(FIRST), control_set(number)];
    for key in &mut system.root.subkeys {
        let name = key.name.to_string();
        if name.eq_ignore_ascii_case(&names[0]) {
            key.name = names[1].as_str().into();
        } else if name.eq_ignore_ascii_case(&names[1]) {
            key.name = names[0].as_str().into();
        } else if name.eq_ignore_ascii_case(SELECT) {
            for change in &mut key.values {
                if let ValueChange::Set(value) = change {
                    *value = swapped(value.clone(), number);
                }
            }
        }
    }
    system.root.subkeys.sort_by(|a, b| a.name.name_order(&b.name));
}

/// A value of `Select`, whose numbers mean control sets.
fn swapped(value: Value, number: u32) -> Value {
    match value.number() {
        Some(FIRST) => Value::dword(value.name, number),
        Some(other) if other == number => Value::dword(value.name, FIRST),
        _ => value,
    }
}

/// Brings merged trees into the shape Wine expects. `number` is the current control set.
pub(super) fn show(trees: &mut RegistryTrees, number: u32) -> Result<(), ImageError> {
    let attempt = || "prepare a registry for Wine".to_owned();
    let system = trees.machine.get_or_create("System").attempt(attempt)?;
    let first = control_set(FIRST);
    match system.remove("CurrentControlSet") {
        // Wine before version 10 had it as a key.
        Some(set) if !set.is_symlink() && system.get(&first).is_none() => {
            system.insert(set.renamed(first.as_str()));
        }
        _ => swap(system, number),
    }
    system.get_or_create(&first).attempt(attempt)?;
    system.insert(control_set_link());
    Ok(())
}

/// The link that makes `CurrentControlSet` the first control set, as wineserver makes it.
fn control_set_link() -> Key {
    let mut link = Key::new("CurrentControlSet");
    link.flags = KeyFlags::SYMLINK;
    let target = r"\Registry\Machine\System\ControlSet001";
    let data: Vec<u8> = target.encode_utf16().flat_map(u16::to_le_bytes).collect();
    link.set_value(Value::new("SymbolicLinkValue", ValueKind::LINK, data));
    link
}
