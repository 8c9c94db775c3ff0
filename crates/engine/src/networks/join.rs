//! Containers on networks: joining at their start, coming and going while they run.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use oriel_hcs::{Class, Compartment, CompartmentSpec, Endpoint, EndpointSpec, PortMapping};
use serde::{Deserialize, Serialize};

use super::{NETWORK_NONE, NetworkView, plan::denied};
use crate::{Engine, EngineError, Spec, container::Container, records::Record};

/// Containers that share the compartment of one that shares another's, at most.
const MAX_SHARING: usize = 8;

/// How a container joins a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Membership {
    /// Name of the network, which may not exist yet.
    pub network: String,
    /// Further names there.
    pub aliases: Vec<String>,
    /// The address it must have.
    pub address: Option<Ipv4Addr>,
    /// The hardware address it must have.
    pub mac: Option<[u8; 6]>,
    /// Which network leads out: the highest.
    pub priority: i64,
    /// Options of the driver, kept and shown only.
    pub driver_options: BTreeMap<String, String>,
}

impl Membership {
    /// Joins a network without further wishes.
    #[must_use]
    pub fn to(network: &str) -> Self {
        Self { network: network.to_owned(), ..Self::default() }
    }

    /// Checks the wishes against the network, when it exists.
    ///
    /// # Errors
    /// `Invalid` for an address outside.
    pub(crate) fn check(&self, network: &NetworkView) -> Result<(), EngineError> {
        let Some(address) = self.address else { return Ok(()) };
        if network.spec.as_ref().is_some_and(|spec| spec.subnet.contains(address)) {
            return Ok(());
        }
        Err(EngineError::invalid(format!(
            "invalid endpoint settings:\nno configured subnet contains IP address {address}"
        )))
    }
}

/// The container whose compartment a network mode shares.
pub(crate) fn donor(mode: &str) -> Option<&str> {
    mode.strip_prefix("container:")
}

/// The network side of a run.
#[derive(Default)]
pub(crate) struct Joined {
    /// Its network namespace; `None` is a new one without adapters.
    pub(crate) namespace: Option<PathBuf>,
    /// The compartment behind it, its own or another container's.
    pub(crate) compartment: Option<Compartment>,
    /// Whether the compartment is another container's.
    pub(crate) shared: bool,
}

impl Engine {
    /// Makes a container's compartment and endpoints. On error nothing of them is left.
    pub(crate) async fn join_networks(&self, record: &Record) -> Result<Joined, EngineError> {
        if let Some(donor) = donor(&record.spec.host.network) {
            return self.share(record, donor);
        }
        if record.spec.host.networks.iter().any(|joins| joins.network == NETWORK_NONE) {
            return Ok(Joined::default());
        }
        let spec = CompartmentSpec { id: record.id.clone(), dns: record.spec.host.dns.clone() };
        let mut compartment = self.inner.parts.network.create_compartment(&spec).await?;
        for membership in &record.spec.host.networks {
            if let Err(error) = self.add_endpoint(record, membership, &mut compartment).await {
                self.leave_networks(&record.id).await;
                return Err(error);
            }
        }
        Ok(Joined {
            namespace: Some(compartment.namespace.clone()),
            compartment: Some(compartment),
            shared: false,
        })
    }

    /// The compartment of another container, which must run.
    fn share(&self, record: &Record, donor_name: &str) -> Result<Joined, EngineError> {
        let container = self.find(donor_name)?;
        if container.id == record.id {
            return Err(EngineError::invalid("cannot join own network namespace"));
        }
        let live = container.live().ok_or_else(|| EngineError::Refused {
            class: Class::Conflict,
            reason: format!(
                "cannot join network namespace of a non running container: container {} is {}",
                container.record().name,
                container.record().state.word()
            ),
        })?;
        let own = Path::new("/proc").join(live.system.host_pid().to_string()).join("ns/net");
        let mut lender = container.record();
        for _ in 0..MAX_SHARING {
            let Some(next) = donor(&lender.spec.host.network) else { break };
            lender = self.find(next)?.record();
        }
        Ok(Joined { namespace: Some(own), compartment: lender.compartment, shared: true })
    }

    /// Makes an endpoint on one network, with the container's ports when no other has them.
    async fn add_endpoint(
        &self,
        record: &Record,
        membership: &Membership,
        compartment: &mut Compartment,
    ) -> Result<(), EngineError> {
        let network = self.network(&membership.network)?;
        membership.check(&network)?;
        let published = compartment.endpoints.iter().any(|(spec, _)| !spec.ports.is_empty());
        let ports =
            if published || network.internal() { &[] } else { record.spec.host.ports.as_slice() };
        let spec = EndpointSpec {
            id: self.inner.parts.ids.id(),
            compartment: record.id.clone(),
            adapter: free_adapter(compartment)?,
            network: network.name.clone(),
            names: names(&record.id, &record.name, &record.spec, membership),
            ports: ports.to_vec(),
            address: membership.address,
            mac: membership.mac,
            priority: membership.priority,
        };
        let endpoint = self.inner.parts.network.create_endpoint(&spec).await?;
        compartment.endpoints.push((spec, endpoint));
        Ok(())
    }

