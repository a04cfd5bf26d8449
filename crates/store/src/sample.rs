//! Attempts packed: a first one that delivered in its outcome's row, and records as what differs from a sample.
//!
//! What a target is sent and answers is nearly the same every time. So one record of each kind is kept whole as a
//! *sample* of its target, and of the others only the places where they differ from it: some 40 bytes instead of 550.
//! A record that is like no sample becomes one itself, until its target has [`SAMPLES_MAX`]; after that it is kept
//! whole. Nothing is lost: what comes out is, byte for byte, what went in.
//!
//! It knows texts and where they differ, never what they mean; but for what stands in most requests and is known anyway:
//! the delivery's id, the second of the attempt's start, the trace of the event and the attempt's span of it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::RangeInclusive;
use std::sync::Arc;

use belfry_model::delivery::{DeliveryStatus, Trigger};
use belfry_model::{AttemptId, DeliveryId, TargetId};
use memchr::memmem;

use crate::error::unreadable;
use crate::{Attempt, Batch, Outcome, Result};

/// Samples of one target and process.
const SAMPLES_MAX: usize = 16;
/// A longer record is no sample: it would be held in memory.
const SAMPLE_BYTES_MAX: usize = 8 * 1024;
/// Bytes of samples held in memory; beyond that all are forgotten, and loaded again as they are needed.
const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A record is "like" a sample when its differences take at most this share of it.
const LIKE_SHARE: usize = 4;

/// How a stored record begins.
const WHOLE: u8 = 0;
const BY_SAMPLE: u8 = 1;

/// Stand for what is known of an attempt anyway. None of these bytes occurs in JSON.
const ID: u8 = 1;
const SECOND: u8 = 2;
const TRACE: u8 = 3;
const MARKS: RangeInclusive<u8> = ID..=TRACE;

/// A sample of a target.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) id: i64,
    pub(crate) text: Vec<u8>,
    /// Where its pieces end.
    ends: Vec<usize>,
}

impl Sample {
    pub(crate) fn new(text: Vec<u8>) -> Self {
        let mut hash = DefaultHasher::new();
        text.hash(&mut hash);
        // Made from the text, so that nodes need not agree on numbers.
        Self::stored(i64::try_from(hash.finish() >> 17).unwrap_or(0), text)
    }

    /// A sample as it is stored.
    pub(crate) fn stored(id: i64, text: Vec<u8>) -> Self {
        let ends = pieces(&text).scan(0, |end, piece| {
            *end += piece.len();
            Some(*end)
        });
        Self {
            id,
            ends: ends.collect(),
            text,
        }
    }

    /// Its number as it stands in records; it has 47 bits.
    fn reference_id(&self) -> [u8; 6] {
        let bytes = self.id.to_le_bytes();
        bytes.first_chunk().copied().unwrap_or_default()
    }

    /// The beginning of a record that is packed with it.
    fn reference(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.push(BY_SAMPLE);
        out.extend_from_slice(&self.reference_id());
        out
    }
}

/// The samples that this process knows to be stored, by target.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    by_target: HashMap<TargetId, Vec<Arc<Sample>>>,
    bytes: usize,
}

impl Samples {
    /// Whether the target's samples have been loaded.
    pub(crate) fn knows(&self, target: TargetId) -> bool {
        self.by_target.contains_key(&target)
    }

    /// Adds what is stored for a target.
    pub(crate) fn add(&mut self, target: TargetId, samples: impl IntoIterator<Item = Arc<Sample>>) {
        let held = self.by_target.entry(target).or_default();
        for sample in samples {
            if held.iter().all(|one| one.id != sample.id) {
                self.bytes += sample.text.len();
                held.push(sample);
            }
        }
        if self.bytes > HELD_BYTES_MAX {
            *self = Self::default();
        }
    }
}

/// Samples that a transaction makes.
pub(crate) type Fresh = Vec<(TargetId, Arc<Sample>)>;

/// Packs the attempts of one transaction, and gathers the samples that it has to store for them.
pub(crate) struct Packer<'a> {
    known: &'a Samples,
    pub(crate) fresh: Fresh,
}

