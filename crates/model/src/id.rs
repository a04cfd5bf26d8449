//! Ids. An [`EventId`] is a 63-bit time-ordered integer, so that time ranges, paging, retention and recovery
//! are all ranges of one key (`docs/decisions/0003-durable-engine.md`); its text form sorts the same way.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NODE_BITS: u32 = 8;
const COUNTER_BITS: u32 = 14;
const SHIFT: u32 = NODE_BITS + COUNTER_BITS;
/// Crockford's base 32 in lower case: no `i l o u`, sorts like the number it stands for.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const EVENT_CHARS: usize = 13;
const TARGET_CHARS: usize = 7;

/// A node of the cluster, 0 to 255; part of every event id it gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u8);

/// An event's key: milliseconds since 1970 (41 bits), node (8 bits), counter (14 bits). Text: `evt_` + 13 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(i64);

impl EventId {
    /// The key as it is stored.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Takes a stored key. Negative numbers are no keys and become the smallest one.
    pub const fn from_stored(seq: i64) -> Self {
        Self(if seq < 0 { 0 } else { seq })
    }

    /// The smallest id that an event accepted at `ms` can have; bounds time ranges.
    pub const fn first_at(ms: i64) -> Self {
        let max = i64::MAX >> SHIFT;
        let ms = if ms < 0 {
            0
        } else if ms > max {
            max
        } else {
            ms
        };
        Self(ms << SHIFT)
    }

    /// When the event was accepted, in milliseconds since 1970.
    pub const fn time_ms(self) -> i64 {
        self.0 >> SHIFT
    }

    /// The node that accepted it.
    pub const fn node(self) -> NodeId {
        #[expect(clippy::cast_sign_loss, reason = "masked to eight bits")]
        NodeId(((self.0 >> COUNTER_BITS) & 0xff) as u8)
    }
}

/// Gives out strictly increasing event ids for one node, even if the clock steps back.
#[derive(Debug)]
pub struct EventIdSource {
    node: NodeId,
    last: i64,
}

impl EventIdSource {
    /// A source for `node` that continues after `last`, the newest id the node has given out before (if any).
    pub fn new(node: NodeId, last: Option<EventId>) -> Self {
        Self {
            node,
            last: last.map_or(0, EventId::get),
        }
    }

    /// The next id. More than 16,384 in a millisecond borrow from the following milliseconds.
    pub fn next(&mut self, now_ms: i64) -> EventId {
        let node = i64::from(self.node.0) << COUNTER_BITS;
        let counter_mask = (1_i64 << COUNTER_BITS) - 1;
        let floor = EventId::first_at(now_ms).0 | node;
        let next = if floor > self.last {
            floor
        } else if self.last & counter_mask == counter_mask {
            (((self.last >> SHIFT) + 1) << SHIFT) | node
        } else {
            // A clock that stepped back, or a predecessor's id: keep its millisecond, count on as this node.
            let same = ((self.last >> SHIFT) << SHIFT) | node | ((self.last & counter_mask) + 1);
            if same > self.last {
                same
            } else {
                (((self.last >> SHIFT) + 1) << SHIFT) | node
            }
        };
        self.last = next;
        EventId(next)
    }
}

macro_rules! small_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i32);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
small_id! {
    /// A bus's number in the store; never given out again after the bus is deleted.
    BusId
}
small_id! {
    /// A rule's number in the store; never given out again after the rule is deleted.
    RuleId
}
small_id! {
    /// A target's number in the store. It stands in every event's fan-out and is never given out again, so that
    /// history outlives the target.
    TargetId
}
small_id! {
    /// An archive's number, never given out again.
    ArchiveId
}
small_id! {
    /// A named document's number, never given out again.
    DocumentId
}

/// A replay; given out in order. As text: `rpl_` and 7 digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplayId(pub i32);

/// An alarm: named after the first event of it that was seen. Text: `alm_` + that event's 13 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlarmId(pub EventId);

