//! The drivers programs rely on, and the process that hosts them.
//!
//! Two kernel drivers answer questions about volumes and networks: without `MountMgr` there is no
//! `dir`, without `nsiproxy` no `ping`. The usual way to have them, `services.exe` and
//! `winedevice.exe`, takes 22 MB and most of a container's start. So the agent starts itself once
//! more as their host. That runs beside the rest of the boot; only the creation of the first
//! process waits for it, and no longer than [`PATIENCE`].

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::boot::complain;
use crate::companion;
use crate::nt::driver::{self, Kernel};
use crate::nt::pipe::Pipe;
use crate::nt::registry::{Key, Root};
use crate::nt::{Win32Error, object};

/// Argument that makes this executable the drivers' host; the agent's process id follows.
const HOST: &str = "--drivers";

/// The drivers, by the names of their keys in the registry.
const DRIVERS: [&str; 2] = ["MountMgr", "nsiproxy"];

/// What the host writes for a driver that started, and for one that did not.
const STARTED: u8 = b'+';
const FAILED: u8 = b'-';

/// Longest wait for the drivers. Programs that do not need them run without.
const PATIENCE: Duration = Duration::from_secs(2);

/// The drivers' host, as the agent sees it.
pub(crate) struct Drivers {
    /// Gives one message when the drivers are there: how each of them fared. Taken by the first to
    /// wait.
    ready: Mutex<Option<Receiver<[u8; DRIVERS.len()]>>>,
}

impl Drivers {
    /// Starts the host and does not wait for it.
    pub(crate) fn start() -> Self {
        let (done, ready) = mpsc::sync_channel(1);
        match start_host() {
            Ok(mut output) => {
                thread::spawn(move || {
                    let mut fared = [FAILED; DRIVERS.len()];
                    // A host that says nothing has failed, and dropping `done` tells so.
                    if output.read_exact(&mut fared).is_ok() {
                        let _nobody_waits = done.send(fared);
                    }
                });
            }
            Err(error) => complain(&format!("cannot start the drivers: error 0x{:x}", error.0)),
        }
        Self { ready: Mutex::new(Some(ready)) }
    }

    /// Waits until the drivers answer, or are known not to.
    pub(crate) fn wait(&self) {
        // The lock is held meanwhile, so that everyone waits.
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ready) = ready.take() else { return };
        let fared = ready.recv_timeout(PATIENCE).unwrap_or([FAILED; DRIVERS.len()]);
        for (driver, fared) in DRIVERS.iter().zip(fared) {
            if fared != STARTED {
                complain(&format!("driver {driver} does not answer; going on without"));
            }
        }
        // The least of what `MountMgr` would have done: `GetLogicalDrives` knows C:.
        if fared[0] == STARTED {
            return;
        }
        if let Err(error) = object::link("\\??\\C:", "\\Device\\HarddiskVolume1") {
            complain(&format!("cannot link C: to its volume: error 0x{:x}", error.0));
        }
    }
}

fn start_host() -> Result<File, Win32Error> {
    let Pipe { read, write } = Pipe::new()?;
    companion::start(&format!("{HOST} {}", std::process::id()), Some(&write))?;
    Ok(File::from(read))
}

/// Hosts the drivers until the agent ends; `None` when this is not the host.
pub(crate) fn host(arguments: &[String]) -> Option<ExitCode> {
    let [HOST, agent] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return None;
    };
    let done = agent.parse().map_err(|_| Win32Error(0)).and_then(serve);
    Some(if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn serve(agent: u32) -> Result<(), Win32Error> {
    let agent = driver::process(agent)?;
    let kernel = Kernel::load()?;
    keep_out_of_commits();
    let fared = DRIVERS.map(|driver| if kernel.start(driver).is_ok() { STARTED } else { FAILED });
    // The devices exist, and what is asked of them from now on waits for `serve`.
    let mut output = io::stdout();
    if output.write_all(&fared).and_then(|()| output.flush()).is_err() {
        return Ok(());
    }
    kernel.serve(&agent)
}

/// Makes the keys that `MountMgr` would make to last, so that they do not: an image made of this
/// container has no use for them.
fn keep_out_of_commits() {
    for path in ["Software\\Wine\\Ports", "Software\\Wow6432Node\\Wine\\Ports"] {
        // If it cannot be made, it will be in the image after all.
        let _made = Key::create_volatile(Root::Machine, path);
    }
}
