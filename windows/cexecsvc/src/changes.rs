//! What the host wants changed in the registry: how lists arrive, and what changes are called.

use oriel_hcs::ProcessId;
use oriel_hcs::bridge::{MAX_CHANGES, RegistryHive, RegistryKey, RegistryOperation};

use crate::message;

/// Puts lists of changes together from their parts.
#[derive(Debug, Default)]
pub struct Parts {
    /// The request they belong to.
    of: Option<ProcessId>,
    bytes: Vec<u8>,
    too_long: bool,
}

impl Parts {
    /// Takes a part. One of another request than before begins a new list: whoever sent the old
    /// one has died.
    pub fn add(&mut self, of: ProcessId, part: &[u8]) {
        if self.of != Some(of) {
            *self = Self { of: Some(of), ..Self::default() };
        }
        self.too_long |= self.bytes.len() + part.len() > MAX_CHANGES;
        if !self.too_long {
            self.bytes.extend_from_slice(part);
        }
    }

    /// The whole list of a request.
    ///
    /// # Errors
    /// The Win32 error for a list that is none.
    pub fn take(&mut self, of: ProcessId) -> Result<Vec<RegistryOperation>, u32> {
        let parts = std::mem::take(self);
        if parts.of != Some(of) || parts.too_long {
            return Err(message::INVALID_PARAMETER);
        }
        RegistryOperation::parse(&parts.bytes).map_err(|_| message::INVALID_PARAMETER)
    }
}

/// Whether a name can be that of one key: not of none, nor of several.
#[must_use]
pub fn is_key_name(name: &[u16]) -> bool {
    const BACKSLASH: u16 = 0x5c;
    /// Characters of the longest key name Windows has.
    const LONGEST: usize = 255;
    (1..=LONGEST).contains(&name.len()) && !name.contains(&BACKSLASH)
}

/// Whether a value can have this name.
#[must_use]
pub fn is_value_name(name: &[u16]) -> bool {
    /// Characters of the longest value name Windows has.
    const LONGEST: usize = 16_383;
    name.len() <= LONGEST
}

/// An operation in words that go on after "cannot".
#[must_use]
pub fn describe(operation: &RegistryOperation) -> String {
    let value = |name: &[u16]| {
        if name.is_empty() {
            "the default value".to_owned()
        } else {
            format!("value {}", String::from_utf16_lossy(name))
        }
    };
    match operation {
        RegistryOperation::CreateKey { key } => format!("create {}", path(key)),
        RegistryOperation::DeleteKey { key } => format!("delete {}", path(key)),
        RegistryOperation::SetValue { key, name, .. } => {
            format!("set {} of {}", value(name), path(key))
        }
        RegistryOperation::DeleteValue { key, name } => {
            format!("delete {} of {}", value(name), path(key))
        }
    }
}

/// A key as people write it.
fn path(key: &RegistryKey) -> String {
    let root = match key.hive {
        RegistryHive::Machine => "HKLM",
        RegistryHive::Default => "HKU\\.Default",
        RegistryHive::User => "HKCU",
    };
    let mut path = root.to_owned();
    for name in &key.names {
        path.push('\\');
        path.push_str(&String::from_utf16_lossy(name));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Vec<RegistryOperation> {
        let names = vec!["Software".encode_utf16().collect(), vec![0xd800]];
        let key = RegistryKey { hive: RegistryHive::Machine, names };
        vec![
            RegistryOperation::DeleteValue { key: key.clone(), name: Vec::new() },
            RegistryOperation::SetValue { key, name: vec![65], kind: 3, data: vec![0; 100_000] },
        ]
    }

    #[test]
    fn a_list_is_put_together_from_its_parts() {
        let mut parts = Parts::default();
        for piece in RegistryOperation::pieces(&list()) {
            parts.add(ProcessId(7), &piece);
        }
        assert_eq!(parts.take(ProcessId(7)), Ok(list()));
        assert_eq!(parts.take(ProcessId(7)), Err(message::INVALID_PARAMETER));
    }

    #[test]
    fn parts_of_a_host_that_died_are_forgotten() {
        let mut parts = Parts::default();
        parts.add(ProcessId(1), b"[{");
        for piece in RegistryOperation::pieces(&list()) {
            parts.add(ProcessId(2), &piece);
        }
        assert_eq!(parts.take(ProcessId(2)), Ok(list()));
        parts.add(ProcessId(3), b"[]");
        assert!(parts.take(ProcessId(4)).is_err());
    }

    #[test]
    fn a_list_without_end_takes_no_memory() {
        let mut parts = Parts::default();
        let part = vec![b' '; MAX_CHANGES / 2 + 1];
        for _ in 0..4 {
            parts.add(ProcessId(1), &part);
        }
        assert!(parts.bytes.len() <= MAX_CHANGES);
        assert!(parts.take(ProcessId(1)).is_err());
    }

    #[test]
    fn operations_are_said_as_people_write_keys() {
        let words: Vec<_> = list().iter().map(describe).collect();
        assert_eq!(words[0], "delete the default value of HKLM\\Software\\\u{fffd}");
        assert_eq!(words[1], "set value A of HKLM\\Software\\\u{fffd}");
    }

    #[test]
    fn a_name_of_several_keys_is_none() {
        let name = |text: &str| text.encode_utf16().collect::<Vec<_>>();
        assert!(is_key_name(&name("a/b c")) && is_key_name(&[0xd800]));
        for bad in ["", "a\\b", &"x".repeat(256)] {
            assert!(!is_key_name(&name(bad)), "{bad}");
        }
        assert!(is_value_name(&[]) && !is_value_name(&[65; 16_384]));
    }
}
