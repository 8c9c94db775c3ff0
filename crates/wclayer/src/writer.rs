//! From entries to bytes.
//!
//! The layout is that of Go's `archive/tar` (`writer.go`, `common.go`) as hcsshim and go-winio use
//! it, so that a layer written here is what a Windows host would have written: a PAX header called
//! `DIR/PaxHeaders.0/FILE` with records in byte order, then a header whose mode carries type bits
//! only, directories without a trailing slash.

use std::io::{ErrorKind, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::archive::{BLOCK, MAX_EXTENSION};
use crate::reader::WHITEOUT;
use crate::{Entry, FileTime, Kind, LayerError};

/// Mode of a directory (`c_ISDIR` of go-winio's backuptar).
const MODE_DIRECTORY: u32 = 0o040_000;
/// Mode of what has data (`c_ISREG`).
const MODE_FILE: u32 = 0o100_000;
/// Mode of a reparse point (`c_ISLNK`).
const MODE_LINK: u32 = 0o120_000;
/// Mode of a hard link (hcsshim's `pkg/ociwclayer/export.go`).
const MODE_HARD_LINK: u32 = 0o644;

/// Largest number of an 11-digit octal field.
const MAX_OCTAL: u64 = (1 << 33) - 1;

/// Longest name in a header.
const NAME: usize = 100;

/// How much data is copied at once.
const BUFFER: usize = 64 * 1024;

/// Longest prefix in a `ustar` header.
const PREFIX: usize = 155;

/// Writes a layer tar, laid out byte for byte as Go's `archive/tar` does for genuine producers.
///
/// The caller chooses the order; genuine exports are depth first, names in byte order.
pub struct Writer<W> {
    output: W,
    offset: u64,
    /// Mode of the last file or directory, which its streams repeat.
    owner_mode: u32,
    buffer: Vec<u8>,
}

/// The fields of a header that differ between entries.
struct Header<'a> {
    name: &'a str,
    link: &'a str,
    flag: u8,
    mode: u32,
    size: u64,
    /// Seconds after 1970; what does not fit is 0 here and a record beside.
    modified: u64,
    prefix: &'a str,
}

impl<W: Write> Writer<W> {
    /// Writes an uncompressed tar to `output`.
    pub fn new(output: W) -> Self {
        Self { output, offset: 0, owner_mode: MODE_FILE, buffer: Vec::new() }
    }

    /// Writes `entry` and its data, which must be exactly as long as the entry says.
    ///
    /// # Errors
    /// [`LayerError::Size`] when the data is shorter or longer, [`LayerError::Limit`] when security
    /// descriptor and extended attributes are too large for a PAX header, [`LayerError::Name`] for
    /// names a reader would take for something else, [`LayerError::Io`].
    pub fn add(&mut self, entry: &Entry, data: impl Read) -> Result<(), LayerError> {
        let name = entry_name(entry)?;
        if matches!(entry.kind, Kind::Whiteout | Kind::OpaqueWhiteout) {
            return self.add_whiteout(&name);
        }
        let (flag, link, mode) = self.shape(entry);
        let (seconds, records) = records(entry, &name, &link);
        self.write_records(&name, records)?;
        self.write_header(&Header {
            name: &name,
            link: &link,
            flag,
            mode,
            size: if entry.size() > MAX_OCTAL { 0 } else { entry.size() },
            modified: seconds,
            prefix: "",
        })?;
        self.copy(&name, entry.size(), data)
    }

    /// Writes the end marker and gives the output back.
    ///
    /// # Errors
    /// [`LayerError::Io`].
    pub fn finish(mut self) -> Result<W, LayerError> {
        self.put(&[0; 2 * BLOCK])?;
        let offset = self.offset;
        self.output.flush().map_err(|source| LayerError::Io {
            attempt: "write",
            offset,
            source,
        })?;
        Ok(self.output)
    }

