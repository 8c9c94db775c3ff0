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
use crate::nt::job::Job;
use crate::nt::pipe::{self, Pipe};
use crate::nt::process::{Attachment, Image, Process};
use crate::nt::{Win32Error, condrv, control, system};
use crate::outbox::Outbox;
use crate::terminal::{Keyboard, Terminal};
use crate::{boot, message};

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
    job: Job,
}

/// For standard input, or the console.
enum Input {
    Bytes(Vec<u8>),
    Close,
    Resize(ConsoleSize),
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

    /// Queues a change of the console's size, behind what was typed before.
    pub(crate) fn resize(&self, size: ConsoleSize) {
        let _ended = self.input.send(Input::Resize(size));
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
        let _first = self.running.set(Running { job });
        channel.send(Message::Created(process.pid));
        let screen = Arc::clone(channel);
        let sink = Box::new(move |bytes| screen.send(Message::Stdout(bytes)));
        let terminal = pipes.terminal.take().map(|terminal| terminal.serve(sink));
        let standard_input = match (&terminal, pipes.input.take()) {
            (Some(terminal), _) => StandardInput::Console(terminal.keyboard()),
            (None, Some(pipe)) => StandardInput::Pipe(File::from(pipe)),
            (None, None) => StandardInput::Closed,
        };
        let feeder = Arc::clone(channel);
        thread::spawn(move || feed(&feeder, standard_input, &inputs));
        let outputs = Outputs::pump(channel, pipes.output.take(), pipes.error.take());
        let code = process.wait().unwrap_or(UNKNOWN_EXIT);
        if let Some(terminal) = terminal {
            terminal.finish();
        }
        outputs.finish();
        channel.finish(code);
    }
}

/// The agent's ends of a process's standard handles.
struct Pipes {
    input: Option<OwnedHandle>,
    output: Option<OwnedHandle>,
    error: Option<OwnedHandle>,
    terminal: Option<Terminal>,
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
        terminal: None,
    };
    Ok((process, pipes))
}

fn on_console(image: &Image, size: ConsoleSize) -> Result<(Process, Pipes), Win32Error> {
    let terminal = Terminal::new(size)?;
    let [keyboard, screen, errors] =
        [condrv::standard("Input")?, condrv::standard("Output")?, condrv::standard("Output")?];
    let theirs = [&keyboard, &screen, &errors];
    for handle in theirs {
        pipe::inherit(handle)?;
    }
    let standard = theirs.map(AsHandle::as_handle);
    let console = Some(terminal.reference());
    let process = Process::create(image, &Attachment { standard, console })?;
    let pipes = Pipes { input: None, output: None, error: None, terminal: Some(terminal) };
    Ok((process, pipes))
}

/// Where a process's input goes.
enum StandardInput {
    Pipe(File),
    Console(Keyboard),
    Closed,
}

/// Writes standard input until it is closed, then only acknowledges. A console has no end of
/// input.
fn feed(channel: &Channel, mut input: StandardInput, queue: &Receiver<Input>) {
    for item in queue {
        match (item, &mut input) {
            (Input::Bytes(bytes), _) => {
                let written = match &mut input {
                    StandardInput::Console(keyboard) => {
                        keyboard.type_bytes(&bytes);
                        Ok(())
                    }
                    StandardInput::Pipe(pipe) => pipe.write_all(&bytes),
                    StandardInput::Closed => Ok(()),
                };
                if written.is_err() {
                    input = StandardInput::Closed;
                }
                let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                channel.send(Message::StdinTaken(count));
            }
            (Input::Resize(size), StandardInput::Console(keyboard)) => keyboard.resize(size),
            (Input::Close, StandardInput::Pipe(_)) => input = StandardInput::Closed,
            (Input::Close | Input::Resize(_), _) => {}
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
