//! The driver: networks of this host, and what an earlier process left of them.
//!
//! Everything in the kernel is found by name (see [`crate::naming`]), so what an interrupted making
//! left behind is removed by removing it, by making it again or by [`NetworkDriver::reconcile`],
//! without a record of it. Compartments and endpoints are in [`crate::endpoints`].

use std::{collections::BTreeSet, io, path::PathBuf};

use async_trait::async_trait;
use oriel_hcs::{
    Block, Compartment, CompartmentSpec, Endpoint, EndpointSpec, NetworkDriver, NetworkError,
    NetworkSpec, PortMapping,
};
use tokio::sync::Mutex;

use crate::{
    addresses::Subnet,
    dns::{Directory, Names},
    failure::host,
    firewall,
    links::{self, Netlink},
    namespace::Namespaces,
    naming,
    ports::Held,
    rules,
    state::{Network, State, adopt},
};

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

/// The host's networks. One per process and instance; needs root and a tokio runtime.
///
/// Operations run one after the other. None is cancel safe: when dropped half-way, what it did
/// stays until the endpoint is removed or made again, or until `reconcile`.
#[derive(Debug)]
pub struct HostNetwork {
    pub(crate) instance: String,
    resolv_conf: PathBuf,
    pub(crate) namespaces: Namespaces,
    /// Held across awaits on purpose: two changes of links or rules must not interleave.
    pub(crate) state: Mutex<State>,
}

impl HostNetwork {
    /// Makes the driver. Touches nothing but the directory of the namespaces.
    ///
    /// After a restart, networks are created again (idempotent), then
    /// [`reconcile`](NetworkDriver::reconcile) is called, then endpoints may be created. Published
    /// ports of the process before work all the time.
    ///
    /// # Errors
    /// `Host` when the instance's name is no name or the directory cannot be made a mount point.
    pub fn new(options: HostNetworkOptions) -> Result<Self, NetworkError> {
        let HostNetworkOptions { instance, namespaces, resolv_conf } = options;
        if !naming::is_instance(&instance) {
            return Err(host(format!("use instance name {instance:?}"), "it is not a plain name"));
        }
        let namespaces = Namespaces::open(&namespaces).map_err(|error| {
            host(format!("keep network namespaces in {}", namespaces.display()), error)
        })?;
        Ok(Self { instance, resolv_conf, namespaces, state: Mutex::default() })
    }

    /// Ends the answering of names and the forwarders, and waits for them. While a
    /// compartment lives, networks, endpoints and published ports stay in the kernel; otherwise
    /// nothing does.
    pub async fn shutdown(&self) {
        let mut state = self.state.lock().await;
        if state.compartments.is_empty() {
            return self.vanish(&mut state).await;
        }
        for network in state.networks.values_mut() {
            if let Some(names) = network.names.take() {
                names.stop().await;
            }
        }
        for record in state.endpoints.values_mut() {
            release(std::mem::take(&mut record.ports)).await;
        }
    }

    /// Takes the networks, and the mount of the namespaces, off the host.
    async fn vanish(&self, state: &mut State) {
        let networks: Vec<String> = state.networks.keys().cloned().collect();
        for name in networks {
            if let Err(error) = self.drop_network(state, &name).await {
                tracing::warn!(network.name = name, %error, "a network stays behind");
            }
        }
        if let Err(error) = self.namespaces.close() {
            tracing::warn!(%error, "the mount of the network namespaces stays behind");
        }
    }

    fn table(&self) -> String {
        naming::table(&self.instance)
    }

    /// Puts the rules of everything known into the kernel.
    pub(crate) async fn write_rules(&self, state: &mut State) -> Result<(), NetworkError> {
        let batch = match state.rules() {
            rules if rules.networks.is_empty() => rules::removal(&self.table()),
            rules => rules::replacement(&self.table(), &rules),
        };
        firewall::apply(&batch).await?;
        state.owns_rules = true;
        Ok(())
    }

