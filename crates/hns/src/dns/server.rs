//! Sockets on the name server's port 53, and the limits of what containers may cost.
//!
//! The sockets hear what comes through the bridge only, and answer addresses of the subnet only:
//! nobody outside can use them, neither as resolver nor to amplify.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket,
    sockopt,
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    Asker, Directory, NAME_SERVER,
    upstream::{self, DNS_PORT, Transport},
    zone::{self, Answer},
};
use crate::addresses::Subnet;

/// Longest question taken: one question with extensions has some hundred bytes.
const MAX_QUESTION: usize = 4096;
/// Questions passed on at a time, of all containers of a network.
const MAX_FORWARDED: usize = 256;
/// Connections at a time, of all containers of a network.
const MAX_CONNECTIONS: usize = 64;
/// How long a connection may be silent (RFC 7766, 6.2.3, asks for some seconds), and how long
/// writing an answer may take.
const IDLE: Duration = Duration::from_secs(10);
/// Rest after a socket failed, as when descriptors run out or the bridge is gone.
const PAUSE: Duration = Duration::from_millis(200);
const BACKLOG: i32 = 64;

/// A server about to run.
pub(crate) struct Server {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    context: Arc<Context>,
}

struct Context {
    subnet: Subnet,
    directory: watch::Receiver<Arc<Directory>>,
    resolv_conf: PathBuf,
    forwarded: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl Server {
    /// Takes the port. The name server's address must be there.
    pub(crate) fn bind(
        bridge: &str,
        subnet: Subnet,
        directory: watch::Receiver<Arc<Directory>>,
        resolv_conf: PathBuf,
    ) -> io::Result<Self> {
        let address = SocketAddrV4::new(NAME_SERVER, DNS_PORT);
        let udp = bound(SockType::Datagram, bridge, address)?;
        let tcp = bound(SockType::Stream, bridge, address)?;
        listen(&tcp, Backlog::new(BACKLOG)?)?;
        let context = Context {
            subnet,
            directory,
            resolv_conf,
            forwarded: Arc::new(Semaphore::new(MAX_FORWARDED)),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        };
        Ok(Self {
            udp: Arc::new(UdpSocket::from_std(udp.into())?),
            tcp: TcpListener::from_std(tcp.into())?,
            context: Arc::new(context),
        })
    }

    /// Serves until dropped, with everything under way.
    pub(crate) async fn run(self) {
        tokio::join!(
            serve_datagrams(self.udp, Arc::clone(&self.context)),
            serve_connections(self.tcp, self.context)
        );
    }
}

impl Context {
    /// Who asks, when it is an address of the network.
    fn peer(&self, peer: SocketAddr) -> Option<Ipv4Addr> {
        match peer.ip() {
            IpAddr::V4(address) if self.subnet.contains(address) => Some(address),
            _ => None,
        }
    }

    fn answer(&self, question: &[u8], peer: Ipv4Addr) -> Answer {
        let directory = Arc::clone(&self.directory.borrow());
        let asker = directory.askers.get(&peer);
        let further = asker.iter().flat_map(|asker| &asker.further);
        zone::answer(question, std::iter::once(&directory.zone).chain(further).map(AsRef::as_ref))
    }

    /// Room to pass a question on; `None` when too many are under way.
    fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.forwarded).try_acquire_owned().ok()
    }

    /// Asks other resolvers on behalf of a container. What cannot be answered is told to have
    /// failed; also what a container asks that can reach nothing else outside.
    async fn forward(
        &self,
        question: &[u8],
        peer: Ipv4Addr,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let chosen = match self.directory.borrow().askers.get(&peer) {
            Some(Asker { outside: true, dns, .. }) => dns.clone(),
            _ => return failure(question),
        };
        let resolvers = match chosen.as_slice() {
            [] => resolvers(&self.resolv_conf).await,
            chosen => upstream::addresses(chosen.iter().copied().map(IpAddr::V4)),
        };
        match upstream::ask(question, transport, &resolvers).await {
            Some(answer) => Some(answer),
            None => failure(question),
        }
    }
}

