//! From a client's wishes to a network. Pure. Texts are Docker's where it has them.

use std::{collections::BTreeMap, net::Ipv4Addr};

use oriel_hcs::{Block, Class, NetworkSpec};

use super::{NETWORK_NAT, NETWORK_NONE, NetworkRequest, SubnetRequest};
use crate::EngineError;

/// Prefix lengths of subnets: one address for an endpoint is the least.
const PREFIXES: std::ops::RangeInclusive<u8> = 8..=30;

/// Blocks that are no networks between hosts (RFC 6890): this host, loopback, link-local, multicast
/// and reserved.
const UNUSABLE: [([u8; 4], u8); 5] = [
    ([0, 0, 0, 0], 8),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Names that mean something else wherever networks are named.
const PREDEFINED: [&str; 6] = [NETWORK_NAT, NETWORK_NONE, "default", "bridge", "host", "container"];

/// Docker's words for what only a swarm can do.
const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker \
                        swarm join\" to connect this node to swarm and try again.";

/// What a network's driver makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    /// Address translation leads out.
    Nat,
    /// Nothing leads out.
    Internal,
}

impl Driver {
    /// Its name as Docker shows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Internal => "internal",
        }
    }

    /// Reads a driver's name. `bridge` is what clients on Linux call it, and what the Docker CLI
    /// sends when its user says nothing.
    fn parse(name: &str) -> Result<Self, EngineError> {
        match name {
            "" | "default" | "nat" | "bridge" => Ok(Self::Nat),
            "internal" => Ok(Self::Internal),
            "null" | "none" => {
                Err(denied("only one instance of \"null\" network is allowed".to_owned()))
            }
            "overlay" => Err(denied(NO_SWARM.to_owned())),
            "transparent" | "l2bridge" | "l2tunnel" | "ics" | "private" => {
                Err(EngineError::unsupported(format!(
                    "network driver {name:?} is not supported by this daemon: use \"nat\" or \
                     \"internal\""
                )))
            }
            _ => Err(no_plugin(name)),
        }
    }
}

/// Checks what a request says besides its subnet.
pub(super) fn check(request: &NetworkRequest) -> Result<Driver, EngineError> {
    check_name(&request.name)?;
    let driver = Driver::parse(&request.driver)?;
    if request.config_only || request.config_from {
        return Err(EngineError::unsupported(
            "configuration-only networks are not supported by this daemon",
        ));
    }
    if request.ingress {
        return Err(denied("Ingress network can only be global scope network".to_owned()));
    }
    if !matches!(request.scope.as_str(), "" | "local") {
        return Err(denied(NO_SWARM.to_owned()));
    }
    if request.ipv4 == Some(false) {
        return Err(EngineError::invalid("IPv4 cannot be disabled on Windows"));
    }
    if request.ipv6 || request.subnets.iter().any(|subnet| subnet.subnet.contains(':')) {
        return Err(denied("windowsshim driver doesn't support v6 subnets".to_owned()));
    }
    match request.ipam_driver.as_str() {
        "" | "default" | "windows" => Ok(driver),
        other => Err(no_plugin(other)),
    }
}

fn check_name(name: &str) -> Result<(), EngineError> {
    if name.trim().is_empty() {
        return Err(EngineError::invalid("invalid name: name is empty"));
    }
    if PREDEFINED.contains(&name) {
        return Err(denied(format!("operation is not permitted on predefined {name} network ")));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let valid = name.len() <= NetworkSpec::LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain);
    if valid {
        return Ok(());
    }
    Err(EngineError::invalid(format!(
        "invalid network name ({}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, at most {} of them",
        name.escape_default(),
        NetworkSpec::LONGEST_NAME
    )))
}

/// Addresses of a network, settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) subnet: Block,
    pub(super) gateway: Ipv4Addr,
    pub(super) range: Option<Block>,
    pub(super) auxiliary: BTreeMap<String, Ipv4Addr>,
}

impl Addresses {
    /// A whole subnet whose first address is the gateway's.
    pub(super) fn of(subnet: Block) -> Self {
        let gateway = Ipv4Addr::from_bits(subnet.first().to_bits().saturating_add(1));
        Self { subnet, gateway, range: None, auxiliary: BTreeMap::new() }
    }
}

/// Reads the subnet that a client asks for; `None` when it leaves that to the daemon.
pub(super) fn addresses(requests: &[SubnetRequest]) -> Result<Option<Addresses>, EngineError> {
    let request = match requests {
        [] => return Ok(None),
        [request] if *request == SubnetRequest::default() => return Ok(None),
        [request] => request,
        _ => return Err(EngineError::invalid("a network has one IPv4 subnet only")),
    };
    if request.subnet.is_empty() {
        return Err(EngineError::invalid(
            "every ip-range or gateway must have a corresponding subnet",
        ));
    }
    settle(request).map(Some).map_err(|reasons| {
        EngineError::invalid(format!("invalid network config:\n{}", reasons.join("\n")))
    })
}

