//! Files of a container as a tar, as `docker cp` takes them out.
//!
//! The tar is written to a file of its own first. So a container is held up no longer than its
//! files take to be copied, however slow the client is, and what goes wrong is an answer instead of
//! an archive that breaks off.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::time::SystemTime;

use oriel_wclayer::Attributes;
use tar::{Builder, EntryType, Header};

use super::{FileKind, LastLink, SandboxFiles, Stat, bad, unix};
use crate::error::Attempt;
use crate::upper::check_depth;
use crate::{ImageError, ImageStore, disk};

/// Type and permission bits as Go's `os.FileMode` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMode(pub u32);

impl PathMode {
    /// Go's `ModeDir`.
    pub const DIRECTORY: u32 = 1 << 31;
    /// Go's `ModeSymlink`.
    pub const LINK: u32 = 1 << 27;

    /// As Go tells it of a file on Windows (`os/types_windows.go`).
    fn of(stat: &Stat) -> Self {
        let read_only = stat.attributes.contains(Attributes::READ_ONLY);
        Self(match stat.kind {
            FileKind::Directory => Self::DIRECTORY | 0o777,
            FileKind::Link => Self::LINK | 0o777,
            FileKind::File if read_only => 0o444,
            FileKind::File => 0o666,
        })
    }
}

/// What Docker tells of a path in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStat {
    /// Its last name.
    pub name: String,
    /// Length in bytes.
    pub size: u64,
    /// Type and permissions.
    pub mode: PathMode,
    /// When it was last written.
    pub modified: SystemTime,
    /// Where a link leads in the end, from the root of C:, such as `/a/b`; else empty.
    pub link_target: String,
}

/// A tar under way, bounded by the room for it.
struct Packer<'a> {
    files: &'a SandboxFiles,
    tar: Builder<&'a mut File>,
    room: u64,
    left: u64,
}

/// Bytes of a tar besides the data of a file: its header, that of a long name, and what fills up.
const OVERHEAD: u64 = 4 * 512 + 1024;

impl ImageStore {
    /// A file without a name, for archives on their way.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn scratch_file(&self) -> Result<File, ImageError> {
        let attempt = || "make a file for an archive".to_owned();
        tempfile::tempfile_in(self.content().ingest()).attempt(attempt)
    }

    /// Keeps an archive that a client sends, as it is, in a file without a name.
    ///
    /// # Errors
    /// [`ImageError::Limit`] when it would take more than half of the room there is.
    pub fn keep_archive(&self, input: &mut dyn Read) -> Result<File, ImageError> {
        let attempt = || "keep an archive".to_owned();
        let mut file = self.scratch_file()?;
        let limit = disk::room(&file).attempt(attempt)? / 2;
        let length = io::copy(&mut input.take(limit.saturating_add(1)), &mut file);
        if length.attempt(attempt)? > limit {
            return Err(ImageError::Limit { what: "an archive", limit });
        }
        file.rewind().attempt(attempt)?;
        Ok(file)
    }
}

impl SandboxFiles {
    /// What Docker tells of `path`; `None` when there is nothing. A link at its end is not
    /// followed, unless a separator or `.` comes after it.
    ///
    /// # Errors
    /// [`ImageError::BadPath`] for a path no container can have, [`ImageError::Io`].
    pub fn path_stat(&self, path: &str) -> Result<Option<PathStat>, ImageError> {
        let attempt = || format!("look at {path}");
        let last = if is_inside(path) { LastLink::Follow } else { LastLink::Keep };
        let Some(place) = self.locate(path, last)? else { return Ok(None) };
        let Some(stat) = self.describe(&place).attempt(attempt)? else { return Ok(None) };
        let mut link_target = String::new();
        if stat.kind == FileKind::Link
            && let Some(end) = self.locate(path, LastLink::Follow)?
        {
            link_target = format!("/{}", end.names().join("/"));
        }
        Ok(Some(PathStat {
            name: base(path),
            size: stat.size,
            mode: PathMode::of(&stat),
            modified: stat.modified,
            link_target,
        }))
    }

    /// Writes `path`, with all that is in it, as a tar whose names begin with its last name.
    ///
    /// # Errors
    /// [`ImageError::PathNotFound`], [`ImageError::Limit`] when it would take more than half of
    /// the room there is.
    pub fn pack(&self, path: &str, output: &mut File) -> Result<(), ImageError> {
        let attempt = || format!("copy {path}");
        let missing = || ImageError::PathNotFound { path: path.to_owned() };
        let last = if is_inside(path) { LastLink::Follow } else { LastLink::Keep };
        let place = self.locate(path, last)?.ok_or_else(missing)?;
        let stat = self.describe(&place).attempt(attempt)?.ok_or_else(missing)?;
        let room = disk::room(&*output).attempt(attempt)? / 2;
        let mut packer = Packer { files: self, tar: Builder::new(output), room, left: room };
        // The root has no name: what is in it begins with a slash, as Docker's client expects.
        let name = match base(path).as_str() {
            _ if is_dot(path) => ".".to_owned(),
            ROOT => String::new(),
            name => name.to_owned(),
        };
        packer.add(path, &name, &stat, 0)?;
        packer.tar.finish().attempt(attempt)?;
        let output = packer.tar.into_inner().attempt(attempt)?;
        output.flush().and_then(|()| output.rewind()).attempt(attempt)
    }
}

