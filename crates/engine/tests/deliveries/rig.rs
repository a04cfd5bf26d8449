//! A running engine on a real store, with a real receiver.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use belfry_egress::{EgressClient, EgressLimits, EgressPolicy, SystemResolver};
use belfry_engine::{
    AcceptContext, AcceptError, Accepted, Collaborators, Engine, EngineSettings, NoDocuments,
    SystemRandom, Unseal,
};
use belfry_model::config::{BusSpec, RuleSpec, Target, TargetSpec};
use belfry_model::delivery::DeliveryStatus;
use belfry_model::event::{EventLimits, Fill};
use belfry_model::json::JsonText;
use belfry_model::{Clock, DeliveryId, Event, EventId, SystemClock, TargetId};
use belfry_store::{
    Change, ConfigStore as _, DeliveryQuery, DeliveryRecord, Expect, History as _, SqliteOptions,
    SqliteStore, Store,
};
use belfry_targets::ConnectContext;
use belfry_testkit::{Sink, wait_until};
use serde_json::{Value, json};

use crate::flaky::Flaky;

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Settings in these tests are in clear.
pub(crate) struct Clear;

impl Unseal for Clear {
    fn unseal(&self, _place: &str, target: &Target) -> Result<Value, String> {
        Ok(target.spec.settings.clone())
    }
}

struct Filler(u64);

impl Fill for Filler {
    fn id(&mut self) -> String {
        self.0 += 1;
        format!("filled-{}", self.0)
    }
    fn now_ms(&mut self) -> i64 {
        1_700_000_000_000
    }
}

pub(crate) struct Rig {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) engine: Engine,
    pub(crate) sink: Sink,
}

pub(crate) fn with(store: Arc<dyn Store>) -> Result<Collaborators> {
    with_clock(store, Arc::new(SystemClock))
}