fn settle(request: &SubnetRequest) -> Result<Addresses, Vec<String>> {
    let subnet = block("subnet", &request.subnet).map_err(|reason| vec![reason])?;
    let mut errors = Vec::new();
    let unusable = |(first, prefix): &([u8; 4], u8)| {
        Block::around((*first).into(), *prefix).is_some_and(|block| block.overlaps(subnet))
    };
    if !PREFIXES.contains(&subnet.prefix()) {
        errors.push(format!("invalid subnet {subnet}: its prefix length is not within 8 to 30"));
    } else if UNUSABLE.iter().any(unusable) {
        errors.push(format!("invalid subnet {subnet}: no network may have these addresses"));
    }
    let mut addresses = Addresses::of(subnet);
    if !request.gateway.is_empty() {
        match address(&request.gateway, subnet) {
            Ok(gateway) if gateway != subnet.first() && gateway != subnet.last() => {
                addresses.gateway = gateway;
            }
            Ok(edge) => errors.push(format!("invalid gateway {edge}: it is no host's address")),
            Err(reason) => errors.push(format!("invalid gateway {}: {reason}", request.gateway)),
        }
    }
    if !request.range.is_empty() {
        match range(&request.range, subnet) {
            Ok(range) => addresses.range = Some(range),
            Err(reason) => errors.push(reason),
        }
    }
    for (name, text) in &request.auxiliary {
        match address(text, subnet) {
            Ok(address) => {
                addresses.auxiliary.insert(name.clone(), address);
            }
            Err(reason) => errors.push(format!("invalid auxiliary address {name}: {reason}")),
        }
    }
    if errors.is_empty() { Ok(addresses) } else { Err(errors) }
}

fn block(what: &str, text: &str) -> Result<Block, String> {
    let bad = || format!("invalid {what} {}: invalid CIDR address", text.escape_default());
    let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
    let address: Ipv4Addr = address.parse().map_err(|_| bad())?;
    let prefix = prefix.parse().map_err(|_| bad())?;
    let block = Block::around(address, prefix).ok_or_else(bad)?;
    if block.first() == address {
        Ok(block)
    } else {
        Err(format!("invalid {what} {text}: it should be {block}"))
    }
}

fn range(text: &str, subnet: Block) -> Result<Block, String> {
    let range = block("ip-range", text)?;
    if range.prefix() < subnet.prefix() {
        return Err(format!(
            "invalid ip-range {range}: CIDR block is bigger than its parent subnet {subnet}"
        ));
    }
    if !subnet.overlaps(range) {
        return Err(format!(
            "invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range"
        ));
    }
    Ok(range)
}

fn address(text: &str, subnet: Block) -> Result<Ipv4Addr, String> {
    let address: Ipv4Addr = text.parse().map_err(|_| "it is no IPv4 address".to_owned())?;
    if subnet.contains(address) {
        Ok(address)
    } else {
        Err(format!("parent subnet {subnet} doesn't contain this address"))
    }
}

/// Name of a network's bridge link: what Docker calls its own, 15 bytes.
pub(super) fn bridge(id: &str) -> String {
    format!("br-{}", id.get(..12).unwrap_or(id))
}

pub(super) fn denied(reason: String) -> EngineError {
    EngineError::Refused { class: Class::Denied, reason }
}

