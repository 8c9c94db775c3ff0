//! A request that does not go on holds up no other one.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use super::Served;

/// Requests of each kind that stall at once: more than there are threads for those that do not
/// block, and more than a pool of usual size has for those that do.
const STALLED: usize = 40;

/// Longest wait for an answer that nothing should hold up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The beginnings of bodies that never end.
const UPLOADS: [(&str, &str, &str); 8] = [
    ("POST", "/build?t=x", "application/x-tar"),
    ("POST", "/images/load", "application/x-tar"),
    ("POST", "/images/create?fromSrc=-&repo=x", "application/x-tar"),
    ("PUT", "/containers/idle/archive?path=C%3A%5C", "application/x-tar"),
    ("POST", "/containers/create", "application/json"),
    ("POST", "/volumes/create", "application/json"),
    ("POST", "/commit?container=idle", "application/json"),
    ("POST", "/oriel/registry/import?target=idle", "text/plain"),
];

/// Answers that nobody takes.
const DOWNLOADS: [(&str, &str); 8] = [
    ("GET", "/events"),
    ("GET", "/containers/busy/logs?follow=1&stdout=1"),
    ("POST", "/containers/busy/attach?stream=1&stdout=1&logs=1"),
    ("POST", "/containers/busy/wait"),
    ("GET", "/containers/idle/export"),
    ("GET", "/containers/idle/archive?path=C%3A%5C"),
    ("GET", "/images/nanoserver/get"),
    ("GET", "/oriel/registry/export?target=idle&key=HKEY_LOCAL_MACHINE"),
];

fn prepared() -> Served {
    let served = Served::new();
    let create = |name: &str, body: &str| {
        served.http("POST", &format!("/containers/create?name={name}"), body);
    };
    create("busy", r#"{"Image":"nanoserver","Cmd":["out","x","wait"]}"#);
    create("idle", r#"{"Image":"nanoserver"}"#);
    served.http("POST", "/containers/busy/start", "");
    served
}

/// Asks for something of every kind, and gives up when an answer does not come.
fn others_are_served(served: &Served) {
    let ask = |method: &str, path: &str, body: &str, status: u16| {
        let length = body.len();
        let mut stream = served.connect(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: \
             application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {answer}");
    };
    ask("GET", "/_ping", "", 200);
    ask("GET", "/containers/json?all=1", "", 200);
    ask("GET", "/containers/idle/json", "", 200);
    ask("GET", "/images/json", "", 200);
    ask("GET", "/system/df", "", 200);
    ask("POST", "/images/nanoserver/tag?repo=other", "", 201);
    ask("DELETE", "/images/other", "", 200);
    ask("POST", "/volumes/create", r#"{"Name":"v1"}"#, 201);
    ask("DELETE", "/volumes/v1", "", 204);
    ask("POST", "/containers/create?name=another", r#"{"Image":"nanoserver"}"#, 201);
    ask("POST", "/containers/another/start", "", 204);
    ask("POST", "/containers/another/wait", "", 200);
    ask("POST", "/commit?container=another&repo=made", "", 201);
    ask("DELETE", "/containers/another?force=1", "", 204);
}

fn stalled(served: &Served, begin: &str) -> Vec<UnixStream> {
    (0..STALLED).map(|_| served.connect(begin)).collect()
}

#[test]
fn a_body_that_does_not_end_holds_up_nobody() {
    let served = prepared();
    let mut held = Vec::new();
    for (method, path, kind) in UPLOADS {
        let begin = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: \
             1000000\r\n\r\n{{"
        );
        held.extend(stalled(&served, &begin));
        others_are_served(&served);
    }
    others_are_served(&served);
    drop(held);
    others_are_served(&served);
}

#[test]
fn an_answer_that_nobody_takes_holds_up_nobody() {
    let served = prepared();
    let mut held = Vec::new();
    for (method, path) in DOWNLOADS {
        let begin = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        held.extend(stalled(&served, &begin));
        others_are_served(&served);
    }
    drop(held);
    others_are_served(&served);
}

#[test]
fn a_console_that_nobody_reads_holds_up_nobody() {
    let served = prepared();
    let body = r#"{"Cmd":["cat"],"AttachStdin":true,"AttachStdout":true}"#;
    let mut held = Vec::new();
    for _ in 0..STALLED {
        let (_, exec) = served.http("POST", "/containers/busy/exec", body);
        let exec: serde_json::Value = serde_json::from_str(&exec).unwrap();
        let start = "{}";
        let mut stream = served.connect(&format!(
            "POST /exec/{}/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: \
             tcp\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{start}",
            exec["Id"].as_str().unwrap(),
            start.len()
        ));
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
        // What is typed comes back, until there is no room for it.
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[b'x'; 4096]).is_ok() {}
        held.push(stream);
    }
    others_are_served(&served);
}
