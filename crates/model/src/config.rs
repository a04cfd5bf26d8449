//! What operators configure: buses, rules, targets, archives, named documents, and how a target retries.
//!
//! The `*Spec` types are what a client writes and reads back (camelCase JSON, unknown members refused); the types
//! without `Spec` add what the store knows about them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{ArchiveId, BusId, DocumentId, RuleId, TargetId};
use crate::json::{FieldError, JsonText};
use crate::name::{ArchiveName, BusName, DocumentName, RuleName, TargetName};

/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 4096;
/// Most targets of one rule.
pub const TARGETS_PER_RULE_MAX: usize = 100;
/// Most requests that one target may have on the wire at once.
pub const CONCURRENCY_MAX: u16 = 1000;
/// Requests on the wire at once, unless the target says otherwise.
pub const CONCURRENCY_DEFAULT: u16 = 32;
/// Longest custom retry schedule.
pub const WAITS_MAX: usize = 200;
/// Longest wait between two attempts: a day.
pub const WAIT_SECONDS_MAX: u32 = 86_400;
/// Longest time a delivery may be tried: 14 days.
pub const MAX_AGE_SECONDS_MAX: u32 = 14 * 86_400;
/// Most archives of one bus.
pub const ARCHIVES_PER_BUS_MAX: usize = 100;
/// Most labels that alarms are grouped by.
pub const GROUP_BY_MAX: usize = 16;
/// Longest name of a label, in bytes.
pub const LABEL_BYTES_MAX: usize = 128;
/// Longest wait for others of a group, and between two messages of it: a day.
pub const GROUP_SECONDS_MAX: u32 = 86_400;
/// Longest time for which repeats of an alarm are kept back: 30 days.
pub const REPEAT_SECONDS_MAX: u32 = 30 * 86_400;
/// Longest age that a retention may name: a hundred years.
pub const RETENTION_SECONDS_MAX: u32 = 100 * 365 * 86_400;
/// Most bytes that a retention may name: an exbibyte.
pub const RETENTION_BYTES_MAX: u64 = 1 << 60;

/// A bus as a client writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BusSpec {
    /// For people.
    pub description: String,
    /// How repeats of an event (same source and id) are recognised.
    pub dedup: Dedup,
    /// How long its events are kept; what it does not say is as the server has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// How long events are kept: until they are too old, or the oldest of too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retention {
    /// How old an event may become, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u32>,
    /// How many bytes of events are kept; beyond it the oldest go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl Retention {
    /// How old an event may become, in milliseconds.
    pub fn age_ms(&self) -> Option<i64> {
        self.age_seconds.map(|seconds| i64::from(seconds) * 1000)
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        if let Some(seconds) = self.age_seconds {
            range(
                "/retention/ageSeconds",
                u64::from(seconds),
                1,
                u64::from(RETENTION_SECONDS_MAX),
                errors,
            );
        }
        if let Some(bytes) = self.bytes {
            range("/retention/bytes", bytes, 1, RETENTION_BYTES_MAX, errors);
        }
    }
}

/// How repeats of an event are recognised on a bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Dedup {
    /// Where the memory of earlier events is kept.
    pub mode: DedupMode,
    /// How long an event is remembered, in seconds (1 to 86,400); in strict mode as long as it is stored.
    pub window_seconds: u32,
}

impl Default for Dedup {
    fn default() -> Self {
        Self {
            mode: DedupMode::Memory,
            window_seconds: 600,
        }
    }
}

/// Where the memory of earlier events is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DedupMode {
    /// Hashes in memory, bounded, rebuilt from the log at start.
    #[default]
    Memory,
    /// A table of the database: exact for as long as events are kept; costs a lookup and an index entry per event.
    Strict,
    /// Every post is a new event.
    Off,
}

