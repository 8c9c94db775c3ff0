//! What containers use, once a second, for whoever follows.
//!
//! A container is measured while somebody follows it, by one task whatever their number. A slow
//! follower misses samples; nothing is kept for it. One that does not run uses nothing, and is
//! followed until it is removed, as with Docker.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use oriel_hcs::{Statistics, Traffic};
use tokio::sync::watch;

use crate::{Engine, EngineError, Time, container::Container};

/// Pause between two samples (moby `daemon/stats.go`).
const INTERVAL: Duration = Duration::from_secs(1);

/// The latest sample; `None` before the first.
pub(crate) type Followers = watch::Sender<Option<Arc<Sample>>>;

/// What a container used at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The moment.
    pub read: Time,
    /// What it used; `None` when it did not run.
    pub statistics: Option<Statistics>,
    /// What went over its endpoints, by their ids; over those that are another container's, by
    /// names of adapters.
    pub endpoints: BTreeMap<String, Traffic>,
}

/// Samples to come.
#[derive(Debug)]
pub struct Samples(watch::Receiver<Option<Arc<Sample>>>);

impl Samples {
    /// The next sample; `None` when the container has been removed. Cancel safe.
    pub async fn next(&mut self) -> Option<Arc<Sample>> {
        self.0.changed().await.ok()?;
        self.0.borrow_and_update().clone()
    }
}

impl Engine {
    /// What a container uses now.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn sample(&self, reference: &str) -> Result<Sample, EngineError> {
        let container = self.find(reference)?;
        Ok(self.take_sample(&container).await)
    }

    /// Follows what a container uses.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn samples(&self, reference: &str) -> Result<Samples, EngineError> {
        let container = self.find(reference)?;
        let mut followers = container.followers.lock().expect("no panic among followers");
        if let Some(followers) = &*followers {
            return Ok(Samples(followers.subscribe()));
        }
        let (sender, receiver) = watch::channel(None);
        *followers = Some(sender);
        let (engine, measured) = (self.clone(), container.clone());
        self.inner.tasks.spawn(async move { engine.keep_measuring(&measured).await });
        Ok(Samples(receiver))
    }

    /// Measures a container until nobody follows it or it is gone.
    async fn keep_measuring(&self, container: &Container) {
        let mut status = container.status.subscribe();
        loop {
            let sample = self.take_sample(container).await;
            if !publish(container, sample) {
                return;
            }
            // Either way the next round looks.
            let removed = status.wait_for(|status| status.removed);
            let _ = tokio::time::timeout(INTERVAL, removed).await;
        }
    }

    async fn take_sample(&self, container: &Container) -> Sample {
        let statistics = match container.live() {
            // It may have ended just now.
            Some(live) => live.system.statistics().await.ok(),
            None => None,
        };
        let mut adapters =
            statistics.as_ref().map(|found| found.adapters.clone()).unwrap_or_default();
        let compartment = container.record().compartment;
        let mut endpoints = BTreeMap::new();
        for (spec, _) in compartment.iter().flat_map(|compartment| &compartment.endpoints) {
            if let Some(traffic) = adapters.remove(&spec.adapter_name()) {
                endpoints.insert(spec.id.clone(), traffic);
            }
        }
        if compartment.is_none() {
            endpoints.append(&mut adapters);
        }
        Sample { read: self.now(), statistics, endpoints }
    }
}

/// Gives a sample to the followers; false when there are none any more.
fn publish(container: &Container, sample: Sample) -> bool {
    let mut followers = container.followers.lock().expect("no panic among followers");
    let removed = container.status.borrow().removed;
    match &*followers {
        Some(sender) if sender.receiver_count() > 0 && !removed => {
            sender.send_replace(Some(Arc::new(sample)));
            true
        }
        _ => {
            *followers = None;
            false
        }
    }
}
