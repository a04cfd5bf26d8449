//! Buses, rules, targets and archives as clients read them: secrets masked.

use std::collections::BTreeMap;

use belfry_model::config::{
    Alarms, Archive, Bus, DeadLetter, Dedup, Order, RateLimit, Retention, RetryPolicy, Rule, Target,
};
use belfry_model::json::JsonText;
use belfry_model::{ArchiveName, BusName, EventId, RuleName, TargetName};
use belfry_store::{ArchiveSize, BusSize};
use belfry_targets::{GeneratedSecret, Handshake, TargetKind, find_kind, mask};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::RuleConfig;
use crate::schema;
use crate::secrets::masked;
use crate::time::Stamp;

/// A bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Bus)]
pub struct BusView {
    /// Its name.
    #[schema(value_type = String, examples("default"))]
    pub name: BusName,
    /// For people.
    pub description: String,
    /// How repeats of an event are recognised.
    #[schema(value_type = schema::Dedup)]
    pub dedup: Dedup,
    /// How long its events are kept; what it does not say is as the server has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Retention>, required = false)]
    pub retention: Option<Retention>,
    /// How many rules it has.
    pub rules: usize,
    /// What is stored of it; absent in answers to changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub usage: Option<UsageView>,
    /// Counts changes; the `ETag` is `"r<revision>"`.
    pub revision: i64,
    /// When it was made.
    pub created_at: Stamp,
    /// When it was last changed.
    pub updated_at: Stamp,
    /// Present and true when nothing was written because `dryRun` was asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub dry_run: bool,
}

impl BusView {
    pub(crate) fn new(bus: &Bus, rules: usize) -> Self {
        Self {
            name: bus.name.clone(),
            description: bus.spec.description.clone(),
            dedup: bus.spec.dedup.clone(),
            retention: bus.spec.retention,
            rules,
            usage: None,
            revision: bus.revision,
            created_at: Stamp(bus.created_at_ms),
            updated_at: Stamp(bus.updated_at_ms),
            dry_run: false,
        }
    }
}

/// How much is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Usage)]
pub struct UsageView {
    /// Events.
    pub events: u64,
    /// Bytes of the events, without what is known about them.
    pub bytes: u64,
    /// When the oldest was accepted (of an archive).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub oldest_at: Option<Stamp>,
    /// When the newest was accepted (of an archive).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub newest_at: Option<Stamp>,
}

impl From<&BusSize> for UsageView {
    fn from(size: &BusSize) -> Self {
        Self {
            events: size.events,
            bytes: size.bytes,
            ..Self::default()
        }
    }
}

impl From<&ArchiveSize> for UsageView {
    fn from(size: &ArchiveSize) -> Self {
        let at = |id: EventId| Stamp(id.time_ms());
        Self {
            events: size.events,
            bytes: size.bytes,
            oldest_at: size.oldest.map(at),
            newest_at: size.newest.map(at),
        }
    }
}

/// An archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Archive)]
pub struct ArchiveView {
    /// Its bus.
    #[schema(value_type = String, examples("default"))]
    pub bus: BusName,
    /// Its name.
    #[schema(value_type = String, examples("orders"))]
    pub name: ArchiveName,
    /// For people.
    pub description: String,
    /// A disabled archive takes nothing more; what is in it stays.
    pub enabled: bool,
    /// Only events that match it, exactly as it was written; absent: every event of the bus.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub pattern: Option<JsonText>,
    /// How long copies are kept; absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Retention>, required = false)]
    pub retention: Option<Retention>,
    /// What is in it; absent in answers to changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub usage: Option<UsageView>,
    /// Counts changes; the `ETag` is `"r<revision>"`.
    pub revision: i64,
    /// When it was made.
    pub created_at: Stamp,
    /// When it was last changed.
    pub updated_at: Stamp,
    /// Present and true when nothing was written because `dryRun` was asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub dry_run: bool,
}

