//! Editing a line that a program reads whole.

use super::display::Display;
use super::keys::{CTRL, Key, virtual_key as vk};
use super::screen::{PROCESSED, Screen, WRAP};
use super::style::width;

/// Lines remembered, as many as a console of Windows remembers.
const HISTORY: usize = 50;
/// Longest line in units. A program that asks for more gets it in more lines.
const LONGEST: usize = 32 << 10;

/// Lines that were entered before, the oldest first.
#[derive(Debug, Default)]
pub(super) struct History(Vec<Vec<u16>>);

impl History {
    fn add(&mut self, line: &[u16]) {
        if line.is_empty() || self.0.last().is_some_and(|last| last == line) {
            return;
        }
        if self.0.len() == HISTORY {
            self.0.remove(0);
        }
        self.0.push(line.to_vec());
    }
}

/// The line being edited.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) text: Vec<u16>,
    pub(super) cursor: usize,
    /// Which line of the history this was, counted from the newest.
    recalled: usize,
    /// What it was before lines were recalled.
    kept: Vec<u16>,
    overwrite: bool,
}

impl Line {
    /// A line that begins with some text.
    pub(super) fn new(text: Vec<u16>) -> Self {
        Self { cursor: text.len(), text, ..Self::default() }
    }

    /// Takes a key; tells whether the line is entered.
    pub(super) fn press(&mut self, key: Key, history: &mut History) -> bool {
        let held = key.state & CTRL != 0;
        match (key.code, held) {
            (vk::RETURN, _) => {
                history.add(&self.text);
                return true;
            }
            (vk::LEFT, false) => self.cursor = self.before(),
            (vk::RIGHT, false) => self.cursor = self.after(),
            (vk::LEFT, true) => self.cursor = self.word_before(),
            (vk::RIGHT, true) => self.cursor = self.word_after(),
            (vk::HOME, false) => self.cursor = 0,
            (vk::END, false) => self.cursor = self.text.len(),
            (vk::HOME, true) => self.remove(0, self.cursor),
            (vk::END, true) => self.text.truncate(self.cursor),
            (vk::BACK, false) => self.remove(self.before(), self.cursor),
            (vk::BACK, true) => self.remove(self.word_before(), self.cursor),
            (vk::DELETE, _) => self.remove(self.cursor, self.after()),
            (vk::ESCAPE, _) => self.remove(0, self.text.len()),
            (vk::UP, _) => self.recall(self.recalled + 1, history),
            (vk::DOWN, _) => self.recall(self.recalled.saturating_sub(1), history),
            (vk::INSERT, _) => self.overwrite = !self.overwrite,
            _ if key.unit != 0 => self.insert(key.unit),
            _ => {}
        }
        false
    }

    fn insert(&mut self, unit: u16) {
        if self.overwrite && self.cursor < self.text.len() {
            self.text[self.cursor] = unit;
        } else if self.text.len() < LONGEST {
            self.text.insert(self.cursor, unit);
        } else {
            return;
        }
        self.cursor += 1;
    }

    fn remove(&mut self, from: usize, to: usize) {
        self.text.drain(from..to);
        self.cursor = from;
    }

    fn recall(&mut self, number: usize, history: &History) {
        if number > history.0.len() || number == self.recalled {
            return;
        }
        if self.recalled == 0 {
            self.kept = std::mem::take(&mut self.text);
        }
        self.text = match number {
            0 => std::mem::take(&mut self.kept),
            _ => history.0[history.0.len() - number].clone(),
        };
        (self.recalled, self.cursor) = (number, self.text.len());
    }

    /// Where the character before the cursor begins.
    fn before(&self) -> usize {
        match self.text[..self.cursor] {
            [.., 0xd800..0xdc00, 0xdc00..0xe000] => self.cursor - 2,
            _ => self.cursor.saturating_sub(1),
        }
    }

    /// Where the character at the cursor ends.
    fn after(&self) -> usize {
        match self.text[self.cursor..] {
            [0xd800..0xdc00, 0xdc00..0xe000, ..] => self.cursor + 2,
            [_, ..] => self.cursor + 1,
            [] => self.cursor,
        }
    }

    fn word_before(&self) -> usize {
        let space = |unit: &u16| *unit == u16::from(b' ');
        let end = self.text[..self.cursor].iter().rposition(|unit| !space(unit));
        let word = &self.text[..end.map_or(0, |end| end + 1)];
        word.iter().rposition(space).map_or(0, |start| start + 1)
    }

    fn word_after(&self) -> usize {
        let space = |unit: &u16| *unit == u16::from(b' ');
        let rest = &self.text[self.cursor..];
        let end = rest.iter().position(space).unwrap_or(rest.len());
        let gap = rest[end..].iter().position(|unit| !space(unit));
        self.cursor + end + gap.unwrap_or(rest.len() - end)
    }
}

