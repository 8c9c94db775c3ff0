//! A tar put among the files of a container, as `docker cp` brings it.
//!
//! The archive is read twice. The first time nothing is written, and everything in it that no
//! container should get is found: names that lead out, links that do, devices, more than there is
//! room for. So a refused archive changes nothing.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::time::{Duration, SystemTime};

use oriel_wclayer::FileTime;
use oriel_wclayer::archive::{Archive, Member, MemberKind};

use super::{FileKind, SandboxFiles, is_name};
use crate::decompress::decompressed;
use crate::disk::fold;
use crate::error::Attempt;
use crate::{ImageError, disk, links};

/// Most members of an archive, as many as a container's files are ever counted.
const MAX_MEMBERS: u64 = 1 << 20;

/// Deepest nesting of directories; deeper ones are not walked either.
const MAX_DEPTH: usize = 200;

/// What is done where an archive has a file and the container a directory, or the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clash {
    /// What is in the archive takes the place.
    Replace,
    /// The archive is refused.
    Refuse,
}

/// An archive on its way into a directory of a container.
#[derive(Debug)]
pub struct Unpack<'a> {
    /// The directory.
    pub directory: &'a str,
    /// The archive: tar, compressed or not.
    pub archive: &'a mut File,
    /// What happens where the two differ in kind.
    pub clash: Clash,
}

/// One member, checked.
struct Checked {
    /// Names below the directory; none for the directory itself.
    names: Vec<String>,
    kind: Kind,
}

enum Kind {
    Directory,
    File {
        modified: SystemTime,
        read_only: bool,
    },
    /// With the target as on disk.
    Link(String),
    /// With the names of the earlier member.
    HardLink(Vec<String>),
}

impl SandboxFiles {
    /// Unpacks an archive.
    ///
    /// # Errors
    /// [`ImageError::PathNotFound`], [`ImageError::BadPath`] when the path is no directory,
    /// [`ImageError::ReadOnlyMount`], [`ImageError::Member`] and [`ImageError::Limit`] for what no
    /// container should get; then nothing was changed.
    pub fn unpack(&self, order: &mut Unpack<'_>) -> Result<(), ImageError> {
        let path = order.directory;
        let stat = self.stat(path)?;
        let stat = stat.ok_or_else(|| ImageError::PathNotFound { path: path.to_owned() })?;
        if stat.kind != FileKind::Directory {
            return Err(ImageError::NoDirectory);
        }
        let parents = self.directory_path(path)?;
        self.check_writable(&parents)?;
        let room = self.room(&parents).attempt(|| format!("look for room in {path}"))?;
        check(order.archive, &parents, room)?;
        self.apply(order, &parents)
    }

    fn apply(&self, order: &mut Unpack<'_>, parents: &[String]) -> Result<(), ImageError> {
        let mut archive = open(order.archive)?;
        while let Some(member) = archive.next_member().attempt(|| "read the archive".into())? {
            let checked = Checked::of(&member, parents)?;
            if checked.names.is_empty() {
                continue;
            }
            let path = [parents, &checked.names].concat().join("\\");
            self.make_way(&path, &member, &checked.kind, order.clash)?;
            self.put(&path, checked.kind, parents, &mut archive)?;
        }
        Ok(())
    }

    /// Removes what is in the place of a member and is of another kind.
    fn make_way(
        &self,
        path: &str,
        member: &Member,
        kind: &Kind,
        clash: Clash,
    ) -> Result<(), ImageError> {
        let Some(there) = self.path_stat(path)? else { return Ok(()) };
        let is_directory = there.mode.0 & super::PathMode::DIRECTORY != 0;
        let wants_directory = matches!(kind, Kind::Directory);
        if is_directory && wants_directory {
            return Ok(());
        }
        if clash == Clash::Refuse && is_directory != wants_directory {
            let [old, new] = match is_directory {
                true => ["directory", "non-directory"],
                false => ["non-directory", "directory"],
            };
            let name = member.name.chars().take(200).collect();
            return Err(ImageError::Clash { old, path: path.to_owned(), new, name });
        }
        self.remove(path)
    }

