//! A running silo, as the engine drives it.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use oriel_hcs::{
    CommandLine, ComputeError, ComputeSystem, ConsoleSize, ControlEvent, Process, ProcessId,
    ProcessParameters, ProcessSummary, Registry, SystemId,
    bridge::{Message, STREAM_CHUNK},
};
use tokio::{sync::Mutex, time::timeout};

use super::{blocking, host_error, link::Link, remains};
use crate::state::StateDir;

/// How long Windows may take to create a process: a large image from a cold disk.
const CREATE_DEADLINE: Duration = Duration::from_secs(120);

/// How long a process list may take.
const LIST_DEADLINE: Duration = Duration::from_secs(10);

/// How long the agent may take to write the registry and end; its own bound is shorter.
const FLUSH_DEADLINE: Duration = Duration::from_secs(15);

/// A running silo.
#[derive(Debug)]
pub(super) struct SiloSystem {
    id: SystemId,
    state: StateDir,
    pid: u32,
    link: Link,
    /// Held while terminating; true when that is done.
    terminated: Mutex<bool>,
}

impl SiloSystem {
    /// The silo at the other end of `link`.
    pub(super) fn new(id: SystemId, state: StateDir, link: Link) -> Result<Self, ComputeError> {
        let process = state.process().map_err(|error| host_error("find the silo", &error))?;
        let pid = process.ok_or_else(|| ComputeError::SystemGone { id: id.clone() })?.pid;
        Ok(Self { id, state, pid, link, terminated: Mutex::new(false) })
    }

    fn gone(&self) -> ComputeError {
        ComputeError::SystemGone { id: self.id.clone() }
    }

    /// Sends a message about a process that must be known.
    async fn tell(&self, process: ProcessId, message: Message) -> Result<(), ComputeError> {
        if self.link.is_closed() {
            return Err(self.gone());
        }
        if !self.link.knows(process) {
            return Err(ComputeError::ProcessNotFound { id: self.id.clone(), process });
        }
        self.send(process, message).await
    }

    async fn send(&self, process: ProcessId, message: Message) -> Result<(), ComputeError> {
        if self.link.send(process, message).await { Ok(()) } else { Err(self.gone()) }
    }

    /// Asks the agent to write the registry and end, and waits until it has.
    async fn flush(&self) -> Result<(), ComputeError> {
        let failed = |reason: &dyn std::fmt::Display| {
            host_error(&format!("write the registry of silo {}", self.id), reason)
        };
        let handle = remains::handle(&self.state).map_err(|error| failed(&error))?;
        // A silo that has ended by itself has written its registry before.
        let Some(handle) = handle else { return Ok(()) };
        if !self.link.send(ProcessId(0), Message::Terminate(true)).await {
            return Err(self.gone());
        }
        match blocking(move || remains::wait_for_end(&handle, FLUSH_DEADLINE)).await? {
            true => Ok(()),
            false => Err(failed(&"its agent does not answer")),
        }
    }
}

#[async_trait]
impl ComputeSystem for SiloSystem {
    fn host_pid(&self) -> u32 {
        self.pid
    }

    fn drive(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/drive_c", self.pid))
    }

    async fn create_process(
        &self,
        id: ProcessId,
        parameters: &ProcessParameters,
    ) -> Result<Process, ComputeError> {
        if self.link.is_closed() {
            return Err(self.gone());
        }
        if self.link.knows(id) {
            return Err(host_error(&format!("create process {}", id.0), &"its name is in use"));
        }
        let (events, created) = self.link.expect_process(id);
        let result = async {
            self.send(id, Message::CreateProcess(parameters.clone())).await?;
            match timeout(CREATE_DEADLINE, created).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) => Err(self.gone()),
                Err(_) => Err(host_error("create a process", &"the silo does not answer")),
            }
        };
        match result.await {
            Ok(Ok(pid)) => Ok(Process { id, pid, events }),
            Ok(Err(failure)) => Err(ComputeError::CreateProcess {
                id: self.id.clone(),
                command: shown(&parameters.command),
                message: failure.message,
                code: failure.code,
            }),
            Err(error) => {
                self.link.forget_process(id);
                Err(error)
            }
        }
    }

    /// Not cancel safe: some of the bytes may be on their way.
    async fn write_stdin(&self, process: ProcessId, bytes: Vec<u8>) -> Result<(), ComputeError> {
        for chunk in bytes.chunks(STREAM_CHUNK) {
            let Some(window) = self.link.stdin_window(process) else { return Ok(()) };
            let size = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            let Ok(permit) = window.acquire_many(size).await else { return Ok(()) };
            permit.forget();
            self.send(process, Message::Stdin(chunk.to_vec())).await?;
        }
        Ok(())
    }

    async fn close_stdin(&self, process: ProcessId) -> Result<(), ComputeError> {
        match self.tell(process, Message::CloseStdin).await {
            // A process that has ended has no input to end.
            Err(ComputeError::ProcessNotFound { .. }) => Ok(()),
            other => other,
        }
    }

    async fn resize(&self, process: ProcessId, size: ConsoleSize) -> Result<(), ComputeError> {
        self.tell(process, Message::Resize(size)).await
    }

    async fn signal(&self, process: ProcessId, event: ControlEvent) -> Result<(), ComputeError> {
        self.tell(process, Message::Signal(event)).await
    }

    async fn kill(&self, process: ProcessId, exit_code: u32) -> Result<(), ComputeError> {
        self.tell(process, Message::Kill(exit_code)).await
    }

    async fn processes(&self) -> Result<Vec<ProcessSummary>, ComputeError> {
        let list = self.link.expect_list();
        self.send(ProcessId(0), Message::ListProcesses).await?;
        match timeout(LIST_DEADLINE, list).await {
            Ok(Ok(list)) => Ok(list),
            Ok(Err(_)) => Err(self.gone()),
            Err(_) => Err(host_error("list processes", &"the silo does not answer")),
        }
    }

    async fn terminate(&self, registry: Registry) -> Result<(), ComputeError> {
        let mut terminated = self.terminated.lock().await;
        if *terminated {
            return Ok(());
        }
        let flushed = match registry {
            Registry::Keep => self.flush().await,
            Registry::Discard => Ok(()),
        };
        let (id, state) = (self.id.clone(), self.state.clone());
        blocking(move || remains::remove(&id, &state)).await?;
        *terminated = true;
        flushed
    }
}

/// A command line as error messages show it.
fn shown(command: &CommandLine) -> String {
    match command {
        CommandLine::Verbatim(line) => line.clone(),
        CommandLine::Arguments(arguments) => arguments.join(" "),
    }
}
