//! Whether values can be chosen for all fields of a branch without taking two different elements
//! of one array, and what `exists:false` means for such a choice.
//!
//! The search goes down the event's arrays. At each level the fields are spread over the arrays
//! that can serve them, and each array is then decided on its own, element by element. Where one
//! path is reached through one array, which is the rule, there is only one way to spread and the
//! work is linear in the values; the other cases are limited by a [`Budget`].

use std::collections::{BTreeMap, BTreeSet};

use crate::{event::Mark, json::NodeId, limits::MAX_COMBINATIONS};

#[cfg(test)]
mod tests;

/// Something at the path of a field: a value, or an array that satisfies `array`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate<'a> {
    pub(crate) marks: &'a [Mark],
    /// It is a value, and its presence keeps the path from being absent.
    pub(crate) leaf: bool,
    /// It satisfies one of the field's alternatives.
    pub(crate) satisfies: bool,
}

/// What can be chosen for one field. Candidates are in the order of the event.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Choice<'a> {
    pub(crate) candidates: Vec<Candidate<'a>>,
    /// `exists:false` is among the alternatives.
    pub(crate) may_be_absent: bool,
}

/// Candidates that one try may go over; if there are more it counts as several, so that a long event
/// cannot make all of the allowed tries long.
const CANDIDATES_A_TRY: usize = 256;

/// How much trying is left.
#[derive(Debug)]
pub(crate) struct Budget(usize);

impl Budget {
    pub(crate) const fn new() -> Self {
        Self(MAX_COMBINATIONS)
    }

    pub(crate) const fn is_spent(&self) -> bool {
        self.0 == 0
    }

    /// Pays for one try that goes over so many candidates.
    const fn spend(&mut self, candidates: usize) -> bool {
        if self.0 == 0 {
            return false;
        }
        self.0 = self.0.saturating_sub(1 + candidates / CANDIDATES_A_TRY);
        true
    }
}

/// How a field has to be satisfied within a part of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// By a value from here.
    Value,
    /// By having no value here.
    Absent,
    Either,
}

/// A field that is to be satisfied within one element (or the whole event): only its candidates
/// from..to stand there.
#[derive(Debug, Clone, Copy)]
struct Need {
    field: usize,
    mode: Mode,
    from: usize,
    to: usize,
}

/// One way to satisfy a need.
#[derive(Debug)]
enum Way {
    /// A value that stands in no further array.
    Here,
    /// Through these arrays: one of them for a value, all that have any for absence.
    Through(Vec<(NodeId, Mode)>),
}

/// Whether a consistent choice exists. The order of the fields plays no part, also where the budget
/// is not enough: then it decides what is tried.
pub(crate) fn consistent(choices: &[Choice<'_>], budget: &mut Budget) -> bool {
    let mut needs: Vec<Need> = choices
        .iter()
        .enumerate()
        .map(|(field, choice)| Need {
            field,
            mode: if choice.may_be_absent {
                Mode::Either
            } else {
                Mode::Value
            },
            from: 0,
            to: choice.candidates.len(),
        })
        .collect();
    needs.sort_by_key(|need| choices.get(need.field));
    Search { choices, budget }.solve(0, &needs)
}

struct Search<'a, 'b> {
    choices: &'a [Choice<'a>],
    budget: &'b mut Budget,
}

