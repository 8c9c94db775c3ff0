//! Ending containers, and waiting for their end.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use oriel_hcs::{ComputeError, ControlEvent, ProcessId, Registry};

use crate::{
    Action, Engine, EngineError, State,
    container::{Container, Live, Status},
    signal,
};

/// Exit code of what is killed: `DBG_TERMINATE_PROCESS`, as on Windows.
pub(crate) const KILLED: u32 = 0x4001_0004;

/// Grace period on Windows (moby `daemon/config/config_windows.go`).
const GRACE: Duration = Duration::from_secs(30);

/// How long a killed program may take to end before its whole system is ended.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// How long ending a whole system may take: it writes the registry and takes down mounts.
const END_WAIT: Duration = Duration::from_secs(75);

/// What `wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// That it does not run; satisfied at once when it does not.
    NotRunning,
    /// The end of a run after now.
    NextExit,
    /// Its removal.
    Removed,
}

impl Engine {
    /// Asks a container to end, waits, and then makes it. `seconds` overrides the container's
    /// grace period (negative: without end), `signal` its stop signal.
    ///
    /// # Errors
    /// `NotModified` when it does not run, `Invalid` for what is no signal.
    pub async fn stop(
        &self,
        reference: &str,
        seconds: Option<i64>,
        signal: Option<&str>,
    ) -> Result<(), EngineError> {
        let stopping = self.stopping(reference, seconds, signal)?;
        self.inner.tasks.complete(async move { stopping.await.0 }).await
    }

    /// Prepares to end a container; the future it returns does it, and gives it back.
    fn stopping(
        &self,
        reference: &str,
        seconds: Option<i64>,
        signal: Option<&str>,
    ) -> Result<
        impl Future<Output = (Result<(), EngineError>, Arc<Container>)> + Send + 'static,
        EngineError,
    > {
        let container = self.find(reference)?;
        let action = signal.map(signal::action).transpose()?;
        let engine = self.clone();
        Ok(async move { (engine.stop_now(&container, seconds, action).await, container) })
    }

    async fn stop_now(
        &self,
        container: &Arc<Container>,
        seconds: Option<i64>,
        action: Option<Action>,
    ) -> Result<(), EngineError> {
        let record = container.record();
        if self.cancel_restart(container).await {
            return Ok(());
        }
        let Some(live) = container.live() else {
            return Err(EngineError::AlreadyStopped { id: container.id.clone() });
        };
        let mut status = container.status.subscribe();
        let ended = status.borrow().ended;
        live.stopped.store(true, Ordering::Release);
        self.wake(container, &live).await?;
        let action = match action {
            Some(action) => action,
            None => signal::action(record.spec.stop_signal())?,
        };
        if let Some(event) = stop_event(action) {
            self.emit(&record, "kill", &[("signal", signal_number(event).to_owned())]);
            send(&live, event).await?;
            let over = status.wait_for(|status| status.ended > ended || status.removed);
            match grace(seconds.or(record.spec.stop_timeout)) {
                Some(grace) => {
                    // Both outcomes are looked at below.
                    let _ = tokio::time::timeout(grace, over).await;
                }
                None => drop(over.await),
            }
        }
        if !is_over(&container.status.borrow(), ended) {
            self.kill_and_wait(container, &live, ended).await?;
        }
        self.emit(&record, "stop", &[]);
        Ok(())
    }

    /// Ends a run by force: the program, or when that does not help its whole system.
    pub(crate) async fn kill_and_wait(
        &self,
        container: &Container,
        live: &Live,
        ended: u64,
    ) -> Result<(), EngineError> {
        let mut status = container.status.subscribe();
        live.hurry.send_replace(true);
        self.emit(&container.record(), "kill", &[("signal", "9".to_owned())]);
        // It may have ended just now; what counts is the end, awaited below.
        let _ = live.system.kill(ProcessId::INIT, KILLED).await;
        let over = status.wait_for(|status| status.ended > ended || status.removed);
        if tokio::time::timeout(KILL_WAIT, over).await.is_ok() {
            return Ok(());
        }
        self.end_system(&container.id, live.system.as_ref(), Registry::Keep).await;
        let over = status.wait_for(|status| status.ended > ended || status.removed);
        match tokio::time::timeout(END_WAIT, over).await {
            Ok(_) => Ok(()),
            Err(_) => Err(EngineError::DoesNotEnd { id: container.id.clone() }),
        }
    }

    /// Sends a signal to a container's first process.
    ///
    /// # Errors
    /// `Conflict` when it does not run, `Invalid` for what is no signal.
    pub async fn kill(&self, reference: &str, name: &str) -> Result<(), EngineError> {
        let container = self.find(reference)?;
        let action = signal::action(if name.is_empty() { "SIGKILL" } else { name })?;
        let engine = self.clone();
        let task = async move { engine.kill_now(&container, action).await };
        self.inner.tasks.complete(task).await
    }

