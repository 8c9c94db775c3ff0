//! Registry Editor text, there and back.

use super::*;
use crate::{Delta, Key, KeyFlags, MAX_DEPTH, MAX_KEY_NAME, Value, ValueKind, apply, diff};

const ROOT: &str = r"HKEY_LOCAL_MACHINE\Software\T";

fn rendered(key: &Key, encoding: Encoding) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), encoding).unwrap();
    writer.key(&ROOT.into(), key).unwrap();
    writer.finish().unwrap()
}

fn rendered_change(old: &Key, new: &Key) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), Encoding::Utf16).unwrap();
    writer.change(&ROOT.into(), &diff(old, new).root).unwrap();
    writer.finish().unwrap()
}

/// Makes what a file says below [`ROOT`] to `base`.
fn made(base: &Key, file: &[u8]) -> Key {
    let mut changes = Changes::default();
    for section in parse(file).unwrap() {
        let names = section.key.units().split(|unit| *unit == u16::from(b'\\')).skip(3);
        let path: Vec<WideString> = names.map(|name| name.to_vec().into()).collect();
        changes.add(&path, section).unwrap();
    }
    let mut made = base.clone();
    apply(&mut made, &Delta { root: changes.delta(base) });
    made
}

fn file(lines: &str) -> Vec<u8> {
    format!("{SIGNATURE}\n{lines}").into_bytes()
}

/// The values in a file with one key.
fn values(lines: &str) -> Vec<Value> {
    let sections = parse(&file(&format!("[HKEY_CURRENT_USER\\a]\n{lines}"))).unwrap();
    let values = sections[0].values.iter().map(|value| match value {
        ValueChange::Set(value) => value.clone(),
        ValueChange::Tombstone(name) => panic!("{name} is gone"),
    });
    values.collect()
}

