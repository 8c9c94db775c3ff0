//! Any bytes as the context of a build. Nothing may be left of one that is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oriel_builder::{Build, BuildRequest};

fuzz_target!(|data: &[u8]| {
    let scratch = tempfile::tempdir().unwrap();
    let build = Build::prepare(BuildRequest::default(), &mut &data[..], scratch.path());
    drop(build);
    let left = std::fs::read_dir(scratch.path()).unwrap().count();
    assert_eq!(left, 0);
});
