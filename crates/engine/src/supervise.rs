//! What follows a run: its output while it lasts, and everything that its end brings.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use oriel_hcs::{DLL_NOT_FOUND, Process, ProcessEvent, Registry};
use tokio::sync::mpsc;

use crate::{
    Chunk, Engine, Health, Run, State, Stream,
    container::{Container, Live},
    restart::Ended,
    stop::KILLED,
};

/// How a run's first process ended.
enum Exit {
    /// With this exit code.
    Code(u32),
    /// Its compute system died under it.
    Lost,
}

impl Engine {
    /// Follows a run to its end, and begins the next when the policy says so.
    pub(crate) async fn supervise(self, container: Arc<Container>, process: Process) {
        let Some(live) = container.live() else { return };
        let exit = self.pump(&container, &live, process.events).await;
        container.output.close(self.now());
        let operation = container.operation.lock().await;
        let pause = self.end_run(&container, &live, exit).await;
        drop(operation);
        match pause {
            Some(pause) => self.restart_after(container, pause).await,
            None if container.record().spec.host.auto_remove => {
                self.remove_ended(&container).await;
            }
            None => {}
        }
    }

    async fn pump(
        &self,
        container: &Container,
        live: &Live,
        mut events: mpsc::Receiver<ProcessEvent>,
    ) -> Exit {
        let mut hurry = live.hurry.subscribe();
        while let Some(event) = events.recv().await {
            let (stream, bytes) = match event {
                ProcessEvent::Stdout(bytes) => (Stream::Stdout, bytes),
                ProcessEvent::Stderr(bytes) => (Stream::Stderr, bytes),
                ProcessEvent::Exited(code) => return Exit::Code(code),
            };
            let chunk = Chunk { stream, bytes: bytes.into() };
            container.output.publish(self.now(), chunk, &mut hurry).await;
        }
        Exit::Lost
    }

    /// Takes a run apart and records its end. Returns the pause before the next one, if there is
    /// to be one.
    async fn end_run(&self, container: &Container, live: &Live, exit: Exit) -> Option<Duration> {
        let before = container.record();
        let keep = if before.spec.host.auto_remove { Registry::Discard } else { Registry::Keep };
        // Its control groups go with the system.
        let out_of_memory = live.system.killed_for_memory().await > 0;
        let missing = match exit {
            Exit::Code(DLL_NOT_FOUND) => live.system.missing_libraries().await,
            _ => Vec::new(),
        };
        self.end_system(&container.id, live.system.as_ref(), keep).await;
        if before.compartment.is_some() {
            self.leave_networks(&container.id).await;
        }
        container.set_live(None);
        container.change_health(Health::end);
        let by_client = live.stopped.load(Ordering::Acquire);
        let (code, error) = match exit {
            Exit::Code(code) => (code, String::new()),
            Exit::Lost if by_client => (KILLED, String::new()),
            Exit::Lost => (KILLED, "the compute system ended unexpectedly".to_owned()),
        };
        let finished = self.now();
        let ended = Ended {
            code,
            by_client: by_client || container.is_removing(),
            ran: finished.since(live.started),
            restarts: before.restarts,
            last_pause: live.pause,
        };
        let pause = before.spec.host.restart.pause(&ended);
        container.status.send_if_modified(|status| {
            status.missing = missing;
            // Those who wait are told by what follows.
            false
        });
        let started = live.started;
        let run = Run { started, finished, code, error, by_client, out_of_memory };
        self.record_end(container, run, pause.is_some()).await;
        if out_of_memory {
            self.emit(&before, "oom", &[]);
        }
        let ran = finished.since(live.started).as_secs().to_string();
        self.emit(&before, "die", &[("exitCode", code.to_string()), ("execDuration", ran)]);
        self.emit_networks(&before, "disconnect");
        self.emit_mounts(&before.id, &before.spec.host.mounts, "unmount");
        pause
    }

    pub(crate) async fn record_end(&self, container: &Container, run: Run, again: bool) {
        let (code, error) = (run.code, run.error.clone());
        {
            let mut record = container.record_mut();
            record.compartment = None;
            if again {
                record.restarts += 1;
                record.state = State::Restarting(run);
            } else {
                record.state = State::Exited(run);
            }
        }
        if let Err(error) = self.save(container).await {
            tracing::error!(container.id = container.id, error = %error, "cannot record an end");
        }
        container.status.send_modify(|status| {
            status.active = again;
            status.running = false;
            status.ended += 1;
            status.code = code;
            status.error = error;
        });
    }

    /// Begins the next run after a pause, unless a client wants otherwise meanwhile.
    pub(crate) async fn restart_after(&self, container: Arc<Container>, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // The state below tells whether this was meant for this pause.
            () = container.restart_cancelled.notified() => {}
        }
        let _operation = container.operation.lock().await;
        let waiting = matches!(container.record().state, State::Restarting(_));
        if !waiting || container.is_removing() {
            return;
        }
        if let Err(error) = self.boot(&container, pause).await {
            tracing::warn!(container.id = container.id, error = %error, "cannot restart");
        }
    }
}
