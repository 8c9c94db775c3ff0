//! Pseudo consoles, and the console calls of the helper that attaches itself to one.

use std::os::windows::io::{AsRawHandle, OwnedHandle};

use oriel_hcs::ConsoleSize;
use windows_sys::Win32::Foundation::{GENERIC_READ, GENERIC_WRITE};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_SHARE_READ, FILE_SHARE_WRITE, OPEN_EXISTING,
};
use windows_sys::Win32::System::Console::{
    AttachConsole, COORD, ClosePseudoConsole, CreatePseudoConsole, FreeConsole, HPCON,
    INPUT_RECORD, KEY_EVENT_RECORD, KEY_EVENT_RECORD_0, LEFT_CTRL_PRESSED, SMALL_RECT,
    SetConsoleCtrlHandler, SetConsoleScreenBufferSize, SetConsoleWindowInfo, WriteConsoleInputW,
};

use super::{Win32Error, check, own, wide};

/// A console whose keyboard and screen are pipes. Dropping it ends it.
pub(crate) struct PseudoConsole(HPCON);

// SAFETY: an `HPCON` is a handle to a structure that its calls only read.
unsafe impl Send for PseudoConsole {}
// SAFETY: as above; closing takes the console by value.
unsafe impl Sync for PseudoConsole {}

impl PseudoConsole {
    /// A console that reads keys from one pipe and draws on another.
    pub(crate) fn new(
        size: ConsoleSize,
        input: &OwnedHandle,
        output: &OwnedHandle,
    ) -> Result<Self, Win32Error> {
        let mut console: HPCON = 0;
        // SAFETY: both handles are open, the out pointer is valid; the call duplicates the handles.
        let result = unsafe {
            CreatePseudoConsole(
                coord(size),
                input.as_raw_handle(),
                output.as_raw_handle(),
                0,
                &raw mut console,
            )
        };
        // An HRESULT of the Win32 facility carries the error in its low half.
        if result < 0 {
            Err(Win32Error(result.cast_unsigned() & 0xffff))
        } else {
            Ok(Self(console))
        }
    }

    /// The value of `PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE`.
    pub(super) fn attribute(&self) -> HPCON {
        self.0
    }
}

impl Drop for PseudoConsole {
    fn drop(&mut self) {
        // SAFETY: the console was created by this type and is closed once.
        unsafe { ClosePseudoConsole(self.0) };
    }
}

/// Attaches the calling process to the console of another. Only the helper may do this: the
/// agent's own console handle is what its children inherit.
pub(crate) fn attach(process: u32) -> Result<(), Win32Error> {
    // SAFETY: no arguments; failing because there is no console is fine.
    unsafe { FreeConsole() };
    // SAFETY: a process id is not a pointer.
    check(unsafe { AttachConsole(process) })?;
    // The console now counts this process as its own: Ctrl+C must not end it half-way.
    // SAFETY: no handler is passed, which means "ignore Ctrl+C".
    check(unsafe { SetConsoleCtrlHandler(None, 1) })
}

/// Changes the size of the attached console's window and buffer.
pub(crate) fn resize(size: ConsoleSize) -> Result<(), Win32Error> {
    let output = open("CONOUT$")?;
    let handle = output.as_raw_handle();
    // The window may never be larger than the buffer, so it shrinks to one cell first.
    let smallest = SMALL_RECT { Left: 0, Top: 0, Right: 0, Bottom: 0 };
    let size = coord(size);
    let full = SMALL_RECT { Left: 0, Top: 0, Right: size.X - 1, Bottom: size.Y - 1 };
    // SAFETY: the handle is open and the rectangles outlive the calls.
    unsafe {
        check(SetConsoleWindowInfo(handle, 1, &raw const smallest))?;
        check(SetConsoleScreenBufferSize(handle, size))?;
        check(SetConsoleWindowInfo(handle, 1, &raw const full))
    }
}

/// Presses Ctrl+C on the attached console: an event or a character, as its mode says.
pub(crate) fn press_ctrl_c() -> Result<(), Win32Error> {
    /// `KEY_EVENT`, in the width of the record's field.
    const KEYBOARD: u16 = 1;

    let input = open("CONIN$")?;
    let key = |down| INPUT_RECORD {
        EventType: KEYBOARD,
        Event: windows_sys::Win32::System::Console::INPUT_RECORD_0 {
            KeyEvent: KEY_EVENT_RECORD {
                bKeyDown: down,
                wRepeatCount: 1,
                wVirtualKeyCode: u16::from(b'C'),
                wVirtualScanCode: 0x2e,
                uChar: KEY_EVENT_RECORD_0 { UnicodeChar: 3 },
                dwControlKeyState: LEFT_CTRL_PRESSED,
            },
        },
    };
    let records = [key(1), key(0)];
    let mut written = 0;
    // SAFETY: the handle is open, the records and the counter outlive the call.
    check(unsafe {
        WriteConsoleInputW(input.as_raw_handle(), records.as_ptr(), 2, &raw mut written)
    })
}

fn open(name: &str) -> Result<OwnedHandle, Win32Error> {
    let name = wide(name);
    // SAFETY: the name ends with a NUL and outlives the call; no attributes, no template.
    let handle = unsafe {
        CreateFileW(
            name.as_ptr(),
            GENERIC_READ | GENERIC_WRITE,
            FILE_SHARE_READ | FILE_SHARE_WRITE,
            std::ptr::null(),
            OPEN_EXISTING,
            0,
            std::ptr::null_mut(),
        )
    };
    if handle.addr() == usize::MAX {
        return Err(Win32Error::last());
    }
    // SAFETY: the call succeeded, so the handle is ours.
    Ok(unsafe { own(handle) })
}

/// Cells are positive 16-bit numbers; a console has at least one.
fn coord(size: ConsoleSize) -> COORD {
    let cells = |count: u16| i16::try_from(count).unwrap_or(i16::MAX).max(1);
    COORD { X: cells(size.width), Y: cells(size.height) }
}
