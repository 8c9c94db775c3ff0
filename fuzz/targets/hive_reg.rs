//! Any bytes as text of the Registry Editor, which a client sends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oriel_hive::reg::{self, Changes, Encoding, Writer};
use oriel_hive::{Delta, Key, WideString, apply, diff};

/// What a file makes of nothing.
fn made(bytes: &[u8]) -> Option<Key> {
    let mut changes = Changes::default();
    for section in reg::parse(bytes).ok()? {
        let names = section.key.units().split(|unit| *unit == u16::from(b'\\')).skip(1);
        let path: Vec<WideString> = names.map(|name| name.to_vec().into()).collect();
        changes.add(&path, section).ok()?;
    }
    let mut key = Key::new("");
    let root = changes.delta(&key);
    apply(&mut key, &Delta { root });
    Some(key)
}

fuzz_target!(|data: &[u8]| {
    let Some(key) = made(data) else { return };
    let mut writer = Writer::new(Vec::new(), Encoding::Utf16).expect("memory takes everything");
    // Names with line breaks come in and do not go out.
    if writer.key(&"HKEY_CURRENT_USER".into(), &key).is_err() {
        return;
    }
    let text = writer.finish().expect("memory takes everything");
    let again = made(&text).expect("what was written can be read");
    assert!(diff(&key, &again).is_empty());
});
