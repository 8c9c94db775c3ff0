//! Files as block devices.
//!
//! A [`LoopDevice`] shows a regular file as a disk, so that a file system of a fixed size can live
//! in a sparse file. Devices made here clear themselves: the kernel frees one when its last user,
//! be it a descriptor or a mount, is gone, so that no crash leaves one behind.
//!
//! A file must never have two devices at a time: two file systems on one file destroy it. Whoever
//! wants a device for a file therefore takes [`LoopDevice::of`], which finds the one there is.
#![expect(unsafe_code, reason = "neither nix nor rustix has the calls of loop devices")]

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::libc;

/// Where the kernel is asked for a free device.
pub const CONTROL: &str = "/dev/loop-control";

/// Most attempts to take a free device that somebody else takes first.
const ATTEMPTS: u32 = 64;

// Requests and flags of linux/loop.h.
const LOOP_GET_STATUS64: libc::Ioctl = 0x4c05;
const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// A block device that shows a file, held open.
#[derive(Debug)]
pub struct LoopDevice {
    device: File,
    path: PathBuf,
}

impl LoopDevice {
    /// The device of `file`: the one it has, or a new one that clears itself.
    ///
    /// # Errors
    /// Those of the loop driver; `NotFound` when the kernel has none.
    pub fn of(file: &File) -> io::Result<Self> {
        match Self::find(file)? {
            Some(device) => Ok(device),
            None => Self::attach(file),
        }
    }

    /// The device that shows `file` already.
    fn find(file: &File) -> io::Result<Option<Self>> {
        let wanted = file.metadata()?;
        for entry in fs_err::read_dir("/sys/block")? {
            let entry = entry?;
            let in_use = entry.path().join("loop/backing_file").exists();
            if !in_use {
                continue;
            }
            let path = Path::new("/dev").join(entry.file_name());
            // It may clear itself while it is looked at; an open one with a file does not.
            let Ok(device) = fs_err::File::open(&path) else { continue };
            let device = device.into_parts().0;
            let Some(status) = status(device.as_fd()) else { continue };
            if status.device == wanted.dev() && status.inode == wanted.ino() {
                return Ok(Some(Self { device, path }));
            }
        }
        Ok(None)
    }

    fn attach(file: &File) -> io::Result<Self> {
        let control = fs_err::OpenOptions::new().read(true).write(true).open(CONTROL)?;
        let backing = u32::try_from(file.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?;
        for _ in 0..ATTEMPTS {
            let number = free_number(control.file().as_fd())?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = fs_err::OpenOptions::new().read(true).write(true).open(&path)?;
            let device = device.into_parts().0;
            match configure(device.as_fd(), backing) {
                Ok(()) => return Ok(Self { device, path }),
                // Somebody else was faster.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "no loop device stays free"))
    }

    /// Its path, such as `/dev/loop3`. It is this file's as long as `self` or a mount lives.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for LoopDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

impl LoopInfo {
    const EMPTY: Self = Self {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
}

/// `struct loop_config` of linux/loop.h.
#[repr(C)]
struct LoopConfig {
    backing: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

fn free_number(control: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: the descriptor is open, and the request takes no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    u32::try_from(number).map_err(|_| io::Error::last_os_error())
}

fn configure(device: BorrowedFd<'_>, backing: u32) -> io::Result<()> {
    let info = LoopInfo { flags: LO_FLAGS_AUTOCLEAR, ..LoopInfo::EMPTY };
    let config = LoopConfig { backing, block_size: 0, info, reserved: [0; 8] };
    // SAFETY: the descriptor is open, and `config` is a valid `struct loop_config`, which the call
    // only reads; `backing` is an open descriptor of the caller, of which the kernel takes its own
    // reference.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a device shows; `None` when it shows nothing.
fn status(device: BorrowedFd<'_>) -> Option<LoopInfo> {
    let mut info = LoopInfo::EMPTY;
    // SAFETY: the descriptor is open, and `info` is a valid `struct loop_info64` of plain numbers,
    // which the call fills.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) };
    (result == 0).then_some(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_of_the_kernels_header() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
        assert_eq!(std::mem::offset_of!(LoopInfo, flags), 52);
        assert_eq!(std::mem::offset_of!(LoopConfig, info), 8);
    }

    #[test]
    fn a_file_has_one_device_which_clears_itself() {
        if fs_err::OpenOptions::new().read(true).write(true).open(CONTROL).is_err() {
            #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
            {
                eprintln!("skipped: needs root and loop devices");
            }
            return;
        }
        let file = tempfile::tempfile_in("/var/tmp").unwrap();
        file.set_len(1 << 20).unwrap();
        let first = LoopDevice::of(&file).unwrap();
        let second = LoopDevice::of(&file).unwrap();
        assert_eq!(first.path(), second.path());
        let path = first.path().to_owned();
        drop((first, second));
        assert!(LoopDevice::find(&file).unwrap().is_none(), "{} is left", path.display());
    }
}
