//! The calls on screen buffers.

use super::display::Display;
use super::request::{Answer, INVALID_HANDLE, INVALID_PARAMETER, NOT_SUPPORTED, Request, function};
use super::screen::{Cell, Screen};
use super::style::Style;
use super::{Console, FIRST, UTF_8};

/// `CHAR_INFO_MODE_TEXT`, `_ATTR` and `_TEXTATTR`: what of cells a call is about.
const TEXT: u32 = 0;
const ATTRIBUTES: u32 = 1;
const BOTH: u32 = 2;

/// Bits of what `SET_OUTPUT_INFO` sets.
const SET_CURSOR_SHAPE: u32 = 1;
const SET_CURSOR: u32 = 2;
const SET_ATTRIBUTES: u32 = 8;

/// The 16 colours of a console, red in the lowest byte.
const PALETTE: [u32; 16] = [
    0x0c0c0c, 0xda3700, 0x0ea113, 0xdd963a, 0x1f0fc5, 0x981788, 0x009cc1, 0xcccccc, 0x767676,
    0xff783b, 0x0cc616, 0xd6d661, 0x5648e7, 0x9e00b4, 0xa5f1f9, 0xf2f2f2,
];

impl Console {
    /// Prints text on the screen that is shown, as a program would.
    pub(super) fn print(&mut self, text: &[u16]) {
        self.write(self.active, text);
    }

    fn write(&mut self, output: u32, text: &[u16]) {
        let mut answers = String::new();
        if output == self.active {
            self.begin();
        }
        let mut hidden = Display::hidden();
        let Some(screen) = self.screens.get_mut(&output) else { return };
        let display = if output == self.active { &mut self.display } else { &mut hidden };
        screen.write(text, display, &mut answers);
        if !answers.is_empty() {
            for key in super::Keyboard::default().take(answers.as_bytes(), true) {
                self.add(super::Record::key(key, true));
            }
            self.serve_read();
        }
    }

    /// Text of bytes in the output's code page. Of UTF-8, half a character waits for the other.
    fn decoded(&mut self, bytes: &[u8]) -> Vec<u16> {
        if self.pages.1 != UTF_8 {
            return (self.codec.decode)(self.pages.1, bytes);
        }
        let mut all = std::mem::take(&mut self.half_written);
        all.extend_from_slice(bytes);
        let whole = all.utf8_chunks().fold(0, |end, chunk| {
            let last = end + chunk.valid().len() + chunk.invalid().len() == all.len();
            let begun = std::str::from_utf8(chunk.invalid());
            let cut = begun.is_err_and(|error| error.error_len().is_none());
            end + chunk.valid().len() + if last && cut { 0 } else { chunk.invalid().len() }
        });
        self.half_written = all.split_off(whole);
        String::from_utf8_lossy(&all).encode_utf16().collect()
    }

    pub(super) fn output_request(&mut self, request: Request<'_>) -> Answer {
        let Some(screen) = self.screens.get_mut(&request.output) else {
            return Answer::failed(INVALID_HANDLE);
        };
        let done = match request.function() {
            function::GET_MODE => return Answer::with(screen.mode.to_le_bytes().to_vec()),
            function::SET_MODE => request.field(0).map(|mode| screen.mode = mode),
            function::IS_UNIX => return Answer::failed(NOT_SUPPORTED),
            function::WRITE_CONSOLE => {
                self.write(request.output, &request.text(0));
                self.end_interrupted();
                Some(())
            }
            function::WRITE_FILE => {
                let text = self.decoded(request.data);
                self.write(request.output, &text);
                self.end_interrupted();
                Some(())
            }
            function::GET_OUTPUT_INFO => return Answer::with(info(screen)),
            function::SET_OUTPUT_INFO => set_info(screen, request),
            function::READ_OUTPUT => return read(screen, request).unwrap_or_else(refused),
            function::WRITE_OUTPUT | function::FILL_OUTPUT | function::SCROLL => {
                return self.change(request).unwrap_or_else(refused);
            }
            function::ACTIVATE => {
                self.activate(request.output);
                Some(())
            }
            function::CLOSE_OUTPUT => {
                self.screens.remove(&request.output);
                if self.active == request.output {
                    self.activate(FIRST);
                }
                Some(())
            }
            _ => return Answer::failed(INVALID_HANDLE),
        };
        done.map_or_else(refused, |()| Answer::done())
    }

    fn activate(&mut self, output: u32) {
        if self.active != output
            && let Some(screen) = self.screens.get(&output)
        {
            self.active = output;
            if self.begun {
                screen.repaint(&mut self.display);
            }
        }
    }

