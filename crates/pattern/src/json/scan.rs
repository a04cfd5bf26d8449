//! Skips over parts of a JSON text without looking into them.
//!
//! The text is known to be JSON; where it is not, positions are meaningless but never behind the
//! end, and every step goes forward. The bit tricks for strings and escapes in blocks of 64 bytes
//! are those of simdjson (Langdale and Lemire, "Parsing Gigabytes of JSON per Second", 2019).

/// Finds bytes in blocks of 16; bit 0 stands for the first byte.
mod block {
    use wide::u8x16;

    pub(super) const WIDTH: usize = 16;

    const fn splat(byte: u8) -> u8x16 {
        u8x16::new([byte; WIDTH])
    }

    #[inline]
    fn is(block: u8x16, byte: u8) -> u8x16 {
        block.simd_eq(splat(byte))
    }

    /// Brackets of both kinds differ from each other in one bit only.
    #[inline]
    fn alike(block: u8x16) -> u8x16 {
        block | splat(0x20)
    }

    #[inline]
    fn at_most(block: u8x16, byte: u8) -> u8x16 {
        block.min(splat(byte)).simd_eq(block)
    }

    /// Where quotes and backslashes are.
    #[inline]
    pub(super) fn quotes(bytes: &[u8; WIDTH]) -> (u32, u32) {
        let block = u8x16::new(*bytes);
        (is(block, b'"').to_bitmask(), is(block, b'\\').to_bitmask())
    }

    /// Where opening and closing brackets of both kinds are.
    #[inline]
    pub(super) fn brackets(bytes: &[u8; WIDTH]) -> (u32, u32) {
        let block = alike(u8x16::new(*bytes));
        (is(block, b'{').to_bitmask(), is(block, b'}').to_bitmask())
    }

    /// Where something stands that ends a number or word.
    #[inline]
    pub(super) fn ends(bytes: &[u8; WIDTH]) -> u32 {
        let block = u8x16::new(*bytes);
        (is(alike(block), b'}') | is(block, b',') | at_most(block, b' ')).to_bitmask()
    }

    /// Where something stands that a plain run of string characters does not have.
    #[inline]
    pub(super) fn not_plain(bytes: &[u8; WIDTH]) -> u32 {
        let block = u8x16::new(*bytes);
        (is(block, b'"') | is(block, b'\\') | at_most(block, 0x1f)).to_bitmask()
    }
}

#[inline]
fn block_at(bytes: &[u8], at: usize) -> Option<&[u8; block::WIDTH]> {
    bytes.get(at..)?.first_chunk()
}

/// A place from `at` on with no quote, backslash or control character before it: the first of
/// those, or a little before the end of the text.
#[inline]
pub(crate) fn plain_run(bytes: &[u8], mut at: usize) -> usize {
    while let Some(block) = block_at(bytes, at) {
        let found = block::not_plain(block);
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += block::WIDTH;
    }
    at
}

/// Where the string ends whose characters start at `at`: the place of its closing quote, and
/// whether there are escapes in it.
#[inline]
pub(crate) fn string_end(bytes: &[u8], mut at: usize) -> (usize, bool) {
    while let Some(block) = block_at(bytes, at) {
        let (quotes, backslashes) = block::quotes(block);
        if quotes | backslashes != 0 {
            let quote = quotes.trailing_zeros();
            if backslashes.trailing_zeros() < quote {
                return (escaped_string_end(bytes, at), true);
            }
            return (at + quote as usize, false);
        }
        at += block::WIDTH;
    }
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return (at, false),
            b'\\' => return (escaped_string_end(bytes, at), true),
            _ => at += 1,
        }
    }
    (at, false)
}

#[cold]
fn escaped_string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Where a number or word ends.
#[inline]
pub(crate) fn scalar_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(block) = block_at(bytes, at) {
        let ends = block::ends(block);
        if ends != 0 {
            return at + ends.trailing_zeros() as usize;
        }
        at += block::WIDTH;
    }
    while bytes
        .get(at)
        .is_some_and(|&b| b | 0x20 != b'}' && b != b',' && b > b' ')
    {
        at += 1;
    }
    at
}

/// Bytes looked at together when containers are skipped.
const WIDE: usize = 64;
/// Every other bit, from the second on.
const ODD_BITS: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/// Where the container ends that `at` is inside of: behind its closing bracket.
pub(crate) fn container_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 1_u32;
    let mut inside = Inside::default();
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let mut padded = [0; WIDE];
        let block: &[u8; WIDE] = if let Some(block) = rest.first_chunk() {
            block
        } else {
            if rest.is_empty() {
                return bytes.len();
            }
            padded
                .iter_mut()
                .zip(rest)
                .for_each(|(to, from)| *to = *from);
            &padded
        };
        let (open, close) = inside.structure(block);
        if close.count_ones() < depth {
            depth = depth + open.count_ones() - close.count_ones();
        } else {
            let mut both = open | close;
            while both != 0 {
                let bit = both & both.wrapping_neg();
                if close & bit == 0 {
                    depth += 1;
                } else {
                    depth -= 1;
                    if depth == 0 {
                        return at + both.trailing_zeros() as usize + 1;
                    }
                }
                both ^= bit;
            }
        }
        at += WIDE;
    }
}

