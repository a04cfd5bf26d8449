//! The paths that rules name, as a tree of names.
//!
//! Paths are joined with dots, so a name with a dot in it is several steps of the tree, and an
//! event's member whose own name has a dot goes as many steps down.

use smol_str::SmolStr;

use super::{arena::Arena, keys::Hash, postings::Postings};

/// Number of a path: its node in the tree.
pub(super) type PathId = u32;

/// Children that are looked at one by one; with more, they are found by their hash.
const FEW: usize = 12;

/// The tree. Node 0 is the event itself.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    nodes: Arena<Node>,
    /// The children of large nodes, by node and name.
    large: Postings,
    hash: Hash,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    parent: PathId,
    /// The last step to here.
    name: SmolStr,
    children: Vec<Child>,
    /// All children are in [`Paths::large`].
    is_large: bool,
    /// Fields of rules at this very path.
    uses: u32,
    /// Those of them that ask for arrays as a whole.
    pub(super) arrays: u32,
    /// Different paths in use below this one.
    pub(super) below: u32,
    /// Shapes whose look-up starts here, see [`super::keys`].
    pub(super) shapes: Vec<u32>,
    /// Number of the ranges at this path, see [`super::ranges`].
    pub(super) ranges: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Child {
    head: u64,
    length: u32,
    node: PathId,
}

impl Node {
    /// Whether the values at this path are of interest.
    pub(super) const fn is_used(&self) -> bool {
        self.uses > 0
    }

    /// Whether anything below this path is of interest.
    pub(super) const fn has_children(&self) -> bool {
        self.below > 0
    }

    /// Different paths in use from here on.
    pub(super) const fn paths(&self) -> u32 {
        self.below + self.is_used() as u32
    }
}

/// The first eight bytes, padded with zeros.
#[inline]
fn head(name: &[u8]) -> u64 {
    match name.first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => name
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

impl Paths {
    pub(super) const ROOT: PathId = 0;

    pub(super) fn new(hash: Hash) -> Self {
        let mut nodes = Arena::default();
        nodes.add(Node::default());
        let large = Postings::default();
        Self { nodes, large, hash }
    }

    /// One more than the highest number that a path ever had.
    pub(super) const fn length(&self) -> usize {
        self.nodes.length()
    }

    #[inline]
    pub(super) fn node(&self, path: PathId) -> Option<&Node> {
        self.nodes.get(path)
    }

    pub(super) fn node_mut(&mut self, path: PathId) -> Option<&mut Node> {
        self.nodes.get_mut(path)
    }

    /// The child of a node that is one step away.
    #[inline]
    pub(super) fn step(&self, node: &Node, id: PathId, name: &[u8]) -> Option<PathId> {
        if node.is_large {
            return self.large_step(id, name);
        }
        let head = head(name);
        for child in &node.children {
            if child.head == head && child.length as usize == name.len() {
                if name.len() <= 8 {
                    return Some(child.node);
                }
                if self.nodes.get(child.node)?.name.as_bytes() == name {
                    return Some(child.node);
                }
            }
        }
        None
    }

    fn large_step(&self, id: PathId, name: &[u8]) -> Option<PathId> {
        self.large.find(self.hash.name(id, name), |child| {
            let node = self.nodes.get(child);
            node.is_some_and(|node| node.parent == id && node.name.as_bytes() == name)
        })
    }

    /// The path that a member leads to, also over several steps where its name has dots.
    #[inline]
    pub(super) fn child(&self, node: &Node, id: PathId, name: &[u8]) -> Option<PathId> {
        self.step(node, id, name).or_else(|| {
            if name.contains(&b'.') {
                self.steps(id, name)
            } else {
                None
            }
        })
    }

    fn steps(&self, id: PathId, name: &[u8]) -> Option<PathId> {
        name.split(|&b| b == b'.')
            .try_fold(id, |id, step| self.step(self.nodes.get(id)?, id, step))
    }

    /// The path of a field, counted as used once more.
    pub(super) fn add(&mut self, path: &str, wants_array: bool) -> PathId {
        let mut id = Self::ROOT;
        for step in path.split('.') {
            id = match self
                .nodes
                .get(id)
                .and_then(|node| self.step(node, id, step.as_bytes()))
            {
                Some(child) => child,
                None => self.add_child(id, step),
            };
        }
        let Some(node) = self.nodes.get_mut(id) else {
            return id;
        };
        node.uses += 1;
        node.arrays += u32::from(wants_array);
        if node.uses == 1 {
            self.count_up(id);
        }
        id
    }

    fn count_up(&mut self, id: PathId) {
        let mut at = id;
        while let Some(parent) = self.parent(at) {
            if let Some(node) = self.nodes.get_mut(parent) {
                node.below += 1;
            }
            at = parent;
        }
    }

    fn parent(&self, id: PathId) -> Option<PathId> {
        (id != Self::ROOT)
            .then(|| self.nodes.get(id).map(|node| node.parent))
            .flatten()
    }

    fn add_child(&mut self, parent: PathId, name: &str) -> PathId {
        let id = self.nodes.add(Node {
            parent,
            name: name.into(),
            ..Node::default()
        });
        let Some(node) = self.nodes.get_mut(parent) else {
            return id;
        };
        if !node.is_large && node.children.len() < FEW {
            node.children.push(Child {
                head: head(name.as_bytes()),
                length: u32::try_from(name.len()).unwrap_or(u32::MAX),
                node: id,
            });
            return id;
        }
        node.is_large = true;
        let moved: Vec<PathId> = std::mem::take(&mut node.children)
            .iter()
            .map(|child| child.node)
            .chain([id])
            .collect();
        for child in moved {
            if let Some(node) = self.nodes.get(child) {
                let key = self.hash.name(parent, node.name.as_bytes());
                self.large.add(key, child);
            }
        }
        id
    }

    /// Counts a path as used once less, and forgets it with the last use.
    pub(super) fn remove(&mut self, id: PathId, wants_array: bool) {
        let Some(node) = self.nodes.get_mut(id) else {
            return;
        };
        node.uses = node.uses.saturating_sub(1);
        node.arrays = node.arrays.saturating_sub(u32::from(wants_array));
        if node.uses > 0 {
            return;
        }
        let mut at = id;
        loop {
            let parent = self.parent(at);
            let unused = self.nodes.get(at).is_some_and(|node| node.paths() == 0);
            let Some(parent) = parent else { break };
            if unused {
                self.remove_child(parent, at);
            }
            if let Some(node) = self.nodes.get_mut(parent) {
                node.below = node.below.saturating_sub(1);
            }
            at = parent;
        }
    }

    fn remove_child(&mut self, parent: PathId, id: PathId) {
        let Some(child) = self.nodes.remove(id) else {
            return;
        };
        let Some(node) = self.nodes.get_mut(parent) else {
            return;
        };
        if node.is_large {
            let key = self.hash.name(parent, child.name.as_bytes());
            self.large.remove(key, id);
        } else {
            node.children.retain(|child| child.node != id);
        }
    }
}
