//! From the text of a pattern to its fields and branches: paths, `$or`, bare scalars, limits.
//! The operators are in [`alternatives`].

mod alternatives;
mod anything_but;
mod names;

use std::{collections::HashMap, sync::Arc};

use crate::{
    error::{ErrorCode, PatternError, PatternErrors},
    json::{self, Document, NodeId, ProblemKind, Tree, Value},
    limits::{
        MAX_ALTERNATIVES, MAX_BRANCHES, MAX_ERRORS, MAX_EXPANDED_BYTES, MAX_FIELDS,
        MAX_PATTERN_BYTES, MAX_PATTERN_DEPTH, MAX_REGEXP_BYTES,
    },
    ops::{Test, array::Wanted},
};

const OR: &str = "$or";

/// Most bytes that the joined paths of all fields may take together. A long name around many
/// fields is copied for each of them; the text limit alone would allow hundreds of megabytes.
const MAX_PATH_BYTES: usize = 1024 * 1024;

/// One field of a pattern: what its path must have.
#[derive(Debug)]
pub(crate) struct Field {
    /// The names joined with dots.
    pub(crate) path: Box<str>,
    /// The list of alternatives (or the bare scalar) in the pattern's tree.
    pub(crate) node: NodeId,
    pub(crate) tests: Box<[Test]>,
    pub(crate) arrays: Box<[Arc<Wanted>]>,
    /// Whether `{"exists":false}` is among the alternatives.
    pub(crate) absent: bool,
}

impl Field {
    /// About how long it takes to decide the field. Fields are decided in this order.
    pub(crate) fn cost(&self) -> usize {
        let test = |test: &Test| match test {
            Test::Exists | Test::Null | Test::Bool(_) | Test::String(_) => 1,
            Test::Prefix(_) | Test::Suffix(_) => 2,
            Test::Number(_) | Test::Range(_) | Test::AnythingBut(_) => 4,
            Test::Folded(_) | Test::FoldedPrefix(_) | Test::FoldedSuffix(_) => 6,
            Test::Cidr(_) | Test::Address(_) => 8,
            Test::Contain(_) | Test::Wildcard(_) => 16,
            Test::Regexp(_) => 64,
        };
        self.tests.iter().map(test).sum::<usize>() + self.arrays.len() * 1024
    }
}

/// The alternatives of one field while they are read.
#[derive(Debug, Default)]
struct Alternatives {
    tests: Vec<Test>,
    arrays: Vec<Arc<Wanted>>,
    absent: bool,
}

/// A validated pattern.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) text: Box<str>,
    pub(crate) fields: Box<[Field]>,
    /// Each branch is a list of fields, all of which must be satisfied; one branch must be.
    pub(crate) branches: Box<[Box<[u32]>]>,
}

/// What the members of an object come to: fields, and choices between several sets of them.
enum Part {
    Field(u32),
    Or(Vec<Vec<Self>>),
}

/// Reads the text of a pattern into a tree; explaining needs it once more.
pub(crate) fn read_text<'s>(text: &'s [u8], tree: &mut Tree) -> Result<&'s str, Box<PatternError>> {
    json::read(text, MAX_PATTERN_DEPTH, MAX_PATTERN_BYTES, tree).map_err(|problem| {
        let (line, column) = json::position(text, problem.offset);
        let code = match problem.kind {
            ProblemKind::Syntax => ErrorCode::NotJson,
            ProblemKind::TooLarge => ErrorCode::TooLarge,
            ProblemKind::TooDeep => ErrorCode::TooComplex,
        };
        let pointer = String::new();
        Box::new(PatternError {
            code,
            pointer,
            line,
            column,
            message: problem.message,
            hint: None,
        })
    })
}

pub(crate) fn parse(text: &[u8]) -> Result<Parsed, PatternErrors> {
    let mut tree = Tree::default();
    let source = read_text(text, &mut tree).map_err(|error| PatternErrors::from(*error))?;
    let doc = Document::new(source, &tree);

    let mut first = Parser::new(source, doc, false);
    let result = first.pattern();
    let Some(errors) = PatternErrors::new(first.errors) else {
        return Ok(result);
    };
    if first.saw_or {
        let mut second = Parser::new(source, doc, true);
        let result = second.pattern();
        if second.errors.is_empty() {
            return Ok(result);
        }
    }
    Err(errors)
}

struct Parser<'a> {
    source: &'a str,
    doc: Document<'a>,
    /// The second reading of a pattern: `$or` is a name like any other.
    or_is_name: bool,
    saw_or: bool,
    errors: Vec<PatternError>,
    /// A limit was reached: read no further.
    stopped: bool,
    fields: Vec<Field>,
    alternatives: usize,
    path_bytes: usize,
    regexp_budget: usize,
}

