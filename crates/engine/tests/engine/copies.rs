//! Files in and out of containers, on fakes: what is running is a directory like any other here.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs::File,
    io::{Cursor, Read as _},
    path::Path,
};

use fs_err as fs;
use oriel_engine::EngineError;
use oriel_hcs::Class;
use oriel_image::{Clash, PathMode};
use tar::{Builder, EntryType, Header};

use crate::bench::{Bench, request};

/// An entry of a tar: name, type, link and data.
type Entry<'a> = (&'a str, EntryType, &'a str, &'a [u8]);

/// A tar with whatever names, also those that a tar library would not write.
fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, kind, link, data) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_600_000_000);
        let fields = header.as_gnu_mut().unwrap();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        tar.append(&header, *data).unwrap();
    }
    tar.into_inner().unwrap()
}

fn put(bench: &Bench, id: &str, path: &str, tar: Vec<u8>) -> Result<(), EngineError> {
    bench.on(bench.engine.copy_in(id, path, Cursor::new(tar), Clash::Replace))
}

/// Names, types and data of a tar.
fn entries(mut file: File) -> Vec<(String, EntryType, Vec<u8>)> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let mut archive = tar::Archive::new(&bytes[..]);
    let read = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        (name, entry.header().entry_type(), data)
    });
    read.collect()
}

fn get(bench: &Bench, id: &str, path: &str) -> Vec<(String, EntryType, Vec<u8>)> {
    entries(bench.on(bench.engine.copy_out(id, path)).unwrap().1)
}

const FILE: EntryType = EntryType::Regular;
const DIRECTORY: EntryType = EntryType::Directory;

#[test]
fn what_goes_in_comes_out_whether_it_runs_or_not() {
    let bench = Bench::new();
    for id in [bench.create("out"), bench.started("wait")] {
        let tree: [Entry<'_>; 4] = [
            ("app/", DIRECTORY, "", b""),
            ("app/a.txt", FILE, "", b"alpha"),
            ("app/sub/b.bin", FILE, "", &[0, 255, 13, 10]),
            ("app/link", EntryType::Symlink, "sub\\b.bin", b""),
        ];
        put(&bench, &id, "C:\\", tar(&tree)).unwrap();
        let out = get(&bench, &id, "/APP");
        let names: Vec<_> = out.iter().map(|(name, kind, _)| (name.as_str(), *kind)).collect();
        let expected = [
            ("APP/", DIRECTORY),
            ("APP/a.txt", FILE),
            ("APP/link", EntryType::Symlink),
            ("APP/sub/", DIRECTORY),
            ("APP/sub/b.bin", FILE),
        ];
        assert_eq!(names, expected);
        assert_eq!((&out[1].2[..], &out[4].2[..]), (&b"alpha"[..], &[0, 255, 13, 10][..]));
        assert_eq!(get(&bench, &id, "App\\a.txt")[0].0, "a.txt");
        assert_eq!(get(&bench, &id, "c:/app/.")[1].0, "./a.txt");
    }
}

