//! Starts programs that must not be trusted: what they may see, touch and use up, and how they end for certain.
//!
//! A program is not started by the server itself but by the same binary in another mode ([`launch`]): single-threaded, it
//! restricts itself ([`Cage`]) and then becomes the program. So nothing here needs `unsafe` code, and what a program may do is
//! settled before its first instruction.
//!
//! | module | owns |
//! |---|---|
//! | `cage` | what a process may do, as data |
//! | `start` | from the server: starting one, and ending it with everything that it has started |
//!
//! It must never know what is run and why: functions, templates, workers.

#![forbid(unsafe_code)]

mod cage;
mod start;

pub use cage::{Cage, Level};
pub use start::{Launcher, Plan, Started};

/// The mode of the binary in which [`launch`] runs: its one argument.
pub const LAUNCH: &str = "launch";
