//! Rows as values. A number or text that means nothing (written by a newer program, or damaged) is an error that names
//! it, never a panic.

use std::str::FromStr;

use belfry_model::delivery::{DeliveryStatus, Reason, Trigger};
use belfry_model::replay::{ReplayMark, ReplayState};
use belfry_model::{BusId, DeliveryId, Event, EventId, NodeId, OrderKey, ReplayId, TargetId};
use bytes::Bytes;
use sqlx::{Database, Row as _};

use super::Db;
use crate::error::unreadable;
use crate::sample::FirstTry;
use crate::{BLOCKED_MS, EventFacts, IdempotencyRecord, Outcome, Pending, Result, StoreError};

/// A row of this database.
pub(super) type DbRow = <Db as Database>::Row;

/// Reads the columns of a row from left to right.
pub(super) struct Columns<'r> {
    row: &'r DbRow,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn of(row: &'r DbRow) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn take<T>(&mut self) -> Result<T>
    where
        T: sqlx::Decode<'r, Db> + sqlx::Type<Db>,
    {
        let index = self.next;
        self.next += 1;
        Ok(self.row.try_get(index)?)
    }

    pub(super) fn integer(&mut self) -> Result<i64> {
        self.take()
    }

    pub(super) fn text(&mut self) -> Result<String> {
        self.take()
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<String>> {
        self.take()
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>> {
        self.take()
    }

    /// An integer that fits a smaller type.
    pub(super) fn small<T: TryFrom<i64>>(&mut self, what: &str) -> Result<T> {
        let number = self.integer()?;
        T::try_from(number).map_err(|_| unreadable(what, format!("{number} is out of range")))
    }

    pub(super) fn optional_small<T: TryFrom<i64>>(&mut self, what: &str) -> Result<Option<T>> {
        let Some(number) = self.take::<Option<i64>>()? else {
            return Ok(None);
        };
        T::try_from(number)
            .map(Some)
            .map_err(|_| unreadable(what, format!("{number} is out of range")))
    }

    /// A text with a meaning of its own, such as a name.
    pub(super) fn parsed<T>(&mut self, what: &str) -> Result<T>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        self.text()?
            .parse()
            .map_err(|error| unreadable(what, error))
    }

    pub(super) fn event_id(&mut self) -> Result<EventId> {
        self.integer().map(EventId::from_stored)
    }

    pub(super) fn optional_event_id(&mut self) -> Result<Option<EventId>> {
        Ok(self.take::<Option<i64>>()?.map(EventId::from_stored))
    }

    pub(super) fn delivery_id(&mut self) -> Result<DeliveryId> {
        Ok(DeliveryId {
            event: self.event_id()?,
            target: self.target_id()?,
        })
    }

    pub(super) fn target_id(&mut self) -> Result<TargetId> {
        self.small("target id").map(TargetId)
    }

    pub(super) fn bus_id(&mut self) -> Result<BusId> {
        self.small("bus id").map(BusId)
    }

    pub(super) fn reason(&mut self) -> Result<Option<Reason>> {
        self.take::<Option<i64>>()?
            .map(|number| known("reason", number, Reason::from_number))
            .transpose()
    }

    pub(super) fn trigger(&mut self) -> Result<Trigger> {
        known("trigger", self.integer()?, Trigger::from_number)
    }

    fn status(&mut self) -> Result<DeliveryStatus> {
        known(
            "delivery status",
            self.integer()?,
            DeliveryStatus::from_number,
        )
    }

    /// `seq, target_id, status, attempts, status_code, duration_ms, at_ms, reason, detail` and the first
    /// [`FirstTry::BYTES_MAX`] bytes of `first_try`
    pub(super) fn outcome(&mut self) -> Result<Outcome> {
        let (delivery, status) = (self.delivery_id()?, self.status()?);
        // A row that does not say them leaves them to its first attempt, which was the only one.
        let attempts = self.optional_small("number of attempts")?.unwrap_or(1);
        let status_code = self.optional_small("status code")?;
        let duration_ms = self.optional_small("duration")?;
        let mut outcome = Outcome {
            delivery,
            status,
            attempts,
            status_code,
            duration_ms: duration_ms.unwrap_or(0),
            at_ms: self.integer()?,
            reason: self.reason()?,
            detail: self.optional_text()?,
        };
        let packed = self.take::<Option<Vec<u8>>>()?;
        if duration_ms.is_none() {
            let mut packed = packed.as_deref().unwrap_or_default();
            let first_try = FirstTry::take(&mut packed)?;
            outcome.status_code = first_try.status_code;
            outcome.duration_ms = first_try.duration_ms;
        }
        Ok(outcome)
    }

    /// `seq, target_id, due_at_ms, attempts, attempts_before, since_ms, set_off_by, owner, order_key, progress`
    pub(super) fn pending(&mut self) -> Result<Pending> {
        Ok(Pending {
            delivery: self.delivery_id()?,
            due_at_ms: self.integer()?,
            attempts: self.small("number of attempts")?,
            attempts_before: self.small("number of attempts")?,
            since_ms: self.integer()?,
            trigger: self.trigger()?,
            owner: self.optional_small("node id")?.map(NodeId),
            order: self.optional_order_key()?,
            progress: self.optional_text()?,
        })
    }

    pub(super) fn optional_order_key(&mut self) -> Result<Option<OrderKey>> {
        Ok(self.take::<Option<i64>>()?.map(OrderKey))
    }

    /// A due time as history shows it: what is blocked has none.
    pub(super) fn shown_due(&mut self) -> Result<Option<i64>> {
        Ok(self.take::<Option<i64>>()?.filter(|&due| due != BLOCKED_MS))
    }

    pub(super) fn replay_state(&mut self) -> Result<ReplayState> {
        known(
            "state of a replay",
            self.integer()?,
            ReplayState::from_number,
        )
    }

    /// `replay_id, replay_of`
    pub(super) fn replay_mark(&mut self) -> Result<Option<ReplayMark>> {
        let replay = self.optional_small("replay id")?.map(ReplayId);
        let of = self.optional_event_id()?;
        Ok(replay.zip(of).map(|(replay, of)| ReplayMark { replay, of }))
    }

    /// `ce_id, source, type, subject`
    pub(super) fn facts(&mut self) -> Result<EventFacts> {
        Ok(EventFacts {
            id: self.text()?,
            source: self.text()?,
            kind: self.text()?,
            subject: self.optional_text()?,
        })
    }

    pub(super) fn event(&mut self) -> Result<Event> {
        Event::from_stored(Bytes::from(self.bytes()?)).map_err(|error| unreadable("event", error))
    }

    pub(super) fn fan(&mut self) -> Result<Vec<TargetId>> {
        serde_json::from_str(&self.text()?).map_err(|error| unreadable("fan-out", error))
    }

    /// `scope, fingerprint, at_ms, answer`
    pub(super) fn idempotency(&mut self) -> Result<IdempotencyRecord> {
        Ok(IdempotencyRecord {
            scope: self.array("idempotency key")?,
            fingerprint: self.array("fingerprint")?,
            at_ms: self.integer()?,
            answer: self.bytes()?,
        })
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let bytes = self.bytes()?;
        let found = bytes.len();
        bytes
            .try_into()
            .map_err(|_| unreadable(what, format!("{found} bytes instead of {N}")))
    }
}

fn known<T>(what: &str, number: i64, from: fn(i64) -> Option<T>) -> Result<T> {
    from(number).ok_or_else(|| unreadable(what, format!("{number} has no meaning")))
}

/// A fan-out as it is stored.
pub(super) fn fan_text(fan: &[TargetId]) -> String {
    numbers_text(fan.iter().map(|target| i64::from(target.0)))
}

/// Integers as a JSON array.
pub(super) fn numbers_text(numbers: impl IntoIterator<Item = i64>) -> String {
    let mut text = String::from("[");
    for number in numbers {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&number.to_string());
    }
    text.push(']');
    text
}

/// A value as JSON text.
pub(super) fn json_text(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Internal(format!("a value cannot be stored: {error}")))
}

/// A value from JSON text.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| unreadable(what, error))
}

/// Integers for an `IN (...)` list; numbers only, so nothing to quote.
pub(super) fn in_list(numbers: impl IntoIterator<Item = i64>) -> String {
    let list = numbers_text(numbers);
    list.replace('[', "(").replace(']', ")")
}
