//! Images, as far as containers have a say in them.

use std::time::{Duration, UNIX_EPOCH};

use oriel_image::{Change, Commit, ImageId, InUse, Removed, RunConfig};

use crate::{Engine, EngineError, Time, merge};

impl Engine {
    /// Removes an image or one of its names, unless a container needs it.
    ///
    /// # Errors
    /// `NotFound`, `Conflict`.
    pub async fn remove_image(
        &self,
        name: &str,
        force: bool,
        noprune: bool,
    ) -> Result<Vec<Removed>, EngineError> {
        let name = name.to_owned();
        let task = {
            let engine = self.clone();
            async move {
                engine
                    .blocking(move |engine| {
                        let in_use = |id: &ImageId| engine.image_user(id);
                        engine.images().remove(&name, force, noprune, &in_use)
                    })
                    .await
            }
        };
        self.inner.tasks.complete(task).await
    }

    /// A container that uses an image, one that runs before one that does not.
    #[must_use]
    pub fn image_user(&self, image: &ImageId) -> Option<InUse> {
        let image = image.to_string();
        let containers = self.containers();
        let users = containers.iter().filter(|container| container.spec.image_id == image);
        users.max_by_key(|container| container.state.is_active()).map(|container| InUse {
            container: container.id[..12].to_owned(),
            running: container.state.is_active(),
        })
    }

    /// How a container's files differ from its image.
    ///
    /// # Errors
    /// `NotFound`, `Host`.
    pub async fn changes(&self, reference: &str) -> Result<Vec<Change>, EngineError> {
        let id = self.find(reference)?.id.clone();
        self.blocking(move |engine| {
            let sandbox = engine.images().sandbox(&id)?;
            engine.images().changes(&sandbox)
        })
        .await
    }

    /// Makes an image of a container that does not run.
    ///
    /// # Errors
    /// `Conflict` when it runs: its registry is in its memory then.
    pub async fn commit(
        &self,
        reference: &str,
        config: RunConfig,
        (author, comment): (String, String),
    ) -> Result<ImageId, EngineError> {
        let container = self.find(reference)?;
        let engine = self.clone();
        let task = async move {
            let _operation = container.operation.lock().await;
            let record = container.record();
            if record.state.is_active() {
                return Err(EngineError::unsupported(
                    "windows does not support commit of a running container",
                ));
            }
            let parent: ImageId = record.spec.image_id.parse().map_err(EngineError::Image)?;
            let commit = Commit {
                sandbox: Some(record.id.clone()),
                parent,
                config: merge(&record.spec.run, config),
                created_by: record.spec.path.clone(),
                comment,
                author,
                created: system_time(engine.now()),
            };
            engine.blocking(move |engine| engine.images().commit(&commit)).await
        };
        self.inner.tasks.complete(task).await
    }
}

fn system_time(time: Time) -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(time.0).unwrap_or(0))
}