    fn put(
        &self,
        path: &str,
        kind: Kind,
        parents: &[String],
        data: &mut Archive<Box<dyn Read + Send + '_>>,
    ) -> Result<(), ImageError> {
        match kind {
            Kind::Directory => self.create_dir_all(path),
            Kind::File { modified, read_only } => {
                self.write_file(path, data, Some(modified))?;
                if read_only { self.set_read_only(path) } else { Ok(()) }
            }
            Kind::Link(target) => self.make_link(path, &target),
            Kind::HardLink(names) => {
                let source = [parents, &names].concat().join("\\");
                let modified = self.stat(&source)?.map(|stat| stat.modified);
                self.write_file(path, &mut self.read(&source)?, modified).map(drop)
            }
        }
    }

    fn make_link(&self, path: &str, target: &str) -> Result<(), ImageError> {
        let attempt = || format!("make the link {path}");
        let (parents, name) = self.target(path)?;
        self.check_change(path, &parents, &name)?;
        let dir = self.upper_directory(&parents).attempt(attempt)?;
        dir.remove(&name).attempt(attempt)?;
        dir.symlink(&name, target).attempt(attempt)?;
        dir.give(&name, self.owner(&parents)).attempt(attempt)
    }

    fn set_read_only(&self, path: &str) -> Result<(), ImageError> {
        let attempt = || format!("write-protect {path}");
        let (parents, name) = self.target(path)?;
        let dir = self.upper_directory(&parents).attempt(attempt)?;
        let file = dir.read(&name).attempt(attempt)?;
        disk::set_mode(&file, 0o444).attempt(attempt)
    }
}

/// Reads an archive from its start.
fn open(archive: &mut File) -> Result<Archive<Box<dyn Read + Send + '_>>, ImageError> {
    archive.rewind().attempt(|| "read the archive".into())?;
    Ok(Archive::new(decompressed(archive)?))
}

/// Reads an archive and looks for what no container should get.
fn check(archive: &mut File, parents: &[String], room: u64) -> Result<(), ImageError> {
    let mut archive = open(archive)?;
    let mut sizes: HashMap<Vec<String>, u64> = HashMap::new();
    let (mut members, mut bytes) = (0_u64, 0_u64);
    while let Some(member) = archive.next_member().attempt(|| "read the archive".into())? {
        members += 1;
        if members > MAX_MEMBERS {
            let limit = MAX_MEMBERS;
            return Err(ImageError::Limit { what: "the number of files in the archive", limit });
        }
        let checked = Checked::of(&member, parents)?;
        let folded = |names: &[String]| names.iter().map(|name| fold(name)).collect::<Vec<_>>();
        let size = match &checked.kind {
            Kind::HardLink(names) => *sizes
                .get(&folded(names))
                .ok_or_else(|| refuse(&member, "links to what is not before it in the archive"))?,
            _ => member.size,
        };
        bytes = bytes.saturating_add(size);
        if bytes > room {
            return Err(ImageError::Limit { what: "what the archive holds", limit: room });
        }
        if matches!(checked.kind, Kind::File { .. } | Kind::HardLink(_)) {
            sizes.insert(folded(&checked.names), size);
        }
    }
    Ok(())
}

impl Checked {
    /// Checks a member that is to go below the directory `parents`.
    fn of(member: &Member, parents: &[String]) -> Result<Self, ImageError> {
        let fail = |problem| refuse(member, problem);
        let names = names(&member.name, parents.is_empty()).map_err(fail)?;
        if parents.len() + names.len() > MAX_DEPTH {
            return Err(fail("lies too deep"));
        }
        let kind = match member.kind {
            MemberKind::Directory => Kind::Directory,
            _ if names.is_empty() => return Err(fail("is not below the directory")),
            MemberKind::File => {
                Kind::File { modified: time(member.modified), read_only: member.mode & 0o222 == 0 }
            }
            MemberKind::Symlink => {
                let above = names.split_last().map_or(&[][..], |(_, above)| above);
                let above = [parents, above].concat();
                Kind::Link(link(&above, &member.link).map_err(fail)?)
            }
            MemberKind::HardLink => {
                Kind::HardLink(self::names(&member.link, parents.is_empty()).map_err(fail)?)
            }
            MemberKind::Other(b'3' | b'4') => return Err(fail("is a device")),
            MemberKind::Other(b'6') => return Err(fail("is a pipe")),
            MemberKind::Other(_) => return Err(fail("is no file, directory or link")),
        };
        Ok(Self { names, kind })
    }
}

