//! gRPC over HTTP/2: messages with a length before them, and a status after them.
//!
//! Source: `PROTOCOL-HTTP2.md` of the gRPC project. A message is a byte that says whether it is
//! compressed, which none is here, its length in four bytes, and itself:
//!
//! ```text
//! 00 | 00 00 00 05 | 0a 03 61 62 63
//! ```

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap,
    body::Incoming,
    header::{HeaderName, HeaderValue},
};
use prost::Message;

/// Longest message taken: what Go's gRPC takes too. Clients send pieces of files of 32 KiB, and
/// the longest of the others carry a Dockerfile's arguments.
pub(crate) const LONGEST: usize = 4 << 20;

/// Bytes before a message.
const PREFIX: usize = 5;

/// Content type of requests and responses.
pub(crate) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// A body as it is sent.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// Kinds of failures (`grpc/codes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// It went well.
    Ok,
    /// The caller has had enough.
    Cancelled,
    /// Nobody knows.
    Unknown,
    /// The caller asked for something that makes no sense.
    InvalidArgument,
    /// It took too long.
    DeadlineExceeded,
    /// There is no such thing.
    NotFound,
    /// There is one already.
    AlreadyExists,
    /// The caller may not.
    PermissionDenied,
    /// Too much of something.
    ResourceExhausted,
    /// Not now.
    FailedPrecondition,
    /// Nobody does that here.
    Unimplemented,
    /// The server is broken.
    Internal,
    /// The other side is gone.
    Unavailable,
}

/// The numbers of the codes.
const CODES: [(Code, i32); 13] = [
    (Code::Ok, 0),
    (Code::Cancelled, 1),
    (Code::Unknown, 2),
    (Code::InvalidArgument, 3),
    (Code::DeadlineExceeded, 4),
    (Code::NotFound, 5),
    (Code::AlreadyExists, 6),
    (Code::PermissionDenied, 7),
    (Code::ResourceExhausted, 8),
    (Code::FailedPrecondition, 9),
    (Code::Unimplemented, 12),
    (Code::Internal, 13),
    (Code::Unavailable, 14),
];

impl Code {
    /// The number of it.
    pub fn number(self) -> i32 {
        CODES.iter().find(|(code, _)| *code == self).map_or(2, |(_, number)| *number)
    }

    /// The code of a number; one that is not known is [`Code::Unknown`].
    pub fn of(number: i32) -> Self {
        CODES.iter().find(|(_, known)| *known == number).map_or(Self::Unknown, |(code, _)| *code)
    }
}

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// What kind of failure.
    pub code: Code,
    /// What was attempted on what, and why it failed.
    pub message: String,
}

impl Status {
    /// A failure.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Something that nobody does here.
    pub fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(Code::Unimplemented, message)
    }

    /// A call that makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// The other side is gone.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message)
    }

    /// The headers that tell of it, or of success.
    pub(crate) fn headers(outcome: &Result<(), Self>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let code = outcome.as_ref().err().map_or(Code::Ok, |status| status.code);
        headers.insert(STATUS, HeaderValue::from(code.number()));
        if let Err(status) = outcome {
            let text = percent(&status.message);
            headers.insert(MESSAGE, HeaderValue::from_str(&text).expect("visible ASCII"));
        }
        headers
    }

    /// Reads the headers that tell of it; `None` when they do not.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Result<(), Self>> {
        let number = headers.get(STATUS)?.to_str().ok()?.parse().ok()?;
        Some(match Code::of(number) {
            Code::Ok => Ok(()),
            code => {
                let text = headers.get(MESSAGE).map(HeaderValue::as_bytes).unwrap_or_default();
                Err(Self::new(code, plain(text)))
            }
        })
    }
}

/// Writes a text as header, with `%41` for what is not visible ASCII.
fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// Undoes [`percent`].
fn plain(text: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..2).filter(|_| *first == b'%');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A message with its length before it.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).expect("messages are made of bounded parts"));
    message.encode(&mut bytes).expect("a growing buffer takes all");
    bytes.freeze()
}

/// The messages of a body.
pub(crate) struct Messages {
    body: Incoming,
    bytes: BytesMut,
    trailers: Option<HeaderMap>,
}

impl Messages {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, bytes: BytesMut::new(), trailers: None }
    }

    /// The next message, or `None` after the last. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = take(&mut self.bytes)? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                None if self.bytes.is_empty() => return Ok(None),
                None => return Err(Status::gone("a message breaks off")),
                Some(Err(error)) => {
                    return Err(Status::gone(format!("the connection broke off: {error}")));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.bytes.extend_from_slice(&data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
    }

    /// The status that came after the last message, if one did.
    pub(crate) fn status(&self) -> Option<Result<(), Status>> {
        self.trailers.as_ref().and_then(Status::read)
    }
}

/// Takes a message off the front of what has come, once all of it has.
fn take(bytes: &mut BytesMut) -> Result<Option<Bytes>, Status> {
    let Some(mut prefix) = bytes.get(..PREFIX) else { return Ok(None) };
    if prefix.get_u8() != 0 {
        return Err(Status::unimplemented("compressed messages are not read"));
    }
    let length = usize::try_from(prefix.get_u32()).unwrap_or(usize::MAX);
    if length > LONGEST {
        let text = format!("a message of {length} bytes is longer than {LONGEST}");
        return Err(Status::new(Code::ResourceExhausted, text));
    }
    if bytes.len() < PREFIX + length {
        return Ok(None);
    }
    bytes.advance(PREFIX);
    Ok(Some(bytes.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::StatusRequest;

    #[test]
    fn a_message_is_taken_once_it_is_whole() {
        let whole = framed(&StatusRequest { reference: "abc".into() });
        assert_eq!(&whole[..], b"\0\0\0\0\x05\x0a\x03abc");
        for cut in 0..whole.len() {
            let mut bytes = BytesMut::from(&whole[..cut]);
            assert_eq!(take(&mut bytes), Ok(None), "{cut}");
        }
        let mut bytes = BytesMut::from(&[&whole[..], &whole[..]].concat()[..]);
        assert_eq!(take(&mut bytes).unwrap().unwrap(), &whole[PREFIX..]);
        assert_eq!(take(&mut bytes).unwrap().unwrap(), &whole[PREFIX..]);
        assert_eq!(take(&mut bytes), Ok(None));
    }

    #[test]
    fn a_length_that_nobody_needs_is_refused_before_it_costs_memory() {
        let mut bytes = BytesMut::from(&b"\0\xff\xff\xff\xff"[..]);
        assert_eq!(take(&mut bytes).unwrap_err().code, Code::ResourceExhausted);
        let mut bytes = BytesMut::from(&b"\x01\0\0\0\0"[..]);
        assert_eq!(take(&mut bytes).unwrap_err().code, Code::Unimplemented);
    }

    #[test]
    fn a_status_survives_its_headers() {
        let status = Status::new(Code::NotFound, "100 % of ‘a’\nare gone");
        let headers = Status::headers(&Err(status.clone()));
        assert_eq!(headers["grpc-message"], "100 %25 of %E2%80%98a%E2%80%99%0Aare gone");
        assert_eq!(Status::read(&headers), Some(Err(status)));
        assert_eq!(Status::read(&Status::headers(&Ok(()))), Some(Ok(())));
        assert_eq!(Status::read(&HeaderMap::new()), None);
        assert_eq!(plain(b"50%"), "50%");
    }

    #[test]
    fn codes_and_numbers_are_one_to_one() {
        for (code, number) in CODES {
            assert_eq!((Code::of(number), code.number()), (code, number));
        }
        assert_eq!(Code::of(99), Code::Unknown);
    }
}
