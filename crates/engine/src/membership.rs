//! This node among the others: its lease, who else there is, taking over who has gone.
//!
//! A node may act for as long as nobody can have taken it over: until its lease ends, counted from before the renewal
//! was asked for. Beyond that it begins no request and claims nothing until it has renewed; a renewal that comes late is
//! as good as one in time, unless another has taken over. Then the node is **fenced**: it writes nothing any more and
//! stops.
//!
//! `node.lease` is the time within which the work of a node that has died goes on. It is used in fifths:
//!
//! | fifths | for |
//! |---|---|
//! | 3 | the lease that stands in the node's row; renewed after one |
//! | 1 | between two looks that both find it run out, so that a clock that jumps takes nobody over |
//! | 1 | the looks themselves, each a fifteenth at most after the last, and the take-over |
//!
//! When the database was away, everybody's lease has run out. So nobody acts on that whose own looks have not succeeded,
//! one after the other and without a gap, for as long as such a lease: then the database was there for the others too.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use belfry_model::{NodeId, TargetId};
use belfry_store::{Membership, NodeInfo, StoreError};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::exchange::Exchange;
use crate::shared::Shared;
use crate::shares::Share;
use crate::{loader, metrics};

/// The least time between two looks at the others.
const LOOK_MIN: Duration = Duration::from_millis(20);
/// Parts of `node.lease`.
const PARTS: u32 = 5;
/// How many of them the lease in the node's row has.
const HELD: u32 = 3;
/// Looks at the others in one part.
const LOOKS: u32 = 3;
/// No renewal is given less time.
const PATIENCE_MIN: Duration = Duration::from_secs(1);

/// How long a lease in a node's row is.
pub(crate) fn held(lease: Duration) -> Duration {
    lease / PARTS * HELD
}

/// This node's number and how long it is surely its own.
pub(crate) struct Lease {
    pub(crate) member: Membership,
    /// How long it is held without being renewed.
    held: Duration,
    /// A fifth of `node.lease`.
    part: Duration,
    born: Instant,
    /// Milliseconds after `born`.
    sure_until: AtomicU64,
    leaving: AtomicBool,
    /// Somebody wants a look at the others now.
    wanted: Notify,
    renewed: Notify,
    /// The number is somebody else's by now.
    pub(crate) fenced: CancellationToken,
    present: ArcSwap<Present>,
}

/// The nodes that may send, this one included.
#[derive(Debug, Default, PartialEq, Eq)]
struct Present {
    nodes: Vec<NodeId>,
    /// This node has just come: the others still send with the parts they had without it.
    waits: bool,
}

impl Lease {
    /// How long an answer of the database is waited for: silence must not keep this node from asking again.
    fn patience(&self) -> Duration {
        self.part.max(PATIENCE_MIN)
    }

    /// A lease that was asked for at `begun`, beside these nodes. `lease` is `node.lease`.
    pub(crate) fn new(
        member: Membership,
        lease: Duration,
        begun: Instant,
        nodes: &[NodeInfo],
    ) -> Self {
        let present = present(member.node, nodes);
        let waits = present.len() > 1;
        let this = Self {
            member,
            held: held(lease),
            part: lease / PARTS,
            born: begun,
            sure_until: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
            wanted: Notify::new(),
            renewed: Notify::new(),
            fenced: CancellationToken::new(),
            present: ArcSwap::from_pointee(Present {
                nodes: present,
                waits,
            }),
        };
        this.renewed_at(begun);
        this
    }

    fn renewed_at(&self, begun: Instant) {
        let until = (begun + self.held).saturating_duration_since(self.born);
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.sure_until.fetch_max(until, Ordering::AcqRel);
        self.renewed.notify_waiters();
    }

    /// Whether nobody can have taken this node over yet.
    pub(crate) fn is_sure(&self) -> bool {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        now < self.sure_until.load(Ordering::Acquire) && !self.fenced.is_cancelled()
    }

