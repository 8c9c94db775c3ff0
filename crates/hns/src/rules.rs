//! The rule set of an instance, whole. Pure.
//!
//! Every change rewrites the instance's table in one transaction: there is no state between two
//! rule sets, and rules that somebody damaged heal. Connections live through it, because address
//! translation is recorded per connection.
//!
//! ```text
//! raw         bridge -> 127.0.0.0/8: drop      `route_localnet` must not open the host's loopback
//! prerouting  bridge -> names:53: accept       a published port 53 must not swallow the names
//!             host address:port -> dnat        from other hosts and from containers
//! output      host address:port -> dnat        from the host itself, 127.0.0.1 too
//! forward     internal bridge <-> elsewhere: drop
//!             to a bridge: answers, published ports and neighbours only; from a bridge: all
//! postrouting subnet -> elsewhere: masquerade
//!             loopback or subnet -> published port: masquerade, so that the answer comes back here
//! ```
//!
//! `accept` ends this table's verdict only: another table that drops what is forwarded still does
//! (see [`crate::check()`]).

use std::{collections::HashSet, net::Ipv4Addr};

use nftables::{
    batch::Batch,
    expr::{
        CT, Expression, Fib, FibFlag, FibResult, Meta, MetaKey, NamedExpression, Payload,
        PayloadField, Prefix,
    },
    schema::{Chain, NfListObject, Nftables, Rule, Table},
    stmt::{Match, NAT, Operator, Statement},
    types::{NfChainPolicy, NfChainType, NfFamily, NfHook},
};
use oriel_hcs::{Block, Protocol};

use crate::dns::NAME_SERVER;

/// Priorities of `nft(8)`, "Standard priority names".
const PRIORITY_RAW: i32 = -300;
const PRIORITY_DSTNAT: i32 = -100;
const PRIORITY_FILTER: i32 = 0;
const PRIORITY_SRCNAT: i32 = 100;

const DNS_PORT: u16 = 53;

/// All that an instance wants of the kernel's packet filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleSet {
    /// Its networks.
    pub(crate) networks: Vec<NetworkRules>,
    /// Its published ports.
    pub(crate) ports: Vec<PublishedPort>,
}

/// A network as the packet filter sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkRules {
    /// Name of the bridge link.
    pub(crate) bridge: String,
    /// Its addresses.
    pub(crate) subnet: Block,
    /// Whether nothing but itself can be reached.
    pub(crate) internal: bool,
}

/// A published port as the packet filter sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublishedPort {
    /// Transport protocol.
    pub(crate) protocol: Protocol,
    /// Host address; `None` means every local one.
    pub(crate) host: Option<Ipv4Addr>,
    /// Host port.
    pub(crate) host_port: u16,
    /// The endpoint's address.
    pub(crate) address: Ipv4Addr,
    /// The port there.
    pub(crate) container_port: u16,
}

/// The transaction that puts `rules` in place of whatever the table holds.
pub(crate) fn replacement(table: &str, rules: &RuleSet) -> Nftables<'static> {
    let mut writer = Writer::new(table);
    writer.replace_table();
    writer.raw(rules);
    writer.translate(rules);
    writer.forward(rules);
    writer.postrouting(rules);
    writer.batch.to_nftables()
}

/// The transaction that removes the table, whether it is there or not.
pub(crate) fn removal(table: &str) -> Nftables<'static> {
    let mut writer = Writer::new(table);
    writer.remove_table();
    writer.batch.to_nftables()
}

struct Writer {
    table: String,
    batch: Batch<'static>,
}

impl Writer {
    fn new(table: &str) -> Self {
        Self { table: table.to_owned(), batch: Batch::new() }
    }

    /// Adding first makes the deletion succeed when there is none; `destroy` needs Linux 6.3.
    fn remove_table(&mut self) {
        let table =
            Table { family: NfFamily::IP, name: self.table.clone().into(), ..Table::default() };
        self.batch.add(NfListObject::Table(table.clone()));
        self.batch.delete(NfListObject::Table(table));
    }

