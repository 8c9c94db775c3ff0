//! The host half: makes silos, finds them again, removes them.
//!
//! Everything that blocks (starting with killing and unmounting) goes through [`blocking`]. The
//! daemon may die at any instruction: a silo is found again by its state directory, and what a
//! crash left half made is removed by [`ComputeHost::clean`], which needs the name only.

mod check;
mod exchange;
mod link;
mod loader;
mod pipes;
mod registry;
mod remains;
mod system;

use std::{
    io,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use fs_err as fs;
use link::{Greeting, Link};
use oriel_hcs::{
    Check, ComputeError, ComputeHost, ComputeSystem, Limit, OpenedSystem, SystemDocument, SystemId,
};
use system::SiloSystem;
use tokio::{process::Command, time::timeout};

use crate::{
    SiloError, SiloPaths,
    error::Attempt,
    job::{Disk, Freezer, Roots},
    state::{Order, StateDir},
};

/// How long the agent may take from start to a pid 1: some tens of mounts, milliseconds each even
/// on a starved machine.
const LAUNCH_DEADLINE: Duration = Duration::from_secs(60);

/// How much of the agent's log is quoted when a launch fails.
const LOG_QUOTE: usize = 1024;

/// Makes silos.
#[derive(Debug)]
pub struct SiloHost {
    paths: SiloPaths,
    /// What the kernel can limit; it does not change.
    enforces: OnceLock<Vec<Limit>>,
}

impl SiloHost {
    /// A host that keeps its state at `paths`.
    #[must_use]
    pub fn new(paths: SiloPaths) -> Self {
        Self { paths, enforces: OnceLock::new() }
    }

    fn state(&self, id: &SystemId) -> Result<StateDir, ComputeError> {
        StateDir::of(&self.paths.run_dir, id)
            .ok_or_else(|| host_error("use the name of the system", &"it is not a plain name"))
    }

    /// What a silo is reached by, besides its link.
    fn parts(&self, state: &StateDir) -> (StateDir, PathBuf) {
        (state.clone(), self.paths.agent.clone())
    }

    async fn boot(
        &self,
        id: &SystemId,
        state: &StateDir,
        document: &SystemDocument,
    ) -> Result<Arc<dyn ComputeSystem>, ComputeError> {
        let sandbox = document.sandbox.clone();
        blocking(move || {
            registry::clear(&sandbox);
            Ok(())
        })
        .await?;
        self.order(id, state, document)
            .map_err(|error| host_error(&format!("write the order of silo {id}"), &error))?;
        self.launch(id, state).await?;
        let link = match Link::connect(id, state).await? {
            Some(Greeting::Hello(link)) => link,
            Some(Greeting::Refused(reason)) => {
                let log = last_words(state).unwrap_or_default();
                return Err(boot_error(id, &format!("{reason} ({log})")));
            }
            None => return Err(boot_error(id, &"its agent died")),
        };
        let (of, place, starter) = (id.clone(), state.clone(), link.execution_agent);
        blocking(move || enclose(&of, &place, starter)).await?;
        Ok(Arc::new(SiloSystem::new(id.clone(), self.parts(state), link)?))
    }

    fn order(&self, id: &SystemId, state: &StateDir, document: &SystemDocument) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;

        fs::create_dir_all(&self.paths.run_dir)?;
        std::fs::DirBuilder::new().mode(0o700).create(state.path())?;
        let order = Order {
            id: id.clone(),
            document: document.clone(),
            cexecsvc: self.paths.cexecsvc.clone(),
        };
        fs::write(state.order(), serde_json::to_vec(&order)?)
    }

    /// Runs the agent until it has made a pid 1.
    async fn launch(&self, id: &SystemId, state: &StateDir) -> Result<(), ComputeError> {
        let failed =
            |reason: &dyn std::fmt::Display| host_error(&format!("launch silo {id}"), reason);
        let start = || -> io::Result<tokio::process::Child> {
            let log = fs::File::create(state.log())?.into_file();
            Command::new(&self.paths.agent)
                .arg(state.path())
                .env_clear()
                .current_dir("/")
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .kill_on_drop(true)
                .spawn()
        };
        let mut agent = start().map_err(|error| failed(&error))?;
        let status = timeout(LAUNCH_DEADLINE, agent.wait()).await;
        match status.map_err(|_| failed(&"the agent took too long"))? {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(&last_words(state).unwrap_or_else(|| status.to_string()))),
            Err(error) => Err(failed(&error)),
        }
    }
}