    /// Returns when nobody can have taken this node over, or when it stops.
    pub(crate) async fn sure(&self, closing: &CancellationToken) {
        while !closing.is_cancelled() {
            let renewed = self.renewed.notified();
            if self.is_sure() {
                return;
            }
            self.wanted.notify_one();
            tokio::select! {
                biased;
                () = renewed => {}
                () = closing.cancelled() => {}
            }
        }
    }

    /// Asks for a look at the others now, if there are any.
    pub(crate) fn look(&self) {
        if self.has_others() {
            self.wanted.notify_one();
        }
    }

    /// Tells the others that this node is about to leave.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
        self.wanted.notify_one();
    }

    /// Whether other nodes work on the same database.
    pub(crate) fn has_others(&self) -> bool {
        self.present.load().nodes.len() > 1
    }

    /// How many nodes the limits are divided among, unless this one has to wait.
    pub(crate) fn divided_among(&self) -> Option<usize> {
        let present = self.present.load();
        (!present.waits).then_some(present.nodes.len())
    }

    /// This node's place among those that may send to a target.
    pub(crate) fn share(&self, target: TargetId) -> Share {
        let present = self.present.load();
        if present.waits {
            Share::NONE
        } else {
            Share::among(self.member.node, &present.nodes, target)
        }
    }

    /// What is wrong, for people.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.fenced.is_cancelled() {
            Some(
                "another node has taken this one over, since its lease was not renewed in time; the server ends",
            )
        } else if self.is_sure() {
            None
        } else {
            Some("the node's lease has run out and cannot be renewed; nothing is sent until it is")
        }
    }
}

/// Who may send: everybody that has neither left nor been taken over. One whose lease has run out still counts, for it
/// may only have lost sight of the database, like everybody else.
fn present(me: NodeId, nodes: &[NodeInfo]) -> Vec<NodeId> {
    let mut present: Vec<NodeId> = nodes
        .iter()
        .filter(|node| node.state.is_present() && node.member.node != me)
        .map(|node| node.member.node)
        .collect();
    present.push(me);
    present.sort_unstable();
    present
}

/// Looks at the others and renews until the engine has closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    let every = shared.settings.config_poll.min(shared.lease.part / LOOKS);
    let every = every.max(LOOK_MIN);
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch {
        renewed_at: Some(shared.lease.born),
        steady: None,
        told_leaving: false,
        // By then every other has looked once and knows of this node.
        settled_at: Instant::now() + every * 2,
        suspects: HashMap::new(),
        exchange: Exchange::default(),
    };
    loop {
        tokio::select! {
            biased;
            () = shared.closed.cancelled() => return,
            () = shared.lease.fenced.cancelled() => return,
            _ = tick.tick() => {}
            () = shared.lease.wanted.notified() => {}
        }
        watch.look(&shared).await;
    }
}

/// What is remembered from one look to the next.
struct Watch {
    /// When the last renewal was asked for; none after one that failed.
    renewed_at: Option<Instant>,
    told_leaving: bool,
    /// Since when all looks have succeeded without a gap, and when the last one did.
    steady: Option<(Instant, Instant)>,
    settled_at: Instant,
    /// Nodes whose lease has run out: their epoch, and when that was seen first.
    suspects: HashMap<NodeId, (i64, Instant)>,
    exchange: Exchange,
}

impl Watch {
    async fn look(&mut self, shared: &Arc<Shared>) {
        if !self.renew(shared).await {
            self.lose_sight();
            return;
        }
        let limit = shared.lease.patience();
        let nodes = shared.store.list_nodes(shared.clock.now_ms());
        let nodes = match shared.ask_within(limit, nodes).await {
            Ok(nodes) => nodes,
            Err(error) => {
                tracing::warn!(%error, "the other nodes could not be looked at; trying again");
                self.lose_sight();
                return;
            }
        };
        self.keep_sight(shared.lease.part);
        self.see(shared, &nodes);
        self.take_over(shared, &nodes).await;
        if let Err(error) = shared.ask_within(limit, self.exchange.turn(shared)).await {
            tracing::warn!(%error, "what nodes tell each other about receivers could not be exchanged; trying again");
        }
    }

    fn lose_sight(&mut self) {
        self.suspects.clear();
        self.steady = None;
    }

