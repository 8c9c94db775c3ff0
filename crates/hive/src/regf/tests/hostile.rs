//! Hives made to harm: each is refused with the error it deserves, and none is read for long, as
//! no cell is read twice.

use super::super::bins::Bins;
use super::*;

/// A hive to be turned into a hostile one, with the places of what strangers like to change.
struct Victim {
    hive: Vec<u8>,
    /// Root's list of the keys `a` and `c`.
    root_list: usize,
    /// Record of the key `a`, which has a class, two values and a subkey.
    a: usize,
    /// List of the values of `a`.
    values: usize,
    /// Record of the first of them.
    value: usize,
    /// List of the subkey of `a`.
    list: usize,
    /// Record of the large value of `c`, its big data record and its first segment.
    large: usize,
    big_data: usize,
    segment: usize,
    security: usize,
}

impl Victim {
    fn new() -> Self {
        let mut root = Key::new("ROOT");
        let key = root.get_or_create("a").unwrap();
        key.class = Some("class".into());
        key.set_value(Value::sz("name", "some text"));
        key.set_value(Value::dword("second", 1));
        key.get_or_create("b").unwrap();
        let large = Value::new("large", ValueKind::BINARY, [7; 20_000]);
        root.get_or_create("c").unwrap().set_value(large);
        let hive = write(&root).unwrap();
        let at = |field: usize| PAGE + 4 + usize::try_from(number(&hive, field)).unwrap();
        let root_key = PAGE + 0x24;
        let root_list = at(root_key + key_field::SUBKEYS);
        let [a, c] = [4, 12].map(|element| at(root_list + element));
        let [values, of_c] = [a, c].map(|key| at(key + key_field::VALUES));
        let large = at(of_c);
        let big_data = at(large + 8);
        Self {
            root_list,
            a,
            values,
            value: at(values),
            list: at(a + key_field::SUBKEYS),
            large,
            big_data,
            segment: at(at(big_data + 4)),
            security: at(root_key + key_field::SECURITY),
            hive,
        }
    }
}

fn number(hive: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(hive[at..at + 4].try_into().unwrap())
}

/// The offset by which a hive refers to the cell with the record at `at`.
fn offset(at: usize) -> u32 {
    u32::try_from(at - 4 - PAGE).unwrap()
}

/// Overwrites fields of the victim, whose sum is made right again, and reads it.
fn read_with<const N: usize>(fields: [(usize, u32); N]) -> Result<Key, HiveError> {
    let mut hive = Victim::new().hive;
    for (at, field) in fields {
        hive[at..at + 4].copy_from_slice(&field.to_le_bytes());
    }
    read(&damaged(&hive, 0, *b"regf"))
}

/// Mark and count of a list.
fn head(mark: [u8; 2], count: u16) -> u32 {
    let [a, b] = count.to_le_bytes();
    u32::from_le_bytes([mark[0], mark[1], a, b])
}

#[test]
fn what_is_below_itself_or_in_two_places_is_used_twice() {
    let v = Victim::new();
    let twice = |structure, at| Err(HiveError::UsedTwice { structure, offset: offset(at) });
    let (root, root_list, list) = (PAGE + 0x24, offset(v.root_list), offset(v.list));
    let key_list = [(v.root_list, head(*b"ri", 1)), (v.root_list + 4, root_list)];
    assert_eq!(read_with(key_list), twice(Structure::SubkeyList, v.root_list));
    let shared_list = [(v.a + key_field::SUBKEYS, root_list)];
    assert_eq!(read_with(shared_list), twice(Structure::SubkeyList, v.root_list));
    assert_eq!(read_with([(v.list + 4, 0x20)]), twice(Structure::Key, root));
    assert_eq!(read_with([(v.root_list + 12, offset(v.a))]), twice(Structure::Key, v.a));
    assert_eq!(read_with([(v.values, offset(v.values))]), twice(Structure::Value, v.values));
    assert_eq!(read_with([(v.values + 4, offset(v.value))]), twice(Structure::Value, v.value));
    assert_eq!(read_with([(v.value + 8, offset(v.value))]), twice(Structure::Data, v.value));
    assert_eq!(read_with([(v.value + 8, 0x20)]), twice(Structure::Data, root));
    assert_eq!(read_with([(v.a + key_field::CLASS, offset(v.a))]), twice(Structure::Class, v.a));
    let own_list = [(v.big_data + 4, offset(v.big_data))];
    assert_eq!(read_with(own_list), twice(Structure::BigData, v.big_data));
    assert_eq!(read_with([(v.list + 4, list)]), twice(Structure::Key, v.list));
}

