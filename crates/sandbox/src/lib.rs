//! Starts programs that must not be trusted: what they may see, touch and use up, and how they end for certain.
//!
//! A program is not started by the server itself but by the same binary in another mode ([`launch()`]): single-threaded, it
//! restricts itself ([`Cage`]) and then becomes the program. So nothing here needs `unsafe` code, and what a program may do is
//! settled before its first instruction.
//!
//! | module | owns |
//! |---|---|
//! | `cage` | what a process may do, as data |
//! | `start` | from the server: starting a program |
//! | `launch` | from there on: the mode of the binary that restricts itself and becomes the program |
//! | `restrict` | taking the restrictions of a cage upon oneself: limits, files (Landlock), system calls (seccomp) |
//! | `namespace` | the level above: namespaces, by the program `bwrap` |
//! | `support` | what this machine can do, and why not more |
//! | `family` | a program and everything that it has started: finding, measuring, ending them |
//! | `disk` | what a program has on disk: counting and removing it |
//!
//! It must never know what is run and why: functions, templates, workers.

#![forbid(unsafe_code)]

mod cage;
mod disk;
mod family;
mod launch;
mod namespace;
mod restrict;
mod start;
mod support;

pub use cage::{Cage, Level};
pub use disk::{Disk, remove};
pub use family::{Family, kill_all, leftovers, newest_process};
pub use launch::{LAUNCH_FAILED, launch};
pub use restrict::restrict;
pub use start::{Launcher, Plan, Started};
pub use support::Support;

/// The mode of the binary in which [`launch()`] runs: its one argument.
pub const LAUNCH: &str = "launch";

/// A variable for a process of this binary that takes a limit of its memory upon itself. Its allocator, mimalloc, would make a
/// gibibyte its own at the start: the limit would not hold for that, and whatever finds no room in it would fail, now and then.
pub const NO_MEMORY_BEFOREHAND: (&str, &str) = ("MIMALLOC_ARENA_EAGER_COMMIT", "0");
