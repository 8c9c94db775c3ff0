//! A build as the clients of Docker's classic builder read it: JSON lines.
//!
//! ```text
//! BuildEvent ──▶ Classic ──▶ the earliest stage not done ──▶ {"stream":"Step 1/2 : FROM x"} …
//!                    └─────▶ stages after it: held until it is their turn
//! ```
//!
//! Stages run side by side, and a reader of lines wants one after the other. What is held is
//! bounded: of a stage that prints much before its turn, the end is kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

use oriel_image::ImageId;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{Build, BuildError, BuildEvent, BuildSite, Built, RunOutput, StepId, StepView};

/// Most bytes kept of a quiet build, to be shown when it fails.
const MAX_KEPT: usize = 64 << 10;

/// Most bytes held of all stages whose turn has not come.
const MAX_HELD: usize = 4 << 20;

/// Events under way: few, so that a slow client slows the programs.
const EVENTS: usize = 16;

/// Shortest time of a step that is worth a line.
const WORTH_TELLING: Duration = Duration::from_millis(100);

/// The client has gone away.
struct Gone;

/// Writes the lines of one build.
struct Classic {
    sink: Sink,
    steps: BTreeMap<StepId, StepView>,
    /// Stages not done yet, in the order of the Dockerfile: the first is shown, the others held.
    /// Ones that are done stay until those before them are.
    stages: VecDeque<usize>,
    held: BTreeMap<usize, Tail>,
    /// Most bytes held of one stage.
    share: usize,
    done: BTreeSet<usize>,
    /// Whether a step has failed: nothing is to be seen after that.
    over: bool,
    /// Triggers with others after them: Docker shows the image of the last only.
    followed: BTreeSet<StepId>,
    running: BTreeMap<StepId, Running>,
}

/// A step that runs.
struct Running {
    since: SystemTime,
    decoder: Decoder,
    cached: bool,
}

/// Where lines go.
struct Sink {
    output: mpsc::Sender<Vec<u8>>,
    /// With `q=1` the lines held back.
    kept: Option<Tail>,
}

/// The last lines of many.
struct Tail {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    limit: usize,
    left_out: usize,
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
        // Without a client nobody is to be told; and one that leaves now reads nothing more.
        if let Some(classic) = classic {
            let _ = classic.end(&result).await;
        }
        result
    }
}

impl Classic {
    fn new(output: mpsc::Sender<Vec<u8>>, quiet: bool) -> Self {
        Self {
            sink: Sink { output, kept: quiet.then(|| Tail::new(MAX_KEPT)) },
            steps: BTreeMap::new(),
            stages: VecDeque::new(),
            held: BTreeMap::new(),
            share: 0,
            done: BTreeSet::new(),
            over: false,
            followed: BTreeSet::new(),
            running: BTreeMap::new(),
        }
    }

    /// Shows events to their end; `None` when the client has left, which ends the build.
    async fn show(mut self, mut events: mpsc::Receiver<BuildEvent>) -> Option<Self> {
        loop {
            let event = tokio::select! {
                biased;
                () = self.sink.output.closed() => return None,
                event = events.recv() => event,
            };
            match event {
                Some(event) => self.event(event).await.ok()?,
                None => return Some(self),
            }
        }
    }

    /// Shows how the build ended, as far as the caller does not.
    async fn end(mut self, result: &Result<Built, BuildError>) -> Result<(), Gone> {
        let kept = self.sink.kept.take();
        match (result, kept) {
            (Ok(built), Some(_)) => self.sink.stream(&format!("{}\n", built.image)).await,
            (Ok(built), None) => {
                let id = built.image.0.short();
                self.sink.stream(&format!("Successfully built {id}\n")).await?;
                for tag in &built.tags {
                    self.sink.stream(&format!("Successfully tagged {tag}\n")).await?;
                }
                Ok(())
            }
            (Err(_), Some(kept)) => self.sink.flush(kept).await,
            (Err(_), None) => Ok(()),
        }
    }

