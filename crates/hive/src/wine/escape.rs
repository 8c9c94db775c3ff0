//! Texts in quotes and names in brackets: ASCII that stands for any UTF-16.
//!
//! The rules are those of `dump_strW` and `parse_strW` in wineserver's `server/unicode.c`.

use crate::WineProblem;

/// The escapes of one letter, and what they stand for.
const LETTERS: [(u8, u16); 8] = [
    (b'a', 0x07),
    (b'b', 0x08),
    (b't', 0x09),
    (b'n', 0x0a),
    (b'v', 0x0b),
    (b'f', 0x0c),
    (b'r', 0x0d),
    (b'e', 0x1b),
];

/// Adds `units` to `out`, with a backslash before itself and before the two characters of `marks`.
pub(super) fn write(out: &mut Vec<u8>, units: impl Iterator<Item = u16>, marks: [u8; 2]) {
    out.reserve(units.size_hint().0);
    let mut units = units.peekable();
    while let Some(unit) = units.next() {
        match u8::try_from(unit) {
            Ok(letter @ b' '..=0x7f) => {
                if letter == b'\\' || marks.contains(&letter) {
                    out.push(b'\\');
                }
                out.push(letter);
            }
            narrow => {
                let next = units.peek().and_then(|next| u8::try_from(*next).ok());
                let escaped = match narrow {
                    Ok(control @ ..b' ') => control_escape(control, next),
                    _ if next.is_some_and(|next| next.is_ascii_hexdigit()) => {
                        format!("\\x{unit:04x}")
                    }
                    _ => format!("\\x{unit:x}"),
                };
                out.extend_from_slice(escaped.as_bytes());
            }
        }
    }
}

fn control_escape(control: u8, next: Option<u8>) -> String {
    let letter = LETTERS.iter().find(|(_, unit)| *unit == u16::from(control));
    match (letter, next) {
        (Some((letter, _)), _) => format!("\\{}", char::from(*letter)),
        (None, Some(b'0'..=b'7')) => format!("\\{control:03o}"),
        (None, _) => format!("\\{control:o}"),
    }
}

/// Reads a text that `end` ends into `units`; returns what follows `end`.
pub(super) fn read<'a>(
    text: &'a [u8],
    end: u8,
    units: &mut Vec<u16>,
) -> Result<&'a [u8], WineProblem> {
    units.clear();
    let special = |byte: &u8| *byte == end || *byte == b'\\' || !byte.is_ascii();
    let mut rest = text;
    loop {
        let plain = rest.iter().position(special).ok_or(WineProblem::Unterminated)?;
        let (plain, after) = rest.split_at(plain);
        units.extend(plain.iter().copied().map(u16::from));
        rest = match after.split_first() {
            Some((first, after)) if *first == end => return Ok(after),
            Some((b'\\', after)) => read_escape(after, units)?,
            _ => read_utf8(after, units),
        };
    }
}

/// Reads what follows a backslash.
fn read_escape<'a>(text: &'a [u8], units: &mut Vec<u16>) -> Result<&'a [u8], WineProblem> {
    let (first, after) = text.split_first().ok_or(WineProblem::Unterminated)?;
    if let Some((_, unit)) = LETTERS.iter().find(|(letter, _)| letter == first) {
        units.push(*unit);
        return Ok(after);
    }
    match *first {
        b'x' if after.first().is_some_and(u8::is_ascii_hexdigit) => {
            Ok(read_number(after, 16, 4, units))
        }
        b'0'..=b'7' => Ok(read_number(text, 8, 3, units)),
        // wineserver takes any other character as itself, be it of several bytes.
        0..=0x7f => {
            units.push(u16::from(*first));
            Ok(after)
        }
        _ => Ok(read_utf8(text, units)),
    }
}

/// Reads a unit of at most `longest` digits.
fn read_number<'a>(text: &'a [u8], radix: u32, longest: usize, units: &mut Vec<u16>) -> &'a [u8] {
    let digits = text.iter().take(longest).map_while(|digit| char::from(*digit).to_digit(radix));
    let (length, number) =
        digits.fold((0, 0), |(length, number), digit| (length + 1, number * radix + digit));
    units.push(u16::try_from(number).unwrap_or(u16::MAX));
    &text[length..]
}

/// Reads one character of several bytes, which people write and wineserver does not.
fn read_utf8<'a>(text: &'a [u8], units: &mut Vec<u16>) -> &'a [u8] {
    let length = text.iter().skip(1).take_while(|byte| **byte & 0xc0 == 0x80).count().min(3) + 1;
    let (character, rest) = text.split_at(length);
    units.extend(String::from_utf8_lossy(character).encode_utf16());
    rest
}
