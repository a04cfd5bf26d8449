//! The HTTP interface as its users see it: a real listener, a real engine, a real store in memory.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::similar_names,
    reason = "helpers of tests, outside of functions marked as tests"
)]

mod alarms;
mod archives;
mod authorization;
mod catalog;
mod config;
mod document;
mod documents;
mod functions;
mod headers;
mod history;
mod ingest;
mod keys;
mod problems;
mod replays;
mod secrets;
mod server;
mod sources;
mod tail;
mod testing;
