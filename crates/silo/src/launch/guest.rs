//! What a document wants mounted into drive C: directories and files of the host, and memory.
//!
//! What the owner of a source owns in it is the container's: so a container can write to the
//! directory of whoever started it, and what it makes there is that user's.
//!
//! A mount may lie inside another one. Its mount point is then made where the outer one's files
//! are: through the outer mount, which maps owners, this process is nobody and may make nothing.

use std::io;

use oriel_hcs::{Mount, MountSource};
use oriel_sys::{
    mount::{Attributes, Tree},
    namespace::{IdRange, UserNamespace},
};
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2},
    io::Errno,
};

use super::{
    CONTAINER_IDS,
    drive::restrict_and_map,
    folder::{Folder, components},
    root::PLAIN,
};
use crate::error::{Attempt, SiloError};

/// How a source is held while it is mounted.
const PINNED: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// A mount that is in its place already.
struct Shown<'a> {
    /// Names along its target.
    parts: Vec<&'a str>,
    /// The host's directory that it shows; `None` for memory, whose owners are not mapped.
    source: Option<Folder>,
    read_only: bool,
}

/// What is mounted, before it has a place.
struct Prepared {
    tree: Tree,
    source: Option<Folder>,
    is_directory: bool,
}

/// Mounts everything, outer places before inner ones.
pub(super) fn mount(
    mounts: &[Mount],
    drive: &Folder,
    users: &UserNamespace,
) -> Result<(), SiloError> {
    let mut shown: Vec<Shown<'_>> = Vec::new();
    // Pipes are no files: the execution agent serves them.
    let files = mounts.iter().filter(|mount| !matches!(mount.source, MountSource::Pipe(_)));
    for mount in files {
        let attempt = || format!("mount {} on {}", describe(&mount.source), mount.target);
        let done = one(mount, drive, &shown, users).attempt(attempt)?;
        shown.push(done);
    }
    Ok(())
}

fn describe(source: &MountSource) -> String {
    match source {
        MountSource::Host(path) => path.display().to_string(),
        MountSource::Memory { .. } => "memory".to_owned(),
        MountSource::Below(base, path) => base.join(path).display().to_string(),
        MountSource::Pipe(socket) => socket.display().to_string(),
    }
}

fn one<'a>(
    mount: &'a Mount,
    drive: &Folder,
    shown: &[Shown<'_>],
    users: &UserNamespace,
) -> io::Result<Shown<'a>> {
    let parts = components(&mount.target).ok_or(io::ErrorKind::InvalidInput)?;
    let Prepared { tree, source, is_directory } = prepare(mount, users)?;
    make_place(&parts, is_directory, drive, shown)?;
    let (last, parents) = parts.split_last().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = drive.descend(parents)?.ok_or(io::ErrorKind::NotFound)?;
    if is_directory {
        tree.attach(parent.enter(last)?.ok_or(io::ErrorKind::NotFound)?)?;
    } else {
        tree.attach(parent.file(last)?.ok_or(io::ErrorKind::IsADirectory)?)?;
    }
    Ok(Shown { parts, source, read_only: mount.read_only })
}

fn prepare(mount: &Mount, users: &UserNamespace) -> io::Result<Prepared> {
    let write = if mount.read_only { Attributes::READ_ONLY } else { Attributes::default() };
    let attributes = PLAIN.and(write);
    let pinned = match &mount.source {
        MountSource::Memory { size_bytes } => {
            let tree = memory(*size_bytes, attributes)?;
            return Ok(Prepared { tree, source: None, is_directory: true });
        }
        MountSource::Host(path) => openat(CWD, path, PINNED, Mode::empty())?,
        MountSource::Below(base, path) => {
            let base = openat(CWD, base, PINNED | OFlags::DIRECTORY, Mode::empty())?;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            openat2(&base, path, PINNED, Mode::empty(), resolve)?
        }
        MountSource::Pipe(_) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let status = fstat(&pinned)?;
    let is_directory = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => true,
        FileType::RegularFile => false,
        _ => return Err(io::Error::other("only directories and regular files can be mounted")),
    };
    let tree = Tree::copy(&pinned, std::path::Path::new(""))?;
    match mapped_to(status.st_uid, status.st_gid)? {
        Some(users) => restrict_and_map(&tree, &users, attributes)?,
        None => restrict_and_map(&tree, users, attributes)?,
    }
    let source = is_directory.then(|| Folder::of(&pinned)).transpose()?;
    Ok(Prepared { tree, source, is_directory })
}

