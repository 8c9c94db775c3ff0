//! What every request may use.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, RwLock},
};

use anyhow::Context as _;
use oriel_builder::BuildCaches;
use oriel_distribution::{Registries, Transfers};
use oriel_engine::Engine;

use crate::{
    options::{Live, LogDefaults},
    routes::buildkit::Door,
};

/// The daemon, as requests see it.
pub(crate) struct Daemon {
    /// The engine.
    pub(crate) engine: Engine,
    /// Held by the one base build there may be at a time.
    pub(crate) base_build: tokio::sync::Mutex<()>,
    /// What stays from build to build.
    pub(crate) caches: BuildCaches,
    /// What BuildKit's clients have open.
    pub(crate) buildkit: Door,
    /// What holds until the daemon ends.
    pub(crate) fixed: Fixed,
    current: RwLock<Arc<Current>>,
}

/// Settings that hold until the daemon ends.
#[derive(Default)]
pub(crate) struct Fixed {
    /// Warnings for `docker info`.
    pub(crate) warnings: Vec<String>,
    /// Where the output of containers goes that do not say.
    pub(crate) logs: LogDefaults,
    /// Whether what Docker's daemon on Windows refuses is refused.
    pub(crate) strict: bool,
    /// Where secrets of builds may be, in memory.
    pub(crate) secrets: PathBuf,
    /// Name servers of containers that name none.
    pub(crate) dns: Vec<Ipv4Addr>,
}

/// Settings as they are now. A request that began with earlier ones ends with them.
pub(crate) struct Current {
    /// The settings.
    pub(crate) live: Live,
    /// Moves images from and to registries.
    transfers: Transfers,
}

impl Daemon {
    /// Puts a daemon together.
    ///
    /// # Errors
    /// When the settings of registries are wrong.
    pub(crate) fn new(engine: Engine, live: Live, fixed: Fixed) -> anyhow::Result<Self> {
        let current = RwLock::new(Arc::new(Current::new(&engine, live)?));
        let caches = BuildCaches::new(engine.root().join("build-cache"));
        let base_build = tokio::sync::Mutex::new(());
        Ok(Self { engine, base_build, caches, buildkit: Door::default(), fixed, current })
    }

    /// Settings as they are now.
    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.read().expect("no panic while settings change").clone()
    }

    /// Moves images from and to registries.
    pub(crate) fn transfers(&self) -> Transfers {
        self.current().transfers.clone()
    }

    /// Changes the settings; when they are wrong, the old ones stay.
    ///
    /// # Errors
    /// When the settings of registries are wrong.
    pub(crate) fn change(&self, live: Live) -> anyhow::Result<()> {
        let current = Arc::new(Current::new(&self.engine, live)?);
        *self.current.write().expect("no panic while settings change") = current;
        Ok(())
    }
}

impl Current {
    fn new(engine: &Engine, live: Live) -> anyhow::Result<Self> {
        let registries =
            Registries::new(live.registries.clone()).context("cannot prepare for registries")?;
        Ok(Self { live, transfers: Transfers::new(engine.images().clone(), registries) })
    }
}

/// Version of the daemon.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
