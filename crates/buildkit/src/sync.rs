//! Copies a directory of the client, as a tar archive.
//!
//! Source: `tonistiigi/fsutil` (`send.go`, `receive.go`). The client sends a list of all files, in
//! order and without being asked; the daemon asks for the content of a file by its place in the
//! list; pieces of several files come mixed:
//!
//! ```text
//!   client  STAT a  STAT b  STAT c  STAT-  DATA 0  DATA 1  DATA 0-  DATA 1- ...  FIN
//!   daemon  REQ 0   REQ 1   REQ 2                                        FIN
//! ```
//!
//! An archive has one file after the other, so the front of the list goes out as it comes, and the
//! small ones behind it are asked for ahead and wait in memory, up to [`AHEAD`] bytes. That is all
//! of a context that is here at a time.

mod entry;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use prost::Message;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    Code, Session, Status,
    message::{BytesMessage, Packet, PacketKind, Stat},
    session::Conversation,
};
use entry::{Kind, header};

/// The method that copies a directory.
const METHOD: &str = "/moby.filesync.v1.FileSync/DiffCopy";

/// The method that sends an archive.
const UPLOAD: &str = "/moby.upload.v1.Upload/Pull";

/// Bytes of files behind the front that are asked for ahead.
const AHEAD: u64 = 4 << 20;

/// Files asked for at a time; the client reads four at a time.
const ASKED: usize = 64;

/// Most files; a large `node_modules` has a tenth of it.
const MAX_FILES: u32 = 1 << 20;

/// Longest path, as Windows has them, in bytes of UTF-8.
const LONGEST_PATH: usize = 3 * 32_767;

/// Most bytes of paths that wait for their content.
const WAITING_PATHS: usize = 128 << 20;

/// Longest silence of a client: it may look at a million files that it leaves out.
const SILENCE: Duration = Duration::from_secs(600);

/// Blocks of an archive.
const BLOCK: usize = 512;

/// What to copy.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The client's name for the directory, such as `context`.
    pub directory: String,
    /// Only these paths, and what links in them lead to; none means all.
    pub follow: Vec<String>,
    /// All but what these patterns match, as in a `.dockerignore`.
    pub exclude: Vec<String>,
}

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The client gave up, or is gone.
    #[error("cannot copy {directory:?} from the client")]
    Client {
        /// The directory.
        directory: String,
        /// What the client said.
        #[source]
        status: Status,
    },
    /// The client broke the rules of the protocol.
    #[error("cannot copy {directory:?} from the client: {what}")]
    Protocol {
        /// The directory.
        directory: String,
        /// Which rule.
        what: &'static str,
    },
    /// Something that cannot be copied.
    #[error("cannot copy {path:?} from the client: {what}")]
    File {
        /// Its path.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Nobody takes the archive any more.
    #[error("the copy of {directory:?} was stopped")]
    Stopped {
        /// The directory.
        directory: String,
    },
}

/// Copies a directory: pieces of a tar archive go to `archive`, of which an empty one is the end;
/// the bytes so far are told to `told`. Dropping the future ends the copy.
///
/// # Errors
/// When the client does not give it all, or the receiver of the archive is gone.
pub async fn copy(
    session: &Session,
    wanted: &Wanted,
    archive: mpsc::Sender<Bytes>,
    told: impl Fn(u64) + Send,
) -> Result<(), SyncError> {
    let directory = &wanted.directory;
    let failed = |status| SyncError::Client { directory: directory.clone(), status };
    let mut stream = session.stream(METHOD, &headers(wanted)).await.map_err(failed)?;
    let sink = Sink { directory, archive, told, sent: 0 };
    let mut copy = Copy { sink, list: List::default() };
    copy.run(&mut stream).await?;
    stream.send(&packet(PacketKind::Finish, 0)).await.map_err(failed)?;
    let last = next(&mut stream, directory).await?;
    if last.is_some_and(|packet: Packet| packet.kind() != PacketKind::Finish) {
        let what = "there is more after the end of the list";
        return Err(SyncError::Protocol { directory: directory.clone(), what });
    }
    copy.sink.write(Bytes::from_static(&[0; 2 * BLOCK])).await?;
    copy.sink.end().await
}

/// The same for an archive that the client holds, by its name for it
/// (`session/upload/uploadprovider`).
///
/// # Errors
/// When the client does not give it all, or the receiver of the archive is gone.
pub async fn upload(
    session: &Session,
    name: &str,
    archive: mpsc::Sender<Bytes>,
    told: impl Fn(u64) + Send,
) -> Result<(), SyncError> {
    let failed = |status| SyncError::Client { directory: name.to_owned(), status };
    let path = HeaderValue::from_str(&format!("/{name}"));
    let path = path.map_err(|_| failed(Status::invalid("the archive's name is none")))?;
    let host = HeaderValue::from_static("buildkit-session");
    let headers = [("urlpath", path), ("urlhost", host)];
    let headers = headers.map(|(name, value)| (HeaderName::from_static(name), value));
    let mut stream =
        session.stream(UPLOAD, &headers.into_iter().collect()).await.map_err(failed)?;
    let mut sink = Sink { directory: name, archive, told, sent: 0 };
    while let Some(message) = next::<BytesMessage>(&mut stream, name).await? {
        if !message.data.is_empty() {
            sink.write(message.data).await?;
        }
    }
    sink.end().await
}

