//! Dirty hives and logs, both made here.

use std::borrow::Cow;

use super::super::base_block::SECTOR;
use super::super::marvin;
use super::*;

/// Three states of a hive; the second is larger than the first.
fn states() -> [Vec<u8>; 3] {
    let mut root = Key::new("ROOT");
    root.last_write = 0x01da_1756_a1e4_b800;
    root.get_or_create("first").unwrap();
    let first = write(&root).unwrap();
    root.get_or_create("second").unwrap().set_value(Value::new("v", ValueKind(3), [2; 9000]));
    let second = write(&root).unwrap();
    root.get_mut("second").unwrap().set_value(Value::new("v", ValueKind(3), [3; 9000]));
    [first, second, write(&root).unwrap()]
}

/// `hive` with a write to it begun and not ended.
fn dirty(hive: &[u8]) -> Vec<u8> {
    damaged(hive, 4, 2_u32.to_le_bytes())
}

/// `hive` with a base block that nobody can use.
fn broken(hive: &[u8]) -> Vec<u8> {
    let mut hive = hive.to_vec();
    hive[..8].copy_from_slice(b"regf\xff\xff\xff\xff");
    hive
}

/// The pages of `new` that differ from `old`, and where they are in the bins.
fn pages(old: &[u8], new: &[u8], size: usize) -> Vec<(usize, Vec<u8>)> {
    let differs = |at: &usize| old.get(*at..at + size) != Some(&new[*at..at + size]);
    let places = (PAGE..new.len()).step_by(size).filter(differs);
    places.map(|at| (at - PAGE, new[at..at + size].to_vec())).collect()
}

fn le(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().to_le_bytes()
}

/// An entry of the new format.
fn entry(sequence: usize, bins_size: usize, pages: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let mut guarded: Vec<u8> =
        pages.iter().flat_map(|(at, page)| [le(*at), le(page.len())]).flatten().collect();
    guarded.extend(pages.iter().flat_map(|(_, page)| page));
    guarded.resize((guarded.len() + 40).next_multiple_of(SECTOR) - 40, 0);
    let fields = [guarded.len() + 40, 0, sequence, bins_size, pages.len()];
    let mut entry = b"HvLE".to_vec();
    entry.extend(fields.into_iter().flat_map(le));
    entry.extend(marvin::hash(&guarded).to_le_bytes());
    entry.extend(marvin::hash(&entry).to_le_bytes());
    entry.extend(guarded);
    entry
}

/// The entry that makes `new` of `old`.
fn step(sequence: usize, old: &[u8], new: &[u8]) -> Vec<u8> {
    entry(sequence, new.len() - PAGE, &pages(old, new, PAGE))
}

/// A log of the new format.
fn log(sequence: usize, hive: &[u8], entries: &[Vec<u8>]) -> Vec<u8> {
    let mut block = hive[..SECTOR].to_vec();
    for (at, field) in [(4, sequence), (8, sequence), (28, 6)] {
        block[at..at + 4].copy_from_slice(&le(field));
    }
    let sum = checksum(&block);
    block[508..].copy_from_slice(&sum.to_le_bytes());
    [block, entries.concat()].concat()
}

/// A log of the old format that makes `new` of `old`, on a disk with sectors of `sector` bytes.
fn old_log(sector: usize, old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut log = new[..sector].to_vec();
    for (at, field) in [(4, 2), (8, 2), (28, 1), (44, sector / SECTOR)] {
        log[at..at + 4].copy_from_slice(&le(field));
    }
    let sum = checksum(&log);
    log[508..512].copy_from_slice(&sum.to_le_bytes());
    log.extend(b"DIRT");
    let pages = pages(old, new, SECTOR);
    let mut bitmap = vec![0; (new.len() - PAGE) / SECTOR / 8];
    for (at, _) in &pages {
        bitmap[at / SECTOR / 8] |= 1 << (at / SECTOR % 8);
    }
    log.extend(bitmap);
    log.resize(log.len().next_multiple_of(sector), 0);
    log.extend(pages.into_iter().flat_map(|(_, page)| page));
    log
}

/// The bins of a hive that was recovered, which must be a clean one.
fn recovered_bins(hive: &[u8], logs: &[&[u8]]) -> Vec<u8> {
    let hive = recover(hive, logs).unwrap();
    read(&hive).unwrap();
    hive[PAGE..].to_vec()
}

#[test]
fn a_clean_hive_is_left_alone() {
    let [first, second, _] = states();
    let log = log(1, &first, &[step(1, &first, &second)]);
    assert!(matches!(recover(&first, &[&log]), Ok(Cow::Borrowed(hive)) if hive == first));
}

#[test]
fn entries_of_both_logs_are_applied_in_the_order_of_their_numbers() {
    let [first, second, third] = states();
    let earlier = log(1, &first, &[step(1, &first, &second)]);
    let later = log(2, &first, &[step(2, &second, &third)]);
    for logs in [[&earlier[..], &later], [&later, &earlier]] {
        assert_eq!(recovered_bins(&dirty(&first), &logs), third[PAGE..]);
    }
}

