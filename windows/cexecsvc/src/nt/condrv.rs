//! The console driver's side for a host: its objects, and the queue of calls that programs make.
//!
//! The queue is reached by a call of wineserver's own protocol, which changes with Wine's version.
//! Its number, and the structures in `console`, are those of Wine 10.0.

use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{HANDLE, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects,
};

use super::object;
use super::{Win32Error, own};

/// What `wine_get_version` must begin with.
const VERSION: &[u8] = b"10.0";
/// Number of `get_next_console_request` in `server/protocol.def`.
const NEXT_CONSOLE_REQUEST: u32 = 60;

/// `ERROR_NOT_SUPPORTED`.
const NOT_SUPPORTED: Win32Error = Win32Error(50);

/// `STATUS_PENDING` and `STATUS_BUFFER_OVERFLOW`.
const PENDING: u32 = 0x103;
const OVERFLOW: u32 = 0x8000_0005;

/// `IOCTL_CONDRV_CTRL_EVENT`.
const CONTROL_EVENT: u32 = 0x50 << 16 | 19 << 2;

/// Bytes of a call for which room is kept.
const KEPT: usize = 64 << 10;

#[link(name = "ntdll", kind = "raw-dylib")]
unsafe extern "C" {
    fn wine_server_call(request: *mut ServerCall) -> u32;
    fn wine_get_version() -> *const core::ffi::c_char;
}

#[link(name = "ntdll", kind = "raw-dylib")]
unsafe extern "system" {
    fn NtDeviceIoControlFile(
        file: HANDLE,
        event: HANDLE,
        routine: *const core::ffi::c_void,
        context: *const core::ffi::c_void,
        status: *mut [usize; 2],
        code: u32,
        input: *const core::ffi::c_void,
        input_size: u32,
        output: *mut core::ffi::c_void,
        output_size: u32,
    ) -> i32;
}

/// `__server_request_info` of `wine/server.h`: the fixed part, then where the rest is.
#[repr(C)]
struct ServerCall {
    fixed: [u32; 16],
    count: u32,
    reply: *mut u8,
    data: [Vector; 5],
}

/// `__server_iovec`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Vector {
    start: *const u8,
    size: u32,
}

/// What a process gets as its console: Wine's `struct pseudo_console`.
#[repr(C)]
pub(crate) struct Reference {
    signal: HANDLE,
    reference: HANDLE,
    process: HANDLE,
    owned: OwnedHandle,
}

// SAFETY: the raw handles are those of `owned`, or null.
unsafe impl Send for Reference {}
// SAFETY: as above; they are only read.
unsafe impl Sync for Reference {}

/// The queue of calls on one console.
pub(crate) struct Server {
    handle: OwnedHandle,
    stop: OwnedHandle,
}

/// What a queue had.
pub(crate) enum Next {
    /// Nothing for now.
    Nothing,
    /// Nobody is on the console any more.
    Gone,
    /// A call: control code, screen buffer, room for the answer; the data is in the buffer.
    Call {
        /// Control code.
        code: u32,
        /// Screen buffer, or 0.
        output: u32,
        /// Bytes that may come back.
        room: u32,
        /// Bytes of the buffer that were passed in.
        size: usize,
    },
}

/// Makes a console without anybody on it.
pub(crate) fn console() -> Result<(Server, Reference), Win32Error> {
    // SAFETY: the result is a string that lives as long as the process.
    let version = unsafe { core::ffi::CStr::from_ptr(wine_get_version()) };
    if !version.to_bytes().starts_with(VERSION) {
        return Err(NOT_SUPPORTED);
    }
    /// Read and write properties, synchronise.
    const SERVER_ACCESS: u32 = 0x0010_0018;
    /// And read and write data.
    const REFERENCE_ACCESS: u32 = 0x0010_001b;
    let handle = object::device("\\Device\\ConDrv\\Server", None, SERVER_ACCESS)?;
    let owned = object::device("Reference", Some(&handle), REFERENCE_ACCESS)?;
    // SAFETY: no attributes, no name; it resets itself by nothing and begins unset.
    let stop = unsafe { CreateEventW(std::ptr::null(), 1, 0, std::ptr::null()) };
    if stop.is_null() {
        return Err(Win32Error::last());
    }
    // SAFETY: the call succeeded, so the handle is ours.
    let stop = unsafe { own(stop) };
    let null = std::ptr::null_mut();
    let reference =
        Reference { signal: null, reference: owned.as_raw_handle(), process: null, owned };
    Ok((Server { handle, stop }, reference))
}

