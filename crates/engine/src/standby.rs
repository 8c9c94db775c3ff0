//! Compute systems that are booted for a step of a build while the step before it still runs.
//!
//! ```text
//! step n        create ─▶ boot ─▶ program … ─▶ end ─▶ commit ─▶ layer n
//! step n + 1          expect ─▶ boot ─▶ (waits)               ─▶ claim: layers 1 … n ─▶ program
//! ```
//!
//! Nothing is shared between the two but the image that both began with: the second has a sandbox,
//! a registry, networks and namespaces of its own, and no program has run in it. What it lacks is
//! the layer of the first. That is put below it when it is claimed, provided that the layer leaves
//! the registry as it is, and that the step is what was expected in all that a system is made of;
//! otherwise it is given up and the step begins as any container does. The decision is ADR 15.
//!
//! Until it is claimed it is no container: clients do not see it, and an engine that opens removes
//! it, as it removes every sandbox without a record.

use std::sync::Arc;

use oriel_builder::ExpectedRun;
use oriel_hcs::{Registry, SystemDocument};
use oriel_image::SandboxSettings;
use tokio::sync::oneshot;

use crate::{
    CreateRequest, Engine, EngineError, Spec,
    container::{Container, Ready, Status},
    document,
    records::Record,
};

/// A system that waits to be claimed.
struct Standby {
    id: String,
    name: String,
    settings: SandboxSettings,
    document: SystemDocument,
    ready: Ready,
}

/// What is asked of a system that waits.
struct Claim {
    request: CreateRequest,
    /// Gets the container's id, or nothing when another one has to be made.
    answer: oneshot::Sender<Option<String>>,
}

impl Engine {
    /// Boots a system for a container like that of `request` once the program of `after` runs: what
    /// is wanted now comes first.
    pub(crate) fn expect(&self, request: CreateRequest, after: Arc<Container>) -> ExpectedRun {
        let (claim, mut claimed) = oneshot::channel::<Claim>();
        let engine = self.clone();
        self.inner.tasks.spawn(async move {
            let mut status = after.status.subscribe();
            let begun = |status: &Status| status.running || status.ended > 0 || status.removed;
            tokio::select! {
                biased;
                // The container holds the sender.
                _ = status.wait_for(begun) => drop(after),
                // Nobody wants it any more, or too early.
                _ = &mut claimed => return,
            }
            engine.stand_by(request, claimed).await;
        });
        ExpectedRun(Box::new(claim))
    }

    /// Makes a container of what was expected; `None` when it does not fit.
    pub(crate) async fn claim(
        &self,
        expected: ExpectedRun,
        request: CreateRequest,
    ) -> Option<String> {
        let claim = expected.0.downcast::<oneshot::Sender<Claim>>().ok()?;
        let (answer, container) = oneshot::channel();
        claim.send(Claim { request, answer }).ok()?;
        container.await.ok()?
    }

    async fn stand_by(self, request: CreateRequest, claimed: oneshot::Receiver<Claim>) {
        let standby = match self.boot_standby(request).await {
            Ok(standby) => standby,
            Err(error) => {
                tracing::debug!(error = %error, "no system stands by");
                return;
            }
        };
        let Ok(Claim { request, answer }) = claimed.await else {
            return self.give_up(standby).await;
        };
        let claimed = match self.take_over(&standby, request).await {
            Ok(record) => record,
            Err(error) => {
                tracing::debug!(error = %error, "what stands by cannot be used");
                None
            }
        };
        let Some(record) = claimed else {
            self.give_up(standby).await;
            // Nobody waits any more when the build has ended meanwhile.
            let _ = answer.send(None);
            return;
        };
        let id = standby.id.clone();
        self.introduce(record, standby.ready);
        if answer.send(Some(id.clone())).is_err()
            && let Err(error) = self.remove(&id, true).await
        {
            tracing::warn!(container.id = id, error = %error, "cannot remove what is unwanted");
        }
    }

    async fn boot_standby(&self, request: CreateRequest) -> Result<Standby, EngineError> {
        let id = self.inner.parts.ids.id();
        let name = self.claim_name(None, &id)?;
        let booted = self.boot_named(&id, &name, request).await;
        if booted.is_err() {
            self.forget(&id, &name).await;
        }
        booted
    }

