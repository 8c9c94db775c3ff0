//! Finding out whether a silo lives, and removing what is left of it.

use std::{io, os::fd::AsFd, time::Duration};

use fs_err as fs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use oriel_hcs::SystemId;
use oriel_sys::process::Handle;

use crate::{
    error::{Attempt, SiloError},
    host::registry,
    job::{self, Freezer, Place, Roots},
    state::StateDir,
};

/// How long a killed pid 1 may take to be gone with all its processes.
const DEATH_DEADLINE: Duration = Duration::from_secs(10);

/// Whether the silo's pid 1 runs.
pub(super) fn is_alive(state: &StateDir) -> bool {
    matches!(handle(state), Ok(Some(_)))
}

/// A handle of the silo's pid 1; `None` when it is gone or never was.
pub(super) fn handle(state: &StateDir) -> io::Result<Option<Handle>> {
    match state.process()? {
        Some(name) => Handle::open(name),
        None => Ok(None),
    }
}

/// Waits until pid 1, and with it every process of the silo, has ended; false when it did not in
/// time. Blocks.
pub(super) fn wait_for_end(handle: &Handle, limit: Duration) -> Result<bool, SiloError> {
    let mut fds = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    let ready = poll(&mut fds, limit).attempt(|| "wait for the end of a silo".to_owned())?;
    Ok(ready == 1)
}

/// Lets programs go on to their end: what is frozen may not die, and pid 1 is not gone before all
/// others are. Blocks.
pub(super) fn release(place: &Place) -> Result<(), SiloError> {
    Freezer::of(&Roots::discover()?, place).map_or(Ok(()), |freezer| freezer.release())
}

/// Removes saved registries that nobody will use any more. Blocks.
pub(super) fn clear_saved(state: &StateDir) {
    // Without an order there was no silo.
    if let Ok(order) = state.read_order() {
        registry::clear(&order.document.sandbox);
    }
}

/// Kills the silo and removes all traces of it. Idempotent. Blocks, a bounded time.
///
/// The order makes a crash in between harmless: the state directory, by which the rest is found,
/// goes last.
pub(super) fn remove(id: &SystemId, state: &StateDir) -> Result<(), SiloError> {
    let place = state.place(id);
    if let Some(handle) = handle(state).attempt(|| format!("find silo {id}"))? {
        handle.kill().attempt(|| format!("kill silo {id}"))?;
        release(&place)?;
        wait_for_end(&handle, DEATH_DEADLINE)?;
    }
    job::remove(&Roots::discover()?, &place)?;
    clear_saved(state);
    match fs::remove_dir_all(state.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).attempt(|| format!("remove the state of silo {id}"))
        }
        _ => Ok(()),
    }
}
