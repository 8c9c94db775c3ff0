//! Which address an endpoint gets: the lowest free one of its subnet. Pure.

use std::{collections::BTreeSet, net::Ipv4Addr};

/// Shortest prefix accepted, from [`oriel_hcs::NetworkSpec::prefix`].
const SHORTEST_PREFIX: u8 = 8;
/// Longest prefix accepted: leaves five addresses for endpoints.
const LONGEST_PREFIX: u8 = 29;

/// A subnet with the gateway's address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    first: u32,
    prefix: u8,
    gateway: Ipv4Addr,
}

/// Why numbers do not make a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubnetError {
    /// Too large or too small.
    #[error("prefix length {0} is not within {SHORTEST_PREFIX} to {LONGEST_PREFIX}")]
    Prefix(u8),
    /// Host bits are set.
    #[error("{0} is not the first address of a /{1}")]
    NotFirst(Ipv4Addr, u8),
    /// The gateway cannot be one.
    #[error("gateway {0} is not a usable address of the subnet")]
    Gateway(Ipv4Addr),
}

impl Subnet {
    /// Checks that the three numbers fit together.
    pub(crate) fn new(first: Ipv4Addr, prefix: u8, gateway: Ipv4Addr) -> Result<Self, SubnetError> {
        if !(SHORTEST_PREFIX..=LONGEST_PREFIX).contains(&prefix) {
            return Err(SubnetError::Prefix(prefix));
        }
        let subnet = Self { first: first.to_bits(), prefix, gateway };
        if subnet.first & subnet.host_mask() != 0 {
            return Err(SubnetError::NotFirst(first, prefix));
        }
        if !subnet.is_usable(gateway) {
            return Err(SubnetError::Gateway(gateway));
        }
        Ok(subnet)
    }

    /// Whether the address lies in the subnet.
    pub(crate) fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & !self.host_mask() == self.first
    }

    /// Whether some address lies in both.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        let wider = if self.prefix < other.prefix { self } else { other };
        self.first & !wider.host_mask() == other.first & !wider.host_mask()
    }

    /// The last address.
    pub(crate) fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first | self.host_mask())
    }

    /// The lowest address that is neither taken nor the network's, the gateway's or the broadcast.
    pub(crate) fn lowest_free(self, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        (self.first + 1..self.broadcast().to_bits())
            .map(Ipv4Addr::from_bits)
            .find(|address| *address != self.gateway && !taken.contains(address))
    }

    /// `10.0.0.0/24`.
    pub(crate) fn first(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first)
    }

    /// Prefix length.
    pub(crate) fn prefix(self) -> u8 {
        self.prefix
    }

    /// The gateway's address.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        self.gateway
    }

    fn host_mask(self) -> u32 {
        u32::MAX >> self.prefix
    }

    fn is_usable(self, address: Ipv4Addr) -> bool {
        self.contains(address) && address.to_bits() != self.first && address != self.broadcast()
    }
}

/// Hardware address of the endpoint with this address, as Docker derives it: locally
/// administered, and the same again when the address is.
pub(crate) fn hardware_address(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// `02:42:ac:11:00:02`.
pub(crate) fn hardware_text(address: Ipv4Addr) -> String {
    hardware_address(address).map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(first: [u8; 4], prefix: u8, gateway: [u8; 4]) -> Result<Subnet, SubnetError> {
        Subnet::new(first.into(), prefix, gateway.into())
    }

    #[test]
    fn lowest_free_address_skips_gateway_taken_network_and_broadcast() {
        let subnet = subnet([10, 0, 0, 8], 29, [10, 0, 0, 9]).unwrap();
        let mut taken = BTreeSet::new();
        let mut given = Vec::new();
        while let Some(address) = subnet.lowest_free(&taken) {
            given.push(address.octets()[3]);
            taken.insert(address);
        }
        assert_eq!(given, [10, 11, 12, 13, 14]);
        taken.remove(&Ipv4Addr::new(10, 0, 0, 12));
        assert_eq!(subnet.lowest_free(&taken), Some(Ipv4Addr::new(10, 0, 0, 12)));
    }

    #[test]
    fn gateway_may_sit_anywhere_but_at_the_edges() {
        assert!(subnet([10, 0, 0, 0], 24, [10, 0, 0, 77]).is_ok());
        for edge in [[10, 0, 0, 0], [10, 0, 0, 255], [10, 0, 1, 1]] {
            assert_eq!(subnet([10, 0, 0, 0], 24, edge), Err(SubnetError::Gateway(edge.into())));
        }
    }

    #[test]
    fn odd_subnets_are_refused() {
        assert_eq!(subnet([10, 0, 0, 0], 30, [10, 0, 0, 1]), Err(SubnetError::Prefix(30)));
        assert_eq!(subnet([0, 0, 0, 0], 0, [10, 0, 0, 1]), Err(SubnetError::Prefix(0)));
        let first = Ipv4Addr::new(10, 0, 0, 1);
        assert_eq!(subnet([10, 0, 0, 1], 24, [10, 0, 0, 2]), Err(SubnetError::NotFirst(first, 24)));
    }

    #[test]
    fn the_largest_subnet_ends_at_its_broadcast() {
        let subnet = subnet([255, 0, 0, 0], 8, [255, 0, 0, 1]).unwrap();
        assert_eq!(subnet.broadcast(), Ipv4Addr::BROADCAST);
        assert_eq!(subnet.lowest_free(&BTreeSet::new()), Some(Ipv4Addr::new(255, 0, 0, 2)));
    }

    #[test]
    fn overlap_is_seen_both_ways() {
        let wide = subnet([10, 0, 0, 0], 8, [10, 0, 0, 1]).unwrap();
        let narrow = subnet([10, 9, 8, 0], 24, [10, 9, 8, 1]).unwrap();
        let other = subnet([172, 16, 0, 0], 24, [172, 16, 0, 1]).unwrap();
        assert!(wide.overlaps(narrow) && narrow.overlaps(wide) && wide.overlaps(wide));
        assert!(!wide.overlaps(other) && !other.overlaps(narrow));
    }

    #[test]
    fn hardware_address_is_derived_from_the_address() {
        assert_eq!(hardware_text(Ipv4Addr::new(172, 17, 0, 2)), "02:42:ac:11:00:02");
    }
}
