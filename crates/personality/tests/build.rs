//! Builds for real, when asked: it downloads some 240 MB and needs root.

use std::io::Write as _;

#[test]
fn a_build_is_complete_and_a_second_one_finds_it() {
    if std::env::var_os("ORIEL_TEST_BUILD").is_none() {
        let _ = writeln!(std::io::stderr(), "skipped: set ORIEL_TEST_BUILD=1 to build for real");
        return;
    }
    let data_root = tempfile::tempdir().unwrap();
    let options = oriel_personality::BuildOptions::default();
    let first = oriel_personality::build(data_root.path(), &options, &mut |_| {}).unwrap();
    assert!(first.personality.root.join("usr/lib/wine/wine64").is_file());
    assert!(!first.personality.root.join("bin").exists());
    assert_eq!(first.bases.len(), 2);
    // A mirror that cannot be reached: the second run must not ask it.
    let options = oriel_personality::BuildOptions {
        mirror: Some("http://127.0.0.1:1/debian".to_owned()),
        ..options
    };
    let second = oriel_personality::build(data_root.path(), &options, &mut |_| {}).unwrap();
    assert!(second.reused);
    assert_eq!(second.personality, first.personality);
}
