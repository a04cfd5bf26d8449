//! Shapes of what clients write, for the API document. The types that read it are in `belfry-model` and
//! `belfry-targets`, which know nothing of API documents; a test compares both.
#![expect(dead_code, reason = "only their shape is used")]

use std::collections::BTreeMap;

use utoipa::ToSchema;

/// A bus as it is written.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct BusSpec {
    /// For people; at most 4,096 bytes.
    #[schema(required = false)]
    description: String,
    /// How repeats of an event are recognised.
    #[schema(required = false)]
    dedup: Dedup,
    /// How long its events are kept; what it does not say is as the server has it.
    #[schema(required = false)]
    retention: Retention,
}

/// How long events are kept: until they are too old, or the oldest of too many.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Retention {
    /// How old an event may become, in seconds.
    #[schema(
        required = false,
        minimum = 1,
        maximum = 3_153_600_000_u32,
        examples(604_800)
    )]
    age_seconds: u32,
    /// How many bytes of events are kept; beyond it the oldest go.
    #[schema(
        required = false,
        minimum = 1,
        maximum = 1_152_921_504_606_846_976_u64,
        examples(1_073_741_824)
    )]
    bytes: u64,
}

/// An archive as it is written.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct ArchiveSpec {
    /// For people; at most 4,096 bytes.
    #[schema(required = false)]
    description: String,
    /// A disabled archive takes nothing more; what is in it stays.
    #[schema(required = false, default = true)]
    enabled: bool,
    /// Only events that match this event pattern; kept exactly as it is written. Absent: every event of the bus.
    #[schema(value_type = Object, required = false, examples(json!({"type": [{"prefix": "order."}]})))]
    pattern: String,
    /// How long copies are kept; absent: for ever.
    #[schema(required = false)]
    retention: Retention,
}

/// How repeats of an event (same source and id) are recognised.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Dedup {
    /// `memory` remembers hashes in memory, rebuilt at start; `strict` keeps a table, exact for as long as events are
    /// stored; `off` makes every post a new event.
    #[schema(required = false, default = "memory")]
    mode: DedupMode,
    /// How long an event is remembered, in seconds.
    #[schema(required = false, minimum = 1, maximum = 86400, default = 600)]
    window_seconds: u32,
}

/// Where the memory of earlier events is kept.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub enum DedupMode {
    /// Hashes in memory.
    Memory,
    /// A table of the database.
    Strict,
    /// None.
    Off,
}

/// A rule as it is written.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct RuleSpec {
    /// For people; at most 4,096 bytes.
    #[schema(required = false)]
    description: String,
    /// A disabled rule matches nothing.
    #[schema(required = false, default = true)]
    enabled: bool,
    /// The event pattern; kept exactly as it is written.
    #[schema(value_type = Object, examples(json!({"source": ["cvm"], "data": {"value": [{"numeric": [">", 90]}]}})))]
    pattern: String,
    /// The whole set of targets, by name. Present: replaces the targets there are, all or nothing. Absent: leaves
    /// them as they are.
    #[schema(required = false)]
    targets: BTreeMap<String, TargetSpec>,
}

/// A target as it is written.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct TargetSpec {
    /// For people; at most 4,096 bytes.
    #[schema(required = false)]
    description: String,
    /// Events for a disabled target are recorded as skipped.
    #[schema(required = false, default = true)]
    enabled: bool,
    /// The kind of target; `GET /v1/target-kinds` lists them with the schemas of their settings.
    #[schema(rename = "type", examples("webhook"))]
    kind: String,
    /// The kind's settings. `********` in the place of a secret keeps the stored one.
    #[schema(value_type = Object, examples(json!({"url": "https://example.com/hooks/events"})))]
    settings: String,
    /// When to try again and when to give up; absent: the kind's own schedule.
    #[schema(required = false)]
    retry: RetryPolicy,
    /// What happens besides the record when a delivery is given up.
    #[schema(required = false)]
    dead_letter: DeadLetter,
    /// Requests on the wire at once; absent: 32.
    #[schema(required = false, minimum = 1, maximum = 1000)]
    concurrency: u16,
    /// Most deliveries in a time span; more wait. Absent: no limit.
    #[schema(required = false)]
    rate_limit: RateLimit,
    /// Deliver what has the same key one after the other, in the order of acceptance. Absent: no order.
    #[schema(required = false)]
    order: Order,
    /// Turns the event into what is sent; kept exactly as it is written. Absent: the kind's own form of the event.
    #[schema(value_type = Object, required = false)]
    transform: String,
    /// Which alarms the target is told of, how often, and which together. Absent: every event is a message of its own.
    #[schema(required = false)]
    alarms: Alarms,
}