    /// Writes the rules, unless the process before left some: these stay until the living
    /// endpoints are known.
    async fn write_network_rules(&self, state: &mut State) -> Result<(), NetworkError> {
        if !state.owns_rules && firewall::has_table(&self.table()).await? {
            return Ok(());
        }
        self.write_rules(state).await
    }

    async fn make_network(
        &self,
        spec: &NetworkSpec,
        subnet: Subnet,
    ) -> Result<Network, NetworkError> {
        let NetworkSpec { name, bridge, .. } = spec;
        let attempt = || format!("make network {name}");
        if !naming::is_link(bridge) {
            return Err(host(attempt(), format!("{bridge:?} is no name for a link")));
        }
        let mark = naming::mark(&self.instance, name);
        let made = async {
            let index = Netlink::open()?.ensure_bridge(bridge, subnet, &mark).await?;
            links::configure_host(bridge)?;
            Ok(index)
        };
        let index = made.await.map_err(|error: io::Error| host(attempt(), error))?;
        Ok(Network { spec: spec.clone(), subnet, bridge: index, names: None })
    }

    fn start_names(&self, network: &Network, directory: Directory) -> Result<Names, NetworkError> {
        let NetworkSpec { name, bridge, .. } = &network.spec;
        Names::start(bridge, network.subnet, directory, self.resolv_conf.clone())
            .map_err(|error| host(format!("answer names on network {name}"), error))
    }

    /// Removes what belongs to this instance, known or not, and not to `living`.
    async fn sweep(&self, state: &State, living: &[Compartment]) -> Result<(), NetworkError> {
        let attempt = "look for what is left over";
        let endpoints = living.iter().flat_map(|compartment| &compartment.endpoints);
        let mut expected: BTreeSet<_> =
            endpoints.map(|(spec, _)| naming::host_link(&self.instance, &spec.id)).collect();
        expected.extend(state.networks.values().map(|network| network.spec.bridge.clone()));
        let swept = async {
            let kernel = Netlink::open()?;
            for link in kernel.links().await? {
                let ours = naming::is_host_link(&self.instance, &link.name)
                    || (link.is_bridge && naming::is_mark(&self.instance, &link.mark));
                if ours && !expected.contains(&link.name) {
                    tracing::info!(link = link.name, "removing a link that is left over");
                    kernel.remove(&link.name).await?;
                }
            }
            Ok(())
        };
        swept.await.map_err(|error: io::Error| host(attempt, error))?;
        let living: BTreeSet<_> = living.iter().map(|living| living.spec.id.as_str()).collect();
        for id in self.namespaces.ids().map_err(|error| host(attempt, error))? {
            if !living.contains(id.as_str()) {
                tracing::info!(compartment.id = id, "removing a compartment that is left over");
                let removed = self.namespaces.remove(&id);
                removed.map_err(|error| host(format!("remove compartment {id}"), error))?;
            }
        }
        Ok(())
    }

    /// Takes up compartments that an earlier process made.
    async fn adopt(&self, state: &mut State, living: &[Compartment]) {
        for record in std::mem::take(&mut state.endpoints).into_values() {
            release(record.ports).await;
        }
        state.compartments.clear();
        for Compartment { spec, namespace, endpoints, .. } in living {
            if !namespace.exists() {
                tracing::warn!(compartment.id = spec.id, "a living compartment is lost");
            }
            state.compartments.insert(spec.id.clone(), spec.clone());
            for (spec, endpoint) in endpoints {
                if state.networks.contains_key(&spec.network) {
                    state.endpoints.insert(spec.id.clone(), adopt(spec, endpoint));
                } else {
                    tracing::warn!(
                        endpoint.id = spec.id,
                        network.name = spec.network,
                        "no network"
                    );
                }
            }
        }
    }

