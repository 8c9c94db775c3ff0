//! How a record is written. A file has records of one format, each whole, one after the other.
//!
//! `json-file` writes what Docker's driver of that name writes, so that what collects Docker's logs
//! collects these:
//!
//! ```text
//! {"log":"hi\n","stream":"stdout","attrs":{"app":"web"},"time":"2026-11-22T01:16:16.5Z"}
//! ```
//! `local` writes frames; numbers are little-endian. The length stands at both ends, so that a file
//! is read in both directions:
//!
//! ```text
//! 0        4        5                  13        13+n
//! ┌────────┬────────┬──────────────────┬─────────┬────────┐
//! │ n + 9  │ stream │ time, ns of 1970 │ n bytes │ n + 9  │
//! └────────┴────────┴──────────────────┴─────────┴────────┘
//! ```

use std::{
    borrow::Cow,
    io::{self, BufRead, Read as _, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
};

use fs_err::File;
use serde::Deserialize;

use super::{LONGEST_RECORD, LogRecord};
use crate::{Stream, Time};

/// Bytes of a frame's length.
const LENGTH: usize = 4;
/// Bytes of a frame's stream and time.
const HEAD: usize = 9;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// JSON lines.
    Json,
    /// Frames.
    Local,
}

/// What the records of one piece of output share.
pub(super) enum Stamp {
    /// What follows the text of a JSON line.
    Json(String),
    /// What precedes the text of a frame.
    Local([u8; HEAD]),
}

impl Format {
    /// Begins records of a stream and a time; `attributes` is a JSON object or empty.
    pub(super) fn stamp(self, stream: Stream, time: Time, attributes: &str) -> Stamp {
        match self {
            Self::Json => {
                let (before, attributes) = match attributes {
                    "" => ("", ""),
                    attributes => (",\"attrs\":", attributes),
                };
                let stream = stream.word();
                Stamp::Json(format!(
                    ",\"stream\":\"{stream}\"{before}{attributes},\"time\":\"{time}\"}}\n"
                ))
            }
            Self::Local => {
                let mut head = [0; HEAD];
                head[0] = if stream == Stream::Stdout { 1 } else { 2 };
                head[1..].copy_from_slice(&time.0.to_le_bytes());
                Stamp::Local(head)
            }
        }
    }

    /// Reads on until `pending` holds a whole record; false when the input ends before. What has
    /// been read stays in `pending` for the next attempt.
    pub(super) fn fill(self, input: &mut dyn BufRead, pending: &mut Vec<u8>) -> io::Result<bool> {
        match self {
            Self::Json => {
                let room = LONGEST_RECORD.saturating_sub(pending.len()) as u64;
                input.take(room).read_until(b'\n', pending)?;
                Ok(pending.ends_with(b"\n") || pending.len() >= LONGEST_RECORD)
            }
            Self::Local => {
                if !fill_to(input, pending, LENGTH)? {
                    return Ok(false);
                }
                let length = length_of(pending)?;
                fill_to(input, pending, length + 2 * LENGTH)
            }
        }
    }

    /// Reads a whole record; `None` for a damaged one.
    pub(super) fn parse(self, record: &[u8]) -> Option<LogRecord> {
        match self {
            Self::Json => parse_json(record),
            Self::Local => {
                let body = record.get(LENGTH..record.len().checked_sub(LENGTH)?)?;
                let (head, text) = body.split_first_chunk::<HEAD>()?;
                let stream = match head[0] {
                    1 => Stream::Stdout,
                    2 => Stream::Stderr,
                    _ => return None,
                };
                let time = Time(i64::from_le_bytes(head[1..].try_into().ok()?));
                Some(LogRecord { stream, time, text: text.to_vec() })
            }
        }
    }

    /// Where the last `count` records of a file begin, and how many those are: fewer when the file
    /// has fewer. `None` when it can be read forwards only, because its end is damaged.
    pub(super) fn tail(self, file: &mut File, count: u64) -> io::Result<Option<(u64, u64)>> {
        match self {
            Self::Json => tail_json(file, count).map(Some),
            Self::Local => tail_local(file, count),
        }
    }

