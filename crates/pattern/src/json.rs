//! JSON as a flat tree that keeps what `serde_json::Value` loses: the text of numbers, repeated
//! names, and where everything stands. Reading is in [`read`](mod@read), skipping in [`scan`].

mod read;
pub(crate) mod scan;
#[cfg(test)]
mod tests;

pub(crate) use read::{Problem, ProblemKind, check, read, unescape};

/// Number of a node in a [`Tree`].
pub(crate) type NodeId = u32;

/// The nodes of one JSON text in the order of the text, so that a container's descendants follow
/// it directly. Holds positions, not slices: the memory can be used again for the next text.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    /// Strings that had escapes, decoded, one after the other.
    decoded: String,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    name: Text,
    name_at: u32,
    kind: Kind,
    /// First node that is no descendant of this one.
    end: NodeId,
    /// Where the value starts and ends in the source.
    from: u32,
    to: u32,
}

/// A decoded string, by position.
#[derive(Debug, Clone, Copy)]
enum Text {
    None,
    /// Had no escapes: a piece of the source.
    Source(u32, u32),
    /// A piece of [`Tree::decoded`].
    Decoded(u32, u32),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Null,
    Bool(bool),
    Number,
    String(Text),
    Array,
    Object,
}

/// A value as seen through a [`Document`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    /// The number's text.
    Number(&'a str),
    String(&'a str),
    Array,
    Object,
}

impl Value<'_> {
    /// The kind with its article, for messages.
    pub(crate) const fn described(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array => "a list",
            Self::Object => "an object",
        }
    }
}

/// A tree together with the text it was read from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Document<'a> {
    source: &'a str,
    tree: &'a Tree,
}

impl<'a> Document<'a> {
    pub(crate) const ROOT: NodeId = 0;

    pub(crate) const fn new(source: &'a str, tree: &'a Tree) -> Self {
        Self { source, tree }
    }

    fn node(&self, id: NodeId) -> Option<&'a Node> {
        self.tree.nodes.get(id as usize)
    }

    /// The value that starts at a place of the source.
    pub(crate) fn node_at(&self, from: u32) -> Option<NodeId> {
        let nodes = &self.tree.nodes;
        let place = nodes.binary_search_by_key(&from, |node| node.from).ok()?;
        NodeId::try_from(place).ok()
    }

    fn text(&self, text: Text) -> &'a str {
        match text {
            Text::None => None,
            Text::Source(from, to) => self.source.get(from as usize..to as usize),
            Text::Decoded(from, to) => self.tree.decoded.get(from as usize..to as usize),
        }
        .unwrap_or_default()
    }

    pub(crate) fn value(&self, id: NodeId) -> Value<'a> {
        match self.node(id).map_or(Kind::Null, |node| node.kind) {
            Kind::Null => Value::Null,
            Kind::Bool(b) => Value::Bool(b),
            Kind::Number => Value::Number(self.raw(id)),
            Kind::String(text) => Value::String(self.text(text)),
            Kind::Array => Value::Array,
            Kind::Object => Value::Object,
        }
    }

    /// The member name of a node that is a member; else empty.
    pub(crate) fn name(&self, id: NodeId) -> &'a str {
        self.node(id).map_or("", |node| self.text(node.name))
    }

    /// The value's own text.
    pub(crate) fn raw(&self, id: NodeId) -> &'a str {
        self.node(id)
            .and_then(|node| self.source.get(node.from as usize..node.to as usize))
            .unwrap_or_default()
    }

    /// Where the value starts in the source.
    pub(crate) fn offset(&self, id: NodeId) -> usize {
        self.node(id).map_or(0, |node| node.from as usize)
    }

    /// Where the member's name starts in the source, or the value if it has none.
    pub(crate) fn name_offset(&self, id: NodeId) -> usize {
        self.node(id).map_or(0, |node| node.name_at as usize)
    }

    /// The members or elements of a container, in the order of the text.
    pub(crate) fn children(&self, id: NodeId) -> Children<'a> {
        let end = self.node(id).map_or(0, |node| node.end);
        Children {
            tree: self.tree,
            next: id.saturating_add(1),
            end,
        }
    }

    /// The only child, if there is exactly one.
    pub(crate) fn only_child(&self, id: NodeId) -> Option<NodeId> {
        let mut children = self.children(id);
        let only = children.next();
        if children.next().is_none() {
            only
        } else {
            None
        }
    }

    /// Where a node stands, as a JSON pointer. Walks from the root: for errors only.
    pub(crate) fn pointer(&self, id: NodeId) -> String {
        let mut pointer = String::new();
        let mut at = Self::ROOT;
        while at != id {
            let is_array = matches!(self.value(at), Value::Array);
            // The child that holds the node is the last one not behind it.
            let Some((index, child)) = self
                .children(at)
                .enumerate()
                .take_while(|&(_, child)| child <= id)
                .last()
            else {
                break;
            };
            if is_array {
                push_pointer(&mut pointer, &index.to_string());
            } else {
                push_pointer(&mut pointer, self.name(child));
            }
            at = child;
        }
        pointer
    }
}

/// Appends one step to a JSON pointer (RFC 6901).
fn push_pointer(pointer: &mut String, step: &str) {
    pointer.push('/');
    for c in step.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

/// See [`Document::children`].
#[derive(Debug)]
pub(crate) struct Children<'a> {
    tree: &'a Tree,
    next: NodeId,
    end: NodeId,
}

impl Iterator for Children<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        if self.next >= self.end {
            return None;
        }
        let id = self.next;
        self.next = self.tree.nodes.get(id as usize)?.end;
        Some(id)
    }
}

/// Line and column of a byte of the text, both from 1; the column counts characters.
pub(crate) fn position(source: &[u8], offset: usize) -> (u32, u32) {
    let before = source.get(..offset).unwrap_or(source);
    let line_start = before
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |i| i + 1);
    let lines = before.split(|&b| b == b'\n').count().saturating_sub(1);
    // Bytes that continue a UTF-8 sequence are no characters of their own.
    let chars = before
        .iter()
        .skip(line_start)
        .filter(|&&b| b & 0b1100_0000 != 0b1000_0000)
        .count();
    let one_based = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
    (one_based(lines), one_based(chars))
}
