//! Renders the base hives of an extracted layer as Wine's registry files: `prefix FILES TARGET`.

use std::path::PathBuf;

use oriel_hive::wine::{Branch, LOCAL_USER, render};
use oriel_hive::{Key, Value, ValueKind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let usage = "usage: prefix FILES TARGET";
    let (files, target) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let config = files.join("Windows/System32/config");
    let mut machine = Key::new("");
    for (file, name) in [("SYSTEM", "System"), ("SOFTWARE", "Software")] {
        machine.insert(oriel_hive::read(&fs_err::read(config.join(file))?)?.renamed(name));
    }
    let link: Vec<u8> = "\\Registry\\Machine\\System\\ControlSet001"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let current = machine.get_or_create("System\\CurrentControlSet")?;
    current.flags = oriel_hive::KeyFlags::SYMLINK;
    current.set_value(Value::new("SymbolicLinkValue", ValueKind::LINK, link));
    let user = oriel_hive::read(&fs_err::read(files.join("Users/ContainerUser/NTUSER.DAT"))?)?;
    let default = oriel_hive::read(&fs_err::read(config.join("DEFAULT"))?)?;
    fs_err::create_dir_all(&target)?;
    fs_err::write(target.join("system.reg"), render(&machine, &Branch::Machine))?;
    fs_err::write(target.join("userdef.reg"), render(&default, &Branch::Default))?;
    fs_err::write(target.join("user.reg"), render(&user, &Branch::User(LOCAL_USER.to_owned())))?;
    Ok(())
}
