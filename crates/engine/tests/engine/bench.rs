//! A workbench: an engine on fakes, which can be killed and opened again.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::path::Path;

use oriel_engine::{
    CreateRequest, Engine, HostOptions, LogOptions, Overrides, WaitFor, fake::World,
};
use oriel_image::RunConfig;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// See [`crate::bench`]. Fields are dropped in this order.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    daemon: Runtime,
    pub(crate) world: World,
    _outside: Runtime,
    root: TempDir,
}

/// A request for a container that runs `command` from the image `nanoserver`.
pub(crate) fn request(command: &str) -> CreateRequest {
    let words = command.split_whitespace().map(str::to_owned).collect();
    let run = RunConfig { cmd: Some(words), ..RunConfig::default() };
    CreateRequest {
        image: "nanoserver".to_owned(),
        overrides: Overrides { run, ..Overrides::default() },
        host: HostOptions { network: "nat".to_owned(), ..HostOptions::default() },
        ..CreateRequest::default()
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        let root = TempDir::new().unwrap();
        let outside = Runtime::new().unwrap();
        let world = World::new(root.path(), outside.handle().clone());
        let daemon = Runtime::new().unwrap();
        let engine = daemon.block_on(Engine::open(world.parts())).unwrap();
        Self { engine, daemon, world, _outside: outside, root }
    }

    /// Kills the daemon without a word; `between` happens before the next one opens.
    pub(crate) fn reborn(self, between: impl FnOnce(&World, &Path)) -> Self {
        let path = self.root.path().to_owned();
        self.reborn_with(|world| between(world, &path))
    }

    /// The same, with a world that changes meanwhile.
    pub(crate) fn reborn_with(self, between: impl FnOnce(&mut World)) -> Self {
        let Self { engine, daemon, mut world, _outside, root } = self;
        drop(engine);
        daemon.shutdown_timeout(std::time::Duration::from_secs(10));
        world.another_daemon();
        between(&mut world);
        let daemon = Runtime::new().unwrap();
        let engine = daemon.block_on(Engine::open(world.parts())).unwrap();
        Self { engine, daemon, world, _outside, root }
    }

    /// Runs something on the daemon's runtime.
    pub(crate) fn on<T>(&self, future: impl Future<Output = T>) -> T {
        self.daemon.block_on(future)
    }

    pub(crate) fn create(&self, command: &str) -> String {
        self.on(self.engine.create(request(command))).unwrap()
    }

    pub(crate) fn started(&self, command: &str) -> String {
        let id = self.create(command);
        self.on(self.engine.start(&id)).unwrap();
        id
    }

    pub(crate) fn ended(&self, id: &str) -> u32 {
        self.on(self.engine.wait(id, WaitFor::NotRunning).unwrap()).0
    }

    pub(crate) fn nothing_runs(&self) {
        assert_eq!(self.world.host.systems(), Vec::<String>::new());
        assert_eq!(self.world.network.compartments(), Vec::<String>::new());
        assert_eq!(self.world.network.endpoints(), []);
    }

    pub(crate) fn log(&self, id: &str, options: LogOptions) -> Vec<String> {
        let options = LogOptions { stdout: true, stderr: true, ..options };
        self.on(async {
            let (_, mut batches) = self.engine.logs(id, options).unwrap();
            let mut texts = Vec::new();
            while let Some(batch) = batches.recv().await {
                let lines = batch.into_iter().map(|r| String::from_utf8(r.text).unwrap());
                texts.extend(lines.map(|line| line.trim_end().to_owned()));
            }
            texts
        })
    }
}