/// Where a line is on the screen, and what of it.
#[derive(Debug)]
pub(super) struct Echo {
    column: usize,
    row: usize,
    /// Rows that had left the screen when it was there.
    scrolled: usize,
    drawn: Vec<u16>,
}

impl Echo {
    /// The line begins at the cursor, behind text that is there already.
    pub(super) fn new(screen: &Screen, there: &[u16]) -> Self {
        let (column, row) = screen.cursor();
        let mut echo = Self { column, row, scrolled: screen.scrolled, drawn: there.to_vec() };
        let cells: usize = cells(there).map(width).sum();
        let back = cells.min(row * screen.columns + column);
        let start = row * screen.columns + column - back;
        (echo.column, echo.row) = (start % screen.columns, start / screen.columns);
        echo
    }

    /// Shows the line as it is now, changing no more than is necessary.
    pub(super) fn draw(&mut self, line: &Line, screen: &mut Screen, display: &mut Display) {
        let same = self.drawn.iter().zip(&line.text).take_while(|(old, new)| old == new).count();
        let mut start = same;
        // What has left the screen, or is half of a character, is not where to begin.
        while start > 0 && matches!(line.text.get(start), Some(0xdc00..0xe000)) {
            start -= 1;
        }
        while start < line.text.len() && self.place(&line.text[..start], screen).is_none() {
            start += 1;
        }
        let old_end = self.extent(&self.drawn, screen.columns);
        let new_end = self.extent(&line.text, screen.columns);
        if let Some((x, y)) = self.place(&line.text[..start], screen) {
            let mode = std::mem::replace(&mut screen.mode, PROCESSED | WRAP);
            if start < line.text.len() || new_end < old_end {
                screen.go(x, y);
            }
            for character in cells(&line.text[start..]) {
                screen.show(character, display);
            }
            for _ in new_end..old_end {
                screen.show(' ', display);
            }
            screen.mode = mode;
        }
        self.drawn.clone_from(&line.text);
        if let Some((x, y)) = self.place(&line.text[..line.cursor], screen) {
            screen.go(x, y);
        }
    }

    /// Cells from the beginning of the first row to the end of a text.
    fn extent(&self, text: &[u16], columns: usize) -> usize {
        cells(text).fold(self.column, |at, character| {
            let wide = width(character);
            // A wide character does not begin in the last column.
            let skipped = usize::from(wide == 2 && at % columns == columns - 1);
            at + skipped + wide
        })
    }

    /// Where the end of a text is; `None` above the screen.
    fn place(&self, text: &[u16], screen: &Screen) -> Option<(usize, usize)> {
        let extent = self.extent(text, screen.columns);
        let row = self.row + extent / screen.columns;
        // Another screen may be shown by now.
        let gone = screen.scrolled.saturating_sub(self.scrolled);
        Some((extent % screen.columns, row.checked_sub(gone)?))
    }
}

/// What is shown of a text: control characters with a caret.
fn cells(text: &[u16]) -> impl Iterator<Item = char> + '_ {
    char::decode_utf16(text.iter().copied()).flat_map(|decoded| {
        let character = decoded.unwrap_or('\u{fffd}');
        let caret = character < ' ';
        let letter = char::from_u32(u32::from(character) + 0x40).filter(|_| caret);
        caret.then_some('^').into_iter().chain([letter.unwrap_or(character)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::keys::Keyboard;

    fn edited(typed: &str, history: &mut History) -> String {
        let mut line = Line::default();
        for key in Keyboard::default().take(typed.as_bytes(), false) {
            if line.press(key, history) {
                break;
            }
        }
        String::from_utf16_lossy(&line.text)
    }

    #[test]
    fn a_line_is_edited_as_on_windows() {
        let history = &mut History::default();
        for (typed, text) in [
            ("hellx\x7fo", "hello"),
            ("hllo\x1b[H\x1b[Ce", "hello"),
            ("ello\x1b[1~h\x1b[4~!", "hello!"),
            ("one two\x1b[1;5Dthe ", "one the two"),
            ("one two\x1b[1;5D\x1b[1;5D\x1b[1;5Cx", "one xtwo"),
            ("abc\x1b[D\x1b[3~d", "abd"),
            ("abc\x1b[2~\x1b[Hx", "xbc"),
            ("gone\x1b", ""),
            ("a😀\x7fb", "ab"),
            ("tail\x1b[1;5H", ""),
        ] {
            assert_eq!(edited(typed, history), text, "{typed:?}");
        }
    }

    #[test]
    fn lines_entered_come_back() {
        let history = &mut History::default();
        for line in ["first\r", "second\r", "second\r", "\r"] {
            edited(line, history);
        }
        assert_eq!(edited("\x1b[A", history), "second");
        assert_eq!(edited("\x1b[A\x1b[A\x1b[A", history), "first");
        assert_eq!(edited("new\x1b[A\x1b[B!", history), "new!");
    }
}
