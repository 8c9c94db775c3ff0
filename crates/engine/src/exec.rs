//! Execs: further processes in a running container.

use std::{sync::Arc, time::Duration};

use oriel_hcs::{
    CommandLine, ConsoleSize, Process, ProcessEvent, ProcessId, ProcessParameters, ProcessSummary,
};
use tokio::sync::{mpsc, watch};

use crate::{
    Chunk, Engine, EngineError, Stdin, Stream, attach::Target, command, container::Container,
    document, stop::KILLED,
};

/// Chunks under way to the client.
const UNDER_WAY: usize = 64;
/// Execs remembered per container after their end; the oldest are forgotten first.
const REMEMBERED: usize = 256;

/// How long a new size waits for the start of what it is for.
const SETTLING: Duration = Duration::from_secs(2);

/// What to execute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables laid over the container's.
    pub environment: Vec<String>,
    /// Directory; empty for the container's.
    pub working_directory: String,
    /// Account; empty for the container's.
    pub user: String,
    /// Whether it has a console.
    pub tty: bool,
    /// Whether its start gives standard input.
    pub stdin: bool,
    /// Whether its start takes standard output.
    pub stdout: bool,
    /// Whether its start takes standard error.
    pub stderr: bool,
    /// First size of the console.
    pub console: Option<ConsoleSize>,
    /// Keys that leave it running.
    pub detach_keys: String,
}

/// State of an exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecState {
    /// Not started.
    Created,
    /// Being started.
    Starting,
    /// Runs, with this Windows process id.
    Running(u32),
    /// Ended, with this exit code.
    Exited(u32),
}

/// An exec as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecView {
    /// Its id.
    pub id: String,
    /// Its container's id.
    pub container: String,
    /// What it executes.
    pub spec: ExecSpec,
    /// Its state.
    pub state: ExecState,
}

/// An exec in memory; the registry owns it until its container is removed.
pub(crate) struct Exec {
    pub(crate) id: String,
    pub(crate) container: Arc<Container>,
    spec: ExecSpec,
    state: watch::Sender<(ExecState, ProcessId)>,
}

impl Exec {
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state(), ExecState::Running(_))
    }

    pub(crate) fn process(&self) -> ProcessId {
        self.state.borrow().1
    }

    fn state(&self) -> ExecState {
        self.state.borrow().0
    }

    fn set(&self, state: ExecState) {
        self.state.send_modify(|now| now.0 = state);
    }

    /// Claims the start; only the first caller succeeds.
    fn claim(&self, process: ProcessId) -> Result<(), EngineError> {
        let claimed = self.state.send_if_modified(|state| {
            let free = state.0 == ExecState::Created;
            if free {
                *state = (ExecState::Starting, process);
            }
            free
        });
        if claimed { Ok(()) } else { Err(EngineError::ExecStarted { id: self.id.clone() }) }
    }

    /// Waits for a start that is under way, or about to be; not for ever.
    async fn settled(&self) {
        let mut state = self.state.subscribe();
        let settled =
            state.wait_for(|(state, _)| !matches!(state, ExecState::Created | ExecState::Starting));
        // When it does not come, what follows says that it does not run.
        let _ = tokio::time::timeout(SETTLING, settled).await;
    }
}

impl Engine {
    /// Prepares an exec in a running container and returns its id.
    ///
    /// # Errors
    /// `Conflict` when the container does not run, `Invalid` without a command.
    pub fn exec_create(&self, reference: &str, spec: ExecSpec) -> Result<String, EngineError> {
        let container = self.find(reference)?;
        container.running()?;
        if container.record().state.is_paused() {
            return Err(EngineError::ExecPaused { reference: reference.to_owned() });
        }
        if spec.command.first().is_none_or(String::is_empty) {
            return Err(EngineError::NoExecCommand);
        }
        crate::DetachKeys::parse(&spec.detach_keys)?;
        let texts = spec.command.iter().chain(&spec.environment);
        let texts = texts.chain([&spec.working_directory, &spec.user]);
        crate::spec::no_nul(texts.map(String::as_str))?;
        let id = self.inner.parts.ids.id();
        let action = format!("exec_create: {}", spec.command.join(" "));
        let exec = Arc::new(Exec {
            id: id.clone(),
            container: container.clone(),
            spec,
            state: watch::Sender::new((ExecState::Created, ProcessId(0))),
        });
        self.remember(&container, exec);
        self.emit(&container.record(), &action, &[("execID", id.clone())]);
        Ok(id)
    }

    fn remember(&self, container: &Container, exec: Arc<Exec>) {
        let mut registry = self.registry();
        let mut execs = container.execs.lock().expect("no panic while execs are listed");
        if execs.len() >= REMEMBERED {
            let ended: Vec<String> = execs
                .values()
                .filter(|exec| matches!(exec.state(), ExecState::Exited(_)))
                .map(|exec| exec.id.clone())
                .collect();
            for id in ended {
                execs.remove(&id);
                registry.execs.remove(&id);
            }
        }
        execs.insert(exec.id.clone(), exec.clone());
        registry.execs.insert(exec.id.clone(), exec);
    }

