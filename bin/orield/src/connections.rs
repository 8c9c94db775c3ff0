//! The places for connections, and who has to give up theirs when they run short.
//!
//! ```text
//! enter ─▶ Shaking ─▶ Idle ◀──▶ Busy ─▶ Taken (attach, exec)
//!             └───────┴─ may be sent away ─▶ place free
//! ```
//! A connection waits for its peer while it shakes hands, sends the head of a request, or sends
//! nothing between two. Such connections cost a client nothing, so they must not cost others: when
//! all places are taken, the one that has waited longest goes. One whose request is under way
//! stays. A single peer has a part of the places only, and makes room for itself among its own.
//!
//! The place belongs to the connection's stream, so it is free when the connection is closed, also
//! after it was taken over.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

use crate::{
    http::Body,
    listen::{Peer, Stream},
};

/// Connections at a time; each costs a task and a descriptor.
pub(crate) const CONNECTIONS: usize = 4096;

/// Connections of one peer at a time: a quarter, which is more than any client needs that follows
/// the logs of all its containers.
const PER_PEER: usize = CONNECTIONS / 4;

/// Connections at a time that have not shown who they are.
const SHAKING: usize = 256;

/// All places. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    places: HashMap<u64, Entry>,
    next: u64,
}

struct Entry {
    peer: Peer,
    state: State,
    /// When it entered its state, in steps of [`Table::next`].
    since: u64,
    leave: Arc<Notify>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Shaking,
    Idle,
    Busy,
    /// Told to leave.
    Leaving,
}

impl Connections {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("no panic while places are counted")
    }

    /// Changes with every connection and every request.
    pub(crate) fn steps(&self) -> u64 {
        self.table().next
    }

    /// Takes a place; `None` when all that the peer may have are in use.
    pub(crate) fn enter(&self, peer: Peer, shakes: bool) -> Option<Place> {
        let mut table = self.table();
        if !table.make_room(peer, shakes) {
            return None;
        }
        let (id, leave) = (table.tick(), Arc::<Notify>::default());
        let state = if shakes { State::Shaking } else { State::Idle };
        table.places.insert(id, Entry { peer, state, since: id, leave: leave.clone() });
        Some(Place { connections: self.clone(), id, leave })
    }

    fn turn(&self, id: u64, state: State) {
        let mut table = self.table();
        let since = table.tick();
        if let Some(entry) = table.places.get_mut(&id)
            && entry.state != State::Leaving
        {
            (entry.state, entry.since) = (state, since);
        }
    }
}

impl Table {
    fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Sends away who has to go for one more of `peer`; false when nobody can.
    fn make_room(&mut self, peer: Peer, shakes: bool) -> bool {
        if shakes && self.count(|entry| entry.state == State::Shaking) >= SHAKING {
            self.send_away(|entry| entry.state == State::Shaking);
        }
        if self.count(|entry| entry.peer == peer) >= PER_PEER {
            return self.send_away(|entry| entry.peer == peer);
        }
        let all = self.count(|_| true);
        all < CONNECTIONS || self.send_away(|_| true)
    }

    /// Connections that have not been told to leave.
    fn count(&self, which: impl Fn(&Entry) -> bool) -> usize {
        let stays = |entry: &&Entry| entry.state != State::Leaving && which(entry);
        self.places.values().filter(stays).count()
    }

    /// Tells the connection that has waited longest to leave.
    fn send_away(&mut self, which: impl Fn(&Entry) -> bool) -> bool {
        let waits = |entry: &&mut Entry| matches!(entry.state, State::Shaking | State::Idle);
        let oldest = self
            .places
            .values_mut()
            .filter(|entry| waits(entry) && which(entry))
            .min_by_key(|entry| entry.since);
        let Some(oldest) = oldest else { return false };
        oldest.state = State::Leaving;
        oldest.leave.notify_one();
        true
    }
}

/// A connection's place.
pub(crate) struct Place {
    connections: Connections,
    id: u64,
    leave: Arc<Notify>,
}

impl Place {
    /// What follows the connection's requests.
    pub(crate) fn turns(&self) -> Turns {
        let Self { connections, id, leave } = self;
        Turns { connections: connections.clone(), id: *id, leave: leave.clone() }
    }

    /// The stream, which holds the place from now on.
    pub(crate) fn hold<S: Stream>(self, stream: S) -> Held<S> {
        Held { stream, first: None, _place: self }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.table().places.remove(&self.id);
    }
}