impl<'a> Packer<'a> {
    pub(crate) fn new(known: &'a Samples) -> Self {
        Self {
            known,
            fresh: Vec::new(),
        }
    }

    /// The attempt's record as it is to be stored: whole, or a sample's number and where the record differs from it.
    pub(crate) fn record(&mut self, attempt: &Attempt) -> Option<Vec<u8>> {
        let text = attempt.record.as_deref()?;
        Some(self.by_sample(attempt, text).unwrap_or_else(|| {
            let mut whole = Vec::with_capacity(text.len() + 1);
            whole.push(WHOLE);
            whole.extend_from_slice(text.as_bytes());
            whole
        }))
    }

    /// An attempt that [`with_first_tries`] has found to belong to an outcome's row.
    pub(crate) fn first_try(&mut self, attempt: &Attempt) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        let after_ms = attempt.started_at_ms - attempt.delivery.event.time_ms();
        put_number(&mut out, u64::try_from(after_ms).unwrap_or(0));
        put_number(&mut out, u64::from(attempt.duration_ms));
        put_number(&mut out, u64::from(attempt.status_code.unwrap_or(0)));
        if let Some(record) = self.record(attempt) {
            out.extend_from_slice(&record);
        }
        out
    }

    fn by_sample(&mut self, attempt: &Attempt, text: &str) -> Option<Vec<u8>> {
        if text.len() > SAMPLE_BYTES_MAX || text.bytes().any(|byte| MARKS.contains(&byte)) {
            return None;
        }
        let marked = Known::of(attempt).mark(text);
        let target = attempt.delivery.target;
        let known = self.known.by_target.get(&target);
        let fresh = self.fresh.iter().filter(|(of, _)| *of == target);
        let all: Vec<_> = known
            .into_iter()
            .flatten()
            .chain(fresh.map(|(_, sample)| sample))
            .collect();
        for sample in &all {
            let mut out = sample.reference();
            if put_differences(&mut out, sample, &marked) && out.len() <= marked.len() / LIKE_SHARE
            {
                return Some(out);
            }
        }
        let sample = Sample::new(marked);
        if all.len() >= SAMPLES_MAX || all.iter().any(|one| one.id == sample.id) {
            return None;
        }
        let out = sample.reference();
        self.fresh.push((target, Arc::new(sample)));
        Some(out)
    }
}

/// Each outcome with the attempt that is stored in its row: a first one that delivered. The other attempts have rows of
/// their own.
pub(crate) fn with_first_tries(
    batch: &Batch,
) -> (Vec<(&Outcome, Option<&Attempt>)>, Vec<&Attempt>) {
    let mut rest = Vec::new();
    // They come in the order of their outcomes; one that does not has a row of its own.
    let mut attempts = batch.attempts.iter().peekable();
    let outcomes = batch
        .outcomes
        .iter()
        .map(|outcome| {
            let own = attempts.next_if(|attempt| attempt.delivery == outcome.delivery);
            let (first_try, other) = match own {
                Some(attempt) if is_first_try(attempt, outcome) => (own, None),
                _ => (None, own),
            };
            rest.extend(other);
            (outcome, first_try)
        })
        .collect();
    rest.extend(attempts);
    (outcomes, rest)
}

/// Whether start, duration, status and record say everything about the attempt.
fn is_first_try(attempt: &Attempt, outcome: &Outcome) -> bool {
    outcome.status == DeliveryStatus::Delivered
        && attempt.number == 1
        && attempt.trigger == Trigger::Initial
        && attempt.started_at_ms >= attempt.delivery.event.time_ms()
        && attempt.status_code != Some(0)
        && attempt.reason.is_none()
        && attempt.detail.is_none()
        && attempt.next_at_ms.is_none()
}

/// What a packed first attempt begins with.
pub(crate) struct FirstTry {
    after_ms: i64,
    pub(crate) duration_ms: u32,
    pub(crate) status_code: Option<u16>,
}

