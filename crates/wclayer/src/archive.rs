//! Plain tar archives, read with every size bounded.
//!
//! Layers and `docker load` archives come from strangers, and a tar lets its author choose how
//! much a reader buffers: PAX headers and GNU long names have lengths of their own. This reader
//! buffers at most [`MAX_EXTENSION`] bytes of them, whatever the archive says, and streams the
//! rest.
//!
//! Formats: POSIX.1-2001 (`ustar`, `pax`) and the long names of GNU tar.

use std::io::{self, ErrorKind, Read};

use crate::{FileTime, LayerError};

/// Size of a tar block.
pub const BLOCK: usize = 512;

/// Longest PAX header or GNU long name; Go's `archive/tar` refuses more as well
/// (`maxSpecialFileSize`), so no genuine producer can have written it.
pub const MAX_EXTENSION: u64 = 1 << 20;

/// Most members of an archive. The largest Windows base has about 200 000.
const MAX_MEMBERS: u64 = 4_000_000;

/// Most extension headers before one member.
const MAX_EXTENSIONS: u32 = 4;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file.
    File,
    /// Another name of an earlier member.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// Anything else, by its type flag.
    Other(u8),
}

/// One member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name as it stands in the archive.
    pub name: String,
    /// What it is.
    pub kind: MemberKind,
    /// Target of a link.
    pub link: String,
    /// Length of the data that follows.
    pub size: u64,
    /// Permission bits and whatever else the producer put there.
    pub mode: u32,
    /// When it was last written.
    pub modified: FileTime,
    /// PAX records, in order.
    pub records: Vec<(String, Vec<u8>)>,
}

impl Member {
    /// The last PAX record called `key`.
    #[must_use]
    pub fn record(&self, key: &str) -> Option<&[u8]> {
        find(&self.records, key)
    }
}

fn find<'a>(records: &'a [(String, Vec<u8>)], key: &str) -> Option<&'a [u8]> {
    records.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_slice())
}

/// Reads a tar archive member by member; reading from it yields the data of the current one.
pub struct Archive<R> {
    input: R,
    offset: u64,
    remaining: u64,
    padding: u64,
    members: u64,
}

/// What extension headers say of the next member.
#[derive(Default)]
struct Extensions {
    name: Option<String>,
    link: Option<String>,
    records: Vec<(String, Vec<u8>)>,
}

impl<R: Read> Archive<R> {
    /// Reads the uncompressed archive `input`.
    pub fn new(input: R) -> Self {
        Self { input, offset: 0, remaining: 0, padding: 0, members: 0 }
    }

    /// Offset of the next byte to be read.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Gives the input back.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// Skips what is left of the current member and reads the next one; `None` at the end.
    ///
    /// # Errors
    /// [`LayerError`]; the archive is of no use after that.
    pub fn next_member(&mut self) -> Result<Option<Member>, LayerError> {
        let mut extensions = Extensions::default();
        let mut headers = 0;
        loop {
            self.skip_data()?;
            let start = self.offset;
            let Some(header) = self.read_header()? else {
                return if headers == 0 { Ok(None) } else { Err(self.truncated()) };
            };
            let flag = header[156];
            let size = number(&header[124..136])
                .ok_or(LayerError::Header { offset: start, detail: "bad size" })?;
            if !matches!(flag, b'x' | b'g' | b'L' | b'K') {
                return self.member(&header, start, size, extensions).map(Some);
            }
            headers += 1;
            if headers > MAX_EXTENSIONS {
                return Err(LayerError::Header { offset: start, detail: "too many extensions" });
            }
            let body = self.read_extension(size)?;
            match flag {
                b'x' => extensions.records = parse_records(&body, start)?,
                b'L' => extensions.name = Some(text(&body)?),
                b'K' => extensions.link = Some(text(&body)?),
                // Global records are comments of `git archive`; no layer producer writes them.
                _ => {}
            }
        }
    }

