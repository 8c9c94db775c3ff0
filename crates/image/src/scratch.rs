//! Scratch disks: sandboxes that have a size.
//!
//! A sandbox with a size is a file system of its own, ext4 in a sparse file, so that whatever
//! writes to it runs out of space at that size and sees it as the size of drive C:
//!
//! ```text
//! windowsfilter/ID/sandbox.json   says that it has a size
//! windowsfilter/ID/scratch.img    sparse; what a container deletes is punched out again
//! windowsfilter/ID/disk/          where scratch.img is mounted: upper/, work/, registry/
//! ```
//!
//! `disk/` is mounted while somebody here holds a [`Hold`] and no longer. A silo takes the mount
//! into its own mount namespace when it boots, so a running container needs none of the host's; a
//! stopped one has neither mount nor device. The loop device frees itself when its last mount goes,
//! and a file never has two: see [`LoopDevice`]. What a killed daemon left mounted is taken down
//! when the next one opens the store.
//!
//! The registry lies on the disk too, because a container can write to that directory: outside it
//! would be a hole in the quota. The price: a container that ends on a full disk keeps the registry
//! of its latest save, for there is no room to write another.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oriel_hcs::{Check, CheckLevel};
use oriel_sys::loopback::{self, LoopDevice};
use oriel_sys::mount::{Attributes, Tree};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::ImageError;
use crate::error::Attempt;

/// The file with the file system.
pub(crate) const IMAGE: &str = "scratch.img";
/// Where it is mounted.
pub(crate) const DISK: &str = "disk";

/// Smallest disk: the registry and its next version, and some room.
const SMALLEST: u64 = 32 << 20;
/// Largest disk: its empty file system takes some 60 MB of the host already.
const LARGEST: u64 = 4 << 40;

const BLOCK: u64 = 4096;
/// Blocks of a group, which one block of bits describes.
const GROUP_BLOCKS: u64 = 8 * BLOCK;
/// Files a group can hold: one for each 16 KiB, as in mke2fs' own defaults.
const GROUP_INODES: u64 = 8192;
const INODE_BYTES: u64 = 256;
/// Bytes of a group's description, with 64-bit block numbers.
const DESCRIPTOR_BYTES: u64 = 64;
const JOURNAL_MEBIBYTES: u64 = 8;
/// Fewest blocks a last group must have for mke2fs not to leave it out.
const SMALLEST_GROUP: u64 = 1024;

/// What ext4 is made of; written out, so that neither the host's `mke2fs.conf` nor its version
/// changes how much is left. `ea_inode` lets a file have attributes of 64 KiB, as a security
/// descriptor may need.
const FEATURES: &str = "none,has_journal,extent,dir_index,filetype,sparse_super,large_file,\
                        huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize,ea_inode";

/// Where distributions put it; a service's search path often lacks the directory.
const USUAL_MKFS: &str = "/usr/sbin/mkfs.ext4";

fn mkfs() -> &'static str {
    if Path::new(USUAL_MKFS).exists() { USUAL_MKFS } else { "mkfs.ext4" }
}

/// Length of a file system in blocks, and its files at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Geometry {
    blocks: u64,
    inodes: u64,
}

impl Geometry {
    /// The file system that offers `bytes`, besides what it needs for itself.
    fn offering(bytes: u64) -> Self {
        let wanted = bytes.div_ceil(BLOCK);
        let mut groups = wanted.div_ceil(GROUP_BLOCKS);
        while wanted + Self::overhead(groups) > groups * GROUP_BLOCKS {
            groups += 1;
        }
        let last = (groups - 1) * GROUP_BLOCKS;
        let blocks = (wanted + Self::overhead(groups)).max(last + SMALLEST_GROUP);
        Self { blocks, inodes: groups * GROUP_INODES }
    }

    /// Blocks that hold no data: bitmaps, inodes, journal, and copies of the superblock with the
    /// descriptions of all groups.
    fn overhead(groups: u64) -> u64 {
        let tables = 2 + GROUP_INODES * INODE_BYTES / BLOCK;
        let copies = (0..groups).filter(|group| has_superblock(*group)).count() as u64;
        let journal = JOURNAL_MEBIBYTES * (1 << 20) / BLOCK;
        let descriptions = (groups * DESCRIPTOR_BYTES).div_ceil(BLOCK);
        groups * tables + copies * (1 + descriptions) + journal
    }
}

