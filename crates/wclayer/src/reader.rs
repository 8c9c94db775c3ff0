//! From bytes to entries.

use std::io::{self, BufRead, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::archive::{Archive, Member, MemberKind, shortened};
use crate::names::Names;
use crate::path::MAX_PATH_BYTES;
use crate::{Attributes, Entry, FileTime, Kind, LayerError, LayerPath, Root, sddl};

/// Prefix of names that stand for a removal (OCI image specification, layer.md).
pub(crate) const WHITEOUT: &str = ".wh.";

/// What follows it for a directory whose lower content is gone.
const OPAQUE: &str = ".wh..opq";

/// Reads a layer tar entry by entry; reading from it yields the data of the current one.
///
/// Memory use does not depend on the layer's size, but for eight bytes a name, by which a name
/// that comes twice is found.
pub struct Reader<R> {
    archive: Archive<R>,
    names: Names,
    skipped: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the uncompressed tar `input`, which needs no buffer.
    pub fn new(input: R) -> Self {
        Self { archive: Archive::new(input), names: Names::default(), skipped: 0 }
    }

    /// Skips what is left of the current entry's data and reads the next entry; `None` at the end.
    ///
    /// # Errors
    /// [`LayerError`] for anything a layer cannot hold; the reader is of no use after that.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, LayerError> {
        while let Some(member) = self.archive.next_member()? {
            let Some(path) = LayerPath::parse(&member.name)? else {
                self.skipped += 1;
                continue;
            };
            let entry = entry(path, member)?;
            self.names.admit(&entry)?;
            if entry.size() == 0 {
                // A whiteout may come with data, which means nothing.
                self.archive.drop_data();
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }

    /// Copies what is left of the current entry's data to `output`, without a buffer between.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the layer ends before, and those of both sides.
    pub fn copy_to(&mut self, output: &mut impl Write) -> io::Result<u64> {
        self.archive.copy_to(output)
    }

    /// Number of entries left out because they lie below none of the known top-level directories.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Gives the input back, read to some place after the tar's end marker.
    pub fn into_inner(self) -> R {
        self.archive.into_inner()
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.archive.read(buffer)
    }
}

impl<R: Read> BufRead for Reader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.archive.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.archive.consume(count);
    }
}

/// What the PAX records of an entry say. Of records with the same key the last one counts.
#[derive(Default)]
struct Recorded {
    attributes: Option<Attributes>,
    security: Option<Vec<u8>>,
    sddl: Option<String>,
    mountpoint: bool,
    created: Option<FileTime>,
    accessed: Option<FileTime>,
    changed: Option<FileTime>,
    extended: Vec<(String, Vec<u8>)>,
}

impl Recorded {
    fn of(member: &Member) -> Result<Self, LayerError> {
        let mut found = Self::default();
        for (key, value) in member.records.iter() {
            let bad = |detail| LayerError::Record {
                name: shortened(&member.name),
                key: shortened(key),
                detail,
            };
            let text = || std::str::from_utf8(value).map_err(|_| bad("not text"));
            let time = || FileTime::from_pax(text()?).ok_or_else(|| bad("not a time"));
            let decode = || STANDARD.decode(value).map_err(|_| bad("not base64"));
            match key {
                "MSWINDOWS.fileattr" => {
                    let bits = text()?.parse().map_err(|_| bad("not a number"))?;
                    found.attributes = Some(Attributes(bits));
                }
                "MSWINDOWS.rawsd" => found.security = Some(decode()?),
                "MSWINDOWS.sd" => found.sddl = Some(text()?.to_owned()),
                // Presence counts, whatever the value (go-winio, backuptar).
                "MSWINDOWS.mountpoint" => found.mountpoint = true,
                "LIBARCHIVE.creationtime" => found.created = Some(time()?),
                "atime" if !value.is_empty() => found.accessed = Some(time()?),
                "ctime" if !value.is_empty() => found.changed = Some(time()?),
                _ => {
                    if let Some(name) = key.strip_prefix("MSWINDOWS.xattr.") {
                        found.extended.push((name.to_owned(), decode()?));
                    }
                }
            }
        }
        found.settle();
        Ok(found)
    }

