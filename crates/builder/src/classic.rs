//! A build as the clients of Docker's classic builder read it: JSON lines.
//!
//! ```text
//! BuildEvent ──▶ Classic ──▶ {"stream":"Step 1/2 : FROM x"} …
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{Build, BuildError, BuildEvent, BuildSite, Built, RunOutput, StepId, StepView};

/// Most bytes kept of a quiet build, to be shown when it fails.
const MAX_KEPT: usize = 64 << 10;

/// Events under way: few, so that a slow client slows the programs.
const EVENTS: usize = 16;

/// The client has gone away.
struct Gone;

/// Writes the lines of one build.
struct Classic {
    output: mpsc::Sender<Vec<u8>>,
    /// With `q=1` the lines held back.
    kept: Option<Vec<u8>>,
    steps: BTreeMap<StepId, StepView>,
    /// Of each stage, the last step.
    last: BTreeMap<usize, StepId>,
    /// Triggers with others after them: Docker shows the image of the last only.
    followed: BTreeSet<StepId>,
    decoders: BTreeMap<StepId, Decoder>,
}

impl Build {
    /// Runs the build for a client of the classic builder. `output` gets complete JSON lines as
    /// the Docker API has them, the newline included; an error returned is not among them: the
    /// caller turns it into the last line with [`BuildError::line`].
    ///
    /// The build is cancelled by dropping the receiver of `output`; like [`Build::run`], it must be
    /// polled to its end all the same.
    ///
    /// # Errors
    /// Of any class; nothing half-made is left behind.
    pub async fn run_classic(
        self,
        site: BuildSite<'_>,
        output: mpsc::Sender<Vec<u8>>,
    ) -> Result<Built, BuildError> {
        let (sender, events) = mpsc::channel(EVENTS);
        let classic = Classic::new(output, self.request.quiet);
        let (result, classic) = tokio::join!(self.run(site, sender), classic.show(events));
        // A client that left has cancelled the build, unless that was done already.
        if let Some(classic) = classic {
            classic.end(&result).await;
        }
        result
    }
}

impl Classic {
    fn new(output: mpsc::Sender<Vec<u8>>, quiet: bool) -> Self {
        Self {
            output,
            kept: quiet.then(Vec::new),
            steps: BTreeMap::new(),
            last: BTreeMap::new(),
            followed: BTreeSet::new(),
            decoders: BTreeMap::new(),
        }
    }

    /// Shows events to their end; `None` when the client has left, which ends the build.
    async fn show(mut self, mut events: mpsc::Receiver<BuildEvent>) -> Option<Self> {
        loop {
            let event = tokio::select! {
                biased;
                () = self.output.closed() => return None,
                event = events.recv() => event,
            };
            match event {
                Some(event) => self.event(event).await.ok()?,
                None => return Some(self),
            }
        }
    }

    /// Shows how the build ended, as far as the caller does not.
    async fn end(mut self, result: &Result<Built, BuildError>) {
        // A client that has gone away reads neither names nor reasons.
        let _ = match result {
            Ok(built) => self.success(built).await,
            Err(_) => self.give_up_quiet().await,
        };
    }

    async fn success(&mut self, built: &Built) -> Result<(), Gone> {
        if self.kept.take().is_some() {
            return self.stream(&format!("{}\n", built.image)).await;
        }
        self.stream(&format!("Successfully built {}\n", built.image.0.short())).await?;
        for tag in &built.tags {
            self.stream(&format!("Successfully tagged {tag}\n")).await?;
        }
        Ok(())
    }

    /// Sends what a quiet build held back, because it has failed.
    async fn give_up_quiet(&mut self) -> Result<(), Gone> {
        match self.kept.take().filter(|kept| !kept.is_empty()) {
            Some(kept) => self.output.send(kept).await.map_err(|_| Gone),
            None => Ok(()),
        }
    }

