//! A compute host and a network in memory, stricter than the real ones: what they would forgive is
//! a panic here. For tests of whatever drives the engine.
//!
//! A process does what its command line says, word by word:
//!
//! | word | what it does |
//! |---|---|
//! | `out TEXT`, `err TEXT` | prints a line |
//! | `exit CODE` | ends |
//! | `wait` | waits for a control event and ends with `0xC000013A` |
//! | `stubborn` | ignores control events until it is killed |
//! | `cat` | prints its input until that ends |
//! | `missing` | cannot be created |

mod network;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use oriel_hcs::{
    Block, Check, CheckLevel, CommandLine, ComputeError, ComputeHost, ComputeSystem, ConsoleSize,
    ControlEvent, Limit, Limits, MissingLibrary, NetworkSpec, OpenedSystem, Process, ProcessEvent,
    ProcessId, ProcessParameters, ProcessSummary, Registry, Statistics, SystemDocument, SystemId,
    Traffic, bridge::RegistryOperation,
};
use oriel_image::{BaseImport, ImageConfig, ImageStore, RunConfig};
use tokio::sync::{mpsc, watch};

pub use self::network::FakeNetwork;
use crate::{AddressPool, Clock, HostPipes, IdSource, Parts, Time};

/// Exit code of a program that a control event ends.
const CONTROL_C_EXIT: u32 = 0xc000_013a;

/// A compute host in memory. Clones share it, which is how a daemon that died finds its systems.
#[derive(Clone)]
pub struct FakeHost {
    state: Arc<Mutex<HostState>>,
    /// Where its processes run, so that they live on when the daemon's own runtime dies.
    outside: tokio::runtime::Handle,
    measured: Arc<AtomicU64>,
}

#[derive(Default)]
struct HostState {
    systems: BTreeMap<String, Arc<FakeSystem>>,
    /// Exit codes of systems that ended while nobody looked.
    journal: BTreeMap<String, u32>,
}

impl FakeHost {
    /// A host whose processes run on this runtime.
    #[must_use]
    pub fn new(outside: tokio::runtime::Handle) -> Self {
        Self { state: Arc::default(), outside, measured: Arc::default() }
    }

    /// Ids of the systems that exist.
    #[must_use]
    pub fn systems(&self) -> Vec<String> {
        self.lock().systems.keys().cloned().collect()
    }

    /// The document a system was made from.
    #[must_use]
    pub fn document(&self, id: &str) -> Option<SystemDocument> {
        self.lock().systems.get(id).map(|system| system.document.clone())
    }

    /// The layers that a system has now.
    #[must_use]
    pub fn layers(&self, id: &str) -> Option<Vec<PathBuf>> {
        let system = self.lock().systems.get(id).cloned()?;
        let layers = system.layers.lock().expect("no test panics with the lock").clone();
        Some(layers)
    }

    /// Pauses a system behind the engine's back.
    pub fn pause(&self, id: &str) {
        self.lock().systems.get(id).expect("the system exists").paused.send_replace(true);
    }

    /// Whether a system's programs are stopped where they are.
    #[must_use]
    pub fn is_paused(&self, id: &str) -> bool {
        self.lock().systems.get(id).is_some_and(|system| *system.paused.borrow())
    }

    /// The limits that a system has now.
    #[must_use]
    pub fn limits(&self, id: &str) -> Option<Limits> {
        let system = self.lock().systems.get(id).cloned()?;
        let limits = system.limits.lock().expect("no test panics with the lock").clone();
        Some(limits)
    }

    /// How often any system has been measured.
    #[must_use]
    pub fn measured(&self) -> u64 {
        self.measured.load(Ordering::Relaxed)
    }