#[test]
fn a_gap_between_logs_ends_recovery() {
    let [first, second, third] = states();
    let earlier = log(1, &first, &[step(1, &first, &second)]);
    let later = log(3, &first, &[step(3, &second, &third)]);
    assert_eq!(recovered_bins(&dirty(&first), &[&earlier, &later]), second[PAGE..]);
}

#[test]
fn entries_that_are_damaged_or_remain_from_before_end_a_log() {
    let [first, second, third] = states();
    let good = step(1, &first, &second);
    let remains = step(7, &second, &third);
    let mut bad = step(2, &second, &third);
    bad[100] ^= 1;
    let mut bad_head = step(2, &second, &third);
    bad_head[8] ^= 1;
    for next in [remains, bad, bad_head] {
        let log = log(1, &first, &[good.clone(), next]);
        assert_eq!(recovered_bins(&dirty(&first), &[&log]), second[PAGE..]);
    }
}

#[test]
fn a_log_of_what_the_hive_has_already_does_not_fit() {
    let [first, second, _] = states();
    let hive = damaged(&dirty(&first), 8, 6_u32.to_le_bytes());
    let old = log(5, &first, &[step(5, &first, &second)]);
    let refused = HiveError::NoLogFits { primary: 2, secondary: 6, logs: 2 };
    assert_eq!(recover(&hive, &[&old, b""]), Err(refused));
}

#[test]
fn a_dirty_hive_without_logs_is_an_error_that_says_so() {
    let [first, ..] = states();
    let refused = HiveError::NoLogFits { primary: 2, secondary: 1, logs: 0 };
    assert_eq!(recover(&dirty(&first), &[]), Err(refused));
}

#[test]
fn a_damaged_base_block_is_taken_from_the_log_that_goes_furthest() {
    let [first, second, third] = states();
    let earlier = log(1, &first, &[step(1, &first, &second)]);
    let later = log(2, &first, &[step(2, &second, &third)]);
    // Windows wrote what the earlier log says before it began the later one.
    let written = broken(&second);
    assert_eq!(recovered_bins(&written, &[&earlier, &later]), third[PAGE..]);
    assert!(matches!(recover(&written, &[]), Err(HiveError::Checksum { .. })));
    assert_eq!(recover(b"no hive", &[&later]), Err(HiveError::NotAHive));
}

#[test]
fn logs_of_the_old_format_are_applied() {
    let [first, second, _] = states();
    for sector in [SECTOR, 8 * SECTOR] {
        let log = old_log(sector, &first, &second);
        assert_eq!(recovered_bins(&dirty(&first), &[b"", &log]), second[PAGE..], "{sector}");
    }
}

#[test]
fn a_log_of_the_old_format_fits_by_its_time() {
    let [first, second, _] = states();
    let log = old_log(SECTOR, &first, &second);
    let later = damaged(&dirty(&first), 12, [1]);
    assert!(matches!(recover(&later, &[&log]), Err(HiveError::NoLogFits { .. })));
    // With a damaged base block the time of the first bin decides.
    let mut hive = broken(&first);
    assert!(matches!(recover(&hive, &[&log]), Err(HiveError::Checksum { .. })));
    hive[PAGE + 20..PAGE + 28].copy_from_slice(&0x01da_1756_a1e4_b800_u64.to_le_bytes());
    let [keys, expected] = [&recover(&hive, &[&log]).unwrap(), &second[..]].map(read);
    assert_eq!(keys, expected);
}

#[test]
fn a_small_log_cannot_make_a_large_hive() {
    let [first, ..] = states();
    let large = 0x7fff_f000;
    let new = log(1, &first, &[entry(1, large, &[(0, vec![0; PAGE])])]);
    let mut old = old_log(SECTOR, &first, &first);
    old[40..44].copy_from_slice(&le(large));
    let old = damaged(&old, 28, [1]);
    let outside = log(1, &first, &[entry(1, PAGE, &[(PAGE, vec![0; 8])])]);
    for log in [new, old, outside] {
        assert!(matches!(recover(&dirty(&first), &[&log]), Err(HiveError::NoLogFits { .. })));
    }
}

#[test]
fn no_byte_of_a_log_can_make_recovery_panic() {
    let [first, second, _] = states();
    let new = log(1, &first, &[step(1, &first, &second)]);
    for log in [new, old_log(SECTOR, &first, &second)] {
        for length in 0..log.len().min(2000) {
            let _ = recover(&dirty(&first), &[&log[..length]]);
        }
        // What follows the references are pages, which recovery does not look into.
        for (at, bits) in (0..1500).flat_map(|at| [(at, 0x01), (at, 0x80), (at, 0xff)]) {
            let flipped = [log[at] ^ bits];
            let log = if at < SECTOR {
                damaged(&log, at, flipped)
            } else {
                overwritten(&log, at, flipped)
            };
            let _ = recover(&dirty(&first), &[&log]);
            let _ = recover(&broken(&first), &[&log]);
        }
    }
}
