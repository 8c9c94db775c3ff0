//! The compute contract of Oriel.
//!
//! On Windows the Host Compute Service hides how a container is isolated behind one document and
//! a handful of calls. This crate is that contract here: [`SystemDocument`] says what a compute
//! system is made of, [`ComputeHost`] makes one, [`ComputeSystem`] runs processes in it, and
//! [`NetworkDriver`] gives it an endpoint. The engine programs against these traits; `silo` and
//! `hns` implement them. [`bridge`] is the wire protocol between a host and the agents inside.
//!
//! ```text
//! engine ──ComputeHost──▶ silo ──bridge──▶ oriel-agent (pid 1) ──bridge──▶ cexecsvc.exe
//! ```

mod block;
pub mod bridge;
mod document;
mod error;
mod exit;
mod limits;
mod process;

#[cfg(feature = "host")]
mod compute;
#[cfg(feature = "host")]
mod network;

pub use block::{Block, BlockError};
#[cfg(feature = "host")]
pub use compute::{
    Check, CheckLevel, ComputeHost, ComputeSystem, MissingLibrary, OpenedSystem, Process,
    ProcessEvent, Registry,
};
pub use document::{
    BASE_COMMENT, Isolation, Mount, MountSource, OS_VERSION, SystemDocument, SystemId,
};
pub use error::{Class, ComputeError};
pub use exit::{DLL_NOT_FOUND, ExitMeaning, exit_meaning};
pub use limits::{
    Confinement, DeviceLimit, DeviceRule, Limit, Limits, ProcessLimit, Statistics, Swap, Traffic,
};
#[cfg(feature = "host")]
pub use network::{
    Compartment, CompartmentSpec, Endpoint, EndpointSpec, NetworkDriver, NetworkError, NetworkSpec,
    PortMapping, Protocol,
};
pub use process::{
    CommandLine, ConsoleSize, ControlEvent, ProcessId, ProcessParameters, ProcessSummary,
};
