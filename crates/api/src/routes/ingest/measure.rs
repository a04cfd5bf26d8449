//! Metrics of requests with events. Their labels are bounded: a bus that does not exist is no label.

use std::cell::RefCell;
use std::time::Instant;

use axum::http::StatusCode;
use axum::response::Response;
use belfry_model::BusName;
use belfry_model::event::ContentMode;
use metrics::{Counter, counter, histogram};

use super::read::WayIn;
use crate::ApiState;
use crate::meters::Meters;
use crate::problem::Problem;

const REQUESTS: &str = "belfry_ingest_requests_total";
const DURATION: &str = "belfry_ingest_duration_seconds";

thread_local! {
    static METERS: RefCell<Meters<(&'static str, &'static str), Counter>> = RefCell::default();
}

/// One request under way.
pub(super) struct Meter {
    bus: Option<BusName>,
    mode: &'static str,
    started: Instant,
}

impl Meter {
    pub(super) fn start(state: &ApiState, bus: &BusName, way: Option<&WayIn>) -> Self {
        let mode = match way.map(WayIn::mode) {
            Some(ContentMode::Structured) => "structured",
            Some(ContentMode::Batch) => "batch",
            Some(ContentMode::Binary) => "binary",
            Some(ContentMode::Lenient) => "lenient",
            None => "none",
        };
        Self {
            bus: state.app.has_bus(bus).then(|| bus.clone()),
            mode,
            started: Instant::now(),
        }
    }

    pub(super) fn end(self, answer: &Result<Response, Problem>) {
        let status = match answer {
            Ok(response) => response.status(),
            Err(problem) => problem.status(),
        };
        let outcome = match status {
            status if status.is_success() => "accepted",
            StatusCode::TOO_MANY_REQUESTS => "busy",
            status if status.is_server_error() => "failed",
            _ => "rejected",
        };
        histogram!(DURATION).record(self.started.elapsed().as_secs_f64());
        if let Some(bus) = self.bus {
            let requests = METERS.with_borrow_mut(|meters| {
                meters.get(bus.as_str(), (self.mode, outcome), || {
                    counter!(REQUESTS, "bus" => bus.to_string(), "mode" => self.mode, "outcome" => outcome)
                })
            });
            requests.increment(1);
        }
    }
}