    /// Has a system's limit of memory kill a process.
    pub fn kill_for_memory(&self, id: &str) {
        let system = self.lock().systems.get(id).cloned().expect("the system exists");
        system.killed.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes made in a system's registry.
    #[must_use]
    pub fn registry_changes(&self, id: &str) -> Vec<RegistryOperation> {
        let system = self.lock().systems.get(id).cloned();
        system
            .map_or_else(Vec::new, |system| system.registry.lock().expect("whole").changes.clone())
    }

    /// Ends a system as if its program had ended while no daemon ran.
    pub fn end_unseen(&self, id: &str, code: u32) {
        let mut state = self.lock();
        state.systems.remove(id).expect("the system exists");
        state.journal.insert(id.to_owned(), code);
    }

    /// Loses a system without a trace.
    pub fn lose(&self, id: &str) {
        self.lock().systems.remove(id).expect("the system exists");
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HostState> {
        self.state.lock().expect("no test panics with the lock")
    }
}

#[async_trait]
impl ComputeHost for FakeHost {
    async fn create(
        &self,
        id: &SystemId,
        document: &SystemDocument,
    ) -> Result<Arc<dyn ComputeSystem>, ComputeError> {
        assert!(!document.layers.is_empty(), "a system needs layers");
        let system = Arc::new(FakeSystem {
            id: id.clone(),
            document: document.clone(),
            layers: Mutex::new(document.layers.clone()),
            host: self.clone(),
            processes: Mutex::default(),
            created: Mutex::default(),
            paused: watch::Sender::new(false),
            held: Mutex::default(),
            registry: Mutex::default(),
            limits: Mutex::new(document.limits.clone()),
            killed: AtomicU64::new(0),
        });
        let before = self.lock().systems.insert(id.0.clone(), system.clone());
        assert!(before.is_none(), "system {id} is created twice");
        Ok(system)
    }

    async fn open(&self, id: &SystemId) -> Result<OpenedSystem, ComputeError> {
        let mut state = self.lock();
        if let Some(code) = state.journal.remove(&id.0) {
            let (sender, events) = mpsc::channel(1);
            sender.try_send(ProcessEvent::Exited(code)).expect("room for one");
            let process = Process { id: ProcessId::INIT, pid: 0, events };
            return Ok(OpenedSystem { system: None, processes: vec![process] });
        }
        let Some(system) = state.systems.get(&id.0).cloned() else {
            return Err(ComputeError::SystemNotFound { id: id.clone() });
        };
        let processes = system.reopen();
        Ok(OpenedSystem { system: Some(system), processes })
    }

    async fn clean(&self, id: &SystemId) -> Result<(), ComputeError> {
        let system = self.lock().systems.remove(&id.0);
        if let Some(system) = system {
            system.end_all();
        }
        self.lock().journal.remove(&id.0);
        Ok(())
    }

    fn enforces(&self) -> Vec<Limit> {
        Limit::ALL.to_vec()
    }

    async fn check(&self) -> Vec<Check> {
        vec![Check {
            name: "fake host".to_owned(),
            level: CheckLevel::Ok,
            finding: "in memory".to_owned(),
            remedy: String::new(),
        }]
    }
}

/// A system in memory.
struct FakeSystem {
    id: SystemId,
    document: SystemDocument,
    layers: Mutex<Vec<PathBuf>>,
    host: FakeHost,
    processes: Mutex<BTreeMap<ProcessId, Arc<FakeProcess>>>,
    created: Mutex<BTreeSet<ProcessId>>,
    paused: watch::Sender<bool>,
    /// Kills that wait for the end of a pause.
    held: Mutex<Vec<(Arc<FakeProcess>, u32)>>,
    registry: Mutex<FakeRegistry>,
    limits: Mutex<Limits>,
    killed: AtomicU64,
}

#[derive(Default)]
struct FakeRegistry {
    changes: Vec<RegistryOperation>,
    /// Directories given out, which their takers must have removed before the next.
    saved: Vec<PathBuf>,
}

impl FakeRegistry {
    fn check_saved(&self) {
        for path in &self.saved {
            assert!(!path.exists(), "the saved registry {} is left behind", path.display());
        }
    }
}

struct FakeProcess {
    name: String,
    input: Mutex<Option<mpsc::Sender<Vec<u8>>>>,
    asked: watch::Sender<Option<u32>>,
    killed: watch::Sender<Option<u32>>,
    /// Where its events go: the daemon that looks now.
    events: watch::Sender<Option<mpsc::Sender<ProcessEvent>>>,
}

impl FakeSystem {
    /// A limit of memory that this kernel refuses to set on what runs.
    const REFUSED: u64 = 6 << 20;

    fn process(&self, id: ProcessId) -> Result<Arc<FakeProcess>, ComputeError> {
        let processes = self.processes.lock().expect("no test panics with the lock");
        let missing = || ComputeError::ProcessNotFound { id: self.id.clone(), process: id };
        processes.get(&id).cloned().ok_or_else(missing)
    }

    fn reopen(&self) -> Vec<Process> {
        let processes = self.processes.lock().expect("no test panics with the lock");
        let reopened = processes.iter().map(|(id, process)| {
            let (sender, events) = mpsc::channel(16);
            process.events.send_replace(Some(sender));
            Process { id: *id, pid: 4 * id.0, events }
        });
        reopened.collect()
    }

    /// Waits until programs may go on.
    async fn moving(&self) {
        let mut paused = self.paused.subscribe();
        // The sender lives as long as the system does.
        let _ = paused.wait_for(|paused| !paused).await;
    }

    fn end_all(&self) {
        let mut processes = self.processes.lock().expect("no test panics with the lock");
        for process in std::mem::take(&mut *processes).into_values() {
            process.killed.send_replace(Some(0x4001_0004));
            process.events.send_replace(None);
        }
    }
}

fn words(command: &CommandLine) -> Vec<String> {
    match command {
        CommandLine::Arguments(words) => words.clone(),
        CommandLine::Verbatim(line) => line.split_whitespace().map(str::to_owned).collect(),
    }
}

#[async_trait]
impl ComputeSystem for FakeSystem {
    fn host_pid(&self) -> u32 {
        4711
    }

    fn drive(&self) -> PathBuf {
        self.document.sandbox.join("upper")
    }

    async fn create_process(
        &self,
        id: ProcessId,
        parameters: &ProcessParameters,
    ) -> Result<Process, ComputeError> {
        self.moving().await;
        let fresh = self.created.lock().expect("no test panics with the lock").insert(id);
        assert!(fresh, "process id {id:?} is used twice");
        let words = words(&parameters.command);
        if words.iter().any(|word| word == "missing") {
            return Err(ComputeError::CreateProcess {
                id: self.id.clone(),
                command: words.join(" "),
                message: "The system cannot find the file specified.".to_owned(),
                code: 2,
            });
        }
        let (sender, events) = mpsc::channel(16);
        let (input, typed) = mpsc::channel(16);
        let process = Arc::new(FakeProcess {
            name: words.first().cloned().unwrap_or_default(),
            input: Mutex::new(parameters.stdin.then_some(input)),
            asked: watch::Sender::new(None),
            killed: watch::Sender::new(None),
            events: watch::Sender::new(Some(sender)),
        });
        let mut processes = self.processes.lock().expect("no test panics with the lock");
        processes.insert(id, process.clone());
        // The runtime outside owns it; it ends with its program or the runtime.
        self.host.outside.spawn(process.run(words, typed));
        Ok(Process { id, pid: 4 * id.0, events })
    }

    async fn write_stdin(&self, process: ProcessId, bytes: Vec<u8>) -> Result<(), ComputeError> {
        let input = self.process(process)?.input.lock().expect("no test panics").clone();
        if let Some(input) = input {
            // Bytes for a program that does not read are dropped.
            let _ = input.send(bytes).await;
        }
        Ok(())
    }

    async fn close_stdin(&self, process: ProcessId) -> Result<(), ComputeError> {
        self.process(process)?.input.lock().expect("no test panics").take();
        Ok(())
    }

    async fn resize(&self, process: ProcessId, _: ConsoleSize) -> Result<(), ComputeError> {
        self.process(process).map(drop)
    }

    async fn signal(&self, process: ProcessId, _: ControlEvent) -> Result<(), ComputeError> {
        let process = self.process(process)?;
        self.moving().await;
        process.asked.send_replace(Some(CONTROL_C_EXIT));
        Ok(())
    }

    async fn kill(&self, process: ProcessId, exit_code: u32) -> Result<(), ComputeError> {
        let process = self.process(process)?;
        if *self.paused.borrow() {
            self.held.lock().expect("no test panics").push((process, exit_code));
        } else {
            process.killed.send_replace(Some(exit_code));
        }
        Ok(())
    }

    async fn processes(&self) -> Result<Vec<ProcessSummary>, ComputeError> {
        let processes = self.processes.lock().expect("no test panics with the lock");
        let summaries = processes.iter().map(|(id, process)| ProcessSummary {
            name: process.name.clone(),
            pid: 4 * id.0,
            cpu_100ns: 0,
            private_bytes: 0,
        });
        Ok(summaries.collect())
    }

    async fn save_registry(&self) -> Result<PathBuf, ComputeError> {
        let mut registry = self.registry.lock().expect("no test panics with the lock");
        registry.check_saved();
        let sandbox = &self.document.sandbox;
        let path = sandbox.join(format!("saved-{}", registry.saved.len()));
        fs_err::create_dir(&path).expect("the disk has room");
        for file in ["system.reg", "userdef.reg", "user.reg"] {
            let from = sandbox.join("registry").join(file);
            fs_err::copy(from, path.join(file)).expect("the sandbox has a registry");
        }
        registry.saved.push(path.clone());
        Ok(path)
    }

    async fn change_registry(&self, changes: Vec<RegistryOperation>) -> Result<(), ComputeError> {
        assert!(!changes.is_empty(), "a change of nothing");
        self.registry.lock().expect("no test panics with the lock").changes.extend(changes);
        Ok(())
    }

    async fn change_layers(&self, layers: Vec<PathBuf>) -> Result<(), ComputeError> {
        assert!(!layers.is_empty(), "a system needs layers");
        let used = !self.created.lock().expect("no test panics with the lock").is_empty();
        assert!(!used, "layers of a system change that has had a process");
        *self.layers.lock().expect("no test panics with the lock") = layers;
        Ok(())
    }

    async fn pause(&self) -> Result<(), ComputeError> {
        self.paused.send_replace(true);
        Ok(())
    }

    async fn resume(&self) -> Result<(), ComputeError> {
        self.paused.send_replace(false);
        for (process, code) in self.held.lock().expect("no test panics").drain(..) {
            process.killed.send_replace(Some(code));
        }
        Ok(())
    }

    /// A second of processor time more each time, and a fixed amount of all else.
    async fn statistics(&self) -> Result<Statistics, ComputeError> {
        let cpu_100ns = 10_000_000 * self.host.measured.fetch_add(1, Ordering::Relaxed);
        let traffic = Traffic { received_bytes: 7, sent_bytes: 9, ..Traffic::default() };
        Ok(Statistics {
            cpu_100ns,
            private_bytes: 4096,
            commit_bytes: 8192,
            tasks: 3,
            adapters: [("eth0".to_owned(), traffic)].into(),
            ..Statistics::default()
        })
    }

    async fn killed_for_memory(&self) -> u64 {
        self.killed.load(Ordering::Relaxed)
    }

    async fn missing_libraries(&self) -> Vec<MissingLibrary> {
        vec![MissingLibrary { name: "lost.dll".into(), needed_by: "C:\\app.exe".into() }]
    }

    async fn change_limits(&self, before: &Limits, limits: &Limits) -> Result<(), ComputeError> {
        let mut current = self.limits.lock().expect("no test panics with the lock");
        assert_eq!(*current, *before, "limits are changed from what they are not");
        if limits.memory_bytes == Some(Self::REFUSED) {
            let attempt = "set memory.limit_in_bytes".to_owned();
            return Err(ComputeError::Host { attempt, reason: "Device busy".to_owned() });
        }
        current.clone_from(limits);
        Ok(())
    }

    async fn terminate(&self, _: Registry) -> Result<(), ComputeError> {
        self.registry.lock().expect("no test panics with the lock").check_saved();
        self.end_all();
        self.host.lock().systems.remove(&self.id.0);
        Ok(())
    }
}

impl FakeProcess {
    async fn run(self: Arc<Self>, words: Vec<String>, mut typed: mpsc::Receiver<Vec<u8>>) {
        let mut killed = self.killed.subscribe();
        let code = tokio::select! {
            code = self.act(&words, &mut typed) => code,
            Ok(code) = killed.wait_for(Option::is_some) => code.unwrap_or_default(),
        };
        self.send(ProcessEvent::Exited(code)).await;
        self.events.send_replace(None);
    }

    async fn act(&self, words: &[String], typed: &mut mpsc::Receiver<Vec<u8>>) -> u32 {
        let mut asked = self.asked.subscribe();
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "out" => {
                    let line = format!("{}\r\n", words.next().unwrap_or_default());
                    self.send(ProcessEvent::Stdout(line.into())).await;
                }
                "err" => {
                    let line = format!("{}\r\n", words.next().unwrap_or_default());
                    self.send(ProcessEvent::Stderr(line.into())).await;
                }
                "exit" => return words.next().and_then(|code| code.parse().ok()).unwrap_or(1),
                "wait" => {
                    let code = asked.wait_for(Option::is_some).await.map(|code| *code);
                    return code.ok().flatten().unwrap_or(1);
                }
                "stubborn" => std::future::pending().await,
                "cat" => {
                    while let Some(bytes) = typed.recv().await {
                        self.send(ProcessEvent::Stdout(bytes)).await;
                    }
                }
                _ => {}
            }
        }
        0
    }

