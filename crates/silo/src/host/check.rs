//! What a host must have for silos.

use std::{path::Path, process::Command};

use fs_err as fs;
use oriel_hcs::{Check, CheckLevel, Limit};

use crate::{
    SiloPaths,
    agent::PROBE,
    job::{Roots, controller},
};

/// Oldest kernel with id-mapped layers below overlayfs.
const OLDEST_KERNEL: (u32, u32) = (5, 19);

/// Looks at everything. Blocks, for milliseconds.
pub(super) fn all(paths: &SiloPaths) -> Vec<Check> {
    vec![root(), kernel(), namespaces(), overlay(), mapped_mounts(paths), seccomp(), cgroups()]
}

fn verdict(name: &str, level: CheckLevel, finding: &str, remedy: &str) -> Check {
    let remedy = if level == CheckLevel::Ok { "" } else { remedy };
    Check { name: name.to_owned(), level, finding: finding.to_owned(), remedy: remedy.to_owned() }
}

fn needed(found: bool) -> CheckLevel {
    if found { CheckLevel::Ok } else { CheckLevel::Failing }
}

fn root() -> Check {
    let user = rustix::process::geteuid();
    let finding = format!("running as user {}", user.as_raw());
    verdict("privileges", needed(user.is_root()), &finding, "run the daemon as root")
}

fn kernel() -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let good = version(&release).is_some_and(|version| version >= OLDEST_KERNEL);
    let (major, minor) = OLDEST_KERNEL;
    let remedy = format!("use Linux {major}.{minor} or later");
    verdict("kernel", needed(good), &format!("Linux {release}"), &remedy)
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn namespaces() -> Check {
    const KINDS: [&str; 7] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];
    let missing: Vec<_> =
        KINDS.into_iter().filter(|kind| !Path::new("/proc/self/ns").join(kind).exists()).collect();
    let most = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    let allowed = most.trim() != "0";
    let finding = match (missing.is_empty(), allowed) {
        (true, true) => "all seven kinds are there".to_owned(),
        (true, false) => "user namespaces are switched off".to_owned(),
        (false, _) => format!("the kernel lacks {}", missing.join(", ")),
    };
    let remedy = "set user.max_user_namespaces above 0, on a kernel built with all namespaces";
    verdict("namespaces", needed(missing.is_empty() && allowed), &finding, remedy)
}

fn overlay() -> Check {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let there = known.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay");
    let finding = if there { "the kernel has overlayfs" } else { "overlayfs is not loaded" };
    verdict("overlayfs", needed(there), finding, "load the module: modprobe overlay")
}

/// Asks the agent, for only a process with one thread can make the user namespace that the file
/// system is asked about.
fn mapped_mounts(paths: &SiloPaths) -> Check {
    let name = "id-mapped mounts";
    let remedy = "keep the data root on ext4, xfs, btrfs or another file system that maps ids";
    let place = paths.data_root.display();
    let answer = Command::new(&paths.agent).arg(PROBE).arg(&paths.data_root).output();
    let (level, finding) = match answer {
        Ok(output) if output.status.success() => {
            (CheckLevel::Ok, format!("{place} can map owners"))
        }
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            (CheckLevel::Failing, format!("{place} cannot map owners: {words}"))
        }
        Err(error) => {
            (CheckLevel::Failing, format!("{} does not run: {error}", paths.agent.display()))
        }
    };
    verdict(name, level, &finding, remedy)
}

fn seccomp() -> Check {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let there = status.lines().any(|line| line.starts_with("Seccomp_filters:"));
    let finding = if there { "system calls can be filtered" } else { "no system-call filters" };
    verdict("seccomp", needed(there), finding, "use a kernel built with CONFIG_SECCOMP_FILTER")
}

fn cgroups() -> Check {
    let found = Roots::discover().map(|roots| roots.enforces()).unwrap_or_default();
    let missing: Vec<_> = [Limit::Memory, Limit::Processor, Limit::Tasks]
        .into_iter()
        .filter(|limit| !found.contains(limit))
        .map(controller)
        .collect();
    if missing.is_empty() {
        return verdict("cgroups", CheckLevel::Ok, "memory, cpu and pids can be limited", "");
    }
    let finding = format!("no controller for {}", missing.join(", "));
    let remedy = "mount the cgroup hierarchy; containers with such a limit are refused until then";
    verdict("cgroups", CheckLevel::Warning, &finding, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_compare_as_numbers() {
        assert_eq!(version("6.18.44-fc-v657"), Some((6, 18)));
        assert!(version("5.4.0") < Some(OLDEST_KERNEL));
        assert!(version("5.19") >= Some(OLDEST_KERNEL));
    }

    #[test]
    fn a_failing_check_says_what_to_do() {
        let nowhere = || "/nonexistent".into();
        let paths = SiloPaths {
            agent: nowhere(),
            cexecsvc: nowhere(),
            run_dir: nowhere(),
            data_root: nowhere(),
        };
        for check in all(&paths) {
            assert_eq!(check.level == CheckLevel::Ok, check.remedy.is_empty(), "{check:?}");
        }
    }
}