impl ArchiveView {
    pub(crate) fn new(bus: &BusName, archive: &Archive) -> Self {
        let spec = &archive.spec;
        Self {
            bus: bus.clone(),
            name: archive.name.clone(),
            description: spec.description.clone(),
            enabled: spec.enabled,
            pattern: spec.pattern.clone(),
            retention: spec.retention,
            usage: None,
            revision: archive.revision,
            created_at: Stamp(archive.created_at_ms),
            updated_at: Stamp(archive.updated_at_ms),
            dry_run: false,
        }
    }
}

/// A rule with its targets.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Rule)]
pub struct RuleView {
    /// Its bus.
    #[schema(value_type = String, examples("default"))]
    pub bus: BusName,
    /// Its name.
    #[schema(value_type = String, examples("disk-full"))]
    pub name: RuleName,
    /// For people.
    pub description: String,
    /// A disabled rule matches nothing.
    pub enabled: bool,
    /// The event pattern, exactly as it was written.
    #[schema(value_type = Object)]
    pub pattern: JsonText,
    /// Its targets by name.
    #[schema(value_type = BTreeMap<String, TargetView>)]
    pub targets: BTreeMap<TargetName, TargetView>,
    /// Counts changes of the rule; the `ETag` is `"r<revision>"`. A change of one target alone counts there.
    pub revision: i64,
    /// When it was made.
    pub created_at: Stamp,
    /// When it was last changed.
    pub updated_at: Stamp,
    /// Present and true when nothing was written because `dryRun` was asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub dry_run: bool,
}

impl RuleView {
    pub(crate) fn new(
        bus: &BusName,
        rule: &Rule,
        targets: BTreeMap<TargetName, TargetView>,
    ) -> Self {
        Self {
            bus: bus.clone(),
            name: rule.name.clone(),
            description: rule.spec.description.clone(),
            enabled: rule.spec.enabled,
            pattern: rule.spec.pattern.clone(),
            targets,
            revision: rule.revision,
            created_at: Stamp(rule.created_at_ms),
            updated_at: Stamp(rule.updated_at_ms),
            dry_run: false,
        }
    }

    pub(crate) fn stored(bus: &BusName, stored: &RuleConfig) -> Self {
        let targets = stored
            .targets
            .iter()
            .map(|(name, target)| {
                (
                    name.clone(),
                    TargetView::new(bus, &stored.rule.name, target),
                )
            })
            .collect();
        Self::new(bus, &stored.rule, targets)
    }
}

/// A target.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Target)]
pub struct TargetView {
    /// Its bus.
    #[schema(value_type = String, examples("default"))]
    pub bus: BusName,
    /// Its rule.
    #[schema(value_type = String, examples("disk-full"))]
    pub rule: RuleName,
    /// Its name.
    #[schema(value_type = String, examples("on-call"))]
    pub name: TargetName,
    /// For people.
    pub description: String,
    /// Events for a disabled target are recorded as skipped.
    pub enabled: bool,
    /// The kind of target.
    #[serde(rename = "type")]
    #[schema(examples("webhook"))]
    pub kind: String,
    /// The kind's settings; secrets show as `********`, which sent back keeps them.
    #[schema(value_type = Object)]
    pub settings: Value,
    /// When to try again and when to give up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::RetryPolicy>, required = false)]
    pub retry: Option<RetryPolicy>,
    /// What else happens when a delivery is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::DeadLetter>, required = false)]
    pub dead_letter: Option<DeadLetter>,
    /// Requests on the wire at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub concurrency: Option<u16>,
    /// Most deliveries in a time span.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::RateLimit>, required = false)]
    pub rate_limit: Option<RateLimit>,
    /// By what its deliveries are kept in order; absent: no order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Order>, required = false)]
    pub order: Option<Order>,
    /// Turns the event into what is sent; exactly as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub transform: Option<JsonText>,
    /// Which alarms it is told of, how often, and which together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Alarms>, required = false)]
    pub alarms: Option<Alarms>,
    /// Set when Belfry itself disabled the target; changing the target takes it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub disabled: Option<DisabledView>,
    /// Counts changes; the `ETag` is `"r<revision>"`.
    pub revision: i64,
    /// When it was made.
    pub created_at: Stamp,
    /// When it was last changed.
    pub updated_at: Stamp,
    /// Secrets that the server made just now. Shown only in this answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub generated_secrets: Vec<GeneratedSecretView>,
    /// What the receiver agreed to just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Handshake>, required = false)]
    pub handshake: Option<Handshake>,
    /// Present and true when nothing was written because `dryRun` was asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub dry_run: bool,
}

