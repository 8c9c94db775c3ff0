//! Taking every privilege from the silo's pid 1, and so from all that it starts.

use fs_err as fs;
use nix::{
    sys::{
        prctl::set_dumpable,
        resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit},
    },
    unistd::{Gid, Uid, setgroups, setresgid, setresuid},
};
use oriel_hcs::ProcessLimit;
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

/// Says how much rather than others this process, and what it starts, is killed when the host
/// runs out of memory. Needs the host's /proc.
pub(crate) fn rate(oom_score: i32) -> Result<(), SiloError> {
    if oom_score == 0 {
        return Ok(());
    }
    fs::write("/proc/self/oom_score_adj", oom_score.to_string())
        .attempt(|| format!("set the OOM score to {oom_score}"))
}

/// Limits each process of the silo: as asked, and else as is good for Windows programs.
pub(crate) fn limit_processes(asked: &[ProcessLimit]) -> Result<(), SiloError> {
    for (name, resource, bound) in
        [("core", Resource::RLIMIT_CORE, 0), ("nofile", Resource::RLIMIT_NOFILE, MAX_DESCRIPTORS)]
    {
        // Not even root can raise a limit again everywhere.
        if asked.iter().any(|limit| limit.name == name) {
            continue;
        }
        let (_, hard) = getrlimit(resource).attempt(|| format!("read {resource:?}"))?;
        let bound = bound.min(hard);
        set(resource, bound, bound)?;
    }
    for limit in asked {
        let wrong = || SiloError::Document { detail: format!("{:?} is no limit", limit.name) };
        let resource = resource(&limit.name).ok_or_else(wrong)?;
        let value = |value: Option<u64>| value.unwrap_or(RLIM_INFINITY);
        set(resource, value(limit.soft), value(limit.hard))?;
    }
    Ok(())
}

fn set(resource: Resource, soft: u64, hard: u64) -> Result<(), SiloError> {
    setrlimit(resource, soft, hard)
        .attempt(|| format!("limit {resource:?} to {soft}, at most {hard}"))
}

/// The resource of a name as Docker has them.
fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "core" => Resource::RLIMIT_CORE,
        "cpu" => Resource::RLIMIT_CPU,
        "data" => Resource::RLIMIT_DATA,
        "fsize" => Resource::RLIMIT_FSIZE,
        "locks" => Resource::RLIMIT_LOCKS,
        "memlock" => Resource::RLIMIT_MEMLOCK,
        "msgqueue" => Resource::RLIMIT_MSGQUEUE,
        "nice" => Resource::RLIMIT_NICE,
        "nofile" => Resource::RLIMIT_NOFILE,
        "nproc" => Resource::RLIMIT_NPROC,
        "rss" => Resource::RLIMIT_RSS,
        "rtprio" => Resource::RLIMIT_RTPRIO,
        "rttime" => Resource::RLIMIT_RTTIME,
        "sigpending" => Resource::RLIMIT_SIGPENDING,
        "stack" => Resource::RLIMIT_STACK,
        _ => return None,
    })
}

/// Gives up capabilities, new privileges, and system calls that no Windows program needs. pid 1
/// has the uid of the programs it starts, so it also becomes untouchable for their debuggers.
pub(crate) fn give_up_privileges() -> Result<(), SiloError> {
    privilege::drop_capabilities().attempt(|| "drop capabilities".to_owned())?;
    privilege::forbid_new_privileges().attempt(|| "forbid new privileges".to_owned())?;
    set_dumpable(false).attempt(|| "keep debuggers off the agent".to_owned())?;
    seccomp::apply()
}
