//! Published ports as the host's sockets see them.
//!
//! The packet filter redirects published ports before any socket of the host hears of them. So
//! that nobody binds such a port in vain, and to find out who has it already, a listening socket
//! that nobody ever accepts from holds each of them. IPv6 has no address translation here: a
//! forwarder of this process carries TCP connections of `[::]` and other IPv6 addresses inside; it
//! pauses while the process is gone.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, UdpSocket},
    os::fd::AsRawFd,
    sync::Arc,
};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn6, bind, listen, setsockopt, socket,
    sockopt,
};
use oriel_hcs::{NetworkError, PortMapping, Protocol};
use tokio::{sync::Semaphore, task::JoinSet, time::Duration};

use crate::{failure::host, task::Task};

/// The range Docker gives free ports from.
const FIRST_EPHEMERAL: u16 = 49_153;
const LAST_EPHEMERAL: u16 = 65_535;

/// Connections that one forwarder carries at a time; more wait in the backlog.
const MAX_FORWARDED: usize = 1024;
/// Connections that wait to be forwarded.
const BACKLOG: i32 = 128;
/// A neighbour on the bridge answers at once or is dead.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Rest after accepting failed, as when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A published port, held until dropped.
#[derive(Debug)]
pub(crate) struct Held {
    /// The port as published.
    pub(crate) mapping: PortMapping,
    _socket: Option<Socket>,
    forwarder: Option<Task>,
}

#[derive(Debug)]
enum Socket {
    Tcp(#[expect(dead_code, reason = "held, not used")] TcpListener),
    Udp(#[expect(dead_code, reason = "held, not used")] UdpSocket),
}

/// Where to look for a free port next, so that one just given back is not the next one given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ephemeral {
    next: u16,
}

impl Default for Ephemeral {
    fn default() -> Self {
        Self { next: FIRST_EPHEMERAL }
    }
}

impl Iterator for Ephemeral {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let port = self.next;
        self.next = if port == LAST_EPHEMERAL { FIRST_EPHEMERAL } else { port + 1 };
        Some(port)
    }
}

/// Takes the ports asked for, with numbers for those that may be any. `taken` are those of the
/// other endpoints; `address` is where they lead.
pub(crate) fn claim(
    wanted: &[PortMapping],
    taken: &[PortMapping],
    address: Ipv4Addr,
    ephemeral: &mut Ephemeral,
) -> Result<Vec<Held>, NetworkError> {
    let mut held: Vec<Held> = Vec::with_capacity(wanted.len());
    for mapping in wanted {
        let mut taken = taken.iter().chain(held.iter().map(|held| &held.mapping));
        let next = match mapping.host_port {
            0 => hold_any(mapping, address, ephemeral)?,
            _ if taken.any(|other| overlaps(other, mapping)) => return Err(port_taken(mapping)),
            _ => hold(mapping, address)?,
        };
        held.push(next);
    }
    held.iter_mut().for_each(|held| held.forward_wildcard(address));
    Ok(held)
}

/// Takes up a port that is published already. When its socket cannot be held any more, the port
/// stays published all the same.
pub(crate) fn adopt(mapping: &PortMapping, address: Ipv4Addr) -> Held {
    let mut held = hold(mapping, address).unwrap_or_else(|error| {
        tracing::warn!(%error, port = mapping.host_port, "published port is no longer held");
        Held { mapping: mapping.clone(), _socket: None, forwarder: None }
    });
    held.forward_wildcard(address);
    held
}

impl Held {
    /// Gives the port back, and waits until its forwarder has ended.
    pub(crate) async fn release(self) {
        if let Some(forwarder) = self.forwarder {
            forwarder.stop().await;
        }
    }

    /// What is published on all of IPv4 is so on IPv6, as with Docker: `localhost` is `::1` first
    /// for many clients. A convenience: when the port is not free there, IPv4 has to do.
    fn forward_wildcard(&mut self, address: Ipv4Addr) {
        let PortMapping { protocol, host_ip, host_port, container_port } = self.mapping;
        if host_ip != IpAddr::V4(Ipv4Addr::UNSPECIFIED) || protocol != Protocol::Tcp {
            return;
        }
        let target = SocketAddr::from((address, container_port));
        match listen_v6(Ipv6Addr::UNSPECIFIED, host_port).and_then(|from| forward(from, target)) {
            Ok(task) => self.forwarder = Some(task),
            Err(error) => tracing::debug!(%error, port = host_port, "not published on IPv6"),
        }
    }
}

/// Whether both cannot be published at once.
fn overlaps(one: &PortMapping, other: &PortMapping) -> bool {
    let same_family = one.host_ip.is_ipv4() == other.host_ip.is_ipv4();
    let same_address = one.host_ip == other.host_ip
        || one.host_ip.is_unspecified()
        || other.host_ip.is_unspecified();
    one.protocol == other.protocol
        && one.host_port == other.host_port
        && same_family
        && same_address
}

fn hold_any(
    mapping: &PortMapping,
    address: Ipv4Addr,
    ephemeral: &mut Ephemeral,
) -> Result<Held, NetworkError> {
    let tries = usize::from(LAST_EPHEMERAL - FIRST_EPHEMERAL) + 1;
    for port in ephemeral.take(tries) {
        match hold(&PortMapping { host_port: port, ..mapping.clone() }, address) {
            Err(NetworkError::PortTaken { .. }) => {}
            result => return result,
        }
    }
    Err(host(format!("publish port {}", mapping.container_port), "no port of the host is free"))
}

