//! Hives that Windows wrote.

use super::*;
use crate::{NANOSERVER, SERVERCORE};

/// Hives as a base of Microsoft's has them.
fn windows(kind: &str) -> Layers {
    let version = r"Microsoft\Windows NT\CurrentVersion";
    let system = tree(&[
        ("Select", Value::dword("Current", 2)),
        ("MountedDevices", Value::sz("C", "disk")),
        (r"ControlSet001\Control", Value::sz("which", "old")),
        (r"ControlSet002\Services\disk", Value::dword("Type", 1)),
        (r"ControlSet002\Services\disk", Value::dword("Start", 0)),
        (r"ControlSet002\Services\Spooler", Value::dword("Start", 2)),
        (r"ControlSet002\Enum\ROOT\VOLMGR", Value::sz("Service", "volmgr")),
        (r"ControlSet002\Control\Class\{9}", Value::sz("Class", "Volume")),
        (r"ControlSet002\Control\ProductOptions", Value::sz("ProductType", "ServerNT")),
        (r"ControlSet002\Control\Session Manager", Value::sz("Kernel", "x")),
        (r"ControlSet002\Control\Session Manager\Environment", Value::sz("Path", r"C:\Program")),
        (r"ControlSet002\Control\Session Manager\Environment", Value::sz("OS", "Windows_MS")),
    ]);
    let software = tree(&[
        (version, Value::sz("CurrentBuildNumber", "17763")),
        (version, Value::sz("InstallationType", kind)),
        (version, Value::sz("PathName", r"C:\Windows")),
        (r"Microsoft\Windows NT\CurrentVersion\Svchost", Value::sz("netsvcs", "x")),
        (r"Classes\CLSID\{1}", Value::sz("", "absent.dll")),
    ]);
    Layers::on(&[(Hive::System, system), (Hive::Software, software)])
}

#[test]
fn a_foreign_base_gives_its_version_and_stands_on_a_floor() {
    let below = oriel();
    let floors = [below.floor(SERVERCORE)];
    let layers = windows("Server Core");
    let (seen, _) = layers.seen_on(&floors);
    let set = seen.machine.get(r"System\ControlSet001").unwrap();
    for path in [r"Services\disk", r"Enum", r"Control\Class\{9}"] {
        assert!(set.get(path).is_none(), "{path}");
    }
    assert_eq!(set.get(r"Services\Spooler").unwrap().value("Start").unwrap().number(), Some(3));
    assert!(set.get(r"Control\Class\{4d36e968}").is_some());
    assert!(set.get(r"Control\Session Manager").unwrap().value("Kernel").is_none());
    let environment = r"Control\Session Manager\Environment";
    assert_eq!(text(set, environment, "Path").as_deref(), Some(r"C:\Program"));
    assert_eq!(text(set, environment, "OS").as_deref(), Some("Windows_NT"));
    assert_eq!(text(set, r"Control\ProductOptions", "ProductType").as_deref(), Some("ServerNT"));
    let software = seen.machine.get("Software").unwrap();
    let version = r"Microsoft\Windows NT\CurrentVersion";
    assert_eq!(text(software, version, "CurrentBuildNumber").as_deref(), Some("17763"));
    assert_eq!(text(software, version, "CurrentBuild").as_deref(), Some("20348"));
    assert!(software.get(version).unwrap().value("PathName").is_none());
    assert!(software.get(&format!(r"{version}\Svchost")).is_none());
    assert!(software.get(r"Classes\CLSID").is_none());
    assert!(software.get(r"Wine\LicenseInformation").is_some());
    assert!(software.get(r"Classes\.txt").is_some());
    assert_eq!(text(&seen.user, r"Software\Wine\Drivers", "Graphics").as_deref(), Some("null"));
    assert!(seen.default.get(r"Software\Wine\Drivers").is_some());
}

#[test]
fn commits_and_exports_go_back_to_what_the_layers_store() {
    let below = oriel();
    let floors = [below.floor(SERVERCORE)];
    let mut layers = windows("Server Core");
    let made = layers.commit(&floors, |trees| {
        // A key of the floor's, one of both, and one that was never shown in it.
        trees.machine.remove(r"Software\Classes\.txt");
        trees.machine.remove(r"Software\Microsoft\Windows NT");
        set(&mut trees.machine, r"System\ControlSet001\Control", Value::sz("New", "x"));
        set(&mut trees.machine, r"Software\Wine", Value::sz("Setting", "x"));
    });
    let software = oriel_hive::read_delta(&made.hives[0].1).unwrap();
    let names: Vec<String> = software.root.subkeys.iter().map(|key| key.name.to_string()).collect();
    assert_eq!(names, ["Microsoft", "Wine"]);
    let system = layers.exported(&floors, "SYSTEM");
    assert_eq!(text(&system, r"ControlSet002\Control", "New").as_deref(), Some("x"));
    for path in ["MountedDevices", r"ControlSet002\Services\disk", r"ControlSet002\Enum\ROOT"] {
        assert!(system.get(path).is_some(), "{path}");
    }
    assert!(system.get(r"ControlSet001\Services").is_none());
    let software = layers.exported(&floors, "SOFTWARE");
    assert!(software.get(r"Classes\CLSID\{1}").is_some());
    assert!(software.get(r"Microsoft\Windows NT").is_none());
    // It would be taken for a base of Oriel's.
    assert!(software.get("Wine").is_none());
    let (seen, _) = layers.seen_on(&floors);
    assert!(seen.machine.get(r"Software\Microsoft\Windows NT").is_none());
    assert_eq!(text(&seen.machine, r"Software\Wine", "Setting").as_deref(), Some("x"));
}