    /// Removes a network, by its record or by the mark on its bridge.
    async fn drop_network(&self, state: &mut State, name: &str) -> Result<(), NetworkError> {
        if state.members(name).next().is_some() {
            return Err(NetworkError::InUse { name: name.to_owned() });
        }
        let known = state.networks.remove(name);
        let was_known = known.is_some();
        if let Some(names) = known.and_then(|network| network.names) {
            names.stop().await;
        }
        let mark = naming::mark(&self.instance, name);
        let removed = async {
            let kernel = Netlink::open()?;
            for link in kernel.links().await? {
                if link.is_bridge && link.mark == mark {
                    kernel.remove(&link.name).await?;
                }
            }
            Ok(())
        };
        removed.await.map_err(|error: io::Error| host(format!("remove network {name}"), error))?;
        if was_known { self.write_rules(state).await } else { Ok(()) }
    }
}

/// Gives ports back.
pub(crate) async fn release(ports: Vec<Held>) {
    for held in ports {
        held.release().await;
    }
}

#[async_trait]
impl NetworkDriver for HostNetwork {
    async fn create_network(&self, spec: &NetworkSpec) -> Result<(), NetworkError> {
        let mut state = self.state.lock().await;
        let attempt = || format!("make network {}", spec.name);
        let subnet =
            Subnet::new(spec.subnet, spec.gateway).map_err(|error| host(attempt(), error))?;
        if spec.name.len() > NetworkSpec::LONGEST_NAME {
            return Err(host(attempt(), "its name is too long"));
        }
        state.admit(spec, subnet).map_err(|reason| host(attempt(), reason))?;
        if state.networks.get(&spec.name).is_some_and(|known| known.spec != *spec) {
            self.drop_network(&mut state, &spec.name).await?;
        }
        let running = state.networks.get_mut(&spec.name).and_then(|known| known.names.take());
        let mut network = self.make_network(spec, subnet).await?;
        network.names = match running {
            Some(names) => Some(names),
            None => Some(self.start_names(&network, state.new_directory(&spec.name, subnet))?),
        };
        state.networks.insert(spec.name.clone(), network);
        self.write_network_rules(&mut state).await
    }

    async fn remove_network(&self, name: &str) -> Result<(), NetworkError> {
        let mut state = self.state.lock().await;
        self.drop_network(&mut state, name).await
    }

    async fn routes(&self) -> Result<Vec<Block>, NetworkError> {
        let routes = async { Netlink::open()?.routes().await };
        routes.await.map_err(|error: io::Error| host("list the host's routes", error))
    }

    async fn create_compartment(
        &self,
        spec: &CompartmentSpec,
    ) -> Result<Compartment, NetworkError> {
        self.make_compartment(spec).await
    }

    async fn remove_compartment(&self, id: &str) -> Result<(), NetworkError> {
        self.drop_compartment(id).await
    }

    async fn create_endpoint(&self, spec: &EndpointSpec) -> Result<Endpoint, NetworkError> {
        self.make_endpoint(spec).await
    }

    async fn publish(
        &self,
        endpoint: &str,
        ports: &[PortMapping],
    ) -> Result<Vec<PortMapping>, NetworkError> {
        self.publish_ports(endpoint, ports).await
    }

    async fn rename(&self, endpoint: &str, names: &[String]) -> Result<(), NetworkError> {
        let mut state = self.state.lock().await;
        if let Some(record) = state.endpoints.get_mut(endpoint) {
            names.clone_into(&mut record.spec.names);
            state.publish_names();
        }
        Ok(())
    }

    async fn remove_endpoint(&self, id: &str) -> Result<(), NetworkError> {
        self.drop_endpoint(id).await
    }

    async fn reconcile(&self, living: &[Compartment]) -> Result<(), NetworkError> {
        let mut state = self.state.lock().await;
        self.sweep(&state, living).await?;
        self.adopt(&mut state, living).await;
        state.publish_names();
        self.write_rules(&mut state).await
    }
}
