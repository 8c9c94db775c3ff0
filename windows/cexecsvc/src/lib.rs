//! The Windows-side container execution agent: the first NT process of a silo.
//!
//! `oriel-agent` starts `cexecsvc.exe` with the two ends of the bridge as standard input and
//! output. It completes the boot of the NT personality (what `wineboot` and `services.exe` would
//! do in hundreds of milliseconds), says `Hello`, and then creates, feeds and ends processes as
//! `CExecSvc` does inside a Windows container.
//!
//! Everything that is a rule rather than a system call lives in modules that also build on Linux,
//! where their tests run:
//!
//! - [`changes`]: what the host wants changed in the registry
//! - [`arguments`]: command lines and where the program's name ends in them
//! - [`environment`]: the variables a process sees
//! - [`search`]: where a program is looked for
//! - [`console`]: the screen, the keys and the line editor of a client's terminal
//! - [`drain`]: when a process's output counts as complete
//! - [`setx`]: the program of that name, which is this one
//! - [`message`]: Windows' texts for the errors clients match on
//!
//! `nt` holds the system calls; it is the only place with `unsafe`. `agent` and `hosted` put the
//! two together.

pub mod arguments;
pub mod changes;
pub mod console;
pub mod drain;
pub mod environment;
pub mod message;
pub mod search;
pub mod setx;

#[cfg(windows)]
mod account;
#[cfg(windows)]
mod agent;
#[cfg(windows)]
mod boot;
#[cfg(windows)]
mod companion;
#[cfg(windows)]
mod drivers;
#[cfg(windows)]
mod hosted;
#[cfg(windows)]
mod launch;
#[cfg(windows)]
mod nt;
#[cfg(windows)]
mod outbox;
#[cfg(windows)]
mod pipes;
#[cfg(windows)]
mod registry;
#[cfg(windows)]
mod terminal;

#[cfg(windows)]
pub use agent::run;
