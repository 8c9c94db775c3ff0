//! From the registry that Wine makes to the base hives of an image.
//!
//! Pure: trees in, trees out. What the build machine left in it goes, the version becomes that of
//! Windows Server 2022, and services that only cost time do not start (`wine-personality`, 1.1).

use oriel_hive::{HiveError, Key, Value};

use crate::prefix::{ACCOUNT, BUILD_HOST};

/// Which base image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    Nanoserver,
    Windowsservercore,
}

impl Flavour {
    pub(crate) const ALL: [Self; 2] = [Self::Nanoserver, Self::Windowsservercore];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nanoserver => "nanoserver",
            Self::Windowsservercore => "windowsservercore",
        }
    }
}

/// Computer name in the base image; every container gets its own.
const COMPUTER: &str = "CONTAINER";

const CONTROL_SET: &str = "System\\ControlSet001";
const WINDOWS_NT: &str = "Software\\Microsoft\\Windows NT\\CurrentVersion";
const WINDOWS: &str = "Software\\Microsoft\\Windows\\CurrentVersion";

/// Services that look for devices no container has.
const DEVICE_SERVICES: &[&str] = &["winebus", "wineusb", "winebth", "winehid", "winexinput"];

/// Keys that nanoserver has no programs for (`wine-personality`, 1.3).
const NOT_IN_NANOSERVER: &[&str] = &[
    "Software\\Classes",
    "Software\\Wow6432Node",
    "Software\\Microsoft\\Windows Media Foundation",
    "Software\\Microsoft\\Windows Media Player",
    "Software\\Microsoft\\WindowsRuntime",
    "Software\\Microsoft\\Internet Explorer",
    "Software\\Microsoft\\DirectPlay",
    "Software\\Microsoft\\DirectPlay8",
    "Software\\Microsoft\\Speech",
    "Software\\Microsoft\\AudioCompressionManager",
];

/// Makes `HKEY_LOCAL_MACHINE` (from `system.reg`) that of a base image.
pub(crate) fn machine(mut root: Key, flavour: Flavour) -> Result<Key, HiveError> {
    root.remove("Hardware");
    control_set(&mut root)?;
    root.remove(&format!("{CONTROL_SET}\\Enum\\ROOT"));
    services(&mut root, flavour);
    version(&mut root, flavour)?;
    environment(&mut root)?;
    computer_name(&mut root)?;
    if let Some(key) = root.get_mut(&format!("{WINDOWS}\\RunServices")) {
        key.remove_value("winemenubuilder");
    }
    let crash = root.get_or_create(&format!("{WINDOWS_NT}\\AeDebug"))?;
    crash.remove_value("Debugger");
    crash.set_value(Value::sz("Auto", "0"));
    for key in [format!("{WINDOWS_NT}\\Fonts"), format!("{WINDOWS}\\Fonts")] {
        if let Some(key) = root.get_mut(&key) {
            drop_unix_paths(key);
        }
    }
    if flavour == Flavour::Nanoserver {
        for path in NOT_IN_NANOSERVER {
            root.remove(path);
        }
    }
    rewrite_texts(root, ACCOUNT)
}

/// Makes `HKEY_CURRENT_USER` (from `user.reg`), or that of new accounts (from `userdef.reg`), the
/// one of `account`.
pub(crate) fn user(mut root: Key, account: &str) -> Result<Key, HiveError> {
    root.remove("Volatile Environment");
    root.remove("Software\\Wine\\Fonts");
    let environment = root.get_or_create("Environment")?;
    for name in ["TEMP", "TMP"] {
        environment.set_value(Value::expand_sz(name, "%USERPROFILE%\\AppData\\Local\\Temp"));
    }
    let drivers = root.get_or_create("Software\\Wine\\Drivers")?;
    drivers.set_value(Value::sz("Graphics", "null"));
    rewrite_texts(root, account)
}

/// Windows keeps control sets by number and links the current one at boot; a stored link would be
/// wrong on Windows.
fn control_set(root: &mut Key) -> Result<(), HiveError> {
    let current = root.remove("System\\CurrentControlSet");
    if root.get(CONTROL_SET).is_none()
        && let (Some(key), Some(system)) = (current, root.get_mut("System"))
    {
        system.insert(key.renamed("ControlSet001"));
    }
    let select = root.get_or_create("System\\Select")?;
    for (name, number) in [("Current", 1), ("Default", 1), ("Failed", 0), ("LastKnownGood", 1)] {
        select.set_value(Value::dword(name, number));
    }
    Ok(())
}

