//! Networks in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use oriel_hcs::{
    Block, Compartment, CompartmentSpec, Endpoint, EndpointSpec, NetworkDriver, NetworkError,
    NetworkSpec, PortMapping,
};

/// Networks in memory. Clones share them. Stricter than the real ones: what a driver may be asked
/// twice or out of order panics where the engine has no reason to.
#[derive(Clone, Default)]
pub struct FakeNetwork {
    state: Arc<Mutex<NetworkState>>,
}

#[derive(Default)]
struct NetworkState {
    networks: BTreeMap<String, NetworkSpec>,
    compartments: BTreeSet<String>,
    endpoints: BTreeMap<String, (EndpointSpec, Endpoint)>,
    routes: Vec<Block>,
    next: u8,
}

impl FakeNetwork {
    /// Ids of the compartments that exist.
    #[must_use]
    pub fn compartments(&self) -> Vec<String> {
        self.lock().compartments.iter().cloned().collect()
    }

    /// The endpoints that exist.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointSpec> {
        self.lock().endpoints.values().map(|(spec, _)| spec.clone()).collect()
    }

    /// Names of the networks that exist.
    #[must_use]
    pub fn networks(&self) -> Vec<String> {
        self.lock().networks.keys().cloned().collect()
    }

    /// Gives the host a route.
    pub fn add_route(&self, block: Block) {
        self.lock().routes.push(block);
    }

    /// The host has been started again: nothing is left of the networks.
    pub fn forget_networks(&self) {
        self.lock().networks.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, NetworkState> {
        self.state.lock().expect("no test panics with the lock")
    }
}

impl NetworkState {
    fn publish(&mut self, ports: &[PortMapping]) -> Result<Vec<PortMapping>, NetworkError> {
        let mut ports = ports.to_vec();
        for port in &mut ports {
            if port.host_port == 0 {
                self.next += 1;
                port.host_port = 49_152 + u16::from(self.next);
            }
            let mut taken = self.endpoints.values().flat_map(|(_, endpoint)| &endpoint.ports);
            if taken.any(|other| other.host_port == port.host_port) {
                return Err(NetworkError::PortTaken { ip: port.host_ip, port: port.host_port });
            }
        }
        Ok(ports)
    }

    fn address(&self, spec: &EndpointSpec) -> Result<Ipv4Addr, NetworkError> {
        let network = self
            .networks
            .get(&spec.network)
            .ok_or_else(|| NetworkError::NotFound { name: spec.network.clone() })?;
        let taken = |address: &Ipv4Addr| {
            self.endpoints
                .values()
                .any(|(other, end)| other.network == spec.network && end.address == *address)
        };
        if let Some(address) = spec.address {
            assert!(network.subnet.contains(address), "{address} is not of {}", network.subnet);
            let free = !taken(&address);
            return free.then_some(address).ok_or(NetworkError::AddressTaken { address });
        }
        let first = network.subnet.first().to_bits();
        let mut addresses = (2..20).map(|host| Ipv4Addr::from_bits(first + host));
        addresses
            .find(|address| !taken(address))
            .ok_or_else(|| NetworkError::NoAddress { name: spec.network.clone() })
    }
}

#[async_trait]
impl NetworkDriver for FakeNetwork {
    async fn create_network(&self, spec: &NetworkSpec) -> Result<(), NetworkError> {
        let mut state = self.lock();
        assert!(spec.bridge.len() <= 15, "{} is no name for a link", spec.bridge);
        for other in state.networks.values().filter(|other| other.name != spec.name) {
            assert!(!other.subnet.overlaps(spec.subnet), "{} and {}", other.name, spec.name);
            assert_ne!(other.bridge, spec.bridge);
        }
        state.networks.insert(spec.name.clone(), spec.clone());
        Ok(())
    }

    async fn remove_network(&self, name: &str) -> Result<(), NetworkError> {
        let mut state = self.lock();
        if state.endpoints.values().any(|(spec, _)| spec.network == name) {
            return Err(NetworkError::InUse { name: name.to_owned() });
        }
        state.networks.remove(name);
        Ok(())
    }

    async fn routes(&self) -> Result<Vec<Block>, NetworkError> {
        Ok(self.lock().routes.clone())
    }

    async fn create_compartment(
        &self,
        spec: &CompartmentSpec,
    ) -> Result<Compartment, NetworkError> {
        let new = self.lock().compartments.insert(spec.id.clone());
        assert!(new, "compartment {} is created twice", spec.id);
        Ok(Compartment {
            spec: spec.clone(),
            namespace: "/fake".into(),
            name_server: Ipv4Addr::new(169, 254, 0, 53),
            endpoints: Vec::new(),
        })
    }

    async fn remove_compartment(&self, id: &str) -> Result<(), NetworkError> {
        let mut state = self.lock();
        state.compartments.remove(id);
        state.endpoints.retain(|_, (spec, _)| spec.compartment != id);
        Ok(())
    }

    async fn create_endpoint(&self, spec: &EndpointSpec) -> Result<Endpoint, NetworkError> {
        let mut state = self.lock();
        assert!(state.compartments.contains(&spec.compartment), "no {}", spec.compartment);
        assert!(!state.endpoints.contains_key(&spec.id), "endpoint {} is created twice", spec.id);
        for (other, _) in state.endpoints.values() {
            let same = (&other.compartment, other.adapter) == (&spec.compartment, spec.adapter);
            assert!(!same, "adapter {} is created twice", spec.adapter);
        }
        let address = state.address(spec)?;
        let network = state.networks[&spec.network].clone();
        assert!(spec.ports.is_empty() || !network.internal, "an internal network has no ports");
        let endpoint = Endpoint {
            address,
            prefix: network.subnet.prefix(),
            gateway: (!network.internal).then_some(network.gateway),
            mac: "02:00:00:00:00:01".to_owned(),
            ports: state.publish(&spec.ports)?,
        };
        state.endpoints.insert(spec.id.clone(), (spec.clone(), endpoint.clone()));
        Ok(endpoint)
    }

    async fn publish(
        &self,
        endpoint: &str,
        ports: &[PortMapping],
    ) -> Result<Vec<PortMapping>, NetworkError> {
        let mut state = self.lock();
        let published = state.publish(ports)?;
        let (_, endpoint) = state.endpoints.get_mut(endpoint).expect("the endpoint exists");
        assert!(endpoint.gateway.is_some(), "an internal network has no ports");
        endpoint.ports.extend(published);
        Ok(endpoint.ports.clone())
    }

    async fn rename(&self, endpoint: &str, names: &[String]) -> Result<(), NetworkError> {
        let mut state = self.lock();
        let (spec, _) = state.endpoints.get_mut(endpoint).expect("the endpoint exists");
        names.clone_into(&mut spec.names);
        Ok(())
    }

    async fn remove_endpoint(&self, id: &str) -> Result<(), NetworkError> {
        self.lock().endpoints.remove(id);
        Ok(())
    }

    async fn reconcile(&self, living: &[Compartment]) -> Result<(), NetworkError> {
        let mut state = self.lock();
        state.compartments = living.iter().map(|living| living.spec.id.clone()).collect();
        let endpoints = living.iter().flat_map(|living| living.endpoints.clone());
        let by_id = endpoints.map(|(spec, endpoint)| (spec.id.clone(), (spec, endpoint)));
        let by_id: BTreeMap<_, _> = by_id.collect();
        state.endpoints = by_id;
        Ok(())
    }
}
