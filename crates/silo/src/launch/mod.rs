//! From a document to a process that is pid 1 of a silo.
//!
//! ```text
//! Unprepared ──mount──▶ Mounted ──join──▶ Joined ──enter──▶ Ready (pid 1, confined)
//!     │                    │                 │
//!     └────────────────────┴── drop: cgroups removed; mounts and namespaces end with the process
//! ```
//!
//! Each phase consumes the one before, so no step can be taken too early. Mounts are made by real
//! root in a mount namespace of their own, which the host never sees; that is what lets overlayfs
//! use `trusted.*` attributes and whiteouts. Only then does pid 1 enter the user namespace, where
//! it owns nothing but the container's ids, and gives up even that namespace's capabilities.

mod drive;
mod etc;
mod exchange;
mod folder;
mod guest;
mod network;
mod root;

pub(crate) use exchange::exchange_drive;
pub(crate) use root::MOUNTS_PRELOAD;
mod sandbox;

use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::OFlag,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::{pipe2, read, write},
};
use oriel_hcs::{MountSource, SystemDocument};
use oriel_sys::{
    fork::{Fork, fork},
    mount::{Attributes, Tree},
    namespace::{IdRange, UserNamespace},
    process::ProcessName,
};

pub(crate) use self::sandbox::REGISTRY_FILES;
use crate::{
    confine,
    error::{Attempt, SiloError},
    job::{Disk, Job, Roots},
    state::{Order, StateDir},
};

/// Host id of the container's id 0, and how many follow. Files of layers are mapped onto it; a
/// sandbox's upper directory holds it on disk.
pub(crate) const CONTAINER_IDS: IdRange = IdRange { inside: 0, outside: 100_000, count: 65_536 };

/// Longest layer chain. Windows refuses more than 127 layers, so no image has them.
const MAX_LAYERS: usize = 127;

/// A silo of which nothing exists.
#[derive(Debug)]
pub(crate) struct Unprepared {
    order: Order,
    state: StateDir,
}

/// A silo whose root tree stands, in a mount namespace of its own.
#[derive(Debug)]
pub(crate) struct Mounted {
    order: Order,
    state: StateDir,
    job: Job,
    users: UserNamespace,
    root: OwnedFd,
}

/// A silo whose other namespaces are entered, all but that of processes.
#[derive(Debug)]
pub(crate) struct Joined(Mounted);

/// This process is pid 1 of the silo and has no privilege left.
#[derive(Debug)]
pub(crate) struct Ready {
    /// What the silo is made of.
    pub(crate) document: Box<SystemDocument>,
}

/// What `enter` returns, once in each process.
#[derive(Debug)]
pub(crate) enum Entered {
    /// In the process that launched: the silo has a pid 1.
    Outside,
    /// In the silo's pid 1.
    Inside(Ready),
}

impl Unprepared {
    /// Takes an order, if it makes sense.
    pub(crate) fn new(order: Order, state: StateDir) -> Result<Self, SiloError> {
        validate(&order.document)?;
        Ok(Self { order, state })
    }

    /// Makes the cgroups, the user namespace and the root tree.
    pub(crate) fn mount(self) -> Result<Mounted, SiloError> {
        let Self { order, state } = self;
        let document = &order.document;
        let disk = Disk::below(&document.sandbox);
        let job = Job::create(&Roots::discover()?, &order.place()?, &document.limits, disk)?;
        job.join()?;
        // The network namespace is the host's to give, so it is joined while still root there.
        let settings = &document.confinement.network_settings;
        network::join(document.network_namespace.as_deref(), settings)?;
        let users =
            UserNamespace::new(CONTAINER_IDS).attempt(|| "make a user namespace".to_owned())?;
        sandbox::prepare(&order.document.sandbox)?;
        private_mounts()?;
        let root = root::build(&order, &state.stage(), &users)?;
        Ok(Mounted { order, state, job, users, root })
    }
}

impl Mounted {
    /// Enters the remaining namespaces.
    pub(crate) fn join(self) -> Result<Joined, SiloError> {
        let flags =
            CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWCGROUP;
        unshare(flags).attempt(|| "unshare IPC, host name and cgroups".to_owned())?;
        let name = &self.order.document.host_name;
        nix::unistd::sethostname(name).attempt(|| format!("set the host name to {name:?}"))?;
        unshare(CloneFlags::CLONE_NEWPID).attempt(|| "unshare process ids".to_owned())?;
        Ok(Joined(self))
    }
}

impl Joined {
    /// Splits off pid 1. It waits until the launching process has written down its name, so that a
    /// crash at any point leaves a process that can be found, or none.
    pub(crate) fn enter(mut self) -> Result<Entered, SiloError> {
        let (wait, go) = pipe2(OFlag::O_CLOEXEC).attempt(|| "make a pipe".to_owned())?;
        match fork().attempt(|| "fork the silo's pid 1".to_owned())? {
            Fork::Parent(child) => {
                drop(wait);
                let pid = u32::try_from(child.as_raw()).unwrap_or_default();
                let record = ProcessName::of(pid).and_then(|name| self.0.state.write_process(name));
                record.attempt(|| format!("write down process {pid}"))?;
                write(&go, &[1]).attempt(|| format!("let process {pid} go on"))?;
                self.0.job.keep();
                Ok(Entered::Outside)
            }
            Fork::Child => {
                drop(go);
                // The other process owns the cgroups until it has said go.
                self.0.job.keep();
                let told = read(&wait, &mut [0]).attempt(|| "wait for the launcher".to_owned())?;
                if told != 1 {
                    oriel_sys::process::exit_now(1);
                }
                become_init(self.0).map(Entered::Inside)
            }
        }
    }
}

