//! Whether a target is told of an event of an alarm. Pure: what is known is passed in.
//!
//! It is asked just before a message is made, and once more if the message had to wait. A delivery that somebody wants
//! (a redrive, a replay) is not asked about, nor one of which a part was sent.

use belfry_alarm::{Alarm, AlarmState, Severity, Sign};
use belfry_model::config::Alarms;
use belfry_model::delivery::Reason;
use belfry_model::{AlarmId, EventId, OrderKey, TargetId};
use belfry_store::{AlarmRecord, AlarmSign, Told};
use belfry_targets::{AlarmLife, Attempted};
use sha2::{Digest as _, Sha256};

/// Longest text that a message may leave behind for later ones.
const THREAD_BYTES_MAX: usize = 4096;
/// Longest title that is kept of an alarm, in characters.
const TITLE_CHARS_MAX: usize = 256;

/// Why a target is not told, for programs and for people.
pub(crate) type Refusal = (Reason, String);

/// The number under which a severity is kept.
pub(crate) const fn rank(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Error => 2,
        Severity::Critical => 3,
    }
}

/// What an event says of an alarm, without the ids that it gets in its commit; costs an event that is none one look.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    sign: Sign,
    title: Option<String>,
}

impl Signed {
    pub(crate) fn of(event: &belfry_model::Event) -> Option<Self> {
        let sign = Sign::of(event)?;
        let title = Alarm::read(event).title.map(|title| {
            let plain = title.chars().map(|c| if c.is_control() { ' ' } else { c });
            plain.take(TITLE_CHARS_MAX).collect()
        });
        Some(Self { sign, title })
    }

    /// As it is stored.
    pub(crate) fn noted(
        &self,
        id: EventId,
        bus: belfry_model::BusId,
        event: &belfry_model::Event,
    ) -> AlarmSign {
        AlarmSign {
            event: id,
            bus,
            key: self.sign.key.as_str().to_owned(),
            firing: self.sign.state == AlarmState::Firing,
            severity: rank(self.sign.severity),
            source: event.source().to_owned(),
            kind: event.kind().to_owned(),
            subject: event.subject().map(str::to_owned),
            title: self.title.clone(),
        }
    }

    /// Events of an alarm reach a person in their order.
    pub(crate) fn order(&self) -> OrderKey {
        OrderKey(hash(["alarm", self.sign.key.as_str()]))
    }
}

/// An alarm and what the target was told of it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) alarm: AlarmRecord,
    pub(crate) told: Option<Told>,
}

impl Known {
    /// What a message is made with.
    pub(crate) fn life(&self, sign: &Sign) -> AlarmLife {
        let recovered = sign.state == AlarmState::Recovered;
        let told = self.told.as_ref();
        let told = told.filter(|told| recovered || self.is_same(told));
        // It may have fired anew since.
        let earlier = told.filter(|told| !self.is_same(told));
        AlarmLife {
            count: earlier.map_or(self.alarm.fired, |told| told.count).max(1),
            first_at_ms: earlier
                .map_or(self.alarm.first, |told| told.since)
                .time_ms(),
            told_at_ms: told.map(|told| told.first_at_ms),
            thread: told.and_then(|told| told.thread.clone()),
        }
    }

    /// Whether what was told is of the same life of the alarm: it has not fired anew since.
    fn is_same(&self, told: &Told) -> bool {
        told.since == self.alarm.first
    }

    /// What the target has been told when a message about `event` has arrived.
    pub(crate) fn told_of(
        &self,
        sign: &Sign,
        event: EventId,
        target: TargetId,
        attempted: &Left,
        now_ms: i64,
    ) -> Told {
        let firing = sign.state == AlarmState::Firing;
        let before = self
            .told
            .as_ref()
            .filter(|told| !firing || self.is_same(told));
        Told {
            alarm: AlarmId(self.alarm.id.0),
            target,
            since: before.map_or(self.alarm.first, |told| told.since),
            last: event,
            firing,
            severity: match before {
                Some(told) if !firing => told.severity,
                _ => rank(sign.severity),
            },
            count: before.map_or(0, |told| told.count) + 1,
            first_at_ms: before.map_or(now_ms, |told| told.first_at_ms),
            last_at_ms: now_ms,
            thread: before
                .and_then(|told| told.thread.clone())
                .or_else(|| attempted.0.clone()),
        }
    }
}

/// What a message has left behind for later ones.
pub(crate) struct Left(Option<String>);

impl Left {
    pub(crate) fn by(attempted: &Attempted) -> Self {
        let thread = attempted.thread.as_ref();
        Self(
            thread
                .filter(|text| text.len() <= THREAD_BYTES_MAX && !text.contains('\0'))
                .cloned(),
        )
    }
}

