//! From a tree to Wine's text, byte for byte as wineserver writes it.

use std::fmt::Arguments;
use std::io::{self, Write};

use super::escape;
use super::{Branch, EPOCH_SECONDS, NO_TIME, SIGNATURE, TICKS};
use crate::upcase::wine_downcase;
use crate::{Key, Value, ValueKind, WideString};

/// A line of hex data goes on below once it is longer than this.
const LINE: usize = 76;

/// Text is handed on once there is this much of it.
const ENOUGH: usize = 64 * 1024;

/// Writes a whole file.
pub(super) fn file(out: &mut impl Write, root: &Key, branch: &Branch) -> io::Result<()> {
    let place = match branch {
        Branch::Machine => "Machine".to_owned(),
        Branch::Default => r"User\\.Default".to_owned(),
        Branch::User(sid) => format!(r"User\\{sid}"),
    };
    let head = format!("{SIGNATURE}\n;; All keys relative to REGISTRY\\\\{place}\n\n#arch=win64\n");
    let mut renderer = Renderer { out, text: head.into_bytes(), path: Vec::new() };
    renderer.key(root)?;
    renderer.hand_on()
}

/// What is written, and where.
struct Renderer<'a, W> {
    out: &'a mut W,
    /// Text that is to be handed on.
    text: Vec<u8>,
    /// Path of the key as it is written.
    path: Vec<u8>,
}

impl<W: Write> Renderer<'_, W> {
    /// Writes `key`, which is at the path, and all below it.
    fn key(&mut self, key: &Key) -> io::Result<()> {
        let implied = !key.subkeys().is_empty();
        if !implied || !key.values().is_empty() || key.class.is_some() || key.is_symlink() {
            section(&mut self.text, key, &self.path);
        }
        if self.text.len() >= ENOUGH {
            self.hand_on()?;
        }
        for subkey in in_order(key.subkeys(), Key::name) {
            let length = self.path.len();
            if length > 0 {
                self.path.extend_from_slice(br"\\");
            }
            escape::write(&mut self.path, units(subkey.name()), *b"[]");
            self.key(subkey)?;
            self.path.truncate(length);
        }
        Ok(())
    }

    fn hand_on(&mut self) -> io::Result<()> {
        self.out.write_all(&self.text)?;
        self.text.clear();
        Ok(())
    }
}

fn section(out: &mut Vec<u8>, key: &Key, path: &[u8]) {
    let time = if key.last_write == 0 { NO_TIME } else { key.last_write };
    let seconds = (time / TICKS).saturating_sub(EPOCH_SECONDS) & u64::from(u32::MAX);
    let (high, low) = (time >> 32, time & u64::from(u32::MAX));
    out.extend_from_slice(b"\n[");
    out.extend_from_slice(path);
    add(out, format_args!("] {seconds}\n#time={high:x}{low:08x}\n"));
    if let Some(class) = &key.class {
        out.extend_from_slice(b"#class=");
        quoted(out, units(class));
        out.push(b'\n');
    }
    if key.is_symlink() {
        out.extend_from_slice(b"#link\n");
    }
    for value in in_order(key.values(), |value| &value.name) {
        self::value(out, value);
    }
}

fn value(out: &mut Vec<u8>, value: &Value) {
    let line = out.len();
    if value.name.is_empty() {
        out.push(b'@');
    } else {
        quoted(out, units(&value.name));
    }
    out.push(b'=');
    match (value.kind, text(value)) {
        (ValueKind::SZ, Some(text)) => quoted(out, text),
        (ValueKind(kind), Some(text)) => {
            add(out, format_args!("str({kind:x}):"));
            quoted(out, text);
        }
        (ValueKind::DWORD, None) if let Some(number) = value.number() => {
            add(out, format_args!("dword:{number:08x}"));
        }
        (ValueKind::BINARY, None) => {
            out.extend_from_slice(b"hex:");
            bytes(out, &value.data, line);
        }
        (ValueKind(kind), None) => {
            add(out, format_args!("hex({kind:x}):"));
            bytes(out, &value.data, line);
        }
    }
    out.push(b'\n');
}

/// The text of a value that is written as text: of a text type, whole units, the last one NUL.
fn text(value: &Value) -> Option<impl Iterator<Item = u16>> {
    let texts = [ValueKind::SZ, ValueKind::EXPAND_SZ, ValueKind::MULTI_SZ];
    let (units, odd) = value.data.strip_suffix(&[0, 0])?.as_chunks::<2>();
    let is_text = texts.contains(&value.kind) && odd.is_empty();
    is_text.then(|| units.iter().map(|unit| u16::from_le_bytes(*unit)))
}

fn quoted(out: &mut Vec<u8>, units: impl Iterator<Item = u16>) {
    out.push(b'"');
    escape::write(out, units, *b"\"\"");
    out.push(b'"');
}

fn units(text: &WideString) -> impl Iterator<Item = u16> {
    text.units().iter().copied()
}

fn add(out: &mut Vec<u8>, text: Arguments<'_>) {
    let added = out.write_fmt(text);
    debug_assert!(added.is_ok(), "memory takes all that is written to it");
}

/// Writes bytes in hex; the line they stand in began at `line`.
fn bytes(out: &mut Vec<u8>, data: &[u8], line: usize) {
    let mut width = out.len() - line;
    for (at, byte) in data.iter().enumerate() {
        out.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 0xf)]);
        width += 2;
        if at + 1 < data.len() {
            out.push(b',');
            width += 1;
            if width > LINE {
                out.extend_from_slice(b"\\\n  ");
                width = 2;
            }
        }
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// Items in the order of their lowercase names, in which Wine keeps them.
fn in_order<T>(items: &[T], name: fn(&T) -> &WideString) -> Vec<&T> {
    let mut sorted: Vec<&T> = items.iter().collect();
    sorted.sort_by(|a, b| {
        let [a, b] = [a, b].map(|item| units(name(item)).map(wine_downcase));
        a.cmp(b)
    });
    sorted
}
