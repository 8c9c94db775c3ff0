//! Links, addresses and routes, through rtnetlink.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd, BorrowedFd},
};

use fs_err as fs;
use futures_util::TryStreamExt;
use oriel_hcs::Block;
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth,
    RouteMessageBuilder,
    packet_route::{
        address::AddressScope,
        link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage},
        route::{RouteAddress, RouteAttribute, RouteScope},
    },
};

use crate::{
    addresses::{Subnet, hardware_address},
    dns::NAME_SERVER,
    task::Task,
};

/// Metric of routes through an endpoint of priority 0 at adapter 0. A higher priority makes a
/// smaller metric, by [`METRIC_STEP`]; a higher adapter a greater one, by 1.
const METRIC: u32 = (MAX_PRIORITY + 1) * METRIC_STEP;
/// More than there are adapters.
const METRIC_STEP: u32 = 256;
/// From [`oriel_hcs::EndpointSpec::priority`].
const MAX_PRIORITY: u32 = 1000;

/// A connection to the kernel's links of the network namespace of the thread that opened it. Ends
/// when dropped.
pub(crate) struct Netlink {
    handle: Handle,
    _connection: Task,
}

/// A veth pair to make.
pub(crate) struct Pair<'a> {
    /// Name of the host's end.
    pub(crate) host_link: &'a str,
    /// The bridge it joins.
    pub(crate) bridge: u32,
    /// What the host's end is marked with.
    pub(crate) mark: &'a str,
    /// Namespace of the other end.
    pub(crate) namespace: BorrowedFd<'a>,
    /// Name of the other end.
    pub(crate) adapter: &'a str,
    /// Hardware address of the other end.
    pub(crate) hardware: [u8; 6],
}

/// An adapter to configure, inside.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    /// Its name.
    pub(crate) name: String,
    /// Its address.
    pub(crate) address: Ipv4Addr,
    /// Prefix length of the subnet.
    pub(crate) prefix: u8,
    /// The way out, if there is one.
    pub(crate) gateway: Option<Ipv4Addr>,
    /// Who answers names, on the link.
    pub(crate) name_server: Ipv4Addr,
    /// Metric of the routes through it, from [`metric`].
    pub(crate) metric: u32,
}

/// Metric of the routes through an endpoint: where several lead somewhere, the lowest wins, and
/// the next one takes over when it goes.
pub(crate) fn metric(priority: i64, adapter: u8) -> u32 {
    let steps =
        u32::try_from(priority.unsigned_abs()).map_or(MAX_PRIORITY, |n| n.min(MAX_PRIORITY));
    let distance = steps * METRIC_STEP;
    let base = if priority < 0 { METRIC + distance } else { METRIC - distance };
    base + u32::from(adapter)
}

/// A link as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The kernel's number of it.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// Its alias, empty without.
    pub(crate) mark: String,
    /// Whether it is a bridge.
    pub(crate) is_bridge: bool,
}

