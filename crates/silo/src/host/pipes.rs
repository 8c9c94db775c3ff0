//! Connections of named pipes inside a silo with sockets of the host.
//!
//! ```text
//! client inside ──NT pipe──▶ cexecsvc.exe ──PipeOpened, PipeData──▶ here ──▶ Unix socket
//! ```
//!
//! The socket is looked up anew for each client, by its path: whoever serves it may have been
//! started again. A connection lives no longer than the one to the agent.

use std::{path::PathBuf, sync::Arc};

use oriel_hcs::{
    ProcessId,
    bridge::{Frame, Message, PIPE_WINDOW, STREAM_CHUNK},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::{Semaphore, mpsc},
};

/// What a guest says about a connection.
#[derive(Debug)]
enum FromGuest {
    Data(Vec<u8>),
    End,
}

/// The link's end of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Dropping it ends the connection.
    input: mpsc::Sender<FromGuest>,
    window: Arc<Semaphore>,
}

/// The other end, which [`Carrier::carry`] makes work.
pub(super) struct Carrier {
    id: ProcessId,
    socket: PathBuf,
    frames: mpsc::Sender<Frame>,
    input: mpsc::Receiver<FromGuest>,
    window: Arc<Semaphore>,
}

impl Connection {
    /// A connection with this socket, whose frames go to `frames`.
    pub(super) fn new(
        id: ProcessId,
        socket: PathBuf,
        frames: mpsc::Sender<Frame>,
    ) -> (Self, Carrier) {
        // Pieces under way, and an end.
        let (sender, input) = mpsc::channel(PIPE_WINDOW + 1);
        let window = Arc::new(Semaphore::new(PIPE_WINDOW));
        let carrier = Carrier { id, socket, frames, input, window: Arc::clone(&window) };
        (Self { input: sender, window }, carrier)
    }

    /// Takes what the guest says; `false` when the connection is over, also by sending more than
    /// there is room for.
    pub(super) fn take(&self, message: Message) -> bool {
        match message {
            Message::PipeData(bytes) => self.input.try_send(FromGuest::Data(bytes)).is_ok(),
            Message::PipeEnd => self.input.try_send(FromGuest::End).is_ok(),
            Message::PipeTaken => {
                // A guest may lie; the window never grows.
                if self.window.available_permits() < PIPE_WINDOW {
                    self.window.add_permits(1);
                }
                true
            }
            _ => false,
        }
    }
}

impl Carrier {
    /// Carries bytes both ways until either side is done, and says so to the guest.
    pub(super) async fn carry(self) -> ProcessId {
        let Self { id, socket, frames, input, window } = self;
        match UnixStream::connect(&socket).await {
            Ok(stream) => {
                let (reader, writer) = stream.into_split();
                tokio::select! {
                    () = inwards(id, reader, &frames, &window) => {}
                    () = outwards(id, writer, &frames, input) => {}
                }
            }
            Err(error) => {
                tracing::debug!(%error, socket = %socket.display(), "a pipe leads nowhere");
            }
        }
        // The guest may be gone.
        let _ = frames.send(Frame { process: id, message: Message::PipeClosed }).await;
        id
    }
}

/// From the socket to the guest, up to the socket's end.
async fn inwards(
    process: ProcessId,
    mut socket: impl AsyncReadExt + Unpin,
    frames: &mpsc::Sender<Frame>,
    window: &Semaphore,
) {
    let mut buffer = vec![0; STREAM_CHUNK];
    loop {
        let Ok(room) = window.acquire().await else { return };
        let Ok(count @ 1..) = socket.read(&mut buffer).await else { return };
        room.forget();
        let message = Message::PipeData(buffer[..count].to_vec());
        if frames.send(Frame { process, message }).await.is_err() {
            return;
        }
    }
}

/// From the guest to the socket, until the guest is gone.
async fn outwards(
    process: ProcessId,
    mut socket: impl AsyncWriteExt + Unpin,
    frames: &mpsc::Sender<Frame>,
    mut input: mpsc::Receiver<FromGuest>,
) {
    while let Some(said) = input.recv().await {
        let passed = match said {
            FromGuest::Data(bytes) => socket.write_all(&bytes).await,
            FromGuest::End => {
                // Whoever serves the socket may have gone, which is seen where it is read.
                let _ = socket.shutdown().await;
                continue;
            }
        };
        let taken = Frame { process, message: Message::PipeTaken };
        if passed.is_err() || frames.send(taken).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// A connection under way: its end, its frames, and the socket's other side.
    async fn connected() -> (Connection, mpsc::Receiver<Frame>, UnixStream) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let (frames, receiver) = mpsc::channel(64);
        let (connection, carrier) = Connection::new(ProcessId(7), path, frames);
        tokio::spawn(carrier.carry());
        let (stream, _) = listener.accept().await.unwrap();
        (connection, receiver, stream)
    }

    async fn next(frames: &mut mpsc::Receiver<Frame>) -> Message {
        let frame = frames.recv().await.unwrap();
        assert_eq!(frame.process, ProcessId(7));
        frame.message
    }

    #[tokio::test]
    async fn bytes_travel_both_ways_and_half_an_end_is_no_end() {
        let (connection, mut frames, mut socket) = connected().await;
        assert!(connection.take(Message::PipeData(b"ask".to_vec())));
        assert!(connection.take(Message::PipeEnd));
        let mut asked = String::new();
        socket.read_to_string(&mut asked).await.unwrap();
        assert_eq!(asked, "ask");
        assert_eq!(next(&mut frames).await, Message::PipeTaken);
        socket.write_all(b"answer").await.unwrap();
        assert_eq!(next(&mut frames).await, Message::PipeData(b"answer".to_vec()));
        drop(socket);
        assert_eq!(next(&mut frames).await, Message::PipeClosed);
    }

    #[tokio::test]
    async fn a_guest_that_takes_nothing_is_sent_no_more_than_the_window() {
        let (connection, mut frames, mut socket) = connected().await;
        let flood = tokio::spawn(async move {
            let _ = socket.write_all(&vec![1; 8 * PIPE_WINDOW * STREAM_CHUNK]).await;
        });
        for _ in 0..PIPE_WINDOW {
            assert!(matches!(next(&mut frames).await, Message::PipeData(_)));
        }
        assert_eq!(connection.window.available_permits(), 0);
        assert!(frames.try_recv().is_err());
        assert!(connection.take(Message::PipeTaken));
        assert!(matches!(next(&mut frames).await, Message::PipeData(_)));
        drop(connection);
        assert_eq!(next(&mut frames).await, Message::PipeClosed);
        flood.await.unwrap();
    }

    #[tokio::test]
    async fn a_guest_that_sends_more_than_the_window_ends_the_connection() {
        let (frames, _receiver) = mpsc::channel(1);
        let (connection, _carrier) = Connection::new(ProcessId(1), "/nowhere".into(), frames);
        let sent = (0..100).take_while(|_| connection.take(Message::PipeData(vec![1]))).count();
        assert_eq!(sent, PIPE_WINDOW + 1);
    }

    #[tokio::test]
    async fn a_pipe_that_leads_nowhere_is_closed() {
        let (frames, mut receiver) = mpsc::channel(1);
        let (_connection, carrier) = Connection::new(ProcessId(7), "/nowhere".into(), frames);
        carrier.carry().await;
        assert_eq!(next(&mut receiver).await, Message::PipeClosed);
    }
}
