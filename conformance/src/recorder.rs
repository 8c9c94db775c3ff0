//! A socket in front of a daemon's that lets everything through untouched and notes what it was.
//!
//! Hijacked and upgraded connections pass as they are; only their beginning is noted.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;

use crate::framing::{Body, Framer, Head, Listener};

/// Most bytes of an answer that are kept.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// A request and what came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Method.
    pub method: String,
    /// Path without version and query.
    pub path: String,
    /// The version in the path, such as `1.45`.
    pub version: Option<String>,
    /// Status; 0 until the answer begins.
    pub status: u16,
    /// The answer's body, or its beginning, when it is JSON.
    pub body: Vec<u8>,
}

/// A recording proxy. What it has noted is there at any time.
pub struct Recorder {
    socket: PathBuf,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

impl Recorder {
    /// Listens on `socket`, which is made, and connects to `daemon`.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(daemon: &Path, socket: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let exchanges = Arc::new(Mutex::new(Vec::new()));
        let (noted, daemon) = (Arc::clone(&exchanges), daemon.to_owned());
        // It ends with the process: nothing tells when the last client is gone.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client whose daemon does not answer finds its connection closed.
                if let Ok(server) = UnixStream::connect(&daemon) {
                    let _ = relay(&client, &server, &noted);
                }
            }
        });
        Ok(Self { socket: socket.to_owned(), exchanges })
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What passed until now.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.exchanges).clone()
    }
}

/// Copies both directions of a connection on threads that end with it.
fn relay(
    client: &UnixStream,
    server: &UnixStream,
    noted: &Arc<Mutex<Vec<Exchange>>>,
) -> Result<()> {
    let connection = Arc::new(Mutex::new(Connection::default()));
    let [from, to] = [client.try_clone()?, server.try_clone()?];
    let side = Asked { noted: Arc::clone(noted), connection: Arc::clone(&connection) };
    std::thread::spawn(move || copy(from, to, side));
    let [from, to] = [server.try_clone()?, client.try_clone()?];
    let side = Answered { noted: Arc::clone(noted), connection, current: None };
    std::thread::spawn(move || copy(from, to, side));
    Ok(())
}

fn copy(mut from: UnixStream, mut to: UnixStream, mut listener: impl Listener) {
    let (mut framer, mut buffer) = (Framer::new(), vec![0; 1 << 16]);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        framer.feed(&buffer[..count], &mut listener);
        if to.write_all(&buffer[..count]).is_err() {
            // Who does not listen any more is not talked to: the other end is to know.
            let _ = from.shutdown(Shutdown::Both);
            break;
        }
    }
    // It may be closed already.
    let _ = to.shutdown(Shutdown::Write);
}

/// What the two directions of a connection tell each other.
#[derive(Debug, Default)]
struct Connection {
    /// Requests without an answer, as indexes of exchanges.
    waiting: VecDeque<usize>,
    /// Whether it is no HTTP any more.
    has_ended: bool,
}

/// What passes from the client.
struct Asked {
    noted: Arc<Mutex<Vec<Exchange>>>,
    connection: Arc<Mutex<Connection>>,
}

impl Listener for Asked {
    fn head(&mut self, head: &Head) -> Body {
        let mut noted = lock(&self.noted);
        noted.push(request(&head.line));
        lock(&self.connection).waiting.push_back(noted.len() - 1);
        head.body(Body::Sized(0))
    }

    fn body(&mut self, _: &[u8]) {}

    fn end(&mut self) {}

    fn has_ended(&self) -> bool {
        lock(&self.connection).has_ended
    }
}

/// What passes from the daemon.
struct Answered {
    noted: Arc<Mutex<Vec<Exchange>>>,
    connection: Arc<Mutex<Connection>>,
    /// The exchange whose JSON is passing.
    current: Option<usize>,
}

