//! Writers and readers together, in both formats.

use std::{path::PathBuf, sync::Arc};

use tempfile::TempDir;

use super::{
    LONGEST_LINE, LogWriter, Position,
    files::LogFiles,
    format::Format::{self, Json, Local},
    options::Keeping,
    reader::LogReader,
};
use crate::{Stream, Time};

/// A log in a directory of its own.
struct Bench {
    directory: TempDir,
    files: Arc<LogFiles>,
}

impl Bench {
    fn new(format: Format) -> Self {
        Self::keeping(format, Keeping { max_size: None, max_file: 1, compress: false })
    }

    fn rotating(format: Format, max_size: u64, max_file: u32, compress: bool) -> Self {
        Self::keeping(format, Keeping { max_size: Some(max_size), max_file, compress })
    }

    fn keeping(format: Format, keeping: Keeping) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("log");
        Self { directory, files: Arc::new(LogFiles::new(path, format, keeping, String::new())) }
    }

    fn path(&self, end: &str) -> PathBuf {
        self.directory.path().join(format!("log{end}"))
    }

    fn writer(&self) -> LogWriter {
        LogWriter::open(self.files.clone()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn all(&self) -> Vec<String> {
        rest(&mut LogReader::since(self.files.clone(), None))
    }

    fn tail(&self, count: u64) -> Vec<String> {
        rest(&mut LogReader::tail(self.files.clone(), count).unwrap())
    }
}

/// Everything that a reader finds now.
fn rest(reader: &mut LogReader) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let records = reader.read(Position::END).unwrap();
        if records.is_empty() {
            return texts;
        }
        texts.extend(records.into_iter().map(|record| String::from_utf8(record.text).unwrap()));
    }
}

/// Writes, in as many files as it takes.
fn write(writer: &mut LogWriter, time: i64, text: &str) {
    let mut bytes = text.as_bytes();
    loop {
        bytes = &bytes[writer.write(Stream::Stdout, Time(time), bytes).unwrap()..];
        if bytes.is_empty() {
            return;
        }
        writer.rotate().unwrap();
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("{number}\n")).collect()
}

#[test]
fn a_line_is_a_record_when_it_has_ended() {
    for format in [Json, Local] {
        let bench = Bench::new(format);
        let mut writer = bench.writer();
        write(&mut writer, 5, "one\r\ntw");
        assert_eq!(bench.all(), ["one\r\n"]);
        writer.write(Stream::Stderr, Time(6), b"err\n").unwrap();
        write(&mut writer, 7, "o\nend");
        writer.finish(Time(9)).unwrap();
        assert_eq!(bench.all(), ["one\r\n", "err\n", "two\n", "end"]);
        let mut reader = LogReader::since(bench.files.clone(), None);
        let records = reader.read(Position::END).unwrap();
        assert_eq!((records[1].stream, records[1].time), (Stream::Stderr, Time(6)));
    }
}

#[test]
fn a_json_file_is_what_docker_writes() {
    let keeping = Keeping { max_size: None, max_file: 1, compress: false };
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("log");
    let attributes = r#"{"app":"web"}"#.to_owned();
    let files = Arc::new(LogFiles::new(path.clone(), Json, keeping, attributes));
    write(&mut LogWriter::open(files).unwrap(), 5, "\"one\"\n");
    let expected = concat!(
        r#"{"log":"\"one\"\n","stream":"stdout","attrs":{"app":"web"},"#,
        r#""time":"1970-01-01T00:00:00.000000005Z"}"#,
        "\n"
    );
    assert_eq!(fs_err::read_to_string(path).unwrap(), expected);
}

#[test]
fn a_long_line_becomes_several_records() {
    for format in [Json, Local] {
        let bench = Bench::new(format);
        let mut writer = bench.writer();
        write(&mut writer, 0, &"x".repeat(LONGEST_LINE * 2 + 5));
        write(&mut writer, 0, "\n");
        let lengths: Vec<usize> = bench.all().iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, 6]);
    }
}

