//! How a target's limits are divided among the nodes that may send. Pure.
//!
//! The parts of all nodes add up to the limit, never to more. Who gets the odd one, or the only one, is drawn by hashing
//! node and target, so that targets with small limits spread over the nodes, and stay where they are when others come
//! or go.

use belfry_model::{NodeId, TargetId};

/// A node's place among those that may send to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// From 0.
    rank: usize,
    /// 0: this node sends nothing (yet).
    nodes: usize,
}

/// What a node may do for a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Requests at once; 0: other nodes send.
    pub(crate) slots: usize,
    /// Requests per period, if the target has a rate limit.
    pub(crate) rate: Option<u32>,
}

impl Share {
    /// Of a node that has to wait until the others have made room.
    pub(crate) const NONE: Self = Self { rank: 0, nodes: 0 };

    /// This node's place among all that may send (itself included).
    pub(crate) fn among(me: NodeId, nodes: &[NodeId], target: TargetId) -> Self {
        let mine = (weight(me, target), me);
        let rank = nodes
            .iter()
            .filter(|&&node| node != me && (weight(node, target), node) < mine)
            .count();
        Self {
            rank,
            nodes: nodes.len().max(1),
        }
    }

    /// This node's part of a target's limits. A limit below the number of nodes leaves some with nothing; then they have
    /// nothing of the other limit either, for they could not use it.
    pub(crate) fn part(self, concurrency: usize, rate: Option<u32>) -> Part {
        let count = rate.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let senders = self.nodes.min(concurrency).min(count.unwrap_or(usize::MAX));
        if self.rank >= senders {
            return Part {
                slots: 0,
                rate: rate.map(|_| 0),
            };
        }
        let part = |limit: usize| limit / senders + usize::from(self.rank < limit % senders);
        Part {
            slots: part(concurrency),
            rate: count.map(|count| u32::try_from(part(count)).unwrap_or(u32::MAX)),
        }
    }
}

/// Spreads nodes over targets (the finaliser of `SplitMix64`).
fn weight(node: NodeId, target: TargetId) -> u64 {
    let mut word = u64::from(target.0.unsigned_abs()) << 8 | u64::from(node.0);
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(nodes: u8, target: i32, concurrency: usize, rate: Option<u32>) -> Vec<Part> {
        let all: Vec<NodeId> = (0..nodes).map(NodeId).collect();
        all.iter()
            .map(|me| Share::among(*me, &all, TargetId(target)).part(concurrency, rate))
            .collect()
    }

    #[test]
    fn the_parts_of_all_nodes_add_up_to_the_limits() {
        for nodes in 1..=9 {
            for target in 1..20 {
                for limit in 1..30 {
                    let both = parts(nodes, target, limit, Some(7));
                    let slots: usize = both.iter().map(|part| part.slots).sum();
                    let rate: u32 = both.iter().filter_map(|part| part.rate).sum();
                    assert_eq!((slots, rate), (limit, 7), "{nodes} nodes, limit {limit}");
                    assert!(
                        both.iter()
                            .all(|part| (part.slots == 0) == (part.rate == Some(0))),
                        "a part of one limit without the other is of no use"
                    );
                    let free = parts(nodes, target, limit, None);
                    assert_eq!(free.iter().map(|part| part.slots).sum::<usize>(), limit);
                }
            }
        }
    }

    #[test]
    fn targets_that_one_node_can_send_to_spread_over_the_nodes() {
        let mut by_node = [0; 3];
        for target in 1..=300 {
            for (node, part) in parts(3, target, 1, None).iter().enumerate() {
                by_node[node] += part.slots;
            }
        }
        assert!(
            by_node.iter().all(|count| (70..=130).contains(count)),
            "{by_node:?}"
        );
    }

    #[test]
    fn a_node_that_has_to_wait_sends_nothing() {
        let part = Share::NONE.part(32, Some(5));
        assert_eq!(
            part,
            Part {
                slots: 0,
                rate: Some(0)
            }
        );
    }
}
