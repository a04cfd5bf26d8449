//! The senders: clients that keep their connections, post at a steady pace, and in doubt post the same again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use super::ledger::{Ledger, Post, Until};
use super::world::{Book, ORDERED, PLAIN, SOURCE, event};

/// How many post at once.
const SENDERS: u32 = 8;
/// Each turn of a sender: a batch of so many plain events, one ordered event, ...
const BATCH: usize = 3;
/// ... so many in all.
const EVENTS_PER_TURN: u32 = 4;
/// How long a sender goes on asking about its last event after it was told to end.
const INSISTS: Duration = Duration::from_secs(20);

/// Everything that sends.
pub(super) struct Load {
    end: watch::Sender<Option<Instant>>,
    senders: Vec<JoinHandle<Result<()>>>,
}

impl Load {
    /// Starts senders that together post so many events a second.
    pub(super) fn start(book: &Arc<Book>, ledger: &Arc<Ledger>, per_second: u32) -> Self {
        let (end, ended) = watch::channel(None);
        let turn = Duration::from_secs(1) * SENDERS * EVENTS_PER_TURN / per_second.max(1);
        let senders = (0..SENDERS)
            .map(|number| {
                let sender = Sender {
                    number: usize::try_from(number).unwrap_or_default(),
                    plain: 0,
                    ordered: 0,
                    book: Arc::clone(book),
                    ledger: Arc::clone(ledger),
                    end: ended.clone(),
                };
                tokio::spawn(sender.run(turn))
            })
            .collect();
        Self { end, senders }
    }

    /// Ends the load. An event in doubt is asked about until it is accepted, for a while.
    pub(super) async fn stop(self) -> Result<()> {
        self.end.send_replace(Some(Instant::now() + INSISTS));
        for sender in self.senders {
            sender.await??;
        }
        Ok(())
    }
}

struct Sender {
    number: usize,
    plain: u64,
    ordered: u64,
    book: Arc<Book>,
    ledger: Arc<Ledger>,
    end: watch::Receiver<Option<Instant>>,
}

impl Sender {
    async fn run(mut self, turn: Duration) -> Result<()> {
        let mut turns = interval(turn);
        // After an outage: the same pace again, not everything that was missed at once.
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while self.end.borrow().is_none() {
            turns.tick().await;
            let batch: Vec<_> = (0..BATCH).map(|_| self.next_plain()).collect();
            let kind = "application/cloudevents-batch+json";
            let batch = json!(batch).to_string();
            if !self.post(kind, batch, BATCH).await? {
                return Ok(());
            }
            // The next of a key is posted only after the 202 of the one before: then their order is promised.
            self.ordered += 1;
            let one = numbered(ORDERED, self.number, self.ordered).to_string();
            if !self.post("application/cloudevents+json", one, 1).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn next_plain(&mut self) -> Value {
        self.plain += 1;
        numbered(PLAIN, self.number, self.plain)
    }

    async fn post(&self, kind: &'static str, body: String, events: usize) -> Result<bool> {
        let post = Post {
            kind,
            body,
            events,
            // Each has its own way through the nodes, as behind a load balancer.
            first_node: self.number + usize::try_from(self.ordered).unwrap_or_default(),
        };
        let until = Until::Stopped(&self.end);
        self.ledger.post(&self.book, &post, until).await
    }
}

/// An event whose id says its type, its sender and its number.
fn numbered(kind: &str, sender: usize, number: u64) -> Value {
    let mut event = event(kind, SOURCE, &format!("{kind}-{sender}-{number}"));
    event["data"] = json!({"number": number});
    if kind == ORDERED {
        event["partitionkey"] = format!("key-{sender}").into();
    }
    event
}
