//! From a sandbox to a layer.

use super::*;

#[test]
fn a_commit_carries_files_removals_and_registry() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    let files = fixture.store.sandbox_files(&sandbox);
    files.write_file(r"C:\app\Zeta.txt", &mut &b"z"[..], None).unwrap();
    files.write_file(r"C:\app\a.txt", &mut &b"a"[..], None).unwrap();
    files.remove(r"C:\Windows\System32\cmd.exe").unwrap();
    edit(&sandbox, "system.reg", &wine::Branch::Machine, |root| {
        let key = root.get_or_create(r"Software\Oriel").unwrap();
        key.set_value(Value::sz("Greeting", "hi"));
    });
    let user = wine::Branch::User(wine::LOCAL_USER.into());
    edit(&sandbox, "user.reg", &user, |root| {
        root.get_or_create("Console").unwrap().set_value(Value::dword("QuickEdit", 1));
    });
    let image = fixture.commit(Some("c1"), base);
    let entries = top_layer(&fixture, image);
    assert_eq!(
        names(&entries),
        [
            "Files",
            "Files/Users",
            "Files/Users/ContainerAdministrator",
            "Files/Users/ContainerAdministrator/NTUSER.DAT",
            "Files/Windows",
            "Files/Windows/System32",
            "Files/Windows/System32/cmd.exe",
            "Files/app",
            "Files/app/Zeta.txt",
            "Files/app/a.txt",
            "Hives",
            "Hives/Software_Delta",
        ]
    );
    assert_eq!(entries[6].1, Kind::Whiteout);

    let next = fixture.sandbox("c2", &image);
    let files = fixture.store.sandbox_files(&next);
    assert!(!files.exists(r"C:\Windows\System32\cmd.exe").unwrap());
    assert_eq!(text(&fixture.store, &next, r"C:\APP\A.TXT"), "a");
    let read = |file: &str| {
        wine::parse(&fs_err::read(next.path.join("registry").join(file)).unwrap()).unwrap()
    };
    let machine = read("system.reg");
    let value = machine.get(r"Software\Oriel").unwrap().value("Greeting").unwrap();
    assert_eq!(value.text().as_deref(), Some("hi"));
    let console = read("user.reg");
    assert_eq!(console.get("Console").unwrap().value("QuickEdit").unwrap().number(), Some(1));
}

#[test]
fn a_commit_without_changes_has_two_directories() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    // What a boot does: the computer's name, the processors, the link, a class with more NULs.
    edit(&sandbox, "system.reg", &wine::Branch::Machine, |root| {
        let key = root.get_or_create(r"System\ControlSet001\Control\Class\{4d36e968}").unwrap();
        key.set_value(Value::sz("DriverDateData", "x"));
        let key = root
            .get_or_create(r"System\ControlSet001\Control\Session Manager\Environment")
            .unwrap();
        key.set_value(Value::sz("NUMBER_OF_PROCESSORS", "2"));
    });
    let image = fixture.commit(Some("c1"), base);
    assert_eq!(names(&top_layer(&fixture, image)), ["Files", "Hives"]);
}

#[test]
fn a_commit_of_configuration_adds_no_layer() {
    let (fixture, base) = Fixture::with_base();
    let id = fixture.commit(None, base);
    let image = fixture.store.image_by_id(&id).unwrap();
    assert_eq!(image.layers.len(), 1);
    assert_eq!(image.parent, Some(base));
    assert_eq!(image.config.config.user, "ContainerUser");
    assert_eq!(image.config.created.as_deref(), Some("2023-11-14T22:13:20Z"));
    let history = image.config.history.last().unwrap();
    assert!(history.empty_layer);
    assert_eq!(history.created_by, "cmd /S /C x");
}