#[test]
fn the_tail_is_so_many_records() {
    for format in [Json, Local] {
        let bench = Bench::new(format);
        let mut writer = bench.writer();
        for number in 0..3000 {
            write(&mut writer, 0, &format!("{number}\n"));
        }
        assert_eq!(bench.tail(2), numbers(2998..3000));
        assert_eq!(bench.tail(0), Vec::<String>::new());
        assert_eq!(bench.tail(2500), numbers(500..3000));
        assert_eq!(bench.tail(u64::MAX), numbers(0..3000));
    }
}

#[test]
fn a_tail_reaches_into_files_that_are_full() {
    for (format, compress) in [(Json, false), (Json, true), (Local, false), (Local, true)] {
        let bench = Bench::rotating(format, 2000, 4, compress);
        let mut writer = bench.writer();
        for number in 0..500 {
            write(&mut writer, 0, &format!("{number}\n"));
        }
        let all = bench.all();
        let kept = u32::try_from(all.len()).unwrap();
        assert_eq!(all, numbers(500 - kept..500), "what is kept has no gap");
        for count in [1, kept / 2, kept - 1, kept] {
            assert_eq!(bench.tail(count.into()), numbers(500 - count..500), "{format:?} {count}");
        }
        assert_eq!(bench.tail(1000), all);
    }
}

#[test]
fn a_log_that_rotates_is_bounded() {
    let bench = Bench::rotating(Json, 1000, 3, false);
    let mut writer = bench.writer();
    write(&mut writer, 0, &"0123456789\n".repeat(1000));
    assert_eq!(bench.names(), ["log", "log.1", "log.2"]);
    for name in bench.names() {
        let length = fs_err::metadata(bench.directory.path().join(&name)).unwrap().len();
        assert!(length < 1100, "{name} has {length} bytes");
    }
    let bench = Bench::rotating(Local, 1000, 3, true);
    write(&mut bench.writer(), 0, &"0123456789\n".repeat(1000));
    assert_eq!(bench.names(), ["log", "log.1.gz", "log.2.gz"]);
    let bench = Bench::rotating(Local, 1000, 1, false);
    write(&mut bench.writer(), 0, &"0123456789\n".repeat(1000));
    assert_eq!(bench.names(), ["log"]);
}

#[test]
fn who_keeps_up_sees_each_record_once() {
    for (format, compress) in [(Json, true), (Local, false), (Local, true)] {
        let bench = Bench::rotating(format, 300, 3, compress);
        let mut writer = bench.writer();
        let mut reader = LogReader::since(bench.files.clone(), None);
        let mut seen = Vec::new();
        for number in 0..200 {
            write(&mut writer, 0, &format!("{number}\n"));
            // Sometimes a rotation behind, never two.
            if number % 7 == 0 {
                seen.extend(rest(&mut reader));
            }
        }
        seen.extend(rest(&mut reader));
        assert_eq!(seen, numbers(0..200), "{format:?}");
    }
}

#[test]
fn who_does_not_keep_up_misses_whole_files_and_nothing_else() {
    let bench = Bench::rotating(Local, 300, 2, false);
    let mut writer = bench.writer();
    write(&mut writer, 0, "0\n1\n");
    let mut reader = LogReader::since(bench.files.clone(), None);
    // It has the first file open, which is removed meanwhile.
    assert_eq!(rest(&mut reader), numbers(0..2));
    for number in 2..200 {
        write(&mut writer, 0, &format!("{number}\n"));
    }
    let seen = rest(&mut reader);
    let gaps = seen.windows(2).filter(|pair| {
        let [one, next] = [0, 1].map(|at| pair[at].trim().parse::<u32>().unwrap());
        next != one + 1
    });
    assert_eq!(
        (gaps.count(), seen[0].as_str(), seen.last().unwrap().as_str()),
        (1, "2\n", "199\n")
    );
}

