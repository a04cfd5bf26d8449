//! Requests as vendors send them, and as nobody should.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::format_collect,
    reason = "a test may fail any way it likes"
)]

mod generic;
mod hostile;
mod samples;
mod signatures;
mod support;
