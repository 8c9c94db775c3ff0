//! Standard streams that are those of a program in a container.
//!
//! ```text
//! terminal ── stdin ──► DetachKeys ──► connection ──► frames ──► stdout, stderr
//! SIGWINCH ──► POST resize          SIGINT, SIGTERM ... ──► POST kill, or this program ends
//! ```
//! [`Session`] joins them until the program's output ends, the keys that detach are pressed, or
//! this program is told to end; whatever the way out, [`RawMode`] gives the terminal back.

mod detach;
pub(crate) mod frames;
pub(crate) mod signals;
mod terminal;

use std::{future::Future, io};

use anyhow::Context;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use oriel_api::frame::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::connection::Hijacked;

pub(crate) use detach::DetachKeys;
use frames::Demultiplexer;
pub(crate) use terminal::{RawMode, console_size, is_terminal, read_secret};

/// Bytes read at a time.
const PIECE: usize = 32 << 10;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// There is no more output.
    Closed,
    /// The person pressed the keys that detach.
    Detached,
}

/// What joins the streams of this program with those of one in a container.
pub(crate) struct Session {
    /// Whether the program has a console, so that there is one stream of output.
    pub(crate) tty: bool,
    /// Whether standard input is passed on.
    pub(crate) stdin: bool,
    /// Keys that leave the program alone, where there is a console.
    pub(crate) detach: DetachKeys,
}

type Connection = TokioIo<Upgraded>;

impl Session {
    /// Passes everything on until there is no more output. `beside` goes on meanwhile: it follows
    /// the window, and passes signals on.
    pub(crate) async fn run(
        self,
        hijacked: Hijacked,
        beside: impl Future<Output = anyhow::Error>,
    ) -> anyhow::Result<Ending> {
        let _raw = RawMode::enter(self.tty && self.stdin)?;
        let (receiver, sender) = tokio::io::split(hijacked.connection);
        let tty = self.tty;
        let input = self.input(sender);
        let output = output(receiver, tty);
        tokio::pin!(input, output, beside);
        let mut typing = true;
        loop {
            tokio::select! {
                ended = &mut output => return ended.map(|()| Ending::Closed),
                typed = &mut input, if typing => match typed? {
                    Ending::Detached => return Ok(Ending::Detached),
                    // Output goes on after the end of input.
                    Ending::Closed => typing = false,
                },
                error = &mut beside => return Err(error),
            }
        }
    }

    /// Passes standard input on to its end.
    async fn input(self, mut sender: WriteHalf<Connection>) -> anyhow::Result<Ending> {
        if !self.stdin {
            return Ok(Ending::Closed);
        }
        let mut keys = (self.tty && is_terminal(&io::stdin())).then_some(self.detach);
        let mut stdin = tokio::io::stdin();
        let mut piece = vec![0; PIECE];
        loop {
            let length = stdin.read(&mut piece).await.context("cannot read standard input")?;
            if length == 0 {
                // A program that has ended needs no end of input.
                let _ = sender.shutdown().await;
                return Ok(Ending::Closed);
            }
            let (bytes, detached) = match &mut keys {
                Some(keys) => keys.pass(&piece[..length]),
                None => (piece[..length].to_vec(), false),
            };
            if sender.write_all(&bytes).await.is_err() || sender.flush().await.is_err() {
                return Ok(Ending::Closed);
            }
            if detached {
                return Ok(Ending::Detached);
            }
        }
    }
}

/// Shows output to its end.
async fn output(mut receiver: ReadHalf<Connection>, tty: bool) -> anyhow::Result<()> {
    let mut frames = if tty { Demultiplexer::raw() } else { Demultiplexer::new() };
    let mut screen = Screens::new();
    let mut piece = vec![0; PIECE];
    loop {
        // A daemon that is stopped leaves the same way as a program that ends: the exit code tells.
        let Ok(length) = receiver.read(&mut piece).await else { return Ok(()) };
        if length == 0 {
            return Ok(());
        }
        screen.show(frames.pass(&piece[..length])?).await?;
    }
}

/// Standard output and error.
pub(crate) struct Screens {
    out: tokio::io::Stdout,
    err: tokio::io::Stderr,
}

impl Screens {
    pub(crate) fn new() -> Self {
        Self { out: tokio::io::stdout(), err: tokio::io::stderr() }
    }

    /// Shows pieces of output at once.
    ///
    /// # Errors
    /// `BrokenPipe` once the reader has gone.
    pub(crate) async fn show(&mut self, pieces: Vec<(Stream, Vec<u8>)>) -> io::Result<()> {
        for (stream, bytes) in pieces {
            match stream {
                Stream::Stdout => {
                    self.out.write_all(&bytes).await?;
                    self.out.flush().await?;
                }
                Stream::Stderr => {
                    self.err.write_all(&bytes).await?;
                    self.err.flush().await?;
                }
            }
        }
        Ok(())
    }
}
