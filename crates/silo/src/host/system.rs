//! A running silo, as the engine drives it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use oriel_hcs::{
    CommandLine, ComputeError, ComputeSystem, ConsoleSize, ControlEvent, Limits, MissingLibrary,
    Process, ProcessId, ProcessParameters, ProcessSummary, Registry, Statistics, SystemId,
    bridge::{Message, RegistryOperation, STREAM_CHUNK},
};
use oriel_sys::process::ProcessName;
use tokio::{
    sync::{Mutex, OwnedRwLockWriteGuard, RwLock},
    time::timeout,
};

use super::{blocking, exchange, host_error, link::Link, loader, registry, remains};
use crate::{
    SiloError,
    job::{self, Disk, Freezer, Place, Roots},
    state::StateDir,
};

/// How long Windows may take to create a process: a large image from a cold disk.
const CREATE_DEADLINE: Duration = Duration::from_secs(120);

/// How long a process list may take.
const LIST_DEADLINE: Duration = Duration::from_secs(10);

/// How long the agent may take to write the registry and end; its own bound is shorter.
const FLUSH_DEADLINE: Duration = Duration::from_secs(15);

/// How long a request about the registry may take: 2 MB are written in some 50 ms, a full Windows
/// Server's in seconds.
const REGISTRY_DEADLINE: Duration = Duration::from_secs(60);

/// A running silo.
#[derive(Debug)]
pub(super) struct SiloSystem {
    id: SystemId,
    state: StateDir,
    pid: u32,
    sandbox: PathBuf,
    /// The program that changes its drive.
    agent: PathBuf,
    /// Where its cgroups are.
    place: Place,
    link: Link,
    /// Held for reading while a program is created or signalled, for writing while paused.
    programs: Arc<RwLock<()>>,
    paused: Mutex<Option<OwnedRwLockWriteGuard<()>>>,
    /// Number of the next request about the registry. It begins anywhere, so that an answer for a
    /// daemon that has died is not taken for another.
    request: AtomicU32,
    /// Held while a list of changes is on its way, so that no other comes in between.
    sending: Mutex<()>,
    /// Held while terminating; true when that is done.
    terminated: Mutex<bool>,
}

impl SiloSystem {
    /// The silo at the other end of `link`.
    pub(super) fn new(
        id: SystemId,
        (state, agent): (StateDir, PathBuf),
        link: Link,
    ) -> Result<Self, ComputeError> {
        let failed = |error| host_error("find the silo", &error);
        let process = state.process().map_err(failed)?;
        let pid = process.ok_or_else(|| ComputeError::SystemGone { id: id.clone() })?.pid;
        let order = state.read_order().map_err(failed)?;
        let place = order.place()?;
        let sandbox = order.document.sandbox;
        let first = u32::from_le_bytes(registry::random().map_err(failed)?);
        Ok(Self {
            id,
            state,
            pid,
            sandbox,
            agent,
            place,
            link,
            programs: Arc::default(),
            paused: Mutex::default(),
            request: AtomicU32::new(first),
            sending: Mutex::default(),
            terminated: Mutex::new(false),
        })
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

    /// Sends a request about the registry and waits for its end.
    async fn ask_registry(&self, parts: Vec<Vec<u8>>, last: Message) -> Result<(), ComputeError> {
        let number = ProcessId(self.request.fetch_add(1, Ordering::Relaxed));
        let answer = self.link.expect_registry(number);
        let asked = async {
            {
                let _turn = self.sending.lock().await;
                for part in parts {
                    self.send(number, Message::RegistryPart(part)).await?;
                }
                self.send(number, last).await?;
            }
            answer.await.map_err(|_| self.gone())
        };
        let answered = timeout(REGISTRY_DEADLINE, asked).await;
        self.link.forget_registry(number);
        let silent = |_| {
            let attempt = format!("reach the registry of silo {}", self.id);
            host_error(&attempt, &"its execution agent does not answer")
        };
        match answered.map_err(silent)?? {
            None => Ok(()),
            Some(failure) => Err(ComputeError::Registry {
                id: self.id.clone(),
                attempt: failure.attempt,
                message: failure.message,
                code: failure.code,
            }),
        }
    }

    /// Does something with the freezer and the process that starts all programs.
    async fn freezer(
        &self,
        act: impl FnOnce(&Freezer, ProcessName) -> Result<(), SiloError> + Send + 'static,
    ) -> Result<(), ComputeError> {
        let starter = self.state.starter().map_err(|error| host_error("find the silo", &error))?;
        let place = self.place.clone();
        let freezer = blocking(move || Ok(Freezer::of(&Roots::discover()?, &place))).await?;
        let (Some(freezer), Some(starter)) = (freezer, starter) else {
            let what = "pausing on a host without a cgroup freezer".to_owned();
            return Err(ComputeError::Unsupported { what });
        };
        blocking(move || act(&freezer, starter)).await
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
        let place = self.place.clone();
        blocking(move || remains::release(&place)).await?;
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
        let _moving = self.programs.read().await;
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
        let _moving = self.programs.read().await;
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

    /// Not cancel safe: what was saved so far stays until the silo is opened or cleaned.
    async fn save_registry(&self) -> Result<PathBuf, ComputeError> {
        let name = registry::new_name().map_err(|error| host_error("choose a name", &error))?;
        self.ask_registry(Vec::new(), Message::SaveRegistry(name.clone())).await?;
        let sandbox = self.sandbox.clone();
        blocking(move || registry::collect(&sandbox, &name)).await
    }

    async fn change_registry(&self, changes: Vec<RegistryOperation>) -> Result<(), ComputeError> {
        let parts = registry::pieces(&self.id, &changes)?;
        self.ask_registry(parts, Message::ChangeRegistry).await
    }

    async fn change_layers(&self, layers: Vec<PathBuf>) -> Result<(), ComputeError> {
        exchange::layers(&self.state, &self.agent, layers).await
    }

    async fn pause(&self) -> Result<(), ComputeError> {
        let mut paused = self.paused.lock().await;
        if paused.is_none() {
            let programs = Arc::clone(&self.programs).write_owned().await;
            self.freezer(Freezer::freeze).await?;
            *paused = Some(programs);
        }
        Ok(())
    }

    async fn resume(&self) -> Result<(), ComputeError> {
        let mut paused = self.paused.lock().await;
        self.freezer(Freezer::thaw).await?;
        *paused = None;
        Ok(())
    }

    async fn statistics(&self) -> Result<Statistics, ComputeError> {
        let (place, pid) = (self.place.clone(), self.pid);
        blocking(move || Ok(job::measure(&Roots::discover()?, &place, pid))).await
    }

    async fn killed_for_memory(&self) -> u64 {
        let place = self.place.clone();
        blocking(move || Ok(Roots::discover()?.killed(&place))).await.unwrap_or_default()
    }

    async fn missing_libraries(&self) -> Vec<MissingLibrary> {
        let log = self.state.log();
        blocking(move || Ok(loader::missing(&log))).await.unwrap_or_default()
    }

    async fn change_limits(&self, before: &Limits, limits: &Limits) -> Result<(), ComputeError> {
        let (place, disk) = (self.place.clone(), Disk::below(&self.sandbox));
        let (before, limits) = (before.clone(), limits.clone());
        blocking(move || job::change(&Roots::discover()?, &place, disk, (&before, &limits))).await
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
