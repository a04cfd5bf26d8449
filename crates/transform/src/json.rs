//! JSON documents whose strings may hold placeholders.
//!
//! The document is taken apart as a tree at save, so that what is inserted is always a whole value
//! or the inside of a string: no value can break the quoting, and the output is always JSON. Names
//! are literal. A string that is exactly one placeholder takes the value with its type.

use serde_json::Value as Json;

use crate::error::{Errors, TransformError};
use crate::limits::{DEPTH_MAX, TEMPLATE_BYTES_MAX};
use crate::scan;
use crate::spec::Missing;
use crate::template::{self, Dialect, Piece, Position, Program};

pub(crate) fn compile(template: &Json, pointer: &str, errors: &mut Errors) -> Program {
    let mut builder = Builder {
        program: Program::new(Dialect::Ours, Missing::Empty),
        pointer: pointer.to_owned(),
        bytes: 0,
        errors,
    };
    builder.value(template, 0);
    let Builder { program, bytes, .. } = builder;
    if bytes > TEMPLATE_BYTES_MAX {
        let message = format!("the template is larger than {TEMPLATE_BYTES_MAX} bytes");
        errors.push(TransformError::at(pointer, message));
    }
    program.check(pointer, errors);
    program
}

struct Builder<'e> {
    program: Program,
    /// JSON pointer to the value at hand.
    pointer: String,
    /// Bytes of template seen, roughly as it would be serialised.
    bytes: usize,
    errors: &'e mut Errors,
}

impl Builder<'_> {
    fn value(&mut self, value: &Json, depth: usize) {
        if self.errors.is_full() || self.bytes > TEMPLATE_BYTES_MAX {
            return;
        }
        self.bytes += 2;
        match value {
            Json::String(text) => self.string(text),
            Json::Array(_) | Json::Object(_) if depth == DEPTH_MAX => {
                let message = format!("the template is nested deeper than {DEPTH_MAX}");
                self.errors
                    .push(TransformError::at(self.pointer.clone(), message));
            }
            Json::Array(list) => {
                self.program.literal("[");
                for (i, element) in list.iter().enumerate() {
                    if i > 0 {
                        self.program.literal(",");
                    }
                    self.below(&i.to_string(), element, depth);
                }
                self.program.literal("]");
            }
            Json::Object(map) => {
                self.program.literal("{");
                for (i, (name, member)) in map.iter().enumerate() {
                    if i > 0 {
                        self.program.literal(",");
                    }
                    self.bytes += name.len() + 3;
                    let token = name.replace('~', "~0").replace('/', "~1");
                    self.program.literal(&scan::quote(name));
                    self.program.literal(":");
                    self.below(&token, member, depth);
                }
                self.program.literal("}");
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => {
                let text = value.to_string();
                self.bytes += text.len();
                self.program.literal(&text);
            }
        }
    }

    fn below(&mut self, token: &str, value: &Json, depth: usize) {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(token);
        self.value(value, depth + 1);
        self.pointer.truncate(length);
    }

    fn string(&mut self, text: &str) {
        self.bytes += text.len();
        if self.bytes > TEMPLATE_BYTES_MAX {
            return;
        }
        let mut pieces = template::parse(text, &self.pointer, self.errors);
        if let [Piece::Placeholder(_)] = pieces.as_slice()
            && let Some(Piece::Placeholder(placeholder)) = pieces.pop()
        {
            self.program.slot(placeholder, Position::JsonValue);
            return;
        }
        self.program.literal("\"");
        for piece in pieces {
            match piece {
                Piece::Literal(text) => {
                    let mut inner = String::new();
                    scan::escape_into(&mut inner, &text);
                    self.program.literal(&inner);
                }
                Piece::Placeholder(placeholder) => {
                    self.program.slot(placeholder, Position::JsonString);
                }
            }
        }
        self.program.literal("\"");
    }
}
