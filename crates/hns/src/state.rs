//! What the driver knows of its networks and endpoints, and what follows from it. Pure but for the
//! sockets that records hold.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use oriel_hcs::{Endpoint, EndpointSpec, NetworkError, NetworkSpec, PortMapping};

use crate::{
    addresses::Subnet,
    dns::{Names, zone::Zone},
    ports::{self, Ephemeral, Held},
    rules::{NetworkRules, PublishedPort, RuleSet},
};

/// All that is known; changed by [`crate::HostNetwork`] under its lock.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By name.
    pub(crate) networks: BTreeMap<String, Network>,
    /// By id.
    pub(crate) endpoints: BTreeMap<String, Record>,
    /// Where to look for free ports of the host.
    pub(crate) ephemeral: Ephemeral,
    /// Whether the rules in the kernel are this process' own. Until then they may be those of the
    /// process before, with ports of containers that are not known yet.
    pub(crate) owns_rules: bool,
}

/// A network that exists.
#[derive(Debug)]
pub(crate) struct Network {
    /// As it was asked for.
    pub(crate) spec: NetworkSpec,
    /// Its addresses.
    pub(crate) subnet: Subnet,
    /// The kernel's number of the bridge.
    pub(crate) bridge: u32,
    /// `None` once shut down.
    pub(crate) names: Option<Names>,
}

/// An endpoint that exists.
#[derive(Debug)]
pub(crate) struct Record {
    /// As it was asked for.
    pub(crate) spec: EndpointSpec,
    /// As it was made.
    pub(crate) endpoint: Endpoint,
    /// Its ports, held.
    pub(crate) ports: Vec<Held>,
}

/// What an endpoint will be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The address it will have.
    pub(crate) address: Ipv4Addr,
    /// The subnet that is of.
    pub(crate) subnet: Subnet,
    /// The kernel's number of the bridge.
    pub(crate) bridge: u32,
}

impl State {
    /// The network of this name.
    pub(crate) fn network(&self, name: &str) -> Result<&Network, NetworkError> {
        self.networks.get(name).ok_or_else(|| NetworkError::NotFound { name: name.to_owned() })
    }

    /// Chooses network and address for an endpoint.
    pub(crate) fn plan(&self, spec: &EndpointSpec) -> Result<Plan, NetworkError> {
        let Network { subnet, bridge, .. } = *self.network(&spec.network)?;
        let taken = self.members(&spec.network).map(|record| record.endpoint.address).collect();
        let address = subnet
            .lowest_free(&taken)
            .ok_or_else(|| NetworkError::NoAddress { name: spec.network.clone() })?;
        Ok(Plan { address, subnet, bridge })
    }

    /// Endpoints of the network.
    pub(crate) fn members(&self, network: &str) -> impl Iterator<Item = &Record> {
        self.endpoints.values().filter(move |record| record.spec.network == network)
    }

    /// All published ports.
    pub(crate) fn ports(&self) -> Vec<PortMapping> {
        self.endpoints.values().flat_map(|record| record.endpoint.ports.clone()).collect()
    }

    /// What the packet filter should be.
    pub(crate) fn rules(&self) -> RuleSet {
        let network = |network: &Network| NetworkRules {
            bridge: network.spec.bridge.clone(),
            subnet: network.subnet,
        };
        let ports = |record: &Record| {
            let address = record.endpoint.address;
            let published = |mapping: &PortMapping| published(mapping, address);
            record.endpoint.ports.iter().filter_map(published).collect::<Vec<_>>()
        };
        RuleSet {
            networks: self.networks.values().map(network).collect(),
            ports: self.endpoints.values().flat_map(ports).collect(),
        }
    }

    /// Names of the network.
    pub(crate) fn zone(&self, name: &str, subnet: Subnet) -> Zone {
        let mut zone = Zone::new(name, subnet);
        for record in self.members(name) {
            zone.insert(record.endpoint.address, &record.spec.names);
        }
        zone
    }

    /// Tells the network's name server what its names are.
    pub(crate) fn publish_names(&self, name: &str) {
        let Some(network) = self.networks.get(name) else { return };
        if let Some(names) = &network.names {
            names.publish(self.zone(name, network.subnet));
        }
    }

    /// Whether the network may be made as described.
    pub(crate) fn admit(&self, spec: &NetworkSpec, subnet: Subnet) -> Result<(), String> {
        for (name, other) in &self.networks {
            if *name == spec.name {
                let changed = other.spec != *spec && self.members(name).next().is_some();
                if changed {
                    return Err("it has endpoints and cannot change".to_owned());
                }
            } else if other.spec.bridge == spec.bridge {
                return Err(format!("link {} belongs to network {name}", spec.bridge));
            } else if other.subnet.overlaps(subnet) {
                return Err(format!("its subnet overlaps with that of network {name}"));
            }
        }
        Ok(())
    }
}

