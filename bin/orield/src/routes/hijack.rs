//! Streams that take over a connection: attach, and the start of an exec.
//!
//! A client that asks for an upgrade gets the bare connection, in both directions until each side
//! has had enough; half of it may close. One that does not ask gets a response without end, and
//! its request's body is the input.

use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use oriel_api::ApiVersion;
use oriel_engine::{Attachment, Chunk, DetachKeys, Engine, ExecView, LogRecord, Stdin, Stream};
use oriel_hcs::ConsoleSize;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
};

use super::{
    containers::{framed, render},
    websocket::{self, Payload},
};
use crate::http::{Answer, Body, Call, HttpError, chain, empty, streamed};

const RAW: &str = "application/vnd.docker.raw-stream";
const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// Bytes taken from a client at a time.
const INPUT: usize = 32 << 10;

/// Content type of a stream.
pub(crate) fn stream_type(tty: bool, version: ApiVersion) -> &'static str {
    if !tty && version.at_least(42) { MULTIPLEXED } else { RAW }
}

/// How a client wants to be served.
struct Terms {
    tty: bool,
    /// Whether output travels as it is, without frames.
    raw: bool,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    detach: DetachKeys,
}

impl Terms {
    fn wants(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }
}

pub(crate) async fn attach(call: Call, id: &str) -> Answer {
    let (attached, terms) = begin(&call, id).await?;
    let (stream, engine) = (call.query.flag("stream"), call.daemon.engine.clone());
    let (response, connection) = take_over(call.request, terms.tty, call.version);
    engine.spawn(serve_attached(engine.clone(), connection, attached, (terms, stream)));
    Ok(response)
}

/// `GET /containers/ID/attach/ws`: all of it in the frames of a WebSocket, and none of Docker's.
pub(crate) async fn attach_websocket(mut call: Call, id: &str) -> Answer {
    call.daemon.engine.container(id)?;
    let (response, upgrade) = websocket::accept(&mut call.request)?;
    let payload = if call.version.at_least(28) { Payload::Binary } else { Payload::Text };
    let (attached, mut terms) = begin(&call, id).await?;
    terms.raw = true;
    let (stream, engine) = (call.query.flag("stream"), call.daemon.engine.clone());
    let (ours, theirs) = tokio::io::duplex(INPUT);
    engine.spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            websocket::relay(TokioIo::new(upgraded), theirs, payload).await;
        }
    });
    engine.spawn(serve_attached(
        engine.clone(),
        Connection::Bodies(ours),
        attached,
        (terms, stream),
    ));
    Ok(response)
}

/// Attaches to a container as a request says.
async fn begin(call: &Call, id: &str) -> Result<(Attachment, Terms), HttpError> {
    let query = &call.query;
    // Before 1.42 a WebSocket had all streams.
    let all = call.request.method() == Method::GET && !call.version.at_least(42);
    let detach = DetachKeys::parse(query.value("detachKeys").unwrap_or_default())?;
    let attached = call.daemon.engine.attach(id, query.flag("logs")).await?;
    let streams = attached.view.spec.streams;
    let stdin = query.flag("stream") && (all || query.flag("stdin"));
    let terms = Terms {
        tty: streams.tty,
        raw: streams.tty,
        stdin: stdin && streams.open_stdin,
        stdout: all || query.flag("stdout"),
        stderr: all || query.flag("stderr"),
        detach,
    };
    Ok((attached, terms))
}

async fn serve_attached(
    engine: Engine,
    connection: Connection,
    attached: Attachment,
    (terms, stream): (Terms, bool),
) {
    let Some((input, mut output)) = connection.open().await else { return };
    let earlier = send_earlier(&mut output, attached.earlier, &terms);
    if earlier.await.is_ok() && stream {
        serve(&engine, (input, output), attached.output, (&attached.stdin, terms)).await;
    }
}

pub(crate) fn exec(call: Call, exec: ExecView, console: Option<ConsoleSize>) -> Answer {
    let terms = Terms {
        tty: exec.spec.tty,
        raw: exec.spec.tty,
        stdin: exec.spec.stdin,
        stdout: exec.spec.stdout,
        stderr: exec.spec.stderr,
        detach: DetachKeys::parse(&exec.spec.detach_keys)?,
    };
    let engine = call.daemon.engine.clone();
    let (response, connection) = take_over(call.request, terms.tty, call.version);
    let tasks = engine.clone();
    tasks.spawn(async move {
        let Some((input, mut output)) = connection.open().await else { return };
        match engine.exec_start(&exec.id, console).await {
            Ok((chunks, stdin)) => {
                serve(&engine, (input, output), chunks, (&stdin, terms)).await;
            }
            Err(error) => {
                // The head has gone out; Docker puts the reason on standard output.
                let text = format!("{}\r\n", chain(&error));
                let bytes = framed(Stream::Stdout, text.as_bytes(), terms.tty);
                // The client may have gone as well.
                let _ = output.write_all(&bytes).await;
                let _ = output.shutdown().await;
            }
        }
    });
    Ok(response)
}

type Input = Box<dyn AsyncRead + Send + Unpin>;
type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection that is about to be taken over.
enum Connection {
    /// After the upgrade.
    Upgrade(hyper::upgrade::OnUpgrade),
    /// Inside the bodies of request and response.
    Bodies(tokio::io::DuplexStream),
}