#[test]
fn the_floor_is_of_the_same_flavour() {
    let base = |name: &str, value: &str| {
        let mut layers = oriel();
        layers.commit(&[], |trees| {
            set(&mut trees.machine, r"Software\Floor", Value::sz("name", value));
        });
        (layers.floor(name), layers)
    };
    let ((core, _core), (nano, _nano)) = (base(SERVERCORE, "core"), base(NANOSERVER, "nano"));
    let floors = [core, nano];
    let flavour = |layers: &Layers, floors: &[Floor]| {
        let seen = seen::merge(&layers.chain, ACCOUNT, floors).unwrap();
        seen.floor.map(|floor| floor.name.clone())
    };
    assert_eq!(flavour(&windows("Nano Server"), &floors).as_deref(), Some(NANOSERVER));
    assert_eq!(flavour(&windows("Server Core"), &floors).as_deref(), Some(SERVERCORE));
    assert_eq!(flavour(&windows("Nano Server"), &floors[..1]).as_deref(), Some(SERVERCORE));
    assert_eq!(flavour(&windows("Nano Server"), &[]), None);
    assert_eq!(flavour(&oriel(), &floors), None);
    // imgutil's hives are empty.
    let empty = Layers::on(&[]);
    assert_eq!(flavour(&empty, &floors).as_deref(), Some(SERVERCORE));
}

/// A layer from Windows on a base of Oriel's, with boot noise and what was meant.
fn built_on_windows() -> Layers {
    let mut layers = oriel();
    layers.windows(Hive::System, |system| {
        let mut put = |path: &str, value| set(system, path, value);
        put(r"ControlSet001\Enum\ROOT\VOLMGR", Value::sz("Service", "volmgr"));
        put(r"ControlSet001\Control\Class\{9}", Value::sz("Class", "Volume"));
        put(r"ControlSet001\Control\ComputerName\ComputerName", Value::sz("ComputerName", "B"));
        let environment = r"ControlSet001\Control\Session Manager\Environment";
        put(environment, Value::sz("JAVA_HOME", r"C:\java"));
        put(environment, Value::sz("NUMBER_OF_PROCESSORS", "64"));
        put(r"ControlSet001\Control\Session Manager", Value::sz("PendingFileRenames", "x"));
        let schannel = r"ControlSet001\Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.0";
        put(schannel, Value::dword("Enabled", 0));
        put(r"ControlSet001\Control\SecurityProviders", Value::sz("SecurityProviders", "a.dll"));
        let service = |name: &str| format!(r"ControlSet001\Services\{name}");
        for (name, kind, path) in [
            ("driver", 1, r"System32\drivers\x.sys"),
            ("template", 0x50, r"C:\Windows\x.exe"),
            ("shared", 0x20, r"C:\Windows\System32\svchost.exe -k netsvcs"),
            ("nothing", 0x10, ""),
            ("app", 0x10, r"C:\app\service.exe"),
        ] {
            put(&service(name), Value::dword("Type", kind));
            if !path.is_empty() {
                put(&service(name), Value::expand_sz("ImagePath", path));
            }
        }
        put(&service("Spooler"), Value::dword("Start", 2));
        put(&service(r"Spooler\Parameters"), Value::sz("x", "y"));
        put(&service(r"EventLog\Application\App"), Value::sz("File", "app.dll"));
        put(&service(r"Tcpip\Parameters\Interfaces\{1}"), Value::sz("DhcpIPAddress", "172.1.1.1"));
        put("Select", Value::dword("Current", 1));
    });
    layers.windows(Hive::Software, |software| {
        set(software, r"Vendor\App", Value::sz("Version", "1"));
        let version = r"Microsoft\Windows NT\CurrentVersion";
        set(software, &format!(r"{version}\Fonts"), Value::sz("Arial", "arial.ttf"));
        set(software, &format!(r"{version}\ProfileList\S-1-5-93"), Value::sz("x", "y"));
        set(software, r"Wow6432Node\Wine", Value::sz("x", "y"));
        software.remove("Wine");
        set(software, r"Classes\CLSID\{2}", Value::sz("", "app.dll"));
    });
    layers
}

