//! Taking every privilege from the silo's pid 1, and so from all that it starts.

use nix::{
    sys::{
        prctl::set_dumpable,
        resource::{Resource, getrlimit, setrlimit},
    },
    unistd::{Gid, Uid, setgroups, setresgid, setresuid},
};
use oriel_sys::privilege;

use crate::{
    error::{Attempt, SiloError},
    seccomp,
};

/// Most descriptors of one process. wineserver holds several per NT handle; the bound is the
/// kernel's own hard default of today, stated so that a laxer host changes nothing.
const MAX_DESCRIPTORS: u64 = 1 << 19;

/// Becomes user and group 0 of the user namespace just entered, without other groups.
pub(crate) fn become_container_root() -> Result<(), SiloError> {
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    setgroups(&[]).attempt(|| "leave all groups".to_owned())?;
    setresgid(group, group, group).attempt(|| "become the container's group".to_owned())?;
    setresuid(user, user, user).attempt(|| "become the container's user".to_owned())
}

/// Gives up capabilities, new privileges, and system calls that no Windows program needs. pid 1
/// has the uid of the programs it starts, so it also becomes untouchable for their debuggers.
pub(crate) fn give_up_privileges() -> Result<(), SiloError> {
    limit(Resource::RLIMIT_CORE, 0)?;
    limit(Resource::RLIMIT_NOFILE, MAX_DESCRIPTORS)?;
    privilege::drop_capabilities().attempt(|| "drop capabilities".to_owned())?;
    privilege::forbid_new_privileges().attempt(|| "forbid new privileges".to_owned())?;
    set_dumpable(false).attempt(|| "keep debuggers off the agent".to_owned())?;
    seccomp::apply()
}

fn limit(resource: Resource, bound: u64) -> Result<(), SiloError> {
    let attempt = || format!("limit {resource:?} to {bound}");
    let (_, hard) = getrlimit(resource).attempt(attempt)?;
    let bound = bound.min(hard);
    setrlimit(resource, bound, bound).attempt(attempt)
}
