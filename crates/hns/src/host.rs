//! The driver: networks and endpoints of this host.

use std::path::PathBuf;

use async_trait::async_trait;
use oriel_hcs::{Endpoint, EndpointSpec, NetworkDriver, NetworkError, NetworkSpec};

/// How a [`HostNetwork`] is set up.
#[derive(Clone, Debug)]
pub struct HostNetworkOptions {
    /// Name of this instance (letters, digits, `-`, `_`, `.`; at most 64 bytes). It goes into the
    /// names of the nft table and the links, which keeps instances on one host apart.
    pub instance: String,
    /// Directory of the network namespaces, such as `/run/oriel/netns`; made if missing. It belongs
    /// to this instance alone.
    pub namespaces: PathBuf,
    /// Where the host's own resolvers are listed.
    pub resolv_conf: PathBuf,
}

impl HostNetworkOptions {
    /// Instance `instance` with its namespaces in `namespaces`, and the host's `/etc/resolv.conf`.
    #[must_use]
    pub fn new(instance: impl Into<String>, namespaces: impl Into<PathBuf>) -> Self {
        Self {
            instance: instance.into(),
            namespaces: namespaces.into(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

/// The host's networks. One per process and instance; needs root.
#[derive(Debug)]
pub struct HostNetwork {
    _options: HostNetworkOptions,
}

impl HostNetwork {
    /// Makes the driver. Touches nothing but the directory of the namespaces.
    ///
    /// After a restart, networks are created again (idempotent), then
    /// [`reconcile`](NetworkDriver::reconcile) is called, then endpoints may be created.
    ///
    /// # Errors
    /// `Host` when the instance's name is no name or the directory cannot be made.
    pub fn new(options: HostNetworkOptions) -> Result<Self, NetworkError> {
        Ok(Self { _options: options })
    }

    /// Ends the answering of names and the forwarders, and waits for them. Networks, endpoints and
    /// published ports stay in the kernel.
    pub async fn shutdown(&self) {
        todo!()
    }
}

#[async_trait]
impl NetworkDriver for HostNetwork {
    async fn create_network(&self, _spec: &NetworkSpec) -> Result<(), NetworkError> {
        todo!()
    }

    async fn remove_network(&self, _name: &str) -> Result<(), NetworkError> {
        todo!()
    }

    async fn create_endpoint(&self, _spec: &EndpointSpec) -> Result<Endpoint, NetworkError> {
        todo!()
    }

    async fn remove_endpoint(&self, _id: &str) -> Result<(), NetworkError> {
        todo!()
    }

    async fn reconcile(&self, _living: &[(EndpointSpec, Endpoint)]) -> Result<(), NetworkError> {
        todo!()
    }
}
