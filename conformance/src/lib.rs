//! Black-box tests through the Docker socket, with the real Docker CLI.
//!
//! [`Daemon`] is an `orield` of the tests' own, with its own socket, data root, bridge and subnet;
//! [`Docker`] is the stock CLI pointed at it; [`run`] runs cases one after the other and reports.
//! Other clients than the CLI run through a [`Recorder`]: see [`Client`] and [`Compatibility`].
//! What a case leaves behind on the host is a failure of the whole run: see [`Leftovers`].

mod clients;
mod comparison;
mod compatibility;
mod daemon;
mod docker;
mod dockerd;
mod endpoints;
mod framing;
mod leftovers;
mod recorder;
mod registry;
mod runner;

pub use clients::{CLIENTS, Client, Installed, Session};
pub use comparison::{Pair, differences};
pub use compatibility::Compatibility;
pub use daemon::{Daemon, Settings};
pub use docker::{Docker, Output};
pub use dockerd::Dockerd;
pub use leftovers::Leftovers;
pub use recorder::{Exchange, Recorder};
pub use registry::{Door, Registry};
pub use runner::{Case, Outcome, run};
