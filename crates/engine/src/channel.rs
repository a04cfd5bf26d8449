//! What a vendor counts its rate limit by: a bot, a hook, an account. All targets that use it share one limit, and a pause
//! that the vendor asks for.
//!
//! Who waits for a permit says how urgent it is; the most urgent goes first, whichever target it is for. A start begins
//! with one permit: nobody knows what was sent just before. Beside other nodes this one has its part of the limit.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use belfry_model::{Clock, DeliveryId, TargetId};
use belfry_targets::ChannelLimit;
use tokio::sync::Notify;

use crate::circuit::{Bucket, Rate};
use crate::shares::Share;

/// A vendor's pause is at most a day.
const PAUSE_MS_MAX: i64 = 86_400_000;
/// Digests begin when more waits than passes in this time.
const PASSES_MS: i64 = 60_000;

/// Tells channels apart.
pub(crate) type Key = [u8; 16];

/// How urgent a message is: what is smaller goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rank {
    pub(crate) class: Class,
    /// Within a class in the order of acceptance.
    pub(crate) delivery: DeliveryId,
}

/// What goes before what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// Something that has waited for too long behind criticals.
    Late,
    Critical,
    Other,
}

/// A channel of this process.
pub(crate) struct Channel {
    key: Key,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// A permit was taken, given back or asked for, or a pause has changed.
    changed: Notify,
}

struct State {
    limit: ChannelLimit,
    /// `None`: this node has no part of the limit.
    bucket: Option<Bucket>,
    paused_until_ms: i64,
    /// Who waits for a permit.
    asks: BTreeSet<(Rank, u64)>,
    asked: u64,
    /// Deliveries of all targets that wait in memory.
    waiting: usize,
}

impl State {
    /// When a permit can be had; `Ok`: now.
    fn ready(&mut self, now_ms: i64) -> Result<(), Option<i64>> {
        let paused = self.paused_until_ms;
        if paused > now_ms && paused - now_ms <= PAUSE_MS_MAX {
            return Err(Some(paused));
        }
        let bucket = self.bucket.as_mut().ok_or(None)?;
        if bucket.tokens(now_ms) == 0 {
            return Err(Some(bucket.next_at_ms()));
        }
        Ok(())
    }
}

/// Somebody waits for a permit; withdrawn when dropped.
struct Ask<'a> {
    channel: &'a Channel,
    ask: (Rank, u64),
}

impl Drop for Ask<'_> {
    fn drop(&mut self) {
        self.channel.lock().asks.remove(&self.ask);
        self.channel.changed.notify_waiters();
    }
}

impl Channel {
    fn new(wanted: &belfry_targets::Channel, share: Share, clock: Arc<dyn Clock>) -> Self {
        let (key, limit) = (wanted.key, wanted.limit);
        let now_ms = clock.now_ms();
        let bucket = part(limit, share).map(|rate| {
            let mut bucket = Bucket::empty(rate, now_ms);
            bucket.give_back();
            bucket
        });
        Self {
            key,
            clock,
            state: Mutex::new(State {
                limit,
                bucket,
                paused_until_ms: 0,
                asks: BTreeSet::new(),
                asked: 0,
                waiting: 0,
            }),
            changed: Notify::new(),
        }
    }

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock; a poisoned one still holds a usable state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up another limit, or another part of it because nodes have come or gone.
    fn divide(&self, limit: ChannelLimit, share: Share) {
        let now_ms = self.clock.now_ms();
        let mut state = self.lock();
        state.limit = limit;
        state.bucket = match (state.bucket.take(), part(limit, share)) {
            (Some(mut bucket), Some(rate)) => {
                if bucket.rate() != rate {
                    bucket.resize(rate, now_ms);
                }
                Some(bucket)
            }
            (None, Some(rate)) => Some(Bucket::empty(rate, now_ms)),
            (_, None) => None,
        };
        drop(state);
        self.changed.notify_waiters();
    }

