//! Restart policies: what happens when a container ends. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::EngineError;

/// What happens when a container ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// It stays as it is.
    #[default]
    No,
    /// It starts again, also when the daemon starts, unless a client stopped it just now.
    Always,
    /// As [`RestartPolicy::Always`], but one that a client stopped stays so.
    UnlessStopped,
    /// It starts again after an exit code other than 0, at most so often; 0 is no limit.
    OnFailure {
        /// Most restarts.
        limit: u32,
    },
}

/// First pause before a restart; each further one is twice as long (moby `restartmanager`).
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A container that ran so long starts again after the first pause.
const HEALTHY_RUN: Duration = Duration::from_secs(10);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Exit code.
    pub(crate) code: u32,
    /// Whether a client asked for it.
    pub(crate) by_client: bool,
    /// How long the run was.
    pub(crate) ran: Duration,
    /// Restarts so far.
    pub(crate) restarts: u32,
    /// Pause before the latest restart; zero when there was none.
    pub(crate) last_pause: Duration,
}

impl RestartPolicy {
    /// Reads the policy of a request.
    ///
    /// # Errors
    /// `Invalid`, in Docker's words.
    pub fn parse(name: &str, retries: i64) -> Result<Self, EngineError> {
        if retries < 0 {
            return Err(EngineError::invalid(
                "invalid restart policy: maximum retry count cannot be negative",
            ));
        }
        if retries > 0 && name != "on-failure" {
            return Err(EngineError::invalid(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'",
            ));
        }
        match name {
            "" | "no" => Ok(Self::No),
            "always" => Ok(Self::Always),
            "unless-stopped" => Ok(Self::UnlessStopped),
            "on-failure" => {
                Ok(Self::OnFailure { limit: u32::try_from(retries).unwrap_or(u32::MAX) })
            }
            _ => Err(EngineError::invalid(format!(
                "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', \
                 'on-failure', or 'unless-stopped'"
            ))),
        }
    }

    /// Name and retry count, as a request has them.
    #[must_use]
    pub fn parts(self) -> (&'static str, u32) {
        match self {
            Self::No => ("no", 0),
            Self::Always => ("always", 0),
            Self::UnlessStopped => ("unless-stopped", 0),
            Self::OnFailure { limit } => ("on-failure", limit),
        }
    }

    /// Pause after which a container that has ended starts again; `None` when it stays as it is.
    pub(crate) fn pause(self, ended: &Ended) -> Option<Duration> {
        let again = match self {
            Self::No => false,
            Self::Always | Self::UnlessStopped => true,
            Self::OnFailure { limit } => ended.code != 0 && (limit == 0 || ended.restarts < limit),
        };
        if !again || ended.by_client {
            return None;
        }
        if ended.ran >= HEALTHY_RUN || ended.last_pause.is_zero() {
            return Some(FIRST_PAUSE);
        }
        Some((ended.last_pause * 2).min(LONGEST_PAUSE))
    }

    /// Whether a container found ended when the daemon starts is to be started.
    pub(crate) fn starts_with_daemon(self, stopped_by_client: bool) -> bool {
        match self {
            Self::Always => true,
            Self::UnlessStopped => !stopped_by_client,
            Self::No | Self::OnFailure { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED: Ended = Ended {
        code: 1,
        by_client: false,
        ran: Duration::from_secs(1),
        restarts: 0,
        last_pause: Duration::ZERO,
    };

    #[test]
    fn a_container_that_a_client_stopped_stays_so() {
        let ended = Ended { by_client: true, ..ENDED };
        for policy in [
            RestartPolicy::Always,
            RestartPolicy::UnlessStopped,
            RestartPolicy::OnFailure { limit: 0 },
        ] {
            assert_eq!(policy.pause(&ended), None);
        }
    }

    #[test]
    fn on_failure_counts() {
        let policy = RestartPolicy::OnFailure { limit: 2 };
        assert!(policy.pause(&Ended { restarts: 1, ..ENDED }).is_some());
        assert_eq!(policy.pause(&Ended { restarts: 2, ..ENDED }), None);
        assert_eq!(policy.pause(&Ended { code: 0, ..ENDED }), None);
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew_after_a_good_run() {
        let policy = RestartPolicy::Always;
        let mut ended = ENDED;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            ended.last_pause = policy.pause(&ended).unwrap();
            pauses.push(ended.last_pause.as_millis());
        }
        assert_eq!(pauses[..3], [100, 200, 400]);
        assert_eq!(pauses[11], 60_000);
        ended.ran = Duration::from_secs(11);
        assert_eq!(policy.pause(&ended), Some(FIRST_PAUSE));
    }

    #[test]
    fn policies_are_read_as_docker_reads_them() {
        assert_eq!(RestartPolicy::parse("", 0).unwrap(), RestartPolicy::No);
        let policy = RestartPolicy::parse("on-failure", 3).unwrap();
        assert_eq!(policy, RestartPolicy::OnFailure { limit: 3 });
        assert!(RestartPolicy::parse("always", 3).is_err());
        assert!(RestartPolicy::parse("sometimes", 0).is_err());
        assert!(RestartPolicy::parse("on-failure", -1).is_err());
    }

    #[test]
    fn only_lasting_policies_start_with_the_daemon() {
        assert!(RestartPolicy::Always.starts_with_daemon(true));
        assert!(!RestartPolicy::UnlessStopped.starts_with_daemon(true));
        assert!(RestartPolicy::UnlessStopped.starts_with_daemon(false));
        assert!(!RestartPolicy::OnFailure { limit: 0 }.starts_with_daemon(false));
    }
}
