//! Numeric ranges of one path, to be found by a number that lies in them.
//!
//! Ranges of about the same width stand together, sorted by where they begin: those that hold a
//! number begin at most one width before it. Ranges with one end only are sorted by that end.
//! Ends are kept as doubles; where a number is very near to one, only the branch itself can tell
//! on which side it is.

use super::{branch::End, sorted::Sorted};
use crate::number::Decimal;

/// How far doubles may be off, as a part of the number: twenty times more than they are.
const SLACK: f64 = 1e-12;

/// See the module. A clone shares what is in the lists.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranges {
    classes: Vec<Class>,
}

/// Ranges that are at most so wide.
#[derive(Debug, Clone)]
struct Class {
    width: Width,
    items: Sorted<Item>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Width {
    /// Both ends, at most that far from each other.
    AtMost(f64),
    /// No upper end; sorted by the lower one.
    From,
    /// No lower end; sorted by the upper one.
    To,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    low: f64,
    high: f64,
    target: Target,
}

/// What a range stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A branch with other fields as well.
    Branch(u32),
    /// A branch that asks for nothing else, and the rule that it belongs to.
    Sole {
        /// The branch.
        branch: u32,
        /// The rule.
        rule: u32,
    },
}

impl Target {
    const fn branch(self) -> u32 {
        match self {
            Self::Branch(branch) | Self::Sole { branch, .. } => branch,
        }
    }
}

fn slack(x: f64) -> f64 {
    x.abs() * SLACK + f64::MIN_POSITIVE
}

impl Width {
    /// What an item of this width is sorted by.
    #[inline]
    const fn place(self, item: &Item) -> f64 {
        match self {
            Self::To => item.high,
            Self::From | Self::AtMost(_) => item.low,
        }
    }

    /// Where ranges of this width stand that a number may lie in.
    #[inline]
    fn window(self, at: f64) -> (f64, f64) {
        match self {
            Self::AtMost(width) => (at - width - slack(at), at + slack(at)),
            Self::From => (f64::NEG_INFINITY, at + slack(at)),
            Self::To => (at - slack(at), f64::INFINITY),
        }
    }
}

/// Width and ends of a range.
fn measure(low: Option<End>, high: Option<End>) -> (Width, f64, f64) {
    let at = |end: Option<End>| end.map(|end| end.key.approximate());
    match (at(low), at(high)) {
        (Some(low), Some(high)) => {
            let width = (high - low).max(0.0) + slack(low) + slack(high);
            // Powers of two; what overflows is as wide as can be.
            (Width::AtMost(width.log2().ceil().exp2()), low, high)
        }
        (None, Some(high)) => (Width::To, f64::NEG_INFINITY, high),
        (low, None) => {
            let low = low.unwrap_or(f64::NEG_INFINITY);
            (Width::From, low, f64::INFINITY)
        }
    }
}

impl Ranges {
    pub(super) const fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    pub(super) fn add(&mut self, low: Option<End>, high: Option<End>, target: Target) {
        let (width, low, high) = measure(low, high);
        let item = Item { low, high, target };
        if let Some(Class { width, items }) = self.class_for(width) {
            let place = width.place(&item);
            items.insert(item, |other| width.place(other) < place);
        }
    }

    /// How many ranges have to be looked at for a number that lies where this range begins (or ends, where it has no
    /// beginning), counted up to `enough`.
    pub(super) fn load(&self, low: Option<End>, high: Option<End>, enough: usize) -> usize {
        let Some(at) = low.or(high).map(|end| end.key.approximate()) else {
            return enough;
        };
        let mut load = 0;
        for class in &self.classes {
            let (from, to) = class.width.window(at);
            let count = || {
                load += 1;
                load < enough
            };
            class.find(at, from, to, |_, _| {}, count);
        }
        load
    }

    /// The class for ranges of this width. Doubles have some two thousand powers of two, and
    /// there are never more classes than that.
    fn class_for(&mut self, width: Width) -> Option<&mut Class> {
        let known = self.classes.iter().position(|class| class.width == width);
        let at = known.unwrap_or(self.classes.len());
        if known.is_none() {
            let items = Sorted::default();
            self.classes.push(Class { width, items });
        }
        self.classes.get_mut(at)
    }

    /// Takes a range of a branch away.
    pub(super) fn remove(&mut self, low: Option<End>, high: Option<End>, branch: u32) {
        let (_, low, high) = measure(low, high);
        let is_it = |item: &Item| {
            item.target.branch() == branch
                && item.low.total_cmp(&low).is_eq()
                && item.high.total_cmp(&high).is_eq()
        };
        for Class { width, items } in &mut self.classes {
            let place = if *width == Width::To { high } else { low };
            let is_before = |item: &Item| width.place(item) < place;
            if items.remove(is_it, is_before, |item| width.place(item) > place) {
                break;
            }
        }
        self.classes.retain(|class| !class.items.is_empty());
    }

    /// Tells of every range that one of the numbers lies in, or may lie in: then `false` comes
    /// with it. Each is told once, and each number costs little more than what it finds.
    pub(super) fn find<'n>(
        &self,
        numbers: impl Iterator<Item = &'n Decimal>,
        buffer: &mut Vec<f64>,
        mut tell: impl FnMut(Target, bool),
    ) {
        buffer.clear();
        buffer.extend(numbers.map(|number| number.key().approximate()));
        if buffer.len() > 1 {
            buffer.sort_unstable_by(f64::total_cmp);
        }
        let (Some(&least), Some(&most)) = (buffer.first(), buffer.last()) else {
            return;
        };
        for class in &self.classes {
            let mut one = |at: f64, behind: f64| {
                let (from, to) = class.width.window(at);
                class.find(at, from.max(behind), to, &mut tell, || true);
            };
            match class.width {
                // Of several numbers the one farthest out decides.
                Width::From => one(most, f64::NEG_INFINITY),
                Width::To => one(least, f64::NEG_INFINITY),
                Width::AtMost(_) => {
                    // A range that begins before the number before and holds this one holds both.
                    let mut behind = f64::NEG_INFINITY;
                    for &at in &*buffer {
                        one(at, behind);
                        behind = (at + slack(at)).next_up();
                    }
                }
            }
        }
    }
}

impl Class {
    /// Tells of the ranges that a number lies in, among those that stand from..=to, as long as
    /// there may be more.
    #[inline]
    fn find(
        &self,
        at: f64,
        from: f64,
        to: f64,
        mut tell: impl FnMut(Target, bool),
        mut more: impl FnMut() -> bool,
    ) {
        let width = self.width;
        let (below, above) = (at - slack(at), at + slack(at));
        self.items.from(
            |item| width.place(item) < from,
            |item| {
                if width.place(item) > to {
                    return false;
                }
                if item.low <= above && item.high >= below {
                    tell(item.target, item.low < below && item.high > above);
                }
                more()
            },
        );
    }
}
