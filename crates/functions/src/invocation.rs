//! What is on record of an invocation.

use std::borrow::Cow;

use belfry_model::{DeliveryId, EventId, FunctionName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::outcome::Outcome;

/// One run of a function, or the attempt to run it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invocation {
    /// Which: a UUID of version 7, ordered by time.
    pub request_id: Uuid,
    /// The function.
    pub function: FunctionName,
    /// The version that ran: `$LATEST` or a number. Absent: none was found.
    pub version: Option<String>,
    /// By which version, alias or `$LATEST` it was asked for.
    pub qualifier: String,
    /// Who asked.
    pub invoked_by: InvokedBy,
    /// The delivery that asked.
    pub delivery: Option<DeliveryId>,
    /// The events that it was given.
    pub events: Vec<EventId>,
    /// Which attempt of the delivery, or of the asynchronous invocation, from 1.
    pub attempt: u32,
    /// Set when a worker was started for it.
    pub cold: Option<ColdStart>,
    /// When it was asked for, ms since 1970.
    pub started_at_ms: i64,
    /// When the answer came, ms since 1970.
    pub answered_at_ms: Option<i64>,
    /// When nothing was left to be done, ms since 1970.
    pub ended_at_ms: i64,
    /// How long the function ran, without waiting and starting, in microseconds.
    pub duration_us: u64,
    /// The memory that it may have, in MB.
    pub memory_mb: u32,
    /// The most that it was seen to have, in bytes; 0: not seen.
    pub memory_peak_bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What went wrong.
    pub failure: Option<Failure>,
    /// The answer, as JSON text. Secrets of the function are masked.
    pub result: Option<String>,
    /// What it printed, in the order in which it was read; of too much the beginning and the end.
    #[serde(skip)]
    pub log: Vec<Line>,
    /// How many bytes it printed.
    pub log_bytes: u64,
    /// Whether `log` is not all.
    pub log_truncated: bool,
    /// The process.
    pub worker_pid: Option<u32>,
    /// How far it was shut in: `process`, `landlock` or `namespace`.
    pub isolation: Option<Cow<'static, str>>,
    /// The exit code of a process that ended.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// Who asked for an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InvokedBy {
    /// A delivery.
    Delivery,
    /// Somebody tried a target out.
    Test,
    /// A request that waited for the answer.
    Api,
    /// A request that did not wait.
    Async,
}

/// How long the start of a worker took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ColdStart {
    /// Altogether.
    pub total_ms: u32,
    /// Unpacking and checking the code.
    pub prepare_ms: u32,
    /// From the start of the process until the runtime was there.
    pub runtime_ms: u32,
    /// Loading the function's code.
    pub function_ms: u32,
}

/// What went wrong, in the function's own words where it has some. Secrets of the function are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The type of the error, such as `TypeError`; else a word of ours.
    #[serde(rename = "type")]
    pub kind: String,
    /// For people.
    pub message: String,
    /// Where, line by line, as the runtime tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Belfry itself: that something was cut off, that processes were left over.
    Platform,
}

/// A line that a function has printed. Secrets of the function are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it was read, ms since 1970.
    #[serde(rename = "at")]
    pub at_ms: i64,
    /// Where it came from.
    pub stream: Stream,
    /// Without its end.
    pub text: String,
    /// Whether it was printed while the code was loaded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
}
