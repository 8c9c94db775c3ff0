//! The registry of containers and images, and how they differ: Oriel's own endpoints.
//!
//! Answers that can be long are lines of JSON, each a [`RegistryLine`] or a [`DifferenceLine`], so
//! that neither side ever holds all of it. Names and texts that are not valid UTF-16 arrive with
//! U+FFFD; whoever needs them exactly exports a registry file.

use serde::{Deserialize, Serialize};

/// One line of `GET /oriel/registry`: keys, each before those below it and followed by its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistryLine {
    /// A key.
    Key(RegistryKey),
    /// A value of the key before.
    Value(RegistryValue),
    /// There is more: what to ask for with `after`. Always the last line.
    Next(String),
}

/// A key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RegistryKey {
    /// Its full name, with a long root such as `HKEY_LOCAL_MACHINE`.
    pub path: String,
    /// Its own name.
    pub name: String,
    /// How far it is below the key that was asked for.
    pub depth: usize,
    /// Whether it is the last of those beside it.
    pub last: bool,
    /// Number of keys directly below.
    pub subkeys: usize,
    /// Number of values.
    pub values: usize,
    /// Its class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// What it leads to, when it is a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RegistryValue {
    /// Its name; empty for the default value.
    pub name: String,
    /// Its type and data.
    #[serde(flatten)]
    pub data: RegistryData,
}

/// Type and data of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RegistryData {
    /// Such as `REG_SZ`; a number such as `0x12` when the type has no name.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What it says: text, texts, or a number. Bytes in hex when it is none, or not well formed.
    pub data: Data,
}

/// What a value says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Data {
    /// `REG_DWORD`, `REG_QWORD`.
    Number(u64),
    /// `REG_MULTI_SZ`.
    Texts(Vec<String>),
    /// `REG_SZ`, `REG_EXPAND_SZ`.
    Text(String),
    /// Anything else.
    Bytes {
        /// Two digits a byte.
        #[serde(rename = "Hex")]
        hex: String,
    },
}

/// What was done to a file, key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is another.
    Changed,
    /// It is gone.
    Deleted,
}

/// One line of `GET /oriel/diff`: files, then keys, each followed by its values that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DifferenceLine {
    /// A file or directory.
    File(PathChange),
    /// A key. Of one that is gone, what was below it is not told.
    Key(PathChange),
    /// A value of the key before.
    Value(ValueChange),
}

/// A file, directory or key that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PathChange {
    /// Its path or full name.
    pub path: String,
    /// What was done to it.
    pub kind: ChangeKind,
}

/// A value that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ValueChange {
    /// Its name; empty for the default value.
    pub name: String,
    /// What was done to it.
    pub kind: ChangeKind,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<RegistryData>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<RegistryData>,
}

/// Answer of `POST /oriel/registry/import`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RegistryImported {
    /// Keys made, changed or deleted.
    pub keys: usize,
    /// Values set or deleted.
    pub values: usize,
    /// Id of the image that was made, when the target is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_small_and_come_back() {
        let value = |data| RegistryLine::Value(RegistryValue { name: "n".into(), data });
        let of = |kind: &str, data| value(RegistryData { kind: kind.into(), data });
        for (line, text) in [
            (
                of("REG_DWORD", Data::Number(42)),
                r#"{"Value":{"Name":"n","Type":"REG_DWORD","Data":42}}"#,
            ),
            (
                of("REG_MULTI_SZ", Data::Texts(vec!["a".into()])),
                r#"{"Value":{"Name":"n","Type":"REG_MULTI_SZ","Data":["a"]}}"#,
            ),
            (
                of("0x12", Data::Bytes { hex: "ff".into() }),
                r#"{"Value":{"Name":"n","Type":"0x12","Data":{"Hex":"ff"}}}"#,
            ),
            (RegistryLine::Next("0061".into()), r#"{"Next":"0061"}"#),
        ] {
            assert_eq!(serde_json::to_string(&line).unwrap(), text);
            assert_eq!(serde_json::from_str::<RegistryLine>(text).unwrap(), line);
        }
    }
}
