//! A screen buffer: cells, a cursor, and what output does to them.
//!
//! The buffer has the window's size; a pseudo console scrolls nothing back. Each change is made
//! here and sent to the [`Display`], which is how cursor positions, `ReadConsoleOutput` and a
//! terminal that comes later all find what a program has drawn, by whichever means.

mod sequence;

use super::display::Display;
use super::escape::{Piece, Scanner};
use super::style::{Style, width};

/// `ENABLE_PROCESSED_OUTPUT`, `ENABLE_WRAP_AT_EOL_OUTPUT`, `ENABLE_VIRTUAL_TERMINAL_PROCESSING`
/// and `DISABLE_NEWLINE_AUTO_RETURN` of `wincon.h`.
pub(super) const PROCESSED: u32 = 1;
pub(super) const WRAP: u32 = 2;
pub(super) const TERMINAL: u32 = 4;
const NO_AUTO_RETURN: u32 = 8;

/// What control characters look like where they control nothing: those of code page 437.
const GLYPHS: &str = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼";

/// A cell. The second of a wide character holds NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) character: char,
    pub(super) style: Style,
}

impl Cell {
    fn blank(style: Style) -> Self {
        Self { character: ' ', style }
    }
}

/// Cells and cursor, which an alternate screen keeps for later.
#[derive(Clone, Debug)]
struct Page {
    cells: Vec<Cell>,
    x: usize,
    y: usize,
    style: Style,
}

/// One screen buffer.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) columns: usize,
    pub(super) rows: usize,
    page: Page,
    /// The page below an alternate screen.
    below: Option<Box<Page>>,
    /// Cursor and style that a program had remembered.
    saved: (usize, usize, Style),
    /// First and last row that scroll.
    region: (usize, usize),
    /// Output mode.
    pub(super) mode: u32,
    pub(super) cursor_visible: bool,
    pub(super) cursor_size: u16,
    scanner: Scanner,
    surrogate: Option<u16>,
    drawing: bool,
    wraps: bool,
    /// Private modes that are set and that concern the terminal alone: key and mouse modes.
    modes: Vec<String>,
    /// Rows that left the screen at its top.
    pub(super) scrolled: usize,
}

