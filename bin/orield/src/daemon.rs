//! What every request may use.

use std::{
    io::ErrorKind,
    net::Ipv4Addr,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, RwLock},
};

use anyhow::Context as _;
use oriel_builder::{BaseSource, BuildCaches, BuildSite, SecretSource};
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
    /// Puts a daemon together, and removes what builds left in which an earlier one was killed.
    ///
    /// # Errors
    /// When the settings of registries are wrong, or the disk refuses.
    pub(crate) fn new(engine: Engine, live: Live, fixed: Fixed) -> anyhow::Result<Self> {
        let current = RwLock::new(Arc::new(Current::new(&engine, live)?));
        let caches = BuildCaches::new(engine.root().join("build-cache"));
        match fs_err::remove_dir_all(scratch(&engine)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        let base_build = tokio::sync::Mutex::new(());
        Ok(Self { engine, base_build, caches, buildkit: Door::default(), fixed, current })
    }

    /// Where builds unpack their contexts. Nothing there outlives its build.
    pub(crate) fn scratch(&self) -> PathBuf {
        scratch(&self.engine)
    }

    /// What a build works with, where base images and secrets are the client's.
    pub(crate) fn build_site<'a>(
        &'a self,
        bases: &'a dyn BaseSource,
        secrets: &'a dyn SecretSource,
    ) -> BuildSite<'a> {
        BuildSite {
            images: self.engine.images().clone(),
            host: &self.engine,
            bases,
            caches: &self.caches,
            secrets,
            parallel: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
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

fn scratch(engine: &Engine) -> PathBuf {
    engine.root().join("tmp")
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

#[cfg(test)]
mod tests {
    use oriel_engine::fake::World;

    use super::*;
    use crate::options::Options;

    #[tokio::test]
    async fn contexts_of_builds_that_were_killed_go_at_the_start() {
        let root = tempfile::tempdir().unwrap();
        let world = World::new(root.path(), tokio::runtime::Handle::current());
        let engine = Engine::open(world.parts()).await.unwrap();
        let context = engine.root().join("tmp/build-x");
        fs_err::create_dir_all(&context).unwrap();
        fs_err::write(context.join("1"), "text").unwrap();
        let live = Options::of(&["--group", ""], "").unwrap().live;
        let daemon = Daemon::new(engine, live, Fixed::default()).unwrap();
        assert!(!daemon.scratch().exists());
    }
}
