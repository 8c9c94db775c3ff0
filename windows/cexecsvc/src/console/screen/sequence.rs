//! What escape sequences do to a screen.
//!
//! Sequences that only move the cursor or change the style are kept: the display catches up when
//! something is drawn. Those that change cells are passed on, with cursor and style in their place
//! first, and done here too.

use super::{Cell, Page, Screen};
use crate::console::display::Display;
use crate::console::style::Style;

/// Most private modes remembered: terminals have a dozen.
const MOST_MODES: usize = 32;

impl Screen {
    pub(super) fn escape(&mut self, sequence: &str, display: &mut Display) {
        match sequence {
            "7" => self.saved = (self.page.x, self.page.y, self.page.style),
            "8" => self.restore(),
            "D" => self.line_feed(display),
            "E" => self.control('\n', display),
            "M" => self.reverse_line_feed(display),
            "c" => {
                self.leave_alternate(display);
                self.region = (0, self.rows - 1);
                self.page.style = Style::default();
                self.drawing = false;
                self.erase(0, self.columns * self.rows, "\x1b[r\x1b[2J", display);
                display.forget();
                self.go(0, 0);
            }
            "(0" => self.drawing = true,
            "(B" | "(A" | "(1" => self.drawing = false,
            "=" | ">" => display.raw(&format!("\x1b{sequence}")),
            _ => {}
        }
    }

    fn restore(&mut self) {
        let (x, y, style) = self.saved;
        self.go(x, y);
        self.page.style = style;
    }

    fn reverse_line_feed(&mut self, display: &mut Display) {
        if self.page.y == self.region.0 {
            self.act(display, "\x1bM");
            self.scroll_down(1);
        } else {
            self.page.y = self.page.y.saturating_sub(1);
        }
    }

    pub(super) fn csi(
        &mut self,
        text: &str,
        last: char,
        display: &mut Display,
        answers: &mut String,
    ) {
        let number = |index: usize, default: usize| {
            let given = text.split(';').nth(index).and_then(|number| number.parse().ok());
            given.filter(|number| *number > 0).unwrap_or(default)
        };
        let count = number(0, 1);
        let Page { x, y, .. } = self.page;
        let x = x.min(self.columns - 1);
        let (top, bottom) = self.region;
        match last {
            'h' | 'l' => self.private_mode(text, last, display),
            'm' if !text.starts_with(['>', '?', '<', '=']) => self.page.style.render(text),
            'A' => self.go(x, y.saturating_sub(count).max(if y >= top { top } else { 0 })),
            'B' | 'e' => {
                let limit = if y <= bottom { bottom } else { self.rows - 1 };
                self.go(x, y.saturating_add(count).min(limit));
            }
            'C' | 'a' => self.go(x.saturating_add(count), y),
            'D' => self.go(x.saturating_sub(count), y),
            'E' => self.go(0, y.saturating_add(count).min(bottom.max(y))),
            'F' => self.go(0, y.saturating_sub(count)),
            'G' | '`' => self.go(count - 1, y),
            'd' => self.go(x, count - 1),
            'H' | 'f' => self.go(number(1, 1) - 1, count - 1),
            's' => self.saved = (x, y, self.page.style),
            'u' if text.is_empty() => self.restore(),
            'r' if !text.starts_with('?') => self.set_region(count, number(1, self.rows), display),
            'n' | 'c' => self.answer(text, last, answers),
            'q' if text.ends_with(' ') => display.raw(&format!("\x1b[{text}q")),
            'J' | 'K' | 'X' | '@' | 'P' | 'L' | 'M' | 'S' | 'T' | 'b' => {
                self.edit(text, last, display);
            }
            // Window operations and questions of which the terminal is not to hear.
            _ => {}
        }
    }

    fn set_region(&mut self, top: usize, bottom: usize, display: &mut Display) {
        let bottom = bottom.min(self.rows);
        if top < bottom {
            self.region = (top - 1, bottom - 1);
            display.raw(&format!("\x1b[{top};{bottom}r"));
            display.moved(0, 0);
            self.go(0, 0);
        }
    }

    /// Answers what a terminal would: one is not always there, and this one knows.
    fn answer(&self, text: &str, last: char, answers: &mut String) {
        let (x, y) = self.cursor();
        *answers += &match (text, last) {
            ("5", 'n') => "\x1b[0n".to_owned(),
            ("6", 'n') => format!("\x1b[{};{}R", y + 1, x + 1),
            ("" | "0", 'c') => "\x1b[?1;0c".to_owned(),
            (">" | ">0", 'c') => "\x1b[>0;10;1c".to_owned(),
            _ => String::new(),
        };
    }

