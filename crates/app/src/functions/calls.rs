//! Invocations that nobody waits for: noted durably, made by any node, tried again as the failure table says.
//!
//! A node takes calls under a lease and puts its end off while it runs them; the calls of a node that dies show up again
//! when it ends, or when the node's number is taken.

use std::sync::Arc;
use std::time::Duration;

use belfry_functions::{Call, Invocation, InvokedBy, Outcome, Retry};
use belfry_store::{CallClaim, CallRetry, ClaimedCall, NewCall, NewInvocation};
use tokio_util::sync::CancellationToken;

use super::invoke::routing;
use super::service::FunctionService;

/// How often is asked for calls that are due, whatever is known here.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a call is left to who has taken it; put off after a third.
const LEASE: Duration = Duration::from_mins(1);
/// When a call is tried again that has failed by the function's own fault: as SCF does.
const AGAIN_AFTER_MS: [i64; 2] = [60_000, 120_000];
/// How long a call is tried that has failed by the server's fault.
const TRIED_FOR_MS: i64 = 6 * 3_600_000;
/// The longest wait between two tries of it.
const WAIT_MAX_MS: i64 = 10 * 60_000;
/// After how long something is tried that was no try.
const ROOM_AFTER_MS: i64 = 2_000;

impl FunctionService {
    /// Makes calls that are due until the server stops.
    pub(super) async fn make_calls(self: Arc<Self>) {
        loop {
            let room = self.callers.available_permits();
            let taken = if room == 0 || self.machine.is_err() {
                Vec::new()
            } else {
                self.take_calls(room).await
            };
            let is_all = taken.len() < room || room == 0;
            for claimed in taken {
                let Ok(permit) = Arc::clone(&self.callers).try_acquire_owned() else {
                    // Cannot be: nobody else takes permits. It comes back with its lease.
                    break;
                };
                let this = Arc::clone(&self);
                self.tracker.spawn(async move {
                    this.make_call(claimed).await;
                    drop(permit);
                    this.called.notify_one();
                });
            }
            if !is_all {
                continue;
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.called.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn take_calls(&self, limit: usize) -> Vec<ClaimedCall> {
        if self.stop.is_cancelled() {
            return Vec::new();
        }
        let now = self.clock.now_ms();
        let claim = CallClaim {
            owner: self.node(),
            now_ms: now,
            lease_until_ms: now + lease_ms(),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        };
        match self.store.claim_calls(&claim).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(%error, "asynchronous invocations cannot be read at the moment");
                Vec::new()
            }
        }
    }

    /// Runs a call, and writes what became of it together with when it is tried again.
    async fn make_call(&self, claimed: ClaimedCall) {
        let call = &claimed.call;
        let asked = Call {
            function: &call.function,
            qualifier: &call.qualifier,
            event: &call.event,
            invoked_by: InvokedBy::Async,
            delivery: None,
            events: &[],
            attempt: claimed.attempts + 1,
            routing: routing(call.id),
        };
        let done = CancellationToken::new();
        let work = async {
            let _done = done.clone().drop_guard();
            self.run(asked, call.id).await
        };
        let (invocation, lease_until_ms) = tokio::join!(work, self.put_off(&claimed, done.clone()));
        let next = next(&claimed, invocation.outcome, self.clock.now_ms());
        let given_up = next.is_none() && invocation.outcome != Outcome::Succeeded;
        let row = self.row(&invocation, given_up);
        let written = match next {
            None => self.store.finish_call(call.id, &row).await,
            Some(next) => {
                let retry = CallRetry {
                    lease_until_ms,
                    ..next
                };
                let noted = Some(&row).filter(|_| next.attempts > claimed.attempts);
                self.store.retry_call(&retry, noted).await
            }
        };
        if let Err(error) = written {
            // It is made again when its lease has ended.
            tracing::warn!(function = %call.function, request_id = %call.id, %error, "what became of an asynchronous invocation could not be written");
        }
    }

    /// Puts the end of the lease off until `done`; gives the end that holds then.
    async fn put_off(&self, claimed: &ClaimedCall, done: CancellationToken) -> i64 {
        let mut until = claimed.call.due_at_ms;
        loop {
            tokio::select! {
                () = done.cancelled() => return until,
                () = tokio::time::sleep(LEASE / 3) => {}
            }
            let longer = CallRetry {
                id: claimed.call.id,
                lease_until_ms: until,
                due_at_ms: self.clock.now_ms() + lease_ms(),
                attempts: claimed.attempts,
                failures: claimed.failures,
            };
            match self.store.retry_call(&longer, None).await {
                Ok(()) => until = longer.due_at_ms,
                Err(error) => tracing::warn!(%error, "a lease could not be put off"),
            }
        }
    }

    /// Has a call on record before it has begun, so that its request id leads somewhere.
    pub(super) async fn note_queued(&self, call: &NewCall) {
        let asked = Call {
            function: &call.function,
            qualifier: &call.qualifier,
            event: &call.event,
            invoked_by: InvokedBy::Async,
            delivery: None,
            events: &[],
            attempt: 0,
            routing: 0,
        };
        let queued = Invocation::begun(&asked, call.id, call.created_at_ms);
        let row = NewInvocation {
            outcome: None,
            ..self.row(&queued, false)
        };
        if let Err(error) = self.store.put_invocations(&[row]).await {
            tracing::warn!(function = %call.function, %error, "an asynchronous invocation is noted, but not yet on record");
        }
    }
}

fn lease_ms() -> i64 {
    i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX)
}

