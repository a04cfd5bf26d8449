//! Decides whether an event satisfies a branch.
//!
//! Says the same as [`crate::matcher`] in other words: without memory of its own where values
//! stand in no array or in elements of one array, which is nearly always, and with the search of
//! [`crate::consistency`] in the other cases.

use std::cmp::Ordering;

use memchr::memmem;

use super::{
    arena::Arena,
    branch::{Beside, Branch, End, FieldCode, FieldPlace, Op, Ops, Texts},
    values::{Kind, ValueId, Values},
};
use crate::{
    consistency::{Budget, Candidate, Choice, consistent},
    matcher::{Leaves, Standing},
    number::Decimal,
    ops::address::{mask4, mask6},
};

/// Where one field stands in the elements of an array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    /// Where the field stands in the branch.
    field: FieldPlace,
    next: Option<ValueId>,
}

/// What deciding needs besides the values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verify<'a> {
    pub(super) source: &'a str,
    pub(super) beside: &'a Arena<Beside>,
}

impl Verify<'_> {
    /// Whether the event satisfies all fields of the branch together. `first` is the value that
    /// led to the branch, if there is one.
    pub(super) fn holds(
        self,
        branch: &Branch,
        first: ValueId,
        values: &mut Values,
        cursors: &mut Vec<Cursor>,
    ) -> bool {
        let mut open = 0_usize;
        let mut absence = false;
        let path = values.path(first);
        for field in branch.fields() {
            // The value that led here is nearly always the one that is looked for.
            if path == Some(field.path) && values.marks(first).is_empty() {
                if field.wants_number() {
                    values.read_numbers(self.source, field.path);
                }
                if self.any(field.ops(), first, values) {
                    continue;
                }
            }
            match self.standing(&field, values) {
                Standing::Failed => return false,
                Standing::Satisfied => {}
                Standing::Value => open += 1,
                Standing::Absence => absence = true,
            }
        }
        // One field alone may take its value from any element.
        if open <= 1 && !absence {
            return true;
        }
        self.in_one_array(branch, values, cursors)
            .unwrap_or_else(|| self.in_any_arrays(branch, values))
    }

    fn standing(self, field: &FieldCode<'_>, values: &mut Values) -> Standing {
        if field.wants_number() {
            values.read_numbers(self.source, field.path);
        }
        let mut in_element = false;
        let mut leaves = Leaves::None;
        let mut next = values.first(field.path);
        while let Some(id) = next {
            next = values.next(id);
            let free = values.marks(id).is_empty();
            // One value in an element is as good as many here.
            if (free || !in_element) && self.any(field.ops(), id, values) {
                if free {
                    return Standing::Satisfied;
                }
                in_element = true;
            }
            if values.kind(id) != Kind::Array {
                leaves = leaves.and_one(free);
            }
        }
        Standing::in_elements(in_element, field.may_be_absent(), leaves)
    }

    /// Whether a value or array satisfies one of the operations.
    #[inline]
    fn any(self, mut ops: Ops<'_>, id: ValueId, values: &mut Values) -> bool {
        values.tests += 1;
        ops.any(|op| self.one(op, id, values))
    }

    #[inline]
    fn one(self, op: Op<'_>, id: ValueId, values: &mut Values) -> bool {
        let kind = values.kind(id);
        match op {
            Op::Null => kind == Kind::Null,
            Op::Bool(true) => kind == Kind::True,
            Op::Bool(false) => kind == Kind::False,
            Op::Exists => kind != Kind::Array,
            Op::Number(key) => values
                .number(id)
                .is_some_and(|number| number.cmp_short(key).is_eq()),
            Op::Range { low, high } => values
                .number(id)
                .is_some_and(|number| in_range(low, high, number)),
            Op::Not(ops) => kind != Kind::Array && !self.any(ops, id, values),
            Op::Beside(number) => self.beside(number, id, values),
            Op::Folded(wanted) => {
                let folded = values.folded(self.source, id);
                folded.is_some_and(|s| s.as_bytes() == wanted)
            }
            Op::FoldedPrefix(wanted) => {
                let folded = values.folded(self.source, id);
                folded.is_some_and(|s| s.as_bytes().starts_with(wanted))
            }
            Op::FoldedSuffix(wanted) => {
                let folded = values.folded(self.source, id);
                folded.is_some_and(|s| s.as_bytes().ends_with(wanted))
            }
            op => values
                .string_of(self.source, id)
                .is_some_and(|s| holds_string(op, s)),
        }
    }

    fn beside(self, number: u32, id: ValueId, values: &mut Values) -> bool {
        match self.beside.get(number) {
            Some(Beside::Test(test)) => values
                .leaf(self.source, id)
                .is_some_and(|leaf| test.holds(leaf)),
            Some(Beside::Regexp(regexp)) => values
                .string_of(self.source, id)
                .is_some_and(|s| regexp.fits(s)),
            Some(Beside::Array(wanted)) => values.array_holds(self.source, id, wanted),
            None => false,
        }
    }

    /// The usual case: all values that count stand in elements of one array and of no other. Then
    /// one walk along the elements decides. `None` if it is not that case.
    fn in_one_array(
        self,
        branch: &Branch,
        values: &mut Values,
        cursors: &mut Vec<Cursor>,
    ) -> Option<bool> {
        cursors.clear();
        let mut array = None;
        let mut leader = None;
        let mut fields = branch.fields();
        let mut satisfied_in_elements = false;
        let mut any_absent = false;
        loop {
            let place = fields.place();
            let Some(field) = fields.next() else { break };
            if self.standing(&field, values) == Standing::Satisfied {
                satisfied_in_elements |=
                    values.at(field.path).any(|id| !values.marks(id).is_empty());
                continue;
            }
            any_absent |= field.may_be_absent();
            for id in values.at(field.path) {
                let [mark] = values.marks(id) else {
                    return None;
                };
                if *array.get_or_insert(mark.array) != mark.array {
                    return None;
                }
            }
            if !field.may_be_absent() {
                leader = leader.or(Some(cursors.len()));
            }
            cursors.push(Cursor {
                field: place,
                next: values.first(field.path),
            });
        }
        // The choice for a field that is satisfied anyway could make another one absent.
        if any_absent && satisfied_in_elements {
            return None;
        }
        // A field that needs a value leads from element to element.
        cursors.swap(0, leader?);
        let (lead, others) = cursors.split_first_mut()?;
        let lead_field = branch.field_at(lead.field)?;
        let mut tried = None;
        while let Some(id) = lead.next {
            lead.next = values.next(id);
            let index = values.marks(id).first()?.index;
            if tried == Some(index) || !self.any(lead_field.ops(), id, values) {
                continue;
            }
            tried = Some(index);
            let mut all = true;
            for other in &mut *others {
                let field = branch.field_at(other.field)?;
                all = self.goes_along(&field, other, index, values)?;
                if !all {
                    break;
                }
            }
            if all {
                return Some(true);
            }
        }
        Some(false)
    }

    /// Moves a field's cursor on to an element, and says whether the element satisfies the field.
    /// The elements asked for are ascending.
    fn goes_along(
        self,
        field: &FieldCode<'_>,
        cursor: &mut Cursor,
        index: u32,
        values: &mut Values,
    ) -> Option<bool> {
        let mut any_leaf = false;
        while let Some(id) = cursor.next {
            let stands_in = values.marks(id).first()?.index;
            if stands_in > index {
                break;
            }
            cursor.next = values.next(id);
            if stands_in < index {
                continue;
            }
            if self.any(field.ops(), id, values) {
                return Some(true);
            }
            any_leaf |= values.kind(id) != Kind::Array;
        }
        Some(!any_leaf && field.may_be_absent())
    }

    #[cold]
    fn in_any_arrays(self, branch: &Branch, values: &mut Values) -> bool {
        let mut found: Vec<(Vec<(ValueId, bool)>, bool)> = Vec::new();
        for field in branch.fields() {
            let ids: Vec<ValueId> = values.at(field.path).collect();
            let satisfying = ids
                .into_iter()
                .map(|id| (id, self.any(field.ops(), id, values)));
            found.push((satisfying.collect(), field.may_be_absent()));
        }
        let choices: Vec<Choice<'_>> = found
            .iter()
            .map(|(candidates, may_be_absent)| Choice {
                candidates: candidates
                    .iter()
                    .map(|&(id, satisfies)| Candidate {
                        marks: values.marks(id),
                        leaf: values.kind(id) != Kind::Array,
                        satisfies,
                    })
                    .filter(|candidate| candidate.leaf || candidate.satisfies)
                    .collect(),
                may_be_absent: *may_be_absent,
            })
            .collect();
        consistent(&choices, &mut Budget::new())
    }
}

