//! Builds for real, when asked: `ORIEL_TEST_BUILD=1` downloads some 240 MB and needs root;
//! `ORIEL_TEST_DATA_ROOT` names a data root where that was done.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write as _;
use std::path::Path;

use oriel_personality::{BuildOptions, Built};

/// A mirror that cannot be reached: a build that asks it fails.
fn offline() -> BuildOptions {
    BuildOptions { mirror: Some("http://127.0.0.1:1/debian".to_owned()), ..BuildOptions::default() }
}

/// Checks a data root that holds a whole build: a second one takes it as it is.
fn is_complete(data_root: &Path) -> Built {
    let found = oriel_personality::build(data_root, &offline(), &mut |_| {}).unwrap();
    assert!(found.reused);
    assert!(found.personality.root.join("usr/lib/wine/wine64").is_file());
    assert!(!found.personality.root.join("bin").exists());
    assert_eq!(found.bases.len(), 2);
    found
}

/// A data root with links to the results of another, so that a build that has to be made after
/// all leaves nothing in that one.
fn shadow(data_root: &Path) -> tempfile::TempDir {
    let shadow = tempfile::tempdir().unwrap();
    let (from, to) = (data_root.join("personality"), shadow.path().join("personality"));
    fs_err::create_dir(&to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "work" {
            fs_err::os::unix::fs::symlink(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    shadow
}

#[test]
fn a_build_is_complete_and_a_second_one_finds_it() {
    if std::env::var_os("ORIEL_TEST_BUILD").is_some() {
        let data_root = tempfile::tempdir().unwrap();
        let options = BuildOptions::default();
        let first = oriel_personality::build(data_root.path(), &options, &mut |_| {}).unwrap();
        assert!(!first.reused);
        assert_eq!(is_complete(data_root.path()).personality, first.personality);
    } else if let Some(data_root) = std::env::var_os("ORIEL_TEST_DATA_ROOT") {
        is_complete(shadow(Path::new(&data_root)).path());
    } else {
        let mut terminal = std::io::stderr();
        let _ = writeln!(terminal, "skipped: neither ORIEL_TEST_BUILD nor ORIEL_TEST_DATA_ROOT");
    }
}
