//! Attached clients: output, input, logs.

use std::sync::Arc;

use oriel_hcs::{ConsoleSize, ProcessId};
use tokio::sync::mpsc;

use crate::{
    Chunk, ContainerView, Engine, EngineError, LogDriver, LogRecord, Stream, Time,
    container::Container, document, exec::Exec, logs,
};

/// Records read from disk at a time.
const BATCH: usize = 512;
/// Records under way to one reader.
const UNDER_WAY: usize = 64;

/// A client's end of a container's streams.
pub struct Attachment {
    /// The container when it was attached to.
    pub view: ContainerView,
    /// What it printed before, when that was asked for.
    pub earlier: Vec<LogRecord>,
    /// What it prints from now on; ends with the run.
    pub output: mpsc::Receiver<Chunk>,
    /// Its standard input.
    pub stdin: Stdin,
}

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
        stream
            && self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time <= until)
    }
}

impl Engine {
    /// Attaches to a container, whether it runs or not: what it prints from now on arrives.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is paused; `Host` when its log cannot be read.
    pub async fn attach(&self, reference: &str, earlier: bool) -> Result<Attachment, EngineError> {
        let container = self.find(reference)?;
        if container.record().state.is_paused() {
            return Err(EngineError::AttachPaused { reference: reference.to_owned() });
        }
        let (length, output) = container.output.subscribe();
        let view = container.view();
        let earlier = if earlier && view.spec.host.log == LogDriver::JsonFile {
            self.log_up_to(&container.id, length).await?
        } else {
            Vec::new()
        };
        self.emit(&container.record(), "attach", &[]);
        Ok(Attachment { view, earlier, output, stdin: Stdin { target: Target::Init(container) } })
    }

    async fn log_up_to(&self, id: &str, length: u64) -> Result<Vec<LogRecord>, EngineError> {
        let path = logs::path(&document::directory(self.root(), id), id);
        self.blocking(move |_| {
            let (mut offset, mut all) = (0, Vec::new());
            while offset < length {
                let (records, next) = read(&path, offset)?;
                if next == offset {
                    break;
                }
                offset = next;
                all.extend(records);
            }
            Ok::<_, EngineError>(all)
        })
        .await
    }

    /// Reads a container's log. The receiver ends with the log, or with the run when it follows;
    /// dropping it ends the reading.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` when the container keeps no log.
    pub fn logs(
        &self,
        reference: &str,
        options: LogOptions,
    ) -> Result<(ContainerView, mpsc::Receiver<LogRecord>), EngineError> {
        let container = self.find(reference)?;
        let view = container.view();
        if view.spec.host.log == LogDriver::None {
            return Err(EngineError::LogsUnreadable);
        }
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        let engine = self.clone();
        self.inner.tasks.spawn(async move {
            if let Err(error) = engine.read_logs(&container, options, &sender).await {
                tracing::warn!(container.id = container.id, error = %error, "cannot read a log");
            }
        });
        Ok((view, receiver))
    }

    async fn read_logs(
        &self,
        container: &Arc<Container>,
        options: LogOptions,
        sender: &mpsc::Sender<LogRecord>,
    ) -> Result<(), EngineError> {
        let path = logs::path(&document::directory(self.root(), &container.id), &container.id);
        let mut growth = container.output.growth();
        let mut status = container.status.subscribe();
        let mut offset = match options.tail {
            Some(count) => {
                let path = path.clone();
                self.blocking(move |_| found(logs::tail(&path, count))).await?
            }
            None => 0,
        };
        loop {
            growth.borrow_and_update();
            let running = status.borrow_and_update().active;
            let (records, next) = {
                let path = path.clone();
                self.blocking(move |_| read(&path, offset)).await?
            };
            let exhausted = next == offset;
            offset = next;
            for record in records {
                if options.until.is_some_and(|until| record.time > until) {
                    return Ok(());
                }
                if options.wants(&record) && sender.send(record).await.is_err() {
                    return Ok(());
                }
            }
            if !exhausted {
                continue;
            }
            if !options.follow || !running {
                return Ok(());
            }
            tokio::select! {
                // The senders live as long as `container`.
                _ = growth.changed() => {}
                _ = status.changed() => {}
                () = sender.closed() => return Ok(()),
            }
        }
    }