impl Packer<'_> {
    /// Adds what is at `path` under `name`.
    fn add(&mut self, path: &str, name: &str, stat: &Stat, depth: usize) -> Result<(), ImageError> {
        let attempt = || format!("copy {path}");
        check_depth(depth).attempt(attempt)?;
        let bytes = stat.size.saturating_add(OVERHEAD);
        let limit = self.room;
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or(ImageError::Limit { what: "what is to be copied", limit })?;
        let mut header = header(stat);
        match stat.kind {
            FileKind::Directory => {
                header.set_entry_type(EntryType::Directory);
                header.set_mode(0o755);
                let name = format!("{name}/");
                self.append(header, &name, "", io::empty()).attempt(attempt)?;
                self.inner(path, &name, depth)
            }
            FileKind::File => self.file(path, name, stat.size, header),
            FileKind::Link => {
                let target = self.files.link_target(path)?;
                header.set_entry_type(EntryType::Symlink);
                self.append(header, name, &target, io::empty()).attempt(attempt)
            }
        }
    }

    fn inner(&mut self, path: &str, name: &str, depth: usize) -> Result<(), ImageError> {
        for item in self.files.list(path)? {
            // Alternate streams are files for overlayfs, but not for Windows.
            if item.name.contains(':') {
                continue;
            }
            let inner = format!("{}\\{}", path.trim_end_matches(['\\', '/']), item.name);
            match self.add(&inner, &format!("{name}{}", item.name), &item.stat, depth + 1) {
                // A program took it away meanwhile, or put something else in its place.
                Err(ImageError::PathNotFound { .. } | ImageError::BadPath { .. }) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Adds a file. A program may make it longer or shorter meanwhile, and the header has its
    /// length already: it is cut, or filled up.
    fn file(
        &mut self,
        path: &str,
        name: &str,
        size: u64,
        mut header: Header,
    ) -> Result<(), ImageError> {
        let data = self.files.read(path)?;
        header.set_size(size);
        let exact = data.chain(io::repeat(0)).take(size);
        self.append(header, name, "", exact).attempt(|| format!("copy {path}"))
    }

    /// Adds an entry. The tar library would refuse a name that begins with a slash.
    fn append(
        &mut self,
        mut header: Header,
        name: &str,
        link: &str,
        data: impl Read,
    ) -> io::Result<()> {
        for (text, kind) in [(link, EntryType::GNULongLink), (name, EntryType::GNULongName)] {
            if text.len() > SHORT {
                let mut long = Header::new_gnu();
                put(&mut long, "././@LongLink", "");
                long.set_entry_type(kind);
                long.set_size(text.len() as u64 + 1);
                long.set_cksum();
                self.tar.append(&long, text.as_bytes().chain(&[0][..]))?;
            }
        }
        put(&mut header, name, link);
        header.set_cksum();
        self.tar.append(&header, data)
    }
}

/// Most bytes of a name, or of a link's target, in a header itself.
const SHORT: usize = 100;

/// Puts as much of two names into a header as it has room for.
fn put(header: &mut Header, name: &str, link: &str) {
    let fields = header.as_old_mut();
    for (field, text) in [(&mut fields.name, name), (&mut fields.linkname, link)] {
        let length = text.len().min(SHORT);
        field[..length].copy_from_slice(&text.as_bytes()[..length]);
    }
}

/// What all kinds of entries have. As on Windows all files may be executed.
fn header(stat: &Stat) -> Header {
    let mut header = Header::new_gnu();
    let (seconds, _) = unix(stat.modified);
    header.set_size(0);
    header.set_mtime(u64::try_from(seconds).unwrap_or(0));
    let read_only = stat.attributes.contains(Attributes::READ_ONLY);
    header.set_mode(if read_only { 0o555 } else { 0o755 });
    header.set_uid(0);
    header.set_gid(0);
    header
}

impl SandboxFiles {
    /// Where the link at `path` leads, as it is on disk.
    fn link_target(&self, path: &str) -> Result<String, ImageError> {
        match self.locate(path, LastLink::Keep)? {
            Some(super::Place { name: Some(name), found: Some((at, _)), parent, .. }) => {
                parent.dirs[at].link_target(&name).attempt(|| format!("read the link {path}"))
            }
            _ => Err(bad(path, "is not a link")),
        }
    }
}

/// What the root is called.
const ROOT: &str = "\\";

/// The last name of a path.
fn base(path: &str) -> String {
    let plain = path.get(2..).filter(|_| path.as_bytes().get(1) == Some(&b':')).unwrap_or(path);
    let mut names = plain.split(['\\', '/']).filter(|name| !matches!(*name, "" | "."));
    names.next_back().unwrap_or(ROOT).to_owned()
}

/// Whether a path means what is in a directory: it ends with `.` as a name.
fn is_dot(path: &str) -> bool {
    path == "." || path.ends_with("/.") || path.ends_with("\\.")
}

/// Whether a path can only be that of a directory.
fn is_inside(path: &str) -> bool {
    is_dot(path) || path.ends_with(['/', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_of_a_path_is_found_in_either_notation() {
        for (path, name) in [
            ("C:\\a\\b.txt", "b.txt"),
            ("/a/b", "b"),
            ("a\\b/", "b"),
            ("/a/.", "a"),
            ("C:", "\\"),
            ("/", "\\"),
            ("", "\\"),
        ] {
            assert_eq!(base(path), name, "{path}");
        }
        assert!(is_dot("/a/.") && is_dot("C:\\a\\.") && !is_dot("/a/b."));
    }
}
