//! The directory in which the two halves of a silo meet.
//!
//! ```text
//! <run_dir>/<id>/   root:root 0700
//!   document.json   the order: what to launch; written by the host half before anything else
//!   process         name of the silo's pid 1 ("pid start-time"), written before it does anything
//!   starter         name of cexecsvc.exe, by which programs are paused
//!   agent.sock      the bridge; bound by the agent
//!   journal         what the host has yet to learn, see agent::journal
//!   agent.log       what the agent and the NT side wrote to standard error, bounded
//!   stage/          mount point for building the root; in the host's namespace always empty
//! ```
//!
//! Whoever finds the directory after a crash can undo everything from its name and content.

use std::{
    io,
    path::{Path, PathBuf},
};

use fs_err as fs;
use oriel_hcs::{SystemDocument, SystemId};
use oriel_sys::process::ProcessName;
use serde::{Deserialize, Serialize};

use crate::{error::SiloError, job::Place};

/// What the host half orders the guest half to launch.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Name of the system.
    pub(crate) id: SystemId,
    /// What it is made of.
    pub(crate) document: SystemDocument,
    /// Host path of `cexecsvc.exe`.
    pub(crate) cexecsvc: PathBuf,
}

impl Order {
    /// Where the silo's cgroups are to be.
    pub(crate) fn place(&self) -> Result<Place, SiloError> {
        Place::of(&self.id, &self.document.confinement.cgroup_parent)
    }
}

/// Longest name of a system; container ids have 64 characters.
const MAX_ID: usize = 64;

/// The directory of one silo.
#[derive(Clone, Debug)]
pub(crate) struct StateDir(PathBuf);

impl StateDir {
    /// The directory of the system `id` below `run_dir`; `None` when the name could lead elsewhere.
    pub(crate) fn of(run_dir: &Path, id: &SystemId) -> Option<Self> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let name = &id.0;
        let valid = !name.is_empty() && name.len() <= MAX_ID && name.chars().all(good);
        valid.then(|| Self(run_dir.join(name)))
    }

    /// The directory at `path`.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The order, see [`Order`].
    pub(crate) fn order(&self) -> PathBuf {
        self.0.join("document.json")
    }

    /// Writes the order in the place of another.
    pub(crate) fn replace_order(&self, order: &Order) -> io::Result<()> {
        let temporary = self.0.join("document.json.new");
        fs::write(&temporary, serde_json::to_vec(order)?)?;
        fs::rename(temporary, self.order())
    }

    /// Reads the order.
    pub(crate) fn read_order(&self) -> io::Result<Order> {
        serde_json::from_slice(&fs::read(self.order())?).map_err(io::Error::from)
    }

    /// Where the silo's cgroups are. Without an order there are none yet.
    pub(crate) fn place(&self, id: &SystemId) -> Place {
        let order = self.read_order().ok();
        let place = order.and_then(|order| order.place().ok());
        place.unwrap_or_else(|| Place::usual(id))
    }

    /// The socket of the bridge.
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("agent.sock")
    }

    /// The journal.
    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// The log.
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("agent.log")
    }

    /// Mount point for building the root.
    pub(crate) fn stage(&self) -> PathBuf {
        self.0.join("stage")
    }

    /// Writes down the silo's pid 1.
    pub(crate) fn write_process(&self, name: ProcessName) -> io::Result<()> {
        self.write_name("process", name)
    }

    /// The silo's pid 1; `None` when none was written down.
    pub(crate) fn process(&self) -> io::Result<Option<ProcessName>> {
        self.read_name("process")
    }

    /// Writes down the process that starts all programs.
    pub(crate) fn write_starter(&self, name: ProcessName) -> io::Result<()> {
        self.write_name("starter", name)
    }

    /// The process that starts all programs; `None` when none was written down.
    pub(crate) fn starter(&self) -> io::Result<Option<ProcessName>> {
        self.read_name("starter")
    }

    fn write_name(&self, file: &str, name: ProcessName) -> io::Result<()> {
        let temporary = self.0.join(format!("{file}.new"));
        fs::write(&temporary, name.to_string())?;
        fs::rename(temporary, self.0.join(file))
    }

    fn read_name(&self, file: &str) -> io::Result<Option<ProcessName>> {
        match fs::read_to_string(self.0.join(file)) {
            Ok(text) => text.parse().map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_out_of_the_run_directory() {
        let run = Path::new("/run");
        for bad in ["", ".", "..", "a/b", "../a", "a\0", &"a".repeat(65)] {
            assert!(StateDir::of(run, &SystemId(bad.into())).is_none(), "{bad:?}");
        }
        assert!(StateDir::of(run, &SystemId("0af".into())).is_some());
    }

    #[test]
    fn the_process_is_read_back_as_written() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDir::at(place.path().to_owned());
        assert_eq!(state.process().unwrap(), None);
        let name = ProcessName { pid: 7, start: 9 };
        state.write_process(name).unwrap();
        assert_eq!(state.process().unwrap(), Some(name));
    }
}
