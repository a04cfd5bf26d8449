//! Alarms on their way to people: what a vendor's limit, a storm, a group and the life of an alarm make of them.
//!
//! Bots without a network, in paused time; each counts what it gets as a strict vendor would: a request too many is
//! refused and remembered.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use belfry_alarm::Silence;
use belfry_egress::{EgressClient, EgressLimits, EgressPolicy, SystemResolver};
use belfry_engine::{
    AcceptContext, Collaborators, Engine, EngineSettings, Parsed, ReadDocument, SystemRandom,
};
use belfry_model::config::{Document, Schedule, TargetSpec};
use belfry_model::delivery::{DeliveryStatus, Reason};
use belfry_model::{AlarmId, Clock, DeliveryId, Event, EventId, FieldError, TargetId};
use belfry_store::{
    Change, ConfigStore as _, DeliveryQueue as _, DocumentPlace, Expect, Outcome, Store, Told,
};
use belfry_targets::{
    AlarmLife, Attempted, Channel, ChannelLimit, ConnectContext, GeneratedSecret, Job, LabelPair,
    Part, Target, TargetKind, Verdict,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::flaky::Flaky;
use crate::rig::{Clear, event, prepare};
use crate::settings;
use crate::simulation::maps::Maps;

/// What a strict vendor allows.
const ALLOWED: usize = 20;
const MINUTE_MS: i64 = 60_000;

thread_local! {
    static HERE: RefCell<Option<Arc<Vendor>>> = const { RefCell::new(None) };
}

#[derive(Debug)]
pub(crate) struct Paused(pub(crate) Instant);

impl Clock for Paused {
    fn now_ms(&self) -> i64 {
        1_763_700_000_000 + i64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

/// A message that a bot got.
#[derive(Debug, Clone)]
struct Message {
    at_ms: i64,
    bot: String,
    target: String,
    delivery: DeliveryId,
    /// The ids of its events, the carrying one first.
    events: Vec<String>,
    digest: bool,
    alarm: Option<AlarmLife>,
    progress: Option<String>,
}

/// Everything that bots are and got.
struct Vendor {
    clock: Arc<Paused>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    messages: Vec<Message>,
    /// What is answered next, by bot; then everything is taken.
    answers: HashMap<String, VecDeque<Attempted>>,
    /// Requests that a vendor would have refused for their number.
    too_many: usize,
}

impl Vendor {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn messages(&self) -> Vec<Message> {
        self.state().messages.clone()
    }

    fn answer(&self, bot: &str, answers: impl IntoIterator<Item = Attempted>) {
        let mut state = self.state();
        let queue = state.answers.entry(bot.to_owned()).or_default();
        queue.extend(answers);
    }
}

fn says(verdict: Verdict) -> Attempted {
    Attempted {
        status: Some(200),
        ..Attempted::unsent(verdict)
    }
}

fn refuses(reason: Reason) -> Attempted {
    let detail = "the vendor says no".to_owned();
    says(Verdict::Permanent { reason, detail })
}

fn fails(reason: Reason, retry_after_ms: Option<u64>) -> Attempted {
    says(Verdict::Retry {
        reason,
        detail: "not now".to_owned(),
        retry_after_ms,
    })
}

fn more(progress: &str) -> Attempted {
    let detail = format!("{progress} is done");
    Attempted {
        progress: Some(progress.to_owned()),
        ..says(Verdict::More { detail })
    }
}

struct BotKind;

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape that the engine asks for"
)]
fn find_kind(_name: &str) -> Result<&'static dyn TargetKind, FieldError> {
    Ok(&BotKind)
}

impl TargetKind for BotKind {
    fn name(&self) -> &'static str {
        "bot"
    }
    fn title(&self) -> LabelPair {
        ("bot", "bot")
    }
    fn about(&self) -> LabelPair {
        ("bot", "bot")
    }
    fn schema(&self) -> Value {
        json!({})
    }
    fn example(&self) -> Value {
        json!({})
    }
    fn secret_pointers(&self, _settings: &Value) -> Vec<String> {
        Vec::new()
    }
    fn shown_to(&self, _settings: &Value, _pointer: &str) -> Option<String> {
        None
    }
    fn default_schedule(&self) -> Schedule {
        Schedule::Alarm
    }
    fn default_retry_on_4xx(&self) -> bool {
        false
    }
    fn prepare(&self, _settings: &mut Value, _existing: Option<&Value>) -> Vec<GeneratedSecret> {
        Vec::new()
    }
    fn validate(&self, _settings: &Value, _egress: &EgressClient) -> Vec<FieldError> {
        Vec::new()
    }
    fn connect(
        &self,
        settings: Value,
        _context: &ConnectContext,
    ) -> Result<Arc<dyn Target>, Vec<FieldError>> {
        let bot = |name: &str, limited| Bot {
            vendor: HERE.with_borrow(Clone::clone).unwrap(),
            name: name.to_owned(),
            folds: settings["folds"] != false,
            limited,
        };
        if let Some(name) = settings["bot"].as_str() {
            return Ok(Arc::new(bot(name, settings["limited"] != false)));
        }
        let parts = settings["parts"].as_object().unwrap().iter();
        let parts = parts.map(|(name, limited)| bot(name, *limited == true));
        Ok(Arc::new(Policy(parts.collect())))
    }
}