/// Groups 0 and 1 and the powers of 3, 5 and 7 have a copy of the superblock.
fn has_superblock(group: u64) -> bool {
    let power_of = |base: u64| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    group <= 1 || power_of(3) || power_of(5) || power_of(7)
}

/// Refuses sizes no sandbox can have.
///
/// # Errors
/// [`ImageError::SandboxSize`].
pub fn check_size(size: u64) -> Result<(), ImageError> {
    if (SMALLEST..=LARGEST).contains(&size) {
        return Ok(());
    }
    Err(ImageError::SandboxSize { size, smallest: SMALLEST, largest: LARGEST })
}

/// Makes the file system of the sandbox at `path`, with what `disk/` holds in it, and leaves
/// `disk/` empty.
pub(crate) fn make(path: &Path, size: u64) -> Result<(), ImageError> {
    let attempt = || format!("make a disk of {size} bytes");
    let geometry = Geometry::offering(size);
    let (image, disk) = (path.join(IMAGE), path.join(DISK));
    let file = fs_err::File::create_new(&image).attempt(attempt)?;
    crate::disk::set_mode(file.file(), 0o600).attempt(attempt)?;
    file.set_len(geometry.blocks * BLOCK).attempt(attempt)?;
    let output = Command::new(mkfs())
        .args(["-F", "-q", "-m", "0", "-O", FEATURES])
        .args(["-b", &BLOCK.to_string(), "-I", &INODE_BYTES.to_string()])
        .args(["-N", &geometry.inodes.to_string(), "-J", &format!("size={JOURNAL_MEBIBYTES}")])
        .args(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"])
        .arg("-d")
        .arg(&disk)
        .arg(&image)
        .output();
    let output = match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_disks()),
        output => output.attempt(attempt)?,
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(io::Error::other(format!("mkfs.ext4: {said}"))).attempt(attempt);
    }
    fs_err::remove_dir_all(&disk).attempt(attempt)?;
    fs_err::create_dir(&disk).attempt(attempt)
}

/// Who needs which disk mounted.
#[derive(Debug, Default)]
pub(crate) struct Disks(Mutex<HashMap<PathBuf, Arc<Mutex<usize>>>>);

/// Keeps a disk mounted, as long as it lives.
#[derive(Debug)]
pub(crate) struct Hold {
    place: PathBuf,
    count: Arc<Mutex<usize>>,
}

/// Whoever panicked while it was locked left it as it was.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disks {
    /// Takes down what an earlier daemon left mounted below `root`, the directory of sandboxes.
    /// Nobody may hold a disk.
    pub(crate) fn clear(root: &Path) -> Result<(), ImageError> {
        let attempt = || format!("take down the disks below {}", root.display());
        let Ok(root) = fs_err::canonicalize(root) else { return Ok(()) };
        let table = fs_err::read("/proc/self/mountinfo").attempt(attempt)?;
        for place in table.split(|byte| *byte == b'\n').filter_map(mount_point) {
            let sandbox = place.parent().and_then(Path::parent);
            if sandbox == Some(&root) && place.ends_with(DISK) {
                take_down(&place).attempt(attempt)?;
            }
        }
        Ok(())
    }

    /// Mounts the disk of the sandbox at `path`, unless it is mounted already.
    pub(crate) fn hold(&self, path: &Path) -> Result<Hold, ImageError> {
        let place = path.join(DISK);
        let count = locked(&self.0).entry(place.clone()).or_default().clone();
        let mut held = locked(&count);
        if *held == 0 {
            put_up(&path.join(IMAGE), &place)?;
        }
        *held += 1;
        drop(held);
        Ok(Hold { place, count })
    }

    /// Takes down the disk of the sandbox at `path`, which is about to be removed, whoever holds
    /// it. Files that are open stay readable.
    pub(crate) fn forget(&self, path: &Path) -> Result<(), ImageError> {
        let place = path.join(DISK);
        let Some(count) = locked(&self.0).remove(&place) else { return Ok(()) };
        let _held = locked(&count);
        take_down(&place).attempt(|| format!("take down {}", place.display()))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = locked(&self.count);
        *held -= 1;
        if *held > 0 {
            return;
        }
        if let Err(error) = take_down(&self.place) {
            let place = self.place.display();
            tracing::warn!(%place, %error, "cannot take down a scratch disk yet");
        }
    }
}