/// A bus with what the store knows about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bus {
    /// Its number, never given out again.
    pub id: BusId,
    /// Its name.
    pub name: BusName,
    /// What the client wrote.
    pub spec: BusSpec,
    /// Counts changes of the bus itself, from 1; the `ETag`.
    pub revision: i64,
    /// When it was made, ms since 1970.
    pub created_at_ms: i64,
    /// When it was last changed, ms since 1970.
    pub updated_at_ms: i64,
}

/// A rule as a client writes it (its targets travel beside it).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSpec {
    /// For people.
    #[serde(default)]
    pub description: String,
    /// A disabled rule matches nothing.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The event pattern, kept as written.
    pub pattern: JsonText,
}

/// A rule with what the store knows about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its number, never given out again.
    pub id: RuleId,
    /// The bus it listens to.
    pub bus: BusId,
    /// Its name, unique within the bus.
    pub name: RuleName,
    /// What the client wrote.
    pub spec: RuleSpec,
    /// Counts changes of the rule itself, from 1.
    pub revision: i64,
    /// When it was made, ms since 1970.
    pub created_at_ms: i64,
    /// When it was last changed, ms since 1970.
    pub updated_at_ms: i64,
}

/// An archive as a client writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchiveSpec {
    /// For people.
    #[serde(default)]
    pub description: String,
    /// A disabled archive takes nothing more; what is in it stays.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Only events that match it, kept as written. Absent: every event of the bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<JsonText>,
    /// How long copies are kept. Absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// An archive with what the store knows about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Its number, never given out again.
    pub id: ArchiveId,
    /// The bus whose events it takes.
    pub bus: BusId,
    /// Its name, unique within the bus.
    pub name: ArchiveName,
    /// What the client wrote.
    pub spec: ArchiveSpec,
    /// Counts changes of the archive, from 1.
    pub revision: i64,
    /// When it was made, ms since 1970.
    pub created_at_ms: i64,
    /// When it was last changed, ms since 1970.
    pub updated_at_ms: i64,
}

/// A named document: a source, a silence, a contact ... What its kinds are, and what their specs mean, is known by others.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its number, never given out again.
    pub id: DocumentId,
    /// Its kind, as it stands in paths: `sources`, `contacts`, ...
    pub kind: String,
    /// The bus it belongs to; absent: the whole server.
    pub bus: Option<BusId>,
    /// Its name, unique within its kind and bus.
    pub name: DocumentName,
    /// What the client wrote, an object; secrets sealed.
    pub spec: Value,
    /// Counts changes of the document, from 1.
    pub revision: i64,
    /// When it was made, ms since 1970.
    pub created_at_ms: i64,
    /// When it was last changed, ms since 1970.
    pub updated_at_ms: i64,
}

/// A target as a client writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetSpec {
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Events for a disabled target are recorded as skipped.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The kind of target: `webhook`, `log`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind's own settings. Secrets in it are sealed before they are stored and masked when read.
    pub settings: Value,
    /// When to try again and when to give up. Absent: the kind's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// What else happens when a delivery is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
    /// Requests on the wire at once (1 to 1,000). Absent: the kind's default, 32 for most and 8 for functions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u16>,
    /// Most deliveries in a time span; more wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Deliver what has the same key one after the other, in the order of acceptance. Absent: no order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Turns the event into the body that is sent. Absent: the kind's own form of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<JsonText>,
    /// Which alarms are told of, how often, and which together. Absent: every event is a message of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarms: Option<Alarms>,
}

/// A target with what the store knows about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its number; stands in every fan-out, never given out again.
    pub id: TargetId,
    /// The rule it belongs to.
    pub rule: RuleId,
    /// The bus of that rule.
    pub bus: BusId,
    /// Its name, unique within the rule.
    pub name: TargetName,
    /// What the client wrote, secrets sealed.
    pub spec: TargetSpec,
    /// Set when Belfry itself disabled the target (410, failing for days).
    pub disabled: Option<Disabled>,
    /// Counts changes of the target, from 1.
    pub revision: i64,
    /// When it was made, ms since 1970.
    pub created_at_ms: i64,
    /// When it was last changed, ms since 1970.
    pub updated_at_ms: i64,
}

