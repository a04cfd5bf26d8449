//! The engine against a model: random histories from a seed, in a world without threads, network, disk or real time.
//!
//! Posts, misbehaving receivers, a failing store, changes of targets, redrives, clean restarts, kills at any moment and
//! leaps of the clock; every step of it, the moments of answers included, follows from the seed. The `world` knows what
//! was promised to whom and holds every commit, claim, recovery and request against it at once; when receivers and store
//! are well again, everything must end.
//!
//! | what is checked | when |
//! |---|---|
//! | what was answered 202 is stored | with the answer |
//! | a delivery ends, or waits, or is above the watermark | with every commit |
//! | what has ended stays as it is until a redrive; a redrive takes only what has ended | with every commit |
//! | delivered: somebody took it, its log entry is there; given up: there is a reason and a dead letter | with every commit |
//! | nothing is sent before it is durable, after it has ended, when it is too old, or more often or sooner than its policy says | with every request |
//! | a delivery is not on the wire twice at once, and not sent again once taken (unless the engine that knew was killed) | with every request |
//! | of a key in order one is on the wire at a time, none while an earlier one waits for a retry, and the receiver takes them in their order | with every request |
//! | a claim takes nothing that is leased | with every claim |
//! | a node sends nothing after it has left or was taken over | with every request |
//! | everything has ended, budgets are back to zero, a next start finds nothing | at the end |
//!
//! It was tried on engines broken by hand; each of these was found within the first ten or so seeds: deliveries handed to
//! their lanes before the commit; a watermark that passes the oldest open event; results dropped when a commit fails; a key that is
//! not set free. A run that goes on past a delivery which waits was found by seed 17; a node that ended as skipped what another
//! was sending, by seeds 25 and 241 of two nodes.
//!
//! Histories run on plain maps; some of them on SQLite with the maps beside it, and both must answer alike; some with two nodes
//! on the same maps, of which one hears nothing of the store for a while, is killed, leaves, is taken over. With two nodes clocks do
//! not leap and no answer gets lost: after either, nobody can tell a mistake from a worker that is out of sight. Replays are not
//! simulated: a step of one is refused or stored with its events by the store alone, and its own tests put crashes and
//! refusals between any two steps.
//!
//! `BELFRY_SIM_SEED=17` repeats one seed and tells its history, `BELFRY_SIM_SEEDS=100000` runs so many.

mod chance;
pub(crate) mod maps;
mod receiver;
mod world;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use belfry_egress::{EgressClient, EgressLimits, EgressPolicy, SystemResolver};
use belfry_engine::{AcceptContext, Collaborators, Engine, EngineSettings, NoDocuments};
use belfry_model::config::{BusSpec, RuleSpec, TargetSpec};
use belfry_model::json::JsonText;
use belfry_model::{Clock as _, DeliveryId, Event};
use belfry_store::{
    Change, ConfigStore as _, DeliveryQueue as _, Expect, History as _, Outcome, SqliteOptions,
    SqliteStore, Store, StoreError,
};
use belfry_targets::ConnectContext;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use self::chance::{Chance, Shared};
use self::maps::{Maps, node_of};
use self::receiver::Manner;
use self::world::{Terms, World};
use crate::flaky::{Fault, Flaky, Watch};
use crate::rig::Clear;
use crate::settings;

const SEEDS: u64 = 2000;
/// Of them on SQLite as well.
const SEEDS_ON_SQLITE: u64 = 20;
const SEEDS_OF_TWO_NODES: u64 = 300;
/// Enough to look at.
const FAILED_MAX: usize = 5;
const STEPS: usize = 32;
const TARGETS: [&str; 3] = ["a", "b", "c"];
/// Longer than any lease.
const END_SECONDS: u32 = 2400;
const STOP: Duration = Duration::from_mins(2);

/// What may happen in a history besides posts, changes, redrives and clean restarts.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent of each other")]
struct Mode {
    /// The store fails and is slow.
    faults: bool,
    /// The store does what it is asked and says that it failed.
    lost: bool,
    kills: bool,
    leaps: bool,
    /// A node hears nothing of the store for a while.
    silence: bool,
}

