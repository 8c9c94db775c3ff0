//! The registry of containers and images, for people.
//!
//! A container that runs is asked to save its registry, and the saved files are removed whatever
//! happens; of one that does not run, and of images, the files are here. Everything is looked at
//! in memory, by the names that people know ([`KeyName`]).
//!
//! ```text
//! running  ── save ──▶ trees ─▶ view ─▶ query, export, tree        file ─▶ plan ─▶ operations
//! stopped  ── read ──▶ trees ─▶ view ─▶ query, export, tree        file ─▶ plan ─▶ change
//! image    ── read ──▶ trees ─▶ view ─▶ query, export, tree        file ─▶ plan ─▶ a new layer
//! ```

mod name;
mod plan;
#[cfg(test)]
mod tests;
mod view;
mod walk;

use std::path::Path;
use std::sync::Arc;

use oriel_hcs::Class;
use oriel_hive::reg;
use oriel_image::{Change, Commit, ImageError, ImageId, RegistryChange, RegistryTrees, Sandbox};

use crate::container::Container;
use crate::images::system_time;
use crate::{Engine, EngineError, Stillness};
use plan::Plan;

pub use name::KeyName;
pub use view::{FoundKey, RegistryView, link_target};
pub use walk::{Step, walk};

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryImport {
    /// Keys made, changed or deleted.
    pub keys: usize,
    /// Values set or deleted.
    pub values: usize,
    /// The image that was made, of an image.
    pub image: Option<ImageId>,
}

/// How a container differs from its image, or one image from another.
pub struct Difference {
    /// Files; none are compared for images.
    pub files: Vec<Change>,
    /// The registry before.
    pub before: RegistryTrees,
    /// What changed in it.
    pub registry: RegistryChange,
}

/// What a name stands for.
enum Target {
    Container(Arc<Container>),
    Image(ImageId),
}

impl Engine {
    /// The registry of a container or, if there is none of that name, an image.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when a container ends meanwhile.
    pub async fn registry_view(&self, reference: &str) -> Result<RegistryView, EngineError> {
        let trees = match self.target(reference).await? {
            Target::Image(id) => {
                self.blocking(move |engine| engine.images().image_registry(&id)).await?
            }
            Target::Container(container) => {
                self.look(container, |engine, sandbox, saved| {
                    engine.images().sandbox_registry(sandbox, saved)
                })
                .await?
            }
        };
        Ok(RegistryView { trees })
    }

    /// How a container differs from its image, or an image from another: from `base`, or the one
    /// it was made from.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a container and an image.
    pub async fn difference(
        &self,
        reference: &str,
        base: Option<&str>,
    ) -> Result<Difference, EngineError> {
        let id = match self.target(reference).await? {
            Target::Image(id) => id,
            Target::Container(_) if base.is_some() => {
                return Err(EngineError::invalid(format!(
                    "{reference} is a container, which is compared with its own image only"
                )));
            }
            Target::Container(container) => return self.container_difference(container).await,
        };
        let base = match base {
            Some(base) => self.image_target(base).await?,
            None => self.parent(id).await?,
        };
        self.blocking(move |engine| {
            let before = engine.images().image_registry(&base)?;
            let after = engine.images().image_registry(&id)?;
            let registry = RegistryChange {
                machine: oriel_hive::diff(&before.machine, &after.machine),
                default: oriel_hive::diff(&before.default, &after.default),
                user: oriel_hive::diff(&before.user, &after.user),
            };
            Ok::<_, ImageError>(Difference { files: Vec::new(), before, registry })
        })
        .await
    }

    /// Makes the changes of a registry file: in a container, or as a new image with one layer more
    /// than `reference`.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` for a bad file; nothing has changed then. `Conflict` when Windows in
    /// the container refuses one of the changes; those before it were made.
    pub async fn import_registry(
        &self,
        reference: &str,
        file: Vec<u8>,
    ) -> Result<RegistryImport, EngineError> {
        let target = self.target(reference).await?;
        let engine = self.clone();
        let task = async move {
            let sections = engine.blocking(move |_| reg::parse(&file)).await?;
            match target {
                Target::Image(id) => engine.import_into_image(id, sections).await,
                Target::Container(container) => {
                    engine.import_into_container(&container, sections).await
                }
            }
        };
        self.inner.tasks.complete(task).await
    }

