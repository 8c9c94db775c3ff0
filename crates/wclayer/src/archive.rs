//! Plain tar archives, read with every size bounded.
//!
//! Layers and `docker load` archives come from strangers, and a tar lets its author choose how
//! much a reader buffers: PAX headers and GNU long names have lengths of their own. This reader
//! buffers at most [`MAX_EXTENSION`] bytes of them, whatever the archive says, and streams the
//! rest.
//!
//! Formats: POSIX.1-2001 (`ustar`, `pax`) and the long names of GNU tar.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};

use crate::{FileTime, LayerError};

pub use crate::records::Records;

/// Size of a tar block.
pub const BLOCK: usize = 512;

/// Longest PAX header or GNU long name; Go's `archive/tar` refuses more as well
/// (`maxSpecialFileSize`), so no genuine producer can have written it.
pub const MAX_EXTENSION: u64 = 1 << 20;

/// Most members of an archive. The largest Windows base has about 200 000.
const MAX_MEMBERS: u64 = 2_000_000;

/// Most extension headers before one member.
const MAX_EXTENSIONS: u32 = 4;

/// How much is read at once. Headers are small and what is below often decompresses or digests,
/// which is dear in small pieces.
const BUFFER: usize = 64 * 1024;

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
    /// PAX records.
    pub records: Records,
}

/// Reads a tar archive member by member; reading from it yields the data of the current one.
///
/// It reads ahead by itself: the input needs no buffer.
pub struct Archive<R> {
    input: BufReader<R>,
    offset: u64,
    remaining: u64,
    padding: u64,
    members: u64,
    ended: bool,
}

/// What extension headers say of the next member.
#[derive(Default)]
struct Extensions {
    name: Option<String>,
    link: Option<String>,
    records: Records,
}

impl<R: Read> Archive<R> {
    /// Reads the uncompressed archive `input`.
    pub fn new(input: R) -> Self {
        let input = BufReader::with_capacity(BUFFER, input);
        Self { input, offset: 0, remaining: 0, padding: 0, members: 0, ended: false }
    }

    /// Offset of the next byte to be read.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Gives the input back, from which some more than [`Archive::offset`] may have been read.
    pub fn into_inner(self) -> R {
        self.input.into_inner()
    }

    /// Skips what is left of the current member and reads the next one; `None` at the end, which
    /// is two empty blocks, or where the input ends between members.
    ///
    /// # Errors
    /// [`LayerError`]; the archive is of no use after that.
    pub fn next_member(&mut self) -> Result<Option<Member>, LayerError> {
        let mut extensions = Extensions::default();
        let mut headers = 0;
        loop {
            self.skip_data()?;
            let start = self.offset;
            let Some(header) = self.next_header()? else {
                return if headers == 0 { Ok(None) } else { Err(self.truncated()) };
            };
            let flag = header[156];
            let size =
                size_of(&header).ok_or(LayerError::Header { offset: start, detail: "bad size" })?;
            if !matches!(flag, b'x' | b'g' | b'L' | b'K') {
                return self.member(&header, start, size, extensions).map(Some);
            }
            headers += 1;
            if headers > MAX_EXTENSIONS {
                return Err(LayerError::Header { offset: start, detail: "too many extensions" });
            }
            let body = self.read_extension(size, start)?;
            match flag {
                b'x' => extensions.records = Records::parse(body, start)?,
                b'L' => extensions.name = Some(text(&body)?),
                b'K' => extensions.link = Some(text(&body)?),
                // Global records are comments of `git archive`; Go does not apply them either.
                _ => {}
            }
        }
    }

