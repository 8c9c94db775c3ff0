//! The members of an archive, kept aside until it is known what they are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek};

use oriel_wclayer::archive::{Archive, MemberKind};
use tempfile::NamedTempFile;

use crate::content::{Content, MAX_DOCUMENT};
use crate::decompress::decompressed;
use crate::error::Attempt;
use crate::{Digest, ImageError};

/// Most members of an archive. Docker refuses images of more than 127 layers; an archive may hold
/// several images, and each layer has up to three members in the older form.
const MAX_MEMBERS: usize = 20_000;

/// Longest chain of links between members.
const MAX_LINKS: usize = 16;

/// A spooled member.
pub(crate) struct Spooled {
    pub(crate) file: NamedTempFile,
    pub(crate) digest: Digest,
    pub(crate) length: u64,
}

/// All members of an archive. Dropped, they leave nothing behind.
#[derive(Default)]
pub(crate) struct Spool {
    files: HashMap<String, Spooled>,
    links: HashMap<String, String>,
}

impl Spool {
    /// Reads the archive `input`: tar, gzip or zstd.
    pub(crate) fn read(
        input: &mut (dyn Read + Send),
        content: &Content,
    ) -> Result<Self, ImageError> {
        let mut archive = Archive::new(decompressed(input)?);
        let mut spool = Self::default();
        loop {
            let member = archive.next_member().attempt(|| "read the archive".into())?;
            let Some(member) = member else { return Ok(spool) };
            if spool.files.len() + spool.links.len() >= MAX_MEMBERS {
                let limit = MAX_MEMBERS as u64;
                return Err(ImageError::Limit { what: "the number of members", limit });
            }
            let Some(name) = clean("", &member.name) else {
                return Err(damaged(&member.name, "leads out of the archive"));
            };
            match member.kind {
                MemberKind::File => {
                    let mut blob = content.begin()?;
                    let attempt = || format!("read `{name}` of the archive");
                    io::copy(&mut archive, &mut blob).attempt(attempt)?;
                    let (file, digest, length) = blob.into_file();
                    spool.files.insert(name, Spooled { file, digest, length });
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

    /// The blob `digest` of an OCI layout, whose digest is checked.
    pub(crate) fn blob(&self, digest: Digest) -> Result<&Spooled, ImageError> {
        let name = format!("blobs/sha256/{}", digest.hex());
        let found = self.find(&name).ok_or(ImageError::MissingPart { what: name.clone() })?;
        crate::content::check(digest, found.digest, || name)?;
        Ok(found)
    }
}

impl Spooled {
    /// Opens the member from its start.
    pub(crate) fn open(&self) -> Result<File, ImageError> {
        let attempt = || "read the archive".to_owned();
        let mut file = self.file.reopen().attempt(attempt)?;
        file.rewind().attempt(attempt)?;
        Ok(file)
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