/// A target of several bots, each of which gets every message; the parts that are done stand in the progress.
struct Policy(Vec<Bot>);

impl Policy {
    fn left(&self, progress: Option<&str>) -> impl Iterator<Item = &Bot> {
        let done = progress.unwrap_or_default().to_owned();
        self.0.iter().filter(move |bot| !done.contains(&bot.mark()))
    }
}

#[async_trait]
impl Target for Policy {
    fn timeout(&self) -> Duration {
        Duration::from_secs(10)
    }
    fn channels(&self) -> Vec<Channel> {
        self.0.iter().filter_map(Target::channel).collect()
    }
    fn next_part(
        &self,
        _event: &Event,
        progress: Option<&str>,
        wait_ms: &(dyn Fn(&[u8; 16]) -> i64 + Sync),
    ) -> Part {
        let key = |bot: &Bot| bot.channel().map(|channel| channel.key);
        let wait = |bot: &&Bot| key(bot).map_or(0, |key| wait_ms(&key));
        let next = self.left(progress).min_by_key(wait);
        let done = self.0.iter().enumerate();
        let done = done.filter(|(_, bot)| progress.is_some_and(|done| done.contains(&bot.mark())));
        Part {
            channel: next.and_then(key),
            done: done.fold(0, |bits, (n, _)| bits | 1 << n),
        }
    }
    fn folds(&self) -> bool {
        true
    }
    async fn deliver(&self, job: &Job<'_>) -> Attempted {
        let permitted = |bot: &&Bot| bot.channel().map(|channel| channel.key) == job.channel;
        let bot = self.left(job.progress).find(permitted).unwrap();
        let made = bot.deliver(job).await;
        let throttled = made.verdict.throttled();
        let mut done = job.progress.unwrap_or_default().to_owned();
        if made.verdict == Verdict::Delivered {
            done.push_str(&bot.mark());
        }
        let verdict = if self.left(Some(&done)).next().is_none() {
            Verdict::Delivered
        } else {
            let detail = format!("done: {done}");
            Verdict::More { detail }
        };
        Attempted {
            progress: Some(done),
            throttled,
            ..says(verdict)
        }
    }
}

struct Bot {
    vendor: Arc<Vendor>,
    name: String,
    folds: bool,
    limited: bool,
}

impl Bot {
    /// How it stands among those that are done.
    fn mark(&self) -> String {
        format!("{};", self.name)
    }
}

#[async_trait]
impl Target for Bot {
    fn timeout(&self) -> Duration {
        Duration::from_secs(10)
    }
    fn channel(&self) -> Option<Channel> {
        let mut key = [0; 16];
        for (place, byte) in key.iter_mut().zip(self.name.bytes()) {
            *place = byte;
        }
        let limit = ChannelLimit {
            permits: 15,
            per: Duration::from_mins(1),
            burst: 5,
        };
        self.limited.then_some(Channel { key, limit })
    }
    fn folds(&self) -> bool {
        self.folds
    }
    async fn deliver(&self, job: &Job<'_>) -> Attempted {
        tokio::time::sleep(Duration::from_millis(120)).await;
        let at_ms = self.vendor.clock.now_ms();
        let folded = job.folded.iter().map(|folded| &folded.event);
        let events = std::iter::once(job.event).chain(folded);
        let mut state = self.vendor.state();
        let earlier = state
            .messages
            .iter()
            .filter(|message| message.bot == self.name && at_ms - message.at_ms < MINUTE_MS);
        if self.limited && earlier.count() >= ALLOWED {
            state.too_many += 1;
        }
        let message = Message {
            at_ms,
            bot: self.name.clone(),
            target: job.target.to_owned(),
            delivery: job.delivery,
            events: events.map(|event| event.id().to_owned()).collect(),
            digest: job.digest,
            alarm: job.alarm.cloned(),
            progress: job.progress.map(str::to_owned),
        };
        state.messages.push(message);
        let thread = Some(format!("thread of {}", job.event.id()));
        let planned = state.answers.get_mut(&self.name);
        planned
            .and_then(VecDeque::pop_front)
            .unwrap_or_else(|| Attempted {
                thread,
                ..says(Verdict::Delivered)
            })
    }
}

