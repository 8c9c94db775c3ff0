//! The network namespace of a silo.

use std::path::Path;

use fs_err as fs;
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::{Attempt, SiloError};

/// Settings of a network namespace, with what a container expects of its own.
///
/// Programs inside have no capabilities, yet on Windows any program may listen on port 80 and any
/// may ping; so the namespace, which is theirs alone, allows both to everyone.
const SETTINGS: [(&str, &str); 2] = [
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
];

/// Joins the namespace at `path`, or a new one that has a loopback link only.
pub(super) fn join(path: Option<&Path>) -> Result<(), SiloError> {
    match path {
        Some(path) => {
            let namespace = fs::File::open(path)
                .attempt(|| format!("open the network namespace {}", path.display()))?;
            setns(&namespace, CloneFlags::CLONE_NEWNET)
                .attempt(|| format!("join the network namespace {}", path.display()))?;
        }
        None => {
            unshare(CloneFlags::CLONE_NEWNET).attempt(|| "unshare networks".to_owned())?;
            oriel_sys::namespace::raise_loopback()
                .attempt(|| "bring the loopback link up".to_owned())?;
        }
    }
    for (file, value) in SETTINGS {
        fs::write(file, value).attempt(|| format!("set {file} to {value}"))?;
    }
    Ok(())
}
