//! Finds escape sequences in what programs print.

/// Longest sequence taken; titles are the longest in use. What is longer is dropped to its end.
const LONGEST: usize = 4096;

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A character to show.
    Shown(char),
    /// A control character other than escape.
    Control(char),
    /// `ESC`, perhaps intermediate characters, and a final one.
    Escape(String),
    /// `ESC [`: parameters with their private prefix and intermediates, and the final character.
    Csi(String, char),
    /// `ESC ]` up to its terminator, which is not in it.
    Osc(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Escape,
    Csi,
    /// A string that is kept, or one that is not.
    String {
        kept: bool,
    },
    /// An escape inside a string, which may end it.
    StringEscape {
        kept: bool,
    },
}

/// Where in a sequence the output is. Sequences may come in pieces.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    state: State,
    buffer: String,
}

impl Scanner {
    /// Takes a character; tells what it completes.
    pub(super) fn take(&mut self, character: char) -> Option<Piece> {
        match self.state {
            State::Text if character == '\x1b' => self.begin(State::Escape),
            State::Text if character < ' ' || character == '\x7f' => {
                return Some(Piece::Control(character));
            }
            State::Text => return Some(Piece::Shown(character)),
            State::Escape => return self.escape(character),
            State::Csi => return self.csi(character),
            State::String { kept } => match character {
                '\x07' | '\u{9c}' => return self.end_string(kept),
                '\x1b' => self.state = State::StringEscape { kept },
                '\x18' | '\x1a' => self.state = State::Text,
                _ => self.keep(character),
            },
            State::StringEscape { kept } => {
                if character == '\\' {
                    return self.end_string(kept);
                }
                self.begin(State::Escape);
                return self.escape(character);
            }
        }
        None
    }

    fn begin(&mut self, state: State) {
        self.state = state;
        self.buffer.clear();
    }

    fn keep(&mut self, character: char) {
        if self.buffer.len() < LONGEST {
            self.buffer.push(character);
        }
    }

    fn escape(&mut self, character: char) -> Option<Piece> {
        match character {
            '[' if self.buffer.is_empty() => self.begin(State::Csi),
            ']' if self.buffer.is_empty() => self.begin(State::String { kept: true }),
            'P' | 'X' | '^' | '_' if self.buffer.is_empty() => {
                self.begin(State::String { kept: false });
            }
            ' '..='/' => self.keep(character),
            '\x1b' => self.begin(State::Escape),
            '\0'..='\x1f' => {
                self.state = State::Text;
                return Some(Piece::Control(character));
            }
            _ => {
                self.keep(character);
                self.state = State::Text;
                return Some(Piece::Escape(std::mem::take(&mut self.buffer)));
            }
        }
        None
    }

    fn csi(&mut self, character: char) -> Option<Piece> {
        match character {
            ' '..='?' => self.keep(character),
            '@'..='~' => {
                self.state = State::Text;
                return Some(Piece::Csi(std::mem::take(&mut self.buffer), character));
            }
            '\x1b' => self.begin(State::Escape),
            '\x18' | '\x1a' => self.state = State::Text,
            '\0'..='\x1f' => return Some(Piece::Control(character)),
            _ => self.state = State::Text,
        }
        None
    }

    fn end_string(&mut self, kept: bool) -> Option<Piece> {
        self.state = State::Text;
        kept.then(|| Piece::Osc(std::mem::take(&mut self.buffer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Vec<Piece> {
        let mut scanner = Scanner::default();
        text.chars().filter_map(|character| scanner.take(character)).collect()
    }

    #[test]
    fn sequences_are_told_from_text() {
        assert_eq!(
            scan("a\x1b[1;31mb\r\x1b(0\x1b]0;title\x07\x1b7\x1bPdata\x1b\\c"),
            [
                Piece::Shown('a'),
                Piece::Csi("1;31".into(), 'm'),
                Piece::Shown('b'),
                Piece::Control('\r'),
                Piece::Escape("(0".into()),
                Piece::Osc("0;title".into()),
                Piece::Escape("7".into()),
                Piece::Shown('c'),
            ]
        );
    }

    #[test]
    fn what_breaks_off_or_never_ends_is_dropped() {
        assert_eq!(scan("\x1b[1\x1b[2mx"), [Piece::Csi("2".into(), 'm'), Piece::Shown('x')]);
        assert_eq!(scan("\x1b]0;a\x1b[Hx"), [Piece::Csi("".into(), 'H'), Piece::Shown('x')]);
        let long = format!("\x1b]{}\x07", "a".repeat(LONGEST * 2));
        assert_eq!(scan(&long), [Piece::Osc("a".repeat(LONGEST))]);
    }
}