    /// Copies what is left of the current member's data to `output`, without a buffer between.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedEof`] when the archive ends before, and those of both sides.
    pub fn copy_to(&mut self, output: &mut impl Write) -> io::Result<u64> {
        let mut copied = 0;
        loop {
            let data = match self.fill_buf() {
                Ok([]) => return Ok(copied),
                Ok(data) => data,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            output.write_all(data)?;
            let count = data.len();
            self.consume(count);
            copied += count as u64;
        }
    }

    /// Lets nobody read what is left of the current member's data.
    pub(crate) fn drop_data(&mut self) {
        self.padding += std::mem::take(&mut self.remaining);
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
        let pax = Standard::of(&records)?;
        let both = (pax.path.is_some() && name.is_some()) || (pax.link.is_some() && link.is_some());
        if both {
            // Readers disagree on which of the two counts.
            return Err(LayerError::Header { offset: start, detail: "both PAX and GNU names" });
        }
        let name = match pax.path.or(name) {
            Some(name) => name,
            None => header_name(header)?,
        };
        let link = match pax.link.or(link) {
            Some(link) => link,
            None => text(&header[157..257])?,
        };
        let bad = |key: &str, detail| LayerError::Record {
            name: shortened(&name),
            key: key.to_owned(),
            detail,
        };
        if pax.sparse {
            return Err(LayerError::Kind { name: shortened(&name), flag: 'S' });
        }
        let size = match pax.size {
            Some(size) => parse_text(size).ok_or_else(|| bad("size", "not a number"))?,
            None => size,
        };
        let modified = match pax.modified {
            Some(time) => std::str::from_utf8(time)
                .ok()
                .and_then(FileTime::from_pax)
                .ok_or_else(|| bad("mtime", "not a time"))?,
            None => FileTime::from_unix(number(&header[136..148]).unwrap_or(0), 0),
        };
        // These have no data, whatever their size field says (Go's `isHeaderOnlyType`).
        self.expect_data(if matches!(header[156], b'1'..=b'6') { 0 } else { size }, start)?;
        let kind = member_kind(header[156], &name);
        if kind == MemberKind::Directory {
            // Old archives have directories that are files with a slash; their data is nobody's.
            self.drop_data();
        }
        let mode = number(&header[100..108]).and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0);
        Ok(Member { name, kind, link, size: self.remaining, mode, modified, records })
    }

    /// Notes that `size` bytes of data and their padding follow.
    fn expect_data(&mut self, size: u64, start: u64) -> Result<(), LayerError> {
        if size > i64::MAX.unsigned_abs() - BLOCK as u64 {
            return Err(LayerError::Header { offset: start, detail: "impossible size" });
        }
        self.remaining = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    /// Reads the body of an extension header.
    fn read_extension(&mut self, size: u64, start: u64) -> Result<Vec<u8>, LayerError> {
        if size > MAX_EXTENSION {
            return Err(LayerError::Limit { what: "bytes of PAX records", limit: MAX_EXTENSION });
        }
        self.expect_data(size, start)?;
        let mut body = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        match self.copy_to(&mut body) {
            Ok(_) => Ok(body),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Reads the next header; `None` at the end.
    fn next_header(&mut self) -> Result<Option<[u8; BLOCK]>, LayerError> {
        if self.ended {
            return Ok(None);
        }
        let start = self.offset;
        let block = match self.read_block()? {
            Some(block) if is_empty(&block) => match self.read_block()? {
                // One empty block and nothing more is an end, too; one and more is not.
                None => None,
                Some(second) if is_empty(&second) => None,
                Some(_) => {
                    let detail = "data after an empty block";
                    return Err(LayerError::Header { offset: start, detail });
                }
            },
            block => block,
        };
        match &block {
            Some(block) => {
                check_sum(block).map_err(|detail| LayerError::Header { offset: start, detail })?;
            }
            None => self.ended = true,
        }
        Ok(block)
    }

    /// Reads a block; `None` where the input ends before it.
    fn read_block(&mut self) -> Result<Option<[u8; BLOCK]>, LayerError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.truncated()),
                Ok(count) => {
                    filled += count;
                    self.offset += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(Some(block))
    }

    /// Skips the rest of the current member's data and its padding.
    fn skip_data(&mut self) -> Result<(), LayerError> {
        // From here on the padding is data like the rest.
        self.remaining += std::mem::take(&mut self.padding);
        match self.copy_to(&mut io::sink()) {
            Ok(_) => Ok(()),
            Err(source) => Err(self.failed(source)),
        }
    }

    fn truncated(&self) -> LayerError {
        LayerError::Truncated { offset: self.offset }
    }

    fn failed(&self, source: io::Error) -> LayerError {
        match source.kind() {
            ErrorKind::UnexpectedEof => self.truncated(),
            _ => LayerError::Io { attempt: "read", offset: self.offset, source },
        }
    }
}

impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if chunk == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..chunk])?;
        if count == 0 {
            return Err(ends_in_member());
        }
        self.remaining -= count as u64;
        self.offset += count as u64;
        Ok(count)
    }
}

