//! Any bytes as a registry hive; what can be read and written is read again as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(key) = oriel_hive::read_unclean(data) else {
        assert!(oriel_hive::read(data).is_err());
        return;
    };
    if let Ok(bytes) = oriel_hive::write(&key) {
        let again = oriel_hive::read(&bytes).expect("what was written can be read");
        assert_eq!(oriel_hive::write(&again).expect("it could before"), bytes);
    }
});
