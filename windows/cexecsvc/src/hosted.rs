//! A process under the agent's care, from its creation to its last frame.
//!
//! ```text
//! CreateProcess ──▶ [creating] ──▶ Created ──▶ [running] ──exit──▶ [draining] ──▶ Exited
//!                       └────────▶ CreateFailed
//! ```
//!
//! Each process has threads of its own, so that none waits for another: one creates it and waits
//! for its end, one for each output pipe, and one for standard input. All frames of a process go
//! through its [`Channel`], which lets nothing follow `Exited`.

use std::fs::File;
use std::io::{Read, Write};
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

use oriel_hcs::bridge::{CreateFailure, Message, STREAM_CHUNK};
use oriel_hcs::{ConsoleSize, ControlEvent, ProcessId, ProcessParameters};

use crate::drain::Drain;
use crate::drivers::Drivers;
use crate::launch::Plan;
use crate::nt::console::PseudoConsole;
use crate::nt::job::Job;
use crate::nt::pipe::{self, Pipe};
use crate::nt::process::{Attachment, Image, Process};
use crate::nt::{Win32Error, control, object, system};
use crate::outbox::Outbox;
use crate::{boot, console, message};

/// What a process with a closed job reports when even its exit code cannot be had.
const UNKNOWN_EXIT: u32 = u32::MAX;

/// A process the host named.
pub(crate) struct Hosted {
    input: Sender<Input>,
    /// Set once the process exists.
    running: OnceLock<Running>,
}

/// What signals need of a process that exists.
struct Running {
    pid: u32,
    job: Job,
    has_console: bool,
    /// One resize at a time, in the order asked.
    resizing: Mutex<()>,
}

/// For standard input.
enum Input {
    Bytes(Vec<u8>),
    Close,
}

impl Hosted {
    /// Takes a process in hand. `gone` runs after its last frame.
    pub(crate) fn start(
        id: ProcessId,
        parameters: ProcessParameters,
        drivers: Arc<Drivers>,
        outbox: Arc<Outbox>,
        gone: impl FnOnce() + Send + 'static,
    ) -> Arc<Self> {
        let (input, inputs) = mpsc::channel();
        let hosted = Arc::new(Self { input, running: OnceLock::new() });
        let channel = Arc::new(Channel { id, outbox, finished: Mutex::new(false) });
        let mine = Arc::clone(&hosted);
        thread::spawn(move || {
            mine.live(&parameters, &drivers, &channel, inputs);
            gone();
        });
        hosted
    }

    /// Queues bytes for standard input; they are acknowledged when written or dropped.
    pub(crate) fn write(&self, bytes: Vec<u8>) {
        // The other end is there as long as this process may still send frames.
        let _ended = self.input.send(Input::Bytes(bytes));
    }

    /// Queues the end of standard input.
    pub(crate) fn close_input(&self) {
        let _ended = self.input.send(Input::Close);
    }

    /// Ends the process and its descendants.
    pub(crate) fn kill(&self, code: u32) {
        if let Some(Err(error)) = self.running.get().map(|running| running.job.terminate(code)) {
            boot::complain(&format!("cannot end a process: error {}", error.0));
        }
    }

    /// Delivers a console control event to the process and its descendants.
    pub(crate) fn signal(&self, event: ControlEvent) {
        let Some(running) = self.running.get() else { return };
        for pid in running.job.processes() {
            if let Err(error) = control::deliver(pid, event) {
                boot::complain(&format!("cannot signal process {pid}: error {}", error.0));
            }
        }
    }

    /// Changes the size of the console; does not wait for it.
    pub(crate) fn resize(self: &Arc<Self>, size: ConsoleSize) {
        let mine = Arc::clone(self);
        thread::spawn(move || {
            let Some(running) = mine.running.get().filter(|running| running.has_console) else {
                return;
            };
            let _turn = locked(&running.resizing);
            if let Err(error) = console::resize(running.pid, size) {
                boot::complain(&format!("cannot resize a console: error {}", error.0));
            }
        });
    }

    fn live(
        &self,
        parameters: &ProcessParameters,
        drivers: &Drivers,
        channel: &Arc<Channel>,
        inputs: Receiver<Input>,
    ) {
        let Born { process, job, mut pipes } = match Born::new(parameters, drivers) {
            Ok(born) => born,
            Err(error) => return channel.send(Message::CreateFailed(failure(error))),
        };
        let pid = process.pid;
        let has_console = pipes.console.is_some();
        let running = Running { pid, job, has_console, resizing: Mutex::new(()) };
        let _first = self.running.set(running);
        channel.send(Message::Created(pid));
        let keyboard = has_console.then_some(pid);
        let standard_input = pipes.input.take().map(File::from);
        let feeder = Arc::clone(channel);
        thread::spawn(move || feed(&feeder, standard_input, keyboard, &inputs));
        let outputs = Outputs::pump(channel, pipes.output.take(), pipes.error.take());
        let code = process.wait().unwrap_or(UNKNOWN_EXIT);
        // Closing the console makes it write what it still holds and end its output.
        drop(pipes.console.take());
        outputs.finish();
        channel.finish(code);
    }
}

/// The agent's ends of a process's standard handles.
struct Pipes {
    input: Option<OwnedHandle>,
    output: Option<OwnedHandle>,
    error: Option<OwnedHandle>,
    console: Option<PseudoConsole>,
}

/// A process just created.
struct Born {
    process: Process,
    job: Job,
    pipes: Pipes,
}

