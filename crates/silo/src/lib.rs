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

pub mod agent;
mod confine;
mod error;
mod host;
mod job;
mod launch;
mod seccomp;
mod state;

use std::path::PathBuf;

pub use error::SiloError;
pub use host::SiloHost;

/// Where the host half finds and keeps things.
#[derive(Clone, Debug)]
pub struct SiloPaths {
    /// The `oriel-agent` program.
    pub agent: PathBuf,
    /// The Windows-side agent, `cexecsvc.exe`.
    pub cexecsvc: PathBuf,
    /// Directory for the state of running systems, such as `/run/oriel/silo`; made when absent.
    pub run_dir: PathBuf,
    /// A directory of the file system that layers and sandboxes are on, which
    /// [`check`](oriel_hcs::ComputeHost::check) looks at.
    pub data_root: PathBuf,
}
