//! A client for tests: answers the calls that the daemon makes on a session, and makes calls.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::{io::DuplexStream, sync::mpsc};

use crate::{
    Session, Sessions, Spawner, Status,
    grpc::{Body, Messages, framed},
};

/// A call of the daemon, as a client sees it.
pub(crate) struct Asked {
    pub(crate) headers: HeaderMap,
    pub(crate) messages: Messages,
    pub(crate) answers: Answers,
}

/// Sends answers.
pub(crate) struct Answers(mpsc::Sender<Bytes>);

impl Answers {
    pub(crate) async fn send(&self, message: &impl Message) {
        // The daemon may have had enough.
        let _ = self.0.send(framed(message)).await;
    }
}

type Answer = Arc<dyn Fn(Asked) -> BoxFuture<'static, Result<(), Status>> + Send + Sync>;

pub(crate) fn spawner() -> Spawner {
    Spawner::new(|task| drop(tokio::spawn(task)))
}

/// Opens a session with a client that answers calls so.
pub(crate) async fn session<F>(methods: &[&str], answer: F) -> Arc<Session>
where
    F: Fn(Asked) -> BoxFuture<'static, Result<(), Status>> + Send + Sync + 'static,
{
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(client(theirs, Arc::new(answer)));
    let sessions = Sessions::default();
    let mut headers = HeaderMap::new();
    headers.insert("x-docker-expose-session-uuid", "one".parse().unwrap());
    for method in methods {
        headers.append("x-docker-expose-session-grpc-method", method.parse().unwrap());
    }
    let id = sessions.name(&headers).unwrap();
    let kept = sessions.clone();
    tokio::spawn(async move { kept.keep(TokioIo::new(ours), (id, &headers), spawner()).await });
    sessions.get("one").await.unwrap()
}

async fn client(io: DuplexStream, answer: Answer) {
    let service = service_fn(move |request| {
        let answer = answer.clone();
        async move { Ok::<_, Infallible>(respond(&answer, request)) }
    });
    let served = hyper::server::conn::http2::Builder::new(spawner());
    let _ = served.serve_connection(TokioIo::new(io), service).await;
}

fn respond(answer: &Answer, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let (sender, receiver) = mpsc::channel(8);
    let asked =
        Asked { headers: head.headers, messages: Messages::new(body), answers: Answers(sender) };
    let outcome = tokio::spawn(answer(asked));
    let data = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|bytes| (Frame::data(bytes), receiver))
    });
    let trailers =
        stream::once(async move { Frame::trailers(Status::headers(&outcome.await.unwrap())) });
    let frames = data.chain(trailers).map(Ok);
    Response::new(StreamBody::new(frames).boxed_unsync())
}

/// Makes one call on a connection to the daemon; the messages of the answer, and how it ended.
pub(crate) async fn call(
    io: DuplexStream,
    method: &str,
    body: impl Into<Bytes>,
) -> (Vec<Bytes>, Result<(), Status>) {
    let handshake = hyper::client::conn::http2::handshake(spawner(), TokioIo::new(io));
    let (mut calls, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::new(http_body_util::Full::new(body.into()));
    *request.method_mut() = hyper::Method::POST;
    *request.uri_mut() = format!("http://localhost{method}").parse().unwrap();
    let response = calls.send_request(request).await.unwrap();
    let mut messages = Messages::new(response.into_body());
    let mut all = Vec::new();
    while let Some(message) = messages.next().await.unwrap() {
        all.push(message);
    }
    (all, messages.status().unwrap())
}
