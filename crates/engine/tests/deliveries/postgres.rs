//! Two engines on one Postgres, each with connections of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use belfry_engine::{AcceptContext, Engine, EngineSettings};
use belfry_model::TargetId;
use belfry_store::{Change, ConfigStore as _, Expect, PostgresOptions, PostgresStore};
use belfry_testkit::{Reply, Sink, wait_until};
use serde_json::{Value, json};
use tokio::sync::RwLock;

use crate::order::{keyed, ordered, taken};
use crate::rig::{SOON, event, prepare, with};
use crate::{quick_retry, settings};

/// Where the server for tests is; `cargo xtask test` starts one and says so.
const SERVER: &str = "BELFRY_TEST_POSTGRES";

/// A schema of its own.
fn options() -> Result<PostgresOptions> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let url = std::env::var(SERVER)
        .context("no Postgres server: run the tests with `cargo xtask test`, which starts one")?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(PostgresOptions {
        schema: Some(format!("engine{}_{number}", std::process::id())),
        writers: 3,
        readers: 2,
        ..PostgresOptions::at(url)
    })
}

/// A node of its own.
struct Node {
    store: Arc<PostgresStore>,
    engine: Engine,
}

impl Node {
    async fn start(options: &PostgresOptions, settings: EngineSettings) -> Result<Self> {
        let store = Arc::new(PostgresStore::open(options.clone()).await?);
        prepare(&*store).await?;
        let engine = Engine::start(with(store.clone())?, settings).await?;
        Ok(Self { store, engine })
    }

    async fn target(&self, url: &str, more: &Value) -> Result<TargetId> {
        let mut spec = json!({
            "type": "webhook",
            "settings": {"url": url, "signing": {"enabled": false}, "timeoutSeconds": 2},
        });
        if let (Some(members), Value::Object(more)) = (spec.as_object_mut(), more.clone()) {
            members.extend(more);
        }
        let change = Change::PutTarget {
            bus: "default".parse()?,
            rule: "all".parse()?,
            name: "hook".parse()?,
            spec: serde_json::from_value(spec)?,
            expect: Expect::Absent,
        };
        self.store.apply(&[change], &[], None, 1).await?;
        let made = self.store.load_config().await?.targets;
        Ok(made.first().context("the target")?.id)
    }

    async fn in_force(&self, target: TargetId) -> Result<()> {
        wait_until("the change to be in force", SOON, async || {
            Ok(self.engine.snapshot().target(target).map(drop))
        })
        .await
    }
}

/// Nobody looks: only what the database tells makes a change known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_at_one_node_is_in_force_at_the_other_at_once() -> Result<()> {
    let (options, settings) = (
        options()?,
        EngineSettings {
            config_poll: Duration::from_hours(1),
            ..settings()
        },
    );
    let one = Node::start(&options, settings.clone()).await?;
    let other = Node::start(&options, settings).await?;
    let target = one.target("http://127.0.0.1:9/", &json!({})).await?;
    one.in_force(target).await?;
    other.in_force(target).await?;
    assert!(one.engine.shutdown(SOON).await && other.engine.shutdown(SOON).await);
    Ok(())
}

/// The receiver fails now and then, one node leaves and comes back. Of each key events are posted one after the other, now
/// here, now there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_key_accepted_on_two_nodes_arrive_in_order() -> Result<()> {
    const KEYS: usize = 4;
    const EVENTS: usize = 40;
    let (options, settings) = (options()?, settings());
    let sink = Sink::start().await?;
    let late = Reply::Late {
        after: Duration::from_millis(20),
        status: 200,
    };
    let good = || std::iter::repeat_n(Reply::status(200), 9);
    let bad = [Reply::status(503), Reply::Reset, late];
    sink.cycle("/a", bad.into_iter().flat_map(|one| good().chain([one])));
    let stays = Node::start(&options, settings.clone()).await?;
    let leaves = RwLock::new(Node::start(&options, settings.clone()).await?);
    let more = ordered(&quick_retry(&[1; 20]));
    let target = stays.target(&sink.url("/a"), &more).await?;
    stays.in_force(target).await?;
    leaves.read().await.in_force(target).await?;

    let post = async |engine: &Engine, id: &str, key: &str| {
        let bus = "default".parse()?;
        let events = vec![event(&keyed(id, key))];
        engine
            .accept(&bus, events, AcceptContext::default())
            .await
            .map(drop)
            .context("an event")
    };
    let posts = async |key: usize| {
        let (name, mut ids) = (format!("key-{key}"), Vec::new());
        for number in 0..EVENTS {
            let id = format!("{key}-{number}");
            if (number + key).is_multiple_of(2) {
                post(&stays.engine, &id, &name).await?;
            } else {
                post(&leaves.read().await.engine, &id, &name).await?;
            }
            ids.push(id);
        }
        anyhow::Ok((name, ids))
    };
    let restarts = async {
        for times in 1..=2 {
            wait_until("some deliveries", SOON, async || {
                Ok((sink.received().len() > times * EVENTS / 2).then_some(()))
            })
            .await?;
            let mut node = leaves.write().await;
            node.engine.shutdown(Duration::from_millis(50)).await;
            *node = Node::start(&options, settings.clone()).await?;
        }
        anyhow::Ok(())
    };
    let all = futures_util::future::try_join_all((0..KEYS).map(posts));
    let (posted, ()) = tokio::try_join!(all, restarts)?;
    let posted: BTreeMap<String, Vec<String>> = posted.into_iter().collect();
    wait_until("all to be sent", SOON * 3, async || {
        let count = taken(&sink.received())
            .values()
            .map(Vec::len)
            .sum::<usize>();
        Ok((count == KEYS * EVENTS).then_some(()))
    })
    .await?;
    // The first time of each, also where it was refused: nothing is sent before what comes before it was taken.
    assert_eq!(taken(&sink.received()), posted);
    Ok(())
}
