//! Networks: the two that every daemon has, and those that clients make.
//!
//! ```text
//! create: subnet chosen ─▶ driver makes it ─▶ record        a crash before the record leaves a
//! remove: driver removes it ─▶ record goes                  bridge that the next start removes
//! ```
//! A network without a bridge, because a crash came between the two of a removal, is made again at
//! the next start. [`plan`] and [`pools`] are pure; [`join`] has containers come and go.

mod join;
mod plan;
mod pools;

use std::{
    collections::{BTreeMap, HashSet},
    net::Ipv4Addr,
    sync::Arc,
};

use oriel_hcs::{Class, NetworkError, NetworkSpec};
use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use self::join::names;
pub(crate) use self::join::{Joined, donor};
use self::plan::{Addresses, Driver};
pub use self::{join::Membership, pools::AddressPool};
use crate::{Engine, EngineError, Time};

/// The network containers join unless they say otherwise.
pub const NETWORK_NAT: &str = "nat";
/// The network of containers that want none.
pub const NETWORK_NONE: &str = "none";

/// A network as a client wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkRequest {
    /// Its name.
    pub name: String,
    /// Its driver; empty is `nat`.
    pub driver: String,
    /// `local`, or empty for the same.
    pub scope: String,
    /// Whether nothing leads out of it.
    pub internal: bool,
    /// Whether containers may join by hand when a swarm manages it; kept and shown only.
    pub attachable: bool,
    /// Whether it is a swarm's routing mesh, which is refused.
    pub ingress: bool,
    /// Whether it is a configuration only, which is refused.
    pub config_only: bool,
    /// Whether it takes its configuration from another, which is refused.
    pub config_from: bool,
    /// Whether it has IPv4 addresses; not without.
    pub ipv4: Option<bool>,
    /// Whether it has IPv6 addresses, which is refused.
    pub ipv6: bool,
    /// What manages its addresses: empty, `default` or `windows`.
    pub ipam_driver: String,
    /// Options of that, kept and shown only.
    pub ipam_options: BTreeMap<String, String>,
    /// Its subnets: at most one, or the daemon chooses.
    pub subnets: Vec<SubnetRequest>,
    /// Options of its driver, kept and shown only.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A subnet as a client wants it; empty texts leave the choice to the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubnetRequest {
    /// `10.0.0.0/24`.
    pub subnet: String,
    /// The part of it that endpoints get addresses of.
    pub range: String,
    /// Address of the gateway.
    pub gateway: String,
    /// Addresses that endpoints do not get, by what they are.
    pub auxiliary: BTreeMap<String, String>,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its driver: `nat`, `internal` or `null`.
    pub driver: String,
    /// What the host has of it; `none` has nothing.
    pub spec: Option<NetworkSpec>,
    /// When it was created.
    pub created: Time,
    /// Whether every daemon has it.
    pub builtin: bool,
    /// Whether containers may join by hand when a swarm manages it.
    pub attachable: bool,
    /// Options of its address management.
    pub ipam_options: BTreeMap<String, String>,
    /// Addresses that endpoints do not get, by what they are.
    pub auxiliary: BTreeMap<String, Ipv4Addr>,
    /// Options of its driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl NetworkView {
    /// Whether nothing leads out of it.
    #[must_use]
    pub fn internal(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.internal)
    }

    /// A network that every daemon has.
    fn builtin(id: String, spec: Option<NetworkSpec>, created: Time) -> Self {
        let (name, driver) =
            if spec.is_some() { (NETWORK_NAT, "nat") } else { (NETWORK_NONE, "null") };
        Self {
            id,
            name: name.to_owned(),
            driver: driver.to_owned(),
            spec,
            created,
            builtin: true,
            attachable: false,
            ipam_options: BTreeMap::new(),
            auxiliary: BTreeMap::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }

    fn planned(id: String, request: NetworkRequest, driver: Driver, addresses: Addresses) -> Self {
        let Addresses { subnet, gateway, range, auxiliary } = addresses;
        let spec = NetworkSpec {
            name: request.name.clone(),
            bridge: plan::bridge(&id),
            subnet,
            gateway,
            range,
            reserved: auxiliary.values().copied().collect(),
            internal: request.internal || driver == Driver::Internal,
        };
        Self {
            id,
            name: request.name,
            driver: driver.name().to_owned(),
            spec: Some(spec),
            created: Time(0),
            builtin: false,
            attachable: request.attachable,
            ipam_options: request.ipam_options,
            auxiliary,
            options: request.options,
            labels: request.labels,
        }
    }
}

