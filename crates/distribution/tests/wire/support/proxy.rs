//! Proxies: one that cuts connections, one that leads names to loopback.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Which bytes count.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    ToClient,
    ToServer,
}

/// Passes bytes on, and cuts each connection that carried more than it may.
pub(crate) struct CutProxy {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
    limits: Arc<Mutex<VecDeque<u64>>>,
}

impl CutProxy {
    /// Connections that carry many bytes use up `limits` one by one; then nothing is cut.
    pub(crate) async fn start(server: SocketAddr, counted: Direction, limits: &[u64]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Arc::new(Mutex::new(limits.iter().copied().collect::<VecDeque<_>>()));
        let shared = Arc::clone(&limits);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let limits = Arc::clone(&shared);
                tokio::spawn(async move { carry(client, server, counted, limits).await });
            }
        });
        Self { address, task, limits }
    }

    /// How many cuts are still to come.
    pub(crate) fn left(&self) -> usize {
        self.limits.lock().unwrap().len()
    }
}

impl Drop for CutProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    client: TcpStream,
    server: SocketAddr,
    counted: Direction,
    limits: Arc<Mutex<VecDeque<u64>>>,
) {
    let server = TcpStream::connect(server).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let none = Arc::default();
    let (up, down) = match counted {
        Direction::ToClient => (&none, &limits),
        Direction::ToServer => (&limits, &none),
    };
    // Whichever side ends first ends both: dropping the sockets cuts the connection.
    tokio::select! {
        () = pass(&mut from_client, &mut to_server, up) => (),
        () = pass(&mut from_server, &mut to_client, down) => (),
    }
}

/// Passes bytes on until the first limit, if it is reached; it is used up then.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    limits: &Mutex<VecDeque<u64>>,
) {
    let mut buffer = vec![0; 16 << 10];
    let mut carried = 0;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        carried += u64::try_from(count).unwrap();
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        let mut limits = limits.lock().unwrap();
        if limits.front().is_some_and(|limit| carried > *limit) {
            limits.pop_front();
            return;
        }
    }
}

/// An HTTP proxy that answers `CONNECT` and leads every name to one server.
pub(crate) struct ConnectProxy {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let shared = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let asked = Arc::clone(&shared);
                tokio::spawn(async move { connect(client, server, &asked).await });
            }
        });
        Self { address, task, asked }
    }

    /// Where clients wanted to go.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(mut client: TcpStream, server: SocketAddr, asked: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    asked.lock().unwrap().push(line);
    let mut server = TcpStream::connect(server).await.unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}
