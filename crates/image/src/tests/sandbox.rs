//! Sandboxes and the files in them.

use super::*;

#[test]
fn a_sandbox_has_its_own_registry_with_its_name() {
    let (fixture, id) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &id);
    let system = fs_err::read(sandbox.path.join("registry/system.reg")).unwrap();
    let machine = wine::parse(&system).unwrap();
    let value = |key: &str, name: &str| machine.get(key)?.value(name)?.text();
    let control = r"System\ControlSet001\Control";
    assert_eq!(
        value(&format!(r"{control}\ComputerName\ComputerName"), "ComputerName").as_deref(),
        Some("WEB-SERVER-NUMB")
    );
    assert_eq!(
        value(r"System\ControlSet001\Services\Tcpip\Parameters", "Hostname").as_deref(),
        Some("web-Server-number-1")
    );
    assert_eq!(
        value(&format!(r"{control}\Session Manager\Environment"), "OS").as_deref(),
        Some("Windows_NT")
    );
    assert!(machine.get(r"System\CurrentControlSet").unwrap().is_symlink());
    let user = fs_err::read(sandbox.path.join("registry/user.reg")).unwrap();
    let user = wine::parse(&user).unwrap();
    let volatile = user.get("Volatile Environment").unwrap();
    assert_eq!(volatile.values().len(), 1);
    assert_eq!(volatile.value("USERNAME").unwrap().text().as_deref(), Some("a\"b"));
    assert_eq!(sandbox.layers.len(), 1);
    assert!(sandbox.layers[0].join("Windows/System32/cmd.exe").exists());
}

#[test]
fn registry_files_of_sandboxes_share_nothing() {
    use std::os::unix::fs::MetadataExt as _;
    let (fixture, id) = Fixture::with_base();
    for name in ["c1", "c2"] {
        let sandbox = fixture.sandbox(name, &id);
        for file in ["system.reg", "user.reg", "userdef.reg"] {
            let file = sandbox.path.join("registry").join(file);
            assert_eq!(fs_err::metadata(file).unwrap().nlink(), 1);
        }
    }
}

#[test]
fn sandboxes_come_and_go() {
    let (fixture, id) = Fixture::with_base();
    fixture.sandbox("c1", &id);
    fixture.sandbox("b2", &id);
    assert_eq!(fixture.store.sandboxes().unwrap(), ["b2", "c1"]);
    let again = fixture.store.create_sandbox("c1", &id, &SandboxSettings::default());
    assert!(matches!(again, Err(ImageError::SandboxExists { .. })));
    fixture.store.remove_sandbox("c1").unwrap();
    fixture.store.remove_sandbox("c1").unwrap();
    assert!(matches!(fixture.store.sandbox("c1"), Err(ImageError::NoSuchSandbox { .. })));
    for id in ["", "..", "a/b", "x-removing"] {
        assert!(matches!(fixture.store.sandbox(id), Err(ImageError::InvalidSandboxId { .. })));
    }
}

#[test]
fn removing_a_layers_name_as_a_sandbox_does_nothing() {
    let (fixture, id) = Fixture::with_base();
    let chain = fixture.store.image_by_id(&id).unwrap().layers[0].chain_id.0.hex();
    fixture.store.remove_sandbox(&chain).unwrap();
    assert!(fixture.directory.path().join("windowsfilter").join(chain).exists());
}

#[test]
fn files_are_found_without_case_and_written_to_the_sandbox() {
    let (fixture, id) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &id);
    let files = fixture.store.sandbox_files(&sandbox);
    assert!(files.is_dir(r"c:\WINDOWS\system32").unwrap());
    assert_eq!(text(&fixture.store, &sandbox, "/windows/System32/CMD.EXE"), "MZ");
    files.create_dir_all(r"C:\windows\App\x").unwrap();
    files.write_file(r"C:\WINDOWS\SYSTEM32\Cmd.exe", &mut &b"new"[..], None).unwrap();
    assert!(sandbox.path.join("upper/Windows/System32/cmd.exe").exists());
    assert!(sandbox.path.join("upper/Windows/App/x").exists());
    assert_eq!(text(&fixture.store, &sandbox, r"C:\Windows\System32\cmd.exe"), "new");
    let listed: Vec<_> = files.list("Windows").unwrap().into_iter().map(|item| item.name).collect();
    assert_eq!(listed, ["App", "System32"]);
    assert_eq!(files.stat(r"c:\windows").unwrap().unwrap().kind, FileKind::Directory);
    assert_eq!(files.stat(r"c:\").unwrap().unwrap().kind, FileKind::Directory);
    assert_eq!(files.stat("nope/x").unwrap(), None);
    assert!(files.read("nope").is_err());
    assert!(files.write_file("Windows", &mut &b""[..], None).is_err());
    assert!(files.create_dir_all("Windows/System32/cmd.exe/x").is_err());
    for bad in [r"D:\x", r"\\server\share", "a?b", "a:b"] {
        assert!(files.stat(bad).is_err(), "{bad}");
    }
}

#[test]
fn dots_and_new_directories_are_resolved_by_name() {
    let (fixture, id) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &id);
    let files = fixture.store.sandbox_files(&sandbox);
    files.write_file(r"..\..\app\new\..\x.txt", &mut &b"x"[..], None).unwrap();
    assert!(sandbox.path.join("upper/app/x.txt").exists());
    assert!(!sandbox.path.parent().unwrap().join("app").exists());
}

#[test]
fn removed_files_are_hidden_and_can_come_back() {
    let (fixture, id) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &id);
    let files = fixture.store.sandbox_files(&sandbox);
    files.remove(r"C:\windows\system32").unwrap();
    assert!(!files.exists(r"C:\Windows\System32\cmd.exe").unwrap());
    files.create_dir_all(r"C:\Windows\System32").unwrap();
    if may_use_trusted_attributes(&sandbox.path) {
        assert!(files.list(r"C:\Windows\System32").unwrap().is_empty());
    }
    files.remove("nope").unwrap();
    assert!(files.remove("/").is_err());
}
