//! What waits in one target's lane for its turn, where turns are scarce: criticals first, then in the order of acceptance;
//! what belongs to one group together; and in a storm everything but criticals folded into one message a minute. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use belfry_alarm::{Alarm, AlarmState, Severity};
use belfry_model::config::Alarms;
use belfry_targets::Part;

use crate::channel::{Class, Rank};
use crate::gate::GroupKey;
use crate::work::Work;

/// Most deliveries of one message.
const FOLDED_MAX: usize = 1000;
/// About so many bytes of documents in one message.
const FOLDED_BYTES_MAX: usize = 1 << 20;
/// From the beginning of a storm to its first digest: time for the first wave to come together.
const DIGEST_FIRST_MS: i64 = 5_000;
/// Between two digests.
const DIGEST_EVERY_MS: i64 = 60_000;
/// So many minutes without a storm end it.
const QUIET_MINUTES: u32 = 2;
/// A digest that has waited for so long goes before criticals.
const LATE_MS: i64 = 60_000;
/// The others of a group are claimed within this time.
const GATHER_MS: i64 = 300;
/// Groups that are remembered; of one that is forgotten the next message may come too early.
const GROUPS_MAX: usize = 10_000;

/// A delivery that may be sent.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) work: Arc<Work>,
    class: Class,
    severity: Severity,
    group: Option<GroupKey>,
}

impl Ready {
    pub(crate) fn new(work: Arc<Work>, alarm: &Alarm, group: Option<GroupKey>) -> Self {
        let critical = alarm.severity == Severity::Critical && alarm.state != AlarmState::Recovered;
        Self {
            work,
            class: if critical {
                Class::Critical
            } else {
                Class::Other
            },
            severity: alarm.severity,
            group,
        }
    }

    /// Whether it goes with others of its group.
    pub(crate) fn is_grouped(&self) -> bool {
        self.group.is_some()
    }

    fn rank(&self) -> Rank {
        Rank {
            class: self.class,
            delivery: self.work.delivery,
        }
    }
}

/// One message: the first delivery carries the others.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) works: Vec<Arc<Work>>,
    /// Whether they are together because of a storm.
    pub(crate) digest: bool,
    /// Whether they are together because the target takes many at once.
    pub(crate) batch: bool,
}

impl Parcel {
    fn of(deliveries: Vec<Ready>, digest: bool) -> Self {
        Self {
            works: deliveries.into_iter().map(|ready| ready.work).collect(),
            digest,
            batch: false,
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Send what [`Outbox::take`] gives.
    Send(Rank),
    /// Nothing before this time, ms since 1970, unless something comes.
    Wait(i64),
    Nothing,
}

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    singles: BTreeMap<Rank, Ready>,
    groups: HashMap<GroupKey, Vec<Ready>>,
    /// When the messages of groups are due, and when the last one went.
    times: HashMap<GroupKey, GroupTimes>,
    storm: Option<Storm>,
}

#[derive(Debug, Clone, Copy, Default)]
struct GroupTimes {
    due_at_ms: Option<i64>,
    last_at_ms: Option<i64>,
}

/// More comes than passes.
#[derive(Debug, Clone, Copy)]
struct Storm {
    digest_at_ms: i64,
    /// What has come since the last digest and is no critical.
    arrived: usize,
    /// Minutes in a row in which no more came than passes.
    quiet: u32,
}

impl Storm {
    fn minute_over(&mut self, waiting: usize, passes: usize, at_ms: i64) {
        let quiet = self.arrived <= passes && waiting <= passes;
        self.quiet = if quiet { self.quiet + 1 } else { 0 };
        self.arrived = 0;
        self.digest_at_ms = at_ms + DIGEST_EVERY_MS;
    }
}

/// What waits in one target's lane, by the part of it that goes next: what waits for one channel keeps back nothing that
/// goes through another, and no message tells of deliveries of which different parts are done.
#[derive(Debug, Default)]
pub(crate) struct Outboxes(BTreeMap<Part, Outbox>);

/// Parts that are remembered though nothing waits for them.
const PARTS_MAX: usize = 64;

impl Outboxes {
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(Outbox::len).sum()
    }

    pub(crate) fn of(&mut self, part: Part) -> &mut Outbox {
        if self.0.len() >= PARTS_MAX && !self.0.contains_key(&part) {
            self.0.retain(|_, outbox| outbox.len() > 0);
        }
        self.0.entry(part).or_default()
    }

