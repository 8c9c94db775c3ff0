//! Windows attributes on Linux files.
//!
//! What Wine shows it reads from `user.DOSATTRIB` and the write bits; the rest is kept for the
//! next export in `trusted.oriel.*`, which overlayfs copies up with the file and which nobody in a
//! container can read or forge. An ordinary file needs none of them:
//!
//! | attribute | holds | unless |
//! |---|---|---|
//! | `attributes` | all bits, as `0x21` | they are the usual ones of their kind |
//! | `created` | the FILETIME, in decimal | it is the time of the last write |
//! | `sd` | the self-relative security descriptor | it is [`security`]'s default |
//! | `sddl` | the descriptor as text | the layer has it in binary form |
//! | `ea` | NTFS extended attributes, see [`pack`] | there are none |
//! | `link` | `s` or `j` and the Windows target | it is no symbolic link or junction |
//! | `streams` | names of alternate streams, joined by `/` | there are none |
//!
//! Separate attributes, because ext4 shares a block of attributes among files that have the same:
//! few descriptors serve all files of an image.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use oriel_wclayer::{Attributes, Entry, FileTime, Kind, security};
use rustix::fs::{FileType, Stat};

use crate::disk::{self, Attributed};

/// Wine's attribute for hidden and system files (`dlls/ntdll/unix/file.c`).
const DOS_ATTRIBUTES: &str = "user.DOSATTRIB";
const ALL_ATTRIBUTES: &str = "trusted.oriel.attributes";
const SECURITY: &str = "trusted.oriel.sd";
const SECURITY_TEXT: &str = "trusted.oriel.sddl";
const CREATED: &str = "trusted.oriel.created";
const EXTENDED: &str = "trusted.oriel.ea";
const LINK: &str = "trusted.oriel.link";
const STREAMS: &str = "trusted.oriel.streams";
/// Marks a directory that hides the directories below it (overlayfs).
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";
/// What overlayfs gives to what it copied up.
const ORIGIN: &str = "trusted.overlay.origin";

/// `FILE_ATTRIBUTE_NORMAL`: none of the others (winnt.h).
const NORMAL: u32 = 0x80;

/// What Wine shows of attributes, from `user.DOSATTRIB` and the write bits.
const VISIBLE: u32 = Attributes::HIDDEN.0 | Attributes::SYSTEM.0 | Attributes::READ_ONLY.0;

static DEFAULT_FILE: LazyLock<Vec<u8>> = LazyLock::new(security::default_file);
static DEFAULT_DIRECTORY: LazyLock<Vec<u8>> = LazyLock::new(security::default_directory);

/// Set once it was said that attributes are lost.
static WARNED: AtomicBool = AtomicBool::new(false);

/// Puts the attributes of the file or directory `entry` on `file`.
pub(crate) fn store(file: impl AsFd, entry: &Entry) -> io::Result<()> {
    let file = file.as_fd();
    let attributes = entry.attributes;
    let shown = attributes.0 & (Attributes::HIDDEN.0 | Attributes::SYSTEM.0);
    if shown != 0 {
        keep(file, DOS_ATTRIBUTES, format!("0x{shown:x}").as_bytes())?;
    } else {
        show(file, entry.path.file_name())?;
    }
    record(file, entry)?;
    if attributes.contains(Attributes::READ_ONLY) && entry.kind != Kind::Directory {
        disk::set_mode(file, 0o444)?;
    }
    Ok(())
}

/// Puts the attributes of the symbolic link or junction `entry` on `link`.
pub(crate) fn store_link(link: disk::Named<'_>, entry: &Entry) -> io::Result<()> {
    let (Kind::Symlink { target } | Kind::Junction { target }) = &entry.kind else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let tag = if matches!(entry.kind, Kind::Junction { .. }) { 'j' } else { 's' };
    keep(link, LINK, format!("{tag}{target}").as_bytes())?;
    record(link, entry)
}

/// Keeps Wine from hiding `file` because its name begins with a dot.
pub(crate) fn show(file: impl Attributed, name: &str) -> io::Result<()> {
    if name.starts_with('.') { keep(file, DOS_ATTRIBUTES, b"0x0") } else { Ok(()) }
}