impl Mode {
    fn of(seed: u64, nodes: usize) -> Self {
        let several = nodes > 1;
        Self {
            silence: several && seed & 2 != 0,
            faults: seed & 1 != 0,
            lost: seed & 3 == 3 && !several,
            kills: seed & 4 != 0,
            leaps: seed.is_multiple_of(5) && !several,
        }
    }
}

fn small(mode: Mode, chance: &mut Chance) -> EngineSettings {
    EngineSettings {
        // Nobody knows what became of the events of a sender that was told to wait no longer.
        answer_timeout: if mode.lost {
            chance.millis(500, 20_000)
        } else {
            Duration::from_hours(1)
        },
        batch_ops_max: chance.count(1, 40),
        lane_deliveries_max: chance.count(1, 8),
        lane_bytes_max: chance.count(200, 4000),
        lanes_bytes_max: chance.count(300, 8000),
        in_flight_max: chance.count(1, 16),
        park_after: chance.millis(10, 3000),
        circuit_failures: u32::try_from(chance.count(1, 5)).unwrap(),
        circuit_open: chance.millis(10, 100),
        circuit_open_max: chance.millis(100, 3000),
        sweep_every: if chance.one_in(2) {
            chance.millis(500, 5000)
        } else {
            Duration::from_hours(1)
        },
        config_poll: chance.millis(500, 5000),
        ..settings()
    }
}

/// Nobody goes out; made once, for it reads certificates.
static NO_WAY_OUT: LazyLock<Arc<EgressClient>> = LazyLock::new(|| {
    let (policy, limits) = (EgressPolicy::permissive(), EgressLimits::default());
    Arc::new(EgressClient::new(policy, limits, Arc::new(SystemResolver)).unwrap())
});

/// An engine, its way to the store, and who waits for its answers.
struct Running {
    life: u64,
    engine: Engine,
    flaky: Arc<Flaky>,
    posted: Vec<JoinHandle<()>>,
}

struct Simulation {
    mode: Mode,
    chance: Chance,
    settings: EngineSettings,
    /// The store without faults.
    store: Arc<Flaky>,
    ground: Ground,
    world: Arc<World>,
    nodes: Vec<Running>,
    lives: u64,
    sent: usize,
}

/// What a history runs on.
#[derive(Clone)]
struct Ground {
    store: Arc<dyn Store>,
    /// A real store works in a runtime of its own, while the simulation waits.
    outside: Option<Arc<Runtime>>,
}

impl Ground {
    fn maps(maps: &Arc<Maps>) -> Self {
        Self {
            store: maps.clone(),
            outside: None,
        }
    }

    fn sqlite() -> Result<Self> {
        let outside = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let store = outside.block_on(SqliteStore::open(SqliteOptions::memory()))?;
        Ok(Self {
            store: Arc::new(store),
            outside: Some(Arc::new(outside)),
        })
    }

    fn way(&self, world: Option<Arc<World>>) -> Arc<Flaky> {
        let watch = world.map(|world| world as Arc<dyn Watch>);
        Flaky::watched(self.store.clone(), self.outside.clone(), watch)
    }
}

impl Running {
    /// Starts an engine; a failing store makes it try again, as a service manager would.
    async fn begin(
        life: u64,
        chance: &mut Chance,
        settings: &EngineSettings,
        ground: &Ground,
        world: &Arc<World>,
    ) -> Result<Self> {
        let flaky = ground.way(Some(world.clone()));
        if chance.one_in(2) {
            let (mut own, most) = (chance.part(), *chance.of_all(&[1, 3, 30]));
            flaky.pace(move || own.millis(0, most));
        }
        world.born(life);
        let with = Collaborators {
            store: flaky.clone(),
            clock: world.clock.clone(),
            random: Arc::new(Shared::new(chance.part())),
            kinds: receiver::find_kind,
            templates: Arc::new(belfry_eval::Templates::none()),
            unseal: Arc::new(Clear),
            documents: Arc::new(NoDocuments),
            connect: Arc::new(ConnectContext {
                egress: NO_WAY_OUT.clone(),
                clock: world.clock.clone(),
                user_agent: life.to_string(),
                directory: Arc::new(belfry_targets::NoDirectory),
                functions: Arc::new(belfry_functions::NoFunctions),
            }),
        };
        let engine = Engine::start(with, settings.clone()).await?;
        world.holds(life, engine.member().node);
        Ok(Self {
            life,
            engine,
            flaky,
            posted: Vec::new(),
        })
    }
}

