//! From text to sections.
//!
//! Indulgent where `regedit` is: blanks, comments behind values, quoted texts over several lines.

use super::decode::{ansi, units};
use super::{MAX_CHANGES, MAX_FILE, MAX_LINE, SIGNATURE, SIGNATURE_4};
use super::{RegError, RegProblem, Section};
use crate::{MAX_DEPTH, MAX_KEY_NAME, MAX_VALUE_NAME, Value, ValueChange, ValueKind, WideString};

/// Reads a registry file: UTF-16 or UTF-8 "Version 5.00", or `REGEDIT4` in code page 1252.
///
/// # Errors
///
/// A [`RegError`] that names the line.
pub fn parse(bytes: &[u8]) -> Result<Vec<Section>, RegError> {
    if bytes.len() > MAX_FILE {
        return Err(RegError::TooLarge { limit: MAX_FILE });
    }
    let units = units(bytes)?;
    let mut text = Text { rest: &units, line: 1, old: false };
    text.signature()?;
    let mut sections = Vec::new();
    let mut count = 0;
    loop {
        text.blanks();
        let line = text.line;
        match text.step(&mut sections) {
            Ok(Step::End) => return Ok(sections),
            Ok(Step::Nothing) => {}
            Ok(Step::Change) if count < MAX_CHANGES => count += 1,
            Ok(Step::Change) => return Err(RegProblem::TooMany.at(line)),
            Err(problem) => return Err(problem.at(line)),
        }
    }
}

impl RegProblem {
    fn at(self, line: usize) -> RegError {
        RegError::Syntax { line, problem: self }
    }
}

/// What was read.
enum Step {
    Change,
    Nothing,
    End,
}

/// A file being read.
struct Text<'a> {
    rest: &'a [u16],
    line: usize,
    /// Whether this is a `REGEDIT4`, whose texts in hex are not Unicode either.
    old: bool,
}

impl<'a> Text<'a> {
    fn signature(&mut self) -> Result<(), RegError> {
        let first = self.rest_of_line().map_err(|problem| problem.at(1))?;
        let is = |signature: &str| trimmed(first).iter().copied().eq(signature.encode_utf16());
        self.old = is(SIGNATURE_4);
        if self.old || is(SIGNATURE) { Ok(()) } else { Err(RegError::NotReg) }
    }

    /// Reads a key, a value, a comment or an empty line.
    fn step(&mut self, sections: &mut Vec<Section>) -> Result<Step, RegProblem> {
        let Some(first) = self.peek() else { return Ok(Step::End) };
        match first {
            b'\n' | b';' => {
                self.rest_of_line()?;
                Ok(Step::Nothing)
            }
            b'[' => {
                let line = self.line;
                let section = heading(self.rest_of_line()?, line)?;
                sections.push(section);
                Ok(Step::Change)
            }
            b'@' | b'"' => {
                let section = sections.last_mut().filter(|section| !section.deleted);
                let section = section.ok_or(RegProblem::Homeless)?;
                section.values.push(self.value()?);
                Ok(Step::Change)
            }
            _ => Err(RegProblem::Start),
        }
    }

    fn value(&mut self) -> Result<ValueChange, RegProblem> {
        let name = if self.eat(b'@') { Vec::new() } else { self.quoted()? };
        if name.len() > MAX_VALUE_NAME {
            return Err(RegProblem::Name);
        }
        let name = WideString::from(name);
        self.blanks();
        if !self.eat(b'=') {
            return Err(RegProblem::Data);
        }
        self.blanks();
        if self.eat(b'-') {
            self.end_of_line()?;
            return Ok(ValueChange::Tombstone(name));
        }
        let (kind, data) = self.data()?;
        self.end_of_line()?;
        Ok(ValueChange::Set(Value { name, kind, data }))
    }

    fn data(&mut self) -> Result<(ValueKind, Vec<u8>), RegProblem> {
        if self.peek() == Some(b'"') {
            let mut text = self.quoted()?;
            text.push(0);
            return Ok((ValueKind::SZ, WideString::from(text).to_le_bytes()));
        }
        let form = self.word();
        match form.as_str() {
            "dword" if self.eat(b':') => {
                self.blanks();
                let number = u32::from_str_radix(&self.word(), 16);
                let number = number.map_err(|_| RegProblem::Number)?;
                Ok((ValueKind::DWORD, number.to_le_bytes().to_vec()))
            }
            "hex" => {
                let kind = self.kind()?;
                if !self.eat(b':') {
                    return Err(RegProblem::Data);
                }
                let data = self.bytes()?;
                Ok((kind, if self.old { widened(kind, data) } else { data }))
            }
            _ => Err(RegProblem::Data),
        }
    }

    /// The type in brackets behind `hex`; bytes when there is none.
    fn kind(&mut self) -> Result<ValueKind, RegProblem> {
        if !self.eat(b'(') {
            return Ok(ValueKind::BINARY);
        }
        let kind = u32::from_str_radix(&self.word(), 16).map_err(|_| RegProblem::Number)?;
        if self.eat(b')') { Ok(ValueKind(kind)) } else { Err(RegProblem::Data) }
    }

