//! Small questions to the system.

use windows_sys::Win32::System::Diagnostics::Debug::{
    FORMAT_MESSAGE_FROM_SYSTEM, FORMAT_MESSAGE_IGNORE_INSERTS, FormatMessageW,
};
use windows_sys::Win32::System::SystemInformation::{
    COMPUTER_NAME_FORMAT, ComputerNameDnsHostname, ComputerNameNetBIOS, GetComputerNameExW,
    GetSystemInfo, SYSTEM_INFO,
};

/// The NetBIOS name of the computer; empty before it is set.
pub(crate) fn computer_name() -> String {
    name(ComputerNameNetBIOS)
}

/// The DNS name of the computer.
pub(crate) fn host_name() -> String {
    name(ComputerNameDnsHostname)
}

fn name(kind: COMPUTER_NAME_FORMAT) -> String {
    let mut name = [0_u16; 256];
    let mut length = 256;
    // SAFETY: the buffer has the length passed, which the call updates.
    let found = unsafe { GetComputerNameExW(kind, name.as_mut_ptr(), &raw mut length) };
    let length = usize::try_from(length).map_or(0, |length| length.min(name.len()));
    if found == 0 { String::new() } else { String::from_utf16_lossy(&name[..length]) }
}

/// Number of processors the silo sees.
pub(crate) fn processor_count() -> u32 {
    let mut information = SYSTEM_INFO::default();
    // SAFETY: the out pointer is valid.
    unsafe { GetSystemInfo(&raw mut information) };
    information.dwNumberOfProcessors
}

/// The personality's text for a Win32 error, on one line.
pub(crate) fn message(code: u32) -> String {
    let mut text = [0_u16; 512];
    let flags = FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS;
    // SAFETY: the buffer has the length passed; inserts are ignored, so no arguments are read.
    let length = unsafe {
        FormatMessageW(flags, std::ptr::null(), code, 0, text.as_mut_ptr(), 512, std::ptr::null())
    };
    let length = usize::try_from(length).map_or(0, |length| length.min(text.len()));
    let text = String::from_utf16_lossy(&text[..length]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() { format!("Win32 error {code}.") } else { text }
}
