//! Asking for an invocation.

use std::time::Duration;

use async_trait::async_trait;
use belfry_model::{DeliveryId, EventId, FunctionName};
use uuid::Uuid;

use crate::invocation::{Invocation, InvokedBy};
use crate::outcome::Outcome;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The function.
    pub function: &'a FunctionName,
    /// A version, an alias, `$LATEST` or `$DEFAULT`.
    pub qualifier: &'a str,
    /// What it is given, as JSON text; passed on as it is.
    pub event: &'a str,
    /// Who asks.
    pub invoked_by: InvokedBy,
    /// The delivery that asks.
    pub delivery: Option<DeliveryId>,
    /// The events that it is given.
    pub events: &'a [EventId],
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Chooses among the versions of an alias: the same for every attempt.
    pub routing: u64,
}

/// Runs functions by their names.
#[async_trait]
pub trait Functions: Send + Sync {
    /// Runs one and waits until it has ended. Whatever goes wrong is told in the invocation.
    async fn invoke(&self, call: Call<'_>) -> Invocation;

    /// The longest that [`invoke`](Self::invoke) of this function can take: waiting for a worker, loading the code, running,
    /// ending. Unless somebody knows better, as long as the limits of functions allow.
    fn longest(&self, function: &FunctionName) -> Duration {
        let _ = function;
        LONGEST
    }
}

/// Waiting for a worker (10 s), loading the code (300 s), running (900 s), ending (10 s).
const LONGEST: Duration = Duration::from_secs(1220);

/// A server without functions.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFunctions;

#[async_trait]
impl Functions for NoFunctions {
    async fn invoke(&self, call: Call<'_>) -> Invocation {
        let mut invocation = Invocation::begun(&call, Uuid::now_v7(), 0);
        invocation.outcome = Outcome::Unavailable;
        invocation
    }

    fn longest(&self, _: &FunctionName) -> Duration {
        Duration::ZERO
    }
}

impl Invocation {
    /// One of which nothing is known yet but what was asked for: [`Outcome::Internal`] until somebody says better.
    pub fn begun(call: &Call<'_>, request_id: Uuid, now_ms: i64) -> Self {
        Self {
            request_id,
            function: call.function.clone(),
            version: None,
            qualifier: call.qualifier.to_owned(),
            invoked_by: call.invoked_by,
            delivery: call.delivery,
            events: call.events.to_vec(),
            attempt: call.attempt,
            cold: None,
            started_at_ms: now_ms,
            answered_at_ms: None,
            ended_at_ms: now_ms,
            duration_us: 0,
            memory_mb: 0,
            memory_peak_bytes: 0,
            outcome: Outcome::Internal,
            failure: None,
            result: None,
            log: Vec::new(),
            log_bytes: 0,
            log_truncated: false,
            worker_pid: None,
            isolation: None,
            exit_code: None,
            signal: None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests_support {
    use super::*;

    /// A call by the API, for tests.
    pub(crate) fn call(function: &FunctionName) -> Call<'_> {
        Call {
            function,
            qualifier: "$DEFAULT",
            event: "{}",
            invoked_by: InvokedBy::Api,
            delivery: None,
            events: &[],
            attempt: 1,
            routing: 0,
        }
    }
}
