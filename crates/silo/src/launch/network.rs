//! The network namespace of a silo.

use std::{collections::BTreeMap, path::Path};

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
/// `settings` are its further ones, by names with dots.
pub(super) fn join(
    path: Option<&Path>,
    settings: &BTreeMap<String, String>,
) -> Result<(), SiloError> {
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
    settings.iter().try_for_each(|(name, value)| {
        let file = file(name)?;
        fs::write(&file, value).attempt(|| format!("set {name} to {value}"))
    })
}

/// The file of a setting of the network: what else is below /proc/sys is the host's.
fn file(name: &str) -> Result<String, SiloError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let good = |part: &str| !part.is_empty() && part.chars().all(plain);
    let mut parts = name.split('.');
    if parts.next() != Some("net") || !parts.all(good) {
        let detail = format!("{name:?} is no setting of a network");
        return Err(SiloError::Document { detail });
    }
    Ok(format!("/proc/sys/{}", name.replace('.', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_of_the_network_are_written() {
        assert_eq!(file("net.core.somaxconn").unwrap(), "/proc/sys/net/core/somaxconn");
        for other in ["kernel.panic", "net..core", "net/../kernel", "net.a/b", "networks", ""] {
            assert!(file(other).is_err(), "{other}");
        }
    }
}
