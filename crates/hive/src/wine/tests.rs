//! Wine's text, there and back.

use super::*;
use crate::{KeyFlags, MAX_DEPTH, Value, ValueKind, WideString, WineProblem};

const FILE: &str = r#"WINE REGISTRY Version 2
;; All keys relative to REGISTRY\\User\\.Default

#arch=win64

[] 1700006381
#time=1da1756a1e4b800
"root value"="x"

[Software\\B\[1\]] 1700006381
#time=1da1756a1e4b800
#class="a \"class\""
@="default"
"@"="not the default"
"bin"=hex:01,ff
"dword"=dword:0000002a
"empty"=hex(0):
"esc\\\"\n\e\1"="a\x20acb\x00e9f \x7f\0017"
"expand"=str(2):"%PATH%"
"long"=hex(ffff0012):00,01,02,03,04,05,06,07,08,09,0a,0b,0c,0d,0e,0f,10,11,12,\
  13,14,15,16,17,18,19,1a,1b,1c,1d,1e,1f,20,21,22,23,24,25,26,27,28,29,2a,2b,\
  2c,2d
"multi"=str(7):"a\0b\0"
"odd"=hex(1):61
"short dword"=hex(4):01

[Software\\B_] 0
#time=19db1ded53e8000

[Software\\Ba] 0
#time=19db1ded53e8000
#link
"SymbolicLinkValue"=hex(6):5c,00
"#;

#[test]
fn what_wineserver_writes_comes_back_byte_for_byte() {
    // wineserver writes U+007F as itself.
    let file = FILE.replace(r"\x7f", "\u{7f}");
    let tree = parse(file.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(render(&tree, &Branch::Default)).unwrap(), file);
}

#[test]
fn text_becomes_keys_and_values() {
    let tree = parse(FILE.as_bytes()).unwrap();
    let key = tree.get(r"software\b[1]").unwrap();
    assert_eq!(key.class, Some(WideString::from("a \"class\"")));
    assert_eq!(key.last_write, 0x01da_1756_a1e4_b800);
    assert_eq!(key.value("").unwrap().text().unwrap(), "default");
    assert_eq!(key.value("DWORD").unwrap().number(), Some(42));
    assert_eq!(key.value("esc\\\"\n\u{1b}\u{1}").unwrap().text().unwrap(), "a€béf \u{7f}\u{1}7");
    assert_eq!(key.value("multi"), Some(&Value::multi_sz("multi", &["a", "b"])));
    assert_eq!(key.value("long").unwrap().data, (0..=0x2d).collect::<Vec<u8>>());
    assert!(tree.get(r"Software\Ba").unwrap().is_symlink());
    assert_eq!(tree.get(r"Software\B_").unwrap().last_write, 0);
}

#[test]
fn values_of_text_types_that_are_not_text_survive() {
    let mut root = Key::default();
    for (name, data) in
        [("odd", &[0x61, 0, 0][..]), ("open", &[0x61, 0]), ("lone", &[0, 0xd8, 0, 0])]
    {
        root.set_value(Value::new(name, ValueKind::SZ, data));
    }
    let back = parse(&render(&root, &Branch::Machine)).unwrap();
    for value in root.values() {
        assert_eq!(back.value(&value.name.to_string()), Some(value));
    }
}

#[test]
fn every_unit_before_every_kind_of_unit_survives() {
    let followers = [0x30_u16, 0x38, 0x41, 0x67, 0x22, 0x5c, 0x1, 0xd800];
    for first in (0..0x180).chain([0xd800, 0xdfff, 0xffff]) {
        let units: Vec<u16> = followers.iter().flat_map(|next| [first, *next]).collect();
        let mut root = Key::default();
        let data = WideString::from(units.clone()).to_le_bytes();
        root.set_value(Value::new(
            WideString::from(units),
            ValueKind::SZ,
            [data, vec![0; 2]].concat(),
        ));
        assert_eq!(parse(&render(&root, &Branch::Machine)).unwrap().values(), root.values());
    }
}

