//! Where subnets come from when nobody asks for one. Pure.

use std::net::Ipv4Addr;

use oriel_hcs::Block;
use serde::Deserialize;

/// A pool of subnets: `base` cut into blocks of prefix length `size`, as `default-address-pools`
/// of dockerd's configuration says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct AddressPool {
    /// The whole pool.
    pub base: Block,
    /// Prefix length of its subnets.
    pub size: u8,
}

impl AddressPool {
    /// Docker's pools (moby `libnetwork/ipamutils`): fifteen subnets of 172.16.0.0/12 and sixteen
    /// of 192.168.0.0/16.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let pool = |address: [u8; 4], prefix, size| Self {
            base: Block::around(Ipv4Addr::from(address), prefix).expect("at most 32"),
            size,
        };
        vec![
            pool([172, 17, 0, 0], 16, 16),
            pool([172, 18, 0, 0], 16, 16),
            pool([172, 19, 0, 0], 16, 16),
            pool([172, 20, 0, 0], 14, 16),
            pool([172, 24, 0, 0], 14, 16),
            pool([172, 28, 0, 0], 14, 16),
            pool([192, 168, 0, 0], 16, 20),
        ]
    }

    /// Whether subnets can be cut from it: each has a prefix length of 8 to 30 and fits.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        (8..=30).contains(&self.size) && self.base.prefix() <= self.size
    }

    fn subnets(self) -> impl Iterator<Item = Block> {
        let step = 1usize << (32 - self.size);
        (self.base.first().to_bits()..=self.base.last().to_bits())
            .step_by(step)
            .filter_map(move |bits| Block::around(Ipv4Addr::from_bits(bits), self.size))
    }
}

/// The first subnet of the pools that overlaps with none of those taken.
pub(super) fn next_free(pools: &[AddressPool], taken: &[Block]) -> Option<Block> {
    let free = |subnet: &Block| !taken.iter().any(|other| other.overlaps(*subnet));
    pools.iter().filter(|pool| pool.is_valid()).flat_map(|pool| pool.subnets()).find(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(texts: &[&str]) -> Vec<Block> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn next(pools: &[AddressPool], taken: &[&str]) -> Option<String> {
        next_free(pools, &blocks(taken)).map(|block| block.to_string())
    }

    #[test]
    fn subnets_are_given_in_order_around_what_is_taken() {
        let pools = AddressPool::defaults();
        assert_eq!(next(&pools, &[]).as_deref(), Some("172.17.0.0/16"));
        let taken = ["172.17.5.0/24", "172.18.0.0/15"];
        assert_eq!(next(&pools, &taken).as_deref(), Some("172.20.0.0/16"));
        assert_eq!(next(&pools, &["172.16.0.0/12"]).as_deref(), Some("192.168.0.0/20"));
        let taken = ["172.16.0.0/12", "192.168.16.1/32", "192.168.0.0/21"];
        assert_eq!(next(&pools, &taken).as_deref(), Some("192.168.32.0/20"));
    }

    #[test]
    fn pools_come_to_an_end() {
        let pool = AddressPool { base: "10.9.0.0/29".parse().unwrap(), size: 30 };
        assert_eq!(next(&[pool], &["10.9.0.0/30"]).as_deref(), Some("10.9.0.4/30"));
        assert_eq!(next(&[pool], &["10.9.0.0/24"]), None);
        let last = AddressPool { base: "255.255.255.0/24".parse().unwrap(), size: 24 };
        assert_eq!(next(&[last], &["255.255.255.0/32"]), None);
    }

    #[test]
    fn a_pool_that_cannot_be_cut_gives_nothing() {
        for size in [7, 31, 23] {
            let pool = AddressPool { base: "10.9.0.0/24".parse().unwrap(), size };
            assert!(!pool.is_valid() && next(&[pool], &[]).is_none(), "{size}");
        }
    }
}