    /// Bytes of a file up to the end of its last whole record. A crash leaves a part of a record
    /// behind them.
    pub(super) fn sound_length(self, file: &mut File) -> io::Result<u64> {
        match self {
            // From behind: such a file may be large.
            Self::Json => Ok(tail_json(file, 0)?.0),
            Self::Local => {
                file.seek(SeekFrom::Start(0))?;
                let mut input = io::BufReader::new(&mut *file);
                let (mut sound, mut pending) = (0, Vec::new());
                while self.fill(&mut input, &mut pending).unwrap_or(false) {
                    sound += pending.len() as u64;
                    pending.clear();
                }
                Ok(sound)
            }
        }
    }
}

impl Stamp {
    /// Adds a record.
    pub(super) fn render(&self, records: &mut Vec<u8>, text: &[u8]) {
        match self {
            Self::Json(end) => {
                records.extend_from_slice(b"{\"log\":");
                serde_json::to_writer(&mut *records, &String::from_utf8_lossy(text))
                    .expect("to a vector, of a string");
                records.extend_from_slice(end.as_bytes());
            }
            Self::Local(head) => {
                let length = u32::try_from(HEAD + text.len()).expect("lines are bounded");
                records.extend_from_slice(&length.to_le_bytes());
                records.extend_from_slice(head);
                records.extend_from_slice(text);
                records.extend_from_slice(&length.to_le_bytes());
            }
        }
    }
}

/// Reads on until `pending` has so many bytes.
fn fill_to(input: &mut dyn BufRead, pending: &mut Vec<u8>, length: usize) -> io::Result<bool> {
    let missing = length.saturating_sub(pending.len()) as u64;
    input.take(missing).read_to_end(pending)?;
    Ok(pending.len() >= length)
}

/// The length at the beginning of a frame.
fn length_of(frame: &[u8]) -> io::Result<usize> {
    let length = frame.first_chunk::<LENGTH>().map(|bytes| u32::from_le_bytes(*bytes));
    let length = length.and_then(|length| usize::try_from(length).ok());
    length.filter(|length| (HEAD..=LONGEST_RECORD).contains(length)).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "a log file is damaged: a frame has no length")
    })
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

fn parse_json(line: &[u8]) -> Option<LogRecord> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let stream = match line.stream.as_ref() {
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        _ => return None,
    };
    let text = line.log.into_owned().into_bytes();
    Some(LogRecord { stream, time: Time::parse(&line.time)?, text })
}

fn tail_json(file: &mut File, count: u64) -> io::Result<(u64, u64)> {
    /// Bytes read at a time, backwards.
    const STEP: u64 = 64 << 10;

    let mut start = file.seek(SeekFrom::End(0))?;
    let mut ends = 0;
    let mut block = Vec::new();
    while start > 0 {
        let step = STEP.min(start);
        start -= step;
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        (&mut *file).take(step).read_to_end(&mut block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            // The first line end from behind belongs to the last record itself.
            if ends == count {
                return Ok((start + at as u64 + 1, count));
            }
            ends += 1;
        }
    }
    Ok((0, ends))
}

fn tail_local(file: &mut File, count: u64) -> io::Result<Option<(u64, u64)>> {
    let length_at = |at: u64| -> io::Result<u64> {
        let mut bytes = [0; LENGTH];
        file.file().read_exact_at(&mut bytes, at)?;
        Ok(u64::from(u32::from_le_bytes(bytes)))
    };
    let mut start = file.metadata()?.len();
    let mut found = 0;
    while found < count && start > 0 {
        let Some(end) = start.checked_sub(LENGTH as u64) else { return Ok(None) };
        let length = length_at(end)?;
        if !(HEAD as u64..=LONGEST_RECORD as u64).contains(&length) {
            return Ok(None);
        }
        let Some(begin) = end.checked_sub(length + LENGTH as u64) else { return Ok(None) };
        if length_at(begin)? != length {
            return Ok(None);
        }
        (start, found) = (begin, found + 1);
    }
    Ok(Some((start, found)))
}
