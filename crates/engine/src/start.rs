//! Starting containers.

use std::{path::Path, sync::Arc, time::Duration};

use oriel_hcs::{ComputeSystem, Process, ProcessId, Registry, SystemId};

use crate::{
    Engine, EngineError, Run, State, Time,
    container::{Container, Live, Ready},
    document,
    logs::log_unusable,
    networks::Joined,
    records::Record,
};

impl Engine {
    /// Starts a container: on return its program runs.
    ///
    /// # Errors
    /// `NotModified` when it runs already; `Invalid` when Windows refuses to create the process;
    /// `Unavailable` without an NT personality. Then nothing of the run is left behind.
    pub async fn start(&self, reference: &str) -> Result<(), EngineError> {
        let container = self.find(reference)?;
        let engine = self.clone();
        self.inner.tasks.complete(async move { engine.start_now(&container).await }).await
    }

    pub(crate) async fn start_now(&self, container: &Arc<Container>) -> Result<(), EngineError> {
        let operation = container.operation.lock().await;
        if container.is_removing() {
            let reference = container.id.clone();
            return Err(EngineError::NoSuchContainer { reference });
        }
        if container.record().state.is_paused() {
            return Err(EngineError::StartPaused);
        }
        if container.record().state.is_active() {
            return Err(EngineError::AlreadyStarted { id: container.id.clone() });
        }
        container.record_mut().restarts = 0;
        let started = self.boot(container, Duration::ZERO).await;
        drop(operation);
        if started.is_err() && container.record().spec.host.auto_remove {
            self.remove_ended(container).await;
        }
        started
    }

    /// Begins a run. The caller holds the operation lock. On error the run is undone and the
    /// reason recorded.
    pub(crate) async fn boot(
        &self,
        container: &Arc<Container>,
        pause: Duration,
    ) -> Result<(), EngineError> {
        let record = container.record();
        match self.begin(container, &record, pause).await {
            Ok(process) => {
                self.emit_networks(&container.record(), "connect");
                self.emit_mounts(&record.id, &record.spec.host.mounts, "mount");
                self.emit(&record, "start", &[]);
                self.follow(container, process);
                Ok(())
            }
            Err(error) => {
                container.output.close(self.now());
                self.record_failure(container, &error).await;
                Err(error)
            }
        }
    }

    /// Has a run supervised. No `async fn`: supervising may lead to the next run.
    pub(crate) fn follow(&self, container: &Arc<Container>, process: Process) {
        self.watch_health(container);
        let (engine, container) = (self.clone(), container.clone());
        self.inner.tasks.spawn(async move { engine.supervise(container, process).await });
    }

    async fn begin(
        &self,
        container: &Arc<Container>,
        record: &Record,
        pause: Duration,
    ) -> Result<Process, EngineError> {
        let personality = (self.inner.parts.personality)().ok_or(EngineError::NoPersonality)?;
        let mounts = record.spec.host.mounts.clone();
        self.blocking(move |engine| engine.check_mounts(&mounts)).await?;
        let logged = container.clone();
        self.blocking(move |_| logged.output.open_log().map_err(log_unusable)).await?;
        let (joined, ready) = match container.take_ready() {
            Some(Ready { joined, system }) => (joined, Some(system)),
            None => (self.join_networks(record).await?, None),
        };
        let booted = match ready {
            Some(system) => Ok(system),
            None => self.boot_system(record, &personality, &joined).await,
        };
        let first = match booted {
            Ok(system) => self.first_process(record, system).await,
            Err(error) => Err(error),
        };
        let begun = match first {
            Ok((system, process)) => {
                let kept = self.keep_run(container, &system, &joined, pause).await;
                match kept {
                    Ok(()) => Ok(process),
                    Err(error) => {
                        container.set_live(None);
                        self.end_system(&container.id, system.as_ref(), Registry::Discard).await;
                        Err(error)
                    }
                }
            }
            Err(error) => Err(error),
        };
        if begun.is_err() {
            self.leave(&container.id, &joined).await;
        }
        begun
    }

