//! Stages as a graph: each goes on until it takes something from a stage that is not done yet.
//!
//! ```text
//! stage 0   FROM ── RUN ── RUN ──┐
//! stage 1   FROM ── RUN ── …     └▶ COPY --from=0 ── RUN
//! ```
//!
//! Stages begin in the order of the Dockerfile and take only from earlier ones, so that the
//! earliest that is not done can always go on. A permit is held while a step runs, and never while
//! it waits for a stage. The first failure stops all others, and the build ends when they have.

use std::sync::atomic::Ordering;

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use oriel_image::ImageId;
use tokio::sync::SemaphorePermit;

use super::{Execution, Finished};
use crate::{
    BuildError, BuildEvent, DockerfileError, Place, Problem, StepId, StepView,
    parse::{self, Statement, shortened},
    plan::{self, Base, Plan, Stage, Step},
    state::State,
};

/// Most stages under way, those that wait included. A Dockerfile may have a million.
const MAX_STAGES: usize = 64;

impl Execution<'_> {
    /// Runs the plan to its end.
    pub(crate) async fn run(&self, plan: &Plan) -> Result<ImageId, BuildError> {
        self.report.send(BuildEvent::Planned(self.views.clone())).await?;
        for warning in &plan.warnings {
            self.report.warn(warning.clone()).await?;
        }
        for id in (0..plan.globals.len()).map(StepId) {
            self.report.started(id).await?;
            self.report.done(id, None).await?;
        }
        let image = self.stages(plan).await?;
        if !plan.unused.is_empty() {
            let names = plan.unused.join(" ");
            let text = format!("[Warning] One or more build-args [{names}] were not consumed");
            self.report.warn(text).await?;
        }
        Ok(image)
    }

    /// Builds all stages; returns the last one's image.
    async fn stages(&self, plan: &Plan) -> Result<ImageId, BuildError> {
        let mut stages = plan.stages.iter();
        let mut running = FuturesUnordered::new();
        for stage in stages.by_ref().take(MAX_STAGES) {
            running.push(self.stage(stage).boxed());
        }
        let mut failure = None;
        while let Some(end) = running.next().await {
            if let Some(stage) = stages.next() {
                running.push(self.stage(stage).boxed());
            }
            if let Err(error) = end {
                self.report.stop();
                // That others were stopped is no reason.
                failure = match failure {
                    None | Some(BuildError::Cancelled) => Some(error),
                    first => first,
                };
            }
        }
        match (failure, plan.stages.last()) {
            (Some(error), _) => Err(error),
            (None, Some(last)) => Ok(self.finished(last.index).await?.image),
            (None, None) => Err(DockerfileError::whole(Problem::NoStage).into()),
        }
    }

    async fn stage(&self, stage: &Stage) -> Result<(), BuildError> {
        let begin = self.begin(&stage.base, stage.id);
        let mut state = self.told((stage.id, &stage.from), [&stage.base], begin).await?;
        let triggers = state.config.on_build.take().unwrap_or_default();
        state = self.triggers(state, &triggers, stage).await?;
        for (index, step) in stage.steps.iter().enumerate() {
            state.ahead.look(&stage.steps[index + 1..]);
            let work = self.execute(state, step);
            state = self.told((step.id, &step.statement), step.sources(), work).await?;
        }
        let State { image, config, author, .. } = state;
        self.report.send(BuildEvent::Finished { stage: stage.index, image }).await?;
        let done = self.done.get(&stage.index).ok_or(BuildError::Lost)?;
        done.send_replace(Some(Finished { image, config, author }));
        Ok(())
    }

    /// Waits for what a step needs and for its turn, and tells how it begins and ends.
    async fn told<'b>(
        &self,
        (step, statement): (StepId, &Statement),
        needs: impl IntoIterator<Item = &'b Base>,
        work: impl Future<Output = Result<State, BuildError>>,
    ) -> Result<State, BuildError> {
        for base in needs {
            if let Base::Stage(index) = base {
                self.finished(*index).await?;
            }
        }
        let _permit = self.permit().await?;
        self.report.started(step).await?;
        let result = work.await.map_err(|error| error.at(|| self.place(step, statement)));
        match &result {
            Ok(state) => self.report.done(step, Some(state.image)).await?,
            Err(error) => {
                self.report.stop();
                self.report.failed(step, error).await;
            }
        }
        result
    }

    fn place(&self, step: StepId, statement: &Statement) -> Place {
        let is_trigger = step.0 >= self.views.len();
        Place {
            file: self.request.dockerfile_name().to_owned(),
            line: statement.position.line,
            excerpt: shortened(&statement.excerpt),
            trigger: is_trigger.then(|| statement.text.clone()),
        }
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, BuildError> {
        let permit = tokio::select! {
            biased;
            () = self.report.closed() => return Err(BuildError::Cancelled),
            permit = self.permits.acquire() => permit,
        };
        permit.map_err(|_| BuildError::Lost)
    }

    /// What others take from a stage, once that is done.
    pub(super) async fn finished(&self, stage: usize) -> Result<Finished, BuildError> {
        let mut done = self.done.get(&stage).ok_or(BuildError::Lost)?.subscribe();
        let done = tokio::select! {
            biased;
            () = self.report.closed() => return Err(BuildError::Cancelled),
            done = done.wait_for(Option::is_some) => done.map_err(|_| BuildError::Lost)?.clone(),
        };
        done.ok_or(BuildError::Lost)
    }

    /// Runs what the base image's `ONBUILD` instructions left.
    async fn triggers(
        &self,
        mut state: State,
        triggers: &[String],
        stage: &Stage,
    ) -> Result<State, BuildError> {
        let mut steps = Vec::new();
        let mut views = Vec::new();
        for text in triggers {
            let statement = parse::trigger(text, self.escape, &stage.from)?;
            // A trigger knows no stages, only images.
            let mut step = Step::new(statement, &[])?;
            step.id = StepId(self.next_id.fetch_add(1, Ordering::Relaxed));
            let before = views.last().or_else(|| self.views.get(stage.id.0));
            let before: Vec<&StepView> = before.into_iter().collect();
            let view = plan::view(step.id, &step.statement, Some(stage), &before);
            views.push(StepView { text: text.clone(), ..view });
            steps.push(step);
        }
        if !views.is_empty() {
            let event = BuildEvent::Triggered { step: stage.id, triggers: views };
            self.report.send(event).await?;
        }
        for step in &steps {
            let work = self.execute(state, step);
            state = self.told((step.id, &step.statement), [], work).await?;
        }
        Ok(state)
    }
}
