//! The server's side of named pipes.
//!
//! They are of message type, like Docker's own, so that a client can end its half of a connection
//! with an empty message; clients that read bytes see no difference. Both halves work at the same
//! time, which is why every call is overlapped.

use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::WAIT_OBJECT_0;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_OVERLAPPED, FlushFileBuffers, PIPE_ACCESS_DUPLEX, ReadFile, WriteFile,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, PIPE_READMODE_MESSAGE, PIPE_TYPE_MESSAGE,
    PIPE_UNLIMITED_INSTANCES,
};
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects,
};

use super::{Win32Error, own, wide};

/// Bytes a pipe holds in each direction.
const BUFFER: u32 = 64 << 10;

/// `ERROR_MORE_DATA`, `ERROR_PIPE_CONNECTED` and `ERROR_IO_PENDING`.
const MORE_DATA: u32 = 234;
const CONNECTED: u32 = 535;
const IO_PENDING: u32 = 997;

/// One instance of a named pipe, for one client. Dropping it is how the client sees the end:
/// `DisconnectNamedPipe` would be an error to it.
pub(crate) struct NamedPipe {
    handle: OwnedHandle,
    stop: OwnedHandle,
}

impl NamedPipe {
    /// Another instance of the pipe of this name; no client has it yet.
    pub(crate) fn new(name: &str) -> Result<Self, Win32Error> {
        let name = wide(name);
        let access = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED;
        let kind = PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE;
        let (most, attributes) = (PIPE_UNLIMITED_INSTANCES, std::ptr::null());
        // SAFETY: the name ends with a NUL and outlives the call; no security attributes.
        let handle = unsafe {
            CreateNamedPipeW(name.as_ptr(), access, kind, most, BUFFER, BUFFER, 0, attributes)
        };
        if handle.addr() == usize::MAX {
            return Err(Win32Error::last());
        }
        // SAFETY: the call succeeded, so the handle is ours.
        Ok(Self { handle: unsafe { own(handle) }, stop: event()? })
    }

    /// Waits for a client.
    pub(crate) fn connect(&self) -> Result<(), Win32Error> {
        self.complete(|operation| {
            // SAFETY: the handle is open; the operation outlives it, see `complete`.
            unsafe { ConnectNamedPipe(self.handle.as_raw_handle(), operation) }
        })
        .map(drop)
        .or_else(|error| if error.0 == CONNECTED { Ok(()) } else { Err(error) })
    }

    /// Reads what the client wrote, as much as fits; 0 is an empty message.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<usize, Win32Error> {
        let room = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        self.complete(|operation| {
            let none = std::ptr::null_mut();
            // SAFETY: the handle is open; buffer and operation outlive it, see `complete`.
            unsafe {
                ReadFile(self.handle.as_raw_handle(), buffer.as_mut_ptr(), room, none, operation)
            }
        })
    }

    /// Writes bytes; waits while the client takes none.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, Win32Error> {
        let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.complete(|operation| {
            let none = std::ptr::null_mut();
            // SAFETY: the handle is open; bytes and operation outlive it, see `complete`.
            unsafe {
                WriteFile(self.handle.as_raw_handle(), bytes.as_ptr(), count, none, operation)
            }
        })
    }

    /// Waits until the client has read everything, or is gone.
    pub(crate) fn flush(&self) {
        // SAFETY: the handle is open.
        unsafe { FlushFileBuffers(self.handle.as_raw_handle()) };
    }

    /// Ends all waiting, of now and of later: who reads gets an error.
    pub(crate) fn stop(&self) {
        // SAFETY: the handle is open.
        unsafe { SetEvent(self.stop.as_raw_handle()) };
    }

    /// Starts an operation and waits until it is over, so that what it uses may go afterwards.
    fn complete(&self, start: impl FnOnce(*mut OVERLAPPED) -> i32) -> Result<usize, Win32Error> {
        let event = event()?;
        let mut operation = OVERLAPPED { hEvent: event.as_raw_handle(), ..OVERLAPPED::default() };
        if start(&raw mut operation) == 0 {
            match Win32Error::last() {
                Win32Error(IO_PENDING) => self.wait(&event, &operation),
                Win32Error(MORE_DATA) => {}
                error => return Err(error),
            }
        }
        let mut count = 0;
        // SAFETY: the handle is open and the operation is one of its own.
        let done = unsafe {
            GetOverlappedResult(self.handle.as_raw_handle(), &raw mut operation, &raw mut count, 1)
        };
        // The rest of a long message comes with the next read.
        if done == 0
            && let error = Win32Error::last()
            && error.0 != MORE_DATA
        {
            return Err(error);
        }
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Waits for an operation, or calls it off when this is to stop.
    fn wait(&self, event: &OwnedHandle, operation: &OVERLAPPED) {
        let handles = [event.as_raw_handle(), self.stop.as_raw_handle()];
        // SAFETY: both handles are open as long as they are borrowed.
        let ready = unsafe { WaitForMultipleObjects(2, handles.as_ptr(), 0, INFINITE) };
        if ready != WAIT_OBJECT_0 {
            // SAFETY: the handle is open and the operation is one of its own; that it is over is
            // waited for afterwards.
            unsafe { CancelIoEx(self.handle.as_raw_handle(), operation) };
        }
    }
}

/// An event that is not set.
fn event() -> Result<OwnedHandle, Win32Error> {
    // SAFETY: no attributes, no name; it is reset by the operation that begins.
    let event = unsafe { CreateEventW(std::ptr::null(), 1, 0, std::ptr::null()) };
    if event.is_null() {
        return Err(Win32Error::last());
    }
    // SAFETY: the call succeeded, so the handle is ours.
    Ok(unsafe { own(event) })
}
