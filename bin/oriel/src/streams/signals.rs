//! Signals that this program gets: passed on to the container, or the end of this program.

use std::future::pending;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;

/// Signals that are passed on, by the names that Docker knows.
const PASSED: &[(&str, i32)] =
    &[("HUP", 1), ("INT", 2), ("QUIT", 3), ("USR1", 10), ("USR2", 12), ("TERM", 15)];

/// Signals after which people want their terminal back.
const ENDING: &[(&str, i32)] = &[("HUP", 1), ("INT", 2), ("QUIT", 3), ("TERM", 15)];

/// So many interrupts end this program although they are passed on.
pub(crate) const PATIENCE: u32 = 3;

/// Signals that have been caught since this was made.
pub(crate) struct Caught(Vec<(&'static str, i32, Signal)>);

impl Caught {
    /// Catches those that are passed on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn passed() -> anyhow::Result<Self> {
        Self::new(PASSED)
    }

    /// Catches those that end this program.
    ///
    /// # Errors
    /// As [`Caught::passed`].
    pub(crate) fn ending() -> anyhow::Result<Self> {
        Self::new(ENDING)
    }

    fn new(wanted: &[(&'static str, i32)]) -> anyhow::Result<Self> {
        let catch = |(name, number): &(&'static str, i32)| {
            let caught = signal(SignalKind::from_raw(*number)).context("cannot catch signals")?;
            anyhow::Ok((*name, *number, caught))
        };
        Ok(Self(wanted.iter().map(catch).collect::<Result<_, _>>()?))
    }

    /// Name and number of the next one.
    pub(crate) async fn next(&mut self) -> (&'static str, i32) {
        let waiting = self.0.iter_mut().map(|(name, number, signal)| {
            Box::pin(async move {
                match signal.recv().await {
                    Some(()) => (*name, *number),
                    None => pending().await,
                }
            })
        });
        futures_util::future::select_all(waiting).await.0
    }

    /// The error that ends this program once one comes.
    pub(crate) async fn end(mut self) -> anyhow::Error {
        Exit::by_signal(self.next().await.1).into()
    }
}

/// Tells whenever the window has another size.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn window() -> anyhow::Result<Signal> {
    signal(SignalKind::window_change()).context("cannot catch signals")
}
