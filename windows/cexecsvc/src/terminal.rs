//! A console and the threads that serve it: one takes the calls of programs, and whoever has input
//! brings it.
//!
//! ```text
//! programs ──calls──▶ wineserver's queue ──▶ serving thread ─┐
//! client ──Stdin, Resize──▶ feeding thread ─────────────────┼─▶ Console ──▶ Stdout frames
//! ```
//!
//! What wineserver is told about one state of the console is told under the lock of that state;
//! output is sent outside of it, in order, so that a client that takes none holds up the program
//! that prints and not the keys.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use oriel_hcs::ConsoleSize;
use oriel_hcs::bridge::STREAM_CHUNK;

use crate::console::{Answer, Codec, Console, Request, SUCCESS};
use crate::nt::condrv::{self, Next, Reference, Server};
use crate::nt::{Win32Error, text};

/// Takes a piece of output on its way to the client.
pub(crate) type Sink = Box<dyn Fn(Vec<u8>) + Send + Sync>;

/// A console that nobody serves yet.
pub(crate) struct Terminal {
    shared: Shared,
    reference: Reference,
}

impl Terminal {
    /// A console of this size.
    pub(crate) fn new(size: ConsoleSize) -> Result<Self, Win32Error> {
        let (server, reference) = condrv::console()?;
        let codec = Codec { decode: text::decode, encode: text::encode };
        let console = Mutex::new(Console::new(size, text::console_page(), codec));
        let shared = Shared { server, console, sink: Mutex::new(Box::new(|_| {})) };
        Ok(Self { shared, reference })
    }

    /// What puts a process on it.
    pub(crate) fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Begins to serve.
    pub(crate) fn serve(self, sink: Sink) -> Serving {
        *locked(&self.shared.sink) = sink;
        let shared = Arc::new(self.shared);
        let mine = Arc::clone(&shared);
        let thread = thread::spawn(move || mine.serve());
        Serving { keyboard: Keyboard(shared), thread, _reference: self.reference }
    }
}

/// A console that is served.
pub(crate) struct Serving {
    keyboard: Keyboard,
    thread: JoinHandle<()>,
    _reference: Reference,
}

impl Serving {
    /// Where the client's side of it goes in.
    pub(crate) fn keyboard(&self) -> Keyboard {
        self.keyboard.clone()
    }

    /// Ends it, after everything that was printed. Who is still on it gets errors.
    pub(crate) fn finish(self) {
        let shared = &self.keyboard.0;
        shared.server.stop();
        // It ends by itself, or by this.
        let _ended = self.thread.join();
        locked(&shared.console).close();
        shared.flush();
    }
}

/// The client's side of a console.
#[derive(Clone)]
pub(crate) struct Keyboard(Arc<Shared>);

impl Keyboard {
    /// Types bytes.
    pub(crate) fn type_bytes(&self, bytes: &[u8]) {
        self.0.bring(|console| console.type_bytes(bytes));
    }

    /// Changes the size.
    pub(crate) fn resize(&self, size: ConsoleSize) {
        self.0.bring(|console| console.resize(size));
    }
}

struct Shared {
    server: Server,
    console: Mutex<Console>,
    /// Locked while output is sent, so that it stays in order.
    sink: Mutex<Sink>,
}

impl Shared {
    fn serve(&self) {
        let (mut answer, mut buffer) = (Answer { status: SUCCESS, data: Vec::new() }, Vec::new());
        while self.server.wait() {
            loop {
                match self.step(&answer, &mut buffer) {
                    Step::Done(next) => answer = next,
                    Step::Nothing => break,
                    Step::Gone => return,
                }
                self.flush();
            }
            answer = Answer { status: SUCCESS, data: Vec::new() };
        }
    }

    /// Answers the last call, takes the next and carries it out. All of it under the lock: a key
    /// that came between taking a read and noting it would find nobody reading.
    fn step(&self, last: &Answer, buffer: &mut Vec<u8>) -> Step {
        let mut console = locked(&self.console);
        match self.server.next((last.status, &last.data), console.has_input(), buffer) {
            Next::Nothing => Step::Nothing,
            Next::Gone => Step::Gone,
            Next::Call { code, output, room, size } => {
                let room = usize::try_from(room).unwrap_or(0);
                let answer = console.request(Request { code, output, data: &buffer[..size], room });
                self.tell(&mut console);
                Step::Done(answer)
            }
        }
    }

    fn bring(&self, what: impl FnOnce(&mut Console)) {
        let mut console = locked(&self.console);
        what(&mut console);
        if !self.tell(&mut console) && !console.is_reading() {
            // Nobody reads: those who wait for the console's handle are to know of the input.
            self.server.finish_read((SUCCESS, &[]), console.has_input());
        }
        drop(console);
        self.flush();
    }

    /// Tells programs what has become of the console; whether a read was answered.
    fn tell(&self, console: &mut Console) -> bool {
        for event in console.take_events() {
            self.server.send(event);
        }
        let Some(answer) = console.take_read() else { return false };
        self.server.finish_read((answer.status, &answer.data), console.has_input());
        true
    }

    fn flush(&self) {
        let sink = locked(&self.sink);
        let output = locked(&self.console).take_output();
        for piece in output.chunks(STREAM_CHUNK) {
            sink(piece.to_vec());
        }
    }
}

/// How a step of serving went.
enum Step {
    /// A call was carried out; this is its answer.
    Done(Answer),
    /// There is none for now.
    Nothing,
    /// Nobody is on the console any more.
    Gone,
}

/// Locks; a console is whole after every statement that may panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