impl<'a> Parser<'a> {
    const fn new(source: &'a str, doc: Document<'a>, or_is_name: bool) -> Self {
        Self {
            source,
            doc,
            or_is_name,
            saw_or: false,
            errors: Vec::new(),
            stopped: false,
            fields: Vec::new(),
            alternatives: 0,
            path_bytes: 0,
            regexp_budget: MAX_REGEXP_BYTES,
        }
    }

    /// Reads the whole pattern. The result is worth something only without errors.
    fn pattern(&mut self) -> Parsed {
        let root = Document::ROOT;
        let value = self.doc.value(root);
        let mut parts = Vec::new();
        if value == Value::Object {
            parts = self.object(root, None, false);
        } else {
            let message = format!("a pattern is an object, not {}", value.described());
            self.error(ErrorCode::NotObject, root, message);
        }
        let mut branches = Vec::new();
        // Counted before anything is multiplied out.
        let count = count_branches(&parts);
        if count > MAX_BRANCHES {
            let message = format!(
                "`$or` multiplies to {count} branches, more than the {MAX_BRANCHES} allowed"
            );
            self.limit(ErrorCode::TooComplex, root, message);
        } else if count_fields(&parts) > MAX_FIELDS {
            let message = format!("the pattern has more than {MAX_FIELDS} fields");
            self.limit(ErrorCode::TooLarge, root, message);
        } else if self.errors.is_empty() {
            branches = expand(&parts);
            let ids = branches.iter().flatten();
            let fields = ids.filter_map(|id| self.fields.get(*id as usize));
            let bytes: usize = fields.map(|field| self.doc.raw(field.node).len()).sum();
            if bytes > MAX_EXPANDED_BYTES {
                let message = format!(
                    "`$or` multiplies the alternatives to {bytes} bytes, more than the \
                     {MAX_EXPANDED_BYTES} allowed"
                );
                self.limit(ErrorCode::TooComplex, root, message);
            }
        }
        let fields: Box<[Field]> = std::mem::take(&mut self.fields).into();
        let branches = branches
            .into_iter()
            .map(|branch| last_of_each_path(&branch, &fields));
        Parsed {
            text: self.source.into(),
            branches: branches.collect(),
            fields,
        }
    }

    fn object(&mut self, node: NodeId, path: Option<&str>, in_or: bool) -> Vec<Part> {
        let mut parts = Vec::new();
        for member in self.doc.children(node) {
            if self.stopped {
                break;
            }
            self.member(member, path, in_or, &mut parts);
        }
        if self.doc.children(node).next().is_none() {
            let message = "an empty object asks for nothing";
            self.error(ErrorCode::EmptyObject, node, message);
        }
        parts
    }

    fn member(&mut self, member: NodeId, path: Option<&str>, in_or: bool, parts: &mut Vec<Part>) {
        let name = self.doc.name(member);
        let value = self.doc.value(member);
        if name == OR {
            self.saw_or = true;
            if !matches!(value, Value::Array | Value::Object) {
                let message = "`$or` takes a list of two or more objects";
                return self.error(ErrorCode::BadArgument, member, message);
            }
            if !self.or_is_name {
                let branches = self.or(member, path);
                return parts.push(Part::Or(branches));
            }
        }
        // Outside of `$or` these names are legal, and `in_or` is never set in a second reading.
        if in_or && names::is_reserved(name) {
            let message = format!("a member of an `$or` object may not be named `{name}`");
            let hint = "put the operator into a list under the name of a field: \
                        {\"field\":[{\"prefix\":\"x\"}]}";
            return self.error_at_name(ErrorCode::ReservedName, member, message, Some(hint.into()));
        }
        let joined = path.map_or_else(|| name.to_owned(), |path| format!("{path}.{name}"));
        match value {
            Value::Object => parts.append(&mut self.object(member, Some(&joined), false)),
            Value::Array => {
                let alternatives = self.list(member);
                self.field(member, joined, alternatives, parts);
            }
            _ if names::is_operator(name) => {
                let raw = self.doc.raw(member);
                let message = format!("the list around the operator `{name}` is missing");
                let raw = if raw.len() > 60 { "..." } else { raw };
                let hint = format!("write [{{\"{name}\":{raw}}}]");
                self.error_at_name(ErrorCode::BareOperator, member, message, Some(hint));
            }
            _ => {
                let mut alternatives = Alternatives::default();
                self.count_alternative(member);
                self.alternative(member, &mut alternatives);
                self.field(member, joined, alternatives, parts);
            }
        }
    }