#[test]
fn attributes_survive_a_commit() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    let files = fixture.store.sandbox_files(&sandbox);
    files.write_file(r"C:\hidden.txt", &mut &b"x"[..], None).unwrap();
    let on_disk = sandbox.path.join("upper/hidden.txt");
    let file = std::fs::OpenOptions::new().write(true).open(&on_disk).unwrap();
    if !crate::disk::set_xattr(&file, "user.DOSATTRIB", b"0x2").unwrap() {
        writeln_skipped("user extended attributes are not supported here");
        return;
    }
    crate::disk::set_mode(&file, 0o444).unwrap();
    let image = fixture.commit(Some("c1"), base);
    let next = fixture.sandbox("c2", &image);
    let stat = fixture.store.sandbox_files(&next).stat(r"C:\hidden.txt").unwrap().unwrap();
    let expected = Attributes::HIDDEN | Attributes::READ_ONLY | Attributes::ARCHIVE;
    assert_eq!(stat.attributes, expected);
}

#[test]
fn what_overlayfs_records_is_committed() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    let script = "rm Windows/System32/cmd.exe; rm -r Windows/System32/config; \
                  mkdir Windows/System32/config; echo n > Windows/System32/config/new; \
                  rmdir Users; mkdir app; echo x > app/x";
    if !in_overlay(&sandbox, script) {
        return;
    }
    let image = fixture.commit(Some("c1"), base);
    let entries = top_layer(&fixture, image);
    let shown: Vec<String> = entries
        .iter()
        .map(|(name, kind)| match kind {
            Kind::Whiteout => format!("-{name}"),
            _ => name.clone(),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "Files",
            "-Files/Users",
            "Files/Windows",
            "Files/Windows/System32",
            "-Files/Windows/System32/cmd.exe",
            "Files/Windows/System32/config",
            "-Files/Windows/System32/config/DEFAULT",
            "-Files/Windows/System32/config/SOFTWARE",
            "-Files/Windows/System32/config/SYSTEM",
            "Files/Windows/System32/config/new",
            "Files/app",
            "Files/app/x",
            "Hives",
        ]
    );
    // The layer means the same to overlayfs as the sandbox did.
    let next = fixture.sandbox("c2", &image);
    let check = "test ! -e Users; test ! -e Windows/System32/cmd.exe; test -e app/x; \
                 test \"$(ls Windows/System32/config)\" = new; \
                 test -e Windows/System32/cexecsvc.exe";
    assert!(in_overlay(&next, check));
}

#[test]
fn hard_links_and_streams_are_exported_as_such() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    let upper = sandbox.path.join("upper");
    fs_err::write(upper.join("a.txt"), "a").unwrap();
    fs_err::hard_link(upper.join("a.txt"), upper.join("b.txt")).unwrap();
    fs_err::write(upper.join("a.txt:zone"), "z").unwrap();
    let image = fixture.commit(Some("c1"), base);
    let entries = top_layer(&fixture, image);
    assert_eq!(names(&entries), ["Files", "Files/a.txt", "Files/a.txt", "Files/b.txt", "Hives"]);
    assert_eq!(entries[2].1, Kind::Stream { name: "zone".into(), size: 1 });
    assert_eq!(entries[3].1, Kind::HardLink { target: path("Files/a.txt") });
}

#[test]
fn the_silos_placeholder_is_no_change() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    let directory = sandbox.path.join("upper/Windows/System32");
    fs_err::create_dir_all(&directory).unwrap();
    fs_err::write(directory.join("cexecsvc.exe"), "MZ").unwrap();
    let image = fixture.commit(Some("c1"), base);
    assert!(!names(&top_layer(&fixture, image)).contains(&"Files/Windows/System32/cexecsvc.exe"));
}

#[test]
fn changes_are_listed_as_docker_does() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    assert_eq!(fixture.store.changes(&sandbox).unwrap(), []);
    let files = fixture.store.sandbox_files(&sandbox);
    files.write_file("new.txt", &mut &b""[..], None).unwrap();
    files.remove(r"Windows\System32\cmd.exe").unwrap();
    let change = |path: &str, kind| Change { path: path.into(), kind };
    assert_eq!(
        fixture.store.changes(&sandbox).unwrap(),
        [
            change("/Windows", ChangeKind::Modified),
            change("/Windows/System32", ChangeKind::Modified),
            change("/Windows/System32/cmd.exe", ChangeKind::Deleted),
            change("/new.txt", ChangeKind::Added),
        ]
    );
}