fn faults(mode: Mode, chance: &mut Chance, world: Arc<World>) -> Box<dyn FnMut() -> Fault + Send> {
    let mut own = chance.part();
    let one_in = 2 + chance.below(6);
    Box::new(move || {
        if !own.one_in(one_in) {
            return Fault::None;
        }
        match own.below(4) {
            0 => Fault::Full,
            1 => Fault::Slow(own.millis(1, 3000)),
            2 if mode.lost => {
                world.loses_an_answer();
                Fault::Lost
            }
            _ => Fault::Unavailable,
        }
    })
}

/// What a target is from now on.
fn spec(name: &str, chance: &mut Chance) -> Result<TargetSpec> {
    let ordinal = TARGETS.iter().position(|one| *one == name).unwrap_or(0);
    let max_age = [30, 3600, 12][ordinal];
    let mut spec = json!({
        "type": receiver::KIND,
        "settings": {
            "name": name,
            "timeoutMs": chance.count(500, 5000),
            "log": ordinal == 1,
        },
        "enabled": !chance.one_in(6),
        "concurrency": chance.count(1, 4),
        "retry": {
            "schedule": "custom", "waitsSeconds": [1, 2, 10],
            "maxAttempts": 1 + ordinal, "maxAgeSeconds": max_age,
        },
    });
    let more = spec.as_object_mut().context("an object")?;
    if chance.one_in(3) {
        more.insert(
            "rateLimit".to_owned(),
            json!({"count": chance.count(1, 20)}),
        );
    }
    if ordinal == 2 {
        more.insert("order".to_owned(), json!({"by": "subject"}));
    }
    if ordinal != 1 {
        more.insert("deadLetter".to_owned(), json!({"bus": "dead"}));
    }
    Ok(serde_json::from_value(spec)?)
}

