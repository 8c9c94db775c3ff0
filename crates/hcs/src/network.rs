//! The trait the engine drives networks with.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::Class;

/// Makes networks and endpoints. What it made lives on without it; [`NetworkDriver::reconcile`]
/// takes it up again.
#[async_trait]
pub trait NetworkDriver: Send + Sync {
    /// Makes sure the network exists on the host as described. Idempotent.
    async fn create_network(&self, spec: &NetworkSpec) -> Result<(), NetworkError>;

    /// Removes the network from the host. Succeeds when it is not there.
    async fn remove_network(&self, name: &str) -> Result<(), NetworkError>;

    /// Makes an endpoint: a network namespace with one adapter, an address, and published ports.
    /// On error nothing of it is left behind.
    async fn create_endpoint(&self, spec: &EndpointSpec) -> Result<Endpoint, NetworkError>;

    /// Removes an endpoint. Succeeds when it is not there.
    async fn remove_endpoint(&self, id: &str) -> Result<(), NetworkError>;

    /// Takes up the endpoints given, which belong to living containers (addresses and ports stay
    /// theirs, names resolve again), and removes all other endpoints of this driver from the host.
    async fn reconcile(&self, living: &[(EndpointSpec, Endpoint)]) -> Result<(), NetworkError>;
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Its name, such as `nat`.
    pub name: String,
    /// Name of the host's bridge link, at most 15 bytes.
    pub bridge: String,
    /// First address of the subnet.
    pub subnet: Ipv4Addr,
    /// Prefix length of the subnet, 8 to 29.
    pub prefix: u8,
    /// The bridge's own address, which containers use as gateway and name server.
    pub gateway: Ipv4Addr,
}

/// What an endpoint should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// Its name: the container's id.
    pub id: String,
    /// Name of its network.
    pub network: String,
    /// Names that other containers of the network find it under, without case.
    pub names: Vec<String>,
    /// Ports to publish.
    pub ports: Vec<PortMapping>,
}

/// Transport protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host that leads to a port of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Host address; unspecified (`0.0.0.0`) means all.
    pub host_ip: IpAddr,
    /// Host port; 0 in a request means any free one, never 0 in an answer.
    pub host_port: u16,
    /// Port inside.
    pub container_port: u16,
}

/// An endpoint that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Network namespace, for [`SystemDocument::network_namespace`].
    ///
    /// [`SystemDocument::network_namespace`]: crate::SystemDocument::network_namespace
    pub namespace: PathBuf,
    /// Address inside.
    pub address: Ipv4Addr,
    /// Prefix length of the subnet.
    pub prefix: u8,
    /// Gateway.
    pub gateway: Ipv4Addr,
    /// Name servers for `resolv.conf`.
    pub name_servers: Vec<Ipv4Addr>,
    /// Hardware address, such as `02:42:ac:11:00:02`.
    pub mac: String,
    /// Ports as published.
    pub ports: Vec<PortMapping>,
}

/// Why a network operation failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The network does not exist.
    #[error("network {name} not found")]
    NotFound {
        /// The name asked for.
        name: String,
    },
    /// A published port is taken. The text is Docker's.
    #[error("Bind for {ip}:{port} failed: port is already allocated")]
    PortTaken {
        /// Host address.
        ip: IpAddr,
        /// Host port.
        port: u16,
    },
    /// No address is left in the subnet.
    #[error("could not find an available, non-overlapping IPv4 address in network {name}")]
    NoAddress {
        /// The network.
        name: String,
    },
    /// The host lacks something or refused.
    #[error("cannot {attempt}: {reason}")]
    Host {
        /// What was attempted on what.
        attempt: String,
        /// Why it failed.
        reason: String,
    },
}

impl NetworkError {
    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } => Class::NotFound,
            Self::PortTaken { .. } | Self::NoAddress { .. } | Self::Host { .. } => Class::Host,
        }
    }
}