impl<R: Read> BufRead for Archive<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let data = self.input.fill_buf()?;
        if data.is_empty() {
            return Err(ends_in_member());
        }
        let count = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(data.len());
        Ok(&data[..count])
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.remaining -= count as u64;
        self.offset += count as u64;
    }
}

fn ends_in_member() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the archive ends in the middle of a member")
}

/// The PAX records that replace fields of the header. An empty value leaves the field (Go's
/// `mergePAX`).
#[derive(Default)]
struct Standard<'a> {
    path: Option<String>,
    link: Option<String>,
    size: Option<&'a [u8]>,
    modified: Option<&'a [u8]>,
    /// Whether the data is in one of GNU's sparse formats.
    sparse: bool,
}

impl<'a> Standard<'a> {
    fn of(records: &'a Records) -> Result<Self, LayerError> {
        let mut found = Self::default();
        for (key, value) in records.iter() {
            match key {
                "path" => found.path = (!value.is_empty()).then(|| text(value)).transpose()?,
                "linkpath" => found.link = (!value.is_empty()).then(|| text(value)).transpose()?,
                "size" => found.size = (!value.is_empty()).then_some(value),
                "mtime" => found.modified = (!value.is_empty()).then_some(value),
                _ => found.sparse |= key.starts_with("GNU.sparse."),
            }
        }
        Ok(found)
    }
}

