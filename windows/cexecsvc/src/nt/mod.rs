//! System calls: the only modules with `unsafe`.
//!
//! The personality's calls have no safe wrapper for tokens, jobs, pseudo consoles and the object
//! manager, so each module here wraps one family in types that own their handles. Functions of
//! `advapi32` are imported from `kernelbase`, which is loaded anyway: every further DLL costs
//! milliseconds of a container's start.

#![expect(unsafe_code, reason = "Windows' calls have no safe form; see the module's text")]

pub(crate) mod condrv;
pub(crate) mod control;
pub(crate) mod driver;
pub(crate) mod job;
pub(crate) mod list;
pub(crate) mod named;
pub(crate) mod object;
pub(crate) mod pipe;
pub(crate) mod process;
pub(crate) mod processor;
pub(crate) mod registry;
pub(crate) mod system;
pub(crate) mod text;
pub(crate) mod token;

use std::os::windows::io::{FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{GetLastError, HANDLE};

/// A Win32 error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Win32Error(pub(crate) u32);

impl Win32Error {
    /// The calling thread's last error.
    fn last() -> Self {
        // SAFETY: reads a thread-local value.
        Self(unsafe { GetLastError() })
    }
}

/// Turns a `BOOL` into a result.
fn check(succeeded: i32) -> Result<(), Win32Error> {
    if succeeded == 0 { Err(Win32Error::last()) } else { Ok(()) }
}

/// A string with its NUL, for calls that take a pointer.
fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// Takes ownership of a handle a successful call has just returned.
///
/// # Safety
/// The handle is valid and nobody else closes it.
unsafe fn own(handle: HANDLE) -> OwnedHandle {
    // SAFETY: the caller's promise.
    unsafe { OwnedHandle::from_raw_handle(handle) }
}

/// Size of a structure for the 32-bit size fields of Win32.
fn size_of<T>() -> u32 {
    u32::try_from(std::mem::size_of::<T>()).unwrap_or(u32::MAX)
}
