//! Directories of clients, sent as BuildKit's clients send them, those that mean harm included.

use std::{collections::BTreeMap, io::Read as _};

use futures_util::FutureExt as _;

use super::{entry::mode, *};
use crate::fake::{self, Asked};

/// A file of a client: what it says of it, and what is in it.
type Entry = (Stat, Vec<u8>);

fn file(path: &str, content: &[u8]) -> Entry {
    let size = i64::try_from(content.len()).unwrap();
    let stat = Stat {
        path: path.into(),
        mode: 0o644,
        size,
        modified_nanos: 7_000_000_001,
        ..Stat::default()
    };
    (stat, content.to_vec())
}

fn special(path: &str, mode: u32, link: &str) -> Entry {
    (Stat { path: path.into(), mode, link: link.into(), ..Stat::default() }, Vec::new())
}

/// What the client of the protocol's source does, one file after the other, in pieces of `piece`.
async fn send(mut asked: Asked, entries: Vec<Entry>, piece: usize) -> Result<(), Status> {
    for (stat, _) in &entries {
        let stat = Some(stat.clone());
        asked.answers.send(&Packet { stat, ..packet(PacketKind::Stat, 0) }).await;
    }
    asked.answers.send(&packet(PacketKind::Stat, 0)).await;
    while let Some(message) = asked.messages.next().await? {
        let request: Packet = crate::decode(message)?;
        if request.kind() == PacketKind::Finish {
            asked.answers.send(&packet(PacketKind::Finish, 0)).await;
            return Ok(());
        }
        let content = &entries[usize::try_from(request.id).unwrap()].1;
        for piece in content.chunks(piece) {
            let data = Bytes::copy_from_slice(piece);
            asked.answers.send(&Packet { data, ..packet(PacketKind::Data, request.id) }).await;
        }
        asked.answers.send(&packet(PacketKind::Data, request.id)).await;
    }
    Ok(())
}

/// Collects an archive while it comes.
async fn taken(
    copy: impl Future<Output = Result<(), SyncError>>,
    mut archive: mpsc::Receiver<Bytes>,
) -> Result<Vec<u8>, SyncError> {
    let collect = async {
        let mut all = Vec::new();
        while let Some(piece) = archive.recv().await {
            all.extend_from_slice(&piece);
        }
        all
    };
    let (copied, all) = tokio::join!(copy, collect);
    copied.map(|()| all)
}

/// Copies what a client has.
async fn copied(entries: Vec<Entry>, piece: usize) -> Result<Vec<u8>, SyncError> {
    let session =
        fake::session(&[METHOD], move |asked| send(asked, entries.clone(), piece).boxed()).await;
    let (sender, archive) = mpsc::channel(4);
    let wanted = Wanted { directory: "context".into(), ..Wanted::default() };
    taken(copy(&session, &wanted, sender, |_| ()), archive).await
}

/// Copies from a client that says these packets, whatever it is told.
async fn scripted(script: Vec<Packet>) -> String {
    let session = fake::session(&[METHOD], move |mut asked| {
        let script = script.clone();
        async move {
            for packet in &script {
                asked.answers.send(packet).await;
            }
            while asked.messages.next().await?.is_some() {}
            Ok(())
        }
        .boxed()
    })
    .await;
    let (sender, archive) = mpsc::channel(4);
    let wanted = Wanted { directory: "context".into(), ..Wanted::default() };
    taken(copy(&session, &wanted, sender, |_| ()), archive).await.unwrap_err().to_string()
}

fn stat(entry: Entry) -> Packet {
    Packet { stat: Some(entry.0), ..packet(PacketKind::Stat, 0) }
}

fn data(id: u32, bytes: &'static [u8]) -> Packet {
    Packet { data: Bytes::from_static(bytes), ..packet(PacketKind::Data, id) }
}

/// Files of an archive by path, with their content or where they point.
fn listed(archive: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let target =
            entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned());
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        (path, target.unwrap_or(content))
    });
    entries.collect()
}

#[tokio::test]
async fn all_kinds_of_files_become_an_archive() {
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(150));
    let entries = vec![
        file("a.txt", b"hello"),
        special("d", mode::DIRECTORY | 0o755, ""),
        file("d/b", b""),
        special("d/link", mode::LINK | 0o777, "../a.txt"),
        (Stat { link: "a.txt".into(), ..file("d/same", b"").0 }, Vec::new()),
        special("d/socket", mode::SOCKET, ""),
        file(&long, b"long"),
        file("z", &[b'z'; 1000]),
    ];
    let files = listed(&copied(entries, 3).await.unwrap());
    assert_eq!(files["a.txt"], "hello");
    assert_eq!(files["d/"], "");
    assert_eq!(files["d/b"], "");
    assert_eq!(files["d/link"], "../a.txt");
    assert_eq!(files["d/same"], "a.txt");
    assert_eq!(files[&long], "long");
    assert_eq!(files["z"], "z".repeat(1000));
    assert_eq!(files.len(), 7);
}

