//! The scenarios: which faults meet which set-up, and what holds all the same.

use super::fault::{
    DATABASE, DATABASE_LINE, Fault, KILL, LINE, NODE, RECEIVER, RESTART, TAKE_OVER,
};

/// What keeps the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// One file beside the node.
    Sqlite,
    /// A server of its own, with a line from each node to it.
    Postgres,
}

/// One set-up with the faults that it is exposed to.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What a passed run shows, in a sentence.
    pub proves: &'static str,
    /// What keeps the data.
    pub store: Store,
    /// Servers that share it.
    pub nodes: usize,
    /// All of these happen, in a random order ...
    pub(super) faults: &'static [&'static [Fault]],
    /// ... so many times in the short form.
    pub(super) rounds: usize,
    /// Faults (of different families) at the same time.
    pub(super) at_once: usize,
    /// Repeats at the steady target for each fault.
    pub(super) repeats_max: usize,
}

/// What was on the wire or not yet noted is repeated, a handful for each connection. More is a storm.
const A_HANDFUL_EACH: usize = 100;
/// Of an orderly end: next to nothing.
const HARDLY_ANY: usize = 2;

/// All scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "sqlite-receiver",
        proves: "a receiver that fails, hangs, resets, drips, is slow, busy or gone costs nothing but time",
        store: Store::Sqlite,
        nodes: 1,
        faults: &[RECEIVER],
        rounds: 1,
        at_once: 1,
        repeats_max: A_HANDFUL_EACH,
    },
    Scenario {
        name: "sqlite-network",
        proves: "a line to the receiver that is cut, slow, narrow, silent or closed costs nothing but time and repeats",
        store: Store::Sqlite,
        nodes: 1,
        faults: &[LINE],
        rounds: 1,
        at_once: 1,
        repeats_max: A_HANDFUL_EACH,
    },
    Scenario {
        name: "sqlite-kill",
        proves: "SIGKILL at any moment loses nothing",
        store: Store::Sqlite,
        nodes: 1,
        faults: &[KILL],
        rounds: 8,
        at_once: 1,
        repeats_max: A_HANDFUL_EACH,
    },
    Scenario {
        name: "sqlite-node",
        proves: "a node that is killed, ends in an orderly way or hangs goes on where it was",
        store: Store::Sqlite,
        nodes: 1,
        faults: &[NODE],
        rounds: 2,
        at_once: 1,
        repeats_max: A_HANDFUL_EACH,
    },
    Scenario {
        name: "sqlite-everything",
        proves: "the same when two faults meet",
        store: Store::Sqlite,
        nodes: 1,
        faults: &[NODE, RECEIVER, LINE],
        rounds: 1,
        at_once: 2,
        repeats_max: A_HANDFUL_EACH,
    },
    Scenario {
        name: "postgres-node",
        proves: "a node on Postgres that is killed, ends in an orderly way or hangs goes on where it was",
        store: Store::Postgres,
        nodes: 1,
        faults: &[NODE],
        rounds: 2,
        at_once: 1,
        repeats_max: A_HANDFUL_EACH,
    },
    Scenario {
        name: "postgres-database",
        proves: "a database that restarts, crashes, hangs or is badly reached is waited for, and nothing is lost",
        store: Store::Postgres,
        nodes: 1,
        faults: &[DATABASE, DATABASE_LINE],
        rounds: 1,
        at_once: 1,
        repeats_max: A_HANDFUL_EACH,
    },
    Scenario {
        name: "postgres-three-nodes",
        proves: "work of a node that died or hung for too long is taken over by the others",
        store: Store::Postgres,
        nodes: 3,
        faults: &[NODE, TAKE_OVER],
        rounds: 1,
        at_once: 1,
        repeats_max: A_HANDFUL_EACH,
    },
    Scenario {
        name: "postgres-three-database",
        proves: "three nodes survive their database, and one of them being cut off from it",
        store: Store::Postgres,
        nodes: 3,
        faults: &[DATABASE, DATABASE_LINE],
        rounds: 1,
        at_once: 1,
        repeats_max: A_HANDFUL_EACH,
    },
    Scenario {
        name: "postgres-three-rolling",
        proves: "restarting one node after the other loses nothing and repeats next to nothing",
        store: Store::Postgres,
        nodes: 3,
        faults: &[RESTART],
        rounds: 3,
        at_once: 1,
        repeats_max: HARDLY_ANY,
    },
    Scenario {
        name: "postgres-three-everything",
        proves: "the same when two faults meet",
        store: Store::Postgres,
        nodes: 3,
        faults: &[NODE, TAKE_OVER, RECEIVER, LINE, DATABASE, DATABASE_LINE],
        rounds: 1,
        at_once: 2,
        repeats_max: A_HANDFUL_EACH,
    },
];

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_start_with_the_store() {
        for (place, scenario) in SCENARIOS.iter().enumerate() {
            let first = SCENARIOS.iter().position(|one| one.name == scenario.name);
            assert_eq!(first, Some(place), "{}", scenario.name);
            let store = format!("{:?}-", scenario.store).to_lowercase();
            assert!(scenario.name.starts_with(&store), "{}", scenario.name);
        }
    }
}