    async fn event(&mut self, event: BuildEvent) -> Result<(), Gone> {
        match event {
            BuildEvent::Planned(steps) => {
                self.plan(steps);
                Ok(())
            }
            BuildEvent::Warning { text } => self.sink.stream(&format!("{text}\n")).await,
            BuildEvent::Started { step, at } => self.started(step, at).await,
            BuildEvent::Cached { step } => {
                self.running.entry(step).and_modify(|running| running.cached = true);
                self.arrow(step, "Using cache").await
            }
            BuildEvent::Running { step, container } => {
                self.arrow(step, &format!("Running in {}", short(&container))).await
            }
            BuildEvent::Output { step, output } => self.output(step, output).await,
            BuildEvent::Removed { step, container } => {
                self.rest_of(step).await?;
                let text = format!("Removed intermediate container {}", short(&container));
                self.arrow(step, &text).await
            }
            BuildEvent::Note { step, text } => self.arrow(step, &text).await,
            BuildEvent::Progress { step, line } => match self.is_held(step) {
                // Of use only while it is fetched.
                true => Ok(()),
                false => self.sink.live(line).await,
            },
            BuildEvent::Triggered { step, triggers } => self.triggered(step, triggers).await,
            BuildEvent::Done { step, image, at } => self.done(step, image, at).await,
            BuildEvent::Finished { stage, image } => self.finished(stage, image).await,
            BuildEvent::Failed { step, .. } => self.failed(step).await,
            BuildEvent::Cancelled { step, .. } => self.rest_of(step).await,
        }
    }

    fn plan(&mut self, steps: Vec<StepView>) {
        let stages: BTreeSet<usize> = steps.iter().filter_map(|step| step.stage).collect();
        self.share = MAX_HELD / stages.len().max(1);
        self.stages = stages.into_iter().collect();
        self.steps = steps.into_iter().map(|step| (step.id, step)).collect();
    }

    async fn started(&mut self, step: StepId, since: SystemTime) -> Result<(), Gone> {
        let running = Running { since, decoder: Decoder::default(), cached: false };
        self.running.insert(step, running);
        let Some(view) = self.steps.get(&step) else { return Ok(()) };
        let Some(number) = view.number else {
            let text = format!("Step : {}\n", view.text);
            return self.stream(step, &text).await;
        };
        let text = format!("Step {number}/{} : {}", view.total, view.text);
        self.stream(step, &text).await?;
        self.stream(step, "\n").await
    }

    async fn output(&mut self, step: StepId, output: RunOutput) -> Result<(), Gone> {
        let Some(running) = self.running.get_mut(&step) else { return Ok(()) };
        let text = running.decoder.text(output);
        self.print(step, &text).await
    }

    async fn triggered(&mut self, from: StepId, triggers: Vec<StepView>) -> Result<(), Gone> {
        let s = if triggers.len() == 1 { "" } else { "s" };
        let text = format!("# Executing {} build trigger{s}\n", triggers.len());
        self.followed.extend(triggers.iter().rev().skip(1).map(|view| view.id));
        self.steps.extend(triggers.into_iter().map(|view| (view.id, view)));
        self.stream(from, &text).await
    }

    async fn done(
        &mut self,
        step: StepId,
        image: Option<ImageId>,
        at: SystemTime,
    ) -> Result<(), Gone> {
        self.rest_of(step).await?;
        if let Some(running) = self.running.remove(&step).filter(|running| !running.cached) {
            let took = at.duration_since(running.since).unwrap_or_default();
            if took >= WORTH_TELLING {
                self.arrow(step, &format!("Took {:.1}s", took.as_secs_f64())).await?;
            }
        }
        match image.filter(|_| !self.followed.contains(&step)) {
            Some(image) => self.arrow(step, &image.0.short()).await,
            None => Ok(()),
        }
    }

