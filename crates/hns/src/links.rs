//! Links, addresses and routes, through rtnetlink.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd, BorrowedFd},
};

use fs_err as fs;
use futures_util::TryStreamExt;
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth,
    RouteMessageBuilder,
    packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage},
};

use crate::{
    addresses::{Subnet, hardware_address},
    task::Task,
};

/// The adapter's name inside; Windows programs see it as the connection's friendly name.
const ADAPTER: &str = "eth0";

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
    /// Address of the other end, which its hardware address is derived from.
    pub(crate) address: Ipv4Addr,
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
        Ok(link.index)
    }

    /// Makes a veth pair: one end here on the bridge, the other one already inside.
    pub(crate) async fn add_pair(&self, pair: &Pair<'_>) -> io::Result<()> {
        let inside = LinkMessageBuilder::<LinkUnspec>::new()
            .name(ADAPTER)
            .address(hardware_address(pair.address).to_vec())
            .setns_by_fd(pair.namespace.as_raw_fd())
            .build();
        let message = LinkMessageBuilder::<LinkVeth>::new(pair.host_link, ADAPTER)
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

    /// Inside: gives the adapter its address and the way out.
    pub(crate) async fn configure_adapter(
        &self,
        address: Ipv4Addr,
        prefix: u8,
        gateway: Ipv4Addr,
    ) -> io::Result<()> {
        for name in ["lo", ADAPTER] {
            let up = LinkUnspec::new_with_name(name).up().build();
            self.handle.link().set(up).execute().await.map_err(into_io)?;
        }
        let adapter = self.link(ADAPTER).await?.ok_or(io::ErrorKind::NotFound)?;
        self.add_address(adapter.index, address, prefix).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build();
        self.handle.route().add(route).execute().await.map_err(into_io)
    }

    /// Removes a link. Succeeds when there is none.
    pub(crate) async fn remove(&self, name: &str) -> io::Result<()> {
        let Some(link) = self.link(name).await? else { return Ok(()) };
        match self.handle.link().del(link.index).execute().await.map_err(into_io) {
            Err(error) if !is_missing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Adds an address; no error when it is there already.
    async fn add_address(&self, link: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let request = self.handle.address().add(link, address.into(), prefix).replace();
        request.execute().await.map_err(into_io)
    }
}

/// Settings of a network namespace fresh from the kernel, before its adapter arrives. The calling
/// thread must be inside.
pub(crate) fn configure_namespace() -> io::Result<()> {
    // Lets programs without privileges ping, whatever their group.
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")?;
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
