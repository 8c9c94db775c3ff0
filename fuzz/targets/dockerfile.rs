//! Any bytes as a Dockerfile, and any text as a word to be expanded.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/builder/src/expand.rs"]
mod expand;
#[path = "../../crates/builder/src/parse/mod.rs"]
mod parse;

fuzz_target!(|data: &[u8]| {
    let _ = parse::parse("Dockerfile", data);
    if let Ok(text) = std::str::from_utf8(data) {
        let variable = |name: &str| (!name.starts_with('u')).then(|| name.repeat(2));
        for escape in ['\\', '`'] {
            let _ = expand::word(text, escape, &variable);
        }
    }
});
