//! Changing limits and restart policy of containers that exist.

use oriel_hcs::Class;

use crate::{Engine, EngineError, HostOptions, RestartPolicy, container::Container};

impl Engine {
    /// Changes what a container runs on, with `change`: its limits, at once when it runs; its
    /// restart policy; and what is shown of both. Returns what `change` does. On error all is as
    /// before.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for one that is being removed; those of `change` and of the kernel,
    /// in Docker's words.
    pub async fn update<T: Send + 'static>(
        &self,
        reference: &str,
        change: impl FnOnce(&mut HostOptions) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let container = self.find(reference)?;
        let engine = self.clone();
        let task = async move {
            let _operation = container.operation.lock().await;
            let updated = engine.update_now(&container, change).await;
            updated.map_err(|error| cannot_update(&container.id, &error))
        };
        self.inner.tasks.complete(task).await
    }

    async fn update_now<T>(
        &self,
        container: &Container,
        change: impl FnOnce(&mut HostOptions) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        if container.is_removing() {
            return Err(conflict("container is marked for removal and cannot be \"update\""));
        }
        let before = container.record().spec.host.clone();
        let mut after = before.clone();
        let told = change(&mut after)?;
        if after.auto_remove && after.restart != RestartPolicy::No {
            return Err(conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        let live = container.live().filter(|_| before.limits != after.limits);
        if let Some(live) = &live {
            live.system.change_limits(&before.limits, &after.limits).await?;
        }
        container.record_mut().spec.host = after.clone();
        if let Err(error) = self.save(container).await {
            if let Some(live) = &live {
                // What cannot be taken back holds until the container ends.
                let _ = live.system.change_limits(&after.limits, &before.limits).await;
            }
            container.record_mut().spec.host = before;
            return Err(error);
        }
        self.emit(&container.record(), "update", &[]);
        Ok(told)
    }
}

fn conflict(reason: &str) -> EngineError {
    EngineError::Refused { class: Class::Conflict, reason: reason.to_owned() }
}

/// Docker's words around any reason (moby `daemon/update.go`).
fn cannot_update(id: &str, error: &EngineError) -> EngineError {
    let reason = format!("Cannot update container {id}: {error}");
    EngineError::Refused { class: error.class(), reason }
}