fn failure(question: &[u8]) -> Option<Vec<u8>> {
    match zone::failure(question) {
        Answer::Reply(reply) => Some(reply),
        Answer::Forward { .. } | Answer::Ignore => None,
    }
}

/// Read each time: the file changes when the host changes networks.
async fn resolvers(resolv_conf: &Path) -> Vec<SocketAddr> {
    let path = resolv_conf.to_owned();
    let read = move || upstream::resolvers(&path);
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

async fn serve_datagrams(socket: Arc<UdpSocket>, context: Arc<Context>) {
    let mut forwards = JoinSet::new();
    let mut buffer = vec![0; MAX_QUESTION];
    loop {
        while forwards.try_join_next().is_some() {}
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Some(address) = context.peer(peer) else { continue };
        let question = &buffer[..length];
        let reply = match context.answer(question, address) {
            Answer::Ignore => continue,
            Answer::Reply(reply) => Some(reply),
            Answer::Forward { payload } => match context.room() {
                None => failure(question),
                Some(room) => {
                    let sender = Sender { socket: Arc::clone(&socket), peer, address, payload };
                    forwards.spawn(sender.serve(question.to_vec(), Arc::clone(&context), room));
                    continue;
                }
            },
        };
        send(&socket, peer, reply).await;
    }
}

/// Whoever sent a datagram that is passed on.
struct Sender {
    socket: Arc<UdpSocket>,
    peer: SocketAddr,
    address: Ipv4Addr,
    payload: usize,
}

impl Sender {
    async fn serve(self, question: Vec<u8>, context: Arc<Context>, room: OwnedSemaphorePermit) {
        let transport = Transport::Udp { payload: self.payload };
        let reply = context.forward(&question, self.address, transport).await;
        send(&self.socket, self.peer, reply).await;
        drop(room);
    }
}

async fn send(socket: &UdpSocket, peer: SocketAddr, reply: Option<Vec<u8>>) {
    if let Some(reply) = reply {
        // The asker is gone or comes again: nothing to be done here.
        let _ = timeout(IDLE, socket.send_to(&reply, peer)).await;
    }
}

async fn serve_connections(listener: TcpListener, context: Arc<Context>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&context.connections).try_acquire_owned() else { continue };
        if let Some(address) = context.peer(peer) {
            let context = Arc::clone(&context);
            connections.spawn(async move {
                // An error ends the connection, which the client sees.
                let _ = serve_connection(stream, address, &context).await;
                drop(place);
            });
        }
    }
}

/// Answers one question after the other until the client is done.
async fn serve_connection(
    mut stream: TcpStream,
    peer: Ipv4Addr,
    context: &Context,
) -> io::Result<()> {
    loop {
        let question = timeout(IDLE, read_question(&mut stream)).await??;
        let reply = match context.answer(&question, peer) {
            Answer::Ignore => return Ok(()),
            Answer::Reply(reply) => Some(reply),
            Answer::Forward { .. } => match context.room() {
                None => failure(&question),
                Some(_room) => context.forward(&question, peer, Transport::Tcp).await,
            },
        };
        let Some(reply) = reply else { return Ok(()) };
        timeout(IDLE, upstream::write_message(&mut stream, &reply)).await??;
    }
}

async fn read_question(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_QUESTION {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut question = vec![0; length];
    stream.read_exact(&mut question).await?;
    Ok(question)
}

/// A socket that hears what comes through the bridge only.
fn bound(kind: SockType, bridge: &str, address: SocketAddrV4) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let descriptor = socket(AddressFamily::Inet, kind, flags, None)?;
    if kind == SockType::Stream {
        // Connections of a server before us may still be winding down.
        setsockopt(&descriptor, sockopt::ReuseAddr, &true)?;
    }
    setsockopt(&descriptor.as_fd(), sockopt::BindToDevice, &bridge.into())?;
    bind(descriptor.as_raw_fd(), &SockaddrIn::from(address))?;
    Ok(descriptor)
}
