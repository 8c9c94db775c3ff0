//! What the driver knows of its networks and endpoints, and what follows from it. Pure but for the
//! sockets that records hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use oriel_hcs::{CompartmentSpec, Endpoint, EndpointSpec, NetworkError, NetworkSpec, PortMapping};

use crate::{
    addresses::Subnet,
    dns::{Asker, Directory, Names, zone::Zone},
    ports::{self, Ephemeral, Held},
    rules::{NetworkRules, PublishedPort, RuleSet},
};

/// All that is known; changed by [`crate::HostNetwork`] under its lock.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By name.
    pub(crate) networks: BTreeMap<String, Network>,
    /// By id.
    pub(crate) compartments: BTreeMap<String, CompartmentSpec>,
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
    /// The way out, if there is one.
    pub(crate) gateway: Option<Ipv4Addr>,
}

impl State {
    /// The network of this name.
    pub(crate) fn network(&self, name: &str) -> Result<&Network, NetworkError> {
        self.networks.get(name).ok_or_else(|| NetworkError::NotFound { name: name.to_owned() })
    }

    /// Chooses network and address for an endpoint.
    pub(crate) fn plan(&self, spec: &EndpointSpec) -> Result<Plan, NetworkError> {
        let network = self.network(&spec.network)?;
        let subnet = network.subnet;
        let mut taken: BTreeSet<_> =
            self.members(&spec.network).map(|record| record.endpoint.address).collect();
        let address = match spec.address {
            Some(address) if subnet.is_free(address, &taken) => address,
            Some(address) => return Err(NetworkError::AddressTaken { address }),
            None => {
                taken.extend(&network.spec.reserved);
                let free = subnet.lowest_free(network.spec.range, &taken);
                free.ok_or_else(|| NetworkError::NoAddress { name: spec.network.clone() })?
            }
        };
        let gateway = (!network.spec.internal).then(|| subnet.gateway());
        Ok(Plan { address, subnet, bridge: network.bridge, gateway })
    }

