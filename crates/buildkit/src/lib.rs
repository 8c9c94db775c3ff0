//! BuildKit's protocol, as the daemon's second door to the builder speaks it.
//!
//! A client opens two connections and turns both into HTTP/2. On the first, `POST /grpc`, the
//! daemon is the server: the client asks for a build and is told how it goes. On the second,
//! `POST /session`, the daemon is the client: it fetches the files of the build's context, secrets
//! and credentials from the machine that asked.
//!
//! ```text
//!   /grpc      client ──▶ daemon   [server]: Control and LLBBridge        [message]
//!   /session   client ◀── daemon   [Session]: files, secrets, logins      [sync]
//! ```
//!
//! Messages are those of BuildKit 0.13 (`api/services/control`, `frontend/gateway/pb`, `session`)
//! and of `tonistiigi/fsutil`, each with the fields that are read or written here and no others:
//! protobuf skips what it does not know. What a build *is* is none of this crate's business. There
//! is no interpreter of LLB, BuildKit's own language.

#[cfg(test)]
mod fake;
mod grpc;
pub mod message;
mod server;
mod session;
pub mod sync;

pub use grpc::{Code, Status};
pub use server::{Call, Replies, Reply, Service, decode, serve};
pub use session::{Session, Sessions};

use std::sync::Arc;

use futures_util::future::BoxFuture;

/// Starts the tasks of a connection. Whoever gives it owns the tasks.
#[derive(Clone)]
pub struct Spawner(Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>);

impl Spawner {
    /// A spawner that hands tasks to a function.
    pub fn new(spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(spawn))
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        (self.0)(Box::pin(task));
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