    /// Removes a container's compartment; what stays is removed at the next start.
    pub(crate) async fn leave_networks(&self, id: &str) {
        if let Err(error) = self.inner.parts.network.remove_compartment(id).await {
            tracing::warn!(container.id = id, error = %error, "cannot remove a compartment yet");
        }
    }

    /// Emits an event for each network that a container is on.
    pub(crate) fn emit_networks(&self, record: &Record, action: &str) {
        for (spec, _) in record.compartment.iter().flat_map(|joined| &joined.endpoints) {
            if let Ok(network) = self.network(&spec.network) {
                self.emit_of_network(&network, action, Some(&record.id));
            }
        }
    }

    /// Settles to which networks a container that is created belongs.
    ///
    /// # Errors
    /// `Invalid` for wishes that a network cannot fulfil, and for `none` beside others.
    pub(crate) fn settle_networks(&self, spec: &mut Spec) -> Result<(), EngineError> {
        let host = &mut spec.host;
        if donor(&host.network).is_some() {
            host.networks.clear();
            return Ok(());
        }
        if let Ok(network) = self.network(&host.network) {
            host.network.clone_from(&network.name);
        }
        if host.networks.is_empty() {
            host.networks.push(Membership::to(&host.network));
        }
        for membership in &mut host.networks {
            let Ok(network) = self.network(&membership.network) else { continue };
            membership.network.clone_from(&network.name);
            let name = &network.name;
            membership.check(&network).map_err(|error| {
                EngineError::invalid(format!("invalid config for network {name}: {error}"))
            })?;
        }
        if host.networks.len() > 1 && host.networks.iter().any(|a| a.network == NETWORK_NONE) {
            return Err(none_and_others());
        }
        // The mode's network comes first: it has the published ports.
        let mode = host.network.clone();
        host.networks.sort_by_key(|membership| membership.network != mode);
        Ok(())
    }

    /// Connects a container to a network, at once when it runs.
    ///
    /// # Errors
    /// `NotFound`; `Denied` when it is there already or the address is taken; `Invalid` when the
    /// container is on `none` or shares another's compartment.
    pub async fn connect(
        &self,
        network: &str,
        container: &str,
        membership: Membership,
    ) -> Result<(), EngineError> {
        let network = self.network(network)?;
        let container = self.find(container)?;
        let engine = self.clone();
        let work = async move { engine.connect_now(&network, &container, membership).await };
        self.inner.tasks.complete(work).await
    }

    async fn connect_now(
        &self,
        network: &NetworkView,
        container: &Arc<Container>,
        mut membership: Membership,
    ) -> Result<(), EngineError> {
        network.name.clone_into(&mut membership.network);
        membership.check(network)?;
        let _operation = container.operation.lock().await;
        check_removal(container)?;
        let record = container.record();
        let host = &record.spec.host;
        if donor(&host.network).is_some() {
            return Err(EngineError::invalid(
                "container sharing network namespace with another container or host cannot be \
                 connected to any other network",
            ));
        }
        let others: Vec<_> =
            host.networks.iter().filter(|other| other.network != network.name).collect();
        let to_none = network.name == NETWORK_NONE && !others.is_empty();
        if to_none || others.iter().any(|other| other.network == NETWORK_NONE) {
            return Err(none_and_others());
        }
        let mut joined = record.compartment.clone();
        if let Some(compartment) = &mut joined {
            if compartment.endpoints.iter().any(|(spec, _)| spec.network == network.name) {
                return Err(denied(format!(
                    "endpoint with name {} already exists in network {}",
                    record.name, network.name
                )));
            }
            self.add_endpoint(&record, &membership, compartment).await?;
        }
        let made = joined.as_ref().and_then(|joined| joined.endpoints.last());
        let made = made.map(|(spec, _)| spec.id.clone());
        {
            let mut record = container.record_mut();
            let networks = &mut record.spec.host.networks;
            networks.retain(|other| other.network != network.name);
            networks.push(membership);
            record.compartment = joined;
        }
        if let Err(error) = self.save(container).await {
            *container.record_mut() = record;
            self.drop_endpoint(made.as_deref()).await;
            return Err(error);
        }
        if made.is_some() {
            self.emit_of_network(network, "connect", Some(&container.id));
        }
        Ok(())
    }

    async fn drop_endpoint(&self, id: Option<&str>) {
        let Some(id) = id else { return };
        if let Err(error) = self.inner.parts.network.remove_endpoint(id).await {
            tracing::warn!(endpoint.id = id, error = %error, "cannot remove an endpoint yet");
        }
    }