/// What a member with the type flag `flag` is.
fn member_kind(flag: u8, name: &str) -> MemberKind {
    match flag {
        0 | b'0' | b'7' if name.ends_with('/') => MemberKind::Directory,
        0 | b'0' | b'7' => MemberKind::File,
        b'1' => MemberKind::HardLink,
        b'2' => MemberKind::Symlink,
        b'5' => MemberKind::Directory,
        other => MemberKind::Other(other),
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
pub(crate) fn shortened(name: &str) -> String {
    name.chars().take(200).collect()
}

/// The size field.
fn size_of(header: &[u8; BLOCK]) -> Option<u64> {
    number(&header[124..136]).and_then(|size| u64::try_from(size).ok())
}

/// Decimal number.
fn parse_text(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Octal number with blanks or NULs around, or GNU's base 256 in two's complement for those that
/// are large or negative; empty is 0.
fn number(field: &[u8]) -> Option<i64> {
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        // Bit 6 of the first byte is the sign.
        let start = i64::from(first & 0x7f) - if first & 0x40 != 0 { 0x80 } else { 0 };
        return rest
            .iter()
            .try_fold(start, |sum, byte| sum.checked_mul(256)?.checked_add(i64::from(*byte)));
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let digits = &digits[..digits.iter().position(blank).unwrap_or(digits.len())];
    digits.iter().try_fold(0_i64, |sum, digit| match digit {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

fn is_empty(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

/// Compares the header's checksum, as unsigned bytes or as old tars have it, signed ones.
fn check_sum(block: &[u8; BLOCK]) -> Result<(), &'static str> {
    let stored = number(&block[148..156]).ok_or("bad checksum field")?;
    // The field itself counts as blanks.
    let sum = |value: fn(u8) -> i64| {
        let bytes = |part: &[u8]| part.iter().map(|byte| value(*byte)).sum::<i64>();
        bytes(block) - bytes(&block[148..156]) + 8 * i64::from(b' ')
    };
    if stored == sum(i64::from) || stored == sum(|byte| byte.cast_signed().into()) {
        Ok(())
    } else {
        Err("wrong checksum")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::{Archive, BLOCK, MemberKind, number};
    use crate::LayerError;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644     ", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777", Some(0o77_777_777)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"0000008\0", None),
            (b"+000001\0", None),
            (b"-000001\0", None),
            (b"", Some(0)),
        ] {
            assert_eq!(number(field), expected, "{}", field.escape_ascii());
        }
    }

    /// A header with a right checksum.
    fn header(name: &str, flag: u8, size: &str) -> [u8; BLOCK] {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().size[..size.len()].copy_from_slice(size.as_bytes());
        header.set_entry_type(tar::EntryType::new(flag));
        header.set_mode(0);
        header.set_cksum();
        *header.as_bytes()
    }

    fn names(bytes: &[u8]) -> Result<Vec<String>, LayerError> {
        let mut archive = Archive::new(bytes);
        let mut names = Vec::new();
        while let Some(member) = archive.next_member()? {
            names.push(member.name);
        }
        assert_eq!(archive.next_member()?, None);
        Ok(names)
    }

    #[test]
    fn the_end_is_two_empty_blocks_or_none() {
        let one = header("a", b'0', "0");
        let empty = [0; BLOCK];
        for end in [0, 1, 2, 3, 20] {
            let bytes = [&one[..], &empty.repeat(end)].concat();
            assert_eq!(names(&bytes).unwrap(), ["a"], "{end}");
        }
        let garbage = [&one[..], &empty, &empty, b"garbage", &one].concat();
        assert_eq!(names(&garbage).unwrap(), ["a"]);
        let hidden = [&one[..], &empty, &one].concat();
        assert!(matches!(names(&hidden), Err(LayerError::Header { .. })));
    }

    #[test]
    fn data_of_what_is_called_a_directory_is_no_header() {
        let inner = header("hidden", b'0', "0");
        let bytes = [&header("dir/", b'0', "1000")[..], &inner, &header("b", b'0', "0")].concat();
        assert_eq!(names(&bytes).unwrap(), ["dir/", "b"]);
        // Real directories have no data even when they state a size.
        let bytes = [&header("dir", b'5', "1000")[..], &inner].concat();
        assert_eq!(names(&bytes).unwrap(), ["dir", "hidden"]);
    }

    #[test]
    fn two_ways_of_naming_one_member_are_refused() {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("path", &b"one"[..])]).unwrap();
        let mut long = tar::Header::new_gnu();
        long.set_size(1);
        builder.append_data(&mut long, "n".repeat(200), &b"x"[..]).unwrap();
        assert!(matches!(names(&builder.into_inner().unwrap()), Err(LayerError::Header { .. })));
    }

    #[test]
    fn copying_is_bounded_by_the_member() {
        let bytes = [&header("a", b'0', "3")[..], &[7; BLOCK], &header("b", b'0', "0")].concat();
        let mut archive = Archive::new(&bytes[..]);
        assert_eq!(archive.next_member().unwrap().unwrap().kind, MemberKind::File);
        let (mut first, mut copied) = ([0; 1], Vec::new());
        archive.read_exact(&mut first).unwrap();
        assert_eq!(archive.copy_to(&mut copied).unwrap(), 2);
        assert_eq!(copied, [7, 7]);
        assert_eq!(archive.next_member().unwrap().unwrap().name, "b");
        let mut cut = Archive::new(&bytes[..BLOCK + 1]);
        cut.next_member().unwrap();
        assert!(cut.copy_to(&mut copied).is_err());
    }
}