struct Silences;

impl ReadDocument for Silences {
    fn read(&self, document: &Document) -> Result<Parsed, String> {
        let silence: Silence =
            serde_json::from_value(document.spec.clone()).map_err(|error| error.to_string())?;
        let quiet = silence.compile().map_err(|errors| format!("{errors:?}"))?;
        Ok(Arc::new(quiet))
    }
}

/// An engine with bots.
struct Town {
    maps: Arc<Maps>,
    flaky: Arc<Flaky>,
    vendor: Arc<Vendor>,
    engine: Engine,
}

async fn start(maps: &Arc<Maps>, vendor: &Arc<Vendor>) -> Result<(Engine, Arc<Flaky>)> {
    let (policy, limits) = (EgressPolicy::permissive(), EgressLimits::default());
    let egress = EgressClient::new(policy, limits, Arc::new(SystemResolver))?;
    let flaky = Flaky::new(maps.clone());
    let with = Collaborators {
        store: flaky.clone(),
        clock: vendor.clock.clone(),
        random: Arc::new(SystemRandom),
        kinds: find_kind,
        unseal: Arc::new(Clear),
        documents: Arc::new(Silences),
        templates: Arc::new(belfry_eval::Templates::none()),
        connect: Arc::new(ConnectContext {
            egress: Arc::new(egress),
            clock: vendor.clock.clone(),
            user_agent: "tests".to_owned(),
            directory: Arc::new(belfry_targets::NoDirectory),
            functions: Arc::new(belfry_functions::NoFunctions),
        }),
    };
    let settings = EngineSettings {
        sweep_every: Duration::from_hours(1),
        ..settings()
    };
    Ok((Engine::start(with, settings).await?, flaky))
}

impl Town {
    async fn begin() -> Result<Self> {
        let vendor = Arc::new(Vendor {
            clock: Arc::new(Paused(Instant::now())),
            state: Mutex::default(),
        });
        HERE.set(Some(vendor.clone()));
        let maps = Arc::new(Maps::default());
        prepare(&*maps as &dyn Store).await?;
        let (engine, flaky) = start(&maps, &vendor).await?;
        Ok(Self {
            maps,
            flaky,
            vendor,
            engine,
        })
    }

    /// The process is killed and started again.
    async fn crash(&mut self) -> Result<()> {
        self.flaky.kill();
        (self.engine, self.flaky) = start(&self.maps, &self.vendor).await?;
        Ok(())
    }

    async fn target(&self, name: &str, settings: Value, more: Value) -> Result<TargetId> {
        let mut spec = json!({"type": "bot", "settings": settings});
        if let (Some(members), Value::Object(more)) = (spec.as_object_mut(), more) {
            members.extend(more);
        }
        let spec: TargetSpec = serde_json::from_value(spec)?;
        ensure!(spec.check().is_empty(), "{:?}", spec.check());
        let change = Change::PutTarget {
            bus: "default".parse()?,
            rule: "all".parse()?,
            name: name.parse()?,
            spec: Box::new(spec),
            expect: Expect::Absent,
        };
        self.maps.apply(&[change], &[], None, 1).await?;
        self.engine.reload().await?;
        let config = self.maps.load_config().await?;
        let found = config
            .targets
            .iter()
            .find(|target| target.name.as_str() == name);
        found.map(|target| target.id).context("the target")
    }

    async fn silence(&self, name: &str, spec: Value) -> Result<()> {
        let place = DocumentPlace {
            kind: Silence::KIND.to_owned(),
            bus: Some("default".parse()?),
            name: name.parse()?,
        };
        let change = Change::PutDocument {
            place,
            spec,
            expect: Expect::Absent,
        };
        self.maps.apply(&[change], &[], None, 1).await?;
        Ok(self.engine.reload().await?)
    }

    async fn post(&self, documents: Vec<Value>) -> Result<Vec<EventId>> {
        let events = documents.iter().map(event).collect();
        let bus = "default".parse()?;
        let accepted = self
            .engine
            .accept(&bus, events, AcceptContext::default())
            .await?;
        Ok(accepted.into_iter().map(|one| one.event_uid).collect())
    }

    fn outcome(&self, event: EventId, target: TargetId) -> Outcome {
        let rows = self.maps.rows();
        rows.outcomes[&DeliveryId { event, target }].clone()
    }

    fn attempts(&self, event: EventId, target: TargetId) -> usize {
        let delivery = DeliveryId { event, target };
        let rows = self.maps.rows();
        rows.attempts
            .keys()
            .filter(|(of, _)| *of == delivery)
            .count()
    }

