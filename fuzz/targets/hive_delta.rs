//! Any bytes as the registry changes of a layer, and what they do to a tree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oriel_hive::{Key, Value};

fuzz_target!(|data: &[u8]| {
    let Ok(delta) = oriel_hive::read_delta(data) else { return };
    let mut root = Key::new("root");
    root.get_or_create(r"a\b").expect("two short names").set_value(Value::sz("v", "1"));
    oriel_hive::apply(&mut root, &delta);
    if let Ok(bytes) = oriel_hive::write_delta(&delta) {
        let again = oriel_hive::read_delta(&bytes).expect("what was written can be read");
        assert_eq!(oriel_hive::write_delta(&again).expect("it could before"), bytes);
    }
});
