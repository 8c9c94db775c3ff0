//! Finding keys and planning changes, on trees made by hand.

use oriel_hcs::bridge::{RegistryHive, RegistryOperation};
use oriel_hive::{Key, KeyFlags, Value, ValueKind, reg};
use oriel_image::RegistryTrees;

use super::plan::Plan;
use super::view::RegistryView;
use super::{KeyName, link_target};

fn link(to: &str) -> Key {
    let mut link = Key::new("link");
    link.flags = KeyFlags::SYMLINK;
    let data: Vec<u8> = to.encode_utf16().flat_map(u16::to_le_bytes).collect();
    link.set_value(Value::new("SymbolicLinkValue", ValueKind::LINK, data));
    link
}

fn view() -> RegistryView {
    let mut trees = RegistryTrees::default();
    let set = trees.machine.get_or_create(r"System\ControlSet001\Control").unwrap();
    set.set_value(Value::dword("here", 1));
    let system = trees.machine.get_mut("System").unwrap();
    let target = r"\Registry\Machine\System\ControlSet001";
    system.insert(link(target).renamed("CurrentControlSet"));
    system.insert(link(r"\REGISTRY\USER\.default\x").renamed("Away"));
    system.insert(link(r"\Registry\Machine\System\Round").renamed("Round"));
    system.insert(link(r"\Registry\A\System").renamed("Out"));
    for (class, value) in [("both", 1), ("machine", 1)] {
        let path = format!(r"Software\Classes\{class}");
        trees.machine.get_or_create(&path).unwrap().set_value(Value::dword("v", value));
    }
    for (class, value) in [("Both", 2), ("user", 2)] {
        let path = format!(r"Software\Classes\{class}");
        trees.user.get_or_create(&path).unwrap().set_value(Value::dword("v", value));
    }
    trees.default.get_or_create(r"X\y").unwrap();
    RegistryView { trees }
}

/// The full name of a key and its number `v`, if there is such a key.
fn found(key: &str) -> Option<(String, Option<u32>)> {
    let view = view();
    let found = view.key(&KeyName::parse(key).unwrap()).ok()?;
    let number = found.key.value("v").and_then(Value::number);
    Some((found.name.to_string(), number))
}

fn name_of(key: &str) -> Option<String> {
    found(key).map(|(name, _)| name)
}

#[test]
fn keys_are_found_through_links_under_the_name_asked_for() {
    let key = name_of(r"hklm\SYSTEM\currentcontrolset\control").unwrap();
    assert_eq!(key, r"HKEY_LOCAL_MACHINE\System\CurrentControlSet\Control");
    assert_eq!(name_of(r"HKLM\system\away\Y").unwrap(), r"HKEY_LOCAL_MACHINE\System\Away\y");
    assert_eq!(name_of(r"HKU\.default\x").unwrap(), r"HKEY_USERS\.default\X");
    for missing in [
        r"HKLM\System\Round",
        r"HKLM\System\Round\a",
        r"HKLM\System\Out",
        r"HKLM\System\None",
        r"HKU\S-1-5-18\Software",
    ] {
        assert_eq!(name_of(missing), None, "{missing}");
    }
}

#[test]
fn users_are_the_default_one_and_the_containers() {
    let view = view();
    let users = view.key(&KeyName::parse("HKU").unwrap()).unwrap();
    let names: Vec<_> = users.key.subkeys().iter().map(|key| key.name().to_string()).collect();
    assert_eq!(names, [".DEFAULT", "S-1-5-21-0-0-0-1000"]);
    let own = name_of(r"HKU\S-1-5-21-0-0-0-1000\software\classes\user").unwrap();
    assert_eq!(own, r"HKEY_USERS\S-1-5-21-0-0-0-1000\Software\Classes\user");
}

#[test]
fn classes_are_everybodys_and_over_them_the_users() {
    assert_eq!(found(r"HKCR\BOTH").unwrap(), (r"HKEY_CLASSES_ROOT\both".into(), Some(2)));
    assert_eq!(found(r"HKCR\machine").unwrap().1, Some(1));
    assert_eq!(found(r"HKCR\user").unwrap().1, Some(2));
    let view = view();
    let all = view.key(&KeyName::parse("HKCR").unwrap()).unwrap();
    assert_eq!((all.name.to_string().as_str(), all.key.subkeys().len()), ("HKEY_CLASSES_ROOT", 3));
}

