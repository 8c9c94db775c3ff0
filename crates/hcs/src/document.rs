//! The document that describes a compute system, in the spirit of HCS schema 2.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Confinement, Limits};

/// Names a compute system: the 64 hexadecimal digits of the container it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SystemId(pub String);

impl std::fmt::Display for SystemId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a compute system is kept apart from the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// A silo: namespaces, no capabilities, a system-call filter.
    #[default]
    Process,
}

/// Everything a host needs to make a compute system. All paths are host paths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SystemDocument {
    /// How the system is isolated.
    pub isolation: Isolation,
    /// The computer name, as the container sees it: 1 to 15 characters are kept by NetBIOS names,
    /// up to 63 by DNS.
    pub host_name: String,
    /// `Files` directories of the layer chain, topmost first, base last; never empty.
    pub layers: Vec<PathBuf>,
    /// The container's sandbox: a directory that holds `upper/`, `work/` and `registry/`, the last
    /// with `system.reg`, `user.reg` and `userdef.reg` ready for Wine. The host may change their
    /// ownership; it persists the registry there when the system ends with [`Registry::Keep`].
    ///
    /// [`Registry::Keep`]: crate::Registry::Keep
    pub sandbox: PathBuf,
    /// Root tree of the NT personality.
    pub personality: PathBuf,
    /// Path of the network namespace to join, or `None` for one with a loopback link only.
    pub network_namespace: Option<PathBuf>,
    /// Content of `/etc/hosts` inside.
    pub hosts: String,
    /// Content of `/etc/resolv.conf` inside.
    pub resolv_conf: String,
    /// What is shown below C: besides the layers and the sandbox, outer places before inner ones.
    pub mounts: Vec<Mount>,
    /// Account of the container's first process: `ContainerAdministrator` or `ContainerUser`. It
    /// decides whose profile the NT session has.
    pub user: String,
    /// Name of an IANA time zone, such as `Europe/Berlin`; `None` is UTC.
    pub time_zone: Option<String>,
    /// Resource limits it begins with.
    pub limits: Limits,
    /// How it is bound besides.
    #[serde(default)]
    pub confinement: Confinement,
}

/// Something shown inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is shown.
    pub source: MountSource,
    /// Absolute path on C:, such as `C:\data`; of a pipe, its name, such as `\\.\pipe\x`.
    pub target: String,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// What a [`Mount`] shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A directory or a regular file of the host. What its user 0 owns is the container's.
    Host(PathBuf),
    /// What is at a relative path below a directory of the host. Links on the way are followed as
    /// far as they stay below it.
    Below(PathBuf, PathBuf),
    /// A file system in memory that is empty at first and ends with the system.
    Memory {
        /// Most bytes of its files; `None` is half of the host's memory.
        size_bytes: Option<u64>,
    },
    /// A socket of the host, which clients of a named pipe inside are connected with. It need not
    /// be there before the first of them comes.
    Pipe(PathBuf),
}

impl SystemDocument {
    /// The pipes that are mounted: name inside, and socket of the host.
    pub fn pipes(&self) -> impl Iterator<Item = (&str, &std::path::Path)> {
        self.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Pipe(socket) => Some((mount.target.as_str(), socket.as_path())),
            _ => None,
        })
    }
}

/// The Windows version Oriel presents: Windows Server 2022, the release whose containers run on
/// every later host build. Base images carry it as `os.version`, the registry as `CurrentBuild`.
pub const OS_VERSION: &str = "10.0.20348.2113";

/// Comment on the step that made a base image of Oriel's, by which they are told from Microsoft's.
pub const BASE_COMMENT: &str = "Oriel base image, made from Wine";
