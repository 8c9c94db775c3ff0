//! What the host offers for networks, for `oriel system check`.

use std::{io, net::Ipv4Addr};

use fs_err as fs;
use nix::sched::{CloneFlags, unshare};
use oriel_hcs::{Block, Check, CheckLevel, NetworkError};
use tokio::process::Command;

use crate::{
    addresses::Subnet,
    firewall,
    links::Netlink,
    namespace::on_thread,
    rules::{self, NetworkRules, RuleSet},
};

/// Looks at what networks need from the host. Changes nothing there: what has to be tried is tried
/// in a network namespace of its own.
pub async fn check() -> Vec<Check> {
    vec![check_program().await, check_trial().await, check_forwarding(), check_policy().await]
}

async fn check_program() -> Check {
    const NAME: &str = "nft";
    const REMEDY: &str = "install nftables, as with: apt-get install nftables";
    match Command::new(firewall::program()).arg("--version").output().await {
        Ok(output) if output.status.success() => {
            ok(NAME, String::from_utf8_lossy(&output.stdout).trim())
        }
        Ok(output) => failing(NAME, &format!("nft --version: {}", output.status), REMEDY),
        Err(error) => failing(NAME, &format!("cannot run nft: {error}"), REMEDY),
    }
}

/// Makes a bridge and a whole rule set where it harms nobody.
async fn check_trial() -> Check {
    const NAME: &str = "bridge and packet filter";
    const REMEDY: &str = "run as root on a kernel with the modules bridge, veth, nf_tables, \
                          nft_nat, nft_masq, nft_ct and nft_fib_ipv4";
    let trial = on_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(try_network())
    });
    match trial.await {
        Ok(()) => ok(NAME, "a network can be made"),
        Err(error) => failing(NAME, &error.to_string(), REMEDY),
    }
}

async fn try_network() -> io::Result<()> {
    const BRIDGE: &str = "oriel-check";
    let gateway = Ipv4Addr::new(192, 0, 2, 1);
    let block = Block::around(gateway, 24).ok_or(io::ErrorKind::InvalidInput)?;
    let subnet = Subnet::new(block, gateway).map_err(io::Error::other)?;
    let kernel = Netlink::open()?;
    kernel.ensure_bridge(BRIDGE, subnet, "").await?;
    kernel.try_pair().await?;
    let networks = vec![NetworkRules { bridge: BRIDGE.to_owned(), subnet: block, internal: false }];
    let batch = rules::replacement("oriel-check", &RuleSet { networks, ports: Vec::new() });
    firewall::apply(&batch).await.map_err(io::Error::other)
}

fn check_forwarding() -> Check {
    const NAME: &str = "ip_forward";
    match fs::read_to_string("/proc/sys/net/ipv4/ip_forward") {
        Ok(value) if value.trim() == "1" => ok(NAME, "on"),
        Ok(_) => ok(NAME, "off; switched on with the first network"),
        Err(error) => failing(NAME, &error.to_string(), "run on a kernel with IPv4"),
    }
}

/// Accepting in our table cannot undo that another table drops.
async fn check_policy() -> Check {
    const NAME: &str = "forward policy";
    match firewall::list(&["list", "chains"]).await.map(|text| dropping_chains(&text)) {
        Ok(chains) if chains.is_empty() => ok(NAME, "no other rules drop forwarded packets"),
        Ok(chains) => Check {
            name: NAME.to_owned(),
            level: CheckLevel::Warning,
            finding: format!("dropped by default in {}", chains.join(", ")),
            remedy: "let the bridges pass there, as with: iptables -I DOCKER-USER -i BRIDGE -j \
                     ACCEPT; iptables -I DOCKER-USER -o BRIDGE -j ACCEPT"
                .to_owned(),
        },
        Err(NetworkError::Host { reason, .. }) => {
            failing(NAME, &reason, "see the checks before this one")
        }
        Err(error) => failing(NAME, &error.to_string(), "see the checks before this one"),
    }
}

/// Chains that forwarded packets must pass and that drop what no rule of theirs accepts, from
/// `nft -j list chains`.
fn dropping_chains(listing: &str) -> Vec<String> {
    let listing: serde_json::Value = serde_json::from_str(listing).unwrap_or_default();
    let objects = listing["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let drops = |chain: &&serde_json::Value| {
        chain["hook"] == "forward"
            && chain["policy"] == "drop"
            && matches!(chain["family"].as_str(), Some("ip" | "inet"))
    };
    let name = |chain: &serde_json::Value| {
        let word = |key: &str| chain[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", word("family"), word("table"), word("name"))
    };
    objects.iter().map(|object| &object["chain"]).filter(drops).map(name).collect()
}

fn ok(name: &str, finding: &str) -> Check {
    Check {
        name: name.to_owned(),
        level: CheckLevel::Ok,
        finding: finding.to_owned(),
        remedy: String::new(),
    }
}

fn failing(name: &str, finding: &str, remedy: &str) -> Check {
    Check {
        name: name.to_owned(),
        level: CheckLevel::Failing,
        finding: finding.to_owned(),
        remedy: remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_that_drop_what_is_forwarded_are_named() {
        let listing = r#"{"nftables": [{"metainfo": {}},
            {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward",
                       "policy": "drop"}},
            {"chain": {"family": "ip", "table": "filter", "name": "INPUT", "hook": "input",
                       "policy": "drop"}},
            {"chain": {"family": "ip6", "table": "filter", "name": "FORWARD", "hook": "forward",
                       "policy": "drop"}},
            {"chain": {"family": "ip", "table": "oriel-x", "name": "forward", "hook": "forward",
                       "policy": "accept"}}]}"#;
        assert_eq!(dropping_chains(listing), ["ip filter FORWARD"]);
        assert!(dropping_chains("nonsense").is_empty());
    }
}
