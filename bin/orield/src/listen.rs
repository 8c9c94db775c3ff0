//! Sockets that are listened on: made here, or passed by systemd.
//!
//! A Unix socket belongs to root and a group, and nobody can connect before it does: it is bound,
//! given away, and only then listened on. A passed socket is as its unit file says.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    os::{
        fd::AsFd as _,
        unix::{
            fs::{FileTypeExt as _, PermissionsExt as _},
            net::UnixStream as StdUnixStream,
        },
    },
    path::Path,
};

use anyhow::{Context as _, bail};
use listenfd::ListenFd;
use nix::{
    sys::socket::{setsockopt, sockopt},
    unistd::{Gid, Group},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixSocket},
};

use crate::{
    options::{Address, Options, TcpRule},
    tls::Acceptor,
};

/// Group of the Unix socket unless one is named.
const DEFAULT_GROUP: &str = "oriel";

/// Members of the group, and nobody else, may connect.
const SOCKET_MODE: u32 = 0o660;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Seconds of silence after which a TCP peer is asked whether it is still there.
const KEEPALIVE: u32 = 60;

/// A socket that is listened on.
pub(crate) enum Listener {
    /// A Unix socket.
    Unix(UnixListener),
    /// A TCP port, and what encrypts it.
    Tcp(TcpListener, Option<Acceptor>),
}

/// What all listeners need, made before any of them.
pub(crate) struct Access {
    group: Option<Gid>,
    rule: TcpRule,
    acceptor: Option<Acceptor>,
}

/// Who is at the other end. Each has a bounded part of all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// A process of this host; those of other namespaces are one.
    Process(i32),
    /// A host, or a network of them where one host has many addresses.
    Host(IpAddr),
}

/// A connection, whatever it runs over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Access {
    /// Finds the group and reads the certificates.
    ///
    /// # Errors
    /// When a group that is named does not exist, or a certificate or key cannot be used.
    pub(crate) fn new(options: &Options) -> anyhow::Result<Self> {
        let acceptor = match &options.tcp {
            TcpRule::Refuse | TcpRule::Plain => None,
            TcpRule::Encrypt(files) => Some(Acceptor::new(files, None)?),
            TcpRule::Verify(files, authority) => Some(Acceptor::new(files, Some(authority))?),
        };
        let group = match options.group.as_deref() {
            Some("") => None,
            Some(name) => Some(named_group(name)?),
            None => Group::from_name(DEFAULT_GROUP)
                .with_context(|| format!("cannot look up the group {DEFAULT_GROUP}"))?
                .map(|group| group.gid),
        };
        Ok(Self { group, rule: options.tcp.clone(), acceptor })
    }

    /// Whether only root may use the Unix socket, because nobody named a group and the default one
    /// does not exist.
    pub(crate) fn lacks_group(&self, options: &Options) -> bool {
        self.group.is_none() && options.group.is_none()
    }

    /// Binds an address; one may stand for several sockets.
    pub(crate) async fn bind(
        &self,
        address: &Address,
        passed: &mut ListenFd,
    ) -> anyhow::Result<Vec<Listener>> {
        match address {
            Address::Unix(path) => {
                let listener = bind_unix(path, self.group)
                    .await
                    .with_context(|| format!("cannot listen on unix://{}", path.display()))?;
                Ok(vec![Listener::Unix(listener)])
            }
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)
                    .await
                    .with_context(|| format!("cannot listen on tcp://{address}"))?;
                Ok(vec![self.tcp(listener)?])
            }
            Address::Passed => self.passed(passed),
        }
    }

    /// Takes the sockets that systemd passed.
    fn passed(&self, passed: &mut ListenFd) -> anyhow::Result<Vec<Listener>> {
        let mut listeners = Vec::new();
        for at in 0..passed.len() {
            if let Ok(Some(listener)) = passed.take_unix_listener(at) {
                listener.set_nonblocking(true)?;
                listeners.push(Listener::Unix(UnixListener::from_std(listener)?));
                continue;
            }
            let listener =
                passed.take_tcp_listener(at).context("cannot use a socket of systemd")?;
            if let Some(listener) = listener {
                listener.set_nonblocking(true)?;
                listeners.push(self.tcp(TcpListener::from_std(listener)?)?);
            }
        }
        if listeners.is_empty() {
            bail!(
                "fd:// is to be listened on, but systemd passed no sockets: start the .socket unit"
            );
        }
        Ok(listeners)
    }

    fn tcp(&self, listener: TcpListener) -> anyhow::Result<Listener> {
        if self.rule == TcpRule::Refuse {
            bail!(TcpRule::refusal(&format!("tcp://{}", listener.local_addr()?)));
        }
        Ok(Listener::Tcp(listener, self.acceptor.clone()))
    }
}

