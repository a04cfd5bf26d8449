//! Targets against receivers that run in the test itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::let_underscore_must_use,
    clippy::format_push_string,
    reason = "a test may fail any way it likes"
)]

mod auth;
mod contract;
mod email;
mod function;
mod messages;
mod notification;
mod phone;
#[path = "../../../egress/tests/sink/mod.rs"]
mod sink;
mod support;
mod vendors;
mod webhook;