impl Listener for Answered {
    fn head(&mut self, head: &Head) -> Body {
        let status = head.line.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        if (100..200).contains(&status) && status != 101 {
            // An interim answer: the true one follows.
            return Body::Sized(0);
        }
        // Always in this order: exchanges, then the connection.
        let mut noted = lock(&self.noted);
        let mut connection = lock(&self.connection);
        let Some(index) = connection.waiting.pop_front() else { return Body::UntilClose };
        let exchange = &mut noted[index];
        exchange.status = status;
        let body = match status {
            101 => Body::UntilClose,
            204 | 304 => Body::Sized(0),
            _ if exchange.method == "HEAD" => Body::Sized(0),
            _ => head.body(Body::UntilClose),
        };
        connection.has_ended = body == Body::UntilClose;
        self.current = head.field("content-type").contains("json").then_some(index);
        body
    }

    fn body(&mut self, piece: &[u8]) {
        let Some(index) = self.current else { return };
        let body = &mut lock(&self.noted)[index].body;
        let room = MAX_KEPT_BYTES.saturating_sub(body.len()).min(piece.len());
        body.extend_from_slice(&piece[..room]);
    }

    fn end(&mut self) {
        self.current = None;
    }

    fn has_ended(&self) -> bool {
        lock(&self.connection).has_ended
    }
}

/// A request line as an exchange without an answer.
fn request(line: &str) -> Exchange {
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    let versioned = path.strip_prefix("/v").and_then(|rest| rest.split_once('/'));
    match versioned.filter(|(version, _)| version.starts_with(|c: char| c.is_ascii_digit())) {
        Some((version, rest)) => Exchange {
            method,
            path: format!("/{rest}"),
            version: Some(version.to_owned()),
            ..Exchange::default()
        },
        None => Exchange { method, path: path.to_owned(), ..Exchange::default() },
    }
}

/// What a thread that panicked held is as good as before: each change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A daemon that answers one connection with `answer` and returns what it was sent.
    fn daemon(socket: &Path, answer: &'static [u8]) -> std::thread::JoinHandle<Vec<u8>> {
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut received = vec![0];
            stream.read_exact(&mut received).unwrap();
            stream.write_all(answer).unwrap();
            stream.read_to_end(&mut received).unwrap();
            received
        })
    }

    /// What a client gets and the daemon got through a recorder, and what that noted.
    fn converse(asked: &[u8], answer: &'static [u8]) -> (Vec<u8>, Vec<u8>, Vec<Exchange>) {
        let directory = tempfile::tempdir().unwrap();
        let [behind, front] = ["daemon", "recorder"].map(|name| directory.path().join(name));
        let daemon = daemon(&behind, answer);
        let recorder = Recorder::start(&behind, &front).unwrap();
        let mut client = UnixStream::connect(recorder.socket()).unwrap();
        client.write_all(asked).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let received = daemon.join().unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        (got, received, recorder.exchanges())
    }

    #[test]
    fn a_request_line_is_taken_apart() {
        let exchange = request("GET /v1.45/containers/json?all=1 HTTP/1.1");
        assert_eq!((exchange.method.as_str(), exchange.path.as_str()), ("GET", "/containers/json"));
        assert_eq!(exchange.version.as_deref(), Some("1.45"));
        let exchange = request("GET /volumes HTTP/1.1");
        assert_eq!((exchange.path.as_str(), exchange.version), ("/volumes", None));
    }

    #[test]
    fn what_passes_is_untouched() {
        let asked = b"POST /v1.44/exec/a/start HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}typed";
        let answer = b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n\x01\x00raw bytes\r\n\r\n";
        let (got, received, exchanges) = converse(asked, answer);
        assert_eq!((got.as_slice(), received.as_slice()), (&answer[..], &asked[..]));
        assert_eq!((exchanges[0].path.as_str(), exchanges[0].status), ("/exec/a/start", 101));
    }

    #[test]
    fn json_is_kept_without_its_chunks() {
        let asked = b"GET /info HTTP/1.1\r\n\r\n";
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
            Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
        let (_, _, exchanges) = converse(asked, answer);
        assert_eq!((exchanges[0].status, exchanges[0].body.as_slice()), (200, &b"{}"[..]));
    }
}
