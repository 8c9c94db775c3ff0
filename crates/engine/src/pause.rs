//! Stopping containers where they are: for a client, and for as long as their files are read.

use std::{path::Path, sync::Arc};

use oriel_image::ImageError;

use crate::{
    Engine, EngineError, State,
    container::{Container, Live},
    saved::SavedRegistry,
};

/// Whether programs are stopped while a running container is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stillness {
    /// They stand still: files and registry are those of one moment.
    Pause,
    /// They go on meanwhile.
    GoOn,
}

impl Engine {
    /// Stops a container's programs where they are.
    ///
    /// # Errors
    /// `Conflict` when it does not run or is paused already.
    pub async fn pause(&self, reference: &str) -> Result<(), EngineError> {
        let container = self.find(reference)?;
        let engine = self.clone();
        self.inner.tasks.complete(async move { engine.pause_now(&container).await }).await
    }

    async fn pause_now(&self, container: &Container) -> Result<(), EngineError> {
        let _operation = container.operation.lock().await;
        let id = container.id.clone();
        match container.record().state {
            State::Paused { .. } => return Err(EngineError::AlreadyPaused { id }),
            State::Restarting(_) => return Err(EngineError::Restarting { id }),
            _ => {}
        }
        let live = container.running()?;
        live.system.pause().await?;
        let recorded = self.record_pause(container, State::paused).await;
        match recorded {
            Ok(()) => self.emit(&container.record(), "pause", &[]),
            Err(_) => live.system.resume().await?,
        }
        recorded
    }

    /// Lets a paused container's programs go on.
    ///
    /// # Errors
    /// `Conflict` when it is not paused.
    pub async fn unpause(&self, reference: &str) -> Result<(), EngineError> {
        let container = self.find(reference)?;
        let engine = self.clone();
        let task = async move {
            let _operation = container.operation.lock().await;
            let id = container.id.clone();
            match container.record().state {
                State::Paused { .. } => engine.go_on(&container, &*container.running()?).await,
                State::Running { .. } => Err(EngineError::NotPaused { id }),
                _ => Err(EngineError::NotRunning { id }),
            }
        };
        self.inner.tasks.complete(task).await
    }

    /// Lets the programs of a container go on that is to end, if it is paused: what stands still
    /// takes no signal.
    pub(crate) async fn wake(&self, container: &Container, live: &Live) -> Result<(), EngineError> {
        if !container.record().state.is_paused() {
            return Ok(());
        }
        let _operation = container.operation.lock().await;
        match container.record().state.is_paused() {
            true => self.go_on(container, live).await,
            false => Ok(()),
        }
    }

    /// Ends a pause. The caller holds the operation lock.
    async fn go_on(&self, container: &Container, live: &Live) -> Result<(), EngineError> {
        live.system.resume().await?;
        self.record_pause(container, State::resumed).await?;
        self.emit(&container.record(), "unpause", &[]);
        Ok(())
    }

    /// Changes a record's state; on error it is as before.
    async fn record_pause(
        &self,
        container: &Container,
        change: fn(State) -> State,
    ) -> Result<(), EngineError> {
        let before = {
            let mut record = container.record_mut();
            let before = record.state.clone();
            record.state = change(before.clone());
            before
        };
        let saved = self.save(container).await;
        if saved.is_err() {
            container.record_mut().state = before;
        }
        saved
    }

    /// Makes a system as its record says: a daemon may have died between the two, or while it read
    /// a container.
    pub(crate) async fn settle(&self, container: &Container, live: &Live) {
        let settled = match container.record().state.is_paused() {
            true => live.system.pause().await,
            false => live.system.resume().await,
        };
        if let Err(error) = settled {
            tracing::warn!(container.id = container.id, error = %error, "cannot pause or resume");
        }
    }

    /// Reads a container's sandbox with `work`, which gets the directory with its registry when it
    /// runs. The caller holds the operation lock. Whatever happens, programs go on afterwards, and
    /// the directory is gone.
    pub(crate) async fn read_still<T: Send + 'static>(
        &self,
        container: &Arc<Container>,
        stillness: Stillness,
        work: impl FnOnce(&Self, Option<&Path>) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let Some(live) = container.live() else {
            return self.blocking(move |engine| work(engine, None)).await;
        };
        let pause = stillness == Stillness::Pause && !container.record().state.is_paused();
        if pause {
            live.system.pause().await?;
        }
        let done = match SavedRegistry::of(self, container, &live).await {
            Ok(saved) => self.blocking(move |engine| work(engine, Some(saved.path()))).await,
            Err(error) => Err(error),
        };
        if pause {
            live.system.resume().await?;
        }
        done
    }
}
