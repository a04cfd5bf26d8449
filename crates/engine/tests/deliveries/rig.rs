//! A running engine on a real store, with a real receiver.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use belfry_egress::{EgressClient, EgressLimits, EgressPolicy, SystemResolver};
use belfry_engine::{
    AcceptContext, AcceptError, Accepted, Collaborators, Engine, EngineSettings, Unseal,
};
use belfry_model::config::{BusSpec, RuleSpec, Target, TargetSpec};
use belfry_model::delivery::DeliveryStatus;
use belfry_model::event::{EventLimits, Fill};
use belfry_model::json::JsonText;
use belfry_model::{DeliveryId, Event, EventId, NodeId, SystemClock, TargetId};
use belfry_store::{
    Change, ConfigStore as _, DeliveryQuery, DeliveryRecord, Expect, History as _, SqliteOptions,
    SqliteStore,
};
use belfry_targets::ConnectContext;
use belfry_testkit::{Sink, wait_until};
use serde_json::{Value, json};

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Settings in these tests are in clear.
struct Clear;

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

pub(crate) fn with(store: Arc<SqliteStore>) -> Result<Collaborators> {
    let egress = EgressClient::new(
        EgressPolicy::permissive(),
        EgressLimits::default(),
        Arc::new(SystemResolver),
    )?;
    let clock = Arc::new(SystemClock);
    Ok(Collaborators {
        store,
        clock: clock.clone(),
        unseal: Arc::new(Clear),
        connect: Arc::new(ConnectContext {
            egress: Arc::new(egress),
            clock,
            user_agent: "belfry-tests".to_owned(),
        }),
        node: NodeId(1),
    })
}

impl Rig {
    pub(crate) async fn start(settings: EngineSettings) -> Result<Self> {
        Self::on(SqliteStore::open(SqliteOptions::memory()).await?, settings).await
    }