#[test]
fn a_cell_inside_another_is_used_twice() {
    let v = Victim::new();
    let inside = v.segment + 0x100;
    let moved = (v.root_list + 4, number(&v.hive, v.root_list + 12));
    let forged = (v.root_list + 12, offset(inside));
    let expected = HiveError::UsedTwice { structure: Structure::Key, offset: offset(inside) };
    assert_eq!(read_with([moved, forged, (inside - 4, 0xffff_ffa0)]), Err(expected));
}

#[test]
fn references_to_no_cell_in_use_lead_nowhere() {
    let v = Victim::new();
    let nowhere = |structure, offset| Err(HiveError::BadReference { structure, offset });
    for outside in [NIL, 0, 0x24, 0x7fff_fff8, 0x8000_0020] {
        assert_eq!(read_with([(36, outside)]), nowhere(Structure::Key, outside), "{outside:x}");
        assert_eq!(read_with([(v.list + 4, outside)]), nowhere(Structure::Key, outside));
    }
    // Free, none, odd, shorter than its own size, longer than its bin, most negative.
    for size in [0x60, 0, 0xffff_ff9f, 0xffff_fffc, 0xffff_0000, 0x8000_0000] {
        assert_eq!(read_with([(v.a - 4, size)]), nowhere(Structure::Key, offset(v.a)), "{size:x}");
    }
}

#[test]
fn records_of_another_kind_are_not_taken() {
    let v = Victim::new();
    let no = |structure, offset| Err(HiveError::Signature { structure, offset });
    assert_eq!(read_with([(36, offset(v.security))]), no(Structure::Key, offset(v.security)));
    assert_eq!(read_with([(v.values, offset(v.list))]), no(Structure::Value, offset(v.list)));
    let wrong = [(v.a + key_field::SECURITY, offset(v.list))];
    assert_eq!(read_with(wrong), no(Structure::Security, offset(v.list)));
    let list = offset(v.list);
    let nested =
        [(v.root_list, head(*b"ri", 1)), (v.root_list + 4, list), (v.list, head(*b"ri", 1))];
    assert_eq!(read_with(nested), no(Structure::SubkeyList, list));
}

#[test]
fn sizes_and_counts_beyond_their_structure_are_refused() {
    let v = Victim::new();
    let bad = |structure, at| Err(HiveError::BadSize { structure, offset: offset(at) });
    let absurd = u32::MAX;
    assert_eq!(
        read_with([(v.a + key_field::VALUE_COUNT, absurd)]),
        bad(Structure::ValueList, v.values)
    );
    assert_eq!(read_with([(v.list, head(*b"lh", u16::MAX))]), bad(Structure::SubkeyList, v.list));
    assert_eq!(read_with([(v.security + 16, absurd)]), bad(Structure::Security, v.security));
    assert_eq!(read_with([(v.value + 4, 0x8000_0005)]), bad(Structure::Value, v.value));
    let data = PAGE + 4 + usize::try_from(number(&v.hive, v.value + 8)).unwrap();
    assert_eq!(read_with([(v.value + 4, 0x7fff_ffff)]), bad(Structure::Data, data));
    assert_eq!(read_with([(v.large + 4, 0x7fff_ffff)]), bad(Structure::BigData, v.big_data));
    assert_eq!(read_with([(v.big_data, head(*b"db", 0))]), bad(Structure::BigData, v.big_data));
    // Lengths of 16 bits: those of the name first, then that of the class.
    let lengths = |name: u32, class: u32| [(v.a + key_field::NAME_LENGTH, name | class << 16)];
    assert_eq!(read_with(lengths(0, 10)), bad(Structure::Key, v.a));
    assert_eq!(read_with(lengths(0xffff, 10)), bad(Structure::Key, v.a));
    let class = PAGE + 4 + usize::try_from(number(&v.hive, v.a + key_field::CLASS)).unwrap();
    assert_eq!(read_with(lengths(1, 0xffff)), bad(Structure::Class, class));
}