    /// Endpoints of the compartment, those the way out prefers first.
    pub(crate) fn adapters(&self, compartment: &str) -> Vec<&Record> {
        let inside = |record: &&Record| record.spec.compartment == compartment;
        let mut records: Vec<_> = self.endpoints.values().filter(inside).collect();
        let order =
            |record: &&Record| (std::cmp::Reverse(record.spec.priority), record.spec.adapter);
        records.sort_by_key(order);
        records
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
            subnet: network.subnet.block(),
            internal: network.spec.internal,
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

    /// Tells the networks' name servers what they know.
    pub(crate) fn publish_names(&self) {
        let zones = self.zones();
        for (name, network) in &self.networks {
            if let Some(names) = &network.names {
                names.publish(self.directory(name, network.subnet, &zones));
            }
        }
    }

    /// What the name server of a network that is about to be made knows.
    pub(crate) fn new_directory(&self, name: &str, subnet: Subnet) -> Directory {
        self.directory(name, subnet, &self.zones())
    }

    fn zones(&self) -> BTreeMap<&str, Arc<Zone>> {
        let zone = |(name, network): (&String, &Network)| self.zone(name, network.subnet);
        let names = self.networks.keys().map(String::as_str);
        names.zip(self.networks.iter().map(zone).map(Arc::new)).collect()
    }

    fn zone(&self, name: &str, subnet: Subnet) -> Zone {
        let mut zone = Zone::new(name, subnet);
        for record in self.members(name) {
            zone.insert(record.endpoint.address, &record.spec.names);
        }
        zone
    }

    fn directory(
        &self,
        name: &str,
        subnet: Subnet,
        zones: &BTreeMap<&str, Arc<Zone>>,
    ) -> Directory {
        let zone = zones.get(name).cloned();
        Directory {
            zone: zone.unwrap_or_else(|| Arc::new(self.zone(name, subnet))),
            askers: self
                .members(name)
                .map(|record| (record.endpoint.address, self.asker(&record.spec, zones)))
                .collect(),
        }
    }

    fn asker(&self, spec: &EndpointSpec, zones: &BTreeMap<&str, Arc<Zone>>) -> Asker {
        let adapters = self.adapters(&spec.compartment);
        let others = adapters.iter().filter(|other| other.spec.network != spec.network);
        let compartment = self.compartments.get(&spec.compartment);
        Asker {
            further: others
                .filter_map(|other| zones.get(other.spec.network.as_str()).cloned())
                .collect(),
            outside: adapters.iter().any(|record| record.endpoint.gateway.is_some()),
            dns: compartment.map(|spec| spec.dns.clone()).unwrap_or_default(),
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
            } else if other.subnet.block().overlaps(subnet.block()) {
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
    let adopt = |mapping: &PortMapping| ports::adopt(mapping, endpoint.address);
    let ports = endpoint.ports.iter().map(adopt).collect();
    Record { spec: spec.clone(), endpoint: endpoint.clone(), ports }
}

#[cfg(test)]
mod tests {
    use oriel_hcs::{Block, Protocol};

    use super::*;

    fn network(name: &str, third: u8) -> Network {
        let gateway = Ipv4Addr::new(10, 0, third, 1);
        let spec = NetworkSpec {
            name: name.to_owned(),
            bridge: format!("br-{name}"),
            subnet: Block::around(gateway, 29).unwrap(),
            gateway,
            range: None,
            reserved: Vec::new(),
            internal: false,
        };
        let subnet = Subnet::new(spec.subnet, gateway).unwrap();
        Network { spec, subnet, bridge: 3, names: None }
    }

    fn state() -> State {
        let networks = [network("nat", 0), network("back", 1)];
        let networks = networks.map(|network| (network.spec.name.clone(), network)).into();
        State { networks, ..State::default() }
    }

    fn spec(id: &str) -> EndpointSpec {
        EndpointSpec {
            id: id.to_owned(),
            compartment: id.to_owned(),
            adapter: 0,
            network: "nat".to_owned(),
            names: vec![id.to_owned()],
            ports: Vec::new(),
            address: None,
            mac: None,
            priority: 0,
        }
    }

    fn add(state: &mut State, id: &str, ports: Vec<PortMapping>) -> Result<(), NetworkError> {
        join(state, &spec(id), ports)
    }

    fn join(
        state: &mut State,
        spec: &EndpointSpec,
        ports: Vec<PortMapping>,
    ) -> Result<(), NetworkError> {
        let plan = state.plan(spec)?;
        let endpoint = Endpoint {
            address: plan.address,
            prefix: plan.subnet.prefix(),
            gateway: plan.gateway,
            mac: String::new(),
            ports,
        };
        let record = Record { spec: spec.clone(), endpoint, ports: Vec::new() };
        state.endpoints.insert(spec.id.clone(), record);
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
    fn an_address_asked_for_is_given_or_refused() {
        let mut state = state();
        let reserved = Ipv4Addr::new(10, 0, 0, 2);
        state.networks.get_mut("nat").unwrap().spec.reserved = vec![reserved];
        assert_eq!(state.plan(&spec("a")).unwrap().address, Ipv4Addr::new(10, 0, 0, 3));
        let asking = EndpointSpec { address: Some(reserved), ..spec("b") };
        join(&mut state, &asking, Vec::new()).unwrap();
        let error = state.plan(&EndpointSpec { id: "c".to_owned(), ..asking }).unwrap_err();
        assert_eq!(error.to_string(), "Address already in use");
    }

    #[test]
    fn a_name_server_knows_what_its_asker_has_joined() {
        let mut state = state();
        state.networks.get_mut("back").unwrap().spec.internal = true;
        let on = |network: &str, compartment: &str| EndpointSpec {
            id: format!("{compartment}-{network}"),
            compartment: compartment.to_owned(),
            network: network.to_owned(),
            ..spec("x")
        };
        for (network, compartment) in [("back", "a"), ("back", "b"), ("nat", "b")] {
            join(&mut state, &on(network, compartment), Vec::new()).unwrap();
        }
        let directory = state.new_directory("back", state.networks["back"].subnet);
        let askers: Vec<_> = directory.askers.values().collect();
        assert_eq!((askers[0].further.len(), askers[0].outside), (0, false));
        assert_eq!((askers[1].further.len(), askers[1].outside), (1, true));
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
