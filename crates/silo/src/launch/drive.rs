//! Drive C: of a silo, and what is mounted into it.
//!
//! The layers are shown with their owners mapped (0 on disk is the container's 0), the sandbox's
//! upper directory as it is. Paths are given to overlayfs relative to the stage and as short as
//! can be, because the kernel takes one page of options and chains have up to 127 layers.

use std::{fmt::Write as _, os::fd::OwnedFd, path::Path};

use fs_err as fs;
use nix::mount::{MsFlags, mount as mount_call};
use oriel_sys::{
    mount::{Attributes, Tree},
    namespace::UserNamespace,
};
use rustix::{fs::CWD, io::Errno};

use super::{attach, base_layer, folder::Folder, guest, root::PLAIN};
use crate::{
    error::{Attempt, SiloError},
    state::Order,
};

/// Where Wine looks for its builtin modules, below the root, and the directory of the base layer
/// that holds them.
const BUILTINS: [(&str, &str); 2] = [
    ("usr/lib/x86_64-linux-gnu/wine/x86_64-windows", "System32"),
    ("usr/lib/x86_64-linux-gnu/wine/i386-windows", "SysWOW64"),
];

/// Mounts the prefix, C:, the builtin modules, the Windows-side agent and the document's mounts.
pub(super) fn mount(order: &Order, root: &OwnedFd, users: &UserNamespace) -> Result<(), SiloError> {
    sandbox(order)?;
    let prefix = Tree::copy(CWD, Path::new("sandbox/registry"))
        .attempt(|| "take up the registry".to_owned())?;
    attach(&prefix, root, "prefix")?;
    builtins(order, root, users)?;
    drive(order, users)
}

/// Builds C: alone, on an empty stage, and returns it with what is mounted in it.
pub(super) fn alone(order: &Order, users: &UserNamespace) -> Result<Tree, SiloError> {
    sandbox(order)?;
    fs::create_dir("root/drive_c").attempt(|| "set up the stage".to_owned())?;
    drive(order, users)?;
    Tree::copy_recursive(CWD, Path::new("root/drive_c")).attempt(|| "take up drive C:".to_owned())
}

/// Mounts C:, the Windows-side agent and the document's mounts.
fn drive(order: &Order, users: &UserNamespace) -> Result<(), SiloError> {
    overlay(order, users)?;
    let drive = Folder::open(Path::new("root/drive_c")).attempt(|| "open drive C:".to_owned())?;
    agent(order, &drive, users)?;
    guest::mount(&order.document.mounts, &drive, users)?;
    if order.document.confinement.read_only {
        write_protect()?;
    }
    Ok(())
}

/// Shows the sandbox on the stage.
fn sandbox(order: &Order) -> Result<(), SiloError> {
    let sandbox = &order.document.sandbox;
    let tree = Tree::copy(CWD, sandbox)
        .attempt(|| format!("take up the sandbox {}", sandbox.display()))?;
    tree.restrict(PLAIN).attempt(|| "restrict the sandbox".to_owned())?;
    attach(&tree, CWD, "sandbox")
}

/// Refuses writes on C:. What is mounted below it is not concerned, so its mount points have been
/// made before.
fn write_protect() -> Result<(), SiloError> {
    let flags = MsFlags::MS_BIND
        | MsFlags::MS_REMOUNT
        | MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV;
    mount_call(None::<&str>, "root/drive_c", None::<&str>, flags, None::<&str>)
        .attempt(|| "write-protect C:\\".to_owned())
}

fn overlay(order: &Order, users: &UserNamespace) -> Result<(), SiloError> {
    let mut lower = String::new();
    for (index, layer) in order.document.layers.iter().enumerate() {
        let place = format!("layers/{index}");
        fs::create_dir(&place).attempt(|| "set up the stage".to_owned())?;
        let tree =
            Tree::copy(CWD, layer).attempt(|| format!("take up the layer {}", layer.display()))?;
        tree.map_ids(users, PLAIN.and(Attributes::READ_ONLY))
            .attempt(|| format!("map the owners of the layer {}", layer.display()))?;
        attach(&tree, CWD, &place)?;
        let separator = if index == 0 { "" } else { ":" };
        // Writing to a string cannot fail.
        let _ = write!(lower, "{separator}{place}");
    }
    // Renames of directories and copies of metadata alone would leave marks in the upper
    // directory that no Windows layer can express.
    let options = format!(
        "lowerdir={lower},upperdir=sandbox/upper,workdir=sandbox/work,redirect_dir=off,\
         metacopy=off,index=off"
    );
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let (kind, place) = (Some("overlay"), "root/drive_c");
    mount_call(kind, place, kind, flags, Some(options.as_str()))
        .attempt(|| format!("mount the layer chain of {} on C:\\", order.id))
}

fn builtins(order: &Order, root: &OwnedFd, users: &UserNamespace) -> Result<(), SiloError> {
    let base = base_layer(&order.document)?;
    let layer = Folder::open(base).attempt(|| format!("open {}", base.display()))?;
    for (place, directory) in BUILTINS {
        let found = layer.descend(&["Windows", directory]);
        let Some(modules) = found.attempt(|| format!("find {directory} in the base layer"))? else {
            continue;
        };
        let tree = Tree::copy(&modules, Path::new(""))
            .attempt(|| format!("take up {directory} of the base layer"))?;
        tree.map_ids(users, PLAIN.and(Attributes::READ_ONLY))
            .attempt(|| format!("map the owners of {directory} of the base layer"))?;
        attach(&tree, root, place)?;
    }
    Ok(())
}

/// Lays the host's `cexecsvc.exe` over the placeholder that base images contain, and over the
/// `setx.exe` they may have: it is that program too, see `setx` there.
fn agent(order: &Order, drive: &Folder, users: &UserNamespace) -> Result<(), SiloError> {
    let missing = || SiloError::Missing {
        file: "Windows\\System32\\cexecsvc.exe".to_owned(),
        place: "the layer chain".to_owned(),
    };
    let system = drive.descend(&["Windows", "System32"]);
    let system = system.attempt(|| "find C:\\Windows\\System32".to_owned())?.ok_or_else(missing)?;
    let place = system.file("cexecsvc.exe").attempt(|| "find cexecsvc.exe".to_owned())?;
    let place = place.ok_or_else(missing)?;
    let path = &order.cexecsvc;
    let lay = |place: OwnedFd| {
        let tree = Tree::copy(CWD, path)?;
        restrict_and_map(&tree, users, PLAIN.and(Attributes::READ_ONLY))?;
        tree.attach(place)
    };
    lay(place).attempt(|| format!("mount {} as cexecsvc.exe", path.display()))?;
    let setx = system.file("setx.exe").attempt(|| "find setx.exe".to_owned())?;
    setx.map_or(Ok(()), lay).attempt(|| format!("mount {} as setx.exe", path.display()))
}

/// Maps owners where the file system can; elsewhere (network and FUSE file systems) the container
/// has the rights of others.
pub(super) fn restrict_and_map(
    tree: &Tree,
    users: &UserNamespace,
    attributes: Attributes,
) -> std::io::Result<()> {
    match tree.map_ids(users, attributes) {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            tree.restrict(attributes)
        }
        other => other,
    }
}
