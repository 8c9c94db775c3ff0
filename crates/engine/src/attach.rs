//! Attached clients: output and input.

use std::sync::Arc;

use oriel_hcs::{ConsoleSize, ProcessId};
use tokio::sync::mpsc;

use crate::{
    Chunk, ContainerView, Engine, EngineError, LogOptions, LogRecord, container::Container,
    exec::Exec,
};

/// A client's end of a container's streams.
pub struct Attachment {
    /// The container when it was attached to.
    pub view: ContainerView,
    /// What it printed before, when that was asked for and there is a log.
    pub earlier: Option<mpsc::Receiver<Vec<LogRecord>>>,
    /// What it prints from now on; ends with the run.
    pub output: mpsc::Receiver<Chunk>,
    /// Its standard input.
    pub stdin: Stdin,
}

impl Engine {
    /// Attaches to a container, whether it runs or not: what it prints from now on arrives.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is paused.
    pub async fn attach(&self, reference: &str, earlier: bool) -> Result<Attachment, EngineError> {
        let container = self.find(reference)?;
        if container.record().state.is_paused() {
            return Err(EngineError::AttachPaused { reference: reference.to_owned() });
        }
        let (position, output) = container.output.subscribe();
        let earlier = container.output.files().filter(|_| earlier).map(|files| {
            let options = LogOptions { stdout: true, stderr: true, ..LogOptions::default() };
            self.send_log(container.clone(), files, options, position)
        });
        let view = container.view();
        self.emit(&container.record(), "attach", &[]);
        Ok(Attachment { view, earlier, output, stdin: Stdin { target: Target::Init(container) } })
    }

    /// Tells that a client has left a console, and its program goes on.
    pub fn has_left(&self, stdin: &Stdin) {
        match &stdin.target {
            Target::Init(container) => self.emit(&container.record(), "detach", &[]),
            Target::Exec(exec) => {
                let further = [("execID", exec.id.clone())];
                self.emit(&exec.container.record(), "exec_detach", &further);
            }
        }
    }

    /// Changes the size of a container's console.
    ///
    /// # Errors
    /// `Conflict` when it does not run.
    pub async fn resize(&self, reference: &str, size: ConsoleSize) -> Result<(), EngineError> {
        let container = self.find(reference)?;
        container.running()?.system.resize(ProcessId::INIT, size).await?;
        let further = [("height", size.height.to_string()), ("width", size.width.to_string())];
        self.emit(&container.record(), "resize", &further);
        Ok(())
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