/// The next message of a copy.
async fn next<M: Message + Default>(
    stream: &mut Conversation,
    directory: &str,
) -> Result<Option<M>, SyncError> {
    let late = |_| Status::new(Code::DeadlineExceeded, "the client has fallen silent");
    let next = timeout(SILENCE, stream.next()).await.map_err(late).flatten();
    next.map_err(|status| SyncError::Client { directory: directory.to_owned(), status })
}

fn packet(kind: PacketKind, id: u32) -> Packet {
    Packet { kind: kind.into(), id, ..Packet::default() }
}

/// What is wanted, as metadata of the call (`session/filesync/filesync.go`).
fn headers(wanted: &Wanted) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let directory = std::slice::from_ref(&wanted.directory);
    let lists = [
        ("dir-name", directory),
        ("followpaths", wanted.follow.as_slice()),
        ("exclude-patterns", wanted.exclude.as_slice()),
    ];
    for (name, values) in lists {
        // What a header cannot carry is escaped as in a query, and all its neighbours with it.
        let fits = |text: &String| text.is_ascii() && HeaderValue::from_str(text).is_ok();
        let plain = values.iter().all(fits);
        for value in values {
            let value = if plain { value.clone() } else { escaped(value) };
            let value = HeaderValue::from_str(&value).expect("visible ASCII");
            headers.append(HeaderName::from_static(name), value);
        }
        if !plain {
            let name = format!("{name}-encoded");
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name from above");
            headers.insert(name, HeaderValue::from_static("1"));
        }
    }
    headers
}

/// A text as part of a query.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// A copy under way.
struct Copy<'a, T> {
    sink: Sink<'a, T>,
    list: List,
}

/// Who takes the archive.
struct Sink<'a, T> {
    directory: &'a str,
    archive: mpsc::Sender<Bytes>,
    told: T,
    sent: u64,
}

impl<T: Fn(u64) + Send> Sink<'_, T> {
    async fn write(&mut self, bytes: Bytes) -> Result<(), SyncError> {
        self.sent += bytes.len() as u64;
        (self.told)(self.sent);
        self.pass(bytes).await
    }

    async fn end(self) -> Result<(), SyncError> {
        self.pass(Bytes::new()).await
    }

    async fn pass(&self, bytes: Bytes) -> Result<(), SyncError> {
        let sent = self.archive.send(bytes).await;
        sent.map_err(|_| SyncError::Stopped { directory: self.directory.to_owned() })
    }
}

/// The files that were told of and are not in the archive yet.
#[derive(Default)]
struct List {
    waiting: VecDeque<Waiting>,
    path_bytes: usize,
    /// Files told of so far.
    count: u32,
    is_whole: bool,
    /// Of the waiting ones, those up to here were asked for.
    asked: usize,
    /// Bytes that those have.
    asked_bytes: u64,
    /// What came of those behind the front.
    ahead: BTreeMap<u32, Content>,
    /// How much of the front went out; `None` before its header.
    front: Option<u64>,
}

struct Waiting {
    id: u32,
    stat: Stat,
}

#[derive(Default)]
struct Content {
    bytes: BytesMut,
    is_whole: bool,
}