impl FirstTry {
    /// Bytes that it takes at most.
    pub(crate) const BYTES_MAX: usize = 10 + 5 + 3;

    /// Reads it off what [`Packer::first_try`] has packed.
    pub(crate) fn take(packed: &mut &[u8]) -> Result<Self> {
        let mut number =
            || take_number(packed).ok_or_else(|| unreadable("first attempt", "it ends too early"));
        let (after_ms, duration_ms, status_code) = (number()?, number()?, number()?);
        let out_of_range = |_| unreadable("first attempt", "a number is out of range");
        Ok(Self {
            after_ms: i64::try_from(after_ms).map_err(out_of_range)?,
            duration_ms: u32::try_from(duration_ms).map_err(out_of_range)?,
            status_code: match status_code {
                0 => None,
                code => Some(u16::try_from(code).map_err(out_of_range)?),
            },
        })
    }
}

/// The outcome, if attempts, status and duration have to stand in its row: not where its first attempt, which is stored
/// with it, says them.
pub(crate) fn unlike_first_try<'a>(
    (outcome, first_try): &(&'a Outcome, Option<&Attempt>),
) -> Option<&'a Outcome> {
    let same = first_try.is_some_and(|attempt| {
        outcome.attempts == attempt.number
            && outcome.status_code == attempt.status_code
            && outcome.duration_ms == attempt.duration_ms
    });
    (!same).then_some(outcome)
}

/// The attempt that [`Packer::first_try`] has packed, its record still as it is stored.
pub(crate) fn read_first_try(
    delivery: DeliveryId,
    trace_id: Option<String>,
    mut packed: &[u8],
) -> Result<(Attempt, Option<&[u8]>)> {
    let begins = FirstTry::take(&mut packed)?;
    let started_at_ms = delivery.event.time_ms().checked_add(begins.after_ms);
    let attempt = Attempt {
        delivery,
        number: 1,
        trace_id,
        trigger: Trigger::Initial,
        started_at_ms: started_at_ms
            .ok_or_else(|| unreadable("first attempt", "a number is out of range"))?,
        duration_ms: begins.duration_ms,
        status_code: begins.status_code,
        reason: None,
        detail: None,
        next_at_ms: None,
        record: None,
    };
    Ok((attempt, Some(packed).filter(|rest| !rest.is_empty())))
}

/// The text of the attempt's record, from what is stored of it and the samples of its target.
pub(crate) fn read_record(attempt: &Attempt, stored: &[u8], samples: &[Sample]) -> Result<String> {
    let (differences, sample) = match stored.split_first() {
        Some((&WHOLE, text)) => return text_of(text.to_vec()),
        Some((&BY_SAMPLE, rest)) => {
            let (id, differences) = rest
                .split_first_chunk()
                .ok_or_else(|| unreadable("record", "it ends too early"))?;
            (
                differences,
                samples.iter().find(|sample| sample.reference_id() == *id),
            )
        }
        _ => return Err(unreadable("record", "it is neither whole nor packed")),
    };
    let sample = sample.ok_or_else(|| unreadable("record", "its sample is missing"))?;
    let marked = apply(&sample.text, differences)
        .ok_or_else(|| unreadable("record", "it does not fit its sample"))?;
    let known = Known::of(attempt);
    let mut text = Vec::with_capacity(marked.len() + 128);
    for byte in marked {
        if !MARKS.contains(&byte) {
            text.push(byte);
            continue;
        }
        let what = known
            .of_mark(byte)
            .ok_or_else(|| unreadable("record", "the trace of its event is missing"))?;
        text.extend_from_slice(what.as_bytes());
    }
    text_of(text)
}

fn text_of(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| unreadable("record", error))
}

/// What is known of an attempt, as it stands in records.
struct Known {
    id: String,
    second: String,
    /// With the span, as they follow each other in a `traceparent`.
    trace: Option<String>,
}

