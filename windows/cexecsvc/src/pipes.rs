//! Named pipes that lead to sockets of the host.
//!
//! For each pipe there is always one instance that waits for a client, as long as there is room.
//! Each client has two threads, one for each direction, and at most a window of pieces on its way:
//! a host that does not read holds up the client, and the other way round.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use oriel_hcs::ProcessId;
use oriel_hcs::bridge::{MAX_PIPES, Message, PIPE_WINDOW, STREAM_CHUNK};

use crate::boot::complain;
use crate::nt::named::NamedPipe;
use crate::outbox::Outbox;

/// All pipes of the silo.
pub(crate) struct Pipes {
    outbox: Arc<Outbox>,
    books: Mutex<Books>,
    /// Something was taken, or has ended.
    changed: Condvar,
}

#[derive(Default)]
struct Books {
    last: u32,
    connections: BTreeMap<ProcessId, Connection>,
}

/// A client under way.
struct Connection {
    /// What the host has for it; dropping this ends the writing thread.
    output: Sender<FromHost>,
    /// Pieces that the host has not taken yet.
    under_way: usize,
}

/// What the host says about a connection.
enum FromHost {
    Data(Vec<u8>),
    Closed,
}

impl Pipes {
    /// Serves pipes of these names; they exist when this returns.
    pub(crate) fn serve(names: &[String], outbox: Arc<Outbox>) -> Arc<Self> {
        let pipes = Arc::new(Self { outbox, books: Mutex::default(), changed: Condvar::new() });
        for (index, name) in (0..).zip(names.iter().cloned()) {
            match NamedPipe::new(&name) {
                Ok(first) => {
                    let mine = Arc::clone(&pipes);
                    thread::spawn(move || mine.listen(index, &name, first));
                }
                Err(error) => complain(&format!("cannot make the pipe {name}: error {}", error.0)),
            }
        }
        pipes
    }

    /// Takes what the host says about a connection.
    pub(crate) fn take(&self, id: ProcessId, message: Message) {
        let mut books = self.books();
        let Some(connection) = books.connections.get_mut(&id) else { return };
        match message {
            Message::PipeData(bytes) => {
                // The client may be going.
                let _gone = connection.output.send(FromHost::Data(bytes));
            }
            Message::PipeTaken => connection.under_way = connection.under_way.saturating_sub(1),
            // The host's half ends with the connection.
            Message::PipeClosed => {
                if let Some(connection) = books.connections.remove(&id) {
                    let _gone = connection.output.send(FromHost::Closed);
                }
            }
            _ => {}
        }
        drop(books);
        self.changed.notify_all();
    }

    fn listen(self: Arc<Self>, index: u32, name: &str, first: NamedPipe) {
        let mut waiting = first;
        loop {
            if let Err(error) = waiting.connect() {
                // A client that came and went; the next instance is for the next.
                complain(&format!("a client of {name} was lost: error {}", error.0));
            } else {
                Arc::clone(&self).open(index, Arc::new(waiting));
            }
            self.wait_for_room();
            waiting = match NamedPipe::new(name) {
                Ok(pipe) => pipe,
                Err(error) => {
                    return complain(&format!("the pipe {name} ends: error {}", error.0));
                }
            };
        }
    }

    fn wait_for_room(&self) {
        let mut books = self.books();
        while books.connections.len() >= MAX_PIPES {
            books = self.changed.wait(books).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn open(self: Arc<Self>, index: u32, pipe: Arc<NamedPipe>) {
        let (output, from_host) = mpsc::channel();
        let id = {
            let mut books = self.books();
            books.last = books.last.wrapping_add(1);
            let id = ProcessId(books.last);
            books.connections.insert(id, Connection { output, under_way: 0 });
            id
        };
        self.say(id, Message::PipeOpened(index));
        let (mine, theirs) = (Arc::clone(&self), Arc::clone(&pipe));
        thread::spawn(move || mine.write(id, &theirs, &from_host));
        thread::spawn(move || self.read(id, &pipe));
    }

    /// From the host to the client.
    fn write(&self, id: ProcessId, pipe: &NamedPipe, from_host: &Receiver<FromHost>) {
        for said in from_host {
            match said {
                FromHost::Data(bytes) => {
                    if pipe.write(&bytes).is_err() {
                        break;
                    }
                    self.say(id, Message::PipeTaken);
                }
                FromHost::Closed => {
                    pipe.flush();
                    break;
                }
            }
        }
        pipe.stop();
    }

    /// From the client to the host, until the client is gone.
    fn read(&self, id: ProcessId, pipe: &NamedPipe) {
        let mut buffer = vec![0; STREAM_CHUNK];
        while let Ok(count) = pipe.read(&mut buffer) {
            if count > 0 && !self.wait_for_window(id) {
                break;
            }
            let message = match count {
                0 => Message::PipeEnd,
                _ => Message::PipeData(buffer[..count].to_vec()),
            };
            self.say(id, message);
        }
        if self.books().connections.remove(&id).is_some() {
            self.say(id, Message::PipeClosed);
        }
        self.changed.notify_all();
    }

    /// Waits until another piece may be under way; `false` when the connection is over.
    fn wait_for_window(&self, id: ProcessId) -> bool {
        let mut books = self.books();
        loop {
            let Some(connection) = books.connections.get_mut(&id) else { return false };
            if connection.under_way < PIPE_WINDOW {
                connection.under_way += 1;
                return true;
            }
            books = self.changed.wait(books).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn say(&self, id: ProcessId, message: Message) {
        // A broken bridge ends the silo; the reading side of the agent notices it too.
        let _broken = self.outbox.send(id, message);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
