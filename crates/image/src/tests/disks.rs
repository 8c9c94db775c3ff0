//! Sandboxes that have a size, on the real kernel.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Fixture, Sandbox, SandboxSettings};
use crate::{ChangeKind, ImageError, ImageId, ImageStore};

const SIZE: u64 = 64 << 20;

fn skipped() -> bool {
    let check = crate::check_disks();
    let root = rustix::process::geteuid().is_root();
    if root && check.level == oriel_hcs::CheckLevel::Ok {
        return false;
    }
    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    {
        eprintln!("skipped: needs root; {}", check.finding);
    }
    true
}

fn make(store: &ImageStore, id: &str, image: &ImageId) -> Sandbox {
    let settings = SandboxSettings { size: Some(SIZE), ..SandboxSettings::default() };
    store.create_sandbox(id, image, &settings).unwrap()
}

fn mounts(root: &Path) -> Vec<String> {
    let table = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    let root = root.display().to_string();
    table.lines().filter(|line| line.contains(&root)).map(str::to_owned).collect()
}

/// Loop devices of files below `root`.
fn devices(root: &Path) -> Vec<String> {
    let blocks = fs_err::read_dir("/sys/block").unwrap();
    let files = blocks
        .flatten()
        .filter_map(|entry| fs_err::read_to_string(entry.path().join("loop/backing_file")).ok());
    files.filter(|file| file.starts_with(&root.display().to_string())).collect()
}

/// Waits until `condition` holds. A mount lives as long as any namespace has it, and a namespace
/// that another test makes meanwhile has all mounts for a moment.
fn settles(condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    condition()
}

#[test]
fn a_writer_stops_at_the_size_and_the_size_is_what_it_sees() {
    if skipped() {
        return;
    }
    let (fixture, image) = Fixture::with_base();
    let sandbox = make(&fixture.store, "c1", &image);
    let space = rustix::fs::statvfs(&sandbox.path).unwrap();
    let total = space.f_blocks * space.f_frsize;
    assert!((SIZE..SIZE + (4 << 20)).contains(&total), "{total}");
    let mut file = fs_err::File::create(sandbox.path.join("upper/full")).unwrap();
    let chunk = vec![7; 1 << 20];
    let error = loop {
        if let Err(error) = file.write_all(&chunk) {
            break error;
        }
    };
    let written = file.metadata().unwrap().len();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(written > SIZE * 9 / 10 && written <= total, "{written}");
    let host = fs_err::metadata(fixture.directory.path().join("windowsfilter/c1/scratch.img"));
    assert!(host.unwrap().blocks() * 512 <= SIZE + (12 << 20));
}

#[test]
fn what_is_deleted_is_given_back_to_the_host() {
    if skipped() {
        return;
    }
    let (fixture, image) = Fixture::with_base();
    let sandbox = make(&fixture.store, "c1", &image);
    let used = || {
        let image = fixture.directory.path().join("windowsfilter/c1/scratch.img");
        fs_err::metadata(image).unwrap().blocks() * 512
    };
    let file = sandbox.path.join("upper/large");
    let mut writer = fs_err::File::create(&file).unwrap();
    writer.write_all(&vec![7; 40 << 20]).unwrap();
    writer.sync_all().unwrap();
    drop(writer);
    assert!(used() > 40 << 20);
    fs_err::remove_file(&file).unwrap();
    drop(sandbox);
    assert!(settles(|| used() < 20 << 20), "{}", used());
}

#[test]
fn a_disk_is_mounted_while_it_is_held_and_keeps_its_files() {
    if skipped() {
        return;
    }
    let (fixture, image) = Fixture::with_base();
    let root = fixture.directory.path();
    let first = make(&fixture.store, "c1", &image);
    assert_eq!(fs_err::metadata(first.path.join("upper")).unwrap().uid(), 100_000);
    let files = fixture.store.sandbox_files(&first);
    files.write_file(r"C:\app\new.txt", &mut &b"new"[..], None).unwrap();
    let second = fixture.store.sandbox("c1").unwrap();
    assert_eq!(devices(root).len(), 1, "one file, two devices");
    drop((first, files));
    assert_eq!(mounts(root).len(), 1);
    let changes = fixture.store.changes(&second).unwrap();
    assert!(changes.iter().any(|c| c.path == "/app/new.txt" && c.kind == ChangeKind::Added));
    drop(second);
    assert!(settles(|| mounts(root).is_empty() && devices(root).is_empty()));
    let committed = fixture.commit(Some("c1"), image);
    assert!(settles(|| mounts(root).is_empty() && devices(root).is_empty()));
    let next = fixture.sandbox("c2", &committed);
    assert!(fixture.store.sandbox_files(&next).exists(r"C:\app\new.txt").unwrap());
}

