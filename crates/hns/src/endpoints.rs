//! Compartments, and the endpoints in them.
//!
//! ```text
//!  compartment:  (nothing) -> namespace -> loopback up -> recorded
//!  endpoint:     (nothing) -> ports held -> veth pair -> configured -> recorded -> rules
//!  a step that fails, and removal:  rules <- pair <- ports
//! ```

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use oriel_hcs::{Compartment, CompartmentSpec, Endpoint, EndpointSpec, NetworkError, PortMapping};

use crate::{
    HostNetwork,
    addresses::{self, hardware_address},
    dns::NAME_SERVER,
    failure::host,
    host::release,
    links::{self, Adapter, Netlink, Pair},
    namespace, naming, ports,
    state::{Plan, Record, State},
};

impl HostNetwork {
    pub(crate) async fn make_compartment(
        &self,
        spec: &CompartmentSpec,
    ) -> Result<Compartment, NetworkError> {
        let attempt = || format!("make compartment {}", spec.id);
        if !naming::is_plain_id(&spec.id) {
            return Err(host(attempt(), "its id is not a plain name"));
        }
        let mut state = self.state.lock().await;
        if state.compartments.contains_key(&spec.id) {
            return Err(host(attempt(), "it exists"));
        }
        let made = async {
            // What an interrupted making may have left.
            self.namespaces.remove(&spec.id)?;
            let namespace = self.namespaces.create(&spec.id).await?;
            namespace::within(namespace, async || {
                links::configure_namespace()?;
                Netlink::open()?.raise_loopback().await
            })
            .await
        };
        if let Err(error) = made.await {
            if let Err(error) = self.namespaces.remove(&spec.id) {
                tracing::warn!(compartment.id = spec.id, %error, "a compartment stays behind");
            }
            return Err(host(attempt(), error));
        }
        state.compartments.insert(spec.id.clone(), spec.clone());
        Ok(Compartment {
            spec: spec.clone(),
            namespace: self.namespaces.path(&spec.id),
            name_server: NAME_SERVER,
            endpoints: Vec::new(),
        })
    }

    pub(crate) async fn drop_compartment(&self, id: &str) -> Result<(), NetworkError> {
        if !naming::is_plain_id(id) {
            return Ok(());
        }
        let mut state = self.state.lock().await;
        let endpoints: Vec<String> =
            state.adapters(id).iter().map(|record| record.spec.id.clone()).collect();
        self.dismantle(&endpoints).await?;
        let removed = self.namespaces.remove(id);
        removed.map_err(|error| host(format!("remove compartment {id}"), error))?;
        state.compartments.remove(id);
        self.forget(&mut state, &endpoints).await
    }

    pub(crate) async fn make_endpoint(
        &self,
        spec: &EndpointSpec,
    ) -> Result<Endpoint, NetworkError> {
        let attempt = || format!("make endpoint {}", spec.id);
        let mut state = self.state.lock().await;
        if state.endpoints.contains_key(&spec.id) {
            return Err(host(attempt(), "it exists"));
        }
        if !state.compartments.contains_key(&spec.compartment) {
            return Err(host(attempt(), format!("there is no compartment {}", spec.compartment)));
        }
        let made = self.try_endpoint(&mut state, spec).await;
        if made.is_err()
            && let Err(error) = self.dismantle(std::slice::from_ref(&spec.id)).await
        {
            tracing::warn!(endpoint.id = spec.id, %error, "an endpoint that failed stays behind");
        }
        made
    }

    async fn try_endpoint(
        &self,
        state: &mut State,
        spec: &EndpointSpec,
    ) -> Result<Endpoint, NetworkError> {
        let plan = state.plan(spec)?;
        let Plan { address, subnet, gateway, .. } = plan;
        let hardware = spec.mac.unwrap_or_else(|| hardware_address(address));
        let ports = ports::claim(&spec.ports, &state.ports(), address, &mut state.ephemeral)?;
        if let Err(error) = self.build(spec, &plan, hardware).await {
            release(ports).await;
            return Err(host(format!("connect endpoint {}", spec.id), error));
        }
        let endpoint = Endpoint {
            address,
            prefix: subnet.prefix(),
            gateway,
            mac: addresses::hardware_text(hardware),
            ports: ports.iter().map(|held| held.mapping.clone()).collect(),
        };
        let rules_change = !ports.is_empty() || !state.owns_rules;
        let record = Record { spec: spec.clone(), endpoint: endpoint.clone(), ports };
        state.endpoints.insert(spec.id.clone(), record);
        if rules_change && let Err(error) = self.write_rules(state).await {
            if let Some(record) = state.endpoints.remove(&spec.id) {
                release(record.ports).await;
            }
            return Err(error);
        }
        state.publish_names();
        Ok(endpoint)
    }