/// Gives `node` a security descriptor.
pub(crate) fn secure(node: impl Attributed, descriptor: &[u8]) -> io::Result<()> {
    keep(node, SECURITY, descriptor)
}

/// Keeps Wine from listing `file`, which on Windows is no file at all but a stream.
pub(crate) fn hide(file: impl Attributed) -> io::Result<()> {
    keep(file, DOS_ATTRIBUTES, b"0x6")
}

/// Keeps what Wine does not show.
fn record(node: impl Attributed, entry: &Entry) -> io::Result<()> {
    if entry.attributes != usual(&entry.kind) {
        keep(node, ALL_ATTRIBUTES, format!("0x{:x}", entry.attributes.0).as_bytes())?;
    }
    match (&entry.security, &entry.sddl) {
        (Some(descriptor), _) if descriptor != default_descriptor(entry) => {
            keep(node, SECURITY, descriptor)?;
        }
        (None, Some(text)) => keep(node, SECURITY_TEXT, text.as_bytes())?,
        _ => {}
    }
    if entry.created != entry.modified {
        keep(node, CREATED, entry.created.0.to_string().as_bytes())?;
    }
    if !entry.extended.is_empty() {
        keep(node, EXTENDED, &pack(&entry.extended))?;
    }
    Ok(())
}

/// Notes on an owner which streams it has, so that they go where it goes.
pub(crate) fn store_streams(owner: impl Attributed, names: &[&str]) -> io::Result<()> {
    keep(owner, STREAMS, names.join("/").as_bytes())
}

/// The names that [`store_streams`] noted.
pub(crate) fn streams(owner: impl Attributed) -> Vec<String> {
    let text = disk::xattr(owner, STREAMS).and_then(|text| String::from_utf8(text).ok());
    text.map_or_else(Vec::new, |text| text.split('/').map(str::to_owned).collect())
}

/// What is known of the file or directory that an entry is made of.
pub(crate) struct Known<'a> {
    /// Its status.
    pub(crate) stat: &'a Stat,
    /// The status of what it covers in the layers below.
    pub(crate) below: Option<&'a Stat>,
    /// Whether it lies in a sandbox, which may have made or changed it.
    pub(crate) changed: bool,
}

/// Fills in what [`store`] or Wine put on `file`, and its times.
pub(crate) fn load(file: impl Attributed, known: &Known<'_>, entry: &mut Entry) {
    entry.attributes = attributes(file, known.stat);
    if disk::kind_of(known.stat) == FileType::RegularFile && known.is_modified() {
        entry.attributes = entry.attributes | Attributes::ARCHIVE;
    }
    if entry.attributes.0 & !NORMAL != 0 {
        entry.attributes.0 &= !NORMAL;
    }
    restore(file, known, entry);
}

/// Fills in what [`store_link`] put on `link`; `false` when it put nothing there.
pub(crate) fn load_link(link: disk::Named<'_>, known: &Known<'_>, entry: &mut Entry) -> bool {
    let Some(text) = disk::xattr(link, LINK).and_then(|text| String::from_utf8(text).ok()) else {
        return false;
    };
    entry.kind = match text.split_at_checked(1) {
        Some(("s", target)) => Kind::Symlink { target: target.to_owned() },
        Some(("j", target)) => Kind::Junction { target: target.to_owned() },
        _ => return false,
    };
    entry.attributes = recorded(link).unwrap_or_else(|| usual(&entry.kind));
    restore(link, known, entry);
    true
}

/// The attributes of a file or directory.
pub(crate) fn attributes(file: impl Attributed, stat: &Stat) -> Attributes {
    let directory = disk::kind_of(stat) == FileType::Directory;
    let stored = recorded(file).unwrap_or_else(|| usual_of(directory)).0;
    let shown = disk::xattr(file, DOS_ATTRIBUTES).and_then(|text| parse_hex(&text)).unwrap_or(0);
    // Wine shows and changes no such bit of a directory.
    let visible = if directory { VISIBLE & !Attributes::READ_ONLY.0 } else { VISIBLE };
    let mut bits = stored & !visible | (shown & visible);
    if stat.st_mode & 0o222 == 0 && !directory {
        bits |= Attributes::READ_ONLY.0;
    }
    Attributes(bits)
}