/// Which alarms a target is told of, how often, and which together: words and defaults of Alertmanager.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Alarms {
    /// Alarms with the same values of these labels are told of in one message; an empty list: all in one. Absent: each by
    /// itself.
    #[schema(required = false, max_items = 16, examples(json!(["source", "region"])))]
    group_by: Vec<String>,
    /// How long the first of a group waits for others.
    #[schema(required = false, default = 30, maximum = 86_400)]
    group_wait_seconds: u32,
    /// The time between two messages of a group.
    #[schema(required = false, default = 300, minimum = 1, maximum = 86_400)]
    group_interval_seconds: u32,
    /// For how long repeats of an alarm are kept back after the target was told of it. One that has become more severe is
    /// told of at once.
    #[schema(required = false, default = 14_400, maximum = 2_592_000)]
    repeat_seconds: u32,
    /// Whether the target is told that an alarm is over.
    #[schema(required = false, default = true)]
    recovery: bool,
    /// What is less severe is not told of: `info`, `warning`, `error` or `critical`. Absent: all are.
    #[schema(required = false, examples("warning"))]
    min_severity: String,
}

/// When to try again and when to give up.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct RetryPolicy {
    /// The waits between attempts.
    #[schema(required = false, default = "standard")]
    schedule: Schedule,
    /// The waits of schedule `custom`, in seconds; 1 to 200 of them.
    #[schema(required = false, examples(json!([5, 60, 600])))]
    waits_seconds: Vec<u32>,
    /// Attempts in all, the first included; absent: as many as the schedule has.
    #[schema(required = false, minimum = 1, maximum = 1000)]
    max_attempts: u32,
    /// Age at which a delivery is given up; absent: 24 hours.
    #[schema(required = false, minimum = 1, maximum = 1_209_600)]
    max_age_seconds: u32,
    /// Whether answers 400 to 499 other than 408, 425 and 429 are tried again; absent: as the kind does.
    #[schema(required = false, rename = "retryOn4xx")]
    retry_on_4xx: bool,
}

/// The waits between attempts, by name.
#[derive(ToSchema)]
pub enum Schedule {
    /// Ten retries in just under 24 hours.
    #[schema(rename = "standard")]
    Standard,
    /// Ten retries in about an hour.
    #[schema(rename = "alarm")]
    Alarm,
    /// One attempt.
    #[schema(rename = "none")]
    None,
    /// The waits of `waitsSeconds`.
    #[schema(rename = "custom")]
    Custom,
    /// Three retries, 10 to 20 s apart.
    #[schema(rename = "BACKOFF_RETRY")]
    BackoffRetry,
    /// 176 retries, doubling up to 512 s.
    #[schema(rename = "EXPONENTIAL_DECAY_RETRY")]
    ExponentialDecayRetry,
}

/// What happens besides the record when a delivery is given up.
#[derive(ToSchema)]
pub struct DeadLetter {
    /// An event with the original and the failure goes onto this bus.
    bus: String,
}

/// Most deliveries in a time span; more wait.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct RateLimit {
    /// How many; also the largest burst.
    #[schema(minimum = 1, maximum = 1_000_000)]
    count: u32,
    /// In how many seconds.
    #[schema(required = false, minimum = 1, maximum = 86400, default = 1)]
    per_seconds: u32,
}

/// By what a target's deliveries are kept in order: of those with the same key one is on its way at a time, and one that
/// fails holds up its own key alone. An event without a key is delivered without order. `{}` means
/// `{"by": "partitionkey"}`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Order {
    /// The attribute that is the key.
    #[schema(required = false, default = "partitionkey")]
    by: OrderBy,
    /// Where in the event the key stands; instead of `by`.
    #[schema(required = false, examples("$.data.customer"))]
    path: String,
}

/// An attribute that events can be kept in order by.
#[derive(ToSchema)]
pub enum OrderBy {
    /// CloudEvents' extension for it.
    #[schema(rename = "partitionkey")]
    PartitionKey,
    /// The event's subject.
    #[schema(rename = "subject")]
    Subject,
}

/// What a receiver agreed to.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Handshake {
    /// The most requests a minute it accepts; absent: it did not say, or any number.
    #[schema(required = false)]
    allowed_per_minute: u32,
}
