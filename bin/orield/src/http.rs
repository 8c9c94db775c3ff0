//! Requests and responses: what all routes share.
//!
//! This is the one place where an error's class becomes an HTTP status.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    header,
};
use oriel_api::{ApiVersion, ErrorBody, FiltersError, NumberError, Query, Shape, VersionError};
use oriel_distribution::{TransferError, WebFile};
use oriel_engine::EngineError;
use oriel_hcs::Class;
use oriel_image::ImageError;
use serde::{Deserialize as _, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::{sync::mpsc, time::timeout};

use crate::daemon::Daemon;

/// Body of a response.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What a route answers.
pub(crate) type Answer = Result<Response<Body>, HttpError>;

/// Longest JSON body read into memory; the largest real ones are a few KiB.
const LONGEST_JSON: usize = 4 << 20;

/// Longest time that such a body may take; it comes in one piece, mostly.
const BODY_TIME: Duration = Duration::from_secs(60);

/// A request on its way to its route.
pub(crate) struct Call {
    /// The daemon.
    pub(crate) daemon: Arc<Daemon>,
    /// Version asked for.
    pub(crate) version: ApiVersion,
    /// Parameters.
    pub(crate) query: Query,
    /// The request itself.
    pub(crate) request: Request<Incoming>,
}

impl Call {
    /// Reads the body as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, HttpError> {
        let bytes = self.bytes().await?;
        self.parse(&bytes)
    }

    /// Reads the body as JSON; no body and `null` are nothing.
    pub(crate) async fn optional_json<T: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<T>, HttpError> {
        let bytes = self.bytes().await?;
        match bytes.trim_ascii() {
            b"" | b"null" => Ok(None),
            _ => self.parse(&bytes).map(Some),
        }
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, HttpError> {
        self.check_json()?;
        if bytes.is_empty() {
            return Err(HttpError::invalid("request body is empty"));
        }
        let mut values = serde_json::Deserializer::from_slice(bytes);
        // An object first: that way also what nobody reads has to be JSON, and a list is no object
        // whose names were left out.
        let fields = Map::deserialize(&mut values).map_err(HttpError::invalid)?;
        values.end().map_err(|_| HttpError::invalid("unexpected content after JSON"))?;
        T::deserialize(Value::Object(fields)).map_err(HttpError::invalid)
    }

    /// Refuses a body that is not said to be JSON: a browser sends other types to anybody.
    fn check_json(&self) -> Result<(), HttpError> {
        let kind = self.request.headers().get(header::CONTENT_TYPE);
        let kind = kind.map_or("", |kind| kind.to_str().unwrap_or("?"));
        let bare = kind.split(';').next().unwrap_or_default().trim();
        match bare.eq_ignore_ascii_case("application/json") {
            true => Ok(()),
            false => Err(HttpError::invalid(format!(
                "unsupported Content-Type header ({kind}): must be 'application/json'"
            ))),
        }
    }

    /// An answer in the newest version's shape, in that of the version asked for.
    pub(crate) fn shaped(&self, shape: Shape, answer: impl Serialize) -> Value {
        let mut answer = serde_json::to_value(answer).expect("answers have string keys only");
        oriel_api::shape(self.version, shape, &mut answer);
        answer
    }

    /// Reads the body, up to a bound.
    pub(crate) async fn bytes(&mut self) -> Result<Bytes, HttpError> {
        let limited = http_body_util::Limited::new(self.request.body_mut(), LONGEST_JSON);
        let late = |_| HttpError::new(StatusCode::REQUEST_TIMEOUT, "the request's body is late");
        let collected = timeout(BODY_TIME, limited.collect()).await.map_err(late)?;
        Ok(collected.map_err(unreadable)?.to_bytes())
    }
}

/// Why a body was not read to its end.
fn unreadable(error: Box<dyn std::error::Error + Send + Sync>) -> HttpError {
    match error.is::<http_body_util::LengthLimitError>() {
        true => HttpError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request's body is longer than {LONGEST_JSON} bytes"),
        ),
        false => HttpError::invalid(format!("cannot read the request's body: {error}")),
    }
}

/// An error answer.
#[derive(Debug)]
pub(crate) struct HttpError {
    status: StatusCode,
    message: String,
    /// Whether the client cannot read JSON.
    plain: bool,
}

impl HttpError {
    pub(crate) fn new(status: StatusCode, message: impl ToString) -> Self {
        Self { status, message: message.to_string(), plain: false }
    }

