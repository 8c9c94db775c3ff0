//! Images, as far as containers have a say in them.

use std::{
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use oriel_image::{
    Change, Commit, ImageId, Import, Imported, InUse, Reference, Removed, RunConfig,
};

use crate::{Engine, EngineError, Stillness, Time, merge, saved::SavedRegistry};

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

    /// Makes an image of a container. `config` is how containers of it run where that differs, and
    /// `changes` are instructions as of a Dockerfile. What runs is read as `stillness` says.
    ///
    /// # Errors
    /// `Invalid` for a wrong change; `Conflict` when Windows does not save its registry.
    pub async fn commit(
        &self,
        reference: &str,
        wanted: CommitRequest,
        stillness: Stillness,
    ) -> Result<ImageId, EngineError> {
        let container = self.find(reference)?;
        let engine = self.clone();
        let task = async move {
            let _operation = container.operation.lock().await;
            let record = container.record();
            let parent: ImageId = record.spec.image_id.parse().map_err(EngineError::Image)?;
            let config = wanted.config.unwrap_or_else(|| record.spec.run.clone());
            let config = changed(config, &wanted.changes)?;
            let comment = wanted.comment.clone();
            let mut commit = Commit {
                sandbox: Some(record.id.clone()),
                registry: None,
                registry_change: None,
                parent,
                config: merge(&record.spec.run, config),
                created_by: record.spec.path.clone(),
                comment: wanted.comment,
                author: wanted.author,
                created: system_time(engine.now()),
                latest: None,
            };
            let work = move |engine: &Self, registry: Option<&Path>| {
                commit.registry = registry.map(Path::to_owned);
                engine.images().commit(&commit)
            };
            let image = engine.read_still(&container, stillness, work).await?;
            let further = [("comment", comment), ("imageID", image.to_string())];
            engine.emit(&record, "commit", &further);
            Ok(image)
        };
        self.inner.tasks.complete(task).await
    }

    /// Writes all files of a container as the tar of a base layer. The programs of one that runs
    /// go on: whoever takes the archive may be slow.
    ///
    /// # Errors
    /// `NotFound`, `Host`; `Conflict` when Windows does not save its registry.
    pub async fn export(
        &self,
        reference: &str,
        mut output: impl std::io::Write + Send + 'static,
    ) -> Result<(), EngineError> {
        let container = self.find(reference)?;
        let operation = container.operation.lock().await;
        let id = container.id.clone();
        let mut work = move |engine: &Self, registry: Option<&Path>| {
            let sandbox = engine.images().sandbox(&id)?;
            engine.images().export(&sandbox, registry, &mut output)
        };
        match container.live() {
            Some(live) => {
                let saved = SavedRegistry::of(self, &container, &live).await?;
                // It may end and be removed meanwhile; the archive breaks off then.
                drop(operation);
                self.blocking(move |engine| work(engine, Some(saved.path()))).await?;
            }
            None => self.blocking(move |engine| work(engine, None)).await?,
        }
        self.emit(&container.record(), "export", &[]);
        Ok(())
    }

    /// Makes a base image of an archive of files, with `changes` made to `import`'s configuration.
    ///
    /// # Errors
    /// `Invalid` for a wrong change or archive, `Host`.
    pub async fn import(
        &self,
        mut input: impl std::io::Read + Send + 'static,
        import: ImportRequest,
    ) -> Result<Imported, EngineError> {
        let import = Import {
            name: import.name,
            config: changed(RunConfig::default(), &import.changes)?,
            os_version: oriel_hcs::OS_VERSION.to_owned(),
            comment: import.comment,
            created: system_time(self.now()),
        };
        self.blocking(move |engine| engine.images().import(&mut input, import)).await
    }
}

/// What a client asks for with a commit.
#[derive(Clone, Debug, Default)]
pub struct CommitRequest {
    /// How containers of the image run, where that differs from the container.
    pub config: Option<RunConfig>,
    /// Instructions as of a Dockerfile that change it.
    pub changes: Vec<String>,
    /// Who, for the history.
    pub author: String,
    /// Why, for the history.
    pub comment: String,
}

/// What a client asks for with an import.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// Name for the image.
    pub name: Option<Reference>,
    /// Instructions as of a Dockerfile that change how its containers run.
    pub changes: Vec<String>,
    /// Why, for the history.
    pub comment: String,
}

fn changed(config: RunConfig, changes: &[String]) -> Result<RunConfig, EngineError> {
    oriel_builder::apply_changes(config, changes)
        .map_err(|error| EngineError::Invalid { reason: error.to_string() })
}

pub(crate) fn system_time(time: Time) -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(time.0).unwrap_or(0))
}