    fn told(&self, target: TargetId) -> Vec<Told> {
        let rows = self.maps.rows();
        let all = rows.told.values().filter(|told| told.target == target);
        all.cloned().collect()
    }

    /// How the deliveries of a target stand.
    fn count(&self, target: TargetId) -> BTreeMap<(&'static str, Option<&'static str>), usize> {
        let mut count = BTreeMap::new();
        for (delivery, outcome) in &self.maps.rows().outcomes {
            if delivery.target == target {
                let reason = outcome.reason.map(Reason::as_str);
                *count.entry((outcome.status.as_str(), reason)).or_default() += 1;
            }
        }
        count
    }

    /// Lets time pass until nothing of a target waits any more, `limit` at most.
    async fn settle(&self, target: TargetId, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.engine.flush().await;
            let open = self
                .maps
                .rows()
                .pending
                .keys()
                .any(|id| id.target == target);
            if !open {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < limit,
                "still waiting: {:?}",
                self.count(target)
            );
        }
    }
}

fn alarm(id: &str, key: &str, severity: &str, status: &str) -> Value {
    json!({
        "id": id, "source": "tests", "type": "disk.full", "severity": severity, "status": status, "alarmkey": key, "data": {},
    })
}

fn delivered(count: usize) -> BTreeMap<(&'static str, Option<&'static str>), usize> {
    BTreeMap::from([(("delivered", None), count)])
}

