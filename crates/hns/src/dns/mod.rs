//! Names: containers of a network find each other by name at the gateway, port 53.
//!
//! [`zone`] answers what the network knows (pure), [`server`] talks to the containers and
//! [`upstream`] asks the host's own resolvers for everything else.

mod server;
mod upstream;
pub(crate) mod zone;

use std::{io, path::PathBuf, sync::Arc};

use tokio::sync::watch;

use self::{server::Server, zone::Zone};
use crate::{addresses::Subnet, task::Task};

/// The answering of names of one network, a task of this process.
#[derive(Debug)]
pub(crate) struct Names {
    zone: watch::Sender<Arc<Zone>>,
    task: Task,
}

impl Names {
    /// Starts to answer on the gateway's address, to what comes through the bridge only.
    pub(crate) fn start(
        bridge: &str,
        subnet: Subnet,
        zone: Zone,
        resolv_conf: PathBuf,
    ) -> io::Result<Self> {
        let (sender, zone) = watch::channel(Arc::new(zone));
        let server = Server::bind(bridge, subnet, zone, resolv_conf)?;
        Ok(Self { zone: sender, task: Task::start(server.run()) })
    }

    /// Answers from this zone from now on.
    pub(crate) fn publish(&self, zone: Zone) {
        self.zone.send_replace(Arc::new(zone));
    }

    /// Ends answering; the port is free afterwards.
    pub(crate) async fn stop(self) {
        self.task.stop().await;
    }
}
