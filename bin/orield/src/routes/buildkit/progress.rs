//! Shows a build to BuildKit's clients: events become vertexes, statuses and logs.
//!
//! Each step of the Dockerfile is a vertex, named as BuildKit names them (`[build 2/4] RUN …`).
//! What happens around them, such as the copying of the context, are vertexes of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use oriel_builder::{BuildEvent, RunOutput, StepId, StepView};
use oriel_buildkit::message::{
    StatusResponse, Timestamp, Vertex, VertexLog, VertexStatus, VertexWarning,
};
use ring::digest::{SHA256, digest};
use serde::Deserialize;

/// Why a step ended that was given up: clients know it by this text.
const CANCELLED: &str = "context canceled";

/// Streams of a log.
const STDOUT: i64 = 1;
const STDERR: i64 = 2;

/// The vertexes of a build.
#[derive(Debug)]
pub(super) struct Progress {
    /// Name of the build, so that vertexes of two builds are not taken for one.
    build: String,
    /// The steps, with the bar that each part of what is fetched for one has.
    steps: BTreeMap<StepId, (Vertex, BTreeMap<String, VertexStatus>)>,
    /// Streams whose last piece ended between the two characters of a line's end.
    held: BTreeSet<(StepId, i64)>,
}

/// A line of a pull.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Line {
    id: String,
    status: String,
    #[serde(rename = "progressDetail")]
    detail: Detail,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Detail {
    current: i64,
    total: i64,
}

impl Progress {
    pub(super) fn new(build: &str) -> Self {
        Self { build: build.to_owned(), steps: BTreeMap::new(), held: BTreeSet::new() }
    }

    /// A vertex for what happens around the steps; it has begun.
    pub(super) fn around(&self, name: &str) -> Vertex {
        Vertex {
            digest: hash(&format!("{} {name}", self.build)),
            name: name.to_owned(),
            started: Some(now()),
            ..Vertex::default()
        }
    }

    /// What an event changes.
    pub(super) fn of(&mut self, event: BuildEvent) -> StatusResponse {
        match event {
            BuildEvent::Planned(steps) => self.planned(steps),
            BuildEvent::Triggered { triggers, .. } => self.planned(triggers),
            BuildEvent::Started { step, at } => self.change(step, |vertex| {
                vertex.started = Some(at.into());
            }),
            BuildEvent::Cached { step } => self.change(step, |vertex| vertex.cached = true),
            BuildEvent::Done { step, at, .. } => self.end(step, at, ""),
            BuildEvent::Failed { step, message, at } => self.end(step, at, &message),
            BuildEvent::Cancelled { step, at } => self.end(step, at, CANCELLED),
            BuildEvent::Output { step, output } => match output {
                RunOutput::Stdout(bytes) => self.print(step, STDOUT, &bytes),
                RunOutput::Stderr(bytes) => self.print(step, STDERR, &bytes),
            },
            BuildEvent::Note { step, text } => {
                self.log(step, STDERR, format!("{text}\n").into_bytes())
            }
            BuildEvent::Progress { step, line } => self.fetched(step, &line),
            BuildEvent::Warning { text } => {
                // The client says itself what it is.
                self.warning(text.strip_prefix("[Warning] ").unwrap_or(&text))
            }
            BuildEvent::Running { .. }
            | BuildEvent::Removed { .. }
            | BuildEvent::Finished { .. } => StatusResponse::default(),
        }
    }

    fn planned(&mut self, views: Vec<StepView>) -> StatusResponse {
        let mut places: BTreeMap<Option<usize>, usize> = BTreeMap::new();
        let stages: usize =
            views.iter().filter_map(|view| view.stage).collect::<BTreeSet<_>>().len();
        let mut vertexes = Vec::new();
        for view in &views {
            let place = places.entry(view.stage).or_default();
            *place += 1;
            let total = views.iter().filter(|other| other.stage == view.stage).count();
            let vertex = Vertex {
                digest: hash(&format!("{} {}", self.build, view.digest)),
                inputs: Vec::new(),
                name: name(view, (*place, total), stages > 1),
                ..Vertex::default()
            };
            self.steps.insert(view.id, (vertex, BTreeMap::new()));
        }
        for view in &views {
            let inputs = view.inputs.iter().filter_map(|id| self.steps.get(id));
            let inputs = inputs.map(|(vertex, _)| vertex.digest.clone()).collect();
            if let Some((vertex, _)) = self.steps.get_mut(&view.id) {
                vertex.inputs = inputs;
                vertexes.push(vertex.clone());
            }
        }
        StatusResponse { vertexes, ..StatusResponse::default() }
    }