/// A mapping as the packet filter sees it; IPv6 ones are the forwarder's business.
fn published(mapping: &PortMapping, address: Ipv4Addr) -> Option<PublishedPort> {
    let IpAddr::V4(ip) = mapping.host_ip else { return None };
    Some(PublishedPort {
        protocol: mapping.protocol,
        host: (!ip.is_unspecified()).then_some(ip),
        host_port: mapping.host_port,
        address,
        container_port: mapping.container_port,
    })
}

/// Takes up an endpoint that an earlier process made.
pub(crate) fn adopt(spec: &EndpointSpec, endpoint: &Endpoint) -> Record {
    if !endpoint.namespace.exists() {
        tracing::warn!(endpoint.id = spec.id, "a living endpoint has lost its namespace");
    }
    let adopt = |mapping: &PortMapping| ports::adopt(mapping, endpoint.address);
    let ports = endpoint.ports.iter().map(adopt).collect();
    Record { spec: spec.clone(), endpoint: endpoint.clone(), ports }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use oriel_hcs::Protocol;

    use super::*;

    fn network(name: &str, third: u8) -> Network {
        let (first, gateway) = ([10, 0, third, 0].into(), [10, 0, third, 1].into());
        let spec = NetworkSpec {
            name: name.to_owned(),
            bridge: format!("br-{name}"),
            subnet: first,
            prefix: 29,
            gateway,
        };
        let subnet = Subnet::new(first, spec.prefix, gateway).unwrap();
        Network { spec, subnet, bridge: 3, names: None }
    }

    fn state() -> State {
        let networks = [network("nat", 0), network("back", 1)];
        let networks = networks.map(|network| (network.spec.name.clone(), network)).into();
        State { networks, ..State::default() }
    }

    fn spec(id: &str) -> EndpointSpec {
        let (network, names) = ("nat".to_owned(), vec![id.to_owned()]);
        EndpointSpec { id: id.to_owned(), network, names, ports: Vec::new() }
    }

    fn add(state: &mut State, id: &str, ports: Vec<PortMapping>) -> Result<(), NetworkError> {
        let plan = state.plan(&spec(id))?;
        let endpoint = Endpoint {
            namespace: PathBuf::new(),
            address: plan.address,
            prefix: plan.subnet.prefix(),
            gateway: plan.subnet.gateway(),
            name_servers: Vec::new(),
            mac: String::new(),
            ports,
        };
        let record = Record { spec: spec(id), endpoint, ports: Vec::new() };
        state.endpoints.insert(id.to_owned(), record);
        Ok(())
    }

    #[test]
    fn a_full_network_says_so_in_dockers_words() {
        let mut state = state();
        for id in ["a", "b", "c", "d", "e"] {
            add(&mut state, id, Vec::new()).unwrap();
        }
        let error = add(&mut state, "f", Vec::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "could not find an available, non-overlapping IPv4 address in network nat"
        );
        state.endpoints.remove("c");
        assert_eq!(state.plan(&spec("f")).unwrap().address, Ipv4Addr::new(10, 0, 0, 4));
    }

    #[test]
    fn endpoints_need_a_network() {
        let error = State::default().plan(&spec("a")).unwrap_err();
        assert_eq!(error.to_string(), "network nat not found");
    }

    #[test]
    fn networks_keep_out_of_each_others_way() {
        let mut state = state();
        let admit = |state: &State, network: &Network| state.admit(&network.spec, network.subnet);
        assert_eq!(admit(&state, &network("new", 2)), Ok(()));
        assert_eq!(admit(&state, &network("nat", 0)), Ok(()), "as it is");
        assert_eq!(admit(&state, &network("nat", 2)), Ok(()), "empty");
        assert!(admit(&state, &network("new", 1)).unwrap_err().contains("overlaps"));
        let mut thief = network("new", 2);
        thief.spec.bridge = "br-nat".to_owned();
        assert!(admit(&state, &thief).unwrap_err().contains("belongs to network nat"));
        add(&mut state, "a", Vec::new()).unwrap();
        assert!(admit(&state, &network("nat", 2)).unwrap_err().contains("cannot change"));
    }

    #[test]
    fn the_packet_filter_hears_of_ipv4_ports_only() {
        let mut state = state();
        let port = |host_ip: &str| PortMapping {
            protocol: Protocol::Tcp,
            host_ip: host_ip.parse().unwrap(),
            host_port: 80,
            container_port: 8080,
        };
        add(&mut state, "a", vec![port("0.0.0.0"), port("127.0.0.1"), port("::1")]).unwrap();
        let hosts: Vec<_> = state.rules().ports.iter().map(|port| port.host).collect();
        assert_eq!(hosts, [None, Some(Ipv4Addr::LOCALHOST)]);
        assert_eq!(state.rules().networks.len(), 2);
    }
}
