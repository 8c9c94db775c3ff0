//! WebSockets, as far as attaching a browser's console needs them (RFC 6455, version 13).
//!
//! The bytes of a program travel in binary frames; what a client sends, in frames of any kind, is
//! the program's input. Frames are passed on piece by piece, so that no length that a client claims
//! costs memory.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
    upgrade::OnUpgrade,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    sync::mpsc,
};

use crate::http::{Body, HttpError, empty};

/// What RFC 6455 has a server add to a client's key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a payload under way at a time.
const PIECE: usize = 32 << 10;
/// Longest payload of a control frame.
const LONGEST_CONTROL: u64 = 125;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// Bit of a frame that is the last of its message.
const FINAL: u8 = 0x80;
/// Bit of a length: the payload is masked, as all of a client's are.
const MASKED: u8 = 0x80;

/// What program output is called on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Any bytes.
    Binary,
    /// What clients before version 1.28 were told.
    Text,
}

/// Answers a request for a WebSocket.
pub(crate) fn accept(
    request: &mut Request<Incoming>,
) -> Result<(Response<Body>, OnUpgrade), HttpError> {
    let key = key(request.headers())?;
    let digest = ring::digest::digest(
        &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{GUID}").as_bytes(),
    );
    let proof = HeaderValue::from_str(&STANDARD.encode(digest)).expect("base64 is visible ASCII");
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, proof);
    Ok((response, hyper::upgrade::on(request)))
}

fn key(headers: &HeaderMap) -> Result<&str, HttpError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !text(header::UPGRADE).eq_ignore_ascii_case("websocket") {
        return Err(HttpError::invalid("not websocket protocol"));
    }
    if text(header::SEC_WEBSOCKET_VERSION) != "13" {
        return Err(HttpError::invalid("missing or bad WebSocket version: 13 is served"));
    }
    match text(header::SEC_WEBSOCKET_KEY) {
        "" => Err(HttpError::invalid("the request has no Sec-WebSocket-Key")),
        key => Ok(key),
    }
}

/// Carries bytes between a client and a pipe until either has had enough.
pub(crate) async fn relay(
    socket: impl AsyncRead + AsyncWrite,
    pipe: impl AsyncRead + AsyncWrite,
    payload: Payload,
) {
    let (from_client, mut to_client) = tokio::io::split(socket);
    let mut from_client = BufReader::new(from_client);
    let (mut output, mut input) = tokio::io::split(pipe);
    let (answers, mut control) = mpsc::channel(4);
    let ended = tokio::select! {
        ended = receive(&mut from_client, &mut input, &answers) => ended,
        ended = send(&mut output, &mut control, &mut to_client, payload) => ended,
    };
    // 1000: as intended; 1002: against the protocol.
    let code: u16 = if ended.is_ok() { 1000 } else { 1002 };
    // The client may have gone.
    let _ = to_client.write_all(&frame(CLOSE, &code.to_be_bytes())).await;
    let _ = to_client.shutdown().await;
}

/// Sends what a program prints, and answers to pings, until the program has ended.
async fn send(
    output: &mut (impl AsyncRead + Unpin),
    control: &mut mpsc::Receiver<Vec<u8>>,
    client: &mut (impl AsyncWrite + Unpin),
    payload: Payload,
) -> io::Result<()> {
    let opcode = if payload == Payload::Binary { BINARY } else { TEXT };
    let mut buffer = vec![0; PIECE];
    loop {
        let bytes = tokio::select! {
            count = output.read(&mut buffer) => match count? {
                0 => return Ok(()),
                count => frame(opcode, &buffer[..count]),
            },
            Some(answer) = control.recv() => answer,
        };
        client.write_all(&bytes).await?;
        client.flush().await?;
    }
}

