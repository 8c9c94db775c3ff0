//! The connection to a silo's agent.
//!
//! Two tasks own the socket: one writes what is queued, one reads and hands out. Both end with the
//! connection, and dropping the [`Link`] ends both; the silo then goes on without a host. Output
//! of all processes shares the connection, so a reader that stops reading holds up the others of
//! the same silo in the end; ending the silo does not depend on it.

use std::{
    collections::{HashMap, VecDeque},
    io,
    os::fd::AsRawFd,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fs_err as fs;
use oriel_hcs::{
    ComputeError, OpenedSystem, Process, ProcessEvent, ProcessId, ProcessSummary, SystemId,
    bridge::{CreateFailure, Frame, Hello, LENGTH_SIZE, Message, RegistryFailure, VERSION},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use super::{host_error, pipes::Connection};
use crate::{agent::journal, state::StateDir};

/// How long the agent may take to say hello; it gives the NT side less.
const HELLO_DEADLINE: Duration = Duration::from_secs(70);

/// Events of a process waiting to be read; at most this many pieces of 64 KiB.
const EVENT_QUEUE: usize = 64;

/// Frames waiting to be sent.
const SEND_QUEUE: usize = 64;

/// Bytes of standard input under way to one process.
pub(super) const STDIN_WINDOW: usize = 256 << 10;

/// What an agent says first.
pub(super) enum Greeting {
    /// It runs.
    Hello(Link),
    /// It could not boot.
    Refused(String),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Frame>,
    tasks: Vec<JoinHandle<()>>,
    taken_up: Vec<Process0>,
    /// Process id of the execution agent, in the silo's own numbering.
    pub(super) execution_agent: u32,
}

type Process0 = (ProcessId, u32, mpsc::Receiver<ProcessEvent>);

#[derive(Debug, Default)]
struct Shared(Mutex<Books>);

/// Who waits for what.
#[derive(Debug, Default)]
struct Books {
    closed: bool,
    processes: HashMap<ProcessId, Entry>,
    lists: VecDeque<oneshot::Sender<Vec<ProcessSummary>>>,
    /// Connections of pipes, by the guest's numbers.
    pipes: HashMap<ProcessId, Connection>,
    /// Requests about the registry, by their number.
    registry: HashMap<ProcessId, oneshot::Sender<RegistryAnswer>>,
}

/// What the execution agent answers to a request about the registry.
pub(super) type RegistryAnswer = Option<RegistryFailure>;

#[derive(Debug)]
struct Entry {
    events: mpsc::Sender<ProcessEvent>,
    created: Option<oneshot::Sender<Result<u32, CreateFailure>>>,
    stdin: Arc<Semaphore>,
}

impl Link {
    /// Connects to the agent; `None` when nobody listens.
    pub(super) async fn connect(
        id: &SystemId,
        state: &StateDir,
    ) -> Result<Option<Greeting>, ComputeError> {
        let Ok(stream) = dial(state).await else { return Ok(None) };
        let (input, output) = stream.into_split();
        let mut input = BufReader::with_capacity(64 << 10, input);
        let first = timeout(HELLO_DEADLINE, read_frame(&mut input)).await;
        let broken = |detail: String| ComputeError::Protocol { id: id.clone(), detail };
        match first {
            Err(_) => Err(host_error(&format!("boot silo {id}"), &"its agent does not answer")),
            Ok(Err(_) | Ok(None)) => Ok(None),
            Ok(Ok(Some(Frame { message: Message::BootFailed(why), .. }))) => {
                Ok(Some(Greeting::Refused(why)))
            }
            Ok(Ok(Some(Frame { message: Message::Hello(hello), .. }))) => {
                if hello.version != VERSION {
                    return Err(broken(format!("bridge version {}", hello.version)));
                }
                let sockets = sockets(state)
                    .map_err(|error| host_error(&format!("read the order of silo {id}"), &error))?;
                Ok(Some(Greeting::Hello(Self::start(&hello, input, output, sockets))))
            }
            Ok(Ok(Some(_))) => Err(broken("its first words are not a greeting".to_owned())),
        }
    }

    fn start(
        hello: &Hello,
        input: BufReader<OwnedReadHalf>,
        output: OwnedWriteHalf,
        sockets: Vec<PathBuf>,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let mut taken_up = Vec::new();
        for (id, pid) in &hello.processes {
            taken_up.push((*id, *pid, shared.enter(*id, None)));
        }
        let (sender, queue) = mpsc::channel(SEND_QUEUE);
        let tasks = vec![
            tokio::spawn(write_frames(output, queue)),
            tokio::spawn(read_frames(input, Arc::clone(&shared), sockets, sender.downgrade())),
        ];
        let execution_agent = hello.execution_agent;
        Self { shared, sender, tasks, taken_up, execution_agent }
    }

    /// The processes the agent had when the connection was made.
    pub(super) fn take_processes(&mut self) -> Vec<Process> {
        let taken = std::mem::take(&mut self.taken_up);
        taken.into_iter().map(|(id, pid, events)| Process { id, pid, events }).collect()
    }

    /// Queues a frame; waits while the queue is full. False when the connection is gone.
    pub(super) async fn send(&self, process: ProcessId, message: Message) -> bool {
        self.sender.send(Frame { process, message }).await.is_ok()
    }

    /// Expects a process to be created: the events it will have, and whether it was.
    pub(super) fn expect_process(
        &self,
        id: ProcessId,
    ) -> (mpsc::Receiver<ProcessEvent>, oneshot::Receiver<Result<u32, CreateFailure>>) {
        let (created, wait) = oneshot::channel();
        (self.shared.enter(id, Some(created)), wait)
    }

    /// Forgets a process that was not created.
    pub(super) fn forget_process(&self, id: ProcessId) {
        self.shared.books(|books| books.processes.remove(&id));
    }

    /// Expects a process list.
    pub(super) fn expect_list(&self) -> oneshot::Receiver<Vec<ProcessSummary>> {
        let (list, wait) = oneshot::channel();
        self.shared.books(|books| {
            if !books.closed {
                books.lists.push_back(list);
            }
        });
        wait
    }

    /// Expects the answer to the request about the registry that has this number.
    pub(super) fn expect_registry(&self, number: ProcessId) -> oneshot::Receiver<RegistryAnswer> {
        let (answer, wait) = oneshot::channel();
        self.shared.books(|books| {
            if !books.closed {
                books.registry.insert(number, answer);
            }
        });
        wait
    }

    /// Expects that answer no more.
    pub(super) fn forget_registry(&self, number: ProcessId) {
        self.shared.books(|books| books.registry.remove(&number));
    }

    /// Room for standard input of a process; `None` when it is gone.
    pub(super) fn stdin_window(&self, id: ProcessId) -> Option<Arc<Semaphore>> {
        self.shared.books(|books| books.processes.get(&id).map(|entry| Arc::clone(&entry.stdin)))
    }

    /// Whether the process is known.
    pub(super) fn knows(&self, id: ProcessId) -> bool {
        self.shared.books(|books| books.processes.contains_key(&id))
    }

    /// Whether the connection is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.shared.books(|books| books.closed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shared.close();
    }
}

impl Shared {
    fn books<T>(&self, look: impl FnOnce(&mut Books) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(
        &self,
        id: ProcessId,
        created: Option<oneshot::Sender<Result<u32, CreateFailure>>>,
    ) -> mpsc::Receiver<ProcessEvent> {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let entry = Entry { events, created, stdin: Arc::new(Semaphore::new(STDIN_WINDOW)) };
        self.books(|books| {
            if !books.closed {
                books.processes.insert(id, entry);
            }
        });
        receiver
    }

    /// The connection is gone: everyone who waits is let go.
    fn close(&self) {
        self.books(|books| {
            books.closed = true;
            for (_, entry) in books.processes.drain() {
                entry.stdin.close();
            }
            books.lists.clear();
            books.pipes.clear();
            books.registry.clear();
        });
    }

    /// Hands out a frame. Returns an event that still has to be delivered.
    fn sort(&self, frame: Frame) -> Option<(mpsc::Sender<ProcessEvent>, ProcessEvent)> {
        let id = frame.process;
        self.books(|books| match frame.message {
            Message::ProcessList(list) => {
                // Whoever asked may have given up.
                books.lists.pop_front().map(|wait| wait.send(list));
                None
            }
            Message::RegistryDone(answer) => {
                // As for a list.
                books.registry.remove(&id).map(|wait| wait.send(answer));
                None
            }
            Message::Created(pid) => {
                let wait = books.processes.get_mut(&id)?.created.take()?;
                let _ = wait.send(Ok(pid));
                None
            }
            Message::CreateFailed(failure) => {
                let wait = books.processes.remove(&id)?.created?;
                let _ = wait.send(Err(failure));
                None
            }
            Message::StdinTaken(count) => {
                let stdin = &books.processes.get(&id)?.stdin;
                let count = usize::try_from(count).unwrap_or(STDIN_WINDOW);
                // A guest may lie; the window never grows.
                let room = STDIN_WINDOW.saturating_sub(stdin.available_permits());
                stdin.add_permits(count.min(room));
                None
            }
            Message::Stdout(bytes) => books.event(id, ProcessEvent::Stdout(bytes)),
            Message::Stderr(bytes) => books.event(id, ProcessEvent::Stderr(bytes)),
            Message::Exited(code) => {
                let entry = books.processes.remove(&id)?;
                entry.stdin.close();
                Some((entry.events, ProcessEvent::Exited(code)))
            }
            Message::PipeData(_) | Message::PipeTaken | Message::PipeEnd | Message::PipeClosed => {
                if !books.pipes.get(&id)?.take(frame.message) {
                    books.pipes.remove(&id);
                }
                None
            }
            _ => None,
        })
    }
}

impl Books {
    fn event(
        &self,
        id: ProcessId,
        event: ProcessEvent,
    ) -> Option<(mpsc::Sender<ProcessEvent>, ProcessEvent)> {
        self.processes.get(&id).map(|entry| (entry.events.clone(), event))
    }
}

/// The sockets that the pipes of a silo lead to.
fn sockets(state: &StateDir) -> io::Result<Vec<PathBuf>> {
    let order = state.read_order()?;
    Ok(order.document.pipes().map(|(_, socket)| socket.to_owned()).collect())
}

/// Through a descriptor of the directory, because a socket's path may have 107 bytes only.
async fn dial(state: &StateDir) -> io::Result<UnixStream> {
    let directory = fs::File::open(state.path())?;
    let name = state.socket();
    let name = name.file_name().unwrap_or_default();
    let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    UnixStream::connect(path).await
}

async fn write_frames(mut output: OwnedWriteHalf, mut queue: mpsc::Receiver<Frame>) {
    while let Some(frame) = queue.recv().await {
        if output.write_all(&frame.encode()).await.is_err() {
            return;
        }
    }
}

async fn read_frames(
    mut input: BufReader<OwnedReadHalf>,
    shared: Arc<Shared>,
    sockets: Vec<PathBuf>,
    frames: mpsc::WeakSender<Frame>,
) {
    // Ends with this task, and its connections with it.
    let mut carriers = JoinSet::new();
    loop {
        while let Some(Ok(id)) = carriers.try_join_next() {
            shared.books(|books| books.pipes.remove(&id));
        }
        match read_frame(&mut input).await {
            Ok(Some(Frame { process, message: Message::PipeOpened(index) })) => {
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                let (Some(socket), Some(frames)) = (sockets.get(index), frames.upgrade()) else {
                    continue;
                };
                let (connection, carrier) = Connection::new(process, socket.clone(), frames);
                shared.books(|books| books.pipes.insert(process, connection));
                carriers.spawn(carrier.carry());
            }
            Ok(Some(frame)) => {
                if let Some((events, event)) = shared.sort(frame) {
                    // Nobody has to listen.
                    let _ = events.send(event).await;
                }
            }
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(%error, "a silo's bridge broke");
                break;
            }
        }
    }
    shared.close();
}

async fn read_frame(input: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Frame>> {
    let mut field = [0; LENGTH_SIZE];
    match input.read_exact(&mut field).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut body = vec![0; Frame::body_length(field)?];
    input.read_exact(&mut body).await?;
    Frame::decode(&body).map(Some)
}

/// What is known of a silo that ended without a host.
pub(super) fn from_journal(id: &SystemId, state: &StateDir) -> Result<OpenedSystem, ComputeError> {
    let frames = match journal::load(&state.journal()) {
        Ok(frames) => frames,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(host_error(&format!("read the journal of silo {id}"), &error)),
    };
    Ok(OpenedSystem { system: None, processes: processes_of(frames) })
}

fn processes_of(frames: Vec<Frame>) -> Vec<Process> {
    let mut found: Vec<(ProcessId, u32, Vec<ProcessEvent>)> = Vec::new();
    for Frame { process, message } in frames {
        let event = match message {
            Message::Hello(hello) => {
                let news = hello.processes.into_iter().map(|(id, pid)| (id, pid, Vec::new()));
                found.extend(news);
                continue;
            }
            Message::Created(pid) => {
                found.push((process, pid, Vec::new()));
                continue;
            }
            Message::Stdout(bytes) => ProcessEvent::Stdout(bytes),
            Message::Stderr(bytes) => ProcessEvent::Stderr(bytes),
            Message::Exited(code) => ProcessEvent::Exited(code),
            _ => continue,
        };
        if let Some((.., events)) = found.iter_mut().find(|(id, ..)| *id == process) {
            events.push(event);
        }
    }
    found.into_iter().map(|(id, pid, events)| finished(id, pid, events)).collect()
}

/// A process of which nothing more will be heard.
fn finished(id: ProcessId, pid: u32, events: Vec<ProcessEvent>) -> Process {
    let (sender, receiver) = mpsc::channel(events.len().max(1));
    for event in events {
        // The channel was made long enough.
        let _ = sender.try_send(event);
    }
    Process { id, pid, events: receiver }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(process: u32, message: Message) -> Frame {
        Frame { process: ProcessId(process), message }
    }

    #[tokio::test]
    async fn a_journal_tells_output_and_exit_of_each_process() {
        let hello =
            Hello { version: VERSION, processes: vec![(ProcessId(1), 32)], execution_agent: 9 };
        let mut processes = processes_of(vec![
            Frame::system(Message::Hello(hello)),
            frame(2, Message::Created(36)),
            frame(1, Message::Stdout(b"a".to_vec())),
            frame(2, Message::Exited(7)),
            frame(9, Message::Exited(9)),
        ]);
        assert_eq!(processes.len(), 2);
        let first = &mut processes[0].events;
        assert_eq!(first.recv().await, Some(ProcessEvent::Stdout(b"a".to_vec())));
        assert_eq!(first.recv().await, None);
        assert_eq!(processes[1].events.recv().await, Some(ProcessEvent::Exited(7)));
    }

    #[tokio::test]
    async fn a_guest_that_claims_to_have_taken_more_input_gains_nothing() {
        let shared = Shared::default();
        let _events = shared.enter(ProcessId(1), None);
        assert!(shared.sort(frame(1, Message::StdinTaken(u32::MAX))).is_none());
        let window = shared.books(|books| books.processes[&ProcessId(1)].stdin.clone());
        assert_eq!(window.available_permits(), STDIN_WINDOW);
    }

    #[tokio::test]
    async fn when_the_connection_goes_everyone_waiting_is_let_go() {
        let shared = Shared::default();
        let (created, wait) = oneshot::channel();
        let mut events = shared.enter(ProcessId(1), Some(created));
        shared.close();
        assert!(wait.await.is_err());
        assert_eq!(events.recv().await, None);
        assert_eq!(shared.enter(ProcessId(2), None).recv().await, None);
    }
}
