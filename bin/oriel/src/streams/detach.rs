//! The keys that leave a container running: `ctrl-p,ctrl-q` unless others are asked for.

use std::str::FromStr;

/// What Docker uses, too.
pub(crate) const DEFAULT: &str = "ctrl-p,ctrl-q";

/// A sequence of keys, and how far it has been pressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    pressed: usize,
}

impl FromStr for DetachKeys {
    type Err = String;

    /// Reads `ctrl-a,b`: characters, or `ctrl-` with a letter or one of `@ [ ] \ ^ _`.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = if text.is_empty() { DEFAULT } else { text };
        let key = |name: &str| match (name.strip_prefix("ctrl-"), name.as_bytes()) {
            (Some(rest), _) => match rest.as_bytes() {
                [letter @ (b'a'..=b'z')] => Some(letter - b'a' + 1),
                [sign @ (b'@' | b'['..=b'_')] => Some(sign - b'@'),
                _ => None,
            },
            (None, [one]) => Some(*one),
            _ => None,
        };
        let keys = text.split(',').map(|name| {
            key(name).ok_or_else(|| format!("{name:?} is no key; write a letter or ctrl-LETTER"))
        });
        Ok(Self { keys: keys.collect::<Result<_, _>>()?, pressed: 0 })
    }
}

impl DetachKeys {
    /// What of the input is for the program, and whether the keys have been pressed. Keys that
    /// may be the beginning of the sequence are held back.
    pub(crate) fn pass(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(input.len());
        for &key in input {
            if key != self.keys[self.pressed] && self.pressed > 0 {
                passed.extend_from_slice(&self.keys[..self.pressed]);
                self.pressed = 0;
            }
            if key != self.keys[self.pressed] {
                passed.push(key);
                continue;
            }
            self.pressed += 1;
            if self.pressed == self.keys.len() {
                self.pressed = 0;
                return (passed, true);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_for_docker() {
        let keys = |text: &str| DetachKeys::from_str(text).map(|keys| keys.keys);
        assert_eq!(keys("").unwrap(), [16, 17]);
        assert_eq!(keys("ctrl-a,x,ctrl-]").unwrap(), [1, b'x', 29]);
        assert!(keys("ctrl-1").is_err());
        assert!(keys("word").is_err());
    }

    #[test]
    fn the_sequence_detaches_however_it_arrives() {
        let mut keys: DetachKeys = "ctrl-p,ctrl-q".parse().unwrap();
        assert_eq!(keys.pass(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(keys.pass(b"b"), (b"\x10b".to_vec(), false));
        assert_eq!(keys.pass(b"\x10\x10\x11rest"), (b"\x10".to_vec(), true));
    }
}
