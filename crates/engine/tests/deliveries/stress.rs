//! Random histories: posts, misbehaving receivers, failing commits, changes of the configuration, redrives, restarts
//! and crashes, from a seed. Whatever happened, at the end every accepted event has ended for each target it was for.
//!
//! | seed modulo 4 | what happens besides posts, changes, redrives and clean restarts | repeats |
//! |---|---|---|
//! | 0 | – | none |
//! | 1 | commits and claims fail or are slow | none |
//! | 2 | also: commits happen and are reported as failed | allowed |
//! | 3 | also: crashes | allowed |
//!
//! `BELFRY_SEEDS=100` runs a hundred seeds, `BELFRY_SEEDS=17-17` one of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use belfry_engine::{AcceptContext, AcceptError, Accepted, Engine, EngineSettings};
use belfry_model::delivery::{DeliveryStatus, Trigger};
use belfry_model::{Clock as _, DeliveryId, Event, EventId, NodeId, SystemClock};
use belfry_store::{
    DeliveryQueue as _, DeliveryRecord, EventLog as _, EventQuery, EventRecord, History as _,
};
use belfry_testkit::{Reply, wait_until};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::flaky::{Fault, Flaky};
use crate::rig::{Rig, with};
use crate::settings;

const SEEDS: u64 = 40;
/// Seeds that run beside each other: most of a history is waiting.
const BESIDE: usize = 10;
const STEPS: usize = 120;
const TARGETS: [&str; 3] = ["a", "b", "c"];
const LIMIT: Duration = Duration::from_mins(1);

/// Xorshift: the same numbers for the same seed, whatever the version of a library.
struct Random(u64);

impl Random {
    fn of(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    fn count(&mut self, first: u64, last: u64) -> usize {
        usize::try_from(first + self.below(last - first + 1)).unwrap()
    }

    fn millis(&mut self, first: u64, last: u64) -> Duration {
        Duration::from_millis(first + self.below(last - first + 1))
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of_all<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.count(0, all.len() as u64 - 1)]
    }
}

fn small(random: &mut Random) -> EngineSettings {
    EngineSettings {
        batch_ops_max: random.count(1, 40),
        lane_deliveries_max: random.count(1, 8),
        lane_bytes_max: random.count(200, 4000),
        lanes_bytes_max: random.count(300, 8000),
        in_flight_max: random.count(1, 16),
        park_after: random.millis(10, 400),
        circuit_failures: u32::try_from(random.count(1, 5)).unwrap(),
        circuit_open: random.millis(10, 100),
        circuit_open_max: random.millis(100, 300),
        sweep_every: if random.one_in(2) {
            random.millis(50, 500)
        } else {
            Duration::from_hours(1)
        },
        config_poll: random.millis(50, 500),
        ..settings()
    }
}

fn replies(random: &mut Random) -> Vec<Reply> {
    let mut replies = vec![Reply::status(200)];
    for _ in 0..random.count(0, 9) {
        replies.push(match random.below(16) {
            0..=5 => Reply::status(204),
            6..=8 => Reply::status(500),
            9 => Reply::Reset,
            10 => Reply::status(404),
            11 if random.one_in(4) => Reply::retry_after(429, 1),
            12 if random.one_in(4) => Reply::Hang,
            13 if random.one_in(8) => Reply::status(410),
            _ => Reply::Late {
                after: random.millis(1, 120),
                status: 200,
            },
        });
    }
    replies
}

fn members(rig: &Rig, name: &str, random: &mut Random) -> Value {
    let url = rig.sink.url(&format!("/{name}"));
    let mut members = json!({
        "settings": {"url": url, "signing": {"enabled": false}, "timeoutSeconds": 1},
        "enabled": !random.one_in(6),
        "concurrency": random.count(1, 4),
        "retry": {"schedule": "custom", "waitsSeconds": [1, 1], "maxAttempts": random.count(1, 3)},
    });
    let more = members.as_object_mut().unwrap();
    if random.one_in(3) {
        let limit = json!({"count": random.count(20, 200)});
        more.insert("rateLimit".to_owned(), limit);
    }
    if random.one_in(3) {
        more.insert("deadLetter".to_owned(), json!({"bus": "dead"}));
    }
    members
}

fn faults(seed: u64, random: &mut Random) -> Box<dyn FnMut() -> Fault + Send> {
    let mut own = Random::of(random.next());
    let one_in = 2 + random.below(6);
    let lost = seed % 4 >= 2;
    Box::new(move || {
        if !own.one_in(one_in) {
            return Fault::None;
        }
        match own.below(4) {
            0 => Fault::Full,
            1 => Fault::Slow(own.millis(1, 30)),
            2 if lost => Fault::Lost,
            _ => Fault::Unavailable,
        }
    })
}

type Posted = JoinHandle<Result<Vec<Accepted>, AcceptError>>;

