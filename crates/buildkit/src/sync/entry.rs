//! Files as the client tells of them, and as an archive has them.

use bytes::Bytes;
use tar::{EntryType, Header};

use super::{BLOCK, SyncError};
use crate::message::Stat;

/// Bits of Go's `os.FileMode` that say what a file is.
pub(super) mod mode {
    pub(in crate::sync) const DIRECTORY: u32 = 1 << 31;
    pub(in crate::sync) const LINK: u32 = 1 << 27;
    pub(in crate::sync) const SOCKET: u32 = 1 << 24;
    /// Any of these is no plain file.
    pub(in crate::sync) const KIND: u32 =
        DIRECTORY | LINK | SOCKET | (1 << 26) | (1 << 25) | (1 << 21) | (1 << 19);
    pub(in crate::sync) const PERMISSIONS: u32 = 0o777;
}

/// What a file is.
pub(super) enum Kind {
    Directory,
    Link,
    HardLink,
    File {
        size: u64,
    },
    /// Not worth a word, as in an archive of the command line's.
    Socket,
}

impl Kind {
    /// What a client says that it is.
    pub(super) fn of(stat: &Stat) -> Result<Self, SyncError> {
        let wrong = |what| Err(SyncError::File { path: stat.path.clone(), what });
        match stat.mode & mode::KIND {
            0 if !stat.link.is_empty() => Ok(Self::HardLink),
            0 => match u64::try_from(stat.size) {
                Ok(size) => Ok(Self::File { size }),
                Err(_) => wrong("it has less than no bytes"),
            },
            mode::DIRECTORY => Ok(Self::Directory),
            mode::LINK => Ok(Self::Link),
            mode::SOCKET => Ok(Self::Socket),
            _ => wrong("it is a device or pipe; exclude it in .dockerignore"),
        }
    }
}

/// The header of a file in the archive, with those that carry long names.
pub(super) fn header(stat: &Stat, kind: &Kind) -> Result<Bytes, SyncError> {
    let mut header = Header::new_gnu();
    header.set_mode(stat.mode & mode::PERMISSIONS);
    header.set_mtime(u64::try_from(stat.modified_nanos / 1_000_000_000).unwrap_or_default());
    let mut archive = tar::Builder::new(Vec::new());
    let path = stat.path.trim_start_matches('/');
    let written = match kind {
        Kind::File { size } => {
            header.set_size(*size);
            archive.append_data(&mut header, path, std::io::empty())
        }
        Kind::Directory => {
            header.set_entry_type(EntryType::Directory);
            header.set_size(0);
            archive.append_data(&mut header, format!("{path}/"), std::io::empty())
        }
        Kind::Link | Kind::HardLink | Kind::Socket => {
            header.set_entry_type(match kind {
                Kind::HardLink => EntryType::Link,
                _ => EntryType::Symlink,
            });
            header.set_size(0);
            archive.append_link(&mut header, path, &stat.link)
        }
    };
    let what = "its name points out of the directory";
    written.map_err(|_| SyncError::File { path: stat.path.clone(), what })?;
    // The end of the archive is not here yet.
    let mut bytes = archive.into_inner().expect("memory takes all");
    bytes.truncate(bytes.len() - 2 * BLOCK);
    Ok(Bytes::from(bytes))
}
