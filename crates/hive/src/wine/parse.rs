//! From Wine's text to a tree.
//!
//! The tree grows at its end while sections come in order, as wineserver writes them; a last pass
//! puts in order what came otherwise, so that a file in any order costs one sort.

use std::io::BufRead;

use super::{SIGNATURE, escape};
use crate::order;
use crate::{HiveError, Key, KeyFlags, MAX_DEPTH, MAX_KEY_NAME, MAX_VALUE_NAME};
use crate::{Value, ValueKind, WideString, WineProblem};

/// Reads a whole file.
pub(super) fn file(text: &[u8]) -> Result<Key, HiveError> {
    let mut lines = Lines { rest: text, number: 0, units: Vec::new() };
    if lines.next().is_none_or(|line| line != SIGNATURE.as_bytes()) {
        return Err(HiveError::NotWine);
    }
    let mut root = Key::default();
    sections(&mut lines, &mut root)?;
    settle(&mut root)?;
    Ok(root)
}

/// Reads all sections that follow into the tree of `root`.
fn sections(lines: &mut Lines<'_>, root: &mut Key) -> Result<(), HiveError> {
    let mut section: Option<Section<'_>> = None;
    while let Some(first) = lines.next() {
        let number = lines.number;
        let read = match (first.first(), &mut section) {
            (None | Some(b';'), _) => Ok(()),
            (Some(b'['), _) => {
                section = Some(Section::begin(&first[1..], lines, root)?);
                Ok(())
            }
            // Options before the first key are about the whole file: `#arch`.
            (Some(b'#'), None) => Ok(()),
            (Some(b'#'), Some(section)) => section.option(&first[1..], lines),
            (Some(b'@' | b'"'), Some(section)) => section.value(first, lines),
            (Some(b'@' | b'"'), None) => Err(WineProblem::Homeless),
            (Some(_), _) => Err(WineProblem::Start),
        };
        read.map_err(|problem| problem.at(number))?;
    }
    Ok(())
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
    /// The text that was read last.
    units: Vec<u16>,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let before = self.rest;
        let length = self.rest.skip_until(b'\n').ok().filter(|length| *length > 0)?;
        self.number += 1;
        let line = &before[..length];
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// A key whose section is being read.
struct Section<'a> {
    key: &'a mut Key,
    /// Time of the last change that an earlier section of the key tells of.
    earlier: u64,
}

impl<'a> Section<'a> {
    /// Reads what follows the bracket of a section's first line, and finds or makes its key.
    fn begin(text: &[u8], lines: &mut Lines<'_>, root: &'a mut Key) -> Result<Self, HiveError> {
        let at = |problem: WineProblem| problem.at(lines.number);
        let rest = trimmed(escape::read(text, b']', &mut lines.units).map_err(at)?);
        let time = if rest.is_empty() { 0 } else { filetime(number(rest, 10).map_err(at)?) };
        let names = lines.units.split(|unit| *unit == u16::from(b'\\'));
        let mut key = root;
        for (depth, name) in names.filter(|name| !name.is_empty()).enumerate() {
            if depth == MAX_DEPTH {
                return Err(HiveError::TooDeep { limit: MAX_DEPTH });
            }
            check_length(name.len(), MAX_KEY_NAME)?;
            key = last_subkey(key, name);
        }
        let earlier = key.last_write;
        key.last_write = earlier.max(time);
        Ok(Self { key, earlier })
    }

    /// Reads an option of the key: `time`, `class` or `link`. Wine skips those it does not know.
    fn option(&mut self, text: &[u8], lines: &mut Lines<'_>) -> Result<(), WineProblem> {
        if let Some(time) = text.strip_prefix(b"time=") {
            self.key.last_write = self.earlier.max(known(number(time, 16)?));
        } else if let Some(class) = text.strip_prefix(b"class=\"") {
            let units = &mut lines.units;
            ended(escape::read(class, b'"', units)?)?;
            // Wine 10 adds a NUL to the class each time it loads and saves it.
            let end = units.iter().rposition(|unit| *unit != 0).map_or(0, |last| last + 1);
            self.key.class = Some(WideString::from(&units[..end]));
        } else if text == b"link" {
            self.key.flags = KeyFlags::SYMLINK;
        }
        Ok(())
    }

    /// Reads a value, which goes on over the lines of its hex data.
    fn value(&mut self, line: &[u8], lines: &mut Lines<'_>) -> Result<(), WineProblem> {
        let (name, rest) = match line.strip_prefix(b"\"") {
            Some(text) => {
                let rest = escape::read(text, b'"', &mut lines.units)?;
                (WideString::from(&lines.units[..]), rest)
            }
            None => (WideString::default(), &line[1..]),
        };
        let data = trimmed(rest).strip_prefix(b"=").ok_or(WineProblem::Data)?;
        let (kind, data) = data_of(trimmed(data), lines)?;
        self.key.values_mut().push(Value { name, kind, data });
        Ok(())
    }
}