fn in_range(low: Option<End>, high: Option<End>, number: &Decimal) -> bool {
    low.is_none_or(|end| end.allows(number.cmp_short(end.key), Ordering::Greater))
        && high.is_none_or(|end| end.allows(number.cmp_short(end.key), Ordering::Less))
}

fn holds_string(op: Op<'_>, string: &str) -> bool {
    let s = string.as_bytes();
    match op {
        Op::Text(wanted) => s == wanted,
        Op::Prefix(wanted) => s.starts_with(wanted),
        Op::Suffix(wanted) => s.ends_with(wanted),
        Op::Contain(mut pieces) => pieces.all(|piece| memmem::find(s, piece).is_some()),
        Op::Wildcard(pieces) => fits(s, pieces),
        Op::Address(wanted) => {
            let address: Result<std::net::Ipv6Addr, _> = string.parse();
            address.is_ok_and(|address| address.to_bits() == wanted)
        }
        Op::Block4 { network, bits } => {
            let address: Result<std::net::Ipv4Addr, _> = string.parse();
            address.is_ok_and(|address| address.to_bits() & mask4(bits.into()) == network)
        }
        Op::Block6 { network, bits } => {
            let address: Result<std::net::Ipv6Addr, _> = string.parse();
            address.is_ok_and(|address| address.to_bits() & mask6(bits.into()) == network)
        }
        _ => false,
    }
}

/// Whether a string fits a wildcard: each piece at its first place behind the one before, as in
/// [`crate::ops::wildcard`].
fn fits(s: &[u8], mut pieces: Texts<'_>) -> bool {
    let Some(mut rest) = pieces.next().and_then(|first| s.strip_prefix(first)) else {
        return false;
    };
    let Some(mut piece) = pieces.next() else {
        return rest.is_empty();
    };
    for next in pieces {
        let Some(at) = memmem::find(rest, piece) else {
            return false;
        };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
        piece = next;
    }
    rest.ends_with(piece)
}