    /// Makes the veth pair of an endpoint and configures its inner end. Leaves what it did on
    /// error.
    async fn build(&self, spec: &EndpointSpec, plan: &Plan, hardware: [u8; 6]) -> io::Result<()> {
        let namespace = self.namespaces.open_one(&spec.compartment)?;
        let adapter = Adapter {
            name: spec.adapter_name(),
            address: plan.address,
            prefix: plan.subnet.prefix(),
            gateway: plan.gateway,
            name_server: NAME_SERVER,
            metric: links::metric(spec.priority, spec.adapter),
        };
        self.join(spec, plan.bridge, &namespace, hardware).await?;
        namespace::within(namespace, async move || {
            Netlink::open()?.configure_adapter(&adapter).await
        })
        .await
    }

    async fn join(
        &self,
        spec: &EndpointSpec,
        bridge: u32,
        namespace: &OwnedFd,
        hardware: [u8; 6],
    ) -> io::Result<()> {
        let kernel = Netlink::open()?;
        let host_link = naming::host_link(&self.instance, &spec.id);
        // What an interrupted making may have left.
        kernel.remove(&host_link).await?;
        let pair = Pair {
            host_link: &host_link,
            bridge,
            mark: &naming::mark(&self.instance, &spec.id),
            namespace: namespace.as_fd(),
            adapter: &spec.adapter_name(),
            hardware,
        };
        kernel.add_pair(&pair).await
    }

    pub(crate) async fn publish_ports(
        &self,
        endpoint: &str,
        ports: &[PortMapping],
    ) -> Result<Vec<PortMapping>, NetworkError> {
        let mut state = self.state.lock().await;
        let Some(record) = state.endpoints.get(endpoint) else {
            return Err(host(format!("publish ports of endpoint {endpoint}"), "there is none"));
        };
        let address = record.endpoint.address;
        let taken = state.ports();
        let held = ports::claim(ports, &taken, address, &mut state.ephemeral)?;
        let count = held.len();
        let record = state.endpoints.get_mut(endpoint).expect("the lock is held");
        record.endpoint.ports.extend(held.iter().map(|held| held.mapping.clone()));
        record.ports.extend(held);
        let published = record.endpoint.ports.clone();
        let Err(error) = self.write_rules(&mut state).await else { return Ok(published) };
        let record = state.endpoints.get_mut(endpoint).expect("the lock is held");
        let kept = record.ports.len() - count;
        record.endpoint.ports.truncate(kept);
        let lost = record.ports.split_off(kept);
        release(lost).await;
        Err(error)
    }

    pub(crate) async fn drop_endpoint(&self, id: &str) -> Result<(), NetworkError> {
        let mut state = self.state.lock().await;
        let ids = [id.to_owned()];
        self.dismantle(&ids).await?;
        self.forget(&mut state, &ids).await
    }

    /// Removes the links of endpoints, or what there is of them.
    async fn dismantle(&self, ids: &[String]) -> Result<(), NetworkError> {
        let removed = async {
            let kernel = Netlink::open()?;
            for id in ids {
                kernel.remove(&naming::host_link(&self.instance, id)).await?;
            }
            Ok(())
        };
        removed.await.map_err(|error: io::Error| host("remove an endpoint", error))
    }

    /// Forgets endpoints whose links are gone: their names, their ports, their rules.
    async fn forget(&self, state: &mut State, ids: &[String]) -> Result<(), NetworkError> {
        let mut rules_change = false;
        for id in ids {
            if let Some(record) = state.endpoints.remove(id) {
                rules_change |= !record.ports.is_empty();
                release(record.ports).await;
            }
        }
        state.publish_names();
        if rules_change { self.write_rules(state).await } else { Ok(()) }
    }
}
