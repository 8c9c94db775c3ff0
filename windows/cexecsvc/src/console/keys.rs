//! From what a terminal sends to the keys a console has.
//!
//! Terminals send UTF-8, control characters and the sequences of xterm; a sequence or a character
//! may come in pieces. An escape that ends a piece is the key.

/// `LEFT_ALT_PRESSED`, `LEFT_CTRL_PRESSED`, `SHIFT_PRESSED` and `ENHANCED_KEY` of `wincon.h`.
const ALT: u32 = 2;
/// See [`ALT`].
pub(super) const CTRL: u32 = 8;
const SHIFT: u32 = 16;
const ENHANCED: u32 = 0x100;

/// Virtual keys of `winuser.h`.
pub(super) mod virtual_key {
    pub(crate) const CANCEL: u16 = 0x03;
    pub(crate) const BACK: u16 = 0x08;
    pub(crate) const TAB: u16 = 0x09;
    pub(crate) const RETURN: u16 = 0x0d;
    pub(crate) const ESCAPE: u16 = 0x1b;
    pub(crate) const PRIOR: u16 = 0x21;
    pub(crate) const NEXT: u16 = 0x22;
    pub(crate) const END: u16 = 0x23;
    pub(crate) const HOME: u16 = 0x24;
    pub(crate) const LEFT: u16 = 0x25;
    pub(crate) const UP: u16 = 0x26;
    pub(crate) const RIGHT: u16 = 0x27;
    pub(crate) const DOWN: u16 = 0x28;
    pub(crate) const INSERT: u16 = 0x2d;
    pub(crate) const DELETE: u16 = 0x2e;
    pub(crate) const F1: u16 = 0x70;
}
use virtual_key as vk;

/// Longest sequence of a key; a longer one is no key's.
const LONGEST: usize = 64;

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The UTF-16 unit it types, or 0.
    pub(super) unit: u16,
    /// Virtual key, or 0.
    pub(super) code: u16,
    /// Scan code of a US keyboard, or 0.
    pub(super) scan: u16,
    /// What is held meanwhile.
    pub(super) state: u32,
}

impl Key {
    fn new(unit: u16, code: u16, state: u32) -> Self {
        Self { unit, code, scan: scan(code), state }
    }
}

/// What came and is not a key yet.
#[derive(Debug, Default)]
pub(super) struct Keyboard {
    held: Vec<u8>,
}

/// What the bytes at hand begin with.
enum Found {
    /// Keys, and how many bytes they took.
    Keys(Vec<Key>, usize),
    /// The rest is still to come.
    Incomplete,
}

impl Keyboard {
    /// Takes bytes. With `sequences` as they are, a program reads those itself.
    pub(super) fn take(&mut self, bytes: &[u8], verbatim: bool) -> Vec<Key> {
        self.held.extend_from_slice(bytes);
        let (mut keys, mut taken) = (Vec::new(), 0);
        while taken < self.held.len() {
            let rest = &self.held[taken..];
            let found = match rest {
                [0x1b, ..] if !verbatim => escape(rest),
                _ => plain(rest, 0, verbatim),
            };
            match found {
                Found::Keys(mut found, count) => {
                    keys.append(&mut found);
                    taken += count;
                }
                Found::Incomplete if rest.len() > LONGEST => taken += rest.len(),
                Found::Incomplete => break,
            }
        }
        self.held.drain(..taken);
        keys
    }
}

/// A character.
fn plain(bytes: &[u8], state: u32, verbatim: bool) -> Found {
    let length = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let whole = &bytes[..length.min(bytes.len())];
    match std::str::from_utf8(whole) {
        Ok(text) => {
            let key = |unit| if verbatim { Key::new(unit, 0, state) } else { typed(unit, state) };
            Found::Keys(text.encode_utf16().map(key).collect(), length)
        }
        Err(error) if error.error_len().is_none() => Found::Incomplete,
        Err(_) => Found::Keys(vec![Key::new(0xfffd, 0, state)], 1),
    }
}