impl Listener {
    /// What to tell people about a port that anybody may use, if this is one.
    pub(crate) fn warning(&self, rule: &TcpRule) -> Option<String> {
        let lack = match rule {
            TcpRule::Verify(..) | TcpRule::Refuse => return None,
            TcpRule::Encrypt(_) => "client certificates",
            TcpRule::Plain => "encryption",
        };
        let Self::Tcp(listener, _) = self else { return None };
        let address = listener.local_addr().ok()?;
        Some(format!(
            "WARNING: API is accessible on {address} without {lack}. Access to the remote API is \
             equivalent to root access on the host: use tlsverify"
        ))
    }

    /// Waits for a connection.
    pub(crate) async fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        Ok(match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = Peer::Process(stream.peer_cred()?.pid().unwrap_or_default());
                (Box::new(stream), peer)
            }
            Self::Tcp(listener, _) => {
                let (stream, address) = listener.accept().await?;
                prepare(&stream)?;
                (Box::new(stream), Peer::of(address))
            }
        })
    }

    /// What encrypts its connections.
    pub(crate) fn acceptor(&self) -> Option<&Acceptor> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(_, acceptor) => acceptor.as_ref(),
        }
    }
}

impl Peer {
    fn of(address: SocketAddr) -> Self {
        /// Hosts choose the rest of an IPv6 address (RFC 4291, section 2.5.4).
        const INTERFACE: u128 = u64::MAX as u128;

        Self::Host(match address.ip().to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !INTERFACE).into()),
            address @ IpAddr::V4(_) => address,
        })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(id) => write!(f, "process {id}"),
            Self::Host(address) => write!(f, "host {address}"),
        }
    }
}

/// Sends small answers at once, and finds out when the peer has vanished.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(&stream.as_fd(), sockopt::KeepAlive, &true)?;
    setsockopt(&stream.as_fd(), sockopt::TcpKeepIdle, &KEEPALIVE)?;
    Ok(())
}

/// A group by name or number.
fn named_group(name: &str) -> anyhow::Result<Gid> {
    let found = Group::from_name(name).with_context(|| format!("cannot look up group {name}"))?;
    if let Some(group) = found {
        return Ok(group.gid);
    }
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    bail!(
        "group {name} does not exist: make it with `groupadd --system {name}`, or name another \
         with --group"
    )
}

/// Binds a Unix socket. One that nobody listens on any more is replaced.
async fn bind_unix(path: &Path, group: Option<Gid>) -> anyhow::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    make_room(path)?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let group = group.map_or(0, Gid::as_raw);
    fs_err::os::unix::fs::lchown(path, Some(0), Some(group))?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(socket.listen(BACKLOG)?)
}

fn make_room(path: &Path) -> anyhow::Result<()> {
    let kind = match fs_err::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?.file_type(),
    };
    if !kind.is_socket() {
        bail!("{} is there and is no socket: remove it, or choose another path", path.display());
    }
    if StdUnixStream::connect(path).is_ok() {
        bail!("somebody listens on {} already: stop that daemon first", path.display());
    }
    Ok(fs_err::remove_file(path)?)
}
