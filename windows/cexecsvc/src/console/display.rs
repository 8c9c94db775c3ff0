//! The client's terminal, as it must be by what it was sent.
//!
//! Knowing where its cursor is and in which style it writes, the console sends only what changes
//! them. The client's bytes are UTF-8.

use super::style::{Style, width};

/// What was sent to a terminal, and the state that put it in.
#[derive(Debug)]
pub(super) struct Display {
    out: Vec<u8>,
    /// Whether somebody looks: a screen that is not shown changes without a word.
    shown: bool,
    columns: usize,
    /// Cursor; `None` when that is not known. A column beyond the last means that the next
    /// character wraps.
    at: Option<(usize, usize)>,
    style: Option<Style>,
    cursor_visible: bool,
}

impl Display {
    /// A terminal about which nothing is known.
    pub(super) fn new(columns: usize) -> Self {
        Self { out: Vec::new(), shown: true, columns, at: None, style: None, cursor_visible: true }
    }

    /// What takes everything and shows nothing.
    pub(super) fn hidden() -> Self {
        Self { shown: false, ..Self::new(0) }
    }

    /// The terminal was cleared: its cursor is at the top, its style the usual one.
    pub(super) fn begin(&mut self) {
        (self.at, self.style) = (Some((0, 0)), Some(Style::default()));
    }

    /// Takes what is to be sent.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The terminal has another size, and thereby another content.
    pub(super) fn resized(&mut self, columns: usize) {
        self.columns = columns;
        self.forget();
    }

    /// Nothing is known about cursor and style any more.
    pub(super) fn forget(&mut self) {
        (self.at, self.style) = (None, None);
    }

    /// Sends bytes that move nothing.
    pub(super) fn raw(&mut self, text: &str) {
        if self.shown {
            self.out.extend_from_slice(text.as_bytes());
        }
    }

    /// Whether the next character would wrap after one in the last column.
    pub(super) fn wraps(&self) -> bool {
        self.at.is_some_and(|(x, _)| x >= self.columns)
    }

    /// The next character, and nothing else before it, goes to the first column of this row.
    pub(super) fn wrapped(&mut self, y: usize) {
        self.at = Some((0, y));
    }

    /// The terminal itself has moved its cursor.
    pub(super) fn moved(&mut self, x: usize, y: usize) {
        self.at = Some((x, y));
    }

    /// Moves the cursor.
    pub(super) fn go(&mut self, x: usize, y: usize) {
        if !self.shown || self.at == Some((x, y)) {
            return;
        }
        match self.at {
            Some((_, row)) if row == y && x == 0 => self.raw("\r"),
            Some((column, row)) if row == y && column < self.columns && x < self.columns => {
                match (x + 1 == column, x < column) {
                    (true, _) => self.raw("\x08"),
                    (_, true) => self.raw(&format!("\x1b[{}D", column - x)),
                    _ => self.raw(&format!("\x1b[{}C", x - column)),
                }
            }
            _ => {
                self.raw(&format!("\x1b[{};{}H", y + 1, x.min(self.columns.saturating_sub(1)) + 1))
            }
        }
        self.at = Some((x, y));
    }

    /// Makes the terminal write in a style.
    pub(super) fn wear(&mut self, style: Style) {
        if self.shown && self.style != Some(style) {
            self.raw(&style.sequence());
            self.style = Some(style);
        }
    }

    /// Shows a character where the cursor is to be.
    pub(super) fn put(&mut self, x: usize, y: usize, style: Style, character: char) {
        if !self.shown {
            return;
        }
        self.go(x, y);
        self.wear(style);
        let mut bytes = [0; 4];
        self.out.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
        self.at = Some((x + width(character), y));
    }

    /// Shows or hides the cursor.
    pub(super) fn show_cursor(&mut self, visible: bool) {
        if self.cursor_visible != visible {
            self.raw(if visible { "\x1b[?25h" } else { "\x1b[?25l" });
            self.cursor_visible = visible;
        }
    }
}