/// A mapping in which the container's user 0 is `user`, and its group 0 `group`; `None` when the
/// usual one is that.
fn mapped_to(user: u32, group: u32) -> io::Result<Option<UserNamespace>> {
    if (user, group) == (0, 0) {
        return Ok(None);
    }
    UserNamespace::with(&swapped(user), &swapped(group)).map(Some)
}

/// The container's ids with `id` of the disk in the place of 0, and 0 in its place, where it has
/// one.
fn swapped(id: u32) -> Vec<IdRange> {
    let IdRange { outside, count, .. } = CONTAINER_IDS;
    let range = |inside, shown, count| IdRange { inside, outside: outside + shown, count };
    let ranges = match id {
        0 => vec![range(0, 0, count)],
        _ if id >= count => vec![range(id, 0, 1), range(1, 1, count - 1)],
        _ => vec![
            range(id, 0, 1),
            range(0, id, 1),
            range(1, 1, id - 1),
            range(id + 1, id + 1, count - id - 1),
        ],
    };
    ranges.into_iter().filter(|range| range.count > 0).collect()
}

fn memory(size_bytes: Option<u64>, attributes: Attributes) -> io::Result<Tree> {
    let owner = CONTAINER_IDS.outside.to_string();
    let size = size_bytes.map(|size| size.to_string());
    let mut options = vec![("mode", "0755"), ("uid", owner.as_str()), ("gid", owner.as_str())];
    options.extend(size.as_deref().map(|size| ("size", size)));
    Tree::new("tmpfs", &options, attributes)
}

/// Makes the directory or file that something is mounted on, as far as it is missing.
fn make_place(
    parts: &[&str],
    is_directory: bool,
    drive: &Folder,
    shown: &[Shown<'_>],
) -> io::Result<()> {
    let outer = shown.iter().filter(|outer| is_below(parts, &outer.parts));
    let outer = outer.max_by_key(|outer| outer.parts.len());
    let (mut folder, rest, owner) = match outer {
        Some(Shown { parts: above, source: Some(source), .. }) => {
            let owner = fstat(source)?.st_uid;
            (source.descend(&[])?, &parts[above.len()..], owner)
        }
        Some(_) | None => (drive.descend(&[])?, parts, CONTAINER_IDS.outside),
    };
    let read_only = outer.is_some_and(|outer| outer.read_only);
    let (last, parents) = rest.split_last().ok_or(io::ErrorKind::AlreadyExists)?;
    let directories = if is_directory { rest } else { parents };
    for name in directories {
        let here = folder.take().ok_or(io::ErrorKind::NotFound)?;
        folder = match here.enter(name)? {
            None if read_only => return Err(Errno::ROFS.into()),
            None => Some(here.enter_or_make(name, owner)?),
            found => found,
        };
    }
    let folder = folder.ok_or(io::ErrorKind::NotFound)?;
    match is_directory {
        true => Ok(()),
        false if read_only && folder.file(last)?.is_none() => Err(Errno::ROFS.into()),
        false => folder.make_file(last, owner),
    }
}

/// Whether a place lies inside another one.
fn is_below(parts: &[&str], above: &[&str]) -> bool {
    parts.len() > above.len()
        && parts.iter().zip(above).all(|(a, b)| a.to_lowercase() == b.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_source_is_the_containers_own_user() {
        let shown = |id: u32, on_disk: u32| {
            let ranges = swapped(id);
            let range = ranges.iter().find(|r| (r.inside..r.inside + r.count).contains(&on_disk));
            range.map(|range| range.outside + (on_disk - range.inside) - CONTAINER_IDS.outside)
        };
        for (id, on_disk, inside) in [
            (0, 0, Some(0)),
            (1000, 1000, Some(0)),
            (1000, 0, Some(1000)),
            (1000, 999, Some(999)),
            (1000, 1001, Some(1001)),
            (1, 1, Some(0)),
            (1, 0, Some(1)),
            (65_535, 65_535, Some(0)),
            (65_535, 65_534, Some(65_534)),
            (200_000, 200_000, Some(0)),
            (200_000, 5, Some(5)),
            (200_000, 0, None),
        ] {
            assert_eq!(shown(id, on_disk), inside, "{id} {on_disk}");
        }
    }

    #[test]
    fn a_place_inside_another_is_told_without_case() {
        assert!(is_below(&["Data", "sub"], &["data"]));
        assert!(!is_below(&["data"], &["data"]));
        assert!(!is_below(&["database", "sub"], &["data"]));
    }
}