fn refuse(member: &Member, problem: &str) -> ImageError {
    let name = member.name.chars().take(200).collect();
    ImageError::Member { name, problem: problem.to_owned() }
}

/// The names of a member below the directory it goes to. An absolute name is fine when that is
/// the root: the Docker CLI takes `C:\x` for a name in the current directory.
fn names(name: &str, at_root: bool) -> Result<Vec<String>, &'static str> {
    let plain = name.replace('\\', "/");
    let plain = match plain.as_bytes() {
        [b'c' | b'C', b':', b'/', ..] if at_root => &plain[2..],
        [drive, b':', ..] if drive.is_ascii_alphabetic() => return Err("names a drive"),
        [b'/', b'/', ..] => return Err("names a network share"),
        [b'/', ..] if !at_root => return Err("is an absolute name"),
        _ => &plain,
    };
    let mut names: Vec<String> = Vec::new();
    for part in plain.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(names.pop().ok_or("leads out of the directory")?),
            part if is_name(part) => names.push(part.to_owned()),
            _ => return Err("is not a name on Windows"),
        }
    }
    Ok(names)
}

/// The target on disk of a link in the directory `parents`.
fn link(parents: &[String], target: &str) -> Result<String, &'static str> {
    let plain = target.replace('\\', "/");
    let absolute = match plain.as_bytes() {
        [] => return Err("links to nothing"),
        [b'c' | b'C', b':', b'/', ..] => true,
        [drive, b':', ..] if drive.is_ascii_alphabetic() => return Err("links to a drive"),
        [b'/', b'/', ..] => return Err("links to a network share"),
        [b'/', ..] => true,
        _ => false,
    };
    let mut depth = if absolute { 0 } else { parents.len() };
    for part in plain.split('/').filter(|part| !matches!(*part, "" | "." | "C:" | "c:")) {
        if part == ".." {
            depth = depth.checked_sub(1).ok_or("links out of the container")?;
        } else if is_name(part) {
            depth += 1;
        } else {
            return Err("links to what is not a name on Windows");
        }
    }
    Ok(links::to_linux(parents, &plain))
}

/// A time of the archive; the beginning of time when it is beyond what the host can tell.
fn time(time: FileTime) -> SystemTime {
    let (seconds, nanoseconds) = time.to_unix();
    let after = u64::try_from(seconds).ok().map(|seconds| Duration::new(seconds, nanoseconds));
    let time = after.and_then(|after| SystemTime::UNIX_EPOCH.checked_add(after));
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_directory() {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(names("./a/b", false).unwrap(), owned(&["a", "b"]));
        assert_eq!(names("a\\.\\b/../c", false).unwrap(), owned(&["a", "c"]));
        assert_eq!(names("C:\\a\\b", true).unwrap(), owned(&["a", "b"]));
        assert_eq!(names("/a", true).unwrap(), owned(&["a"]));
        assert_eq!(names("./", false).unwrap(), owned(&[]));
        for (name, problem) in [
            ("../a", "leads out of the directory"),
            ("a/../../b", "leads out of the directory"),
            ("..\\a", "leads out of the directory"),
            ("/etc/passwd", "is an absolute name"),
            ("C:\\Windows\\x", "names a drive"),
            ("D:\\x", "names a drive"),
            ("\\\\server\\share\\x", "names a network share"),
            ("a\0b", "is not a name on Windows"),
            ("ab:stream", "is not a name on Windows"),
        ] {
            assert_eq!(names(name, false).unwrap_err(), problem, "{name:?}");
        }
    }

    #[test]
    fn links_stay_in_the_container() {
        let parents = ["a".to_owned(), "b".to_owned()];
        for (target, on_disk) in [
            ("c", "c"),
            ("../c", "../c"),
            ("../../c", "../../c"),
            ("/c", "../../c"),
            ("C:\\c\\d", "../../c/d"),
            ("..\\c", "../c"),
        ] {
            assert_eq!(link(&parents, target).unwrap(), on_disk, "{target}");
        }
        for (target, problem) in [
            ("../../../etc/passwd", "links out of the container"),
            ("/../etc", "links out of the container"),
            ("D:\\x", "links to a drive"),
            ("//server/share", "links to a network share"),
            ("", "links to nothing"),
            ("a|b", "links to what is not a name on Windows"),
        ] {
            assert_eq!(link(&parents, target).unwrap_err(), problem, "{target}");
        }
    }
}