    /// Changes the size of a container's console.
    ///
    /// # Errors
    /// `Conflict` when it does not run.
    pub async fn resize(&self, reference: &str, size: ConsoleSize) -> Result<(), EngineError> {
        let live = self.find(reference)?.running()?;
        Ok(live.system.resize(ProcessId::INIT, size).await?)
    }
}

fn read(path: &std::path::Path, offset: u64) -> Result<(Vec<LogRecord>, u64), EngineError> {
    found(match logs::read(path, offset, BATCH) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((Vec::new(), offset)),
        other => other,
    })
}

fn found<T: Default>(result: std::io::Result<T>) -> Result<T, EngineError> {
    match result {
        // A container that never ran has no log yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        other => {
            other.map_err(|source| EngineError::File { attempt: "read a container's log", source })
        }
    }
}

/// Standard input of a container or an exec.
pub struct Stdin {
    pub(crate) target: Target,
}

pub(crate) enum Target {
    Init(Arc<Container>),
    Exec(Arc<Exec>),
}

impl Stdin {
    /// Waits until the program runs, so that nothing is taken from a client before somebody can
    /// have it. Returns `false` when it never will.
    pub async fn ready(&self) -> bool {
        match &self.target {
            Target::Init(container) => {
                let mut status = container.status.subscribe();
                let ready = status.wait_for(|status| status.running || status.removed).await;
                ready.is_ok_and(|status| status.running)
            }
            Target::Exec(exec) => exec.is_running(),
        }
    }

    /// Gives bytes to the program; waits while it is busy.
    ///
    /// # Errors
    /// When the program is gone.
    pub async fn write(&self, bytes: Vec<u8>) -> Result<(), EngineError> {
        let (container, process) = self.process();
        Ok(container.running()?.system.write_stdin(process, bytes).await?)
    }

    /// Ends the program's standard input, if that is how it was created.
    ///
    /// # Errors
    /// When the program is gone.
    pub async fn close(&self) -> Result<(), EngineError> {
        let (container, process) = self.process();
        if let Target::Init(container) = &self.target
            && !container.record().spec.streams.stdin_once
        {
            return Ok(());
        }
        Ok(container.running()?.system.close_stdin(process).await?)
    }

    fn process(&self) -> (&Arc<Container>, ProcessId) {
        match &self.target {
            Target::Init(container) => (container, ProcessId::INIT),
            Target::Exec(exec) => (&exec.container, exec.process()),
        }
    }
}

/// Finds the keys with which a client leaves a console, without keeping them from the program
/// unless they are complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    /// Reads keys such as `ctrl-p,ctrl-q`, which is what an empty text means.
    ///
    /// # Errors
    /// `Invalid`, in Docker's words.
    pub fn parse(text: &str) -> Result<Self, EngineError> {
        let text = if text.is_empty() { "ctrl-p,ctrl-q" } else { text };
        let keys = text.split(',').map(key).collect::<Option<Vec<u8>>>().ok_or_else(|| {
            EngineError::invalid(format!("Invalid detach keys ({text}) provided"))
        })?;
        Ok(Self { keys, matched: 0 })
    }

    /// Takes what a client typed. Returns what the program is to get, and whether the client
    /// leaves.
    pub fn scan(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len());
        for &byte in typed {
            if byte != self.keys[self.matched] {
                passed.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (passed, true);
                }
            } else {
                passed.push(byte);
            }
        }
        (passed, false)
    }
}

fn key(name: &str) -> Option<u8> {
    if let [byte] = name.as_bytes() {
        return Some(*byte);
    }
    match name.strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        b"@" => Some(0),
        b"[" => Some(27),
        b"\\" => Some(28),
        b"]" => Some(29),
        b"^" => Some(30),
        b"_" => Some(31),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_found_across_pieces() {
        let mut keys = DetachKeys::parse("").unwrap();
        assert_eq!(keys.scan(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.scan(b"\x11c"), (Vec::new(), true));
    }

    #[test]
    fn a_key_that_leads_nowhere_reaches_the_program() {
        let mut keys = DetachKeys::parse("ctrl-p,ctrl-q").unwrap();
        assert_eq!(keys.scan(b"\x10x"), (b"\x10x".to_vec(), false));
        assert_eq!(keys.scan(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(keys.scan(b"\x11"), (Vec::new(), true));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(DetachKeys::parse("ctrl-é").is_err());
        assert!(DetachKeys::parse("alt-a").is_err());
        assert!(DetachKeys::parse("a,ctrl-@").is_ok());
    }
}
