//! Kernel objects that the boot makes or fills.

use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{HANDLE, UNICODE_STRING};
use windows_sys::Win32::System::Memory::{
    FILE_MAP_WRITE, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, UnmapViewOfFile,
};
use windows_sys::Win32::System::SystemInformation::{
    GlobalMemoryStatusEx, MEMORYSTATUSEX, OSVERSIONINFOEXW,
};

use super::{Win32Error, own};

/// `OBJECT_ATTRIBUTES` of `ntdef.h`.
#[repr(C)]
pub(super) struct ObjectAttributes {
    length: u32,
    pub(super) root: HANDLE,
    name: *const UNICODE_STRING,
    attributes: u32,
    descriptor: *const core::ffi::c_void,
    quality: *const core::ffi::c_void,
}

/// `OBJ_PERMANENT`: the object outlives its handles.
const PERMANENT: u32 = 0x10;
/// `OBJ_CASE_INSENSITIVE`.
pub(super) const CASE_INSENSITIVE: u32 = 0x40;
/// `OBJ_OPENLINK`: a link of the registry is opened itself.
pub(super) const OPEN_LINK: u32 = 0x100;
/// `OBJ_OPENIF`: an existing object is opened.
const OPEN_IF: u32 = 0x80;

/// `SECTION_ALL_ACCESS`, `SYMBOLIC_LINK_ALL_ACCESS` and `EVENT_ALL_ACCESS`.
const SECTION_ACCESS: u32 = 0x000f_001f;
const LINK_ACCESS: u32 = 0x000f_0001;
const EVENT_ACCESS: u32 = 0x001f_0003;

#[link(name = "ntdll", kind = "raw-dylib")]
unsafe extern "system" {
    fn NtOpenSection(section: *mut HANDLE, access: u32, attributes: *const ObjectAttributes)
    -> i32;
    fn NtCreateSymbolicLinkObject(
        link: *mut HANDLE,
        access: u32,
        attributes: *const ObjectAttributes,
        target: *const UNICODE_STRING,
    ) -> i32;
    fn NtCreateEvent(
        event: *mut HANDLE,
        access: u32,
        attributes: *const ObjectAttributes,
        kind: u32,
        signalled: u8,
    ) -> i32;
    fn NtCreateFile(
        file: *mut HANDLE,
        access: u32,
        attributes: *const ObjectAttributes,
        status: *mut [usize; 2],
        allocation: *const i64,
        file_attributes: u32,
        sharing: u32,
        disposition: u32,
        options: u32,
        extended: *const core::ffi::c_void,
        extended_length: u32,
    ) -> i32;
    fn RtlGetVersion(version: *mut OSVERSIONINFOEXW) -> i32;
}

/// A `UNICODE_STRING` and what it points to.
pub(super) struct Name {
    units: Vec<u16>,
}

impl Name {
    pub(super) fn new(text: &str) -> Self {
        Self { units: text.encode_utf16().collect() }
    }

    /// The name of exactly these 16-bit units.
    pub(super) fn exact(units: &[u16]) -> Self {
        Self { units: units.to_vec() }
    }

    pub(super) fn string(&mut self) -> UNICODE_STRING {
        let bytes = u16::try_from(self.units.len() * 2).unwrap_or(u16::MAX & !1);
        UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: self.units.as_mut_ptr() }
    }
}

pub(super) fn attributes(name: &UNICODE_STRING, attributes: u32) -> ObjectAttributes {
    ObjectAttributes {
        length: super::size_of::<ObjectAttributes>(),
        root: std::ptr::null_mut(),
        name,
        attributes,
        descriptor: std::ptr::null(),
        quality: std::ptr::null(),
    }
}

/// A status as an error: NT statuses and Win32 errors do not overlap in what is logged of them.
pub(super) fn status(status: i32) -> Result<(), Win32Error> {
    if status < 0 { Err(Win32Error(status.cast_unsigned())) } else { Ok(()) }
}

/// Makes a symbolic link of the object manager that stays until the silo ends.
pub(crate) fn link(name: &str, target: &str) -> Result<(), Win32Error> {
    let (mut name, mut target) = (Name::new(name), Name::new(target));
    let (name, target) = (name.string(), target.string());
    let attributes = attributes(&name, PERMANENT | CASE_INSENSITIVE | OPEN_IF);
    let mut handle = std::ptr::null_mut();
    // SAFETY: all pointers are to live values of the right layout.
    status(unsafe {
        NtCreateSymbolicLinkObject(
            &raw mut handle,
            LINK_ACCESS,
            &raw const attributes,
            &raw const target,
        )
    })?;
    // SAFETY: the call succeeded, so the handle is ours.
    drop(unsafe { own(handle) });
    Ok(())
}

