//! Sockets, connections, and what every response has.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use hyper::{Request, Response, body::Incoming, header::HeaderValue, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use oriel_api::{ApiVersion, Query};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::watch,
    task::JoinSet,
};

use crate::{
    daemon::{Daemon, VERSION},
    http::{Answer, Body, Call, HttpError},
    routes,
};

/// Connections served at a time; each costs a task and a descriptor.
const CONNECTIONS: usize = 4096;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port, without encryption.
    Tcp(SocketAddr),
}

/// A socket that is listened on.
pub(crate) enum Listener {
    /// A Unix socket.
    Unix(UnixListener),
    /// A TCP port.
    Tcp(TcpListener),
}

impl Listener {
    /// Binds an address. A socket that nobody listens on any more is replaced.
    pub(crate) async fn bind(address: &Address) -> anyhow::Result<Self> {
        match address {
            Address::Unix(path) => bind_unix(path).await.map(Self::Unix),
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)
                    .await
                    .with_context(|| format!("cannot listen on tcp://{address}"))?;
                Ok(Self::Tcp(listener))
            }
        }
    }
}

async fn bind_unix(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    if path.exists() {
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            bail!("somebody listens on {} already: stop that daemon first", path.display());
        }
        fs_err::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)
        .with_context(|| format!("cannot listen on unix://{}", path.display()))?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    if let Some(group) = docker_group() {
        std::os::unix::fs::chown(path, None, Some(group))
            .with_context(|| format!("cannot give {} to the group docker", path.display()))?;
    }
    Ok(listener)
}

/// Id of the group `docker`, whose members may use the socket.
fn docker_group() -> Option<u32> {
    let groups = fs_err::read_to_string("/etc/group").ok()?;
    let line = groups.lines().find(|line| line.starts_with("docker:"))?;
    line.split(':').nth(2)?.parse().ok()
}

/// Accepts connections until told to stop, then lets those under way come to their end.
pub(crate) async fn serve(
    listener: Listener,
    daemon: Arc<Daemon>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        tokio::select! {
            // An error means that the sender is gone, which means the same.
            () = told(&mut stop) => break,
            accepted = accept(&listener), if connections.len() < CONNECTIONS => match accepted {
                Ok(stream) => {
                    connections.spawn(connection(stream, daemon.clone()));
                }
                Err(error) => {
                    // Out of descriptors, mostly: wait until some are back.
                    tracing::warn!(error = %error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next(), if connections.len() >= CONNECTIONS => {}
        }
    }
    connections.abort_all();
    while connections.join_next().await.is_some() {}
}

/// Ends when somebody says so.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A connection, whatever it runs over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn accept(listener: &Listener) -> io::Result<Box<dyn Stream>> {
    Ok(match listener {
        Listener::Unix(listener) => Box::new(listener.accept().await?.0),
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
    })
}

async fn connection(stream: Box<dyn Stream>, daemon: Arc<Daemon>) {
    let service = service_fn(move |request| {
        let daemon = daemon.clone();
        async move { Ok::<_, Infallible>(respond(daemon, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(error = %error, "a connection broke off");
    }
}

/// Answers one request.
async fn respond(daemon: Arc<Daemon>, request: Request<Incoming>) -> Response<Body> {
    let (method, target) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = match route(daemon, request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(method = %method, path = target, error = ?error, "request refused");
            error.into_response()
        }
    };
    let status = response.status().as_u16();
    tracing::debug!(method = %method, path = target, status, "request");
    let version = ApiVersion::MAX.to_string();
    let server = format!("Oriel/{VERSION} (windows)");
    for (name, value) in [
        ("api-version", version.as_str()),
        ("docker-experimental", "false"),
        ("ostype", "windows"),
        ("server", server.as_str()),
    ] {
        let value = HeaderValue::from_str(value).expect("plain text");
        response.headers_mut().insert(name, value);
    }
    response
}

async fn route(daemon: Arc<Daemon>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let (version, path) = ApiVersion::split(&path).map_err(HttpError::invalid)?;
    let query = Query::parse(request.uri().query().unwrap_or_default());
    routes::dispatch(Call { daemon, version, query, request }, path).await
}