    async fn boot_named(
        &self,
        id: &str,
        name: &str,
        request: CreateRequest,
    ) -> Result<Standby, EngineError> {
        let personality = (self.inner.parts.personality)().ok_or(EngineError::NoPersonality)?;
        let of = id.to_owned();
        let (spec, settings, sandbox) = self
            .blocking(move |engine| {
                let (spec, image) = engine.settle_plain(&of, request)?;
                let settings = engine.sandbox_settings(&spec);
                let sandbox = engine.images().create_sandbox(&of, &image, &settings)?;
                Ok::<_, EngineError>((spec, settings, sandbox))
            })
            .await?;
        let record = Record::new(id.to_owned(), name.to_owned(), self.now(), spec);
        let joined = self.join_networks(&record).await?;
        let document = document::system(&record.spec, &sandbox, &personality, &joined);
        let system = match self.boot_system(&record, &personality, &joined).await {
            Ok(system) => system,
            Err(error) => {
                self.leave(id, &joined).await;
                return Err(error);
            }
        };
        let (id, name) = (id.to_owned(), name.to_owned());
        Ok(Standby { id, name, settings, document, ready: Ready { joined, system } })
    }

    /// Settles a container that has nothing mounted.
    fn settle_plain(
        &self,
        id: &str,
        request: CreateRequest,
    ) -> Result<(Spec, oriel_image::ImageId), EngineError> {
        let image = self.images().resolve(&request.image)?;
        if !request.mounts.mounts.is_empty() || !image.config.config.volumes.is_empty() {
            return Err(EngineError::unsupported("mounts are made when a container starts"));
        }
        self.settle_spec(id, request)
    }

    /// Makes a system that waits what `request` wants; `None` when it does not fit.
    async fn take_over(
        &self,
        standby: &Standby,
        request: CreateRequest,
    ) -> Result<Option<Record>, EngineError> {
        let (id, settings) = (standby.id.clone(), standby.settings.clone());
        let settled = self.blocking(move |engine| {
            let (spec, image) = engine.settle_plain(&id, request)?;
            let same = engine.sandbox_settings(&spec) == settings;
            if !(same && engine.images().move_sandbox(&id, &image)?) {
                return Ok(None);
            }
            Ok::<_, EngineError>(Some((spec, engine.images().sandbox(&id)?)))
        });
        let Some((spec, sandbox)) = settled.await? else { return Ok(None) };
        let Standby { document, ready, .. } = standby;
        let wanted = document::system(&spec, &sandbox, &document.personality, &ready.joined);
        let layers = sandbox.layers.clone();
        if (SystemDocument { layers: document.layers.clone(), ..wanted }) != *document {
            return Ok(None);
        }
        ready.system.change_layers(layers).await?;
        let record = Record::new(standby.id.clone(), standby.name.clone(), self.now(), spec);
        let kept = record.clone();
        self.blocking(move |engine| engine.inner.records.save(&kept)).await?;
        Ok(Some(record))
    }

    /// Shows a container to clients.
    fn introduce(&self, record: Record, ready: Ready) {
        let container = Arc::new(Container::new(record.clone(), self.root()));
        container.set_ready(ready);
        self.registry().containers.insert(record.id.clone(), container);
        self.emit(&record, "create", &[]);
    }

    async fn give_up(&self, standby: Standby) {
        self.end_ready(&standby.id, standby.ready).await;
        self.forget(&standby.id, &standby.name).await;
    }

    /// Ends a system in which nothing has run.
    pub(crate) async fn end_ready(&self, id: &str, ready: Ready) {
        let Ready { joined, system } = ready;
        self.end_system(id, system.as_ref(), Registry::Discard).await;
        self.leave(id, &joined).await;
    }

    /// Removes what there is of a container that never came to be.
    async fn forget(&self, id: &str, name: &str) {
        let of = id.to_owned();
        let removed = self.blocking(move |engine| {
            engine.discard_files(&of);
            Ok::<_, EngineError>(())
        });
        if let Err(error) = removed.await {
            tracing::warn!(container.id = id, error = %error, "cannot remove a sandbox yet");
        }
        self.registry().names.remove(name);
    }
}
