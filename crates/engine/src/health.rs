//! Health checks: a program run in the container now and then tells whether it does its work.
//!
//! Timing, verdicts and texts are Docker's (moby `daemon/health.go`): a container begins as
//! *starting*, one success makes it healthy, several failures in a row make it unhealthy, and
//! failures of its start period do not count before the first success.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use oriel_image::{Healthcheck, RunConfig};
use tokio::sync::watch;

use crate::{
    Engine, EngineError, ExecSpec, ExecState, Time,
    container::{Container, Live, Status},
    stop::KILLED,
};

/// Pause between checks, and the time one may take, when nobody says.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
/// Pause between checks of the start period, when nobody says.
const DEFAULT_START_INTERVAL: Duration = Duration::from_secs(5);
/// Failures in a row that make a container unhealthy, when nobody says.
const DEFAULT_RETRIES: u32 = 3;
/// Shortest duration of a health check, in nanoseconds.
const SHORTEST: i64 = 1_000_000;
/// Checks whose results are kept.
const KEPT_PROBES: usize = 5;
/// Bytes kept of what a check writes.
const KEPT_OUTPUT: usize = 4096;
/// Exit code of a check that did not come to its end.
const NO_EXIT: i64 = -1;
/// What runs `CMD-SHELL` when the image names no shell.
const SHELL: [&str; 3] = ["cmd", "/S", "/C"];

/// Verdict on a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthStatus {
    /// No check has succeeded yet, and not enough have failed.
    Starting,
    /// The latest checks say that it works.
    Healthy,
    /// The latest checks say that it does not, or it has ended.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word: `starting`, `healthy` or `unhealthy`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How a container is, as its health check says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Checks that failed since the latest success.
    pub failing_streak: u32,
    /// The latest results, oldest first.
    pub log: VecDeque<ProbeResult>,
}

/// What one check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeResult {
    /// When it began.
    pub start: Time,
    /// When it ended.
    pub end: Time,
    /// Its exit code; -1 when it did not come to its end.
    pub exit_code: i64,
    /// The first bytes that it wrote, as text, or why it could not run.
    pub output: String,
}

/// A health check with every default settled.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl Check {
    /// The check of a container, if it has one that can run.
    fn of(run: &RunConfig) -> Option<Self> {
        let check = run.healthcheck.as_ref()?;
        let (kind, words) = check.test.split_first()?;
        let command = match kind.as_str() {
            "CMD" => words.to_vec(),
            "CMD-SHELL" => {
                let shell = run.shell.clone().filter(|shell| !shell.is_empty());
                let shell = shell.unwrap_or_else(|| SHELL.map(str::to_owned).to_vec());
                [shell, words.to_vec()].concat()
            }
            "NONE" => return None,
            other => {
                tracing::warn!("Unknown healthcheck type '{other}' (expected 'CMD')");
                return None;
            }
        };
        if command.first().is_none_or(String::is_empty) {
            return None;
        }
        let or = |nanoseconds: i64, default: Duration| match u64::try_from(nanoseconds) {
            Ok(nanoseconds) if nanoseconds > 0 => Duration::from_nanos(nanoseconds),
            _ => default,
        };
        let retries = u32::try_from(check.retries).ok().filter(|retries| *retries > 0);
        Some(Self {
            command,
            interval: or(check.interval, DEFAULT_INTERVAL),
            timeout: or(check.timeout, DEFAULT_INTERVAL),
            start_period: or(check.start_period, Duration::ZERO),
            start_interval: or(check.start_interval, DEFAULT_START_INTERVAL),
            retries: retries.unwrap_or(DEFAULT_RETRIES),
        })
    }

    /// Time to wait before the next check of a container that has run for `ran`.
    fn pause(&self, status: HealthStatus, ran: Duration) -> Duration {
        if status == HealthStatus::Starting && ran < self.start_period {
            self.start_interval
        } else {
            self.interval
        }
    }
}

impl Health {
    fn starting() -> Self {
        let log = VecDeque::with_capacity(KEPT_PROBES);
        Self { status: HealthStatus::Starting, failing_streak: 0, log }
    }

    /// Docker calls what has ended unhealthy.
    pub(crate) fn end(&mut self) {
        self.status = HealthStatus::Unhealthy;
    }

    /// Counts a result in.
    fn note(&mut self, probe: ProbeResult, check: &Check, started: Time) {
        let spared = self.status == HealthStatus::Starting
            && probe.start.since(started) < check.start_period;
        if probe.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if !spared {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        if self.log.len() == KEPT_PROBES {
            self.log.pop_front();
        }
        self.log.push_back(probe);
    }
}

/// Refuses a health check that no daemon could keep to.
///
/// # Errors
/// `Invalid`, in Docker's words.
pub(crate) fn validate(check: &Healthcheck) -> Result<(), EngineError> {
    for (name, duration) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ] {
        if duration != 0 && duration < SHORTEST {
            let reason = format!("{name} in Healthcheck cannot be less than 1ms");
            return Err(EngineError::invalid(reason));
        }
    }
    if check.retries < 0 {
        return Err(EngineError::invalid("Retries in Healthcheck cannot be negative"));
    }
    Ok(())
}

/// Fills what a client leaves open from the image's health check.
pub(crate) fn inherit(
    client: Option<Healthcheck>,
    image: Option<&Healthcheck>,
) -> Option<Healthcheck> {
    let (Some(mut client), Some(image)) = (client.clone(), image) else {
        return client.or_else(|| image.cloned());
    };
    if client.test.is_empty() {
        client.test.clone_from(&image.test);
    }
    for (wish, default) in [
        (&mut client.interval, image.interval),
        (&mut client.timeout, image.timeout),
        (&mut client.start_period, image.start_period),
        (&mut client.start_interval, image.start_interval),
        (&mut client.retries, image.retries),
    ] {
        if *wish == 0 {
            *wish = default;
        }
    }
    Some(client)
}

