//! Text as the registry holds it: UTF-16 that nobody checked.
//!
//! Key and value names and class names may hold NULs and lone surrogates, which a `String`
//! cannot, and losing them would make a committed layer differ from what the container wrote.

use std::cmp::Ordering;

use crate::upcase::upcase;

/// Longest key name in UTF-16 units (`REG_MAX_KEY_NAME_LENGTH`, 512 bytes; `MAX_NAME_LEN` of
/// wineserver agrees).
pub const MAX_KEY_NAME: usize = 256;

/// Longest value name in UTF-16 units (`REG_MAX_KEY_VALUE_NAME_LENGTH`).
pub const MAX_VALUE_NAME: usize = 16_383;

/// A sequence of UTF-16 units, usually but not always valid text.
///
/// `==` compares the units exactly. Registry *names* compare case-insensitively: use
/// [`WideString::matches`] and [`WideString::name_order`] for those.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct WideString(Box<[u16]>);

impl WideString {
    /// The UTF-16 units.
    #[must_use]
    pub fn units(&self) -> &[u16] {
        &self.0
    }

    /// Number of UTF-16 units.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no units at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this name and `name` denote the same key or value.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.order_to(name).is_eq()
    }

    /// Compares two names as regf orders them: by upcased units, the shorter first.
    #[must_use]
    pub fn name_order(&self, other: &Self) -> Ordering {
        // Neighbours often begin alike.
        let alike = self.0.iter().zip(&other.0).take_while(|(a, b)| a == b).count();
        let [a, b] = [self, other].map(|name| folded(name.0[alike..].iter().copied()));
        a.cmp(b)
    }

    /// Compares this name with `name` as [`WideString::name_order`] does.
    pub(crate) fn order_to(&self, name: &str) -> Ordering {
        folded(self.0.iter().copied()).cmp(folded(name.encode_utf16()))
    }

    /// Reads little-endian units; a last odd byte is dropped.
    pub(crate) fn from_le_bytes(bytes: &[u8]) -> Self {
        Self(bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect())
    }

    /// Reads Latin-1, one byte a unit, as compressed names are stored.
    pub(crate) fn from_latin1(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().map(u16::from).collect())
    }

    /// The units as little-endian bytes.
    pub(crate) fn to_le_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|unit| unit.to_le_bytes()).collect()
    }
}

/// Upcases units for comparing and hashing.
fn folded(units: impl Iterator<Item = u16>) -> impl Iterator<Item = u16> {
    units.map(upcase)
}

impl From<&str> for WideString {
    fn from(text: &str) -> Self {
        Self(text.encode_utf16().collect())
    }
}

impl From<String> for WideString {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&[u16]> for WideString {
    fn from(units: &[u16]) -> Self {
        Self(units.into())
    }
}

impl From<Vec<u16>> for WideString {
    fn from(units: Vec<u16>) -> Self {
        Self(units.into())
    }
}

impl PartialEq<str> for WideString {
    fn eq(&self, other: &str) -> bool {
        self.0.iter().copied().eq(other.encode_utf16())
    }
}

impl PartialEq<&str> for WideString {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

/// Shows the text, with U+FFFD for what is not text.
impl std::fmt::Display for WideString {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(&String::from_utf16_lossy(&self.0))
    }
}

impl std::fmt::Debug for WideString {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", String::from_utf16_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_in_any_case_but_differ_exactly() {
        let name = WideString::from("Été");
        assert!(name.matches("ÉTÉ"));
        assert_ne!(name, WideString::from("ÉTÉ"));
        assert_eq!(name, "Été");
    }

    #[test]
    fn the_shorter_name_comes_first() {
        let order = |a: &str, b: &str| WideString::from(a).name_order(&b.into());
        assert_eq!(order("ab", "ABC"), Ordering::Less);
        assert_eq!(order("b", "ABC"), Ordering::Greater);
        assert_eq!(order("_", "z"), Ordering::Greater);
    }

    #[test]
    fn units_that_are_not_text_survive_as_bytes() {
        let name = WideString::from(vec![0xd800, 0, 0x61]);
        assert_eq!(WideString::from_le_bytes(&name.to_le_bytes()), name);
        assert_eq!(name.to_string(), "\u{fffd}\0a");
    }
}
