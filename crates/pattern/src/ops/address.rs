//! Blocks of addresses.

use std::net::IpAddr;

/// A block of IPv4 or IPv6 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    V4 { network: u32, mask: u32 },
    V6 { network: u128, mask: u128 },
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
                let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
                Some(Self::V4 {
                    network: address.to_bits() & mask,
                    mask,
                })
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX
                    .checked_shl(128_u32.checked_sub(bits)?)
                    .unwrap_or(0);
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
