//! Digests, and what they name.

use std::fmt;
use std::io;
use std::str::FromStr;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{ImageError, Layer};

/// A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The first 12 hexadecimal digits, as `docker images` shows.
    #[must_use]
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }

    /// The digest with these 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().as_chunks::<2>().0) {
            let text = std::str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(text, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        text.strip_prefix("sha256:")
            .and_then(Self::from_hex)
            .ok_or_else(|| ImageError::InvalidDigest { text: text.chars().take(100).collect() })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a [`Digest`] piece by piece.
pub(crate) struct Hasher(Context);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Digest(bytes)
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Declares a newtype of [`Digest`], so that the four things digests name are not mixed up.
macro_rules! digest_of {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ImageError;

            fn from_str(text: &str) -> Result<Self, ImageError> {
                text.parse().map(Self)
            }
        }
    };
}

digest_of! {
    /// An image: the digest of its configuration.
    ImageId
}
digest_of! {
    /// A layer by itself: the digest of its uncompressed tar.
    DiffId
}
digest_of! {
    /// A layer on top of all layers below it.
    ChainId
}

impl ChainId {
    /// The chain of one base layer.
    #[must_use]
    pub fn base(diff: DiffId) -> Self {
        Self(diff.0)
    }

    /// The chain of `self` with the layer `diff` on top (OCI image specification, config.md).
    #[must_use]
    pub fn with(self, diff: DiffId) -> Self {
        Self(Digest::of(format!("{self} {diff}").as_bytes()))
    }

    /// The chain of `parents`, base first, with the layer `diff` on top.
    #[must_use]
    pub fn above(parents: &[Layer], diff: DiffId) -> Self {
        parents.last().map_or(Self::base(diff), |below| below.chain_id.with(diff))
    }
}

#[cfg(test)]
mod tests {
    use super::{ChainId, DiffId, Digest};

    #[test]
    fn digests_are_written_and_read_alike() {
        let digest = Digest::of(b"");
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), digest);
        assert_eq!(digest.short(), "e3b0c44298fc");
    }

    #[test]
    fn other_spellings_of_digests_are_refused() {
        for text in ["", "sha256:", "sha512:00", "E3B0", "sha256:../../etc/passwd"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        assert!(Digest::from_hex(&"A".repeat(64)).is_none());
    }

    #[test]
    fn chains_are_hashed_as_the_specification_says() {
        let [a, b] = [DiffId(Digest::of(b"a")), DiffId(Digest::of(b"b"))];
        let base = ChainId::base(a);
        let chains = [base, base.with(b)];
        assert_eq!(chains[0].0, a.0);
        assert_eq!(chains[1].0, Digest::of(format!("{} {}", a.0, b.0).as_bytes()));
    }
}
