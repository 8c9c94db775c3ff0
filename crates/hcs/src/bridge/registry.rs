//! What travels about the registry of a running system.
//!
//! Names are 16-bit units as Windows keeps them, which need not be valid UTF-16. A list of
//! operations may be longer than a frame, so it travels in parts: see
//! [`RegistryOperation::pieces`].

use std::io;

use serde::{Deserialize, Serialize};

use super::{STREAM_CHUNK, from_json, json};

/// Longest list of operations in bytes as it travels, several times the longest registry script
/// that people write; what takes it in holds it in memory.
pub const MAX_CHANGES: usize = 64 << 20;

/// A tree of the registry that outlives a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistryHive {
    /// `HKEY_LOCAL_MACHINE`.
    Machine,
    /// `HKEY_USERS\.Default`.
    Default,
    /// `HKEY_CURRENT_USER` of the container's account.
    User,
}

/// A key, by its way from the root of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RegistryKey {
    /// The tree.
    pub hive: RegistryHive,
    /// Names from the root down; none for the root itself.
    pub names: Vec<Vec<u16>>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistryOperation {
    /// Makes a key and all above it; one that exists stays as it is.
    CreateKey {
        /// The key.
        key: RegistryKey,
    },
    /// Removes a key with all below; there being none is no error. Of a root only what it holds
    /// is removed.
    DeleteKey {
        /// The key.
        key: RegistryKey,
    },
    /// Sets a value of a key, which is made when absent.
    SetValue {
        /// The key.
        key: RegistryKey,
        /// Name of the value; empty for the key's default value.
        name: Vec<u16>,
        /// Its type, such as 1 for `REG_SZ`.
        kind: u32,
        /// Its bytes, not changed in any way.
        data: Vec<u8>,
    },
    /// Removes a value; there being none is no error.
    DeleteValue {
        /// The key.
        key: RegistryKey,
        /// Name of the value; empty for the key's default value.
        name: Vec<u16>,
    },
}

/// Why a request about the registry failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryFailure {
    /// What was attempted on what, such as `set value x of HKLM\Software\y`.
    pub attempt: String,
    /// Win32 error.
    pub code: u32,
    /// Windows' text for it, with its full stop.
    pub message: String,
}

impl RegistryOperation {
    /// The list as it travels, in pieces that each fit a frame; put together they are what
    /// [`RegistryOperation::parse`] reads.
    #[must_use]
    pub fn pieces(list: &[Self]) -> Vec<Vec<u8>> {
        json(&list).chunks(STREAM_CHUNK).map(<[u8]>::to_vec).collect()
    }

    /// Reads a list from all of its pieces.
    ///
    /// # Errors
    /// `InvalidData` when they are no list.
    pub fn parse(bytes: &[u8]) -> io::Result<Vec<Self>> {
        from_json(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_travels_in_pieces_and_arrives_whole() {
        let key = RegistryKey { hive: RegistryHive::User, names: vec![vec![0xd800, 0], vec![65]] };
        let list = vec![
            RegistryOperation::CreateKey { key: key.clone() },
            RegistryOperation::SetValue {
                key: key.clone(),
                name: Vec::new(),
                kind: 0xffff_0001,
                data: vec![0xfe; 2 * STREAM_CHUNK],
            },
            RegistryOperation::DeleteValue { key: key.clone(), name: vec![0xdfff] },
            RegistryOperation::DeleteKey { key },
        ];
        let pieces = RegistryOperation::pieces(&list);
        assert!(pieces.len() > 2 && pieces.iter().all(|piece| piece.len() <= STREAM_CHUNK));
        assert_eq!(RegistryOperation::parse(&pieces.concat()).unwrap(), list);
        assert!(RegistryOperation::parse(&pieces[1..].concat()).is_err());
    }
}