fn example() -> Key {
    let mut key = Key::new("T");
    key.set_value(Value::sz("", "default"));
    key.set_value(Value::sz("@", r#"not "the" C:\default"#));
    key.set_value(Value::dword("number", 42));
    key.set_value(Value::qword("long number", 0x0102));
    key.set_value(Value::expand_sz("e", "%X%"));
    key.set_value(Value::multi_sz("m", &["a", "b"]));
    key.set_value(Value::new("odd", ValueKind::SZ, *b"a"));
    key.set_value(Value::sz("lines", "a\r\nb"));
    key.set_value(Value::new("short", ValueKind::DWORD, [1]));
    key.set_value(Value::new("none", ValueKind::NONE, []));
    key.set_value(Value::new("own", ValueKind(0xffff_0012), [1]));
    key.set_value(Value::new("b", ValueKind::BINARY, (0..60).collect::<Vec<u8>>()));
    key.get_or_create("a]b[").unwrap().set_value(Value::sz("ünï", "日本"));
    let mut link = Key::new("link");
    link.flags = KeyFlags::SYMLINK;
    key.insert(link);
    key
}

const EXAMPLE: &str = r#"Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\Software\T]
@="default"
"@"="not \"the\" C:\\default"
"number"=dword:0000002a
"long number"=hex(b):02,01,00,00,00,00,00,00
"e"=hex(2):25,00,58,00,25,00,00,00
"m"=hex(7):61,00,00,00,62,00,00,00,00,00
"odd"=hex(1):61
"lines"=hex(1):61,00,0d,00,0a,00,62,00,00,00
"short"=hex(4):01
"none"=hex(0):
"own"=hex(ffff0012):01
"b"=hex:00,01,02,03,04,05,06,07,08,09,0a,0b,0c,0d,0e,0f,10,11,12,13,14,15,16,\
  17,18,19,1a,1b,1c,1d,1e,1f,20,21,22,23,24,25,26,27,28,29,2a,2b,2c,2d,2e,2f,\
  30,31,32,33,34,35,36,37,38,39,3a,3b

[HKEY_LOCAL_MACHINE\Software\T\a]b[]
"ünï"="日本"

"#;

#[test]
fn a_tree_is_written_as_regedit_does() {
    let text = String::from_utf8(rendered(&example(), Encoding::Utf8)).unwrap();
    assert_eq!(text, EXAMPLE);
    let wide: Vec<u8> =
        EXAMPLE.replace('\n', "\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bytes = rendered(&example(), Encoding::Utf16);
    assert_eq!(bytes.strip_prefix(&[0xff, 0xfe]), Some(wide.as_slice()));
}

#[test]
fn a_tree_comes_back_from_every_encoding() {
    let mut whole = example();
    whole.remove("link");
    let text = EXAMPLE.replace('\n', "\r\n");
    let marked = |mark: &[u8], text: Vec<u8>| [mark, &text].concat();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in [
        rendered(&whole, Encoding::Utf16),
        rendered(&whole, Encoding::Utf8),
        marked(&[0xef, 0xbb, 0xbf], text.into_bytes()),
        marked(&[0xfe, 0xff], big),
    ] {
        assert!(diff(&whole, &made(&Key::new("T"), &bytes)).is_empty());
    }
}

#[test]
fn a_change_is_written_as_what_makes_it() {
    let mut new = example();
    new.remove("a]b[");
    new.remove_value("odd");
    new.set_value(Value::dword("number", 43));
    new.get_or_create(r"new\empty").unwrap();
    let text = parse(&rendered_change(&example(), &new)).unwrap();
    let shown: Vec<_> = text.iter().map(|it| (it.key.to_string(), it.deleted)).collect();
    let below = |name: &str| format!(r"{ROOT}\{name}");
    assert_eq!(shown, [(ROOT.into(), false), (below("a]b["), true), (below(r"new\empty"), false)]);
    let [set, gone] = text[0].values.as_slice() else { panic!("{:?}", text[0].values) };
    assert_eq!(*set, ValueChange::Set(Value::dword("number", 43)));
    assert_eq!(*gone, ValueChange::Tombstone("odd".into()));
}

#[test]
fn what_people_write_is_read() {
    let one = |text: &str| values(text).remove(0);
    assert_eq!(one("\"a\" = \"b\" ; why"), Value::sz("a", "b"));
    assert_eq!(one("@=dword:2A"), Value::dword("", 42));
    assert_eq!(one("\"x\"=DWORD: ff;c"), Value::dword("x", 255));
    assert_eq!(
        one("\"x\"=hex:1,02, \\ ;c\r\n ff,"),
        Value::new("x", ValueKind::BINARY, [1, 2, 255])
    );
}

#[test]
fn texts_over_several_lines_are_read() {
    let read = values("\"a\"=\"one\r\ntwo\"\n\"b\"=\"\\n\\r\\0\"");
    assert_eq!(read, [Value::sz("a", "one\r\ntwo"), Value::sz("b", "\n\r\0")]);
}

#[test]
fn the_old_format_is_in_the_code_page_of_windows() {
    let text = b"REGEDIT4\r\n\r\n[HKEY_CURRENT_USER\\\x80]\r\n\
        \"\xe9\"=\"\x99\"\r\n\"m\"=hex(7):80,00,00\r\n";
    let sections = parse(text).unwrap();
    assert_eq!(sections[0].key, "HKEY_CURRENT_USER\\€");
    let expected = [Value::sz("é", "™"), Value::multi_sz("m", &["€"])].map(ValueChange::Set);
    assert_eq!(sections[0].values, expected);
}

#[test]
fn bad_text_is_refused_with_its_line() {
    let syntax = |problem: RegProblem, line| RegError::Syntax { line, problem };
    let key = "[HKEY_CURRENT_USER]\n";
    let long = "x".repeat(MAX_KEY_NAME + 1);
    for (text, error) in [
        ("x", syntax(RegProblem::Start, 2)),
        ("\n\"a\"=\"b\"", syntax(RegProblem::Homeless, 3)),
        ("[-a]\n\"a\"=\"b\"", syntax(RegProblem::Homeless, 3)),
        ("[]", syntax(RegProblem::Key, 2)),
        ("[-]", syntax(RegProblem::Key, 2)),
        ("[a", syntax(RegProblem::Key, 2)),
        ("[a] b", syntax(RegProblem::Trailing, 2)),
        (r"[a\\b]", syntax(RegProblem::Name, 2)),
        (&format!("[{long}]"), syntax(RegProblem::Name, 2)),
        (&format!("[{}]", [r"a\"; MAX_DEPTH + 1].concat() + "a"), syntax(RegProblem::Depth, 2)),
        (&format!("{key}\"a"), syntax(RegProblem::Unterminated, 3)),
        (&format!("{key}\"a\"=\"b"), syntax(RegProblem::Unterminated, 3)),
        (&format!("{key}\"a\\t\"=\"\""), syntax(RegProblem::Escape, 3)),
        (&format!("{key}\"a\""), syntax(RegProblem::Data, 3)),
        (&format!("{key}@=qword:1"), syntax(RegProblem::Data, 3)),
        (&format!("{key}@=dword:123456789"), syntax(RegProblem::Number, 3)),
        (&format!("{key}@=dword:"), syntax(RegProblem::Number, 3)),
        (&format!("{key}@=dword:1 2"), syntax(RegProblem::Trailing, 3)),
        (&format!("{key}@=hex:1 2"), syntax(RegProblem::Trailing, 3)),
        (&format!("{key}@=hex:123"), syntax(RegProblem::Number, 3)),
        (&format!("{key}@=hex(g):1"), syntax(RegProblem::Number, 3)),
        (&format!("{key}@=hex:1,\\"), syntax(RegProblem::Unterminated, 3)),
        (&format!("{key}@=-1"), syntax(RegProblem::Trailing, 3)),
    ] {
        assert_eq!(parse(&file(text)), Err(error), "{text}");
    }
}

#[test]
fn other_files_are_refused() {
    assert_eq!(parse(b""), Err(RegError::NotReg));
    assert_eq!(parse(b"WINE REGISTRY Version 2\n"), Err(RegError::NotReg));
    assert_eq!(parse(b"MZ\x90\0"), Err(RegError::NotText { line: 1 }));
    assert_eq!(parse(&[0xff, 0xfe, 0x0a, 0, 1]), Err(RegError::NotText { line: 2 }));
    assert_eq!(parse(&vec![b' '; MAX_FILE + 1]), Err(RegError::TooLarge { limit: MAX_FILE }));
}

#[test]
fn files_cost_no_more_memory_than_their_limits_permit() {
    let many = ["[a]\n".repeat(MAX_CHANGES), "[b]\n".into()].concat();
    let line = MAX_CHANGES + 2;
    let too_many = RegError::Syntax { line, problem: RegProblem::TooMany };
    assert_eq!(parse(&file(&many)), Err(too_many));
    let long = format!("[a]\n\"{}\"=\"\"", "x".repeat(MAX_LINE + 1));
    let problem = RegProblem::LongLine;
    assert_eq!(parse(&file(&long)), Err(RegError::Syntax { line: 3, problem }));
    let names: Vec<WideString> = vec!["a".into(); MAX_DEPTH];
    let section = |line| Section { key: "".into(), deleted: false, values: Vec::new(), line };
    let mut changes = Changes::default();
    let refused = (0..MAX_CHANGES).find_map(|at| {
        let path = [&[at.to_string().as_str().into()], names.as_slice()].concat();
        changes.add(&path, section(at)).err()
    });
    assert!(matches!(refused, Some(RegError::Syntax { problem: RegProblem::TooMany, .. })));
}

#[test]
fn names_that_text_cannot_carry_are_refused() {
    let fails = |name: &[u16], encoding| {
        let mut key = Key::new("T");
        key.get_or_create("sub").unwrap().set_value(Value::sz(name.to_vec(), "x"));
        let mut writer = Writer::new(Vec::new(), encoding).unwrap();
        let error = writer.key(&ROOT.into(), &key).err()?;
        error.get_ref().map(ToString::to_string)
    };
    for name in [&[0x61, 0, 0x62][..], &[0xa], &[0xd]] {
        let text = fails(name, Encoding::Utf16).unwrap();
        assert!(text.contains(r"Software\\T\\sub`"), "{text}");
    }
    assert!(fails(&[0xd800], Encoding::Utf8).is_some());
    assert_eq!(fails(&[0xd800], Encoding::Utf16), None);
}

/// A small deterministic generator (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    fn name(&mut self) -> WideString {
        const UNITS: [u16; 13] =
            [0x61, 0x41, 0x22, 0x5b, 0x5d, 0x2d, 0x3d, 0x40, 0x3b, 0x20, 0xe9, 0xd800, 0x65e5];
        let length = 1 + self.below(3);
        (0..length).map(|_| UNITS[self.below(UNITS.len())]).collect::<Vec<u16>>().into()
    }

    fn value(&mut self) -> Value {
        let mut name = self.name().units().to_vec();
        if self.below(3) == 0 {
            name.push(u16::from(b'\\'));
        }
        if self.below(8) == 0 {
            name.clear();
        }
        let kind = ValueKind(u32::try_from(self.below(13)).unwrap());
        let length = self.below(40);
        let mut data: Vec<u8> =
            (0..length).map(|_| [0, 0, 0x22, 0x5c, 0xd8][self.below(5)]).collect();
        data.extend([0, 0]);
        Value::new(name, kind, data)
    }

    fn tree(&mut self, depth: usize) -> Key {
        let mut key = Key::new(self.name());
        for _ in 0..self.below(4) {
            key.set_value(self.value());
        }
        for _ in 0..self.below(4).min(depth) {
            key.insert(self.tree(depth - 1));
        }
        key
    }
}

#[test]
fn any_tree_and_any_change_come_back() {
    for seed in 0..600 {
        let mut random = Random(seed);
        let (old, mut new) = (random.tree(3), random.tree(3));
        if seed % 2 == 0 {
            new = old.clone();
            new.set_value(random.value());
            new.insert(random.tree(2));
        }
        let whole = made(&Key::new("T"), &rendered(&old, Encoding::Utf16));
        assert!(diff(&old, &whole).is_empty(), "seed {seed}");
        let changed = made(&old, &rendered_change(&old, &new));
        assert!(diff(&new, &changed).is_empty(), "seed {seed}");
    }
}

#[test]
fn a_file_cut_short_anywhere_is_an_error_or_a_file() {
    let whole = rendered(&example(), Encoding::Utf16);
    for end in 0..whole.len() {
        let _ = parse(&whole[..end]);
    }
    for end in 0..EXAMPLE.len() {
        let _ = parse(&EXAMPLE.as_bytes()[..end]);
    }
}

#[test]
fn a_key_deleted_and_made_anew_keeps_nothing() {
    let mut base = Key::new("T");
    base.get_or_create(r"k\sub").unwrap().set_value(Value::dword("old", 1));
    let text = format!("[-{ROOT}\\K]\n[{ROOT}\\k]\n\"a\"=\"1\"\n\"A\"=\"2\"\n[-{ROOT}\\none]\n");
    let made = made(&base, &file(&text));
    let key = made.get("k").unwrap();
    assert_eq!((key.subkeys().len(), key.values()), (0, &[Value::sz("A", "2")][..]));
    assert_eq!(made.key_count(), 2);
}
