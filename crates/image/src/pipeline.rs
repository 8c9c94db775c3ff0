//! Reading a stream once for two who need all of it, on several processors.
//!
//! Taking in a layer means to inflate it, to digest the tar and to extract it. Each costs about
//! as much as the others, so each runs on a thread of its own:
//!
//! ```text
//! input ──▶ pump (reads, inflates) ──┬──▶ tee (digests)     at most DEPTH pieces behind
//!                                    └──▶ caller (extracts)  at most DEPTH pieces behind
//! ```
//!
//! Both get the same pieces, and whoever is done with one last gives its buffer back: memory use
//! is bounded and does not depend on the stream.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use crate::ImageError;
use crate::error::Attempt;

/// Length of a piece: long enough that a hand-over costs nothing beside it.
const PIECE: usize = 256 * 1024;

/// Most pieces that wait for one of the two.
const DEPTH: usize = 8;

type Piece = Arc<Vec<u8>>;

/// What the caller reads.
pub(crate) struct Pieces {
    pieces: Receiver<io::Result<Piece>>,
    current: Option<Piece>,
    position: usize,
    used: Sender<Vec<u8>>,
}

/// Reads `input`, gives every byte to `tee`, and lets `read` read them all on this thread.
/// What `read` leaves is read to its end, so that `tee` gets all of it.
pub(crate) fn split<T>(
    input: impl Read + Send,
    mut tee: impl FnMut(&[u8]) -> io::Result<()> + Send,
    read: impl FnOnce(&mut Pieces) -> Result<T, ImageError>,
) -> Result<T, ImageError> {
    thread::scope(|scope| {
        let (used, spare) = channel();
        let (to_tee, for_tee) = sync_channel::<Piece>(DEPTH);
        let (to_reader, for_reader) = sync_channel(DEPTH);
        scope.spawn(move || pump(input, &spare, &to_tee, &to_reader));
        let tee_used = used.clone();
        let tee = scope.spawn(move || {
            for piece in for_tee {
                tee(&piece)?;
                give_back(piece, &tee_used);
            }
            io::Result::Ok(())
        });
        let mut pieces = Pieces { pieces: for_reader, current: None, position: 0, used };
        let read = read(&mut pieces).and_then(|value| {
            io::copy(&mut pieces, &mut io::sink()).attempt(|| "read the end of a layer".into())?;
            Ok(value)
        });
        // The pump stops when one of its two readers is gone.
        drop(pieces);
        let teed = tee.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        teed.attempt(|| "store a layer".into())?;
        read
    })
}

/// Reads pieces of `input` and hands them on, until its end, an error, or nobody wants more.
fn pump(
    mut input: impl Read,
    spare: &Receiver<Vec<u8>>,
    tee: &SyncSender<Piece>,
    reader: &SyncSender<io::Result<Piece>>,
) {
    loop {
        let mut buffer = spare.try_recv().unwrap_or_else(|_| vec![0; PIECE]);
        let piece = fill(&mut input, &mut buffer).map(|()| Arc::new(buffer));
        let last = piece.as_ref().is_ok_and(|piece| piece.is_empty());
        let failed = piece.is_err();
        if let Ok(piece) = &piece
            && tee.send(piece.clone()).is_err()
        {
            return;
        }
        if last || reader.send(piece).is_err() || failed {
            return;
        }
    }
}

/// Fills `buffer`, and shortens it at the end of `input`.
fn fill(input: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.resize(PIECE, 0);
    let mut filled = 0;
    while filled < PIECE {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(())
}

/// Counts what one thread reads, for another that reports it.
#[derive(Clone, Default)]
pub(crate) struct Meter(Arc<AtomicU64>);

impl Meter {
    /// Counts what is read from `input`.
    pub(crate) fn count<R>(&self, input: R) -> Metered<R> {
        Metered { input, meter: self.clone() }
    }

    /// Bytes read so far.
    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See [`Meter::count`].
pub(crate) struct Metered<R> {
    input: R,
    meter: Meter,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.meter.0.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Recycles the buffer of a piece nobody else has.
fn give_back(piece: Piece, used: &Sender<Vec<u8>>) {
    if let Some(buffer) = Arc::into_inner(piece) {
        // The pump may be done.
        let _ = used.send(buffer);
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(piece) = &self.current {
                let rest = &piece[self.position..];
                let count = rest.len().min(buffer.len());
                if count > 0 || buffer.is_empty() {
                    buffer[..count].copy_from_slice(&rest[..count]);
                    self.position += count;
                    return Ok(count);
                }
            }
            if let Some(piece) = self.current.take() {
                give_back(piece, &self.used);
            }
            self.position = 0;
            match self.pieces.recv() {
                Ok(piece) => self.current = Some(piece?),
                Err(_) => return Ok(0),
            }
        }
    }
}
