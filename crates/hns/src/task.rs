//! A task with an owner.

use tokio::task::JoinHandle;

/// A task of this process. Ends when dropped; [`Task::stop`] also waits for that.
#[derive(Debug)]
pub(crate) struct Task {
    handle: JoinHandle<()>,
}

impl Task {
    /// Starts it.
    pub(crate) fn start(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { handle: tokio::spawn(work) }
    }

    /// Ends it at its next await and waits until its sockets are closed.
    pub(crate) async fn stop(mut self) {
        self.handle.abort();
        // Either cancelled, or it panicked, which the panic hook has told.
        let _ = (&mut self.handle).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}
