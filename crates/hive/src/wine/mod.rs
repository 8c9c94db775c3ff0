//! The registry as Wine keeps it: `system.reg`, `userdef.reg` and `user.reg`.

use crate::{HiveError, Key};

/// Which part of the registry a file of Wine holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Branch {
    /// `HKEY_LOCAL_MACHINE`, in `system.reg`.
    Machine,
    /// `HKEY_USERS\.Default`, in `userdef.reg`.
    Default,
    /// The user of this SID, in `user.reg`; [`LOCAL_USER`] is the one Wine expects.
    User(String),
}

/// SID that wineserver gives every Unix user (`server/token.c`, `local_user_sid`).
pub const LOCAL_USER: &str = "S-1-5-21-0-0-0-1000";

/// Reads a registry file of Wine; the root is the branch's own key.
///
/// # Errors
///
/// [`HiveError::NotWine`] or [`HiveError::WineSyntax`] for text that wineserver would not have
/// written, [`HiveError::TooDeep`] and [`HiveError::NameTooLong`] for keys it would not take.
pub fn parse(text: &[u8]) -> Result<Key, HiveError> {
    let _ = text;
    todo!()
}

/// Writes a registry file of Wine, byte for byte as wineserver does.
#[must_use]
pub fn render(root: &Key, branch: &Branch) -> Vec<u8> {
    let _ = (root, branch);
    todo!()
}