#[test]
fn a_key_named_twice_has_the_values_of_both_and_the_later_wins() {
    let text = format!("{SIGNATURE}\n\n[K]\n\"a\"=\"1\"\n\"b\"=\"1\"\n[L]\n[k]\n\"A\"=\"2\"\n");
    let tree = parse(text.as_bytes()).unwrap();
    let text = |name| tree.get("K").unwrap().value(name).unwrap().text().unwrap();
    assert_eq!((text("a").as_str(), text("b").as_str()), ("2", "1"));
    assert_eq!(tree.get("K").unwrap().values().len(), 2);
}

#[test]
fn files_that_people_wrote_are_read() {
    let text = format!("{SIGNATURE}\r\n\r\n[Ключ]\r\n\"é\" = str:\"ü\"\r\n#unknown=1\r\n");
    let tree = parse(text.as_bytes()).unwrap();
    assert_eq!(tree.get("КЛЮЧ").unwrap().value("É").unwrap().text().unwrap(), "ü");
}

#[test]
fn nuls_that_wine_piles_up_behind_a_class_are_dropped() {
    let text = format!("{SIGNATURE}\n\n[K]\n#class=\"c\\0\\0\"\n");
    assert_eq!(parse(text.as_bytes()).unwrap().get("K").unwrap().class, Some("c".into()));
}

#[test]
fn what_makes_no_sense_is_named_with_its_line() {
    let problems = [
        ("\"a\"=\"b\"", WineProblem::Homeless),
        ("?", WineProblem::Start),
        ("[K", WineProblem::Unterminated),
        ("[K] x", WineProblem::Number),
        ("[K]\n\"a\"=\"b", WineProblem::Unterminated),
        ("[K]\n\"a\"=\"b\" c", WineProblem::Trailing),
        ("[K]\n\"a\"", WineProblem::Data),
        ("[K]\n\"a\"=what:1", WineProblem::Data),
        ("[K]\n\"a\"=dword:123456789", WineProblem::Number),
        ("[K]\n\"a\"=hex:100", WineProblem::Number),
    ];
    for (text, problem) in problems {
        let line = 1 + text.lines().count();
        let file = format!("{SIGNATURE}\n{text}\n");
        assert_eq!(parse(file.as_bytes()), Err(HiveError::WineSyntax { line, problem }), "{text}");
    }
    assert_eq!(parse(b"REGEDIT4\n"), Err(HiveError::NotWine));
}

#[test]
fn keys_too_deep_for_the_registry_are_refused() {
    let text = format!("{SIGNATURE}\n[{}]\n", [r"k\\"; MAX_DEPTH + 1].concat());
    assert_eq!(parse(text.as_bytes()), Err(HiveError::TooDeep { limit: MAX_DEPTH }));
}

#[test]
fn neither_truncation_nor_a_flipped_byte_makes_the_parser_panic() {
    for length in 0..FILE.len() {
        let _ = parse(&FILE.as_bytes()[..length]);
    }
    for (at, bits) in (0..FILE.len()).flat_map(|at| [(at, 0x01), (at, 0x20), (at, 0xff)]) {
        let mut text = FILE.as_bytes().to_vec();
        text[at] ^= bits;
        let _ = parse(&text);
        let _ = parse_changed(FILE.as_bytes(), &text);
    }
}

#[test]
fn links_are_marked_on_the_key() {
    let mut root = Key::default();
    root.get_or_create("Link").unwrap().flags = KeyFlags::SYMLINK;
    let text = String::from_utf8(render(&root, &Branch::User(LOCAL_USER.into()))).unwrap();
    assert!(text.ends_with("[Link] 0\n#time=19db1ded53e8000\n#link\n"), "{text}");
    assert!(text.contains(r"REGISTRY\\User\\S-1-5-21-0-0-0-1000"));
}
