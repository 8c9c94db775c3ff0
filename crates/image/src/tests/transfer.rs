//! Downloads, leases, what crashes and full disks leave, exports and imports.

use std::io::Write as _;

use super::*;
use crate::{Import, IncomingLayer, rfc3339};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn reopen(fixture: Fixture) -> Fixture {
    let Fixture { directory, store } = fixture;
    drop(store);
    let database = redb::Database::open(directory.path().join("meta.redb")).unwrap();
    let store = ImageStore::open(directory.path(), Arc::new(database)).unwrap();
    Fixture { directory, store }
}

fn partials(fixture: &Fixture) -> usize {
    fs_err::read_dir(fixture.directory.path().join("content/downloads")).unwrap().count()
}

#[test]
fn a_download_goes_on_where_a_killed_daemon_stopped() {
    let fixture = Fixture::new();
    let blob = b"0123456789";
    let digest = Digest::of(blob);
    let mut first = fixture.store.download(digest, 10).unwrap().unwrap();
    first.write(b"0123").unwrap();
    drop(first);
    let fixture = reopen(fixture);
    let _lease = fixture.store.lease();
    let mut second = fixture.store.download(digest, 10).unwrap().unwrap();
    assert_eq!(second.offset(), 4);
    second.write(b"456789").unwrap();
    second.finish().unwrap();
    assert_eq!(fixture.store.document(digest).unwrap(), blob);
    assert!(fixture.store.download(digest, 10).unwrap().is_none());
    assert!(fixture.store.download(digest, 9).is_err());
    assert_eq!(partials(&fixture), 0);
}

#[test]
fn a_server_that_cannot_go_on_in_the_middle_begins_again() {
    let fixture = Fixture::new();
    let digest = Digest::of(b"abcdef");
    let mut download = fixture.store.download(digest, 6).unwrap().unwrap();
    download.write(b"xyz").unwrap();
    download.restart().unwrap();
    assert_eq!(download.offset(), 0);
    download.write(b"abcdef").unwrap();
    download.finish().unwrap();
}

#[test]
fn a_download_of_something_else_is_refused_and_not_kept() {
    let fixture = Fixture::new();
    let digest = Digest::of(b"abc");
    let mut longer = fixture.store.download(digest, 3).unwrap().unwrap();
    let error = longer.write(b"abcd").unwrap_err();
    assert!(error.to_string().contains("more than the 3 bytes"), "{error}");
    longer.write(b"xyz").unwrap();
    assert!(matches!(longer.finish(), Err(ImageError::DigestMismatch { .. })));
    assert_eq!(partials(&fixture), 0);
    let mut shorter = fixture.store.download(digest, 3).unwrap().unwrap();
    shorter.write(b"a").unwrap();
    assert!(shorter.finish().unwrap_err().to_string().contains("has 1 bytes, expected 3"));
    assert_eq!(fixture.store.forget_downloads().unwrap(), 1);
    assert_eq!(partials(&fixture), 0);
}

#[test]
fn two_pulls_of_one_blob_share_its_download() {
    let fixture = Fixture::new();
    let digest = Digest::of(b"shared");
    let mut first = fixture.store.download(digest, 6).unwrap().unwrap();
    let store = fixture.store.clone();
    let second = std::thread::spawn(move || store.download(digest, 6).unwrap().is_none());
    assert_eq!(fixture.store.forget_downloads().unwrap(), 0, "it is in use");
    first.write(b"shared").unwrap();
    let _lease = fixture.store.lease();
    first.finish().unwrap();
    assert!(second.join().unwrap(), "the second finds it there");
}

#[test]
fn a_layer_is_taken_in_while_its_blob_still_comes() {
    let fixture = Fixture::new();
    let tar = base_tar();
    let diff_id = crate::DiffId(Digest::of(&tar));
    for (media_type, bytes) in [
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", gzip(&tar)),
        ("application/vnd.oci.image.layer.v1.tar+zstd", zstd::encode_all(&tar[..], 1).unwrap()),
        ("application/vnd.oci.image.layer.v1.tar", tar.clone()),
    ] {
        let lease = fixture.store.lease();
        let (blob, size) = (Digest::of(&bytes), bytes.len() as u64);
        let mut download = fixture.store.download(blob, size).unwrap().unwrap();
        let follower = download.follow();
        let store = fixture.store.clone();
        let taken = std::thread::spawn(move || {
            let incoming = IncomingLayer { blob, size, media_type, diff_id };
            store.take_in_layer(&[], &incoming, follower, &mut |_| ())
        });
        bytes.chunks(100).for_each(|piece| download.write(piece).unwrap());
        download.finish().unwrap();
        let layer = taken.join().unwrap().unwrap();
        assert_eq!((layer.blob, layer.tar_size), (blob, Some(tar.len() as u64)));
        assert!(layer.media_type.starts_with("application/vnd.oci.image.layer.v1.tar"));
        assert!(fixture.store.known_layer(&[], diff_id).unwrap().is_none(), "not recorded");
        fixture.store.collect().unwrap();
        assert!(fixture.store.blob_size(blob).is_some(), "the lease keeps it");
        drop(lease);
        assert!(fixture.everything().is_empty(), "nobody came to use it");
    }
}

