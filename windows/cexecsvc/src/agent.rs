//! The agent's life: boot, say hello, do what the host says until the bridge closes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::windows::io::AsHandle;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use oriel_hcs::ProcessId;
use oriel_hcs::bridge::{Frame, Hello, Message, STREAM_CHUNK, VERSION};

use crate::boot::{self, complain};
use crate::drivers;
use crate::hosted::Hosted;
use crate::nt::list;
use crate::outbox::Outbox;
use crate::pipes::Pipes;
use crate::registry::Registry;
use crate::setx;

/// Runs the agent, or the helper that the program's name or the arguments name.
#[must_use]
pub fn run() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into()).collect();
    if let Some(code) = setx::run(&arguments).or_else(|| drivers::host(&arguments)) {
        return code;
    }
    match Agent::start(&arguments).and_then(|(agent, input)| agent.serve(input)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("the bridge broke: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The processes of the silo, by the host's names for them.
type Table = Arc<Mutex<BTreeMap<ProcessId, Arc<Hosted>>>>;

struct Agent {
    outbox: Arc<Outbox>,
    table: Table,
    registry: Registry,
    pipes: Arc<Pipes>,
    booted: boot::Booted,
}

impl Agent {
    /// Boots, with named pipes of these names.
    fn start(pipes: &[String]) -> io::Result<(Self, File)> {
        let input = File::from(io::stdin().as_handle().try_clone_to_owned()?);
        let output = File::from(io::stdout().as_handle().try_clone_to_owned()?);
        let outbox = Arc::new(Outbox::new(output));
        let agent = Self {
            registry: Registry::serve(Arc::clone(&outbox)),
            pipes: Pipes::serve(pipes, Arc::clone(&outbox)),
            outbox,
            table: Table::default(),
            booted: boot::complete(),
        };
        let hello = Hello { version: VERSION, processes: Vec::new(), execution_agent: 0 };
        agent.outbox.send(ProcessId(0), Message::Hello(hello))?;
        Ok((agent, input))
    }

    fn serve(&self, input: File) -> io::Result<()> {
        let mut input = BufReader::with_capacity(2 * STREAM_CHUNK, input);
        while let Some(frame) = Frame::read_from(&mut input)? {
            self.obey(frame)?;
        }
        Ok(())
    }

    fn obey(&self, Frame { process, message }: Frame) -> io::Result<()> {
        match message {
            Message::CreateProcess(parameters) => self.create(process, parameters),
            Message::Stdin(bytes) => match self.hosted(process) {
                Some(hosted) => hosted.write(bytes),
                None => {
                    let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                    self.outbox.send(process, Message::StdinTaken(count))?;
                }
            },
            Message::CloseStdin => self.with(process, |hosted| hosted.close_input()),
            Message::Resize(size) => self.with(process, |hosted| hosted.resize(size)),
            Message::Signal(event) => self.with(process, |hosted| hosted.signal(event)),
            Message::Kill(code) => self.with(process, |hosted| hosted.kill(code)),
            Message::ListProcesses => {
                self.outbox.send(process, Message::ProcessList(list::processes()))?;
            }
            message @ (Message::PipeData(_)
            | Message::PipeTaken
            | Message::PipeEnd
            | Message::PipeClosed) => self.pipes.take(process, message),
            message @ (Message::SaveRegistry(_)
            | Message::RegistryPart(_)
            | Message::ChangeRegistry) => self.registry.ask(process, message),
            other => {
                complain(&format!("the host sent a frame that is not for this side: {other:?}"))
            }
        }
        Ok(())
    }

    fn create(&self, id: ProcessId, parameters: oriel_hcs::ProcessParameters) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.contains_key(&id) {
            complain(&format!("the host used process id {} twice", id.0));
            return;
        }
        let shared = Arc::clone(&self.table);
        let gone = move || {
            shared.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        };
        // The lock is held until the entry is there, so that `gone` cannot run before.
        let drivers = Arc::clone(&self.booted.drivers);
        let outbox = Arc::clone(&self.outbox);
        table.insert(id, Hosted::start(id, parameters, drivers, outbox, gone));
    }

    fn hosted(&self, id: ProcessId) -> Option<Arc<Hosted>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Does something with a process; one that has ended meanwhile needs nothing.
    fn with(&self, id: ProcessId, act: impl FnOnce(&Arc<Hosted>)) {
        if let Some(hosted) = self.hosted(id) {
            act(&hosted);
        }
    }
}
