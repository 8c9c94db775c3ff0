//! When a process's output counts as complete.
//!
//! A process ends, but its descendants may have inherited its pipes: end of file then comes when
//! the last of them is gone, perhaps never. `Exited` must come after all output of the process
//! itself and must not wait for a daemon it left behind. So after the exit, output is forwarded
//! until one of these holds:
//!
//! - every pipe is at its end, or
//! - nothing arrived for [`QUIET`], or
//! - [`MAX_TAIL`] bytes arrived, more than the pipes could hold when the process ended, or
//! - [`PATIENCE`] passed while the host was taking what it was given.
//!
//! A host that does not read (back-pressure) stops the clock: bytes already read from a pipe are
//! never dropped. What descendants write later is read and thrown away, so they neither block nor
//! get a broken pipe.

use std::time::{Duration, Instant};

/// Silence after which the output is complete.
pub const QUIET: Duration = Duration::from_millis(200);

/// Bytes after the exit that end the output.
pub const MAX_TAIL: u64 = 1 << 20;

/// Time after the exit that ends the output of a chatty descendant.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What the pumps of one process have done. The clock is the caller's.
#[derive(Clone, Debug)]
pub struct Drain {
    open: u32,
    forwarding: u32,
    last: Option<Instant>,
    exited: Option<Instant>,
    tail: u64,
}

impl Drain {
    /// With so many pipes still open.
    #[must_use]
    pub fn new(pipes: u32) -> Self {
        Self { open: pipes, forwarding: 0, last: None, exited: None, tail: 0 }
    }

    /// A pump has read bytes and starts to forward them.
    pub fn forward(&mut self, bytes: u64) {
        self.forwarding += 1;
        if self.exited.is_some() {
            self.tail = self.tail.saturating_add(bytes);
        }
    }

    /// The bytes are with the host.
    pub fn forwarded(&mut self, now: Instant) {
        self.forwarding = self.forwarding.saturating_sub(1);
        self.last = Some(now);
    }

    /// A pipe is at its end.
    pub fn ended(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// The process has ended.
    pub fn exited(&mut self, now: Instant) {
        self.exited = Some(now);
    }

    /// How long to wait before asking again: zero when the output is complete, `None` until
    /// something happens.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        let exited = self.exited?;
        if self.forwarding > 0 {
            return None;
        }
        if self.open == 0 || self.tail >= MAX_TAIL {
            return Some(Duration::ZERO);
        }
        let last = self.last.map_or(exited, |last| last.max(exited));
        let end = (last + QUIET).min(exited + PATIENCE);
        Some(end.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn start() -> Instant {
        // A fixed origin far from the process's own start.
        std::sync::LazyLock::force(&ORIGIN).to_owned()
    }

    static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

    #[test]
    fn a_running_process_never_completes() {
        let mut drain = Drain::new(1);
        drain.ended();
        assert_eq!(drain.remaining(start()), None);
    }

    #[test]
    fn closed_pipes_complete_at_once() {
        let mut drain = Drain::new(2);
        drain.exited(start());
        drain.ended();
        assert_eq!(drain.remaining(start()), Some(QUIET));
        drain.ended();
        assert_eq!(drain.remaining(start()), Some(Duration::ZERO));
    }

    #[test]
    fn every_byte_restarts_the_quiet_time() {
        let mut drain = Drain::new(1);
        drain.exited(start());
        drain.forward(1);
        drain.forwarded(start() + 150 * MS);
        assert_eq!(drain.remaining(start() + 200 * MS), Some(150 * MS));
    }

    #[test]
    fn a_host_that_does_not_read_stops_the_clock() {
        let mut drain = Drain::new(1);
        drain.exited(start());
        drain.forward(1);
        assert_eq!(drain.remaining(start() + PATIENCE * 2), None);
        drain.forwarded(start() + PATIENCE * 2);
        assert_eq!(drain.remaining(start() + PATIENCE * 2), Some(Duration::ZERO));
    }

    #[test]
    fn a_flood_or_a_trickle_of_a_descendant_ends() {
        let mut drain = Drain::new(1);
        drain.exited(start());
        drain.forward(MAX_TAIL);
        drain.forwarded(start());
        assert_eq!(drain.remaining(start()), Some(Duration::ZERO));

        let mut drain = Drain::new(1);
        drain.exited(start());
        drain.forward(1);
        drain.forwarded(start() + PATIENCE - MS);
        assert_eq!(drain.remaining(start() + PATIENCE - MS), Some(MS));
    }
}