#[tokio::test]
async fn more_than_may_wait_is_asked_for_bit_by_bit() {
    let big = vec![b'x'; usize::try_from(AHEAD).unwrap() + 5];
    let mut entries: Vec<Entry> =
        (0..300).map(|n| file(&format!("a/{n:03}"), format!("{n}").as_bytes())).collect();
    entries.push(file("big", &big));
    entries.push(file("last", b"end"));
    let files = listed(&copied(entries, 32 << 10).await.unwrap());
    assert_eq!(files.len(), 302);
    assert_eq!(files["a/299"], "299");
    assert_eq!(files["big"].len(), big.len());
    assert_eq!(files["last"], "end");
}

#[tokio::test]
async fn an_empty_directory_is_an_empty_archive() {
    assert_eq!(copied(Vec::new(), 1).await.unwrap(), vec![0; 2 * BLOCK]);
}

#[tokio::test]
async fn who_breaks_the_rules_is_told_which() {
    let none = || packet(PacketKind::Stat, 0);
    let grown = stat(file("a", b"12"));
    let table = [
        (vec![data(7, b"x")], "content of a file that nobody asked for"),
        (vec![none(), stat(file("a", b"x"))], "more after the end of the list"),
        (vec![packet(PacketKind::Finish, 0)], "the client took the daemon's part"),
        (vec![packet(PacketKind::Request, 0)], "the client took the daemon's part"),
        (vec![grown.clone(), none(), data(0, b"123")], "\"a\" from the client: it changed"),
        (vec![grown, none(), data(0, b"1"), data(0, b"")], "it changed while it was sent"),
        (vec![stat(special("p", 1 << 25, "")), none()], "it is a device or pipe"),
        (vec![stat(special("../up", mode::DIRECTORY, "")), none()], "points out of the directory"),
        (vec![stat(file(&"x".repeat(LONGEST_PATH + 1), b""))], "a path is longer"),
        (vec![stat((Stat { size: -1, ..file("n", b"").0 }, vec![]))], "less than no bytes"),
    ];
    for (script, expected) in table {
        let error = scripted(script).await;
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn a_client_that_fails_says_why() {
    let failing = |asked: Asked| {
        async move {
            let data = Bytes::from_static(b"permission denied");
            asked.answers.send(&Packet { data, ..packet(PacketKind::Error, 0) }).await;
            Ok(())
        }
        .boxed()
    };
    let session = fake::session(&[METHOD], failing).await;
    let (sender, archive) = mpsc::channel(4);
    let wanted = Wanted::default();
    let copy = copy(&session, &wanted, sender, |_| ());
    let Err(SyncError::Client { status, .. }) = taken(copy, archive).await else { panic!() };
    assert_eq!(status.message, "permission denied");
}

#[tokio::test]
async fn a_reader_that_has_had_enough_ends_the_copy() {
    let entries = vec![file("big", &vec![0; 10 << 20])];
    let session =
        fake::session(&[METHOD], move |asked| send(asked, entries.clone(), 32 << 10).boxed()).await;
    let (sender, archive) = mpsc::channel(1);
    drop(archive);
    let copied = copy(&session, &Wanted::default(), sender, |_| ()).await;
    assert!(matches!(copied, Err(SyncError::Stopped { .. })));
}

#[tokio::test]
async fn an_archive_of_the_client_comes_as_it_is() {
    let session = fake::session(&[UPLOAD], |asked| {
        async move {
            assert_eq!(asked.headers["urlpath"], "/abc");
            for piece in ["one", "", "two"] {
                asked.answers.send(&BytesMessage { data: piece.into() }).await;
            }
            Ok(())
        }
        .boxed()
    })
    .await;
    let (sender, archive) = mpsc::channel(4);
    let all = taken(upload(&session, "abc", sender, |_| ()), archive).await.unwrap();
    assert_eq!(all, b"onetwo");
}

#[test]
fn what_a_header_cannot_carry_is_escaped() {
    let wanted = Wanted {
        directory: "context".into(),
        exclude: vec!["*.log".into(), "gr\u{fc}n %".into()],
        ..Wanted::default()
    };
    let headers = headers(&wanted);
    assert_eq!(headers["dir-name"], "context");
    let patterns: Vec<_> = headers.get_all("exclude-patterns").iter().collect();
    assert_eq!(patterns, ["%2A.log", "gr%C3%BCn%20%25"], "both, for the flag is for all");
    assert_eq!(headers["exclude-patterns-encoded"], "1");
    assert!(!headers.contains_key("dir-name-encoded"));
}
