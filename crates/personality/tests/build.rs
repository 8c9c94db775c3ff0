//! Builds for real, when asked: `ORIEL_TEST_BUILD=1` downloads some 240 MB and needs root;
//! `ORIEL_TEST_DATA_ROOT` names a data root where that was done.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write as _;
use std::path::{Path, PathBuf};

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

#[test]
fn a_build_is_complete_and_a_second_one_finds_it() {
    if std::env::var_os("ORIEL_TEST_BUILD").is_some() {
        let data_root = tempfile::tempdir().unwrap();
        let options = BuildOptions::default();
        let first = oriel_personality::build(data_root.path(), &options, &mut |_| {}).unwrap();
        assert!(!first.reused);
        assert_eq!(is_complete(data_root.path()).personality, first.personality);
    } else if let Some(data_root) = std::env::var_os("ORIEL_TEST_DATA_ROOT") {
        is_complete(&PathBuf::from(data_root));
    } else {
        let mut terminal = std::io::stderr();
        let _ = writeln!(terminal, "skipped: neither ORIEL_TEST_BUILD nor ORIEL_TEST_DATA_ROOT");
    }
}
