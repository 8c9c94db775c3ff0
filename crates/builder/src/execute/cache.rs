//! The cache of steps: what a step is known by, and finding the image that it made before.

use oriel_image::{Commit, Image};

use super::Execution;
use crate::{BuildError, BuildEvent, StepId, state::State};

/// What a step leaves in the history.
pub(super) struct Record {
    pub(super) created_by: String,
}

impl Execution<'_> {
    /// Looks for an image that this step made before: same parent, same history text, same
    /// configuration.
    pub(super) async fn cached(
        &self,
        state: &mut State,
        record: &Record,
        step: StepId,
    ) -> Result<bool, BuildError> {
        if state.busted {
            return Ok(false);
        }
        let (parent, config) = (state.image, state.config.clone());
        let (author, created_by) = (state.author.clone(), record.created_by.clone());
        let found = self
            .blocking(move |images| {
                let same = |image: &Image| {
                    let last = image.config.history.last();
                    image.parent == Some(parent)
                        && image.config.config == config
                        && image.config.author == author
                        && last.is_some_and(|history| history.created_by == created_by)
                };
                Ok(images.list()?.into_iter().find(same).map(|image| image.id))
            })
            .await?;
        match found {
            Some(image) => {
                state.image = image;
                self.report.send(BuildEvent::Cached { step }).await?;
                Ok(true)
            }
            None => {
                state.busted = true;
                Ok(false)
            }
        }
    }

    pub(super) fn commit(&self, state: &State, record: Record, sandbox: Option<String>) -> Commit {
        Commit {
            sandbox,
            registry: None,
            registry_change: None,
            parent: state.image,
            config: state.config.clone(),
            created_by: record.created_by,
            comment: String::new(),
            author: state.author.clone(),
            created: self.site.host.now(),
            latest: None,
        }
    }

    pub(super) async fn commit_metadata(
        &self,
        state: &mut State,
        record: Record,
        step: StepId,
    ) -> Result<(), BuildError> {
        if self.cached(state, &record, step).await? {
            return Ok(());
        }
        let commit = self.commit(state, record, None);
        state.image = self.blocking(move |images| Ok(images.commit(&commit)?)).await?;
        Ok(())
    }
}
