//! What goes on beside a session: following the window's size, and signals.

use std::{convert::Infallible, future::pending, io};

use anyhow::bail;
use hyper::Method;

use crate::{
    connection::{At, Client},
    exit::Exit,
    screen::talk,
    streams::{
        console_size, is_terminal,
        signals::{Caught, PATIENCE, window},
    },
};

/// Whose console and signals.
#[derive(Clone, Copy)]
pub(super) enum Program<'a> {
    /// The first program of a container.
    Container(&'a str),
    /// A further one.
    Exec(&'a str),
}

impl Program<'_> {
    fn resize(self) -> At {
        match self {
            Self::Container(id) => At::path(&["containers", id, "resize"]),
            Self::Exec(id) => At::path(&["exec", id, "resize"]),
        }
    }
}

/// What becomes of signals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Signals {
    /// They go to the container.
    Passed,
    /// They end this program, which gives the terminal back first.
    End,
}

/// Signals that have been caught since this was made.
pub(super) struct Catching(Signals, Caught);

impl Signals {
    /// Begins to catch.
    pub(super) fn catch(self) -> anyhow::Result<Catching> {
        Ok(Catching(
            self,
            match self {
                Self::Passed => Caught::passed()?,
                Self::End => Caught::ending()?,
            },
        ))
    }
}

/// Refuses a console on which nobody can type, as Docker does.
pub(super) fn needs_terminal() -> anyhow::Result<()> {
    if !is_terminal(&io::stdin()) {
        bail!("the input device is not a TTY; leave -t away, or -i");
    }
    Ok(())
}

/// Follows the window and signals for as long as it is polled; ends with what ends this program.
pub(super) async fn beside(
    client: &Client,
    program: Program<'_>,
    tty: bool,
    signals: Catching,
) -> anyhow::Error {
    let window = async {
        match follow_window(client, program, tty).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    };
    tokio::select! {
        error = window => error,
        error = follow_signals(client, program, signals) => error,
    }
}

async fn follow_window(
    client: &Client,
    program: Program<'_>,
    tty: bool,
) -> anyhow::Result<Infallible> {
    if !tty || console_size().is_none() {
        return pending().await;
    }
    let mut changed = window()?;
    loop {
        if let Some([height, width]) = console_size() {
            let at = program.resize().with("h", height).with("w", width);
            // A program that has not begun yet, or has ended, has no console.
            let _ = client.post(&at).await;
        }
        changed.recv().await;
    }
}

async fn follow_signals(
    client: &Client,
    program: Program<'_>,
    Catching(signals, mut caught): Catching,
) -> anyhow::Error {
    let Program::Container(id) = program else { return caught.end().await };
    if signals == Signals::End {
        return caught.end().await;
    }
    let mut interrupts = 0;
    loop {
        let (name, number) = caught.next().await;
        interrupts += u32::from(matches!(name, "INT" | "TERM"));
        if interrupts >= PATIENCE {
            talk("interrupted three times: the container is left running");
            return Exit::by_signal(number).into();
        }
        let at = At::path(&["containers", id, "kill"]).with("signal", name);
        // A program that has ended is nobody to signal.
        let _ = client.call(Method::POST, &at).send().await;
    }
}
