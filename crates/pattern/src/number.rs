//! Numbers by their exact decimal value, from their text.

use std::cmp::Ordering;

#[cfg(test)]
mod tests;

/// Digits that [`Key`] holds.
const KEY_DIGITS: u32 = 19;
/// Added to exponents, so that they are positive: the smallest is -323.
const EXPONENT_BIAS: i32 = 400;

/// Powers of ten from the exponent 0 on, those that numbers in events mostly have.
const POWERS: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// The exact value of a JSON number that a double can hold, at least roughly.
///
/// Equal numbers have equal parts however they were spelled. Only numbers of more than
/// 19 significant digits need memory of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Decimal {
    key: Key,
    /// Further digits, without zeros at the end.
    rest: Box<[u8]>,
}

/// A number by its first 19 significant digits; keys compare as the numbers do.
///
/// The value is 0.DIGITS times ten to an exponent. `order` is that exponent, biased, with the
/// number's sign, and 0 for zero; `digits` is complemented where the number is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    order: i32,
    digits: u64,
}

impl Key {
    /// The number roughly, within one part in a million millions.
    pub(crate) fn approximate(self) -> f64 {
        let (digits, exponent) = match self.order.signum() {
            0 => return 0.0,
            1 => (self.digits, self.order - EXPONENT_BIAS),
            _ => (!self.digits, -self.order - EXPONENT_BIAS),
        };
        // Half of the power at a time: the whole may be beyond what a double holds.
        #[expect(clippy::cast_precision_loss, reason = "an approximation is asked for")]
        let fraction = digits as f64 / 1e19;
        let power = usize::try_from(exponent).ok().and_then(|e| POWERS.get(e));
        let size = power.map_or_else(
            || {
                let half = exponent / 2;
                fraction * 10_f64.powi(half) * 10_f64.powi(exponent - half)
            },
            |power| fraction * power,
        );
        let size = size.min(f64::MAX);
        if self.order < 0 { -size } else { size }
    }

    pub(crate) const fn from_parts(order: i32, digits: u64) -> Self {
        Self { order, digits }
    }

    /// The parts, for hashing and storing.
    pub(crate) const fn parts(self) -> (i32, u64) {
        (self.order, self.digits)
    }
}

impl Decimal {
    /// The value of a number as JSON spells it. `None` when it has no numeric value: it is beyond
    /// the largest double, or so small that a double would be zero.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut scan = Scan::new(text.as_bytes());
        scan.run();
        if scan.count == 0 {
            let key = Key {
                order: 0,
                digits: 0,
            };
            let rest = Box::default();
            return Some(Self { key, rest });
        }
        let exponent = scan.exponent.saturating_add(scan.power());
        let fits = match exponent {
            -322..=308 => true,
            // Only at the two ends do the digits matter.
            -323 | 309 => text
                .parse::<f64>()
                .is_ok_and(|double| double.is_finite() && double != 0.0),
            _ => false,
        };
        if !fits {
            return None;
        }
        let missing = KEY_DIGITS.saturating_sub(scan.count);
        let digits = scan.head * 10_u64.pow(missing);
        let order = i32::try_from(exponent).unwrap_or_default() + EXPONENT_BIAS;
        Some(Self {
            key: if scan.negative {
                Key {
                    order: -order,
                    digits: !digits,
                }
            } else {
                Key { order, digits }
            },
            rest: if scan.more {
                further_digits(text)
            } else {
                Box::default()
            },
        })
    }

    /// The first digits.
    pub(crate) const fn key(&self) -> Key {
        self.key
    }

    /// Compares with a number that is nothing but its first digits.
    pub(crate) fn cmp_short(&self, other: Key) -> Ordering {
        let ordering = self.key.cmp(&other);
        match ordering {
            // More digits lead away from zero.
            Ordering::Equal if !self.is_short() => {
                if self.key.order < 0 {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            ordering => ordering,
        }
    }

    /// Whether the key is the whole number.
    pub(crate) fn is_short(&self) -> bool {
        self.rest.is_empty()
    }
}

/// One pass over the text of a number.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    negative: bool,
    /// The first significant digits.
    head: u64,
    /// Significant digits in `head`, at most [`KEY_DIGITS`].
    count: u32,
    /// A digit behind those in `head` is not zero.
    more: bool,
    exponent: i64,
}

