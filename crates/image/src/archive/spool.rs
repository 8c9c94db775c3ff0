//! The members of an archive, kept aside until it is known what they are.
//!
//! What they are is said by documents at the archive's end. Until then each member is written to
//! a file, and digested by a thread of its own that follows the writing: what it has not digested
//! when the documents are there, it digests while layers are extracted from the same pages.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};

use oriel_wclayer::archive::{Archive, MemberKind};
use tempfile::{NamedTempFile, TempPath};

use crate::content::{BUFFER, Content, MAX_DOCUMENT};
use crate::decompress::decompressed;
use crate::digest::Hasher;
use crate::error::Attempt;
use crate::follow::{Follower, Growing};
use crate::{Digest, ImageError, Limits};

/// Most members of an archive. Docker refuses images of more than 127 layers; an archive may hold
/// several images, and each layer has up to three members in the older form.
const MAX_MEMBERS: usize = 20_000;

/// Longest chain of links between members.
const MAX_LINKS: usize = 16;

/// Most members that wait for being digested; each keeps a file open.
const BACKLOG: usize = 64;

/// A digest that is known sooner or later; `None` when the member cannot be read.
type LaterDigest = Arc<OnceLock<Option<Digest>>>;

/// A spooled member.
pub(crate) struct Spooled {
    path: TempPath,
    digest: LaterDigest,
    pub(crate) length: u64,
}

/// All members of an archive. Dropped, they leave nothing behind.
#[derive(Default)]
pub(crate) struct Spool {
    files: HashMap<String, Spooled>,
    links: HashMap<String, String>,
}

/// A member to be digested.
struct Job {
    data: Follower,
    digest: LaterDigest,
}

/// Where members are handed over for being digested.
pub(crate) struct Jobs(SyncSender<Job>);

impl Jobs {
    /// Makes the queue, and the work on it, which ends when the queue is dropped and empty.
    pub(crate) fn queue() -> (Self, impl FnOnce() + Send) {
        let (sender, queue) = sync_channel(BACKLOG);
        (Self(sender), move || digest_all(&queue))
    }
}

fn digest_all(queue: &Receiver<Job>) {
    for job in queue {
        let mut hasher = Hasher::new();
        let read = io::copy(&mut BufReader::with_capacity(BUFFER, job.data), &mut hasher);
        // Nobody else sets it.
        let _ = job.digest.set(read.ok().map(|_| hasher.finish()));
    }
}

impl Spool {
    /// Reads the archive `input`: tar, compressed or not.
    pub(crate) fn read(
        input: &mut (dyn Read + Send),
        content: &Content,
        jobs: &Jobs,
    ) -> Result<Self, ImageError> {
        let mut archive = Archive::new(decompressed(input)?);
        let mut spool = Self::default();
        let mut buffer = vec![0; BUFFER];
        let mut length = 0_u64;
        loop {
            let member = archive.next_member().attempt(|| "read the archive".into())?;
            let Some(member) = member else { return Ok(spool) };
            if spool.files.len() + spool.links.len() >= MAX_MEMBERS {
                let limit = MAX_MEMBERS as u64;
                return Err(ImageError::Limit { what: "the number of members", limit });
            }
            length = length.saturating_add(member.size);
            if length > Limits::ARCHIVE_BYTES {
                let limit = Limits::ARCHIVE_BYTES;
                return Err(ImageError::Limit { what: "an archive", limit });
            }
            let Some(name) = clean("", &member.name) else {
                return Err(damaged(&member.name, "leads out of the archive"));
            };
            match member.kind {
                MemberKind::File => {
                    let attempt = || format!("read `{name}` of the archive");
                    let file =
                        spooled(&mut archive, &mut buffer, content, jobs).attempt(attempt)?;
                    spool.files.insert(name, file);
                }
                // Docker 1.10 to 24 wrote a layer once and linked it from where it was needed.
                MemberKind::Symlink => {
                    let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
                    let target = clean(parent, &member.link)
                        .ok_or_else(|| damaged(&name, "links out of the archive"))?;
                    spool.links.insert(name, target);
                }
                MemberKind::HardLink => {
                    let target = clean("", &member.link)
                        .ok_or_else(|| damaged(&name, "links out of the archive"))?;
                    spool.links.insert(name, target);
                }
                MemberKind::Directory => {}
                MemberKind::Other(_) => return Err(damaged(&name, "is no file")),
            }
        }
    }

