//! Any text as a `.dockerignore`, applied to some paths.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oriel_ignore::Ignore;

fuzz_target!(|text: &str| {
    if let Ok(ignore) = Ignore::parse(text) {
        for path in ["a", "a/b/c.txt", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "x/.y/[z]"] {
            let _ = ignore.excludes(path);
        }
    }
});
