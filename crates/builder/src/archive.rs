//! Reading tar archives from clients: build contexts, and the archives that `ADD` unpacks.
//!
//! The extension headers that carry long names are read here rather than by the tar library,
//! which would read one of any length into memory.

mod inflated;

use std::{
    io::{self, BufReader, Read},
    time::{Duration, SystemTime},
};

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType, PaxExtensions};

use crate::ContextError;
use inflated::{Counted, Inflated};

/// Longest extension header: room for paths and links of Windows' 32 767 characters and a bit.
const MAX_EXTENSION: u64 = 256 << 10;

/// Magic numbers at the front of a file.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];

/// Where the header of a tar says that it is one.
const MAGIC: std::ops::Range<usize> = 257..262;

/// What an entry is.
pub(crate) enum EntryKind {
    /// A directory.
    Directory,
    /// A file, whose content comes with it.
    File {
        /// When it was last written.
        modified: Option<SystemTime>,
    },
    /// A symbolic link.
    Link {
        /// Where to.
        target: String,
    },
    /// Another name of an earlier file.
    HardLink {
        /// The earlier name.
        target: String,
    },
}

/// Takes one entry: its path as written, what it is, and its content.
pub(crate) type Visit<'a> =
    dyn FnMut(&str, EntryKind, &mut dyn Read) -> Result<(), ContextError> + 'a;

/// Reads an archive, plain or gzip or zstd, and gives each entry to `visit`.
pub(crate) fn read(input: &mut dyn Read, visit: &mut Visit<'_>) -> Result<(), ContextError> {
    let mut plain = decompress(input)?;
    let mut archive = Archive::new(&mut plain);
    let mut long = Extensions::default();
    for entry in archive.entries().map_err(bad)?.raw(true) {
        let mut entry = entry.map_err(bad)?;
        if long.take(&mut entry)? {
            continue;
        }
        let names = std::mem::take(&mut long);
        one(&mut entry, names, visit)?;
    }
    Ok(())
}

/// Whether the first 512 bytes say that the rest is an archive or something compressed.
pub(crate) fn looks_packed(front: &[u8]) -> bool {
    [GZIP, ZSTD, BZIP2, XZ].iter().any(|magic| front.starts_with(magic))
        || front.get(MAGIC) == Some(b"ustar".as_slice())
}

/// Whether the front of a file says that it is an archive that [`read`] understands. 512 bytes
/// of it, or all when it is shorter, are enough.
pub(crate) fn is_archive(file: &mut dyn Read) -> bool {
    let Ok(plain) = decompress(file) else { return false };
    let mut block = Vec::new();
    let read = plain.take(512).read_to_end(&mut block);
    read.is_ok() && block.get(MAGIC) == Some(b"ustar".as_slice())
}

/// Undoes the compression that the first bytes tell of.
fn decompress<'a>(input: &'a mut dyn Read) -> Result<Box<dyn Read + 'a>, ContextError> {
    let mut front = Vec::new();
    input.take(6).read_to_end(&mut front).map_err(bad)?;
    let whole = io::Cursor::new(front.clone()).chain(input);
    if front.starts_with(GZIP) {
        let (whole, count) = Counted::new(whole);
        return Ok(Box::new(Inflated::new(MultiGzDecoder::new(whole), count)));
    }
    if front.starts_with(ZSTD) {
        let (whole, count) = Counted::new(whole);
        return Ok(Box::new(Inflated::new(zstd::Decoder::with_buffer(whole).map_err(bad)?, count)));
    }
    if front.starts_with(BZIP2) || front.starts_with(XZ) {
        return Err(ContextError::Compression);
    }
    Ok(Box::new(BufReader::new(whole)))
}

/// Names that extension headers give to the entry after them.
#[derive(Default)]
struct Extensions {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Extensions {
    /// Reads an extension header; `false` when the entry is none.
    fn take<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<bool, ContextError> {
        let kind = entry.header().entry_type();
        let known = [
            EntryType::GNULongName,
            EntryType::GNULongLink,
            EntryType::XHeader,
            EntryType::XGlobalHeader,
        ];
        if !known.contains(&kind) {
            return Ok(false);
        }
        if entry.header().entry_size().map_err(bad)? > MAX_EXTENSION {
            return Err(ContextError::LongName { limit: MAX_EXTENSION });
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(bad)?;
        match kind {
            EntryType::GNULongName => self.path = Some(long_name(&bytes)),
            EntryType::GNULongLink => self.link = Some(long_name(&bytes)),
            EntryType::XHeader => self.pax(&bytes)?,
            _ => {}
        }
        Ok(true)
    }

    fn pax(&mut self, bytes: &[u8]) -> Result<(), ContextError> {
        for record in PaxExtensions::new(bytes) {
            let record = record.map_err(bad)?;
            let value = String::from_utf8_lossy(record.value_bytes());
            match record.key_bytes() {
                b"path" => self.path = Some(value.into_owned()),
                b"linkpath" => self.link = Some(value.into_owned()),
                b"size" => self.size = value.parse().ok(),
                _ => {}
            }
        }
        Ok(())
    }
}

fn one<R: Read>(
    entry: &mut Entry<'_, R>,
    names: Extensions,
    visit: &mut Visit<'_>,
) -> Result<(), ContextError> {
    let header = entry.header();
    let path = names.path.unwrap_or_else(|| lossy(&entry.path_bytes()));
    // The library skips by the header's own size, so one that differs would lose the thread.
    if names.size.is_some_and(|size| header.entry_size().ok() != Some(size)) {
        return Err(ContextError::Unsupported { path, what: "a file of 8 GiB or more" });
    }
    let target = || {
        let short = entry.link_name_bytes().map(|name| lossy(&name)).unwrap_or_default();
        names.link.clone().unwrap_or(short)
    };
    let modified = header.mtime().ok().and_then(after_epoch);
    let kind = match header.entry_type() {
        EntryType::Directory => EntryKind::Directory,
        EntryType::Regular | EntryType::Continuous if path.ends_with('/') => EntryKind::Directory,
        EntryType::Regular | EntryType::Continuous => EntryKind::File { modified },
        EntryType::Symlink => EntryKind::Link { target: target() },
        EntryType::Link => EntryKind::HardLink { target: target() },
        EntryType::GNUSparse => {
            return Err(ContextError::Unsupported { path, what: "a sparse file" });
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            return Err(ContextError::Unsupported { path, what: "a device or pipe" });
        }
        _ => return Err(ContextError::Unsupported { path, what: "an entry of unknown kind" }),
    };
    visit(&path, kind, entry)
}

/// A time of the archive; none when it is beyond what the host can tell.
fn after_epoch(seconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn long_name(bytes: &[u8]) -> String {
    lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default())
}

fn bad(source: io::Error) -> ContextError {
    ContextError::Archive { source }
}