impl Screen {
    /// An empty screen.
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        let page = Page {
            cells: vec![Cell::blank(Style::default()); columns * rows],
            x: 0,
            y: 0,
            style: Style::default(),
        };
        Self {
            columns,
            rows,
            page,
            below: None,
            saved: (0, 0, Style::default()),
            region: (0, rows - 1),
            mode: PROCESSED | WRAP,
            cursor_visible: true,
            cursor_size: 25,
            scanner: Scanner::default(),
            surrogate: None,
            drawing: false,
            wraps: true,
            modes: Vec::new(),
            scrolled: 0,
        }
    }

    /// The cursor's column and row.
    pub(super) fn cursor(&self) -> (usize, usize) {
        (self.page.x.min(self.columns - 1), self.page.y)
    }

    /// The cursor's column and row; the column is beyond the last where the next character wraps.
    pub(super) fn position(&self) -> (usize, usize) {
        (self.page.x, self.page.y)
    }

    /// Moves the cursor; places outside count as the nearest inside.
    pub(super) fn go(&mut self, x: usize, y: usize) {
        self.page.x = x.min(self.columns - 1);
        self.page.y = y.min(self.rows - 1);
    }

    /// The style of what is written.
    pub(super) fn style(&self) -> Style {
        self.page.style
    }

    /// Changes the style of what is written.
    pub(super) fn set_style(&mut self, style: Style) {
        self.page.style = style;
    }

    /// A cell; `None` outside.
    pub(super) fn cell(&mut self, x: usize, y: usize) -> Option<&mut Cell> {
        let inside = x < self.columns && y < self.rows;
        inside.then(|| &mut self.page.cells[y * self.columns + x])
    }

    /// Writes text as a program does. What it asks the terminal is answered into `answers`.
    pub(super) fn write(&mut self, text: &[u16], display: &mut Display, answers: &mut String) {
        let pending = self.surrogate.take();
        let units = pending.into_iter().chain(text.iter().copied());
        for decoded in char::decode_utf16(units) {
            match decoded {
                Ok(character) => self.put(character, display, answers),
                Err(error) if (0xd800..0xdc00).contains(&error.unpaired_surrogate()) => {
                    // It is the last unit, or nothing of use.
                    self.surrogate = Some(error.unpaired_surrogate());
                }
                Err(_) => self.put('\u{fffd}', display, answers),
            }
        }
    }

    fn put(&mut self, character: char, display: &mut Display, answers: &mut String) {
        if self.mode & (PROCESSED | TERMINAL) == 0 {
            let glyph = GLYPHS.chars().nth(usize::try_from(u32::from(character)).unwrap_or(0));
            return self.show(glyph.unwrap_or(character), display);
        }
        match self.scanner.take(character) {
            None => {}
            Some(Piece::Shown(character)) => {
                let drawn = if self.drawing { drawn(character) } else { character };
                self.show(drawn, display);
            }
            Some(Piece::Control(character)) => self.control(character, display),
            Some(Piece::Escape(sequence)) => self.escape(&sequence, display),
            Some(Piece::Csi(parameters, last)) => {
                self.csi(&parameters, last, display, answers);
            }
            // A question would be answered by a terminal that may not be there.
            Some(Piece::Osc(text)) if text.contains('?') => {}
            Some(Piece::Osc(text)) => display.raw(&format!("\x1b]{text}\x07")),
        }
    }

    /// Shows a character at the cursor.
    pub(super) fn show(&mut self, character: char, display: &mut Display) {
        let cells = width(character);
        if cells == 0 {
            return display.raw(character.encode_utf8(&mut [0; 4]));
        }
        if self.page.x + cells > self.columns {
            if self.wraps && self.mode & WRAP != 0 {
                self.wrap(display);
            } else {
                self.page.x = self.columns.saturating_sub(cells);
            }
        }
        let Page { x, y, style, .. } = self.page;
        display.put(x, y, style, character);
        for (offset, character) in [character, '\0'].into_iter().take(cells).enumerate() {
            if let Some(cell) = self.cell(x + offset, y) {
                *cell = Cell { character, style };
            }
        }
        self.page.x += cells;
        let immediate = self.mode & (WRAP | TERMINAL) == WRAP;
        if self.page.x >= self.columns && immediate {
            self.page.x = 0;
            self.line_feed(display);
        }
    }

    /// Goes on in the next row. A terminal that is about to do so needs no word.
    fn wrap(&mut self, display: &mut Display) {
        let by_itself = display.wraps() && self.page.x >= self.columns;
        self.page.x = 0;
        if by_itself {
            self.scroll_or_down();
            display.wrapped(self.page.y);
        } else {
            self.line_feed(display);
        }
    }

    fn scroll_or_down(&mut self) {
        let (_, bottom) = self.region;
        if self.page.y == bottom {
            self.scroll_up(1);
        } else if self.page.y + 1 < self.rows {
            self.page.y += 1;
        }
    }

    /// Goes down a row, and scrolls at the last.
    pub(super) fn line_feed(&mut self, display: &mut Display) {
        display.go(self.page.x, self.page.y);
        // What scrolls in has the colour behind the terminal's style.
        display.wear(self.page.style.erased());
        display.raw("\n");
        self.scroll_or_down();
        display.moved(self.page.x, self.page.y);
    }

    fn control(&mut self, character: char, display: &mut Display) {
        match character {
            '\r' => self.page.x = 0,
            '\n' | '\x0b' | '\x0c' => {
                if self.mode & (TERMINAL | NO_AUTO_RETURN) != TERMINAL | NO_AUTO_RETURN {
                    self.page.x = 0;
                }
                self.line_feed(display);
            }
            '\x08' => self.page.x = self.page.x.min(self.columns).saturating_sub(1),
            '\t' => self.page.x = (self.page.x / 8 * 8 + 8).min(self.columns - 1),
            '\x07' => display.raw("\x07"),
            _ => {}
        }
    }

    fn scroll_up(&mut self, count: usize) {
        let (top, bottom) = self.region;
        let blank = Cell::blank(self.page.style.erased());
        let cells = &mut self.page.cells[top * self.columns..(bottom + 1) * self.columns];
        let moved = count.saturating_mul(self.columns).min(cells.len());
        cells.rotate_left(moved);
        let kept = cells.len() - moved;
        cells[kept..].fill(blank);
        if top == 0 {
            self.scrolled += moved / self.columns;
        }
    }

    fn scroll_down(&mut self, count: usize) {
        let (top, bottom) = self.region;
        let blank = Cell::blank(self.page.style.erased());
        let cells = &mut self.page.cells[top * self.columns..(bottom + 1) * self.columns];
        let moved = count.saturating_mul(self.columns).min(cells.len());
        cells.rotate_right(moved);
        cells[..moved].fill(blank);
    }

    /// Sends the cells of some rows again.
    pub(super) fn paint(&self, rows: std::ops::Range<usize>, display: &mut Display) {
        let plain = Cell::blank(Style::default());
        for y in rows.start..rows.end.min(self.rows) {
            let row = &self.page.cells[y * self.columns..(y + 1) * self.columns];
            let used = row.iter().rposition(|cell| *cell != plain).map_or(0, |last| last + 1);
            for (x, cell) in row[..used].iter().enumerate() {
                if cell.character != '\0' {
                    display.put(x, y, cell.style, cell.character);
                }
            }
            if used < self.columns {
                display.go(used, y);
                display.wear(Style::default());
                display.raw("\x1b[K");
            }
        }
    }

    /// Sends everything again, to a terminal of which nothing is known.
    pub(super) fn repaint(&self, display: &mut Display) {
        display.forget();
        display.raw("\x1b[r");
        if self.below.is_some() {
            display.raw("\x1b[?1049h");
        }
        for mode in &self.modes {
            display.raw(&format!("\x1b[?{mode}h"));
        }
        self.paint(0..self.rows, display);
        if self.region != (0, self.rows - 1) {
            display.raw(&format!("\x1b[{};{}r", self.region.0 + 1, self.region.1 + 1));
            display.forget();
        }
        self.settle(display);
    }

    /// Leaves the terminal as its user wants it.
    pub(super) fn leave(&mut self, display: &mut Display) {
        self.leave_alternate(display);
        for mode in std::mem::take(&mut self.modes) {
            display.raw(&format!("\x1b[?{mode}l"));
        }
        if self.region != (0, self.rows - 1) {
            display.raw("\x1b[r");
            display.forget();
        }
        self.cursor_visible = true;
        self.page.style = Style::default();
        self.settle(display);
        display.wear(Style::default());
    }

    /// Puts the terminal's cursor where the program's is.
    pub(super) fn settle(&self, display: &mut Display) {
        display.go(self.page.x, self.page.y);
        display.show_cursor(self.cursor_visible);
    }

    /// Changes the size. Rows are cut or filled at their ends; of too many, the upper ones go.
    pub(super) fn resize(&mut self, columns: usize, rows: usize) {
        let lost = (self.page.y + 1).saturating_sub(rows);
        let (old_columns, old_rows) = (self.columns, self.rows);
        for page in std::iter::once(&mut self.page).chain(self.below.as_deref_mut()) {
            let mut cells = vec![Cell::blank(Style::default()); columns * rows];
            for (y, row) in cells.chunks_mut(columns).enumerate() {
                let from = (y + lost) * old_columns;
                let kept = old_columns.min(columns);
                if y + lost < old_rows {
                    row[..kept].copy_from_slice(&page.cells[from..from + kept]);
                }
            }
            page.cells = cells;
            page.y = page.y.saturating_sub(lost).min(rows - 1);
            page.x = page.x.min(columns - 1);
        }
        (self.columns, self.rows) = (columns, rows);
        self.region = (0, rows - 1);
        self.scrolled += lost;
    }
}

/// DEC's line drawing characters.
fn drawn(character: char) -> char {
    const LINES: &str = "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·";
    let index = u32::from(character).checked_sub(0x60);
    index.and_then(|index| LINES.chars().nth(usize::try_from(index).ok()?)).unwrap_or(character)
}