    /// Type flag, link target and mode of an entry.
    fn shape(&mut self, entry: &Entry) -> (u8, String, u32) {
        let directory = entry.attributes.contains(crate::Attributes::DIRECTORY);
        let directory_bit = if directory { MODE_DIRECTORY } else { 0 };
        let shape = match &entry.kind {
            Kind::Directory => (b'5', String::new(), MODE_DIRECTORY),
            Kind::File { .. } => (b'0', String::new(), MODE_FILE),
            Kind::Symlink { target } => (b'2', target.clone(), MODE_LINK | directory_bit),
            Kind::Junction { target } => (b'2', target.clone(), MODE_LINK | MODE_DIRECTORY),
            Kind::HardLink { target } => (b'1', target.to_string(), MODE_HARD_LINK),
            Kind::Stream { .. } => (b'0', String::new(), self.owner_mode),
            Kind::Whiteout | Kind::OpaqueWhiteout => (b'0', String::new(), 0),
        };
        self.owner_mode = shape.2;
        shape
    }

    /// Writes an empty entry without mode, time and records, as hcsshim does for a tombstone.
    fn add_whiteout(&mut self, name: &str) -> Result<(), LayerError> {
        let (prefix, suffix) = match split_ustar(name) {
            Some(split) => split,
            None if name.is_ascii() && name.len() <= NAME => ("", name),
            None => {
                self.write_records(name, vec![("path".to_owned(), name.as_bytes().to_vec())])?;
                ("", name)
            }
        };
        self.write_header(&Header {
            name: suffix,
            link: "",
            flag: b'0',
            mode: 0,
            size: 0,
            modified: 0,
            prefix,
        })
    }

    /// Writes the PAX header of the entry `name`.
    fn write_records(
        &mut self,
        name: &str,
        mut records: Vec<(String, Vec<u8>)>,
    ) -> Result<(), LayerError> {
        if records.is_empty() {
            return Ok(());
        }
        records.sort();
        let mut body = Vec::new();
        for (key, value) in &records {
            append_record(&mut body, key, value);
        }
        if body.len() as u64 > MAX_EXTENSION {
            return Err(LayerError::Limit { what: "bytes of PAX records", limit: MAX_EXTENSION });
        }
        let (directory, file) = name.rsplit_once('/').unwrap_or(("", name));
        let slash = if directory.is_empty() { "" } else { "/" };
        let pax_name = ascii(&format!("{directory}{slash}PaxHeaders.0/{file}"));
        let mut block = [0; BLOCK];
        put_text(&mut block[..NAME], &pax_name);
        put_octal(&mut block[124..136], body.len() as u64);
        put_octal(&mut block[136..148], 0);
        for field in [100..108, 108..116, 116..124] {
            put_octal(&mut block[field], 0);
        }
        block[156] = b'x';
        seal(&mut block);
        self.put(&block)?;
        self.put(&body)?;
        self.pad(body.len() as u64)
    }

    /// Writes a main header.
    fn write_header(&mut self, header: &Header<'_>) -> Result<(), LayerError> {
        let mut block = [0; BLOCK];
        put_text(&mut block[..NAME], &ascii(header.name));
        put_octal(&mut block[100..108], u64::from(header.mode));
        put_octal(&mut block[108..116], 0);
        put_octal(&mut block[116..124], 0);
        put_octal(&mut block[124..136], header.size);
        put_octal(&mut block[136..148], header.modified);
        block[156] = header.flag;
        put_text(&mut block[157..257], &ascii(header.link));
        put_octal(&mut block[329..337], 0);
        put_octal(&mut block[337..345], 0);
        put_text(&mut block[345..500], header.prefix);
        seal(&mut block);
        self.put(&block)
    }

