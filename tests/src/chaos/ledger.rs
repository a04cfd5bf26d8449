//! What senders were told, and what the receiver got. Both are written while the load runs and read by the checker.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use belfry_testkit::{Client, Received, Reply};
use http::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::world::Book;
use crate::text;

/// How long a sender waits before it asks again.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest pause that a sender lets itself be asked for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(1);

/// What senders were told.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Entries>);

/// The entries of a [`Ledger`].
#[derive(Debug, Default, Clone)]
pub(super) struct Entries {
    /// The server's ids of each of the senders' ids that got a 202: more than one when a repeat was not recognised.
    pub(super) accepted: HashMap<String, Vec<String>>,
    /// Distinct events that were posted at all.
    pub(super) posted: usize,
    /// Requests by the status of their answer; 0 stands for none.
    pub(super) answers: BTreeMap<u16, usize>,
}

impl Ledger {
    /// What is in it now.
    pub(super) fn entries(&self) -> Entries {
        lock(&self.0).clone()
    }

    /// Events accepted so far.
    pub(super) fn accepted(&self) -> usize {
        lock(&self.0).accepted.len()
    }

    /// Posts as a careful client does: in doubt the same again, to the next node. False: still in doubt at `until`.
    pub(super) async fn post(&self, book: &Book, post: &Post, until: Until<'_>) -> Result<bool> {
        lock(&self.0).posted += post.events;
        let mut node = post.first_node;
        loop {
            let pause = match self.post_once(&book.client(node), post).await? {
                Told::Accepted => return Ok(true),
                Told::Later(pause) => pause,
            };
            if until.is_over() {
                return Ok(false);
            }
            sleep(pause).await;
            node += 1;
        }
    }

    async fn post_once(&self, client: &Client, post: &Post) -> Result<Told> {
        let headers = [("content-type", post.kind)];
        let path = "/v1/buses/default/events";
        let sent = client.send(Method::POST, path, &headers, post.body.clone());
        let Ok(answer) = sent.await else {
            *lock(&self.0).answers.entry(0).or_default() += 1;
            return Ok(Told::Later(PAUSE));
        };
        let status = answer.status.as_u16();
        *lock(&self.0).answers.entry(status).or_default() += 1;
        match status {
            202 => {
                self.note(&answer.json()?)?;
                Ok(Told::Accepted)
            }
            429 | 500..=599 => {
                let asked = answer
                    .header("retry-after")
                    .and_then(|text| text.parse().ok());
                let asked = asked.map_or(PAUSE, Duration::from_secs);
                Ok(Told::Later(asked.clamp(PAUSE, RETRY_AFTER_MAX)))
            }
            _ => bail!("a proper event was refused: {status} {}", answer.text()),
        }
    }

    fn note(&self, answer: &Value) -> Result<()> {
        let events = answer["events"].as_array();
        let mut entries = lock(&self.0);
        for event in events.context("no events in an answer")? {
            let uid = text(&event["eventUid"])?;
            let uids = entries.accepted.entry(text(&event["id"])?).or_default();
            if !uids.contains(&uid) {
                uids.push(uid);
            }
        }
        Ok(())
    }
}

/// Something to post: one event or a batch.
pub(super) struct Post {
    pub(super) kind: &'static str,
    pub(super) body: String,
    pub(super) events: usize,
    pub(super) first_node: usize,
}

/// How long a sender insists.
#[derive(Clone, Copy)]
pub(super) enum Until<'a> {
    /// So long after the load was told to end.
    Stopped(&'a tokio::sync::watch::Receiver<Option<Instant>>),
    /// Until then.
    Then(Instant),
}

impl Until<'_> {
    fn is_over(self) -> bool {
        match self {
            Self::Stopped(end) => end.borrow().is_some_and(|end| Instant::now() >= end),
            Self::Then(end) => Instant::now() >= end,
        }
    }
}

enum Told {
    Accepted,
    Later(Duration),
}

