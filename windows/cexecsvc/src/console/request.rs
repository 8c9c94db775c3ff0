//! The calls that programs make on a console, as the personality passes them on.
//!
//! Function numbers and structures are those of Wine 10's `condrv.h`; all integers are
//! little-endian. A program can pass anything: what is too short is refused.

/// `STATUS_SUCCESS` and friends of `ntstatus.h`.
pub const SUCCESS: u32 = 0;
pub(super) const INVALID_HANDLE: u32 = 0xc000_0008;
pub(super) const INVALID_PARAMETER: u32 = 0xc000_000d;
pub(super) const NOT_SUPPORTED: u32 = 0xc000_00bb;

/// Function numbers, the middle bits of a control code.
pub(super) mod function {
    pub(crate) const GET_MODE: u32 = 0;
    pub(crate) const SET_MODE: u32 = 1;
    pub(crate) const IS_UNIX: u32 = 2;
    pub(crate) const READ_CONSOLE: u32 = 10;
    pub(crate) const READ_FILE: u32 = 11;
    pub(crate) const READ_INPUT: u32 = 12;
    pub(crate) const WRITE_INPUT: u32 = 13;
    pub(crate) const PEEK: u32 = 14;
    pub(crate) const GET_INPUT_INFO: u32 = 15;
    pub(crate) const SET_INPUT_INFO: u32 = 16;
    pub(crate) const GET_TITLE: u32 = 17;
    pub(crate) const SET_TITLE: u32 = 18;
    pub(crate) const BEEP: u32 = 20;
    pub(crate) const FLUSH: u32 = 21;
    pub(crate) const GET_WINDOW: u32 = 22;
    pub(crate) const READ_CONSOLE_CONTROL: u32 = 24;
    pub(crate) const GET_INPUT_COUNT: u32 = 25;
    pub(crate) const WRITE_CONSOLE: u32 = 30;
    pub(crate) const WRITE_FILE: u32 = 31;
    pub(crate) const READ_OUTPUT: u32 = 32;
    pub(crate) const WRITE_OUTPUT: u32 = 33;
    pub(crate) const GET_OUTPUT_INFO: u32 = 34;
    pub(crate) const SET_OUTPUT_INFO: u32 = 35;
    pub(crate) const ACTIVATE: u32 = 36;
    pub(crate) const FILL_OUTPUT: u32 = 37;
    pub(crate) const SCROLL: u32 = 38;
    pub(crate) const INIT_OUTPUT: u32 = 90;
    pub(crate) const CLOSE_OUTPUT: u32 = 91;
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Control code.
    pub code: u32,
    /// Screen buffer it is about; 0 for the input.
    pub output: u32,
    /// What is passed in.
    pub data: &'a [u8],
    /// Bytes that may come back.
    pub room: usize,
}

impl Request<'_> {
    /// The function number.
    pub(super) fn function(&self) -> u32 {
        self.code >> 2 & 0xfff
    }

    /// A 32-bit field; `None` where there is none.
    pub(super) fn field(&self, offset: usize) -> Option<u32> {
        let bytes = self.data.get(offset..offset + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    /// A 16-bit field.
    pub(super) fn half(&self, offset: usize) -> Option<u16> {
        let bytes = self.data.get(offset..offset + 2)?;
        Some(u16::from_le_bytes(bytes.try_into().ok()?))
    }

    /// A 32-bit field that counts cells.
    pub(super) fn count(&self, offset: usize) -> Option<usize> {
        usize::try_from(self.field(offset)?).ok()
    }

    /// A 16-bit field that counts cells; `None` when it is negative.
    pub(super) fn cells(&self, offset: usize) -> Option<usize> {
        usize::try_from(self.half(offset)?.cast_signed()).ok()
    }

    /// UTF-16 from an offset to the end.
    pub(super) fn text(&self, offset: usize) -> Vec<u16> {
        units(self.data.get(offset..).unwrap_or_default())
    }
}

/// Bytes as UTF-16 units.
pub(super) fn units(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
}

/// UTF-16 units as bytes.
pub(super) fn bytes(units: &[u16]) -> Vec<u8> {
    units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
}

/// What a call comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// NT status.
    pub status: u32,
    /// What comes back.
    pub data: Vec<u8>,
}

impl Answer {
    pub(super) fn done() -> Self {
        Self::with(Vec::new())
    }

    pub(super) fn with(data: Vec<u8>) -> Self {
        Self { status: SUCCESS, data }
    }

    pub(super) fn failed(status: u32) -> Self {
        Self { status, data: Vec::new() }
    }
}