impl TargetView {
    pub(crate) fn new(bus: &BusName, rule: &RuleName, target: &Target) -> Self {
        let mut settings = masked(&target.spec.settings);
        match find_kind(&target.spec.kind) {
            Ok(kind) => mask(kind, &mut settings),
            // Without its kind nobody can tell what of it is secret.
            Err(_) => settings = Value::Object(serde_json::Map::new()),
        }
        Self {
            bus: bus.clone(),
            rule: rule.clone(),
            name: target.name.clone(),
            description: target.spec.description.clone(),
            enabled: target.spec.enabled,
            kind: target.spec.kind.clone(),
            settings,
            retry: target.spec.retry.clone(),
            dead_letter: target.spec.dead_letter.clone(),
            concurrency: target.spec.concurrency,
            rate_limit: target.spec.rate_limit,
            order: target.spec.order.clone(),
            transform: target.spec.transform.clone(),
            alarms: target.spec.alarms.clone(),
            disabled: target.disabled.as_ref().map(|disabled| DisabledView {
                reason: disabled.reason.clone(),
                at: Stamp(disabled.at_ms),
            }),
            revision: target.revision,
            created_at: Stamp(target.created_at_ms),
            updated_at: Stamp(target.updated_at_ms),
            generated_secrets: Vec::new(),
            handshake: None,
            dry_run: false,
        }
    }
}

/// Why and when Belfry itself disabled a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Disabled)]
pub struct DisabledView {
    /// Why.
    pub reason: String,
    /// When.
    pub at: Stamp,
}

/// A secret that the server made, shown once.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = GeneratedSecret)]
pub struct GeneratedSecretView {
    /// Where it stands in the target.
    #[schema(examples("/settings/secrets/0"))]
    pub pointer: String,
    /// The secret.
    pub value: String,
}

impl From<GeneratedSecret> for GeneratedSecretView {
    fn from(secret: GeneratedSecret) -> Self {
        Self {
            pointer: format!("/settings{}", secret.pointer),
            value: secret.value,
        }
    }
}

impl std::fmt::Debug for GeneratedSecretView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeneratedSecretView")
            .field("pointer", &self.pointer)
            .finish_non_exhaustive()
    }
}

/// A kind of target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TargetKind)]
pub struct TargetKindView {
    /// The word in `type`.
    pub name: String,
    /// A title, by language (`en`, `zh`).
    pub title: BTreeMap<&'static str, &'static str>,
    /// What it does, by language (`en`, `zh`).
    pub about: BTreeMap<&'static str, &'static str>,
    /// The JSON Schema of its settings.
    #[schema(value_type = Object)]
    pub schema: Value,
    /// Settings that are valid.
    #[schema(value_type = Object)]
    pub example: Value,
    /// The retry schedule of a target that names none.
    #[schema(value_type = String)]
    pub default_schedule: belfry_model::config::Schedule,
}

impl TargetKindView {
    pub(crate) fn new(kind: &dyn TargetKind) -> Self {
        let labels = |(en, zh)| BTreeMap::from([("en", en), ("zh", zh)]);
        Self {
            name: kind.name().to_owned(),
            title: labels(kind.title()),
            about: labels(kind.about()),
            schema: kind.schema(),
            example: kind.example(),
            default_schedule: kind.default_schedule(),
        }
    }
}