/// Follows the requests of a connection.
#[derive(Clone)]
pub(crate) struct Turns {
    connections: Connections,
    id: u64,
    leave: Arc<Notify>,
}

impl Turns {
    /// Notes that the handshake is done.
    pub(crate) fn shaken(&self) {
        self.connections.turn(self.id, State::Idle);
    }

    /// Notes that a request has begun; it ends with what is returned.
    pub(crate) fn begin(&self) -> Turn {
        self.connections.turn(self.id, State::Busy);
        Turn(Some(self.clone()))
    }

    /// Waits until the connection has to go.
    pub(crate) async fn sent_away(&self) {
        self.leave.notified().await;
    }
}

/// A request under way.
pub(crate) struct Turn(Option<Turns>);

impl Turn {
    /// The connection is taken over: it never waits for a request again.
    pub(crate) fn take_over(mut self) {
        self.0 = None;
    }

    /// The answer's body, with whose end the request ends.
    pub(crate) fn until_end_of(self, body: Body) -> Body {
        Body::new(Answered { body, _turn: self })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = &self.0 {
            turns.connections.turn(turns.id, State::Idle);
        }
    }
}

/// A body under way.
struct Answered {
    body: Body,
    _turn: Turn,
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream with its place.
pub(crate) struct Held<S> {
    stream: S,
    /// What was read too early.
    first: Option<u8>,
    _place: Place,
}

impl<S> Held<S> {
    /// Has a byte read once more.
    pub(crate) fn put_back(&mut self, byte: u8) {
        self.first = Some(byte);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() > 0
            && let Some(byte) = self.first.take()
        {
            buffer.put_slice(&[byte]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Peer = Peer::Process(1);

    /// Whether a connection was told to leave.
    fn leaves(place: &Place) -> bool {
        place.connections.table().places[&place.id].state == State::Leaving
    }

    #[test]
    fn a_peer_makes_room_among_its_own_waiting_connections() {
        let connections = Connections::default();
        let other = connections.enter(Peer::Process(2), false).unwrap();
        let own: Vec<Place> =
            (0..PER_PEER).map(|_| connections.enter(ONE, false).unwrap()).collect();
        let busy = own[0].turns().begin();
        let _next = connections.enter(ONE, false).unwrap();
        assert_eq!([leaves(&other), leaves(&own[0]), leaves(&own[1])], [false, false, true]);
        assert!(!leaves(&own[2]));
        drop(busy);
        let _next: Vec<Place> =
            (2..PER_PEER).map(|_| connections.enter(ONE, false).unwrap()).collect();
        assert!(!leaves(&own[0]), "it waits for a shorter time than the others");
    }

    #[test]
    fn a_peer_whose_connections_are_all_busy_gets_no_more() {
        let connections = Connections::default();
        let own: Vec<Place> =
            (0..PER_PEER).map(|_| connections.enter(ONE, false).unwrap()).collect();
        let turns: Vec<Turn> = own.iter().map(|place| place.turns().begin()).collect();
        assert!(connections.enter(ONE, false).is_none());
        assert!(connections.enter(Peer::Process(2), false).is_some());
        for turn in turns {
            turn.take_over();
        }
        assert!(connections.enter(ONE, false).is_none(), "what is taken over stays busy");
        drop(own);
        assert!(connections.enter(ONE, false).is_some());
    }

    #[test]
    fn handshakes_make_room_for_each_other() {
        let connections = Connections::default();
        let done = connections.enter(ONE, true).unwrap();
        done.turns().shaken();
        let shaking: Vec<Place> =
            (0..SHAKING).map(|_| connections.enter(ONE, true).unwrap()).collect();
        let _next = connections.enter(ONE, true).unwrap();
        assert_eq!([&done, &shaking[0], &shaking[1]].map(leaves), [false, true, false]);
    }

    #[test]
    fn all_places_taken_the_longest_wait_ends() {
        let connections = Connections::default();
        let of = |number: usize| Peer::Process(i32::try_from(number / 1000).unwrap());
        let all: Vec<Place> =
            (0..CONNECTIONS).map(|at| connections.enter(of(at), false).unwrap()).collect();
        let _next = connections.enter(Peer::Process(99), false).unwrap();
        assert_eq!([&all[0], &all[1]].map(leaves), [true, false]);
    }
}
