//! Frames of a multiplexed stream: how output without a console travels.
//!
//! ```text
//! 0        1..4    4            8
//! ┌────────┬───────┬────────────┬─────────┐
//! │ stream │ zeros │ length, BE │ payload │
//! └────────┴───────┴────────────┴─────────┘
//! ```
//! Source: moby `api/pkg/stdcopy`.

/// Bytes before the payload.
pub const HEADER_SIZE: usize = 8;

/// Which stream a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn number(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }
}

/// A frame's bytes. Payloads longer than its length field can say are cut into several frames.
#[must_use]
pub fn encode(stream: Stream, payload: &[u8]) -> Vec<u8> {
    /// Far below what the length field can say, far above what one read yields.
    const LONGEST: usize = 1 << 24;

    let mut bytes = Vec::with_capacity(HEADER_SIZE + payload.len());
    for piece in payload.chunks(LONGEST) {
        let length = u32::try_from(piece.len()).expect("bounded by LONGEST");
        bytes.extend_from_slice(&[stream.number(), 0, 0, 0]);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(piece);
    }
    bytes
}

/// Reads a header: the stream's number (0 to 3 in practice) and the payload's length.
#[must_use]
pub fn decode_header(header: [u8; HEADER_SIZE]) -> (u8, u32) {
    let [stream, _, _, _, a, b, c, d] = header;
    (stream, u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_eight_bytes_and_the_payload() {
        assert_eq!(encode(Stream::Stderr, b"hi"), [2, 0, 0, 0, 0, 0, 0, 2, b'h', b'i']);
        assert_eq!(decode_header([1, 0, 0, 0, 0, 1, 0, 2]), (1, 0x1_0002));
    }

    #[test]
    fn nothing_is_no_frame() {
        assert!(encode(Stream::Stdout, b"").is_empty());
    }
}
