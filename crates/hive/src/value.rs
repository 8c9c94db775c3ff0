//! Values: the typed data that keys hold.

use crate::WideString;

/// The type of a value, any number: devices and the account database use their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueKind(pub u32);

/// The types of winnt.h.
impl ValueKind {
    /// No type (`REG_NONE`).
    pub const NONE: Self = Self(0);
    /// UTF-16 text, usually ended by NUL (`REG_SZ`).
    pub const SZ: Self = Self(1);
    /// Text with `%VARIABLES%` (`REG_EXPAND_SZ`).
    pub const EXPAND_SZ: Self = Self(2);
    /// Bytes (`REG_BINARY`).
    pub const BINARY: Self = Self(3);
    /// A little-endian number of 4 bytes (`REG_DWORD`).
    pub const DWORD: Self = Self(4);
    /// A big-endian number of 4 bytes (`REG_DWORD_BIG_ENDIAN`).
    pub const DWORD_BIG_ENDIAN: Self = Self(5);
    /// Target of a symbolic link, UTF-16 without NUL (`REG_LINK`).
    pub const LINK: Self = Self(6);
    /// Texts, each ended by NUL, and one NUL more (`REG_MULTI_SZ`).
    pub const MULTI_SZ: Self = Self(7);
    /// Resource list of a driver (`REG_RESOURCE_LIST`).
    pub const RESOURCE_LIST: Self = Self(8);
    /// Resource list of the hardware (`REG_FULL_RESOURCE_DESCRIPTOR`).
    pub const FULL_RESOURCE_DESCRIPTOR: Self = Self(9);
    /// Resources a device could use (`REG_RESOURCE_REQUIREMENTS_LIST`).
    pub const RESOURCE_REQUIREMENTS_LIST: Self = Self(10);
    /// A little-endian number of 8 bytes (`REG_QWORD`).
    pub const QWORD: Self = Self(11);
}

/// One value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Name; empty for the default value of the key.
    pub name: WideString,
    /// Type of the data.
    pub kind: ValueKind,
    /// The data, which need not fit its type.
    pub data: Vec<u8>,
}

impl Value {
    /// A value of any type.
    pub fn new(name: impl Into<WideString>, kind: ValueKind, data: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), kind, data: data.into() }
    }

    /// A text value (`REG_SZ`).
    pub fn sz(name: impl Into<WideString>, text: &str) -> Self {
        Self::new(name, ValueKind::SZ, terminated(text))
    }

    /// A text value with `%VARIABLES%` (`REG_EXPAND_SZ`).
    pub fn expand_sz(name: impl Into<WideString>, text: &str) -> Self {
        Self::new(name, ValueKind::EXPAND_SZ, terminated(text))
    }

    /// A value of several texts (`REG_MULTI_SZ`).
    pub fn multi_sz(name: impl Into<WideString>, texts: &[&str]) -> Self {
        let mut data: Vec<u8> = texts.iter().flat_map(|text| terminated(text)).collect();
        data.extend([0, 0]);
        Self::new(name, ValueKind::MULTI_SZ, data)
    }

    /// A number of 32 bits (`REG_DWORD`).
    pub fn dword(name: impl Into<WideString>, number: u32) -> Self {
        Self::new(name, ValueKind::DWORD, number.to_le_bytes())
    }

    /// A number of 64 bits (`REG_QWORD`).
    pub fn qword(name: impl Into<WideString>, number: u64) -> Self {
        Self::new(name, ValueKind::QWORD, number.to_le_bytes())
    }

    /// The text of a `REG_SZ` or `REG_EXPAND_SZ` value up to its first NUL, with U+FFFD for what is
    /// not text.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        if !matches!(self.kind, ValueKind::SZ | ValueKind::EXPAND_SZ) {
            return None;
        }
        let wide = WideString::from_le_bytes(&self.data);
        let end = wide.units().iter().position(|unit| *unit == 0).unwrap_or(wide.len());
        Some(String::from_utf16_lossy(&wide.units()[..end]))
    }

    /// The number of a well-formed `REG_DWORD` value.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        match self.kind {
            ValueKind::DWORD => self.data.as_slice().try_into().ok().map(u32::from_le_bytes),
            _ => None,
        }
    }
}

/// `text` as UTF-16LE with its NUL.
fn terminated(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_at_their_first_nul() {
        assert_eq!(Value::sz("v", "a\0b").text().unwrap(), "a");
        assert_eq!(Value::expand_sz("v", "%X%").text().unwrap(), "%X%");
        assert_eq!(Value::new("v", ValueKind::SZ, *b"a\0b\0").text().unwrap(), "ab");
        assert_eq!(Value::new("v", ValueKind::SZ, []).text().unwrap(), "");
        assert_eq!(Value::dword("v", 1).text(), None);
    }

    #[test]
    fn numbers_have_four_bytes() {
        assert_eq!(Value::dword("v", 0xffff_fffe).number(), Some(0xffff_fffe));
        assert_eq!(Value::new("v", ValueKind::DWORD, [1, 2]).number(), None);
        assert_eq!(Value::qword("v", 1).number(), None);
    }

    #[test]
    fn several_texts_end_with_one_nul_more() {
        assert_eq!(Value::multi_sz("v", &["a"]).data, *b"a\0\0\0\0\0");
        assert_eq!(Value::multi_sz("v", &[]).data, [0, 0]);
    }
}
