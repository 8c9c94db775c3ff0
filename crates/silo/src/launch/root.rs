//! The root tree of a silo.
//!
//! ```text
//! /               overlay, read-only: skeleton (tmpfs) over the personality
//!  ├ etc          skeleton: hosts, resolv.conf, ...
//!  ├ mounts.so    skeleton: what Wine's processes read when something is mounted into C:
//!  ├ dev          tmpfs, read-only: null zero full random urandom, bound from the host
//!  ├ proc         the silo's own, dangerous parts covered
//!  ├ sys          tmpfs, read-only: the processor count only
//!  ├ tmp          tmpfs
//!  ├ run/user/0   tmpfs, 0700: wineserver's socket
//!  ├ prefix       the sandbox's registry/, WINEPREFIX
//!  └ drive_c      overlay: the layer chain, see `drive`
//! ```
//!
//! It is built on a stage, a tmpfs that only this mount namespace has; pivoting to it and letting
//! go of the old root leaves nothing of the host.

use std::{
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use fs_err as fs;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::{SysconfVar, chdir, fchdir, pivot_root, sysconf},
};
use oriel_sys::{
    mount::{Attributes, Tree},
    namespace::UserNamespace,
    preload,
};
use rustix::fs::CWD;

use super::{CONTAINER_IDS, attach, drive, etc, folder::Folder};
use crate::{
    error::{Attempt, SiloError},
    state::Order,
};

/// What every mount of a silo lacks.
pub(super) const PLAIN: Attributes = Attributes::NO_SUID.and(Attributes::NO_DEV);

/// Where [`preload::MOUNTS`] is when something is mounted into drive C:.
pub(crate) const MOUNTS_PRELOAD: &str = "/mounts.so";

/// Mount points that the skeleton offers.
const PLACES: [&str; 9] = ["dev", "drive_c", "etc", "prefix", "proc", "run", "sys", "tmp", "var"];

/// The host's devices that programs may have: none of them reaches hardware.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Bound on what can be kept in memory below /tmp, so that a guest without a memory limit cannot
/// fill the host's memory with files.
const TMP_SIZE: &str = "268435456";

/// Builds the tree below `stage`, a directory of the host that stays empty there, and returns the
/// root. This changes the working directory.
pub(super) fn build(
    order: &Order,
    stage: &Path,
    users: &UserNamespace,
) -> Result<OwnedFd, SiloError> {
    enter(stage)?;
    skeleton(order)?;
    personality(&order.document.personality, users)?;
    let root = Folder::pin(Path::new("root")).attempt(|| "open the root".to_owned())?;
    devices(&root)?;
    system_information(order, &root)?;
    scratch(&root)?;
    drive::mount(order, &root, users)?;
    Ok(root)
}

/// Makes `stage` the working directory, with nothing on it but places.
pub(super) fn enter(stage: &Path) -> Result<(), SiloError> {
    fs::create_dir_all(stage).attempt(|| "make the stage".to_owned())?;
    let small = [("size", "16777216"), ("mode", "0755")];
    let floor = tmpfs(&small, PLAIN)?;
    attach(&floor, CWD, &stage.to_string_lossy())?;
    chdir(stage).attempt(|| "enter the stage".to_owned())?;
    for directory in ["skeleton", "personality", "root", "sandbox", "layers"] {
        fs::create_dir(directory).attempt(|| "set up the stage".to_owned())?;
    }
    Ok(())
}

fn tmpfs(options: &[(&str, &str)], attributes: Attributes) -> Result<Tree, SiloError> {
    Tree::new("tmpfs", options, attributes).attempt(|| "make a tmpfs".to_owned())
}

fn skeleton(order: &Order) -> Result<(), SiloError> {
    let make = || -> std::io::Result<()> {
        for place in PLACES {
            fs::create_dir(format!("skeleton/{place}"))?;
        }
        for (name, content) in etc::etc_files(&order.document) {
            fs::write(format!("skeleton/etc/{name}"), content)?;
        }
        if !order.document.mounts.is_empty() {
            fs::write(format!("skeleton{MOUNTS_PRELOAD}"), preload::MOUNTS)?;
        }
        Ok(())
    };
    make().attempt(|| "write the skeleton of the root".to_owned())
}

/// The personality, with the skeleton over it, as the root.
fn personality(path: &Path, users: &UserNamespace) -> Result<(), SiloError> {
    let tree =
        Tree::copy(CWD, path).attempt(|| format!("take up the personality {}", path.display()))?;
    tree.map_ids(users, PLAIN.and(Attributes::READ_ONLY))
        .attempt(|| format!("map the owners of the personality {}", path.display()))?;
    attach(&tree, CWD, "personality")?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let options = "lowerdir=skeleton:personality";
    mount(Some("overlay"), "root", Some("overlay"), flags, Some(options))
        .attempt(|| "mount the root".to_owned())
}