#[test]
fn a_reader_that_is_told_where_to_end_ends_there() {
    let bench = Bench::rotating(Json, 300, 5, false);
    let mut writer = bench.writer();
    let mut ends = Vec::new();
    for number in 0..10 {
        ends.push(writer.position());
        write(&mut writer, 0, &format!("{number}\n"));
    }
    for (count, end) in ends.into_iter().enumerate() {
        let mut reader = LogReader::since(bench.files.clone(), None);
        let mut seen = 0;
        loop {
            let records = reader.read(end).unwrap().len();
            seen += records;
            if records == 0 {
                break;
            }
        }
        assert_eq!(seen, count);
    }
}

#[test]
fn a_crash_leaves_whole_records_only() {
    for format in [Json, Local] {
        let bench = Bench::new(format);
        write(&mut bench.writer(), 0, "one\n");
        let whole = fs_err::read(bench.path("")).unwrap();
        write(&mut bench.writer(), 0, "two\n");
        let both = fs_err::read(bench.path("")).unwrap();
        for cut in whole.len()..both.len() {
            fs_err::write(bench.path(""), &both[..cut]).unwrap();
            assert_eq!(bench.all(), ["one\n"], "{format:?} {cut}");
            assert_eq!(bench.tail(1), ["one\n"], "{format:?} {cut}");
            write(&mut bench.writer(), 0, "three\n");
            assert_eq!(bench.all(), ["one\n", "three\n"], "{format:?} {cut}");
        }
    }
}

#[test]
fn damage_ends_what_is_read_of_a_file_and_no_more() {
    let bench = Bench::rotating(Local, 100, 9, false);
    let mut writer = bench.writer();
    for number in 0..20 {
        write(&mut writer, 0, &format!("{number}\n"));
    }
    let mut damaged = fs_err::read(bench.path(".2")).unwrap();
    damaged[..4].copy_from_slice(&[0xff; 4]);
    fs_err::write(bench.path(".2"), damaged).unwrap();
    let all = bench.all();
    assert_eq!((all[0].as_str(), all.last().unwrap().as_str()), ("0\n", "19\n"));
    assert!(all.len() < 20);
    let bench = Bench::new(Json);
    let mut writer = bench.writer();
    write(&mut writer, 0, "one\n");
    let mut content = fs_err::read(bench.path("")).unwrap();
    content.extend_from_slice(b"garbage\n");
    content.extend_from_slice(&content.clone()[..content.len() - 8]);
    fs_err::write(bench.path(""), content).unwrap();
    assert_eq!(bench.all(), ["one\n", "one\n"]);
}

#[test]
fn a_compression_that_was_broken_off_is_forgotten() {
    let bench = Bench::rotating(Local, 1, 9, false);
    let mut writer = bench.writer();
    for number in 0..5 {
        write(&mut writer, 0, &format!("{number}\n"));
    }
    let before = bench.all();
    fs_err::write(bench.path(".1.gz.tmp"), "half").unwrap();
    // Compressed, but the plain file was not removed any more.
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &fs_err::read(bench.path(".2")).unwrap()).unwrap();
    fs_err::write(bench.path(".2.gz"), gz.finish().unwrap()).unwrap();
    bench.writer();
    assert_eq!(bench.all(), before);
    let names = bench.names();
    assert!(!names.contains(&"log.2".to_owned()) && !names.contains(&"log.1.gz.tmp".to_owned()));
}

#[test]
fn files_that_ended_before_are_not_read() {
    let bench = Bench::rotating(Json, 1, 9, true);
    let mut writer = bench.writer();
    for number in 0..6 {
        write(&mut writer, 0, &format!("{number}\n"));
    }
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(100);
    for place in [3, 4, 5] {
        let file =
            fs_err::OpenOptions::new().append(true).open(bench.path(&format!(".{place}.gz")));
        file.unwrap().set_modified(old).unwrap();
    }
    let since = |seconds: i64| {
        let time = Some(Time(seconds * 1_000_000_000));
        rest(&mut LogReader::since(bench.files.clone(), time))
    };
    assert_eq!(since(102), numbers(3..6));
    assert_eq!(since(101), numbers(0..6));
}