/// The key of a US keyboard that types a unit.
fn typed(unit: u16, state: u32) -> Key {
    let Some(byte) = u8::try_from(unit).ok().filter(u8::is_ascii) else {
        return Key::new(unit, 0, state);
    };
    let upper = u16::from(byte.to_ascii_uppercase());
    match byte {
        b'\r' => Key::new(unit, vk::RETURN, state),
        b'\n' => Key::new(unit, vk::RETURN, state | CTRL),
        b'\t' => Key::new(unit, vk::TAB, state),
        0x08 | 0x7f => Key::new(0x08, vk::BACK, state),
        0 => Key::new(0, u16::from(b' '), state | CTRL),
        0x1b => Key::new(unit, vk::ESCAPE, state),
        // No terminal has a Break key; this is the one that quits on Unix.
        0x1c => Key::new(unit, vk::CANCEL, state | CTRL),
        1..=0x1a => Key::new(unit, unit + 0x40, state | CTRL),
        b'a'..=b'z' | b'0'..=b'9' | b' ' => Key::new(unit, upper, state),
        b'A'..=b'Z' => Key::new(unit, upper, state | SHIFT),
        _ => {
            let (code, shift) = symbol(byte);
            Key::new(unit, code, state | shift)
        }
    }
}

/// Where a US keyboard has a symbol.
fn symbol(byte: u8) -> (u16, u32) {
    const PLAIN: &[u8] = b";=,-./`[\\]'";
    const SHIFTED: &[u8] = b":+<_>?~{|}\"";
    const CODES: [u16; 11] = [0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf, 0xc0, 0xdb, 0xdc, 0xdd, 0xde];
    const DIGITS: &[u8] = b")!@#$%^&*(";
    let place = |list: &[u8]| list.iter().position(|other| *other == byte);
    if let Some(index) = place(PLAIN) {
        return (CODES[index], 0);
    }
    if let Some(index) = place(SHIFTED) {
        return (CODES[index], SHIFT);
    }
    let digit = place(DIGITS).and_then(|index| u16::try_from(index).ok());
    digit.map_or((0, 0), |index| (0x30 + index, SHIFT))
}

fn escape(bytes: &[u8]) -> Found {
    match bytes {
        [_] | [_, 0x1b, ..] => Found::Keys(vec![typed(0x1b, 0)], 1),
        [_, b'[', rest @ ..] => control_sequence(rest),
        [_, b'O'] => Found::Incomplete,
        [_, b'O', last, ..] => {
            let key = match last {
                b'M' => Some(typed(u16::from(b'\r'), 0)),
                _ => named(*last).map(|code| special(code, 0)),
            };
            Found::Keys(key.into_iter().collect(), 3)
        }
        [_, rest @ ..] => match plain(rest, ALT, false) {
            Found::Keys(keys, count) => Found::Keys(keys, count + 1),
            Found::Incomplete => Found::Incomplete,
        },
        [] => Found::Incomplete,
    }
}

/// What follows `ESC [`.
fn control_sequence(rest: &[u8]) -> Found {
    /// Bytes before `rest`.
    const HEAD: usize = 2;
    let Some(end) = rest.iter().position(|byte| (0x40..0x7f).contains(byte)) else {
        return Found::Incomplete;
    };
    let (parameters, last) = (&rest[..end], rest[end]);
    if last == b'M' && parameters.is_empty() {
        // A mouse of the old kind has three bytes more.
        let whole = end + 4;
        return if rest.len() < whole {
            Found::Incomplete
        } else {
            Found::Keys(Vec::new(), HEAD + whole)
        };
    }
    let text = String::from_utf8_lossy(parameters);
    let mut numbers = text.split(';').map(|number| number.parse::<u16>().unwrap_or(0));
    let (first, second) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let state = modifiers(second);
    let key = match last {
        b'Z' => Some(Key::new(u16::from(b'\t'), vk::TAB, SHIFT)),
        b'~' => numbered(first).map(|code| special(code, state)),
        // The answer about a cursor looks like F3 held with something.
        b'R' if first > 1 => None,
        _ => named(last).map(|code| special(code, state)),
    };
    Found::Keys(key.into_iter().collect(), HEAD + end + 1)
}

fn special(code: u16, state: u32) -> Key {
    let enhanced = if code < vk::F1 { ENHANCED } else { 0 };
    Key::new(0, code, state | enhanced)
}

fn named(last: u8) -> Option<u16> {
    Some(match last {
        b'A' => vk::UP,
        b'B' => vk::DOWN,
        b'C' => vk::RIGHT,
        b'D' => vk::LEFT,
        b'H' => vk::HOME,
        b'F' => vk::END,
        b'P'..=b'S' => vk::F1 + u16::from(last - b'P'),
        _ => return None,
    })
}

/// Keys of `ESC [ number ~`.
fn numbered(number: u16) -> Option<u16> {
    Some(match number {
        1 | 7 => vk::HOME,
        2 => vk::INSERT,
        3 => vk::DELETE,
        4 | 8 => vk::END,
        5 => vk::PRIOR,
        6 => vk::NEXT,
        11..=15 => vk::F1 + number - 11,
        17..=21 => vk::F1 + number - 12,
        23..=24 => vk::F1 + number - 13,
        _ => return None,
    })
}