impl Connection {
    async fn open(self) -> Option<(Input, Output)> {
        match self {
            Self::Upgrade(upgrade) => {
                // A client that left before the upgrade is nobody to serve.
                let upgraded = upgrade.await.ok()?;
                let (input, output) = tokio::io::split(TokioIo::new(upgraded));
                Some((Box::new(input), Box::new(output)))
            }
            Self::Bodies(duplex) => {
                let (input, output) = tokio::io::split(duplex);
                Some((Box::new(input), Box::new(output)))
            }
        }
    }
}

fn take_over(
    mut request: Request<Incoming>,
    tty: bool,
    version: ApiVersion,
) -> (Response<Body>, Connection) {
    let kind = stream_type(tty, version);
    if request.headers().contains_key(header::UPGRADE) {
        let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, header::HeaderValue::from_static("tcp"));
        return (response, Connection::Upgrade(hyper::upgrade::on(&mut request)));
    }
    let (ours, theirs) = tokio::io::duplex(INPUT);
    let (reader, writer) = tokio::io::split(theirs);
    let body = request.into_body();
    let pieces = stream::unfold((reader, Some((body, writer))), |(mut reader, feed)| async move {
        let mut buffer = vec![0; INPUT];
        let (count, feed) = read_and_feed(&mut reader, &mut buffer, feed).await;
        if count == 0 {
            return None;
        }
        buffer.truncate(count);
        Some((Ok(Bytes::from(buffer)), (reader, feed)))
    });
    (streamed(kind, pieces), Connection::Bodies(ours))
}

type Feed = Option<(Incoming, tokio::io::WriteHalf<tokio::io::DuplexStream>)>;

/// Reads output to send, and meanwhile passes on input as it comes.
async fn read_and_feed(
    reader: &mut tokio::io::ReadHalf<tokio::io::DuplexStream>,
    buffer: &mut [u8],
    mut feed: Feed,
) -> (usize, Feed) {
    loop {
        let Some((body, writer)) = &mut feed else {
            return (reader.read(buffer).await.unwrap_or(0), feed);
        };
        tokio::select! {
            count = reader.read(buffer) => return (count.unwrap_or(0), feed),
            frame = body.frame() => {
                let data = frame.and_then(Result::ok).and_then(|frame| frame.into_data().ok());
                let passed = match data {
                    Some(data) => writer.write_all(&data).await.is_ok(),
                    None => false,
                };
                if !passed {
                    // The end of the input; the other side may be gone already.
                    let _ = writer.shutdown().await;
                    feed = None;
                }
            }
        }
    }
}

async fn send_earlier(
    output: &mut Output,
    earlier: Option<mpsc::Receiver<Vec<LogRecord>>>,
    terms: &Terms,
) -> std::io::Result<()> {
    let Some(mut earlier) = earlier else { return Ok(()) };
    while let Some(mut records) = earlier.recv().await {
        records.retain(|record| terms.wants(record.stream));
        output.write_all(&render(&records, terms.raw, "", false)).await?;
    }
    output.flush().await
}

/// Serves a client until the program has ended or the client has left.
async fn serve(
    engine: &Engine,
    (input, mut output): (Input, Output),
    mut chunks: mpsc::Receiver<Chunk>,
    (stdin, terms): (&Stdin, Terms),
) {
    let Terms { tty, raw, .. } = terms;
    let wanted = [terms.stdout, terms.stderr];
    let sending = async {
        while let Some(chunk) = chunks.recv().await {
            let [stdout, stderr] = wanted;
            let wanted = match chunk.stream {
                Stream::Stdout => stdout,
                Stream::Stderr => stderr,
            };
            if !wanted {
                continue;
            }
            let bytes = framed(chunk.stream, &chunk.bytes, raw);
            if output.write_all(&bytes).await.is_err() || output.flush().await.is_err() {
                return;
            }
        }
    };
    let taking = async {
        if terms.stdin && stdin.ready().await {
            take(input, stdin, terms.detach, tty).await
        } else {
            Leaving::No
        }
    };
    {
        tokio::pin!(sending, taking);
        tokio::select! {
            () = &mut sending => {}
            leaving = &mut taking => match leaving {
                Leaving::Yes => engine.has_left(stdin),
                Leaving::No => sending.await,
            },
        }
    }
    // The client may have gone already.
    let _ = output.shutdown().await;
}

/// Whether a client leaves while its program goes on.
#[derive(PartialEq, Eq)]
enum Leaving {
    Yes,
    No,
}

/// Takes input to a program until either has had enough.
async fn take(mut input: Input, stdin: &Stdin, mut keys: DetachKeys, tty: bool) -> Leaving {
    let mut buffer = vec![0; INPUT];
    loop {
        let count = match input.read(&mut buffer).await {
            Ok(count) if count > 0 => count,
            // The end of the input, or of the client: for the program it is the same.
            _ => {
                let _ = stdin.close().await;
                return Leaving::No;
            }
        };
        let (bytes, leaves) =
            if tty { keys.scan(&buffer[..count]) } else { (buffer[..count].to_vec(), false) };
        if !bytes.is_empty() && stdin.write(bytes).await.is_err() {
            // The program has ended; its output says when to stop.
            return Leaving::No;
        }
        if leaves {
            return Leaving::Yes;
        }
    }
}