impl Born {
    fn new(parameters: &ProcessParameters, drivers: &Drivers) -> Result<Self, Win32Error> {
        let plan = Plan::new(parameters)?;
        drivers.wait();
        let job = Job::new()?;
        let image = Image {
            application: &plan.application,
            command_line: &plan.command_line,
            directory: &plan.directory,
            environment: &plan.environment,
            token: plan.token.as_ref(),
            job: &job,
        };
        let (process, pipes) = match parameters.console {
            Some(size) => on_console(&image, size)?,
            None => on_pipes(&image, parameters.stdin)?,
        };
        Ok(Self { process, job, pipes })
    }
}

fn on_pipes(image: &Image, stdin: bool) -> Result<(Process, Pipes), Win32Error> {
    let (input, output, error) = (Pipe::new()?, Pipe::new()?, Pipe::new()?);
    let theirs = [&input.read, &output.write, &error.write];
    for handle in theirs {
        pipe::inherit(handle)?;
    }
    let standard = theirs.map(AsHandle::as_handle);
    let process = Process::create(image, &Attachment { standard, console: None })?;
    let pipes = Pipes {
        input: stdin.then_some(input.write),
        output: Some(output.read),
        error: Some(error.read),
        console: None,
    };
    Ok((process, pipes))
}

fn on_console(image: &Image, size: ConsoleSize) -> Result<(Process, Pipes), Win32Error> {
    let (input, output) = (Pipe::new()?, Pipe::new()?);
    let console = PseudoConsole::new(size, &input.read, &output.write)?;
    let keyboard = object::console_handle("\\Device\\ConDrv\\Input")?;
    let screen = object::console_handle("\\Device\\ConDrv\\Output")?;
    let errors = object::console_handle("\\Device\\ConDrv\\Output")?;
    let theirs = [&keyboard, &screen, &errors];
    for handle in theirs {
        pipe::inherit(handle)?;
    }
    let standard = theirs.map(AsHandle::as_handle);
    let process = Process::create(image, &Attachment { standard, console: Some(&console) })?;
    let pipes = Pipes {
        input: Some(input.write),
        output: Some(output.read),
        error: None,
        console: Some(console),
    };
    Ok((process, pipes))
}

/// Writes standard input until it is closed, then only acknowledges. A console has no end of
/// input: its pipe stays open until the process has ended.
fn feed(
    channel: &Channel,
    mut input: Option<File>,
    keyboard: Option<u32>,
    queue: &Receiver<Input>,
) {
    for item in queue {
        match item {
            Input::Bytes(bytes) => {
                let written = match (input.as_mut(), keyboard) {
                    (Some(input), Some(pid)) => console::type_bytes(input, pid, &bytes),
                    (Some(input), None) => input.write_all(&bytes),
                    (None, _) => Ok(()),
                };
                if written.is_err() {
                    input = None;
                }
                let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                channel.send(Message::StdinTaken(count));
            }
            Input::Close if keyboard.is_none() => input = None,
            Input::Close => {}
        }
    }
}

/// The pumps of a process's output.
struct Outputs {
    shared: Arc<(Mutex<Drain>, Condvar)>,
}

impl Outputs {
    fn pump(
        channel: &Arc<Channel>,
        output: Option<OwnedHandle>,
        error: Option<OwnedHandle>,
    ) -> Self {
        let ends: [(_, fn(Vec<u8>) -> Message); 2] =
            [(output, Message::Stdout), (error, Message::Stderr)];
        let open = ends.iter().filter(|(handle, _)| handle.is_some()).count();
        let drain = Drain::new(u32::try_from(open).unwrap_or_default());
        let shared = Arc::new((Mutex::new(drain), Condvar::new()));
        for (handle, wrap) in ends {
            let Some(handle) = handle else { continue };
            let (channel, shared) = (Arc::clone(channel), Arc::clone(&shared));
            thread::spawn(move || forward(File::from(handle), wrap, &channel, &shared));
        }
        Self { shared }
    }

    /// Waits until the output of the process, which has ended, counts as complete.
    fn finish(&self) {
        let (drain, changed) = &*self.shared;
        let mut drain = locked(drain);
        drain.exited(Instant::now());
        loop {
            drain = match drain.remaining(Instant::now()) {
                Some(rest) if rest.is_zero() => return,
                Some(rest) => {
                    changed.wait_timeout(drain, rest).unwrap_or_else(PoisonError::into_inner).0
                }
                None => changed.wait(drain).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Forwards a pipe to its end, and past the last frame into nothing: see [`crate::drain`].
fn forward(
    mut pipe: File,
    wrap: fn(Vec<u8>) -> Message,
    channel: &Channel,
    shared: &(Mutex<Drain>, Condvar),
) {
    let (drain, changed) = shared;
    let mut buffer = vec![0; STREAM_CHUNK];
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        locked(drain).forward(u64::try_from(count).unwrap_or(u64::MAX));
        channel.send(wrap(buffer[..count].to_vec()));
        locked(drain).forwarded(Instant::now());
        changed.notify_all();
    }
    locked(drain).ended();
    changed.notify_all();
}

/// The frames of one process. Nothing follows the last.
struct Channel {
    id: ProcessId,
    outbox: Arc<Outbox>,
    finished: Mutex<bool>,
}

impl Channel {
    fn send(&self, message: Message) {
        let finished = locked(&self.finished);
        if !*finished {
            // A broken bridge ends the silo; the reading side of the agent notices it too.
            let _broken = self.outbox.send(self.id, message);
        }
    }

    fn finish(&self, code: u32) {
        let mut finished = locked(&self.finished);
        *finished = true;
        let _broken = self.outbox.send(self.id, Message::Exited(code));
    }
}

/// What a client is told about an error.
fn failure(Win32Error(code): Win32Error) -> CreateFailure {
    let message = message::text(code).map_or_else(|| system::message(code), str::to_owned);
    CreateFailure { code, message }
}

/// Locks; the data of these locks is whole after every statement, so poison means nothing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
