//! Images, as far as containers have a say in them.

use std::time::{Duration, UNIX_EPOCH};

use oriel_image::{
    Change, Commit, ImageId, Import, Imported, InUse, Reference, Removed, RunConfig,
};

use crate::container::Container;
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

    /// Makes an image of a container that does not run. `config` is how containers of it run
    /// where that differs, and `changes` are instructions as of a Dockerfile.
    ///
    /// # Errors
    /// `Conflict` when it runs: its registry is in its memory then. `Invalid` for a wrong change.
    pub async fn commit(
        &self,
        reference: &str,
        config: Option<RunConfig>,
        changes: Vec<String>,
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
            let config = config.unwrap_or_else(|| record.spec.run.clone());
            let config = changed(config, &changes)?;
            let commit = Commit {
                sandbox: Some(record.id.clone()),
                registry: None,
                registry_change: None,
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

    /// Checks that a container can be exported: that it is there and does not run.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` when it runs: its registry is in its memory then.
    pub fn check_export(&self, reference: &str) -> Result<(), EngineError> {
        exportable(self.find(reference)?.as_ref())
    }

    /// Writes all files of a container that does not run as the tar of a base layer.
    ///
    /// # Errors
    /// Those of [`Engine::check_export`], `Host`.
    pub async fn export(
        &self,
        reference: &str,
        mut output: impl std::io::Write + Send + 'static,
    ) -> Result<(), EngineError> {
        let container = self.find(reference)?;
        let _operation = container.operation.lock().await;
        exportable(&container)?;
        let id = container.id.clone();
        self.blocking(move |engine| {
            let sandbox = engine.images().sandbox(&id)?;
            engine.images().export(&sandbox, None, &mut output)
        })
        .await?;
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

fn exportable(container: &Container) -> Result<(), EngineError> {
    if container.record().state.is_active() {
        return Err(EngineError::unsupported(
            "windows does not support export of a running container: stop it first",
        ));
    }
    Ok(())
}

fn changed(config: RunConfig, changes: &[String]) -> Result<RunConfig, EngineError> {
    oriel_builder::apply_changes(config, changes)
        .map_err(|error| EngineError::Invalid { reason: error.to_string() })
}

pub(crate) fn system_time(time: Time) -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(time.0).unwrap_or(0))
}
