//! Names: containers of a network find each other by name at [`NAME_SERVER`], port 53.
//!
//! Each network has its own server, which hears what comes through its bridge only. All have one
//! address, so that a container's `resolv.conf` holds whatever networks it joins and leaves; who
//! asks is known by the address, so that a container of several networks finds the names of all.
//!
//! [`zone`] answers what the networks know (pure), [`server`] talks to the containers and
//! [`upstream`] asks the host's own resolvers for everything else.

mod server;
mod upstream;
pub(crate) mod zone;

use std::{collections::BTreeMap, io, net::Ipv4Addr, path::PathBuf, sync::Arc};

use tokio::sync::watch;

use self::{server::Server, zone::Zone};
use crate::{addresses::Subnet, task::Task};

/// Where names are answered. Link-local (RFC 3927): it is no address of any network, and packets
/// to it stay on the bridge.
pub(crate) const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(169, 254, 53, 53);

/// What a network's name server knows.
#[derive(Debug)]
pub(crate) struct Directory {
    /// The network's own names.
    pub(crate) zone: Arc<Zone>,
    /// The network's endpoints by address.
    pub(crate) askers: BTreeMap<Ipv4Addr, Asker>,
}

/// An endpoint of a network, as one who asks.
#[derive(Debug)]
pub(crate) struct Asker {
    /// Names of the other networks that its compartment is on.
    pub(crate) further: Vec<Arc<Zone>>,
    /// Whether its compartment has a way out, so that others may be asked for it.
    pub(crate) outside: bool,
    /// Whom to ask in place of the host's resolvers; empty for these.
    pub(crate) dns: Vec<Ipv4Addr>,
}

/// The answering of names of one network, a task of this process.
#[derive(Debug)]
pub(crate) struct Names {
    directory: watch::Sender<Arc<Directory>>,
    task: Task,
}

impl Names {
    /// Starts to answer what comes through the bridge. The bridge has the name server's address.
    pub(crate) fn start(
        bridge: &str,
        subnet: Subnet,
        directory: Directory,
        resolv_conf: PathBuf,
    ) -> io::Result<Self> {
        let (sender, directory) = watch::channel(Arc::new(directory));
        let server = Server::bind(bridge, subnet, directory, resolv_conf)?;
        Ok(Self { directory: sender, task: Task::start(server.run()) })
    }

    /// Answers from this directory from now on.
    pub(crate) fn publish(&self, directory: Directory) {
        self.directory.send_replace(Arc::new(directory));
    }

    /// Ends answering; the port is free afterwards.
    pub(crate) async fn stop(self) {
        self.task.stop().await;
    }
}
