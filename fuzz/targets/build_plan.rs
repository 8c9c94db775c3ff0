//! Any text as the Dockerfile of a build: read, checked and planned; and as changes of an image.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oriel_builder::{Build, BuildRequest, apply_changes};
use oriel_image::RunConfig;

fuzz_target!(|text: &str| {
    let request = BuildRequest {
        build_args: [("A".to_owned(), Some("1".to_owned())), ("B".to_owned(), None)].into(),
        target: text.lines().next().filter(|line| line.len() < 3).unwrap_or_default().to_owned(),
        ..BuildRequest::default()
    };
    let scratch = std::env::temp_dir();
    // What is no archive is a Dockerfile alone.
    if let Ok(build) = Build::prepare_remote(request, &mut text.as_bytes(), &scratch) {
        let lines = text.lines().count().max(1);
        for finding in &build.findings().list {
            assert!(finding.position.line <= lines, "{finding:?}");
        }
    }
    let changes: Vec<String> = text.lines().map(str::to_owned).collect();
    let config = RunConfig { env: vec!["A=1".into()], ..RunConfig::default() };
    let _ = apply_changes(config, &changes);
});