impl<'a> Search<'a, '_> {
    fn candidates(&self, need: &Need) -> &'a [Candidate<'a>] {
        self.choices
            .get(need.field)
            .and_then(|choice| choice.candidates.get(need.from..need.to))
            .unwrap_or_default()
    }

    /// Satisfies all needs within one element at this depth; 0 is the event. Below that at least
    /// one need must be satisfied by a value, or nothing would hold the choice to this element.
    fn solve(&mut self, depth: usize, needs: &[Need]) -> bool {
        let positive = needs.iter().all(|need| need.mode == Mode::Value);
        let mut ways = Vec::with_capacity(needs.len());
        for need in needs {
            let ways_of_need = self.ways(depth, need, positive);
            if ways_of_need.is_empty() {
                return false;
            }
            ways.push(ways_of_need);
        }
        let several = ways.iter().any(|ways| ways.len() > 1);
        let candidates = needs.iter().map(|need| need.to - need.from).sum();
        let mut picks = vec![0_usize; needs.len()];
        loop {
            if several && !self.budget.spend(candidates) {
                return false;
            }
            if self.try_picks(depth, needs, &ways, &picks) {
                return true;
            }
            // The next combination, counting like the wheels of an odometer.
            let turned = picks.iter_mut().zip(&ways).any(|(pick, ways)| {
                *pick += 1;
                let turned = *pick < ways.len();
                if !turned {
                    *pick = 0;
                }
                turned
            });
            if !turned {
                return false;
            }
        }
    }

    /// The ways to satisfy one need. `positive` says that no field here may be absent.
    fn ways(&self, depth: usize, need: &Need, positive: bool) -> Vec<Way> {
        let mut value_here = false;
        let mut leaf_here = false;
        let mut with_value = BTreeSet::new();
        let mut with_leaf = BTreeSet::new();
        for candidate in self.candidates(need) {
            match candidate.marks.get(depth) {
                None => {
                    value_here |= candidate.satisfies;
                    leaf_here |= candidate.leaf;
                }
                Some(mark) => {
                    if candidate.satisfies {
                        with_value.insert(mark.array);
                    }
                    if candidate.leaf {
                        with_leaf.insert(mark.array);
                    }
                }
            }
        }
        // The usual case of a field that may have a value or not: the one array decides.
        if need.mode == Mode::Either
            && !value_here
            && !leaf_here
            && with_leaf.len() == 1
            && with_value.is_subset(&with_leaf)
        {
            let through = with_leaf
                .into_iter()
                .map(|array| (array, Mode::Either))
                .collect();
            return vec![Way::Through(through)];
        }
        let mut ways = Vec::new();
        if need.mode != Mode::Absent {
            if value_here {
                ways.push(Way::Here);
                // Going into an array can only help where that makes something else absent.
                if positive {
                    return ways;
                }
            }
            let through = |&array: &NodeId| Way::Through(vec![(array, Mode::Value)]);
            ways.extend(with_value.iter().map(through));
        }
        if need.mode != Mode::Value && !leaf_here {
            let arrays = with_leaf
                .into_iter()
                .map(|array| (array, Mode::Absent))
                .collect();
            ways.push(Way::Through(arrays));
        }
        ways
    }

    fn try_picks(
        &mut self,
        depth: usize,
        needs: &[Need],
        ways: &[Vec<Way>],
        picks: &[usize],
    ) -> bool {
        let mut by_value = false;
        let mut demands: BTreeMap<NodeId, Vec<Need>> = BTreeMap::new();
        for ((need, ways), pick) in needs.iter().zip(ways).zip(picks) {
            match ways.get(*pick) {
                None => return false,
                Some(Way::Here) => by_value = true,
                Some(Way::Through(arrays)) => {
                    for &(array, mode) in arrays {
                        demands
                            .entry(array)
                            .or_default()
                            .push(Need { mode, ..*need });
                    }
                }
            }
        }
        // Every array that is gone into has a value chosen in it: see `in_array`.
        if depth > 0 && !by_value && demands.is_empty() {
            return false;
        }
        demands
            .iter()
            .all(|(array, needs)| self.in_array(depth, *array, needs))
    }

    /// Satisfies all needs within one element of the array, any one.
    fn in_array(&mut self, depth: usize, array: NodeId, needs: &[Need]) -> bool {
        let runs: Vec<BTreeMap<u32, (usize, usize)>> = needs
            .iter()
            .map(|need| self.runs(depth, array, need))
            .collect();
        let mut indexes = BTreeSet::new();
        for need in needs.iter().filter(|need| need.mode != Mode::Absent) {
            let satisfying = self.candidates(need).iter().filter(|c| c.satisfies);
            let marks = satisfying.filter_map(|c| c.marks.get(depth));
            let own = marks
                .filter(|mark| mark.array == array)
                .map(|mark| mark.index);
            if need.mode == Mode::Value {
                // One field that needs a value names all elements that can be meant.
                indexes = own.collect();
                break;
            }
            indexes.extend(own);
        }
        indexes.into_iter().any(|index| {
            let mut inner = Vec::with_capacity(needs.len());
            for (need, runs) in needs.iter().zip(&runs) {
                match runs.get(&index) {
                    Some(&(from, to)) => inner.push(Need { from, to, ..*need }),
                    None if need.mode == Mode::Value => return false,
                    // Nothing there: absent in this element.
                    None => {}
                }
            }
            self.solve(depth + 1, &inner)
        })
    }

    /// Where the candidates of each element of the array stand. They are next to each other, as
    /// candidates are in the order of the event.
    fn runs(&self, depth: usize, array: NodeId, need: &Need) -> BTreeMap<u32, (usize, usize)> {
        let mut runs = BTreeMap::new();
        for (at, candidate) in (need.from..).zip(self.candidates(need)) {
            if let Some(mark) = candidate
                .marks
                .get(depth)
                .filter(|mark| mark.array == array)
            {
                runs.entry(mark.index).or_insert((at, at)).1 = at + 1;
            }
        }
        runs
    }
}
