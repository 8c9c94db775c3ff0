//! Blocks of IPv4 addresses, as subnets, pools and routes are.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

/// Bits of an address.
const BITS: u8 = 32;

/// A block of IPv4 addresses, such as `172.30.0.0/16`. It begins at its first address: no host
/// bits are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Block {
    first: Ipv4Addr,
    prefix: u8,
}

/// A text that is no block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {text}")]
pub struct BlockError {
    /// The text.
    pub text: String,
}

impl Block {
    /// The block of this prefix length that the address lies in; `None` for lengths above 32.
    #[must_use]
    pub fn around(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        let host_bits = BITS.checked_sub(prefix)?;
        let mask = u32::MAX.checked_shl(host_bits.into()).unwrap_or(0);
        Some(Self { first: Ipv4Addr::from_bits(address.to_bits() & mask), prefix })
    }

    /// First address.
    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        self.first
    }

    /// Last address.
    #[must_use]
    pub fn last(self) -> Ipv4Addr {
        let host = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
        Ipv4Addr::from_bits(self.first.to_bits() | host)
    }

    /// Prefix length, 0 to 32.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether the address lies in the block.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last()).contains(&address)
    }

    /// Whether some address lies in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl FromStr for Block {
    type Err = BlockError;

    fn from_str(text: &str) -> Result<Self, BlockError> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let address = address.parse().ok()?;
            let block = Self::around(address, prefix.parse().ok()?)?;
            (block.first == address).then_some(block)
        };
        parse().ok_or_else(|| BlockError { text: text.to_owned() })
    }
}

impl TryFrom<String> for Block {
    type Error = BlockError;

    fn try_from(text: String) -> Result<Self, BlockError> {
        text.parse()
    }
}

impl From<Block> for String {
    fn from(block: Block) -> Self {
        block.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Block {
        text.parse().unwrap()
    }

    #[test]
    fn a_block_reads_as_it_is_written() {
        for text in ["0.0.0.0/0", "10.0.0.0/8", "192.168.1.128/25", "1.2.3.4/32"] {
            assert_eq!(block(text).to_string(), text);
        }
        for text in ["", "10.0.0.0", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "::/0", "a/8"] {
            assert!(text.parse::<Block>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_block_ends_at_its_last_address() {
        assert_eq!(block("10.1.0.0/16").last(), Ipv4Addr::new(10, 1, 255, 255));
        assert_eq!(block("1.2.3.4/32").last(), Ipv4Addr::new(1, 2, 3, 4));
        assert_eq!(block("0.0.0.0/0").last(), Ipv4Addr::BROADCAST);
        assert!(block("10.1.0.0/16").contains(Ipv4Addr::new(10, 1, 2, 3)));
        assert!(!block("10.1.0.0/16").contains(Ipv4Addr::new(10, 2, 0, 0)));
    }

    #[test]
    fn overlap_is_seen_both_ways() {
        let (wide, narrow) = (block("10.0.0.0/8"), block("10.9.8.0/24"));
        let other = block("172.16.0.0/24");
        assert!(wide.overlaps(narrow) && narrow.overlaps(wide) && wide.overlaps(wide));
        assert!(!wide.overlaps(other) && !other.overlaps(narrow));
    }
}
