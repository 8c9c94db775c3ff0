//! The store as a whole, on a small Windows-like image.

mod disks;

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use oriel_hive::{Key, Value, wine};
use oriel_wclayer::{Attributes, Entry, FileTime, Kind, LayerPath, Reader, Writer};

use crate::{
    BaseImport, Change, ChangeKind, Commit, Digest, FileKind, ImageConfig, ImageError, ImageId,
    ImageStore, InUse, Loaded, Reference, Removed, Sandbox, SandboxSettings,
};

const TIME: FileTime = FileTime(133_444_736_000_000_000);

/// A store in a directory of its own.
struct Fixture {
    directory: tempfile::TempDir,
    store: ImageStore,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = redb::Database::create(directory.path().join("meta.redb")).unwrap();
        let store = ImageStore::open(directory.path(), Arc::new(database)).unwrap();
        Self { directory, store }
    }

    /// A store that holds the base image.
    fn with_base() -> (Self, ImageId) {
        let fixture = Self::new();
        let tar = fixture.directory.path().join("base.tar");
        fs_err::write(&tar, base_tar()).unwrap();
        let config = ImageConfig {
            os: "windows".into(),
            architecture: "amd64".into(),
            ..ImageConfig::default()
        };
        let base = BaseImport { name: "nanoserver".into(), layer_tar: tar, config };
        let id = fixture.store.import_base(&base).unwrap();
        (fixture, id)
    }

    fn sandbox(&self, id: &str, image: &ImageId) -> Sandbox {
        let settings = SandboxSettings {
            computer_name: "web-Server-number-1".into(),
            account: String::new(),
            variables: vec![("USERNAME".into(), "a\"b".into())],
            size: None,
        };
        self.store.create_sandbox(id, image, &settings).unwrap()
    }

    fn commit(&self, sandbox: Option<&str>, parent: ImageId) -> ImageId {
        let commit = Commit {
            sandbox: sandbox.map(str::to_owned),
            parent,
            config: crate::RunConfig { user: "ContainerUser".into(), ..Default::default() },
            created_by: "cmd /S /C x".into(),
            comment: String::new(),
            author: "me".into(),
            created: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        };
        self.store.commit(&commit).unwrap()
    }

    /// Names below the data root, for comparing before and after.
    fn everything(&self) -> Vec<String> {
        let mut found = Vec::new();
        for part in ["content/blobs/sha256", "content/ingest", "windowsfilter", "registry-cache"] {
            for entry in fs_err::read_dir(self.directory.path().join(part)).unwrap() {
                found.push(format!("{part}/{}", entry.unwrap().file_name().to_string_lossy()));
            }
        }
        found.sort();
        found
    }
}

fn path(name: &str) -> LayerPath {
    LayerPath::parse(name).unwrap().unwrap()
}

/// A tar of directories (ending in a slash) and files.
fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (name, data) in entries {
        let kind = match name.strip_suffix('/') {
            Some(_) => Kind::Directory,
            None => Kind::File { size: data.len() as u64 },
        };
        writer.add(&Entry::new(path(name), kind, TIME), *data).unwrap();
    }
    writer.finish().unwrap()
}

fn system_hive() -> Vec<u8> {
    let mut root = Key::new("SYSTEM");
    let key = root.get_or_create(r"ControlSet001\Control\Session Manager\Environment").unwrap();
    key.set_value(Value::sz("OS", "Windows_NT"));
    oriel_hive::write(&root).unwrap()
}

fn base_tar() -> Vec<u8> {
    let empty = oriel_hive::write(&Key::new("")).unwrap();
    tar_of(&[
        ("Files/", b""),
        ("Files/Users/", b""),
        ("Files/Windows/", b""),
        ("Files/Windows/System32/", b""),
        ("Files/Windows/System32/cexecsvc.exe", b""),
        ("Files/Windows/System32/cmd.exe", b"MZ"),
        ("Files/Windows/System32/config/", b""),
        ("Files/Windows/System32/config/DEFAULT", &empty),
        ("Files/Windows/System32/config/SOFTWARE", &empty),
        ("Files/Windows/System32/config/SYSTEM", &system_hive()),
    ])
}

