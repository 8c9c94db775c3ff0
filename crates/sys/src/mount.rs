//! Mounts as descriptors.
//!
//! A [`Tree`] is a mount that is not (or not yet) at a place. It is cloned from a directory, gets
//! its attributes and id mapping, and is attached last, so no half-configured mount is ever
//! visible, and a place is given as a descriptor instead of a path that someone may redirect.
#![expect(unsafe_code, reason = "neither nix nor rustix has mount_setattr")]

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use nix::libc;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

/// What programs may do with a mount; set bits take something away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    /// Nothing can be written.
    pub const READ_ONLY: Self = Self(MountAttrFlags::MOUNT_ATTR_RDONLY.bits() as u64);
    /// Set-user-id bits have no effect.
    pub const NO_SUID: Self = Self(MountAttrFlags::MOUNT_ATTR_NOSUID.bits() as u64);
    /// Device nodes cannot be opened.
    pub const NO_DEV: Self = Self(MountAttrFlags::MOUNT_ATTR_NODEV.bits() as u64);
    /// Programs cannot be executed.
    pub const NO_EXEC: Self = Self(MountAttrFlags::MOUNT_ATTR_NOEXEC.bits() as u64);

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A mount that has no place yet.
#[derive(Debug)]
pub struct Tree(OwnedFd);

impl Tree {
    /// A copy of what `path` shows, without the mounts below it. A relative path starts at
    /// `directory`; an empty one means `directory` itself. A symbolic link at the end is not
    /// followed.
    ///
    /// # Errors
    /// Those of `open_tree`(2).
    pub fn copy(directory: impl AsFd, path: &Path) -> io::Result<Self> {
        Self::open(directory, path, OpenTreeFlags::empty())
    }

    /// As [`Tree::copy`], with the mounts below it.
    ///
    /// # Errors
    /// Those of `open_tree`(2).
    pub fn copy_recursive(directory: impl AsFd, path: &Path) -> io::Result<Self> {
        Self::open(directory, path, OpenTreeFlags::AT_RECURSIVE)
    }

    fn open(directory: impl AsFd, path: &Path, more: OpenTreeFlags) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW
            | more;
        Ok(Self(open_tree(directory, path, flags)?))
    }

    /// A new file system without a device, such as `tmpfs` or `proc`.
    ///
    /// # Errors
    /// Those of fsopen(2), fsconfig(2) and fsmount(2).
    pub fn new(kind: &str, options: &[(&str, &str)], attributes: Attributes) -> io::Result<Self> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "source", kind)?;
        for (name, value) in options {
            fsconfig_set_string(&context, *name, *value)?;
        }
        Self::finish(&context, attributes)
    }

    /// The file system `kind` of the block device `device`, with options that take no value.
    ///
    /// # Errors
    /// Those of fsopen(2), fsconfig(2) and fsmount(2).
    pub fn of_device(
        kind: &str,
        device: &Path,
        flags: &[&str],
        attributes: Attributes,
    ) -> io::Result<Self> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "source", device)?;
        for flag in flags {
            fsconfig_set_flag(&context, *flag)?;
        }
        Self::finish(&context, attributes)
    }

    fn finish(context: &OwnedFd, attributes: Attributes) -> io::Result<Self> {
        fsconfig_create(context)?;
        let bits = u32::try_from(attributes.0).map_err(|_| io::ErrorKind::InvalidInput)?;
        let attributes = MountAttrFlags::from_bits_retain(bits);
        Ok(Self(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?))
    }

    /// Takes rights away.
    ///
    /// # Errors
    /// Those of `mount_setattr`(2).
    pub fn restrict(&self, attributes: Attributes) -> io::Result<()> {
        set_attributes(self.0.as_fd(), c"", attributes, None)
    }

    /// Takes rights away, from the mounts below too.
    ///
    /// # Errors
    /// Those of `mount_setattr`(2).
    pub fn restrict_recursive(&self, attributes: Attributes) -> io::Result<()> {
        let (change, flags) = (MountAttr { set: attributes.0, ..MountAttr::default() }, RECURSIVE);
        change_attributes(self.0.as_fd(), c"", flags, &change)
    }

    /// Takes rights away and shows the owners of files as `user_namespace` maps them: what is
    /// owned by its id 0 on disk appears as the id that 0 is mapped to.
    ///
    /// # Errors
    /// Those of `mount_setattr`(2); `InvalidInput` when the file system cannot map ids.
    pub fn map_ids(&self, user_namespace: impl AsFd, attributes: Attributes) -> io::Result<()> {
        set_attributes(self.0.as_fd(), c"", attributes, Some(user_namespace.as_fd()))
    }

    /// Puts it on `place`, a directory or, for a tree that is a file, a file.
    ///
    /// # Errors
    /// Those of `move_mount`(2).
    pub fn attach(&self, place: impl AsFd) -> io::Result<()> {
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(move_mount(&self.0, c"", place, c"", flags)?)
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// `AT_EMPTY_PATH` and `AT_RECURSIVE` of linux/fcntl.h.
const EMPTY_PATH: libc::c_uint = 0x1000;
const RECURSIVE: libc::c_uint = 0x8000;

fn set_attributes(
    directory: BorrowedFd<'_>,
    path: &CStr,
    attributes: Attributes,
    user_namespace: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut change = MountAttr { set: attributes.0, ..MountAttr::default() };
    if let Some(namespace) = user_namespace {
        change.set |= u64::from(MountAttrFlags::MOUNT_ATTR_IDMAP.bits());
        change.user_namespace = u64::try_from(namespace.as_raw_fd())
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    }
    change_attributes(directory, path, 0, &change)
}

fn change_attributes(
    directory: BorrowedFd<'_>,
    path: &CStr,
    flags: libc::c_uint,
    change: &MountAttr,
) -> io::Result<()> {
    // SAFETY: `path` ends with NUL, `change` is a valid `struct mount_attr` of the size given, and
    // both outlive the call, which only reads them. The descriptors are borrowed, so open.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory.as_raw_fd(),
            path.as_ptr(),
            EMPTY_PATH | flags,
            std::ptr::from_ref(change),
            size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_attr_has_the_size_of_the_kernels_first_version() {
        let version_0 = MountAttrFlags::MOUNT_ATTR_SIZE_VER0.bits();
        assert_eq!(size_of::<MountAttr>(), usize::try_from(version_0).unwrap());
    }

    #[test]
    fn attributes_add_up() {
        let both = Attributes::READ_ONLY.and(Attributes::NO_DEV);
        assert_eq!(both.0, Attributes::READ_ONLY.0 | Attributes::NO_DEV.0);
    }
}