    /// Copies exactly `size` bytes and pads them.
    fn copy(&mut self, name: &str, size: u64, mut data: impl Read) -> Result<(), LayerError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(BUFFER, 0);
        let mut copied = 0;
        loop {
            let count = match data.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(LayerError::Io { attempt: "read", offset: self.offset, source });
                }
            };
            let total = copied + count as u64;
            if total > size || (count == 0 && copied < size) {
                let found = total.min(size + 1);
                return Err(LayerError::Size { name: name.to_owned(), expected: size, found });
            }
            if count == 0 {
                self.buffer = buffer;
                return self.pad(size);
            }
            self.put(&buffer[..count])?;
            copied = total;
        }
    }

    fn pad(&mut self, size: u64) -> Result<(), LayerError> {
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        let padding = usize::try_from(padding).unwrap_or(0);
        self.put(&[0; BLOCK][..padding])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        let offset = self.offset;
        self.output.write_all(bytes).map_err(|source| LayerError::Io {
            attempt: "write",
            offset,
            source,
        })?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

/// The name of an entry in the tar.
fn entry_name(entry: &Entry) -> Result<String, LayerError> {
    let path = entry.path.to_string();
    let refused = |detail| LayerError::Name { name: path.clone(), detail };
    let file_name = entry.path.file_name();
    if file_name.starts_with(WHITEOUT) {
        return Err(refused("a name that a reader would take for a whiteout"));
    }
    if path.contains(':') {
        return Err(refused("a colon"));
    }
    match &entry.kind {
        Kind::Whiteout => {
            let parent = entry.path.parent().ok_or_else(|| refused("a whiteout of a root"))?;
            Ok(format!("{parent}/{WHITEOUT}{file_name}"))
        }
        Kind::OpaqueWhiteout => Ok(format!("{path}/{WHITEOUT}{WHITEOUT}.opq")),
        Kind::Stream { name, .. } if name.is_empty() || name.contains([':', '/', '\\', '\0']) => {
            Err(refused("a bad stream name"))
        }
        Kind::Stream { name, .. } => Ok(format!("{path}:{name}")),
        _ => Ok(path),
    }
}

/// Seconds for the header, and the PAX records of an entry.
fn records(entry: &Entry, name: &str, link: &str) -> (u64, Vec<(String, Vec<u8>)>) {
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |key: &str, value: String| records.push((key.to_owned(), value.into_bytes()));
    if !matches!(entry.kind, Kind::Stream { .. }) {
        add("MSWINDOWS.fileattr", entry.attributes.0.to_string());
        add("LIBARCHIVE.creationtime", entry.created.to_pax());
        for (name, value) in &entry.extended {
            add(&format!("MSWINDOWS.xattr.{name}"), STANDARD.encode(value));
        }
    }
    if !matches!(entry.kind, Kind::HardLink { .. } | Kind::Stream { .. }) {
        match (&entry.security, &entry.sddl) {
            (Some(descriptor), _) => add("MSWINDOWS.rawsd", STANDARD.encode(descriptor)),
            (None, Some(text)) => add("MSWINDOWS.sd", text.clone()),
            (None, None) => {}
        }
    }
    if matches!(entry.kind, Kind::Junction { .. }) {
        add("MSWINDOWS.mountpoint", "1".to_owned());
    }
    for (key, time) in [("atime", entry.accessed), ("ctime", entry.changed)] {
        if let Some(time) = time {
            add(key, time.to_pax());
        }
    }
    for (key, text) in [("path", name), ("linkpath", link)] {
        if text.len() > NAME || !text.is_ascii() {
            add(key, text.to_owned());
        }
    }
    if entry.size() > MAX_OCTAL {
        add("size", entry.size().to_string());
    }
    let seconds = header_seconds(entry.modified);
    if seconds.is_none_or(|seconds| FileTime::from_unix(seconds.cast_signed(), 0) != entry.modified)
    {
        add("mtime", entry.modified.to_pax());
    }
    (seconds.unwrap_or(0), records)
}

/// Whole seconds, when they fit the header.
fn header_seconds(time: FileTime) -> Option<u64> {
    u64::try_from(time.to_unix().0).ok().filter(|seconds| *seconds <= MAX_OCTAL)
}

/// Appends `LENGTH KEY=VALUE\n`, where the length counts itself.
fn append_record(body: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() > rest.to_string().len() {
        length += 1;
    }
    body.extend_from_slice(format!("{length} {key}=").as_bytes());
    body.extend_from_slice(value);
    body.push(b'\n');
}

/// Splits a long name into prefix and name (`splitUSTARPath` of Go).
fn split_ustar(name: &str) -> Option<(&str, &str)> {
    if name.len() <= NAME || !name.is_ascii() {
        return None;
    }
    let head = &name[..name.len().min(PREFIX + 1)];
    let (prefix, _) = head.rsplit_once('/')?;
    let suffix = &name[prefix.len() + 1..];
    let fits = !prefix.is_empty() && !suffix.is_empty() && suffix.len() <= NAME;
    fits.then_some((prefix, suffix))
}

/// `text` without what is not ASCII, as Go puts it in headers beside a PAX record.
fn ascii(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii() && *c != '\0').collect()
}