/// What the receiver got.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<Arrived>);

/// The content of [`Arrivals`].
#[derive(Debug, Default, Clone)]
pub(super) struct Arrived {
    /// By path: how often each event (by the sender's id) came and was answered with a success.
    pub(super) taken: HashMap<String, HashMap<String, usize>>,
    /// By path and key: up to which number everything was taken, one after the other.
    in_order: HashMap<(String, String), u64>,
    /// First arrivals that came before the one before them was taken.
    pub(super) out_of_order: BTreeMap<String, Vec<String>>,
    /// Requests that were no events.
    pub(super) garbled: usize,
}

impl Arrivals {
    /// Notes a request and what it is going to be answered.
    pub(super) fn note(&self, request: &Received, reply: &Reply) {
        let event = request.json().unwrap_or_default();
        let mut arrived = lock(&self.0);
        match event["id"].as_str() {
            Some(id) => arrived.note(&request.path, id, &event, reply.accepts()),
            None => arrived.garbled += 1,
        }
    }

    /// What is in it now.
    pub(super) fn arrived(&self) -> Arrived {
        lock(&self.0).clone()
    }

    /// Whether an event was taken at a path.
    pub(super) fn has(&self, path: &str, id: &str) -> bool {
        let arrived = lock(&self.0);
        let taken = arrived.taken.get(path);
        taken.is_some_and(|taken| taken.contains_key(id))
    }

    /// How many of these have not been taken at a path.
    pub(super) fn missing<'a>(&self, path: &str, ids: impl Iterator<Item = &'a String>) -> usize {
        let arrived = lock(&self.0);
        let taken = arrived.taken.get(path);
        ids.filter(|id| !taken.is_some_and(|taken| taken.contains_key(*id)))
            .count()
    }
}

impl Arrived {
    fn note(&mut self, path: &str, id: &str, event: &Value, taken: bool) {
        let first = !self
            .taken
            .get(path)
            .is_some_and(|taken| taken.contains_key(id));
        // A number beside the key says: the event before it was accepted before it was posted.
        if let (true, Some(key), Some(number)) = (
            first,
            event["partitionkey"].as_str(),
            event["data"]["number"].as_u64(),
        ) {
            let done = self.in_order.entry((path.to_owned(), key.to_owned()));
            let done = done.or_default();
            if number != *done + 1 {
                let at = format!("{id} came when {done} of key {key} had been taken");
                self.out_of_order
                    .entry(path.to_owned())
                    .or_default()
                    .push(at);
            }
            if taken {
                *done = number.max(*done);
            }
        }
        if taken {
            let taken = self.taken.entry(path.to_owned()).or_default();
            *taken.entry(id.to_owned()).or_default() += 1;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn came(arrived: &mut Arrived, number: u64, taken: bool) {
        let event = json!({"partitionkey": "k", "data": {"number": number}});
        arrived.note("/p", &format!("k-{number}"), &event, taken);
    }

    fn broken(arrivals: &[(u64, bool)]) -> usize {
        let mut arrived = Arrived::default();
        for (number, taken) in arrivals {
            came(&mut arrived, *number, *taken);
        }
        arrived.out_of_order.values().map(Vec::len).sum()
    }

    #[test]
    fn an_event_before_its_predecessor_was_taken_breaks_the_order() {
        assert_eq!(broken(&[(1, true), (2, true), (3, true)]), 0);
        assert_eq!(broken(&[(1, true), (3, true), (2, true)]), 2, "overtaken");
        assert_eq!(broken(&[(1, false), (2, true), (1, true)]), 2, "not waited");
    }

    #[test]
    fn a_retry_and_a_repeat_do_not_break_the_order() {
        assert_eq!(broken(&[(1, false), (1, false), (1, true), (2, true)]), 0);
        assert_eq!(broken(&[(1, true), (2, true), (1, true), (3, true)]), 0);
    }
}
