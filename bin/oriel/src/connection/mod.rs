//! The way to the daemon: HTTP/1.1 over a Unix socket, TCP, TLS or SSH, one connection per request.
//!
//! The rest of the command line sees [`Client`], which makes a [`Call`], which is sent and gives a
//! [`Stream`] or, when the daemon lets go of HTTP, a [`Hijacked`] connection.

mod dial;
mod endpoint;
mod tls;

use std::{fmt, io};

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header,
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use oriel_api::{ErrorBody, percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::mpsc, task::JoinHandle};

pub(crate) use dial::{Socket, dial};
pub(crate) use endpoint::{Endpoint, NoDaemon};
pub(crate) use tls::{Tls, TlsMaterial};

/// Body of a request, made while it is sent.
type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Pieces of a request's body that may wait for the daemon.
const AHEAD: usize = 8;

/// An answer of the daemon that says no.
#[derive(Debug)]
pub(crate) struct Refused {
    /// HTTP's status.
    pub(crate) status: u16,
    /// The daemon's words.
    pub(crate) message: String,
}

impl Refused {
    /// Whether the daemon refused with this status.
    pub(crate) fn is(error: &anyhow::Error, status: u16) -> bool {
        error.downcast_ref::<Self>().is_some_and(|refused| refused.status == status)
    }
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A path with its query.
#[derive(Clone, Debug)]
pub(crate) struct At(String);

impl At {
    /// A path of segments, which may hold any character.
    pub(crate) fn path(segments: &[&str]) -> Self {
        Self(segments.iter().map(|segment| format!("/{}", percent_encode(segment))).collect())
    }

    /// With a parameter.
    pub(crate) fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        let mark = if self.0.contains('?') { '&' } else { '?' };
        self.0 += &format!("{mark}{name}={}", percent_encode(&value.to_string()));
        self
    }

    /// With a parameter that says yes, if so.
    pub(crate) fn flag(self, name: &str, value: bool) -> Self {
        if value { self.with(name, 1) } else { self }
    }

    /// With a parameter, if there is a value.
    pub(crate) fn maybe(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

/// Talks to one daemon.
#[derive(Clone)]
pub(crate) struct Client {
    endpoint: Endpoint,
    tls: Option<Tls>,
}

/// A request that is being put together.
pub(crate) struct Call<'a> {
    client: &'a Client,
    request: hyper::http::request::Builder,
    body: Body,
}

/// An answer whose body is read piece by piece. Owns the connection's task.
pub(crate) struct Stream {
    head: hyper::http::response::Parts,
    body: Incoming,
    connection: JoinHandle<()>,
}

/// A connection that the daemon has let go of HTTP on. Owns its task.
pub(crate) struct Hijacked {
    /// The bare connection.
    pub(crate) connection: TokioIo<Upgraded>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Client {
    pub(crate) fn new(endpoint: Endpoint, tls: Option<Tls>) -> Self {
        Self { endpoint, tls }
    }

    /// Where the daemon is.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A bare connection, for whoever speaks HTTP on it.
    pub(crate) async fn dial(&self) -> anyhow::Result<Box<dyn Socket>> {
        dial(&self.endpoint, self.tls.as_ref()).await
    }

    /// A request without a body.
    pub(crate) fn call(&self, method: Method, at: &At) -> Call<'_> {
        let request = Request::builder().method(method).uri(&at.0).header(header::HOST, "oriel");
        Call { client: self, request, body: whole(Bytes::new()) }
    }

    /// `GET`, read as JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, at: &At) -> anyhow::Result<T> {
        self.open(at).await?.json().await
    }

    /// `GET`; the answer is read piece by piece.
    pub(crate) async fn open(&self, at: &At) -> anyhow::Result<Stream> {
        self.call(Method::GET, at).send().await
    }

    /// `POST` without a body; the answer is read piece by piece.
    pub(crate) async fn post(&self, at: &At) -> anyhow::Result<Stream> {
        self.call(Method::POST, at).send().await
    }

    /// `POST` with a body of JSON; the answer is read piece by piece.
    pub(crate) async fn post_json(&self, at: &At, body: &impl Serialize) -> anyhow::Result<Stream> {
        self.call(Method::POST, at).json(body)?.send().await
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, at: &At) -> anyhow::Result<Stream> {
        self.call(Method::DELETE, at).send().await
    }
}

