//! Keeps everything that must outlive the process.
//!
//! [`api`] says in the product's words what the engine and the use-cases need; [`sqlite`] does it on an embedded
//! database, [`postgres`] on one that several nodes share. What both say alike lies in `shared`,
//! compiled for each. Nothing outside this crate names a database. It must never know HTTP, patterns or target kinds: fan-outs,
//! settings and records are values it keeps.

#![expect(
    clippy::duplicate_mod,
    reason = "what both databases say alike is compiled once for each"
)]

mod alarms;
pub mod api;
#[cfg(test)]
mod conformance;
pub mod copy;
mod error;
mod functions;
pub mod postgres;
mod process;
mod replays;
mod retention;
mod sample;
mod sources;
pub mod sqlite;
mod usage;

pub use alarms::*;
pub use api::*;
pub use functions::*;
pub use postgres::{PostgresOptions, PostgresStore};
pub use replays::*;
pub use retention::*;
pub use sources::*;
pub use sqlite::{SqliteOptions, SqliteStore, Synchronous};