fn services(root: &mut Key, flavour: Flavour) {
    const DEMAND: u32 = 3;
    const DISABLED: u32 = 4;
    let path = format!("{CONTROL_SET}\\Services");
    let Some(services) = root.get(&path) else { return };
    let names: Vec<String> = services.subkeys().iter().map(|key| key.name().to_string()).collect();
    for name in names {
        let device = DEVICE_SERVICES.iter().any(|other| other.eq_ignore_ascii_case(&name));
        let needed = ["MountMgr", "nsiproxy"].iter().any(|n| n.eq_ignore_ascii_case(&name));
        let keep = flavour == Flavour::Windowsservercore && needed;
        let Some(key) = root.get_mut(&format!("{path}\\{name}")) else { continue };
        let starts = key.value("Start").is_some_and(|value| value.data < vec![3, 0, 0, 0]);
        if device {
            key.set_value(Value::dword("Start", DISABLED));
        } else if starts && !keep {
            key.set_value(Value::dword("Start", DEMAND));
        }
    }
}

fn version(root: &mut Key, flavour: Flavour) -> Result<(), HiveError> {
    let mut parts = oriel_hcs::OS_VERSION.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    let (major, minor, build, revision) = (next(), next(), next(), next());
    let installation = match flavour {
        Flavour::Nanoserver => "Nano Server",
        Flavour::Windowsservercore => "Server Core",
    };
    let key = root.get_or_create(WINDOWS_NT)?;
    for (name, text) in [
        ("CurrentVersion", "6.3"),
        ("CurrentBuild", &*build.to_string()),
        ("CurrentBuildNumber", &build.to_string()),
        ("ProductName", "Windows Server 2022 Datacenter"),
        ("EditionID", "ServerDatacenter"),
        ("InstallationType", installation),
        ("DisplayVersion", "21H2"),
        ("ReleaseId", "2009"),
        ("SystemRoot", "C:\\Windows"),
        ("RegisteredOwner", ""),
        ("RegisteredOrganization", ""),
    ] {
        key.set_value(Value::sz(name, text));
    }
    for (name, number) in [
        ("CurrentMajorVersionNumber", major),
        ("CurrentMinorVersionNumber", minor),
        ("UBR", revision),
        ("InstallDate", 0),
    ] {
        key.set_value(Value::dword(name, number));
    }
    let options = root.get_or_create(&format!("{CONTROL_SET}\\Control\\ProductOptions"))?;
    options.set_value(Value::sz("ProductType", "ServerNT"));
    Ok(())
}

fn environment(root: &mut Key) -> Result<(), HiveError> {
    let path = format!("{CONTROL_SET}\\Control\\Session Manager\\Environment");
    root.remove(&path);
    let key = root.get_or_create(&path)?;
    for (name, text) in [
        ("ComSpec", "%SystemRoot%\\system32\\cmd.exe"),
        ("Path", "%SystemRoot%\\system32;%SystemRoot%"),
        ("TEMP", "%SystemRoot%\\TEMP"),
        ("TMP", "%SystemRoot%\\TEMP"),
        ("windir", "%SystemRoot%"),
    ] {
        key.set_value(Value::expand_sz(name, text));
    }
    for (name, text) in [
        ("OS", "Windows_NT"),
        ("PATHEXT", ".COM;.EXE;.BAT;.CMD;.VBS;.VBE;.JS;.JSE;.WSF;.WSH;.MSC"),
        ("PROCESSOR_ARCHITECTURE", "AMD64"),
        ("USERNAME", "SYSTEM"),
    ] {
        key.set_value(Value::sz(name, text));
    }
    Ok(())
}

fn computer_name(root: &mut Key) -> Result<(), HiveError> {
    let control = format!("{CONTROL_SET}\\Control\\ComputerName");
    root.get_or_create(&format!("{control}\\ComputerName"))?
        .set_value(Value::sz("ComputerName", COMPUTER));
    root.remove(&format!("{control}\\ActiveComputerName"));
    let tcpip = root.get_or_create(&format!("{CONTROL_SET}\\Services\\Tcpip\\Parameters"))?;
    for name in ["Hostname", "NV Hostname"] {
        tcpip.set_value(Value::sz(name, &COMPUTER.to_ascii_lowercase()));
    }
    Ok(())
}

/// Removes values that name files outside C:.
fn drop_unix_paths(key: &mut Key) {
    let names: Vec<_> = key
        .values()
        .iter()
        .filter(|value| value.text().is_some_and(|text| text.starts_with("Z:\\")))
        .map(|value| value.name.to_string())
        .collect();
    for name in names {
        key.remove_value(&name);
    }
}

/// Puts `account` in place of the build account, Windows' spelling of its directories in place of
/// Wine's, and [`COMPUTER`] in place of the build machine, in every text below `root`; forgets the
/// times of the build.
fn rewrite_texts(root: Key, account: &str) -> Result<Key, HiveError> {
    let mut copy = Key::new(root.name().clone());
    copy.class = root.class.clone();
    copy.flags = root.flags;
    copy.security = root.security.clone();
    for value in root.values() {
        copy.set_value(rewrite(value, account));
    }
    for key in root.subkeys() {
        copy.insert(rewrite_texts(key.clone(), account)?);
    }
    Ok(copy)
}