    async fn kill_now(
        &self,
        container: &Arc<Container>,
        action: Action,
    ) -> Result<(), EngineError> {
        if action == Action::Kill && self.cancel_restart(container).await {
            return Ok(());
        }
        let live = container.running()?;
        self.wake(container, &live).await?;
        let record = container.record();
        match action {
            Action::Kill => {
                live.stopped.store(true, Ordering::Release);
                let ended = container.status.borrow().ended;
                self.kill_and_wait(container, &live, ended).await
            }
            Action::Event(_) | Action::Ignored(_) => {
                let stops = signal::action(record.spec.stop_signal())? == action;
                if stops {
                    live.stopped.store(true, Ordering::Release);
                }
                if let (Action::Ignored(number), false) = (action, stops) {
                    self.emit(&record, "kill", &[("signal", number.to_string())]);
                    return Ok(());
                }
                let event = stop_event(action).unwrap_or(ControlEvent::Shutdown);
                self.emit(&record, "kill", &[("signal", signal_number(event).to_owned())]);
                send(&live, event).await
            }
        }
    }

    /// Stops and starts a container; one that does not run is started.
    ///
    /// # Errors
    /// Those of [`Engine::stop`] and [`Engine::start`].
    pub async fn restart(
        &self,
        reference: &str,
        seconds: Option<i64>,
        signal: Option<&str>,
    ) -> Result<(), EngineError> {
        let stopping = self.stopping(reference, seconds, signal)?;
        let engine = self.clone();
        let task = async move {
            let (stopped, container) = stopping.await;
            match stopped {
                Ok(()) | Err(EngineError::AlreadyStopped { .. }) => {}
                Err(error) => return Err(error),
            }
            engine.start_now(&container).await?;
            engine.emit(&container.record(), "restart", &[]);
            Ok(())
        };
        self.inner.tasks.complete(task).await
    }

    /// Makes a container that pauses before its next run stay ended. Returns whether it did.
    pub(crate) async fn cancel_restart(&self, container: &Container) -> bool {
        let _operation = container.operation.lock().await;
        let State::Restarting(run) = container.record().state else { return false };
        container.restart_cancelled.notify_one();
        {
            let mut record = container.record_mut();
            record.state = State::Exited(crate::Run { by_client: true, ..run });
        }
        if let Err(error) = self.save(container).await {
            tracing::error!(container.id = container.id, error = %error, "cannot record an end");
        }
        container.status.send_modify(|status| status.active = false);
        true
    }

    /// Prepares to wait for a container; the future it returns does the waiting, so that what
    /// happens in between is not missed.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn wait(
        &self,
        reference: &str,
        what: WaitFor,
    ) -> Result<impl Future<Output = (u32, String)> + Send + 'static, EngineError> {
        let container = self.find(reference)?;
        let mut status = container.status.subscribe();
        let ended = status.borrow_and_update().ended;
        Ok(async move {
            let over = |status: &Status| {
                status.removed
                    || match what {
                        WaitFor::NotRunning => !status.active,
                        WaitFor::NextExit => status.ended > ended,
                        WaitFor::Removed => false,
                    }
            };
            let result = match status.wait_for(over).await {
                Ok(status) => (status.code, status.error.clone()),
                // Unreachable while `container` is held.
                Err(_) => (KILLED, "the container is gone".to_owned()),
            };
            drop(container);
            result
        })
    }
}

fn is_over(status: &Status, ended: u64) -> bool {
    status.ended > ended || status.removed
}

/// How long a program may take to end by itself; `None` is without end.
fn grace(seconds: Option<i64>) -> Option<Duration> {
    match seconds {
        None => Some(GRACE),
        Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
    }
}

/// Sends an event to the first process; that it has ended just now is no failure.
async fn send(live: &Live, event: ControlEvent) -> Result<(), EngineError> {
    match live.system.signal(ProcessId::INIT, event).await {
        Ok(()) | Err(ComputeError::ProcessNotFound { .. } | ComputeError::SystemGone { .. }) => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The event that asks a program to end; `None` when it is not asked.
fn stop_event(action: Action) -> Option<ControlEvent> {
    match action {
        Action::Kill => None,
        Action::Event(event) => Some(event),
        Action::Ignored(_) => Some(ControlEvent::Shutdown),
    }
}

/// Number of the Unix signal an event stands for.
fn signal_number(event: ControlEvent) -> &'static str {
    match event {
        ControlEvent::CtrlC => "2",
        ControlEvent::CtrlBreak => "3",
        ControlEvent::Shutdown => "15",
    }
}
