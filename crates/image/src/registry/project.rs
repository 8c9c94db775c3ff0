//! From the registry of a chain to the one that Wine has.

use oriel_hive::{Key, KeyFlags, Value, ValueKind};

use super::RegistryTrees;
use super::settings::{HOST_MARK, NETBIOS_MARK, VARIABLES_MARK};
use crate::ImageError;
use crate::error::Attempt;

/// Brings the merged trees into the shape Wine expects and puts the marks in.
pub(super) fn prepare(trees: &mut RegistryTrees) -> Result<(), ImageError> {
    let attempt = || "prepare a registry for Wine".to_owned();
    let system = trees.machine.get_or_create("System").attempt(attempt)?;
    let set = match system.remove("CurrentControlSet") {
        Some(set) if !set.is_symlink() && system.get("ControlSet001").is_none() => set,
        _ => system.remove("ControlSet001").unwrap_or_default(),
    };
    system.insert(set.renamed("ControlSet001"));
    system.insert(control_set_link());
    let control = system.get_or_create("ControlSet001").attempt(attempt)?;
    for key in ["ComputerName", "ActiveComputerName"] {
        control
            .get_or_create(&format!(r"Control\ComputerName\{key}"))
            .attempt(attempt)?
            .set_value(Value::sz("ComputerName", NETBIOS_MARK));
    }
    let tcpip = control.get_or_create(r"Services\Tcpip\Parameters").attempt(attempt)?;
    tcpip.set_value(Value::sz("Hostname", HOST_MARK));
    tcpip.set_value(Value::sz("NV Hostname", HOST_MARK));
    let volatile = trees.user.get_or_create("Volatile Environment").attempt(attempt)?;
    volatile.set_value(Value::sz(VARIABLES_MARK, ""));
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
