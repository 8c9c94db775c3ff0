//! The hash that guards what a log says.
//!
//! Marvin32 with the fixed seed of the registry (M. Suhanov's specification, "Log entries"). The
//! seed is a number: the specification prints its hexadecimal digits, not its bytes in order.

const SEED: u64 = 0x82ef_4d88_7a4e_55c5;

/// The hash of `bytes` as it stands in a log entry.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..tail.len()].copy_from_slice(tail);
    last[tail.len()] = 0x80;
    let words = words.iter().chain([&last, &[0; 4]]);
    let [a, b, c, d, e, f, g, h] = SEED.to_le_bytes();
    let seed = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    let (low, high) = words.fold(seed, |state, word| mix(state, u32::from_le_bytes(*word)));
    u64::from(high) << 32 | u64::from(low)
}

fn mix((low, high): (u32, u32), word: u32) -> (u32, u32) {
    let low = low.wrapping_add(word);
    let high = high ^ low;
    let low = low.rotate_left(20).wrapping_add(high);
    let high = high.rotate_left(9) ^ low;
    let low = low.rotate_left(27).wrapping_add(high);
    (low, high.rotate_left(19))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The guarded part of the first entry of `UsrClass.dat.LOG1`, which Windows 10 wrote, in the
    /// tests of regipy (MIT licence), and its hash there.
    #[test]
    fn a_genuine_entry_has_the_hash_it_says() {
        let entry = *b"HvLE\0\x3e\0\0\0\0\0\0\x1f\x01\0\0\0\x30\x2b\0\x03\0\0\0\
            \x79\xec\x51\xcd\xcf\x89\x32\xef";
        assert_eq!(entry.len(), 32);
        assert_eq!(hash(&entry), 0xed65_6c4d_a927_5e35);
    }

    #[test]
    fn every_byte_counts() {
        let bytes = [0; 9];
        for length in 0..9 {
            assert_ne!(hash(&bytes[..length]), hash(&bytes[..=length]), "{length}");
        }
    }
}