    /// Shows the id of a stage; when it was its turn, it is the next one's.
    async fn finished(&mut self, stage: usize, image: ImageId) -> Result<(), Gone> {
        let line = line(&json!({ "aux": { "ID": image.to_string() } }));
        self.write(Some(stage), line).await?;
        self.done.insert(stage);
        while let Some(first) = self.stages.pop_front_if(|first| self.done.contains(first)) {
            self.done.remove(&first);
            if let Some(held) = self.stages.front().and_then(|next| self.held.remove(next)) {
                self.sink.flush(held).await?;
            }
        }
        Ok(())
    }

    /// Shows what a stage has printed that had to wait: why it failed is at its end.
    async fn failed(&mut self, step: StepId) -> Result<(), Gone> {
        self.rest_of(step).await?;
        self.over = true;
        let stage = self.steps.get(&step).and_then(|view| view.stage);
        match stage.and_then(|stage| self.held.remove(&stage)) {
            Some(held) => self.sink.flush(held).await,
            None => Ok(()),
        }
    }

    /// Prints what is left of a program's output.
    async fn rest_of(&mut self, step: StepId) -> Result<(), Gone> {
        let Some(running) = self.running.get_mut(&step) else { return Ok(()) };
        let text = std::mem::take(&mut running.decoder).finish();
        self.print(step, &text).await
    }

    async fn print(&mut self, step: StepId, text: &str) -> Result<(), Gone> {
        if text.is_empty() { Ok(()) } else { self.stream(step, text).await }
    }

    async fn arrow(&mut self, step: StepId, text: &str) -> Result<(), Gone> {
        self.stream(step, &format!(" ---> {text}\n")).await
    }

    async fn stream(&mut self, step: StepId, text: &str) -> Result<(), Gone> {
        let stage = self.steps.get(&step).and_then(|view| view.stage);
        self.write(stage, line(&json!({ "stream": text }))).await
    }

    fn is_held(&self, step: StepId) -> bool {
        let stage = self.steps.get(&step).and_then(|view| view.stage);
        stage.is_some_and(|stage| self.stages.front() != Some(&stage))
    }

    /// Shows a line, or holds it until its stage's turn.
    async fn write(&mut self, stage: Option<usize>, line: Vec<u8>) -> Result<(), Gone> {
        match stage.filter(|stage| self.stages.front() != Some(stage)) {
            _ if self.over => Ok(()),
            None => self.sink.line(line).await,
            Some(stage) => {
                self.held.entry(stage).or_insert_with(|| Tail::new(self.share)).push(line);
                Ok(())
            }
        }
    }
}

impl Sink {
    async fn stream(&mut self, text: &str) -> Result<(), Gone> {
        self.line(line(&json!({ "stream": text }))).await
    }

    async fn line(&mut self, line: Vec<u8>) -> Result<(), Gone> {
        match &mut self.kept {
            Some(kept) => kept.push(line),
            None => self.output.send(line).await.map_err(|_| Gone)?,
        }
        Ok(())
    }

    /// Sends a line for which a quiet build has no use.
    async fn live(&mut self, line: Vec<u8>) -> Result<(), Gone> {
        match self.kept {
            Some(_) => Ok(()),
            None => self.line(line).await,
        }
    }

    async fn flush(&mut self, tail: Tail) -> Result<(), Gone> {
        if tail.left_out > 0 {
            let text = format!("[{} bytes before this are left out]\n", tail.left_out);
            self.stream(&text).await?;
        }
        for line in tail.lines {
            self.line(line).await?;
        }
        Ok(())
    }
}

impl Tail {
    fn new(limit: usize) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, limit, left_out: 0 }
    }

    fn push(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.bytes > self.limit {
            let Some(first) = self.lines.pop_front() else { return };
            self.bytes -= first.len();
            self.left_out += first.len();
        }
    }
}

