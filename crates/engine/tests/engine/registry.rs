//! The registry of containers that run and do not run, and of images.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use oriel_engine::KeyName;
use oriel_hcs::Class;
use oriel_hcs::bridge::RegistryOperation;
use oriel_hive::Value;

use crate::bench::Bench;

const FILE: &str = "Windows Registry Editor Version 5.00\n\n[HKEY_CURRENT_USER\\Software\\Test]\n\
                    \"v\"=dword:00000007\n";

/// The number `v` of the key of [`FILE`].
fn number(bench: &Bench, target: &str) -> Option<u32> {
    let view = bench.on(bench.engine.registry_view(target)).unwrap();
    let key = KeyName::parse(r"HKCU\Software\Test").unwrap();
    view.key(&key).ok().and_then(|found| found.key.value("v").and_then(Value::number))
}

fn import(bench: &Bench, target: &str) -> oriel_engine::RegistryImport {
    bench.on(bench.engine.import_registry(target, FILE.into())).unwrap()
}

#[test]
fn what_is_imported_into_a_stopped_container_is_there_and_differs_from_its_image() {
    let bench = Bench::new();
    let id = bench.create("wait");
    assert_eq!(number(&bench, &id), None);
    let done = import(&bench, &id);
    assert_eq!((done.keys, done.values, done.image), (1, 1, None));
    assert_eq!(number(&bench, &id), Some(7));
    assert_eq!(number(&bench, "nanoserver"), None);
    let difference = bench.on(bench.engine.difference(&id, None)).unwrap();
    assert!(!difference.registry.user.is_empty() && difference.registry.machine.is_empty());
}

#[test]
fn a_running_container_is_told_the_changes_and_nothing_it_saved_stays() {
    let bench = Bench::new();
    let id = bench.started("wait");
    import(&bench, &id);
    let told = bench.world.host.registry_changes(&id);
    let [RegistryOperation::CreateKey { .. }, RegistryOperation::SetValue { kind, data, .. }] =
        told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert_eq!((*kind, data.as_slice()), (4, &[7, 0, 0, 0][..]));
    // The fake host panics at the next request when a saved registry is still there.
    assert_eq!(number(&bench, &id), None);
    assert!(bench.on(bench.engine.difference(&id, None)).unwrap().registry.is_empty());
    bench.on(bench.engine.stop(&id, None, None)).unwrap();
    bench.ended(&id);
}

#[test]
fn an_image_stays_and_another_has_the_changes() {
    let bench = Bench::new();
    let image = import(&bench, "nanoserver").image.unwrap().to_string();
    assert_eq!(number(&bench, "nanoserver"), None);
    assert_eq!(number(&bench, &image), Some(7));
    for base in [None, Some("nanoserver")] {
        let difference = bench.on(bench.engine.difference(&image, base)).unwrap();
        assert!(!difference.registry.user.is_empty() && difference.registry.machine.is_empty());
    }
    let error = bench.on(bench.engine.difference("nanoserver", None)).err().unwrap();
    assert_eq!(error.class(), Class::Invalid);
}

#[test]
fn bad_requests_change_nothing() {
    let bench = Bench::new();
    let id = bench.create("wait");
    for (target, file, class) in [
        ("nobody", FILE, Class::NotFound),
        ("No Name", FILE, Class::NotFound),
        (id.as_str(), "no registry file", Class::Invalid),
        (id.as_str(), &format!("{FILE}[Nowhere]"), Class::Invalid),
        ("nanoserver", &format!("{FILE}x"), Class::Invalid),
    ] {
        let error = bench.on(bench.engine.import_registry(target, file.into())).unwrap_err();
        assert_eq!(error.class(), class, "{target}: {error}");
    }
    assert_eq!(number(&bench, &id), None);
    let error = bench.on(bench.engine.registry_view("nobody")).err().unwrap();
    assert_eq!(error.to_string(), "No such container or image: nobody");
    let error = bench.on(bench.engine.difference(&id, Some("nanoserver"))).err().unwrap();
    assert_eq!(error.class(), Class::Invalid);
}
