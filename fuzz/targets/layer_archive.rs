//! Any bytes as a tar: members and their data, bounded, without a panic.
#![no_main]

use std::io::Read as _;

use libfuzzer_sys::fuzz_target;
use oriel_wclayer::archive::{Archive, MAX_EXTENSION};

fuzz_target!(|data: &[u8]| {
    let mut archive = Archive::new(data);
    let mut before = 0;
    while let Ok(Some(member)) = archive.next_member() {
        assert!(archive.offset() > before, "no progress");
        before = archive.offset();
        let records: usize =
            member.records.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(records as u64 <= MAX_EXTENSION);
        assert!(member.name.len() as u64 <= MAX_EXTENSION);
        let mut first = [0; 3];
        let count = archive.read(&mut first).unwrap_or(0) as u64;
        if let Ok(rest) = archive.copy_to(&mut std::io::sink()) {
            assert_eq!(count + rest, member.size);
        }
    }
});