/// Networks by id.
pub(crate) type Networks = BTreeMap<String, Arc<NetworkView>>;

impl Engine {
    /// The networks, oldest first.
    #[must_use]
    pub fn networks(&self) -> Vec<Arc<NetworkView>> {
        let mut networks: Vec<_> = self.network_table().values().cloned().collect();
        networks.sort_by(|a, b| {
            let key = |network: &NetworkView| (!network.builtin, network.created);
            key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
        });
        networks
    }

    /// One network, by name, id, or unique beginning of an id.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when several ids begin so.
    pub fn network(&self, reference: &str) -> Result<Arc<NetworkView>, EngineError> {
        let networks = self.network_table();
        let named = || networks.values().find(|network| network.name == reference);
        if let Some(network) = networks.get(reference).or_else(named) {
            return Ok(network.clone());
        }
        let missing = || EngineError::NoSuchNetwork { name: reference.to_owned() };
        if reference.is_empty() {
            return Err(missing());
        }
        let from = networks.range(reference.to_owned()..);
        let mut found = from.take_while(|(id, _)| id.starts_with(reference));
        let (_, first) = found.next().ok_or_else(missing)?;
        match found.count() {
            0 => Ok(first.clone()),
            more => Err(EngineError::invalid(format!(
                "network {reference} is ambiguous ({} matches found based on ID prefix)",
                more + 1
            ))),
        }
    }

    /// Creates a network and returns its id.
    ///
    /// # Errors
    /// `Conflict` for the name, `Denied` for a subnet that overlaps with another network's and for
    /// what a Docker of Windows denies, `Invalid` for the rest of the request.
    pub async fn create_network(&self, request: NetworkRequest) -> Result<String, EngineError> {
        let engine = self.clone();
        self.inner.tasks.complete(async move { engine.create_network_now(request).await }).await
    }

    async fn create_network_now(&self, request: NetworkRequest) -> Result<String, EngineError> {
        let driver = plan::check(&request)?;
        let wanted = plan::addresses(&request.subnets)?;
        let _changing = self.inner.network_changes.lock().await;
        if self.network_table().values().any(|network| network.name == request.name) {
            let reason = format!("network with name {} already exists", request.name);
            return Err(EngineError::Refused { class: Class::Conflict, reason });
        }
        let addresses = self.free_addresses(wanted).await?;
        let id = self.inner.parts.ids.id();
        let mut network = NetworkView::planned(id.clone(), request, driver, addresses);
        network.created = self.now();
        if let Some(spec) = &network.spec {
            self.inner.parts.network.create_network(spec).await?;
        }
        let record = network.clone();
        let saved = self.blocking(move |engine| engine.inner.records.save_network(&record)).await;
        if let Err(error) = saved {
            self.discard_network(&network.name).await;
            return Err(error);
        }
        let network = Arc::new(network);
        self.network_table().insert(id.clone(), network.clone());
        self.emit_of_network(&network, "create", None);
        Ok(id)
    }

    /// The addresses wanted, unless another network has them, or the next free ones.
    async fn free_addresses(&self, wanted: Option<Addresses>) -> Result<Addresses, EngineError> {
        let mut taken: Vec<_> = self
            .network_table()
            .values()
            .filter_map(|network| network.spec.as_ref().map(|spec| spec.subnet))
            .collect();
        if let Some(addresses) = wanted {
            if taken.iter().any(|other| other.overlaps(addresses.subnet)) {
                return Err(plan::denied(
                    "invalid pool request: Pool overlaps with other one on this address space"
                        .to_owned(),
                ));
            }
            return Ok(addresses);
        }
        taken.extend(self.inner.parts.network.routes().await?);
        let subnet = pools::next_free(&self.inner.parts.address_pools, &taken);
        subnet.map(Addresses::of).ok_or_else(|| {
            EngineError::invalid("all predefined address pools have been fully subnetted")
        })
    }

    async fn discard_network(&self, name: &str) {
        if let Err(error) = self.inner.parts.network.remove_network(name).await {
            tracing::warn!(network.name = name, error = %error, "a network stays behind");
        }
    }

