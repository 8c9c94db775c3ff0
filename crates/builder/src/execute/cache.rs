//! The cache of steps: what a step is known by, and finding the image that it made before.
//!
//! ```text
//! image below + text of the step ──▶ made here?       the store's index
//!                                └─▶ made elsewhere?  histories of what --cache-from names
//! ```
//!
//! The text of a step is its line in the image's history and names everything that goes in: the
//! command, the arguments it sees, and the content of what is copied or mounted. So it is the same
//! on every host, and the history of an image in a registry serves as a cache.

mod sources;

use std::sync::Arc;

use oriel_image::{Commit, Image, ImageError, ImageId, rfc3339};

pub(super) use sources::Sources;

use super::Execution;
use crate::{BuildError, BuildEvent, StepId, state::State};

/// What a step leaves in the history.
pub(super) struct Record {
    pub(super) created_by: String,
}

impl Execution<'_> {
    /// Looks for an image that this step made before: same image below, same history text, same
    /// configuration; and with `SOURCE_DATE_EPOCH` of that time.
    pub(super) async fn cached(
        &self,
        state: &mut State,
        record: &Record,
        step: StepId,
    ) -> Result<bool, BuildError> {
        if state.busted {
            return Ok(false);
        }
        let found = match self.made_here(state, record).await? {
            Some(image) => Some(image),
            None => self.made_elsewhere(state, record, step).await?,
        };
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

    async fn made_here(
        &self,
        state: &State,
        record: &Record,
    ) -> Result<Option<ImageId>, BuildError> {
        let (parent, config) = (state.image, state.config.clone());
        let (author, created_by) = (state.author.clone(), record.created_by.clone());
        let (created, footing) = (self.epoch.map(rfc3339), Arc::clone(&self.footing));
        self.blocking(move |images| {
            let same = |image: &Image| {
                let made = &image.config;
                let in_time = created.is_none() || made.created == created;
                made.config == config && made.author == author && in_time
            };
            for image in images.made_by(&parent, &created_by)?.iter().filter(|image| same(image)) {
                // What is removed meanwhile was never there.
                if footing.add(&image.id)? {
                    return Ok(Some(image.id));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Keeps others from removing an image as long as the build runs.
    pub(super) async fn hold(&self, image: ImageId) -> Result<(), BuildError> {
        let footing = Arc::clone(&self.footing);
        let held = self.blocking(move |_| Ok(footing.add(&image)?)).await?;
        match held {
            true => Ok(()),
            false => Err(ImageError::NoSuchImage { name: image.to_string() }.into()),
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
            created: self.epoch.unwrap_or_else(|| self.site.host.now()),
            latest: self.epoch,
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
        let footing = Arc::clone(&self.footing);
        state.image = self.blocking(move |_| Ok(footing.commit(&commit)?)).await?;
        Ok(())
    }
}
