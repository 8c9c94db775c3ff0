//! Console control events for processes of any console, or of none.
//!
//! The personality delivers events by starting a thread at `kernelbase!CtrlRoutine` in the target,
//! with the event's number as its argument; that needs no shared console, so the agent does the
//! same. A module is at the same address in every process, so the agent's own address serves.
//!
//! One thing differs from Windows: without a handler of its own, a program that gets
//! `CTRL_SHUTDOWN_EVENT` ends with 0 instead of `STATUS_CONTROL_C_EXIT`. The agent therefore looks
//! whether the target has registered a handler, and ends it itself when it has not.

use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::OnceLock;

use oriel_hcs::ControlEvent;
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Console::SetConsoleCtrlHandler;
use windows_sys::Win32::System::Diagnostics::Debug::ReadProcessMemory;
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::ProcessStatus::K32GetMappedFileNameW;
use windows_sys::Win32::System::Threading::{
    CreateRemoteThread, GetCurrentProcess, OpenProcess, PROCESS_ALL_ACCESS, TerminateProcess,
};
use windows_sys::core::BOOL;

use super::{Win32Error, check, own, wide};

/// `STATUS_CONTROL_C_EXIT`: how a program without a handler ends.
const CONTROL_C_EXIT: u32 = 0xc000_013a;

/// Delivers an event to one process. On return its handlers may still be running.
pub(crate) fn deliver(pid: u32, event: ControlEvent) -> Result<(), Win32Error> {
    // SAFETY: a process id is not a pointer.
    let process = unsafe { OpenProcess(PROCESS_ALL_ACCESS, 0, pid) };
    if process.is_null() {
        return Err(Win32Error::last());
    }
    // SAFETY: the call succeeded, so the handle is ours.
    let process = unsafe { own(process) };
    if event == ControlEvent::Shutdown && !has_handler(&process) {
        // SAFETY: the handle is open.
        return check(unsafe { TerminateProcess(process.as_raw_handle(), CONTROL_C_EXIT) });
    }
    start_routine(&process, event)
}

fn start_routine(process: &OwnedHandle, event: ControlEvent) -> Result<(), Win32Error> {
    let name = wide("kernelbase.dll");
    // SAFETY: the name ends with a NUL; the module stays loaded.
    let module = unsafe { GetModuleHandleW(name.as_ptr()) };
    // SAFETY: the module is loaded and the name ends with a NUL.
    let routine = unsafe { GetProcAddress(module, c"CtrlRoutine".as_ptr().cast()) };
    let Some(routine) = routine else { return Err(Win32Error::last()) };
    // SAFETY: the routine has the signature of a thread's start, whatever the type says.
    let routine = unsafe {
        std::mem::transmute::<
            unsafe extern "system" fn() -> isize,
            unsafe extern "system" fn(*mut core::ffi::c_void) -> u32,
        >(routine)
    };
    let number = usize::try_from(event.number()).unwrap_or_default();
    // SAFETY: the process handle is open; the argument is a number, not a pointer.
    let thread = unsafe {
        CreateRemoteThread(
            process.as_raw_handle(),
            std::ptr::null(),
            0,
            Some(routine),
            std::ptr::without_provenance(number),
            0,
            std::ptr::null_mut(),
        )
    };
    if thread.is_null() {
        return Err(Win32Error::last());
    }
    // SAFETY: the call succeeded, so the handle is ours.
    drop(unsafe { own(thread) });
    Ok(())
}

/// Whether a process has a handler of its own; `true` when that cannot be told. The C runtimes'
/// handlers do not count: they know Ctrl+C and Ctrl+Break only.
fn has_handler(process: &OwnedHandle) -> bool {
    static LIST: OnceLock<Option<usize>> = OnceLock::new();
    let process = process.as_raw_handle();
    let Some(mut link) = *LIST.get_or_init(list_head) else { return true };
    for _ in 0..MAX_HANDLERS {
        let Some(node) = read_word(process, link) else { return true };
        let next = node + size_of::<usize>();
        let (Some(handler), Some(after)) = (read_word(process, node), read_word(process, next))
        else {
            return true;
        };
        // The built-in handler is the last of every list.
        if after == 0 {
            return false;
        }
        if !is_runtime(process, handler) {
            return true;
        }
        link = next;
    }
    true
}

