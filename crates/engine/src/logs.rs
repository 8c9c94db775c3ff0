//! The log of a container: a file of JSON lines, as Docker's `json-file` driver writes it.
//!
//! ```text
//! {"log":"hi\n","stream":"stdout","time":"2026-11-22T01:16:16.5Z"}
//! ```
//! A line of output becomes a record when its end has come, when it grows beyond
//! [`LONGEST_LINE`], or when the container ends; readers never see a record half written.

use std::{
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use fs_err::{File, OpenOptions};
use serde::{Deserialize, Serialize};

use crate::{Stream, Time};

/// Longest line kept in one record, as with Docker; a longer one becomes several records.
const LONGEST_LINE: usize = 16 << 10;
/// Longest record believed when reading: each byte of a line may need six in JSON.
const LONGEST_RECORD: u64 = 256 << 10;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Where it was printed.
    pub stream: Stream,
    /// When.
    pub time: Time,
    /// What, with its line end if it has one.
    pub text: String,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    log: std::borrow::Cow<'a, str>,
    stream: std::borrow::Cow<'a, str>,
    time: std::borrow::Cow<'a, str>,
}

/// Writes a log.
pub(crate) struct LogWriter {
    file: File,
    length: u64,
    partial: [Vec<u8>; 2],
}

impl LogWriter {
    /// Opens the log at `path`, making it when it is missing. A record that a crash left half
    /// written is ended.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let mut length = file.seek(SeekFrom::End(0))?;
        if length > 0 {
            file.seek(SeekFrom::Start(length - 1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                length += 1;
            }
        }
        Ok(Self { file, length, partial: [Vec::new(), Vec::new()] })
    }

    /// Bytes in the file.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Adds output.
    pub(crate) fn write(
        &mut self,
        stream: Stream,
        time: Time,
        bytes: &[u8],
    ) -> std::io::Result<()> {
        let mut partial = std::mem::take(&mut self.partial[stream.index()]);
        let mut records = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            partial.extend_from_slice(piece);
            while partial.len() > LONGEST_LINE {
                let rest = partial.split_off(LONGEST_LINE);
                render(&mut records, stream, time, &partial);
                partial = rest;
            }
            if partial.ends_with(b"\n") {
                render(&mut records, stream, time, &partial);
                partial.clear();
            }
        }
        self.partial[stream.index()] = partial;
        self.append(&records)
    }

    /// Ends lines that have no end.
    pub(crate) fn finish(&mut self, time: Time) -> std::io::Result<()> {
        let mut records = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = std::mem::take(&mut self.partial[stream.index()]);
            if !partial.is_empty() {
                render(&mut records, stream, time, &partial);
            }
        }
        self.append(&records)
    }

    fn append(&mut self, records: &[u8]) -> std::io::Result<()> {
        self.file.write_all(records)?;
        self.length += records.len() as u64;
        Ok(())
    }
}

fn render(records: &mut Vec<u8>, stream: Stream, time: Time, bytes: &[u8]) {
    let line = Line {
        log: String::from_utf8_lossy(bytes),
        stream: stream.word().into(),
        time: time.to_string().into(),
    };
    serde_json::to_writer(&mut *records, &line).expect("to a vector, of strings");
    records.push(b'\n');
}

/// Where the last `count` records of a log begin.
pub(crate) fn tail(path: &Path, count: u64) -> std::io::Result<u64> {
    /// Bytes read at a time, backwards.
    const STEP: u64 = 64 << 10;

    let mut file = File::open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    let (mut start, mut ends) = (end, 0);
    let mut block = Vec::new();
    while start > 0 {
        let step = STEP.min(start);
        start -= step;
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        (&mut file).take(step).read_to_end(&mut block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            // The first line end from behind belongs to the last record itself.
            if ends == count {
                return Ok(start + at as u64 + 1);
            }
            ends += 1;
        }
    }
    Ok(0)
}