impl Reference {
    /// The value of `PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE`.
    pub(super) fn attribute(&self) -> *const core::ffi::c_void {
        debug_assert!(self.signal.is_null() && self.process.is_null());
        debug_assert!(self.reference == self.owned.as_raw_handle());
        (&raw const *self).cast()
    }
}

impl Server {
    /// Waits for calls; `false` when it is to stop instead.
    pub(crate) fn wait(&self) -> bool {
        let handles = [self.handle.as_raw_handle(), self.stop.as_raw_handle()];
        // SAFETY: both handles are open as long as this is borrowed.
        let ready = unsafe { WaitForMultipleObjects(2, handles.as_ptr(), 0, INFINITE) };
        ready == WAIT_OBJECT_0
    }

    /// Makes [`Self::wait`] return `false`.
    pub(crate) fn stop(&self) {
        // SAFETY: the handle is open.
        unsafe { SetEvent(self.stop.as_raw_handle()) };
    }

    /// Answers the last call and takes the next. `input` says whether programs that wait for the
    /// console's handle go on.
    pub(crate) fn next(
        &self,
        (status, answer): (u32, &[u8]),
        input: bool,
        buffer: &mut Vec<u8>,
    ) -> Next {
        buffer.truncate(KEPT);
        buffer.resize(KEPT, 0);
        let mut sent = (status, answer);
        loop {
            let mut call = self.call(sent, input, false);
            call.reply = buffer.as_mut_ptr();
            call.fixed[2] = size(buffer.len());
            // SAFETY: the fixed part and the lengths describe live memory.
            let result = unsafe { wine_server_call(&raw mut call) };
            let [_, filled, code, output, room, ..] = call.fixed;
            let filled = usize::try_from(filled).unwrap_or(usize::MAX).min(buffer.len());
            match result {
                0 => return Next::Call { code, output, room, size: filled },
                PENDING => return Next::Nothing,
                OVERFLOW => buffer.resize(usize::try_from(room).unwrap_or(KEPT), 0),
                _ => return Next::Gone,
            }
            // The answer was taken the first time.
            sent = (0, &[]);
        }
    }

    /// Answers the read that waits.
    pub(crate) fn finish_read(&self, answer: (u32, &[u8]), input: bool) {
        let mut call = self.call(answer, input, true);
        // SAFETY: as above. Without a read that waits the call only tells whether there is input.
        unsafe { wine_server_call(&raw mut call) };
    }

    fn call(&self, (status, answer): (u32, &[u8]), input: bool, read: bool) -> ServerCall {
        let mut fixed = [0; 16];
        // A handle of wineserver's is a 32-bit number.
        let handle = self.handle.as_raw_handle().addr() & 0xffff_ffff;
        fixed[0] = NEXT_CONSOLE_REQUEST;
        fixed[1] = size(answer.len());
        fixed[3] = size(handle);
        fixed[4] = u32::from(input);
        fixed[5] = u32::from(read);
        fixed[6] = status;
        let mut data = [Vector { start: std::ptr::null(), size: 0 }; 5];
        data[0] = Vector { start: answer.as_ptr(), size: size(answer.len()) };
        let count = u32::from(!answer.is_empty());
        ServerCall { fixed, count, reply: std::ptr::null_mut(), data }
    }

    /// Sends a control event to everybody on the console.
    pub(crate) fn send(&self, event: u32) {
        let parameters = [event, 0];
        let mut status = [0; 2];
        // SAFETY: the handle is open, the parameters and the status block outlive the call, which
        // wineserver completes at once.
        unsafe {
            NtDeviceIoControlFile(
                self.handle.as_raw_handle(),
                std::ptr::null_mut(),
                std::ptr::null(),
                std::ptr::null(),
                &raw mut status,
                CONTROL_EVENT,
                parameters.as_ptr().cast(),
                8,
                std::ptr::null_mut(),
                0,
            )
        };
    }
}

fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Opens a standard handle of whatever console the process that *uses* it is on: `Input` and
/// `Output` are looked up anew at each call. A process that is given a console gets these as its
/// standard handles, since it does not make them itself.
pub(crate) fn standard(name: &str) -> Result<OwnedHandle, Win32Error> {
    /// Read and write data and attributes, synchronise.
    const ACCESS: u32 = 0x0010_0183;
    object::device(&format!("\\Device\\ConDrv\\{name}"), None, ACCESS)
}