    /// Chooses between what was said twice.
    fn settle(&mut self) {
        // The sort is stable: of equal names the last one is the last one said.
        self.extended.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.extended.reverse();
        self.extended.dedup_by(|(a, _), (b, _)| a == b);
        self.extended.reverse();
        if self.security.is_none() {
            self.security = self.sddl.as_deref().and_then(sddl::parse);
        }
        if self.security.is_some() {
            self.sddl = None;
        }
    }
}

/// The entry that `member` describes.
fn entry(path: LayerPath, member: Member) -> Result<Entry, LayerError> {
    let recorded = Recorded::of(&member)?;
    let modified = member.modified;
    let (path, kind) = classify(path, member, recorded.mountpoint)?;
    let usual = match kind {
        Kind::Directory | Kind::Junction { .. } => Attributes::DIRECTORY,
        _ => Attributes::default(),
    };
    Ok(Entry {
        path,
        kind,
        attributes: recorded.attributes.unwrap_or(usual),
        security: recorded.security,
        sddl: recorded.sddl,
        created: recorded.created.unwrap_or(modified),
        modified,
        accessed: recorded.accessed,
        changed: recorded.changed,
        extended: recorded.extended,
    })
}

/// What the entry is, and of what.
fn classify(
    path: LayerPath,
    member: Member,
    junction: bool,
) -> Result<(LayerPath, Kind), LayerError> {
    let refused = |detail| LayerError::Name { name: path.to_string(), detail };
    if let Some(name) = path.file_name().strip_prefix(WHITEOUT).filter(|_| !path.is_root()) {
        return whiteout(&path, name);
    }
    if path.parent().is_some_and(|parent| parent.rest().contains(':')) {
        return Err(refused("a colon in a directory's name"));
    }
    if path.root() == Root::UtilityVm && !path.is_root() && !in_files(&path) {
        return Err(refused("a utility VM holds nothing but Files"));
    }
    let plain = !path.file_name().contains(':');
    match member.kind {
        MemberKind::File if !plain => stream(&path, member.size),
        _ if !plain => Err(refused("a colon in the name of what is no stream")),
        MemberKind::Directory => Ok((path, Kind::Directory)),
        MemberKind::Other(flag) => {
            Err(LayerError::Kind { name: path.to_string(), flag: char::from(flag) })
        }
        _ if is_top(&path) => Err(refused("a directory belongs there")),
        MemberKind::File => Ok((path, Kind::File { size: member.size })),
        MemberKind::HardLink => {
            let target = LayerPath::parse(&member.link)?
                .filter(|target| in_files(target) && !is_top(target) && in_files(&path))
                .ok_or_else(|| refused("a hard link outside of Files"))?;
            if target.file_name().contains(':') || target == path {
                return Err(refused("a hard link to a stream or to itself"));
            }
            Ok((path, Kind::HardLink { target }))
        }
        MemberKind::Symlink if !in_files(&path) => Err(refused("a link outside of Files")),
        MemberKind::Symlink => {
            let target = member.link;
            if target.is_empty() || target.len() > MAX_PATH_BYTES {
                return Err(refused("a link whose target is empty or too long"));
            }
            let kind = if junction { Kind::Junction { target } } else { Kind::Symlink { target } };
            Ok((path, kind))
        }
    }
}

