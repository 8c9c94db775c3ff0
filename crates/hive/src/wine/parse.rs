//! From Wine's text to a tree.
//!
//! Sections are gathered first and put in the order of their paths; the tree then grows at its end
//! only, so that a file in any order costs one sort.

use super::{SIGNATURE, escape};
use crate::order::{NameIndex, remove_places};
use crate::{HiveError, Key, KeyFlags, MAX_DEPTH, MAX_KEY_NAME, MAX_VALUE_NAME};
use crate::{Value, ValueKind, WideString, WineProblem};

/// One section of the file: a key with its values.
struct Section {
    path: Vec<WideString>,
    class: Option<WideString>,
    last_write: u64,
    flags: KeyFlags,
    values: Vec<Value>,
}

/// Reads a whole file.
pub(super) fn file(text: &[u8]) -> Result<Key, HiveError> {
    let mut lines = Lines { rest: text, number: 0 };
    if lines.next().is_none_or(|line| line != SIGNATURE.as_bytes()) {
        return Err(HiveError::NotWine);
    }
    let mut sections: Vec<Section> = Vec::new();
    while let Some(first) = lines.next() {
        let number = lines.number;
        let section = sections.last_mut();
        let read = match first.first() {
            None | Some(b';') => Ok(()),
            Some(b'[') => {
                let section = heading(&first[1..]).map_err(|problem| problem.at(number))?;
                section.check()?;
                sections.push(section);
                Ok(())
            }
            // Options before the first key are about the whole file: `#arch`.
            Some(b'#') => section.map_or(Ok(()), |section| section.option(&first[1..])),
            Some(b'@' | b'"') => match section {
                Some(section) => section.value(first, &mut lines),
                None => Err(WineProblem::Homeless),
            },
            Some(_) => Err(WineProblem::Start),
        };
        read.map_err(|problem| problem.at(number))?;
    }
    check_names(&sections)?;
    Ok(tree(sections))
}

impl WineProblem {
    fn at(self, line: usize) -> HiveError {
        HiveError::WineSyntax { line, problem: self }
    }
}

/// The lines of a file, without their ends.
struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let mut parts = self.rest.splitn(2, |byte| *byte == b'\n');
        let line = parts.next().unwrap_or_default();
        self.rest = parts.next().unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

impl Section {
    /// Refuses paths that no registry holds.
    fn check(&self) -> Result<(), HiveError> {
        if self.path.len() > MAX_DEPTH {
            return Err(HiveError::TooDeep { limit: MAX_DEPTH });
        }
        let lengths = self.path.iter().map(WideString::len);
        match lengths.max().filter(|length| *length > MAX_KEY_NAME) {
            Some(length) => Err(HiveError::NameTooLong { length, limit: MAX_KEY_NAME }),
            None => Ok(()),
        }
    }

    /// Reads an option of the key: `time`, `class` or `link`. Wine skips those it does not know.
    fn option(&mut self, text: &[u8]) -> Result<(), WineProblem> {
        if let Some(time) = text.strip_prefix(b"time=") {
            self.last_write = number(time, 16)?;
        } else if let Some(class) = text.strip_prefix(b"class=\"") {
            let (units, rest) = escape::read(class, b'"')?;
            ended(rest)?;
            // Wine 10 adds a NUL to the class each time it loads and saves it.
            let end = units.iter().rposition(|unit| *unit != 0).map_or(0, |last| last + 1);
            self.class = Some(WideString::from(units[..end].to_vec()));
        } else if text == b"link" {
            self.flags = KeyFlags::SYMLINK;
        }
        Ok(())
    }

    /// Reads a value, which goes on over the lines of its hex data.
    fn value(&mut self, line: &[u8], lines: &mut Lines<'_>) -> Result<(), WineProblem> {
        let (name, rest) = match line.strip_prefix(b"\"") {
            Some(text) => escape::read(text, b'"')?,
            None => (Vec::new(), &line[1..]),
        };
        let data = trimmed(rest).strip_prefix(b"=").ok_or(WineProblem::Data)?;
        let (kind, data) = data_of(trimmed(data), lines)?;
        self.values.push(Value { name: WideString::from(name), kind, data });
        Ok(())
    }
}

/// Reads what follows the bracket of a section's first line.
fn heading(text: &[u8]) -> Result<Section, WineProblem> {
    let (units, rest) = escape::read(text, b']')?;
    let path = units.split(|unit| *unit == u16::from(b'\\')).filter(|name| !name.is_empty());
    let path = path.map(|name| WideString::from(name.to_vec())).collect();
    let seconds = trimmed(rest);
    let last_write = if seconds.is_empty() { 0 } else { filetime(number(seconds, 10)?) };
    Ok(Section { path, class: None, last_write, flags: KeyFlags::default(), values: Vec::new() })
}

/// A Unix time as a FILETIME.
fn filetime(seconds: u64) -> u64 {
    seconds.saturating_add(super::EPOCH_SECONDS).saturating_mul(super::TICKS)
}

