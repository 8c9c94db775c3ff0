//! From bytes to entries.

use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::archive::{Archive, Member, MemberKind};
use crate::{Attributes, Entry, FileTime, Kind, LayerError, LayerPath, Root};

/// Prefix of names that stand for a removal (OCI image specification, layer.md).
pub(crate) const WHITEOUT: &str = ".wh.";

/// What follows it for a directory whose lower content is gone.
const OPAQUE: &str = ".wh..opq";

/// Reads a layer tar entry by entry; reading from it yields the data of the current one.
///
/// Memory use does not depend on the layer's size.
pub struct Reader<R> {
    archive: Archive<R>,
    skipped: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the uncompressed tar `input`.
    pub fn new(input: R) -> Self {
        Self { archive: Archive::new(input), skipped: 0 }
    }

    /// Skips what is left of the current entry's data and reads the next entry; `None` at the end.
    ///
    /// # Errors
    /// [`LayerError`] for anything a layer cannot hold; the reader is of no use after that.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, LayerError> {
        while let Some(member) = self.archive.next_member()? {
            match LayerPath::parse(&member.name)? {
                Some(path) => return entry(path, &member).map(Some),
                None => self.skipped += 1,
            }
        }
        Ok(None)
    }

    /// Number of entries left out because they lie below none of the known top-level directories.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Gives the input back, positioned after the tar's first end marker.
    pub fn into_inner(self) -> R {
        self.archive.into_inner()
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.archive.read(buffer)
    }
}

/// The entry that `member` describes.
fn entry(path: LayerPath, member: &Member) -> Result<Entry, LayerError> {
    let (path, kind) = classify(path, member)?;
    let modified = member.modified;
    let directory = matches!(kind, Kind::Directory | Kind::Junction { .. });
    let attributes = match text_record(member, "MSWINDOWS.fileattr")? {
        Some(text) => {
            Attributes(text.parse().map_err(|_| bad(member, "MSWINDOWS.fileattr", "not a number"))?)
        }
        None if directory => Attributes::DIRECTORY,
        None => Attributes::default(),
    };
    let security = member
        .record("MSWINDOWS.rawsd")
        .map(|value| decode(member, "MSWINDOWS.rawsd", value))
        .transpose()?;
    let sddl = match security {
        Some(_) => None,
        None => text_record(member, "MSWINDOWS.sd")?.map(str::to_owned),
    };
    Ok(Entry {
        path,
        kind,
        attributes,
        security,
        sddl,
        created: time(member, "LIBARCHIVE.creationtime")?.unwrap_or(modified),
        modified,
        accessed: time(member, "atime")?,
        changed: time(member, "ctime")?,
        extended: extended(member)?,
    })
}

/// What the entry is, and of what.
fn classify(path: LayerPath, member: &Member) -> Result<(LayerPath, Kind), LayerError> {
    let refused = |detail| LayerError::Name { name: path.to_string(), detail };
    if let Some(name) = path.file_name().strip_prefix(WHITEOUT).filter(|_| !path.is_root()) {
        if !holds_files(&path) {
            return Err(refused("a whiteout outside of Files"));
        }
        let parent = path.parent().ok_or_else(|| refused("a whiteout of nothing"))?;
        return match name {
            OPAQUE => Ok((parent, Kind::OpaqueWhiteout)),
            _ if name.starts_with(WHITEOUT) => Err(refused("a reserved name")),
            _ => Ok((parent.join(name)?, Kind::Whiteout)),
        };
    }
    if path.parent().is_some_and(|parent| parent.rest().contains(':')) {
        return Err(refused("a colon in a directory's name"));
    }
    let plain = !path.file_name().contains(':');
    match member.kind {
        MemberKind::File if !plain => stream(&path, member.size),
        _ if !plain => Err(refused("a colon in the name of what is no stream")),
        MemberKind::File if path.is_root() => Err(refused("a file where a directory belongs")),
        MemberKind::File => Ok((path, Kind::File { size: member.size })),
        MemberKind::Directory => Ok((path, Kind::Directory)),
        MemberKind::HardLink => {
            let target = LayerPath::parse(&member.link)?
                .filter(|target| holds_files(target) && !target.is_root() && holds_files(&path))
                .ok_or_else(|| refused("a hard link outside of Files"))?;
            Ok((path, Kind::HardLink { target }))
        }
        MemberKind::Symlink if path.is_root() => Err(refused("a link where a directory belongs")),
        MemberKind::Symlink => {
            let target = member.link.clone();
            // Presence counts, whatever the value (go-winio, backuptar).
            let junction = member.record("MSWINDOWS.mountpoint").is_some();
            let kind = if junction { Kind::Junction { target } } else { Kind::Symlink { target } };
            Ok((path, kind))
        }
        MemberKind::Other(flag) => {
            Err(LayerError::Kind { name: path.to_string(), flag: char::from(flag) })
        }
    }
}

