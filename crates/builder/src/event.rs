//! What happens in a build, as those are told who show it.
//!
//! The steps of the stages that are needed are announced once, before anything else. Stages may run
//! side by side, so the events of several steps come mixed; those of one step come in order:
//!
//! ```text
//! Planned ─▶ Started ─▶ Note, Progress, Running, Output … ─▶ Done
//!                 └────▶ Cached ───────────────────────────▶ Done
//!                 └────▶ … ─▶ Failed, or Cancelled
//! ```
//!
//! Who shows a build also carries its cancellation: a build whose events nobody reads any more
//! stops.

use std::time::SystemTime;

use oriel_image::{Digest, ImageId};
use tokio::sync::{mpsc, watch};

use crate::{BuildError, Position, RunOutput};

/// A step of one build. Steps of the Dockerfile are counted from 0 in its order, without those of
/// stages that are not needed; the numbers after those are triggers of base images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub usize);

/// A step as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepView {
    /// Which one it is.
    pub id: StepId,
    /// The same for the same step of the same Dockerfile, and for no other of it.
    pub digest: Digest,
    /// Its stage's place in the Dockerfile; `None` for an `ARG` before the first stage.
    pub stage: Option<usize>,
    /// Its stage's name.
    pub stage_name: Option<String>,
    /// What `Step n/total` counts, from 1; `None` for a trigger of a base image.
    pub number: Option<usize>,
    /// The steps of the whole build, triggers aside.
    pub total: usize,
    /// The instruction, continued lines joined.
    pub text: String,
    /// Where it stands in the Dockerfile; for a trigger, where its `FROM` stands.
    pub position: Position,
    /// The steps that have to be done before.
    pub inputs: Vec<StepId>,
}

/// Something that happens in a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildEvent {
    /// What will be done: the first event, and there is only one.
    Planned(Vec<StepView>),
    /// Something about the build as a whole that the client should know.
    Warning {
        /// One line, without its end.
        text: String,
    },
    /// A step begins.
    Started {
        /// Which.
        step: StepId,
        /// When.
        at: SystemTime,
    },
    /// The step was done before: its image is there.
    Cached {
        /// Which.
        step: StepId,
    },
    /// A container runs for the step.
    Running {
        /// Which.
        step: StepId,
        /// Id of the container.
        container: String,
    },
    /// The container printed something.
    Output {
        /// Which.
        step: StepId,
        /// What, as it was printed: a piece may end within a character.
        output: RunOutput,
    },
    /// The container is gone.
    Removed {
        /// Which.
        step: StepId,
        /// Id of the container.
        container: String,
    },
    /// Something about the step that the client should know.
    Note {
        /// Which.
        step: StepId,
        /// One line, without its end.
        text: String,
    },
    /// Something is fetched for the step.
    Progress {
        /// Which.
        step: StepId,
        /// A JSON line of the Docker API, as pulls print them, with its end.
        line: Vec<u8>,
    },
    /// The base image brings instructions, which come before the stage's own.
    Triggered {
        /// The `FROM`, which is done.
        step: StepId,
        /// One step each; at least one.
        triggers: Vec<StepView>,
    },
    /// A step has ended.
    Done {
        /// Which.
        step: StepId,
        /// What it made; nothing is made of an `ARG` before the first stage.
        image: Option<ImageId>,
        /// When.
        at: SystemTime,
    },
    /// A stage is built.
    Finished {
        /// Its place in the Dockerfile.
        stage: usize,
        /// Its image.
        image: ImageId,
    },
    /// A step has failed, and with it the build.
    Failed {
        /// Which.
        step: StepId,
        /// Why.
        message: String,
        /// When.
        at: SystemTime,
    },
    /// A step was given up, because the client left or because another one failed.
    Cancelled {
        /// Which.
        step: StepId,
        /// When.
        at: SystemTime,
    },
}

/// Sends the events of one build, and tells its steps when to stop.
#[derive(Clone)]
pub(crate) struct Report {
    events: mpsc::Sender<BuildEvent>,
    stop: watch::Sender<bool>,
}

impl Report {
    pub(crate) fn new(events: mpsc::Sender<BuildEvent>) -> Self {
        Self { events, stop: watch::Sender::default() }
    }

    /// Sends an event; fails when nobody listens any more.
    pub(crate) async fn send(&self, event: BuildEvent) -> Result<(), BuildError> {
        self.events.send(event).await.map_err(|_| BuildError::Cancelled)
    }

    /// Sends something that the client should know about a step.
    pub(crate) async fn note(&self, step: StepId, text: &str) -> Result<(), BuildError> {
        self.send(BuildEvent::Note { step, text: text.to_owned() }).await
    }

    /// Sends something that the client should know about the build.
    pub(crate) async fn warn(&self, text: String) -> Result<(), BuildError> {
        self.send(BuildEvent::Warning { text }).await
    }

    /// Sends the beginning of a step.
    pub(crate) async fn started(&self, step: StepId) -> Result<(), BuildError> {
        self.send(BuildEvent::Started { step, at: SystemTime::now() }).await
    }

    /// Sends the end of a step.
    pub(crate) async fn done(
        &self,
        step: StepId,
        image: Option<ImageId>,
    ) -> Result<(), BuildError> {
        self.send(BuildEvent::Done { step, image, at: SystemTime::now() }).await
    }

    /// Sends the bad end of a step. Who has gone away reads no reasons.
    pub(crate) async fn failed(&self, step: StepId, error: &BuildError) {
        let at = SystemTime::now();
        let event = match error {
            BuildError::Cancelled => BuildEvent::Cancelled { step, at },
            _ => BuildEvent::Failed { step, message: error.to_string(), at },
        };
        let _ = self.events.send(event).await;
    }

    /// Makes all steps stop that run.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Resolves when the build is to stop: its client has gone away, or a step has failed.
    pub(crate) async fn closed(&self) {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            () = self.events.closed() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Tells whether the build is to stop, from any thread.
    pub(crate) fn probe(&self) -> impl Fn() -> bool + Send + 'static {
        let (events, stop) = (self.events.clone(), self.stop.subscribe());
        move || events.is_closed() || *stop.borrow()
    }
}
