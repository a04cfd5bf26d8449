//! What a run is made of: nodes, their receiver, their database, and the lines between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belfry_testkit::{Client, Postgres, Proxy, Reply, Server, Sink, wait_until};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::check::{Ending, History};
use super::ledger::{Arrivals, Ledger, Post, Until};
use super::scenario::{Scenario, Store};
use super::supervisor::Node;
use crate::{put_rule, rule, text, webhook_with_waits};

/// The type of events whose order nobody asks for.
pub(super) const PLAIN: &str = "plain";
/// The type of events that have a key and follow each other.
pub(super) const ORDERED: &str = "ordered";

/// Where the events come from that are counted.
pub(super) const SOURCE: &str = "chaos";
/// Events that only find out whether something works.
const PROBE: &str = "probe";

/// After so long without a sign of life of a node the others take over.
pub(super) const LEASE_MS: u64 = 3_000;
/// No client waits longer for an answer; then it asks another node.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// After a fault everything works again within this time, without help.
const RECOVERY_LIMIT: Duration = Duration::from_mins(1);
/// After the load everything has come to an end within this time.
const DRAIN_LIMIT: Duration = Duration::from_mins(2);
/// How often the whole history is read until everything is at an end.
const HISTORY_INTERVAL: Duration = Duration::from_millis(500);

/// An event.
pub(super) fn event(kind: &str, source: &str, id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": source, "type": kind})
}

/// A target, and what it must get.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) name: &'static str,
    /// The type of events that it gets; also the name of its rule.
    pub(super) of: &'static str,
    /// Whether its deliveries may end as dead or skipped, with a reason.
    pub(super) may_give_up: bool,
    /// Whether its repeats are counted: its receiver always answers at once, so they come from faults alone.
    pub(super) counts_duplicates: bool,
    /// Whether order is promised.
    pub(super) ordered: bool,
}

/// Every event arrives, without more being promised.
const RELIABLE: Target = Target {
    name: "",
    of: PLAIN,
    may_give_up: false,
    counts_duplicates: false,
    ordered: false,
};

/// The targets of every scenario. Each has its path at the receiver.
pub(super) const TARGETS: &[Target] = &[
    // Its receiver is always well.
    Target {
        name: "steady",
        counts_duplicates: true,
        ..RELIABLE
    },
    // One answer in ten is a failure, so that faults also meet retries that wait and claims under way.
    Target {
        name: "flaky",
        ..RELIABLE
    },
    // Its receiver does what the fault says.
    Target {
        name: "moody",
        ..RELIABLE
    },
    // Its receiver answers 410 when the fault says so, which disables the target until it is changed.
    Target {
        name: "gone",
        may_give_up: true,
        ..RELIABLE
    },
    // The same failures as the flaky one.
    Target {
        name: "ordered",
        of: ORDERED,
        ordered: true,
        ..RELIABLE
    },
];

impl Target {
    /// The targets of an event, which its id tells: its type stands before the first `-`.
    pub(super) fn of(id: &str) -> impl Iterator<Item = &'static Self> {
        let kind = id.split('-').next().unwrap_or_default().to_owned();
        TARGETS.iter().filter(move |target| target.of == kind)
    }

    /// Its path at the receiver.
    pub(super) fn path(&self) -> String {
        format!("/{}", self.name)
    }
}

/// How senders reach the nodes at this moment: a node that was started again has another port.
#[derive(Debug, Default)]
pub(super) struct Book(RwLock<Vec<Client>>);

impl Book {
    /// A client of a node; numbers beyond the last begin again.
    pub(super) fn client(&self, node: usize) -> Client {
        let clients = self.0.read().unwrap_or_else(PoisonError::into_inner);
        clients[node % clients.len()].clone()
    }

    pub(super) fn set(&self, node: usize, client: Client) {
        let mut clients = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if node < clients.len() {
            clients[node] = client;
        } else {
            clients.push(client);
        }
    }
}

/// A running set-up.
pub(super) struct World {
    pub(super) sink: Sink,
    pub(super) receiver_line: Proxy,
    /// Where the store is Postgres: its server ...
    database: Option<Postgres>,
    /// ... and the line of each node to it.
    pub(super) database_lines: Vec<Proxy>,
    pub(super) nodes: Vec<Node>,
    /// Orderly restarts so far: one node after the other.
    restarts: usize,
    pub(super) book: Arc<Book>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) arrivals: Arc<Arrivals>,
    /// Probes posted so far.
    probes: usize,
    /// Times that the target `gone` was changed.
    changes: usize,
}