fn line(value: &Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.extend_from_slice(b"\r\n");
    line
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
    use oriel_image::Digest;

    use super::*;
    use crate::Position;

    /// What a client reads of events about two stages of two steps each.
    async fn shown(quiet: bool, events: Vec<BuildEvent>, end: Result<Built, BuildError>) -> String {
        let (output, mut lines) = mpsc::channel(1 << 16);
        let mut classic = Classic::new(output, quiet);
        let _ = classic.event(BuildEvent::Planned((0..4).map(view).collect())).await;
        for event in events {
            let _ = classic.event(event).await;
        }
        let _ = classic.end(&end).await;
        let mut seen = String::new();
        while let Ok(line) = lines.try_recv() {
            let value: Value = serde_json::from_slice(&line).unwrap();
            seen += value["stream"].as_str().unwrap_or("AUX\n");
        }
        seen
    }

    fn view(number: usize) -> StepView {
        StepView {
            id: StepId(number),
            digest: Digest::of(b"x"),
            stage: Some(number / 2),
            stage_name: None,
            number: Some(number + 1),
            total: 4,
            text: format!("RUN {number}"),
            position: Position { line: number + 1, column: 1 },
            inputs: Vec::new(),
        }
    }

    fn after(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    /// A step that prints something and takes this many milliseconds.
    fn step(number: usize, text: &str, millis: u64) -> Vec<BuildEvent> {
        let step = StepId(number);
        let output = RunOutput::Stdout(text.as_bytes().to_vec());
        vec![
            BuildEvent::Started { step, at: after(0) },
            BuildEvent::Output { step, output },
            BuildEvent::Done { step, image: Some(image()), at: after(millis) },
        ]
    }

    fn image() -> ImageId {
        ImageId(Digest::of(b"image"))
    }

    fn finished(stage: usize) -> Vec<BuildEvent> {
        vec![BuildEvent::Finished { stage, image: image() }]
    }

    #[tokio::test]
    async fn stages_are_shown_in_order_with_the_time_of_steps_that_took_some() {
        let later = [step(2, "c\n", 99), step(3, "d\n", 1250), finished(1)].concat();
        let earlier = [step(0, "a\n", 0), step(1, "b\n", 0), finished(0)].concat();
        let built = Built { image: image(), tags: vec!["t:1".into()] };
        let seen = shown(false, [later, earlier].concat(), Ok(built)).await;
        let id = image().0.short();
        let expected = format!(
            "Step 1/4 : RUN 0\na\n ---> {id}\nStep 2/4 : RUN 1\nb\n ---> {id}\nAUX\n\
             Step 3/4 : RUN 2\nc\n ---> {id}\nStep 4/4 : RUN 3\nd\n ---> Took 1.2s\n \
             ---> {id}\nAUX\nSuccessfully built {id}\nSuccessfully tagged t:1\n"
        );
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn of_a_stage_that_waits_the_end_is_kept_and_shown_when_it_fails() {
        let long = format!("{}\n", "x".repeat(99));
        let mut events = step(0, "live\n", 0);
        events.push(BuildEvent::Started { step: StepId(2), at: after(0) });
        for _ in 0..MAX_HELD / 100 {
            let output = RunOutput::Stdout(long.clone().into_bytes());
            events.push(BuildEvent::Output { step: StepId(2), output });
        }
        let output = RunOutput::Stderr(b"why".to_vec());
        events.push(BuildEvent::Output { step: StepId(2), output });
        let (message, at) = ("no".to_owned(), after(0));
        events.push(BuildEvent::Failed { step: StepId(2), message, at });
        events.extend(step(1, "too late\n", 0));
        let seen = shown(false, events, Err(BuildError::Lost)).await;
        assert!(seen.len() < MAX_HELD / 2, "{}", seen.len());
        assert!(seen.contains("live\n") && seen.contains(" bytes before this are left out]\n"));
        assert!(seen.ends_with("why\u{1b}[0m") && !seen.contains("too late"));
    }

    #[tokio::test]
    async fn a_quiet_failure_shows_the_end_of_what_was_said() {
        let events = (0..MAX_KEPT / 10).flat_map(|n| step(0, &format!("line {n}\n"), 0)).collect();
        let seen = shown(true, events, Err(BuildError::Lost)).await;
        assert!(seen.len() < MAX_KEPT && seen.contains("left out"), "{}", seen.len());
        assert!(seen.contains(&format!("line {}\n", MAX_KEPT / 10 - 1)));
    }

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
