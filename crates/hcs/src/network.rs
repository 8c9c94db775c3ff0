//! The trait the engine drives networks with.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Block, Class};

/// Makes networks, compartments and endpoints. What it made lives on without it;
/// [`NetworkDriver::reconcile`] takes it up again.
///
/// ```text
/// network ◀── endpoint ──▶ compartment     each endpoint is one adapter of one compartment
/// ```
#[async_trait]
pub trait NetworkDriver: Send + Sync {
    /// Makes sure the network exists on the host as described. Idempotent.
    async fn create_network(&self, spec: &NetworkSpec) -> Result<(), NetworkError>;

    /// Removes the network from the host. Succeeds when it is not there.
    ///
    /// # Errors
    /// [`NetworkError::InUse`] while it has endpoints.
    async fn remove_network(&self, name: &str) -> Result<(), NetworkError>;

    /// Blocks of addresses that the host has routes to, but for the default route.
    async fn routes(&self) -> Result<Vec<Block>, NetworkError>;

    /// Makes a compartment: a network namespace with a loopback link only.
    async fn create_compartment(&self, spec: &CompartmentSpec)
    -> Result<Compartment, NetworkError>;

    /// Removes a compartment with all its endpoints. Succeeds when it is not there.
    async fn remove_compartment(&self, id: &str) -> Result<(), NetworkError>;

    /// Makes an endpoint in a compartment: an adapter, an address, and published ports. Programs
    /// may run inside. On error nothing of it is left behind.
    async fn create_endpoint(&self, spec: &EndpointSpec) -> Result<Endpoint, NetworkError>;

    /// Publishes further ports that lead to an endpoint; gives all it has then.
    async fn publish(
        &self,
        endpoint: &str,
        ports: &[PortMapping],
    ) -> Result<Vec<PortMapping>, NetworkError>;

    /// Has others find an endpoint under these names instead of those it has.
    async fn rename(&self, endpoint: &str, names: &[String]) -> Result<(), NetworkError>;

    /// Removes an endpoint. Succeeds when it is not there.
    async fn remove_endpoint(&self, id: &str) -> Result<(), NetworkError>;

    /// Takes up the compartments given, which belong to living containers (addresses and ports
    /// stay theirs, names resolve again), and removes all other networks, compartments and
    /// endpoints of this driver from the host. An endpoint whose network is not there is left out.
    async fn reconcile(&self, living: &[Compartment]) -> Result<(), NetworkError>;
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Its name, such as `nat`; at most [`NetworkSpec::LONGEST_NAME`] bytes.
    pub name: String,
    /// Name of the host's bridge link, at most 15 bytes.
    pub bridge: String,
    /// Its addresses; prefix length 8 to 30.
    pub subnet: Block,
    /// The bridge's own address, which containers use as gateway.
    pub gateway: Ipv4Addr,
    /// The part of the subnet that endpoints get addresses of unless they ask for one.
    #[serde(default)]
    pub range: Option<Block>,
    /// Addresses that no endpoint gets unless it asks for it.
    #[serde(default)]
    pub reserved: Vec<Ipv4Addr>,
    /// Whether nothing but the network itself can be reached.
    #[serde(default)]
    pub internal: bool,
}

impl NetworkSpec {
    /// Longest name: with the instance's it becomes part of a link's alias, which has 255 bytes.
    pub const LONGEST_NAME: usize = 128;
}

/// What a compartment should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompartmentSpec {
    /// Its name: the container's id.
    pub id: String,
    /// Whom to ask for names that no network of it knows, in place of the host's resolvers.
    pub dns: Vec<Ipv4Addr>,
}

/// A compartment that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compartment {
    /// As it was asked for.
    pub spec: CompartmentSpec,
    /// Network namespace, for [`SystemDocument::network_namespace`].
    ///
    /// [`SystemDocument::network_namespace`]: crate::SystemDocument::network_namespace
    pub namespace: PathBuf,
    /// Name server for `resolv.conf`, whatever endpoints come and go.
    pub name_server: Ipv4Addr,
    /// Its endpoints, as they were asked for and as they are.
    pub endpoints: Vec<(EndpointSpec, Endpoint)>,
}

/// What an endpoint should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// Its id.
    pub id: String,
    /// Id of its compartment.
    pub compartment: String,
    /// Number of its adapter in the compartment: 0 is `eth0`.
    pub adapter: u8,
    /// Name of its network.
    pub network: String,
    /// Names that other containers of the network find it under, without case.
    pub names: Vec<String>,
    /// Ports to publish; none on an internal network.
    pub ports: Vec<PortMapping>,
    /// The address it must have; `None` is any.
    pub address: Option<Ipv4Addr>,
    /// The hardware address it must have; `None` is one derived from the address.
    pub mac: Option<[u8; 6]>,
    /// The way out leads through the endpoint with the highest priority, of these the one with
    /// the lowest adapter. Beyond 1000 either way counts as 1000.
    pub priority: i64,
}

impl EndpointSpec {
    /// Name of its adapter; Windows programs see it as the connection's friendly name.
    #[must_use]
    pub fn adapter_name(&self) -> String {
        format!("eth{}", self.adapter)
    }
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
    /// Address inside.
    pub address: Ipv4Addr,
    /// Prefix length of the subnet.
    pub prefix: u8,
    /// Gateway; an internal network has none.
    pub gateway: Option<Ipv4Addr>,
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
    /// The network still has endpoints.
    #[error("network {name} has active endpoints")]
    InUse {
        /// The network.
        name: String,
    },
    /// The address asked for belongs to somebody. The text is Docker's.
    #[error("Address already in use")]
    AddressTaken {
        /// The address.
        address: Ipv4Addr,
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
            Self::InUse { .. } | Self::AddressTaken { .. } => Class::Denied,
            Self::PortTaken { .. } | Self::NoAddress { .. } | Self::Host { .. } => Class::Host,
        }
    }
}