impl World {
    /// Starts everything that the scenario needs, with nothing wrong yet.
    pub(super) async fn start(scenario: &Scenario) -> Result<Self> {
        let arrivals = Arc::new(Arrivals::default());
        let noted = Arc::clone(&arrivals);
        let sink = Sink::watched(move |request, reply| noted.note(request, reply)).await?;
        for path in ["/flaky", "/ordered"] {
            let answers = (0..9).map(|_| Reply::status(204));
            sink.cycle(path, answers.chain([Reply::status(500)]));
        }
        let receiver_line = Proxy::start(sink.address()).await?;
        let mut world = Self {
            sink,
            receiver_line,
            database: match scenario.store {
                Store::Sqlite => None,
                Store::Postgres => Some(tokio::task::block_in_place(Postgres::start)?),
            },
            database_lines: Vec::new(),
            nodes: Vec::new(),
            restarts: 0,
            book: Arc::default(),
            ledger: Arc::default(),
            arrivals,
            probes: 0,
            changes: 0,
        };
        for _ in 0..scenario.nodes {
            world.add_node().await?;
        }
        for kind in [PLAIN, ORDERED] {
            let targets: serde_json::Map<_, _> = TARGETS
                .iter()
                .filter(|target| target.of == kind)
                .map(|target| (target.name.to_owned(), world.target(target.name)))
                .collect();
            let rule = rule(&[kind], &Value::Object(targets));
            put_rule(&world.book.client(0), kind, &rule).await?;
        }
        world.known_everywhere(PLAIN, "steady").await?;
        world.known_everywhere(ORDERED, "ordered").await?;
        Ok(world)
    }

    /// Starts a further node.
    async fn add_node(&mut self) -> Result<()> {
        // What waits for minutes by default waits for a second here.
        let mut options = Server::with("log.level", "warn")
            .set("engine.circuit_open_max", "1s")
            .quiet();
        if let Some(database) = &self.database {
            let address: SocketAddr = ([127, 0, 0, 1], database.port()).into();
            let line = Proxy::start(address).await?;
            let url = database.url();
            let url = url.replace(&address.to_string(), &line.address().to_string());
            let lease = format!("{LEASE_MS}ms");
            options = options.set("store.url", &url).set("node.lease", &lease);
            self.database_lines.push(line);
        }
        if let Some(first) = self.nodes.first() {
            let first = first.care().await;
            let first = first.server();
            // Secrets are sealed in the database with a key that all nodes have.
            let key = first.data().join("secret.key");
            options = options
                .set("secrets.key_file", &key.to_string_lossy())
                .admin_key(first.admin_key());
        }
        let server = options.start().await?;
        let node = Node::new(server, self.nodes.len(), Arc::clone(&self.book))?;
        node.supervise();
        self.nodes.push(node);
        Ok(())
    }

    /// The node whose turn it is to be restarted.
    pub(super) fn next_to_restart(&mut self) -> usize {
        self.restarts += 1;
        self.restarts % self.nodes.len()
    }

    /// The database server.
    pub(super) fn database(&mut self) -> Result<&mut Postgres> {
        self.database.as_mut().context("this store has no server")
    }

    /// Waits until everything that is accepted by now has come to the steady target.
    pub(super) async fn taken_over(&self) -> Result<()> {
        let accepted = self.ledger.entries().accepted;
        wait_until("the others to take over", RECOVERY_LIMIT, async || {
            let plain = accepted.keys().filter(|id| id.starts_with(PLAIN));
            Ok((self.arrivals.missing("/steady", plain) == 0).then_some(()))
        })
        .await
    }

    /// The settings of a target: it tries again soon, and for longer than anything here lasts.
    fn target(&self, name: &str) -> Value {
        let url = format!("http://{}/{name}", self.receiver_line.address());
        let mut target = webhook_with_waits(&url, &[1; 200]);
        target["settings"]["timeoutSeconds"] = 1.into();
        if name == "ordered" {
            target["order"] = json!({"by": "partitionkey"});
        }
        target
    }

    /// What the nodes have printed.
    pub(super) async fn said(&self) -> String {
        let mut said = String::new();
        for node in &self.nodes {
            said.push_str("--- a node\n");
            said.push_str(&node.care().await.server().output());
        }
        if let Some(database) = &self.database {
            said.push_str("--- the database\n");
            said.push_str(&database.log());
        }
        said
    }

    /// How often nodes have ended by themselves, by exit code.
    pub(super) async fn ended(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for node in &self.nodes {
            for (code, times) in node.care().await.ended() {
                *all.entry(code.clone()).or_default() += times;
            }
        }
        all
    }

    /// Takes back that a target was disabled, by changing it.
    pub(super) async fn enable_gone(&mut self) -> Result<()> {
        self.changes += 1;
        let mut target = self.target("gone");
        target["description"] = format!("change {}", self.changes).into();
        let path = format!("/v1/buses/default/rules/{PLAIN}/targets/gone");
        let mut node = 0;
        wait_until("a change of a target", RECOVERY_LIMIT, async || {
            let put = self.book.client(node).put(&path, &target).await;
            node += 1;
            let done = put.is_ok_and(|answer| answer.status.is_success());
            Ok(done.then_some(()))
        })
        .await?;
        self.known_everywhere(PLAIN, "gone").await
    }

