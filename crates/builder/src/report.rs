//! What the client reads while a build runs: JSON lines, as Docker's classic builder writes them.

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{BuildError, RunOutput};

/// Most bytes kept of a quiet build, to be shown when it fails.
const MAX_KEPT: usize = 64 << 10;

/// Writes the lines of one build.
pub(crate) struct Report {
    output: mpsc::Sender<Vec<u8>>,
    /// With `q=1` the lines held back.
    kept: Option<Vec<u8>>,
}

impl Report {
    pub(crate) fn new(output: mpsc::Sender<Vec<u8>>, quiet: bool) -> Self {
        Self { output, kept: quiet.then(Vec::new) }
    }

    /// Resolves when the client has gone away.
    pub(crate) async fn closed(&self) {
        self.output.closed().await;
    }

    /// Tells whether the client has gone away, from any thread.
    pub(crate) fn probe(&self) -> impl Fn() -> bool + Send + 'static {
        let output = self.output.clone();
        move || output.is_closed()
    }

    /// Where somebody else's lines go. A quiet build has no use for them.
    pub(crate) fn output(&self) -> mpsc::Sender<Vec<u8>> {
        match self.kept {
            None => self.output.clone(),
            Some(_) => mpsc::channel(1).0,
        }
    }

    /// Sends text.
    pub(crate) async fn stream(&mut self, text: &str) -> Result<(), BuildError> {
        self.send(&json!({ "stream": text })).await
    }

    /// Sends ` ---> text`.
    pub(crate) async fn arrow(&mut self, text: &str) -> Result<(), BuildError> {
        self.stream(&format!(" ---> {text}\n")).await
    }

    /// Sends the id of a finished stage.
    pub(crate) async fn image(&mut self, id: &str) -> Result<(), BuildError> {
        self.send(&json!({ "aux": { "ID": id } })).await
    }

    /// Sends text also in a quiet build.
    pub(crate) async fn result(&mut self, text: &str) -> Result<(), BuildError> {
        self.kept = None;
        self.stream(text).await
    }

    /// Sends what a quiet build held back, because it has failed.
    pub(crate) async fn give_up_quiet(&mut self) {
        if let Some(kept) = self.kept.take().filter(|kept| !kept.is_empty()) {
            // A client that has gone away reads no reasons.
            let _ = self.output.send(kept).await;
        }
    }

    async fn send(&mut self, value: &Value) -> Result<(), BuildError> {
        let mut line = value.to_string().into_bytes();
        line.extend_from_slice(b"\r\n");
        match &mut self.kept {
            Some(kept) if kept.len() + line.len() <= MAX_KEPT => kept.extend(line),
            Some(_) => {}
            None => self.output.send(line).await.map_err(|_| BuildError::Cancelled)?,
        }
        Ok(())
    }
}

/// Turns what a program prints into text, a character split between two pieces included.
#[derive(Default)]
pub(crate) struct Decoder {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Decoder {
    /// The text of one piece; standard error in red, as Docker shows it.
    pub(crate) fn text(&mut self, piece: RunOutput) -> String {
        match piece {
            RunOutput::Stdout(bytes) => decode(&mut self.stdout, &bytes),
            RunOutput::Stderr(bytes) => red(&decode(&mut self.stderr, &bytes)),
        }
    }

    /// What is left of characters that never became whole.
    pub(crate) fn finish(self) -> String {
        let stdout = String::from_utf8_lossy(&self.stdout).into_owned();
        stdout + &red(&String::from_utf8_lossy(&self.stderr))
    }
}

fn red(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("\x1b[91m{text}\x1b[0m") }
}

fn decode(carried: &mut Vec<u8>, bytes: &[u8]) -> String {
    carried.extend_from_slice(bytes);
    let whole = carried.len() - unfinished(carried);
    let rest = carried.split_off(whole);
    let text = String::from_utf8_lossy(carried).into_owned();
    *carried = rest;
    text
}

/// Bytes at the end that may be the beginning of a UTF-8 character.
fn unfinished(bytes: &[u8]) -> usize {
    match std::str::from_utf8(&bytes[bytes.len().saturating_sub(4)..]) {
        Err(error) if error.error_len().is_none() => bytes.len().min(4) - error.valid_up_to(),
        _ => (1..=3.min(bytes.len()))
            .find(|length| {
                let tail = &bytes[bytes.len() - length..];
                matches!(std::str::from_utf8(tail), Err(error) if error.error_len().is_none())
            })
            .unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_split_between_pieces_arrives_whole() {
        let mut decoder = Decoder::default();
        let bytes = "grün €".as_bytes();
        let mut text = String::new();
        for byte in bytes {
            text += &decoder.text(RunOutput::Stdout(vec![*byte]));
        }
        assert_eq!(text + &decoder.finish(), "grün €");
    }

    #[test]
    fn bytes_that_are_no_text_do_not_stick() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.text(RunOutput::Stdout(vec![0x81, b'a'])), "\u{fffd}a");
        assert_eq!(decoder.text(RunOutput::Stderr(b"x".to_vec())), "\x1b[91mx\x1b[0m");
        assert_eq!(decoder.text(RunOutput::Stdout(vec![0xe2, 0x82])), "");
        assert_eq!(decoder.finish(), "\u{fffd}");
    }
}