/// The last subkey of `key` when it is called `name`, else a new one behind it.
fn last_subkey<'a>(key: &'a mut Key, name: &[u16]) -> &'a mut Key {
    let subkeys = key.subkeys_mut();
    if subkeys.last().is_none_or(|last| last.name().units() != name) {
        let name = WideString::from(name);
        if subkeys.last().is_none_or(|last| last.name().name_order(&name).is_ne()) {
            subkeys.push(Key::new(name));
        }
    }
    let last = subkeys.len() - 1;
    &mut subkeys[last]
}

/// A Unix time as a FILETIME.
fn filetime(seconds: u64) -> u64 {
    known(seconds.saturating_add(super::EPOCH_SECONDS).saturating_mul(super::TICKS))
}

/// A FILETIME, or 0 for what wineserver writes when it knows none.
fn known(time: u64) -> u64 {
    if time == super::NO_TIME { 0 } else { time }
}

/// Reads the data of a value.
fn data_of(text: &[u8], lines: &mut Lines<'_>) -> Result<(ValueKind, Vec<u8>), WineProblem> {
    if text.starts_with(b"\"") {
        return Ok((ValueKind::SZ, string(text, lines)?));
    }
    let mut parts = text.splitn(2, |byte| *byte == b':');
    let (form, rest) = (parts.next().unwrap_or_default(), parts.next().ok_or(WineProblem::Data)?);
    match form {
        b"dword" => {
            let number = u32::try_from(number(rest, 16)?).map_err(|_| WineProblem::Number)?;
            Ok((ValueKind::DWORD, number.to_le_bytes().to_vec()))
        }
        b"str" => Ok((ValueKind::SZ, string(rest, lines)?)),
        b"hex" => Ok((ValueKind::BINARY, bytes(rest, lines)?)),
        _ => match (numbered(form, b"str("), numbered(form, b"hex(")) {
            (Some(kind), _) => Ok((kind?, string(rest, lines)?)),
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
fn string(text: &[u8], lines: &mut Lines<'_>) -> Result<Vec<u8>, WineProblem> {
    let text = text.strip_prefix(b"\"").ok_or(WineProblem::Data)?;
    let units = &mut lines.units;
    ended(escape::read(text, b'"', units)?)?;
    units.push(0);
    let mut data = Vec::with_capacity(2 * units.len());
    data.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    Ok(data)
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
    let digits = Some(trimmed(text)).filter(|text| !text.is_empty()).ok_or(WineProblem::Number)?;
    let add = |number: u64, digit: &u8| {
        let digit = char::from(*digit).to_digit(radix)?;
        number.checked_mul(radix.into())?.checked_add(digit.into())
    };
    digits.iter().try_fold(0, add).ok_or(WineProblem::Number)
}

fn ended(rest: &[u8]) -> Result<(), WineProblem> {
    if trimmed(rest).is_empty() { Ok(()) } else { Err(WineProblem::Trailing) }
}

fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

fn check_length(length: usize, limit: usize) -> Result<(), HiveError> {
    if length > limit { Err(HiveError::NameTooLong { length, limit }) } else { Ok(()) }
}

/// Puts subkeys in order, makes one of those of one name, and of values of one name keeps the last.
fn settle(key: &mut Key) -> Result<(), HiveError> {
    let longest = key.values().iter().map(|value| value.name.len()).max();
    check_length(longest.unwrap_or(0), MAX_VALUE_NAME)?;
    order::keep_last(key.values_mut(), |value| &value.name);
    let subkeys = key.subkeys_mut();
    if !subkeys.is_sorted_by(|a, b| a.name().name_order(b.name()).is_lt()) {
        subkeys.sort_by(|a, b| a.name().name_order(b.name()));
        subkeys.dedup_by(|later, first| {
            let same = later.name().name_order(first.name()).is_eq();
            if same {
                absorb(first, later);
            }
            same
        });
    }
    subkeys.iter_mut().try_for_each(settle)
}

/// Adds to a key what a later section says of it.
fn absorb(key: &mut Key, later: &mut Key) {
    key.last_write = key.last_write.max(later.last_write);
    key.class = later.class.take().or_else(|| key.class.take());
    key.flags = KeyFlags(key.flags.0 | later.flags.0);
    key.values_mut().append(later.values_mut());
    key.subkeys_mut().append(later.subkeys_mut());
}
