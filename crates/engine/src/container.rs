//! A container in memory.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use oriel_hcs::{Compartment, ComputeSystem, Endpoint, EndpointSpec, MissingLibrary, ProcessId};
use tokio::sync::{Notify, watch};

use crate::{
    EngineError, Health, Shared, Spec, State, Time, exec::Exec, logs::LogFiles, networks::Joined,
    output::Output, records::Record, stats::Followers,
};

/// A container. The engine's registry owns it; tasks hold it as long as they work on it.
pub(crate) struct Container {
    /// Its id.
    pub(crate) id: String,
    /// Held by whoever starts, ends or removes it; never while waiting for its program.
    pub(crate) operation: tokio::sync::Mutex<()>,
    record: Mutex<Record>,
    live: Mutex<Option<Arc<Live>>>,
    ready: Mutex<Option<Ready>>,
    health: Mutex<Option<Health>>,
    /// Its output.
    pub(crate) output: Output,
    /// What others wait for.
    pub(crate) status: watch::Sender<Status>,
    /// Wakes a restart that pauses, so that it gives up.
    pub(crate) restart_cancelled: Notify,
    removing: AtomicBool,
    /// Its execs, by id. They are forgotten with it.
    pub(crate) execs: Mutex<BTreeMap<String, Arc<Exec>>>,
    /// Whoever follows what it uses.
    pub(crate) followers: Mutex<Option<Followers>>,
}

/// What others wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// Whether its program runs, or will again after a pause.
    pub(crate) active: bool,
    /// Whether its program runs.
    pub(crate) running: bool,
    /// Runs that have ended.
    pub(crate) ended: u64,
    /// Exit code of the latest.
    pub(crate) code: u32,
    /// What went wrong with the container itself.
    pub(crate) error: String,
    /// The DLLs for lack of which the latest did not begin, or one of its programs.
    pub(crate) missing: Vec<MissingLibrary>,
    /// Whether it is gone.
    pub(crate) removed: bool,
}

/// A run that was made ready before its container was.
pub(crate) struct Ready {
    /// Its networks.
    pub(crate) joined: Joined,
    /// Its compute system, in which nothing runs yet.
    pub(crate) system: Arc<dyn ComputeSystem>,
}

/// A run under way.
pub(crate) struct Live {
    /// Its compute system.
    pub(crate) system: Arc<dyn ComputeSystem>,
    /// Whether a client asked for its end.
    pub(crate) stopped: AtomicBool,
    /// Whether slow clients are to be left behind.
    pub(crate) hurry: watch::Sender<bool>,
    /// When it began.
    pub(crate) started: Time,
    /// Pause before it, when its policy began it.
    pub(crate) pause: Duration,
    next_process: AtomicU32,
}

impl Live {
    /// A run whose system has processes up to `last_process`.
    pub(crate) fn new(
        system: Arc<dyn ComputeSystem>,
        started: Time,
        pause: Duration,
        last_process: ProcessId,
    ) -> Self {
        Self {
            system,
            stopped: AtomicBool::new(false),
            hurry: watch::Sender::new(false),
            started,
            pause,
            next_process: AtomicU32::new(last_process.0 + 1),
        }
    }

    /// An id for another process.
    pub(crate) fn next_process(&self) -> ProcessId {
        ProcessId(self.next_process.fetch_add(1, Ordering::Relaxed))
    }
}

impl Container {
    /// A container whose log is below the data root.
    pub(crate) fn new(record: Record, root: &Path) -> Self {
        let output = Output::new(LogFiles::of(root, &record));
        let status = Status {
            active: record.state.is_active(),
            running: record.state.is_running(),
            code: record.state.exit_code(),
            error: record.state.error().to_owned(),
            ..Status::default()
        };
        Self {
            id: record.id.clone(),
            operation: tokio::sync::Mutex::new(()),
            record: Mutex::new(record),
            live: Mutex::new(None),
            ready: Mutex::new(None),
            health: Mutex::new(None),
            output,
            status: watch::Sender::new(status),
            restart_cancelled: Notify::new(),
            removing: AtomicBool::new(false),
            execs: Mutex::new(BTreeMap::new()),
            followers: Mutex::new(None),
        }
    }

