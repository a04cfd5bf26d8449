//! The transform language through its public interface.

#![expect(
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests take `json!(…)` as it comes and may panic"
)]

mod docs;
mod json;
mod limits;
mod properties;
mod support;
mod text;
mod vendors;