/// The operations of a file, as `+key`, `-key`, `key|name=` and `key|name-`.
fn operations(file: &str) -> Result<Vec<String>, String> {
    let text = format!("Windows Registry Editor Version 5.00\n{file}");
    let plan = Plan::new(&view(), reg::parse(text.as_bytes()).unwrap());
    let of = |key: &oriel_hcs::bridge::RegistryKey| {
        let hive = match key.hive {
            RegistryHive::Machine => "M",
            RegistryHive::Default => "D",
            RegistryHive::User => "U",
        };
        let names = key.names.iter().map(|name| format!(r"\{}", String::from_utf16_lossy(name)));
        std::iter::once(hive.to_owned()).chain(names).collect::<String>()
    };
    let text = |name: &[u16]| String::from_utf16_lossy(name);
    let shown = |operation: &RegistryOperation| match operation {
        RegistryOperation::CreateKey { key } => format!("+{}", of(key)),
        RegistryOperation::DeleteKey { key } => format!("-{}", of(key)),
        RegistryOperation::SetValue { key, name, .. } => format!("{}|{}=", of(key), text(name)),
        RegistryOperation::DeleteValue { key, name } => format!("{}|{}-", of(key), text(name)),
    };
    match plan {
        Ok(plan) => Ok(plan.operations().iter().map(shown).collect()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn changes_go_where_windows_makes_them() {
    for (file, expected) in [
        (r"[HKLM\System\CurrentControlSet\New]", r"+M\System\ControlSet001\New"),
        (r"[-HKLM\System\CurrentControlSet]", r"-M\System\CurrentControlSet"),
        (r"[HKCR\machine\new]", r"+M\Software\Classes\machine\new"),
        (r"[HKCR\both]", r"+U\Software\Classes\Both"),
        (r"[HKCR\new]", r"+M\Software\Classes\new"),
        (r"[HKU\.DEFAULT\x]", r"+D\X"),
        (r"[HKEY_USERS\S-1-5-21-0-0-0-1000\a]", r"+U\a"),
    ] {
        assert_eq!(operations(file).unwrap(), [expected], "{file}");
    }
    let both = operations("[HKCU\\a]\n\"v\"=\"1\"\n@=-\n[-HKCU\\a]").unwrap();
    assert_eq!(both, [r"+U\a", r"U\a|v=", r"U\a|-", r"-U\a"]);
}

#[test]
fn a_file_for_no_registry_of_ours_names_its_line() {
    for (file, words) in [
        ("\n[Nowhere\\a]", "line 3: `Nowhere\\a` is no name of a registry key"),
        ("[HKEY_USERS\\S-1-5-18\\a]", "line 2: "),
        ("[HKLM\\System\\Round\\a]", "a link on the way to it leads nowhere"),
        ("[-HKLM]", "a root cannot be deleted"),
        ("[-HKU\\.DEFAULT]", "a root cannot be deleted"),
    ] {
        let error = operations(file).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_change_is_the_least_that_makes_it() {
    let file = "Windows Registry Editor Version 5.00\n[HKCU\\Software\\Classes\\user]\n\
                \"v\"=dword:2\n\"new\"=dword:1\n\"none\"=-\n[-HKCU\\none]\n[HKLM\\System]\n";
    let view = view();
    let plan = Plan::new(&view, reg::parse(file.as_bytes()).unwrap()).unwrap();
    assert_eq!(plan.size(), (3, 3));
    let change = plan.change(&view).unwrap();
    assert!(change.machine.is_empty() && change.default.is_empty());
    let user = &change.user.root.subkeys[0].subkeys[0].subkeys[0];
    assert_eq!((user.values.len(), user.values[0].name().to_string().as_str()), (1, "new"));
}

#[test]
fn a_links_target_is_told() {
    assert_eq!(link_target(&link(r"\Registry\x")).unwrap(), r"\Registry\x");
    assert_eq!(link_target(&Key::new("a")), None);
}