struct History {
    seed: u64,
    random: Random,
    settings: EngineSettings,
    rig: Rig,
    flaky: Arc<Flaky>,
    posted: Vec<Posted>,
    accepted: BTreeMap<EventId, String>,
    present: HashMap<&'static str, bool>,
    /// Whether something happened that allows repeats.
    repeats: bool,
    sent: usize,
}

impl History {
    async fn begin(seed: u64) -> Result<Self> {
        let mut random = Random::of(seed);
        let settings = small(&mut random);
        let (rig, flaky) = Rig::flaky(settings.clone()).await?;
        let mut history = Self {
            seed,
            random,
            settings,
            rig,
            flaky,
            posted: Vec::new(),
            accepted: BTreeMap::new(),
            present: HashMap::new(),
            repeats: seed % 4 >= 2,
            sent: 0,
        };
        for name in TARGETS {
            history.misbehave(name);
            history.change(name).await?;
        }
        Ok(history)
    }

    fn misbehave(&mut self, name: &str) {
        let replies = replies(&mut self.random);
        self.rig.sink.cycle(&format!("/{name}"), replies);
    }

    fn post(&mut self) {
        let mut events = Vec::new();
        for _ in 0..self.random.count(1, 4) {
            // Now and then one that was sent before.
            let id = if self.random.one_in(10) {
                self.random.below(self.sent as u64 + 1)
            } else {
                self.sent += 1;
                self.sent as u64
            };
            let filling = "x".repeat(self.random.count(0, 300));
            let doc = json!({"specversion": "1.0", "id": id.to_string(), "source": "tests", "type": "t", "data": filling});
            events.push(Event::from_stored(doc.to_string().into()).unwrap());
        }
        let engine = self.rig.engine.clone();
        self.posted.push(tokio::spawn(async move {
            let bus = "default".parse().unwrap();
            engine.accept(&bus, events, AcceptContext::default()).await
        }));
    }

    /// Waits for the answers to all posts so far.
    async fn answers(&mut self) -> Result<()> {
        for posted in self.posted.drain(..) {
            for one in posted.await?.unwrap_or_default() {
                self.accepted.entry(one.event_uid).or_insert(one.id);
            }
        }
        Ok(())
    }

    /// Makes a target, changes it, or deletes it.
    async fn change(&mut self, name: &'static str) -> Result<()> {
        let more = members(&self.rig, name, &mut self.random);
        let present = self.present.entry(name).or_default();
        if !*present {
            *present = true;
            self.rig.target(name, "/replaced", more).await?;
        } else if self.random.one_in(5) {
            *present = false;
            self.rig.change(self.rig.deleted(name).await?).await?;
        } else {
            // Belfry itself may change the target at the same time (410).
            let change = self.rig.changed(name, more).await?;
            match self.rig.change(change).await {
                Err(error) if error.to_string().contains("changed by somebody else") => {}
                other => other?,
            }
        }
        Ok(())
    }

    async fn redrive(&mut self) -> Result<()> {
        let all: Vec<EventId> = self.accepted.keys().copied().collect();
        if all.is_empty() {
            return Ok(());
        }
        let event = *self.random.of_all(&all);
        let ids: Vec<_> = self
            .rig
            .store
            .list_event_deliveries(event)
            .await?
            .iter()
            .map(|record| record.outcome.delivery)
            .collect();
        self.rig.engine.redrive(&ids, &[], &[], None).await?;
        Ok(())
    }

    async fn restart(&mut self, crash: bool) -> Result<()> {
        if crash {
            self.flaky.die();
            let engine = self.rig.engine.clone();
            tokio::spawn(async move { engine.shutdown(Duration::ZERO).await });
        } else {
            self.flaky.draw(None);
            // What waits for the store is to be in it.
            self.rig.engine.flush().await;
            let in_time = self.rig.engine.shutdown(Duration::from_secs(5)).await;
            ensure!(in_time, "a shutdown took too long");
            self.flaky.die();
        }
        self.answers().await?;
        self.flaky = Flaky::new(self.rig.store.clone());
        let with = with(self.flaky.clone())?;
        self.rig.engine = Engine::start(with, self.settings.clone()).await?;
        Ok(())
    }

    async fn step(&mut self) -> Result<()> {
        let name = *self.random.of_all(&TARGETS);
        match self.random.below(40) {
            0 => self.change(name).await?,
            1 => self.misbehave(name),
            2 | 3 => self.redrive().await?,
            4 | 5 => self.answers().await?,
            6 => self.rig.engine.flush().await,
            7 if !self.seed.is_multiple_of(4) => {
                let faults = faults(self.seed, &mut self.random);
                self.flaky.draw(Some(faults));
            }
            8 | 9 => self.flaky.draw(None),
            10 if self.random.one_in(3) => self.restart(false).await?,
            11 if self.seed % 4 == 3 => self.restart(true).await?,
            _ => self.post(),
        }
        Ok(())
    }

