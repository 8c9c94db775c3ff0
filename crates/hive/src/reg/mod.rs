//! Registry Editor text: what `regedit` and `reg` export and import.
//!
//! ```text
//! Windows Registry Editor Version 5.00
//!
//! [HKEY_LOCAL_MACHINE\Software\Example]
//! "Name"="text"
//! "Number"=dword:0000002a
//! @=hex(2):25,00,58,00,25,00,00,00
//! "gone"=-
//!
//! [-HKEY_LOCAL_MACHINE\Software\Old]
//! ```
//!
//! The text is a list of changes, made from the top down: a whole tree is what makes it of
//! nothing. [`Writer`] writes trees and changes, [`parse`] reads what people and other programs
//! wrote into [`Section`]s, and [`Changes`] gathers those into one [`DeltaKey`](crate::DeltaKey).
//! Classes, times, security descriptors and links have no place in it.
//!
//! Text values are written as text only when every reader takes them back as they are; those
//! with a NUL or a line break inside, without a NUL at their end, or that are not valid UTF-16 are
//! written as the bytes they are, `hex(1):`. *Names* have no such second form: one with a NUL or a
//! line break, and in UTF-8 one that is not valid UTF-16, is refused
//! ([`RegError::Unwritable`]).

mod changes;
mod decode;
mod error;
mod parse;
mod render;
#[cfg(test)]
mod tests;

pub use changes::Changes;
pub use error::{RegError, RegProblem};
pub use parse::parse;
pub use render::{Encoding, Writer};

use crate::{ValueChange, WideString};

/// Largest file that is read, in bytes. The export of a whole registry of ours has some 20 MiB.
pub const MAX_FILE: usize = 64 << 20;

/// Longest line or quoted text, in UTF-16 units. Data in hex goes over several lines.
const MAX_LINE: usize = 4 << 20;

/// Most keys and values in one file, which bounds what they take in memory.
const MAX_CHANGES: usize = 1 << 20;

/// First line of a file in Unicode.
const SIGNATURE: &str = "Windows Registry Editor Version 5.00";

/// First line of a file in the code page of its writer.
const SIGNATURE_4: &str = "REGEDIT4";

/// A key in a file, with what becomes of its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The key as the file has it: a root such as `HKEY_LOCAL_MACHINE` and names, parted by `\`.
    pub key: WideString,
    /// Whether the key goes, with everything below it.
    pub deleted: bool,
    /// Values set and values gone, in the order of the file; none for a key that goes.
    pub values: Vec<ValueChange>,
    /// Number of the line in which the key stands, from 1.
    pub line: usize,
}