impl Call<'_> {
    /// With a header, if there is a value.
    pub(crate) fn header(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.request = self.request.header(name, value);
        }
        self
    }

    /// With a body of JSON.
    pub(crate) fn json(mut self, body: &impl Serialize) -> anyhow::Result<Self> {
        self.request = self.request.header(header::CONTENT_TYPE, "application/json");
        self.body = whole(serde_json::to_vec(body)?.into());
        Ok(self)
    }

    /// With a body that is there.
    pub(crate) fn bytes(mut self, bytes: Bytes) -> Self {
        self.body = whole(bytes);
        self
    }

    /// With a body that comes in pieces.
    pub(crate) fn pieces(mut self, kind: &str, pieces: Pieces) -> Self {
        self.request = self.request.header(header::CONTENT_TYPE, kind);
        self.body = pieces.into_body();
        self
    }

    /// Sends the request; an answer that says no is an error.
    pub(crate) async fn send(self) -> anyhow::Result<Stream> {
        let request = self.request.body(self.body)?;
        let (response, connection) = exchange(self.client, request).await?;
        accept(response, connection).await
    }

    /// Sends the request and takes the connection over.
    pub(crate) async fn hijack(self) -> anyhow::Result<Hijacked> {
        let request = self
            .request
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "tcp")
            .body(self.body)?;
        let (response, connection) = exchange(self.client, request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let answered = accept(response, connection).await?;
            bail!("the daemon answered {} and kept the connection", answered.head.status);
        }
        let upgraded = hyper::upgrade::on(response).await.context("the connection is not free")?;
        Ok(Hijacked { connection: TokioIo::new(upgraded) })
    }
}

impl Stream {
    /// The whole body, read as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> anyhow::Result<T> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).context("the daemon's answer is not understood")
    }

    /// The whole body.
    pub(crate) async fn bytes(mut self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// A header of the answer.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
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

/// The receiving end of a request's body that is made elsewhere.
pub(crate) struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

/// The sending end: what a thread writes goes to the daemon. An error that is sent breaks the
/// request off, so that the daemon does not take a part for the whole.
pub(crate) struct PieceWriter(mpsc::Sender<io::Result<Bytes>>);

impl Pieces {
    /// Both ends.
    pub(crate) fn channel() -> (PieceWriter, Self) {
        let (sender, receiver) = mpsc::channel(AHEAD);
        (PieceWriter(sender), Self(receiver))
    }

    /// What `reader` yields, read on a thread of its own.
    pub(crate) fn of(mut reader: impl io::Read + Send + 'static) -> Self {
        let (mut writer, pieces) = Self::channel();
        tokio::task::spawn_blocking(move || {
            let copied =
                io::copy(&mut reader, &mut io::BufWriter::with_capacity(64 << 10, &mut writer));
            if let Err(error) = copied {
                writer.fail(error);
            }
        });
        pieces
    }

    fn into_body(self) -> Body {
        let frames = stream::unfold(self.0, |mut pieces| async {
            let piece = pieces.recv().await?;
            Some((piece.map(Frame::data), pieces))
        });
        StreamBody::new(frames).boxed_unsync()
    }
}

impl PieceWriter {
    /// Breaks the request off.
    pub(crate) fn fail(&self, error: io::Error) {
        // A request that is over needs no breaking off.
        let _ = self.0.blocking_send(Err(error));
    }
}

impl io::Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

async fn exchange(
    client: &Client,
    request: Request<Body>,
) -> anyhow::Result<(Response<Incoming>, JoinHandle<()>)> {
    let socket = TokioIo::new(client.dial().await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(socket)
        .await
        .context("cannot speak HTTP with the daemon")?;
    let connection = tokio::task::spawn(async move {
        // A broken connection shows itself to the request that uses it.
        let _ = connection.with_upgrades().await;
    });
    let response = sender.send_request(request).await;
    let response = response.map_err(|error| silent(client, &error))?;
    Ok((response, connection))
}

/// The daemon gave no answer.
fn silent(client: &Client, error: &hyper::Error) -> anyhow::Error {
    if matches!(client.endpoint(), Endpoint::Ssh(_)) {
        let kind = io::ErrorKind::ConnectionReset;
        return NoDaemon { endpoint: client.endpoint.clone(), kind }.into();
    }
    let mut source: &dyn std::error::Error = error;
    while let Some(next) = source.source() {
        source = next;
    }
    anyhow::anyhow!("the daemon at {} does not answer: {source}", client.endpoint)
}

/// Turns an error status into an error with the daemon's words.
async fn accept(
    response: Response<Incoming>,
    connection: JoinHandle<()>,
) -> anyhow::Result<Stream> {
    let (head, body) = response.into_parts();
    let status = head.status;
    let stream = Stream { head, body, connection };
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(stream);
    }
    let bytes = stream.bytes().await?;
    let message = match serde_json::from_slice::<ErrorBody>(&bytes) {
        Ok(body) => body.message,
        Err(_) => format!("the daemon answered {status}"),
    };
    Err(Refused { status: status.as_u16(), message }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_carry_any_name() {
        let at = At::path(&["images", "127.0.0.1:5000/a b", "json"])
            .flag("no", false)
            .with("x", "1&2")
            .maybe("tag", Some("t"));
        assert_eq!(at.0, "/images/127.0.0.1%3A5000%2Fa%20b/json?x=1%262&tag=t");
    }
}
