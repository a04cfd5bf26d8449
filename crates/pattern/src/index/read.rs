//! One pass over the text of an event, along the tree of paths: what no rule asks for is skipped
//! without being looked into, what is asked for is taken down in [`Values`].
//!
//! The text is known to be JSON; see [`crate::json::scan`] for what happens if it is not.

use super::{
    paths::{Node, PathId, Paths},
    values::{Kind, Values},
};
use crate::{
    event::Mark,
    json::{
        scan::{container_end, scalar_end, string_end},
        unescape,
    },
    limits::MAX_EVENT_DEPTH,
    text::EventText,
};

/// Buffers of the reader.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// The elements that the reader is in at the moment.
    open: Vec<Mark>,
    /// A member name that had escapes.
    name: String,
}

/// Reads an event.
pub(super) fn read(
    event: EventText<'_>,
    paths: &Paths,
    values: &mut Values,
    buffers: &mut Buffers,
) {
    buffers.open.clear();
    let Some(root) = paths.node(Paths::ROOT) else {
        return;
    };
    if !root.has_children() {
        return;
    }
    let mut reader = Reader {
        text: event.as_str(),
        bytes: event.as_str().as_bytes(),
        may_stop: event.has_unique_paths(),
        paths,
        values,
        buffers,
        marks: Some((0, 0)),
        depth: 0,
    };
    let start = reader.blanks(0);
    if reader.bytes.get(start) == Some(&b'{') {
        reader.object(start + 1, Paths::ROOT, root, true);
    }
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    may_stop: bool,
    paths: &'a Paths,
    values: &'a mut Values,
    buffers: &'a mut Buffers,
    /// Where the open elements are taken down, if they are.
    marks: Option<(u32, u32)>,
    depth: usize,
}

impl Reader<'_> {
    #[inline]
    fn blanks(&self, mut at: usize) -> usize {
        while matches!(self.bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            at += 1;
        }
        at
    }

    /// Reads an object from behind its brace. `last` says that nothing is of interest once this
    /// object has been read. Gives the place behind it, or behind the whole text to stop there.
    fn object(&mut self, mut at: usize, id: PathId, node: &Node, last: bool) -> usize {
        let mut wanted = node.below;
        loop {
            at = self.blanks(at);
            match self.bytes.get(at) {
                Some(b'"') => at += 1,
                Some(b',') => {
                    at += 1;
                    continue;
                }
                Some(b'}') => return at + 1,
                _ => return self.bytes.len(),
            }
            let (end, escaped) = string_end(self.bytes, at);
            let name = at..end;
            at = self.blanks(end + 1);
            if self.bytes.get(at) != Some(&b':') {
                return self.bytes.len();
            }
            at = self.blanks(at + 1);
            let child = if escaped {
                self.escaped_child(node, id, end.saturating_sub(name.start), name.start)
            } else {
                let name = self.bytes.get(name).unwrap_or_default();
                self.paths.child(node, id, name)
            };
            let Some(child) = child else {
                at = self.skip(at);
                continue;
            };
            let Some(child_node) = self.paths.node(child) else {
                return self.bytes.len();
            };
            if self.may_stop {
                wanted = wanted.saturating_sub(child_node.paths());
            }
            at = self.value(at, child, child_node, last && wanted == 0);
            if wanted == 0 {
                return if last {
                    self.bytes.len()
                } else {
                    container_end(self.bytes, at)
                };
            }
        }
    }

    /// The path of a member whose name has escapes.
    #[cold]
    fn escaped_child(
        &mut self,
        node: &Node,
        id: PathId,
        length: usize,
        from: usize,
    ) -> Option<PathId> {
        let name = self.text.get(from..from + length)?;
        self.buffers.name.clear();
        unescape(name, &mut self.buffers.name);
        self.paths.child(node, id, self.buffers.name.as_bytes())
    }

    /// Goes over a value.
    #[inline]
    fn skip(&self, at: usize) -> usize {
        match self.bytes.get(at) {
            Some(b'"') => string_end(self.bytes, at + 1).0 + 1,
            Some(b'{' | b'[') => container_end(self.bytes, at + 1),
            _ => scalar_end(self.bytes, at),
        }
    }

    /// Reads a value at a path; see [`Reader::object`].
    fn value(&mut self, at: usize, id: PathId, node: &Node, last: bool) -> usize {
        match self.bytes.get(at) {
            Some(b'{') if node.has_children() && self.depth < MAX_EVENT_DEPTH => {
                self.depth += 1;
                let end = self.object(at + 1, id, node, last);
                self.depth -= 1;
                end
            }
            Some(b'[') if self.depth < MAX_EVENT_DEPTH => {
                self.depth += 1;
                let end = self.array(at, id, node);
                self.depth -= 1;
                end
            }
            _ if node.is_used() => self.leaf(at, id),
            _ => self.skip(at),
        }
    }

    fn leaf(&mut self, at: usize, id: PathId) -> usize {
        let (kind, span, end) = match self.bytes.get(at) {
            Some(b'"') => {
                let (end, escaped) = string_end(self.bytes, at + 1);
                if escaped {
                    let raw = self.text.get(at + 1..end).unwrap_or_default();
                    let from = self.values.decoded.len();
                    unescape(raw, &mut self.values.decoded);
                    (Kind::Decoded, (from, self.values.decoded.len()), end + 1)
                } else {
                    (Kind::Text, (at + 1, end), end + 1)
                }
            }
            Some(first) => {
                let kind = match first {
                    b't' => Kind::True,
                    b'f' => Kind::False,
                    b'n' => Kind::Null,
                    // An object at a path that has no other below is no value.
                    b'{' | b'[' => return self.skip(at),
                    _ => Kind::Number,
                };
                let end = scalar_end(self.bytes, at);
                (kind, (at, end), end)
            }
            None => return self.bytes.len(),
        };
        let marks = self.marks();
        self.values.add(id, kind, span, marks);
        end
    }

    #[inline]
    fn marks(&mut self) -> (u32, u32) {
        if let Some(marks) = self.marks {
            return marks;
        }
        let marks = self.values.add_marks(&self.buffers.open);
        self.marks = Some(marks);
        marks
    }

    fn array(&mut self, start: usize, id: PathId, node: &Node) -> usize {
        if node.arrays > 0 {
            let end = container_end(self.bytes, start + 1);
            let marks = self.marks();
            self.values.add(id, Kind::Array, (start, end), marks);
        }
        let array = u32::try_from(start).unwrap_or(u32::MAX);
        let mut at = start + 1;
        let mut index = 0_u32;
        loop {
            at = self.blanks(at);
            match self.bytes.get(at) {
                Some(b']') => {
                    at += 1;
                    break;
                }
                Some(b',') => {
                    at += 1;
                    index += 1;
                }
                Some(b'{' | b'[') => {
                    let outside = self.marks;
                    self.buffers.open.push(Mark { array, index });
                    self.marks = None;
                    at = self.value(at, id, node, false);
                    self.buffers.open.pop();
                    self.marks = outside;
                }
                Some(_) => {
                    let next = self.value(at, id, node, false);
                    // Nothing that is JSON is empty.
                    if next == at {
                        return self.bytes.len();
                    }
                    at = next;
                }
                None => break,
            }
        }
        at
    }
}