fn devices(root: &OwnedFd) -> Result<(), SiloError> {
    let tree = tmpfs(&[("size", "65536"), ("mode", "0755")], Attributes::NO_SUID)?;
    attach(&tree, root, "dev")?;
    for device in DEVICES {
        fs::write(format!("root/dev/{device}"), "").attempt(|| format!("place {device}"))?;
        let node = Tree::copy(CWD, &Path::new("/dev").join(device))
            .attempt(|| format!("take up the device {device}"))?;
        attach(&node, root, &format!("dev/{device}"))?;
    }
    let flags = Attributes::NO_SUID.and(Attributes::READ_ONLY).and(Attributes::NO_EXEC);
    tree.restrict(flags).attempt(|| "write-protect /dev".to_owned())
}

fn system_information(order: &Order, root: &OwnedFd) -> Result<(), SiloError> {
    let host = sysconf(SysconfVar::_NPROCESSORS_ONLN)
        .attempt(|| "count processors".to_owned())?
        .and_then(|count| u64::try_from(count).ok())
        .unwrap_or(1);
    let processors = etc::processors(&order.document.limits, host);
    let tree = tmpfs(&[("size", "1048576"), ("mode", "0755")], PLAIN)?;
    attach(&tree, root, "sys")?;
    let write = || -> std::io::Result<()> {
        for (name, content) in etc::system_files(processors) {
            let file = Path::new("root/sys/devices/system").join(name);
            fs::create_dir_all(file.parent().unwrap_or(&file))?;
            fs::write(file, content)?;
        }
        Ok(())
    };
    write().attempt(|| "write the processor count".to_owned())?;
    let flags = PLAIN.and(Attributes::READ_ONLY).and(Attributes::NO_EXEC);
    tree.restrict(flags).attempt(|| "write-protect /sys".to_owned())
}

/// The two places outside the prefix that programs may write.
fn scratch(root: &OwnedFd) -> Result<(), SiloError> {
    let tmp = tmpfs(&[("size", TMP_SIZE), ("mode", "1777")], PLAIN)?;
    attach(&tmp, root, "tmp")?;
    let run = tmpfs(&[("size", TMP_SIZE), ("mode", "0755")], PLAIN)?;
    attach(&run, root, "run")?;
    let home = || -> std::io::Result<()> {
        fs::create_dir_all("root/run/user/0")?;
        fs::set_permissions("root/run/user/0", std::fs::Permissions::from_mode(0o700))?;
        let id = Some(CONTAINER_IDS.outside);
        std::os::unix::fs::chown("root/run/user/0", id, id)
    };
    home().attempt(|| "make the run-time directory".to_owned())
}

/// Directories of /proc that reach beyond the process, to be hidden, as container engines do.
const HIDDEN_DIRECTORIES: [&str; 4] = ["acpi", "scsi", "asound", "driver"];

/// Files of /proc that tell about or reach the host.
const HIDDEN_FILES: [&str; 10] = [
    "kcore",
    "keys",
    "key-users",
    "kmsg",
    "latency_stats",
    "timer_list",
    "timer_stats",
    "sched_debug",
    "kallsyms",
    "sysrq-trigger",
];

/// Directories of /proc in which nothing may be changed.
const READ_ONLY_DIRECTORIES: [&str; 4] = ["sys", "irq", "bus", "fs"];

/// Mounts the silo's own /proc. It shows the pid namespace of whoever mounts it, so pid 1 does.
pub(super) fn mount_proc(root: &OwnedFd) -> Result<(), SiloError> {
    let flags = PLAIN.and(Attributes::NO_EXEC);
    let tree = Tree::new("proc", &[], flags).attempt(|| "make /proc".to_owned())?;
    attach(&tree, root, "proc")?;
    let proc = Folder::pin(Path::new("root/proc")).attempt(|| "open /proc".to_owned())?;
    for name in READ_ONLY_DIRECTORIES.into_iter().filter(|name| exists(&proc, name)) {
        let copy =
            Tree::copy(&proc, Path::new(name)).attempt(|| format!("take up /proc/{name}"))?;
        copy.restrict(flags.and(Attributes::READ_ONLY))
            .attempt(|| format!("write-protect /proc/{name}"))?;
        attach(&copy, &proc, name)?;
    }
    let empty = tmpfs(&[("size", "4096"), ("mode", "0555")], flags.and(Attributes::READ_ONLY))?;
    for name in HIDDEN_DIRECTORIES.into_iter().filter(|name| exists(&proc, name)) {
        let cover = Tree::copy(&empty, Path::new("")).attempt(|| "copy a cover".to_owned())?;
        attach(&cover, &proc, name)?;
    }
    for name in HIDDEN_FILES.into_iter().filter(|name| exists(&proc, name)) {
        let cover =
            Tree::copy(CWD, Path::new("/dev/null")).attempt(|| "copy a cover".to_owned())?;
        attach(&cover, &proc, name)?;
    }
    Ok(())
}

fn exists(directory: impl AsFd, name: &str) -> bool {
    rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Makes `root` the root and lets go of the old one.
pub(super) fn pivot(root: &OwnedFd) -> Result<(), SiloError> {
    fchdir(root).attempt(|| "enter the root".to_owned())?;
    // Both on the same place: the old root ends up stacked on the new one and is taken off.
    pivot_root(".", ".").attempt(|| "pivot to the root".to_owned())?;
    umount2(".", MntFlags::MNT_DETACH).attempt(|| "let go of the host's root".to_owned())?;
    chdir("/").attempt(|| "enter the root".to_owned())
}