#[tokio::test(start_paused = true)]
async fn a_storm_exceeds_no_limit_loses_nothing_and_criticals_come_first() -> Result<()> {
    let town = Town::begin().await?;
    let target = town.target("bot", json!({"bot": "a"}), json!({})).await?;
    let storm = (0..60).map(|n| {
        let severity = if n % 4 == 3 { "critical" } else { "warning" };
        alarm(&n.to_string(), &format!("k{n}"), severity, "1")
    });
    let ids = town.post(storm.collect()).await?;
    town.settle(target, Duration::from_mins(5)).await?;
    assert_eq!(town.vendor.state().too_many, 0);
    assert_eq!(town.count(target), delivered(60));
    let messages = town.vendor.messages();
    let criticals: Vec<_> = (0..60).filter(|n| n % 4 == 3).collect();
    for (message, n) in messages.iter().zip(&criticals) {
        assert_eq!(message.events, [n.to_string()], "one by one, in order");
        assert!(!message.digest);
    }
    assert_eq!(messages.len(), criticals.len() + 1, "{messages:#?}");
    let digest = messages.last().unwrap();
    assert!(digest.digest);
    assert_eq!(digest.events.len(), 45);
    // Whoever looks at one of the others finds the message that told of it.
    let folded = town.outcome(ids[10], target);
    assert_eq!(folded.attempts, 0);
    let detail = format!("in the message of {}", digest.delivery);
    assert_eq!(folded.detail.as_deref(), Some(&*detail));
    assert_eq!(town.attempts(ids[10], target), 0);
    assert_eq!(town.told(target).len(), 60);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_part_waits_for_its_own_bot_with_whoever_else_uses_it() -> Result<()> {
    let town = Town::begin().await?;
    let alone = town.target("alone", json!({"bot": "a"}), json!({})).await?;
    let parts = json!({"parts": {"a": true, "mail": false}});
    let both = town.target("both", parts, json!({})).await?;
    // A throttle of the one keeps nothing of the other.
    town.vendor
        .answer("a", [fails(Reason::RateLimited, Some(60_000))]);
    let begun_ms = town.vendor.clock.now_ms();
    let few = (0..9).map(|n| alarm(&n.to_string(), &format!("k{n}"), "critical", "1"));
    town.post(few.collect()).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let messages = town.vendor.messages();
    let mails = messages.iter().filter(|message| message.bot == "mail");
    assert_eq!(mails.count(), 9, "{messages:#?}");
    assert_eq!(messages.len(), 10);
    let storm = (10..70).map(|n| {
        let severity = if n % 4 == 3 { "critical" } else { "warning" };
        alarm(&n.to_string(), &format!("k{n}"), severity, "1")
    });
    town.post(storm.collect()).await?;
    town.settle(both, Duration::from_mins(15)).await?;
    town.settle(alone, Duration::from_mins(15)).await?;
    assert_eq!(town.vendor.state().too_many, 0);
    for target in [alone, both] {
        assert_eq!(town.count(target), delivered(69));
    }
    let messages = town.vendor.messages();
    for (target, bot) in [("alone", "a"), ("both", "a"), ("both", "mail")] {
        let mut told = BTreeMap::new();
        for message in &messages {
            if message.target == target && message.bot == bot {
                for event in &message.events {
                    *told.entry(event.clone()).or_insert(0) += 1;
                }
            }
        }
        assert_eq!(told.len(), 69, "{target} {bot}");
        let twice: Vec<_> = told.iter().filter(|(_, count)| **count > 1).collect();
        let refused = usize::from(bot == "a");
        assert!(twice.len() <= refused, "{target} {bot}: {twice:?}");
    }
    let first_of_a = messages.iter().filter(|message| message.bot == "a").nth(1);
    assert!(first_of_a.unwrap().at_ms >= begun_ms + 60_000);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn of_two_busy_bots_a_part_waits_for_the_one_that_is_free_sooner() -> Result<()> {
    let town = Town::begin().await?;
    let long = town.target("long", json!({"bot": "a"}), json!({})).await?;
    let storm = (0..9).map(|n| alarm(&n.to_string(), &format!("k{n}"), "critical", "1"));
    town.post(storm.collect()).await?;
    // It has its last permit just gone.
    let short = town.target("short", json!({"bot": "b"}), json!({})).await?;
    let few = (9..12).map(|n| alarm(&n.to_string(), &format!("k{n}"), "critical", "1"));
    town.post(few.collect()).await?;
    let parts = json!({"parts": {"a": true, "b": true}});
    let both = town.target("both", parts, json!({})).await?;
    let begun_ms = town.vendor.clock.now_ms();
    town.post(vec![alarm("12", "k12", "warning", "1")]).await?;
    for target in [long, short, both] {
        town.settle(target, Duration::from_mins(15)).await?;
    }
    let messages = town.vendor.messages();
    let own = messages.iter().filter(|message| message.target == "both");
    let own: Vec<_> = own
        .map(|message| (&*message.bot, message.at_ms - begun_ms))
        .collect();
    assert_eq!(own.len(), 2, "{messages:#?}");
    assert_eq!(own[0].0, "b", "{own:?}");
    assert!(own[0].1 < 30_000 && own[1].1 > 40_000, "{own:?}");
    assert_eq!(town.vendor.state().too_many, 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_channel_says_so_and_is_no_busy_loop() -> Result<()> {
    let town = Town::begin().await?;
    let target = town.target("bot", json!({"bot": "a"}), json!({})).await?;
    let few = (0..8).map(|n| alarm(&n.to_string(), &format!("k{n}"), "error", "1"));
    let ids = town.post(few.collect()).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    town.engine.flush().await;
    let waiting = town.outcome(ids[7], target);
    assert_eq!(waiting.status, DeliveryStatus::Queued);
    assert_eq!(waiting.reason, Some(Reason::ChannelLimit));
    let before = town.flaky.claimed();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(town.flaky.claimed() - before < 5);
    town.settle(target, Duration::from_mins(1)).await?;
    let messages = town.vendor.messages();
    let order: Vec<_> = messages
        .iter()
        .map(|message| message.events[0].clone())
        .collect();
    assert_eq!(order, (0..8).map(|n| n.to_string()).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_throttle_pauses_everything_that_uses_the_bot() -> Result<()> {
    let town = Town::begin().await?;
    let one = town.target("one", json!({"bot": "a"}), json!({})).await?;
    let two = town.target("two", json!({"bot": "a"}), json!({})).await?;
    let other = town.target("other", json!({"bot": "b"}), json!({})).await?;
    town.vendor.answer(
        "a",
        [
            says(Verdict::Delivered),
            fails(Reason::RateLimited, Some(600_000)),
        ],
    );
    for n in 0..3 {
        town.post(vec![alarm(&n.to_string(), &format!("k{n}"), "error", "1")])
            .await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    for target in [one, two, other] {
        town.settle(target, Duration::from_mins(30)).await?;
        assert_eq!(town.count(target), delivered(3));
    }
    let messages = town.vendor.messages();
    let of_bot: Vec<_> = messages
        .iter()
        .filter(|message| message.bot == "a")
        .collect();
    let throttled_at = of_bot[1].at_ms;
    for message in &of_bot[2..] {
        assert!(message.at_ms >= throttled_at + 600_000, "{message:?}");
    }
    assert!(of_bot.iter().any(|message| message.target == "two"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_waits_by_itself_holds_nobody_else_up() -> Result<()> {
    let town = Town::begin().await?;
    let target = town.target("bot", json!({"bot": "a"}), json!({})).await?;
    let later = |reason| {
        says(Verdict::Later {
            reason,
            detail: "not now".to_owned(),
            wait_ms: 600_000,
        })
    };
    // So often that a circuit would have opened long ago.
    town.vendor
        .answer("a", (0..20).map(|_| later(Reason::ProviderRejected)));
    let one = |n: usize| alarm(&n.to_string(), &format!("k{n}"), "error", "1");
    for n in 0..20 {
        town.post(vec![one(n)]).await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let note = "1 of 2 reached".to_owned();
    town.vendor.answer(
        "a",
        [Attempted {
            note: Some(note.clone()),
            ..says(Verdict::Delivered)
        }],
    );
    let last = town.post(vec![one(20)]).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let outcome = town.outcome(last[0], target);
    assert_eq!(outcome.status, DeliveryStatus::Delivered);
    assert_eq!(outcome.detail, Some(note));
    town.settle(target, Duration::from_hours(1)).await?;
    assert_eq!(town.count(target), delivered(21));
    let messages = town.vendor.messages();
    let of_first: Vec<i64> = messages
        .iter()
        .filter(|message| message.events[0] == "0")
        .map(|message| message.at_ms)
        .collect();
    assert_eq!(of_first.len(), 2);
    assert!(of_first[1] >= of_first[0] + 600_000);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_is_tried_once_and_three_wrong_settings_disable() -> Result<()> {
    let town = Town::begin().await?;
    let target = town.target("bot", json!({"bot": "a"}), json!({})).await?;
    let wrong = || refuses(Reason::Misconfigured);
    town.vendor.answer(
        "a",
        [
            refuses(Reason::ProviderRejected),
            wrong(),
            wrong(),
            says(Verdict::Delivered),
            wrong(),
            wrong(),
            wrong(),
        ],
    );
    let mut ids = Vec::new();
    for n in 0..9 {
        let one = alarm(&n.to_string(), &format!("k{n}"), "error", "1");
        ids.extend(town.post(vec![one]).await?);
        town.settle(target, Duration::from_mins(1)).await?;
    }
    assert_eq!(town.vendor.messages().len(), 7);
    for (n, id) in ids.iter().enumerate() {
        let outcome = town.outcome(*id, target);
        let (status, reason) = match n {
            0 => (DeliveryStatus::Dead, Some(Reason::ProviderRejected)),
            3 => (DeliveryStatus::Delivered, None),
            7 | 8 => (DeliveryStatus::Skipped, Some(Reason::TargetDisabled)),
            _ => (DeliveryStatus::Dead, Some(Reason::Misconfigured)),
        };
        assert_eq!((outcome.status, outcome.reason), (status, reason), "{n}");
    }
    let kinds: Vec<_> = town
        .maps
        .rows()
        .events
        .values()
        .map(|new| new.event.kind().to_owned())
        .collect();
    assert!(
        kinds.contains(&"belfry.target.disabled".to_owned()),
        "{kinds:?}"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_delivery_in_parts_goes_on_where_it_stands_also_after_a_crash() -> Result<()> {
    let mut town = Town::begin().await?;
    let once = json!({"retry": {"schedule": "none"}});
    let target = town
        .target(
            "bot",
            json!({"bot": "a", "limited": false, "folds": false}),
            once,
        )
        .await?;
    // The second part is answered twice: to the process that dies, and to the next one.
    let parts = [more("mail"), more("mail,sms"), more("mail,sms")];
    town.vendor.answer("a", parts);
    let ids = town
        .post(vec![json!({"id": "1", "source": "tests", "type": "t"})])
        .await?;
    // The second part is under way.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(town.vendor.messages().len(), 1);
    town.crash().await?;
    town.settle(target, Duration::from_mins(5)).await?;
    let progress: Vec<_> = town
        .vendor
        .messages()
        .into_iter()
        .map(|message| message.progress)
        .collect();
    let part = |text: &str| Some(text.to_owned());
    // Of the part under way nobody knows what came; no other is repeated.
    assert_eq!(
        progress,
        [None, part("mail"), part("mail"), part("mail,sms")]
    );
    let outcome = town.outcome(ids[0], target);
    assert_eq!(outcome.status, DeliveryStatus::Delivered);
    assert_eq!(town.attempts(ids[0], target), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn repeats_are_kept_back_and_the_recovery_goes_to_those_who_were_told() -> Result<()> {
    let town = Town::begin().await?;
    let wishes = json!({"alarms": {"repeatSeconds": 600, "minSeverity": "warning"}});
    let choosy = town.target("choosy", json!({"bot": "a"}), wishes).await?;
    let all = town.target("all", json!({"bot": "b"}), json!({})).await?;
    let worse = json!({"alarms": {"minSeverity": "critical"}});
    let never = town.target("never", json!({"bot": "c"}), worse).await?;
    let steps = [
        ("1", "error", "1", 10),
        ("2", "error", "1", 60),
        ("3", "critical", "1", 60),
        ("4", "critical", "1", 900),
        ("5", "critical", "1", 10),
        ("6", "critical", "0", 10),
        ("7", "critical", "0", 10),
    ];
    let mut ids = Vec::new();
    for (id, severity, status, wait) in steps {
        ids.extend(town.post(vec![alarm(id, "k", severity, status)]).await?);
        tokio::time::sleep(Duration::from_secs(wait)).await;
    }
    for target in [choosy, all, never] {
        town.settle(target, Duration::from_mins(5)).await?;
    }
    let of = |name: &str| -> Vec<String> {
        let messages = town.vendor.messages().into_iter();
        let its = messages.filter(|message| message.target == name);
        its.map(|message| message.events[0].clone()).collect()
    };
    assert_eq!(of("all"), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(of("choosy"), ["1", "3", "5", "6"]);
    assert_eq!(of("never"), ["3", "6"]);
    let why = |target, n: usize| town.outcome(ids[n], target).reason;
    assert_eq!(why(choosy, 1), Some(Reason::AlarmRepeat));
    assert_eq!(why(never, 0), Some(Reason::BelowSeverity));
    assert_eq!(why(all, 6), Some(Reason::AlarmRepeat));
    // Messages know of each other.
    let messages = town.vendor.messages();
    let last = messages.iter().rfind(|message| message.target == "choosy");
    let life = last.unwrap().alarm.clone().unwrap();
    assert_eq!(life.count, 5);
    assert_eq!(life.thread.as_deref(), Some("thread of 1"));
    let told = town.told(choosy);
    assert_eq!((told[0].count, told[0].firing), (4, false));
    assert_eq!(told[0].alarm, AlarmId(ids[0]));
    let rows = town.maps.rows();
    let (_, record) = rows.alarms.first_key_value().unwrap();
    assert_eq!((record.firing, record.fired), (false, 5));
    assert_eq!(record.recovered, Some(ids[5]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_over_before_it_was_sent_is_not_told_at_all() -> Result<()> {
    let town = Town::begin().await?;
    let target = town.target("bot", json!({"bot": "a"}), json!({})).await?;
    // The bot is busy for a while.
    let few = (0..4).map(|n| alarm(&n.to_string(), &format!("k{n}"), "error", "1"));
    town.post(few.collect()).await?;
    let ids = town.post(vec![alarm("5", "short", "error", "1")]).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let over = town.post(vec![alarm("6", "short", "error", "0")]).await?;
    town.settle(target, Duration::from_mins(5)).await?;
    assert_eq!(town.vendor.messages().len(), 4);
    for id in [ids[0], over[0]] {
        let outcome = town.outcome(id, target);
        assert_eq!(outcome.status, DeliveryStatus::Skipped);
        assert_eq!(outcome.reason, Some(Reason::AlarmNotTold), "{outcome:?}");
    }
    let detail = town.outcome(ids[0], target).detail;
    assert_eq!(detail.as_deref(), Some("recovered before it was sent"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_fails_puts_everything_back() -> Result<()> {
    let town = Town::begin().await?;
    let target = town.target("bot", json!({"bot": "a"}), json!({})).await?;
    town.vendor.answer("a", [fails(Reason::Http5xx, None)]);
    let storm = (0..40).map(|n| alarm(&n.to_string(), &format!("k{n}"), "warning", "1"));
    let ids = town.post(storm.collect()).await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    town.engine.flush().await;
    assert_eq!(town.vendor.messages().len(), 1);
    assert_eq!(
        town.count(target),
        BTreeMap::from([(("retrying", Some("http_5xx")), 40)])
    );
    town.settle(target, Duration::from_mins(5)).await?;
    assert_eq!(town.count(target), delivered(40));
    let messages = town.vendor.messages();
    assert_eq!(messages.len(), 2, "{messages:#?}");
    assert_eq!(messages[1].events.len(), 40);
    assert_eq!(town.attempts(ids[0], target), 2);
    assert_eq!(town.attempts(ids[1], target), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_group_is_told_of_in_one_message_and_a_crash_loses_none_of_it() -> Result<()> {
    let mut town = Town::begin().await?;
    let wishes = json!({"alarms": {"groupBy": ["type", "region"], "groupWaitSeconds": 30, "groupIntervalSeconds": 120}});
    let target = town.target("bot", json!({"bot": "a"}), wishes).await?;
    let in_region = |id: &str, region: &str, status: &str| {
        let mut one = alarm(id, id.trim_start_matches('x'), "error", status);
        one["region"] = region.into();
        one
    };
    let begun_ms = town.vendor.clock.now_ms();
    let ids = town
        .post(vec![
            in_region("1", "gz", "1"),
            in_region("2", "bj", "1"),
            in_region("3", "gz", "1"),
        ])
        .await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    town.engine.flush().await;
    assert_eq!(town.outcome(ids[0], target).reason, Some(Reason::Grouped));
    town.crash().await?;
    town.post(vec![in_region("4", "gz", "1")]).await?;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let mut groups: Vec<_> = town
        .vendor
        .messages()
        .into_iter()
        .map(|message| (message.events, message.digest))
        .collect();
    groups.sort();
    let gz: usize = groups
        .iter()
        .filter(|(events, _)| !events.contains(&"2".to_owned()))
        .map(|(events, _)| events.len())
        .sum();
    assert_eq!(gz, 3, "{groups:?}");
    assert!(
        groups.contains(&(vec!["2".to_owned()], false)),
        "{groups:?}"
    );
    let first = town.vendor.messages()[0].at_ms;
    assert!(first - begun_ms >= 30_000);
    // What comes next, ends among it, waits for the interval.
    let next_ms = town.vendor.clock.now_ms();
    town.post(vec![in_region("x1", "gz", "0"), in_region("5", "gz", "1")])
        .await?;
    town.settle(target, Duration::from_mins(5)).await?;
    let last = town.vendor.messages().pop().unwrap();
    assert!(last.at_ms - next_ms > 30_000, "{last:?}");
    let mut events = last.events;
    events.sort();
    assert_eq!(events, ["5", "x1"]);
    assert_eq!(town.count(target), delivered(6));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_a_storm_tells_of_everything() -> Result<()> {
    let mut town = Town::begin().await?;
    let target = town.target("bot", json!({"bot": "a"}), json!({})).await?;
    let storm = (0..60).map(|n| {
        let severity = if n % 4 == 3 { "critical" } else { "warning" };
        alarm(&n.to_string(), &format!("k{n}"), severity, "1")
    });
    town.post(storm.collect()).await?;
    tokio::time::sleep(Duration::from_secs(15)).await;
    town.crash().await?;
    // Bots do not know that a process has died: the limit holds over it.
    town.settle(target, Duration::from_mins(10)).await?;
    assert_eq!(town.count(target), delivered(60));
    let due = town.maps.next_due(&[target]).await?;
    assert!(due.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn events_that_are_no_alarms_go_through_a_channel_too() -> Result<()> {
    let town = Town::begin().await?;
    let target = town
        .target("bot", json!({"bot": "a", "folds": false}), json!({}))
        .await?;
    let plain = (0..30).map(|n| json!({"id": n.to_string(), "source": "tests", "type": "t"}));
    town.post(plain.collect()).await?;
    tokio::time::sleep(Duration::from_mins(4)).await;
    town.engine.flush().await;
    assert_eq!(town.vendor.state().too_many, 0);
    assert_eq!(town.count(target), delivered(30));
    assert_eq!(town.vendor.messages().len(), 30, "each by itself");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_while_a_silence_is_in_force() -> Result<()> {
    let town = Town::begin().await?;
    let target = town.target("bot", json!({"bot": "a"}), json!({})).await?;
    let plain = json!({"bot": "b", "limited": false, "folds": false});
    let machine = town.target("machine", plain, json!({})).await?;
    let ends = town.vendor.clock.now_ms() + 3_600_000;
    let ends = chrono::DateTime::from_timestamp_millis(ends).unwrap();
    town.silence(
        "moving-racks",
        json!({
            "matchers": [{"name": "severity", "op": "=~", "value": "warning|error"}],
            "endsAt": ends.to_rfc3339(), "author": "ops", "comment": "racks",
        }),
    )
    .await?;
    let ids = town
        .post(vec![
            alarm("1", "a", "error", "1"),
            alarm("2", "b", "critical", "1"),
        ])
        .await?;
    town.settle(target, Duration::from_mins(1)).await?;
    let held_back = town.outcome(ids[0], target);
    assert_eq!(held_back.status, DeliveryStatus::Skipped);
    assert_eq!(held_back.reason, Some(Reason::Silenced));
    let detail = held_back.detail.unwrap_or_default();
    assert!(detail.contains("moving-racks"), "{detail}");
    assert_eq!(
        town.outcome(ids[1], target).status,
        DeliveryStatus::Delivered
    );
    // Programs are told of everything.
    town.settle(machine, Duration::from_mins(1)).await?;
    assert_eq!(town.count(machine), delivered(2));
    tokio::time::sleep(Duration::from_hours(1)).await;
    let later = town.post(vec![alarm("3", "a", "error", "1")]).await?;
    town.settle(target, Duration::from_mins(1)).await?;
    assert_eq!(
        town.outcome(later[0], target).status,
        DeliveryStatus::Delivered
    );
    Ok(())
}
