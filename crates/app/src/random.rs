//! Random bytes from the operating system, and the alphabet that ids and keys are written in.

use rand::TryRng;
use rand::rngs::SysRng;

use crate::error::{Error, Result};

/// Crockford's base 32 in lower case: no `i l o u`, one word for a double click.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(Error::internal)?;
    Ok(bytes)
}

/// Bytes as text, five bits a character, most significant first.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(&mut out, held >> bits);
            held &= (1 << bits) - 1;
        }
    }
    if bits > 0 {
        push(&mut out, held << (5 - bits));
    }
    out
}

fn push(out: &mut String, five: u32) {
    let index = usize::try_from(five & 31).unwrap_or(0);
    out.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'0')));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_sorts_like_the_bytes() {
        assert_eq!(text(&[0; 5]), "00000000");
        assert_eq!(text(&[0xff; 5]), "zzzzzzzz");
        assert_eq!(text(&[0xff]), "zw");
        assert!(text(&[1, 2, 3, 4, 5, 6]) < text(&[1, 2, 3, 4, 5, 7]));
    }
}
