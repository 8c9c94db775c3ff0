//! What stages stand on and copy from: images, here or in a registry, and other stages.

use oriel_image::{Image, ImageError, Reference};
use tokio::sync::mpsc;

use super::{Execution, Finished};
use crate::{BuildError, BuildEvent, HostError, StepId, plan::Base, state::State};

/// Lines of a pull under way to the client.
const PULL_LINES: usize = 16;

impl Execution<'_> {
    /// A stage that begins with a base. Waits for it when that is a stage.
    pub(super) async fn begin(&self, base: &Base, step: StepId) -> Result<State, BuildError> {
        let Finished { image, config, author } = match base {
            Base::Stage(index) => self.finished(*index).await?,
            Base::Image(name) => {
                let Image { id, config, .. } = self.base(name, step).await?;
                Finished { image: id, config: config.config, author: config.author }
            }
        };
        let busted = self.request.no_cache;
        Ok(State { author, busted, ..State::new(image, config) })
    }

    /// Finds a base image, here or in its registry.
    async fn base(&self, name: &str, step: StepId) -> Result<Image, BuildError> {
        let mut found = tokio::select! {
            found = self.bases.lock() => found,
            () = self.report.closed() => return Err(BuildError::Cancelled),
        };
        if let Some(image) = found.get(name) {
            return Ok(image.clone());
        }
        let here = self.resolve(name).await?;
        let image = match here.filter(|_| !self.request.pull) {
            Some(image) => image,
            None => self.pull(name, step).await?,
        };
        if !image.config.os.eq_ignore_ascii_case("windows") {
            return Err(BuildError::NotWindows { name: name.to_owned(), os: image.config.os });
        }
        self.hold(image.id).await?;
        found.insert(name.to_owned(), image.clone());
        Ok(image)
    }

    async fn pull(&self, name: &str, step: StepId) -> Result<Image, BuildError> {
        let reference = Reference::parse(name)?.or_latest();
        let pulled = self.telling(step, |lines| self.site.bases.pull(&reference, lines)).await?;
        pulled.map_err(|HostError { class, message }| BuildError::NoBase { class, message })?;
        let found = self.resolve(name).await?;
        found.ok_or_else(|| ImageError::NoSuchImage { name: name.to_owned() }.into())
    }

    /// Does something with a registry, passing on how far it is.
    pub(super) async fn telling<T, F>(
        &self,
        step: StepId,
        work: impl FnOnce(mpsc::Sender<Vec<u8>>) -> F,
    ) -> Result<Result<T, HostError>, BuildError>
    where
        F: Future<Output = Result<T, HostError>>,
    {
        let (sender, mut lines) = mpsc::channel(PULL_LINES);
        let pass_on = async {
            while let Some(line) = lines.recv().await {
                self.report.send(BuildEvent::Progress { step, line }).await?;
            }
            Ok::<_, BuildError>(())
        };
        let (done, passed) = tokio::select! {
            ended = async { tokio::join!(work(sender), pass_on) } => ended,
            () = self.report.closed() => return Err(BuildError::Cancelled),
        };
        passed.map(|()| done)
    }

    pub(super) async fn resolve(&self, name: &str) -> Result<Option<Image>, BuildError> {
        let name = name.to_owned();
        self.blocking(move |images| match images.resolve(&name) {
            Ok(image) => Ok(Some(image)),
            Err(ImageError::NoSuchImage { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        })
        .await
    }
}