    async fn send(&self, event: ProcessEvent) {
        let mut events = self.events.subscribe();
        loop {
            let Some(sender) = events.borrow_and_update().clone() else { return };
            if sender.send(event.clone()).await.is_ok() {
                return;
            }
            // The daemon that looked has died; the next one will look.
            if events.changed().await.is_err() {
                return;
            }
        }
    }
}

/// A clock that goes on by one second each time it is read.
#[derive(Default)]
pub struct FakeClock(AtomicU64);

impl Clock for FakeClock {
    fn now(&self) -> Time {
        let seconds = self.0.fetch_add(1, Ordering::Relaxed);
        Time(1_700_000_000_000_000_000 + i64::try_from(seconds).unwrap_or(0) * 1_000_000_000)
    }
}

/// Ids that count.
#[derive(Default)]
pub struct FakeIds {
    next: AtomicU32,
    picked: AtomicUsize,
}

impl FakeIds {
    /// Ids that count from a number on, for an engine that opens what another one left.
    #[must_use]
    pub fn from(first: u32) -> Self {
        Self { next: AtomicU32::new(first), picked: AtomicUsize::new(0) }
    }
}

impl IdSource for FakeIds {
    fn id(&self) -> String {
        format!("{:08x}", self.next.fetch_add(1, Ordering::Relaxed) + 0xa0).repeat(8)
    }

