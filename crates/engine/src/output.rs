//! Output of a container: one log, any number of attached clients.
//!
//! The log comes first: what a client has seen is in the file. Clients get what comes after they
//! subscribed, exactly once. A client that does not take its bytes slows the program down, as with
//! Docker, until somebody wants the container ended; then it is left behind.

use std::{path::Path, sync::Mutex, time::Duration};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::{Time, logs::LogWriter};

/// Chunks under way to one client.
const UNDER_WAY: usize = 64;
/// How long a client that does not take its bytes may hold up the end of a container.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which of a program's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the console.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it was printed.
    pub stream: Stream,
    /// What.
    pub bytes: Bytes,
}

struct Inner {
    log: Option<LogWriter>,
    clients: Vec<mpsc::Sender<Chunk>>,
}

/// Output of one container, over all its runs.
pub(crate) struct Output {
    inner: Mutex<Inner>,
    /// Length of the log, for those who follow it.
    grown: watch::Sender<u64>,
}

impl Output {
    pub(crate) fn new() -> Self {
        let inner = Inner { log: None, clients: Vec::new() };
        Self { inner: Mutex::new(inner), grown: watch::Sender::new(0) }
    }

    /// Opens the log for a run.
    pub(crate) fn open_log(&self, path: &Path) -> std::io::Result<()> {
        let log = LogWriter::open(path)?;
        self.grown.send_replace(log.length());
        self.inner().log = Some(log);
        Ok(())
    }

    /// Subscribes to what comes; also tells how long the log is up to there.
    pub(crate) fn subscribe(&self) -> (u64, mpsc::Receiver<Chunk>) {
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        let mut inner = self.inner();
        inner.clients.push(sender);
        (inner.log.as_ref().map_or(u64::MAX, LogWriter::length), receiver)
    }

    /// Length of the log, as it grows.
    pub(crate) fn growth(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }

    /// Takes output: logs it, then gives it to the clients, waiting for those that are slow unless
    /// `hurry` says that the container is to end.
    pub(crate) async fn publish(
        &self,
        time: Time,
        chunk: Chunk,
        hurry: &mut watch::Receiver<bool>,
    ) {
        let clients = {
            let mut inner = self.inner();
            inner.clients.retain(|client| !client.is_closed());
            let written = inner.log.as_mut().map(|log| {
                let written = log.write(chunk.stream, time, &chunk.bytes);
                (written, log.length())
            });
            if let Some((written, length)) = written {
                if let Err(error) = written {
                    tracing::error!(error = %error, "cannot write a container's log");
                }
                self.grown.send_replace(length);
            }
            inner.clients.clone()
        };
        for client in clients {
            let impatient = async {
                // The sender lives as long as the run.
                let _ = hurry.wait_for(|hurry| *hurry).await;
                tokio::time::sleep(PATIENCE).await;
            };
            tokio::select! {
                // An error means that the client has gone; the next publish drops it.
                _ = client.send(chunk.clone()) => {}
                () = impatient => self.drop_client(&client),
            }
        }
    }

    /// Ends a run: clients see the end, the log is complete.
    pub(crate) fn close(&self, time: Time) {
        let mut inner = self.inner();
        inner.clients.clear();
        if let Some(mut log) = inner.log.take() {
            if let Err(error) = log.finish(time) {
                tracing::error!(error = %error, "cannot write a container's log");
            }
            self.grown.send_replace(log.length());
        }
    }

    fn drop_client(&self, client: &mpsc::Sender<Chunk>) {
        self.inner().clients.retain(|other| !other.same_channel(client));
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic while output is taken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &'static str) -> Chunk {
        Chunk { stream: Stream::Stdout, bytes: Bytes::from_static(text.as_bytes()) }
    }

    #[tokio::test]
    async fn every_client_gets_what_comes_after_it_subscribed() {
        let output = Output::new();
        let (_run, mut hurry) = watch::channel(false);
        let (_, mut first) = output.subscribe();
        output.publish(Time(0), chunk("a"), &mut hurry).await;
        let (_, mut second) = output.subscribe();
        output.publish(Time(0), chunk("b"), &mut hurry).await;
        output.close(Time(0));
        assert_eq!(first.recv().await, Some(chunk("a")));
        assert_eq!(first.recv().await, Some(chunk("b")));
        assert_eq!(first.recv().await, None);
        assert_eq!(second.recv().await, Some(chunk("b")));
        assert_eq!(second.recv().await, None);
    }

    #[tokio::test]
    async fn a_client_that_has_gone_is_forgotten() {
        let output = Output::new();
        let (_run, mut hurry) = watch::channel(false);
        drop(output.subscribe());
        output.publish(Time(0), chunk("a"), &mut hurry).await;
        assert!(output.inner().clients.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_does_not_hold_up_the_end() {
        let output = Output::new();
        let (run, mut hurry) = watch::channel(false);
        let (_, _stuck) = output.subscribe();
        for _ in 0..UNDER_WAY {
            output.publish(Time(0), chunk("a"), &mut hurry).await;
        }
        run.send_replace(true);
        output.publish(Time(0), chunk("b"), &mut hurry).await;
        assert!(output.inner().clients.is_empty());
    }
}