#[test]
fn bins_that_are_not_in_order_are_refused() {
    let bad = |structure, offset| Err(HiveError::BadSize { structure, offset });
    let no = |offset| Err(HiveError::Signature { structure: Structure::Bin, offset });
    assert_eq!(read_with([(PAGE, 0)]), no(0));
    assert_eq!(read_with([(PAGE + 4, 0x1000)]), no(0));
    for size in [0, 0x1001, 0x7fff_f000] {
        assert_eq!(read_with([(PAGE + 8, size)]), bad(Structure::Bin, 0), "{size:x}");
    }
    for size in [0, 0x1001] {
        assert_eq!(read_with([(40, size)]), bad(Structure::BaseBlock, 0), "{size:x}");
    }
    let end = u32::try_from(Victim::new().hive.len() - PAGE).unwrap();
    let cut = HiveError::Truncated { structure: Structure::Bin, offset: end };
    assert_eq!(read_with([(40, 0xffff_f000)]), Err(cut));
}

/// A hive of keys made one by one, each below the next.
fn chain(depth: usize, name: &[u8]) -> Vec<u8> {
    let mut bins = Bins::new();
    let mut below = None;
    for _ in 0..=depth {
        let mut record = vec![0; key_field::NAME];
        record[..2].copy_from_slice(b"nk");
        for field in [key_field::SUBKEYS, key_field::SECURITY, key_field::CLASS] {
            record[field..field + 4].copy_from_slice(&[0xff; 4]);
        }
        if let Some(key) = below {
            let list = [head(*b"li", 1), key].map(u32::to_le_bytes).concat();
            record[key_field::SUBKEY_COUNT] = 1;
            let list = bins.add(&list).unwrap();
            record[key_field::SUBKEYS..][..4].copy_from_slice(&list.to_le_bytes());
        }
        let length = u16::try_from(name.len()).unwrap();
        record[key_field::NAME_LENGTH..][..2].copy_from_slice(&length.to_le_bytes());
        record.extend_from_slice(name);
        below = Some(bins.add(&record).unwrap());
    }
    let (mut hive, size) = bins.finish().unwrap();
    BaseBlock::write(&mut hive, base_block::Kind::Plain, below.unwrap(), 0, size);
    hive
}

#[test]
fn keys_nested_too_deep_are_refused() {
    assert!(read(&chain(MAX_DEPTH, b"k\0")).is_ok());
    for depth in [MAX_DEPTH + 1, 100_000] {
        let refused = Err(HiveError::TooDeep { limit: MAX_DEPTH });
        assert_eq!(read(&chain(depth, b"k\0")), refused);
        assert!(matches!(read_delta(&chain(depth, b"k\0")), Err(HiveError::TooDeep { .. })));
    }
}

#[test]
fn huge_names_are_refused() {
    assert!(read(&chain(1, &[b'k'; 512])).is_ok());
    let refused = HiveError::NameTooLong { length: 0x7fff, limit: 256 };
    assert_eq!(read(&chain(1, &[b'k'; 0xfffe])), Err(refused));
}

/// Each is the name of one key, so that to compare two of them is to compare them to their ends.
#[test]
fn long_names_of_one_beginning_do_not_take_long() {
    let mut root = Key::new("ROOT");
    for number in (0..3000).rev() {
        let name: Vec<u16> =
            [0x3c9; 250].into_iter().chain(format!("{number:05}").encode_utf16()).collect();
        root.subkeys_mut().push(Key::new(WideString::from(name)));
    }
    let hive = write(&root).unwrap();
    assert_eq!(read(&hive).unwrap().subkeys().len(), 3000);
}

/// With the sum made right again, the fields themselves are put to the test.
#[test]
fn no_flipped_byte_makes_a_reader_panic() {
    let mut root = Key::new("ROOT");
    let key = root.get_or_create(r"a\b").unwrap();
    key.class = Some("c".into());
    key.set_value(Value::sz("name", "some text"));
    for hive in [write(&root).unwrap(), write_delta(&delta_specimen()).unwrap()] {
        for at in (0..508).chain(PAGE..hive.len()) {
            for bits in [0x01, 0x80, 0xff] {
                let hive = damaged(&hive, at, [hive[at] ^ bits]);
                if let Ok(tree) = read_unclean(&hive) {
                    let _ = write(&tree);
                }
                if let Ok(delta) = read_delta(&hive) {
                    let mut tree = root.clone();
                    apply(&mut tree, &delta);
                    let _ = write_delta(&crate::diff(&root, &tree));
                }
            }
        }
    }
}