    fn pick(&self, bound: usize) -> usize {
        self.picked.fetch_add(1, Ordering::Relaxed) % bound
    }
}

/// A world of fakes on a temporary data root.
pub struct World {
    /// Its compute host.
    pub host: FakeHost,
    /// Its network.
    pub network: FakeNetwork,
    /// Bytes on drive C: of containers that do not say.
    pub sandbox_size: Option<u64>,
    root: PathBuf,
    first_id: u32,
}

impl World {
    /// A world below `root` whose programs run on `outside`, with an image `nanoserver` whose
    /// command is `out hello`.
    ///
    /// # Panics
    /// When the disk refuses.
    #[must_use]
    pub fn new(root: &std::path::Path, outside: tokio::runtime::Handle) -> Self {
        let world = Self {
            host: FakeHost::new(outside),
            network: FakeNetwork::default(),
            root: root.to_owned(),
            sandbox_size: None,
            first_id: 0,
        };
        let tar = root.join("base.tar");
        fs_err::write(&tar, base_layer()).expect("the disk has room");
        let config = ImageConfig {
            os: "windows".to_owned(),
            architecture: "amd64".to_owned(),
            os_version: oriel_hcs::OS_VERSION.to_owned(),
            config: RunConfig {
                cmd: Some(vec!["out".to_owned(), "hello".to_owned()]),
                ..RunConfig::default()
            },
            ..ImageConfig::default()
        };
        let import = BaseImport { name: "nanoserver".to_owned(), layer_tar: tar, config };
        let parts = world.parts();
        parts.images.import_base(&import).expect("the base image is good");
        drop(parts);
        world
    }

