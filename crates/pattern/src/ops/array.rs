//! The `array` operator: one element of an array is an object with certain members.

use super::NumberTest;
use crate::{
    json::{Document, NodeId, Value},
    number::Decimal,
};

/// What a part of an element has to be. Names are taken as they are, a dot has no meaning here.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    Null,
    Bool(bool),
    Number(NumberTest),
    String(Box<str>),
    /// Holds at least these members.
    Object(Box<[(Box<str>, Self)]>),
    /// Has exactly these elements, in this order.
    Array(Box<[Self]>),
}

impl Wanted {
    /// Takes over a value of the pattern. The recursion is as deep as the text, which is limited.
    pub(crate) fn read(doc: Document<'_>, node: NodeId) -> Self {
        match doc.value(node) {
            Value::Null => Self::Null,
            Value::Bool(b) => Self::Bool(b),
            Value::Number(text) => Self::Number(NumberTest::new(text)),
            Value::String(s) => Self::String(s.into()),
            Value::Array => Self::Array(
                doc.children(node)
                    .map(|child| Self::read(doc, child))
                    .collect(),
            ),
            Value::Object => {
                let mut members: Vec<(Box<str>, Self)> = Vec::new();
                for child in doc.children(node) {
                    let name = doc.name(child);
                    // As everywhere in patterns, the later of two replaces the earlier.
                    members.retain(|(earlier, _)| **earlier != *name);
                    members.push((name.into(), Self::read(doc, child)));
                }
                Self::Object(members.into())
            }
        }
    }

    /// Whether one element of the array `node` is as wanted.
    pub(crate) fn holds_in(&self, doc: Document<'_>, node: NodeId) -> bool {
        doc.children(node)
            .any(|element| matches!(doc.value(element), Value::Object) && self.holds(doc, element))
    }

    fn holds(&self, doc: Document<'_>, node: NodeId) -> bool {
        match (self, doc.value(node)) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(wanted), Value::Bool(b)) => *wanted == b,
            (Self::Number(wanted), Value::Number(text)) => {
                wanted.holds(text, Decimal::parse(text).as_ref())
            }
            (Self::String(wanted), Value::String(s)) => **wanted == *s,
            (Self::Object(members), Value::Object) => members.iter().all(|(name, wanted)| {
                doc.children(node)
                    .any(|child| *doc.name(child) == **name && wanted.holds(doc, child))
            }),
            (Self::Array(elements), Value::Array) => {
                let mut children = doc.children(node);
                elements.iter().all(|wanted| {
                    children
                        .next()
                        .is_some_and(|child| wanted.holds(doc, child))
                }) && children.next().is_none()
            }
            _ => false,
        }
    }
}
