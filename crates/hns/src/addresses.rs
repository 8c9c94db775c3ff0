//! Which address an endpoint gets: the lowest free one of its subnet. Pure.

use std::{collections::BTreeSet, net::Ipv4Addr};

use oriel_hcs::Block;

/// Shortest prefix accepted, from [`oriel_hcs::NetworkSpec::subnet`].
const SHORTEST_PREFIX: u8 = 8;
/// Longest prefix accepted: leaves one address for an endpoint.
const LONGEST_PREFIX: u8 = 30;

/// A subnet with the gateway's address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    block: Block,
    gateway: Ipv4Addr,
}

/// Why a block and a gateway do not make a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubnetError {
    /// Too large or too small.
    #[error("prefix length {0} is not within {SHORTEST_PREFIX} to {LONGEST_PREFIX}")]
    Prefix(u8),
    /// The gateway cannot be one.
    #[error("gateway {0} is not a usable address of the subnet")]
    Gateway(Ipv4Addr),
}

impl Subnet {
    /// Checks that the two fit together.
    pub(crate) fn new(block: Block, gateway: Ipv4Addr) -> Result<Self, SubnetError> {
        if !(SHORTEST_PREFIX..=LONGEST_PREFIX).contains(&block.prefix()) {
            return Err(SubnetError::Prefix(block.prefix()));
        }
        let subnet = Self { block, gateway };
        if subnet.is_usable(gateway) { Ok(subnet) } else { Err(SubnetError::Gateway(gateway)) }
    }

    /// Whether the address lies in the subnet.
    pub(crate) fn contains(self, address: Ipv4Addr) -> bool {
        self.block.contains(address)
    }

    /// Whether an endpoint may have the address.
    pub(crate) fn is_free(self, address: Ipv4Addr, taken: &BTreeSet<Ipv4Addr>) -> bool {
        self.is_usable(address) && address != self.gateway && !taken.contains(&address)
    }

    /// The lowest address of the range that is neither taken nor the network's, the gateway's or
    /// the broadcast.
    pub(crate) fn lowest_free(
        self,
        range: Option<Block>,
        taken: &BTreeSet<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        let range = range.unwrap_or(self.block);
        let mut addresses = range.first().to_bits()..=range.last().to_bits();
        addresses.find_map(|bits| {
            let address = Ipv4Addr::from_bits(bits);
            self.is_free(address, taken).then_some(address)
        })
    }

    /// Its addresses.
    pub(crate) fn block(self) -> Block {
        self.block
    }

    /// Prefix length.
    pub(crate) fn prefix(self) -> u8 {
        self.block.prefix()
    }

    /// The gateway's address.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        self.gateway
    }

    fn is_usable(self, address: Ipv4Addr) -> bool {
        self.contains(address) && address != self.block.first() && address != self.block.last()
    }
}

/// Hardware address of the endpoint with this address, as Docker derives it: locally
/// administered, and the same again when the address is.
pub(crate) fn hardware_address(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// `02:42:ac:11:00:02`.
pub(crate) fn hardware_text(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(block: &str, gateway: [u8; 4]) -> Result<Subnet, SubnetError> {
        Subnet::new(block.parse().unwrap(), gateway.into())
    }

    #[test]
    fn lowest_free_address_skips_gateway_taken_network_and_broadcast() {
        let subnet = subnet("10.0.0.8/29", [10, 0, 0, 9]).unwrap();
        let mut taken = BTreeSet::new();
        let mut given = Vec::new();
        while let Some(address) = subnet.lowest_free(None, &taken) {
            given.push(address.octets()[3]);
            taken.insert(address);
        }
        assert_eq!(given, [10, 11, 12, 13, 14]);
        taken.remove(&Ipv4Addr::new(10, 0, 0, 12));
        assert_eq!(subnet.lowest_free(None, &taken), Some(Ipv4Addr::new(10, 0, 0, 12)));
    }

    #[test]
    fn addresses_are_given_from_the_range_and_asked_for_anywhere() {
        let subnet = subnet("10.0.0.0/24", [10, 0, 0, 1]).unwrap();
        let range = "10.0.0.254/31".parse().ok();
        let last = Ipv4Addr::new(10, 0, 0, 254);
        assert_eq!(subnet.lowest_free(range, &BTreeSet::new()), Some(last));
        assert_eq!(subnet.lowest_free(range, &[last].into()), None);
        assert!(subnet.is_free([10, 0, 0, 9].into(), &[last].into()));
        for bad in [[10, 0, 0, 0], [10, 0, 0, 1], [10, 0, 0, 255], [10, 0, 1, 9], [10, 0, 0, 254]] {
            assert!(!subnet.is_free(bad.into(), &[last].into()), "{bad:?}");
        }
    }

    #[test]
    fn gateway_may_sit_anywhere_but_at_the_edges() {
        assert!(subnet("10.0.0.0/24", [10, 0, 0, 77]).is_ok());
        for edge in [[10, 0, 0, 0], [10, 0, 0, 255], [10, 0, 1, 1]] {
            assert_eq!(subnet("10.0.0.0/24", edge), Err(SubnetError::Gateway(edge.into())));
        }
    }

    #[test]
    fn odd_subnets_are_refused() {
        assert_eq!(subnet("10.0.0.0/31", [10, 0, 0, 1]), Err(SubnetError::Prefix(31)));
        assert_eq!(subnet("0.0.0.0/0", [10, 0, 0, 1]), Err(SubnetError::Prefix(0)));
    }

    #[test]
    fn hardware_address_is_derived_from_the_address() {
        let address = hardware_address(Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(hardware_text(address), "02:42:ac:11:00:02");
    }
}
