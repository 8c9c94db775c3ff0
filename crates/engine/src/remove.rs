//! Removing containers.

use std::sync::Arc;

use crate::{Anonymous, Engine, EngineError, container::Container, records::Record};

/// How a container is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Whether also one that runs.
    pub force: bool,
    /// What becomes of its volumes.
    pub anonymous: Anonymous,
}

impl Engine {
    /// Removes a container and keeps its volumes; with `force` also one that runs.
    ///
    /// # Errors
    /// `Conflict` when it runs or is being removed already.
    pub async fn remove(&self, reference: &str, force: bool) -> Result<(), EngineError> {
        self.remove_with(reference, Removal { force, anonymous: Anonymous::Keep }).await
    }

    /// Removes a container.
    ///
    /// # Errors
    /// Those of [`Engine::remove`].
    pub async fn remove_with(&self, reference: &str, how: Removal) -> Result<(), EngineError> {
        let container = self.find(reference)?;
        let engine = self.clone();
        self.inner.tasks.complete(async move { engine.remove_now(&container, how).await }).await
    }

    pub(crate) async fn remove_now(
        &self,
        container: &Arc<Container>,
        how: Removal,
    ) -> Result<(), EngineError> {
        let record = container.record();
        if record.state.is_active() && !how.force {
            return Err(still_active(&record));
        }
        if !container.claim_removal() {
            return Err(EngineError::RemovalInProgress { id: container.id.clone() });
        }
        let removed = self.end_and_delete(container, how).await;
        if removed.is_err() {
            container.release_removal();
        }
        removed
    }

    async fn end_and_delete(
        &self,
        container: &Arc<Container>,
        how: Removal,
    ) -> Result<(), EngineError> {
        self.cancel_restart(container).await;
        // A start that was under way has come to its end when the lock is ours.
        let (live, ended) = {
            let _operation = container.operation.lock().await;
            (container.live(), container.status.borrow().ended)
        };
        if let Some(live) = live {
            if !how.force {
                return Err(still_active(&container.record()));
            }
            self.wake(container, &live).await?;
            live.stopped.store(true, std::sync::atomic::Ordering::Release);
            self.kill_and_wait(container, &live, ended).await?;
        }
        self.delete(container, how.anonymous).await
    }

    /// Removes a container that has ended, because it was created to be removed then.
    pub(crate) async fn remove_ended(&self, container: &Arc<Container>) {
        if !container.claim_removal() {
            return;
        }
        if let Err(error) = self.delete(container, Anonymous::Remove).await {
            container.release_removal();
            tracing::error!(container.id = container.id, error = %error, "cannot remove");
        }
    }

    /// Deletes the record, which is what decides, then what it owned.
    async fn delete(
        &self,
        container: &Arc<Container>,
        anonymous: Anonymous,
    ) -> Result<(), EngineError> {
        let _operation = container.operation.lock().await;
        let record = container.record();
        let id = container.id.clone();
        self.blocking(move |engine| engine.inner.records.delete(&id)).await?;
        if let Some(ready) = container.take_ready() {
            self.end_ready(&container.id, ready).await;
        }
        {
            let mut registry = self.registry();
            registry.containers.remove(&container.id);
            registry.names.remove(&record.name);
            registry.execs.retain(|_, exec| exec.container.id != container.id);
        }
        container.execs.lock().expect("no panic while execs are listed").clear();
        container.output.close(self.now());
        let (id, mounts) = (container.id.clone(), record.spec.host.mounts.clone());
        self.blocking(move |engine| {
            engine.discard_files(&id);
            engine.release_volumes(&id, &mounts, anonymous);
            Ok::<_, EngineError>(())
        })
        .await?;
        self.emit(&record, "destroy", &[]);
        container.status.send_modify(|status| {
            status.active = false;
            status.removed = true;
        });
        Ok(())
    }
}

/// Why a container that has not ended is not removed.
fn still_active(record: &Record) -> EngineError {
    let name = format!("/{}", record.name);
    match record.state.is_paused() {
        true => EngineError::StillPaused { name },
        false => EngineError::StillRunning { name },
    }
}