    pub(crate) fn find_exec(&self, id: &str) -> Result<Arc<Exec>, EngineError> {
        let missing = || EngineError::NoSuchExec { id: id.to_owned() };
        self.registry().execs.get(id).cloned().ok_or_else(missing)
    }

    /// One exec.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn exec(&self, id: &str) -> Result<ExecView, EngineError> {
        let exec = self.find_exec(id)?;
        Ok(ExecView {
            id: exec.id.clone(),
            container: exec.container.id.clone(),
            spec: exec.spec.clone(),
            state: exec.state(),
        })
    }

    /// Starts an exec. Its exit code is known when the receiver ends; dropping the receiver leaves
    /// it running.
    ///
    /// # Errors
    /// `Conflict` when it has been started before or the container has ended; `Invalid` when
    /// Windows refuses, with the exit code recorded.
    pub async fn exec_start(
        &self,
        id: &str,
        console: Option<ConsoleSize>,
    ) -> Result<(mpsc::Receiver<Chunk>, Stdin), EngineError> {
        let exec = self.find_exec(id)?;
        let stdin = Stdin { target: Target::Exec(exec.clone()) };
        let engine = self.clone();
        let task = async move { engine.exec_start_now(exec, console).await };
        Ok((self.inner.tasks.complete(task).await?, stdin))
    }

    async fn exec_start_now(
        &self,
        exec: Arc<Exec>,
        console: Option<ConsoleSize>,
    ) -> Result<mpsc::Receiver<Chunk>, EngineError> {
        let live = exec.container.running()?;
        if exec.container.record().state.is_paused() {
            return Err(EngineError::ExecPaused { reference: exec.container.id.clone() });
        }
        let process_id = live.next_process();
        exec.claim(process_id)?;
        let parameters = parameters(&exec, console);
        let process = match live.system.create_process(process_id, &parameters).await {
            Ok(process) => process,
            Err(error) => {
                let error = EngineError::from(error);
                let code = error.start_exit_code();
                exec.set(ExecState::Exited(if code == 128 { 126 } else { code }));
                return Err(error);
            }
        };
        exec.set(ExecState::Running(process.pid));
        let action = format!("exec_start: {}", exec.spec.command.join(" "));
        let further = [("execID", exec.id.clone())];
        self.emit(&exec.container.record(), &action, &further);
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        let engine = self.clone();
        self.inner.tasks.spawn(async move { engine.follow_exec(&exec, process, sender).await });
        Ok(receiver)
    }

    /// Takes an exec's output to its client, or to nowhere when that has gone.
    async fn follow_exec(&self, exec: &Exec, mut process: Process, client: mpsc::Sender<Chunk>) {
        let mut code = KILLED;
        while let Some(event) = process.events.recv().await {
            let (stream, bytes) = match event {
                ProcessEvent::Stdout(bytes) => (Stream::Stdout, bytes),
                ProcessEvent::Stderr(bytes) => (Stream::Stderr, bytes),
                ProcessEvent::Exited(exit) => {
                    code = exit;
                    break;
                }
            };
            // An error means that the client has gone; the program goes on.
            let _ = client.send(Chunk { stream, bytes: bytes.into() }).await;
        }
        exec.set(ExecState::Exited(code));
        let further = [("execID", exec.id.clone()), ("exitCode", code.to_string())];
        self.emit(&exec.container.record(), "exec_die", &further);
    }

    /// Changes the size of an exec's console.
    ///
    /// # Errors
    /// `Conflict` when it does not run.
    pub async fn exec_resize(&self, id: &str, size: ConsoleSize) -> Result<(), EngineError> {
        let exec = self.find_exec(id)?;
        // A client resizes as soon as its connection is taken over, which is before the start.
        exec.settled().await;
        if !exec.is_running() {
            return Err(EngineError::ExecNotRunning { id: id.to_owned() });
        }
        let live = exec.container.running()?;
        Ok(live.system.resize(exec.process(), size).await?)
    }

    /// The Windows processes of a running container.
    ///
    /// # Errors
    /// `Conflict` when it does not run.
    pub async fn top(&self, reference: &str) -> Result<Vec<ProcessSummary>, EngineError> {
        let container = self.find(reference)?;
        let processes = container.running()?.system.processes().await?;
        self.emit(&container.record(), "top", &[]);
        Ok(processes)
    }
}

fn parameters(exec: &Exec, console: Option<ConsoleSize>) -> ProcessParameters {
    let record = exec.container.record();
    let (spec, container) = (&exec.spec, &record.spec);
    let environment = command::merge_environment(&container.run.env, &spec.environment);
    let directory = if spec.working_directory.is_empty() {
        &container.run.working_dir
    } else {
        &spec.working_directory
    };
    let user = if spec.user.is_empty() { container.account() } else { &spec.user };
    ProcessParameters {
        command: CommandLine::Arguments(spec.command.clone()),
        working_directory: command::directory(directory),
        environment: command::pairs(&environment),
        user: user.to_owned(),
        console: document::console(spec.tty, console.or(spec.console)),
        stdin: spec.stdin,
    }
}