    /// Calls that change cells wherever they are.
    fn change(&mut self, request: Request<'_>) -> Option<Answer> {
        let shown = request.output == self.active;
        if shown {
            self.begin();
        }
        let screen = self.screens.get_mut(&request.output)?;
        let (rows, answer) = match request.function() {
            function::WRITE_OUTPUT => write_cells(screen, request)?,
            function::FILL_OUTPUT => fill(screen, request)?,
            _ => (scroll(screen, request)?, Answer::done()),
        };
        if shown {
            screen.paint(rows, &mut self.display);
        }
        Some(answer)
    }
}

fn refused() -> Answer {
    Answer::failed(INVALID_PARAMETER)
}

type Rows = std::ops::Range<usize>;

/// `condrv_output_info`: 18 halves and the palette.
fn info(screen: &Screen) -> Vec<u8> {
    let half = |cells: usize| u16::try_from(cells).unwrap_or(u16::MAX);
    let (x, y) = screen.cursor();
    let (columns, rows) = (screen.columns, screen.rows);
    let attributes = screen.style().attributes();
    let halves: [u16; 18] = [
        screen.cursor_size,
        u16::from(screen.cursor_visible),
        half(x),
        half(y),
        half(columns),
        half(rows),
        attributes,
        0xf5,
        0,
        0,
        half(columns - 1),
        half(rows - 1),
        half(columns),
        half(rows),
        8,
        16,
        400,
        0x36,
    ];
    let head = halves.into_iter().flat_map(u16::to_le_bytes);
    head.chain(PALETTE.into_iter().flat_map(u32::to_le_bytes)).collect()
}

/// The size stays that of the terminal, whatever a program would like.
fn set_info(screen: &mut Screen, request: Request<'_>) -> Option<()> {
    let mask = request.field(0)?;
    if mask & SET_CURSOR_SHAPE != 0 {
        screen.cursor_size = request.half(4)?;
        screen.cursor_visible = request.half(6)? != 0;
    }
    if mask & SET_CURSOR != 0 {
        let (x, y) = (request.cells(8)?, request.cells(10)?);
        screen.cell(x, y)?;
        // A program that moves the cursor to where it is does not end a wrap.
        if screen.cursor() != (x, y) || screen.position().0 < screen.columns {
            screen.go(x, y);
        }
    }
    if mask & SET_ATTRIBUTES != 0 {
        screen.set_style(Style::from_attributes(request.half(16)?));
    }
    Some(())
}

/// What a program reads of a cell.
fn seen(cell: Cell, mode: u32) -> Vec<u8> {
    let mut unit = [0; 2];
    let unit = cell.character.encode_utf16(&mut unit)[0].to_le_bytes();
    let attributes = cell.style.attributes().to_le_bytes();
    match mode {
        TEXT => unit.to_vec(),
        ATTRIBUTES => attributes.to_vec(),
        _ => [unit, attributes].concat(),
    }
}

fn read(screen: &mut Screen, request: Request<'_>) -> Option<Answer> {
    let (x, y, mode) = (request.count(0)?, request.count(4)?, request.field(8)?);
    let (columns, rows) = (screen.columns, screen.rows);
    if mode < BOTH {
        let cells = (columns * rows).saturating_sub(y.saturating_mul(columns).saturating_add(x));
        let count = if x < columns { cells.min(request.room / 2) } else { 0 };
        let places = (0..count)
            .map(|index| (x + index) % columns)
            .zip((0..count).map(|index| y + (x + index) / columns));
        let data = places.filter_map(|(x, y)| Some(seen(*screen.cell(x, y)?, mode)));
        return Some(Answer::with(data.collect::<Vec<_>>().concat()));
    }
    let wide = request.count(12).filter(|wide| *wide > 0)?;
    screen.cell(x, y)?;
    let high = (request.room.checked_sub(8)? / wide.checked_mul(4)?).min(rows - y);
    let wide = wide.min(columns - x);
    let mut data = region(x, y, wide, high);
    for y in y..y + high {
        data.extend((x..x + wide).filter_map(|x| Some(seen(*screen.cell(x, y)?, mode))).flatten());
    }
    Some(Answer::with(data))
}

/// A `SMALL_RECT`.
fn region(x: usize, y: usize, wide: usize, high: usize) -> Vec<u8> {
    let corner = |start: usize, length: usize| (start + length).wrapping_sub(1);
    [x, y, corner(x, wide), corner(y, high)]
        .into_iter()
        .flat_map(|side| u16::try_from(side & 0xffff).unwrap_or_default().to_le_bytes())
        .collect()
}

