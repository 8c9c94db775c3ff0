//! Containers, execs, images and builds: the engine behind the API.
//!
//! The engine knows Docker's notions and drives Windows' floor through three contracts:
//! [`ComputeHost`] runs compute systems, [`NetworkDriver`] gives them addresses, and
//! [`ImageStore`] keeps layers and sandboxes. It knows neither HTTP nor the kernel.
//!
//! ```text
//! create ─▶ record + sandbox
//! start  ─▶ endpoint ─▶ compute system ─▶ first process ─▶ record ─▶ supervisor
//! supervisor: output ─▶ log and clients … exit ─▶ end system ─▶ drop endpoint ─▶ record
//!             ─▶ release waits ─▶ remove or restart
//! ```
//! A client that goes away in the middle of an operation does not stop it: operations that change
//! anything run as the engine's own tasks. A daemon that dies leaves containers running; the next
//! one takes them up again in [`Engine::open`].

mod archive;
mod attach;
mod build;
mod clock;
mod command;
mod container;
mod create;
mod document;
mod engine;
mod error;
mod events;
mod exec;
#[cfg(feature = "fake")]
pub mod fake;
mod health;
mod images;
mod logs;
mod mount_text;
mod mounts;
mod names;
mod networks;
mod output;
mod pause;
mod pipes;
mod reconcile;
mod records;
mod registry;
mod remove;
mod restart;
mod saved;
mod shared;
mod signal;
mod spec;
mod standby;
mod start;
mod state;
mod stats;
mod stop;
mod storage;
mod supervise;
mod tasks;
mod time;
mod update;
mod volumes;

#[cfg(doc)]
use oriel_hcs::{ComputeHost, NetworkDriver};
#[cfg(doc)]
use oriel_image::ImageStore;

pub use attach::{Attachment, DetachKeys, Stdin};
pub use clock::{Clock, IdSource};
pub use command::{DEFAULT_ACCOUNT, directory, escape, pairs};
pub use container::ContainerView;
pub use engine::{Engine, Parts};
pub use error::EngineError;
pub use events::Event;
pub use exec::{ExecSpec, ExecState, ExecView};
pub use health::{Health, HealthStatus, ProbeResult};
pub use images::{CommitRequest, ImportRequest};
pub use logs::{LogDriver, LogOptions, LogRecord, check_log_options};
pub use mounts::{MountKind, MountPoint, MountWish, MountWishes, driver as mount_driver};
pub use networks::{
    AddressPool, Membership, NETWORK_NAT, NETWORK_NONE, NetworkRequest, NetworkView, SubnetRequest,
};
pub use output::{Chunk, Stream};
pub use pause::Stillness;
pub use pipes::HostPipes;
pub use registry::{
    Difference, FoundKey, KeyName, RegistryImport, RegistryView, Step, link_target, walk,
};
pub use remove::Removal;
pub use restart::RestartPolicy;
pub use shared::Shared;
pub use signal::{Action, action};
pub use spec::{CreateRequest, HostOptions, Overrides, Spec, StreamOptions, merge, parse_port};
pub use state::{Run, State};
pub use stats::{Sample, Samples};
pub use stop::WaitFor;
pub use storage::{Usage, storage_options};
pub use time::{NEVER, Time};
pub use volumes::{ANONYMOUS_LABEL, Anonymous, DRIVER_LOCAL, VolumeRequest, VolumeView};