    fn change(&mut self, step: StepId, change: impl FnOnce(&mut Vertex)) -> StatusResponse {
        let Some((vertex, _)) = self.steps.get_mut(&step) else {
            return StatusResponse::default();
        };
        change(vertex);
        StatusResponse { vertexes: vec![vertex.clone()], ..StatusResponse::default() }
    }

    /// Ends a step; one that was found in the cache has not begun before.
    fn end(&mut self, step: StepId, at: SystemTime, error: &str) -> StatusResponse {
        self.change(step, |vertex| {
            let at = Timestamp::from(at);
            vertex.started.get_or_insert(at);
            vertex.completed = Some(at);
            vertex.error = error.to_owned();
        })
    }

    /// What a program printed, with the ends of lines that clients know: of Windows' own, they
    /// would take the first half for a bar that is drawn again.
    fn print(&mut self, step: StepId, stream: i64, bytes: &[u8]) -> StatusResponse {
        let mut text = Vec::with_capacity(bytes.len() + 1);
        let mut held = self.held.remove(&(step, stream));
        for byte in bytes {
            if held && *byte != b'\n' {
                text.push(b'\r');
            }
            held = *byte == b'\r';
            if !held {
                text.push(*byte);
            }
        }
        if held {
            self.held.insert((step, stream));
        }
        self.log(step, stream, text)
    }

    fn log(&self, step: StepId, stream: i64, message: Vec<u8>) -> StatusResponse {
        let Some((vertex, _)) = self.steps.get(&step) else { return StatusResponse::default() };
        let vertex = vertex.digest.clone();
        let log = VertexLog { vertex, timestamp: Some(now()), stream, message };
        StatusResponse { logs: vec![log], ..StatusResponse::default() }
    }

    fn warning(&self, text: &str) -> StatusResponse {
        // A warning needs a step; that of the build as a whole is its first.
        let Some((vertex, _)) = self.steps.values().next() else {
            return StatusResponse::default();
        };
        let warning = VertexWarning {
            vertex: vertex.digest.clone(),
            level: 1,
            short: text.as_bytes().to_vec(),
            ..VertexWarning::default()
        };
        StatusResponse { warnings: vec![warning], ..StatusResponse::default() }
    }

    /// A line of a pull: a bar for each layer, and a log of the rest.
    fn fetched(&mut self, step: StepId, line: &[u8]) -> StatusResponse {
        let line: Line = serde_json::from_slice(line).unwrap_or_default();
        if line.status.is_empty() {
            return StatusResponse::default();
        }
        if line.id.is_empty() || line.status.starts_with("Pulling from") {
            return self.log(step, STDERR, format!("{}\n", line.status).into_bytes());
        }
        let Some((vertex, bars)) = self.steps.get_mut(&step) else {
            return StatusResponse::default();
        };
        let now = now();
        let bar = bars.entry(line.id.clone()).or_insert_with(|| VertexStatus {
            id: line.id.clone(),
            vertex: vertex.digest.clone(),
            started: Some(now),
            ..VertexStatus::default()
        });
        bar.timestamp = Some(now);
        if line.detail.total > 0 {
            (bar.current, bar.total) = (line.detail.current, line.detail.total);
        }
        if ["Pull complete", "Already exists"].contains(&line.status.as_str()) {
            bar.current = bar.total;
            bar.completed = Some(now);
        }
        StatusResponse { statuses: vec![bar.clone()], ..StatusResponse::default() }
    }
}

/// A vertex that has come so far, and how many bytes that is.
pub(super) fn transferring(vertex: &Vertex, what: &str, bytes: u64, ends: bool) -> StatusResponse {
    let now = now();
    let status = VertexStatus {
        id: format!("transferring {what}:"),
        vertex: vertex.digest.clone(),
        current: i64::try_from(bytes).unwrap_or(i64::MAX),
        timestamp: Some(now),
        started: vertex.started,
        completed: ends.then_some(now),
        ..VertexStatus::default()
    };
    StatusResponse { statuses: vec![status], ..StatusResponse::default() }
}

/// A part of a vertex that is done.
pub(super) fn done(vertex: &Vertex, what: &str) -> VertexStatus {
    let now = now();
    VertexStatus {
        id: what.to_owned(),
        vertex: vertex.digest.clone(),
        timestamp: Some(now),
        started: vertex.started,
        completed: Some(now),
        ..VertexStatus::default()
    }
}

/// A vertex as it is now.
pub(super) fn shown(vertex: &Vertex) -> StatusResponse {
    StatusResponse { vertexes: vec![vertex.clone()], ..StatusResponse::default() }
}