#[test]
fn a_layer_that_is_not_what_was_announced_leaves_nothing() {
    let fixture = Fixture::new();
    let tar = base_tar();
    let bytes = gzip(&tar);
    let incoming = IncomingLayer {
        blob: Digest::of(&bytes),
        size: bytes.len() as u64,
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip",
        diff_id: crate::DiffId(Digest::of(b"other")),
    };
    for input in [&bytes[..], &bytes[..bytes.len() / 2], b"\x1f\x8bnonsense", b""] {
        let taken = fixture.store.take_in_layer(&[], &incoming, input, &mut |_| ());
        assert!(taken.is_err());
        assert!(fixture.everything().is_empty());
    }
}

#[test]
fn compressing_a_layer_gives_the_same_blob_each_time() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    fixture.store.sandbox_files(&sandbox).write_file("x", &mut &b"x"[..], None).unwrap();
    let image = fixture.store.image_by_id(&fixture.commit(Some("c1"), base)).unwrap();
    let plain = image.layers.last().unwrap();
    assert_eq!(plain.blob, plain.diff_id.0, "commits are not compressed");
    let lease = fixture.store.lease();
    let first = fixture.store.compress_layer(plain, &mut |_| ()).unwrap();
    let second = fixture.store.compress_layer(plain, &mut |_| ()).unwrap();
    assert_eq!(first, second);
    assert!(first.media_type.ends_with("+gzip") && first.diff_id == plain.diff_id);
    assert_eq!(fixture.store.compress_layer(&first, &mut |_| ()).unwrap(), first);
    drop(lease);
}

#[test]
fn whatever_a_crash_left_is_gone_after_start_up() {
    let (fixture, base) = Fixture::with_base();
    let before = fixture.everything();
    let root = fixture.directory.path().to_owned();
    let chain = "0123456789abcdef".repeat(4);
    for directory in ["abc-importing/Files", "abc-creating/upper", "abc-removing/Files", &chain] {
        fs_err::create_dir_all(root.join("windowsfilter").join(directory)).unwrap();
    }
    fs_err::write(root.join("windowsfilter").join(&chain).join("layerchain.json"), "null").unwrap();
    for file in ["content/ingest/.tmp1", "content/blobs/sha256/tmp", "content/downloads/tmp"] {
        let name = file.replace("tmp", &chain).replace(".0", ".tmp0");
        fs_err::write(root.join(name), "half").unwrap();
    }
    let old = std::fs::File::options()
        .write(true)
        .open(root.join("content/downloads").join(&chain))
        .unwrap();
    old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let fixture = reopen(fixture);
    assert_eq!(fixture.everything(), before);
    assert_eq!(partials(&fixture), 0);
    assert_eq!(fixture.store.resolve("nanoserver").unwrap().id, base);
}

