//! Anonymous pipes between the agent and a process.
//!
//! They are NT pipes: an inherited Unix pipe is one that libuv refuses (`EBADF`).

use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};
use windows_sys::Win32::System::Pipes::CreatePipe;

use super::{Win32Error, check, own};

/// Bytes a pipe holds: one bridge frame, so that a burst costs one wake-up.
const BUFFER: u32 = 64 << 10;

/// The two ends of a pipe.
pub(crate) struct Pipe {
    /// Where bytes come out.
    pub(crate) read: OwnedHandle,
    /// Where bytes go in.
    pub(crate) write: OwnedHandle,
}

impl Pipe {
    /// A new pipe; no end is inherited.
    pub(crate) fn new() -> Result<Self, Win32Error> {
        let (mut read, mut write) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: both out pointers are valid; no security attributes are passed.
        check(unsafe { CreatePipe(&raw mut read, &raw mut write, std::ptr::null(), BUFFER) })?;
        // SAFETY: the call succeeded, so both handles are ours.
        unsafe { Ok(Self { read: own(read), write: own(write) }) }
    }
}

/// Lets a new process inherit a handle, when its handle list names it.
pub(crate) fn inherit(handle: &OwnedHandle) -> Result<(), Win32Error> {
    let flag = HANDLE_FLAG_INHERIT;
    // SAFETY: the handle is open for as long as it is borrowed.
    check(unsafe { SetHandleInformation(handle.as_raw_handle(), flag, flag) })
}