#[test]
fn removal_leaves_neither_mount_nor_device_even_while_somebody_reads() {
    if skipped() {
        return;
    }
    let (fixture, image) = Fixture::with_base();
    let root = fixture.directory.path();
    let sandbox = make(&fixture.store, "c1", &image);
    let before = fs_err::read(sandbox.path.join("registry/system.reg")).unwrap();
    let mut reader = fs_err::File::open(sandbox.path.join("registry/system.reg")).unwrap();
    fixture.store.remove_sandbox("c1").unwrap();
    assert!(settles(|| mounts(root).is_empty()));
    assert!(!root.join("windowsfilter/c1").exists());
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut read).unwrap();
    assert_eq!(read, before);
    drop((reader, sandbox));
    assert!(settles(|| devices(root).is_empty()));
}

#[test]
fn what_a_killed_daemon_left_mounted_is_taken_down() {
    if skipped() {
        return;
    }
    let (fixture, image) = Fixture::with_base();
    let root = fixture.directory.path().to_owned();
    let sandbox = make(&fixture.store, "c1", &image);
    fs_err::write(sandbox.path.join("upper/kept"), "kept").unwrap();
    // Killed: nobody drops anything.
    std::mem::forget(sandbox);
    assert_eq!(mounts(&root).len(), 1);
    let Fixture { directory, store } = fixture;
    drop(store);
    let database = redb::Database::create(directory.path().join("meta.redb")).unwrap();
    let store = ImageStore::open(directory.path(), Arc::new(database)).unwrap();
    let fixture = Fixture { directory, store };
    assert_eq!((mounts(&root), devices(&root)), (Vec::new(), Vec::new()));
    let sandbox = fixture.store.sandbox("c1").unwrap();
    assert_eq!(fs_err::read(sandbox.path.join("upper/kept")).unwrap(), b"kept");
}

#[test]
fn a_size_out_of_range_leaves_nothing() {
    let (fixture, image) = Fixture::with_base();
    let before = fixture.everything();
    let settings = SandboxSettings { size: Some(1 << 20), ..SandboxSettings::default() };
    let error = fixture.store.create_sandbox("c1", &image, &settings).unwrap_err();
    assert!(matches!(error, ImageError::SandboxSize { .. }), "{error}");
    assert_eq!(fixture.everything(), before);
}

#[test]
fn a_container_weighs_what_it_wrote_and_links_count_once() {
    let (fixture, image) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &image);
    assert_eq!(fixture.store.sandbox_bytes("c1").unwrap(), 0);
    let upper = sandbox.path.join("upper");
    fs_err::create_dir_all(upper.join("a/b")).unwrap();
    fs_err::write(upper.join("a/b/five"), "12345").unwrap();
    fs_err::hard_link(upper.join("a/b/five"), upper.join("a/again")).unwrap();
    fs_err::write(upper.join("three"), "123").unwrap();
    assert_eq!(fixture.store.sandbox_bytes("c1").unwrap(), 8);
    assert!(matches!(fixture.store.sandbox_bytes("c9"), Err(ImageError::NoSuchSandbox { .. })));
}

#[test]
fn what_images_share_is_counted_once() {
    let (fixture, base) = Fixture::with_base();
    let sandbox = fixture.sandbox("c1", &base);
    fs_err::write(sandbox.path.join("upper/new.txt"), "12345").unwrap();
    let child = fixture.commit(Some("c1"), base);
    let images = fixture.store.list().unwrap();
    let size = |id: ImageId| images.iter().find(|image| image.id == id).unwrap().size;
    let layers = crate::layer_sizes(&images);
    assert_eq!((layers.len(), layers.values().sum::<u64>()), (2, size(child)));
    let shared = crate::shared_sizes(&images.iter().collect::<Vec<_>>());
    assert_eq!((shared[&base], shared[&child]), (size(base), size(base)));
    let alone: Vec<_> = images.iter().filter(|image| image.id == child).collect();
    assert_eq!(crate::shared_sizes(&alone)[&child], 0);
}
