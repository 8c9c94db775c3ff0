//! The console of a process that a client has a terminal for.
//!
//! Wine's own console host passes escape sequences on as if they were text: it counts them as
//! cells, so that lines with colours are broken in their middle and the cursor is not where it
//! thinks. It has no resize, ends at a Ctrl+C byte, and does not know the Home and End keys of half
//! of the terminals. So the agent is the console host itself (docs/adr/0011).
//!
//! ```text
//!   client's terminal                          programs of the container
//!   UTF-8, escape sequences                    calls on console handles
//!        │  ▲                                      │ ▲
//!   keys ▼  │ display                      request ▼ │ answer
//!       ┌───┴──────────────────────────────────────┴─┴──┐
//!       │ Console: records, line being edited, screens  │
//!       └───────────────────────────────────────────────┘
//! ```
//!
//! Everything here is a rule: no system call, no clock, no thread. `terminal` brings the calls in
//! and carries out what comes of them.

mod display;
mod escape;
mod input;
mod keys;
mod line;
mod output;
mod request;
mod screen;
mod style;

use std::collections::BTreeMap;

use oriel_hcs::ConsoleSize;

use self::display::Display;
use self::input::{Read, Record, Records, Wanted};
use self::keys::Keyboard;
use self::line::{Echo, History, Line};
pub use self::request::{Answer, Request, SUCCESS};
use self::request::{INVALID_HANDLE, INVALID_PARAMETER, NOT_SUPPORTED, function};
use self::screen::Screen;

/// Most columns and rows; a terminal that claims more is shown this many.
const MOST: u16 = 1000;

/// The screen buffer that a console begins with.
const FIRST: u32 = 1;

/// Windows' conversions between text and bytes of a code page.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    /// Bytes to UTF-16.
    pub decode: fn(u32, &[u8]) -> Vec<u16>,
    /// UTF-16 to bytes.
    pub encode: fn(u32, &[u16]) -> Vec<u8>,
}

/// UTF-8 as a code page.
const UTF_8: u32 = 65001;

/// A console; see the module.
pub struct Console {
    columns: usize,
    rows: usize,
    screens: BTreeMap<u32, Screen>,
    active: u32,
    display: Display,
    /// Whether the terminal was cleared, so that both sides agree on what is where.
    begun: bool,
    title: Vec<u16>,
    codec: Codec,
    /// Code pages of bytes read and written.
    pages: (u32, u32),
    /// The beginning of a UTF-8 character whose end is still to be written.
    half_written: Vec<u8>,
    mode: u32,
    keyboard: Keyboard,
    records: Records,
    history: History,
    line: Option<(Line, Echo)>,
    /// Whether Ctrl+C emptied the line, and nobody has typed or printed since.
    interrupted: bool,
    /// Text of an entered line that did not fit into the read.
    entered: Vec<u16>,
    read: Option<Read>,
    completed: Option<Answer>,
    events: Vec<u32>,
}

impl Console {
    /// A console for a terminal of this size. `page` is the code page it begins with.
    #[must_use]
    pub fn new(size: ConsoleSize, page: u32, codec: Codec) -> Self {
        let (columns, rows) = sides(size);
        Self {
            columns,
            rows,
            screens: BTreeMap::from([(FIRST, Screen::new(columns, rows))]),
            active: FIRST,
            display: Display::new(columns),
            begun: false,
            title: Vec::new(),
            codec,
            pages: (page, page),
            half_written: Vec::new(),
            mode: input::DEFAULT_MODE,
            keyboard: Keyboard::default(),
            records: Records::default(),
            history: History::default(),
            line: None,
            interrupted: false,
            entered: Vec::new(),
            read: None,
            completed: None,
            events: Vec::new(),
        }
    }

