//! The little of an event that decides what becomes of it: is it an alarm, which, does it fire, how bad is it.

use std::borrow::Cow;
use std::fmt;

use belfry_model::Event;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::catalog;
use crate::severity::Severity;
use crate::state::AlarmState;

/// What firing, repeat and recovery of an alarm have in common: 32 hexadecimal digits, or what the sender gave.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlarmKey(String);

impl AlarmKey {
    /// Longest key of a sender that is taken as it is, in bytes; of a longer one the hash is taken.
    pub const BYTES_MAX: usize = 128;

    /// The key of these parts: the first half of the SHA-256 of the parts joined by line feeds.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new();
        for (n, part) in parts.into_iter().enumerate() {
            if n > 0 {
                hash.update(b"\n");
            }
            hash.update(part.as_bytes());
        }
        let mut text = hex::encode(hash.finalize());
        text.truncate(32);
        Self(text)
    }

    /// The key that a sender gave (extension `alarmkey`).
    pub fn given(text: &str) -> Self {
        let plain = !text.is_empty()
            && text.len() <= Self::BYTES_MAX
            && text.chars().all(|c| !c.is_control());
        if plain {
            Self(text.to_owned())
        } else {
            Self::of([text])
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AlarmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an event says of an alarm that has a life: it fires (again) or has recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    /// Which alarm.
    pub key: AlarmKey,
    /// Fires or has recovered; never stateless.
    pub state: AlarmState,
    /// How bad it is.
    pub severity: Severity,
}

/// The top-level members that matter; everything else is skipped unread.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Top<'a> {
    #[serde(borrow, default)]
    pub(crate) severity: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) alarmkey: Option<&'a RawValue>,
}

impl Sign {
    /// The sign of an event; `None` for an event that belongs to no alarm with a life, which costs next to nothing.
    pub fn of(event: &Event) -> Option<Self> {
        let state = AlarmState::parse(&scalar(event.status()?)?);
        if state == AlarmState::Stateless {
            return None;
        }
        let top: Top<'_> = serde_json::from_slice(event.doc()).ok()?;
        let scalar_of = |raw: &'_ RawValue| scalar(raw.get()).map(Cow::into_owned);
        let entry = catalog::find(event.source(), event.kind());
        let severity = top
            .severity
            .and_then(scalar_of)
            .and_then(|word| Severity::parse(&word))
            .or_else(|| entry.map(|entry| entry.severity))
            .unwrap_or(Severity::Warning);
        let key = top
            .alarmkey
            .and_then(scalar_of)
            .filter(|key| !key.is_empty())
            .map_or_else(
                || {
                    let kind = entry.map_or_else(|| event.kind(), |entry| entry.alarm_type());
                    AlarmKey::of([event.source(), kind, event.subject().unwrap_or_default()])
                },
                |key| AlarmKey::given(&key),
            );
        Some(Self {
            key,
            state,
            severity,
        })
    }
}

/// The text of a string, number or boolean.
fn scalar(raw: &str) -> Option<Cow<'_, str>> {
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(raw).ok().map(Cow::Owned),
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(raw)),
    }
}
