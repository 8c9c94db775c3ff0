//! The daemon's side of `POST /session`: what it asks of the client of a build.
//!
//! A session lives as long as its connection. It has the client's name for it, which a build gives
//! to say whose files it wants; the two connections come in any order, so a build waits for its
//! session for a while.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Frame, Incoming},
    client::conn::http2::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioTimer;
use prost::Message;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};

use crate::{
    Spawner,
    grpc::{Body, CONTENT_TYPE, Code, Messages, Status, framed},
    message::{CredentialsRequest, CredentialsResponse, GetSecretRequest, GetSecretResponse},
    server::decode,
};

const SESSION_ID: &str = "x-docker-expose-session-uuid";
const SESSION_METHOD: &str = "x-docker-expose-session-grpc-method";

/// Longest name of a session; clients send 25 characters.
const LONGEST_ID: usize = 256;

/// Longest wait for an answer that a client has at hand. One may ask its user for a password.
const ANSWER_TIME: Duration = Duration::from_secs(120);

/// Longest wait of a build for its session.
const ARRIVAL_TIME: Duration = Duration::from_secs(20);

/// Silence after which a client is asked whether it is there, and the time it has to answer.
const QUIET: Duration = Duration::from_secs(20);

/// Bytes that may be under way before the client waits for the daemon: a copy of files needs some,
/// and they are this side's memory.
const WINDOW: u32 = 1 << 20;

/// Longest headers of an answer.
const HEADER_BYTES: u32 = 64 << 10;

/// Messages under way to a client.
const MESSAGES: usize = 64;

/// What a client has for its builds.
pub struct Session {
    id: String,
    methods: BTreeSet<String>,
    calls: SendRequest<Body>,
    ended: watch::Receiver<bool>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Session {
    /// Whether the client answers a method, such as `/moby.filesync.v1.FileSync/DiffCopy`.
    pub fn supports(&self, method: &str) -> bool {
        self.methods.contains(&method.to_ascii_lowercase())
    }

    /// Ends with the session.
    pub async fn ended(&self) {
        // The sender is gone when the connection is, which is the same.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// A secret of the client; `None` when it has none of that name.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, Status> {
        const METHOD: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
        if !self.supports(METHOD) {
            return Ok(None);
        }
        let request = GetSecretRequest { id: id.to_owned() };
        match self.unary::<GetSecretResponse>(METHOD, &request).await {
            Ok(answer) => Ok(Some(answer.data)),
            Err(status) if status.code == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// The client's credentials for a registry; empty ones when it has none.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn credentials(&self, host: &str) -> Result<CredentialsResponse, Status> {
        const METHOD: &str = "/moby.filesync.v1.Auth/Credentials";
        if !self.supports(METHOD) {
            return Ok(CredentialsResponse::default());
        }
        self.unary(METHOD, &CredentialsRequest { host: host.to_owned() }).await
    }

    /// Asks with one message and gets one.
    async fn unary<R: Message + Default>(
        &self,
        method: &str,
        request: &impl Message,
    ) -> Result<R, Status> {
        let body = Full::new(framed(request)).boxed_unsync();
        let asked = async {
            let mut answers = Messages::new(self.call(method, &HeaderMap::new(), body).await?);
            let answer = answers.next().await?;
            // What comes after it tells how it went.
            while answers.next().await?.is_some() {}
            answers.status().unwrap_or(Ok(()))?;
            answer.ok_or_else(|| Status::gone("the client gave no answer"))
        };
        let late = |_| {
            let text = format!("the client did not answer {method} in {}s", ANSWER_TIME.as_secs());
            Status::new(Code::DeadlineExceeded, text)
        };
        decode(timeout(ANSWER_TIME, asked).await.map_err(late)??)
    }

    /// Opens a stream in both directions.
    pub(crate) async fn stream(
        &self,
        method: &str,
        headers: &HeaderMap,
    ) -> Result<Conversation, Status> {
        if !self.supports(method) {
            return Err(Status::unimplemented(format!("the client does not answer {method}")));
        }
        let (sender, receiver) = mpsc::channel::<Bytes>(MESSAGES);
        let frames = stream::unfold(receiver, |mut receiver| async move {
            let message = receiver.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(message)), receiver))
        });
        let body = StreamBody::new(frames).boxed_unsync();
        let call = timeout(ANSWER_TIME, self.call(method, headers, body));
        let late = |_| Status::new(Code::DeadlineExceeded, "the client did not answer");
        let incoming = call.await.map_err(late)??;
        Ok(Conversation { sender, messages: Messages::new(incoming) })
    }

    async fn call(
        &self,
        method: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Incoming, Status> {
        let gone = |error: hyper::Error| Status::gone(format!("the client is gone: {error}"));
        let mut request = Request::new(body);
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = format!("http://localhost{method}")
            .parse()
            .map_err(|_| Status::invalid(format!("{method} is no method")))?;
        request.headers_mut().extend(headers.clone());
        request.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
        request.headers_mut().insert(header::TE, header::HeaderValue::from_static("trailers"));
        let mut calls = self.calls.clone();
        calls.ready().await.map_err(gone)?;
        let response: Response<Incoming> = calls.send_request(request).await.map_err(gone)?;
        if !response.status().is_success() {
            let text = format!("the client answered {method} with {}", response.status());
            return Err(Status::gone(text));
        }
        match Status::read(response.headers()) {
            Some(Err(status)) => Err(status),
            _ => Ok(response.into_body()),
        }
    }
}