    /// Takes a permit when there is one and nobody more urgent waits.
    pub(crate) async fn permit(&self, rank: Rank) {
        let ask = {
            let mut state = self.lock();
            state.asked += 1;
            let ask = (rank, state.asked);
            state.asks.insert(ask);
            Ask { channel: self, ask }
        };
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now_ms = self.clock.now_ms();
            let wait = {
                let mut state = self.lock();
                let first = state.asks.first() == Some(&ask.ask);
                match state.ready(now_ms) {
                    Ok(()) if first => {
                        if let Some(bucket) = &mut state.bucket {
                            bucket.take();
                        }
                        return;
                    }
                    // The more urgent one takes it, and says so.
                    Ok(()) | Err(None) => None,
                    Err(Some(at_ms)) => first.then(|| millis(at_ms - now_ms)),
                }
            };
            match wait {
                Some(wait) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep(wait) => {}
                },
                None => changed.await,
            }
        }
    }

    /// A permit was not used.
    pub(crate) fn give_back(&self) {
        if let Some(bucket) = &mut self.lock().bucket {
            bucket.give_back();
        }
        self.changed.notify_waiters();
    }

    /// The vendor asks to be left alone, ms from now; how long, if it did not say, is a span of the limit.
    pub(crate) fn pause(&self, wait_ms: Option<u64>) {
        let now_ms = self.clock.now_ms();
        let mut state = self.lock();
        let span = i64::try_from(state.limit.per.as_millis()).unwrap_or(PAUSE_MS_MAX);
        let wait_ms = wait_ms.map_or(span, |ms| i64::try_from(ms).unwrap_or(PAUSE_MS_MAX));
        let until_ms = now_ms.saturating_add(wait_ms.min(PAUSE_MS_MAX));
        state.paused_until_ms = state.paused_until_ms.max(until_ms);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Until when nothing is sent because the vendor asked for it, ms since 1970; 0: it did not.
    pub(crate) fn paused_until_ms(&self, now_ms: i64) -> i64 {
        let until_ms = self.lock().paused_until_ms;
        if until_ms > now_ms && until_ms - now_ms <= PAUSE_MS_MAX {
            until_ms
        } else {
            0
        }
    }

    /// Whether this node has a part of the limit.
    pub(crate) fn has_part(&self) -> bool {
        self.lock().bucket.is_some()
    }

    /// Whether a message would have to wait now.
    pub(crate) fn is_busy(&self, now_ms: i64) -> bool {
        let mut state = self.lock();
        state.waiting > 0 || state.ready(now_ms).is_err()
    }

    /// About how long a message would wait now, in ms: for the end of a pause or a permit, and behind those that wait.
    pub(crate) fn wait_ms(&self, now_ms: i64) -> i64 {
        let mut state = self.lock();
        let first_ms = match state.ready(now_ms) {
            Ok(()) => 0,
            Err(Some(at_ms)) => at_ms - now_ms,
            Err(None) => return i64::MAX,
        };
        let waiting = state.waiting;
        let Some(bucket) = &mut state.bucket else {
            return i64::MAX;
        };
        let rate = bucket.rate();
        let each_ms = rate.per_ms / i64::from(rate.count.max(1));
        let behind = (waiting + 1).saturating_sub(bucket.tokens(now_ms).max(1));
        let behind_ms = each_ms.saturating_mul(i64::try_from(behind).unwrap_or(i64::MAX));
        first_ms.saturating_add(behind_ms)
    }

    /// So many more, or fewer, wait in memory.
    pub(crate) fn wait_more(&self, change: isize) {
        let mut state = self.lock();
        state.waiting = state.waiting.saturating_add_signed(change);
    }

    /// How many deliveries wait, and how many messages pass in a minute.
    pub(crate) fn load(&self) -> (usize, usize) {
        let state = self.lock();
        let passes = state.bucket.as_ref().map_or(0, |bucket| {
            let rate = bucket.rate();
            i64::from(rate.count) * PASSES_MS / rate.per_ms.max(1)
        });
        (state.waiting, usize::try_from(passes).unwrap_or(0).max(1))
    }
}

