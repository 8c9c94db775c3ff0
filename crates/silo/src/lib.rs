//! Process isolation: a compute system made of Linux namespaces.
//!
//! A *silo* is what a Windows Server container is on Windows: a set of processes with its own
//! view of files, registry, objects, processes and network, on the kernel of the host. Here it is
//! a set of namespaces around one NT personality.
//!
//! The crate has two halves that share a directory on the host and the bridge protocol:
//!
//! ```text
//! host half (in orield, tokio)            guest half (in oriel-agent, one thread, no runtime)
//! SiloHost ──spawns──▶ agent::main ─▶ launch: Unprepared ▸ Mounted ▸ Joined ▸ Ready
//!    ▲                                   │ pid 1 of the silo
//!    └───── agent.sock, bridge frames ───┴─▶ relay ──pipes──▶ wine64 cexecsvc.exe
//! ```

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use oriel_hcs::{
    Check, ComputeError, ComputeHost, ComputeSystem, OpenedSystem, SystemDocument, SystemId,
};

/// Where the host half finds and keeps things.
#[derive(Clone, Debug)]
pub struct SiloPaths {
    /// The `oriel-agent` program.
    pub agent: PathBuf,
    /// The Windows-side agent, `cexecsvc.exe`.
    pub cexecsvc: PathBuf,
    /// Directory for the state of running systems, such as `/run/oriel/silo`; made when absent.
    pub run_dir: PathBuf,
    /// A directory of the file system that layers and sandboxes are on, for [`ComputeHost::check`].
    pub data_root: PathBuf,
}

/// Makes silos.
pub struct SiloHost {
    paths: SiloPaths,
}

impl SiloHost {
    /// A host that keeps its state at `paths`.
    #[must_use]
    pub fn new(paths: SiloPaths) -> Self {
        Self { paths }
    }
}

#[async_trait]
impl ComputeHost for SiloHost {
    async fn create(
        &self,
        _id: &SystemId,
        _document: &SystemDocument,
    ) -> Result<Arc<dyn ComputeSystem>, ComputeError> {
        todo!("{:?}", self.paths)
    }

    async fn open(&self, _id: &SystemId) -> Result<OpenedSystem, ComputeError> {
        todo!()
    }

    async fn clean(&self, _id: &SystemId) -> Result<(), ComputeError> {
        todo!()
    }

    async fn check(&self) -> Vec<Check> {
        todo!()
    }
}

/// The guest half.
pub mod agent {
    use std::{ffi::OsString, process::ExitCode};

    /// What `oriel-agent` does: launches the silo described in the directory given as its only
    /// argument, and becomes its pid 1.
    pub fn main(_arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
        todo!()
    }
}
