//! Posting one batch until every line of it has an outcome.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;

use super::lines::Line;
use crate::client::{Answer, Call, Client, problem};
use crate::failure::{Failure, Result};

/// What became of the lines of a batch.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Server ids, and whether the event was known already.
    pub(super) accepted: Vec<(String, bool)>,
    /// Places and what is wrong there.
    pub(super) failed: Vec<(String, String)>,
}

/// Posts batches to one bus.
#[derive(Debug)]
pub(super) struct Poster {
    pub(super) client: Client,
    pub(super) path: String,
    pub(super) retries: u32,
}

const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(15);

impl Poster {
    /// Asks for the good events of a batch to be stored, whatever the others are. A batch that is refused as a whole
    /// is halved until the event that spoils it stands alone.
    pub(super) async fn post(&self, batch: Vec<Line>) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut waiting = Vec::with_capacity(batch.len());
        for line in batch {
            match line.event {
                Ok(event) => waiting.push((line.place, event)),
                Err(detail) => outcome.failed.push((line.place, detail)),
            }
        }
        let mut batches = vec![waiting];
        while let Some(mut batch) = batches.pop() {
            if batch.is_empty() {
                continue;
            }
            let answer = self.exchange(&batch).await?;
            if answer.status.is_success() {
                outcome.take(batch, &answer.json()?);
            } else if !about_the_events(answer.status) {
                return Err(problem::failure(&answer, true));
            } else if let [(place, _)] = batch.as_slice() {
                outcome
                    .failed
                    .push((place.clone(), problem::message(&answer)));
            } else {
                let rest = batch.split_off(batch.len() / 2);
                batches.extend([rest, batch]);
            }
        }
        Ok(outcome)
    }

    async fn exchange(&self, waiting: &[(String, String)]) -> Result<Answer> {
        let body = match waiting {
            [(_, event)] => event.clone(),
            many => format!(
                "[{}]",
                many.iter()
                    .map(|(_, event)| event.as_str())
                    .collect::<Vec<_>>()
                    .join(",")
            ),
        };
        let call = Call::new(Method::POST, &*self.path)
            .query("partial", "true")
            .body("application/json", body);
        let mut backoff = BACKOFF_FIRST;
        let mut tries = 0;
        loop {
            tries += 1;
            let wait = match self.client.send(&call).await {
                Ok(answer) if !later(answer.status) || tries > self.retries => return Ok(answer),
                Ok(answer) => answer.retry_after().unwrap_or(backoff).max(backoff / 2),
                // Nobody there at the very first try is a mistake rather than a moment of weakness.
                Err(failure) if tries > self.retries || is_first(tries, &failure) => {
                    return Err(failure);
                }
                Err(_) => backoff,
            };
            tokio::time::sleep(wait).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }
}

fn is_first(tries: u32, failure: &Failure) -> bool {
    tries == 1 && failure.hint.is_some() || !failure.transient
}

fn later(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    )
}

fn about_the_events(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE
    )
}

impl Outcome {
    /// What the server says about each event, in the order of the request.
    fn take(&mut self, batch: Vec<(String, String)>, answer: &Value) {
        let events = answer
            .get("events")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        for (index, (place, _)) in batch.into_iter().enumerate() {
            let event = events.get(index).unwrap_or(&Value::Null);
            match (
                event.get("eventUid").and_then(Value::as_str),
                event.get("errors").and_then(Value::as_array),
            ) {
                (Some(id), _) => {
                    let duplicate = event
                        .get("duplicate")
                        .and_then(Value::as_bool)
                        .unwrap_or_default();
                    self.accepted.push((id.to_owned(), duplicate));
                }
                (None, Some(errors)) => {
                    // Pointers count from the whole request, of which the line is one element.
                    let prefix = format!("/{index}");
                    let details = errors.iter().map(|error| {
                        let field = problem::field(error);
                        field
                            .strip_prefix(&prefix)
                            .map(str::to_owned)
                            .unwrap_or(field)
                    });
                    let details: Vec<String> = details.collect();
                    self.failed.push((place, details.join("; ")));
                }
                (None, None) => self
                    .failed
                    .push((place, "the server did not say what became of it".to_owned())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_batch_has_an_outcome() {
        let answer = serde_json::json!({"events": [
            {"eventUid": "evt_1", "duplicate": true},
            {"index": 1, "errors": [{"pointer": "/1/type", "detail": "missing"}]},
        ]});
        let mut outcome = Outcome::default();
        let batch = ["line 1", "line 2", "line 3"].map(|place| (place.to_owned(), String::new()));
        outcome.take(batch.to_vec(), &answer);
        assert_eq!(outcome.accepted, [("evt_1".to_owned(), true)]);
        let places: Vec<_> = outcome
            .failed
            .iter()
            .map(|(place, detail)| (place.as_str(), detail.as_str()))
            .collect();
        assert_eq!(
            places,
            [
                ("line 2", "/type: missing"),
                ("line 3", "the server did not say what became of it")
            ]
        );
    }
}