    fn replace_table(&mut self) {
        self.remove_table();
        self.batch.add(NfListObject::Table(Table {
            family: NfFamily::IP,
            name: self.table.clone().into(),
            ..Table::default()
        }));
        let chains = [
            ("raw", NfChainType::Filter, NfHook::Prerouting, PRIORITY_RAW),
            ("prerouting", NfChainType::NAT, NfHook::Prerouting, PRIORITY_DSTNAT),
            ("output", NfChainType::NAT, NfHook::Output, PRIORITY_DSTNAT),
            ("forward", NfChainType::Filter, NfHook::Forward, PRIORITY_FILTER),
            ("postrouting", NfChainType::NAT, NfHook::Postrouting, PRIORITY_SRCNAT),
        ];
        for (name, kind, hook, priority) in chains {
            self.batch.add(NfListObject::Chain(Chain {
                family: NfFamily::IP,
                table: self.table.clone().into(),
                name: name.into(),
                _type: Some(kind),
                hook: Some(hook),
                prio: Some(priority),
                policy: Some(NfChainPolicy::Accept),
                ..Chain::default()
            }));
        }
    }

    fn raw(&mut self, rules: &RuleSet) {
        for network in &rules.networks {
            let drop = vec![from(&network.bridge), to_loopback(), Statement::Drop(None)];
            self.rule("raw", drop);
        }
    }

    fn translate(&mut self, rules: &RuleSet) {
        for network in &rules.networks {
            for protocol in [Protocol::Udp, Protocol::Tcp] {
                self.rule(
                    "prerouting",
                    vec![
                        from(&network.bridge),
                        to_address(NAME_SERVER),
                        to_port(protocol, DNS_PORT),
                        Statement::Accept(None),
                    ],
                );
            }
        }
        for port in &rules.ports {
            let host = port.host.map_or_else(to_any_local, to_address);
            let statements = vec![host, to_port(port.protocol, port.host_port), dnat(port)];
            self.rule("prerouting", statements.clone());
            self.rule("output", statements);
        }
    }

    fn forward(&mut self, rules: &RuleSet) {
        let open = |network: &&NetworkRules| !network.internal;
        for NetworkRules { bridge, .. } in rules.networks.iter().filter(|network| network.internal)
        {
            let drop = Statement::Drop(None);
            self.rule("forward", vec![from(bridge), elsewhere(bridge), drop.clone()]);
            self.rule("forward", vec![to(bridge), from_elsewhere(bridge), drop]);
        }
        for NetworkRules { bridge, .. } in rules.networks.iter().filter(open) {
            let accept = Statement::Accept(None);
            self.rule("forward", vec![to(bridge), answers(), accept.clone()]);
            self.rule("forward", vec![to(bridge), translated(), accept.clone()]);
            self.rule("forward", vec![to(bridge), from(bridge), accept]);
            self.rule("forward", vec![to(bridge), Statement::Drop(None)]);
        }
        for network in &rules.networks {
            self.rule("forward", vec![from(&network.bridge), Statement::Accept(None)]);
        }
    }

    fn postrouting(&mut self, rules: &RuleSet) {
        let open = |network: &&NetworkRules| !network.internal;
        for NetworkRules { bridge, subnet, .. } in rules.networks.iter().filter(open) {
            let masquerade = Statement::Masquerade(None);
            let inside = prefix(*subnet);
            let from_inside = equal(header("ip", "saddr"), inside);
            let from_loopback = equal(header("ip", "saddr"), prefix(loopback()));
            let leaving = elsewhere(bridge);
            self.rule("postrouting", vec![from_inside.clone(), leaving, masquerade.clone()]);
            self.rule("postrouting", vec![to(bridge), from_loopback, masquerade.clone()]);
            self.rule("postrouting", vec![to(bridge), from_inside, translated(), masquerade]);
        }
    }

    fn rule(&mut self, chain: &'static str, expr: Vec<Statement<'static>>) {
        self.batch.add(NfListObject::Rule(Rule {
            family: NfFamily::IP,
            table: self.table.clone().into(),
            chain: chain.into(),
            expr: expr.into(),
            ..Rule::default()
        }));
    }
}

fn from(bridge: &str) -> Statement<'static> {
    equal(meta(MetaKey::Iifname), text(bridge))
}

fn to(bridge: &str) -> Statement<'static> {
    equal(meta(MetaKey::Oifname), text(bridge))
}

fn elsewhere(bridge: &str) -> Statement<'static> {
    matches(meta(MetaKey::Oifname), Operator::NEQ, text(bridge))
}

fn from_elsewhere(bridge: &str) -> Statement<'static> {
    matches(meta(MetaKey::Iifname), Operator::NEQ, text(bridge))
}

fn to_address(address: Ipv4Addr) -> Statement<'static> {
    equal(header("ip", "daddr"), text(&address.to_string()))
}