    /// Removes a network.
    ///
    /// # Errors
    /// `NotFound`; `Denied` while containers that run are on it, and for one every daemon has.
    pub async fn remove_network(&self, reference: &str) -> Result<(), EngineError> {
        let network = self.network(reference)?;
        let engine = self.clone();
        self.inner.tasks.complete(async move { engine.remove_network_now(&network).await }).await
    }

    async fn remove_network_now(&self, network: &NetworkView) -> Result<(), EngineError> {
        if network.builtin {
            let name = &network.name;
            return Err(plan::denied(format!(
                "{name} is a pre-defined network and cannot be removed"
            )));
        }
        let _changing = self.inner.network_changes.lock().await;
        match self.inner.parts.network.remove_network(&network.name).await {
            Err(NetworkError::InUse { .. }) => return Err(self.in_use(network)),
            other => other?,
        }
        let id = network.id.clone();
        self.blocking(move |engine| engine.inner.records.delete_network(&id)).await?;
        if self.network_table().remove(&network.id).is_some() {
            self.emit_of_network(network, "destroy", None);
        }
        Ok(())
    }

    fn in_use(&self, network: &NetworkView) -> EngineError {
        let on_it = self.containers().into_iter().filter_map(|container| {
            let (spec, _) = container.endpoint_on(&network.name)?;
            let id = spec.id.get(..12).unwrap_or(&spec.id);
            Some(format!("name:\"{}\" id:\"{id}\"", container.name))
        });
        plan::denied(format!(
            "error while removing network: network {} id {} has active endpoints ({})",
            network.name,
            network.id,
            on_it.collect::<Vec<_>>().join(", ")
        ))
    }

    /// Removes networks that no running container is on and that `wanted` chooses; returns their
    /// names.
    pub async fn prune_networks(&self, wanted: impl Fn(&NetworkView) -> bool) -> Vec<String> {
        let mut removed = Vec::new();
        for network in self.networks() {
            if network.builtin || !wanted(&network) {
                continue;
            }
            match self.remove_network(&network.id).await {
                Ok(()) => removed.push(network.name.clone()),
                Err(error) if matches!(error.class(), Class::Denied | Class::NotFound) => {}
                Err(error) => {
                    tracing::warn!(network.name = network.name, error = %error, "cannot prune");
                }
            }
        }
        self.emit_prune("network", 0);
        removed
    }

    /// Makes the networks again that an earlier engine had. One that cannot be is reported and
    /// stays in the records: containers cannot start on it.
    pub(crate) async fn open_networks(&self) -> Result<(), EngineError> {
        let created = self.now();
        let fact = |name: &str| self.inner.records.fact(name, || self.inner.parts.ids.id());
        let nat = self.inner.parts.nat.clone();
        self.inner.parts.network.create_network(&nat).await?;
        let mut networks = self.blocking(|engine| engine.inner.records.networks()).await?;
        for network in &networks {
            if let Some(spec) = &network.spec
                && let Err(error) = self.inner.parts.network.create_network(spec).await
            {
                tracing::error!(network.name = network.name, error = %error, "cannot make again");
            }
        }
        networks.push(NetworkView::builtin(fact("network nat")?, Some(nat), created));
        networks.push(NetworkView::builtin(fact("network none")?, None, created));
        let by_id = networks.into_iter().map(|network| (network.id.clone(), Arc::new(network)));
        *self.network_table() = by_id.collect();
        Ok(())
    }

    /// Names of the networks that some running container is on.
    #[must_use]
    pub fn networks_in_use(&self) -> HashSet<String> {
        let compartments = self.containers().into_iter().filter_map(|view| view.compartment);
        let endpoints = compartments.flat_map(|compartment| compartment.endpoints);
        endpoints.map(|(spec, _)| spec.network).collect()
    }

    pub(crate) fn network_table(&self) -> std::sync::MutexGuard<'_, Networks> {
        self.inner.networks.lock().expect("no panic while networks are changed")
    }

    /// Emits an event of a network, about a container where one comes or goes.
    pub(crate) fn emit_of_network(
        &self,
        network: &NetworkView,
        action: &str,
        container: Option<&str>,
    ) {
        let mut attributes = BTreeMap::from([
            ("name".to_owned(), network.name.clone()),
            ("type".to_owned(), network.driver.clone()),
        ]);
        if let Some(id) = container {
            attributes.insert("container".to_owned(), id.to_owned());
        }
        self.emit_event("network", action, &network.id, attributes);
    }
}
