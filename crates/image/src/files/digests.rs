//! Digests of what files hold.
//!
//! Files of layers never change, so the digest of one is kept beside it, in an extended attribute,
//! and computed once. It names inode, length and time of the file it was computed of: a copy that
//! overlayfs made, attributes included, does not pass for that.

use std::fs::File;
use std::io;

use rustix::fs::{FileType, Stat};

use super::{LastLink, SandboxFiles, bad};
use crate::digest::Hasher;
use crate::disk;
use crate::error::Attempt;
use crate::{Digest, ImageError, attributes};

const DIGEST: &str = "trusted.oriel.digest";

impl SandboxFiles {
    /// The digest of what the file `path` holds.
    ///
    /// # Errors
    /// [`ImageError::PathNotFound`], [`ImageError::BadPath`] when it is no file.
    pub fn digest(&self, path: &str) -> Result<Digest, ImageError> {
        let missing = || ImageError::PathNotFound { path: path.to_owned() };
        let place = self.locate(path, LastLink::Follow)?.ok_or_else(missing)?;
        let (Some(name), Some((at, stat))) = (&place.name, &place.found) else {
            return Err(missing());
        };
        if disk::kind_of(stat) != FileType::RegularFile {
            return Err(bad(path, "is not a file"));
        }
        let attempt = || format!("digest {path}");
        let file = place.parent.dirs[*at].read(name).attempt(attempt)?;
        let in_sandbox = place.parent.upper && *at == 0;
        if self.live.is_some() || place.mounted || in_sandbox || !self.mounts.is_empty() {
            return of(file).attempt(attempt);
        }
        match kept(&file, stat) {
            Some(digest) => Ok(digest),
            None => keep(file, stat).attempt(attempt),
        }
    }
}

fn of(mut file: File) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    io::copy(&mut file, &mut hasher)?;
    Ok(hasher.finish())
}

/// What a digest is a digest of.
fn identity(stat: &Stat) -> String {
    let (seconds, nanoseconds) = disk::modified(stat);
    format!("{} {} {seconds} {nanoseconds} ", stat.st_ino, stat.st_size)
}

fn kept(file: &File, stat: &Stat) -> Option<Digest> {
    let value = String::from_utf8(disk::xattr(file, DIGEST)?).ok()?;
    Digest::from_hex(value.strip_prefix(&identity(stat))?)
}

fn keep(file: File, stat: &Stat) -> io::Result<Digest> {
    let digest = of(file.try_clone()?)?;
    let value = format!("{}{}", identity(stat), digest.hex());
    attributes::keep(&file, DIGEST, value.as_bytes())?;
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use crate::tests::Fixture;
    use crate::{Digest, SandboxSettings};

    #[test]
    fn the_digest_of_a_layers_file_is_computed_once_and_that_of_a_changed_one_anew() {
        let (fixture, base) = Fixture::with_base();
        let sandbox =
            fixture.store.create_sandbox("a", &base, &SandboxSettings::default()).unwrap();
        let files = fixture.store.sandbox_files(&sandbox);
        let path = r"C:\Windows\System32\cmd.exe";
        assert_eq!(files.digest(path).unwrap(), Digest::of(b"MZ"));
        // What is kept is believed: nobody reads the file again.
        let on_disk = sandbox.layers[0].join("Windows/System32/cmd.exe");
        let stat = rustix::fs::stat(&on_disk).unwrap();
        let value = format!("{}{}", super::identity(&stat), Digest::of(b"kept").hex());
        let file = fs_err::File::open(&on_disk).unwrap();
        crate::attributes::keep(file.file(), super::DIGEST, value.as_bytes()).unwrap();
        assert_eq!(files.digest(path).unwrap(), Digest::of(b"kept"));
        files.write_file(path, &mut &b"XX"[..], None).unwrap();
        assert_eq!(files.digest(path).unwrap(), Digest::of(b"XX"));
        files.write_file(path, &mut &b"YY"[..], None).unwrap();
        assert_eq!(files.digest(path).unwrap(), Digest::of(b"YY"));
        assert!(files.digest(r"C:\Windows").is_err() && files.digest(r"C:\nope").is_err());
    }
}