/// What the entry `.wh.NAME` at `path` removes.
fn whiteout(path: &LayerPath, name: &str) -> Result<(LayerPath, Kind), LayerError> {
    let refused = |detail| LayerError::Name { name: path.to_string(), detail };
    if !in_files(path) {
        return Err(refused("a whiteout outside of Files"));
    }
    let parent = path.parent().ok_or_else(|| refused("a whiteout of nothing"))?;
    if path.root() == Root::UtilityVm && parent.is_root() {
        return Err(refused("a whiteout outside of Files"));
    }
    match name {
        OPAQUE => Ok((parent, Kind::OpaqueWhiteout)),
        _ if name.starts_with(WHITEOUT) => Err(refused("a reserved name")),
        _ => Ok((parent.join(name)?, Kind::Whiteout)),
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

/// Whether `path` is in a tree of files: `Files` or `UtilityVM/Files`.
fn in_files(path: &LayerPath) -> bool {
    match path.root() {
        Root::Files => true,
        Root::Hives => false,
        Root::UtilityVm => path
            .components()
            .next()
            .is_some_and(|first| first.eq_ignore_ascii_case(Root::Files.name())),
    }
}

/// Whether `path` is one of the directories that make up a layer.
fn is_top(path: &LayerPath) -> bool {
    path.is_root() || (path.root() == Root::UtilityVm && path.components().nth(1).is_none())
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
    fn data_of_whiteouts_is_nobodys() {
        let mut builder = tar::Builder::new(Vec::new());
        for name in ["Files/.wh.a", "Files/b"] {
            let mut header = tar::Header::new_ustar();
            header.set_size(3);
            builder.append_data(&mut header, name, &b"abc"[..]).unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        let mut reader = Reader::new(&bytes[..]);
        let mut data = Vec::new();
        for expected in [&b""[..], b"abc"] {
            reader.next_entry().unwrap().unwrap();
            reader.read_to_end(&mut data).unwrap();
            assert_eq!(data, expected);
        }
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
            let mut bytes = tar_of("Files/x.txt", b'0', "", &[]);
            bytes.truncate(512);
            bytes.extend(tar_of(name, b'0', "", &[]));
            let mut reader = Reader::new(&bytes[..]);
            reader.next_entry().unwrap();
            let entry = reader.next_entry().unwrap().unwrap();
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
            ("Files/a:s", b'0', ""),
            ("UtilityVM/x", b'0', ""),
            ("UtilityVM/x/y", b'5', ""),
            ("UtilityVM/Files", b'0', ""),
            ("UtilityVM/Files", b'2', "C:\\"),
            ("UtilityVM/.wh.Files", b'0', ""),
            ("Hives/System_Delta", b'2', "/etc/shadow"),
            ("Files/x", b'1', "Files/x"),
            ("Files/x", b'1', "Files/y:s"),
            ("Files/x", b'1', "Files"),
            ("Files/x", b'1', "UtilityVM/Files"),
            ("Files/x", b'2', ""),
            ("Files\\..\\x", b'0', ""),
            ("Files/C:/x", b'0', ""),
            ("C:/Files/x", b'0', ""),
            ("Files/a:b", b'5', ""),
        ] {
            assert!(read(&tar_of(name, flag, link, &[])).is_err(), "{name} {}", char::from(flag));
        }
    }

    #[test]
    fn the_last_of_equal_records_counts() {
        let records: [(&str, &[u8]); 6] = [
            ("MSWINDOWS.fileattr", b"1"),
            ("MSWINDOWS.xattr.b", b"AA=="),
            ("MSWINDOWS.xattr.a", b"AA=="),
            ("MSWINDOWS.xattr.b", b"AQ=="),
            ("MSWINDOWS.fileattr", b"2"),
            ("atime", b""),
        ];
        let entry = read(&tar_of("Files/x", b'0', "", &records)).unwrap().unwrap();
        assert_eq!(entry.attributes, Attributes::HIDDEN);
        assert_eq!(entry.extended, [("a".into(), vec![0]), ("b".into(), vec![1])]);
        assert_eq!(entry.accessed, None);
    }

    #[test]
    fn descriptors_as_text_count_when_there_is_no_other() {
        let of = |records: &[(&str, &[u8])]| {
            let entry = read(&tar_of("Files/x", b'0', "", records)).unwrap().unwrap();
            (entry.security, entry.sddl)
        };
        let text = ("MSWINDOWS.sd", &b"O:BAG:BA"[..]);
        assert!(matches!(of(&[text]), (Some(bytes), None) if bytes.len() == 52));
        assert_eq!(of(&[text, ("MSWINDOWS.rawsd", b"AQ==")]), (Some(vec![1]), None));
        assert_eq!(of(&[("MSWINDOWS.sd", b"O:DA")]), (None, Some("O:DA".into())));
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
        bytes.truncate(1536);
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
