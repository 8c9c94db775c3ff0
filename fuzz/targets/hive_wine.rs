//! Any bytes as Wine's registry text, which a container can write.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oriel_hive::wine::{self, Branch};

fuzz_target!(|data: &[u8]| {
    let Ok(key) = wine::parse(data) else { return };
    let once = wine::render(&key, &Branch::Machine);
    let again = wine::parse(once.as_ref()).expect("what was rendered can be parsed");
    assert_eq!(wine::render(&again, &Branch::Machine), once);
});