pub(crate) fn with_clock(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Result<Collaborators> {
    let egress = EgressClient::new(
        EgressPolicy::permissive(),
        EgressLimits::default(),
        Arc::new(SystemResolver),
    )?;
    Ok(Collaborators {
        store,
        clock: clock.clone(),
        random: Arc::new(SystemRandom),
        kinds: belfry_targets::find_kind,
        templates: Arc::new(belfry_eval::Templates::none()),
        unseal: Arc::new(Clear),
        documents: Arc::new(NoDocuments),
        connect: Arc::new(ConnectContext {
            egress: Arc::new(egress),
            clock,
            user_agent: "belfry-tests".to_owned(),
            directory: Arc::new(belfry_targets::NoDirectory),
            functions: Arc::new(belfry_functions::NoFunctions),
        }),
    })
}

/// Buses and a rule, unless they are there.
pub(crate) async fn prepare(store: &dyn Store) -> Result<()> {
    if store.load_config().await?.buses.is_empty() {
        let bus = |name: &str| -> Result<Change> {
            Ok(Change::PutBus {
                name: name.parse()?,
                spec: BusSpec::default(),
                expect: Expect::Absent,
            })
        };
        let rule = Change::PutRule {
            bus: "default".parse()?,
            name: "all".parse()?,
            spec: RuleSpec {
                description: String::new(),
                enabled: true,
                pattern: JsonText::parse(r#"{"source":["tests"]}"#)?,
            },
            expect: Expect::Absent,
        };
        store
            .apply(
                &[bus("default")?, bus("system")?, bus("dead")?, rule],
                &[],
                None,
                1,
            )
            .await?;
    }
    Ok(())
}

pub(crate) fn event(document: &Value) -> Event {
    let text = serde_json::to_vec(document).unwrap();
    Event::lenient(text.into(), &mut Filler(0), &EventLimits::default()).unwrap()
}

impl Rig {
    pub(crate) async fn start(settings: EngineSettings) -> Result<Self> {
        Self::on(SqliteStore::open(SqliteOptions::memory()).await?, settings).await
    }

    pub(crate) async fn on_file(path: &Path, settings: EngineSettings) -> Result<Self> {
        Self::on(
            SqliteStore::open(SqliteOptions::file(path)).await?,
            settings,
        )
        .await
    }

    async fn on(store: SqliteStore, settings: EngineSettings) -> Result<Self> {
        let store = Arc::new(store);
        prepare(&*store).await?;
        let engine = Engine::start(with(store.clone())?, settings).await?;
        let sink = Sink::start().await?;
        Ok(Self {
            store,
            engine,
            sink,
        })
    }

    /// An engine whose store can be told to fail; `store` is the real one.
    pub(crate) async fn flaky(settings: EngineSettings) -> Result<(Self, Arc<Flaky>)> {
        Self::flaky_with_clock(settings, Arc::new(SystemClock)).await
    }

    pub(crate) async fn flaky_with_clock(
        settings: EngineSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Arc<Flaky>)> {
        let store = Arc::new(SqliteStore::open(SqliteOptions::memory()).await?);
        prepare(&*store).await?;
        let flaky = Flaky::new(store.clone());
        let engine = Engine::start(with_clock(flaky.clone(), clock)?, settings).await?;
        let sink = Sink::start().await?;
        let rig = Self {
            store,
            engine,
            sink,
        };
        Ok((rig, flaky))
    }
    /// Makes a webhook target for a path of the sink; members of `more` are put into the target's document.
    pub(crate) async fn target(&self, name: &str, path: &str, more: Value) -> Result<TargetId> {
        let mut spec = json!({
            "type": "webhook",
            "settings": {"url": self.sink.url(path), "signing": {"enabled": false}, "timeoutSeconds": 2},
        });
        if let (Some(members), Value::Object(more)) = (spec.as_object_mut(), more) {
            members.extend(more);
        }
        let spec: TargetSpec = serde_json::from_value(spec)?;
        let change = Change::PutTarget {
            bus: "default".parse()?,
            rule: "all".parse()?,
            name: name.parse()?,
            spec: Box::new(spec),
            expect: Expect::Absent,
        };
        self.store.apply(&[change], &[], None, 1).await?;
        self.engine.reload().await?;
        let config = self.store.load_config().await?;
        let found = config
            .targets
            .iter()
            .find(|target| target.name.as_str() == name);
        found
            .map(|target| target.id)
            .context("the target that was just made")
    }

    /// Makes a change of the configuration and puts it in force.
    pub(crate) async fn change(&self, change: Change) -> Result<()> {
        self.store.apply(&[change], &[], None, 2).await?;
        Ok(self.engine.reload().await?)
    }

    /// A change of a target made with [`Self::target`]: members of `more` replace those of its document.
    pub(crate) async fn changed(&self, name: &str, more: Value) -> Result<Change> {
        let config = self.store.load_config().await?;
        let target = config
            .targets
            .iter()
            .find(|target| target.name.as_str() == name)
            .context("the target to change")?;
        let mut spec = serde_json::to_value(&target.spec)?;
        if let (Some(members), Value::Object(more)) = (spec.as_object_mut(), more) {
            members.extend(more);
        }
        Ok(Change::PutTarget {
            bus: "default".parse()?,
            rule: "all".parse()?,
            name: target.name.clone(),
            spec: Box::new(serde_json::from_value(spec)?),
            expect: Expect::Revision(target.revision),
        })
    }

    /// The deletion of a target.
    pub(crate) async fn deleted(&self, name: &str) -> Result<Change> {
        let config = self.store.load_config().await?;
        let target = config
            .targets
            .iter()
            .find(|target| target.name.as_str() == name)
            .context("the target to delete")?;
        Ok(Change::DeleteTarget {
            bus: "default".parse()?,
            rule: "all".parse()?,
            name: target.name.clone(),
            revision: target.revision,
        })
    }

    pub(crate) async fn post(&self, id: &str, kind: &str) -> Result<Accepted, AcceptError> {
        self.post_event(json!({"id": id, "source": "tests", "type": kind, "data": {}}))
            .await
    }

    pub(crate) async fn post_event(&self, document: Value) -> Result<Accepted, AcceptError> {
        let event = event(&document);
        let bus = "default".parse().unwrap();
        self.engine
            .accept(&bus, vec![event], AcceptContext::default())
            .await
            .map(|mut accepted| accepted.remove(0))
    }

    pub(crate) async fn delivery(
        &self,
        event: EventId,
        target: TargetId,
    ) -> Result<DeliveryRecord> {
        self.store
            .find_delivery(DeliveryId { event, target })
            .await?
            .context("a delivery")
    }

    /// Waits until a delivery has this state.
    pub(crate) async fn wait_for(
        &self,
        event: EventId,
        target: TargetId,
        status: DeliveryStatus,
    ) -> Result<DeliveryRecord> {
        wait_until(status.as_str(), SOON, async || {
            let record = self.delivery(event, target).await?;
            Ok((record.outcome.status == status).then_some(record))
        })
        .await
    }

    /// All deliveries that have a state recorded.
    pub(crate) async fn deliveries(&self, target: TargetId) -> Result<Vec<DeliveryRecord>> {
        let mut all = Vec::new();
        let mut query = DeliveryQuery {
            targets: Some(vec![target]),
            limit: 200,
            scan_max: 100_000,
            ..DeliveryQuery::default()
        };
        loop {
            let page = self.store.list_deliveries(&query).await?;
            all.extend(page.items);
            let Some(next) = page.next else {
                return Ok(all);
            };
            query.before = Some(next);
        }
    }

    /// Waits until so many deliveries of a target are delivered.
    pub(crate) async fn wait_delivered(
        &self,
        target: TargetId,
        count: usize,
    ) -> Result<Vec<DeliveryRecord>> {
        wait_until("all to be delivered", SOON * 3, async || {
            self.engine.flush().await;
            let all = self.deliveries(target).await?;
            let delivered = all
                .iter()
                .filter(|one| one.outcome.status == DeliveryStatus::Delivered)
                .count();
            Ok((delivered == count).then_some(all))
        })
        .await
    }
}