/// Why and when Belfry itself disabled a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disabled {
    /// For people and programs, such as `gone: the receiver answered 410`.
    pub reason: String,
    /// When, ms since 1970.
    pub at_ms: i64,
}

/// What happens besides the record when a delivery is given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeadLetter {
    /// An event of type `belfry.delivery.dead` with the original and the failure goes onto this bus, in the same transaction.
    pub bus: BusName,
}

/// Most deliveries in a time span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// How many (1 to 1,000,000); also the largest burst.
    pub count: u32,
    /// In how many seconds (1 to 86,400).
    #[serde(default = "one")]
    pub per_seconds: u32,
}

/// Which alarms a target is told of, how often, and which together: words and defaults of Alertmanager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Alarms {
    /// Alarms with the same values of these labels are told of in one message (at most 16 labels; an empty list: all in
    /// one). Absent: each by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<Vec<String>>,
    /// How long the first of a group waits for others, in seconds (0 to 86,400).
    pub group_wait_seconds: u32,
    /// The time between two messages of a group, in seconds (1 to 86,400).
    pub group_interval_seconds: u32,
    /// For how long repeats of an alarm are kept back after the target was told of it, in seconds (0 to 2,592,000). One
    /// that has become more severe is told of at once.
    pub repeat_seconds: u32,
    /// Whether the target is told that an alarm is over.
    pub recovery: bool,
    /// What is less severe is not told of: `info`, `warning`, `error` or `critical`. Absent: all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<String>,
}

impl Alarms {
    fn check(&self, pointer: &str, errors: &mut Vec<FieldError>) {
        let labels = self.group_by.as_deref().unwrap_or_default();
        if labels.len() > GROUP_BY_MAX {
            errors.push(FieldError::new(
                format!("{pointer}/groupBy"),
                format!(
                    "expected at most {GROUP_BY_MAX} labels, got {}",
                    labels.len()
                ),
            ));
        }
        for (n, label) in labels.iter().enumerate() {
            if label.is_empty() || label.len() > LABEL_BYTES_MAX {
                errors.push(FieldError::new(
                    format!("{pointer}/groupBy/{n}"),
                    format!("expected the name of a label, 1 to {LABEL_BYTES_MAX} bytes"),
                ));
            }
        }
        for (member, seconds, low, high) in [
            (
                "groupWaitSeconds",
                self.group_wait_seconds,
                0,
                GROUP_SECONDS_MAX,
            ),
            (
                "groupIntervalSeconds",
                self.group_interval_seconds,
                1,
                GROUP_SECONDS_MAX,
            ),
            ("repeatSeconds", self.repeat_seconds, 0, REPEAT_SECONDS_MAX),
        ] {
            range(
                &format!("{pointer}/{member}"),
                u64::from(seconds),
                low,
                u64::from(high),
                errors,
            );
        }
        let known = ["info", "warning", "error", "critical"];
        if let Some(word) = &self.min_severity
            && !known.contains(&word.as_str())
        {
            let shown: String = word.chars().take(64).collect();
            errors.push(FieldError::new(
                format!("{pointer}/minSeverity"),
                format!("expected one of {}, got {shown:?}", known.join(", ")),
            ));
        }
    }
}

impl Default for Alarms {
    fn default() -> Self {
        Self {
            group_by: None,
            group_wait_seconds: 30,
            group_interval_seconds: 300,
            repeat_seconds: 4 * 3600,
            recovery: true,
            min_severity: None,
        }
    }
}

