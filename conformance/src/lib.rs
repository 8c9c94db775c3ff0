//! Black-box tests through the Docker socket, with the real Docker CLI.
//!
//! [`Daemon`] is an `orield` of the tests' own, with its own socket, data root, bridge and subnet;
//! [`Docker`] is the stock CLI pointed at it; [`run`] runs cases one after the other and reports.
//! What a case leaves behind on the host is a failure of the whole run: see [`Leftovers`].

mod daemon;
mod docker;
mod leftovers;
mod registry;
mod runner;

pub use daemon::{Daemon, Settings};
pub use docker::{Docker, Output};
pub use leftovers::Leftovers;
pub use registry::{Door, Registry};
pub use runner::{Case, Outcome, run};