impl<T: Fn(u64) + Send> Copy<'_, T> {
    /// Takes packets until all files are in the archive.
    async fn run(&mut self, stream: &mut Conversation) -> Result<(), SyncError> {
        loop {
            self.write_front().await?;
            // What is asked for may be complete at once, such as a directory.
            while self.ask(stream).await? {
                self.write_front().await?;
            }
            if self.list.is_whole && self.list.waiting.is_empty() {
                return Ok(());
            }
            let Some(packet) = next::<Packet>(stream, self.sink.directory).await? else {
                return Err(self.broken("the client ended it before its end"));
            };
            match packet.kind() {
                PacketKind::Stat => self.list(packet.stat)?,
                PacketKind::Data => self.data(packet)?,
                PacketKind::Error => {
                    let text = String::from_utf8_lossy(&packet.data).into_owned();
                    return Err(self.failed(Status::gone(text)));
                }
                PacketKind::Finish | PacketKind::Request => {
                    return Err(self.broken("the client took the daemon's part"));
                }
            }
        }
    }

    /// Takes a file of the list.
    fn list(&mut self, stat: Option<Stat>) -> Result<(), SyncError> {
        if self.list.is_whole {
            return Err(self.broken("there is more after the end of the list"));
        }
        let Some(stat) = stat else {
            self.list.is_whole = true;
            return Ok(());
        };
        if stat.path.len() > LONGEST_PATH || stat.link.len() > LONGEST_PATH {
            return Err(self.broken("a path is longer than Windows has them"));
        }
        self.list.path_bytes += stat.path.len() + stat.link.len();
        let id = self.list.count;
        self.list.count += 1;
        if self.list.count > MAX_FILES || self.list.path_bytes > WAITING_PATHS {
            return Err(self.broken("it has too many files; exclude some in .dockerignore"));
        }
        self.list.waiting.push_back(Waiting { id, stat });
        Ok(())
    }

    /// Asks for the front, and for what is behind it as far as there is room. `false` when there
    /// was nothing to ask for.
    async fn ask(&mut self, stream: &Conversation) -> Result<bool, SyncError> {
        let before = self.list.asked;
        while let Some(next) = self.list.waiting.get(self.list.asked) {
            let size = match Kind::of(&next.stat)? {
                Kind::File { size } => size,
                _ => 0,
            };
            let is_front = self.list.asked == 0;
            let has_room =
                self.list.asked < ASKED && self.list.asked_bytes.saturating_add(size) <= AHEAD;
            if !is_front && !has_room {
                break;
            }
            if matches!(Kind::of(&next.stat)?, Kind::File { .. }) {
                let request = packet(PacketKind::Request, next.id);
                stream.send(&request).await.map_err(|status| self.failed(status))?;
                self.list.ahead.insert(next.id, Content::default());
            }
            self.list.asked += 1;
            self.list.asked_bytes = self.list.asked_bytes.saturating_add(size);
        }
        Ok(self.list.asked > before)
    }

    /// Takes a piece of a file.
    fn data(&mut self, packet: Packet) -> Result<(), SyncError> {
        let Some(content) = self.list.ahead.get_mut(&packet.id) else {
            return Err(self.broken("there is content of a file that nobody asked for"));
        };
        content.is_whole |= packet.data.is_empty();
        content.bytes.extend_from_slice(&packet.data);
        // What was asked for ahead may not outgrow what was told of it.
        let of = |waiting: &&Waiting| waiting.id == packet.id;
        let Some(waiting) = self.list.waiting.iter().take(self.list.asked).find(of) else {
            return Err(self.broken("there is content of a file that is gone"));
        };
        match u64::try_from(waiting.stat.size) {
            Ok(size) if content.bytes.len() as u64 <= size => Ok(()),
            _ => Err(changed(&waiting.stat)),
        }
    }

    /// Writes what is complete at the front of the list, and of the front what there is.
    async fn write_front(&mut self) -> Result<(), SyncError> {
        while let Some(Waiting { id, stat }) = self.list.waiting.front() {
            if self.list.asked == 0 {
                return Ok(());
            }
            let (id, kind) = (*id, Kind::of(stat)?);
            let stat = stat.clone();
            match kind {
                Kind::File { size } => {
                    if !self.write_file(id, &stat, size).await? {
                        return Ok(());
                    }
                }
                Kind::Socket => {}
                _ => self.sink.write(header(&stat, &kind)?).await?,
            }
            self.list.waiting.pop_front();
            self.list.path_bytes -= stat.path.len() + stat.link.len();
            self.list.asked -= 1;
            if let Kind::File { size } = kind {
                self.list.asked_bytes = self.list.asked_bytes.saturating_sub(size);
            }
        }
        Ok(())
    }

    /// Writes what has come of the file at the front; `true` once that is all.
    async fn write_file(&mut self, id: u32, stat: &Stat, size: u64) -> Result<bool, SyncError> {
        let Some(content) = self.list.ahead.get_mut(&id) else {
            return Err(self.broken("there is a file that nobody asked for"));
        };
        let (bytes, is_whole) = (content.bytes.split().freeze(), content.is_whole);
        if self.list.front.is_none() {
            self.sink.write(header(stat, &Kind::File { size })?).await?;
        }
        let written = self.list.front.unwrap_or_default() + bytes.len() as u64;
        self.list.front = Some(written);
        if written > size || (is_whole && written != size) {
            return Err(changed(stat));
        }
        if !bytes.is_empty() {
            self.sink.write(bytes).await?;
        }
        if !is_whole {
            return Ok(false);
        }
        let rest = usize::try_from(size % BLOCK as u64).unwrap_or_default();
        if rest > 0 {
            self.sink.write(Bytes::from_static(&[0; BLOCK]).slice(rest..)).await?;
        }
        self.list.front = None;
        self.list.ahead.remove(&id);
        Ok(true)
    }

    fn failed(&self, status: Status) -> SyncError {
        SyncError::Client { directory: self.sink.directory.to_owned(), status }
    }

    fn broken(&self, what: &'static str) -> SyncError {
        SyncError::Protocol { directory: self.sink.directory.to_owned(), what }
    }
}

fn changed(stat: &Stat) -> SyncError {
    let what = "it changed while it was sent; build again";
    SyncError::File { path: stat.path.clone(), what }
}

#[cfg(test)]
mod tests;
