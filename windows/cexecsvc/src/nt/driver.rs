//! Kernel drivers in this process.
//!
//! The personality's kernel is a library, `ntoskrnl.exe`: whichever process loads it can host
//! drivers, and serves the requests that other processes make of their devices.

use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{HANDLE, HMODULE, UNICODE_STRING};
use windows_sys::Win32::System::LibraryLoader::{GetProcAddress, LoadLibraryW};
use windows_sys::Win32::System::Threading::{OpenProcess, PROCESS_SYNCHRONIZE};

use super::object::Name;
use super::{Win32Error, own, wide};

/// A driver's entry point, and what the kernel calls to have one started: driver object, path of
/// the driver's registry key.
type DriverEntry = unsafe extern "system" fn(*mut core::ffi::c_void, *const UNICODE_STRING) -> i32;
/// `IoCreateDriver`: name of the driver object, what starts the driver.
type CreateDriver = unsafe extern "system" fn(*const UNICODE_STRING, DriverEntry) -> i32;
/// `wine_ntoskrnl_main_loop`: what to wait for before it returns.
type MainLoop = unsafe extern "system" fn(HANDLE) -> i32;
/// What `GetProcAddress` returns.
type Function = unsafe extern "system" fn() -> isize;

/// `STATUS_DLL_NOT_FOUND`.
const NOT_FOUND: i32 = 0xc000_0135_u32.cast_signed();

/// The personality's kernel, loaded into this process.
pub(crate) struct Kernel {
    create_driver: CreateDriver,
    main_loop: MainLoop,
}

impl Kernel {
    /// Loads the kernel.
    pub(crate) fn load() -> Result<Self, Win32Error> {
        let module = library("C:\\Windows\\System32\\ntoskrnl.exe")?;
        let create_driver = function(module, c"IoCreateDriver")?;
        let main_loop = function(module, c"wine_ntoskrnl_main_loop")?;
        // SAFETY: the types are the signatures of the kernel's two exports.
        unsafe {
            Ok(Self {
                create_driver: std::mem::transmute::<Function, CreateDriver>(create_driver),
                main_loop: std::mem::transmute::<Function, MainLoop>(main_loop),
            })
        }
    }

    /// Starts a driver; its devices exist when this returns.
    pub(crate) fn start(&self, driver: &str) -> Result<(), Win32Error> {
        let mut name = Name::new(&format!("\\Driver\\{driver}\0"));
        let mut string = name.string();
        // The NUL is there for the kernel, which reads the name as a C string; it does not count.
        string.Length -= 2;
        // SAFETY: the name outlives the call, which copies it.
        super::object::status(unsafe { (self.create_driver)(&raw const string, enter) })
    }

    /// Answers requests until a process ends. The calling thread must be the one that started the
    /// drivers.
    pub(crate) fn serve(&self, until: &OwnedHandle) -> Result<(), Win32Error> {
        // SAFETY: the handle is open for as long as it is borrowed.
        super::object::status(unsafe { (self.main_loop)(until.as_raw_handle()) })
    }
}

/// Opens a process to wait for its end.
pub(crate) fn process(pid: u32) -> Result<OwnedHandle, Win32Error> {
    // SAFETY: a process id is not a pointer.
    let process = unsafe { OpenProcess(PROCESS_SYNCHRONIZE, 0, pid) };
    if process.is_null() {
        return Err(Win32Error::last());
    }
    // SAFETY: the call succeeded, so the handle is ours.
    Ok(unsafe { own(process) })
}

/// Loads the driver whose registry key the kernel names, and enters it.
unsafe extern "system" fn enter(object: *mut core::ffi::c_void, key: *const UNICODE_STRING) -> i32 {
    // SAFETY: the kernel passes a valid string.
    let path = unsafe {
        let key = &*key;
        String::from_utf16_lossy(std::slice::from_raw_parts(
            key.Buffer,
            usize::from(key.Length / 2),
        ))
    };
    let name = path.trim_end_matches('\0').rsplit('\\').next().unwrap_or_default();
    let file = format!("C:\\Windows\\System32\\drivers\\{name}.sys");
    let Ok(module) = library(&file) else { return NOT_FOUND };
    let Some(entry) = entry_point(module) else { return NOT_FOUND };
    // SAFETY: the module is a driver, so this is its entry; the arguments are the kernel's own.
    unsafe { entry(object, key) }
}

/// Where a mapped module's headers say it is entered.
fn entry_point(module: HMODULE) -> Option<DriverEntry> {
    /// Offset in the DOS header of the offset of the PE header.
    const PE_OFFSET: usize = 0x3c;
    /// Offset in the PE header of `OptionalHeader.AddressOfEntryPoint`.
    const ENTRY: usize = 0x28;

    let base = module.cast_const().cast::<u8>();
    // SAFETY: the loader mapped the module, so its headers are there and right; functions of a
    // driver stay, since it is never unloaded.
    unsafe {
        let header = usize::try_from(base.add(PE_OFFSET).cast::<u32>().read_unaligned()).ok()?;
        let entry = base.add(header).add(ENTRY).cast::<u32>().read_unaligned();
        let address = base.add(usize::try_from(entry).ok().filter(|entry| *entry != 0)?);
        Some(std::mem::transmute::<*const u8, DriverEntry>(address))
    }
}

fn library(path: &str) -> Result<HMODULE, Win32Error> {
    let path = wide(path);
    // SAFETY: the path ends with a NUL.
    let module = unsafe { LoadLibraryW(path.as_ptr()) };
    if module.is_null() { Err(Win32Error::last()) } else { Ok(module) }
}

fn function(module: HMODULE, name: &core::ffi::CStr) -> Result<Function, Win32Error> {
    // SAFETY: the module is loaded and the name ends with a NUL.
    unsafe { GetProcAddress(module, name.as_ptr().cast()) }.ok_or_else(Win32Error::last)
}