    /// Takes a call. A read is answered by [`Self::take_read`], perhaps much later; the answer
    /// here says only that it is one.
    pub fn request(&mut self, request: Request<'_>) -> Answer {
        let answer = match request.function() {
            function::INIT_OUTPUT => {
                self.screens.insert(request.output, Screen::new(self.columns, self.rows));
                Answer::done()
            }
            _ if request.output == 0 => self.input_request(request),
            _ => self.output_request(request),
        };
        if self.begun
            && let Some(screen) = self.screens.get(&self.active)
        {
            screen.settle(&mut self.display);
        }
        answer
    }

    /// Takes what was typed.
    pub fn type_bytes(&mut self, bytes: &[u8]) {
        let verbatim = self.mode & input::TERMINAL != 0;
        for key in self.keyboard.take(bytes, verbatim) {
            self.add(Record::key(key, true));
            self.add(Record::key(key, false));
        }
        self.serve_read();
        if let Some(screen) = self.screens.get(&self.active).filter(|_| self.begun) {
            screen.settle(&mut self.display);
        }
    }

    /// Changes the size, and draws everything again: by that a terminal that has just come shows
    /// what one that has left did.
    pub fn resize(&mut self, size: ConsoleSize) {
        let (columns, rows) = sides(size);
        let changed = (columns, rows) != (self.columns, self.rows);
        (self.columns, self.rows) = (columns, rows);
        for screen in self.screens.values_mut().filter(|_| changed) {
            screen.resize(columns, rows);
        }
        if changed && self.mode & input::WINDOW != 0 {
            self.add(Record::size(columns, rows));
            self.serve_read();
        }
        self.display.resized(columns);
        if let Some((line, echo)) = &mut self.line
            && let Some(screen) = self.screens.get_mut(&self.active)
        {
            // The line may have been broken elsewhere; from here on it is where the cursor is.
            *echo = Echo::new(screen, &line.text[..line.cursor]);
        }
        if self.begun
            && let Some(screen) = self.screens.get(&self.active)
        {
            screen.repaint(&mut self.display);
        }
    }

    /// Leaves the client's terminal as its user wants it.
    pub fn close(&mut self) {
        if self.begun
            && let Some(screen) = self.screens.get_mut(&self.active)
        {
            screen.leave(&mut self.display);
        }
    }