    pub(crate) fn all(&mut self) -> impl Iterator<Item = (Part, &mut Outbox)> {
        self.0.iter_mut().map(|(part, outbox)| (*part, outbox))
    }
}

impl Outbox {
    pub(crate) fn len(&self) -> usize {
        self.singles.len() + self.groups.values().map(Vec::len).sum::<usize>()
    }

    /// When the message of a group is due that a delivery accepted at `since_ms` belongs to.
    pub(crate) fn group_due(
        &mut self,
        group: GroupKey,
        wishes: &Alarms,
        since_ms: i64,
        now_ms: i64,
    ) -> i64 {
        let ms = |seconds: u32| i64::from(seconds) * 1000;
        if self.times.len() >= GROUPS_MAX && !self.times.contains_key(&group) {
            self.forget_groups(ms(wishes.group_interval_seconds), now_ms);
        }
        let times = self.times.entry(group).or_default();
        // One that is further ahead than any can be was set before the clock stepped back.
        let longest = wishes.group_wait_seconds.max(wishes.group_interval_seconds);
        let due = times.due_at_ms.filter(|due| due - now_ms <= ms(longest));
        if let Some(due_at_ms) = due {
            return due_at_ms;
        }
        let next = times
            .last_at_ms
            .filter(|last| *last <= now_ms)
            .map(|last| last + ms(wishes.group_interval_seconds))
            .filter(|next| *next > now_ms);
        let due_at_ms = next.unwrap_or_else(|| since_ms + ms(wishes.group_wait_seconds));
        times.due_at_ms = Some(due_at_ms);
        due_at_ms
    }

    /// When the message of a group is due that a delivery belongs to which has been tried before: now, if there is none.
    pub(crate) fn group_now(&mut self, group: GroupKey, now_ms: i64) -> i64 {
        let times = self.times.entry(group).or_default();
        *times.due_at_ms.get_or_insert(now_ms)
    }

    /// Those whose next message has no time to wait for; if that is not enough, all.
    fn forget_groups(&mut self, interval_ms: i64, now_ms: i64) {
        self.times.retain(|_, times| {
            times.due_at_ms.is_some()
                || times
                    .last_at_ms
                    .is_some_and(|last| last + interval_ms > now_ms)
        });
        if self.times.len() >= GROUPS_MAX {
            self.times.clear();
        }
    }

    pub(crate) fn push(&mut self, ready: Ready) {
        if let Some(group) = ready.group {
            self.groups.entry(group).or_default().push(ready);
        } else {
            if let Some(storm) = &mut self.storm {
                storm.arrived += usize::from(ready.class != Class::Critical);
            }
            self.singles.insert(ready.rank(), ready);
        }
    }

    /// Everything, to be given back.
    pub(crate) fn drain(&mut self) -> Vec<Ready> {
        let groups = std::mem::take(&mut self.groups);
        let singles = std::mem::take(&mut self.singles);
        singles
            .into_values()
            .chain(groups.into_values().flatten())
            .collect()
    }

    /// What to do now. `load`: how many deliveries wait for the channel and how many messages pass in a minute; absent,
    /// there is no limit. `folds`: whether one message can tell of several.
    pub(crate) fn turn(&mut self, load: Option<(usize, usize)>, folds: bool, now_ms: i64) -> Turn {
        self.follow_storm(load.filter(|_| folds), now_ms);
        let single = self.single().map(Ready::rank);
        let group = self
            .due_group(now_ms)
            .and_then(|group| self.group_rank(group));
        let digest = self.digest_rank(now_ms);
        if let Some(best) = [single, group, digest].into_iter().flatten().min() {
            return Turn::Send(best);
        }
        let gathers = self.groups.keys().map(|group| self.gathered_at_ms(*group));
        let digests = self.storm.filter(|_| self.mild().next().is_some());
        let next = gathers.chain(digests.map(|storm| storm.digest_at_ms)).min();
        next.map_or(Turn::Nothing, Turn::Wait)
    }