/// The last steps, as pid 1: the root becomes `/`, the host vanishes, privileges go.
fn become_init(silo: Mounted) -> Result<Ready, SiloError> {
    let Mounted { order, users, root, .. } = silo;
    let confinement = &order.document.confinement;
    confine::rate(confinement.oom_score)?;
    root::mount_proc(&root)?;
    root::pivot(&root)?;
    drop(root);
    // Beyond this point no limit can be raised any more.
    confine::limit_processes(&confinement.process_limits)?;
    users.enter().attempt(|| "enter the user namespace".to_owned())?;
    drop(users);
    confine::become_container_root()?;
    confine::give_up_privileges()?;
    Ok(Ready { document: Box::new(order.document) })
}

/// A mount namespace of its own, from which nothing spreads.
fn private_mounts() -> Result<(), SiloError> {
    unshare(CloneFlags::CLONE_NEWNS).attempt(|| "unshare mounts".to_owned())?;
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .attempt(|| "keep mounts from spreading".to_owned())
}

fn validate(document: &SystemDocument) -> Result<(), SiloError> {
    let wrong = |detail: String| Err(SiloError::Document { detail });
    let name = &document.host_name;
    if name.is_empty() || name.len() > 63 || name.contains(['\n', '\0', '/']) {
        return wrong(format!("host name {name:?} is not 1 to 63 characters of a name"));
    }
    if document.layers.is_empty() || document.layers.len() > MAX_LAYERS {
        return wrong(format!("{} layers, not 1 to {MAX_LAYERS}", document.layers.len()));
    }
    let paths = document.layers.iter().chain([&document.sandbox, &document.personality]);
    let sources = document.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Host(path) | MountSource::Below(path, _) => Some(path),
        MountSource::Memory { .. } | MountSource::Pipe(_) => None,
    });
    let mut paths = paths.chain(sources);
    if let Some(path) = paths.find(|path| !path.is_absolute()) {
        return wrong(format!("{} is not an absolute path", path.display()));
    }
    let target = |mount: &&oriel_hcs::Mount| match mount.source {
        MountSource::Pipe(_) => !mount.target.starts_with(r"\\.\pipe\"),
        _ => folder::components(&mount.target).is_none(),
    };
    if let Some(mount) = document.mounts.iter().find(target) {
        return wrong(format!("{:?} is not a directory below C:\\", mount.target));
    }
    Ok(())
}

/// Finds out whether the file system of `directory` can show its files with mapped owners.
pub(crate) fn probe(directory: &Path) -> Result<(), SiloError> {
    let users = UserNamespace::new(CONTAINER_IDS).attempt(|| "make a user namespace".to_owned())?;
    Tree::copy(rustix::fs::CWD, directory)
        .and_then(|tree| tree.map_ids(&users, Attributes::READ_ONLY))
        .attempt(|| format!("map the owners of {}", directory.display()))
}

/// The base layer: the last of the chain.
fn base_layer(document: &SystemDocument) -> Result<&PathBuf, SiloError> {
    document.layers.last().ok_or_else(|| SiloError::Document { detail: "no layers".to_owned() })
}

/// Opens the place `path` below `root` and attaches `tree` to it.
fn attach(tree: &Tree, root: impl AsFd, path: &str) -> Result<(), SiloError> {
    let flags =
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NOFOLLOW;
    let place = rustix::fs::openat(root, path, flags, rustix::fs::Mode::empty())
        .attempt(|| format!("open the mount point {path}"))?;
    attach_at(tree, &place, path)
}

/// Attaches `tree` to `place`, which is `path`.
fn attach_at(tree: &Tree, place: &OwnedFd, path: &str) -> Result<(), SiloError> {
    tree.attach(place).attempt(|| format!("mount on {path}"))
}

#[cfg(test)]
mod tests {
    use oriel_hcs::{Confinement, Isolation, Limits, Mount};

    use super::*;

    fn document() -> SystemDocument {
        SystemDocument {
            isolation: Isolation::Process,
            host_name: "box".into(),
            layers: vec!["/layers/base/Files".into()],
            sandbox: "/sandbox".into(),
            personality: "/personality".into(),
            network_namespace: None,
            hosts: String::new(),
            resolv_conf: String::new(),
            mounts: Vec::new(),
            user: "ContainerAdministrator".into(),
            time_zone: None,
            limits: Limits::default(),
            confinement: Confinement::default(),
        }
    }

    #[test]
    fn a_sensible_document_is_accepted() {
        assert!(validate(&document()).is_ok());
    }

    #[test]
    fn a_chain_must_have_1_to_127_layers() {
        for (count, good) in [(0, false), (1, true), (127, true), (128, false)] {
            let mut document = document();
            document.layers = vec!["/layer".into(); count];
            assert_eq!(validate(&document).is_ok(), good, "{count}");
        }
    }

    #[test]
    fn a_relative_path_or_a_foreign_mount_target_is_refused() {
        let mut relative = document();
        relative.sandbox = "sandbox".into();
        assert!(validate(&relative).is_err());
        for target in ["D:\\x", "C:\\", "C:\\a\\..\\b"] {
            let mut foreign = document();
            let source = MountSource::Host("/x".into());
            let mount = Mount { source, target: target.into(), read_only: false };
            foreign.mounts.push(mount);
            assert!(validate(&foreign).is_err(), "{target}");
        }
    }

    #[test]
    fn a_host_name_cannot_smuggle_lines() {
        let mut document = document();
        document.host_name = "a\n127.0.0.1 evil".into();
        assert!(validate(&document).is_err());
    }
}
