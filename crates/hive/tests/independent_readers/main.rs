//! Other people's readers must take the hives we write, and see in them what we put in.
//!
//! They come with Debian: `reglookup`, `regfexport` (libregf-utils) and `hivexml`
//! (libhivex-bin). One that is not installed is skipped, and says so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use oriel_hive::{Delta, Key, Value, ValueKind, diff, write, write_delta};

/// Runs `tool` on `hive`; nothing when it is not installed.
fn output_of(tool: &str, hive: &[u8]) -> Option<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), hive).unwrap();
    let Ok(output) = Command::new(tool).arg(file.path()).output() else {
        skipped(tool);
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{tool}: {errors}");
    assert!(!errors.contains("ERROR"), "{tool}: {errors}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[expect(clippy::print_stderr, reason = "a skipped test must not pass in silence")]
fn skipped(tool: &str) {
    eprintln!("skipped: {tool} is not installed");
}

/// Keys in one list and in several, values of every way to store them.
fn tree() -> Key {
    let mut root = Key::new("ROOT");
    for number in 0..1200 {
        let key = root.get_or_create(&format!(r"Many\key-{number:04}")).unwrap();
        key.set_value(Value::dword("number", number));
    }
    let key = root.get_or_create(r"Software\Grüße\日本語").unwrap();
    key.class = Some("a class".into());
    key.last_write = 0x01da_1756_a1e4_b800;
    key.set_value(Value::sz("greeting", "hello there"));
    key.set_value(Value::new("empty", ValueKind::BINARY, []));
    key.set_value(Value::new("large", ValueKind::BINARY, vec![b'z'; 50_000]));
    root
}

/// What a container changes, without values that are gone: hivex takes none, in genuine hives
/// neither.
fn delta() -> Delta {
    let mut new = tree();
    new.remove(r"Many\key-0007");
    new.get_or_create("New").unwrap().set_value(Value::sz("fresh", "made here"));
    diff(&tree(), &new)
}

#[test]
fn reglookup_reads_what_we_write() {
    if let Some(text) = output_of("reglookup", &write(&tree()).unwrap()) {
        assert!(text.contains("/Many/key-1199/number,DWORD,0x000004AF"), "{text}");
        assert!(text.contains("hello there"));
        assert_eq!(text.matches("/number,DWORD").count(), 1200);
    }
    if let Some(text) = output_of("reglookup", &write_delta(&delta()).unwrap()) {
        assert!(text.contains("/New/fresh,SZ,made here"), "{text}");
        assert!(text.contains("/Many/key-0007,KEY"), "{text}");
    }
}

#[test]
fn regfexport_reads_what_we_write() {
    if let Some(text) = output_of("regfexport", &write(&tree()).unwrap()) {
        assert!(text.contains("hello there"), "{text}");
        assert!(text.contains("key-1199"));
        assert!(text.contains("日本語"));
    }
    if let Some(text) = output_of("regfexport", &write_delta(&delta()).unwrap()) {
        assert!(text.contains("made here"), "{text}");
    }
}

#[test]
fn hivexml_reads_what_we_write() {
    if let Some(text) = output_of("hivexml", &write(&tree()).unwrap()) {
        assert_eq!(text.matches("<node ").count(), 1200 + 5);
        assert!(text.contains("hello there"));
    }
    if let Some(text) = output_of("hivexml", &write_delta(&delta()).unwrap()) {
        assert!(text.contains("made here"), "{text}");
    }
}
