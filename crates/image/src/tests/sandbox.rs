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

#[test]
fn what_a_container_puts_in_the_place_of_its_registry_is_not_followed() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    let file = sandbox.path.join("registry/user.reg");
    let outside = fixture.directory.path().join("secret");
    fs_err::write(&outside, fs_err::read(&file).unwrap()).unwrap();
    let cases: [(&str, &dyn Fn()); 4] = [
        ("a link", &|| std::os::unix::fs::symlink(&outside, &file).unwrap()),
        ("a pipe", &|| {
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, &file, kind, 0o600.into(), 0).unwrap();
        }),
        ("a directory", &|| fs_err::create_dir(&file).unwrap()),
        ("too much", &|| {
            fs_err::File::create(&file).unwrap().set_len(1 << 40).unwrap();
        }),
    ];
    for (what, make) in cases {
        let _ = fs_err::remove_file(&file);
        make();
        let read = fixture.store.sandbox_registry(&sandbox, None);
        assert!(matches!(read, Err(ImageError::Io { .. })), "{what}: {read:?}");
        let changes = fixture.store.registry_changes(&sandbox, None);
        assert!(matches!(changes, Err(ImageError::Io { .. })), "{what}: {changes:?}");
        let saved = Some(file.parent().unwrap());
        assert!(fixture.store.registry_changes(&sandbox, saved).is_err(), "{what}");
        assert!(fixture.store.commit(&commit_of(Some("c1"), base)).is_err(), "{what}");
        if fs_err::remove_dir(&file).is_err() {
            fs_err::remove_file(&file).unwrap();
        }
    }
    assert!(outside.exists());
}

#[test]
fn a_container_keeps_the_registry_it_was_made_with() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    let cache = fixture.directory.path().join("registry-cache");
    let entry = fs_err::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    // As of an older policy.
    let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
    let old = cache.join(name.replacen("-v", "-v0", 1));
    fs_err::rename(&entry, &old).unwrap();
    let record = fixture.directory.path().join("windowsfilter/c1/sandbox.json");
    let text = fs_err::read_to_string(&record).unwrap();
    fs_err::write(&record, text.replace(&name, old.file_name().unwrap().to_str().unwrap()))
        .unwrap();
    fixture.store.collect().unwrap();
    assert!(old.exists());
    assert!(fixture.store.registry_changes(&sandbox, None).unwrap().is_empty());
    assert!(!entry.exists());
    fixture.store.remove_sandbox("c1").unwrap();
    fixture.store.collect().unwrap();
    assert!(!old.exists());
}

#[test]
fn an_untouched_sandbox_moves_to_an_image_with_the_same_registry() {
    let (fixture, base) = Fixture::with_base();
    let store = &fixture.store;
    let made = fixture.sandbox("c1", &base);
    let files = store.sandbox_files(&made);
    files.write_file(r"C:\app.txt", &mut &b"new"[..], None).unwrap();
    let image = fixture.commit(Some("c1"), base);
    let waiting = fixture.sandbox("c2", &base);
    assert!(store.move_sandbox("c2", &image).unwrap());
    let moved = store.sandbox("c2").unwrap();
    assert_eq!((moved.layers.len(), moved.image), (2, image));
    assert_eq!(text(store, &moved, r"C:\app.txt"), "new");
    let like = fixture.sandbox("c3", &image);
    for file in ["system.reg", "user.reg", "userdef.reg"] {
        let read = |of: &Sandbox| fs_err::read(of.path.join("registry").join(file)).unwrap();
        assert_eq!(read(&moved), read(&like), "{file}");
    }
    // What the system below it goes on to write is in nobody's way.
    fs_err::write(waiting.path.join("upper/late.txt"), "").unwrap();
    assert!(!store.move_sandbox("c2", &base).unwrap(), "something was written");
}

#[test]
fn a_sandbox_stays_where_another_registry_would_be() {
    let (fixture, base) = Fixture::with_base();
    let store = &fixture.store;
    let made = fixture.sandbox("c1", &base);
    edit(&made, "system.reg", &wine::Branch::Machine, |root| {
        root.get_or_create(r"Software\Oriel").unwrap().set_value(Value::sz("Greeting", "hi"));
    });
    let image = fixture.commit(Some("c1"), base);
    fixture.sandbox("c2", &base);
    assert!(!store.move_sandbox("c2", &image).unwrap());
    assert_eq!(store.sandbox("c2").unwrap().image, base);
}

#[test]
fn a_directory_takes_a_file_that_nobody_else_has_and_gives_it_to_the_layer() {
    use std::os::unix::fs::MetadataExt as _;
    let (fixture, base) = Fixture::with_base();
    let kept = fixture.directory.path().join("kept");
    fs_err::write(&kept, "content").unwrap();
    let inode = fs_err::metadata(&kept).unwrap().ino();
    let sandbox = fixture.sandbox("c1", &base);
    let files = fixture.store.sandbox_files(&sandbox);
    let mut directory = files.open_directory(r"C:\app").unwrap();
    for name in ["a.txt", "b.txt"] {
        directory.write(name, Content::Kept(&kept), None).unwrap();
    }
    directory.write("B.TXT", Content::Read(&mut &b"other"[..]), None).unwrap();
    let upper = sandbox.path.join("upper/app");
    assert_eq!(fs_err::metadata(upper.join("a.txt")).unwrap().ino(), inode);
    assert_eq!(fs_err::metadata(upper.join("b.txt")).unwrap().nlink(), 1, "a copy");
    assert!(!upper.join("B.TXT").exists());
    let image = fixture.store.commit_last(&commit_of(Some("c1"), base)).unwrap();
    fixture.store.remove_sandbox("c1").unwrap();
    fs_err::remove_file(&kept).unwrap();
    let after = fixture.sandbox("c2", &image);
    let file = fs_err::metadata(after.layers[0].join("app/a.txt")).unwrap();
    assert_eq!((file.ino(), file.nlink(), file.mode() & 0o777), (inode, 1, 0o644));
    assert_eq!((file.uid(), file.gid()), (sandbox_owner(), sandbox_owner()));
    assert_eq!(text(&fixture.store, &after, r"C:\app\a.txt"), "content");
    assert_eq!(text(&fixture.store, &after, r"C:\app\b.txt"), "other");
}

/// Who owns what this process makes.
fn sandbox_owner() -> u32 {
    rustix::process::geteuid().as_raw()
}