fn text(store: &ImageStore, sandbox: &Sandbox, path: &str) -> String {
    let mut text = String::new();
    store.sandbox_files(sandbox).read(path).unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Names and kinds of the entries of an image's topmost layer.
fn top_layer(fixture: &Fixture, image: ImageId) -> Vec<(String, Kind)> {
    let image = fixture.store.image_by_id(&image).unwrap();
    let blob = fixture.store.content().read(image.layers.last().unwrap().blob).unwrap();
    let mut reader = Reader::new(flate2::read::GzDecoder::new(blob));
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        entries.push((entry.path.to_string(), entry.kind));
    }
    entries
}

fn names(entries: &[(String, Kind)]) -> Vec<&str> {
    entries.iter().map(|(name, _)| name.as_str()).collect()
}

fn edit(sandbox: &Sandbox, file: &str, branch: &wine::Branch, change: impl FnOnce(&mut Key)) {
    let file = sandbox.path.join("registry").join(file);
    let mut root = wine::parse(&fs_err::read(&file).unwrap()).unwrap();
    change(&mut root);
    fs_err::write(&file, wine::render(&root, branch)).unwrap();
}

#[test]
fn a_base_image_has_two_names_and_is_found_by_all_forms() {
    let (fixture, id) = Fixture::with_base();
    let hex = id.0.hex();
    for name in
        ["nanoserver", "nanoserver:ltsc2022", "docker.io/library/nanoserver", &hex, &hex[..7]]
    {
        assert_eq!(fixture.store.resolve(name).unwrap().id, id, "{name}");
    }
    assert_eq!(fixture.store.resolve(&id.to_string()).unwrap().id, id);
    let image = fixture.store.resolve("nanoserver").unwrap();
    let by_digest = format!("nanoserver@{}", image.manifest);
    assert_eq!(fixture.store.resolve(&by_digest).unwrap().id, id);
    assert_eq!(image.references.len(), 2);
    let error = fixture.store.resolve("nope").unwrap_err();
    assert_eq!(error.to_string(), "No such image: nope:latest");
}

#[test]
fn importing_the_same_base_again_changes_nothing() {
    let (fixture, id) = Fixture::with_base();
    let before = fixture.everything();
    let tar = fixture.directory.path().join("base.tar");
    let config = ImageConfig {
        os: "windows".into(),
        architecture: "amd64".into(),
        ..ImageConfig::default()
    };
    let base = BaseImport { name: "nanoserver".into(), layer_tar: tar, config };
    assert_eq!(fixture.store.import_base(&base).unwrap(), id);
    assert_eq!(fixture.everything(), before);
}

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

/// Says that a test did nothing.
fn writeln_skipped(why: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "skipped: {why}").unwrap();
}

/// Whether this process may set `trusted.*` attributes; says so when not.
fn may_use_trusted_attributes(directory: &Path) -> bool {
    let directory = crate::disk::Dir::open(directory).unwrap();
    let may = crate::disk::set_xattr(&directory, "trusted.oriel.test", b"1").unwrap();
    if !may {
        writeln_skipped("only root has trusted extended attributes");
    }
    may
}

/// Runs `script` on an overlay of the sandbox, in a mount namespace of its own.
fn in_overlay(sandbox: &Sandbox, script: &str) -> bool {
    let lower: Vec<_> = sandbox.layers.iter().map(|layer| layer.to_str().unwrap()).collect();
    let script = format!(
        "set -e; cd {path}; mkdir merged; mount -t overlay overlay -o \
         lowerdir={lower},upperdir=upper,workdir=work,redirect_dir=off merged; cd merged; {script}",
        path = sandbox.path.display(),
        lower = lower.join(":"),
    );
    let shell = ["--mount", "sh", "-c", &script];
    match std::process::Command::new("unshare").args(shell).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            writeln_skipped(&format!(
                "no overlay here: {}",
                String::from_utf8_lossy(&output.stderr)
            ));
            false
        }
        Err(error) => {
            writeln_skipped(&format!("no unshare here: {error}"));
            false
        }
    }
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
fn an_image_saved_here_loads_elsewhere_with_the_same_id() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    fixture.store.sandbox_files(&sandbox).write_file("x", &mut &b"x"[..], None).unwrap();
    let image = fixture.commit(Some("c1"), base);
    let name = Reference::parse("app:1").unwrap();
    fixture.store.tag(&image, &name).unwrap();
    let mut archive = Vec::new();
    fixture.store.save(&["app:1".into()], &mut archive).unwrap();

    let gzip = {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(&archive).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::stream::encode_all(&archive[..], 1).unwrap();
    for archive in [archive, gzip, zstd] {
        let other = Fixture::new();
        let mut events = 0;
        let loaded = other.store.load(&mut &archive[..], &mut |_| events += 1).unwrap();
        assert_eq!(loaded, [Loaded::Reference(name.clone(), image)]);
        assert!(events >= 4);
        let sandbox = other.sandbox("c1", &image);
        assert_eq!(text(&other.store, &sandbox, "X"), "x");
        assert_eq!(fs_err::read_dir(other.store.content().ingest()).unwrap().count(), 0);
    }
}

