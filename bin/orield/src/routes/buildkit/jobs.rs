//! The builds that clients have asked for and wait for.
//!
//! `Control.Solve` makes one and waits; other calls find it by its name, and may come first. It is
//! over when that call is, however that ends: then whatever still runs for it is to stop.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use oriel_builder::Built;
use oriel_buildkit::{
    Code, Replies, Reply, Status,
    message::{SolveRequest, StatusResponse},
};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::timeout,
};

/// Most builds at a time. More would wait for processors anyway.
const JOBS: usize = 64;

/// Most results of a build that is driven by its client.
const RESULTS: usize = 64;

/// Longest name; clients send 25 characters.
const LONGEST_NAME: usize = 256;

/// Longest wait of other calls for their build.
const ARRIVAL_TIME: Duration = Duration::from_secs(10);

/// Longest wait for somebody to follow a build before it goes on unseen.
const AUDIENCE_TIME: Duration = Duration::from_secs(10);

/// Reports under way to a client: few, so that one that does not read slows its build.
const REPORTS: usize = 64;

/// Builds by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Jobs(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    jobs: Mutex<BTreeMap<String, Arc<Job>>>,
    arrived: Notify,
}

/// A build.
#[derive(Debug)]
pub(super) struct Job {
    /// What the client asked for.
    pub(super) request: SolveRequest,
    reports: Replies,
    audience: Mutex<Option<Reply>>,
    unseen: AtomicBool,
    results: Mutex<BTreeMap<String, Built>>,
    returned: Mutex<Option<oneshot::Sender<Outcome>>>,
    ended: watch::Sender<bool>,
}

/// Keeps a job in the table.
#[derive(Debug)]
pub(super) struct Held {
    jobs: Jobs,
    /// The job.
    pub(super) job: Arc<Job>,
}

/// What the client of a build makes of it: an image, nothing, or a failure.
pub(super) type Outcome = Result<Option<Built>, Status>;

/// What the client of a build returns.
pub(super) type Returned = oneshot::Receiver<Outcome>;

impl Jobs {
    /// Makes a job, and what its client returns.
    pub(super) fn enter(&self, request: SolveRequest) -> Result<(Held, Returned), Status> {
        let name = request.reference.clone();
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(Status::invalid("a build needs a name"));
        }
        let mut jobs = self.lock();
        if jobs.len() >= JOBS {
            let text = format!("{JOBS} builds are under way; wait for one of them");
            return Err(Status::new(Code::ResourceExhausted, text));
        }
        if jobs.contains_key(&name) {
            let text = format!("build {name} already exists");
            return Err(Status::new(Code::AlreadyExists, text));
        }
        let (reports, audience) = Reply::many(REPORTS);
        let (sender, returned) = oneshot::channel();
        let job = Arc::new(Job {
            request,
            reports,
            audience: Mutex::new(Some(audience)),
            unseen: AtomicBool::new(false),
            results: Mutex::default(),
            returned: Mutex::new(Some(sender)),
            ended: watch::Sender::new(false),
        });
        jobs.insert(name, job.clone());
        drop(jobs);
        self.0.arrived.notify_waiters();
        Ok((Held { jobs: self.clone(), job }, returned))
    }

    /// The job of a name, once it is there.
    pub(super) async fn get(&self, name: &str) -> Result<Arc<Job>, Status> {
        let wait = async {
            loop {
                let mut arrived = std::pin::pin!(self.0.arrived.notified());
                arrived.as_mut().enable();
                let found = self.lock().get(name).cloned();
                if let Some(job) = found {
                    return job;
                }
                arrived.await;
            }
        };
        let late = |_| Status::new(Code::NotFound, format!("no such job {name}"));
        timeout(ARRIVAL_TIME, wait).await.map_err(late)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Job>>> {
        self.0.jobs.lock().expect("no panic while jobs are looked up")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.jobs.lock().remove(&self.job.request.reference);
        self.job.ended.send_replace(true);
    }
}

impl Job {
    /// The reports of the build, for the one who follows it.
    pub(super) fn follow(&self) -> Result<Reply, Status> {
        let followed = || Status::new(Code::FailedPrecondition, "the build is followed already");
        self.audience.lock().expect("no panic while it is taken").take().ok_or_else(followed)
    }

    /// Sends a report to who follows the build, waiting for room.
    pub(super) async fn report(&self, report: StatusResponse) {
        if self.unseen.load(Ordering::Relaxed) {
            return;
        }
        let is_awaited = self.audience.lock().is_ok_and(|audience| audience.is_some());
        let sent = self.reports.send(&report);
        let gone = match is_awaited {
            true => timeout(AUDIENCE_TIME, sent).await.is_err(),
            false => !sent.await,
        };
        if gone {
            self.unseen.store(true, Ordering::Relaxed);
        }
    }

    /// Keeps a result under a name.
    pub(super) fn keep(&self, name: String, built: Built) -> Result<(), Status> {
        let mut results = self.results.lock().expect("no panic while results are kept");
        if results.len() >= RESULTS {
            return Err(Status::new(Code::ResourceExhausted, "a build has too many results"));
        }
        results.insert(name, built);
        Ok(())
    }

    /// The result of a name.
    pub(super) fn result(&self, name: &str) -> Result<Built, Status> {
        let results = self.results.lock().expect("no panic while results are kept");
        let unknown = || Status::new(Code::NotFound, format!("no such ref: {name}"));
        results.get(name).cloned().ok_or_else(unknown)
    }

    /// Ends a build that is driven by its client.
    pub(super) fn return_with(&self, outcome: Outcome) {
        let sender = self.returned.lock().expect("no panic while it is taken").take();
        if let Some(sender) = sender {
            // The call that waits may be over.
            let _ = sender.send(outcome);
        }
    }

    /// Ends with the call that asked for the build.
    pub(super) async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        // The sender is in this job.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}