    /// Bytes in hex, parted by commas; a backslash at the end of a line leads to the next.
    fn bytes(&mut self) -> Result<Vec<u8>, RegProblem> {
        let mut data = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                None | Some(b'\n' | b';') => return Ok(data),
                Some(b'\\') => self.continued()?,
                Some(_) => {
                    data.push(self.byte()?);
                    self.blanks();
                    if !self.eat(b',') {
                        return Ok(data);
                    }
                }
            }
        }
    }

    fn byte(&mut self) -> Result<u8, RegProblem> {
        let digit = |unit: Option<u8>| unit.and_then(|digit| char::from(digit).to_digit(16));
        let mut byte = 0;
        let mut length = 0;
        while let Some(digit) = digit(self.peek()).filter(|_| length < 3) {
            byte = byte * 16 + digit;
            length += 1;
            self.advance();
        }
        match u8::try_from(byte) {
            Ok(byte) if length == 1 || length == 2 => Ok(byte),
            _ => Err(RegProblem::Number),
        }
    }

    /// Passes a backslash that ends a line, and the line's end.
    fn continued(&mut self) -> Result<(), RegProblem> {
        self.advance();
        self.end_of_line()?;
        if self.rest.is_empty() { Err(RegProblem::Unterminated) } else { Ok(()) }
    }

    /// A text in quotes, which may go over several lines.
    fn quoted(&mut self) -> Result<Vec<u16>, RegProblem> {
        self.advance();
        let mut text = Vec::new();
        loop {
            let (first, rest) = self.rest.split_first().ok_or(RegProblem::Unterminated)?;
            self.rest = rest;
            match u8::try_from(*first) {
                Ok(b'"') => return Ok(text),
                Ok(b'\\') => text.push(self.escaped()?),
                Ok(b'\n') => {
                    self.line += 1;
                    text.push(*first);
                }
                _ => text.push(*first),
            }
            if text.len() > MAX_LINE {
                return Err(RegProblem::LongLine);
            }
        }
    }

    /// What stands behind a backslash. `\n`, `\r` and `\0` are written by Wine.
    fn escaped(&mut self) -> Result<u16, RegProblem> {
        let unit = match self.peek() {
            Some(unit @ (b'\\' | b'"')) => unit,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b'0') => 0,
            Some(_) => return Err(RegProblem::Escape),
            None if self.rest.is_empty() => return Err(RegProblem::Unterminated),
            None => return Err(RegProblem::Escape),
        };
        self.advance();
        Ok(u16::from(unit))
    }

    /// Digits and letters of ASCII, in lower case, and no more than any form of data has.
    fn word(&mut self) -> String {
        const LONGEST: usize = 8;
        let mut word = String::new();
        while let Some(unit) = self.peek().filter(u8::is_ascii_alphanumeric)
            && word.len() <= LONGEST
        {
            word.push(char::from(unit.to_ascii_lowercase()));
            self.advance();
        }
        word
    }

    /// Takes blanks, a comment and the end of the line.
    fn end_of_line(&mut self) -> Result<(), RegProblem> {
        let rest = trimmed(self.rest_of_line()?);
        match rest.first() {
            None => Ok(()),
            Some(unit) if *unit == u16::from(b';') => Ok(()),
            Some(_) => Err(RegProblem::Trailing),
        }
    }

    /// Takes the rest of the line, its end included, and returns it without.
    fn rest_of_line(&mut self) -> Result<&'a [u16], RegProblem> {
        let end = self.rest.iter().position(|unit| *unit == u16::from(b'\n'));
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &self.rest[self.rest.len()..]),
        };
        if line.len() > MAX_LINE {
            return Err(RegProblem::LongLine);
        }
        self.line += usize::from(end.is_some());
        self.rest = rest;
        Ok(line)
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\r') = self.peek() {
            self.advance();
        }
    }

    /// Takes the next unit if it is this one.
    fn eat(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.advance();
        }
        found
    }

    /// The next unit, if it is ASCII or nearly.
    fn peek(&self) -> Option<u8> {
        self.rest.first().and_then(|unit| u8::try_from(*unit).ok())
    }

    fn advance(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }
}

/// Reads the line of a key: the name ends at the line's last bracket.
fn heading(line: &[u16], number: usize) -> Result<Section, RegProblem> {
    let end = line.iter().rposition(|unit| *unit == u16::from(b']')).ok_or(RegProblem::Key)?;
    let rest = trimmed(&line[end + 1..]);
    if rest.first().is_some_and(|unit| *unit != u16::from(b';')) {
        return Err(RegProblem::Trailing);
    }
    let inner = line.get(1..end).ok_or(RegProblem::Key)?;
    let (deleted, key) = match inner.strip_prefix(&[u16::from(b'-')]) {
        Some(key) => (true, key),
        None => (false, inner),
    };
    check(key)?;
    Ok(Section { key: key.to_vec().into(), deleted, values: Vec::new(), line: number })
}

/// Refuses keys that no registry holds. Beside what it is below, a key has a root.
fn check(key: &[u16]) -> Result<(), RegProblem> {
    if key.is_empty() {
        return Err(RegProblem::Key);
    }
    let names = || key.split(|unit| *unit == u16::from(b'\\'));
    if names().any(|name| name.is_empty() || name.len() > MAX_KEY_NAME || name.contains(&0)) {
        return Err(RegProblem::Name);
    }
    if names().count() > MAX_DEPTH + 1 { Err(RegProblem::Depth) } else { Ok(()) }
}

/// The data of a `REGEDIT4` as it is in the registry: its texts in hex have one byte a character.
fn widened(kind: ValueKind, data: Vec<u8>) -> Vec<u8> {
    match kind {
        ValueKind::SZ | ValueKind::EXPAND_SZ | ValueKind::MULTI_SZ => {
            data.into_iter().flat_map(|byte| ansi(byte).to_le_bytes()).collect()
        }
        _ => data,
    }
}

fn trimmed(text: &[u16]) -> &[u16] {
    let blank = |unit: &u16| b" \t\r".iter().any(|blank| u16::from(*blank) == *unit);
    let start = text.iter().position(|unit| !blank(unit)).unwrap_or(text.len());
    let end = text.iter().rposition(|unit| !blank(unit)).map_or(start, |last| last + 1);
    &text[start..end]
}
