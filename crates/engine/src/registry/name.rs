//! Names of registry keys as people write them.

use std::fmt;

use oriel_hive::WideString;

use crate::EngineError;

/// A root of the registry as programs see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RootKey {
    LocalMachine,
    CurrentUser,
    Users,
    ClassesRoot,
}

/// A key by its full name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    pub(super) root: RootKey,
    /// From the root down.
    pub(super) names: Vec<WideString>,
}

/// The roots: names, and the key below the root that is meant.
const ROOTS: [(&[&str], RootKey, &[&str]); 5] = [
    (&["HKLM", "HKEY_LOCAL_MACHINE"], RootKey::LocalMachine, &[]),
    (&["HKCU", "HKEY_CURRENT_USER"], RootKey::CurrentUser, &[]),
    (&["HKU", "HKEY_USERS"], RootKey::Users, &[]),
    (&["HKCR", "HKEY_CLASSES_ROOT"], RootKey::ClassesRoot, &[]),
    (
        &["HKCC", "HKEY_CURRENT_CONFIG"],
        RootKey::LocalMachine,
        &["System", "CurrentControlSet", "Hardware Profiles", "Current"],
    ),
];

/// What stands before a root in regedit's address bar, and in PowerShell.
const PREFIXES: [&str; 3] = [r"Computer\", "Registry::", r"Microsoft.PowerShell.Core\Registry::"];

impl KeyName {
    /// Reads a name: `HKLM\Software`, `HKEY_LOCAL_MACHINE\Software`, PowerShell's `HKLM:\Software`,
    /// in any case, with or without quotes.
    ///
    /// # Errors
    /// `Invalid` when it does not begin with a root.
    pub fn parse(text: &str) -> Result<Self, EngineError> {
        let bad = |reason| EngineError::BadKey { key: text.to_owned(), reason };
        let name = unquoted(text.trim());
        let name = PREFIXES.iter().find_map(|prefix| without(name, prefix)).unwrap_or(name);
        let first = name.split('\\').next().unwrap_or_default();
        if first.contains('/') {
            return Err(bad(r"names are parted by \, not by /"));
        }
        let root = first.strip_suffix(':').unwrap_or(first);
        let rest = name.get(first.len()..).unwrap_or_default();
        let names = rest.split('\\').filter(|name| !name.is_empty()).map(WideString::from);
        Self::of(&root.into(), names).ok_or_else(|| bad(NO_ROOT))
    }

    /// Reads the name of a key in a registry file, where no root is short.
    pub(super) fn in_file(name: &WideString) -> Result<Self, EngineError> {
        let mut names =
            name.units().split(|unit| *unit == u16::from(b'\\')).map(|name| name.to_vec().into());
        let root = names.next().unwrap_or_default();
        let bad = || EngineError::BadKey { key: name.to_string(), reason: NO_ROOT };
        Self::of(&root, names).ok_or_else(bad)
    }

    fn of(root: &WideString, names: impl Iterator<Item = WideString>) -> Option<Self> {
        let is = |spellings: &[&str]| spellings.iter().any(|name| root.matches(name));
        let (_, root, above) = ROOTS.iter().find(|(spellings, ..)| is(spellings))?;
        let above = above.iter().map(|name| WideString::from(*name));
        Some(Self { root: *root, names: above.chain(names).collect() })
    }
}

/// Why a name without a known root is none.
const NO_ROOT: &str = "it begins with none of HKLM, HKCU, HKU, HKCR, HKCC and their long forms";

impl RootKey {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LocalMachine => "HKEY_LOCAL_MACHINE",
            Self::CurrentUser => "HKEY_CURRENT_USER",
            Self::Users => "HKEY_USERS",
            Self::ClassesRoot => "HKEY_CLASSES_ROOT",
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.root.name())?;
        self.names.iter().try_for_each(|name| write!(formatter, "\\{name}"))
    }
}

/// The full name of the key `names` below `root`.
pub(super) fn full(root: &str, names: &[WideString]) -> WideString {
    let mut units: Vec<u16> = root.encode_utf16().collect();
    for name in names {
        units.push(u16::from(b'\\'));
        units.extend_from_slice(name.units());
    }
    units.into()
}

fn unquoted(text: &str) -> &str {
    let inner = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

/// `text` without `prefix`, in any case.
fn without<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_in_many_ways() {
        for text in [
            r"HKLM\Software\X",
            r"hkey_local_machine\Software\X\",
            r"HKLM:\Software\X",
            r"  'HKLM\Software\X'  ",
            "\"HKLM\\\\Software\\\\X\"",
            r"Computer\HKEY_LOCAL_MACHINE\Software\X",
            r"registry::HKLM\Software\X",
        ] {
            let name = KeyName::parse(text).unwrap();
            assert_eq!(name.to_string(), r"HKEY_LOCAL_MACHINE\Software\X", "{text}");
        }
        for (text, full) in [
            ("HKCU", "HKEY_CURRENT_USER"),
            (r"HKU\.DEFAULT", r"HKEY_USERS\.DEFAULT"),
            (r"HKCR\MIME\text/html", r"HKEY_CLASSES_ROOT\MIME\text/html"),
            (
                r"HKCC\Software",
                r"HKEY_LOCAL_MACHINE\System\CurrentControlSet\Hardware Profiles\Current\Software",
            ),
        ] {
            assert_eq!(KeyName::parse(text).unwrap().to_string(), full);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        let refused = |text: &str| KeyName::parse(text).unwrap_err().to_string();
        let text = refused("HKLM/Software");
        assert_eq!(
            text,
            r"`HKLM/Software` is no name of a registry key: names are parted by \, not by /"
        );
        for text in ["", "Software", r"\HKLM", r"HKXX\Software", "ß", r"C:\Windows"] {
            assert!(refused(text).contains("it begins with none of HKLM"), "{text}");
        }
    }

    #[test]
    fn names_in_files_need_not_be_text() {
        let units: Vec<u16> = r"HKEY_USERS\.Default\".encode_utf16().chain([0xd800]).collect();
        let name = KeyName::in_file(&units.into()).unwrap();
        assert_eq!(name.names[1].units(), [0xd800]);
        assert!(KeyName::in_file(&"nothing".into()).is_err());
    }
}