/// A hash of the key by which a target's deliveries are kept in order; the same in every process. Two keys with the same
/// hash wait for each other, which costs time and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey(pub i64);

/// One event for one target. Text: `dlv_` + the event's 13 characters + 7 for the target. The same for every
/// attempt, so that receivers can tell a repeat (`webhook-id`); holds no dot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// The event delivered.
    pub event: EventId,
    /// The target it goes to.
    pub target: TargetId,
}

/// One request of a delivery; `number` counts from 1. Text: `att_` + the delivery's characters + `_` + number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The delivery it belongs to.
    pub delivery: DeliveryId,
    /// 1 for the first attempt.
    pub number: u32,
}

impl AttemptId {
    /// The attempt's span in its event's trace, never 0 (W3C Trace Context): made from the id, so that it need not be kept
    /// with each attempt, and spread over all numbers (the last step of `SplitMix64`, Steele et al. 2014, twice).
    pub fn span(self) -> u64 {
        const fn spread(mut x: u64) -> u64 {
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        }
        let DeliveryId { event, target } = self.delivery;
        let place = u64::from(target.0.cast_unsigned()) << 32 | u64::from(self.number);
        spread(spread(event.get().cast_unsigned()) ^ place).max(1)
    }
}

/// A text is no id of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id like {example}")]
pub struct InvalidId {
    example: &'static str,
}

fn encode(mut value: u64, chars: usize, out: &mut String) {
    let mut buf = [b'0'; EVENT_CHARS];
    for slot in buf.iter_mut().take(chars).rev() {
        let digit = (value & 31) as usize;
        *slot = ALPHABET.get(digit).copied().unwrap_or(b'0');
        value >>= 5;
    }
    out.extend(buf.iter().take(chars).map(|&b| char::from(b)));
}

fn decode(text: &str) -> Option<u64> {
    let mut value: u64 = 0;
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|&b| b == byte)?;
        value = value
            .checked_mul(32)?
            .checked_add(u64::try_from(digit).ok()?)?;
    }
    Some(value)
}

fn decode_event(text: &str) -> Option<EventId> {
    if text.len() != EVENT_CHARS {
        return None;
    }
    i64::try_from(decode(text)?).ok().map(EventId)
}

fn decode_delivery(text: &str) -> Option<DeliveryId> {
    if text.len() != EVENT_CHARS + TARGET_CHARS || !text.is_ascii() {
        return None;
    }
    let (event, target) = text.split_at(EVENT_CHARS);
    Some(DeliveryId {
        event: decode_event(event)?,
        target: TargetId(i32::try_from(decode(target)?).ok()?),
    })
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(4 + EVENT_CHARS);
        text.push_str("evt_");
        encode(self.0.unsigned_abs(), EVENT_CHARS, &mut text);
        f.write_str(&text)
    }
}

impl DeliveryId {
    fn push_digits(self, text: &mut String) {
        encode(self.event.0.unsigned_abs(), EVENT_CHARS, text);
        encode(u64::from(self.target.0.unsigned_abs()), TARGET_CHARS, text);
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(4 + EVENT_CHARS + TARGET_CHARS);
        text.push_str("dlv_");
        self.push_digits(&mut text);
        f.write_str(&text)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(8 + EVENT_CHARS + TARGET_CHARS);
        text.push_str("att_");
        self.delivery.push_digits(&mut text);
        write!(f, "{text}_{}", self.number)
    }
}

impl fmt::Display for ReplayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(4 + TARGET_CHARS);
        text.push_str("rpl_");
        encode(u64::from(self.0.unsigned_abs()), TARGET_CHARS, &mut text);
        f.write_str(&text)
    }
}

impl fmt::Display for AlarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(4 + EVENT_CHARS);
        text.push_str("alm_");
        encode(self.0.0.unsigned_abs(), EVENT_CHARS, &mut text);
        f.write_str(&text)
    }
}

impl FromStr for AlarmId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.strip_prefix("alm_")
            .and_then(decode_event)
            .map(Self)
            .ok_or(InvalidId {
                example: "alm_01jd0c4z8k000",
            })
    }
}

