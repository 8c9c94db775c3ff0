//! The driver: networks and endpoints of this host.
//!
//! ```text
//!  endpoint:  (nothing) -> ports held -> namespace -> veth pair -> configured -> rules -> recorded
//!  a step that fails, and removal:  rules <- pair <- namespace <- ports
//! ```
//!
//! Everything in the kernel is found by name (see [`crate::naming`]), so what an interrupted making
//! left behind is removed by [`NetworkDriver::remove_endpoint`], by making it again or by
//! [`NetworkDriver::reconcile`], without a record of it.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use async_trait::async_trait;
use oriel_hcs::{Endpoint, EndpointSpec, NetworkDriver, NetworkError, NetworkSpec};
use tokio::sync::Mutex;

use crate::{
    addresses::{self, Subnet},
    dns::{Names, zone::Zone},
    failure::host,
    firewall,
    links::{self, Netlink, Pair},
    namespace::{self, Namespaces},
    naming,
    ports::{self, Held},
    rules,
    state::{Network, Plan, Record, State, adopt},
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
    instance: String,
    resolv_conf: PathBuf,
    namespaces: Namespaces,
    /// Held across awaits on purpose: two changes of links or rules must not interleave.
    state: Mutex<State>,
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

    /// Ends the answering of names and the forwarders, and waits for them. While an endpoint lives,
    /// networks, endpoints and published ports stay in the kernel; otherwise nothing does.
    pub async fn shutdown(&self) {
        let mut state = self.state.lock().await;
        if state.endpoints.is_empty() {
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

    /// Takes networks without endpoints, and the mount of the namespaces, off the host.
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
    async fn write_rules(&self, state: &mut State) -> Result<(), NetworkError> {
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

    fn start_names(&self, network: &Network, zone: Zone) -> Result<Names, NetworkError> {
        let NetworkSpec { bridge, gateway, .. } = &network.spec;
        Names::start(bridge, network.subnet, zone, self.resolv_conf.clone())
            .map_err(|error| host(format!("answer names on {gateway}:53"), error))
    }

    /// Makes namespace and veth pair of an endpoint. Leaves what it did on error.
    async fn build(&self, id: &str, network: &Plan) -> Result<(), NetworkError> {
        let namespace = self.namespaces.create(id).await?;
        let result = async {
            let inside = namespace.try_clone()?;
            namespace::within(inside, async || links::configure_namespace()).await?;
            self.connect(id, network, &namespace).await?;
            let Plan { address, subnet, .. } = *network;
            namespace::within(namespace, async move || {
                let kernel = Netlink::open()?;
                kernel.configure_adapter(address, subnet.prefix(), subnet.gateway()).await
            })
            .await
        };
        result.await.map_err(|error: io::Error| host(format!("connect endpoint {id}"), error))
    }

    async fn connect(&self, id: &str, network: &Plan, namespace: &OwnedFd) -> io::Result<()> {
        let host_link = naming::host_link(&self.instance, id);
        let mark = naming::mark(&self.instance, id);
        let pair = Pair {
            host_link: &host_link,
            bridge: network.bridge,
            mark: &mark,
            namespace: namespace.as_fd(),
            address: network.address,
        };
        Netlink::open()?.add_pair(&pair).await
    }

    /// Removes link and namespace of an endpoint, or what there is of them.
    async fn dismantle(&self, id: &str) -> Result<(), NetworkError> {
        let link = naming::host_link(&self.instance, id);
        let removed = async {
            Netlink::open()?.remove(&link).await?;
            self.namespaces.remove(id)
        };
        removed.await.map_err(|error| host(format!("remove endpoint {id}"), error))
    }

    /// Removes endpoints of this instance that are not among `living`, known or not.
    async fn sweep(&self, living: &BTreeSet<&str>) -> Result<(), NetworkError> {
        let attempt = "look for endpoints that are left over";
        let expected: BTreeSet<_> =
            living.iter().map(|id| naming::host_link(&self.instance, id)).collect();
        let swept = async {
            let kernel = Netlink::open()?;
            for link in kernel.links().await? {
                let ours = naming::is_host_link(&self.instance, &link.name);
                if ours && !expected.contains(&link.name) {
                    tracing::info!(link = link.name, "removing a link that is left over");
                    kernel.remove(&link.name).await?;
                }
            }
            Ok(())
        };
        swept.await.map_err(|error: io::Error| host(attempt, error))?;
        for id in self.namespaces.ids().map_err(|error| host(attempt, error))? {
            if !living.contains(id.as_str()) {
                tracing::info!(endpoint.id = id, "removing an endpoint that is left over");
                let removed = self.namespaces.remove(&id);
                removed.map_err(|error| host(format!("remove endpoint {id}"), error))?;
            }
        }
        Ok(())
    }

    /// Records an endpoint that is built, and opens its ports.
    async fn open(&self, state: &mut State, record: Record) -> Result<(), NetworkError> {
        let id = record.spec.id.clone();
        let network = record.spec.network.clone();
        let rules_change = !record.ports.is_empty() || !state.owns_rules;
        state.endpoints.insert(id.clone(), record);
        if rules_change && let Err(error) = self.write_rules(state).await {
            if let Some(record) = state.endpoints.remove(&id) {
                release(record.ports).await;
            }
            return Err(error);
        }
        state.publish_names(&network);
        Ok(())
    }

    async fn try_create(
        &self,
        state: &mut State,
        spec: &EndpointSpec,
    ) -> Result<Endpoint, NetworkError> {
        let plan = state.plan(spec)?;
        let Plan { address, subnet, .. } = plan;
        let ports = ports::claim(&spec.ports, &state.ports(), address, &mut state.ephemeral)?;
        if let Err(error) = self.build(&spec.id, &plan).await {
            release(ports).await;
            return Err(error);
        }
        let endpoint = Endpoint {
            namespace: self.namespaces.path(&spec.id),
            address,
            prefix: subnet.prefix(),
            gateway: subnet.gateway(),
            name_servers: vec![subnet.gateway()],
            mac: addresses::hardware_text(address),
            ports: ports.iter().map(|held| held.mapping.clone()).collect(),
        };
        let record = Record { spec: spec.clone(), endpoint: endpoint.clone(), ports };
        self.open(state, record).await?;
        Ok(endpoint)
    }
}

async fn release(ports: Vec<Held>) {
    for held in ports {
        held.release().await;
    }
}

#[async_trait]
impl NetworkDriver for HostNetwork {
    async fn create_network(&self, spec: &NetworkSpec) -> Result<(), NetworkError> {
        let mut state = self.state.lock().await;
        let subnet = Subnet::new(spec.subnet, spec.prefix, spec.gateway)
            .map_err(|error| host(format!("make network {}", spec.name), error))?;
        state
            .admit(spec, subnet)
            .map_err(|reason| host(format!("make network {}", spec.name), reason))?;
        if state.networks.get(&spec.name).is_some_and(|known| known.spec != *spec) {
            self.drop_network(&mut state, &spec.name).await?;
        }
        let mut network = self.make_network(spec, subnet).await?;
        let running = state.networks.get_mut(&spec.name).and_then(|known| known.names.take());
        let zone = state.zone(&spec.name, network.subnet);
        network.names = match running {
            Some(names) => Some(names),
            None => Some(self.start_names(&network, zone)?),
        };
        state.networks.insert(spec.name.clone(), network);
        self.write_network_rules(&mut state).await
    }

    async fn remove_network(&self, name: &str) -> Result<(), NetworkError> {
        let mut state = self.state.lock().await;
        self.drop_network(&mut state, name).await
    }

    async fn create_endpoint(&self, spec: &EndpointSpec) -> Result<Endpoint, NetworkError> {
        let attempt = || format!("make endpoint {}", spec.id);
        if !naming::is_endpoint_id(&spec.id) {
            return Err(host(attempt(), "its id is not a plain name"));
        }
        let mut state = self.state.lock().await;
        if state.endpoints.contains_key(&spec.id) {
            return Err(host(attempt(), "it exists"));
        }
        if self.namespaces.path(&spec.id).exists() {
            self.dismantle(&spec.id).await?;
        }
        let made = self.try_create(&mut state, spec).await;
        if made.is_err()
            && let Err(error) = self.dismantle(&spec.id).await
        {
            tracing::warn!(endpoint.id = spec.id, %error, "an endpoint that failed stays behind");
        }
        made
    }

    async fn remove_endpoint(&self, id: &str) -> Result<(), NetworkError> {
        if !naming::is_endpoint_id(id) {
            return Ok(());
        }
        let mut state = self.state.lock().await;
        self.dismantle(id).await?;
        let Some(record) = state.endpoints.remove(id) else { return Ok(()) };
        state.publish_names(&record.spec.network);
        let rules_change = !record.ports.is_empty();
        release(record.ports).await;
        if rules_change { self.write_rules(&mut state).await } else { Ok(()) }
    }

    async fn reconcile(&self, living: &[(EndpointSpec, Endpoint)]) -> Result<(), NetworkError> {
        let mut state = self.state.lock().await;
        for (spec, _) in living {
            state.network(&spec.network)?;
        }
        let ids: BTreeSet<_> = living.iter().map(|(spec, _)| spec.id.as_str()).collect();
        self.sweep(&ids).await?;
        let mut known = std::mem::take(&mut state.endpoints);
        for (spec, endpoint) in living {
            let record = match known.remove(&spec.id) {
                Some(record) => Record { endpoint: endpoint.clone(), ..record },
                None => adopt(spec, endpoint),
            };
            state.endpoints.insert(spec.id.clone(), record);
        }
        for record in known.into_values() {
            release(record.ports).await;
        }
        state.networks.keys().for_each(|name| state.publish_names(name));
        self.write_rules(&mut state).await
    }
}

impl HostNetwork {
    /// Removes a network, by its record or by the mark on its bridge.
    async fn drop_network(&self, state: &mut State, name: &str) -> Result<(), NetworkError> {
        let attempt = || format!("remove network {name}");
        if state.members(name).next().is_some() {
            return Err(host(attempt(), "it has endpoints"));
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
        removed.await.map_err(|error: io::Error| host(attempt(), error))?;
        if was_known { self.write_rules(state).await } else { Ok(()) }
    }
}
