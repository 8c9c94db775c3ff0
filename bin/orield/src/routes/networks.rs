//! Networks, as far as they exist: there are two.

use hyper::{Method, StatusCode};
use oriel_api::Filters;
use oriel_engine::NetworkView;
use serde_json::{Value, json};

use super::{unknown, usage};
use crate::http::{Answer, Call, HttpError, ok};

const FILTERS: [&str; 7] = ["driver", "id", "label", "name", "scope", "type", "dangling"];

pub(crate) fn networks(call: &Call, method: &Method, segments: &[&str]) -> Answer {
    match (method.as_str(), segments) {
        ("GET", []) => {
            let filters =
                Filters::parse(call.query.value("filters").unwrap_or_default(), &FILTERS)?;
            let all = call.daemon.engine.networks().iter();
            let wanted = all.filter(|network| wanted(network, &filters));
            ok(&wanted.map(|network| view(call, network, false)).collect::<Vec<_>>())
        }
        ("POST", ["create"]) => Err(HttpError::unsupported(
            "user-defined networks are not supported by this daemon yet: use 'nat' or 'none'",
        )),
        ("POST", ["prune"]) => usage::nothing_to_prune(&call.daemon.engine, "network"),
        ("GET", name) => ok(&view(call, call.daemon.engine.network(&name.join("/"))?, true)),
        ("DELETE", name) => {
            let network = call.daemon.engine.network(&name.join("/"))?;
            let text = format!("{} is a pre-defined network and cannot be removed", network.name);
            Err(HttpError::new(StatusCode::FORBIDDEN, text))
        }
        ("POST", [name, "connect" | "disconnect"]) => {
            call.daemon.engine.network(name)?;
            Err(HttpError::unsupported(
                "joining and leaving networks is not supported by this daemon yet",
            ))
        }
        _ => unknown(),
    }
}

fn wanted(network: &NetworkView, filters: &Filters) -> bool {
    filters.any("driver", |driver| network.driver == driver)
        && filters.any("id", |id| network.id.starts_with(id))
        && filters.any("name", |name| network.name.contains(name))
        && filters.any("scope", |scope| scope == "local")
        && filters.any("type", |kind| kind == "builtin")
        && filters.any("dangling", |dangling| !matches!(dangling, "true" | "1"))
        && filters.values("label").is_empty()
}

fn view(call: &Call, network: &NetworkView, with_containers: bool) -> Value {
    let mut containers = serde_json::Map::new();
    if with_containers {
        for container in call.daemon.engine.containers() {
            let Some(endpoint) = &container.endpoint else { continue };
            if container.spec.host.network != network.name {
                continue;
            }
            let entry = json!({
                "Name": container.name,
                "EndpointID": container.id,
                "MacAddress": endpoint.mac,
                "IPv4Address": format!("{}/{}", endpoint.address, endpoint.prefix),
                "IPv6Address": "",
            });
            containers.insert(container.id.clone(), entry);
        }
    }
    let config = network.spec.iter().map(|spec| {
        json!({
            "Subnet": format!("{}/{}", spec.subnet, spec.prefix),
            "Gateway": spec.gateway.to_string(),
        })
    });
    json!({
        "Name": network.name,
        "Id": network.id,
        "Created": network.created.to_string(),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": true,
        "EnableIPv6": false,
        "IPAM": { "Driver": "default", "Options": null, "Config": config.collect::<Vec<_>>() },
        "Internal": false,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers,
        "Options": {},
        "Labels": {},
    })
}
