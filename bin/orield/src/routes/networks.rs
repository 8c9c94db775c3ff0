//! Networks.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use oriel_api::{
    Filters, Shape,
    container::EndpointSettings,
    network::{ConnectRequest, CreateRequest, CreateResponse, DisconnectRequest, IpamConfig},
};
use oriel_engine::{
    EngineError, Membership, NETWORK_NAT, NetworkRequest, NetworkView, SubnetRequest,
};
use serde_json::{Value, json};

use super::{patterns::Patterns, unknown, until};
use crate::http::{Answer, Call, HttpError, empty, json as answer, ok};

const FILTERS: [&str; 7] = ["driver", "id", "label", "name", "scope", "type", "dangling"];
const PRUNE_FILTERS: [&str; 3] = ["label", "label!", "until"];

pub(crate) async fn networks(call: Call, method: &Method, segments: &[&str]) -> Answer {
    match (method.as_str(), segments) {
        ("GET", []) => list(&call),
        ("POST", ["create"]) => create(call).await,
        ("POST", ["prune"]) => prune(&call).await,
        ("POST", [name @ .., "connect"]) if !name.is_empty() => {
            connect(call, &name.join("/")).await
        }
        ("POST", [name @ .., "disconnect"]) if !name.is_empty() => {
            disconnect(call, &name.join("/")).await
        }
        ("GET", name) => inspect(&call, &name.join("/")),
        ("DELETE", name) if !name.is_empty() => {
            call.daemon.engine.remove_network(&name.join("/")).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        _ => unknown(),
    }
}

fn list(call: &Call) -> Answer {
    let filters = Filters::parse(call.query.value("filters").unwrap_or_default(), &FILTERS)?;
    let dangling = dangling(&filters)?;
    if let Some(kind) =
        filters.values("type").iter().find(|kind| !matches!(kind.as_str(), "builtin" | "custom"))
    {
        return Err(HttpError::invalid(format!("invalid filter: 'type'='{kind}'")));
    }
    let in_use = call.daemon.engine.networks_in_use();
    let idle = |network: &NetworkView| !network.builtin && !in_use.contains(&network.name);
    let networks = call.daemon.engine.networks();
    let wanted = networks.iter().filter(|network| {
        wanted(network, &filters) && dangling.is_none_or(|dangling| idle(network) == dangling)
    });
    let shown =
        |network: &Arc<NetworkView>| call.shaped(Shape::Network, view(call, network, false));
    ok(&wanted.map(shown).collect::<Vec<_>>())
}

/// Whether networks without containers are wanted, or those with some; `None` for both.
fn dangling(filters: &Filters) -> Result<Option<bool>, HttpError> {
    match filters.values("dangling") {
        [] => Ok(None),
        [value] => match value.as_str() {
            "1" | "true" => Ok(Some(true)),
            "0" | "false" => Ok(Some(false)),
            _ => Err(HttpError::invalid(
                "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" \
                 (or \"0\")",
            )),
        },
        _ => Err(HttpError::invalid("got more than one value for filter key \"dangling\"")),
    }
}

fn wanted(network: &NetworkView, filters: &Filters) -> bool {
    let kind = if network.builtin { "builtin" } else { "custom" };
    // What clients of Linux call it.
    let driver =
        |driver: &str| network.driver == driver || (network.driver == "nat" && driver == "bridge");
    filters.any("driver", driver)
        && Patterns::of(filters, "id").match_any(&[&network.id])
        && Patterns::of(filters, "name").match_any(&[&network.name])
        && filters.any("scope", |scope| scope == "local")
        && filters.any("type", |wanted| wanted == kind)
        && filters.labels(&network.labels)
}

fn inspect(call: &Call, reference: &str) -> Answer {
    let network = call.daemon.engine.network(reference)?;
    if call.query.non_empty("scope").is_some_and(|scope| scope != "local") {
        return Err(HttpError::not_found(format!("network {reference} not found")));
    }
    ok(&call.shaped(Shape::Network, view(call, &network, true)))
}

async fn create(mut call: Call) -> Answer {
    let wire: CreateRequest = call.json().await?;
    let request = request(wire);
    let options = request.options.keys();
    let vain: Vec<String> =
        options.map(|option| format!("Option {option} has no effect here.")).collect();
    let id = call.daemon.engine.create_network(request).await?;
    Ok(answer(StatusCode::CREATED, &CreateResponse { id, warning: vain.join(" ") }))
}

fn request(wire: CreateRequest) -> NetworkRequest {
    let ipam = wire.ipam.unwrap_or_default();
    let subnet = |config: IpamConfig| SubnetRequest {
        subnet: config.subnet.unwrap_or_default(),
        range: config.ip_range.unwrap_or_default(),
        gateway: config.gateway.unwrap_or_default(),
        auxiliary: config.auxiliary_addresses.unwrap_or_default(),
    };
    let config_from = wire.config_from.and_then(|from| from.network);
    NetworkRequest {
        name: wire.name.unwrap_or_default(),
        driver: wire.driver.unwrap_or_default(),
        scope: wire.scope.unwrap_or_default(),
        internal: wire.internal.unwrap_or_default(),
        attachable: wire.attachable.unwrap_or_default(),
        ingress: wire.ingress.unwrap_or_default(),
        config_only: wire.config_only.unwrap_or_default(),
        config_from: config_from.is_some_and(|name| !name.is_empty()),
        ipv4: wire.enable_ipv4,
        ipv6: wire.enable_ipv6.unwrap_or_default(),
        ipam_driver: ipam.driver.unwrap_or_default(),
        ipam_options: ipam.options.unwrap_or_default(),
        subnets: ipam.config.unwrap_or_default().into_iter().map(subnet).collect(),
        options: wire.options.unwrap_or_default(),
        labels: wire.labels.unwrap_or_default(),
    }
}

async fn prune(call: &Call) -> Answer {
    let filters = Filters::parse(call.query.value("filters").unwrap_or_default(), &PRUNE_FILTERS)?;
    let until = until(call, &filters)?;
    let wanted = |network: &NetworkView| {
        filters.labels(&network.labels) && until.is_none_or(|until| network.created < until)
    };
    let removed = call.daemon.engine.prune_networks(wanted).await;
    let removed = if removed.is_empty() { Value::Null } else { json!(removed) };
    ok(&json!({ "NetworksDeleted": removed }))
}

async fn connect(mut call: Call, network: &str) -> Answer {
    let wire: ConnectRequest = call.json().await?;
    let joins = membership(network, wire.endpoint_config.unwrap_or_default())?;
    let container = wire.container.unwrap_or_default();
    call.daemon.engine.connect(network, &container, joins).await?;
    Ok(empty(StatusCode::OK))
}

async fn disconnect(mut call: Call, network: &str) -> Answer {
    let wire: DisconnectRequest = call.json().await?;
    let container = wire.container.unwrap_or_default();
    let force = wire.force.unwrap_or_default();
    call.daemon.engine.disconnect(network, &container, force).await?;
    Ok(empty(StatusCode::OK))
}

/// What a client calls a network, in the engine's words: `bridge` and `default` are the default
/// network.
pub(crate) fn network_name(name: &str) -> &str {
    match name {
        "" | "default" | "bridge" => NETWORK_NAT,
        other => other,
    }
}

/// How a container joins a network.
pub(crate) fn membership(
    network: &str,
    settings: EndpointSettings,
) -> Result<Membership, EngineError> {
    refuse_links(settings.links.as_deref().unwrap_or_default())?;
    let ipam = settings.ipam_config.unwrap_or_default();
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    if let Some(address) = text(ipam.ipv6_address) {
        return Err(EngineError::invalid(format!(
            "invalid endpoint settings:\nno configured subnet contains IP address {address}"
        )));
    }
    let address = text(ipam.ipv4_address).map(|text| {
        text.parse().map_err(|_| {
            EngineError::invalid(format!(
                "invalid endpoint settings:\ninvalid IPv4 address: {text}"
            ))
        })
    });
    Ok(Membership {
        network: network_name(network).to_owned(),
        aliases: settings.aliases.unwrap_or_default(),
        address: address.transpose()?,
        mac: text(settings.mac_address).as_deref().map(hardware_address).transpose()?,
        priority: settings.gw_priority.unwrap_or_default(),
        driver_options: settings.driver_opts.unwrap_or_default(),
    })
}

/// Refuses links, which Windows has not.
pub(crate) fn refuse_links(links: &[String]) -> Result<(), EngineError> {
    if links.is_empty() {
        return Ok(());
    }
    Err(EngineError::unsupported(
        "links are not supported: containers of one network find each other by name and alias",
    ))
}

/// Reads `02:42:ac:11:00:02`, or the same with dashes.
pub(crate) fn hardware_address(text: &str) -> Result<[u8; 6], EngineError> {
    let byte = |text: &str| match text.len() {
        2 => u8::from_str_radix(text, 16).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.split([':', '-']).map(byte).collect();
    let bytes = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
    // The lowest bit of the first byte marks groups (IEEE 802).
    bytes
        .filter(|bytes| bytes[0] & 1 == 0 && *bytes != [0; 6])
        .ok_or_else(|| EngineError::invalid(format!("invalid MAC address: {text}")))
}

fn view(call: &Call, network: &NetworkView, with_containers: bool) -> Value {
    let mut containers = serde_json::Map::new();
    if with_containers {
        for container in call.daemon.engine.containers() {
            let Some((spec, endpoint)) = container.endpoint_on(&network.name) else { continue };
            let entry = json!({
                "Name": container.name,
                "EndpointID": spec.id,
                "MacAddress": endpoint.mac,
                "IPv4Address": format!("{}/{}", endpoint.address, endpoint.prefix),
                "IPv6Address": "",
            });
            containers.insert(container.id.clone(), entry);
        }
    }
    let addresses = |texts: &std::collections::BTreeMap<String, std::net::Ipv4Addr>| {
        let text =
            |(name, address): (&String, &std::net::Ipv4Addr)| (name.clone(), address.to_string());
        texts.iter().map(text).collect()
    };
    let config = network.spec.iter().map(|spec| IpamConfig {
        subnet: Some(spec.subnet.to_string()),
        ip_range: spec.range.map(|range| range.to_string()),
        gateway: Some(spec.gateway.to_string()),
        auxiliary_addresses: (!network.auxiliary.is_empty()).then(|| addresses(&network.auxiliary)),
    });
    let ipam_options = &network.ipam_options;
    json!({
        "Name": network.name,
        "Id": network.id,
        "Created": network.created.to_string(),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": true,
        "EnableIPv6": false,
        "IPAM": {
            "Driver": "default",
            "Options": if ipam_options.is_empty() { Value::Null } else { json!(ipam_options) },
            "Config": config.collect::<Vec<_>>(),
        },
        "Internal": network.internal(),
        "Attachable": network.attachable,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers,
        "Options": network.options,
        "Labels": network.labels,
    })
}
