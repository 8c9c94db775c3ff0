//! Any bytes as a Dockerfile, and any text as a word or a here-document to be expanded.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/builder/src/expand.rs"]
mod expand;
#[path = "../../crates/builder/src/parse/mod.rs"]
mod parse;

fuzz_target!(|data: &[u8]| {
    if let Err(error) = parse::parse("Dockerfile", data) {
        // Whatever the file, the error is short and its place is shown.
        assert!(error.to_string().len() < 16 << 10, "{error}");
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let variable = |name: &str| (!name.starts_with('u')).then(|| name.repeat(2));
        for escape in ['\\', '`'] {
            let word = expand::word(text, escape, &variable);
            let _ = expand::document(text, escape, &variable);
            let undefined = expand::undefined(text, escape, &variable);
            if word.is_ok() {
                assert!(undefined.iter().all(|name| variable(name).is_none()));
            }
        }
    }
});