#[async_trait]
impl ComputeHost for SiloHost {
    /// Not cancel safe: when the future is dropped, call [`ComputeHost::clean`].
    async fn create(
        &self,
        id: &SystemId,
        document: &SystemDocument,
    ) -> Result<Arc<dyn ComputeSystem>, ComputeError> {
        let state = self.state(id)?;
        if remains::is_alive(&state) {
            return Err(host_error(&format!("make silo {id}"), &"it exists already"));
        }
        self.clean(id).await?;
        match self.boot(id, &state, document).await {
            Ok(system) => Ok(system),
            Err(error) => {
                if let Err(cleaning) = self.clean(id).await {
                    tracing::warn!(
                        system.id = %id, %cleaning, "a failed silo left something behind"
                    );
                }
                Err(error)
            }
        }
    }

    async fn open(&self, id: &SystemId) -> Result<OpenedSystem, ComputeError> {
        let state = self.state(id)?;
        if !state.path().exists() {
            return Err(ComputeError::SystemNotFound { id: id.clone() });
        }
        let place = state.clone();
        blocking(move || {
            remains::clear_saved(&place);
            Ok(())
        })
        .await?;
        if !remains::is_alive(&state) {
            return link::from_journal(id, &state);
        }
        match Link::connect(id, &state).await? {
            Some(Greeting::Hello(mut link)) => {
                let processes = link.take_processes();
                let system = SiloSystem::new(id.clone(), self.parts(&state), link)?;
                Ok(OpenedSystem { system: Some(Arc::new(system)), processes })
            }
            Some(Greeting::Refused(_)) | None => link::from_journal(id, &state),
        }
    }

    async fn clean(&self, id: &SystemId) -> Result<(), ComputeError> {
        let (id, state) = (id.clone(), self.state(id)?);
        blocking(move || remains::remove(&id, &state)).await
    }

    fn enforces(&self) -> Vec<Limit> {
        self.enforces
            .get_or_init(|| {
                let limits = Roots::discover().map(|roots| roots.enforces()).unwrap_or_default();
                let disk = Disk::below(&self.paths.data_root).map(|_| Limit::DriveRate);
                let rates = limits.contains(&Limit::BlockRate);
                limits.into_iter().chain(disk.filter(|_| rates)).collect()
            })
            .clone()
    }

    async fn check(&self) -> Vec<Check> {
        let paths = self.paths.clone();
        tokio::task::spawn_blocking(move || check::all(&paths)).await.unwrap_or_default()
    }
}

/// Makes all that the execution agent will start pausable. No program runs yet. Blocks.
fn enclose(id: &SystemId, state: &StateDir, starter: u32) -> Result<(), SiloError> {
    let Some(freezer) = Freezer::of(&Roots::discover()?, &state.place(id)) else { return Ok(()) };
    let attempt = || format!("find the execution agent of silo {id}");
    let Some(name) = freezer.find(starter).attempt(attempt)? else {
        return Err(io::Error::from(io::ErrorKind::NotFound)).attempt(attempt);
    };
    state.write_starter(name).attempt(|| format!("write down process {}", name.pid))?;
    freezer.enclose(name)
}

/// Runs what blocks on a thread for such things.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SiloError> + Send + 'static,
) -> Result<T, ComputeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(host_error("run blocking work", &error)),
    }
}

fn host_error(attempt: &str, reason: &dyn std::fmt::Display) -> ComputeError {
    ComputeError::Host { attempt: attempt.to_owned(), reason: reason.to_string() }
}

fn boot_error(id: &SystemId, reason: &dyn std::fmt::Display) -> ComputeError {
    host_error(&format!("boot silo {id}"), reason)
}

/// The end of the agent's log.
fn last_words(state: &StateDir) -> Option<String> {
    let log = fs::read(state.log()).ok()?;
    let tail = log.get(log.len().saturating_sub(LOG_QUOTE)..)?;
    let text = String::from_utf8_lossy(tail);
    let text = text.trim();
    (!text.is_empty()).then(|| text.trim_start_matches("oriel-agent: ").to_owned())
}
