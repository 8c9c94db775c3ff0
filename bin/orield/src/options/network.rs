//! Addresses: of the bridge, of networks to come, of name servers.

use std::net::Ipv4Addr;

use anyhow::{Context as _, bail};
use oriel_engine::NETWORK_NAT;
use oriel_hcs::NetworkSpec;
use serde::Deserialize;
use serde_json::Value;

use super::directives::Directives;

/// What the kernel allows for the name of a link.
const LONGEST_LINK: usize = 15;

/// Addresses that subnets of networks are cut out of: one of `default-address-pools`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressPool {
    /// First address.
    pub(crate) base: Ipv4Addr,
    /// Prefix length of the pool, 8 to 30.
    pub(crate) prefix: u8,
    /// Prefix length of each subnet, from that of the pool to 30.
    pub(crate) size: u8,
}

/// A pool as the file writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolEntry {
    base: String,
    size: u8,
}

/// The network `nat` of a bridge's name and address.
pub(super) fn nat(bridge: &str, bip: &str) -> anyhow::Result<NetworkSpec> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if bridge.is_empty() || bridge.len() > LONGEST_LINK || !bridge.chars().all(plain) {
        bail!(
            "bridge: {bridge:?} is no name of a link: at most {LONGEST_LINK} letters, digits, - _ ."
        );
    }
    let Some((gateway, prefix @ 8..=29)) = block(bip) else {
        bail!("bip: {bip:?} is no IPv4 address with a prefix length from 8 to 29");
    };
    let subnet = first(gateway, prefix);
    if subnet == gateway || gateway.to_bits() | mask(prefix) == u32::MAX {
        bail!("bip: {bip:?} is no address of a host in its own network");
    }
    Ok(NetworkSpec {
        name: NETWORK_NAT.to_owned(),
        bridge: bridge.to_owned(),
        subnet,
        prefix,
        gateway,
    })
}

/// Takes the pools.
pub(super) fn pools(directives: &mut Directives, flags: &[String]) -> Vec<AddressPool> {
    const NAME: &str = "default-address-pools";
    let entries = match directives.take(NAME) {
        None => flags.iter().map(|flag| flagged(flag)).collect(),
        Some(value) => {
            if !flags.is_empty() {
                directives.twice(NAME, &flags.join(" "), &value.to_string());
            }
            listed(value)
        }
    };
    let pools = entries.and_then(|entries| entries.iter().map(pool).collect());
    directives.sound(pools.context(NAME)).unwrap_or_default()
}

fn listed(value: Value) -> anyhow::Result<Vec<PoolEntry>> {
    serde_json::from_value(value)
        .context("must be a list such as [{\"base\": \"10.10.0.0/16\", \"size\": 24}]")
}

/// A pool as a flag writes it: `base=10.10.0.0/16,size=24`.
fn flagged(flag: &str) -> anyhow::Result<PoolEntry> {
    let read = || {
        let (base, size) = flag.strip_prefix("base=")?.split_once(",size=")?;
        Some(PoolEntry { base: base.to_owned(), size: size.parse().ok()? })
    };
    read().with_context(|| format!("{flag:?} is not of the form base=10.10.0.0/16,size=24"))
}

fn pool(entry: &PoolEntry) -> anyhow::Result<AddressPool> {
    let PoolEntry { base: text, size } = entry;
    let Some((base, prefix @ 8..=30)) = block(text) else {
        bail!("{text:?} is no block of IPv4 addresses with a prefix length from 8 to 30");
    };
    if first(base, prefix) != base {
        bail!("{text:?} does not begin at its first address, {}", first(base, prefix));
    }
    if !(prefix..=30).contains(size) {
        bail!("size {size} of {text} is not from {prefix} to 30");
    }
    Ok(AddressPool { base, prefix, size: *size })
}

/// Takes the name servers of containers that name none.
pub(super) fn name_servers(directives: &mut Directives, flags: &[String]) -> Vec<Ipv4Addr> {
    let servers = directives.list("dns", flags);
    let parsed = servers.iter().map(|server| {
        server.parse().with_context(|| format!("dns: {server:?} is no IPv4 address"))
    });
    directives.sound(parsed.collect()).unwrap_or_default()
}

/// An address and a prefix length.
fn block(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok()?))
}

/// Bits of the network's part; for prefix lengths from 1 to 32.
fn mask(prefix: u8) -> u32 {
    u32::MAX << (32 - u32::from(prefix))
}

fn first(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() & mask(prefix))
}