/// Fills in what [`record`] kept, and the times.
fn restore(node: impl Attributed, known: &Known<'_>, entry: &mut Entry) {
    entry.sddl = disk::xattr(node, SECURITY_TEXT).and_then(|text| String::from_utf8(text).ok());
    if entry.sddl.is_none() {
        let stored = disk::xattr(node, SECURITY);
        entry.security = Some(stored.unwrap_or_else(|| default_descriptor(entry).clone()));
    }
    if let Some(packed) = disk::xattr(node, EXTENDED) {
        entry.extended = unpack(&packed);
    }
    let time = |(seconds, nanoseconds)| FileTime::from_unix(seconds, nanoseconds);
    entry.modified = time(disk::modified(known.stat));
    entry.accessed = Some(time(disk::accessed(known.stat)));
    entry.changed = Some(time(disk::changed(known.stat)));
    entry.created = created(node).unwrap_or_else(|| time(known.born(node)));
}

impl Known<'_> {
    /// Whether a container wrote to it.
    fn is_modified(&self) -> bool {
        self.below.is_some_and(|below| disk::modified(below) != disk::modified(self.stat))
    }

    /// Whether overlayfs made it of `below`, and not a container in the place of that.
    fn is_copy(&self, node: impl Attributed, below: &Stat) -> bool {
        if disk::kind_of(self.stat) == FileType::Directory {
            return disk::xattr(node, OPAQUE).is_none();
        }
        // Overlayfs notes no origin on a copy of what has several names.
        below.st_nlink > 1 || disk::xattr(node, ORIGIN).is_some()
    }

    /// When it came to be, if that is not recorded.
    fn born(&self, node: impl Attributed) -> (i64, u32) {
        let modified = disk::modified(self.stat);
        match self.below {
            _ if !self.changed => modified,
            // What was created when it was written has no record, and neither has its copy.
            Some(below) if self.is_copy(node, below) => disk::modified(below),
            _ => node.born().unwrap_or(modified),
        }
    }
}

/// Everything that [`store`] and Wine put on files and directories.
const ALL: [&str; 7] =
    [DOS_ATTRIBUTES, ALL_ATTRIBUTES, SECURITY, SECURITY_TEXT, CREATED, EXTENDED, STREAMS];

fn copy(from: impl Attributed, to: impl Attributed) -> io::Result<()> {
    for name in ALL {
        if let Some(value) = disk::xattr(from, name) {
            keep(to, name, &value)?;
        }
    }
    Ok(())
}

/// Makes `file` as if it had just been made.
pub(crate) fn clear(file: &File) -> io::Result<()> {
    for name in ALL.into_iter().chain([ORIGIN]) {
        disk::remove_xattr(file, name)?;
    }
    let root = (rustix::fs::Uid::ROOT, rustix::fs::Gid::ROOT);
    rustix::fs::fchown(file, Some(root.0), Some(root.1))?;
    disk::set_mode(file, 0o644)
}

/// Gives the link `to` what the link `from` has, which it replaces.
pub(crate) fn copy_link(from: disk::Named<'_>, to: disk::Named<'_>) -> io::Result<()> {
    copy(from, to)?;
    disk::xattr(from, LINK).map_or(Ok(()), |value| keep(to, LINK, &value))
}

/// Gives the directory `to` what the directory `from` has, which it covers.
pub(crate) fn copy_up(from: &disk::Dir, to: &disk::Dir) -> io::Result<()> {
    copy(from, to)?;
    if created(from).is_some() {
        return Ok(());
    }
    let (seconds, nanoseconds) = disk::modified(&from.status()?);
    let created = FileTime::from_unix(seconds, nanoseconds);
    keep(to, CREATED, created.0.to_string().as_bytes())
}