fn to_loopback() -> Statement<'static> {
    equal(header("ip", "daddr"), prefix(loopback()))
}

fn loopback() -> Block {
    Block::around(Ipv4Addr::LOCALHOST, 8).expect("8 is a prefix length")
}

fn to_any_local() -> Statement<'static> {
    let fib = Fib { result: FibResult::Type, flags: HashSet::from([FibFlag::Daddr]) };
    equal(NamedExpression::Fib(fib), text("local"))
}

fn to_port(protocol: Protocol, port: u16) -> Statement<'static> {
    let protocol = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    equal(header(protocol, "dport"), Expression::Number(port.into()))
}

/// Packets of connections that exist, and errors about them.
fn answers() -> Statement<'static> {
    let states = Expression::List(vec![text("established"), text("related")]);
    matches(connection("state"), Operator::IN, states)
}

/// Packets of connections whose destination was translated: published ports.
fn translated() -> Statement<'static> {
    matches(connection("status"), Operator::IN, text("dnat"))
}

fn dnat(port: &PublishedPort) -> Statement<'static> {
    Statement::DNAT(Some(NAT {
        addr: Some(text(&port.address.to_string())),
        family: None,
        port: Some(Expression::Number(port.container_port.into())),
        flags: None,
    }))
}

fn equal(left: NamedExpression<'static>, right: Expression<'static>) -> Statement<'static> {
    matches(left, Operator::EQ, right)
}

fn matches(
    left: NamedExpression<'static>,
    op: Operator,
    right: Expression<'static>,
) -> Statement<'static> {
    Statement::Match(Match { left: Expression::Named(left), right, op })
}

fn meta(key: MetaKey) -> NamedExpression<'static> {
    NamedExpression::Meta(Meta { key })
}

fn connection(key: &'static str) -> NamedExpression<'static> {
    NamedExpression::CT(CT { key: key.into(), family: None, dir: None })
}

fn header(protocol: &'static str, field: &'static str) -> NamedExpression<'static> {
    NamedExpression::Payload(Payload::PayloadField(PayloadField {
        protocol: protocol.into(),
        field: field.into(),
    }))
}

fn prefix(block: Block) -> Expression<'static> {
    Expression::Named(NamedExpression::Prefix(Prefix {
        addr: Box::new(text(&block.first().to_string())),
        len: block.prefix().into(),
    }))
}

fn text(value: &str) -> Expression<'static> {
    Expression::String(value.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> RuleSet {
        let address = Ipv4Addr::new(172, 30, 1, 2);
        let web = PublishedPort {
            protocol: Protocol::Tcp,
            host: None,
            host_port: 8080,
            address,
            container_port: 80,
        };
        let local = Some(Ipv4Addr::LOCALHOST);
        let names = PublishedPort { protocol: Protocol::Udp, host: local, ..web.clone() };
        let network = |bridge: &str, subnet: &str, internal| NetworkRules {
            bridge: bridge.to_owned(),
            subnet: subnet.parse().unwrap(),
            internal,
        };
        let open = network("br0", "172.30.1.0/24", false);
        let networks = vec![open, network("br1", "172.30.2.0/24", true)];
        RuleSet { networks, ports: vec![web, names] }
    }

    /// One command per line; the file is rewritten with `ORIEL_BLESS=1`.
    #[test]
    fn rule_set_is_as_recorded() {
        let batch = serde_json::to_value(replacement("oriel-test", &sample())).unwrap();
        let commands = batch["nftables"].as_array().unwrap();
        let found: String = commands.iter().map(|command| format!("{command}\n")).collect();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rules.snapshot.jsonl");
        if std::env::var_os("ORIEL_BLESS").is_some() {
            fs_err::write(file, &found).unwrap();
        }
        assert_eq!(found, fs_err::read_to_string(file).unwrap());
    }

    #[test]
    fn removal_touches_one_table_only() {
        let batch = serde_json::to_string(&removal("oriel-test")).unwrap();
        let table = r#"{"table":{"family":"ip","name":"oriel-test"}}"#;
        assert_eq!(batch, format!(r#"{{"nftables":[{{"add":{table}}},{{"delete":{table}}}]}}"#));
    }

    #[test]
    fn no_network_leaves_no_rule_but_the_chains() {
        let batch = serde_json::to_value(replacement("oriel-test", &RuleSet::default())).unwrap();
        assert_eq!(batch["nftables"].as_array().unwrap().len(), 3 + 5);
    }
}