fn rewrite(value: &Value, account: &str) -> Value {
    let Some(text) = value.text() else { return value.clone() };
    let mut new = text.clone();
    for (old, now) in [
        (format!("C:\\users\\{ACCOUNT}"), format!("C:\\Users\\{account}")),
        ("C:\\users".to_owned(), "C:\\Users".to_owned()),
        ("C:\\windows".to_owned(), "C:\\Windows".to_owned()),
        (BUILD_HOST.to_owned(), COMPUTER.to_owned()),
        (BUILD_HOST.to_ascii_uppercase(), COMPUTER.to_owned()),
    ] {
        new = new.replace(&old, &now);
    }
    if new == text {
        return value.clone();
    }
    let terminated: Vec<u8> = new.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    Value::new(value.name.clone(), value.kind, terminated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> Key {
        let mut root = Key::new("");
        let mut set = |path: &str, value: Value| {
            root.get_or_create(path).unwrap().set_value(value);
        };
        set("Hardware\\Description", Value::sz("x", "y"));
        set("System\\CurrentControlSet\\Enum\\ROOT\\WINE", Value::dword("x", 1));
        set("System\\CurrentControlSet\\Services\\winebus", Value::dword("Start", 2));
        set("System\\CurrentControlSet\\Services\\MountMgr", Value::dword("Start", 0));
        set("System\\CurrentControlSet\\Services\\MSIServer", Value::dword("Start", 3));
        set("System\\CurrentControlSet\\Services\\Eventlog", Value::dword("Start", 2));
        set("Software\\Classes\\.txt", Value::sz("", "text"));
        set("Software\\Example", Value::sz("Host", BUILD_HOST));
        set("Software\\Microsoft\\Windows NT\\CurrentVersion\\Fonts", Value::sz("A", "Z:\\a.ttf"));
        root
    }

    fn start(root: &Key, service: &str) -> u8 {
        root.get(&format!("{CONTROL_SET}\\Services\\{service}"))
            .unwrap()
            .value("Start")
            .unwrap()
            .data[0]
    }

    #[test]
    fn the_build_machine_leaves_no_trace() {
        let root = machine(built(), Flavour::Windowsservercore).unwrap();
        assert!(root.get("Hardware").is_none());
        assert!(root.get("System\\CurrentControlSet").is_none());
        assert!(root.get("System\\ControlSet001\\Enum\\ROOT").is_none());
        let example = root.get("Software\\Example").unwrap();
        assert_eq!(example.value("Host").unwrap().text().as_deref(), Some(COMPUTER));
        assert!(root.get(&format!("{WINDOWS_NT}\\Fonts")).unwrap().values().is_empty());
        let text = oriel_hive::wine::render(&root, &oriel_hive::wine::Branch::Machine);
        assert!(!String::from_utf8_lossy(&text).contains(BUILD_HOST));
    }

    #[test]
    fn services_start_only_where_something_uses_them() {
        let nano = machine(built(), Flavour::Nanoserver).unwrap();
        let core = machine(built(), Flavour::Windowsservercore).unwrap();
        for (service, in_nano, in_core) in
            [("winebus", 4, 4), ("MountMgr", 3, 0), ("MSIServer", 3, 3), ("Eventlog", 3, 3)]
        {
            assert_eq!(
                (start(&nano, service), start(&core, service)),
                (in_nano, in_core),
                "{service}"
            );
        }
    }

    #[test]
    fn the_version_is_the_one_of_the_contract() {
        let root = machine(built(), Flavour::Nanoserver).unwrap();
        let key = root.get(WINDOWS_NT).unwrap();
        let text = |name: &str| key.value(name).unwrap().text().unwrap();
        let revision =
            u32::from_le_bytes(key.value("UBR").unwrap().data.clone().try_into().unwrap());
        assert_eq!(format!("10.0.{}.{revision}", text("CurrentBuild")), oriel_hcs::OS_VERSION);
        assert_eq!(text("InstallationType"), "Nano Server");
    }

    #[test]
    fn nanoserver_has_no_classes_and_servercore_has() {
        assert!(machine(built(), Flavour::Nanoserver).unwrap().get("Software\\Classes").is_none());
        let core = machine(built(), Flavour::Windowsservercore).unwrap();
        assert!(core.get("Software\\Classes\\.txt").is_some());
    }

    #[test]
    fn each_account_has_its_own_directories() {
        let mut root = Key::new("");
        root.get_or_create("Volatile Environment").unwrap();
        let folders = root.get_or_create("Shell Folders").unwrap();
        folders.set_value(Value::sz("Desktop", "C:\\users\\ContainerAdministrator\\Desktop"));
        let root = user(root, "ContainerUser").unwrap();
        assert!(root.get("Volatile Environment").is_none());
        let desktop = root.get("Shell Folders").unwrap().value("Desktop").unwrap().text();
        assert_eq!(desktop.as_deref(), Some("C:\\Users\\ContainerUser\\Desktop"));
    }
}
