//! The engine's own tasks: every one has an owner that joins it.

use std::{future::Future, sync::Mutex};

use tokio::{sync::oneshot, task::JoinSet};

use crate::EngineError;

/// Tasks that outlive the request that began them.
pub(crate) struct Tasks {
    running: Mutex<JoinSet<()>>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { running: Mutex::new(JoinSet::new()) }
    }

    /// Runs `task` on its own. Those that have ended are joined in passing.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock().expect("no panic while tasks are spawned");
        while let Some(ended) = running.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(error = %error, "a task of the engine died");
            }
        }
        running.spawn(task);
    }

    /// Runs `task` to its end, also when the caller stops waiting for it: how an operation that a
    /// client asked for survives the client.
    pub(crate) async fn complete<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (sender, receiver) = oneshot::channel();
        self.spawn(async move {
            // The receiver is gone when the client is.
            let _ = sender.send(task.await);
        });
        receiver.await.unwrap_or(Err(EngineError::Task))
    }
}