    pub(crate) fn invalid(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn unsupported(message: impl ToString) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    pub(crate) fn not_found(message: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn of(class: Class, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(status_of(class), chain(error))
    }

    /// This error for a client of a version.
    pub(crate) fn readable_by(self, version: ApiVersion) -> Self {
        Self { plain: !version.has_json_errors(), ..self }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        if self.status == StatusCode::NOT_MODIFIED {
            return empty(self.status);
        }
        if self.plain {
            let text = format!("{}\n", self.message);
            return with_type(self.status, "text/plain; charset=utf-8", text);
        }
        let mut body = serde_json::to_vec(&ErrorBody { message: self.message })
            .expect("a message is a string");
        body.push(b'\n');
        with_type(self.status, "application/json", body)
    }
}

impl From<EngineError> for HttpError {
    fn from(error: EngineError) -> Self {
        Self::of(error.class(), &error)
    }
}

impl From<ImageError> for HttpError {
    fn from(error: ImageError) -> Self {
        Self::of(error.class(), &error)
    }
}

impl From<VersionError> for HttpError {
    fn from(error: VersionError) -> Self {
        Self::invalid(error).readable_by(error.version())
    }
}

impl From<FiltersError> for HttpError {
    fn from(error: FiltersError) -> Self {
        Self::invalid(error)
    }
}

impl From<NumberError> for HttpError {
    fn from(error: NumberError) -> Self {
        Self::invalid(error)
    }
}

/// An error with its causes, which its own text does not repeat.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let further = error.to_string();
        if !text.ends_with(&further) {
            text = format!("{text}: {further}");
        }
        cause = error.source();
    }
    text
}

/// HTTP status of an error's class, as in moby `daemon/server/httpstatus`.
pub(crate) fn status_of(class: Class) -> StatusCode {
    match class {
        Class::NotFound => StatusCode::NOT_FOUND,
        Class::Invalid => StatusCode::BAD_REQUEST,
        Class::Conflict => StatusCode::CONFLICT,
        Class::NotModified => StatusCode::NOT_MODIFIED,
        Class::Denied => StatusCode::FORBIDDEN,
        Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Class::Unsupported => StatusCode::NOT_IMPLEMENTED,
        Class::Cancelled | Class::Corrupt | Class::Host | Class::Bug => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// A JSON response.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut body = serde_json::to_vec(value).expect("answers have string keys only");
    body.push(b'\n');
    with_type(status, "application/json", body)
}

/// A JSON response with status 200.
pub(crate) fn ok(value: &impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, value))
}

/// A response with a body of a type.
pub(crate) fn with_type(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(full(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// A response whose body comes bit by bit; its head is sent at once.
pub(crate) fn streamed(
    kind: &'static str,
    body: impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static,
) -> Response<Body> {
    let frames = body.map(|piece| piece.map(Frame::data));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// What arrives in a channel, as a stream.
pub(crate) fn received<T: Send + 'static>(
    receiver: mpsc::Receiver<T>,
) -> impl Stream<Item = T> + Send + 'static {
    stream::unfold(receiver, |mut receiver| async move {
        let item = receiver.recv().await?;
        Some((item, receiver))
    })
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Pieces of a body under way to a blocking reader.
const PIECES: usize = 16;

/// A request's body as something that blocking code can read. A body that breaks off is an error,
/// not an end.
pub(crate) struct BodyReader {
    pieces: mpsc::Receiver<Bytes>,
    rest: Bytes,
    ended: bool,
}

/// Most bytes taken from a client that is refused, as Go's `net/http` does.
const LEFT_OVER: usize = 256 << 10;

/// Longest wait for them.
const PATIENCE: Duration = Duration::from_millis(500);

/// Makes a [`BodyReader`], and the future that feeds it, which ends with the body or the reader.
pub(crate) fn body_reader(mut body: Incoming) -> (impl Future<Output = ()> + Send, BodyReader) {
    let (sender, reader) = piece_reader();
    let feed = async move {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return };
            let Ok(data) = frame.into_data() else { continue };
            if !data.is_empty() && sender.send(data).await.is_err() {
                // Whether all of it came in time makes no difference.
                let _ = timeout(PATIENCE, discard(body)).await;
                return;
            }
        }
        // The reader may have had enough.
        let _ = sender.send(Bytes::new()).await;
    };
    (feed, reader)
}

/// Takes the rest of a body that nobody reads, if it is short: a client that is refused while it
/// still sends would see a broken connection and not the answer.
async fn discard(mut body: Incoming) {
    let mut left = LEFT_OVER;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// The same for a file of the web; the future tells why the file broke off.
pub(crate) fn web_reader(
    mut file: WebFile,
) -> (impl Future<Output = Result<(), HttpError>> + Send, BodyReader) {
    let (sender, reader) = piece_reader();
    let feed = async move {
        while let Some(data) = file.piece().await.map_err(TransferError::from)? {
            if !data.is_empty() && sender.send(data).await.is_err() {
                return Ok(());
            }
        }
        // The reader may have had enough.
        let _ = sender.send(Bytes::new()).await;
        Ok(())
    };
    (feed, reader)
}

/// The same for pieces that come from elsewhere. An empty one is the end.
pub(crate) fn piece_reader() -> (mpsc::Sender<Bytes>, BodyReader) {
    let (sender, pieces) = mpsc::channel(PIECES);
    (sender, BodyReader { pieces, rest: Bytes::new(), ended: false })
}

impl io::Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(data) => (self.ended, self.rest) = (data.is_empty(), data),
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the client broke off its request",
                    ));
                }
            }
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

/// Chunks of an answer under way from blocking code.
const CHUNKS: usize = 16;

/// Something that blocking code can write, and what it wrote. Fails once nobody listens.
pub(crate) fn body_writer() -> (BodyWriter, mpsc::Receiver<Bytes>) {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    (BodyWriter(sender), receiver)
}

/// See [`body_writer`].
pub(crate) struct BodyWriter(mpsc::Sender<Bytes>);

impl io::Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Bytes::copy_from_slice(bytes));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