/// Handlers looked at, so that a list that changes meanwhile ends.
const MAX_HANDLERS: usize = 64;

/// Whether code belongs to a C runtime.
fn is_runtime(process: HANDLE, code: usize) -> bool {
    let mut path = [0_u16; 512];
    // SAFETY: the buffer has the length passed; the address is only looked up in the process.
    let length = unsafe {
        K32GetMappedFileNameW(process, std::ptr::without_provenance(code), path.as_mut_ptr(), 512)
    };
    let length = usize::try_from(length).map_or(0, |length| length.min(path.len()));
    let path = String::from_utf16_lossy(&path[..length]).to_lowercase();
    let file = path.rsplit(['\\', '/']).next().unwrap_or_default();
    file == "ucrtbase.dll" || file.starts_with("msvcr")
}

/// Address at which `kernelbase` keeps its list of control handlers: it is the word that, once a
/// handler is registered, points to a node with that handler and the word's former value.
fn list_head() -> Option<usize> {
    let before = writable_words()?;
    let ours = ignore as unsafe extern "system" fn(u32) -> BOOL;
    // SAFETY: the handler is a function of the right signature that lives for ever.
    check(unsafe { SetConsoleCtrlHandler(Some(ours), 1) }).ok()?;
    let found = before.iter().find_map(|&(address, former)| {
        let node = read_own_word(address).filter(|node| *node != former)?;
        let handler = read_own_word(node)?;
        let next = read_own_word(node.checked_add(size_of::<usize>())?)?;
        (handler == ours as usize && next == former).then_some(address)
    });
    // SAFETY: as above.
    unsafe { SetConsoleCtrlHandler(Some(ours), 0) };
    found
}

unsafe extern "system" fn ignore(_event: u32) -> BOOL {
    0
}

/// Addresses and values of the pointer-sized words of `kernelbase`'s data section.
fn writable_words() -> Option<Vec<(usize, usize)>> {
    let name = wide("kernelbase.dll");
    // SAFETY: the name ends with a NUL.
    let base = unsafe { GetModuleHandleW(name.as_ptr()) }.addr();
    let half = |address| read_own_word(address).map(|word| word & 0xffff_ffff);
    // The PE header: where it is, its number of sections, the size of its optional part.
    let header = base + half(base + 0x3c)?;
    let sections = half(header + 6)? & 0xffff;
    let first = header + 24 + (half(header + 20)? & 0xffff);
    let data = (0..sections.min(96))
        .map(|index| first + index * 40)
        .find(|section| read_own_word(*section) == Some(usize::from_le_bytes(*b".data\0\0\0")))?;
    let (size, start) = (half(data + 8)?.min(1 << 20), base + half(data + 12)?);
    let word = size_of::<usize>();
    Some(
        (0..size / word)
            .map(|index| start + index * word)
            .filter_map(|address| Some((address, read_own_word(address)?)))
            .collect(),
    )
}

fn read_own_word(address: usize) -> Option<usize> {
    // SAFETY: no arguments; the result is a pseudo handle.
    read_word(unsafe { GetCurrentProcess() }, address)
}

/// Reads a word of a process; `None` where nothing is mapped.
fn read_word(process: HANDLE, address: usize) -> Option<usize> {
    let mut word = 0_usize;
    // SAFETY: the out buffer has the size passed; a bad address makes the call fail.
    let read = unsafe {
        ReadProcessMemory(
            process,
            std::ptr::without_provenance(address),
            (&raw mut word).cast(),
            size_of::<usize>(),
            std::ptr::null_mut(),
        )
    };
    (read != 0).then_some(word)
}
