//! From trees and changes to text, as `regedit` writes it.

use std::io;

use super::{RegError, SIGNATURE};
use crate::delta::{DeltaKey, Semantics, ValueChange};
use crate::{Key, KeyFlags, Value, ValueKind, WideString};

/// A line of hex data goes on below once it is this long.
const LINE: usize = 77;

/// Longest text that is written as text, in bytes: twice as long, escaped, it is still a line.
const LONGEST_TEXT: usize = 1 << 20;

/// As much is gathered before it is written.
const BUFFER: usize = 64 << 10;

/// How text is put into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-16, little-endian with a byte order mark and CR LF: what `regedit` writes.
    Utf16,
    /// UTF-8 with LF, for people and pipes.
    Utf8,
}

/// Whether every reader takes a name back as it is.
fn is_writable(units: &[u16], encoding: Encoding) -> bool {
    let breaks = units.iter().any(|unit| BREAKS.contains(unit));
    !breaks && (encoding == Encoding::Utf16 || String::from_utf16(units).is_ok())
}

/// What ends a name or a line for some reader.
const BREAKS: [u16; 3] = [0, 0xa, 0xd];

/// Writes one file.
pub struct Writer<W> {
    out: W,
    encoding: Encoding,
    buffer: Vec<u8>,
    /// Units written of the line so far.
    width: usize,
}