/// Reads the data of a value.
fn data_of(text: &[u8], lines: &mut Lines<'_>) -> Result<(ValueKind, Vec<u8>), WineProblem> {
    if text.starts_with(b"\"") {
        return Ok((ValueKind::SZ, string(text)?));
    }
    let mut parts = text.splitn(2, |byte| *byte == b':');
    let (form, rest) = (parts.next().unwrap_or_default(), parts.next().ok_or(WineProblem::Data)?);
    match form {
        b"dword" => {
            let number = u32::try_from(number(rest, 16)?).map_err(|_| WineProblem::Number)?;
            Ok((ValueKind::DWORD, number.to_le_bytes().to_vec()))
        }
        b"str" => Ok((ValueKind::SZ, string(rest)?)),
        b"hex" => Ok((ValueKind::BINARY, bytes(rest, lines)?)),
        _ => match (numbered(form, b"str("), numbered(form, b"hex(")) {
            (Some(kind), _) => Ok((kind?, string(rest)?)),
            (_, Some(kind)) => Ok((kind?, bytes(rest, lines)?)),
            (None, None) => Err(WineProblem::Data),
        },
    }
}

/// The type in a form such as `hex(7)`.
fn numbered(form: &[u8], start: &[u8]) -> Option<Result<ValueKind, WineProblem>> {
    let digits = form.strip_prefix(start)?.strip_suffix(b")")?;
    let kind = number(digits, 16)
        .and_then(|kind| u32::try_from(kind).map(ValueKind).map_err(|_| WineProblem::Number));
    Some(kind)
}

/// Reads a quoted text; its NUL is not written.
fn string(text: &[u8]) -> Result<Vec<u8>, WineProblem> {
    let text = text.strip_prefix(b"\"").ok_or(WineProblem::Data)?;
    let (mut units, rest) = escape::read(text, b'"')?;
    ended(rest)?;
    units.push(0);
    Ok(WideString::from(units).to_le_bytes())
}

/// Reads bytes in hex, parted by commas; a backslash at the end of a line leads to the next.
fn bytes(text: &[u8], lines: &mut Lines<'_>) -> Result<Vec<u8>, WineProblem> {
    let mut data = Vec::new();
    let mut line = Some(text);
    while let Some(text) = line {
        let continued = text.strip_suffix(b"\\");
        for byte in continued.unwrap_or(text).split(|byte| *byte == b',') {
            let byte = trimmed(byte);
            if !byte.is_empty() {
                data.push(u8::try_from(number(byte, 16)?).map_err(|_| WineProblem::Number)?);
            }
        }
        line = continued.and_then(|_| lines.next());
    }
    Ok(data)
}

/// Reads a number that fills `text`.
fn number(text: &[u8], radix: u32) -> Result<u64, WineProblem> {
    let digits = std::str::from_utf8(trimmed(text)).ok().filter(|text| !text.starts_with('+'));
    digits.and_then(|text| u64::from_str_radix(text, radix).ok()).ok_or(WineProblem::Number)
}

fn ended(rest: &[u8]) -> Result<(), WineProblem> {
    if trimmed(rest).is_empty() { Ok(()) } else { Err(WineProblem::Trailing) }
}

fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

fn check_names(sections: &[Section]) -> Result<(), HiveError> {
    let names = sections.iter().flat_map(|section| &section.values);
    let longest = names.map(|value| value.name.len()).max().unwrap_or(0);
    if longest > MAX_VALUE_NAME {
        return Err(HiveError::NameTooLong { length: longest, limit: MAX_VALUE_NAME });
    }
    Ok(())
}

/// Makes a tree of sections in any order; of a key named twice the later section wins.
fn tree(mut sections: Vec<Section>) -> Key {
    sections.sort_by(|a, b| {
        let names = a.path.iter().zip(&b.path);
        let first = names.map(|(a, b)| a.name_order(b)).find(|order| order.is_ne());
        first.unwrap_or_else(|| a.path.len().cmp(&b.path.len()))
    });
    let mut root = Key::default();
    for section in sections {
        let key = section.path.into_iter().fold(&mut root, last_subkey);
        key.last_write = key.last_write.max(section.last_write);
        key.class = section.class.or_else(|| key.class.take());
        key.flags = KeyFlags(key.flags.0 | section.flags.0);
        key.values_mut().extend(section.values);
    }
    keep_last(&mut root);
    root
}

/// The last subkey of `key` when it is called `name`, else a new one behind it.
fn last_subkey(key: &mut Key, name: WideString) -> &mut Key {
    let subkeys = key.subkeys_mut();
    if subkeys.last().is_none_or(|last| last.name().name_order(&name).is_ne()) {
        subkeys.push(Key::new(name));
    }
    let last = subkeys.len() - 1;
    &mut subkeys[last]
}

/// Removes every value that a later one of the same name replaces, in the whole tree.
fn keep_last(key: &mut Key) {
    let values = key.values_mut();
    if values.len() > 1 {
        let replaced = NameIndex::new(values, |value| &value.name).replaced();
        remove_places(values, &replaced);
    }
    key.subkeys_mut().iter_mut().for_each(keep_last);
}