#[test]
fn a_path_is_told_as_docker_tells_it() {
    let bench = Bench::new();
    let id = bench.create("out");
    let tree: [Entry<'_>; 2] =
        [("d/a.txt", FILE, "", b"alpha"), ("d/l", EntryType::Symlink, "C:\\d\\a.txt", b"")];
    put(&bench, &id, "/", tar(&tree)).unwrap();
    let stat = |path: &str| bench.on(bench.engine.path_stat(&id, path)).unwrap();
    let file = stat("C:\\D\\A.TXT");
    assert_eq!((file.name.as_str(), file.size, file.mode), ("A.TXT", 5, PathMode(0o666)));
    assert_eq!(stat("/d").mode, PathMode(PathMode::DIRECTORY | 0o777));
    let link = stat("/d/l");
    assert_eq!((link.mode.0 & PathMode::LINK, link.link_target.as_str()), (1 << 27, "/d/a.txt"));
    assert_eq!(stat("C:\\").name, "\\");
    let error = bench.on(bench.engine.path_stat(&id, "/none")).unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    assert_eq!(error.to_string(), format!("Could not find the file /none in container {id}"));
    let error = bench.on(bench.engine.path_stat(&id, "D:\\x")).unwrap_err();
    assert_eq!(error.class(), Class::Invalid);
}

#[test]
fn the_root_comes_out_without_a_name_and_long_names_whole() {
    let bench = Bench::new();
    let id = bench.create("out");
    let deep = format!("{}/{}", "d".repeat(90), "f".repeat(90));
    let (start, end) = deep.split_at(90);
    put(&bench, &id, "/", tar(&[(start, DIRECTORY, "", b"")])).unwrap();
    put(&bench, &id, start, tar(&[(&end[1..], FILE, "", b"long")])).unwrap();
    let out = get(&bench, &id, "C:\\");
    assert_eq!(out[0].0, "/");
    let found = out.iter().find(|(name, ..)| *name == format!("/{deep}")).unwrap();
    assert_eq!(found.2, b"long");
    assert_eq!(get(&bench, &id, "/.")[0].0, "./");
}

#[test]
fn the_docker_cli_names_a_new_file_by_its_whole_windows_path() {
    let bench = Bench::new();
    let id = bench.create("out");
    put(&bench, &id, ".", tar(&[("C:\\new\\x.txt", FILE, "", b"x")])).unwrap();
    assert_eq!(get(&bench, &id, "C:\\new\\x.txt")[0].2, b"x");
}

#[test]
fn copies_reach_into_mounts() {
    let bench = Bench::new();
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("conf"), "here").unwrap();
    let mut wanted = request("wait");
    wanted.mounts.binds = vec![
        "data:C:\\data".to_owned(),
        "fixed:C:\\data\\fixed:ro".to_owned(),
        format!("{}:C:\\app\\app.conf", root.path().join("conf").display()),
    ];
    let id = bench.on(bench.engine.create(wanted)).unwrap();
    for round in ["stopped", "running"] {
        put(&bench, &id, "c:/DATA", tar(&[("f", FILE, "", round.as_bytes())])).unwrap();
        let data = bench.engine.volume("data").unwrap().mountpoint;
        assert_eq!(fs::read_to_string(data.join("f")).unwrap(), round);
        let names: Vec<_> = get(&bench, &id, "/data").into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["data/", "data/f", "data/fixed/"]);
        assert_eq!(get(&bench, &id, "C:\\app\\APP.CONF")[0].2, b"here");
        assert_eq!(get(&bench, &id, "/app")[1].2, b"here");
        for (path, name) in [("/data/fixed", "f"), ("/data", "fixed/f")] {
            let error = put(&bench, &id, path, tar(&[(name, FILE, "", b"x")])).unwrap_err();
            assert_eq!(error.to_string(), "mounted volume is marked read-only");
        }
        let error = put(&bench, &id, "/app", tar(&[("app.conf", FILE, "", b"x")])).unwrap_err();
        assert!(error.to_string().contains("something is mounted there"), "{error}");
        if round == "stopped" {
            bench.on(bench.engine.start(&id)).unwrap();
        }
    }
}