impl<W: io::Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, encoding: Encoding) -> io::Result<Self> {
        let mut writer = Self { out, encoding, buffer: Vec::new(), width: 0 };
        if encoding == Encoding::Utf16 {
            writer.buffer.extend([0xff, 0xfe]);
        }
        writer.text(SIGNATURE);
        writer.end_line()?;
        Ok(writer)
    }

    /// Writes `key`, whose full name is `path`, with everything below it. Links are left out: what
    /// they lead to has a place of its own.
    ///
    /// # Errors
    /// Those of the output; `InvalidData` with a [`RegError`] for a name that text cannot carry.
    pub fn key(&mut self, path: &WideString, key: &Key) -> io::Result<()> {
        let mut path = path.units().to_vec();
        self.below(&mut path, key)
    }

    fn below(&mut self, path: &mut Vec<u16>, key: &Key) -> io::Result<()> {
        self.heading("", path)?;
        for value in key.values() {
            self.value(path, value)?;
        }
        for subkey in key.subkeys().iter().filter(|subkey| !subkey.is_symlink()) {
            let length = push(path, subkey.name());
            self.below(path, subkey)?;
            path.truncate(length);
        }
        Ok(())
    }

    /// Writes what makes a change to the key whose full name is `path`.
    ///
    /// # Errors
    /// As [`Writer::key`].
    pub fn change(&mut self, path: &WideString, change: &DeltaKey) -> io::Result<()> {
        let mut path = path.units().to_vec();
        self.changed(&mut path, change)
    }

    fn changed(&mut self, path: &mut Vec<u16>, change: &DeltaKey) -> io::Result<()> {
        match change.semantics {
            Semantics::Tombstone => return self.heading("-", path),
            Semantics::SupersedeTree => self.heading("-", path)?,
            Semantics::Merge | Semantics::SupersedeLocal => {}
        }
        // A key that only leads to others is made with them.
        if !change.values.is_empty() || change.subkeys.is_empty() {
            self.heading("", path)?;
        }
        for value in &change.values {
            match value {
                ValueChange::Set(value) => self.value(path, value)?,
                ValueChange::Tombstone(name) => {
                    self.name(path, name)?;
                    self.text("-");
                    self.end_line()?;
                }
            }
        }
        let links = |change: &&DeltaKey| change.flags.contains(KeyFlags::SYMLINK);
        for subkey in change.subkeys.iter().filter(|change| !links(change)) {
            let length = push(path, &subkey.name);
            self.changed(path, subkey)?;
            path.truncate(length);
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_line()?;
        self.out.write_all(&self.buffer)?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Begins a key, after an empty line.
    fn heading(&mut self, mark: &str, path: &[u16]) -> io::Result<()> {
        self.check(path, path)?;
        self.end_line()?;
        self.text("[");
        self.text(mark);
        self.units(path);
        self.text("]");
        self.end_line()
    }

    /// Writes a value's name and the sign behind it.
    fn name(&mut self, path: &[u16], name: &WideString) -> io::Result<()> {
        self.check(name.units(), path)?;
        if name.is_empty() {
            self.text("@");
        } else {
            self.quoted(name.units());
        }
        self.text("=");
        Ok(())
    }

    fn value(&mut self, path: &[u16], value: &Value) -> io::Result<()> {
        self.name(path, &value.name)?;
        match (value.kind, value.number(), text(value)) {
            (ValueKind::SZ, _, Some(text)) => self.quoted(text.units()),
            (_, Some(number), _) => self.text(&format!("dword:{number:08x}")),
            (ValueKind::BINARY, ..) => {
                self.text("hex:");
                self.bytes(&value.data)?;
            }
            (ValueKind(kind), ..) => {
                self.text(&format!("hex({kind:x}):"));
                self.bytes(&value.data)?;
            }
        }
        self.end_line()
    }

    /// Writes bytes in hex, over as many lines as they need.
    fn bytes(&mut self, data: &[u8]) -> io::Result<()> {
        for (at, byte) in data.iter().enumerate() {
            self.text(&format!("{byte:02x}"));
            if at + 1 == data.len() {
                break;
            }
            self.text(",");
            if self.width >= LINE {
                self.text("\\");
                self.end_line()?;
                self.text("  ");
            }
        }
        Ok(())
    }

    fn quoted(&mut self, units: &[u16]) {
        let special = |unit: u16| b"\"\\".iter().any(|byte| u16::from(*byte) == unit);
        let escaped = units.iter().flat_map(|unit| {
            let escape = special(*unit).then_some(u16::from(b'\\'));
            escape.into_iter().chain([*unit])
        });
        self.text("\"");
        self.units(&escaped.collect::<Vec<_>>());
        self.text("\"");
    }

    /// Refuses a name of the key `path` that text cannot carry.
    fn check(&self, name: &[u16], path: &[u16]) -> io::Result<()> {
        if is_writable(name, self.encoding) {
            return Ok(());
        }
        let error = RegError::Unwritable { key: String::from_utf16_lossy(path) };
        Err(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn text(&mut self, text: &str) {
        self.width += text.len();
        match self.encoding {
            Encoding::Utf16 => {
                self.buffer.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            }
            Encoding::Utf8 => self.buffer.extend_from_slice(text.as_bytes()),
        }
    }

    fn units(&mut self, units: &[u16]) {
        self.width += units.len();
        match self.encoding {
            Encoding::Utf16 => {
                self.buffer.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
            }
            Encoding::Utf8 => {
                self.buffer.extend_from_slice(String::from_utf16_lossy(units).as_bytes());
            }
        }
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.text(if self.encoding == Encoding::Utf16 { "\r\n" } else { "\n" });
        self.width = 0;
        if self.buffer.len() > BUFFER {
            self.out.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// Puts a name behind a path; returns how long the path was.
fn push(path: &mut Vec<u16>, name: &WideString) -> usize {
    let length = path.len();
    path.push(u16::from(b'\\'));
    path.extend_from_slice(name.units());
    length
}

/// The text of a value that is written as text: one that every reader takes back as it is.
fn text(value: &Value) -> Option<WideString> {
    let data = value.data.strip_suffix(&[0, 0])?;
    if value.kind != ValueKind::SZ || !data.len().is_multiple_of(2) || data.len() > LONGEST_TEXT {
        return None;
    }
    let text = WideString::from_le_bytes(data);
    is_writable(text.units(), Encoding::Utf8).then_some(text)
}