fn rfc3339(at_ms: i64) -> String {
    let at = chrono::DateTime::from_timestamp_millis(at_ms).unwrap();
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

impl Simulation {
    async fn begin(seed: u64, nodes: usize, ground: Ground, world: Arc<World>) -> Result<Self> {
        let mut chance = Chance::of(seed);
        let mode = Mode::of(seed, nodes);
        let mut settings = small(mode, &mut chance);
        if nodes > 1 {
            settings.node_lease = chance.millis(3000, 12_000);
            // One that has no part of a limit leaves its work to the other's sweep.
            settings.sweep_every = chance.millis(500, 5000);
        }
        let mut simulation = Self {
            mode,
            chance,
            settings,
            store: ground.way(None),
            ground,
            world,
            nodes: Vec::new(),
            lives: 0,
            sent: 0,
        };
        for _ in 0..nodes {
            let node = simulation.born().await?;
            simulation.nodes.push(node);
        }
        simulation.prepare().await?;
        for name in TARGETS {
            simulation.change(name).await?;
            simulation.misbehave(name);
        }
        Ok(simulation)
    }

    async fn born(&mut self) -> Result<Running> {
        self.lives += 1;
        let (ground, world) = (self.ground.clone(), self.world.clone());
        Running::begin(
            self.lives,
            &mut self.chance,
            &self.settings,
            &ground,
            &world,
        )
        .await
    }

    /// One of the nodes.
    fn any(&mut self) -> usize {
        match self.nodes.len() {
            1 => 0,
            all => self.chance.count(0, all as u64 - 1),
        }
    }

    async fn prepare(&mut self) -> Result<()> {
        for name in ["default", "system", "dead"] {
            self.apply(Change::PutBus {
                name: name.parse()?,
                spec: BusSpec::default(),
                expect: Expect::Absent,
            })
            .await?;
        }
        self.apply(Change::PutRule {
            bus: "default".parse()?,
            name: "all".parse()?,
            spec: RuleSpec {
                description: String::new(),
                enabled: true,
                pattern: JsonText::parse(r#"{"source":["tests"]}"#)?,
            },
            expect: Expect::Absent,
        })
        .await?;
        let config = self.store.load_config().await?;
        let dead = config.buses.iter().find(|bus| bus.name.as_str() == "dead");
        self.world.state().dead = dead.map(|bus| bus.id);
        Ok(())
    }

    /// Changes the configuration as another process would.
    async fn apply(&self, change: Change) -> Result<(), StoreError> {
        let now_ms = self.world.clock.now_ms();
        self.store.apply(&[change], &[], None, now_ms).await?;
        Ok(())
    }

    /// Makes a target, changes it, or deletes it; the engine is told, or finds out.
    async fn change(&mut self, name: &'static str) -> Result<()> {
        let spec = spec(name, &mut self.chance)?;
        let config = self.store.load_config().await?;
        let known = config.targets.iter().find(|one| one.name.as_str() == name);
        let (bus, rule) = ("default".parse()?, "all".parse()?);
        let change = match known {
            Some(target) if self.chance.one_in(5) => Change::DeleteTarget {
                bus,
                rule,
                name: target.name.clone(),
                revision: target.revision,
            },
            known => Change::PutTarget {
                bus,
                rule,
                name: name.parse()?,
                spec: Box::new(spec.clone()),
                expect: known.map_or(Expect::Absent, |one| Expect::Revision(one.revision)),
            },
        };
        self.world.note(&format!("change: {change:?}"));
        self.apply(change).await?;
        let config = self.store.load_config().await?;
        let known = config.targets.iter().find(|one| one.name.as_str() == name);
        if let Some(target) = known {
            let concurrency = usize::from(spec.concurrency.unwrap_or(1));
            let mut state = self.world.state();
            let terms = state.terms.entry(target.id).or_insert_with(|| Terms {
                retry: spec.retry.clone().unwrap_or_default(),
                concurrency,
                log: spec.settings["log"] == true,
                dead_letter: spec.dead_letter.is_some(),
            });
            terms.concurrency = terms.concurrency.max(concurrency);
        }
        if self.chance.one_in(2) {
            let told = self.any();
            // It fails while the store does; then the engine looks again by itself. A silent one lets us wait.
            let limit = Duration::from_secs(5);
            drop(tokio::time::timeout(limit, self.nodes[told].engine.reload()).await);
        }
        Ok(())
    }

    fn misbehave(&mut self, name: &str) {
        let manner = Manner::any(&mut self.chance);
        self.world.note(&format!("{name} is {manner:?}"));
        let mut state = self.world.state();
        state.manners.insert(name.to_owned(), manner);
    }

    fn post(&mut self) -> Result<()> {
        let (mut events, mut ids) = (Vec::new(), Vec::new());
        for _ in 0..self.chance.count(1, 4) {
            // Now and then one that was sent before.
            let number = if self.chance.one_in(10) {
                self.chance.below(self.sent as u64 + 1)
            } else {
                self.sent += 1;
                self.sent as u64
            };
            let mut doc = json!({
                "specversion": "1.0", "id": number.to_string(), "source": "tests", "type": "t",
                "data": "x".repeat(self.chance.count(0, 300)),
            });
            if !self.chance.one_in(4) {
                doc["subject"] = format!("key-{}", self.chance.below(3)).into();
            }
            if self.chance.one_in(12) {
                let ends_ms = self.world.clock.now_ms() + self.chance.below(20_000).cast_signed();
                doc["expirytime"] = rfc3339(ends_ms).into();
            }
            ids.push(number.to_string());
            events.push(Event::from_stored(doc.to_string().into())?);
        }
        let to = self.any();
        let (engine, world) = (self.nodes[to].engine.clone(), self.world.clone());
        let bus = "default".parse()?;
        self.nodes[to].posted.push(tokio::spawn(async move {
            let answer = engine.accept(&bus, events, AcceptContext::default()).await;
            world.answered(&ids, &answer);
        }));
        Ok(())
    }

    async fn redrive(&mut self) {
        let all: Vec<DeliveryId> = self.world.maps.rows().outcomes.keys().copied().collect();
        if all.is_empty() {
            return;
        }
        let mut ids = Vec::new();
        for _ in 0..self.chance.count(1, 5) {
            ids.push(*self.chance.of_all(&all));
        }
        let by = self.any();
        let engine = self.nodes[by].engine.clone();
        let limit = self.chance.millis(1, 2000);
        // While results wait for the store it takes as long as they do.
        drop(tokio::time::timeout(limit, engine.redrive(&ids, &[], &[], None)).await);
    }

    async fn restart(&mut self, node: usize, kill: bool) -> Result<()> {
        let (life, flaky) = (self.nodes[node].life, self.nodes[node].flaky.clone());
        if kill {
            flaky.kill();
            self.world.killed(life);
        } else {
            flaky.draw(None);
            flaky.fail_reads(false);
            flaky.silence(false);
            // What waits for the store is to be in it.
            self.nodes[node].engine.flush().await;
            let in_time = self.nodes[node].engine.shutdown(STOP).await;
            ensure!(in_time, "a shutdown took too long");
            flaky.kill();
            self.world.note("a clean end");
        }
        for posted in self.nodes[node].posted.drain(..) {
            // Whoever has no answer yet gets none.
            posted.abort();
        }
        self.nodes[node] = self.born().await?;
        Ok(())
    }

    /// A node that was taken over ends, and its supervisor starts it again.
    async fn supervise(&mut self) -> Result<()> {
        for node in 0..self.nodes.len() {
            if self.nodes[node].engine.is_fenced() {
                self.world.note("a node was fenced");
                self.restart(node, true).await?;
            }
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<()> {
        let name = *self.chance.of_all(&TARGETS);
        self.supervise().await?;
        let node = self.any();
        let flaky = self.nodes[node].flaky.clone();
        match self.chance.below(48) {
            0 => self.change(name).await?,
            1 | 2 => self.misbehave(name),
            3 | 4 => self.redrive().await,
            5 if self.mode.faults => {
                let faults = faults(self.mode, &mut self.chance, self.world.clone());
                flaky.draw(Some(faults));
            }
            6 | 7 => flaky.draw(None),
            8 if self.mode.silence => {
                self.world.note("silence");
                flaky.silence(true);
            }
            8 if self.mode.faults => flaky.fail_reads(true),
            9 | 10 => {
                flaky.fail_reads(false);
                flaky.silence(false);
            }
            11 if self.chance.one_in(3) => self.restart(node, false).await?,
            12 if self.mode.kills => self.restart(node, true).await?,
            13 if self.mode.leaps && self.chance.one_in(3) => {
                let ms = *self
                    .chance
                    .of_all(&[-300_000, -700, 3000, 40_000, 100_000, 7_200_000]);
                self.world.leap(ms);
            }
            14 => tokio::time::sleep(self.chance.millis(1000, 40_000)).await,
            15..=20 => tokio::time::sleep(self.chance.millis(0, 3000)).await,
            21..=29 => tokio::time::sleep(self.chance.millis(0, 20)).await,
            _ => self.post()?,
        }
        Ok(())
    }

    /// Receivers and store are well again: everything ends.
    async fn end(&mut self) -> Result<()> {
        self.world.note("all is well");
        for node in &self.nodes {
            node.flaky.draw(None);
            node.flaky.fail_reads(false);
            node.flaky.silence(false);
        }
        for name in TARGETS {
            let mut state = self.world.state();
            state.manners.insert(name.to_owned(), Manner::WELL);
        }
        for _ in 0..END_SECONDS {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.supervise().await?;
            let idle = self.nodes.iter().all(|node| node.engine.held() == [0; 6]);
            if idle && self.unfinished().is_empty() {
                let mut posted = self.nodes.iter().flat_map(|node| &node.posted);
                let answered = posted.all(JoinHandle::is_finished);
                ensure!(answered, "somebody still waits for an answer");
                return Ok(());
            }
        }
        let engines = self.nodes.iter().map(|node| &node.engine);
        let engines: Vec<_> = engines.map(|one| (one.held(), one.status())).collect();
        anyhow::bail!(
            "not everything ends: {engines:?}, unfinished {:?}, waiting {:?}",
            self.unfinished(),
            self.world.maps.rows().pending,
        )
    }

    /// Deliveries of stored events that have not ended.
    fn unfinished(&self) -> Vec<DeliveryId> {
        let rows = self.world.maps.rows();
        let all = rows.events.values().flat_map(|new| {
            let event = new.id;
            let fan = new.fan.iter().copied();
            fan.map(move |target| DeliveryId { event, target })
        });
        all.filter(|id| !rows.has_ended(*id) || rows.pending.contains_key(id))
            .collect()
    }

    /// What was accepted is there, once, with all that was done about it.
    fn check_rows(&self) -> Result<()> {
        let rows = self.world.maps.rows();
        let state = self.world.state();
        for (event, id) in &state.accepted {
            ensure!(rows.events.contains_key(event), "{event} ({id}) is gone");
        }
        let mut ids = std::collections::BTreeMap::new();
        for new in rows
            .events
            .values()
            .filter(|new| new.event.source() == "tests")
        {
            let id = new.event.id().to_owned();
            let told = state.accepted.contains_key(&new.id) || !state.refused.contains(&id);
            ensure!(
                told || self.mode.lost || self.mode.kills || self.mode.silence,
                "{} ({id}) is stored and was refused",
                new.id
            );
            // A node knows what it has accepted itself, and what was stored before its start.
            if let Some(other) = ids.insert((node_of(new.id), id), new.id) {
                let apart = new.id.time_ms() - other.time_ms();
                ensure!(
                    apart > 60_000 || self.mode.leaps,
                    "{other} and {} are one event",
                    new.id
                );
            }
        }
        for outcome in rows.outcomes.values() {
            let id = outcome.delivery;
            let numbers = rows
                .attempts
                .range((id, 0)..=(id, u32::MAX))
                .map(|one| one.0.1);
            let all = numbers.eq(1..=outcome.attempts);
            let doubtful = state.doubts > 0 || state.unheard.contains(&id);
            ensure!(all || doubtful, "{id}: attempts are missing");
        }
        Ok(())
    }

    async fn check(&mut self) -> Result<()> {
        for node in &self.nodes {
            let ended = node.engine.shutdown(STOP).await;
            ensure!(ended, "the last shutdown took too long");
            node.flaky.kill();
        }
        self.check_rows()?;
        for outcome in self.stored_outcomes().await? {
            let expected = self
                .world
                .maps
                .rows()
                .outcomes
                .get(&outcome.delivery)
                .cloned();
            ensure!(
                expected.as_ref() == Some(&outcome),
                "{outcome:?} instead of {expected:?}"
            );
        }
        let left = self.store.targets_with_pending().await?;
        ensure!(left.is_empty(), "left over: {left:?}");
        Ok(())
    }

    /// What the store under test says of every delivery that has a state.
    async fn stored_outcomes(&self) -> Result<Vec<Outcome>> {
        let ids: Vec<_> = self.world.maps.rows().outcomes.keys().copied().collect();
        let mut outcomes = Vec::with_capacity(ids.len());
        for id in ids {
            let found = self.store.find_delivery(id).await?;
            outcomes.push(found.context("a delivery that was stored")?.outcome);
        }
        Ok(outcomes)
    }
}

/// What came of a history.
struct Told {
    digest: u64,
    requests: u64,
    commits: u64,
}

async fn history(seed: u64, nodes: usize, ground: Ground, world: Arc<World>) -> Result<()> {
    let mut simulation = Simulation::begin(seed, nodes, ground, world.clone()).await?;
    for _ in 0..STEPS {
        simulation.step().await?;
        let wrong = world.wrong();
        ensure!(wrong.is_empty(), "{}", wrong.join("\n  "));
    }
    simulation.end().await?;
    simulation.check().await?;
    let wrong = world.wrong();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n  "));
    Ok(())
}

/// Where histories take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Maps,
    Sqlite,
    /// Two nodes share the maps.
    TwoNodes,
}

/// Runs one seed in a runtime of its own, where time passes only when nothing else is left to do.
fn run(seed: u64, on: On, aloud: bool) -> Result<Told> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let _inside = runtime.enter();
    let (maps, nodes) = match on {
        On::TwoNodes => (Maps::shared(), 2),
        On::Maps | On::Sqlite => (Maps::default(), 1),
    };
    let maps = Arc::new(maps);
    let sqlite = on == On::Sqlite;
    let ground = if sqlite {
        Ground::sqlite()?
    } else {
        Ground::maps(&maps)
    };
    let chance = Chance::of(!seed);
    let world = Arc::new(World::new(maps, sqlite, chance, aloud));
    receiver::enter(Some(world.clone()));
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(history(seed, nodes, ground, world.clone()))
    }));
    receiver::enter(None);
    ran.unwrap_or_else(|_panic| Err(anyhow::anyhow!("a panic, see above")))
        .with_context(|| format!("seed {seed} on {on:?}; BELFRY_SIM_SEED={seed} repeats it"))?;
    let state = world.state();
    Ok(Told {
        digest: state.digest(),
        requests: state.requests,
        commits: state.commits,
    })
}

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds on both cores; says all that failed.
#[expect(
    clippy::print_stderr,
    reason = "how much was looked at is worth a line"
)]
fn run_all(seeds: u64, on: On) -> Result<()> {
    if let Some(seed) = asked("BELFRY_SIM_SEED") {
        return run(seed, on, true).map(drop);
    }
    let (next, failed) = (AtomicU64::new(1), Mutex::new(Vec::new()));
    let sums = [const { AtomicU64::new(0) }; 2];
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds || failed.lock().unwrap().len() >= FAILED_MAX {
                        return;
                    }
                    match run(seed, on, false) {
                        Ok(told) => {
                            sums[0].fetch_add(told.requests, Ordering::Relaxed);
                            sums[1].fetch_add(told.commits, Ordering::Relaxed);
                        }
                        Err(error) => failed.lock().unwrap().push(format!("{error:#}")),
                    }
                }
            });
        }
    });
    let [requests, commits] = sums.map(AtomicU64::into_inner);
    eprintln!("{seeds} histories, {commits} commits, {requests} requests");
    let failed = failed.into_inner().unwrap();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

#[test]
fn whatever_happens_every_accepted_event_ends_for_each_of_its_targets() -> Result<()> {
    run_all(asked("BELFRY_SIM_SEEDS").unwrap_or(SEEDS), On::Maps)
}

#[test]
fn sqlite_does_what_the_model_of_a_store_does() -> Result<()> {
    run_all(SEEDS_ON_SQLITE, On::Sqlite)
}

#[test]
fn whatever_happens_to_one_of_two_nodes_every_accepted_event_ends() -> Result<()> {
    let seeds = asked("BELFRY_SIM_SEEDS").unwrap_or(SEEDS_OF_TWO_NODES);
    run_all(seeds, On::TwoNodes)
}

#[test]
fn a_seed_always_makes_the_same_history() -> Result<()> {
    for on in [On::Maps, On::TwoNodes] {
        for seed in 1..=8 {
            let [first, again] = [run(seed, on, false)?, run(seed, on, false)?];
            let same = first.digest == again.digest;
            ensure!(same, "seed {seed} on {on:?} went two ways");
        }
    }
    Ok(())
}