/// Sets what a call has for a cell.
fn set(cell: &mut Cell, mode: u32, unit: u16, attributes: u16) {
    if mode != ATTRIBUTES {
        let shown = char::from_u32(u32::from(unit)).filter(|character| !character.is_control());
        cell.character = shown.unwrap_or(' ');
    }
    if mode != TEXT {
        cell.style = Style::from_attributes(attributes);
    }
}

fn write_cells(screen: &mut Screen, request: Request<'_>) -> Option<(Rows, Answer)> {
    const HEAD: usize = 16;
    let (x, y, mode) = (request.count(0)?, request.count(4)?, request.field(8)?);
    let wide = request.count(12)?;
    let size = if mode == BOTH { 4 } else { 2 };
    let count = request.data.len().checked_sub(HEAD)? / size;
    let (columns, rows) = (screen.columns, screen.rows);
    if mode > BOTH || (request.room == 8 && wide == 0) {
        return None;
    }
    let mut written = 0;
    for index in 0..count {
        let (column, row) = match wide {
            0 => ((x + index) % columns, y.checked_add((x + index) / columns)?),
            _ => (x.checked_add(index % wide)?, y.checked_add(index / wide)?),
        };
        if x >= columns || row >= rows {
            break;
        }
        written = index + 1;
        let first = request.half(HEAD + index * size)?;
        let second = request.half(HEAD + index * size + size - 2)?;
        if let Some(cell) = screen.cell(column, row) {
            set(cell, mode, first, second);
        }
    }
    let high = if wide == 0 { (x + count).div_ceil(columns) } else { count.div_ceil(wide) };
    let answer = if request.room == 8 {
        region(x, y, wide.min(columns.saturating_sub(x)), high.min(rows.saturating_sub(y)))
    } else {
        u32::try_from(written).unwrap_or(u32::MAX).to_le_bytes().to_vec()
    };
    Some((y..y.saturating_add(high), Answer::with(answer)))
}

fn fill(screen: &mut Screen, request: Request<'_>) -> Option<(Rows, Answer)> {
    let (x, y, mode) = (request.count(0)?, request.count(4)?, request.field(8)?);
    let (unit, attributes) = (request.half(20)?, request.half(22)?);
    let columns = screen.columns;
    let start = y.checked_mul(columns)?.checked_add(x)?;
    let count = request.count(12)?.min((columns * screen.rows).saturating_sub(start));
    for index in start..start + count {
        if let Some(cell) = screen.cell(index % columns, index / columns) {
            set(cell, mode, unit, attributes);
        }
    }
    let answer = u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    Some((start / columns..(start + count).div_ceil(columns), Answer::with(answer)))
}

/// Moves a rectangle; what it leaves is filled. Only what lies in the clipping rectangle changes.
fn scroll(screen: &mut Screen, request: Request<'_>) -> Option<Rows> {
    let side = |offset| Some(i32::from(request.half(offset)?.cast_signed()));
    let [left, top, right, bottom] = [side(0)?, side(2)?, side(4)?, side(6)?];
    let (to_x, to_y) = (side(8)?, side(10)?);
    let clip = [side(12)?, side(14)?, side(16)?, side(18)?];
    let (unit, attributes) = (request.half(20)?, request.half(22)?);
    let index = |cells: i32| usize::try_from(cells).ok();
    screen.cell(index(left)?, index(top)?)?;
    screen.cell(index(right)?, index(bottom)?)?;
    let rectangle = (left..=right, top..=bottom);
    let mut moved = Vec::new();
    for y in rectangle.1.clone() {
        for x in rectangle.0.clone() {
            moved.push((x - left + to_x, y - top + to_y, *screen.cell(index(x)?, index(y)?)?));
        }
    }
    let inside = |x: i32, y: i32| x >= clip[0] && y >= clip[1] && x <= clip[2] && y <= clip[3];
    for y in rectangle.1 {
        for x in rectangle.0.clone().filter(|x| inside(*x, y)) {
            set(screen.cell(index(x)?, index(y)?)?, BOTH, unit, attributes);
        }
    }
    for (x, y, cell) in moved {
        let place = index(x).zip(index(y)).filter(|_| inside(x, y));
        if let Some(place) = place.and_then(|(x, y)| screen.cell(x, y)) {
            *place = cell;
        }
    }
    Some(0..screen.rows)
}