impl Known {
    fn of(attempt: &Attempt) -> Self {
        let (delivery, number) = (attempt.delivery, attempt.number);
        let span = || AttemptId { delivery, number }.span();
        Self {
            id: delivery.to_string(),
            second: attempt.started_at_ms.div_euclid(1000).to_string(),
            trace: (attempt.trace_id.as_ref()).map(|trace| format!("{trace}-{:016x}", span())),
        }
    }

    fn of_mark(&self, mark: u8) -> Option<&str> {
        match mark {
            ID => Some(&self.id),
            SECOND => Some(&self.second),
            _ => self.trace.as_deref(),
        }
    }

    /// The text with marks.
    fn mark(&self, text: &str) -> Vec<u8> {
        let mut places = Vec::with_capacity(8);
        for mark in MARKS {
            if let Some(what) = self.of_mark(mark) {
                let found = memmem::find_iter(text.as_bytes(), what);
                places.extend(found.map(|at| (at, mark, what.len())));
            }
        }
        places.sort_unstable();
        let text = text.as_bytes();
        let mut out = Vec::with_capacity(text.len());
        let mut done = 0;
        for (at, mark, length) in places {
            // One may begin within another.
            let Some(between) = text.get(done..at) else {
                continue;
            };
            out.extend_from_slice(between);
            out.push(mark);
            done = at + length;
        }
        out.extend_from_slice(text.get(done..).unwrap_or_default());
        out
    }
}

/// What ends a piece of a text: the same in texts of the same kind. JSON's strings, and parts of ids.
const BOUNDARIES: [u8; 2] = [b'"', b'-'];

/// A text in pieces, each with its boundary.
fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| BOUNDARIES.contains(byte))
}

/// Where `text` differs from `sample`: for each piece that does the number of equal ones before it, the bytes that are
/// equal at its beginning and at its end, and what stands between them. `false`: it has not as many pieces.
///
/// It runs on every delivery, in the one writer. What is equal is most of it and is compared in large steps.
fn put_differences(out: &mut Vec<u8>, sample: &Sample, text: &[u8]) -> bool {
    let (mut olds, mut news) = (sample.text.as_slice(), text);
    let (mut begun, mut equal) = (0, 0);
    let mut ends = sample.ends.iter().peekable();
    loop {
        let same = common(olds, news);
        let mut passed = 0;
        while let Some(end) = ends.next_if(|end| {
            let length = **end - begun;
            // The last piece may have no boundary, and then goes on in the text.
            length <= same && (length < olds.len() || length == news.len() || is_ended(olds))
        }) {
            passed = *end - begun;
            equal += 1;
        }
        begun += passed;
        (olds, news) = (
            olds.get(passed..).unwrap_or_default(),
            news.get(passed..).unwrap_or_default(),
        );
        let Some(end) = ends.next() else {
            return news.is_empty();
        };
        let old = olds.get(..*end - begun).unwrap_or_default();
        let Some(new) = pieces(news).next() else {
            return false;
        };
        let room = old.len().min(new.len());
        let start = room.min(same - passed);
        let ending = old.iter().rev().zip(new.iter().rev()).take(room - start);
        let kept = ending.take_while(|(a, b)| a == b).count();
        put_length(out, equal);
        put_length(out, start);
        put_length(out, kept);
        put_middle(out, new.get(start..new.len() - kept).unwrap_or_default());
        begun = *end;
        equal = 0;
        (olds, news) = (
            olds.get(old.len()..).unwrap_or_default(),
            news.get(new.len()..).unwrap_or_default(),
        );
    }
}

fn is_ended(text: &[u8]) -> bool {
    text.last().is_some_and(|byte| BOUNDARIES.contains(byte))
}

