//! What an engine finds when it opens, and what becomes of it.
//!
//! | found | becomes |
//! |---|---|
//! | record says running, system alive | taken up: output, exit code and waits go on |
//! | record says paused, system alive | the same, and stays paused |
//! | record says running, system ended meanwhile | ended, with the exit code from the journal |
//! | record says running, nothing known of it | ended, as if killed |
//! | record says anything else | whatever a half-made start left is removed |
//! | never started, and to be removed when it ends | removed: whoever wanted to start it is gone |
//! | sandbox, log, network or compartment without a record | removed |
//! | ended, and its policy starts it with the daemon | started |

use std::{collections::HashSet, sync::Arc, time::Duration};

use oriel_hcs::{ComputeError, OpenedSystem, Process, ProcessEvent, ProcessId, SystemId};

use crate::{
    Engine, EngineError, Run, State,
    container::{Container, Live},
    logs::log_unusable,
    records::Record,
    stop::KILLED,
};

impl Engine {
    /// Takes up what an earlier engine left. Called once, before any request.
    pub(crate) async fn reconcile(&self) -> Result<(), EngineError> {
        let records = self.blocking(|engine| engine.inner.records.all()).await?;
        self.remove_orphans(records.iter().map(|record| record.id.clone()).collect()).await?;
        let living: Vec<_> = records
            .iter()
            .filter(|record| record.state.is_running())
            .filter_map(|record| record.compartment.clone())
            .collect();
        self.inner.parts.network.reconcile(&living).await?;
        let mut containers = Vec::with_capacity(records.len());
        for record in records {
            self.claim_volumes(&record);
            let container = Arc::new(Container::new(record, self.root()));
            let mut registry = self.registry();
            registry.names.insert(container.record().name, container.id.clone());
            registry.containers.insert(container.id.clone(), container.clone());
            containers.push(container);
        }
        for container in containers {
            self.take_up(&container).await?;
        }
        Ok(())
    }

    /// Notes which volumes a container has.
    fn claim_volumes(&self, record: &Record) {
        for mount in record.spec.host.mounts.iter().filter(|mount| mount.is_volume()) {
            if let Err(error) = self.inner.volumes.claim(&mount.name, &record.id) {
                tracing::warn!(container.id = record.id, error = %error, "a volume is gone");
            }
        }
    }

    /// Removes sandboxes and logs that no record owns, with the systems that may run on them.
    async fn remove_orphans(&self, owned: HashSet<String>) -> Result<(), EngineError> {
        let orphans = self
            .blocking(move |engine| {
                let mut found: HashSet<String> = engine.images().sandboxes()?.into_iter().collect();
                if let Ok(entries) = fs_err::read_dir(engine.root().join("containers")) {
                    let names = entries.flatten().map(|entry| entry.file_name());
                    found.extend(names.filter_map(|name| name.into_string().ok()));
                }
                Ok::<_, EngineError>(found.difference(&owned).cloned().collect::<Vec<_>>())
            })
            .await?;
        for id in orphans {
            tracing::info!(container.id = id, "removing what no container owns");
            self.clean(&id).await;
            self.blocking(move |engine| {
                engine.discard_files(&id);
                Ok::<_, EngineError>(())
            })
            .await?;
        }
        Ok(())
    }

    async fn clean(&self, id: &str) {
        if let Err(error) = self.inner.parts.host.clean(&SystemId(id.to_owned())).await {
            tracing::warn!(container.id = id, error = %error, "cannot remove a compute system");
        }
    }

    async fn take_up(&self, container: &Arc<Container>) -> Result<(), EngineError> {
        let record = container.record();
        match &record.state {
            State::Running { .. } | State::Paused { .. } => {
                self.take_up_running(container, &record).await
            }
            State::Created { .. } => {
                self.clean(&container.id).await;
                if record.spec.host.auto_remove {
                    self.remove_ended(container).await;
                }
                Ok(())
            }
            State::Restarting(_) => {
                self.clean(&container.id).await;
                let (engine, container) = (self.clone(), container.clone());
                let task = async move { engine.restart_after(container, Duration::ZERO).await };
                self.inner.tasks.spawn(task);
                Ok(())
            }
            State::Exited(run) => {
                self.clean(&container.id).await;
                if record.spec.host.auto_remove {
                    self.remove_ended(container).await;
                } else if record.spec.host.restart.starts_with_daemon(run.by_client) {
                    self.start_with_daemon(container);
                }
                Ok(())
            }
        }
    }