impl<'a> Scan<'a> {
    fn new(text: &'a [u8]) -> Self {
        let negative = text.first() == Some(&b'-');
        Self {
            text,
            at: usize::from(negative),
            negative,
            head: 0,
            count: 0,
            more: false,
            exponent: 0,
        }
    }

    fn run(&mut self) {
        let digits = self.digits();
        self.exponent = digits;
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            let none_yet = self.count == 0;
            let before = self.at;
            let counted = self.digits();
            if none_yet {
                // Zeros between the point and the first digit.
                self.exponent = counted - signed(self.at - before);
            }
        }
    }

    /// Takes digits, and says how many there were from the first significant one on.
    fn digits(&mut self) -> i64 {
        let mut counted = 0_i64;
        if self.count == 0 {
            while self.text.get(self.at) == Some(&b'0') {
                self.at += 1;
            }
        }
        // Eight at a time as long as they all go into the head.
        while self.count + 8 <= KEY_DIGITS {
            let Some(eight) = self.text.get(self.at..).and_then(<[u8]>::first_chunk::<8>) else {
                break;
            };
            let Some(value) = eight_digits(*eight) else {
                break;
            };
            self.head = self.head * 100_000_000 + value;
            self.count += 8;
            self.at += 8;
            counted += 8;
        }
        while let Some(&byte @ b'0'..=b'9') = self.text.get(self.at) {
            let digit = u64::from(byte - b'0');
            if self.count < KEY_DIGITS {
                self.head = self.head * 10 + digit;
                self.count += 1;
            } else {
                self.more |= digit != 0;
            }
            self.at += 1;
            counted += 1;
        }
        counted
    }

    /// The power of ten behind the digits; what is too large for an `i64` is out of every range.
    fn power(&self) -> i64 {
        let text = self.text.get(self.at..).unwrap_or_default();
        let Some((b'e' | b'E', power)) = text.split_first() else {
            return 0;
        };
        let (negative, digits) = match power.split_first() {
            Some((b'-', digits)) => (true, digits),
            Some((b'+', digits)) => (false, digits),
            _ => (false, power),
        };
        let size = digits.iter().fold(0_i64, |n, b| {
            n.saturating_mul(10)
                .saturating_add(i64::from(b.saturating_sub(b'0')))
        });
        if negative { -size } else { size }
    }
}

/// The value of eight ASCII digits, if they all are. In each step neighbours are added up: the
/// left one times 10, then 100, then 10,000.
fn eight_digits(bytes: [u8; 8]) -> Option<u64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    let word = u64::from_le_bytes(bytes);
    let above_nine = word.wrapping_add(0x0606_0606_0606_0606);
    if word & HIGH != ZEROS || above_nine & HIGH != ZEROS {
        return None;
    }
    let ones = word - ZEROS;
    let pairs = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

/// The significant digits behind the first ones, without zeros at the end.
fn further_digits(text: &str) -> Box<[u8]> {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit);
    let mut rest: Vec<u8> = digits
        .skip_while(|&b| b == b'0')
        .skip(KEY_DIGITS as usize)
        .collect();
    let used = rest.iter().rposition(|&b| b != b'0').map_or(0, |i| i + 1);
    rest.truncate(used);
    rest.into()
}

fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then_with(|| {
            let rest = self.rest.cmp(&other.rest);
            if self.key.order < 0 {
                rest.reverse()
            } else {
                rest
            }
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One end of a range.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) value: Decimal,
    pub(crate) inclusive: bool,
}

/// The argument of `numeric`.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) low: Option<Bound>,
    pub(crate) high: Option<Bound>,
}

impl Range {
    pub(crate) fn contains(&self, value: &Decimal) -> bool {
        let within = |bound: &Bound, beyond: Ordering| {
            let ordering = value.cmp(&bound.value);
            ordering == beyond || (bound.inclusive && ordering == Ordering::Equal)
        };
        self.low
            .as_ref()
            .is_none_or(|low| within(low, Ordering::Greater))
            && self
                .high
                .as_ref()
                .is_none_or(|high| within(high, Ordering::Less))
    }
}
