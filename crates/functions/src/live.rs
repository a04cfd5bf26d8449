//! What is told of invocations while they run.

use belfry_model::FunctionName;
use uuid::Uuid;

use crate::invocation::Line;
use crate::outcome::Outcome;

/// Something that has just happened in an invocation.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveLine {
    /// The function.
    pub function: FunctionName,
    /// The invocation.
    pub request_id: Uuid,
    /// What has happened.
    pub what: Live,
}

/// What can happen in an invocation.
#[derive(Debug, Clone, PartialEq)]
pub enum Live {
    /// It has begun, with this version.
    Began(String),
    /// It has printed a line.
    Printed(Line),
    /// It has ended.
    Ended(Outcome),
}