    async fn event(&mut self, event: BuildEvent) -> Result<(), Gone> {
        match event {
            BuildEvent::Planned(steps) => {
                for step in steps {
                    self.last.extend(step.stage.map(|stage| (stage, step.id)));
                    self.steps.insert(step.id, step);
                }
                Ok(())
            }
            BuildEvent::Warning { text } => self.stream(&format!("{text}\n")).await,
            BuildEvent::Started { step, .. } => self.started(step).await,
            BuildEvent::Cached { .. } => self.arrow("Using cache").await,
            BuildEvent::Running { container, .. } => {
                self.arrow(&format!("Running in {}", short(&container))).await
            }
            BuildEvent::Output { step, output } => {
                let text = self.decoders.entry(step).or_default().text(output);
                self.print(&text).await
            }
            BuildEvent::Removed { step, container } => {
                self.rest_of(step).await?;
                let text = format!("Removed intermediate container {}", short(&container));
                self.arrow(&text).await
            }
            BuildEvent::Note { text, .. } => self.arrow(&text).await,
            BuildEvent::Progress { line, .. } => self.line(line).await,
            BuildEvent::Triggered { step, triggers } => self.triggered(step, triggers).await,
            BuildEvent::Done { step, image, .. } => self.done(step, image).await,
            BuildEvent::Failed { step, .. } | BuildEvent::Cancelled { step, .. } => {
                self.rest_of(step).await
            }
        }
    }

    async fn started(&mut self, step: StepId) -> Result<(), Gone> {
        let Some(view) = self.steps.get(&step) else { return Ok(()) };
        match view.number {
            None => self.stream(&format!("Step : {}\n", view.text)).await,
            Some(number) => {
                let text = format!("Step {number}/{} : {}", view.total, view.text);
                self.stream(&text).await?;
                self.stream("\n").await
            }
        }
    }

    async fn triggered(&mut self, from: StepId, triggers: Vec<StepView>) -> Result<(), Gone> {
        let s = if triggers.len() == 1 { "" } else { "s" };
        let text = format!("# Executing {} build trigger{s}\n", triggers.len());
        self.followed.extend(triggers.iter().rev().skip(1).map(|view| view.id));
        for end in self.last.values_mut().filter(|end| **end == from) {
            *end = triggers.last().map_or(from, |view| view.id);
        }
        self.steps.extend(triggers.into_iter().map(|view| (view.id, view)));
        self.stream(&text).await
    }

    async fn done(
        &mut self,
        step: StepId,
        image: Option<oriel_image::ImageId>,
    ) -> Result<(), Gone> {
        self.rest_of(step).await?;
        let (Some(image), Some(view)) = (image, self.steps.get(&step)) else { return Ok(()) };
        let ends_stage = view.stage.is_some_and(|stage| self.last.get(&stage) == Some(&step));
        if !self.followed.contains(&step) {
            self.arrow(&image.0.short()).await?;
        }
        match ends_stage {
            true => self.send(&json!({ "aux": { "ID": image.to_string() } })).await,
            false => Ok(()),
        }
    }

    /// Prints what is left of a program's output.
    async fn rest_of(&mut self, step: StepId) -> Result<(), Gone> {
        let text = self.decoders.remove(&step).map(Decoder::finish);
        self.print(&text.unwrap_or_default()).await
    }

    async fn print(&mut self, text: &str) -> Result<(), Gone> {
        if text.is_empty() { Ok(()) } else { self.stream(text).await }
    }

    async fn arrow(&mut self, text: &str) -> Result<(), Gone> {
        self.stream(&format!(" ---> {text}\n")).await
    }

    async fn stream(&mut self, text: &str) -> Result<(), Gone> {
        self.send(&json!({ "stream": text })).await
    }

    async fn send(&mut self, value: &Value) -> Result<(), Gone> {
        let mut line = value.to_string().into_bytes();
        line.extend_from_slice(b"\r\n");
        match &mut self.kept {
            Some(kept) if kept.len() + line.len() <= MAX_KEPT => kept.extend(line),
            Some(_) => {}
            None => self.output.send(line).await.map_err(|_| Gone)?,
        }
        Ok(())
    }

    /// Sends somebody else's line. A quiet build has no use for it.
    async fn line(&mut self, line: Vec<u8>) -> Result<(), Gone> {
        match self.kept {
            Some(_) => Ok(()),
            None => self.output.send(line).await.map_err(|_| Gone),
        }
    }
}

/// The first 12 digits of a container's id.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Turns what a program prints into text, a character split between two pieces included.
#[derive(Default)]
struct Decoder {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Decoder {
    /// The text of one piece; standard error in red, as Docker shows it.
    fn text(&mut self, piece: RunOutput) -> String {
        match piece {
            RunOutput::Stdout(bytes) => decode(&mut self.stdout, &bytes),
            RunOutput::Stderr(bytes) => red(&decode(&mut self.stderr, &bytes)),
        }
    }

    /// What is left of characters that never became whole.
    fn finish(self) -> String {
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