/// By what a target's deliveries are kept in order. Of those with the same key one is on its way at a time; an event
/// without a key is delivered without order. `{}` means `{"by": "partitionkey"}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// The attribute that is the key. Absent: `partitionkey`, unless there is a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<OrderBy>,
    /// Where in the event the key stands, such as `$.data.customer`; instead of `by`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// An attribute that events can be kept in order by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderBy {
    /// CloudEvents' extension for it.
    #[default]
    PartitionKey,
    /// The event's subject.
    Subject,
}

impl Order {
    fn check(&self, at: &str, errors: &mut Vec<FieldError>) {
        if self.by.is_some() && self.path.is_some() {
            errors.push(FieldError::new(
                format!("{at}/path"),
                "give either by or path, not both",
            ));
        }
    }
}

const fn yes() -> bool {
    true
}
const fn one() -> u32 {
    1
}

/// When to try again and when to give up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// The waits between attempts.
    pub schedule: Schedule,
    /// The waits of schedule `custom`, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_seconds: Option<Vec<u32>>,
    /// Attempts in all, the first included. Absent: as many as the schedule has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Age at which a delivery is given up, counted from acceptance (or from the redrive). Absent: 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u32>,
    /// Whether answers 400 to 499 other than 408, 425 and 429 are tried again. Absent: as the kind does.
    #[serde(rename = "retryOn4xx", skip_serializing_if = "Option::is_none")]
    pub retry_on_4xx: Option<bool>,
}

/// The waits between attempts, by name. The two last are the words of Tencent and Alibaba EventBridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Schedule {
    /// 5 s, 30 s, 2 m, 10 m, 30 m, 1 h, 2 h, 4 h, 8 h, 8 h: ten retries in just under 24 hours.
    #[default]
    #[serde(rename = "standard")]
    Standard,
    /// 2 s, 5 s, 15 s, 30 s, 1 m, 2 m, 5 m, 10 m, 15 m, 30 m: ten retries in about an hour.
    #[serde(rename = "alarm")]
    Alarm,
    /// One attempt, no retry.
    #[serde(rename = "none")]
    None,
    /// The waits of `waitsSeconds`.
    #[serde(rename = "custom")]
    Custom,
    /// Three retries, 10 to 20 s apart.
    #[serde(rename = "BACKOFF_RETRY")]
    BackoffRetry,
    /// 1, 2, 4 ... 256 s, then 512 s; 176 retries.
    #[serde(rename = "EXPONENTIAL_DECAY_RETRY")]
    ExponentialDecayRetry,
}

const STANDARD: [u32; 10] = [5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 28_800];
const ALARM: [u32; 10] = [2, 5, 15, 30, 60, 120, 300, 600, 900, 1800];
const MAX_AGE_SECONDS_DEFAULT: u32 = 86_400;

impl RetryPolicy {
    /// A policy of one of the named schedules.
    pub fn of(schedule: Schedule) -> Self {
        Self {
            schedule,
            ..Self::default()
        }
    }

    /// The wait before the next attempt after `made` attempts, in milliseconds and before jitter; `None` when the
    /// attempts are used up.
    pub fn wait_ms(&self, made: u32) -> Option<u64> {
        if made == 0 || self.max_attempts.is_some_and(|max| made >= max) {
            return None;
        }
        let index = usize::try_from(made - 1).ok()?;
        let seconds = match self.schedule {
            Schedule::Standard => STANDARD.get(index).copied(),
            Schedule::Alarm => ALARM.get(index).copied(),
            Schedule::None => None,
            Schedule::Custom => self.waits_seconds.as_ref()?.get(index).copied(),
            Schedule::BackoffRetry => (index < 3).then_some(10),
            Schedule::ExponentialDecayRetry => {
                (index < 176).then(|| 1_u32 << u32::try_from(index.min(9)).unwrap_or(9))
            }
        }?;
        Some(u64::from(seconds) * 1000)
    }

    /// The most that may be added to a wait, in milliseconds: waits are never shortened, so that a receiver gets
    /// the pause it was promised. A tenth of the wait, at least half a second.
    pub fn jitter_ms(&self, wait_ms: u64) -> u64 {
        if self.schedule == Schedule::BackoffRetry {
            10_000
        } else {
            (wait_ms / 10).max(500)
        }
    }