/// This node's part of a limit; `None`: nothing. Permits and burst of all nodes together are within it, so a node needs
/// two of them: one to begin with, and one that comes again.
pub(crate) fn part(limit: ChannelLimit, share: Share) -> Option<Rate> {
    let (permits, burst) = (limit.permits.max(1), limit.burst.max(1));
    let all = permits.saturating_add(burst);
    let senders = usize::try_from(all / 2).unwrap_or(usize::MAX);
    let own = share.part(senders, Some(all)).rate?;
    let of_burst = u64::from(burst) * u64::from(own) / u64::from(all);
    let burst = u32::try_from(of_burst).unwrap_or(u32::MAX).max(1);
    let count = own.saturating_sub(burst);
    let per_ms = i64::try_from(limit.per.as_millis()).unwrap_or(PAUSE_MS_MAX);
    (count > 0).then(|| Rate {
        count,
        per_ms: per_ms.max(1),
        burst,
    })
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0).max(1))
}

/// What a channel is drawn by when limits are divided among nodes.
pub(crate) fn drawn_by(key: &Key) -> TargetId {
    let [a, b, c, d, ..] = *key;
    TargetId(i32::from_le_bytes([a, b, c, d & 0x7f]))
}

/// So many channels of trials are remembered.
const KEPT_MAX: usize = 64;

/// The channels of this process that some target uses.
#[derive(Default)]
pub(crate) struct Channels {
    all: Mutex<HashMap<Key, Weak<Channel>>>,
    /// Those of the last trials: nobody else may hold them, and the next trial is to know of them.
    kept: Mutex<VecDeque<Arc<Channel>>>,
}