fn hold(mapping: &PortMapping, address: Ipv4Addr) -> Result<Held, NetworkError> {
    let PortMapping { protocol, host_ip, host_port, container_port } = *mapping;
    let target = SocketAddr::from((address, container_port));
    let held = |_socket, forwarder| Held { mapping: mapping.clone(), _socket, forwarder };
    let result = match (protocol, host_ip) {
        (Protocol::Tcp, IpAddr::V4(ip)) => TcpListener::bind((ip, host_port))
            .map(|listener| held(Some(Socket::Tcp(listener)), None)),
        (Protocol::Udp, IpAddr::V4(ip)) => {
            UdpSocket::bind((ip, host_port)).map(|socket| held(Some(Socket::Udp(socket)), None))
        }
        (Protocol::Tcp, IpAddr::V6(ip)) => listen_v6(ip, host_port)
            .and_then(|listener| forward(listener, target))
            .map(|task| held(None, Some(task))),
        (Protocol::Udp, IpAddr::V6(_)) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "UDP is published on IPv4 only"))
        }
    };
    result.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => port_taken(mapping),
        _ => host(format!("publish {}", SocketAddr::new(host_ip, host_port)), error),
    })
}

fn port_taken(mapping: &PortMapping) -> NetworkError {
    NetworkError::PortTaken { ip: mapping.host_ip, port: mapping.host_port }
}

/// The standard library cannot keep an IPv6 listener off the IPv4 addresses.
fn listen_v6(ip: Ipv6Addr, port: u16) -> io::Result<TcpListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let descriptor = socket(AddressFamily::Inet6, SockType::Stream, flags, None)?;
    setsockopt(&descriptor, sockopt::ReuseAddr, &true)?;
    setsockopt(&descriptor, sockopt::Ipv6V6Only, &true)?;
    let address = SockaddrIn6::from(SocketAddrV6::new(ip, port, 0, 0));
    bind(descriptor.as_raw_fd(), &address)?;
    listen(&descriptor, Backlog::new(BACKLOG)?)?;
    Ok(TcpListener::from(descriptor))
}

fn forward(listener: TcpListener, target: SocketAddr) -> io::Result<Task> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok(Task::start(carry_all(listener, target)))
}

/// Carries connections until dropped, which ends those under way.
async fn carry_all(listener: tokio::net::TcpListener, target: SocketAddr) {
    let room = Arc::new(Semaphore::new(MAX_FORWARDED));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                connections.spawn(async move {
                    carry(client, target).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Carries one connection. Errors end it, which both sides see.
async fn carry(mut client: tokio::net::TcpStream, target: SocketAddr) {
    let connect = tokio::net::TcpStream::connect(target);
    let Ok(Ok(mut server)) = tokio::time::timeout(CONNECT_DEADLINE, connect).await else { return };
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    fn tcp(ip: &str, port: u16) -> PortMapping {
        PortMapping {
            protocol: Protocol::Tcp,
            host_ip: ip.parse().unwrap(),
            host_port: port,
            container_port: 80,
        }
    }

    #[test]
    fn wildcard_overlaps_with_every_address_of_its_family() {
        assert!(overlaps(&tcp("0.0.0.0", 80), &tcp("127.0.0.1", 80)));
        assert!(overlaps(&tcp("127.0.0.1", 80), &tcp("0.0.0.0", 80)));
        assert!(!overlaps(&tcp("127.0.0.1", 80), &tcp("127.0.0.2", 80)));
        assert!(!overlaps(&tcp("127.0.0.1", 80), &tcp("127.0.0.1", 81)));
        assert!(!overlaps(&tcp("0.0.0.0", 80), &tcp("::", 80)));
        let udp = PortMapping { protocol: Protocol::Udp, ..tcp("0.0.0.0", 80) };
        assert!(!overlaps(&udp, &tcp("0.0.0.0", 80)));
    }

    #[test]
    fn ephemeral_ports_go_round() {
        let mut ephemeral = Ephemeral { next: LAST_EPHEMERAL };
        assert_eq!(ephemeral.next(), Some(65_535));
        assert_eq!(ephemeral.next(), Some(49_153));
    }

    #[test]
    fn a_port_that_a_process_listens_on_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = tcp("127.0.0.1", listener.local_addr().unwrap().port());
        let result = claim(&[wanted], &[], INSIDE, &mut Ephemeral::default());
        assert!(matches!(result, Err(NetworkError::PortTaken { .. })));
    }

    #[test]
    fn any_port_becomes_a_free_one_of_the_range() {
        let wanted = [tcp("127.0.0.1", 0), tcp("127.0.0.1", 0)];
        let held = claim(&wanted, &[], INSIDE, &mut Ephemeral::default()).unwrap();
        let ports: Vec<_> = held.iter().map(|held| held.mapping.host_port).collect();
        assert!(ports.iter().all(|port| *port >= FIRST_EPHEMERAL) && ports[0] != ports[1]);
    }

    #[test]
    fn the_same_port_twice_is_refused_in_dockers_words() {
        let mapping = tcp("127.0.0.3", 49_152);
        let result = claim(&[], &[], INSIDE, &mut Ephemeral::default());
        assert!(result.unwrap().is_empty());
        let taken = [mapping.clone()];
        let error = claim(&[mapping], &taken, INSIDE, &mut Ephemeral::default()).unwrap_err();
        assert_eq!(error.to_string(), "Bind for 127.0.0.3:49152 failed: port is already allocated");
    }
}