    /// Waits until every node has learned of a change, so that what it accepts comes to this target. The events that
    /// find out are of a source of their own and nobody's business afterwards.
    async fn known_everywhere(&mut self, kind: &str, target: &str) -> Result<()> {
        let path = format!("/{target}");
        let arrivals = Arc::clone(&self.arrivals);
        let id = |number: usize| format!("{PROBE}-{number}");
        for node in 0..self.nodes.len() {
            let first = self.probes + 1;
            wait_until("the change at every node", RECOVERY_LIMIT, async || {
                self.probes += 1;
                let mut event = event(kind, PROBE, &id(self.probes));
                event["partitionkey"] = PROBE.into();
                // While something is wrong there may be no answer.
                drop(self.book.client(node).post_event("default", &event).await);
                let arrived = (first..=self.probes).any(|number| arrivals.has(&path, &id(number)));
                Ok(arrived.then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until so many more events have been accepted.
    pub(super) async fn accept(&self, more: usize) -> Result<()> {
        let until = self.ledger.accepted() + more;
        wait_until("load", RECOVERY_LIMIT, async || {
            Ok((self.ledger.accepted() >= until).then_some(()))
        })
        .await
    }

    /// Waits until an event posted to each node has been accepted and has come to these targets; gives the time it took.
    pub(super) async fn recovered(&mut self, targets: &[&str]) -> Result<Duration> {
        let start = Instant::now();
        let mut probes = Vec::new();
        for node in 0..self.nodes.len() {
            self.probes += 1;
            let id = format!("{PLAIN}-{PROBE}-{}", self.probes);
            let event = event(PLAIN, SOURCE, &id);
            let post = Post {
                kind: "application/cloudevents+json",
                body: event.to_string(),
                events: 1,
                first_node: node,
            };
            let until = Until::Then(start + RECOVERY_LIMIT);
            let accepted = self.ledger.post(&self.book, &post, until).await?;
            ensure!(
                accepted,
                "nothing is accepted {RECOVERY_LIMIT:?} after the fault"
            );
            probes.push(id);
        }
        for target in targets {
            let path = format!("/{target}");
            let what = format!("an event at {path} after the fault");
            let left = RECOVERY_LIMIT.saturating_sub(start.elapsed());
            wait_until(&what, left, async || {
                let all = probes.iter().all(|id| self.arrivals.has(&path, id));
                Ok(all.then_some(()))
            })
            .await?;
        }
        Ok(start.elapsed())
    }

    /// Waits until everything has come to an end and gives the history; what never ends is in it as it stands.
    pub(super) async fn history(&self) -> Result<History> {
        let accepted = self.ledger.entries().accepted;
        let end = Instant::now() + DRAIN_LIMIT;
        // First what is cheap to ask: whether everything has come.
        let arrived = wait_until("all arrivals", DRAIN_LIMIT, async || {
            let missing = TARGETS
                .iter()
                .filter(|target| !target.may_give_up)
                .any(|target| {
                    let of = |id: &&String| Target::of(id).any(|one| one.name == target.name);
                    self.arrivals
                        .missing(&target.path(), accepted.keys().filter(of))
                        > 0
                });
            Ok((!missing).then_some(()))
        });
        // What has not come is for the checker to tell.
        drop(arrived.await);
        let mut node = 0;
        loop {
            let history = read_history(&self.book.client(node)).await;
            let over = Instant::now() >= end;
            match history {
                Ok(history) if history.is_complete() || over => return Ok(history),
                Err(error) if over => return Err(error),
                Ok(_) => {}
                // It may just have ended, or be ill; any other knows the same.
                Err(_) => node += 1,
            }
            tokio::time::sleep(HISTORY_INTERVAL).await;
        }
    }
}

impl History {
    /// Whether every stored event has all its deliveries, each at an end.
    fn is_complete(&self) -> bool {
        self.events.iter().all(|(uid, id)| {
            let endings = self.deliveries.get(uid).map_or(&[][..], Vec::as_slice);
            let open = |one: &Ending| matches!(one.status.as_str(), "queued" | "retrying");
            endings.len() >= Target::of(id).count() && !endings.iter().any(open)
        })
    }
}

/// Reads everything that is counted, page by page, and keeps what the checker needs.
async fn read_history(client: &Client) -> Result<History> {
    let mut history = History::default();
    let filter = format!("bus=default&source={SOURCE}");
    pages(client, &format!("/v1/events?{filter}"), |event| {
        let uid = text(&event["eventUid"])?;
        history.events.insert(uid, text(&event["event"]["id"])?);
        Ok(())
    })
    .await?;
    pages(client, &format!("/v1/deliveries?{filter}"), |delivery| {
        let endings = history.deliveries.entry(text(&delivery["eventUid"])?);
        endings.or_default().push(Ending {
            target: text(&delivery["target"])?,
            status: text(&delivery["status"])?,
            reason: delivery["reason"].as_str().map(str::to_owned),
        });
        Ok(())
    })
    .await?;
    Ok(history)
}

async fn pages(
    client: &Client,
    path: &str,
    mut take: impl FnMut(&Value) -> Result<()>,
) -> Result<()> {
    let mut next: Option<String> = None;
    loop {
        let cursor = next.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let page = client.get(&format!("{path}&limit=200{cursor}")).await?;
        let page = page.expect(200)?;
        let items = page["items"].as_array().context("a page without items")?;
        items.iter().try_for_each(&mut take)?;
        next = page["next"].as_str().map(str::to_owned);
        if next.is_none() {
            return Ok(());
        }
    }
}