impl Netlink {
    /// Opens a connection.
    pub(crate) fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Self { handle, _connection: Task::start(connection) })
    }

    /// All links.
    pub(crate) async fn links(&self) -> io::Result<Vec<Link>> {
        let links = self.handle.link().get().execute();
        links.map_ok(describe).try_collect().await.map_err(into_io)
    }

    /// The link of this name.
    pub(crate) async fn link(&self, name: &str) -> io::Result<Option<Link>> {
        let mut found = self.handle.link().get().match_name(name).execute();
        match found.try_next().await.map_err(into_io) {
            Ok(message) => Ok(message.map(describe)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes sure that the bridge exists, is up and has the gateway's address. Gives its number.
    pub(crate) async fn ensure_bridge(
        &self,
        name: &str,
        subnet: Subnet,
        mark: &str,
    ) -> io::Result<u32> {
        if self.link(name).await?.is_none() {
            // An address of its own, or the bridge would take over those of its ports in turn.
            let hardware = hardware_address(subnet.gateway()).to_vec();
            let bridge = LinkBridge::new(name).address(hardware).build();
            self.handle.link().add(bridge).execute().await.map_err(into_io)?;
        }
        let link = self.link(name).await?.ok_or(io::ErrorKind::NotFound)?;
        if !link.is_bridge {
            return Err(io::Error::other(format!("link {name} exists and is no bridge")));
        }
        let up = LinkUnspec::new_with_index(link.index).up().alias(mark).build();
        self.handle.link().set(up).execute().await.map_err(into_io)?;
        self.add_address(link.index, subnet.gateway(), subnet.prefix()).await?;
        self.add_name_server(link.index).await?;
        Ok(link.index)
    }

    /// Makes a veth pair: one end here on the bridge, the other one already inside.
    pub(crate) async fn add_pair(&self, pair: &Pair<'_>) -> io::Result<()> {
        let inside = LinkMessageBuilder::<LinkUnspec>::new()
            .name(pair.adapter.to_owned())
            .address(pair.hardware.to_vec())
            .setns_by_fd(pair.namespace.as_raw_fd())
            .build();
        let message = LinkMessageBuilder::<LinkVeth>::new(pair.host_link, pair.adapter)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(inside)))
            .build();
        self.handle.link().add(message).execute().await.map_err(into_io)?;
        let join = LinkUnspec::new_with_name(pair.host_link)
            .controller(pair.bridge)
            .alias(pair.mark)
            .up()
            .build();
        self.handle.link().set(join).execute().await.map_err(into_io)?;
        let link = self.link(pair.host_link).await?.ok_or(io::ErrorKind::NotFound)?;
        // With br_netfilter, translated packets are bridged, not routed: one from an endpoint to
        // its own published port leaves where it came from, which bridges refuse by default.
        let port = LinkBridgePort::new(link.index).hairpin(true).build();
        self.handle.link().set_port(port).execute().await.map_err(into_io)
    }

    /// Makes a veth pair that leads nowhere, to see whether that works.
    pub(crate) async fn try_pair(&self) -> io::Result<()> {
        let pair = LinkVeth::new("trial0", "trial1").build();
        self.handle.link().add(pair).execute().await.map_err(into_io)
    }

    /// Inside: brings the loopback link up.
    pub(crate) async fn raise_loopback(&self) -> io::Result<()> {
        let up = LinkUnspec::new_with_name("lo").up().build();
        self.handle.link().set(up).execute().await.map_err(into_io)
    }

    /// Inside: gives the adapter its address, and the ways to the name server and out.
    pub(crate) async fn configure_adapter(&self, adapter: &Adapter) -> io::Result<()> {
        let Adapter { name, address, prefix, gateway, name_server, metric } = adapter;
        let up = LinkUnspec::new_with_name(name).up().build();
        self.handle.link().set(up).execute().await.map_err(into_io)?;
        let link = self.link(name).await?.ok_or(io::ErrorKind::NotFound)?.index;
        self.add_address(link, *address, *prefix).await?;
        let route =
            || RouteMessageBuilder::<Ipv4Addr>::new().output_interface(link).priority(*metric);
        let names = route().destination_prefix(*name_server, 32).scope(RouteScope::Link).build();
        self.handle.route().add(names).execute().await.map_err(into_io)?;
        if let Some(gateway) = gateway {
            let out = route().gateway(*gateway).build();
            self.handle.route().add(out).execute().await.map_err(into_io)?;
        }
        Ok(())
    }

    /// Blocks of addresses that IPv4 routes lead to, but for default routes, and for halves
    /// of them, which private networks set.
    pub(crate) async fn routes(&self) -> io::Result<Vec<Block>> {
        let any = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let mut found = self.handle.route().get(any).execute();
        let mut blocks = Vec::new();
        while let Some(message) = found.try_next().await.map_err(into_io)? {
            let prefix = message.header.destination_prefix_length;
            let destination = message.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
                _ => None,
            });
            let specific = destination.filter(|_| prefix > 1);
            blocks.extend(specific.and_then(|address| Block::around(address, prefix)));
        }
        Ok(blocks)
    }

    /// Removes a link. Succeeds when there is none.
    pub(crate) async fn remove(&self, name: &str) -> io::Result<()> {
        let Some(link) = self.link(name).await? else { return Ok(()) };
        match self.handle.link().del(link.index).execute().await.map_err(into_io) {
            Err(error) if !is_missing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Adds the name server's address, which belongs to every bridge: it is of this link only, so
    /// that nothing leaves the host from it.
    async fn add_name_server(&self, link: u32) -> io::Result<()> {
        let mut request = self.handle.address().add(link, NAME_SERVER.into(), 32).replace();
        request.message_mut().header.scope = AddressScope::Link;
        request.execute().await.map_err(into_io)
    }

    /// Adds an address; no error when it is there already.
    async fn add_address(&self, link: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let request = self.handle.address().add(link, address.into(), prefix).replace();
        request.execute().await.map_err(into_io)
    }
}

/// Settings of a network namespace fresh from the kernel, before an adapter arrives. The calling
/// thread must be inside.
pub(crate) fn configure_namespace() -> io::Result<()> {
    // Lets programs without privileges ping, whatever their group.
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")?;
    // Inherited from the host; a container on two networks is no way from one to the other.
    fs::write("/proc/sys/net/ipv4/ip_forward", "0")?;
    // New adapters get no IPv6; loopback keeps `::1`, and sockets on `[::]` work.
    match fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1") {
        // A host without IPv6 at all.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Settings of the host for a bridge: forwarding, and translation of connections to 127.0.0.1.
/// Nothing is written that is so already: `/proc/sys` may be read-only then.
pub(crate) fn configure_host(bridge: &str) -> io::Result<()> {
    switch_on("/proc/sys/net/ipv4/ip_forward")?;
    switch_on(&format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet"))
}

fn switch_on(path: &str) -> io::Result<()> {
    if fs::read_to_string(path)?.trim() == "1" {
        return Ok(());
    }
    fs::write(path, "1")
}

fn describe(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mark: String::new(),
        is_bridge: false,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.mark = alias,
            LinkAttribute::LinkInfo(infos) => {
                link.is_bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
            _ => {}
        }
    }
    link
}

/// The kernel's answer as an error with its number, where it is one.
fn into_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::ENODEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_comes_before_the_adapters_number() {
        let metrics =
            [(i64::MAX, 0), (1000, 1), (1, 255), (0, 0), (0, 1), (-1, 0), (i64::MIN, 255)]
                .map(|(priority, adapter)| metric(priority, adapter));
        assert!(metrics.is_sorted(), "{metrics:?}");
        assert_eq!(metric(5000, 3), metric(1000, 3));
        assert!(metric(i64::MAX, 0) > 0, "0 would be the kernel's choice");
    }
}
