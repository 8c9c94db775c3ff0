//! From a layer to a directory.

use super::*;

#[test]
fn links_in_layers_never_lead_out() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap().to_owned();
    for target in [target.clone(), format!(r"..\..\..\..\..\..{}", target.replace('/', "\\"))] {
        let mut writer = Writer::new(Vec::new());
        let link = Kind::Symlink { target };
        writer.add(&Entry::new(path("Files/evil"), link, TIME), &b""[..]).unwrap();
        let file = Kind::File { size: 5 };
        writer.add(&Entry::new(path("Files/evil/pwned"), file, TIME), &b"pwned"[..]).unwrap();
        let fixture = Fixture::new();
        assert!(extracted(&fixture, &writer.finish().unwrap()).is_err());
        assert!(fs_err::read_dir(outside.path()).unwrap().next().is_none());
    }
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
        tar_of(&[("Files/Windows/", b""), ("Files/WINDOWS/a", b"1"), ("Files/windows/B", b"2")]);
    let fixture = Fixture::new();
    let files = extracted(&fixture, &layer).unwrap();
    assert_eq!(fs_err::read_dir(&files).unwrap().count(), 1);
    assert_eq!(fs_err::read_to_string(files.join("Windows/B")).unwrap(), "2");
    let twice = tar_of(&[("Files/Windows/a", b"1"), ("Files/WINDOWS/A", b"2")]);
    assert!(extracted(&Fixture::new(), &twice).is_err());
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