    /// Disconnects a container from a network, at once when it runs. With `force` the network may
    /// be gone.
    ///
    /// # Errors
    /// `NotFound`; `Denied` when it is not there.
    pub async fn disconnect(
        &self,
        network: &str,
        container: &str,
        force: bool,
    ) -> Result<(), EngineError> {
        let name = match self.network(network) {
            Ok(network) => network.name.clone(),
            Err(_) if force => network.to_owned(),
            Err(error) => return Err(error),
        };
        let container = self.find(container)?;
        let engine = self.clone();
        let work = async move { engine.disconnect_now(&name, &container).await };
        self.inner.tasks.complete(work).await
    }

    async fn disconnect_now(
        &self,
        network: &str,
        container: &Arc<Container>,
    ) -> Result<(), EngineError> {
        let _operation = container.operation.lock().await;
        check_removal(container)?;
        let before = container.record();
        let mut record = before.clone();
        let networks = &mut record.spec.host.networks;
        let count = networks.len();
        networks.retain(|joins| joins.network != network);
        let known = networks.len() < count;
        let taken = record.compartment.as_mut().and_then(|joined| take(joined, network));
        if !known && taken.is_none() {
            let id = &container.id;
            return Err(denied(format!(
                "container {id} is not connected to the network {network}"
            )));
        }
        if let Some((spec, _)) = &taken {
            self.inner.parts.network.remove_endpoint(&spec.id).await?;
        }
        if let (Some((_, endpoint)), Some(joined)) = (&taken, &mut record.compartment) {
            self.move_ports(&endpoint.ports, joined).await;
        }
        *container.record_mut() = record;
        self.save(container).await?;
        if taken.is_some()
            && let Ok(network) = self.network(network)
        {
            self.emit_of_network(&network, "disconnect", Some(&container.id));
        }
        Ok(())
    }

    /// Publishes the ports of an endpoint that went on the next one that can have them.
    async fn move_ports(&self, ports: &[PortMapping], joined: &mut Compartment) {
        let open = |(_, endpoint): &&mut (EndpointSpec, Endpoint)| endpoint.gateway.is_some();
        let Some((spec, endpoint)) = joined.endpoints.iter_mut().find(open) else { return };
        if ports.is_empty() {
            return;
        }
        match self.inner.parts.network.publish(&spec.id, ports).await {
            Ok(published) => {
                spec.ports = ports.to_vec();
                endpoint.ports = published;
            }
            Err(error) => {
                tracing::error!(endpoint.id = spec.id, error = %error, "ports are lost");
            }
        }
    }

    /// Has the networks know a container by its new name.
    pub(crate) async fn rename_endpoints(&self, container: &Container) {
        let renamed = {
            let mut record = container.record_mut();
            let Record { id, name, spec, compartment, .. } = &mut *record;
            let endpoints = compartment.iter_mut().flat_map(|joined| &mut joined.endpoints);
            let rename = |(endpoint, _): &mut (EndpointSpec, Endpoint)| {
                let joins = spec.host.networks.iter().find(|a| a.network == endpoint.network)?;
                endpoint.names = names(id, name, spec, joins);
                Some((endpoint.id.clone(), endpoint.names.clone()))
            };
            endpoints.filter_map(rename).collect::<Vec<_>>()
        };
        for (id, names) in renamed {
            if let Err(error) = self.inner.parts.network.rename(&id, &names).await {
                tracing::warn!(endpoint.id = id, error = %error, "cannot rename an endpoint");
            }
        }
    }
}

fn check_removal(container: &Container) -> Result<(), EngineError> {
    if !container.is_removing() {
        return Ok(());
    }
    let reason = format!(
        "container {} is marked for removal and cannot be connected or disconnected to the network",
        container.id
    );
    Err(EngineError::Refused { class: Class::Conflict, reason })
}

fn none_and_others() -> EngineError {
    EngineError::invalid(
        "container cannot be connected to multiple networks with one of the networks in private \
         (none) mode",
    )
}

fn take(joined: &mut Compartment, network: &str) -> Option<(EndpointSpec, Endpoint)> {
    let place = joined.endpoints.iter().position(|(spec, _)| spec.network == network)?;
    Some(joined.endpoints.remove(place))
}

/// The lowest number that no adapter has.
fn free_adapter(compartment: &Compartment) -> Result<u8, EngineError> {
    let taken = |number: &u8| compartment.endpoints.iter().any(|(spec, _)| spec.adapter == *number);
    let free = (0..=u8::MAX).find(|number| !taken(number));
    free.ok_or_else(|| EngineError::invalid("a container can be on 256 networks at most"))
}

/// What a container is called on a network: its name first, each once.
pub(crate) fn names(id: &str, name: &str, spec: &Spec, membership: &Membership) -> Vec<String> {
    let mut names = vec![name.to_owned(), id.get(..12).unwrap_or(id).to_owned()];
    for further in std::iter::once(&spec.hostname).chain(&membership.aliases) {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(further)) {
            names.push(further.clone());
        }
    }
    names
}