    async fn import_into_image(
        &self,
        parent: ImageId,
        sections: Vec<reg::Section>,
    ) -> Result<RegistryImport, EngineError> {
        let created = system_time(self.now());
        self.blocking(move |engine| {
            let image = engine.images().image_by_id(&parent)?;
            let view = RegistryView { trees: engine.images().image_registry(&parent)? };
            let plan = Plan::new(&view, sections)?;
            let (keys, values) = plan.size();
            let id = engine.images().commit(&Commit {
                sandbox: None,
                registry: None,
                registry_change: Some(plan.change(&view)?),
                parent,
                config: image.config.config.clone(),
                created_by: format!("oriel registry import ({keys} keys, {values} values)"),
                comment: String::new(),
                author: String::new(),
                created,
                latest: None,
            })?;
            Ok::<_, EngineError>(RegistryImport { keys, values, image: Some(id) })
        })
        .await
    }

    async fn import_into_container(
        &self,
        container: &Arc<Container>,
        sections: Vec<reg::Section>,
    ) -> Result<RegistryImport, EngineError> {
        let _operation = container.operation.lock().await;
        let id = container.id.clone();
        let read = move |engine: &Self, saved: Option<&Path>| {
            let sandbox = engine.images().sandbox(&id)?;
            let trees = engine.images().sandbox_registry(&sandbox, saved)?;
            Ok((sandbox, RegistryView { trees }))
        };
        let (sandbox, view) = self.read_still(container, Stillness::GoOn, read).await?;
        let live = container.live();
        let plan = self
            .blocking(move |engine| {
                let plan = Plan::new(&view, sections)?;
                let (keys, values) = plan.size();
                let done = RegistryImport { keys, values, image: None };
                if live.is_some() {
                    return Ok::<_, EngineError>((done, live, plan.operations()));
                }
                engine.images().change_registry(&sandbox, &plan.change(&view)?)?;
                Ok((done, live, Vec::new()))
            })
            .await;
        let (done, live, operations) = plan?;
        if let Some(live) = live {
            live.system.change_registry(operations).await?;
        }
        Ok(done)
    }

    async fn container_difference(
        &self,
        container: Arc<Container>,
    ) -> Result<Difference, EngineError> {
        self.look(container, |engine, sandbox, saved| {
            let images = engine.images();
            Ok(Difference {
                files: images.changes(sandbox)?,
                before: images.registry_before(sandbox)?,
                registry: images.registry_changes(sandbox, saved)?,
            })
        })
        .await
    }

    /// Looks at a container's sandbox, with what it saved when it runs, while nobody starts it.
    /// What it saved is removed although the caller goes away.
    async fn look<T: Send + 'static>(
        &self,
        container: Arc<Container>,
        look: impl FnOnce(&Self, &Sandbox, Option<&Path>) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let engine = self.clone();
        let task = async move {
            let _operation = container.operation.lock().await;
            let id = container.id.clone();
            let work = move |engine: &Self, saved: Option<&Path>| {
                let sandbox = engine.images().sandbox(&id)?;
                look(engine, &sandbox, saved)
            };
            engine.read_still(&container, Stillness::GoOn, work).await
        };
        self.inner.tasks.complete(task).await
    }

    /// What a name stands for: a container before an image, as for `docker inspect`.
    async fn target(&self, reference: &str) -> Result<Target, EngineError> {
        match self.find(reference) {
            Ok(container) => Ok(Target::Container(container)),
            Err(EngineError::NoSuchContainer { .. }) => match self.image_target(reference).await {
                Ok(id) => Ok(Target::Image(id)),
                // What cannot be a name of an image is none of a container either.
                Err(error) if matches!(error.class(), Class::NotFound | Class::Invalid) => {
                    Err(EngineError::NoSuchTarget { reference: reference.to_owned() })
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn image_target(&self, reference: &str) -> Result<ImageId, EngineError> {
        let name = reference.to_owned();
        Ok(self.blocking(move |engine| engine.images().resolve(&name)).await?.id)
    }

    /// The image that an image was made from.
    async fn parent(&self, id: ImageId) -> Result<ImageId, EngineError> {
        let image = self.blocking(move |engine| engine.images().image_by_id(&id)).await?;
        image.parent.ok_or_else(|| {
            EngineError::invalid(
                "the image was not made from another one here: name the image to compare it with",
            )
        })
    }
}