/// xterm's number for what is held.
fn modifiers(number: u16) -> u32 {
    let bits = number.saturating_sub(1);
    [(1, SHIFT), (2, ALT), (4, CTRL)]
        .into_iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, state)| state)
        .sum()
}

/// The scan code of a virtual key on a US keyboard.
fn scan(code: u16) -> u16 {
    const ROWS: [(u16, &[u8]); 4] =
        [(0x02, b"1234567890"), (0x10, b"QWERTYUIOP"), (0x1e, b"ASDFGHJKL"), (0x2c, b"ZXCVBNM")];
    const OTHERS: [(u16, u16); 18] = [
        (vk::ESCAPE, 0x01),
        (vk::BACK, 0x0e),
        (vk::TAB, 0x0f),
        (vk::RETURN, 0x1c),
        (0x20, 0x39),
        (vk::HOME, 0x47),
        (vk::UP, 0x48),
        (vk::PRIOR, 0x49),
        (vk::LEFT, 0x4b),
        (vk::RIGHT, 0x4d),
        (vk::END, 0x4f),
        (vk::DOWN, 0x50),
        (vk::NEXT, 0x51),
        (vk::INSERT, 0x52),
        (vk::DELETE, 0x53),
        (vk::CANCEL, 0x46),
        (0xbd, 0x0c),
        (0xbb, 0x0d),
    ];
    if let Some(found) = OTHERS.iter().find(|(key, _)| *key == code) {
        return found.1;
    }
    if (vk::F1..vk::F1 + 12).contains(&code) {
        let number = code - vk::F1;
        return if number < 10 { 0x3b + number } else { 0x57 + number - 10 };
    }
    ROWS.iter()
        .find_map(|(first, keys)| {
            let index = keys.iter().position(|key| u16::from(*key) == code)?;
            Some(first + u16::try_from(index).ok()?)
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(keys: &[Key]) -> Vec<(u16, u32)> {
        keys.iter().map(|key| (key.code, key.state & !ENHANCED)).collect()
    }

    #[test]
    fn the_keys_of_all_terminals_are_known() {
        let mut keyboard = Keyboard::default();
        for (bytes, code, state) in [
            (&b"\x1b[1~"[..], vk::HOME, 0),
            (b"\x1b[H", vk::HOME, 0),
            (b"\x1b[7~", vk::HOME, 0),
            (b"\x1b[4~", vk::END, 0),
            (b"\x1bOF", vk::END, 0),
            (b"\x1b[1;5C", vk::RIGHT, CTRL),
            (b"\x1b[3~", vk::DELETE, 0),
            (b"\x1bOP", vk::F1, 0),
            (b"\x1b[24~", vk::F1 + 11, 0),
            (b"\x1b[Z", vk::TAB, SHIFT),
            (b"\x7f", vk::BACK, 0),
            (b"\x03", 0x43, CTRL),
            (b"\x1bx", 0x58, ALT),
            (b"\x1b", vk::ESCAPE, 0),
            (b"A", 0x41, SHIFT),
            (b"?", 0xbf, SHIFT),
        ] {
            assert_eq!(codes(&keyboard.take(bytes, false)), [(code, state)], "{bytes:?}");
        }
    }

    #[test]
    fn keys_are_found_however_they_arrive() {
        let bytes = "é€😀\u{1b}[1;5D\u{1b}[200~x\u{1b}[<0;1;1M".as_bytes();
        let whole = Keyboard::default().take(bytes, false);
        assert_eq!(whole.len(), 6);
        for cut in 0..bytes.len() {
            // An escape at the end of a piece is a key of its own.
            if cut > 0 && bytes[cut - 1] == 0x1b {
                continue;
            }
            let mut keyboard = Keyboard::default();
            let mut keys = keyboard.take(&bytes[..cut], false);
            keys.extend(keyboard.take(&bytes[cut..], false));
            assert_eq!(keys, whole, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_text_or_never_ends_is_bounded() {
        let mut keyboard = Keyboard::default();
        assert_eq!(keyboard.take(b"\xff", false)[0].unit, 0xfffd);
        for _ in 0..100 {
            keyboard.take(b"\x1b[1;1;1;1;1", false);
        }
        assert!(keyboard.held.len() <= LONGEST + 11);
    }

    #[test]
    fn a_program_that_reads_sequences_gets_them() {
        let units: Vec<u16> =
            Keyboard::default().take(b"\x1b[A\x7f", true).iter().map(|key| key.unit).collect();
        assert_eq!(units, [0x1b, 0x5b, 0x41, 0x7f]);
    }
}