    /// How long a delivery may be tried, in milliseconds.
    pub fn max_age_ms(&self) -> i64 {
        i64::from(self.max_age_seconds.unwrap_or(MAX_AGE_SECONDS_DEFAULT)) * 1000
    }

    fn check(&self, at: &str, errors: &mut Vec<FieldError>) {
        match (&self.waits_seconds, self.schedule) {
            (None, Schedule::Custom) => errors.push(FieldError::new(
                format!("{at}/waitsSeconds"),
                "schedule custom needs its waits, for example [5, 60, 600]",
            )),
            (Some(waits), Schedule::Custom) => {
                if waits.is_empty() || waits.len() > WAITS_MAX {
                    errors.push(FieldError::new(
                        format!("{at}/waitsSeconds"),
                        format!("expected 1 to {WAITS_MAX} waits, got {}", waits.len()),
                    ));
                }
                for (i, wait) in waits.iter().enumerate() {
                    range(
                        &format!("{at}/waitsSeconds/{i}"),
                        u64::from(*wait),
                        1,
                        u64::from(WAIT_SECONDS_MAX),
                        errors,
                    );
                }
            }
            (Some(_), _) => errors.push(FieldError::new(
                format!("{at}/waitsSeconds"),
                "only schedule custom takes waitsSeconds",
            )),
            (None, _) => {}
        }
        if let Some(max) = self.max_attempts {
            range(
                &format!("{at}/maxAttempts"),
                u64::from(max),
                1,
                1000,
                errors,
            );
        }
        if let Some(max) = self.max_age_seconds {
            range(
                &format!("{at}/maxAgeSeconds"),
                u64::from(max),
                1,
                u64::from(MAX_AGE_SECONDS_MAX),
                errors,
            );
        }
    }
}

fn range(pointer: &str, value: u64, low: u64, high: u64, errors: &mut Vec<FieldError>) {
    if value < low || value > high {
        errors.push(FieldError::new(
            pointer,
            format!("expected {low} to {high}, got {value}"),
        ));
    }
}

fn check_description(text: &str, errors: &mut Vec<FieldError>) {
    if text.len() > DESCRIPTION_BYTES_MAX {
        errors.push(FieldError::new(
            "/description",
            format!("at most {DESCRIPTION_BYTES_MAX} bytes, got {}", text.len()),
        ));
    }
}

impl BusSpec {
    /// Everything wrong with it.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        check_description(&self.description, &mut errors);
        range(
            "/dedup/windowSeconds",
            u64::from(self.dedup.window_seconds),
            1,
            86_400,
            &mut errors,
        );
        if let Some(retention) = &self.retention {
            retention.check(&mut errors);
        }
        errors
    }
}

impl ArchiveSpec {
    /// Everything wrong with it but the pattern, which `belfry-pattern` reads.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        check_description(&self.description, &mut errors);
        if let Some(retention) = &self.retention {
            retention.check(&mut errors);
        }
        errors
    }
}

impl RuleSpec {
    /// Everything wrong with it but the pattern, which `belfry-pattern` reads.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        check_description(&self.description, &mut errors);
        errors
    }
}