    /// Builds the member that `header` and the extensions before it describe.
    fn member(
        &mut self,
        header: &[u8; BLOCK],
        start: u64,
        size: u64,
        extensions: Extensions,
    ) -> Result<Member, LayerError> {
        self.members += 1;
        if self.members > MAX_MEMBERS {
            return Err(LayerError::Limit { what: "entries", limit: MAX_MEMBERS });
        }
        let Extensions { name, link, records } = extensions;
        let pax_text = |key| find(&records, key).map(text).transpose();
        let name = match (pax_text("path")?, name) {
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => header_name(header)?,
        };
        let link = match (pax_text("linkpath")?, link) {
            (Some(link), _) | (None, Some(link)) => link,
            (None, None) => text(&header[157..257])?,
        };
        let bad = |key: &str, detail| LayerError::Record {
            name: shortened(&name),
            key: key.to_owned(),
            detail,
        };
        if records.iter().any(|(key, _)| key.starts_with("GNU.sparse.")) {
            return Err(LayerError::Kind { name: shortened(&name), flag: 'S' });
        }
        let size = match pax_text("size")? {
            Some(size) => size.parse().map_err(|_| bad("size", "not a number"))?,
            None => size,
        };
        let modified = match pax_text("mtime")? {
            Some(time) => FileTime::from_pax(&time).ok_or_else(|| bad("mtime", "not a time"))?,
            None => FileTime::from_unix(
                number(&header[136..148]).and_then(|s| i64::try_from(s).ok()).unwrap_or(0),
                0,
            ),
        };
        let kind = match header[156] {
            0 | b'0' | b'7' if name.ends_with('/') => MemberKind::Directory,
            0 | b'0' | b'7' => MemberKind::File,
            b'1' => MemberKind::HardLink,
            b'2' => MemberKind::Symlink,
            b'5' => MemberKind::Directory,
            other => MemberKind::Other(other),
        };
        // Only files have data, whatever the size field of the others says (as in Go).
        let size = match (kind, header[156]) {
            (MemberKind::File, _) => size,
            (MemberKind::Other(flag), _) if !matches!(flag, b'3' | b'4' | b'6') => size,
            _ => 0,
        };
        self.expect_data(size, start)?;
        let mode = number(&header[100..108]).and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0);
        Ok(Member { name, kind, link, size, mode, modified, records })
    }

    /// Notes that `size` bytes of data and their padding follow.
    fn expect_data(&mut self, size: u64, start: u64) -> Result<(), LayerError> {
        const LARGEST: u64 = 1 << 62;
        if size > LARGEST {
            return Err(LayerError::Header { offset: start, detail: "impossible size" });
        }
        self.remaining = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    /// Reads the body of an extension header.
    fn read_extension(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        if size > MAX_EXTENSION {
            return Err(LayerError::Limit { what: "bytes of PAX records", limit: MAX_EXTENSION });
        }
        self.expect_data(size, self.offset)?;
        let mut body = Vec::new();
        let failed = |offset, source| LayerError::Io { attempt: "read", offset, source };
        let offset = self.offset;
        self.read_to_end(&mut body).map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => LayerError::Truncated { offset },
            _ => failed(offset, source),
        })?;
        Ok(body)
    }

    /// Reads the next header; `None` at the end marker or where the input ends between members.
    fn read_header(&mut self) -> Result<Option<[u8; BLOCK]>, LayerError> {
        let start = self.offset;
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.read_input(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(self.truncated()),
                count => filled += count,
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        check_sum(&block).map_err(|detail| LayerError::Header { offset: start, detail })?;
        Ok(Some(block))
    }

    /// Skips the rest of the current member's data and its padding.
    fn skip_data(&mut self) -> Result<(), LayerError> {
        let mut scrap = [0; 16 * 1024];
        loop {
            let left = self.remaining + self.padding;
            if left == 0 {
                return Ok(());
            }
            let chunk = usize::try_from(left).unwrap_or(usize::MAX).min(scrap.len());
            let count = self.read_input(&mut scrap[..chunk])?;
            if count == 0 {
                return Err(self.truncated());
            }
            let from_data = self.remaining.min(count as u64);
            self.remaining -= from_data;
            self.padding -= count as u64 - from_data;
        }
    }

    fn truncated(&self) -> LayerError {
        LayerError::Truncated { offset: self.offset }
    }

    fn read_input(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        let offset = self.offset;
        self.read_counted(buffer).map_err(|source| LayerError::Io {
            attempt: "read",
            offset,
            source,
        })
    }

    fn read_counted(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.input.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(count) => {
                    self.offset += count as u64;
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if chunk == 0 {
            return Ok(0);
        }
        let count = self.read_counted(&mut buffer[..chunk])?;
        if count == 0 {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the archive ends in the middle of a member",
            ));
        }
        self.remaining -= count as u64;
        Ok(count)
    }
}