/// A vertex that has ended.
pub(super) fn ended(vertex: &Vertex, error: &str) -> StatusResponse {
    shown(&Vertex { completed: Some(now()), error: error.to_owned(), ..vertex.clone() })
}

/// What people read of a step (`frontend/dockerfile/dockerfile2llb`, `prefixCommand`).
fn name(view: &StepView, (place, total): (usize, usize), many: bool) -> String {
    let Some(stage) = view.stage else { return view.text.clone() };
    let stage = match (&view.stage_name, many) {
        (Some(name), _) => format!("{name} "),
        (None, true) => format!("stage-{stage} "),
        (None, false) => String::new(),
    };
    match view.number {
        Some(_) => format!("[{stage}{place}/{total}] {}", view.text),
        None => format!("[{stage}onbuild {place}/{total}] {}", view.text),
    }
}

fn hash(text: &str) -> String {
    let bytes = digest(&SHA256, text.as_bytes());
    let hex: String = bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use oriel_builder::{Position, StepView};

    use super::*;

    fn view(id: usize, stage: usize, name: Option<&str>, inputs: &[usize]) -> StepView {
        StepView {
            id: StepId(id),
            digest: format!("sha256:{id:064}").parse().unwrap(),
            stage: Some(stage),
            stage_name: name.map(str::to_owned),
            number: Some(id + 1),
            total: 3,
            text: format!("RUN {id}"),
            position: Position { line: 1, column: 1 },
            inputs: inputs.iter().map(|id| StepId(*id)).collect(),
        }
    }

    fn planned() -> Progress {
        let mut progress = Progress::new("b");
        let views = vec![
            view(0, 0, Some("base"), &[]),
            view(1, 0, Some("base"), &[0]),
            view(2, 1, None, &[1]),
        ];
        progress.of(BuildEvent::Planned(views));
        progress
    }

    #[test]
    fn steps_are_named_by_stage_and_know_what_they_need() {
        let mut progress = Progress::new("b");
        let views = vec![
            view(0, 0, Some("base"), &[]),
            view(1, 0, Some("base"), &[0]),
            view(2, 1, None, &[1]),
        ];
        let report = progress.of(BuildEvent::Planned(views));
        let names: Vec<_> = report.vertexes.iter().map(|vertex| vertex.name.as_str()).collect();
        assert_eq!(names, ["[base 1/2] RUN 0", "[base 2/2] RUN 1", "[stage-1 1/1] RUN 2"]);
        assert_eq!(report.vertexes[2].inputs, [report.vertexes[1].digest.clone()]);
        assert!(report.vertexes.iter().all(|vertex| vertex.started.is_none()));
    }

    #[test]
    fn a_step_from_the_cache_begins_and_ends() {
        let mut progress = planned();
        let at = SystemTime::now();
        progress.of(BuildEvent::Cached { step: StepId(0) });
        let report = progress.of(BuildEvent::Done { step: StepId(0), image: None, at });
        let vertex = &report.vertexes[0];
        assert!(vertex.cached && vertex.started.is_some() && vertex.completed.is_some());
        let report = progress.of(BuildEvent::Cancelled { step: StepId(1), at });
        assert_eq!(report.vertexes[0].error, "context canceled");
    }

    #[test]
    fn ends_of_lines_are_those_of_the_client() {
        let mut progress = planned();
        let mut print = |text: &str| {
            let output = RunOutput::Stdout(text.as_bytes().to_vec());
            let report = progress.of(BuildEvent::Output { step: StepId(1), output });
            String::from_utf8(report.logs[0].message.clone()).unwrap()
        };
        assert_eq!(print("a\r\nb\r"), "a\nb");
        assert_eq!(print("\nc\r"), "\nc");
        assert_eq!(print("d\r\re"), "\rd\r\re");
    }

    #[test]
    fn a_pull_has_a_bar_for_each_layer() {
        let mut progress = planned();
        let mut line = |text: &str| {
            progress.of(BuildEvent::Progress { step: StepId(0), line: text.as_bytes().to_vec() })
        };
        let detail =
            r#"{"id":"l1","status":"Downloading","progressDetail":{"current":5,"total":9}}"#;
        let report = line(detail);
        assert_eq!((report.statuses[0].current, report.statuses[0].total), (5, 9));
        let report = line(r#"{"id":"l1","status":"Pull complete"}"#);
        assert!(report.statuses[0].completed.is_some());
        assert_eq!(line(r#"{"status":"Digest: x"}"#).logs[0].message, b"Digest: x\n");
        assert_eq!(line("no JSON"), StatusResponse::default());
    }
}
