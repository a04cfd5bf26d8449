//! The alternatives of a field: plain values and operators with their arguments.
//! `anything-but` has a file of its own.

use std::sync::Arc;

use smol_str::SmolStr;

use super::{Alternatives, Parser, names};
use crate::{
    error::ErrorCode,
    json::{self, Document, NodeId, Tree, Value},
    limits::{MAX_PATTERN_BYTES, MAX_PATTERN_DEPTH},
    number::{Bound, Decimal, Range},
    ops::{
        NumberTest, Test, address::Block, array::Wanted, fold::Folded, regexp::Regexp,
        wildcard::Wildcard,
    },
};

impl<'a> Parser<'a> {
    /// A list of alternatives.
    pub(super) fn list(&mut self, node: NodeId) -> Alternatives {
        let mut alternatives = Alternatives::default();
        let mut empty = true;
        for child in self.doc.children(node) {
            empty = false;
            self.count_alternative(child);
            if self.stopped {
                break;
            }
            self.alternative(child, &mut alternatives);
        }
        if empty {
            self.error(
                ErrorCode::EmptyList,
                node,
                "an empty list of alternatives matches nothing",
            );
        }
        alternatives
    }

    pub(super) fn alternative(&mut self, node: NodeId, into: &mut Alternatives) {
        match self.doc.value(node) {
            Value::Null => into.tests.push(Test::Null),
            Value::Bool(b) => into.tests.push(Test::Bool(b)),
            Value::Number(text) => into.tests.push(Test::Number(NumberTest::new(text).into())),
            Value::String(s) => into.tests.push(Test::string(s)),
            Value::Array => {
                let hint = "the elements of the inner list go into the outer one";
                let message = "a list of alternatives may not hold a list".to_owned();
                self.error_hint(ErrorCode::NestedList, node, message, Some(hint.to_owned()));
            }
            Value::Object => {
                if let Some(argument) = self.doc.only_child(node) {
                    return self.operator(argument, into);
                }
                let hint = "a path goes outside of the list; several operators are several \
                            alternatives";
                let message = "an operator is an object with exactly one member".to_owned();
                self.error_hint(ErrorCode::OneOperator, node, message, Some(hint.to_owned()));
            }
        }
    }

    fn operator(&mut self, argument: NodeId, into: &mut Alternatives) {
        match self.doc.name(argument) {
            "exists" => match self.doc.value(argument) {
                Value::Bool(true) => into.tests.push(Test::Exists),
                Value::Bool(false) => into.absent = true,
                _ => self.bad_argument(argument, "`true` or `false`, without quotes"),
            },
            "array" => into.arrays.extend(self.array(argument).map(Arc::new)),
            name if names::is_operator(name) => into.tests.extend(self.test(name, argument)),
            name => {
                let message = format!("there is no operator `{}`", shortened(name));
                let hint = names::suggestion(name);
                self.error_at_name(ErrorCode::UnknownOperator, argument, message, hint);
            }
        }
    }

    /// An operator that looks at one value.
    fn test(&mut self, name: &str, argument: NodeId) -> Option<Test> {
        match name {
            "exactly" => self.string(argument).map(|s| Test::String(s.into())),
            "prefix" => self.affix(argument, Test::Prefix, Test::FoldedPrefix),
            "suffix" => self.affix(argument, Test::Suffix, Test::FoldedSuffix),
            "equals-ignore-case" => self.string(argument).map(|s| Test::Folded(Folded::new(s))),
            "wildcard" => self.wildcard(argument, false),
            "shellstyle" => self.wildcard(argument, true),
            "regexp" => self.regexp(argument),
            "contain" | "contains" => self.contain(argument),
            "numeric" => self.numeric(argument),
            "cidr" => self.cidr(argument),
            _ => self.anything_but(argument),
        }
    }

    pub(super) fn bad_argument(&mut self, argument: NodeId, takes: &str) {
        let name = self.doc.name(argument);
        let kind = self.doc.value(argument).described();
        let message = format!("`{name}` takes {takes}; this is {kind}");
        let hint = (self.doc.value(argument) == Value::Array && takes == "a string").then(|| {
            format!("write one alternative each: [{{\"{name}\":\"a\"}},{{\"{name}\":\"b\"}}]")
        });
        self.error_hint(ErrorCode::BadArgument, argument, message, hint);
    }