    /// The message of the turn that was told before, or of a better one that has come since.
    pub(crate) fn take(
        &mut self,
        load: Option<(usize, usize)>,
        folds: bool,
        now_ms: i64,
    ) -> Option<Parcel> {
        let Turn::Send(best) = self.turn(load, folds, now_ms) else {
            return None;
        };
        if self.single().is_some_and(|ready| ready.rank() == best) {
            let ready = self.singles.remove(&best)?;
            return Some(Parcel::of(vec![ready], false));
        }
        if let Some(group) = self.due_group(now_ms)
            && self.group_rank(group) == Some(best)
        {
            return Some(self.take_group(group, folds, now_ms));
        }
        Some(self.take_digest(load, now_ms))
    }

    /// The first that goes by itself.
    fn single(&self) -> Option<&Ready> {
        let first = self.singles.first_key_value().map(|(_, ready)| ready);
        first.filter(|ready| self.storm.is_none() || ready.class == Class::Critical)
    }

    fn gathered_at_ms(&self, group: GroupKey) -> i64 {
        let due = self.times.get(&group).and_then(|times| times.due_at_ms);
        due.map_or(0, |due| due + GATHER_MS)
    }

    fn due_group(&self, now_ms: i64) -> Option<GroupKey> {
        let due = self.groups.keys().copied();
        due.filter(|group| self.gathered_at_ms(*group) <= now_ms)
            .min_by_key(|group| self.group_rank(*group))
    }

    fn group_rank(&self, group: GroupKey) -> Option<Rank> {
        self.groups.get(&group)?.iter().map(Ready::rank).min()
    }

    /// A digest that is due, as its first delivery would go, or before criticals if it has waited for long.
    fn digest_rank(&self, now_ms: i64) -> Option<Rank> {
        let storm = self.storm.filter(|storm| storm.digest_at_ms <= now_ms)?;
        let first = self.mild().next()?;
        let late = now_ms - storm.digest_at_ms >= LATE_MS;
        Some(Rank {
            class: if late { Class::Late } else { first.class },
            delivery: first.work.delivery,
        })
    }

    /// Everything that is folded in a storm, in the order of acceptance.
    fn mild(&self) -> impl Iterator<Item = &Ready> {
        self.singles
            .values()
            .filter(|ready| ready.class != Class::Critical)
    }

    /// Notices that a storm begins, and the minutes of it in which there is nothing to fold.
    fn follow_storm(&mut self, load: Option<(usize, usize)>, now_ms: i64) {
        let Some((waiting, passes)) = load else {
            self.storm = None;
            return;
        };
        let mild = self.mild().count();
        let Some(storm) = &mut self.storm else {
            if waiting > passes {
                self.storm = Some(Storm {
                    digest_at_ms: now_ms + DIGEST_FIRST_MS,
                    arrived: mild,
                    quiet: 0,
                });
            }
            return;
        };
        // Also after the clock stepped back.
        storm.digest_at_ms = storm.digest_at_ms.min(now_ms + DIGEST_EVERY_MS);
        while mild == 0 && storm.digest_at_ms <= now_ms && storm.quiet < QUIET_MINUTES {
            storm.minute_over(waiting, passes, storm.digest_at_ms);
            if waiting > passes {
                // Nothing but criticals: the minutes need not be counted one by one.
                storm.digest_at_ms = storm.digest_at_ms.max(now_ms);
            }
        }
        if storm.quiet >= QUIET_MINUTES {
            self.storm = None;
        }
    }

    fn take_group(&mut self, group: GroupKey, folds: bool, now_ms: i64) -> Parcel {
        let mut waiting = self.groups.remove(&group).unwrap_or_default();
        waiting.sort_by_key(|ready| (std::cmp::Reverse(ready.severity), ready.work.delivery));
        let most = if folds { FOLDED_MAX } else { 1 };
        let rest = split(&mut waiting, most);
        if rest.is_empty() {
            let times = self.times.entry(group).or_default();
            times.due_at_ms = None;
            times.last_at_ms = Some(now_ms);
        } else {
            self.groups.insert(group, rest);
        }
        Parcel::of(waiting, false)
    }

    fn take_digest(&mut self, load: Option<(usize, usize)>, now_ms: i64) -> Parcel {
        let mut waiting: Vec<Ready> = self.mild().cloned().collect();
        waiting.sort_by_key(|ready| (std::cmp::Reverse(ready.severity), ready.work.delivery));
        let rest = split(&mut waiting, FOLDED_MAX);
        for ready in &waiting {
            self.singles.remove(&ready.rank());
        }
        if let (Some(storm), true, Some((others, passes))) =
            (&mut self.storm, rest.is_empty(), load)
        {
            storm.minute_over(others.saturating_sub(waiting.len()), passes, now_ms);
        }
        let digest = waiting.len() > 1;
        Parcel::of(waiting, digest)
    }
}