    /// Undoes what a run that does not come to be has of networks.
    pub(crate) async fn leave(&self, id: &str, joined: &Joined) {
        if joined.compartment.is_some() && !joined.shared {
            self.leave_networks(id).await;
        }
    }

    /// Makes the compute system of a container.
    pub(crate) async fn boot_system(
        &self,
        record: &Record,
        personality: &Path,
        joined: &Joined,
    ) -> Result<Arc<dyn ComputeSystem>, EngineError> {
        let id = record.id.clone();
        let sandbox = self.blocking(move |engine| engine.images().sandbox(&id)).await?;
        let mut document = document::system(&record.spec, &sandbox, personality, joined);
        self.inner.parts.pipes.resolve(&mut document)?;
        let system_id = SystemId(record.id.clone());
        Ok(self.inner.parts.host.create(&system_id, &document).await?)
    }

    /// Creates the first process of a system, which ends when that fails.
    async fn first_process(
        &self,
        record: &Record,
        system: Arc<dyn ComputeSystem>,
    ) -> Result<(Arc<dyn ComputeSystem>, Process), EngineError> {
        let parameters = document::init(&record.spec);
        match system.create_process(ProcessId::INIT, &parameters).await {
            Ok(process) => Ok((system, process)),
            Err(error) => {
                self.end_system(&record.id, system.as_ref(), Registry::Discard).await;
                Err(error.into())
            }
        }
    }

    /// Writes down that it runs; from here on a daemon that dies leaves a run to be taken up.
    async fn keep_run(
        &self,
        container: &Arc<Container>,
        system: &Arc<dyn ComputeSystem>,
        joined: &Joined,
        pause: Duration,
    ) -> Result<(), EngineError> {
        let started = self.now();
        {
            let mut record = container.record_mut();
            record.state = State::Running { started, pid: system.host_pid() };
            record.compartment = joined.compartment.clone().filter(|_| !joined.shared);
        }
        let live = Live::new(system.clone(), started, pause, ProcessId::INIT);
        container.set_live(Some(Arc::new(live)));
        self.save(container).await?;
        container.status.send_modify(|status| {
            status.active = true;
            status.running = true;
        });
        Ok(())
    }

    /// Ends a system for good, by force when asking does not help.
    pub(crate) async fn end_system(
        &self,
        id: &str,
        system: &dyn ComputeSystem,
        registry: Registry,
    ) {
        let Err(error) = system.terminate(registry).await else { return };
        tracing::warn!(container.id = id, error = %error, "cannot end a compute system in order");
        if let Err(error) = self.inner.parts.host.clean(&SystemId(id.to_owned())).await {
            tracing::error!(container.id = id, error = %error, "cannot remove a compute system");
        }
    }

    /// Records why a start failed. A container that never ran stays *created*, as with Docker.
    async fn record_failure(&self, container: &Container, error: &EngineError) {
        let (code, reason, now) = (error.start_exit_code(), error.to_string(), self.now());
        {
            let mut record = container.record_mut();
            record.compartment = None;
            record.state = failed(&record.state, code, reason.clone(), now);
        }
        if let Err(error) = self.save(container).await {
            tracing::error!(container.id = container.id, error = %error, "cannot record a failure");
        }
        container.status.send_modify(|status| {
            status.active = false;
            status.running = false;
            status.code = code;
            status.error = reason;
        });
    }
}

/// State after a start that failed.
fn failed(before: &State, code: u32, error: String, now: Time) -> State {
    match before {
        State::Created { .. } => State::Created { failure: Some((code, error)) },
        State::Running { started, .. } | State::Paused { started, .. } => State::Exited(Run {
            started: *started,
            finished: now,
            code,
            error,
            by_client: false,
            out_of_memory: false,
        }),
        State::Restarting(run) | State::Exited(run) => {
            State::Exited(Run { code, error, ..run.clone() })
        }
    }
}