    pub(super) fn string(&mut self, argument: NodeId) -> Option<&'a str> {
        if let Value::String(s) = self.doc.value(argument) {
            return Some(s);
        }
        self.bad_argument(argument, "a string");
        None
    }

    /// `prefix` and `suffix`: a string, or `equals-ignore-case` of one.
    fn affix(
        &mut self,
        argument: NodeId,
        exact: fn(SmolStr) -> Test,
        folded: fn(Folded) -> Test,
    ) -> Option<Test> {
        if self.doc.value(argument) != Value::Object {
            return self.string(argument).map(|s| exact(s.into()));
        }
        match self.doc.only_child(argument) {
            Some(inner) if self.doc.name(inner) == "equals-ignore-case" => {
                self.string(inner).map(|s| folded(Folded::new(s)))
            }
            _ => {
                self.bad_argument(argument, "a string or {\"equals-ignore-case\":\"...\"}");
                None
            }
        }
    }

    pub(super) fn wildcard(&mut self, argument: NodeId, shellstyle: bool) -> Option<Test> {
        let text = self.string(argument)?;
        match Wildcard::parse(text, shellstyle) {
            Ok(wildcard) => Some(Test::Wildcard(wildcard.into())),
            Err(e) => {
                self.error_hint(e.code, argument, e.message, e.hint.map(str::to_owned));
                None
            }
        }
    }

    fn regexp(&mut self, argument: NodeId) -> Option<Test> {
        let text = self.string(argument)?;
        match Regexp::parse(text, self.regexp_budget) {
            Ok(regexp) => {
                self.regexp_budget = self.regexp_budget.saturating_sub(regexp.memory());
                Some(Test::Regexp(regexp.into()))
            }
            Err(e) if e.code == ErrorCode::TooComplex => {
                // Compiling up to the limit is the costly part; do not do it a thousand times.
                self.limit(e.code, argument, e.message);
                None
            }
            Err(e) => {
                self.error_hint(e.code, argument, e.message, e.hint.map(str::to_owned));
                None
            }
        }
    }

    pub(super) fn contain(&mut self, argument: NodeId) -> Option<Test> {
        let parts = self.strings(argument, false)?;
        Some(Test::Contain(
            parts.into_iter().map(|(_, part)| part.into()).collect(),
        ))
    }

    fn cidr(&mut self, argument: NodeId) -> Option<Test> {
        let text = self.string(argument)?;
        let block = Block::parse(text);
        if block.is_none() {
            let message = format!("`{}` is no block of addresses", shortened(text));
            let hint = "an address, one slash and the number of bits: 10.0.0.0/8 or fd00::/8";
            self.error_hint(ErrorCode::BadCidr, argument, message, Some(hint.into()));
        }
        block.map(|block| Test::Cidr(block.into()))
    }

    /// A string or a list of them, with their nodes.
    pub(super) fn strings(
        &mut self,
        argument: NodeId,
        may_be_empty: bool,
    ) -> Option<Vec<(NodeId, &'a str)>> {
        let nodes: Vec<NodeId> = match self.doc.value(argument) {
            Value::Array => self.doc.children(argument).collect(),
            _ => vec![argument],
        };
        if nodes.is_empty() {
            let message = format!("`{}` takes no empty list", self.doc.name(argument));
            self.error(ErrorCode::EmptyList, argument, message);
            return None;
        }
        let name = self.doc.name(argument);
        let mut strings = Vec::with_capacity(nodes.len());
        for node in nodes {
            self.count_alternative(node);
            if self.stopped {
                return None;
            }
            match self.doc.value(node) {
                Value::String("") if !may_be_empty => {
                    let message = format!("`{name}` takes no empty string");
                    self.error(ErrorCode::BadArgument, node, message);
                }
                Value::String(s) => strings.push((node, s)),
                other => {
                    let kind = other.described();
                    let message =
                        format!("`{name}` takes a string or a list of strings; this is {kind}");
                    self.error(ErrorCode::BadArgument, node, message);
                }
            }
        }
        Some(strings)
    }

    fn numeric(&mut self, argument: NodeId) -> Option<Test> {
        if self.doc.value(argument) != Value::Array {
            self.bad_argument(argument, "a list like [\">\",5] or [\">=\",1,\"<\",5]");
            return None;
        }
        let members: Vec<NodeId> = self.doc.children(argument).collect();
        match *members.as_slice() {
            [] => {
                self.error(
                    ErrorCode::EmptyList,
                    argument,
                    "`numeric` takes no empty list",
                );
                None
            }
            [op, number] => {
                let sign = self.comparison(op, &["=", "<", "<=", ">", ">="])?;
                let value = self.number(number)?;
                let inclusive = sign.ends_with('=');
                let bound = Bound { value, inclusive };
                Some(Test::Range(Arc::new(Range {
                    low: matches!(sign, "=" | ">" | ">=").then(|| bound.clone()),
                    high: matches!(sign, "=" | "<" | "<=").then_some(bound),
                })))
            }
            [low_op, low, high_op, high] => {
                let low_sign = self.comparison(low_op, &[">", ">="])?;
                let low_value = self.number(low)?;
                let high_sign = self.comparison(high_op, &["<", "<="])?;
                let high_value = self.number(high)?;
                if low_value >= high_value {
                    let message = "the bottom of a range must be below its top";
                    self.error(ErrorCode::BadRange, argument, message);
                    return None;
                }
                let bound = |value, sign: &str| Bound {
                    value,
                    inclusive: sign.ends_with('='),
                };
                Some(Test::Range(Arc::new(Range {
                    low: Some(bound(low_value, low_sign)),
                    high: Some(bound(high_value, high_sign)),
                })))
            }
            _ => {
                let message = "`numeric` takes a comparison sign and a number, once or twice";
                self.error(ErrorCode::BadRange, argument, message);
                None
            }
        }
    }

    fn comparison(&mut self, node: NodeId, allowed: &[&'static str]) -> Option<&'static str> {
        let found = match self.doc.value(node) {
            Value::String(s) => allowed.iter().copied().find(|sign| *sign == s),
            _ => None,
        };
        if found.is_none() {
            let list = allowed.join("` `");
            let message = format!("one of `{list}` is expected here");
            let hint = match self.doc.value(node) {
                Value::String("==") => Some("equality is one `=`".to_owned()),
                Value::String("!=" | "<>") => Some("write {\"anything-but\":5}".to_owned()),
                _ if allowed.len() == 2 => {
                    Some("a range is bottom first: [\">\",1,\"<\",5]".to_owned())
                }
                _ => None,
            };
            self.error_hint(ErrorCode::BadRange, node, message, hint);
        }
        found
    }

    fn number(&mut self, node: NodeId) -> Option<Decimal> {
        let Value::Number(text) = self.doc.value(node) else {
            let kind = self.doc.value(node).described();
            let message = format!("a number is expected here; this is {kind}");
            let hint = match self.doc.value(node) {
                Value::String(s) if s.parse::<f64>().is_ok_and(f64::is_finite) => {
                    Some(format!("without quotes: {}", shortened(s)))
                }
                _ => None,
            };
            self.error_hint(ErrorCode::BadRange, node, message, hint);
            return None;
        };
        self.decimal(node, text)
    }

    pub(super) fn decimal(&mut self, node: NodeId, text: &str) -> Option<Decimal> {
        let value = Decimal::parse(text);
        if value.is_none() {
            let message = format!("{} is out of the range of numbers", shortened(text));
            self.error(ErrorCode::BadNumber, node, message);
        }
        value
    }

    /// The argument of `array`: an object, or one written in a string.
    fn array(&mut self, argument: NodeId) -> Option<Wanted> {
        match self.doc.value(argument) {
            Value::Object => self.wanted(self.doc, argument, argument),
            Value::String(s) => {
                let mut tree = Tree::default();
                let read = json::read(
                    s.as_bytes(),
                    MAX_PATTERN_DEPTH,
                    MAX_PATTERN_BYTES,
                    &mut tree,
                );
                if let Err(problem) = read {
                    let message = format!(
                        "the string under `array` is no JSON: {} (byte {})",
                        problem.message, problem.offset
                    );
                    self.error(ErrorCode::BadArgument, argument, message);
                    return None;
                }
                let inner = Document::new(s, &tree);
                self.wanted(inner, Document::ROOT, argument)
            }
            _ => {
                self.bad_argument(argument, "an object, or one written in a string");
                None
            }
        }
    }

    fn wanted(&mut self, doc: Document<'_>, node: NodeId, argument: NodeId) -> Option<Wanted> {
        if doc.value(node) != Value::Object {
            let kind = doc.value(node).described();
            let message = format!("`array` takes an object; the string holds {kind}");
            self.error(ErrorCode::BadArgument, argument, message);
            return None;
        }
        if doc.children(node).next().is_none() {
            self.error(
                ErrorCode::EmptyObject,
                argument,
                "`array` takes no empty object",
            );
            return None;
        }
        Some(Wanted::read(doc, node))
    }
}

/// A piece of the pattern as part of a message.
pub(super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}