fn no_plugin(name: &str) -> EngineError {
    let name = name.escape_default();
    let reason = format!("could not find plugin {name} in v1 plugin registry: plugin not found");
    EngineError::Refused { class: Class::NotFound, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> NetworkRequest {
        NetworkRequest { name: "back".to_owned(), ..NetworkRequest::default() }
    }

    fn subnet(subnet: &str, range: &str, gateway: &str) -> SubnetRequest {
        let [subnet, range, gateway] = [subnet, range, gateway].map(str::to_owned);
        SubnetRequest { subnet, range, gateway, auxiliary: BTreeMap::new() }
    }

    #[test]
    fn clients_of_linux_mean_nat() {
        for driver in ["", "nat", "bridge", "default"] {
            let request = NetworkRequest { driver: driver.to_owned(), ..request() };
            assert_eq!(check(&request).unwrap(), Driver::Nat, "{driver}");
        }
        let request = NetworkRequest { driver: "internal".to_owned(), ..request() };
        assert_eq!(check(&request).unwrap().name(), "internal");
    }

    #[test]
    fn other_drivers_are_refused_in_words() {
        for (driver, class, words) in [
            ("overlay", Class::Denied, "This node is not a swarm manager"),
            ("null", Class::Denied, "only one instance of \"null\" network is allowed"),
            ("transparent", Class::Unsupported, "is not supported by this daemon"),
            ("macvlan", Class::NotFound, "could not find plugin macvlan in v1 plugin registry"),
            ("host", Class::NotFound, "plugin not found"),
        ] {
            let request = NetworkRequest { driver: driver.to_owned(), ..request() };
            let error = check(&request).unwrap_err();
            assert_eq!(error.class(), class, "{driver}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn names_are_plain_and_not_predefined() {
        let named = |name: &str| NetworkRequest { name: name.to_owned(), ..request() };
        for name in ["a", "Back_1.x-y", &"n".repeat(128)] {
            assert!(check(&named(name)).is_ok(), "{name}");
        }
        for name in ["", " ", "a b", "-a", "a/b", "ü", "a\n", &"n".repeat(129)] {
            assert_eq!(check(&named(name)).unwrap_err().class(), Class::Invalid, "{name:?}");
        }
        for name in PREDEFINED {
            let error = check(&named(name)).unwrap_err();
            let text = format!("operation is not permitted on predefined {name} network ");
            assert_eq!((error.class(), error.to_string()), (Class::Denied, text));
        }
    }

    #[test]
    fn what_windows_cannot_is_refused_in_its_words() {
        let error = check(&NetworkRequest { ipv6: true, ..request() }).unwrap_err();
        assert_eq!(error.to_string(), "windowsshim driver doesn't support v6 subnets");
        let subnets = vec![subnet("fd00::/64", "", "")];
        let error = check(&NetworkRequest { subnets, ..request() }).unwrap_err();
        assert_eq!(error.class(), Class::Denied);
        let error = check(&NetworkRequest { ipv4: Some(false), ..request() }).unwrap_err();
        assert_eq!(error.to_string(), "IPv4 cannot be disabled on Windows");
        let swarm = NetworkRequest { scope: "swarm".to_owned(), ..request() };
        assert_eq!(check(&swarm).unwrap_err().class(), Class::Denied);
        let ipam = NetworkRequest { ipam_driver: "dhcp".to_owned(), ..request() };
        assert_eq!(check(&ipam).unwrap_err().class(), Class::NotFound);
    }

    #[test]
    fn a_gateway_is_the_first_address_unless_said_otherwise() {
        assert_eq!(addresses(&[]).unwrap(), None);
        assert_eq!(addresses(&[SubnetRequest::default()]).unwrap(), None);
        let found = addresses(&[subnet("10.1.0.0/16", "", "")]).unwrap().unwrap();
        assert_eq!(found.gateway, Ipv4Addr::new(10, 1, 0, 1));
        let found = addresses(&[subnet("10.1.0.0/16", "10.1.5.0/24", "10.1.255.254")]);
        let found = found.unwrap().unwrap();
        assert_eq!(found.gateway, Ipv4Addr::new(10, 1, 255, 254));
        assert_eq!(found.range, "10.1.5.0/24".parse().ok());
    }

    #[test]
    fn addresses_that_do_not_fit_are_refused_in_dockers_words() {
        for (request, words) in [
            (subnet("10.1.0.1/16", "", ""), "invalid subnet 10.1.0.1/16: it should be 10.1.0.0/16"),
            (subnet("10.1.0.0", "", ""), "invalid subnet 10.1.0.0: invalid CIDR address"),
            (subnet("10.0.0.0/33", "", ""), "invalid CIDR address"),
            (subnet("10.0.0.0/31", "", ""), "is not within 8 to 30"),
            (subnet("0.0.0.0/0", "", ""), "is not within 8 to 30"),
            (subnet("127.0.0.0/8", "", ""), "no network may have these addresses"),
            (subnet("169.254.0.0/17", "", ""), "no network may have these addresses"),
            (
                subnet("10.1.0.0/16", "10.0.0.0/8", ""),
                "10.0.0.0/8: CIDR block is bigger than its parent subnet 10.1.0.0/16",
            ),
            (
                subnet("10.1.0.0/16", "10.2.0.0/24", ""),
                "parent subnet 10.1.0.0/16 doesn't contain ip-range",
            ),
            (
                subnet("10.1.0.0/16", "", "10.2.0.1"),
                "invalid gateway 10.2.0.1: parent subnet 10.1.0.0/16 doesn't contain this address",
            ),
            (subnet("10.1.0.0/16", "", "10.1.0.0"), "it is no host's address"),
            (subnet("", "", "10.1.0.1"), "must have a corresponding subnet"),
        ] {
            let error = addresses(std::slice::from_ref(&request)).unwrap_err();
            assert_eq!(error.class(), Class::Invalid);
            assert!(error.to_string().contains(words), "{error}");
        }
        let two = [subnet("10.1.0.0/16", "", ""), subnet("10.2.0.0/16", "", "")];
        assert!(addresses(&two).is_err());
    }

    #[test]
    fn bridges_have_names_of_15_bytes() {
        assert_eq!(bridge(&"0123456789abcdef".repeat(4)), "br-0123456789ab");
    }
}