/// How many bytes are the same at the beginning of both.
fn common(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 16;
    let (steps_a, _) = a.as_chunks::<STEP>();
    let (steps_b, _) = b.as_chunks::<STEP>();
    let steps = steps_a.iter().zip(steps_b);
    let far = steps.take_while(|(a, b)| a == b).count() * STEP;
    let (a, b) = (
        a.get(far..).unwrap_or_default(),
        b.get(far..).unwrap_or_default(),
    );
    far + a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The text that has these differences from `sample`; `None` when they cannot.
fn apply(sample: &[u8], mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(sample.len() + bytes.len());
    let mut rest = pieces(sample);
    while !bytes.is_empty() {
        for _ in 0..take_length(&mut bytes)? {
            out.extend_from_slice(rest.next()?);
        }
        let old = rest.next()?;
        let (start, end) = (take_length(&mut bytes)?, take_length(&mut bytes)?);
        out.extend_from_slice(old.get(..start)?);
        take_middle(&mut bytes, &mut out)?;
        out.extend_from_slice(old.get(old.len().checked_sub(end)?..)?);
    }
    for piece in rest {
        out.extend_from_slice(piece);
    }
    Some(out)
}

/// Hexadecimal digits (parts of trace and request ids) take half the room; the lowest bit of the length says so.
fn put_middle(out: &mut Vec<u8>, middle: &[u8]) {
    let packs = middle.len() >= 4 && middle.iter().all(|byte| hex_value(*byte).is_some());
    put_length(out, middle.len() * 2 + usize::from(packs));
    if !packs {
        out.extend_from_slice(middle);
        return;
    }
    out.extend(middle.chunks(2).map(|pair| {
        let digit = |n: usize| pair.get(n).and_then(|byte| hex_value(*byte)).unwrap_or(0);
        digit(0) << 4 | digit(1)
    }));
}

fn take_middle(bytes: &mut &[u8], out: &mut Vec<u8>) -> Option<()> {
    let header = take_length(bytes)?;
    let (length, packed) = (header / 2, header % 2 == 1);
    let stored = if packed { length.div_ceil(2) } else { length };
    let (middle, rest) = bytes.split_at_checked(stored)?;
    *bytes = rest;
    if packed {
        let digits = middle.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        out.extend(digits.take(length).map(hex_digit));
    } else {
        out.extend_from_slice(middle);
    }
    Some(())
}

fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn hex_digit(value: u8) -> u8 {
    if value < 10 {
        b'0' + value
    } else {
        b'a' + value - 10
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    put_number(out, u64::try_from(length).unwrap_or(u64::MAX));
}

fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    take_number(bytes).and_then(|number| usize::try_from(number).ok())
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use belfry_model::delivery::Trigger;
    use belfry_model::{DeliveryId, EventId};

    use super::*;

    const T0: i64 = 1_790_000_000_000;
    const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

    fn attempt(step: i64, target: i32, record: &str) -> Attempt {
        let delivery = DeliveryId {
            event: EventId::first_at(T0 + step),
            target: TargetId(target),
        };
        let started_at_ms = T0 + step * 7;
        let own = AttemptId {
            delivery,
            number: 1,
        };
        let record = record
            .replace("$id", &delivery.to_string())
            .replace("$second", &(started_at_ms / 1000).to_string())
            .replace("$trace", TRACE_ID)
            .replace("$span", &format!("{:016x}", own.span()));
        Attempt {
            delivery,
            number: 1,
            trace_id: Some(TRACE_ID.to_owned()),
            trigger: Trigger::Initial,
            started_at_ms,
            duration_ms: 3,
            status_code: Some(200),
            reason: None,
            detail: None,
            next_at_ms: None,
            record: Some(record),
        }
    }

    fn webhook(step: i64, trace: &str, answer: &str) -> Attempt {
        let record = format!(
            r#"{{"request":{{"method":"POST","url":"https://example.com/hook","headers":[["content-type","application/cloudevents+json"],["user-agent","Belfry/0.1.0"],["webhook-id","$id"],["webhook-timestamp","$second"],["traceparent","00-{trace}-01"]],"bodyBytes":600,"bodyIsEvent":true}},"response":{{"status":200,"headers":[["content-length","0"],["date","Thu, 26 Nov 2026 11:02:{:02} GMT"]],"body":"{answer}","truncated":false,"bytes":0}}}}"#,
            step % 60
        );
        attempt(step, 1, &record)
    }

    fn shown(attempt: &Attempt, stored: &[u8], packer: &Packer<'_>) -> String {
        let all = packer.known.by_target.values().flatten();
        let all = all.chain(packer.fresh.iter().map(|(_, sample)| sample));
        let samples: Vec<_> = all
            .map(|sample| Sample::stored(sample.id, sample.text.clone()))
            .collect();
        read_record(attempt, stored, &samples).unwrap()
    }

    #[test]
    fn what_is_alike_takes_a_few_bytes_and_comes_back_as_it_was() {
        let known = Samples::default();
        let mut packer = Packer::new(&known);
        for step in 0..200 {
            let trace = format!("{:032x}", step * 987_654_321);
            let own = AttemptId {
                delivery: webhook(step, "", "").delivery,
                number: 1,
            };
            // A span that is not its own is that of a request for several, and those are like each other.
            for (span, bytes_max) in [(own.span(), 20), (7, 60)] {
                let mut attempt = webhook(step, &format!("{trace}-{span:016x}"), "");
                attempt.trace_id = Some(trace.clone());
                let stored = packer.record(&attempt).unwrap();
                assert!(stored.len() <= bytes_max, "{}", stored.len());
                assert_eq!(Some(shown(&attempt, &stored, &packer)), attempt.record);
            }
            assert_eq!(packer.fresh.len(), 2);
        }
    }

    #[test]
    fn whatever_stands_in_a_record_comes_back() {
        let known = Samples::default();
        let mut packer = Packer::new(&known);
        let texts = [
            "",
            "\"",
            "-",
            "a-b-\"c\"",
            "a-b-\"d\"",
            "a-b-\"",
            "\"\"\"",
            "磁盘-\"é\"",
            "磁碟-\"è\"",
            "$id",
            "$id$id-$second",
            "0123456789abcdef",
            "0123456789abcde",
            "00000000000000000000000000-1",
            "00000000000000000000000000-12345",
            "$trace-$span",
            "$trace$trace$trace",
            "a$span\"$id",
            "x\u{1}y",
            "\u{2}",
            "\u{3}",
            "\u{4}",
            r#"{"body":"{\"id\":\"$id\"}"}"#,
            r#"{"body":"{\"id\":\"other\"}"}"#,
        ];
        for round in 0..3 {
            for (n, text) in (0_i64..).zip(texts) {
                for pad in [
                    "",
                    "the same in all of them, so long that what differs is a small share",
                ] {
                    let attempt = attempt(round * 100 + n, 1, &format!("{pad}{text}{pad}"));
                    let stored = packer.record(&attempt).unwrap();
                    assert_eq!(Some(shown(&attempt, &stored, &packer)), attempt.record);
                }
            }
        }
        assert_eq!(packer.fresh.len(), SAMPLES_MAX);
    }

    /// The same differences, byte by byte and piece by piece; `None` when there are not as many pieces.
    fn plain_differences(sample: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        if pieces(sample).count() != pieces(text).count() {
            return None;
        }
        let (mut out, mut equal) = (Vec::new(), 0);
        for (old, new) in pieces(sample).zip(pieces(text)) {
            if old == new {
                equal += 1;
                continue;
            }
            let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
            let room = old.len().min(new.len()) - start;
            let ends = old.iter().rev().zip(new.iter().rev()).take(room);
            let end = ends.take_while(|(a, b)| a == b).count();
            put_length(&mut out, equal);
            put_length(&mut out, start);
            put_length(&mut out, end);
            put_middle(&mut out, &new[start..new.len() - end]);
            equal = 0;
        }
        Some(out)
    }

    #[test]
    fn differences_are_those_that_a_plain_comparison_finds() {
        let mut state = 7_u64;
        let mut random = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % below
        };
        for _ in 0..20_000 {
            let length = random(80);
            let old: Vec<u8> = (0..length).map(|_| b"ab0\"-"[random(5)]).collect();
            let mut new = old.clone();
            for _ in 0..random(4) {
                let at = random(new.len() + 1);
                match random(3) {
                    0 => new.insert(at, b"ab0\"-"[random(5)]),
                    1 if at < new.len() => drop(new.remove(at)),
                    _ => new.truncate(new.len().saturating_sub(random(3))),
                }
            }
            let mut out = Vec::new();
            let fits = put_differences(&mut out, &Sample::stored(1, old.clone()), &new);
            let plain = plain_differences(&old, &new);
            assert_eq!(fits.then_some(&out), plain.as_ref(), "{old:?} {new:?}");
            if fits {
                assert_eq!(apply(&old, &out), Some(new));
            }
        }
    }

    #[test]
    fn a_target_has_a_bounded_number_of_samples_and_the_rest_is_kept_whole() {
        let unlike = |n: usize| format!("{}{}", "\"".repeat(n + 1), "x".repeat(n));
        let mut known = Samples::default();
        let mut packer = Packer::new(&known);
        for n in 0..10 {
            packer.record(&attempt(1, 1, &unlike(n)));
        }
        let fresh = packer.fresh;
        assert_eq!(fresh.len(), 10);
        known.add(TargetId(1), fresh.into_iter().map(|(_, sample)| sample));
        let mut packer = Packer::new(&known);
        for n in 10..30 {
            let stored = packer.record(&attempt(1, 1, &unlike(n))).unwrap();
            assert_eq!(stored[0] == BY_SAMPLE, n < SAMPLES_MAX, "{n}");
            let other = packer
                .record(&attempt(1, 2, "another target, which has its own"))
                .unwrap();
            assert_eq!(other[0], BY_SAMPLE);
        }
    }

    #[test]
    fn long_records_are_no_samples() {
        let known = Samples::default();
        let mut packer = Packer::new(&known);
        let long = attempt(1, 1, &"x".repeat(SAMPLE_BYTES_MAX + 1));
        let stored = packer.record(&long).unwrap();
        assert!(packer.fresh.is_empty());
        assert_eq!(Some(shown(&long, &stored, &packer)), long.record);
    }

    #[test]
    fn a_first_try_comes_back_from_its_outcomes_row() {
        let known = Samples::default();
        let mut packer = Packer::new(&known);
        for (code, record) in [(Some(204), true), (None, true), (Some(200), false)] {
            let mut attempt = webhook(7, "00", "done");
            attempt.status_code = code;
            attempt.record = attempt.record.filter(|_| record);
            let bytes = packer.first_try(&attempt);
            let trace = Some(TRACE_ID.to_owned());
            let (mut read, stored) = read_first_try(attempt.delivery, trace, &bytes).unwrap();
            read.record = stored.map(|stored| shown(&read, stored, &packer));
            assert_eq!(read, attempt);
        }
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        let one = webhook(1, "00", "");
        let sample = Sample::stored(1, b"a-b".to_vec());
        let with = |rest: &[u8]| [sample.reference().as_slice(), rest].concat();
        let samples = [Sample::stored(1, b"a-b".to_vec())];
        assert_eq!(read_record(&one, &with(&[]), &samples).unwrap(), "a-b");
        for stored in [
            with(&[200]),
            with(&[0, 0, 0, 9]),
            with(&[0, 90, 90, 0]),
            with(&[0xff; 12]),
            vec![BY_SAMPLE, 9, 0, 0, 0, 0, 0],
            vec![BY_SAMPLE, 1],
            vec![WHOLE, 0xff],
            vec![7],
            vec![],
        ] {
            assert!(read_record(&one, &stored, &samples).is_err(), "{stored:?}");
        }
        let with_trace = Packer::new(&Samples::default()).record(&attempt(1, 1, "$trace-$span"));
        let no_trace = Attempt {
            trace_id: None,
            ..one.clone()
        };
        let sample = [Sample::new(vec![TRACE])];
        assert!(read_record(&no_trace, &with_trace.unwrap(), &sample).is_err());
        for packed in [&[][..], &[1, 2], &[0xff; 20], &[0, 0, 0xff, 0xff, 0x7f]] {
            assert!(
                read_first_try(one.delivery, None, packed).is_err(),
                "{packed:?}"
            );
        }
    }
}
