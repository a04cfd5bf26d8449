//! Reads an event once and collects what stands at the paths that patterns name.

use std::collections::HashMap;

use crate::{
    error::EventError,
    json::{self, Document, NodeId, Tree, Value},
    limits::{MAX_EVENT_BYTES, MAX_EVENT_DEPTH},
    number::Decimal,
    ops::Leaf,
};

/// The paths that patterns name, by number.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// Every path and every beginning of one up to a dot: where an event's path is not in here,
    /// nothing below it is of interest.
    steps: HashMap<Box<str>, Step>,
    count: u32,
}

#[derive(Debug, Default, Clone, Copy)]
struct Step {
    /// The path's number, unless it is only the beginning of one.
    path: Option<u32>,
    wants_number: bool,
}

impl Paths {
    /// The number of a path, a new one if need be.
    pub(crate) fn add(&mut self, path: &str, wants_number: bool) -> u32 {
        for (dot, _) in path.match_indices('.') {
            let beginning = path.get(..dot).unwrap_or_default();
            if !self.steps.contains_key(beginning) {
                self.steps.insert(beginning.into(), Step::default());
            }
        }
        let step = self.steps.entry(path.into()).or_default();
        step.wants_number |= wants_number;
        *step.path.get_or_insert_with(|| {
            self.count += 1;
            self.count - 1
        })
    }
}

/// The leaf stands inside element `index` of an array. Arrays have numbers that grow along the text:
/// that of their node, or in the index their position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) array: NodeId,
    pub(crate) index: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A value.
    Leaf,
    /// An array as a whole, for the operator `array`; no value.
    Array,
    /// An object; no value, noted for explanations only.
    Object,
}

/// Something that stands at a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) node: NodeId,
    pub(crate) kind: EntryKind,
    marks: (u32, u32),
    /// Index of the number's value, if it was asked for.
    number: Option<u32>,
}

/// What one event has at the paths of interest. The memory is used again for the next event.
#[derive(Debug, Default)]
pub(crate) struct Found {
    tree: Tree,
    marks: Vec<Mark>,
    numbers: Vec<Option<Decimal>>,
    by_path: Vec<Vec<Entry>>,
    touched: Vec<u32>,
}

/// [`Found`] together with the event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    pub(crate) doc: Document<'a>,
    found: &'a Found,
}

impl Found {
    /// Reads an event.
    pub(crate) fn read<'a>(
        &'a mut self,
        source: &'a [u8],
        paths: &Paths,
    ) -> Result<Event<'a>, EventError> {
        for path in self.touched.drain(..) {
            if let Some(entries) = self.by_path.get_mut(path as usize) {
                entries.clear();
            }
        }
        self.marks.clear();
        self.numbers.clear();
        self.by_path.resize_with(paths.count as usize, Vec::new);

        let text = json::read(source, MAX_EVENT_DEPTH, MAX_EVENT_BYTES, &mut self.tree)
            .map_err(|problem| EventError::unreadable(source, problem))?;
        let doc = Document::new(text, &self.tree);
        let top = doc.value(Document::ROOT);
        if top != Value::Object {
            return Err(EventError::not_object(
                source,
                doc.offset(Document::ROOT),
                top,
            ));
        }
        let mut walk = Walk {
            doc,
            paths,
            path: String::new(),
            open: Vec::new(),
            marks: &mut self.marks,
            numbers: &mut self.numbers,
            by_path: &mut self.by_path,
            touched: &mut self.touched,
        };
        walk.members(Document::ROOT, None);
        Ok(Event {
            doc: Document::new(text, &self.tree),
            found: self,
        })
    }
}

struct Walk<'a, 'f> {
    doc: Document<'a>,
    paths: &'a Paths,
    path: String,
    /// The elements that the walk is in at the moment.
    open: Vec<Mark>,
    marks: &'f mut Vec<Mark>,
    numbers: &'f mut Vec<Option<Decimal>>,
    by_path: &'f mut Vec<Vec<Entry>>,
    touched: &'f mut Vec<u32>,
}

/// The recursion of the two functions is as deep as the event, which is limited.
impl Walk<'_, '_> {
    fn members(&mut self, object: NodeId, step: Option<Step>) {
        let length = self.path.len();
        for member in self.doc.children(object) {
            // The root has no path; a member called "" has the path "".
            if step.is_some() {
                self.path.push('.');
            }
            self.path.push_str(self.doc.name(member));
            if let Some(step) = self.paths.steps.get(self.path.as_str()) {
                self.visit(member, *step);
            }
            self.path.truncate(length);
        }
    }

    fn visit(&mut self, node: NodeId, step: Step) {
        match self.doc.value(node) {
            Value::Object => {
                self.note(node, EntryKind::Object, step);
                self.members(node, Some(step));
            }
            Value::Array => {
                self.note(node, EntryKind::Array, step);
                for (index, child) in (0..).zip(self.doc.children(node)) {
                    if matches!(self.doc.value(child), Value::Object | Value::Array) {
                        self.open.push(Mark { array: node, index });
                        self.visit(child, step);
                        self.open.pop();
                    } else {
                        self.visit(child, step);
                    }
                }
            }
            _ => self.note(node, EntryKind::Leaf, step),
        }
    }

    fn note(&mut self, node: NodeId, kind: EntryKind, step: Step) {
        let Some(path) = step.path else { return };
        let Some(entries) = self.by_path.get_mut(path as usize) else {
            return;
        };
        // There are fewer entries than nodes; marks are at most MAX_EVENT_DEPTH times as many.
        let position = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let from = position(self.marks.len());
        self.marks.extend_from_slice(&self.open);
        let number = match self.doc.value(node) {
            Value::Number(text) if step.wants_number => {
                self.numbers.push(Decimal::parse(text));
                Some(position(self.numbers.len() - 1))
            }
            _ => None,
        };
        if entries.is_empty() {
            self.touched.push(path);
        }
        entries.push(Entry {
            node,
            kind,
            marks: (from, position(self.marks.len())),
            number,
        });
    }
}

impl<'a> Event<'a> {
    /// What stands at a path, in the order of the event.
    pub(crate) fn entries(&self, path: u32) -> &'a [Entry] {
        self.found
            .by_path
            .get(path as usize)
            .map_or(&[], Vec::as_slice)
    }

    /// The elements that an entry stands in, outermost first.
    pub(crate) fn marks(&self, entry: &Entry) -> &'a [Mark] {
        let (from, to) = entry.marks;
        self.found
            .marks
            .get(from as usize..to as usize)
            .unwrap_or_default()
    }

    /// The value of an entry, if it is one.
    pub(crate) fn leaf(&self, entry: &Entry) -> Option<Leaf<'a>> {
        Some(match self.doc.value(entry.node) {
            Value::Null => Leaf::Null,
            Value::Bool(b) => Leaf::Bool(b),
            Value::String(s) => Leaf::String(s),
            Value::Number(text) => {
                let number = entry
                    .number
                    .and_then(|i| self.found.numbers.get(i as usize));
                Leaf::Number {
                    text,
                    value: number.and_then(Option::as_ref),
                }
            }
            Value::Array | Value::Object => return None,
        })
    }
}
