//! The states of a container, and the seven words Docker has for them. Pure.
//!
//! ```text
//!             start                 exit, policy says no
//! Created ───────────▶ Running ────────────────────────▶ Exited
//!    ▲ │ start fails      ▲ │ exit, policy says again        │ start
//!    └─┘                  │ ▼                                ▼
//!                      Restarting ── stop ──▶ Exited      Running
//!
//! Running ── pause ──▶ Paused ── unpause, stop, kill ──▶ Running; its end as that of Running
//! ```
//! A start under way is no state of its own: it holds the container's operation lock, and a crash
//! in the middle leaves the state from before. Removal is the end of the record.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Time;

/// State of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Never ran.
    Created {
        /// Why its latest start failed, and Docker's exit code for that.
        failure: Option<(u32, String)>,
    },
    /// Runs.
    Running {
        /// Since when.
        started: Time,
        /// Host process id of its first process.
        pid: u32,
    },
    /// Runs, and its programs stand still.
    Paused {
        /// Running since when.
        started: Time,
        /// Host process id of its first process.
        pid: u32,
    },
    /// Ended, and will start again after a pause.
    Restarting(Run),
    /// Ended.
    Exited(Run),
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// When it began.
    pub started: Time,
    /// When it ended.
    pub finished: Time,
    /// Exit code.
    pub code: u32,
    /// What went wrong with the container itself; empty when nothing did.
    pub error: String,
    /// Whether a client ended it.
    pub by_client: bool,
    /// Whether a process of it was killed because it reached its limit of memory.
    #[serde(default)]
    pub out_of_memory: bool,
}

impl State {
    /// Docker's word: `created`, `running`, `paused`, `restarting` or `exited`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::Restarting(_) => "restarting",
            Self::Exited(_) => "exited",
        }
    }

    /// Whether its program runs, be it paused.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Paused { .. })
    }

    /// Whether its program stands still.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        matches!(self, Self::Paused { .. })
    }

    /// Host process id of its first process, while that runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Running { pid, .. } | Self::Paused { pid, .. } => Some(*pid),
            _ => None,
        }
    }

    /// The state of what runs, paused; any other is as it was.
    pub(crate) fn paused(self) -> Self {
        match self {
            Self::Running { started, pid } => Self::Paused { started, pid },
            other => other,
        }
    }

    /// The state of what is paused, going on; any other is as it was.
    pub(crate) fn resumed(self) -> Self {
        match self {
            Self::Paused { started, pid } => Self::Running { started, pid },
            other => other,
        }
    }

    /// Whether it must be stopped before it can be removed.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.is_running() || matches!(self, Self::Restarting(_))
    }

    /// Exit code of the latest run; 0 when there was none or it goes on.
    #[must_use]
    pub fn exit_code(&self) -> u32 {
        match self {
            Self::Created { failure: Some((code, _)) } => *code,
            Self::Restarting(run) | Self::Exited(run) => run.code,
            Self::Created { failure: None } | Self::Running { .. } | Self::Paused { .. } => 0,
        }
    }

    /// What went wrong with the container itself.
    #[must_use]
    pub fn error(&self) -> &str {
        match self {
            Self::Created { failure: Some((_, error)) } => error,
            Self::Restarting(run) | Self::Exited(run) => &run.error,
            Self::Created { failure: None } | Self::Running { .. } | Self::Paused { .. } => "",
        }
    }

    /// When the latest run began.
    #[must_use]
    pub fn started(&self) -> Option<Time> {
        match self {
            Self::Created { .. } => None,
            Self::Running { started, .. } | Self::Paused { started, .. } => Some(*started),
            Self::Restarting(run) | Self::Exited(run) => Some(run.started),
        }
    }

    /// When the latest run ended.
    #[must_use]
    pub fn finished(&self) -> Option<Time> {
        match self {
            Self::Created { .. } | Self::Running { .. } | Self::Paused { .. } => None,
            Self::Restarting(run) | Self::Exited(run) => Some(run.finished),
        }
    }

    /// Whether a process of the latest run was killed because it reached its limit of memory.
    #[must_use]
    pub fn out_of_memory(&self) -> bool {
        matches!(self, Self::Restarting(run) | Self::Exited(run) if run.out_of_memory)
    }

    /// What `docker ps` says: `Up 3 seconds`, `Exited (0) 2 minutes ago`.
    #[must_use]
    pub fn sentence(&self, now: Time) -> String {
        match self {
            Self::Created { .. } => "Created".to_owned(),
            Self::Running { started, .. } => format!("Up {}", ago(now.since(*started))),
            Self::Paused { started, .. } => format!("Up {} (Paused)", ago(now.since(*started))),
            Self::Restarting(run) => {
                format!("Restarting ({}) {} ago", run.code, ago(now.since(run.finished)))
            }
            Self::Exited(run) => {
                format!("Exited ({}) {} ago", run.code, ago(now.since(run.finished)))
            }
        }
    }
}

/// A duration as a person says it, in the words of docker/go-units `HumanDuration`.
fn ago(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., ..48) => format!("{hours} hours"),
        (.., ..336) => format!("{} days", hours / 24),
        (.., ..1440) => format!("{} weeks", hours / 24 / 7),
        (.., ..17_520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_dockers_words() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (172_800, "2 days"),
            (1_209_600, "2 weeks"),
            (5_184_000, "2 months"),
            (94_608_000, "3 years"),
        ] {
            assert_eq!(ago(Duration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn a_failed_start_shows_its_code_and_reason() {
        let state = State::Created { failure: Some((127, "no such file".to_owned())) };
        assert_eq!(
            (state.word(), state.exit_code(), state.error()),
            ("created", 127, "no such file")
        );
    }

    #[test]
    fn an_exit_code_of_32_bits_is_said_unsigned() {
        let run = Run {
            started: Time(0),
            finished: Time(0),
            code: 0xc000_013a,
            error: String::new(),
            by_client: false,
            out_of_memory: false,
        };
        let sentence = State::Exited(run).sentence(Time(2_000_000_000));
        assert_eq!(sentence, "Exited (3221225786) 2 seconds ago");
    }
}