/// Splits `owner:stream`; a `:$DATA` at the end is accepted.
fn stream(path: &LayerPath, size: u64) -> Result<(LayerPath, Kind), LayerError> {
    let refused = || LayerError::Name { name: path.to_string(), detail: "not a stream's name" };
    let (owner, name) = path.file_name().split_once(':').ok_or_else(refused)?;
    let name = name.strip_suffix(":$DATA").unwrap_or(name);
    if owner.is_empty() || name.is_empty() || name.contains(':') {
        return Err(refused());
    }
    let owner = path.parent().ok_or_else(refused)?.join(owner)?;
    Ok((owner, Kind::Stream { name: name.to_owned(), size }))
}

/// Whether whiteouts and hard links may stand at `path`: below `Files` or `UtilityVM/Files`.
fn holds_files(path: &LayerPath) -> bool {
    match path.root() {
        Root::Files => true,
        Root::Hives => false,
        Root::UtilityVm => path
            .components()
            .next()
            .is_some_and(|first| first.eq_ignore_ascii_case(Root::Files.name())),
    }
}

fn bad(member: &Member, key: &str, detail: &'static str) -> LayerError {
    let name = member.name.chars().take(200).collect();
    LayerError::Record { name, key: key.to_owned(), detail }
}

fn text_record<'a>(member: &'a Member, key: &str) -> Result<Option<&'a str>, LayerError> {
    let value = member.record(key).map(std::str::from_utf8).transpose();
    value.map_err(|_| bad(member, key, "not text"))
}

fn time(member: &Member, key: &str) -> Result<Option<FileTime>, LayerError> {
    let Some(text) = text_record(member, key)? else { return Ok(None) };
    FileTime::from_pax(text).map(Some).ok_or_else(|| bad(member, key, "not a time"))
}

fn decode(member: &Member, key: &str, value: &[u8]) -> Result<Vec<u8>, LayerError> {
    STANDARD.decode(value).map_err(|_| bad(member, key, "not base64"))
}

