//! Makes mount points look like plain directories to Wine.
//!
//! Wine calls a directory a reparse point when its parent lies on another device
//! (`dlls/ntdll/unix/file.c`, `fd_is_mount_point` and `get_file_info`). Windows shows what is
//! mounted into a container as plain directories, and programs take a reparse point that cannot be
//! read for damage: PostgreSQL refuses such a data directory. So the two questions Wine asks,
//! `fstatat(directory, "..")` and `stat("directory/..")`, are answered here: the parent gets the
//! device of the directory when they differ. All other questions are the C library's.
//!
//! The loader reads this into every process of a silo that mounts something (`LD_PRELOAD`). It
//! stands on `core` and one function of the C library, and it is compiled by this crate's build
//! script.

#![no_std]

use core::ffi::{c_char, c_int, c_long};

/// `struct stat` of x86-64 Linux (`arch/x86/include/uapi/asm/stat.h`): 144 bytes.
#[derive(Default)]
#[repr(C)]
pub struct Stat {
    device: u64,
    inode: u64,
    rest: [u64; 16],
}

/// Number of `newfstatat` (`arch/x86/entry/syscalls/syscall_64.tbl`).
const NEWFSTATAT: c_long = 262;
/// `AT_FDCWD`.
const HERE: c_int = -100;
/// `AT_EMPTY_PATH`.
const ITSELF: c_int = 0x1000;
/// Longest path that Linux takes, with its end.
const PATH_MAX: usize = 4096;

unsafe extern "C" {
    /// The C library's: it sets `errno`.
    fn syscall(number: c_long, ...) -> c_long;
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stat(path: *const c_char, out: *mut Stat) -> c_int {
    // SAFETY: the caller's promises are passed on.
    let code = unsafe { ask(HERE, path, out, 0) };
    if code != 0 {
        return code;
    }
    // SAFETY: the kernel has just read the path up to its end and filled the result.
    let (path, out) = unsafe { (core::ffi::CStr::from_ptr(path).to_bytes(), &mut *out) };
    if let Some(child) = path.strip_suffix(b"/..").and_then(child) {
        adopt(out, &child);
    }
    code
}

/// The name of [`stat`] in programs compiled for large files; the same on x86-64.
///
/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stat64(path: *const c_char, out: *mut Stat) -> c_int {
    // SAFETY: the caller's promises are passed on.
    unsafe { stat(path, out) }
}

/// What is at a path that does not end in zero.
#[inline(never)]
fn child(path: &[u8]) -> Option<Stat> {
    let mut text = [0; PATH_MAX];
    let end = path.len();
    if path.is_empty() || end >= PATH_MAX {
        return None;
    }
    text[..end].copy_from_slice(path);
    let mut child = Stat::default();
    // SAFETY: the copied path ends in zero; `child` outlives the call.
    let code = unsafe { ask(HERE, text.as_ptr().cast(), &mut child, 0) };
    (code == 0).then_some(child)
}

/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fstatat(
    directory: c_int,
    path: *const c_char,
    out: *mut Stat,
    flags: c_int,
) -> c_int {
    // SAFETY: the caller's promises are passed on.
    let code = unsafe { ask(directory, path, out, flags) };
    // SAFETY: the kernel has just read the path up to its end.
    if code == 0 && unsafe { core::ffi::CStr::from_ptr(path) } == c".." {
        let mut child = Stat::default();
        // SAFETY: the empty path is a constant, `child` outlives the call.
        if unsafe { ask(directory, c"".as_ptr(), &mut child, ITSELF) } == 0 {
            // SAFETY: the kernel has filled the result.
            adopt(unsafe { &mut *out }, &child);
        }
    }
    code
}

/// The name of [`fstatat`] in programs compiled for large files; the same on x86-64.
///
/// # Safety
/// As the C library's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fstatat64(
    directory: c_int,
    path: *const c_char,
    out: *mut Stat,
    flags: c_int,
) -> c_int {
    // SAFETY: the caller's promises are passed on.
    unsafe { fstatat(directory, path, out, flags) }
}

/// Moves a parent to the device of its child; never as the child itself, which would make it a
/// root.
fn adopt(parent: &mut Stat, child: &Stat) {
    if parent.device != child.device {
        parent.device = child.device;
        if parent.inode == child.inode {
            parent.inode = !parent.inode;
        }
    }
}

unsafe fn ask(directory: c_int, path: *const c_char, out: *mut Stat, flags: c_int) -> c_int {
    // SAFETY: the arguments are those of the system call.
    let code = unsafe { syscall(NEWFSTATAT, directory, path, out, flags) };
    if code == 0 { 0 } else { -1 }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