    /// A copy of its record.
    pub(crate) fn record(&self) -> Record {
        self.record_mut().clone()
    }

    /// Its record; not to be held across anything that waits.
    pub(crate) fn record_mut(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no panic while a record is changed")
    }

    /// Its run, when it has one.
    pub(crate) fn live(&self) -> Option<Arc<Live>> {
        self.live.lock().expect("no panic while a run is swapped").clone()
    }

    /// Its run.
    ///
    /// # Errors
    /// When it has none.
    pub(crate) fn running(&self) -> Result<Arc<Live>, EngineError> {
        self.live().ok_or_else(|| EngineError::NotRunning { id: self.id.clone() })
    }

    /// Sets or takes its run.
    pub(crate) fn set_live(&self, live: Option<Arc<Live>>) {
        *self.live.lock().expect("no panic while a run is swapped") = live;
    }

    /// Gives it a system that waits for its first process.
    pub(crate) fn set_ready(&self, ready: Ready) {
        *self.ready.lock().expect("no panic while a system is handed over") = Some(ready);
    }

    /// Takes that system, when there is one.
    pub(crate) fn take_ready(&self) -> Option<Ready> {
        self.ready.lock().expect("no panic while a system is handed over").take()
    }

    /// How it is, when it has a health check and has run.
    pub(crate) fn health(&self) -> Option<Health> {
        self.health.lock().expect("no panic while a health is changed").clone()
    }

    /// Begins to tell how it is, or stops to.
    pub(crate) fn set_health(&self, health: Option<Health>) {
        *self.health.lock().expect("no panic while a health is changed") = health;
    }

    /// Changes how it is, when it has a health check.
    pub(crate) fn change_health<T>(&self, change: impl FnOnce(&mut Health) -> T) -> Option<T> {
        self.health.lock().expect("no panic while a health is changed").as_mut().map(change)
    }

    /// Claims its removal; only the first caller succeeds.
    pub(crate) fn claim_removal(&self) -> bool {
        !self.removing.swap(true, Ordering::AcqRel)
    }

    /// Gives a claimed removal back.
    pub(crate) fn release_removal(&self) {
        self.removing.store(false, Ordering::Release);
    }

    /// Whether it is being removed.
    pub(crate) fn is_removing(&self) -> bool {
        self.removing.load(Ordering::Acquire)
    }

    /// What others see of it.
    pub(crate) fn view(&self) -> ContainerView {
        let record = self.record();
        let execs = self.execs.lock().expect("no panic while execs are listed");
        ContainerView {
            id: record.id,
            name: record.name,
            created: record.created,
            spec: record.spec,
            state: record.state,
            health: self.health(),
            restarts: record.restarts,
            compartment: record.compartment,
            execs: execs.values().filter(|exec| exec.is_running()).map(|e| e.id.clone()).collect(),
            removing: self.is_removing(),
        }
    }
}

/// What others see of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerView {
    /// Its id.
    pub id: String,
    /// Its name, without a slash.
    pub name: String,
    /// When it was created.
    pub created: Time,
    /// What it is.
    pub spec: Shared<Spec>,
    /// Its state.
    pub state: State,
    /// How it is, when it has a health check and has run.
    pub health: Option<Health>,
    /// Restarts by its policy.
    pub restarts: u32,
    /// Its network compartment, while it runs, unless it has none or another container's.
    pub compartment: Option<Compartment>,
    /// Ids of its running execs.
    pub execs: Vec<String>,
    /// Whether it is being removed.
    pub removing: bool,
}

impl ContainerView {
    /// Its endpoints, while it runs.
    pub fn endpoints(&self) -> impl Iterator<Item = &(EndpointSpec, Endpoint)> {
        self.compartment.iter().flat_map(|compartment| &compartment.endpoints)
    }

    /// Its endpoint on the network of this name, while it runs.
    #[must_use]
    pub fn endpoint_on(&self, network: &str) -> Option<&(EndpointSpec, Endpoint)> {
        self.endpoints().find(|(spec, _)| spec.network == network)
    }
}
