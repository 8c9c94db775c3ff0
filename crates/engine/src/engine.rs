//! The engine: what it holds, and how containers are found.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use oriel_hcs::{Check, ComputeHost, Limit, NetworkDriver, NetworkSpec};
use oriel_image::ImageStore;
use tokio::sync::broadcast;

use crate::{
    AddressPool, Clock, ContainerView, EngineError, Event, HostPipes, IdSource, Time,
    container::Container,
    events::Events,
    exec::Exec,
    networks::Networks,
    records::{Record, Records},
    tasks::Tasks,
    volumes::Volumes,
};

/// What an engine is made of.
pub struct Parts {
    /// Runs compute systems.
    pub host: Arc<dyn ComputeHost>,
    /// Makes networks and endpoints.
    pub network: Arc<dyn NetworkDriver>,
    /// Keeps images and sandboxes.
    pub images: ImageStore,
    /// Keeps records; shared with the image store.
    pub database: Arc<redb::Database>,
    /// Data root.
    pub root: PathBuf,
    /// Finds the root tree of the NT personality; `None` when there is none yet. Called for every
    /// start, so it should be quick.
    pub personality: Box<dyn Fn() -> Option<PathBuf> + Send + Sync>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn IdSource>,
    /// The network `nat`.
    pub nat: NetworkSpec,
    /// Where subnets of networks come from that do not say which they want.
    pub address_pools: Vec<AddressPool>,
    /// Where named pipes of the host are.
    pub pipes: HostPipes,
    /// Bytes on drive C: of containers that do not say; `None` is as much as the host has.
    pub sandbox_size: Option<u64>,
}

/// The engine. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) parts: Parts,
    pub(crate) records: Records,
    pub(crate) events: Events,
    pub(crate) tasks: Tasks,
    pub(crate) volumes: Volumes,
    registry: Mutex<Registry>,
    pub(crate) networks: Mutex<Networks>,
    /// Held while a network is made or removed: subnets are chosen one after the other.
    pub(crate) network_changes: tokio::sync::Mutex<()>,
    pub(crate) daemon_id: String,
}

/// Containers by id and by name. A name is taken from the moment a creation begins.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) containers: BTreeMap<String, Arc<Container>>,
    pub(crate) names: HashMap<String, String>,
    pub(crate) execs: HashMap<String, Arc<Exec>>,
}

impl Engine {
    /// Opens the engine and takes up what an earlier one left: see [`crate`].
    ///
    /// # Errors
    /// When the database, the image store or the network refuses.
    pub async fn open(parts: Parts) -> Result<Self, EngineError> {
        let records = Records::open(parts.database.clone())?;
        let daemon_id = records.fact("daemon", || parts.ids.id())?;
        let created = parts.clock.now();
        let volumes = Volumes::open(parts.root.join("volumes"), records.clone(), created)?;
        let engine = Self {
            inner: Arc::new(Inner {
                parts,
                volumes,
                records,
                events: Events::new(),
                tasks: Tasks::new(),
                registry: Mutex::new(Registry::default()),
                networks: Mutex::new(Networks::new()),
                network_changes: tokio::sync::Mutex::new(()),
                daemon_id,
            }),
        };
        engine.open_networks().await?;
        engine.reconcile().await?;
        Ok(engine)
    }

    /// A stable id of this engine.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.daemon_id
    }

    /// The image store.
    #[must_use]
    pub fn images(&self) -> &ImageStore {
        &self.inner.parts.images
    }

    /// Now, by the engine's clock.
    #[must_use]
    pub fn now(&self) -> Time {
        self.inner.parts.clock.now()
    }

    /// Data root.
    #[must_use]
    pub fn root(&self) -> &std::path::Path {
        &self.inner.parts.root
    }

    /// Bytes on drive C: of containers that do not say; `None` is as much as the host has.
    #[must_use]
    pub fn sandbox_size(&self) -> Option<u64> {
        self.inner.parts.sandbox_size
    }

    /// Kinds of limits that the compute host can enforce.
    #[must_use]
    pub fn enforces(&self) -> Vec<Limit> {
        self.inner.parts.host.enforces()
    }

    /// What the compute host says of itself.
    pub async fn check(&self) -> Vec<Check> {
        self.inner.parts.host.check().await
    }

    /// All containers, newest first.
    #[must_use]
    pub fn containers(&self) -> Vec<ContainerView> {
        let containers: Vec<_> = self.registry().containers.values().cloned().collect();
        let mut views: Vec<ContainerView> = containers.iter().map(|c| c.view()).collect();
        views.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        views
    }

    /// One container, by id, unique beginning of an id, or name.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when several ids begin so.
    pub fn container(&self, reference: &str) -> Result<ContainerView, EngineError> {
        Ok(self.find(reference)?.view())
    }

    /// Events so far, oldest first, and those to come.
    #[must_use]
    pub fn events(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        self.inner.events.listen()
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.inner.registry.lock().expect("no panic while the registry is changed")
    }

    pub(crate) fn find(&self, reference: &str) -> Result<Arc<Container>, EngineError> {
        let registry = self.registry();
        let named = reference.strip_prefix('/').unwrap_or(reference);
        let by_name = || registry.names.get(named).and_then(|id| registry.containers.get(id));
        if let Some(container) = registry.containers.get(reference).or_else(by_name) {
            return Ok(container.clone());
        }
        let missing = || EngineError::NoSuchContainer { reference: reference.to_owned() };
        if reference.is_empty() {
            return Err(missing());
        }
        let from = registry.containers.range(reference.to_owned()..);
        let mut found = from.take_while(|(id, _)| id.starts_with(reference));
        let (_, first) = found.next().ok_or_else(missing)?;
        if found.next().is_some() {
            return Err(EngineError::AmbiguousPrefix { prefix: reference.to_owned() });
        }
        Ok(first.clone())
    }

    /// Emits an event of a container.
    pub(crate) fn emit(&self, record: &Record, action: &str, further: &[(&str, String)]) {
        let mut attributes = record.spec.run.labels.clone();
        attributes.insert("image".to_owned(), record.spec.image.clone());
        attributes.insert("name".to_owned(), record.name.clone());
        for (key, value) in further {
            attributes.insert((*key).to_owned(), value.clone());
        }
        self.emit_event("container", action, &record.id, attributes);
    }

    /// Emits an event of anything, such as an image that was tagged.
    pub fn emit_event(
        &self,
        kind: &'static str,
        action: &str,
        id: &str,
        attributes: BTreeMap<String, String>,
    ) {
        self.inner.events.emit(Event {
            kind,
            action: action.to_owned(),
            id: id.to_owned(),
            attributes,
            time: self.now(),
        });
    }

    /// Runs something that blocks, on a thread where it may. The one door between the engine's
    /// tasks and the disk.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn blocking<T, E>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<T, EngineError>
    where
        T: Send + 'static,
        E: Into<EngineError> + Send + 'static,
    {
        let engine = self.clone();
        match tokio::task::spawn_blocking(move || work(&engine)).await {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(EngineError::Task),
        }
    }

    /// Runs something as the engine's own task, which no client's leaving ends.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.tasks.spawn(task);
    }

    /// Writes a container's record as it is now.
    pub(crate) async fn save(&self, container: &Container) -> Result<(), EngineError> {
        let record = container.record();
        self.blocking(move |engine| engine.inner.records.save(&record)).await
    }
}