/// Whether an alarm is too mild for a target.
pub(crate) fn too_mild(wishes: Option<&Alarms>, alarm: &Alarm) -> Option<Refusal> {
    let least = wishes?.min_severity.as_deref().and_then(Severity::parse)?;
    (alarm.state != AlarmState::Recovered && alarm.severity < least).then(|| {
        let detail = format!(
            "its severity is {}, the target is told of {} and worse",
            alarm.severity.as_str(),
            least.as_str()
        );
        (Reason::BelowSeverity, detail)
    })
}

/// Whether a target that was told what is `known` is not to be told of an event. `wishes` are the target's own.
pub(crate) fn refuses(
    wishes: Option<&Alarms>,
    sign: &Sign,
    event: EventId,
    known: &Known,
    now_ms: i64,
) -> Option<Refusal> {
    let told = known.told.as_ref();
    if sign.state == AlarmState::Recovered {
        if wishes.is_some_and(|wishes| !wishes.recovery) {
            let detail = "the target is not told that alarms are over".to_owned();
            return Some((Reason::AlarmNotTold, detail));
        }
        return match told {
            Some(told) if told.firing && told.last < event => None,
            Some(told) if told.firing => Some((
                Reason::AlarmNotTold,
                "the target was told since that it fires anew".to_owned(),
            )),
            Some(told) if told.since == known.alarm.first => Some((
                Reason::AlarmRepeat,
                "the target was told already that it is over".to_owned(),
            )),
            _ => Some((
                Reason::AlarmNotTold,
                "the target was never told that it fires".to_owned(),
            )),
        };
    }
    let same = told.filter(|told| told.firing && known.is_same(told));
    let over = known.alarm.recovered.is_some_and(|over| over > event);
    if over && told.is_none_or(|told| !told.firing) {
        return Some((
            Reason::AlarmNotTold,
            "recovered before it was sent".to_owned(),
        ));
    }
    let (wishes, same) = (wishes?, same?);
    let until_ms = same
        .last_at_ms
        .saturating_add(i64::from(wishes.repeat_seconds) * 1000);
    (now_ms < until_ms && rank(sign.severity) <= same.severity).then(|| {
        let detail = format!(
            "told {} s ago; repeats are kept back for {} s",
            (now_ms - same.last_at_ms) / 1000,
            wishes.repeat_seconds
        );
        (Reason::AlarmRepeat, detail)
    })
}

/// Alarms with the same number are told of together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct GroupKey(i64);

/// The group that an alarm belongs to, if the target has groups.
pub(crate) fn group(wishes: Option<&Alarms>, alarm: &Alarm) -> Option<GroupKey> {
    let labels = wishes?.group_by.as_ref()?;
    let values: Vec<_> = labels.iter().map(|label| alarm.label(label)).collect();
    Some(GroupKey(hash(values.iter().map(|value| &**value))))
}

fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> i64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest
        .first_chunk::<8>()
        .map_or(0, |first| i64::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use belfry_alarm::AlarmKey;
    use belfry_model::BusId;
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_700_000_000_000;
    const TARGET: TargetId = TargetId(1);

    fn id(n: i64) -> EventId {
        EventId::from_stored(n)
    }

    fn sign(firing: bool, severity: Severity) -> Sign {
        Sign {
            key: AlarmKey::given("k"),
            state: if firing {
                AlarmState::Firing
            } else {
                AlarmState::Recovered
            },
            severity,
        }
    }

    /// What is known when all events have been accepted and a target was told of some.
    struct Story {
        alarm: Option<AlarmRecord>,
        told: Option<Told>,
    }

    impl Story {
        fn of(events: &[bool]) -> Self {
            let mut alarm = None;
            for (n, firing) in (1..).zip(events) {
                let noted = AlarmSign {
                    event: id(n),
                    bus: BusId(1),
                    key: "k".to_owned(),
                    firing: *firing,
                    severity: 1,
                    source: String::new(),
                    kind: String::new(),
                    subject: None,
                    title: None,
                };
                alarm = Some(AlarmRecord::after(alarm.as_ref(), &noted));
            }
            Self { alarm, told: None }
        }

        fn known(&self) -> Known {
            Known {
                alarm: self.alarm.clone().unwrap(),
                told: self.told.clone(),
            }
        }

        /// Asks, and tells if nothing is against it.
        fn ask(
            &mut self,
            wishes: Option<&Alarms>,
            firing: bool,
            event: i64,
            now_ms: i64,
        ) -> Option<Reason> {
            let (known, sign) = (self.known(), sign(firing, Severity::Warning));
            if let Some((reason, _)) = refuses(wishes, &sign, id(event), &known, now_ms) {
                return Some(reason);
            }
            let left = Left(Some(format!("thread {event}")));
            self.told = Some(known.told_of(&sign, id(event), TARGET, &left, now_ms));
            None
        }
    }

    #[test]
    fn a_recovery_goes_to_those_who_were_told_and_once() {
        let mut story = Story::of(&[true, false, false]);
        // The target comes to it when everything has happened already.
        assert_eq!(story.ask(None, true, 1, NOW), Some(Reason::AlarmNotTold));
        assert_eq!(story.ask(None, false, 2, NOW), Some(Reason::AlarmNotTold));
        // It was told in time.
        let mut story = Story::of(&[true]);
        assert_eq!(story.ask(None, true, 1, NOW), None);
        story.alarm = Story::of(&[true, false, false]).alarm;
        assert_eq!(story.ask(None, false, 2, NOW), None);
        assert_eq!(story.ask(None, false, 3, NOW), Some(Reason::AlarmRepeat));
        let silent = Alarms {
            recovery: false,
            ..Alarms::default()
        };
        let mut story = Story::of(&[true]);
        assert_eq!(story.ask(Some(&silent), true, 1, NOW), None);
        assert_eq!(
            story.ask(Some(&silent), false, 2, NOW),
            Some(Reason::AlarmNotTold)
        );
    }

    #[test]
    fn who_was_told_hears_of_the_end_also_when_it_fires_anew_already() {
        let mut story = Story::of(&[true]);
        assert_eq!(story.ask(None, true, 1, NOW), None);
        story.alarm = Story::of(&[true, false, true]).alarm;
        assert_eq!(story.ask(None, false, 2, NOW), None);
        assert_eq!(
            story.told.as_ref().unwrap().thread.as_deref(),
            Some("thread 1")
        );
        assert_eq!(story.ask(None, true, 3, NOW), None);
        let told = story.told.unwrap();
        assert_eq!((told.count, told.thread.as_deref()), (1, Some("thread 3")));
    }

    #[test]
    fn repeats_are_kept_back_until_their_time_unless_it_became_worse() {
        let wishes = Alarms {
            repeat_seconds: 60,
            ..Alarms::default()
        };
        let mut story = Story::of(&[true, true, true, true]);
        assert_eq!(story.ask(Some(&wishes), true, 1, NOW), None);
        assert_eq!(
            story.ask(Some(&wishes), true, 2, NOW + 59_999),
            Some(Reason::AlarmRepeat)
        );
        let worse = sign(true, Severity::Critical);
        assert_eq!(
            refuses(Some(&wishes), &worse, id(2), &story.known(), NOW),
            None
        );
        assert_eq!(story.ask(Some(&wishes), true, 3, NOW + 60_000), None);
        let told = story.told.clone().unwrap();
        assert_eq!((told.count, told.thread.as_deref()), (2, Some("thread 1")));
        let life = story.known().life(&sign(true, Severity::Warning));
        assert_eq!((life.count, life.told_at_ms), (4, Some(NOW)));
        // Without wishes every one is told of.
        assert_eq!(story.ask(None, true, 4, NOW + 60_001), None);
        // Fired anew, it is no repeat.
        story.alarm = Story::of(&[true, true, true, true, false, true]).alarm;
        assert_eq!(story.ask(Some(&wishes), false, 5, NOW + 60_002), None);
        assert_eq!(story.ask(Some(&wishes), true, 6, NOW + 60_003), None);
    }

    proptest! {
        /// Whatever waits however long: nobody is told that something is over without having been told that it began, and
        /// who was told that it began hears of the end.
        #[test]
        fn everybody_hears_of_the_end_of_what_they_were_told_of(
            events in proptest::collection::vec(any::<bool>(), 1..12),
            lag in proptest::collection::vec(0_usize..4, 12),
            repeat_seconds in 0_u32..30, wished in any::<bool>(),
        ) {
            let wishes = Alarms { repeat_seconds, ..Alarms::default() };
            let wishes = wished.then_some(&wishes);
            let mut told = None;
            let mut open = false;
            for (n, firing) in events.iter().enumerate() {
                // So many events have been accepted when this one's turn comes.
                let seen = (n + 1 + lag[n]).min(events.len());
                let mut story = Story { told, ..Story::of(&events[..seen]) };
                let number = i64::try_from(n).unwrap() + 1;
                let went = story.ask(wishes, *firing, number, NOW + number * 1000).is_none();
                if went {
                    prop_assert!(*firing || open, "told of the end of nothing");
                    open = *firing;
                } else if !*firing {
                    prop_assert!(!open, "the end was kept back");
                }
                told = story.told;
            }
        }
    }
}
