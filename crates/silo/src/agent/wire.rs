//! Frames on descriptors that must not block.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
};

use oriel_hcs::bridge::{Frame, LENGTH_SIZE};

/// Bytes asked of one read: what a pipe holds.
const READ_SIZE: usize = 64 << 10;

/// How a read went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// More may come.
    Open,
    /// The other side is gone.
    Ended,
}

/// Collects bytes until they are frames. Holds at most one frame and one read.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    taken: usize,
}

impl Inbox {
    /// Reads once.
    pub(super) fn fill(&mut self, source: &mut impl Read) -> io::Result<Filled> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let held = self.bytes.len();
        self.bytes.resize(held + READ_SIZE, 0);
        let result = source.read(&mut self.bytes[held..]);
        self.bytes.truncate(held + *result.as_ref().unwrap_or(&0));
        match result {
            Ok(0) => Ok(Filled::Ended),
            Ok(_) => Ok(Filled::Open),
            Err(error) if is_temporary(&error) => Ok(Filled::Open),
            Err(error) => Err(error),
        }
    }

    /// The next whole frame, with its bytes.
    pub(super) fn next(&mut self) -> io::Result<Option<(Frame, Vec<u8>)>> {
        let rest = &self.bytes[self.taken..];
        let Some((field, body)) = rest.split_first_chunk::<LENGTH_SIZE>() else { return Ok(None) };
        let length = Frame::body_length(*field)?;
        let Some(body) = body.get(..length) else { return Ok(None) };
        let frame = Frame::decode(body)?;
        let whole = rest[..LENGTH_SIZE + length].to_vec();
        self.taken += whole.len();
        Ok(Some((frame, whole)))
    }
}

/// Frames on their way out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Vec<u8>>,
    /// Bytes of the first frame that are sent.
    sent: usize,
    bytes: usize,
}

impl Outbox {
    /// Adds a frame, or any other piece of the stream.
    pub(super) fn push(&mut self, frame: Vec<u8>) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Bytes waiting.
    pub(super) fn len(&self) -> usize {
        self.bytes - self.sent
    }

    /// Writes what the other side takes.
    pub(super) fn drain(&mut self, output: &mut impl Write) -> io::Result<()> {
        while let Some(frame) = self.frames.front() {
            match output.write(&frame[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if is_temporary(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.sent == frame.len() {
                self.bytes -= frame.len();
                self.sent = 0;
                self.frames.pop_front();
            }
        }
        Ok(())
    }

    /// Takes out the frames that were not sent whole.
    pub(super) fn take_unsent(&mut self) -> VecDeque<Vec<u8>> {
        (self.sent, self.bytes) = (0, 0);
        std::mem::take(&mut self.frames)
    }
}

/// Whether a call on a non-blocking descriptor may be tried again later.
fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use oriel_hcs::bridge::Message;

    use super::*;

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let frames: Vec<_> =
            (0..3).map(|n| Frame::system(Message::Stdout(vec![n; 40_000]))).collect();
        let wire: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        let mut inbox = Inbox::default();
        let mut seen = Vec::new();
        for piece in wire.chunks(999) {
            inbox.fill(&mut &*piece).unwrap();
            while let Some((frame, bytes)) = inbox.next().unwrap() {
                assert_eq!(bytes, frame.encode());
                seen.push(frame);
            }
        }
        assert_eq!(seen, frames);
    }

    #[test]
    fn garbage_is_an_error_and_not_an_allocation() {
        let mut inbox = Inbox::default();
        inbox.fill(&mut [0xff; 64].as_slice()).unwrap();
        assert!(inbox.next().is_err());
    }

    #[test]
    fn a_frame_sent_in_part_is_kept_whole() {
        let mut outbox = Outbox::default();
        outbox.push(vec![1; 10]);
        outbox.push(vec![2; 10]);
        let mut room = [0; 14];
        assert!(outbox.drain(&mut room.as_mut_slice()).is_err());
        assert_eq!(outbox.len(), 6);
        assert_eq!(outbox.take_unsent(), [vec![2; 10]]);
        assert_eq!(outbox.len(), 0);
    }
}