    /// A look has succeeded. What was seen before a gap longer than this says nothing about the time of the gap.
    fn keep_sight(&mut self, gap: Duration) {
        let now = Instant::now();
        let since = self
            .steady
            .filter(|(_, last)| now.duration_since(*last) <= gap)
            .map(|(since, _)| since);
        if since.is_none() {
            self.suspects.clear();
        }
        self.steady = Some((since.unwrap_or(now), now));
    }

    /// Renews the lease when it is time. `false`: it cannot be renewed now.
    async fn renew(&mut self, shared: &Arc<Shared>) -> bool {
        let lease = &shared.lease;
        let leaving = lease.leaving.load(Ordering::Acquire);
        let in_time = self.renewed_at.is_some_and(|at| at.elapsed() < lease.part);
        if in_time && leaving == self.told_leaving {
            return true;
        }
        let begun = Instant::now();
        let lease_ms = i64::try_from(lease.held.as_millis()).unwrap_or(i64::MAX / 4);
        let renewal = shared
            .store
            .renew(lease.member, leaving, lease_ms, shared.clock.now_ms());
        let problem = match shared.ask_within(lease.patience(), renewal).await {
            Ok(true) => {
                self.renewed_at = Some(begun);
                self.told_leaving = leaving;
                lease.renewed_at(begun);
                return true;
            }
            Ok(false) | Err(StoreError::Fenced) => {
                shared.fence();
                return false;
            }
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            problem,
            "the node's lease could not be renewed; trying again"
        );
        metrics::lease_not_renewed();
        self.renewed_at = None;
        false
    }

    /// Divides the limits among those that are there.
    fn see(&self, shared: &Arc<Shared>, nodes: &[NodeInfo]) {
        let lease = &shared.lease;
        let now = Present {
            waits: lease.present.load().waits && Instant::now() < self.settled_at,
            nodes: present(lease.member.node, nodes),
        };
        metrics::nodes(now.nodes.len());
        let before = lease.present.load_full();
        if *before == now {
            return;
        }
        if before.nodes != now.nodes {
            tracing::info!(nodes = ?now.nodes.iter().map(|node| node.0).collect::<Vec<_>>(), "the nodes have changed; limits are divided anew");
        }
        lease.present.store(Arc::new(now));
        shared.channels.divide(|target| lease.share(target));
        for lane in shared.lanes() {
            lane.divide();
        }
    }

    /// Takes over nodes whose lease had run out some time ago already, while the database was there.
    async fn take_over(&mut self, shared: &Arc<Shared>, nodes: &[NodeInfo]) {
        let me = shared.lease.member.node;
        let gone: Vec<Membership> = nodes
            .iter()
            .filter(|node| {
                node.state.is_present() && node.lease_left_ms <= 0 && node.member.node != me
            })
            .map(|node| node.member)
            .collect();
        self.suspects.retain(|node, (epoch, _)| {
            gone.iter()
                .any(|member| member.node == *node && member.epoch == *epoch)
        });
        let lease = &shared.lease;
        let steady = self
            .steady
            .is_some_and(|(since, _)| since.elapsed() >= lease.held);
        for dead in gone {
            let (_, since) = *self
                .suspects
                .entry(dead.node)
                .or_insert_with(|| (dead.epoch, Instant::now()));
            if !steady || since.elapsed() < lease.part {
                continue;
            }
            let taken = shared.store.take_over(dead, shared.clock.now_ms());
            match shared.ask(taken).await {
                Ok(Some(recovered)) => {
                    tracing::warn!(
                        node = dead.node.0,
                        unfinished = recovered.unfinished,
                        reclaimed = recovered.reclaimed,
                        "a node has not renewed its lease; its deliveries go on here"
                    );
                    metrics::taken_over();
                    loader::sweep(shared).await;
                }
                Ok(None) => tracing::debug!(node = dead.node.0, "another was faster"),
                Err(error) => {
                    tracing::warn!(%error, node = dead.node.0, "a node could not be taken over; trying again");
                }
            }
        }
    }
}