    /// The parts of an engine in this world; at most one at a time.
    ///
    /// # Panics
    /// When the disk refuses, or another engine is still there.
    #[must_use]
    pub fn parts(&self) -> Parts {
        let path = self.root.join("meta.redb");
        let database = redb::Database::create(path).expect("one engine at a time");
        let database = Arc::new(database);
        Parts {
            host: Arc::new(self.host.clone()),
            network: Arc::new(self.network.clone()),
            images: ImageStore::open(&self.root, database.clone()).expect("the store opens"),
            database,
            root: self.root.clone(),
            personality: Box::new(|| Some("/personality".into())),
            clock: Arc::new(FakeClock::default()),
            ids: Arc::new(FakeIds::from(self.first_id)),
            nat: NetworkSpec {
                name: "nat".to_owned(),
                bridge: "fake0".to_owned(),
                subnet: Block::around(Ipv4Addr::new(10, 0, 0, 0), 24).expect("at most 32"),
                gateway: Ipv4Addr::new(10, 0, 0, 1),
                range: None,
                reserved: Vec::new(),
                internal: false,
            },
            address_pools: AddressPool::defaults(),
            pipes: HostPipes { engine: None, folder: self.root.join("pipes") },
            sandbox_size: self.sandbox_size,
        }
    }

    /// Lets ids of later engines begin elsewhere.
    pub fn another_daemon(&mut self) {
        self.first_id += 0x1000;
    }
}

/// The smallest layer a base image can have.
fn base_layer() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for path in ["Files/", "Files/Windows/", "Files/Windows/System32/"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o755);
        tar.append_data(&mut header, path, std::io::empty()).expect("to memory");
    }
    tar.into_inner().expect("to memory")
}