    /// The objects of an `$or`, each as its parts.
    fn or(&mut self, node: NodeId, path: Option<&str>) -> Vec<Vec<Part>> {
        let mut branches = Vec::new();
        if self.doc.value(node) != Value::Array {
            let message = "`$or` takes a list of two or more objects";
            self.error(ErrorCode::BadArgument, node, message);
            return branches;
        }
        for child in self.doc.children(node) {
            if self.stopped {
                break;
            }
            if self.doc.value(child) == Value::Object {
                branches.push(self.object(child, path, true));
            } else {
                let kind = self.doc.value(child).described();
                let message = format!("`$or` takes a list of objects; this is {kind}");
                self.error(ErrorCode::BadArgument, child, message);
            }
        }
        match self.doc.children(node).take(2).count() {
            0 => self.error(
                ErrorCode::EmptyList,
                node,
                "`$or` takes two objects or more",
            ),
            1 => self.error(
                ErrorCode::BadArgument,
                node,
                "`$or` takes two objects or more",
            ),
            _ => {}
        }
        branches
    }

    fn field(
        &mut self,
        node: NodeId,
        path: String,
        alternatives: Alternatives,
        parts: &mut Vec<Part>,
    ) {
        self.path_bytes += path.len();
        if self.path_bytes > MAX_PATH_BYTES {
            return self.limit(
                ErrorCode::TooLarge,
                node,
                "the paths of all fields are too long",
            );
        }
        let Alternatives {
            tests,
            arrays,
            absent,
        } = alternatives;
        // A text of 64 KiB has fewer fields than that.
        let id = u32::try_from(self.fields.len()).unwrap_or(u32::MAX);
        let path = path.into();
        let (tests, arrays) = (tests.into(), arrays.into());
        self.fields.push(Field {
            path,
            node,
            tests,
            arrays,
            absent,
        });
        parts.push(Part::Field(id));
    }

    fn count_alternative(&mut self, node: NodeId) {
        self.alternatives += 1;
        if self.alternatives > MAX_ALTERNATIVES {
            let message = format!("the pattern has more than {MAX_ALTERNATIVES} alternatives");
            self.limit(ErrorCode::TooLarge, node, message);
        }
    }

    fn error(&mut self, code: ErrorCode, node: NodeId, message: impl Into<String>) {
        self.report(code, node, self.doc.offset(node), message.into(), None);
    }

    fn error_hint(&mut self, code: ErrorCode, node: NodeId, message: String, hint: Option<String>) {
        self.report(code, node, self.doc.offset(node), message, hint);
    }

    fn error_at_name(
        &mut self,
        code: ErrorCode,
        node: NodeId,
        message: String,
        hint: Option<String>,
    ) {
        self.report(code, node, self.doc.name_offset(node), message, hint);
    }

    /// An error that ends the reading.
    fn limit(&mut self, code: ErrorCode, node: NodeId, message: impl Into<String>) {
        if !self.stopped {
            self.error(code, node, message);
            self.stopped = true;
        }
    }

    fn report(
        &mut self,
        code: ErrorCode,
        node: NodeId,
        offset: usize,
        message: String,
        hint: Option<String>,
    ) {
        if self.stopped {
            return;
        }
        let (line, column) = json::position(self.source.as_bytes(), offset);
        let pointer = self.doc.pointer(node);
        self.errors.push(PatternError {
            code,
            pointer,
            line,
            column,
            message,
            hint,
        });
        self.stopped = self.errors.len() >= MAX_ERRORS;
    }
}

fn count_branches(parts: &[Part]) -> usize {
    parts.iter().fold(1, |product, part| match part {
        Part::Field(_) => product,
        Part::Or(options) => {
            let sum = options.iter().fold(0, |sum: usize, option| {
                sum.saturating_add(count_branches(option))
            });
            product.saturating_mul(sum)
        }
    })
}

/// Fields of the largest branch.
fn count_fields(parts: &[Part]) -> usize {
    parts.iter().fold(0, |sum, part| {
        sum.saturating_add(match part {
            Part::Field(_) => 1,
            Part::Or(options) => options
                .iter()
                .map(|option| count_fields(option))
                .max()
                .unwrap_or(0),
        })
    })
}

/// All branches, each with its fields in the order of the text.
fn expand(parts: &[Part]) -> Vec<Vec<u32>> {
    let mut branches = vec![Vec::new()];
    for part in parts {
        match part {
            Part::Field(field) => branches.iter_mut().for_each(|branch| branch.push(*field)),
            Part::Or(options) => {
                let options: Vec<_> = options.iter().flat_map(|option| expand(option)).collect();
                branches = branches
                    .iter()
                    .flat_map(|branch| {
                        options
                            .iter()
                            .map(move |option| [branch.as_slice(), option].concat())
                    })
                    .collect();
            }
        }
    }
    branches
}

/// Of several fields with one path, the last in the text counts.
fn last_of_each_path(branch: &[u32], fields: &[Field]) -> Box<[u32]> {
    let path = |id: &u32| fields.get(*id as usize).map(|field| &field.path);
    let last: HashMap<_, _> = branch.iter().map(|id| (path(id), *id)).collect();
    branch
        .iter()
        .copied()
        .filter(|id| last.get(&path(id)) == Some(id))
        .collect()
}
