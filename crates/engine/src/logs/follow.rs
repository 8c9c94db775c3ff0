//! Reading a container's log for a client.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{
    LogRecord,
    files::{LogFiles, Position},
    reader::LogReader,
};
use crate::{ContainerView, Engine, EngineError, Stream, Time, container::Container};

/// Batches under way to one reader, besides the one that waits.
const UNDER_WAY: usize = 1;

/// What to read of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted.
    pub stderr: bool,
    /// Earliest time.
    pub since: Option<Time>,
    /// Latest time.
    pub until: Option<Time>,
    /// Only so many records from the end.
    pub tail: Option<u64>,
    /// Whether to go on with what comes, until the run ends.
    pub follow: bool,
}

impl LogOptions {
    fn wants(&self, record: &LogRecord) -> bool {
        let stream = match record.stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        };
        stream && self.since.is_none_or(|since| record.time >= since)
    }

    /// Leaves what is wanted; false when nothing that comes is.
    fn select(&self, records: &mut Vec<LogRecord>) -> bool {
        let late = |record: &LogRecord| self.until.is_some_and(|until| record.time > until);
        let end = records.iter().position(late);
        records.truncate(end.unwrap_or(records.len()));
        records.retain(|record| self.wants(record));
        end.is_none()
    }

    fn reader(&self, files: Arc<LogFiles>) -> std::io::Result<LogReader> {
        match self.tail {
            Some(count) => LogReader::tail(files, count),
            None => Ok(LogReader::since(files, self.since)),
        }
    }
}

impl Engine {
    /// Reads a container's log in batches, which are not empty. The receiver ends with the log, or
    /// with the run when it follows; dropping it ends the reading. A reader that is slow holds two
    /// batches and a file.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` when the container keeps no log.
    pub fn logs(
        &self,
        reference: &str,
        options: LogOptions,
    ) -> Result<(ContainerView, mpsc::Receiver<Vec<LogRecord>>), EngineError> {
        let container = self.find(reference)?;
        let files = container.output.files().ok_or(EngineError::LogsUnreadable)?;
        let view = container.view();
        Ok((view, self.send_log(container, files, options, Position::END)))
    }

    /// Reads a container's log up to a place in it.
    pub(crate) fn send_log(
        &self,
        container: Arc<Container>,
        files: Arc<LogFiles>,
        options: LogOptions,
        end: Position,
    ) -> mpsc::Receiver<Vec<LogRecord>> {
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        let engine = self.clone();
        self.inner.tasks.spawn(async move {
            let read = engine.read_log(&container, (files, end), options, &sender).await;
            if let Err(error) = read {
                tracing::warn!(container.id = container.id, error = %error, "cannot read a log");
            }
        });
        receiver
    }

    async fn read_log(
        &self,
        container: &Container,
        (files, end): (Arc<LogFiles>, Position),
        options: LogOptions,
        sender: &mpsc::Sender<Vec<LogRecord>>,
    ) -> Result<(), EngineError> {
        let mut growth = container.output.growth();
        let mut status = container.status.subscribe();
        let reader = self.blocking(move |_| options.reader(files).map_err(unreadable));
        let mut reader = reader.await?;
        loop {
            growth.borrow_and_update();
            let running = status.borrow_and_update().active;
            let mut records;
            (reader, records) = self
                .blocking(move |_| {
                    let records = reader.read(end).map_err(unreadable)?;
                    Ok::<_, EngineError>((reader, records))
                })
                .await?;
            let exhausted = records.is_empty();
            if !options.select(&mut records) && records.is_empty() {
                return Ok(());
            }
            if !records.is_empty() && sender.send(records).await.is_err() {
                return Ok(());
            }
            if !exhausted {
                continue;
            }
            let left = options.until.map(|until| until.since(self.now()));
            if !options.follow || !running || left == Some(Duration::ZERO) {
                return Ok(());
            }
            tokio::select! {
                () = after(left) => {}
                // The senders live as long as `container`.
                _ = growth.changed() => {}
                _ = status.changed() => {}
                () = sender.closed() => return Ok(()),
            }
        }
    }
}

/// Waits so long, or without end.
async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

fn unreadable(source: std::io::Error) -> EngineError {
    EngineError::File { attempt: "read a container's log", source }
}