/// A stream in both directions.
pub(crate) struct Conversation {
    sender: mpsc::Sender<Bytes>,
    messages: Messages,
}

impl Conversation {
    /// Sends a message, waiting for room.
    pub(crate) async fn send(&self, message: &impl Message) -> Result<(), Status> {
        let sent = self.sender.send(framed(message)).await;
        sent.map_err(|_| Status::gone("the client stopped listening"))
    }

    /// The next message, or `None` after the last of a stream that went well.
    pub(crate) async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        match self.messages.next().await? {
            Some(message) => decode(message).map(Some),
            None => self.messages.status().unwrap_or(Ok(())).map(|()| None),
        }
    }
}

/// The sessions there are, by name.
#[derive(Clone, Debug, Default)]
pub struct Sessions(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    sessions: Mutex<BTreeMap<String, Weak<Session>>>,
    arrived: Notify,
}

impl Sessions {
    /// The name that the headers of a request give a session.
    ///
    /// # Errors
    /// `InvalidArgument` when they give none, `AlreadyExists` when another has it.
    pub fn name(&self, headers: &HeaderMap) -> Result<String, Status> {
        let id = headers.get(SESSION_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
        if id.is_empty() || id.len() > LONGEST_ID {
            return Err(Status::invalid(format!("a session needs a name in {SESSION_ID}")));
        }
        match self.find(id) {
            Some(_) => {
                Err(Status::new(Code::AlreadyExists, format!("session {id} already exists")))
            }
            None => Ok(id.to_owned()),
        }
    }

    /// Keeps a session until its connection ends.
    ///
    /// # Errors
    /// When the connection breaks off.
    pub async fn keep<I>(
        &self,
        io: I,
        (id, headers): (String, &HeaderMap),
        spawner: Spawner,
    ) -> hyper::Result<()>
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (calls, connection) = http2::Builder::new(spawner)
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(HEADER_BYTES)
            .keep_alive_interval(QUIET)
            .keep_alive_timeout(QUIET)
            .keep_alive_while_idle(true)
            .handshake(io)
            .await?;
        let methods = headers.get_all(SESSION_METHOD).iter().filter_map(|name| name.to_str().ok());
        let methods = methods.map(str::to_ascii_lowercase).collect();
        let (end, ended) = watch::channel(false);
        let session = Arc::new(Session { id: id.clone(), methods, calls, ended });
        if !self.enter(&session) {
            return Ok(());
        }
        self.0.arrived.notify_waiters();
        let outcome = connection.await;
        end.send_replace(true);
        self.lock().remove(&id);
        outcome
    }