#[test]
fn a_hostile_archive_is_refused_by_name_and_changes_nothing() {
    let bench = Bench::new();
    let mut wanted = request("out");
    wanted.mounts.binds = vec!["data:C:\\data".to_owned()];
    let id = bench.on(bench.engine.create(wanted)).unwrap();
    let link = EntryType::Symlink;
    let good: Entry<'_> = ("good", FILE, "", b"x");
    for (entry, words) in [
        (("../evil", FILE, "", &b"x"[..]), "\"../evil\": leads out of the directory"),
        (("a/../../evil", FILE, "", b"x"), "leads out of the directory"),
        (("..\\evil", FILE, "", b"x"), "leads out of the directory"),
        (("/etc/evil", FILE, "", b"x"), "is an absolute name"),
        (("D:\\evil", FILE, "", b"x"), "names a drive"),
        (("ab:c", FILE, "", b"x"), "is not a name on Windows"),
        (("l", link, "../../../etc/passwd", b""), "links out of the container"),
        (("l", link, "D:\\x", b""), "links to a drive"),
        (("h", EntryType::Link, "/etc/passwd", b""), "is an absolute name"),
        (("h", EntryType::Link, "../x", b""), "leads out of the directory"),
        (("h", EntryType::Link, "nothing", b""), "links to what is not before it"),
        (("dev", EntryType::Char, "", b""), "is a device"),
        (("dev", EntryType::Block, "", b""), "is a device"),
        (("fifo", EntryType::Fifo, "", b""), "is a pipe"),
        (("sparse", EntryType::GNUSparse, "", b""), "is no file, directory or link"),
    ] {
        let error = put(&bench, &id, "/data", tar(&[good, entry])).unwrap_err();
        assert_eq!(error.class(), Class::Invalid, "{entry:?}: {error}");
        assert!(error.to_string().contains(words), "{entry:?}: {error}");
    }
    let mut cut = tar(&[good, ("more", FILE, "", &[1; 4000])]);
    cut.truncate(3000);
    assert!(put(&bench, &id, "/data", cut).is_err());
    let data = bench.engine.volume("data").unwrap().mountpoint;
    assert_eq!(fs::read_dir(data).unwrap().count(), 0);
}

#[test]
fn an_archive_larger_than_the_disk_is_refused_before_it_is_unpacked() {
    let bench = Bench::new();
    let id = bench.create("out");
    let mut header = Header::new_gnu();
    header.set_path("bomb").unwrap();
    header.set_size(1 << 50);
    header.set_mode(0o644);
    header.set_cksum();
    let error = put(&bench, &id, "/", header.as_bytes().to_vec()).unwrap_err();
    assert!(error.to_string().contains("what the archive holds exceeds the limit"), "{error}");
}

#[test]
fn links_in_a_container_lead_nowhere_else() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), "kept").unwrap();
    let id = bench.started("wait");
    let upper = bench.world.host.document(&id).unwrap().sandbox.join("upper");
    std::os::unix::fs::symlink(outside.path(), upper.join("evil")).unwrap();
    for path in ["/evil/precious", "C:\\evil\\precious"] {
        let error = bench.on(bench.engine.copy_out(&id, path)).unwrap_err();
        assert_eq!(error.class(), Class::NotFound, "{path}");
    }
    assert_eq!(get(&bench, &id, "/evil")[0].1, EntryType::Symlink);
    let written = put(&bench, &id, "/evil", tar(&[("precious", FILE, "", b"gone")]));
    assert!(written.is_err());
    let below = put(&bench, &id, "/", tar(&[("evil/precious", FILE, "", b"gone")]));
    let text = fs::read_to_string(outside.path().join("precious")).unwrap();
    assert_eq!(text, "kept", "{below:?}");
}

#[test]
fn kinds_that_differ_clash_when_asked_and_give_way_else() {
    let bench = Bench::new();
    let id = bench.create("out");
    put(&bench, &id, "/", tar(&[("thing/x", FILE, "", b"x")])).unwrap();
    let file = tar(&[("thing", FILE, "", b"y")]);
    let refused =
        bench.on(bench.engine.copy_in(&id, "/", Cursor::new(file.clone()), Clash::Refuse));
    let text = "cannot overwrite directory \"thing\" with non-directory \"thing\"";
    assert_eq!(refused.unwrap_err().to_string(), text);
    put(&bench, &id, "/", file).unwrap();
    assert_eq!(get(&bench, &id, "/thing")[0].2, b"y");
    let error = put(&bench, &id, "/thing", tar(&[])).unwrap_err();
    assert_eq!(error.to_string(), "extraction point is not a directory");
    let error = put(&bench, &id, "/none", tar(&[])).unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
}

#[test]
fn copies_have_events() {
    let bench = Bench::new();
    let id = bench.create("out");
    put(&bench, &id, "/", tar(&[("x", FILE, "", b"x")])).unwrap();
    get(&bench, &id, "/x");
    let (events, _) = bench.engine.events();
    let actions: Vec<_> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["create", "extract-to-dir", "archive-path"]);
    assert!(Path::new(bench.engine.root()).exists());
}