    fn private_mode(&mut self, text: &str, last: char, display: &mut Display) {
        let Some(codes) = text.strip_prefix('?') else { return };
        for code in codes.split(';') {
            match (code, last) {
                ("25", _) => self.cursor_visible = last == 'h',
                ("7", _) => self.wraps = last == 'h',
                ("47" | "1047" | "1049", 'h') => self.enter_alternate(display),
                ("47" | "1047" | "1049", _) => self.leave_alternate(display),
                ("1" | "66" | "1000" | "1002" | "1003" | "1004" | "1005" | "1006" | "2004", _) => {
                    self.modes.retain(|mode| mode != code);
                    if last == 'h' && self.modes.len() < MOST_MODES {
                        self.modes.push(code.to_owned());
                    }
                    display.raw(&format!("\x1b[?{code}{last}"));
                }
                // Synchronised output changes nothing that lasts.
                ("2026", _) => display.raw(&format!("\x1b[?{code}{last}")),
                _ => {}
            }
        }
    }

    fn enter_alternate(&mut self, display: &mut Display) {
        if self.below.is_some() {
            return;
        }
        self.below = Some(Box::new(self.page.clone()));
        self.page.cells.fill(Cell::blank(self.page.style.erased()));
        display.go(self.page.x, self.page.y);
        display.wear(self.page.style);
        display.raw("\x1b[?1049h");
    }

    pub(super) fn leave_alternate(&mut self, display: &mut Display) {
        let Some(page) = self.below.take() else { return };
        self.page = *page;
        display.raw("\x1b[?1049l");
        display.forget();
    }

    /// Puts the terminal's cursor and style where the program's are, and sends a sequence.
    fn act(&mut self, display: &mut Display, sequence: &str) {
        display.go(self.page.x, self.page.y);
        display.wear(self.page.style);
        display.raw(sequence);
    }

    /// Sequences that erase, insert, delete or scroll.
    fn edit(&mut self, text: &str, last: char, display: &mut Display) {
        let Page { y, .. } = self.page;
        let x = self.page.x.min(self.columns - 1);
        let (row, end) = (y * self.columns, self.columns * self.rows);
        let count: usize = text.parse().unwrap_or(0);
        let sequence = format!("\x1b[{text}{last}");
        // The cell after which a row wraps is the last one, for these.
        self.page.x = x;
        match (last, count) {
            ('J', 0) => self.erase(row + x, end, &sequence, display),
            ('J', 1) => self.erase(0, row + x + 1, &sequence, display),
            ('J', 2) => self.erase(0, end, &sequence, display),
            // What scrolled out of the terminal is not the program's.
            ('J', _) => {}
            ('K', 0) => self.erase(row + x, row + self.columns, &sequence, display),
            ('K', 1) => self.erase(row, row + x + 1, &sequence, display),
            ('K', _) => self.erase(row, row + self.columns, &sequence, display),
            ('X', _) => {
                let stop = (x + count.max(1)).min(self.columns);
                self.erase(row + x, row + stop, &sequence, display);
            }
            ('b', _) => {}
            _ => {
                self.act(display, &sequence);
                self.shift(last, count.max(1));
            }
        }
    }

    fn erase(&mut self, from: usize, to: usize, sequence: &str, display: &mut Display) {
        self.act(display, sequence);
        let blank = Cell::blank(self.page.style.erased());
        self.page.cells[from..to].fill(blank);
    }

    fn shift(&mut self, last: char, count: usize) {
        let Page { x, y, .. } = self.page;
        let (top, bottom) = self.region;
        let row = y * self.columns;
        let blank = Cell::blank(self.page.style.erased());
        let cells = &mut self.page.cells[row + x..row + self.columns];
        let moved = count.min(cells.len());
        match last {
            '@' => {
                cells.rotate_right(moved);
                cells[..moved].fill(blank);
            }
            'P' => {
                cells.rotate_left(moved);
                let kept = cells.len() - moved;
                cells[kept..].fill(blank);
            }
            'S' => self.scroll_up(count),
            'T' => self.scroll_down(count),
            'L' | 'M' if (top..=bottom).contains(&y) => {
                self.region = (y, bottom);
                if last == 'L' {
                    self.scroll_down(count)
                } else {
                    self.scroll_up(count)
                }
                self.region = (top, bottom);
                self.page.x = 0;
            }
            _ => {}
        }
    }
}