/// The NTFS extended attributes, sorted by name.
fn extended(member: &Member) -> Result<Vec<(String, Vec<u8>)>, LayerError> {
    let mut found = Vec::new();
    for (key, value) in &member.records {
        if let Some(name) = key.strip_prefix("MSWINDOWS.xattr.") {
            found.push((name.to_owned(), decode(member, key, value)?));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::Reader;
    use crate::{Attributes, Entry, Kind, LayerError};

    /// A tar with one member, made by an independent writer.
    fn tar_of(name: &str, flag: u8, link: &str, records: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        if !records.is_empty() {
            builder.append_pax_extensions(records.iter().copied()).unwrap();
        }
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len().min(100)]
            .copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(tar::EntryType::new(flag));
        header.set_size(0);
        header.set_mode(0);
        header.set_cksum();
        builder.append(&header, &b""[..]).unwrap();
        builder.into_inner().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Option<Entry>, LayerError> {
        Reader::new(bytes).next_entry()
    }

    #[test]
    fn a_layer_without_windows_records_has_defaults() {
        let entry = read(&tar_of("Files/dir/", b'5', "", &[])).unwrap().unwrap();
        assert_eq!((entry.kind, entry.attributes), (Kind::Directory, Attributes::DIRECTORY));
        assert_eq!(entry.created, entry.modified);
    }

    #[test]
    fn whiteouts_are_recognised_whatever_their_type() {
        let entry = read(&tar_of("Files/a/.wh.b", b'5', "", &[])).unwrap().unwrap();
        assert_eq!((entry.path.to_string(), entry.kind), ("Files/a/b".into(), Kind::Whiteout));
        let entry = read(&tar_of("Files/a/.wh..wh..opq", b'0', "", &[])).unwrap().unwrap();
        assert_eq!((entry.path.to_string(), entry.kind), ("Files/a".into(), Kind::OpaqueWhiteout));
    }

    #[test]
    fn any_mountpoint_record_makes_a_junction() {
        let bytes = tar_of("Files/j", b'2', "C:\\Users", &[("MSWINDOWS.mountpoint", b"0")]);
        let kind = read(&bytes).unwrap().unwrap().kind;
        assert_eq!(kind, Kind::Junction { target: "C:\\Users".into() });
    }

    #[test]
    fn both_spellings_of_streams_are_read() {
        for name in ["Files/x.txt:zone", "Files/x.txt:zone:$DATA"] {
            let entry = read(&tar_of(name, b'0', "", &[])).unwrap().unwrap();
            assert_eq!(entry.path.to_string(), "Files/x.txt");
            assert_eq!(entry.kind, Kind::Stream { name: "zone".into(), size: 0 });
        }
    }

    #[test]
    fn hostile_entries_are_refused() {
        for (name, flag, link) in [
            ("../x", b'0', ""),
            ("/Files/x", b'0', ""),
            ("Files/../../x", b'5', ""),
            ("Files/dev", b'3', ""),
            ("Files/dev", b'4', ""),
            ("Files/fifo", b'6', ""),
            ("Files/sparse", b'S', ""),
            ("Files/.wh.", b'0', ""),
            ("Files/.wh...", b'0', ""),
            ("Files/.wh..", b'0', ""),
            ("Files/.wh..wh.plnk", b'0', ""),
            ("Hives/.wh.x", b'0', ""),
            ("UtilityVM/.wh.x", b'0', ""),
            ("Files/x", b'1', "../../etc/passwd"),
            ("Files/x", b'1', "/etc/passwd"),
            ("Files/x", b'1', "Hives/System_Delta"),
            ("Hives/x", b'1', "Files/x"),
            ("Files", b'2', "C:\\"),
            ("Files", b'0', ""),
            ("Files/a:b/c", b'0', ""),
            ("Files/:s", b'0', ""),
            ("Files/a:b:c", b'0', ""),
            ("Files/a:b", b'5', ""),
        ] {
            assert!(read(&tar_of(name, flag, link, &[])).is_err(), "{name} {}", char::from(flag));
        }
    }

    #[test]
    fn bad_records_name_themselves() {
        for (key, value) in [
            ("MSWINDOWS.fileattr", &b"x"[..]),
            ("MSWINDOWS.fileattr", b"-1"),
            ("MSWINDOWS.rawsd", b"***"),
            ("LIBARCHIVE.creationtime", b"soon"),
            ("MSWINDOWS.xattr.a", b"!"),
            ("size", b"-5"),
            ("mtime", b"x"),
        ] {
            let error = read(&tar_of("Files/x", b'0', "", &[(key, value)])).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }

    #[test]
    fn truncation_anywhere_is_an_error_or_an_early_end() {
        let mut bytes = tar_of("Files/x", b'0', "", &[("MSWINDOWS.fileattr", b"32")]);
        bytes.truncate(3 * 512);
        for length in (1..bytes.len()).filter(|length| length % 512 != 0 || *length < 1536) {
            let result = read(&bytes[..length]);
            assert!(result.is_err(), "{length}");
        }
        assert!(read(&bytes).unwrap().is_some());
        assert!(read(b"").unwrap().is_none());
    }

    #[test]
    fn a_giant_extension_is_not_buffered() {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(1 << 40);
        header.set_cksum();
        let input = header.as_bytes().chain(std::io::repeat(b'1'));
        assert!(matches!(Reader::new(input).next_entry(), Err(LayerError::Limit { .. })));
    }

    #[test]
    fn gnu_long_names_are_read() {
        let name = format!("Files/{}", "n".repeat(180));
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        builder.append_data(&mut header, &name, &b"hi"[..]).unwrap();
        let bytes = builder.into_inner().unwrap();
        let mut reader = Reader::new(&bytes[..]);
        assert_eq!(reader.next_entry().unwrap().unwrap().path.to_string(), name);
        let mut data = String::new();
        reader.read_to_string(&mut data).unwrap();
        assert_eq!(data, "hi");
        assert!(reader.next_entry().unwrap().is_none());
    }
}
