//! The doors of BuildKit's clients, before anything is built: `oriel-buildkit` tests what is behind
//! them, and the end-to-end tests the whole.

use std::io::{Read as _, Write as _};

use super::Served;

fn upgrade(path: &str, headers: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n{headers}\r\n"
    )
}

#[test]
fn both_doors_become_http_2_after_an_upgrade() {
    let served = Served::new();
    let session = "X-Docker-Expose-Session-Uuid: one\r\n";
    for (path, headers) in [("/grpc", ""), ("/v1.44/session", session)] {
        let mut stream = served.connect(&upgrade(path, headers));
        let mut head = [0; 34];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101 Switching Protocols\r\n", "{path}");
    }
}

#[test]
fn what_is_no_upgrade_is_refused_in_mobys_words() {
    let served = Served::new();
    let other = "POST /grpc HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    let table = [
        (other.to_owned(), "protocol tcp not supported"),
        (upgrade("/session", ""), "a session needs a name"),
        (
            upgrade("/session", &format!("X-Docker-Expose-Session-Uuid: {}\r\n", "x".repeat(300))),
            "a session needs a name",
        ),
    ];
    for (request, expected) in table {
        let mut stream = served.connect(&request);
        let mut answer = vec![0; 2048];
        let count = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(expected), "{answer}");
    }
}

#[test]
fn a_connection_that_speaks_no_http_2_ends() {
    let served = Served::new();
    let mut stream = served.connect(&upgrade("/grpc", ""));
    stream.write_all(&[0xff; 4096]).unwrap();
    let mut rest = Vec::new();
    // Whether it is closed or reset is the kernel's choice.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.starts_with(b"HTTP/1.1 101"));
    served.nothing_runs();
}
