//! Tests of the context.

use tar::{Builder, EntryType, Header};

use super::*;

/// A tar of entries: path, kind, content or link target.
fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, kind, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        // The checked setters refuse what a hostile archive would hold.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        let link = matches!(kind, EntryType::Symlink | EntryType::Link);
        if link {
            header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content.as_bytes());
        }
        let data = if link { "" } else { content };
        header.set_size(data.len().try_into().unwrap());
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn unpack(bytes: &[u8]) -> Result<Context, ContextError> {
    Context::unpack(&mut &bytes[..], &std::env::temp_dir())
}

const FILE: EntryType = EntryType::Regular;

#[test]
fn files_are_found_by_either_separator_and_any_case() {
    let bytes = archive(&[("./bin/App.exe", FILE, "MZ"), ("bin/app.EXE.config", FILE, "x")]);
    let context = unpack(&bytes).unwrap();
    for path in ["bin/App.exe", "bin\\app.exe", "/BIN/./APP.EXE", "x/../bin/App.exe"] {
        let found = context.find(path).map(|(name, _)| name);
        let expected = (!path.starts_with('x')).then(|| "App.exe".to_owned());
        assert_eq!(found, expected, "{path}");
    }
    assert_eq!(context.read("bin/App.exe", 10).unwrap().unwrap(), b"MZ");
    assert!(matches!(context.read("bin/App.exe", 1), Err(ContextError::FileTooLong { .. })));
}

#[test]
fn compressed_archives_are_read() {
    let plain = archive(&[("a", FILE, "content")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    for bytes in [gzip.finish().unwrap(), zstd::encode_all(&plain[..], 1).unwrap(), plain] {
        assert_eq!(unpack(&bytes).unwrap().read("a", 10).unwrap().unwrap(), b"content");
    }
    assert!(matches!(unpack(b"BZh91AY&SY"), Err(ContextError::Compression)));
}

#[test]
fn archives_that_reach_outside_are_refused() {
    let table: &[&[(&str, EntryType, &str)]] = &[
        &[("../x", FILE, "x")],
        &[("a/../../x", FILE, "x")],
        &[("/etc/passwd", FILE, "x")],
        &[("l", EntryType::Symlink, "/etc"), ("l/passwd", FILE, "x")],
        &[("f", FILE, "x"), ("f/x", FILE, "x")],
        &[("h", EntryType::Link, "/etc/passwd")],
        &[("h", EntryType::Link, "missing")],
        &[("dev", EntryType::Block, "")],
        &[("pipe", EntryType::Fifo, "")],
    ];
    for entries in table {
        assert!(unpack(&archive(entries)).is_err(), "{entries:?}");
    }
}

#[test]
fn links_are_followed_inside_only() {
    let context = unpack(&archive(&[
        ("real/x", FILE, "x"),
        ("real/up", EntryType::Symlink, "../../../../real/x"),
        ("abs", EntryType::Symlink, "/real"),
        ("host", EntryType::Symlink, "/etc/passwd"),
        ("loop", EntryType::Symlink, "loop"),
        ("hard", EntryType::Link, "real/x"),
    ]))
    .unwrap();
    for path in ["real/up", "abs/x", "hard"] {
        assert_eq!(context.read(path, 10).unwrap().as_deref(), Some(b"x".as_slice()), "{path}");
    }
    for path in ["host", "loop", "loop/x"] {
        assert!(context.find(path).is_none(), "{path}");
    }
}

#[test]
fn excluded_files_are_gone_and_their_directories_when_empty() {
    let mut context = unpack(&archive(&[
        ("keep/a.txt", FILE, "a"),
        ("keep/a.log", FILE, "a"),
        ("gone/b.log", FILE, "b"),
        ("some/c", FILE, "c"),
        ("some/d", FILE, "d"),
    ]))
    .unwrap();
    context.apply(&Ignore::parse("**/*.log\ngone\nsome\n!some/d").unwrap());
    assert!(context.find("keep/a.txt").is_some());
    assert!(context.find("keep/a.log").is_none());
    assert!(context.find("gone").is_none());
    assert!(context.find("some/d").is_some());
    assert!(context.find("some/c").is_none());
}

#[test]
fn a_cut_archive_is_an_error_or_shorter_and_never_a_panic() {
    let bytes = archive(&[("a", FILE, "content"), ("b", FILE, "more")]);
    for cut in (0..bytes.len()).step_by(97) {
        let _ = unpack(&bytes[..cut]);
    }
}

#[test]
fn long_names_arrive_and_endless_ones_are_refused() {
    let name = format!("{}/x", "d".repeat(150));
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    builder.append_data(&mut header, &name, &b"x"[..]).unwrap();
    let bytes = builder.into_inner().unwrap();
    assert!(unpack(&bytes).unwrap().find(&name).is_some());
    let endless = archive(&[("././@LongLink", EntryType::GNULongName, &"n".repeat(300 << 10))]);
    assert!(matches!(unpack(&endless), Err(ContextError::LongName { .. })));
}
