//! The way to the daemon: a Unix socket or TCP, HTTP/1.1, one connection per request.

use std::{fmt, io, path::PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use oriel_api::ErrorBody;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};

/// Where `orield` listens unless told otherwise.
const DEFAULT_SOCKET: &str = "/run/oriel.sock";

/// Where a daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`
    Tcp(String),
}

impl Endpoint {
    /// Reads what dockerd's `-H` accepts: `unix:///path`, `tcp://host:port`.
    pub(crate) fn parse(text: Option<&str>) -> anyhow::Result<Self> {
        let Some(text) = text else { return Ok(Self::Unix(DEFAULT_SOCKET.into())) };
        if let Some(path) = text.strip_prefix("unix://") {
            let path = if path.is_empty() { DEFAULT_SOCKET } else { path };
            return Ok(Self::Unix(path.into()));
        }
        if let Some(address) = text.strip_prefix("tcp://") {
            let address = address.trim_end_matches('/');
            let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            return match (address, port) {
                (address, Some(Ok(_))) if !address.starts_with(':') => {
                    Ok(Self::Tcp(address.to_owned()))
                }
                _ => bail!("{text:?} names no port; write tcp://HOST:PORT"),
            };
        }
        bail!("{text:?} is no daemon address; write unix:///PATH or tcp://HOST:PORT")
    }

    /// The command that starts a daemon here.
    pub(crate) fn start_command(&self) -> String {
        match self {
            Self::Unix(path) if path.as_os_str() == DEFAULT_SOCKET => "orield".to_owned(),
            other => format!("orield -H {other}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// No daemon answers at the address. Its text says what to do.
#[derive(Debug)]
pub(crate) struct NoDaemon {
    endpoint: Endpoint,
    kind: io::ErrorKind,
}

impl NoDaemon {
    /// Whether the daemon may run and only refuse this user.
    pub(crate) fn is_denied(&self) -> bool {
        self.kind == io::ErrorKind::PermissionDenied
    }
}

impl std::error::Error for NoDaemon {}

impl fmt::Display for NoDaemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, kind } = self;
        if self.is_denied() {
            return write!(
                f,
                "permission denied at {endpoint}; run this as root, or as a member of the group \
                 that owns the socket"
            );
        }
        let what = match kind {
            io::ErrorKind::NotFound => "there is no socket",
            _ => "no daemon answers",
        };
        write!(f, "{what} at {endpoint}; start the daemon with: {}", endpoint.start_command())
    }
}

/// Talks to one daemon.
pub(crate) struct Client {
    endpoint: Endpoint,
}

/// An answer whose body is read piece by piece. Owns the connection's task.
pub(crate) struct Stream {
    body: Incoming,
    connection: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Client {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    /// Where the daemon is.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// `GET path`, read as JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.open(path).await?.json().await
    }

    /// `GET path`; the answer is read piece by piece.
    pub(crate) async fn open(&self, path: &str) -> anyhow::Result<Stream> {
        self.request(Method::GET, path, None, Bytes::new()).await
    }

    /// `POST path` without a body; the answer is read piece by piece.
    pub(crate) async fn post(&self, path: &str) -> anyhow::Result<Stream> {
        self.request(Method::POST, path, None, Bytes::new()).await
    }

    /// `POST path` with a body.
    pub(crate) async fn post_bytes(&self, path: &str, body: Bytes) -> anyhow::Result<Stream> {
        self.request(Method::POST, path, None, body).await
    }

    /// The same with the header `X-Registry-Auth`, if there is one.
    pub(crate) async fn post_as(
        &self,
        path: &str,
        credentials: Option<String>,
    ) -> anyhow::Result<Stream> {
        self.request(Method::POST, path, credentials, Bytes::new()).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        credentials: Option<String>,
        body: Bytes,
    ) -> anyhow::Result<Stream> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", "oriel")
            .header("Content-Length", body.len().to_string());
        if let Some(credentials) = credentials {
            request = request.header("X-Registry-Auth", credentials);
        }
        let request = request.body(Full::new(body))?;
        let no_daemon =
            |error: io::Error| NoDaemon { endpoint: self.endpoint.clone(), kind: error.kind() };
        match &self.endpoint {
            Endpoint::Unix(socket) => {
                let socket = UnixStream::connect(socket).await.map_err(no_daemon)?;
                exchange(socket, request).await
            }
            Endpoint::Tcp(address) => {
                let socket = TcpStream::connect(address).await.map_err(no_daemon)?;
                exchange(socket, request).await
            }
        }
    }
}

impl Stream {
    /// The whole body, read as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(mut self) -> anyhow::Result<T> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece().await? {
            bytes.extend_from_slice(&piece);
        }
        serde_json::from_slice(&bytes).context("the daemon's answer is not understood")
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) async fn piece(&mut self) -> anyhow::Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.context("the daemon broke off its answer")?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

async fn exchange<S>(socket: S, request: Request<Full<Bytes>>) -> anyhow::Result<Stream>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .context("cannot speak HTTP with the daemon")?;
    let connection = tokio::task::spawn(async move {
        // A broken connection shows itself to the request that uses it.
        let _ = connection.await;
    });
    let response = sender.send_request(request).await.context("the daemon does not answer")?;
    accept(response, connection).await
}

/// Turns an error status into an error with the daemon's words.
async fn accept(
    response: Response<Incoming>,
    connection: JoinHandle<()>,
) -> anyhow::Result<Stream> {
    let status = response.status();
    let mut stream = Stream { body: response.into_body(), connection };
    if status.is_success() {
        return Ok(stream);
    }
    let mut bytes = Vec::new();
    while let Some(piece) = stream.piece().await? {
        bytes.extend_from_slice(&piece);
    }
    match serde_json::from_slice::<ErrorBody>(&bytes) {
        Ok(body) => bail!("{}", body.message),
        Err(_) => bail!("the daemon answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_dockerd() {
        let unix = |path: &str| Endpoint::Unix(path.into());
        assert_eq!(Endpoint::parse(None).unwrap(), unix("/run/oriel.sock"));
        assert_eq!(Endpoint::parse(Some("unix:///a/b")).unwrap(), unix("/a/b"));
        assert_eq!(Endpoint::parse(Some("unix://")).unwrap(), unix("/run/oriel.sock"));
        let tcp = Endpoint::Tcp("localhost:2375".into());
        assert_eq!(Endpoint::parse(Some("tcp://localhost:2375/")).unwrap(), tcp);
        for bad in ["", "localhost", "tcp://localhost", "tcp://:2375", "http://x:1"] {
            assert!(Endpoint::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_missing_daemon_comes_with_the_next_step() {
        let text = |kind, path: &str| NoDaemon { endpoint: Endpoint::Unix(path.into()), kind };
        let missing = text(io::ErrorKind::NotFound, "/run/oriel.sock").to_string();
        assert!(missing.ends_with("start the daemon with: orield"), "{missing}");
        let other = text(io::ErrorKind::ConnectionRefused, "/x.sock").to_string();
        assert!(other.ends_with("start the daemon with: orield -H unix:///x.sock"), "{other}");
        let denied = text(io::ErrorKind::PermissionDenied, "/x.sock").to_string();
        assert!(denied.contains("permission denied") && denied.contains("root"), "{denied}");
    }
}
