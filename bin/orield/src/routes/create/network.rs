//! What a container asks of networks: those it joins, its ports, and how it finds names.

use std::net::{IpAddr, Ipv4Addr};

use oriel_api::container::{Config, HostConfig, NetworkingConfig};
use oriel_engine::{EngineError, Membership, parse_port};
use oriel_hcs::PortMapping;

use crate::{
    http::HttpError,
    routes::networks::{hardware_address, membership, network_name},
};

/// Before version 1.44 a container was created on one network, and connected to others later.
pub(super) fn refuse_several_networks(
    networking: Option<&NetworkingConfig>,
) -> Result<(), HttpError> {
    let endpoints = networking.and_then(|config| config.endpoints_config.as_ref());
    match endpoints {
        Some(endpoints) if endpoints.len() > 1 => {
            let names: Vec<&str> = endpoints.keys().map(String::as_str).collect();
            Err(HttpError::invalid(format!(
                "Container cannot be connected to network endpoints: {}",
                names.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

/// The networks that a container joins.
pub(super) fn memberships(
    config: &Config,
    host: &HostConfig,
    networking: Option<NetworkingConfig>,
) -> Result<Vec<Membership>, EngineError> {
    let endpoints = networking.and_then(|config| config.endpoints_config).unwrap_or_default();
    let mut joins = endpoints
        .into_iter()
        .map(|(network, settings)| membership(&network, settings.unwrap_or_default()))
        .collect::<Result<Vec<_>, _>>()?;
    // Clients before version 1.44 say it once for all networks.
    if let Some(mac) = config.mac_address.as_deref().filter(|address| !address.is_empty()) {
        let mode = network_name(host.network_mode.as_deref().unwrap_or_default());
        if !joins.iter().any(|joins| joins.network == mode) {
            joins.push(Membership::to(mode));
        }
        let joins = joins.iter_mut().find(|joins| joins.network == mode);
        if let Some(joins) = joins.filter(|joins| joins.mac.is_none()) {
            joins.mac = Some(hardware_address(mac)?);
        }
    }
    Ok(joins)
}

/// What contradicts sharing the network of another container, in Docker's words.
pub(super) fn check_shared_network(config: &Config, host: &HostConfig) -> Result<(), EngineError> {
    if !host.network_mode.as_deref().is_some_and(|mode| mode.starts_with("container:")) {
        return Ok(());
    }
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let named = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let published = host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty());
    let conflicts = [
        (named(&config.hostname), "hostname and the network mode"),
        (
            some(&host.links),
            "container type network can't be used with links. This would result in undefined \
             behavior",
        ),
        (some(&host.dns), "dns and the network mode"),
        (some(&host.extra_hosts), "custom host-to-IP mapping and the network mode"),
        (named(&config.mac_address), "mac-address and the network mode"),
        (
            published || host.publish_all_ports == Some(true),
            "port publishing and the container type network mode",
        ),
        (
            config.exposed_ports.as_ref().is_some_and(|ports| !ports.is_empty()),
            "port exposing and the container type network mode",
        ),
    ];
    match conflicts.into_iter().find(|(conflict, _)| *conflict) {
        Some((_, text)) => Err(EngineError::invalid(format!("conflicting options: {text}"))),
        None => Ok(()),
    }
}

pub(super) fn network(mode: &str, warnings: &mut Vec<String>) -> Result<String, EngineError> {
    match mode {
        "bridge" => {
            warnings.push("There is no network 'bridge' on Windows. Using 'nat'.".to_owned());
        }
        "container" | "container:" => {
            return Err(EngineError::invalid(
                "invalid network mode: invalid container format container:<name|id>",
            ));
        }
        _ => {}
    }
    Ok(network_name(mode).to_owned())
}

pub(super) fn ports(host: &HostConfig) -> Result<Vec<PortMapping>, EngineError> {
    let mut ports = Vec::new();
    for (exposed, bindings) in host.port_bindings.iter().flatten() {
        let (container_port, protocol) = parse_port(exposed)?;
        for binding in bindings.iter().flatten() {
            let ip = binding.host_ip.as_deref().unwrap_or_default();
            let host_ip: IpAddr = if ip.is_empty() {
                Ipv4Addr::UNSPECIFIED.into()
            } else {
                ip.parse().map_err(|_| {
                    EngineError::invalid(format!("invalid IP address in port binding: '{ip}'"))
                })?
            };
            let port = binding.host_port.as_deref().unwrap_or_default();
            let host_port = if port.is_empty() {
                0
            } else {
                port.parse().map_err(|_| {
                    EngineError::invalid(format!("invalid host port '{port}' for {exposed}"))
                })?
            };
            ports.push(PortMapping { protocol, host_ip, host_port, container_port });
        }
    }
    Ok(ports)
}

pub(super) fn extra_hosts(lines: &[String]) -> Result<Vec<(String, String)>, EngineError> {
    lines
        .iter()
        .map(|line| {
            let bad = || EngineError::invalid(format!("bad format for add-host: {line:?}"));
            let (name, address) = line.split_once([':', '=']).ok_or_else(bad)?;
            let address = address.trim_matches(['[', ']']);
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            if name.is_empty() || !plain {
                return Err(bad());
            }
            if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
                return Err(EngineError::invalid(format!(
                    "invalid IP address in add-host: {address:?}"
                )));
            }
            Ok((name.to_owned(), address.to_owned()))
        })
        .collect()
}

pub(super) fn name_servers(servers: &[String]) -> Result<Vec<Ipv4Addr>, EngineError> {
    servers
        .iter()
        .map(|server| {
            server.parse().map_err(|_| {
                EngineError::invalid(format!("{server} is not an IPv4 address of a name server"))
            })
        })
        .collect()
}

/// Words of `resolv.conf`. A dot alone is nothing, as with Docker.
pub(super) fn words(option: &str, words: Option<&[String]>) -> Result<Vec<String>, EngineError> {
    let given = words.unwrap_or_default().iter().filter(|word| *word != ".");
    let checked = given.map(|word| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if word.is_empty() || !word.chars().all(plain) {
            return Err(EngineError::invalid(format!("invalid {option}: {word:?}")));
        }
        Ok(word.clone())
    });
    checked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_resolver_smuggle_no_lines() {
        let words = |word: &str| words("dns-search", Some(&[word.to_owned()]));
        assert_eq!(words("a.example").unwrap(), ["a.example"]);
        assert_eq!(words(".").unwrap(), Vec::<String>::new());
        for word in ["", "a b", "a\nnameserver 1.2.3.4"] {
            assert!(words(word).is_err(), "{word:?}");
        }
    }
}
