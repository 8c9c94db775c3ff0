//! From bytes to UTF-16 units: what the file's first bytes say it is written in.

use super::{RegError, SIGNATURE_4};

/// What bytes 0x80 to 0x9F are in Windows' code page 1252; all others are as in Latin-1.
const CP1252: [u16; 32] = [
    0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039,
    0x0152, 0x8d, 0x017d, 0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
    0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d, 0x017e, 0x0178,
];

/// Reads UTF-16 and UTF-8 with their byte order marks, code page 1252 of a `REGEDIT4`, and else
/// UTF-8.
pub(super) fn units(bytes: &[u8]) -> Result<Vec<u16>, RegError> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        _ if bytes.starts_with(SIGNATURE_4.as_bytes()) => {
            Ok(bytes.iter().copied().map(ansi).collect())
        }
        _ => utf8(bytes),
    }
}

/// A character of code page 1252.
pub(super) fn ansi(byte: u8) -> u16 {
    let special = byte.checked_sub(0x80).and_then(|at| CP1252.get(usize::from(at)));
    special.copied().unwrap_or_else(|| u16::from(byte))
}

fn wide(bytes: &[u8], read: fn([u8; 2]) -> u16) -> Result<Vec<u16>, RegError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().copied().map(read).collect();
    if rest.is_empty() {
        return Ok(units);
    }
    let line = 1 + units.iter().filter(|unit| **unit == u16::from(b'\n')).count();
    Err(RegError::NotText { line })
}

fn utf8(bytes: &[u8]) -> Result<Vec<u16>, RegError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        RegError::NotText { line: 1 + before.iter().filter(|byte| **byte == b'\n').count() }
    })?;
    Ok(text.encode_utf16().collect())
}
