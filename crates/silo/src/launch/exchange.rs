//! Another drive C: for a silo in which no program has run.
//!
//! ```text
//! this process, in mounts of its own          the silo
//! stage ── overlay of the new layers ──┐
//! enter the silo's mounts              └──▶   /drive_c, in the place of the old
//! ```
//!
//! What runs there already, wineserver and the execution agent, has its working directory on the
//! old drive, which goes when they do. Neither opens anything by it, and each program that comes
//! gets its directory by a path.

use std::{fs::File, path::Path};

use nix::{
    mount::{MntFlags, umount2},
    sched::{CloneFlags, setns},
};
use oriel_sys::{namespace::UserNamespace, process::Handle};

use super::{CONTAINER_IDS, attach_at, drive, folder::Folder, private_mounts, root};
use crate::{
    error::{Attempt, SiloError},
    state::StateDir,
};

/// Where a silo has C:.
const DRIVE: &str = "/drive_c";

/// Gives the silo in `state` the drive that its order describes. The process that calls this is of
/// no use for anything else afterwards.
pub(crate) fn exchange_drive(state: &StateDir) -> Result<(), SiloError> {
    let order = state.read_order().attempt(|| "read the silo's order".to_owned())?;
    let mounts = mounts_of(state)?;
    let users = UserNamespace::new(CONTAINER_IDS).attempt(|| "make a user namespace".to_owned())?;
    private_mounts()?;
    root::enter(&state.stage())?;
    let drive = drive::alone(&order, &users)?;
    // The root is read-only and its mounts are none of the guest's, so the path leads nowhere else.
    setns(&mounts, CloneFlags::CLONE_NEWNS).attempt(|| "enter the silo's mounts".to_owned())?;
    umount2(DRIVE, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
        .attempt(|| "let go of the old drive".to_owned())?;
    let place = Folder::pin(Path::new(DRIVE)).attempt(|| "open the mount point".to_owned())?;
    attach_at(&drive, &place, DRIVE)
}

/// The mount namespace of the silo's pid 1.
fn mounts_of(state: &StateDir) -> Result<File, SiloError> {
    let attempt = || "find the silo's mounts".to_owned();
    let gone = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let name = state.process().attempt(attempt)?.ok_or_else(gone).attempt(attempt)?;
    let mounts = fs_err::File::open(format!("/proc/{}/ns/mnt", name.pid)).attempt(attempt)?;
    // Opened first: the number was still that process's when this finds it.
    Handle::open(name).attempt(attempt)?.ok_or_else(gone).attempt(attempt)?;
    Ok(mounts.into_file())
}
