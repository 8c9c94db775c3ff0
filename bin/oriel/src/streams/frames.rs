//! Output of a container taken apart: frames of standard output and error, or one raw stream.

use anyhow::bail;
use oriel_api::frame::{HEADER_SIZE, Stream, decode_header};

/// Longest frame; the daemon's are a thousandth of it.
const LONGEST: u32 = 1 << 28;

/// Number of the stream on which a daemon tells of an error of its own (moby, `stdcopy`).
const SYSTEM_ERROR: u8 = 3;

/// Takes a stream apart however its pieces arrive.
pub(crate) struct Demultiplexer {
    raw: bool,
    header: Vec<u8>,
    stream: u8,
    /// Bytes of the frame that are still to come.
    left: usize,
}

impl Demultiplexer {
    /// Of frames.
    pub(crate) fn new() -> Self {
        Self { raw: false, header: Vec::new(), stream: 0, left: 0 }
    }

    /// Of a console, which has one stream.
    pub(crate) fn raw() -> Self {
        Self { raw: true, ..Self::new() }
    }

    /// What a piece of the stream says.
    ///
    /// # Errors
    /// When it is no stream of frames, or tells of an error of the daemon.
    pub(crate) fn pass(&mut self, mut piece: &[u8]) -> anyhow::Result<Vec<(Stream, Vec<u8>)>> {
        if self.raw {
            return Ok(vec![(Stream::Stdout, piece.to_vec())]);
        }
        let mut said = Vec::new();
        while !piece.is_empty() {
            if self.left == 0 {
                piece = self.take_header(piece)?;
                continue;
            }
            let (payload, rest) = piece.split_at(self.left.min(piece.len()));
            self.left -= payload.len();
            piece = rest;
            match self.stream {
                SYSTEM_ERROR => bail!("{}", String::from_utf8_lossy(payload)),
                2 => said.push((Stream::Stderr, payload.to_vec())),
                _ => said.push((Stream::Stdout, payload.to_vec())),
            }
        }
        Ok(said)
    }

    fn take_header<'a>(&mut self, piece: &'a [u8]) -> anyhow::Result<&'a [u8]> {
        let wanted = HEADER_SIZE - self.header.len();
        let (head, rest) = piece.split_at(wanted.min(piece.len()));
        self.header.extend_from_slice(head);
        if let Ok(header) = <[u8; HEADER_SIZE]>::try_from(self.header.as_slice()) {
            let (stream, length) = decode_header(header);
            if stream > SYSTEM_ERROR || length > LONGEST {
                bail!("the daemon's output is not understood");
            }
            (self.stream, self.left) = (stream, usize::try_from(length)?);
            self.header.clear();
        }
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use oriel_api::frame::encode;

    use super::*;

    fn joined(pieces: Vec<(Stream, Vec<u8>)>, wanted: Stream) -> Vec<u8> {
        pieces.into_iter().filter(|(stream, _)| *stream == wanted).flat_map(|(_, b)| b).collect()
    }

    #[test]
    fn frames_are_taken_apart_however_they_arrive() {
        let bytes = [encode(Stream::Stdout, b"out"), encode(Stream::Stderr, b"error")].concat();
        for size in 1..bytes.len() {
            let mut frames = Demultiplexer::new();
            let said: Vec<_> =
                bytes.chunks(size).flat_map(|piece| frames.pass(piece).unwrap()).collect();
            assert_eq!(joined(said.clone(), Stream::Stdout), b"out");
            assert_eq!(joined(said, Stream::Stderr), b"error");
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error_and_so_is_the_daemons() {
        assert!(Demultiplexer::new().pass(b"plain text").is_err());
        let broken = [&[3, 0, 0, 0, 0, 0, 0, 2][..], b"no"].concat();
        assert_eq!(Demultiplexer::new().pass(&broken).unwrap_err().to_string(), "no");
        assert_eq!(Demultiplexer::raw().pass(b"x").unwrap(), [(Stream::Stdout, b"x".to_vec())]);
    }
}