/// Opens an object of a device, below another if one is given.
pub(super) fn device(
    name: &str,
    root: Option<&OwnedHandle>,
    access: u32,
) -> Result<OwnedHandle, Win32Error> {
    /// `FILE_SHARE_READ`, `WRITE` and `DELETE`.
    const SHARE_ALL: u32 = 7;
    /// `FILE_CREATE`: each open makes an object.
    const CREATE: u32 = 2;
    /// `FILE_NON_DIRECTORY_FILE` and `FILE_SYNCHRONOUS_IO_NONALERT`.
    const SYNCHRONOUS: u32 = 0x60;

    let mut name = Name::new(name);
    let name = name.string();
    let mut attributes = attributes(&name, 0);
    attributes.root = root.map_or(std::ptr::null_mut(), AsRawHandle::as_raw_handle);
    let (mut handle, mut block) = (std::ptr::null_mut(), [0; 2]);
    // SAFETY: all pointers are to live values of the right layout; the rest is absent.
    status(unsafe {
        NtCreateFile(
            &raw mut handle,
            access,
            &raw const attributes,
            &raw mut block,
            std::ptr::null(),
            0,
            SHARE_ALL,
            CREATE,
            SYNCHRONOUS,
            std::ptr::null(),
            0,
        )
    })?;
    // SAFETY: the call succeeded, so the handle is ours.
    Ok(unsafe { own(handle) })
}

/// Makes a signalled event; it exists as long as the handle.
pub(crate) fn signalled_event(name: &str) -> Result<OwnedHandle, Win32Error> {
    let mut name = Name::new(name);
    let name = name.string();
    let attributes = attributes(&name, OPEN_IF);
    let mut handle = std::ptr::null_mut();
    // SAFETY: all pointers are to live values of the right layout; 0 is `NotificationEvent`.
    status(unsafe { NtCreateEvent(&raw mut handle, EVENT_ACCESS, &raw const attributes, 0, 1) })?;
    // SAFETY: the call succeeded, so the handle is ours.
    Ok(unsafe { own(handle) })
}

/// A writable view of `KUSER_SHARED_DATA`, which every process sees read-only at `0x7ffe0000`.
pub(crate) struct SharedData(MEMORY_MAPPED_VIEW_ADDRESS);

impl SharedData {
    /// Bytes of the view: one page holds the structure.
    pub(crate) const SIZE: usize = 0x1000;

    /// Maps the section the personality keeps the page in.
    pub(crate) fn open() -> Result<Self, Win32Error> {
        let mut name = Name::new("\\KernelObjects\\__wine_user_shared_data");
        let name = name.string();
        let attributes = attributes(&name, 0);
        let mut section = std::ptr::null_mut();
        // SAFETY: all pointers are to live values of the right layout.
        status(unsafe { NtOpenSection(&raw mut section, SECTION_ACCESS, &raw const attributes) })?;
        // SAFETY: the call succeeded, so the handle is ours.
        let section = unsafe { own(section) };
        // SAFETY: the section is open; a size of 0 maps all of it.
        let view = unsafe { MapViewOfFile(section.as_raw_handle(), FILE_MAP_WRITE, 0, 0, 0) };
        if view.Value.is_null() { Err(Win32Error::last()) } else { Ok(Self(view)) }
    }

    /// Writes bytes at an offset; what would not fit is dropped.
    pub(crate) fn put(&self, offset: usize, bytes: &[u8]) {
        if offset.checked_add(bytes.len()).is_none_or(|end| end > Self::SIZE) {
            return;
        }
        // SAFETY: the range lies within the mapped page; the page belongs to no Rust object.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.0.Value.cast::<u8>().add(offset),
                bytes.len(),
            );
        }
    }
}

impl Drop for SharedData {
    fn drop(&mut self) {
        // SAFETY: the view was mapped by `open` and is unmapped once.
        unsafe { UnmapViewOfFile(self.0) };
    }
}

/// The Windows version the registry describes.
pub(crate) fn version() -> OSVERSIONINFOEXW {
    let mut version = OSVERSIONINFOEXW {
        dwOSVersionInfoSize: super::size_of::<OSVERSIONINFOEXW>(),
        ..OSVERSIONINFOEXW::default()
    };
    // SAFETY: the structure announces its own size.
    unsafe { RtlGetVersion(&raw mut version) };
    version
}

/// Memory the silo sees, in pages of 4 KiB.
pub(crate) fn physical_pages() -> u32 {
    let mut memory = MEMORYSTATUSEX {
        dwLength: super::size_of::<MEMORYSTATUSEX>(),
        ..MEMORYSTATUSEX::default()
    };
    // SAFETY: the structure announces its own size.
    unsafe { GlobalMemoryStatusEx(&raw mut memory) };
    u32::try_from(memory.ullTotalPhys / 4096).unwrap_or(u32::MAX)
}
