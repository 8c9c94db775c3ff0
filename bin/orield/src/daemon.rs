//! What every request may use.

use oriel_distribution::Transfers;
use oriel_engine::Engine;

/// The daemon, as requests see it.
pub(crate) struct Daemon {
    /// The engine.
    pub(crate) engine: Engine,
    /// Moves images from and to registries.
    pub(crate) transfers: Transfers,
    /// Held by the one base build there may be at a time.
    pub(crate) base_build: tokio::sync::Mutex<()>,
    /// Warnings for `docker info`.
    pub(crate) warnings: Vec<String>,
}

impl Daemon {
    pub(crate) fn new(engine: Engine, transfers: Transfers, warnings: Vec<String>) -> Self {
        Self { engine, transfers, base_build: tokio::sync::Mutex::new(()), warnings }
    }
}

/// Version of the daemon.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