/// Copies as much of `text` as fits. What was cut does not end in a slash, for some readers would
/// take that for a directory (`formatString` of Go).
fn put_text(field: &mut [u8], text: &str) {
    let cut = &text.as_bytes()[..text.len().min(field.len())];
    let kept = if cut.len() < text.len() { cut.strip_suffix(b"/").unwrap_or(cut) } else { cut };
    field[..kept.len()].copy_from_slice(kept);
}

/// Writes leading zeros, the octal number and NUL.
fn put_octal(field: &mut [u8], number: u64) {
    let width = field.len() - 1;
    put_text(field, &format!("{number:0width$o}\0"));
}

/// Fills in magic and checksum.
fn seal(block: &mut [u8; BLOCK]) {
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    put_octal(&mut block[148..155], sum);
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::{Writer, split_ustar};
    use crate::{Attributes, Entry, FileTime, Kind, LayerError, LayerPath, Reader, Root, security};

    const TIME: FileTime = FileTime(133_444_736_001_234_567);

    fn path(name: &str) -> LayerPath {
        LayerPath::parse(name).unwrap().unwrap()
    }

    fn written(entries: &[(Entry, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (entry, data) in entries {
            writer.add(entry, *data).unwrap();
        }
        writer.finish().unwrap()
    }

    fn samples() -> Vec<(Entry, &'static [u8])> {
        let long = format!("Files/{}/{}", "d".repeat(120), "f".repeat(90));
        let hard = Kind::HardLink { target: path("Files/a.txt") };
        let symlink = Kind::Symlink { target: "..\\ä".into() };
        let junction = Kind::Junction { target: "C:\\Users".into() };
        let stream = Kind::Stream { name: "zone".into(), size: 3 };
        let mut file = Entry::new(path("Files/a.txt"), Kind::File { size: 5 }, TIME);
        file.security = Some(security::default_file());
        file.attributes = file.attributes | Attributes::HIDDEN | Attributes::READ_ONLY;
        file.extended = vec![("A".into(), vec![0, 1]), ("B".into(), vec![])];
        let mut stream = Entry::new(path("Files/a.txt"), stream, TIME);
        stream.created = TIME;
        let mut link_directory = Entry::new(path("Files/ld"), symlink.clone(), TIME);
        link_directory.attributes = link_directory.attributes | Attributes::DIRECTORY;
        vec![
            (Entry::new(LayerPath::root_of(Root::Files), Kind::Directory, TIME), b""),
            (file, b"hello"),
            (stream, b"abc"),
            (Entry::new(path("Files/b.txt"), hard, TIME), b""),
            (Entry::new(path("Files/l"), symlink, FileTime(0)), b""),
            (link_directory, b""),
            (Entry::new(path("Files/j"), junction, FileTime::UNIX_EPOCH), b""),
            (Entry::new(path(&long), Kind::File { size: 512 }, TIME), &[7; 512]),
            (Entry::new(path("Files/Ümlaut"), Kind::Directory, TIME), b""),
        ]
    }

    #[test]
    fn what_is_written_is_read_back() {
        let samples = samples();
        let bytes = written(&samples);
        let mut reader = Reader::new(&bytes[..]);
        for (entry, data) in samples {
            assert_eq!(reader.next_entry().unwrap(), Some(entry.clone()));
            let mut found = Vec::new();
            reader.read_to_end(&mut found).unwrap();
            assert_eq!(found, data, "{}", entry.path);
        }
        assert_eq!(reader.next_entry().unwrap(), None);
    }

    #[test]
    fn an_independent_reader_agrees() {
        let bytes = written(&samples());
        let mut archive = tar::Archive::new(&bytes[..]);
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap())
            .collect();
        assert_eq!(names[0], "Files");
        assert_eq!(names[2], "Files/a.txt:zone");
        assert_eq!(names[8], "Files/Ümlaut");
        assert_eq!(names.len(), 9);
    }

    /// Offsets and texts as Python's `tarfile` shows them for a layer written by Go's archive/tar.
    #[test]
    fn bytes_are_those_of_gos_writer() {
        let mut entry = Entry::new(path("Files/dir"), Kind::Directory, FileTime::from_unix(5, 0));
        entry.created = FileTime::from_unix(5, 500_000_000);
        let bytes = written(&[(entry, b"")]);
        let text =
            |range: std::ops::Range<usize>| String::from_utf8_lossy(&bytes[range]).into_owned();
        assert_eq!(text(0..25), "Files/PaxHeaders.0/dir\0\0\0");
        assert_eq!(text(100..108), "0000000\0");
        assert_eq!(bytes[156], b'x');
        assert_eq!(text(257..265), "ustar\x0000");
        assert_eq!(text(329..337), "\0".repeat(8));
        let body =
            "31 LIBARCHIVE.creationtime=5.5\n25 MSWINDOWS.fileattr=16\n11 atime=5\n11 ctime=5\n";
        assert_eq!(text(512..512 + body.len()), body);
        assert_eq!(text(1024..1034), "Files/dir\0");
        assert_eq!(text(1124..1132), "0040000\0");
        assert_eq!(text(1160..1172), "00000000005\0");
        assert_eq!(bytes[1024 + 156], b'5');
        assert_eq!(text(1024 + 329..1024 + 345), "0000000\x000000000\0");
        assert_eq!(text(1024 + 148..1024 + 156).len(), 8);
        assert_eq!((bytes[1024 + 154], bytes[1024 + 155]), (0, b' '));
        assert_eq!(bytes.len(), 3 * 512 + 1024);
    }

    #[test]
    fn whiteouts_are_bare_ustar_entries() {
        let whiteout = |name: &str| (Entry::new(path(name), Kind::Whiteout, TIME), &b""[..]);
        let bytes = written(&[whiteout("Files/gone")]);
        assert_eq!(bytes.len(), 512 + 1024);
        assert!(bytes.starts_with(b"Files/.wh.gone\0"));
        assert_eq!(&bytes[100..108], b"0000000\0");
        let long = format!("Files/{}/{}", "d".repeat(100), "g".repeat(50));
        let bytes = written(&[whiteout(&long)]);
        assert_eq!(bytes.len(), 512 + 1024);
        let entry = Reader::new(&bytes[..]).next_entry().unwrap().unwrap();
        assert_eq!((entry.path, entry.kind), (path(&long), Kind::Whiteout));
        let odd = "Files/\u{fc}";
        let bytes = written(&[whiteout(odd)]);
        let entry = Reader::new(&bytes[..]).next_entry().unwrap().unwrap();
        assert_eq!((entry.path, entry.kind), (path(odd), Kind::Whiteout));
    }

    #[test]
    fn data_of_another_length_is_refused() {
        let entry = Entry::new(path("Files/x"), Kind::File { size: 3 }, TIME);
        for data in [&b"ab"[..], b"abcd", b""] {
            let result = Writer::new(Vec::new()).add(&entry, data);
            assert!(matches!(result, Err(LayerError::Size { expected: 3, .. })), "{data:?}");
        }
    }

    #[test]
    fn what_a_reader_would_misunderstand_is_not_written() {
        let long = vec![("A".to_owned(), vec![0; 1 << 20])];
        let mut entry = Entry::new(path("Files/x"), Kind::Directory, TIME);
        entry.extended = long;
        assert!(Writer::new(Vec::new()).add(&entry, &b""[..]).is_err());
        for name in ["Files/.wh.x", "Files/a:b"] {
            let entry = Entry::new(path(name), Kind::Directory, TIME);
            assert!(Writer::new(Vec::new()).add(&entry, &b""[..]).is_err(), "{name}");
        }
    }

    #[test]
    fn long_names_are_split_as_go_splits_them() {
        assert_eq!(split_ustar("short"), None);
        let name = format!("{}/{}", "a".repeat(60), "b".repeat(60));
        assert_eq!(split_ustar(&name), Some((&name[..60], &name[61..])));
        assert_eq!(split_ustar(&format!("a/{}", "b".repeat(120))), None);
    }
}
