//! Addresses: of the bridge, of networks to come, of name servers.

use std::net::Ipv4Addr;

use anyhow::{Context as _, bail};
use oriel_engine::{AddressPool, NETWORK_NAT};
use oriel_hcs::{Block, NetworkSpec};
use serde_json::Value;

use super::directives::Directives;

/// What the kernel allows for the name of a link.
const LONGEST_LINK: usize = 15;

/// The network `nat` of a bridge's name and address.
pub(super) fn nat(bridge: &str, bip: &str) -> anyhow::Result<NetworkSpec> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if bridge.is_empty() || bridge.len() > LONGEST_LINK || !bridge.chars().all(plain) {
        bail!(
            "bridge: {bridge:?} is no name of a link: at most {LONGEST_LINK} letters, digits, - _ ."
        );
    }
    let parsed = bip.split_once('/').and_then(|(address, prefix)| {
        Some((address.parse::<Ipv4Addr>().ok()?, prefix.parse::<u8>().ok()?))
    });
    let Some((gateway, prefix @ 8..=29)) = parsed else {
        bail!("bip: {bip:?} is no IPv4 address with a prefix length from 8 to 29");
    };
    let subnet = Block::around(gateway, prefix).context("no prefix length is above 32")?;
    if subnet.first() == gateway || subnet.last() == gateway {
        bail!("bip: {bip:?} is no address of a host in its own network");
    }
    Ok(NetworkSpec {
        name: NETWORK_NAT.to_owned(),
        bridge: bridge.to_owned(),
        subnet,
        gateway,
        range: None,
        reserved: Vec::new(),
        internal: false,
    })
}

/// Takes the pools; Docker's own when nobody says.
pub(super) fn pools(directives: &mut Directives, flags: &[String]) -> Vec<AddressPool> {
    const NAME: &str = "default-address-pools";
    let pools = match directives.take(NAME) {
        None => flags.iter().map(|flag| flagged(flag)).collect(),
        Some(value) => {
            if !flags.is_empty() {
                directives.twice(NAME, &flags.join(" "), &value.to_string());
            }
            listed(value)
        }
    };
    let pools = pools.and_then(|pools: Vec<AddressPool>| {
        match pools.iter().find(|pool| !pool.is_valid()) {
            Some(pool) => {
                bail!("no subnets of prefix length {} can be cut from {}", pool.size, pool.base)
            }
            None => Ok(pools),
        }
    });
    let pools = directives.sound(pools.context(NAME)).unwrap_or_default();
    if pools.is_empty() { AddressPool::defaults() } else { pools }
}

fn listed(value: Value) -> anyhow::Result<Vec<AddressPool>> {
    serde_json::from_value(value)
        .context("must be a list such as [{\"base\": \"10.10.0.0/16\", \"size\": 24}]")
}

/// A pool as a flag writes it: `base=10.10.0.0/16,size=24`.
fn flagged(flag: &str) -> anyhow::Result<AddressPool> {
    let read = || {
        let (base, size) = flag.strip_prefix("base=")?.split_once(",size=")?;
        Some(AddressPool { base: base.parse().ok()?, size: size.parse().ok()? })
    };
    read().with_context(|| format!("{flag:?} is not of the form base=10.10.0.0/16,size=24"))
}

/// Takes the name servers of containers that name none.
pub(super) fn name_servers(directives: &mut Directives, flags: &[String]) -> Vec<Ipv4Addr> {
    let servers = directives.list("dns", flags);
    let parsed = servers.iter().map(|server| {
        server.parse().with_context(|| format!("dns: {server:?} is no IPv4 address"))
    });
    directives.sound(parsed.collect()).unwrap_or_default()
}