/// A whole frame, as servers send them.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![FINAL | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// Takes frames until the client closes.
async fn receive(
    client: &mut (impl AsyncRead + Unpin),
    input: &mut (impl AsyncWrite + Unpin),
    answers: &mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    loop {
        let first = client.read_u8().await?;
        let second = client.read_u8().await?;
        let (opcode, masked) = (first & 0x0f, second & MASKED != 0);
        let length = match second & !MASKED {
            126 => u64::from(client.read_u16().await?),
            127 => client.read_u64().await?,
            short => u64::from(short),
        };
        let is_control = opcode >= CLOSE;
        if !masked || first & 0x70 != 0 || (is_control && length > LONGEST_CONTROL) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut mask = [0; 4];
        client.read_exact(&mut mask).await?;
        let mut payload = Payloads { client: &mut *client, mask, left: length, at: 0 };
        match opcode {
            0 | TEXT | BINARY => {
                while let Some(piece) = payload.next().await? {
                    input.write_all(&piece).await?;
                }
                input.flush().await?;
            }
            CLOSE => return Ok(()),
            PING => {
                let bytes = payload.next().await?.unwrap_or_default();
                // A client that pings faster than it reads gets fewer answers.
                let _ = answers.try_send(frame(PONG, &bytes));
            }
            PONG => drop(payload.next().await?),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The payload of one frame, in pieces, unmasked.
struct Payloads<'a, R> {
    client: &'a mut R,
    mask: [u8; 4],
    left: u64,
    at: usize,
}

impl<R: AsyncRead + Unpin> Payloads<'_, R> {
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let length = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        if length == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; length];
        self.client.read_exact(&mut piece).await?;
        for byte in &mut piece {
            *byte ^= self.mask[self.at];
            self.at = (self.at + 1) % self.mask.len();
        }
        self.left -= length as u64;
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as clients send them.
    fn sent(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = frame(opcode, payload);
        bytes[1] |= MASKED;
        let mask = [1, 2, 3, 4];
        let start = bytes.len() - payload.len();
        for (at, byte) in bytes[start..].iter_mut().enumerate() {
            *byte ^= mask[at % 4];
        }
        bytes.splice(start..start, mask);
        bytes
    }

    async fn received(bytes: &[u8]) -> (Vec<u8>, io::Result<()>, Vec<Vec<u8>>) {
        let (answers, mut control) = mpsc::channel(4);
        let mut input = Vec::new();
        let ended = receive(&mut &bytes[..], &mut input, &answers).await;
        drop(answers);
        let mut answered = Vec::new();
        while let Some(answer) = control.recv().await {
            answered.push(answer);
        }
        (input, ended, answered)
    }

    #[tokio::test]
    async fn frames_of_all_lengths_are_input() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
            let payload: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[0]).collect();
            let bytes = [sent(BINARY, &payload), sent(CLOSE, &[])].concat();
            let (input, ended, _) = received(&bytes).await;
            assert!(ended.is_ok() && input == payload, "{length}");
        }
    }

    #[tokio::test]
    async fn pings_are_answered_between_the_parts_of_a_message() {
        let mut first = sent(TEXT, b"one ");
        first[0] &= !FINAL;
        let bytes = [first, sent(PING, b"hi"), sent(0, b"two"), sent(CLOSE, &[])].concat();
        let (input, ended, answers) = received(&bytes).await;
        assert!(ended.is_ok());
        assert_eq!((input.as_slice(), answers), (&b"one two"[..], vec![frame(PONG, b"hi")]));
    }

    #[tokio::test]
    async fn what_breaks_the_protocol_ends_it() {
        let unmasked = frame(BINARY, b"x");
        let reserved = { [vec![0xf2], sent(BINARY, b"x")[1..].to_vec()].concat() };
        let long_ping = sent(PING, &[0; 126]);
        for bytes in [unmasked, reserved, long_ping, sent(3, b"x"), Vec::new()] {
            assert!(received(&bytes).await.1.is_err(), "{bytes:?}");
        }
        // Claims 2^63 bytes and sends none.
        let claim = [vec![FINAL | BINARY, MASKED | 127], vec![0x80; 8], vec![0; 4]].concat();
        assert!(received(&claim).await.1.is_err());
    }
}