/// What a block has to know of the one before.
#[derive(Default)]
struct Inside {
    /// All bits set within a string.
    string: u64,
    /// 1 when the first byte is escaped.
    escape: u64,
}

impl Inside {
    /// The brackets that open and close containers.
    #[inline]
    fn structure(&mut self, block: &[u8; WIDE]) -> (u64, u64) {
        let (mut quotes, mut backslashes, mut open, mut close) = (0_u64, 0_u64, 0_u64, 0_u64);
        let (parts, _) = block.as_chunks::<{ block::WIDTH }>();
        for (part, shift) in parts.iter().zip((0..).step_by(block::WIDTH)) {
            let (quote, backslash) = block::quotes(part);
            let (opening, closing) = block::brackets(part);
            quotes |= u64::from(quote) << shift;
            backslashes |= u64::from(backslash) << shift;
            open |= u64::from(opening) << shift;
            close |= u64::from(closing) << shift;
        }
        quotes &= !self.escaped(backslashes);
        // Each bit becomes the parity of the quotes up to it.
        let mut string = quotes;
        for shift in [1, 2, 4, 8, 16, 32] {
            string ^= string << shift;
        }
        string ^= self.string;
        self.string = 0_u64.wrapping_sub(string >> 63);
        (open & !string, close & !string)
    }

    /// The bytes that a backslash stands before which is not escaped itself.
    #[inline]
    fn escaped(&mut self, backslashes: u64) -> u64 {
        if backslashes == 0 {
            return std::mem::take(&mut self.escape);
        }
        // In a run of backslashes every second one is escaped. Subtracting its start from a run,
        // on odd places made even, turns every second bit over.
        let starts = backslashes & !self.escape;
        let maybe = starts << 1;
        let codes = (maybe | ODD_BITS).wrapping_sub(starts) ^ ODD_BITS;
        let escaped = codes ^ (backslashes | self.escape);
        self.escape = (codes & backslashes) >> 63;
        escaped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{container_end, plain_run, scalar_end, string_end};

    /// Byte by byte, as one would write it down.
    fn container_reference(bytes: &[u8], mut at: usize) -> usize {
        let (mut depth, mut string) = (1, false);
        while at < bytes.len() {
            match bytes[at] {
                b'\\' if string => at += 1,
                b'"' => string = !string,
                b'{' | b'[' if !string => depth += 1,
                b'}' | b']' if !string => {
                    depth -= 1;
                    if depth == 0 {
                        return at + 1;
                    }
                }
                _ => {}
            }
            at += 1;
        }
        bytes.len()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn containers_end_where_they_end(
            text in prop::collection::vec(
                prop_oneof![
                    4 => r#""([a-z{}\[\]:,é]|\\["\\/n]){0,40}""#,
                    2 => r"[\[\]{}]",
                    1 => r"[0-9:, ]{1,30}",
                ],
                0..20,
            ),
        ) {
            let text = text.concat();
            prop_assert_eq!(
                container_end(text.as_bytes(), 0),
                container_reference(text.as_bytes(), 0)
            );
        }

        #[test]
        fn strings_end_where_they_end(text in r#"([a-zé]|\\["\\n]){0,40}"#, rest in r#"["a-z\\]{0,30}"#) {
            let whole = format!("{text}\"{rest}");
            prop_assert_eq!(
                string_end(whole.as_bytes(), 0),
                (text.len(), text.contains('\\'))
            );
        }

        #[test]
        fn scalars_end_where_they_end(text in "[-+.0-9eE]{0,40}", end in r"[,\]} \n]", rest in "[a-z,]{0,20}") {
            let whole = format!("{text}{end}{rest}");
            prop_assert_eq!(scalar_end(whole.as_bytes(), 0), text.len());
        }

        #[test]
        fn positions_stay_within_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..210) {
            let end = bytes.len().max(at);
            prop_assert!(container_end(&bytes, at) <= end);
            prop_assert!(string_end(&bytes, at).0 <= end);
            prop_assert!(scalar_end(&bytes, at) <= end);
            let run = plain_run(&bytes, at);
            prop_assert!(run >= at && run <= end);
            let plain = |b: &u8| *b >= 0x20 && !matches!(b, b'"' | b'\\');
            prop_assert!(bytes.get(at..run).unwrap_or_default().iter().all(plain));
        }
    }
}
