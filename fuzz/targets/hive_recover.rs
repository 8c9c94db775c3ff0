//! A hive and two logs, their sums and hashes made right: what recovery makes of them.
#![no_main]

use libfuzzer_sys::fuzz_target;

const SECTOR: usize = 512;

/// Makes the checksum of a base block right.
fn seal_base_block(bytes: &mut [u8]) {
    let Some(block) = bytes.get_mut(..SECTOR) else { return };
    let numbers = block[..508].as_chunks::<4>().0.iter();
    let sum = match numbers.fold(0, |sum, number| sum ^ u32::from_le_bytes(*number)) {
        0 => 1,
        u32::MAX => u32::MAX - 1,
        sum => sum,
    };
    block[508..].copy_from_slice(&sum.to_le_bytes());
}

/// Makes the hashes of all entries of a log right.
fn seal_entries(log: &mut [u8]) {
    let mut at = SECTOR;
    while log.get(at..at + 40).is_some_and(|head| head.starts_with(b"HvLE")) {
        let size =
            u32::from_le_bytes([log[at + 4], log[at + 5], log[at + 6], log[at + 7]]) as usize;
        let Some(entry) = log.get_mut(at..at + size.max(40)) else { return };
        let hash = marvin(&entry[40..]);
        entry[24..32].copy_from_slice(&hash.to_le_bytes());
        let hash = marvin(&entry[..32]);
        entry[32..40].copy_from_slice(&hash.to_le_bytes());
        at += entry.len();
    }
}

/// The hash of `crates/hive/src/regf/marvin.rs`.
fn marvin(bytes: &[u8]) -> u64 {
    let mut state = (0x7a4e_55c5_u32, 0x82ef_4d88_u32);
    let mut padded = [bytes, &[0x80]].concat();
    padded.resize(bytes.len() / 4 * 4 + 8, 0);
    for word in padded.as_chunks::<4>().0 {
        let (mut low, mut high) = state;
        low = low.wrapping_add(u32::from_le_bytes(*word));
        high ^= low;
        low = low.rotate_left(20).wrapping_add(high);
        high = high.rotate_left(9) ^ low;
        low = low.rotate_left(27).wrapping_add(high);
        state = (low, high.rotate_left(19));
    }
    u64::from(state.1) << 32 | u64::from(state.0)
}

// The first two bytes say how many sectors hive and first log have.
fuzz_target!(|data: &[u8]| {
    let [hive, log, rest @ ..] = data else { return };
    let mut rest = rest.to_vec();
    let mut cut = |sectors: u8| {
        let after = rest.split_off((usize::from(sectors) * SECTOR).min(rest.len()));
        std::mem::replace(&mut rest, after)
    };
    let [mut hive, mut first] = [cut(*hive), cut(*log)];
    let mut second = rest;
    // One hive in eight keeps its damaged base block.
    if data[0] % 8 != 0 {
        seal_base_block(&mut hive);
    }
    for log in [&mut first, &mut second] {
        seal_base_block(log);
        seal_entries(log);
    }
    let all = hive.len() + first.len() + second.len();
    let Ok(recovered) = oriel_hive::recover(&hive, &[&first, &second]) else { return };
    assert!(recovered.len() <= all, "a hive grows by what its logs hold");
    assert!(!matches!(oriel_hive::read(&recovered), Err(oriel_hive::HiveError::Dirty { .. })));
    let again = oriel_hive::recover(&recovered, &[&first, &second]).expect("it is clean");
    assert_eq!(again, recovered);
});
