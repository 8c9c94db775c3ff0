//! Where HTTP/1.1 messages begin and end in a stream of bytes, for who only listens.
//!
//! One [`Framer`] follows one direction of a connection. It never changes a byte; it tells its
//! [`Listener`] of heads, of pieces of bodies without their chunk marks, and of ends.

/// Longest head or chunk mark that is looked at; a longer one ends the listening.
const MAX_LINE_BYTES: usize = 1 << 20;

/// The first line of a message and its header fields, names in lower case.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// Request or status line.
    pub(crate) line: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines.filter_map(|field| field.split_once(':'));
        let fields = fields
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Self { line, fields }
    }

    /// The value of a field, empty when it is not there.
    pub(crate) fn field(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(key, _)| key == name);
        field.map_or("", |(_, value)| value)
    }

    /// The body that the fields announce; `otherwise` when they announce none.
    pub(crate) fn body(&self, otherwise: Body) -> Body {
        if self.field("transfer-encoding").eq_ignore_ascii_case("chunked") {
            return Body::Chunked;
        }
        self.field("content-length").parse().map_or(otherwise, Body::Sized)
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// After so many bytes.
    Sized(u64),
    /// With a chunk of no bytes.
    Chunked,
    /// With the connection: whatever comes is no HTTP any more.
    UntilClose,
}

/// Who is told of what passes.
pub(crate) trait Listener {
    /// A head has passed. Answers how the body that follows ends.
    fn head(&mut self, head: &Head) -> Body;
    /// A piece of a body has passed.
    fn body(&mut self, piece: &[u8]);
    /// A message has ended.
    fn end(&mut self);
    /// Whether the connection speaks something else from here on, as the other direction knows.
    fn has_ended(&self) -> bool;
}

#[derive(Debug)]
enum State {
    Head,
    Sized(u64),
    ChunkMark,
    Chunk(u64),
    Trailer,
    Opaque,
}

/// Follows one direction.
#[derive(Debug)]
pub(crate) struct Framer {
    state: State,
    line: Vec<u8>,
}

impl Framer {
    pub(crate) fn new() -> Self {
        Self { state: State::Head, line: Vec::new() }
    }

    /// Tells `listener` of what `bytes` hold.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], listener: &mut dyn Listener) {
        while !bytes.is_empty() {
            let used = match self.state {
                State::Opaque => return,
                State::Sized(left) | State::Chunk(left) => self.pass(bytes, left, listener),
                State::Head if self.line.is_empty() && listener.has_ended() => {
                    self.state = State::Opaque;
                    return;
                }
                State::Head => self.collect(bytes, b"\r\n\r\n", listener),
                State::ChunkMark | State::Trailer => self.collect(bytes, b"\r\n", listener),
            };
            bytes = &bytes[used..];
        }
    }

    /// Lets a piece of a body pass; tells how many bytes it took.
    fn pass(&mut self, bytes: &[u8], left: u64, listener: &mut dyn Listener) -> usize {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        listener.body(&bytes[..here]);
        let left = left - here as u64;
        let chunked = matches!(self.state, State::Chunk(_));
        self.state = match (left, chunked) {
            (0, true) => State::ChunkMark,
            (0, false) => {
                listener.end();
                State::Head
            }
            (left, true) => State::Chunk(left),
            (left, false) => State::Sized(left),
        };
        here
    }

    /// Collects up to `end` and looks at it when it is there; tells how many bytes it took.
    fn collect(&mut self, bytes: &[u8], end: &[u8], listener: &mut dyn Listener) -> usize {
        for (index, &byte) in bytes.iter().enumerate() {
            self.line.push(byte);
            if self.line.ends_with(end) {
                let line = std::mem::take(&mut self.line);
                self.state = self.after(&line[..line.len() - end.len()], listener);
                return index + 1;
            }
        }
        if self.line.len() > MAX_LINE_BYTES {
            self.state = State::Opaque;
        }
        bytes.len()
    }

    fn after(&self, line: &[u8], listener: &mut dyn Listener) -> State {
        match self.state {
            State::Head => match listener.head(&Head::parse(line)) {
                Body::Sized(0) => {
                    listener.end();
                    State::Head
                }
                Body::Sized(size) => State::Sized(size),
                Body::Chunked => State::ChunkMark,
                Body::UntilClose => State::Opaque,
            },
            // The end of a chunk is an empty line before the next mark.
            State::ChunkMark if line.is_empty() => State::ChunkMark,
            State::ChunkMark => match chunk_size(line) {
                Some(0) => State::Trailer,
                Some(size) => State::Chunk(size),
                None => State::Opaque,
            },
            State::Trailer if line.is_empty() => {
                listener.end();
                State::Head
            }
            _ => State::Trailer,
        }
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    u64::from_str_radix(text.split(';').next()?.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Notes {
        seen: Vec<String>,
        upgraded: bool,
    }

    impl Listener for Notes {
        fn head(&mut self, head: &Head) -> Body {
            self.seen.push(head.line.clone());
            self.upgraded = head.line.contains("101");
            if self.upgraded { Body::UntilClose } else { head.body(Body::Sized(0)) }
        }

        fn body(&mut self, piece: &[u8]) {
            self.seen.push(String::from_utf8_lossy(piece).into_owned());
        }

        fn end(&mut self) {
            self.seen.push("end".to_owned());
        }

        fn has_ended(&self) -> bool {
            self.upgraded
        }
    }

    const CONVERSATION: &str = "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
        GET /b HTTP/1.1\r\n\r\n\
        PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1;x\r\nf\r\n0\r\n\r\n\
        HTTP/1.1 101 UPGRADED\r\n\r\nGET is no request here\r\n\r\n";

    fn expected() -> Vec<&'static str> {
        let [first, second, third] = ["POST /a HTTP/1.1", "GET /b HTTP/1.1", "PUT /c HTTP/1.1"];
        let upgrade = "HTTP/1.1 101 UPGRADED";
        vec![first, "abc", "end", second, "end", third, "de", "f", "end", upgrade]
    }

    #[test]
    fn messages_are_told_apart_whole() {
        let mut notes = Notes::default();
        Framer::new().feed(CONVERSATION.as_bytes(), &mut notes);
        assert_eq!(notes.seen, expected());
    }

    #[test]
    fn messages_are_told_apart_byte_by_byte() {
        let (mut notes, mut framer) = (Notes::default(), Framer::new());
        for byte in CONVERSATION.as_bytes().chunks(1) {
            framer.feed(byte, &mut notes);
        }
        assert_eq!(notes.seen.concat(), expected().concat());
    }
}
