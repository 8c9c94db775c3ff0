//! Any bytes as Wine's registry text, which a container can write.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oriel_hive::wine::{self, Branch};

/// What the container was given.
const BEFORE: &str = include_str!("../seeds/hive_wine/system.reg");

fuzz_target!(|data: &[u8]| {
    let changed = wine::parse_changed(BEFORE.as_ref(), data);
    let Ok(key) = wine::parse(data) else {
        assert!(changed.is_err());
        return;
    };
    let (old, new) = changed.expect("what can be parsed can be compared");
    let before = wine::parse(BEFORE.as_ref()).expect("it is sound");
    assert_eq!(oriel_hive::diff(&old, &new).is_empty(), oriel_hive::diff(&before, &key).is_empty());

    let once = wine::render(&key, &Branch::Machine);
    let again = wine::parse(once.as_ref()).expect("what was rendered can be parsed");
    assert_eq!(wine::render(&again, &Branch::Machine), once);
});
