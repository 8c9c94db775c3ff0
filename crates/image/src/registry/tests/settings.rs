//! What containers have of their own.

use super::super::settings::{Settings, personalise};
use super::*;
use crate::SandboxSettings;

/// A base with two time zones.
fn base() -> Layers {
    let mut layers = oriel();
    let mut tzi = Vec::new();
    [-60_i32, 0, -60].iter().for_each(|bias| tzi.extend(bias.to_le_bytes()));
    [0_u16, 10, 0, 5, 3, 0, 0, 0].iter().for_each(|part| tzi.extend(part.to_le_bytes()));
    [0_u16, 3, 0, 5, 2, 0, 0, 0].iter().for_each(|part| tzi.extend(part.to_le_bytes()));
    let zones = r"Microsoft\Windows NT\CurrentVersion\Time Zones";
    layers.commit(&[], |trees| {
        let software = trees.machine.get_mut("Software").unwrap();
        let berlin = format!(r"{zones}\W. Europe Standard Time");
        set(software, &berlin, Value::new("TZI", oriel_hive::ValueKind::BINARY, tzi));
        set(software, &berlin, Value::sz("Std", "W. Europe Standard Time"));
        set(software, &berlin, Value::sz("Dlt", "W. Europe Daylight Time"));
    });
    layers
}

fn settings() -> Settings {
    let variables = [
        ("Path", r"C:\app;%SystemRoot%"),
        ("Greeting", "a\"b"),
        ("TEMP", r"C:\t"),
        ("=C:", r"C:\x"),
        ("100", "100%"),
    ];
    Settings::from(&SandboxSettings {
        computer_name: "web-Server-number-1".into(),
        domain_name: "example.org".into(),
        variables: variables.map(|(name, value)| (name.into(), value.into())).to_vec(),
        time_zone: Some("Europe/Berlin".into()),
        ..SandboxSettings::default()
    })
}

/// What the container reads, from the files it gets.
fn personalised(layers: &Layers, settings: &Settings) -> RegistryTrees {
    let (rendered, own) = (layers.rendered(&[]), tempfile::tempdir().unwrap());
    personalise(rendered.path(), own.path(), settings).unwrap();
    capture::read(own.path()).unwrap()
}

#[test]
fn programs_read_the_containers_truth() {
    let seen = personalised(&base(), &settings());
    let set = seen.machine.get(r"System\ControlSet001").unwrap();
    let parameters = r"Services\Tcpip\Parameters";
    for (path, name, expected) in [
        (r"Control\ComputerName\ComputerName", "ComputerName", "WEB-SERVER-NUMB"),
        (r"Control\ComputerName\ActiveComputerName", "ComputerName", "WEB-SERVER-NUMB"),
        (parameters, "Hostname", "web-Server-number-1"),
        (parameters, "NV Hostname", "web-Server-number-1"),
        (parameters, "NV Domain", "example.org"),
        (r"Control\Session Manager\Environment", "Greeting", "a\"b"),
        (r"Control\Session Manager\Environment", "OS", "Windows_NT"),
        (r"Control\TimeZoneInformation", "TimeZoneKeyName", "W. Europe Standard Time"),
        (r"Control\TimeZoneInformation", "DaylightName", "W. Europe Daylight Time"),
    ] {
        assert_eq!(text(set, path, name).as_deref(), Some(expected), "{path} {name}");
    }
    let environment = set.get(r"Control\Session Manager\Environment").unwrap();
    assert_eq!(environment.value("Path").unwrap().kind, oriel_hive::ValueKind::EXPAND_SZ);
    assert_eq!(environment.value("100").unwrap().kind, oriel_hive::ValueKind::SZ);
    assert!(environment.value("=C:").is_none());
    let zone = set.get(r"Control\TimeZoneInformation").unwrap();
    assert_eq!(zone.value("Bias").unwrap().number(), Some(60_u32.wrapping_neg()));
    assert_eq!(zone.value("StandardStart").unwrap().data[2], 10);
    let volatile = seen.user.get("Volatile Environment").unwrap();
    assert_eq!(text(volatile, "", "TEMP").as_deref(), Some(r"C:\t"));
    assert!(volatile.value("Path").is_none());
}

