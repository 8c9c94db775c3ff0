//! Output of a container: one log, any number of attached clients.
//!
//! The log comes first: what a client has seen is in the file. Clients get what comes after they
//! subscribed, exactly once. A client that does not take its bytes slows the program down, as with
//! Docker, until somebody wants the container ended; then it is left behind.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::{
    Time,
    logs::{LogFiles, LogWriter, Position},
};

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
    /// Taken out while its files change places.
    log: Option<LogWriter>,
    /// Where the log ends; behind everything when nobody writes it.
    end: Position,
    clients: Vec<mpsc::Sender<Chunk>>,
}

impl Inner {
    /// Writes to the log what there is room for; returns the rest, for another file.
    fn write<'a>(&mut self, time: Time, stream: Stream, bytes: &'a [u8]) -> &'a [u8] {
        let Some(log) = &mut self.log else { return &[] };
        let written = log.write(stream, time, bytes);
        self.end = log.position();
        match written {
            Ok(taken) => &bytes[taken..],
            Err(error) => {
                tracing::error!(error = %error, "cannot write a container's log");
                &[]
            }
        }
    }
}

/// Output of one container, over all its runs.
pub(crate) struct Output {
    files: Option<Arc<LogFiles>>,
    inner: Mutex<Inner>,
    /// Wakes those who follow the log.
    grown: watch::Sender<()>,
}

impl Output {
    /// Output that is kept in these files, if in any.
    pub(crate) fn new(files: Option<LogFiles>) -> Self {
        let inner = Inner { log: None, end: Position::END, clients: Vec::new() };
        let files = files.map(Arc::new);
        Self { files, inner: Mutex::new(inner), grown: watch::Sender::new(()) }
    }

    /// The files of its log.
    pub(crate) fn files(&self) -> Option<Arc<LogFiles>> {
        self.files.clone()
    }

    /// Opens the log for a run, when there is to be one. Blocks for the time of a disk read.
    pub(crate) fn open_log(&self) -> std::io::Result<()> {
        let Some(files) = self.files() else { return Ok(()) };
        let log = LogWriter::open(files)?;
        let mut inner = self.inner();
        inner.end = log.position();
        inner.log = Some(log);
        Ok(())
    }

    /// Subscribes to what comes; also tells where the log is up to there.
    pub(crate) fn subscribe(&self) -> (Position, mpsc::Receiver<Chunk>) {
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        let mut inner = self.inner();
        inner.clients.push(sender);
        (inner.end, receiver)
    }

    /// Wakes when the log has grown.
    pub(crate) fn growth(&self) -> watch::Receiver<()> {
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
        let clients = self.log(time, &chunk).await;
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

    /// Writes a piece of output to the log; returns who is to get it as well.
    async fn log(&self, time: Time, chunk: &Chunk) -> Vec<mpsc::Sender<Chunk>> {
        let mut rest: &[u8] = &chunk.bytes;
        loop {
            let full = {
                let mut inner = self.inner();
                rest = inner.write(time, chunk.stream, rest);
                if rest.is_empty() {
                    self.grown.send_replace(());
                    inner.clients.retain(|client| !client.is_closed());
                    return inner.clients.clone();
                }
                inner.log.take()
            };
            self.rotate(full).await;
        }
    }

    /// Has a full log go on in another file. Nobody else writes meanwhile: a run has one pump.
    async fn rotate(&self, log: Option<LogWriter>) {
        let Some(mut log) = log else { return };
        let rotated = tokio::task::spawn_blocking(move || {
            let rotated = log.rotate();
            (log, rotated)
        });
        let (log, rotated) = rotated.await.expect("rotating does not panic");
        if let Err(error) = rotated {
            tracing::error!(error = %error, "cannot begin another file of a container's log");
        }
        self.inner().log = Some(log);
    }

    /// Ends a run: clients see the end, the log is complete.
    pub(crate) fn close(&self, time: Time) {
        let mut inner = self.inner();
        inner.clients.clear();
        inner.end = Position::END;
        if let Some(mut log) = inner.log.take() {
            if let Err(error) = log.finish(time) {
                tracing::error!(error = %error, "cannot write a container's log");
            }
            self.grown.send_replace(());
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
        let output = Output::new(None);
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
        let output = Output::new(None);
        let (_run, mut hurry) = watch::channel(false);
        drop(output.subscribe());
        output.publish(Time(0), chunk("a"), &mut hurry).await;
        assert!(output.inner().clients.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_does_not_hold_up_the_end() {
        let output = Output::new(None);
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