/// Gives the file `to` what the file `from` has, of which it is a copy.
pub(crate) fn copy_file(from: &File, to: &File) -> io::Result<()> {
    copy(from, to)?;
    let stat = rustix::fs::fstat(from)?;
    disk::set_mode(to, stat.st_mode & 0o777)?;
    disk::set_times(to, &disk::timestamps(disk::modified(&stat), disk::accessed(&stat)))
}

fn recorded(node: impl Attributed) -> Option<Attributes> {
    disk::xattr(node, ALL_ATTRIBUTES).and_then(|text| parse_hex(&text)).map(Attributes)
}

fn created(node: impl Attributed) -> Option<FileTime> {
    let text = disk::xattr(node, CREATED)?;
    std::str::from_utf8(&text).ok()?.parse().ok().map(FileTime)
}

/// Attributes that need no record.
fn usual(kind: &Kind) -> Attributes {
    match kind {
        Kind::Symlink { .. } => Attributes::REPARSE_POINT,
        Kind::Junction { .. } => Attributes::DIRECTORY | Attributes::REPARSE_POINT,
        Kind::Directory => usual_of(true),
        _ => usual_of(false),
    }
}

fn usual_of(directory: bool) -> Attributes {
    if directory { Attributes::DIRECTORY } else { Attributes::ARCHIVE }
}

/// The security descriptor that needs no record.
fn default_descriptor(entry: &Entry) -> &'static Vec<u8> {
    let directory =
        entry.kind == Kind::Directory || entry.attributes.contains(Attributes::DIRECTORY);
    if directory { &DEFAULT_DIRECTORY } else { &DEFAULT_FILE }
}

fn parse_hex(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?.trim_end_matches('\0');
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// NTFS extended attributes as one value: for each the length of its name (1 byte), the length of
/// its value (2 bytes, little-endian), name, value. NTFS allows no longer ones; they are left out.
fn pack(extended: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut packed = Vec::new();
    for (name, value) in extended {
        let lengths = (u8::try_from(name.len()), u16::try_from(value.len()));
        let (Ok(name_length), Ok(value_length)) = lengths else { continue };
        packed.push(name_length);
        packed.extend(value_length.to_le_bytes());
        packed.extend(name.as_bytes());
        packed.extend(value);
    }
    packed
}

/// The reverse of [`pack`]; stops at what [`pack`] cannot have made.
fn unpack(mut packed: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut names = BTreeSet::new();
    let mut extended = Vec::new();
    while let Some(([name_length, low, high], rest)) = packed.split_first_chunk() {
        let Some((name, rest)) = rest.split_at_checked((*name_length).into()) else { break };
        let length = u16::from_le_bytes([*low, *high]);
        let Some((value, rest)) = rest.split_at_checked(length.into()) else { break };
        let Ok(name) = std::str::from_utf8(name) else { break };
        if names.insert(name) {
            extended.push((name.to_owned(), value.to_vec()));
        }
        packed = rest;
    }
    extended
}

/// Sets an attribute, or says once that this host keeps none.
pub(crate) fn keep(node: impl Attributed, name: &str, value: &[u8]) -> io::Result<()> {
    if !disk::set_xattr(node, name, value)? && !WARNED.swap(true, Ordering::Relaxed) {
        let size = value.len();
        tracing::warn!(attribute = name, size, "the host does not keep extended attributes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{pack, unpack};

    #[test]
    fn extended_attributes_survive_packing() {
        let extended =
            vec![("A".to_owned(), vec![0, 1]), ("B".to_owned(), vec![]), ("Ü".to_owned(), vec![7])];
        assert_eq!(unpack(&pack(&extended)), extended);
        let long = vec![("x".repeat(256), vec![]), ("y".to_owned(), vec![0; 1 << 16])];
        assert_eq!(unpack(&pack(&long)), []);
    }

    #[test]
    fn damaged_packs_end_early() {
        let packed = pack(&[("A".to_owned(), vec![0, 1]), ("B".to_owned(), vec![2; 300])]);
        for length in 0..packed.len() {
            assert!(unpack(&packed[..length]).len() < 2);
        }
    }
}