impl Engine {
    /// Begins to check on a container whose run has just begun, or was taken up again.
    pub(crate) fn watch_health(&self, container: &Arc<Container>) {
        let Some(live) = container.live() else { return };
        let check = Check::of(&container.record().spec.run);
        container.set_health(check.as_ref().map(|_| Health::starting()));
        if let Some(check) = check {
            let (engine, container) = (self.clone(), container.clone());
            let task = async move { engine.check_until_the_end(&container, &live, &check).await };
            self.inner.tasks.spawn(task);
        }
    }

    async fn check_until_the_end(
        &self,
        container: &Arc<Container>,
        live: &Arc<Live>,
        check: &Check,
    ) {
        let mut status = container.status.subscribe();
        let this = status.borrow().ended;
        while let Some(health) = container.health().filter(|_| status.borrow().ended == this) {
            let ran = self.now().since(live.started);
            let pause = tokio::time::sleep(check.pause(health.status, ran));
            let probe = async {
                pause.await;
                self.probe(container, live, check).await
            };
            let probe = tokio::select! {
                probe = probe => probe,
                () = run_over(&mut status, this) => break,
            };
            if let Some(probe) = probe {
                self.note_probe(container, live, check, probe);
            }
        }
    }

    fn note_probe(&self, container: &Container, live: &Live, check: &Check, probe: ProbeResult) {
        let verdicts = container.change_health(|health| {
            let before = health.status;
            health.note(probe, check, live.started);
            (before, health.status)
        });
        if let Some((before, now)) = verdicts
            && before != now
        {
            let action = format!("health_status: {}", now.word());
            self.emit(&container.record(), &action, &[]);
        }
    }

    /// Runs the check once; nothing when the container cannot run one now.
    async fn probe(
        &self,
        container: &Container,
        live: &Live,
        check: &Check,
    ) -> Option<ProbeResult> {
        let spec = ExecSpec {
            command: check.command.clone(),
            stdout: true,
            stderr: true,
            ..ExecSpec::default()
        };
        let exec = self.exec_create(&container.id, spec).ok()?;
        let start = self.now();
        let mut output = Vec::new();
        let run = self.run_probe(&exec, &mut output);
        let exit_code = match tokio::time::timeout(check.timeout, run).await {
            Ok(Ok(code)) => code.into(),
            Ok(Err(error)) => {
                output = error.to_string().into_bytes();
                NO_EXIT
            }
            Err(_) => {
                self.end_probe(live, &exec).await;
                let limit = format!("Health check exceeded timeout ({:?})", check.timeout);
                output = limit.into_bytes();
                NO_EXIT
            }
        };
        // A check that stood still with its container says nothing of it.
        if container.record().state.is_paused() {
            return None;
        }
        let output = String::from_utf8_lossy(&output).into_owned();
        Some(ProbeResult { start, end: self.now(), exit_code, output })
    }

    /// Runs a prepared check to its end, and keeps the first of what it writes.
    async fn run_probe(&self, exec: &str, output: &mut Vec<u8>) -> Result<u32, EngineError> {
        let (mut chunks, stdin) = self.exec_start(exec, None).await?;
        drop(stdin);
        while let Some(chunk) = chunks.recv().await {
            let room = KEPT_OUTPUT - output.len();
            output.extend_from_slice(&chunk.bytes[..room.min(chunk.bytes.len())]);
        }
        match self.exec(exec)?.state {
            ExecState::Exited(code) => Ok(code),
            _ => Ok(KILLED),
        }
    }

    /// Ends a check that takes too long.
    async fn end_probe(&self, live: &Live, exec: &str) {
        let Ok(exec) = self.find_exec(exec) else { return };
        if let Err(error) = live.system.kill(exec.process(), KILLED).await {
            tracing::debug!(error = %error, "cannot end a health check");
        }
    }
}

/// Ends when the run that followed `ended` others is over.
async fn run_over(status: &mut watch::Receiver<Status>, ended: u64) {
    // An error means that the container is gone, and its run with it.
    let _ = status.wait_for(|status| status.ended != ended || !status.running).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_fills_what_a_client_leaves_open() {
        let image = Healthcheck {
            test: vec!["CMD".to_owned(), "a".to_owned()],
            interval: 5,
            retries: 2,
            ..Healthcheck::default()
        };
        let client = Healthcheck { retries: 9, ..Healthcheck::default() };
        let merged = inherit(Some(client), Some(&image)).unwrap();
        assert_eq!((merged.test.len(), merged.interval, merged.retries), (2, 5, 9));
        assert_eq!(inherit(None, Some(&image)), Some(image));
    }

    #[test]
    fn a_shell_check_runs_in_the_images_shell() {
        let check = |shell: Option<Vec<String>>| {
            let test = vec!["CMD-SHELL".to_owned(), "exit 1".to_owned()];
            let healthcheck = Some(Healthcheck { test, ..Healthcheck::default() });
            Check::of(&RunConfig { shell, healthcheck, ..RunConfig::default() }).unwrap().command
        };
        assert_eq!(check(None), ["cmd", "/S", "/C", "exit 1"]);
        assert_eq!(check(Some(vec!["pwsh".to_owned()])), ["pwsh", "exit 1"]);
    }
}