#[test]
fn a_change_of_the_registry_alone_makes_a_layer() {
    let (fixture, base) = Fixture::with_base();
    let mut wanted = fixture.store.image_registry(&base).unwrap();
    let old = wanted.clone();
    let key = wanted.machine.get_or_create(r"Software\Oriel").unwrap();
    key.set_value(Value::sz("Greeting", "hi"));
    wanted.user.get_or_create("Console").unwrap().set_value(Value::dword("QuickEdit", 1));
    let change = RegistryChange {
        machine: oriel_hive::diff(&old.machine, &wanted.machine),
        user: oriel_hive::diff(&old.user, &wanted.user),
        ..RegistryChange::default()
    };
    let commit = Commit { registry_change: Some(change), ..commit_of(None, base) };
    let image = fixture.store.commit(&commit).unwrap();
    assert_eq!(
        names(&top_layer(&fixture, image)),
        [
            "Files",
            "Files/Users",
            "Files/Users/ContainerAdministrator",
            "Files/Users/ContainerAdministrator/NTUSER.DAT",
            "Hives",
            "Hives/Software_Delta",
        ]
    );
    let history = fixture.store.image_by_id(&image).unwrap().config.history;
    assert!(!history.last().unwrap().empty_layer);
    assert_eq!(fixture.store.sandboxes().unwrap(), Vec::<String>::new());
    let made = fixture.store.image_registry(&image).unwrap();
    assert_eq!(made.machine.get(r"Software\Oriel").unwrap().values().len(), 1);
}

#[test]
fn a_registry_is_read_and_changed_where_the_container_is_not_running() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    assert!(fixture.store.registry_changes(&sandbox, None).unwrap().is_empty());
    let old = fixture.store.sandbox_registry(&sandbox, None).unwrap();
    let mut new = old.clone();
    let key = new.machine.get_or_create(r"Software\Oriel").unwrap();
    key.set_value(Value::sz("Greeting", "hi"));
    let change = RegistryChange {
        machine: oriel_hive::diff(&old.machine, &new.machine),
        ..RegistryChange::default()
    };
    fixture.store.change_registry(&sandbox, &change).unwrap();
    assert_eq!(fixture.store.registry_changes(&sandbox, None).unwrap(), change);
    // A running container's registry is where it was saved to.
    let saved = tempfile::tempdir().unwrap();
    for file in ["system.reg", "userdef.reg", "user.reg"] {
        fs_err::copy(sandbox.path.join("registry").join(file), saved.path().join(file)).unwrap();
    }
    fixture.store.change_registry(&sandbox, &RegistryChange::default()).unwrap();
    assert_eq!(fixture.store.registry_changes(&sandbox, Some(saved.path())).unwrap(), change);
}

#[test]
fn the_same_files_make_the_same_image_on_two_hosts_when_their_times_are_bounded() {
    let made = |pause: Duration| {
        let (fixture, base) = Fixture::with_base();
        let sandbox = fixture.sandbox("box", &base);
        let files = fixture.store.sandbox_files(&sandbox);
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
        files.create_dir_all(r"C:\new\empty").unwrap();
        for (name, time) in [("old", Some(old)), ("now", None), ("later", Some(old + pause))] {
            files.write_file(&format!(r"C:\new\{name}"), &mut &b"x"[..], time).unwrap();
        }
        let latest = Some(commit_of(None, base).created);
        let commit = Commit { latest, ..commit_of(Some("box"), base) };
        let image = fixture.store.commit(&commit).unwrap();
        fixture.store.image_by_id(&image).unwrap()
    };
    // Later than the bound in both cases.
    let [one, two] = [400_000_000, 500_000_000].map(|pause| made(Duration::from_secs(pause)));
    assert_eq!(one.layers, two.layers);
    assert_eq!((one.id, one.manifest), (two.id, two.manifest));
}