/// A docker archive around one layer, in the form of Docker 1.10 to 24.
fn docker_archive(os: &str, layer: &[u8], diff: Digest) -> Vec<u8> {
    let rootfs = format!(r#"{{"type":"layers","diff_ids":["{diff}"]}}"#);
    let config = format!(r#"{{"os":"{os}","architecture":"amd64","rootfs":{rootfs}}}"#);
    let config_name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let manifest = format!(
        r#"[{{"Config":"{config_name}","RepoTags":["old:1"],"Layers":["abc/layer.tar"]}}]"#
    );
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in [
        (config_name.as_str(), config.as_bytes()),
        ("abc/layer.tar", layer),
        ("manifest.json", manifest.as_bytes()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, name, data).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn the_older_docker_form_loads() {
    let layer = base_tar();
    let archive = docker_archive("windows", &layer, Digest::of(&layer));
    let fixture = Fixture::new();
    let loaded = fixture.store.load(&mut &archive[..], &mut |_| {}).unwrap();
    assert!(matches!(&loaded[..], [Loaded::Reference(name, _)] if name.familiar() == "old:1"));
}

#[test]
fn an_oci_layout_loads_without_dockers_manifest() {
    let (fixture, base) = Fixture::with_base();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all(".", fixture.directory.path().join("content")).unwrap();
    let archive = builder.into_inner().unwrap();
    let other = Fixture::new();
    let loaded = other.store.load(&mut &archive[..], &mut |_| {}).unwrap();
    assert_eq!(loaded.len(), 2);
    let image = other.store.resolve("nanoserver:ltsc2022").unwrap();
    assert_eq!(image.id, base);
    // The compressed blob is kept as it came.
    assert_eq!(image.layers[0].blob, fixture.store.image_by_id(&base).unwrap().layers[0].blob);
    assert_eq!(image.manifest, fixture.store.image_by_id(&base).unwrap().manifest);
}

#[test]
fn bad_archives_are_refused_and_leave_nothing() {
    let (fixture, _) = Fixture::with_base();
    let before = fixture.everything();
    // Not the base's: a layer that is there is not read again.
    let layer = tar_of(&[("Files/", b""), ("Files/y", b"y")]);
    let good = docker_archive("windows", &layer, Digest::of(&layer));
    let mut flipped = good.clone();
    let at = flipped.windows(8).position(|bytes| bytes == b"PaxHeade").unwrap();
    flipped[at + 600] ^= 1;
    let evil = {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.as_gnu_mut().unwrap().name[..5].copy_from_slice(b"x/lnk");
        header.set_link_name("../../../etc/passwd").unwrap();
        header.set_cksum();
        builder.append(&header, &b""[..]).unwrap();
        builder.into_inner().unwrap()
    };
    let other_layer = tar_of(&[("Files/", b""), ("Files/x", b"x")]);
    for (what, archive) in [
        ("linux", docker_archive("linux", &layer, Digest::of(&layer))),
        ("no os", docker_archive("", &layer, Digest::of(&layer))),
        ("wrong diff id", docker_archive("windows", &other_layer, Digest::of(b"x"))),
        ("flipped bit", flipped),
        ("truncated", good[..good.len() / 2].to_vec()),
        ("not a tar", b"hello".repeat(200)),
        ("empty", Vec::new()),
        ("link out", evil),
        ("layer is no tar", docker_archive("windows", &[7; 600], Digest::of(&[7; 600]))),
    ] {
        let result = fixture.store.load(&mut &archive[..], &mut |_| {});
        assert!(result.is_err(), "{what}");
        assert_eq!(fixture.everything(), before, "{what}");
    }
    let linux = docker_archive("linux", &layer, Digest::of(&layer));
    let error = fixture.store.load(&mut &linux[..], &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "cannot load linux image on windows");
}

/// Loads a layer on top of nothing and returns its `Files`.
fn extracted(fixture: &Fixture, layer: &[u8]) -> Result<std::path::PathBuf, ImageError> {
    let archive = docker_archive("windows", layer, Digest::of(layer));
    fixture.store.load(&mut &archive[..], &mut |_| {})?;
    let image = fixture.store.resolve("old:1")?;
    Ok(fixture.store.layers().directory(image.layers[0].chain_id).join("Files"))
}

#[test]
fn links_in_layers_never_lead_out() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap().to_owned();
    let mut writer = Writer::new(Vec::new());
    for target in [target.clone(), format!(r"..\..\..\..\..\..{}", target.replace('/', "\\"))] {
        let link = Kind::Symlink { target };
        writer.add(&Entry::new(path("Files/evil"), link, TIME), &b""[..]).unwrap();
        let file = Kind::File { size: 5 };
        writer.add(&Entry::new(path("Files/evil/pwned"), file, TIME), &b"pwned"[..]).unwrap();
    }
    let fixture = Fixture::new();
    let files = extracted(&fixture, &writer.finish().unwrap()).unwrap();
    assert!(fs_err::read_dir(outside.path()).unwrap().next().is_none());
    assert!(files.join("evil/pwned").exists());
}

#[test]
fn reading_through_links_stays_in_the_container() {
    let mut writer = Writer::new(Vec::new());
    for (name, target) in [
        ("Files/up", r"..\..\..\..\etc\passwd"),
        ("Files/abs", "/etc/passwd"),
        ("Files/loop", "loop"),
        ("Files/docs", r"C:\real"),
    ] {
        let link = Kind::Symlink { target: target.into() };
        writer.add(&Entry::new(path(name), link, TIME), &b""[..]).unwrap();
    }
    let file = Kind::File { size: 2 };
    writer.add(&Entry::new(path("Files/real/x"), file, TIME), &b"ok"[..]).unwrap();
    let fixture = Fixture::new();
    extracted(&fixture, &writer.finish().unwrap()).unwrap();
    let image = fixture.store.resolve("old:1").unwrap().id;
    let sandbox = fixture.sandbox("c1", &image);
    let files = fixture.store.sandbox_files(&sandbox);
    assert!(files.read("up").is_err());
    assert!(files.read("abs").is_err());
    assert!(files.stat("loop").is_err());
    assert_eq!(text(&fixture.store, &sandbox, r"docs\X"), "ok");
    files.write_file(r"docs\new", &mut &b"n"[..], None).unwrap();
    assert!(sandbox.path.join("upper/real/new").exists());
}

#[test]
fn names_that_differ_in_case_are_one() {
    let layer =
        tar_of(&[("Files/Windows/", b""), ("Files/WINDOWS/a", b"1"), ("Files/windows/A", b"2")]);
    let fixture = Fixture::new();
    let files = extracted(&fixture, &layer).unwrap();
    assert_eq!(fs_err::read_dir(&files).unwrap().count(), 1);
    assert_eq!(fs_err::read_to_string(files.join("Windows/a")).unwrap(), "2");
}

#[test]
fn hard_links_may_precede_their_targets() {
    let mut writer = Writer::new(Vec::new());
    let link = Kind::HardLink { target: path("Files/b") };
    writer.add(&Entry::new(path("Files/a"), link, TIME), &b""[..]).unwrap();
    writer.add(&Entry::new(path("Files/b"), Kind::File { size: 1 }, TIME), &b"b"[..]).unwrap();
    let layer = writer.finish().unwrap();
    let fixture = Fixture::new();
    let files = extracted(&fixture, &layer).unwrap();
    assert_eq!(fs_err::read_to_string(files.join("a")).unwrap(), "b");
    let mut writer = Writer::new(Vec::new());
    let link = Kind::HardLink { target: path("Files/nowhere") };
    writer.add(&Entry::new(path("Files/a"), link, TIME), &b""[..]).unwrap();
    assert!(extracted(&Fixture::new(), &writer.finish().unwrap()).is_err());
}

#[test]
fn times_of_directories_are_those_of_the_layer() {
    let layer = tar_of(&[("Files/d/", b""), ("Files/d/x", b"x")]);
    let fixture = Fixture::new();
    let files = extracted(&fixture, &layer).unwrap();
    let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(TIME.to_unix().0.unsigned_abs());
    for name in ["d", "d/x"] {
        let found = fs_err::metadata(files.join(name)).unwrap().modified().unwrap();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_name_in_use_is_kept_unless_forced() {
    let (fixture, base) = Fixture::with_base();
    let image = fixture.commit(None, base);
    fixture.store.tag(&image, &Reference::parse("app").unwrap()).unwrap();
    let stopped = |id: &ImageId| {
        (*id == image).then(|| InUse { container: "0123456789ab".into(), running: false })
    };
    let error = fixture.store.remove("app", false, false, &stopped).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to remove repository reference \"app\" (must force) - container \
             0123456789ab is using its referenced image {}",
            image.0.short()
        )
        .replace("\"app\"", "\"app:latest\"")
    );
    let running = |id: &ImageId| stopped(id).map(|user| InUse { running: true, ..user });
    let removed = fixture.store.remove("app", true, false, &running).unwrap();
    assert_eq!(removed, [Removed::Untagged("app:latest".into())]);
    assert!(fixture.store.image_by_id(&image).is_ok());
    fixture.store.tag(&image, &Reference::parse("app").unwrap()).unwrap();
    let removed = fixture.store.remove("app", true, false, &stopped).unwrap();
    assert_eq!(removed, [Removed::Untagged("app:latest".into()), Removed::Deleted(image)]);
}

#[test]
fn removing_the_last_name_removes_image_layers_and_unnamed_parents() {
    let (fixture, base) = Fixture::with_base();
    let before = fixture.everything();
    fixture.sandbox("c1", &base);
    let middle = fixture.commit(Some("c1"), base);
    let image = fixture.commit(None, middle);
    fixture.store.remove_sandbox("c1").unwrap();
    for name in ["app", "app:2"] {
        fixture.store.tag(&image, &Reference::parse(name).unwrap()).unwrap();
    }
    let unused = |_: &ImageId| None;
    let children = fixture.store.remove(&middle.0.hex(), false, false, &unused).unwrap_err();
    assert!(
        children.to_string().ends_with("(cannot be forced) - image has dependent child images")
    );
    let removed = fixture.store.remove("app", false, false, &unused).unwrap();
    assert_eq!(removed, [Removed::Untagged("app:latest".into())]);
    let removed = fixture.store.remove("app:2", false, false, &unused).unwrap();
    assert_eq!(
        removed,
        [Removed::Untagged("app:2".into()), Removed::Deleted(image), Removed::Deleted(middle)]
    );
    let after: Vec<_> =
        fixture.everything().into_iter().filter(|name| !name.starts_with("registry")).collect();
    assert_eq!(after, before);
}

#[test]
fn opening_removes_what_a_crash_left() {
    let directory = tempfile::tempdir().unwrap();
    let leftovers = ["windowsfilter/x-importing", "windowsfilter/y-removing", "content/ingest/z"];
    for name in leftovers {
        fs_err::create_dir_all(directory.path().join(name)).unwrap();
    }
    let orphan = directory.path().join("windowsfilter/0000");
    fs_err::create_dir_all(&orphan).unwrap();
    fs_err::write(orphan.join("layerchain.json"), "null").unwrap();
    let database = redb::Database::create(directory.path().join("meta.redb")).unwrap();
    ImageStore::open(directory.path(), Arc::new(database)).unwrap();
    for name in leftovers.iter().map(Path::new).chain([Path::new("windowsfilter/0000")]) {
        assert!(!directory.path().join(name).exists(), "{}", name.display());
    }
}
