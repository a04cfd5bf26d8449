//! Numbers by their exact decimal value, from their text.

use std::cmp::Ordering;

#[cfg(test)]
mod tests;

/// The exact value of a JSON number that a double can hold, at least roughly.
///
/// Equal numbers have equal parts however they were spelled: the value is 0.DIGITS times ten to
/// the exponent, without zeros at either end of the digits. Zero has no digits and no sign.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Decimal {
    negative: bool,
    exponent: i64,
    digits: Box<[u8]>,
}

impl Decimal {
    /// The value of a number as JSON spells it. `None` when it has no numeric value: it is beyond
    /// the largest double, or so small that a double would be zero.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, text) = text
            .strip_prefix('-')
            .map_or((false, text), |rest| (true, rest));
        let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));

        let all = || whole.bytes().chain(fraction.bytes());
        let leading = all().take_while(|&b| b == b'0').count();
        let trailing = all().rev().take_while(|&b| b == b'0').count();
        let count = whole.len() + fraction.len();
        if leading == count {
            return Some(Self {
                negative: false,
                exponent: 0,
                digits: Box::default(),
            });
        }
        let digits: Box<[u8]> = all().take(count - trailing).skip(leading).collect();
        let shift = signed(whole.len()).saturating_sub(signed(leading));
        let exponent = parse_power(power).saturating_add(shift);
        fits_double(exponent, &digits).then_some(Self {
            negative,
            exponent,
            digits,
        })
    }
}

fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A power of ten; what is too large for an `i64` is out of every range anyway.
fn parse_power(text: &str) -> i64 {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let size = digits.bytes().fold(0_i64, |n, b| {
        n.saturating_mul(10)
            .saturating_add(i64::from(b.saturating_sub(b'0')))
    });
    if negative { -size } else { size }
}

/// Whether the double nearest to 0.DIGITS times ten to the exponent is neither infinite nor zero.
fn fits_double(exponent: i64, digits: &[u8]) -> bool {
    match exponent {
        -322..=308 => true,
        // Only at the two ends do the digits matter; no boundary needs more than 800 of them.
        -323 | 309 => {
            let mut text = String::from("0.");
            text.extend(digits.iter().take(800).copied().map(char::from));
            if digits.len() > 800 {
                text.push('1');
            }
            text.push('e');
            text.push_str(&exponent.to_string());
            text.parse::<f64>()
                .is_ok_and(|double| double.is_finite() && double != 0.0)
        }
        _ => false,
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |d: &Self| match (d.digits.is_empty(), d.negative) {
            (true, _) => 0_i8,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = || {
            self.exponent
                .cmp(&other.exponent)
                .then_with(|| self.digits.cmp(&other.digits))
        };
        match sign(self).cmp(&sign(other)) {
            Ordering::Equal if sign(self) < 0 => size().reverse(),
            Ordering::Equal if sign(self) > 0 => size(),
            ordering => ordering,
        }
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