/// When a call is tried again; `None`: it is over.
fn next(claimed: &ClaimedCall, outcome: Outcome, now_ms: i64) -> Option<CallRetry> {
    let again = CallRetry {
        id: claimed.call.id,
        lease_until_ms: 0,
        due_at_ms: now_ms,
        attempts: claimed.attempts + 1,
        failures: claimed.failures,
    };
    let age = now_ms - claimed.call.created_at_ms;
    match outcome.retry() {
        Retry::No => None,
        Retry::Users => {
            let at = usize::try_from(claimed.failures).ok()?;
            Some(CallRetry {
                due_at_ms: now_ms + AGAIN_AFTER_MS.get(at)?,
                failures: claimed.failures + 1,
                ..again
            })
        }
        _ if age >= TRIED_FOR_MS => None,
        Retry::Standard => {
            let doubled = claimed.attempts.min(20);
            let wait = (5_000_i64 << doubled).min(WAIT_MAX_MS);
            Some(CallRetry {
                due_at_ms: now_ms + wait,
                ..again
            })
        }
        Retry::NotCounted => Some(CallRetry {
            due_at_ms: now_ms + ROOM_AFTER_MS,
            attempts: claimed.attempts,
            ..again
        }),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_call_is_tried_again_as_the_failure_table_says() {
        let call = |attempts, failures| ClaimedCall {
            call: NewCall {
                id: Uuid::now_v7(),
                function: "default/f".parse().unwrap(),
                qualifier: "$DEFAULT".to_owned(),
                caller: String::new(),
                created_at_ms: 0,
                due_at_ms: 0,
                event: "{}".to_owned(),
            },
            attempts,
            failures,
        };
        let due = |attempts, failures, outcome, now| {
            let next = next(&call(attempts, failures), outcome, now)?;
            Some((next.due_at_ms - now, next.attempts, next.failures))
        };
        assert_eq!(due(0, 0, Outcome::Succeeded, 0), None);
        assert_eq!(due(0, 0, Outcome::LateError, 0), None);
        assert_eq!(due(0, 0, Outcome::Threw, 0), Some((60_000, 1, 1)));
        assert_eq!(due(1, 1, Outcome::TimedOut, 0), Some((120_000, 2, 2)));
        assert_eq!(due(2, 2, Outcome::Threw, 0), None);
        assert_eq!(due(0, 0, Outcome::Unavailable, 0), Some((5_000, 1, 0)));
        assert_eq!(due(30, 0, Outcome::Lost, 0), Some((WAIT_MAX_MS, 31, 0)));
        assert_eq!(due(3, 0, Outcome::Lost, TRIED_FOR_MS), None);
        assert_eq!(
            due(3, 1, Outcome::Throttled, 0),
            Some((ROOM_AFTER_MS, 3, 1))
        );
    }
}