/// Leaves what one message can tell of, at least one; gives back the rest.
fn split(waiting: &mut Vec<Ready>, most: usize) -> Vec<Ready> {
    let mut bytes = 0;
    let fits = waiting.iter().take(most).take_while(|ready| {
        bytes += ready.work.bytes();
        bytes <= FOLDED_BYTES_MAX
    });
    let fits = fits.count().max(1).min(waiting.len());
    waiting.split_off(fits)
}

#[cfg(test)]
mod tests {
    use belfry_model::event::{EventLimits, Fill};
    use belfry_model::{DeliveryId, Event, EventId, TargetId};

    use super::*;
    use crate::gate;

    /// Nothing passes at once; so many a minute.
    const PASSES: usize = 10;

    struct None;

    impl Fill for None {
        fn id(&mut self) -> String {
            "1".to_owned()
        }
        fn now_ms(&mut self) -> i64 {
            0
        }
    }

    fn ready(n: i64, severity: &str, group: Option<&str>) -> Ready {
        let text = serde_json::json!({
            "source": "s", "type": "t", "status": "1", "severity": severity, "region": group,
        });
        let event = Event::lenient(text.to_string().into(), &mut None, &EventLimits::default());
        let event = event.unwrap();
        let alarm = Alarm::read(&event);
        let wishes = Alarms {
            group_by: Some(vec!["region".to_owned()]),
            ..Alarms::default()
        };
        let group = group.and_then(|_| gate::group(Some(&wishes), &alarm));
        let delivery = DeliveryId {
            event: EventId::from_stored(n),
            target: TargetId(1),
        };
        Ready::new(
            Arc::new(Work::new(delivery, event, Option::None, Option::None)),
            &alarm,
            group,
        )
    }

    fn load(outbox: &Outbox) -> (usize, usize) {
        (outbox.len(), PASSES)
    }

    fn take(outbox: &mut Outbox, now_ms: i64) -> Option<(Vec<i64>, bool)> {
        let parcel = outbox.take(Some(load(outbox)), true, now_ms)?;
        let numbers = parcel.works.iter();
        let numbers = numbers.map(|work| work.delivery.event.get());
        Some((numbers.collect(), parcel.digest))
    }

    #[test]
    fn criticals_go_first_then_in_the_order_of_acceptance() {
        let mut outbox = Outbox::default();
        for (n, severity) in [(1, "info"), (3, "critical"), (2, "critical"), (0, "error")] {
            outbox.push(ready(n, severity, Option::None));
        }
        let order: Vec<_> = std::iter::from_fn(|| take(&mut outbox, 0)).collect();
        let single = |n| (vec![n], false);
        assert_eq!(order, [single(2), single(3), single(0), single(1)]);
    }

    #[test]
    fn in_a_storm_criticals_go_by_themselves_and_the_rest_in_one_message_a_minute() {
        let mut outbox = Outbox::default();
        for n in 0..40 {
            let severity = if n % 10 == 0 { "critical" } else { "warning" };
            outbox.push(ready(n, severity, Option::None));
        }
        outbox.push(ready(99, "error", Option::None));
        for n in [0, 10, 20, 30] {
            assert_eq!(take(&mut outbox, 0), Some((vec![n], false)));
        }
        // The first wave comes together.
        assert_eq!(
            outbox.turn(Some(load(&outbox)), true, 0),
            Turn::Wait(DIGEST_FIRST_MS)
        );
        outbox.push(ready(100, "critical", Option::None));
        assert_eq!(take(&mut outbox, 10), Some((vec![100], false)));
        let (digest, folded) = take(&mut outbox, DIGEST_FIRST_MS).unwrap();
        assert!(folded);
        assert_eq!(digest.len(), 37, "every one of them");
        assert_eq!(digest[..2], [99, 1], "the worst first");
        // From now on one a minute, also when it is little.
        let second = DIGEST_FIRST_MS + DIGEST_EVERY_MS;
        outbox.push(ready(200, "info", Option::None));
        outbox.push(ready(201, "info", Option::None));
        assert_eq!(take(&mut outbox, second - 1), Option::None);
        assert_eq!(take(&mut outbox, second), Some((vec![200, 201], true)));
        // Two quiet minutes, and each goes by itself again.
        outbox.push(ready(300, "info", Option::None));
        let third = second + DIGEST_EVERY_MS;
        assert_eq!(take(&mut outbox, third), Some((vec![300], false)));
        outbox.push(ready(301, "info", Option::None));
        outbox.push(ready(302, "info", Option::None));
        assert_eq!(take(&mut outbox, third + 1), Some((vec![301], false)));
    }

