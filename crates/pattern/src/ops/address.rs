//! Blocks of addresses.

use std::net::IpAddr;

/// A block of IPv4 or IPv6 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    V4 { network: u32, mask: u32 },
    V6 { network: u128, mask: u128 },
}

/// The mask of a block of IPv4 addresses that have so many leading bits in common; at most 32.
pub(crate) const fn mask4(bits: u32) -> u32 {
    match u32::MAX.checked_shl(32_u32.saturating_sub(bits)) {
        Some(mask) => mask,
        None => 0,
    }
}

/// The same for IPv6; at most 128.
pub(crate) const fn mask6(bits: u32) -> u128 {
    match u128::MAX.checked_shl(128_u32.saturating_sub(bits)) {
        Some(mask) => mask,
        None => 0,
    }
}

impl Block {
    /// Reads `ADDRESS/BITS`; host bits may be set. `None` when it is no block.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        if bits.is_empty() || !bits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let bits: u32 = bits.parse().ok()?;
        match address.parse().ok()? {
            IpAddr::V4(address) => {
                let mask = (bits <= 32).then(|| mask4(bits))?;
                Some(Self::V4 {
                    network: address.to_bits() & mask,
                    mask,
                })
            }
            IpAddr::V6(address) => {
                let mask = (bits <= 128).then(|| mask6(bits))?;
                Some(Self::V6 {
                    network: address.to_bits() & mask,
                    mask,
                })
            }
        }
    }

    /// How many leading bits addresses in the block have in common.
    pub(crate) const fn bits(&self) -> u32 {
        match self {
            Self::V4 { mask, .. } => mask.leading_ones(),
            Self::V6 { mask, .. } => mask.leading_ones(),
        }
    }

    /// Whether the string is an address in the block. The standard library's idea of an address
    /// is ours: no zone, port, blanks, or leading zeros in IPv4.
    pub(crate) fn contains(&self, text: &str) -> bool {
        match (self, text.parse()) {
            (Self::V4 { network, mask }, Ok(IpAddr::V4(address))) => {
                address.to_bits() & mask == *network
            }
            (Self::V6 { network, mask }, Ok(IpAddr::V6(address))) => {
                address.to_bits() & mask == *network
            }
            _ => false,
        }
    }
}