impl FromStr for ReplayId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.strip_prefix("rpl_")
            .filter(|digits| digits.len() == TARGET_CHARS)
            .and_then(decode)
            .and_then(|number| i32::try_from(number).ok())
            .map(Self)
            .ok_or(InvalidId {
                example: "rpl_0000001",
            })
    }
}

impl FromStr for EventId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.strip_prefix("evt_")
            .and_then(decode_event)
            .ok_or(InvalidId {
                example: "evt_01jd0c4z8k000",
            })
    }
}

impl FromStr for DeliveryId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.strip_prefix("dlv_")
            .and_then(decode_delivery)
            .ok_or(InvalidId {
                example: "dlv_01jd0c4z8k0000000001",
            })
    }
}

impl FromStr for AttemptId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parse = || {
            let (delivery, number) = text.strip_prefix("att_")?.split_once('_')?;
            Some(Self {
                delivery: decode_delivery(delivery)?,
                number: number.parse().ok().filter(|&n| n > 0)?,
            })
        };
        parse().ok_or(InvalidId {
            example: "att_01jd0c4z8k0000000001_1",
        })
    }
}

macro_rules! text_id {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
text_id!(EventId);
text_id!(DeliveryId);
text_id!(AttemptId);
text_id!(ReplayId);
text_id!(AlarmId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_increase_when_the_clock_stands_still_or_steps_back() {
        let mut source = EventIdSource::new(NodeId(3), None);
        let mut last = source.next(1_700_000_000_000);
        for step in 0..40_000_i64 {
            let id = source.next(1_700_000_000_000 - step);
            assert!(id > last);
            assert_eq!(id.node(), NodeId(3));
            last = id;
        }
        assert!(last.time_ms() - 1_700_000_000_000 <= 3);
    }

    #[test]
    fn an_id_continues_after_the_newest_one_of_an_earlier_run() {
        let newest = EventIdSource::new(NodeId(9), None).next(2_000_000);
        let mut source = EventIdSource::new(NodeId(2), Some(newest));
        assert!(source.next(1_000_000) > newest);
    }

    #[test]
    fn ids_round_trip_through_text_and_sort_alike() {
        let mut source = EventIdSource::new(NodeId(0), None);
        let (a, b) = (
            source.next(1_763_700_000_000),
            source.next(1_763_700_000_001),
        );
        assert!(a.to_string() < b.to_string());
        assert_eq!(a.to_string().parse::<EventId>().unwrap(), a);
        let alarm = AlarmId(a);
        assert_eq!(alarm.to_string().parse::<AlarmId>().unwrap(), alarm);
        let delivery = DeliveryId {
            event: b,
            target: TargetId(i32::MAX),
        };
        assert_eq!(
            delivery.to_string().parse::<DeliveryId>().unwrap(),
            delivery
        );
        let attempt = AttemptId {
            delivery,
            number: 12,
        };
        assert_eq!(attempt.to_string().parse::<AttemptId>().unwrap(), attempt);
        assert!(!attempt.to_string().contains('.'));
        let replay = ReplayId(i32::MAX);
        assert_eq!(replay.to_string().parse::<ReplayId>().unwrap(), replay);
        assert!(ReplayId(9).to_string() < ReplayId(10).to_string());
    }

    #[test]
    fn texts_that_are_no_ids_are_refused() {
        for text in [
            "",
            "evt_",
            "evt_zzzzzzzzzzzzz",
            "evt_01jd0c4z8k00",
            "dlv_01jd0c4z8k000",
            "evt_01jd0c4z8k0ü",
            "rpl_1",
            "rpl_zzzzzzz",
        ] {
            assert!(text.parse::<ReplayId>().is_err(), "{text}");
            assert!(text.parse::<EventId>().is_err(), "{text}");
            assert!(text.parse::<AlarmId>().is_err(), "{text}");
            assert!(text.parse::<DeliveryId>().is_err(), "{text}");
        }
    }
}
