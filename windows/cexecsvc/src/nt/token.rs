//! Access tokens of the container's accounts.

use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Security::{
    CREATE_RESTRICTED_TOKEN_FLAGS, DISABLE_MAX_PRIVILEGE, SID_AND_ATTRIBUTES, TOKEN_ALL_ACCESS,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::{Win32Error, check, own};

#[link(name = "kernelbase", kind = "raw-dylib")]
unsafe extern "system" {
    fn OpenProcessToken(process: HANDLE, access: u32, token: *mut HANDLE) -> i32;
    fn CreateRestrictedToken(
        token: HANDLE,
        flags: CREATE_RESTRICTED_TOKEN_FLAGS,
        disabled_count: u32,
        disabled: *const SID_AND_ATTRIBUTES,
        deleted_count: u32,
        deleted: *const core::ffi::c_void,
        restricting_count: u32,
        restricting: *const SID_AND_ATTRIBUTES,
        new: *mut HANDLE,
    ) -> i32;
}

/// `S-1-5-32-544`, the Administrators group: revision, count, authority, sub-authorities.
#[repr(C)]
struct AdministratorsSid {
    revision: u8,
    count: u8,
    authority: [u8; 6],
    subauthorities: [u32; 2],
}

/// A copy of the agent's token that is no administrator and has no privilege beyond passing
/// through directories: `ContainerUser`.
pub(crate) fn user() -> Result<OwnedHandle, Win32Error> {
    let mut own_token = std::ptr::null_mut();
    // SAFETY: the pseudo handle is always valid, the out pointer too.
    check(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_ALL_ACCESS, &raw mut own_token) })?;
    // SAFETY: the call succeeded, so the handle is ours.
    let own_token = unsafe { own(own_token) };
    let mut sid = AdministratorsSid {
        revision: 1,
        count: 2,
        authority: [0, 0, 0, 0, 0, 5],
        subauthorities: [32, 544],
    };
    let disabled = SID_AND_ATTRIBUTES { Sid: (&raw mut sid).cast(), Attributes: 0 };
    let mut restricted = std::ptr::null_mut();
    // SAFETY: one disabled SID is passed, which lives until the call returns; the other lists are
    // empty; the token handle is open.
    check(unsafe {
        CreateRestrictedToken(
            own_token.as_raw_handle(),
            DISABLE_MAX_PRIVILEGE,
            1,
            &raw const disabled,
            0,
            std::ptr::null(),
            0,
            std::ptr::null(),
            &raw mut restricted,
        )
    })?;
    // SAFETY: the call succeeded, so the handle is ours.
    Ok(unsafe { own(restricted) })
}