    /// The session of a name, once it is there. A name may have a prefix that ends in a colon.
    ///
    /// # Errors
    /// `NotFound` when it does not come.
    pub async fn get(&self, id: &str) -> Result<Arc<Session>, Status> {
        let id = id.split_once(':').map(|(_, id)| id).filter(|id| !id.is_empty()).unwrap_or(id);
        let wait = async {
            loop {
                let mut arrived = std::pin::pin!(self.0.arrived.notified());
                arrived.as_mut().enable();
                if let Some(session) = self.find(id) {
                    return session;
                }
                arrived.await;
            }
        };
        let late = |_| Status::new(Code::NotFound, format!("no active session for {id}"));
        timeout(ARRIVAL_TIME, wait).await.map_err(late)
    }

    /// Puts a session into the table; `false` when another of its name came first.
    fn enter(&self, session: &Arc<Session>) -> bool {
        let mut sessions = self.lock();
        let taken = sessions.get(&session.id).is_some_and(|other| other.strong_count() > 0);
        if !taken {
            sessions.insert(session.id.clone(), Arc::downgrade(session));
        }
        !taken
    }

    fn find(&self, id: &str) -> Option<Arc<Session>> {
        self.lock().get(id).and_then(Weak::upgrade)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Weak<Session>>> {
        self.0.sessions.lock().expect("no panic while sessions are looked up")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::fake;

    const SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";

    async fn answer(mut asked: fake::Asked) -> Result<(), Status> {
        let message = asked.messages.next().await?.unwrap_or_default();
        match decode::<GetSecretRequest>(message)?.id.as_str() {
            "token" => {
                asked.answers.send(&GetSecretResponse { data: b"s3cret".into() }).await;
                Ok(())
            }
            "denied" => Err(Status::new(Code::PermissionDenied, "not you")),
            _ => Err(Status::new(Code::NotFound, "no such secret")),
        }
    }

    #[tokio::test]
    async fn secrets_are_there_or_not() {
        let session = fake::session(&[SECRET], |asked| answer(asked).boxed()).await;
        assert_eq!(session.secret("token").await, Ok(Some(b"s3cret".to_vec())));
        assert_eq!(session.secret("other").await, Ok(None));
        assert_eq!(session.secret("denied").await.unwrap_err().message, "not you");
        let without = session.credentials("r.example").await.unwrap();
        assert_eq!((without.username.as_str(), without.secret.as_str()), ("", ""));
    }

    #[tokio::test]
    async fn a_session_is_over_when_its_connection_is() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let sessions = Sessions::default();
        let kept = sessions.clone();
        let work = tokio::spawn(async move {
            let io = hyper_util::rt::TokioIo::new(ours);
            kept.keep(io, ("x".to_owned(), &HeaderMap::new()), fake::spawner()).await
        });
        let session = sessions.get("prefix:x").await.unwrap();
        assert!(!session.supports(SECRET));
        drop(theirs);
        session.ended().await;
        drop(session);
        // How the connection ended is of no interest.
        let _ = work.await;
        assert!(sessions.find("x").is_none());
    }

    #[test]
    fn a_session_has_a_name_of_its_own() {
        let sessions = Sessions::default();
        let mut headers = HeaderMap::new();
        assert_eq!(sessions.name(&headers).unwrap_err().code, Code::InvalidArgument);
        headers.insert(SESSION_ID, "a".repeat(LONGEST_ID + 1).parse().unwrap());
        assert_eq!(sessions.name(&headers).unwrap_err().code, Code::InvalidArgument);
        headers.insert(SESSION_ID, "a".parse().unwrap());
        assert_eq!(sessions.name(&headers).unwrap(), "a");
    }
}