    /// What is to be sent to the terminal.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.display.take()
    }

    /// The answer to the read that waited.
    pub fn take_read(&mut self) -> Option<Answer> {
        self.completed.take()
    }

    /// Whether a read waits.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.read.is_some()
    }

    /// Control events to be sent to the programs, by their numbers in `wincon.h`.
    pub fn take_events(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.events)
    }

    /// Whether there is input, for those who wait for the console's handle.
    #[must_use]
    pub fn has_input(&self) -> bool {
        !self.records.0.is_empty()
    }

    fn input_request(&mut self, request: Request<'_>) -> Answer {
        let number = |value: u32| Answer::with(value.to_le_bytes().to_vec());
        match request.function() {
            function::GET_MODE => number(self.mode),
            function::SET_MODE => match request.field(0) {
                Some(mode) => {
                    self.mode = mode;
                    Answer::done()
                }
                None => Answer::failed(INVALID_PARAMETER),
            },
            function::IS_UNIX => Answer::failed(NOT_SUPPORTED),
            function::READ_CONSOLE
            | function::READ_CONSOLE_CONTROL
            | function::READ_FILE
            | function::READ_INPUT => self.begin_read(request),
            function::WRITE_INPUT => {
                for record in request.data.as_chunks().0 {
                    self.add(Record(*record));
                }
                self.serve_read();
                Answer::done()
            }
            function::PEEK => Answer::with(self.records.bytes(request.room)),
            function::GET_INPUT_COUNT => {
                number(u32::try_from(self.records.0.len()).unwrap_or(u32::MAX))
            }
            function::FLUSH => {
                self.records.0.clear();
                Answer::done()
            }
            function::GET_INPUT_INFO => {
                let (read, written) = self.pages;
                Answer::with([read.to_le_bytes(), written.to_le_bytes()].concat())
            }
            function::SET_INPUT_INFO => self.set_pages(request),
            function::GET_TITLE => self.title(request),
            function::SET_TITLE => self.set_title(request.text(0)),
            function::BEEP => {
                self.display.raw("\x07");
                Answer::done()
            }
            // There is no window.
            function::GET_WINDOW => number(0),
            _ => Answer::failed(INVALID_HANDLE),
        }
    }

    fn set_pages(&mut self, request: Request<'_>) -> Answer {
        let fields = (request.field(0), request.field(4), request.field(8));
        let (Some(mask), Some(read), Some(written)) = fields else {
            return Answer::failed(INVALID_PARAMETER);
        };
        if mask & 1 != 0 {
            self.pages.0 = read;
        }
        if mask & 2 != 0 {
            self.pages.1 = written;
        }
        Answer::done()
    }

    /// The title: its length, and as much of it as fits.
    fn title(&self, request: Request<'_>) -> Answer {
        const HEAD: usize = 8;
        let length = u32::try_from(self.title.len()).unwrap_or(u32::MAX);
        let text = request::bytes(&self.title);
        let fits = text.len().min(request.room.saturating_sub(HEAD));
        let mut data = length.to_le_bytes().to_vec();
        data.extend_from_slice(&text[..fits]);
        data.resize(HEAD + fits, 0);
        Answer::with(data)
    }

    fn set_title(&mut self, title: Vec<u16>) -> Answer {
        let text: String = String::from_utf16_lossy(&title);
        let shown: String = text.chars().filter(|character| !character.is_control()).collect();
        self.begin();
        self.display.raw(&format!("\x1b]0;{shown}\x07"));
        self.title = title;
        Answer::done()
    }

    /// Clears the terminal, once, before anything is drawn.
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.display.raw("\x1b[2J\x1b[m\x1b[H");
            self.display.begin();
        }
    }

    /// Adds an input record, or does what it means.
    fn add(&mut self, record: Record) {
        let event = record.event().filter(|_| self.mode & input::PROCESSED != 0);
        let Some(event) = event else { return self.records.push(record) };
        if record.pressed().is_none() {
            return;
        }
        self.serve_read();
        self.events.push(event);
        if self.line.is_some() && event == 0 {
            self.interrupt();
        }
    }

    /// Empties the line being edited. A program that goes on says something first: then its read
    /// ends, so that a shell asks anew.
    fn interrupt(&mut self) {
        let Some((mut line, mut echo)) = self.line.take() else { return };
        if self.mode & input::ECHO != 0 {
            line.cursor = line.text.len();
            self.draw(&line, &mut echo);
            self.print(&[u16::from(b'^'), u16::from(b'C')]);
        }
        if let Some(screen) = self.screens.get(&self.active) {
            self.line = Some((Line::default(), Echo::new(screen, &[])));
            self.interrupted = true;
        }
    }

    /// Ends the read of a line that Ctrl+C emptied.
    fn end_interrupted(&mut self) {
        if std::mem::take(&mut self.interrupted) && self.line.take().is_some() {
            self.deliver(vec![u16::from(b'\r'), u16::from(b'\n')], 0);
        }
    }

    fn begin_read(&mut self, request: Request<'_>) -> Answer {
        let wanted = match request.function() {
            function::READ_INPUT => Wanted::Records,
            function::READ_CONSOLE => Wanted::Text,
            function::READ_CONSOLE_CONTROL => Wanted::TextAndState,
            _ => Wanted::Bytes,
        };
        let control = wanted == Wanted::TextAndState;
        let room = request.room.saturating_sub(if control { 4 } else { 0 });
        let stops = if control { request.field(0).unwrap_or(0) } else { 0 };
        self.read = Some(Read { wanted, room, stops });
        if wanted != Wanted::Records && (room == 0 || !self.entered.is_empty()) {
            let entered = std::mem::take(&mut self.entered);
            self.deliver(entered, 0);
            return Answer::done();
        }
        if wanted != Wanted::Records && self.mode & input::LINE != 0 {
            let there = if control { request.text(4) } else { Vec::new() };
            if let Some(screen) = self.screens.get(&self.active) {
                let echo = Echo::new(screen, &there);
                self.line = Some((Line::new(there), echo));
            }
        }
        self.serve_read();
        Answer::done()
    }

    /// Gives the read that waits what there is for it.
    fn serve_read(&mut self) {
        let Some(Read { wanted, room, .. }) = self.read else { return };
        if wanted == Wanted::Records {
            if room < Record::SIZE || !self.records.0.is_empty() {
                let data = self.records.bytes(room);
                self.records.0.drain(..data.len() / Record::SIZE);
                self.read = None;
                self.completed = Some(Answer::with(data));
            }
        } else if self.line.is_some() {
            self.edit();
        } else {
            let mut text = Vec::new();
            while text.len() < room.div_ceil(2)
                && let Some(key) = self.records.next_key()
            {
                text.extend(Some(key.unit).filter(|unit| *unit != 0));
            }
            if !text.is_empty() {
                self.deliver(text, 0);
            }
        }
    }

    /// Lets keys edit the line until it is entered.
    fn edit(&mut self) {
        let Some((mut line, mut echo)) = self.line.take() else { return };
        let stops = self.read.as_ref().map_or(0, |read| read.stops);
        let echoed = self.mode & input::ECHO != 0;
        while let Some(key) = self.records.next_key() {
            self.interrupted = false;
            let stop = key.unit < 0x20 && key.unit != 0 && stops & 1 << key.unit != 0;
            if stop {
                line.text.insert(line.cursor, key.unit);
                return self.deliver(line.text, key.state);
            }
            if line.press(key, &mut self.history) {
                if echoed {
                    line.cursor = line.text.len();
                    self.draw(&line, &mut echo);
                    self.print(&[u16::from(b'\r'), u16::from(b'\n')]);
                }
                line.text.push(u16::from(b'\r'));
                if self.mode & input::PROCESSED != 0 {
                    line.text.push(u16::from(b'\n'));
                }
                return self.deliver(line.text, 0);
            }
        }
        if echoed {
            self.draw(&line, &mut echo);
        }
        self.line = Some((line, echo));
    }

    fn draw(&mut self, line: &Line, echo: &mut Echo) {
        self.begin();
        if let Some(screen) = self.screens.get_mut(&self.active) {
            echo.draw(line, screen, &mut self.display);
        }
    }

    /// Gives the read that waits some text. What does not fit waits for the next.
    fn deliver(&mut self, mut text: Vec<u16>, state: u32) {
        const END_OF_FILE: u16 = 0x1a;
        let Some(Read { wanted, room, .. }) = self.read.take() else { return };
        let data = match wanted {
            Wanted::Bytes if self.mode & input::LINE != 0 && text.first() == Some(&END_OF_FILE) => {
                Vec::new()
            }
            Wanted::Bytes => {
                let (data, taken) = self.encoded(&text, room);
                self.entered = text.split_off(taken);
                data
            }
            _ => {
                self.entered = text.split_off(text.len().min(room / 2));
                request::bytes(&text)
            }
        };
        let head = if wanted == Wanted::TextAndState { &state.to_le_bytes()[..] } else { &[] };
        self.completed = Some(Answer::with([head, &data].concat()));
    }

    /// As much of a text as fits, and how many units that is: at least one character.
    fn encoded(&self, text: &[u16], room: usize) -> (Vec<u8>, usize) {
        let (mut data, mut taken) = (Vec::new(), 0);
        while taken < text.len() {
            let pair = matches!(text[taken..], [0xd800..0xdc00, 0xdc00..0xe000, ..]);
            let next = taken + 1 + usize::from(pair);
            let bytes = (self.codec.encode)(self.pages.0, &text[taken..next]);
            if taken > 0 && data.len() + bytes.len() > room {
                break;
            }
            data.extend(bytes);
            taken = next;
        }
        data.truncate(room);
        (data, taken)
    }
}

/// A size that a console can have.
fn sides(size: ConsoleSize) -> (usize, usize) {
    let side = |cells: u16| usize::from(cells.clamp(1, MOST));
    (side(size.width), side(size.height))
}

#[cfg(test)]
mod tests;
