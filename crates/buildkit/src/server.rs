//! The daemon's side of `POST /grpc`: calls of a client, each with one message.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Frame, Incoming},
    header,
    service::service_fn,
};
use hyper_util::rt::TokioTimer;
use prost::Message;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    Spawner,
    grpc::{Body, CONTENT_TYPE, Code, Messages, Status, framed},
};

/// Most calls of a connection at a time. A build has three, and `docker buildx bake` makes all its
/// targets over one connection.
const CALLS: u32 = 128;

/// Longest headers of a call; BuildKit's clients send traces and names.
const HEADER_BYTES: u32 = 64 << 10;

/// Longest time that the message of a call may take; it comes with the headers, mostly.
const MESSAGE_TIME: Duration = Duration::from_secs(60);

/// Silence after which a client is asked whether it is there, and the time it has to answer: one
/// that went without a word, such as with its network, would hold its builds.
const QUIET: Duration = Duration::from_secs(30);

/// Answers calls.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Answers one. The future is dropped when the client cancels the call or is gone.
    async fn answer(&self, call: Call) -> Result<Reply, Status>;
}

/// A call.
#[derive(Debug)]
pub struct Call {
    /// Service and method, as in `/moby.buildkit.v1.Control/Info`.
    pub method: String,
    /// What the client said besides.
    pub headers: HeaderMap,
    /// The message, not read yet.
    pub message: Bytes,
}

impl Call {
    /// Reads the message.
    ///
    /// # Errors
    /// `InvalidArgument` when it is not of that kind.
    pub fn read<M: Message + Default>(&self) -> Result<M, Status> {
        decode(self.message.clone())
    }
}

/// Reads a message.
///
/// # Errors
/// `InvalidArgument` when it is not of that kind.
pub fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| Status::invalid(format!("cannot read a message: {error}")))
}

/// What a call is answered with.
#[derive(Debug)]
pub enum Reply {
    /// One message.
    One(Bytes),
    /// Messages as they come.
    Many(mpsc::Receiver<Bytes>),
}

impl Reply {
    /// An answer of one message.
    pub fn one(message: &impl Message) -> Self {
        Self::One(framed(message))
    }

    /// An answer of several, with what sends them; it ends when that is dropped. `waiting` may be
    /// under way.
    pub fn many(waiting: usize) -> (Replies, Self) {
        let (sender, receiver) = mpsc::channel(waiting);
        (Replies(sender), Self::Many(receiver))
    }
}

/// Sends the messages of a [`Reply::Many`].
#[derive(Clone, Debug)]
pub struct Replies(mpsc::Sender<Bytes>);

impl Replies {
    /// Sends a message, waiting for room. `false` when the client is gone.
    pub async fn send(&self, message: &impl Message) -> bool {
        self.0.send(framed(message)).await.is_ok()
    }

    /// Ends when the client is gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// Serves a connection, until it ends.
///
/// # Errors
/// When it breaks off.
pub async fn serve<I>(io: I, service: Arc<dyn Service>, spawner: Spawner) -> hyper::Result<()>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let answer = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, std::convert::Infallible>(respond(&*service, request).await) }
    });
    hyper::server::conn::http2::Builder::new(spawner)
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS)
        .max_header_list_size(HEADER_BYTES)
        .keep_alive_interval(QUIET)
        .keep_alive_timeout(QUIET)
        .serve_connection(io, answer)
        .await
}

async fn respond(service: &dyn Service, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let method = head.uri.path().to_owned();
    let answered = async {
        let mut messages = Messages::new(body);
        let first = timeout(MESSAGE_TIME, messages.next()).await;
        let first = first.map_err(|_| Status::new(Code::DeadlineExceeded, "no message came"))?;
        let message = first?.unwrap_or_default();
        service.answer(Call { method: method.clone(), headers: head.headers, message }).await
    };
    let reply = answered.await;
    if let Err(status) = &reply {
        tracing::debug!(method, code = ?status.code, message = status.message, "call refused");
    }
    response(reply)
}

fn response(reply: Result<Reply, Status>) -> Response<Body> {
    let (messages, outcome) = match reply {
        Ok(Reply::One(message)) => (stream::iter([message]).boxed(), Ok(())),
        Ok(Reply::Many(messages)) => {
            let messages = stream::unfold(messages, |mut messages| async move {
                messages.recv().await.map(|message| (message, messages))
            });
            (messages.boxed(), Ok(()))
        }
        Err(status) => (stream::empty().boxed(), Err(status)),
    };
    let trailers = Frame::trailers(Status::headers(&outcome));
    let frames = messages.map(Frame::data).chain(stream::iter([trailers])).map(Ok);
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    response
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::{
        fake,
        message::{Empty, StatusRequest},
    };

    /// Says a reference once or, to `Many`, twice.
    struct Echo;

    #[async_trait]
    impl Service for Echo {
        async fn answer(&self, call: Call) -> Result<Reply, Status> {
            let request: StatusRequest = call.read()?;
            match call.method.as_str() {
                "/s/One" => Ok(Reply::one(&request)),
                "/s/Many" => {
                    let (replies, reply) = Reply::many(2);
                    assert!(replies.send(&request).await && replies.send(&Empty {}).await);
                    Ok(reply)
                }
                other => Err(Status::unimplemented(format!("unknown method {other}"))),
            }
        }
    }

    async fn asked(method: &str, body: impl Into<Bytes>) -> (Vec<Bytes>, Result<(), Status>) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(serve(TokioIo::new(ours), Arc::new(Echo), fake::spawner()));
        fake::call(theirs, method, body).await
    }

    #[tokio::test]
    async fn calls_are_answered_with_messages_and_a_status() {
        let request = framed(&StatusRequest { reference: "abc".into() });
        let (messages, outcome) = asked("/s/One", request.clone()).await;
        assert_eq!((messages, outcome), (vec![request.slice(5..)], Ok(())));
        let (messages, outcome) = asked("/s/Many", request.clone()).await;
        assert_eq!((messages.len(), outcome), (2, Ok(())));
        let (messages, outcome) = asked("/s/None", request).await;
        assert!(messages.is_empty());
        assert_eq!(outcome, Err(Status::unimplemented("unknown method /s/None")));
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused() {
        let table: [(&'static [u8], Code); 5] = [
            (b"\0\0\0\0\x02\xff\xff", Code::InvalidArgument),
            (b"\0\0\0\0\x09ab", Code::Unavailable),
            (b"\0\xff\xff\xff\xff", Code::ResourceExhausted),
            (b"\x01\0\0\0\0", Code::Unimplemented),
            (b"\0", Code::Unavailable),
        ];
        for (body, code) in table {
            let (_, outcome) = asked("/s/One", body).await;
            assert_eq!(outcome.map_err(|status| status.code), Err(code), "{body:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_http_ends_the_connection() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let served = tokio::spawn(serve(TokioIo::new(ours), Arc::new(Echo), fake::spawner()));
        theirs.write_all(&[0xff; 4096]).await.unwrap();
        assert!(served.await.unwrap().is_err());
    }
}
