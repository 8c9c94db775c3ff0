//! Text in code pages.

use windows_sys::Win32::Globalization::{GetOEMCP, MultiByteToWideChar, WideCharToMultiByte};

/// The code page that consoles begin with.
pub(crate) fn console_page() -> u32 {
    // SAFETY: no arguments.
    unsafe { GetOEMCP() }
}

/// Bytes of a code page as UTF-16; nothing when the page is unknown.
pub(crate) fn decode(page: u32, bytes: &[u8]) -> Vec<u16> {
    // No code page makes more units of bytes than there are bytes.
    let mut units = vec![0; bytes.len()];
    let (given, room) = (length(bytes.len()), length(units.len()));
    // SAFETY: both buffers have the lengths passed.
    let made =
        unsafe { MultiByteToWideChar(page, 0, bytes.as_ptr(), given, units.as_mut_ptr(), room) };
    units.truncate(usize::try_from(made).unwrap_or(0));
    units
}

/// UTF-16 as bytes of a code page; nothing when the page is unknown.
pub(crate) fn encode(page: u32, units: &[u16]) -> Vec<u8> {
    /// GB 18030 needs four bytes for a unit; nothing needs more.
    const MOST: usize = 4;
    let mut bytes = vec![0; units.len() * MOST];
    let (given, room) = (length(units.len()), length(bytes.len()));
    let (text, none) = (units.as_ptr(), std::ptr::null());
    // SAFETY: both buffers have the lengths passed; no default character.
    let made = unsafe {
        let used = std::ptr::null_mut();
        WideCharToMultiByte(page, 0, text, given, bytes.as_mut_ptr(), room, none, used)
    };
    bytes.truncate(usize::try_from(made).unwrap_or(0));
    bytes
}

fn length(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
