//! Other people's readers must take the hives we write, and see in them what we put in.
//!
//! From Debian `reglookup`, `regfexport` (libregf-utils), `hivexml` and `hivexsh` (libhivex-bin);
//! from PyPI `regipy` and `python-registry`, in the environment that `scripts/install-deps` makes.
//! `dump.py` brings what each prints into one form. One that is not installed is skipped, and
//! says so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oriel_hive::{Delta, DeltaKey, Key, Semantics, Value, ValueChange, ValueKind, diff};
use oriel_hive::{write, write_delta};

/// All readers but hivex, which cannot read values that are gone, in genuine hives neither.
const READERS: [&str; 4] = ["reglookup", "regfexport", "regipy", "python-registry"];

#[expect(clippy::print_stderr, reason = "a skipped test must not pass in silence")]
fn skipped(what: &str) {
    eprintln!("skipped: {what} is not installed");
}

/// The interpreter of the environment with the readers from PyPI.
fn python() -> PathBuf {
    let work = std::env::var_os("ORIEL_WORK")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.demo"), PathBuf::from);
    work.join("readers/bin/python3")
}

/// What `reader` finds in `hive`, a line for each key and value; nothing when it is not installed.
fn dump(reader: &str, hive: &[u8]) -> Option<Vec<String>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), hive).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/independent_readers/dump.py");
    let command = Command::new(python()).arg(script).arg(reader).arg(file.path()).output();
    let Ok(output) = command else {
        skipped("the environment with readers from PyPI");
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(3) {
        skipped(reader);
        return None;
    }
    assert!(output.status.success(), "{reader}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    lines.sort();
    Some(lines)
}

/// Each reader finds exactly what is expected.
fn assert_read(readers: &[&str], hive: &[u8], mut expected: Vec<String>) {
    expected.sort();
    for reader in readers {
        let Some(found) = dump(reader, hive) else { continue };
        // Of the four bytes that a value of three has in its record, libregf shows the last three.
        let known = |line: &&String| *reader != "regfexport" || !line.contains("\tthree\t");
        let mut found = found.iter().filter(known);
        for line in expected.iter().filter(known) {
            assert_eq!(found.next(), Some(line), "{reader}");
        }
        assert_eq!(found.next(), None, "{reader}");
    }
}

/// Keys in one list and in several, values of every way to store them.
fn tree() -> Key {
    let mut root = Key::new("ROOT");
    for number in 0..1200 {
        let key = root.get_or_create(&format!(r"Many\key-{number:04}")).unwrap();
        key.set_value(Value::dword("number", number));
    }
    let many = root.get_or_create("Values").unwrap();
    for number in 0..1200 {
        many.set_value(Value::dword(format!("value-{number:04}"), number));
    }
    let key = root.get_or_create(r"Software\Grüße\日本語").unwrap();
    key.class = Some("a class".into());
    key.last_write = 0x01da_1756_a1e4_b800;
    key.set_value(Value::sz("", "the default"));
    key.set_value(Value::sz("greeting", "hello there"));
    key.set_value(Value::sz("größe", "äöü"));
    key.set_value(Value::expand_sz("expanded", "%PATH%"));
    key.set_value(Value::multi_sz("several", &["one", "two"]));
    key.set_value(Value::qword("wide", 0x0123_4567_89ab_cdef));
    key.set_value(Value::new("three", ValueKind::BINARY, [1, 2, 3]));
    key.set_value(Value::new("five", ValueKind::BINARY, [1, 2, 3, 4, 5]));
    for (name, length) in [("cell", 16_344), ("two segments", 16_345), ("four segments", 50_000)] {
        key.set_value(Value::new(name, ValueKind::BINARY, vec![0xa5; length]));
    }
    root.get_or_create("Empty").unwrap();
    root
}

/// What a container changes: keys and values that are new, others and gone.
fn changed() -> Key {
    let mut new = tree();
    new.remove(r"Many\key-0007");
    new.get_or_create("New").unwrap().set_value(Value::sz("fresh", "made here"));
    let key = new.get_or_create(r"Software\Grüße\日本語").unwrap();
    key.set_value(Value::new("four segments", ValueKind::BINARY, vec![0x5a; 60_000]));
    new
}

fn delta() -> Delta {
    diff(&tree(), &changed())
}

fn delta_with_value_tombstones() -> Delta {
    let mut new = changed();
    new.get_mut(r"Software\Grüße\日本語").unwrap().remove_value("greeting");
    new.get_mut("Values").unwrap().remove_value("value-0042");
    diff(&tree(), &new)
}

/// Lines for a tree, as `dump.py` prints them.
fn lines_of(root: &Key) -> Vec<String> {
    fn walk(key: &Key, path: &str, lines: &mut Vec<String>) {
        lines.push(line(path, None));
        lines.extend(key.values().iter().map(|value| line(path, Some(value))));
        for subkey in key.subkeys() {
            walk(subkey, &format!("{path}\\{}", subkey.name()), lines);
        }
    }
    let mut lines = Vec::new();
    walk(root, "", &mut lines);
    lines
}

/// Lines for a delta: readers that know nothing of layers show what is gone as empty.
fn lines_of_delta(delta: &Delta) -> Vec<String> {
    fn walk(key: &DeltaKey, path: &str, lines: &mut Vec<String>) {
        lines.push(line(path, None));
        for change in &key.values {
            lines.push(match change {
                ValueChange::Set(value) => line(path, Some(value)),
                ValueChange::Tombstone(name) => {
                    line(path, Some(&Value::new(name.clone(), ValueKind::NONE, [])))
                }
            });
        }
        for subkey in &key.subkeys {
            walk(subkey, &format!("{path}\\{}", subkey.name), lines);
        }
    }
    let mut lines = Vec::new();
    walk(&delta.root, "", &mut lines);
    lines
}

/// A key, or one of its values. Not all readers know Latin-1: what is beyond ASCII there is `?`.
fn line(path: &str, value: Option<&Value>) -> String {
    let line = match value {
        None => format!("{path}\tKEY"),
        Some(value) => format!("{path}\t{}\t{}\t{}", value.name, value.kind.0, shown(value)),
    };
    line.chars().map(|c| if ('\u{80}'..='\u{ff}').contains(&c) { '?' } else { c }).collect()
}

/// The data as `dump.py` shows it: text, texts, a number or bytes.
fn shown(value: &Value) -> String {
    let (units, _) = value.data.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    match value.kind {
        ValueKind::SZ | ValueKind::EXPAND_SZ => value.text().unwrap(),
        ValueKind::MULTI_SZ => {
            String::from_utf16(&units).unwrap().trim_end_matches('\0').replace('\0', "|")
        }
        ValueKind::DWORD | ValueKind::QWORD => {
            let mut bytes = [0; 8];
            bytes[..value.data.len()].copy_from_slice(&value.data);
            u64::from_le_bytes(bytes).to_string()
        }
        _ => value.data.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

#[test]
fn base_hives_are_read_by_all() {
    let hive = write(&tree()).unwrap();
    assert_read(&[&READERS[..], &["hivexml"]].concat(), &hive, lines_of(&tree()));
}

#[test]
fn delta_hives_are_read_by_all() {
    let delta = delta();
    let gone = |key: &DeltaKey| key.subkeys.iter().any(|it| it.semantics == Semantics::Tombstone);
    assert!(delta.root.subkeys.iter().any(gone), "one key is gone");
    let hive = write_delta(&delta).unwrap();
    assert_read(&[&READERS[..], &["hivexml"]].concat(), &hive, lines_of_delta(&delta));
}

#[test]
fn delta_hives_with_values_that_are_gone_are_read_by_all_but_hivex() {
    let delta = delta_with_value_tombstones();
    assert_read(&READERS, &write_delta(&delta).unwrap(), lines_of_delta(&delta));
}

#[test]
fn hivexsh_finds_keys_and_values() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), write(&tree()).unwrap()).unwrap();
    let shell = Command::new("hivexsh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut shell) = shell else {
        skipped("hivexsh");
        return;
    };
    // It looks names up, and so depends on their order, which the others do not.
    let path = file.path().display();
    let words =
        format!("load {path}\ncd \\many\\KEY-1199\nlsval number\ncd \\Values\nlsval value-1199\n");
    shell.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["1199", "1199"]);
}