    /// Receivers and store are well again: everything ends.
    async fn end(&mut self) -> Result<()> {
        self.flaky.draw(None);
        for name in TARGETS {
            self.rig
                .sink
                .script(&format!("/{name}"), [Reply::status(200)]);
        }
        self.answers().await?;
        let ended = wait_until("everything to end", LIMIT, async || {
            self.rig.engine.flush().await;
            let waiting = self.rig.store.targets_with_pending().await?;
            let idle = self.rig.engine.held() == [0; 6];
            Ok((waiting.is_empty() && idle).then_some(()))
        })
        .await;
        if ended.is_err() {
            let waiting = self.rig.store.targets_with_pending().await?;
            let due = self.rig.store.next_due(&waiting).await?;
            let now_ms = SystemClock.now_ms();
            ended.with_context(|| {
                let engine = &self.rig.engine;
                format!(
                    "held {:?}, status {:?}, due {due:?} at {now_ms}",
                    engine.held(),
                    engine.status()
                )
            })?;
        }
        Ok(())
    }

    async fn check(&mut self) -> Result<()> {
        let mut requests: HashMap<String, usize> = HashMap::new();
        for got in self.rig.sink.received() {
            let id = got.header("webhook-id").context("an id")?;
            *requests.entry(id.to_owned()).or_default() += 1;
        }
        let stored = self.stored().await?;
        for (event, id) in &self.accepted {
            ensure!(stored.contains_key(event), "{event} ({id}) is not stored");
        }
        for (event, record) in &stored {
            // Without crashes and lost answers whoever was told of a failure has stored nothing.
            let own = record.facts.source != "tests";
            ensure!(
                own || self.repeats || self.accepted.contains_key(event),
                "{event} is stored and was refused"
            );
            for target in &record.fan {
                let delivery = DeliveryId {
                    event: *event,
                    target: *target,
                };
                let found = self.rig.store.find_delivery(delivery).await?;
                let found = found.with_context(|| format!("{delivery} has no state"))?;
                let got = requests.get(&delivery.to_string()).copied().unwrap_or(0);
                self.check_delivery(&found, got)
                    .await
                    .with_context(|| format!("{delivery}: {:?}, {got} requests", found.outcome))?;
            }
        }
        ensure!(
            self.rig.engine.shutdown(LIMIT).await,
            "the last shutdown took too long"
        );
        let left = self.rig.store.recover(NodeId(1), 0).await?;
        ensure!(left.unfinished + left.reclaimed == 0, "left over: {left:?}");
        Ok(())
    }

    async fn check_delivery(&self, record: &DeliveryRecord, got: usize) -> Result<()> {
        let outcome = &record.outcome;
        ensure!(outcome.status.is_final(), "has not ended");
        let delivered = outcome.status == DeliveryStatus::Delivered;
        ensure!(
            delivered == outcome.reason.is_none(),
            "ended without a reason"
        );
        ensure!(!delivered || got > 0, "delivered, but to nobody");
        let attempts = self.rig.store.list_attempts(outcome.delivery).await?;
        let numbers = attempts.iter().map(|attempt| attempt.number);
        ensure!(numbers.eq(1..=outcome.attempts), "attempts are missing");
        if !self.repeats {
            ensure!(got <= attempts.len(), "more requests than attempts");
            let mut pairs = attempts.iter().zip(attempts.iter().skip(1));
            ensure!(
                pairs.all(|(a, b)| a.reason.is_some() || b.trigger == Trigger::Redrive),
                "sent again after it was delivered"
            );
        }
        Ok(())
    }

    async fn stored(&self) -> Result<BTreeMap<EventId, EventRecord>> {
        let mut query = EventQuery {
            limit: 200,
            scan_max: 100_000,
            ..EventQuery::default()
        };
        let mut stored = BTreeMap::new();
        loop {
            let page = self.rig.store.list_events(&query).await?;
            stored.extend(page.items.into_iter().map(|one| (one.id, one)));
            match page.next {
                Some(next) => query.before = Some(next),
                None => return Ok(stored),
            }
        }
    }
}

async fn history(seed: u64) -> Result<()> {
    let mut history = History::begin(seed).await?;
    for _ in 0..STEPS {
        history.step().await?;
    }
    history.end().await?;
    history.check().await
}

fn seeds() -> std::ops::RangeInclusive<u64> {
    let asked = std::env::var("BELFRY_SEEDS").unwrap_or_default();
    let (first, last) = asked.split_once('-').unwrap_or(("1", &asked));
    first.parse().unwrap_or(1)..=last.parse().unwrap_or(SEEDS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_happens_every_accepted_event_ends_for_each_of_its_targets() -> Result<()> {
    let mut failed: Vec<String> = futures_util::stream::iter(seeds())
        .map(async |seed| (seed, Box::pin(history(seed)).await))
        .buffer_unordered(BESIDE)
        .filter_map(async |(seed, result)| {
            let error = result.err()?;
            Some(format!("seed {seed}: {error:#}"))
        })
        .collect()
        .await;
    failed.sort();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}