    #[test]
    fn a_storm_that_nobody_looks_at_is_over_after_two_minutes() {
        let mut outbox = Outbox::default();
        for n in 0..20 {
            outbox.push(ready(n, "warning", Option::None));
        }
        assert!(matches!(
            outbox.turn(Some(load(&outbox)), true, 0),
            Turn::Wait(_)
        ));
        assert_eq!(take(&mut outbox, 5000).unwrap().0.len(), 20);
        assert_eq!(outbox.turn(Some(load(&outbox)), true, 5001), Turn::Nothing);
        let later = 5000 + 2 * DIGEST_EVERY_MS;
        assert_eq!(outbox.turn(Some(load(&outbox)), true, later), Turn::Nothing);
        outbox.push(ready(50, "warning", Option::None));
        assert_eq!(take(&mut outbox, later + 1), Some((vec![50], false)));
    }

    #[test]
    fn a_digest_that_waited_for_a_minute_goes_before_criticals() {
        let mut outbox = Outbox::default();
        for n in 0..30 {
            let severity = if n < 20 { "critical" } else { "info" };
            outbox.push(ready(n, severity, Option::None));
        }
        assert_eq!(take(&mut outbox, 0), Some((vec![0], false)));
        assert_eq!(take(&mut outbox, DIGEST_FIRST_MS), Some((vec![1], false)));
        let (digest, _) = take(&mut outbox, DIGEST_FIRST_MS + LATE_MS).unwrap();
        assert_eq!(digest, (20..30).collect::<Vec<_>>());
    }

    #[test]
    fn one_message_is_bounded_and_the_rest_follows_at_once() {
        let mut outbox = Outbox::default();
        for n in 0..1500 {
            outbox.push(ready(n, "warning", Option::None));
        }
        assert!(matches!(
            outbox.turn(Some(load(&outbox)), true, 0),
            Turn::Wait(_)
        ));
        assert_eq!(take(&mut outbox, 5000).unwrap().0.len(), FOLDED_MAX);
        assert_eq!(take(&mut outbox, 5000).unwrap().0.len(), 500);
    }

    #[test]
    fn a_target_that_cannot_fold_sends_each_by_itself() {
        let mut outbox = Outbox::default();
        for n in 0..30 {
            outbox.push(ready(n, "warning", Option::None));
        }
        for n in 0..30 {
            let parcel = outbox.take(Some((30, PASSES)), false, 0).unwrap();
            assert_eq!(parcel.works[0].delivery.event.get(), n);
        }
    }

    #[test]
    fn a_group_waits_for_others_and_its_next_message_for_the_interval() {
        let wishes = Alarms {
            group_by: Some(vec!["region".to_owned()]),
            ..Alarms::default()
        };
        let mut outbox = Outbox::default();
        let first = ready(1, "info", Some("a"));
        let group = first.group.unwrap();
        assert_eq!(outbox.group_due(group, &wishes, 1000, 1000), 31_000);
        assert_eq!(outbox.group_due(group, &wishes, 20_000, 20_000), 31_000);
        outbox.push(first);
        outbox.push(ready(2, "critical", Some("a")));
        // Another group does not wait for this one.
        let other = ready(3, "info", Some("b"));
        outbox.group_due(other.group.unwrap(), &wishes, 0, 1000);
        outbox.push(other);
        assert_eq!(take(&mut outbox, 30_000), Option::None);
        assert_eq!(take(&mut outbox, 30_300), Some((vec![3], false)));
        assert_eq!(take(&mut outbox, 31_300), Some((vec![2, 1], false)));
        assert_eq!(outbox.group_due(group, &wishes, 40_000, 40_000), 331_300);
        // A group that nothing was heard of for long waits as at first.
        let mut outbox = Outbox::default();
        assert_eq!(outbox.group_due(group, &wishes, 1000, 500_000), 31_000);
    }
}