impl Channels {
    /// The channel of a target; it takes up the limit if it is another one.
    pub(crate) fn of(
        &self,
        wanted: &belfry_targets::Channel,
        share: impl Fn(TargetId) -> Share,
        clock: &Arc<dyn Clock>,
    ) -> Arc<Channel> {
        let share = share(drawn_by(&wanted.key));
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&wanted.key).and_then(Weak::upgrade) {
            known.divide(wanted.limit, share);
            return known;
        }
        all.retain(|_, channel| channel.strong_count() > 0);
        let channel = Arc::new(Channel::new(wanted, share, Arc::clone(clock)));
        all.insert(wanted.key, Arc::downgrade(&channel));
        channel
    }

    /// The same for one request alone; the channel is remembered for the next.
    pub(crate) fn kept(
        &self,
        wanted: &belfry_targets::Channel,
        share: impl Fn(TargetId) -> Share,
        clock: &Arc<dyn Clock>,
    ) -> Arc<Channel> {
        let channel = self.of(wanted, share, clock);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|other| other.key != channel.key);
        kept.push_back(Arc::clone(&channel));
        if kept.len() > KEPT_MAX {
            kept.pop_front();
        }
        channel
    }

    /// Nodes have come or gone.
    pub(crate) fn divide(&self, share: impl Fn(TargetId) -> Share) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, channel) in all.iter() {
            if let Some(channel) = channel.upgrade() {
                let limit = channel.lock().limit;
                channel.divide(limit, share(drawn_by(key)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use belfry_model::{EventId, NodeId};
    use tokio::time::Instant;

    use super::*;

    /// The time of the runtime.
    #[derive(Debug)]
    struct Paused(Instant);

    impl Clock for Paused {
        fn now_ms(&self) -> i64 {
            1_700_000_000_000 + i64::try_from(self.0.elapsed().as_millis()).unwrap()
        }
    }

    fn channel(permits: u32, per: Duration, burst: u32) -> Arc<Channel> {
        let limit = ChannelLimit {
            permits,
            per,
            burst,
        };
        let wanted = belfry_targets::Channel {
            key: [7; 16],
            limit,
        };
        let clock: Arc<dyn Clock> = Arc::new(Paused(Instant::now()));
        let alone = |target| Share::among(NodeId(0), &[NodeId(0)], target);
        Channels::default().of(&wanted, alone, &clock)
    }

    fn rank(class: Class, n: i64) -> Rank {
        let delivery = DeliveryId {
            event: EventId::from_stored(n),
            target: TargetId(1),
        };
        Rank { class, delivery }
    }

    #[tokio::test(start_paused = true)]
    async fn never_more_than_burst_and_permits_pass_in_any_span() {
        let channel = channel(18, Duration::from_mins(1), 2);
        let begun = Instant::now();
        let mut at = Vec::new();
        for n in 0..100 {
            // After a rest the burst is there again.
            if n == 40 {
                tokio::time::sleep(Duration::from_mins(5)).await;
            }
            channel.permit(rank(Class::Other, n)).await;
            at.push(begun.elapsed());
        }
        for (n, first) in at.iter().enumerate() {
            let span = at[n..]
                .iter()
                .take_while(|other| **other < *first + Duration::from_mins(1));
            assert!(
                span.count() <= 20,
                "more than the vendor allows after {first:?}"
            );
        }
        // One at the start, the others evenly.
        assert!(
            at[0].is_zero() && at[1] >= Duration::from_millis(3333),
            "{at:?}"
        );
        assert!(at[39] < Duration::from_secs(132), "{at:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_urgent_goes_first_whoever_asked_before() {
        let channel = channel(1, Duration::from_secs(1), 1);
        channel.permit(rank(Class::Other, 0)).await;
        let (told, mut order) = tokio::sync::mpsc::channel(8);
        for (class, n) in [
            (Class::Other, 2),
            (Class::Other, 1),
            (Class::Critical, 9),
            (Class::Critical, 8),
            (Class::Late, 10),
        ] {
            let (channel, told) = (Arc::clone(&channel), told.clone());
            tokio::spawn(async move {
                channel.permit(rank(class, n)).await;
                told.send(n).await.unwrap();
            });
            tokio::task::yield_now().await;
        }
        // Somebody who does not wait any more keeps nobody back.
        let gone = tokio::time::timeout(
            Duration::from_millis(10),
            channel.permit(rank(Class::Late, 0)),
        );
        assert!(gone.await.is_err());
        drop(told);
        let mut went = Vec::new();
        while let Some(n) = order.recv().await {
            went.push(n);
        }
        assert_eq!(went, [10, 8, 9, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everybody_until_it_ends() {
        let channel = channel(60, Duration::from_mins(1), 5);
        let begun = Instant::now();
        channel.pause(Some(600_000));
        channel.pause(Some(1000));
        assert!(channel.is_busy(channel.clock.now_ms()));
        channel.permit(rank(Class::Critical, 1)).await;
        assert_eq!(begun.elapsed(), Duration::from_mins(10));
    }

    #[test]
    fn the_parts_of_all_nodes_are_within_the_limit() {
        for nodes in 1..6 {
            let nodes: Vec<NodeId> = (0..nodes).map(NodeId).collect();
            for (permits, burst) in [(1, 1), (1, 3), (2, 1), (18, 2), (15, 5), (60, 30)] {
                let limit = ChannelLimit {
                    permits,
                    per: Duration::from_mins(1),
                    burst,
                };
                let part = |me: &NodeId| part(limit, Share::among(*me, &nodes, TargetId(9)));
                let parts: Vec<Rate> = nodes.iter().filter_map(part).collect();
                let all: u32 = parts.iter().map(|rate| rate.count + rate.burst).sum();
                assert!(all <= permits + burst, "{nodes:?} {limit:?} {parts:?}");
                assert!(!parts.is_empty(), "somebody sends");
                if nodes.len() == 1 {
                    assert_eq!((parts[0].count, parts[0].burst), (permits, burst));
                }
            }
        }
    }
}