/// Name from the header's own fields.
fn header_name(header: &[u8; BLOCK]) -> Result<String, LayerError> {
    let name = text(&header[..100])?;
    // GNU tar's magic ends in spaces, and its prefix field holds other things.
    if &header[257..263] != b"ustar\0" {
        return Ok(name);
    }
    let prefix = text(&header[345..500])?;
    Ok(if prefix.is_empty() { name } else { format!("{prefix}/{name}") })
}

/// Text up to the first NUL.
fn text(bytes: &[u8]) -> Result<String, LayerError> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let bytes = &bytes[..end];
    String::from_utf8(bytes.to_vec()).map_err(|_| LayerError::Name {
        name: shortened(&String::from_utf8_lossy(bytes)),
        detail: "not UTF-8",
    })
}

/// `name` cut to what an error message can show.
fn shortened(name: &str) -> String {
    name.chars().take(200).collect()
}

/// Octal number with blanks around, or GNU's base 256 for large ones; empty is 0.
fn number(field: &[u8]) -> Option<u64> {
    if field.first().is_some_and(|byte| byte & 0x80 != 0) {
        let mut bytes = field.to_vec();
        bytes[0] &= 0x7f;
        return bytes
            .iter()
            .try_fold(0_u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let digits = std::str::from_utf8(&field[..end]).ok()?.trim_matches(' ');
    if digits.is_empty() {
        return Some(0);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    u64::from_str_radix(digits, 8).ok()
}

/// Compares the header's checksum, as unsigned bytes or as old tars have it, signed ones.
fn check_sum(block: &[u8; BLOCK]) -> Result<(), &'static str> {
    let stored = number(&block[148..156]).ok_or("bad checksum field")?;
    let counted = |at: usize, byte: u8| if (148..156).contains(&at) { b' ' } else { byte };
    let bytes = || block.iter().enumerate().map(|(at, byte)| counted(at, *byte));
    let unsigned: u64 = bytes().map(u64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    if stored == unsigned || i64::try_from(stored) == Ok(signed) {
        Ok(())
    } else {
        Err("wrong checksum")
    }
}

/// Splits PAX records `LENGTH KEY=VALUE\n`.
fn parse_records(mut body: &[u8], offset: u64) -> Result<Vec<(String, Vec<u8>)>, LayerError> {
    let bad = || LayerError::Header { offset, detail: "bad PAX record" };
    let mut records = Vec::new();
    while !body.is_empty() {
        let blank = body.iter().take(20).position(|byte| *byte == b' ').ok_or_else(bad)?;
        let digits = std::str::from_utf8(&body[..blank]).map_err(|_| bad())?;
        let length: usize = digits.parse().map_err(|_| bad())?;
        let record = body.get(blank + 1..length).ok_or_else(bad)?;
        let record = record.strip_suffix(b"\n").ok_or_else(bad)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        let key = String::from_utf8(record[..equals].to_vec()).map_err(|_| bad())?;
        records.push((key, record[equals + 1..].to_vec()));
        body = &body[length..];
    }
    Ok(records)
}