    fn start_with_daemon(&self, container: &Arc<Container>) {
        let (engine, container) = (self.clone(), container.clone());
        self.inner.tasks.spawn(async move {
            if let Err(error) = engine.start_now(&container).await {
                tracing::warn!(container.id = container.id, error = %error, "cannot start");
            }
        });
    }

    async fn take_up_running(
        &self,
        container: &Arc<Container>,
        record: &Record,
    ) -> Result<(), EngineError> {
        let taken_up = container.clone();
        let opened = self.blocking(move |_| taken_up.output.open_log().map_err(log_unusable));
        if let Err(error) = opened.await {
            tracing::warn!(container.id = container.id, error = %error, "cannot go on with a log");
        }
        let opened = self.inner.parts.host.open(&SystemId(container.id.clone())).await;
        let opened = match opened {
            Ok(opened) => opened,
            Err(ComputeError::SystemNotFound { .. }) => {
                OpenedSystem { system: None, processes: Vec::new() }
            }
            Err(error) => {
                tracing::warn!(container.id = container.id, error = %error, "cannot take up");
                OpenedSystem { system: None, processes: Vec::new() }
            }
        };
        let last = opened.processes.iter().map(|process| process.id).max();
        let (init, others): (Vec<Process>, Vec<Process>) =
            opened.processes.into_iter().partition(|process| process.id == ProcessId::INIT);
        for mut process in others {
            // Execs of clients that are gone: nobody asks for their output any more.
            self.inner.tasks.spawn(async move { while process.events.recv().await.is_some() {} });
        }
        match (opened.system, init.into_iter().next()) {
            (Some(system), Some(process)) => {
                let started = record.state.started().unwrap_or(record.created);
                let last = last.unwrap_or(ProcessId::INIT);
                let live = Arc::new(Live::new(system, started, Duration::ZERO, last));
                self.settle(container, &live).await;
                container.set_live(Some(live));
                self.follow(container, process);
                Ok(())
            }
            (_, process) => self.close_run(container, record, process).await,
        }
    }

    /// Records the end of a run whose system is gone.
    async fn close_run(
        &self,
        container: &Arc<Container>,
        record: &Record,
        process: Option<Process>,
    ) -> Result<(), EngineError> {
        let mut code = None;
        if let Some(mut process) = process {
            code = self.drain(container, &mut process).await;
        }
        container.output.close(self.now());
        self.clean(&container.id).await;
        self.leave_networks(&container.id).await;
        let run = Run {
            started: record.state.started().unwrap_or(record.created),
            finished: self.now(),
            code: code.unwrap_or(KILLED),
            error: if code.is_some() {
                String::new()
            } else {
                "the compute system ended while the daemon was away".to_owned()
            },
            by_client: false,
            out_of_memory: false,
        };
        let again =
            record.spec.host.restart.starts_with_daemon(false) && !record.spec.host.auto_remove;
        self.record_end(container, run, false).await;
        self.emit(record, "die", &[("exitCode", code.unwrap_or(KILLED).to_string())]);
        self.emit_mounts(&record.id, &record.spec.host.mounts, "unmount");
        if record.spec.host.auto_remove {
            self.remove_ended(container).await;
        } else if again {
            self.start_with_daemon(container);
        }
        Ok(())
    }

    /// Logs what an ended process left behind; returns its exit code.
    async fn drain(&self, container: &Container, process: &mut Process) -> Option<u32> {
        let (_keep, mut hurry) = tokio::sync::watch::channel(true);
        while let Some(event) = process.events.recv().await {
            let (stream, bytes) = match event {
                ProcessEvent::Stdout(bytes) => (crate::Stream::Stdout, bytes),
                ProcessEvent::Stderr(bytes) => (crate::Stream::Stderr, bytes),
                ProcessEvent::Exited(code) => return Some(code),
            };
            let chunk = crate::Chunk { stream, bytes: bytes.into() };
            container.output.publish(self.now(), chunk, &mut hurry).await;
        }
        None
    }
}