#[test]
fn a_full_disk_is_named_and_keeps_nothing_of_the_load() {
    let (small, base) = Fixture::with_base();
    let sandbox = small.sandbox("c1", &base);
    let scramble = |at: u32| at.wrapping_mul(2_654_435_761).to_le_bytes()[3];
    let noise: Vec<u8> = (0..8 << 20).map(scramble).collect();
    small.store.sandbox_files(&sandbox).write_file("noise", &mut &noise[..], None).unwrap();
    let image = small.commit(Some("c1"), base);
    let mut archive = Vec::new();
    small.store.save(&[image.to_string()], &mut archive).unwrap();

    for megabytes in [4, 12] {
        let directory = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let flags = rustix::mount::MountFlags::empty();
        let size = std::ffi::CString::new(size).unwrap();
        if rustix::mount::mount("tmpfs", directory.path(), "tmpfs", flags, size.as_c_str()).is_err()
        {
            writeln_skipped("mounting a small disk needs root");
            return;
        }
        let database = redb::Database::create(directory.path().join("meta.redb")).unwrap();
        let store = ImageStore::open(directory.path(), Arc::new(database)).unwrap();
        let full = Fixture { directory, store };
        let error = full.store.load(&mut &archive[..], &mut |_| {}).unwrap_err();
        let text = format!("{error} {:?}", std::error::Error::source(&error));
        assert!(text.contains("StorageFull") || text.contains("No space"), "{text}");
        assert!(full.everything().is_empty(), "{:?}", full.everything());
        let path = full.directory.path().to_owned();
        drop(full.store);
        rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

fn import(fixture: &Fixture, archive: &[u8], name: &str) -> crate::Imported {
    let import = Import {
        name: Some(Reference::parse(name).unwrap().or_latest()),
        config: crate::RunConfig::default(),
        os_version: "10.0.20348.2113".into(),
        comment: "Imported from -".into(),
        created: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    };
    fixture.store.import(&mut &archive[..], import).unwrap()
}

#[test]
fn an_exported_container_imports_as_a_base_with_its_files_and_registry() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    let files = fixture.store.sandbox_files(&sandbox);
    files.write_file(r"C:\app\a.txt", &mut &b"a"[..], None).unwrap();
    files.write_file(r"C:\Windows\System32\ntdll.dll", &mut &b"MZ"[..], None).unwrap();
    files.remove(r"C:\Windows\System32\cmd.exe").unwrap();
    edit(&sandbox, "system.reg", &wine::Branch::Machine, |root| {
        let key = root.get_or_create(r"Software\Oriel").unwrap();
        key.set_value(Value::sz("Greeting", "hi"));
    });
    let mut archive = Vec::new();
    fixture.store.export(&sandbox, None, &mut archive).unwrap();

    let other = Fixture::new();
    let imported = import(&other, &gzip(&archive), "flat");
    assert!(imported.bootable);
    let image = other.store.resolve("flat").unwrap();
    assert_eq!((image.id, image.layers.len()), (imported.image, 1));
    assert_eq!(image.config.os_version, "10.0.20348.2113");
    assert_eq!(
        image.config.created.unwrap(),
        rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
    );
    let copy = other.sandbox("c2", &image.id);
    assert_eq!(text(&other.store, &copy, r"C:\app\a.txt"), "a");
    assert!(!other.store.sandbox_files(&copy).exists(r"C:\Windows\System32\cmd.exe").unwrap());
    let system = fs_err::read(copy.path.join("registry/system.reg")).unwrap();
    let machine = wine::parse(&system).unwrap();
    let value = |key: &str, name: &str| machine.get(key)?.value(name)?.text();
    assert_eq!(value(r"Software\Oriel", "Greeting").as_deref(), Some("hi"));
    let environment = r"System\ControlSet001\Control\Session Manager\Environment";
    assert_eq!(value(environment, "OS").as_deref(), Some("Windows_NT"));
}

#[test]
fn a_tar_of_plain_files_is_imported_as_drive_c() {
    let fixture = Fixture::new();
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["./", "./data/", "./data/a.txt"] {
        let mut header = tar::Header::new_ustar();
        let file = name.ends_with("txt");
        header.set_entry_type(if file {
            tar::EntryType::Regular
        } else {
            tar::EntryType::Directory
        });
        header.set_size(u64::from(file));
        header.set_mode(0o755);
        tar.append_data(&mut header, name, &b"a"[..usize::from(file)]).unwrap();
    }
    let imported = import(&fixture, &tar.into_inner().unwrap(), "files:1");
    assert!(!imported.bootable, "it has no Windows directory");
    let sandbox = fixture.sandbox("c1", &imported.image);
    assert_eq!(text(&fixture.store, &sandbox, r"C:\data\a.txt"), "a");
}

#[test]
fn a_damaged_import_leaves_nothing() {
    let fixture = Fixture::new();
    let tar = base_tar();
    for archive in [&tar[..tar.len() / 2], b"no tar at all, and longer than nothing", &[1; 2048]] {
        let import = Import {
            name: None,
            config: crate::RunConfig::default(),
            os_version: String::new(),
            comment: String::new(),
            created: SystemTime::UNIX_EPOCH,
        };
        assert!(fixture.store.import(&mut &archive[..], import).is_err());
        assert!(fixture.everything().is_empty());
    }
}

#[test]
fn a_damaged_hive_is_found_when_an_image_arrives() {
    let fixture = Fixture::new();
    let hive = system_hive();
    let mut damaged = hive.clone();
    damaged[0x1020..0x1040].fill(0xff);
    for (path, layer) in [
        (
            "a base hive",
            tar_of(&[
                ("Files/", b""),
                ("Files/Windows/", b""),
                ("Files/Windows/System32/", b""),
                ("Files/Windows/System32/config/", b""),
                ("Files/Windows/System32/config/SYSTEM", &damaged),
            ]),
        ),
        (
            "an account's hive",
            tar_of(&[
                ("Files/", b""),
                ("Files/Users/", b""),
                ("Files/Users/ContainerUser/", b""),
                ("Files/Users/ContainerUser/NTUSER.DAT", &damaged),
            ]),
        ),
    ] {
        let archive = docker_archive("windows", &layer, Digest::of(&layer));
        let loaded = fixture.store.load(&mut &archive[..], &mut |_| {});
        assert!(matches!(loaded, Err(ImageError::Hive { .. })), "{path}: {loaded:?}");
        assert_eq!(fixture.store.list().unwrap(), []);
        assert!(fixture.everything().iter().all(|name| !name.contains("windowsfilter")), "{path}");
    }
}