impl TargetSpec {
    /// Everything wrong with it but settings and transform, which their crates read.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        check_description(&self.description, &mut errors);
        if !self.settings.is_object() {
            errors.push(FieldError::new(
                "/settings",
                "expected an object with the settings of this kind of target",
            ));
        }
        if let Some(retry) = &self.retry {
            retry.check("/retry", &mut errors);
        }
        if let Some(concurrency) = self.concurrency {
            range(
                "/concurrency",
                u64::from(concurrency),
                1,
                u64::from(CONCURRENCY_MAX),
                &mut errors,
            );
        }
        if let Some(limit) = self.rate_limit {
            range(
                "/rateLimit/count",
                u64::from(limit.count),
                1,
                1_000_000,
                &mut errors,
            );
            range(
                "/rateLimit/perSeconds",
                u64::from(limit.per_seconds),
                1,
                86_400,
                &mut errors,
            );
        }
        if let Some(order) = &self.order {
            order.check("/order", &mut errors);
        }
        if let Some(alarms) = &self.alarms {
            alarms.check("/alarms", &mut errors);
        }
        if self
            .dead_letter
            .as_ref()
            .is_some_and(|dead| dead.bus.is_system())
        {
            errors.push(FieldError::new(
                "/deadLetter/bus",
                "bus system is for Belfry's own reports; name another bus",
            ));
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_schedule_ends_just_under_a_day() {
        let policy = RetryPolicy::default();
        let total: u64 = (1..).map_while(|made| policy.wait_ms(made)).sum();
        assert_eq!(total, (23 * 3600 + 43 * 60 + 35 - 60) * 1000);
        assert_eq!(policy.wait_ms(11), None);
    }

    #[test]
    fn the_vendor_names_mean_what_the_vendors_document() {
        let decay = RetryPolicy::of(Schedule::ExponentialDecayRetry);
        assert_eq!((1..).map_while(|made| decay.wait_ms(made)).count(), 176);
        assert_eq!(decay.wait_ms(9), Some(256_000));
        assert_eq!(decay.wait_ms(10), Some(512_000));
        assert_eq!(decay.wait_ms(176), Some(512_000));
        let backoff = RetryPolicy::of(Schedule::BackoffRetry);
        assert_eq!((1..).map_while(|made| backoff.wait_ms(made)).count(), 3);
        assert_eq!(backoff.jitter_ms(10_000), 10_000);
    }

    #[test]
    fn max_attempts_counts_the_first_attempt() {
        let policy = RetryPolicy {
            max_attempts: Some(2),
            ..RetryPolicy::default()
        };
        assert_eq!(policy.wait_ms(1), Some(5000));
        assert_eq!(policy.wait_ms(2), None);
    }

    #[test]
    fn a_retention_is_bounded_and_need_not_be_given() {
        let pointers = |spec: Value| {
            let spec: BusSpec = serde_json::from_value(spec).unwrap();
            spec.check()
                .into_iter()
                .map(|error| error.pointer)
                .collect::<Vec<_>>()
        };
        assert!(pointers(serde_json::json!({})).is_empty());
        assert!(pointers(serde_json::json!({"retention": {"bytes": 1}})).is_empty());
        let bad = serde_json::json!({"retention": {"ageSeconds": 0, "bytes": 0}});
        assert_eq!(pointers(bad), ["/retention/ageSeconds", "/retention/bytes"]);
        assert_eq!(
            serde_json::to_value(BusSpec::default()).unwrap()["retention"],
            Value::Null
        );
    }

    #[test]
    fn every_bad_member_of_a_target_is_named() {
        let spec: TargetSpec = serde_json::from_value(serde_json::json!({
            "type": "webhook", "settings": 3, "concurrency": 0,
            "retry": {"schedule": "custom", "waitsSeconds": [0], "maxAttempts": 0, "maxAgeSeconds": 99_999_999},
            "rateLimit": {"count": 0}, "order": {"by": "subject", "path": "$.data"}, "deadLetter": {"bus": "system"},
        }))
        .unwrap();
        let pointers: Vec<_> = spec
            .check()
            .into_iter()
            .map(|error| error.pointer)
            .collect();
        assert_eq!(
            pointers,
            [
                "/settings",
                "/retry/waitsSeconds/0",
                "/retry/maxAttempts",
                "/retry/maxAgeSeconds",
                "/concurrency",
                "/rateLimit/count",
                "/order/path",
                "/deadLetter/bus"
            ]
        );
    }
}
