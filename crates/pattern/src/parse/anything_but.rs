//! The argument of `anything-but`.

use smol_str::SmolStr;

use super::{Parser, alternatives::shortened, names};
use crate::{
    error::ErrorCode,
    json::{NodeId, Value},
    ops::{Excluded, Test, fold::Folded},
};

impl Parser<'_> {
    pub(super) fn anything_but(&mut self, argument: NodeId) -> Option<Test> {
        let excluded = match self.doc.value(argument) {
            Value::String(s) => Excluded::Strings([s.into()].into()),
            Value::Number(text) => Excluded::Numbers([self.decimal(argument, text)?].into()),
            Value::Array => self.excluded_list(argument)?,
            Value::Object => Excluded::Tests(self.excluded_tests(argument)?),
            Value::Null | Value::Bool(_) => {
                let takes = "a string, a number, a list of either, or one of the operators \
                             prefix, suffix, equals-ignore-case, wildcard, contain";
                self.bad_argument(argument, takes);
                return None;
            }
        };
        Some(Test::AnythingBut(excluded.into()))
    }

    fn excluded_list(&mut self, argument: NodeId) -> Option<Excluded> {
        let mut strings: Vec<SmolStr> = Vec::new();
        let mut numbers = Vec::new();
        let before = self.errors.len();
        for node in self.doc.children(argument) {
            self.count_alternative(node);
            if self.stopped {
                return None;
            }
            match self.doc.value(node) {
                Value::String(s) => strings.push(s.into()),
                Value::Number(text) => numbers.extend(self.decimal(node, text)),
                other => {
                    let kind = other.described();
                    let message = format!(
                        "a list under `anything-but` holds only strings or only numbers; this is \
                         {kind}"
                    );
                    self.error(ErrorCode::BadArgument, node, message);
                }
            }
        }
        match (strings.is_empty(), numbers.is_empty()) {
            (false, true) => Some(Excluded::Strings(strings.into())),
            (true, false) => Some(Excluded::Numbers(numbers.into())),
            (false, false) => {
                let message = "a list under `anything-but` holds only strings or only numbers";
                self.error(ErrorCode::MixedList, argument, message);
                None
            }
            (true, true) => {
                if self.errors.len() == before {
                    let message = "`anything-but` takes no empty list";
                    self.error(ErrorCode::EmptyList, argument, message);
                }
                None
            }
        }
    }

    /// An operator under `anything-but`. A list excludes each of its strings, except under
    /// `contain`, where it means all together as it always does.
    fn excluded_tests(&mut self, argument: NodeId) -> Option<Box<[Test]>> {
        let Some(inner) = self.doc.only_child(argument) else {
            let message = "`anything-but` takes an object with exactly one member";
            self.error(ErrorCode::OneOperator, argument, message);
            return None;
        };
        let make: fn(&str) -> Test = match self.doc.name(inner) {
            "prefix" => |s| Test::Prefix(s.into()),
            "suffix" => |s| Test::Suffix(s.into()),
            "equals-ignore-case" => |s| Test::Folded(Folded::new(s)),
            "wildcard" => return self.excluded_wildcards(inner),
            "contain" | "contains" => return self.contain(inner).map(|test| [test].into()),
            name => {
                let known = names::is_operator(name);
                let name = shortened(name);
                let allowed = "allowed are prefix, suffix, equals-ignore-case, wildcard, contain";
                let (code, message, hint) = if known {
                    let message = format!("`anything-but` cannot be combined with `{name}`");
                    (ErrorCode::BadArgument, message, Some(allowed.to_owned()))
                } else {
                    let hint = names::suggestion(&name).unwrap_or_else(|| allowed.to_owned());
                    (
                        ErrorCode::UnknownOperator,
                        format!("there is no operator `{name}`"),
                        Some(hint),
                    )
                };
                self.error_at_name(code, inner, message, hint);
                return None;
            }
        };
        let may_be_empty = self.doc.name(inner) == "equals-ignore-case";
        let strings = self.strings(inner, may_be_empty)?;
        Some(strings.into_iter().map(|(_, s)| make(s)).collect())
    }

    fn excluded_wildcards(&mut self, inner: NodeId) -> Option<Box<[Test]>> {
        let strings = self.strings(inner, true)?;
        strings
            .into_iter()
            .map(|(node, _)| self.wildcard(node, false))
            .collect()
    }
}