#[test]
fn a_commit_keeps_of_them_only_what_the_container_changed() {
    let (layers, settings) = (base(), settings());
    let rendered = layers.rendered(&[]);
    let changes =
        |own: &std::path::Path| capture::changes(rendered.path(), &settings, own).unwrap();
    let own = tempfile::tempdir().unwrap();
    personalise(rendered.path(), own.path(), &settings).unwrap();
    assert!(changes(own.path()).is_empty(), "before the container ran");
    let mut new = capture::read(own.path()).unwrap();
    let before = capture::before(rendered.path(), &settings).unwrap();
    assert!(oriel_hive::diff(&before.machine, &new.machine).is_empty());
    assert!(oriel_hive::diff(&before.user, &new.user).is_empty());
    assert!(changes(written(&new).path()).is_empty(), "after wineserver wrote it");
    let environment = r"System\ControlSet001\Control\Session Manager\Environment";
    set(&mut new.machine, environment, Value::sz("Path", r"C:\app;C:\more"));
    let change = changes(written(&new).path());
    let mut image = Key::new("");
    oriel_hive::apply(&mut image, &change.machine);
    let values = image.get(environment).unwrap().values();
    assert_eq!(values, [Value::sz("Path", r"C:\app;C:\more")]);
    assert!(change.user.is_empty());
}

#[test]
fn a_setting_that_the_image_has_already_is_no_change() {
    let mut layers = base();
    let settings = settings();
    let zone = r"System\ControlSet001\Control\TimeZoneInformation";
    let own = personalised(&layers, &settings);
    layers.commit(&[], |trees| {
        let own = own.machine.get(zone).unwrap();
        own.values().iter().for_each(|value| set(&mut trees.machine, zone, value.clone()));
    });
    let rendered = layers.rendered(&[]);
    let own = written(&personalised(&layers, &settings));
    assert!(capture::changes(rendered.path(), &settings, own.path()).unwrap().is_empty());
}

#[test]
fn a_container_that_asks_for_no_time_zone_there_is_has_utc() {
    let zone = r"System\ControlSet001\Control\TimeZoneInformation";
    let mut layers = base();
    layers.commit(&[], |trees| {
        set(&mut trees.machine, zone, Value::dword("Bias", 1));
        let utc = r"Software\Microsoft\Windows NT\CurrentVersion\Time Zones\UTC";
        let none = Value::new("TZI", oriel_hive::ValueKind::BINARY, [0; 44]);
        set(&mut trees.machine, utc, none);
    });
    let bias = |name: Option<&str>| {
        let time_zone = name.map(str::to_owned);
        let settings = SandboxSettings { time_zone, ..SandboxSettings::default() };
        let seen = personalised(&layers, &Settings::from(&settings));
        seen.machine.get(zone)?.value("Bias")?.number()
    };
    assert_eq!(bias(Some("Europe/Atlantis")), Some(0));
    assert_eq!(bias(Some("")), Some(0));
    assert_eq!(bias(None), Some(1), "as the image has it");
}

#[test]
fn what_wineserver_makes_at_its_start_is_no_change() {
    let layers = {
        let mut layers = oriel();
        layers.commit(&[], |trees| drop(trees.machine.remove(r"Software\Classes")));
        layers
    };
    let rendered = layers.rendered(&[]);
    let changes = |change: &dyn Fn(&mut Key)| {
        let mut new = capture::read(rendered.path()).unwrap();
        new.machine.get_or_create(r"Software\Classes\Wow6432Node").unwrap();
        change(&mut new.machine);
        let own = written(&new);
        capture::changes(rendered.path(), &Settings::default(), own.path()).unwrap()
    };
    assert!(changes(&|_| {}).is_empty());
    let made = changes(&|machine| {
        machine.get_or_create(r"Software\Classes\Wow6432Node\CLSID").unwrap();
    });
    assert!(!made.is_empty());
}

#[test]
fn a_container_without_settings_gets_copies() {
    let layers = oriel();
    let (rendered, own) = (layers.rendered(&[]), tempfile::tempdir().unwrap());
    personalise(rendered.path(), own.path(), &Settings::default()).unwrap();
    for file in FILES {
        let [given, made] =
            [own.path(), rendered.path()].map(|path| fs_err::read(path.join(file)).unwrap());
        assert_eq!(given, made, "{file}");
    }
}