/// Mounts a disk.
fn put_up(image: &Path, place: &Path) -> Result<(), ImageError> {
    let attempt = || format!("mount {}", image.display());
    let file = fs_err::OpenOptions::new().read(true).write(true).open(image).attempt(attempt)?;
    let device = match LoopDevice::of(file.file()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_disks()),
        device => device.attempt(attempt)?,
    };
    // What is deleted inside is given back to the host. The tables of files stay holes until
    // they are needed: a new file is zeros already.
    let flags = ["discard", "noinit_itable"];
    let attributes = Attributes::NO_SUID.and(Attributes::NO_DEV);
    let tree = Tree::of_device("ext4", device.path(), &flags, attributes).attempt(attempt)?;
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::openat(CWD, place, directory, Mode::empty())
        .map_err(io::Error::from)
        .attempt(attempt)?;
    tree.attach(place).attempt(attempt)
}

/// Unmounts a disk; what is still open of it goes when it is closed. None there is no error.
fn take_down(place: &Path) -> io::Result<()> {
    match unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The mount point in a line of `mountinfo`, where blanks are written `\040`.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|_| *first == b'\\');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                rest = &tail[3..];
            }
            None => {
                path.push(*first);
                rest = tail;
            }
        }
    }
    Some(PathBuf::from(OsString::from_vec(path)))
}

/// What this host lacks for sandboxes that have a size.
fn missing() -> Vec<&'static str> {
    let systems = fs_err::read_to_string("/proc/filesystems").unwrap_or_default();
    let runs = |program: &str| Command::new(program).arg("-V").output().is_ok();
    let needs = [
        (Path::new(loopback::CONTROL).exists(), "loop devices (modprobe loop)"),
        (systems.lines().any(|line| line.trim() == "ext4"), "ext4 (modprobe ext4)"),
        (runs(mkfs()), "mkfs.ext4 (install e2fsprogs)"),
    ];
    needs.into_iter().filter(|(there, _)| !there).map(|(_, what)| what).collect()
}

fn no_disks() -> ImageError {
    ImageError::NoDisks { missing: missing().join(", ") }
}

/// Whether this host can limit the size of a sandbox. Blocks, for milliseconds.
#[must_use]
pub fn check() -> Check {
    let missing = missing();
    let name = "sandbox sizes".to_owned();
    if missing.is_empty() {
        let finding = "--storage-opt size= works: ext4 on loop devices".to_owned();
        return Check { name, level: CheckLevel::Ok, finding, remedy: String::new() };
    }
    Check {
        name,
        level: CheckLevel::Warning,
        finding: format!("the host lacks {}", missing.join(", ")),
        remedy: "provide it; containers with --storage-opt size= are refused until then".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_offers_what_was_asked_for() {
        // Against `dumpe2fs`: 176 groups have an overhead of 92556 blocks.
        assert_eq!(Geometry::overhead(176), 92_556);
        for size in [SMALLEST, 64 << 20, (1 << 30) + 1, 20 << 30, LARGEST] {
            let Geometry { blocks, inodes } = Geometry::offering(size);
            let groups = inodes / GROUP_INODES;
            assert_eq!(blocks.div_ceil(GROUP_BLOCKS), groups, "{size}");
            let offered = (blocks - Geometry::overhead(groups)) * BLOCK;
            assert!(offered >= size && offered - size <= SMALLEST_GROUP * BLOCK, "{size}");
        }
    }

    #[test]
    fn superblocks_are_copied_to_few_groups() {
        let copies: Vec<u64> = (0..130).filter(|group| has_superblock(*group)).collect();
        assert_eq!(copies, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    #[test]
    fn blanks_in_mount_points_are_decoded() {
        let line = b"36 35 98:0 /mnt1 /var/a\\040b/x\\134 rw shared:1 - ext4 /dev/loop0 rw";
        assert_eq!(mount_point(line), Some(PathBuf::from("/var/a b/x\\")));
        assert_eq!(mount_point(b""), None);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for size in [0, 1, SMALLEST - 1, LARGEST + 1, u64::MAX] {
            let error = check_size(size).unwrap_err();
            assert!(error.to_string().contains(&size.to_string()), "{error}");
        }
        assert!(check_size(SMALLEST).is_ok() && check_size(LARGEST).is_ok());
    }
}