/// Reads records from `offset` on, at most `most`; returns them and where the next begins. A
/// damaged line is skipped.
pub(crate) fn read(
    path: &Path,
    offset: u64,
    most: usize,
) -> std::io::Result<(Vec<LogRecord>, u64)> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut input = BufReader::new(file);
    let (mut records, mut next) = (Vec::new(), offset);
    let mut line = Vec::new();
    while records.len() < most {
        line.clear();
        let count = (&mut input).take(LONGEST_RECORD).read_until(b'\n', &mut line)? as u64;
        if !line.ends_with(b"\n") && count < LONGEST_RECORD {
            break;
        }
        next += count;
        records.extend(parse(&line));
    }
    Ok((records, next))
}

fn parse(line: &[u8]) -> Option<LogRecord> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let stream = match line.stream.as_ref() {
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        _ => return None,
    };
    Some(LogRecord { stream, time: Time::parse(&line.time)?, text: line.log.into_owned() })
}

/// Path of a container's log.
pub(crate) fn path(directory: &Path, id: &str) -> PathBuf {
    directory.join(format!("{id}-json.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &Path, offset: u64) -> Vec<String> {
        let (records, _) = read(path, offset, 1000).unwrap();
        records.into_iter().map(|record| record.text).collect()
    }

    #[test]
    fn a_line_is_a_record_when_it_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut writer = LogWriter::open(&path).unwrap();
        writer.write(Stream::Stdout, Time(5), b"one\r\ntw").unwrap();
        assert_eq!(texts(&path, 0), ["one\r\n"]);
        writer.write(Stream::Stderr, Time(6), b"err\n").unwrap();
        writer.write(Stream::Stdout, Time(7), b"o\n").unwrap();
        writer.write(Stream::Stdout, Time(8), b"end").unwrap();
        writer.finish(Time(9)).unwrap();
        assert_eq!(texts(&path, 0), ["one\r\n", "err\n", "two\n", "end"]);
        let content = fs_err::read_to_string(&path).unwrap();
        let first = content.lines().next().unwrap();
        let expected =
            r#"{"log":"one\r\n","stream":"stdout","time":"1970-01-01T00:00:00.000000005Z"}"#;
        assert_eq!(first, expected);
        assert_eq!(writer.length(), content.len() as u64);
    }

    #[test]
    fn a_long_line_becomes_several_records() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut writer = LogWriter::open(&path).unwrap();
        writer.write(Stream::Stdout, Time(0), &vec![b'x'; LONGEST_LINE * 2 + 5]).unwrap();
        writer.write(Stream::Stdout, Time(0), b"\n").unwrap();
        let lengths: Vec<usize> = texts(&path, 0).iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, 6]);
    }

    #[test]
    fn the_tail_begins_so_many_records_before_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut writer = LogWriter::open(&path).unwrap();
        for number in 0..3000 {
            writer.write(Stream::Stdout, Time(0), format!("{number}\n").as_bytes()).unwrap();
        }
        assert_eq!(texts(&path, tail(&path, 2).unwrap()), ["2998\n", "2999\n"]);
        assert_eq!(texts(&path, tail(&path, 0).unwrap()), Vec::<String>::new());
        assert_eq!(tail(&path, 5000).unwrap(), 0);
        assert_eq!(texts(&path, tail(&path, 2500).unwrap())[0], "500\n");
    }

    #[test]
    fn a_record_cut_by_a_crash_is_skipped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut writer = LogWriter::open(&path).unwrap();
        writer.write(Stream::Stdout, Time(0), b"one\n").unwrap();
        let mut content = fs_err::read(&path).unwrap();
        content.extend_from_slice(b"{\"log\":\"tw");
        fs_err::write(&path, content).unwrap();
        assert_eq!(texts(&path, 0), ["one\n"]);
        let mut writer = LogWriter::open(&path).unwrap();
        writer.write(Stream::Stdout, Time(0), b"three\n").unwrap();
        assert_eq!(texts(&path, 0), ["one\n", "three\n"]);
    }
}