    /// The member `name`, links followed.
    pub(crate) fn find(&self, name: &str) -> Option<&Spooled> {
        let mut name = clean("", name)?;
        for _ in 0..MAX_LINKS {
            match self.links.get(&name) {
                Some(target) => name.clone_from(target),
                None => return self.files.get(&name),
            }
        }
        None
    }

    /// The blob `digest` of an OCI layout, unchecked; `None` when the archive lacks it.
    pub(crate) fn blob(&self, digest: Digest) -> Option<&Spooled> {
        self.find(&format!("blobs/sha256/{}", digest.hex()))
    }

    /// The document `digest` of an OCI layout, checked.
    pub(crate) fn checked(&self, digest: Digest) -> Result<&Spooled, ImageError> {
        let name = || format!("blobs/sha256/{}", digest.hex());
        let found = self.blob(digest).ok_or_else(|| ImageError::MissingPart { what: name() })?;
        crate::content::check(digest, found.digest()?, name)?;
        Ok(found)
    }
}

/// Writes the data of the current member to a file, and has it digested meanwhile.
fn spooled(
    data: &mut impl Read,
    buffer: &mut [u8],
    content: &Content,
    jobs: &Jobs,
) -> io::Result<Spooled> {
    let (file, path) = NamedTempFile::new_in(content.ingest())?.into_parts();
    let digest = LaterDigest::default();
    let growing = Growing::new(file, 0);
    // The queue is worked off as long as it is there.
    let _ = jobs.0.send(Job { data: growing.follow(), digest: digest.clone() });
    let spooled = spool_data(data, buffer, &growing);
    match spooled {
        Ok(()) => growing.complete(),
        Err(_) => growing.abandon(),
    }
    spooled.map(|()| Spooled { path, digest, length: growing.written() })
}

fn spool_data(data: &mut impl Read, buffer: &mut [u8], growing: &Growing) -> io::Result<()> {
    loop {
        match data.read(buffer)? {
            0 => return Ok(()),
            count => growing.append(&buffer[..count])?,
        }
    }
}

impl Spooled {
    /// Opens the member from its start.
    pub(crate) fn open(&self) -> Result<File, ImageError> {
        let file = fs_err::File::open(&self.path).attempt(|| "read the archive".into())?;
        Ok(file.into_parts().0)
    }

    /// Its digest, as soon as it is known.
    pub(crate) fn digest(&self) -> Result<Digest, ImageError> {
        let unreadable = || io::Error::other("a member cannot be read again");
        self.digest.wait().ok_or_else(unreadable).attempt(|| "read the archive".into())
    }

    /// Stores it as a blob. Its bytes must have been synced.
    pub(crate) fn keep(&self, content: &Content) -> Result<(Digest, u64), ImageError> {
        let digest = self.digest()?;
        content.link(&self.path, digest)?;
        Ok((digest, self.length))
    }

    /// Reads a document.
    pub(crate) fn document(&self) -> Result<Vec<u8>, ImageError> {
        if self.length > MAX_DOCUMENT {
            return Err(ImageError::Limit { what: "a document", limit: MAX_DOCUMENT });
        }
        let mut bytes = Vec::new();
        self.open()?.read_to_end(&mut bytes).attempt(|| "read the archive".into())?;
        Ok(bytes)
    }
}

/// Resolves `name` against the directory `parent` of the archive; `None` when it leads out.
fn clean(parent: &str, name: &str) -> Option<String> {
    if name.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in parent.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn damaged(name: &str, problem: &str) -> ImageError {
    let what = format!("`{}` of the archive", name.chars().take(200).collect::<String>());
    ImageError::Damaged { what, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn names_stay_in_the_archive() {
        assert_eq!(clean("a/b", "../c/layer.tar").as_deref(), Some("a/c/layer.tar"));
        assert_eq!(clean("", "./x").as_deref(), Some("x"));
        assert_eq!(clean("a", "../../x"), None);
        assert_eq!(clean("", "/etc/passwd"), None);
    }
}