#[test]
fn a_layer_from_windows_changes_what_was_meant_and_leaves_what_wine_needs() {
    let seen = built_on_windows().seen();
    let set = seen.machine.get(r"System\ControlSet001").unwrap();
    let there = [
        r"Control\Class\{4d36e968}",
        r"Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.0",
        r"Services\app",
        r"Services\EventLog\Application\App",
        r"Services\Spooler\Parameters",
        r"Services\Tcpip\Parameters",
    ];
    let absent = [
        "Enum",
        r"Control\Class\{9}",
        r"Services\driver",
        r"Services\template",
        r"Services\shared",
        r"Services\nothing",
        r"Services\Tcpip\Parameters\Interfaces",
    ];
    assert!(there.iter().all(|path| set.get(path).is_some()), "{set:#?}");
    assert_eq!(absent.iter().filter(|path| set.get(path).is_some()).count(), 0, "{set:#?}");
    let environment = set.get(r"Control\Session Manager\Environment").unwrap();
    assert_eq!(text(environment, "", "JAVA_HOME").as_deref(), Some(r"C:\java"));
    assert_eq!(text(environment, "", "OS").as_deref(), Some("Windows_NT"));
    assert!(environment.value("NUMBER_OF_PROCESSORS").is_none());
    assert!(set.get(r"Control\Session Manager").unwrap().value("PendingFileRenames").is_none());
    assert!(set.get(r"Control\SecurityProviders").unwrap().values().is_empty());
    assert!(set.get(r"Control\ComputerName").is_none());
    assert_eq!(set.get(r"Services\Spooler").unwrap().value("Start").unwrap().number(), Some(3));
    let software = seen.machine.get("Software").unwrap();
    assert!(software.get(r"Wine\LicenseInformation").is_some());
    assert!(software.get(r"Wow6432Node\Wine").is_none());
    assert!(software.get(r"Vendor\App").is_some());
    assert!(software.get(r"Classes\CLSID\{2}").is_some());
    let version = software.get(r"Microsoft\Windows NT\CurrentVersion").unwrap();
    assert_eq!(version.get("Fonts").unwrap().values().len(), 1);
    assert!(version.get("ProfileList").is_none());
}

#[test]
fn what_is_not_shown_of_a_layer_from_windows_is_kept() {
    let mut layers = built_on_windows();
    let made = layers.commit(&[], |trees| {
        trees.machine.remove(r"System\ControlSet001\Services\app");
    });
    assert_eq!(made.hives.len(), 1);
    let system = layers.exported(&[], "SYSTEM");
    assert!(system.get(r"ControlSet001\Enum\ROOT\VOLMGR").is_some());
    assert!(system.get(r"ControlSet001\Services\driver").is_some());
    assert!(system.get(r"ControlSet001\Services\app").is_none());
    assert!(layers.exported(&[], "SOFTWARE").get("Wine").is_none());
    assert!(layers.seen().machine.get(r"System\ControlSet001\Services\app").is_none());
}

#[test]
fn a_key_that_was_not_shown_is_replaced_by_one_a_container_makes() {
    let mut layers = built_on_windows();
    let path = r"System\ControlSet001\Services\driver";
    layers.commit(&[], |trees| {
        let service = trees.machine.get_or_create(path).unwrap();
        assert!(service.values().is_empty());
        service.set_value(Value::dword("Type", 1));
    });
    let seen = layers.seen();
    assert_eq!(seen.machine.get(path).unwrap().values(), [Value::dword("Type", 1)]);
    let stored = layers.exported(&[], "SYSTEM");
    assert_eq!(stored.get(r"ControlSet001\Services\driver").unwrap().values().len(), 1);
}

#[test]
fn what_a_container_here_changed_is_there_again() {
    let mut layers = oriel();
    let services = r"System\ControlSet001\Services";
    let fonts = r"Software\Microsoft\Windows NT\CurrentVersion\Fonts";
    layers.commit(&[], |trees| {
        let service = trees.machine.get_or_create(&format!(r"{services}\app")).unwrap();
        service.set_value(Value::dword("Type", 0x110));
        service.set_value(Value::sz("ImagePath", r"C:\app.exe"));
        set(&mut trees.machine, fonts, Value::sz("Arial", "arial.ttf"));
        set(&mut trees.machine, &format!(r"{services}\Spooler"), Value::dword("Start", 4));
        trees.machine.remove(r"Software\Classes");
        set(&mut trees.user, r"Software\Wine\DllOverrides", Value::sz("x", "native"));
    });
    let seen = layers.seen();
    assert!(seen.machine.get(&format!(r"{services}\app")).is_some());
    assert_eq!(seen.machine.get(fonts).unwrap().values().len(), 2);
    let spooler = seen.machine.get(&format!(r"{services}\Spooler")).unwrap();
    assert_eq!(spooler.value("Start").unwrap().number(), Some(4));
    assert!(seen.machine.get(r"Software\Classes").is_none());
    assert!(seen.user.get(r"Software\Wine\DllOverrides").is_some());
    layers.commit(&[], |trees| {
        trees.machine.remove(&format!(r"{services}\app"));
    });
    assert!(layers.seen().machine.get(&format!(r"{services}\app")).is_none());
}
