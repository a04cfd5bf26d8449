//! The settings of a notification policy, and the channels in them.

use belfry_alarm::{TimeWindow, Weekly};
use belfry_egress::EgressClient;
use belfry_model::FieldError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::kind::{REGISTRY, TargetKind, find_kind};
use crate::message::settings::Common;
use crate::people::People;
use crate::settings::{check_range, object, optional_object};

/// Most channels of a policy.
const CHANNELS_MAX: usize = 10;
/// Kinds that cannot be a channel: a policy within a policy, and what tells nobody.
const NO_CHANNELS: [&str; 3] = ["notification", "log", "function"];
/// Members by which a kind that reaches people would name its own.
const RECIPIENTS: [&str; 3] = ["to", "cc", "people"];

/// Settings of a notification policy.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NotificationSettings {
    /// Who is told by channels that reach people (mail, SMS, calls).
    #[serde(default, deserialize_with = "object")]
    pub(crate) people: People,
    /// The channels, 1 to 10, all of which are used: each has the `type` and the settings of a kind, without recipients.
    #[schemars(schema_with = "channels_schema")]
    pub(crate) channels: Vec<Value>,
    /// A channel that is used only when another one refuses for good; its message says so.
    #[serde(default)]
    #[schemars(schema_with = "channel_schema")]
    pub(crate) fallback: Option<Value>,
    /// At which times people are told. Absent: at all times. Channels of type `webhook` tell programs, at all times.
    #[serde(default, deserialize_with = "optional_object")]
    pub(crate) window: Option<Window>,
    /// How often a channel is tried before it counts as one that refuses (1 to 20).
    #[serde(default = "tries_default")]
    #[schemars(range(min = 1, max = 20))]
    pub(crate) tries_max: u32,
}

/// Times of the week.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Window {
    /// The windows; any of them is enough.
    pub(crate) windows: Vec<TimeWindow>,
    /// The IANA name of their time zone. Absent: each contact's own, else the target's.
    #[serde(default)]
    pub(crate) time_zone: Option<String>,
    /// What becomes of an alarm outside of them.
    #[serde(default)]
    pub(crate) outside: Outside,
    /// Whether critical alarms, and their recoveries, are told of at all times.
    #[serde(default = "yes")]
    pub(crate) criticals_always: bool,
}

/// What becomes of an alarm outside of the windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outside {
    /// Nobody is told; the history says so.
    #[default]
    Skip,
    /// It waits for the next window.
    Wait,
}

const fn tries_default() -> u32 {
    6
}
const fn yes() -> bool {
    true
}

fn channels_schema(generator: &mut SchemaGenerator) -> Schema {
    let channel = channel_schema(generator);
    json_schema!({ "type": "array", "minItems": 1, "maxItems": CHANNELS_MAX, "items": channel })
}

fn channel_schema(_: &mut SchemaGenerator) -> Schema {
    let kinds: Vec<&str> = REGISTRY
        .iter()
        .map(|kind| kind.name())
        .filter(|name| !NO_CHANNELS.contains(name))
        .collect();
    json_schema!({
        "type": ["object", "null"],
        "description": "The settings of a kind, with its name in `type`.",
        "properties": { "type": { "type": "string", "enum": kinds } },
        "required": ["type"]
    })
}

/// The channels that can be told from settings of any shape: pointer, kind, and the kind's own settings.
pub(crate) fn channels_of(
    settings: &Value,
) -> impl Iterator<Item = (String, &'static dyn TargetKind, Value)> {
    let channels = settings.get("channels").and_then(Value::as_array);
    let fallback = settings.get("fallback");
    channels
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(n, channel)| (format!("/channels/{n}"), channel))
        .chain(fallback.map(|channel| ("/fallback".to_owned(), channel)))
        .filter_map(|(at, channel)| {
            let (kind, own) = parts(channel).ok()?;
            Some((at, kind, Value::Object(own)))
        })
}

/// Kind and own settings of a channel.
fn parts(channel: &Value) -> Result<(&'static dyn TargetKind, Map<String, Value>), FieldError> {
    let Some(members) = channel.as_object() else {
        let detail = "expected an object with the type and the settings of a kind";
        return Err(FieldError::new("", detail));
    };
    let name = members.get("type").and_then(Value::as_str);
    let kind = find_kind(name.unwrap_or_default())?;
    if NO_CHANNELS.contains(&kind.name()) {
        let detail = format!("{} cannot be a channel", kind.name());
        return Err(FieldError::new("/type", detail));
    }
    let mut own = members.clone();
    own.remove("type");
    Ok((kind, own))
}

/// A channel that was checked.
pub(crate) struct Channel {
    /// Where it stands in the settings.
    pub(crate) at: String,
    pub(crate) kind: &'static dyn TargetKind,
    /// The kind's settings, complete.
    pub(crate) settings: Value,
}

/// Channels that were checked, the fallback last if there is one.
pub(crate) struct Checked(pub(crate) Vec<Channel>);

impl Checked {
    /// Checks settings that could be read.
    pub(crate) fn new(
        common: &Common,
        settings: &NotificationSettings,
        egress: &EgressClient,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors: Vec<FieldError> = settings
            .people
            .check()
            .into_iter()
            .map(|error| error.under("/people"))
            .collect();
        if settings.channels.is_empty() || settings.channels.len() > CHANNELS_MAX {
            let detail = format!(
                "expected 1 to {CHANNELS_MAX} channels, got {}",
                settings.channels.len()
            );
            errors.push(FieldError::new("/channels", detail));
        }
        check_range("/triesMax", settings.tries_max.into(), 1, 20, &mut errors);
        if let Some(window) = &settings.window
            && let Err(found) = window.weekly(None).compile()
        {
            errors.extend(found.into_iter().map(|error| error.under("/window")));
        }
        let named = settings.channels.iter().enumerate();
        let named = named.map(|(n, channel)| (format!("/channels/{n}"), channel));
        let fallback = settings.fallback.iter();
        let fallback = fallback.map(|channel| ("/fallback".to_owned(), channel));
        let mut channels = Vec::new();
        for (at, channel) in named.chain(fallback) {
            match Self::channel(&at, channel, common, settings, egress) {
                Ok(channel) => channels.push(channel),
                Err(found) => errors.extend(found.into_iter().map(|error| error.under(&at))),
            }
        }
        if errors.is_empty() {
            Ok(Self(channels))
        } else {
            Err(errors)
        }
    }

    fn channel(
        at: &str,
        channel: &Value,
        common: &Common,
        settings: &NotificationSettings,
        egress: &EgressClient,
    ) -> Result<Channel, Vec<FieldError>> {
        let (kind, mut own) = parts(channel).map_err(|error| vec![error])?;
        let mut errors = Vec::new();
        if kind.reaches().is_some() {
            for member in RECIPIENTS {
                if own.contains_key(member) {
                    let detail = "whom a channel reaches stands in people, beside the channels";
                    errors.push(FieldError::new(format!("/{member}"), detail));
                }
            }
            if settings.people.is_empty() {
                let detail = "this channel reaches people, and people names nobody";
                errors.push(FieldError::new("/type", detail));
            }
            let people =
                json!({ "contacts": settings.people.contacts, "groups": settings.people.groups });
            own.insert("people".to_owned(), people);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        // Language and zone of the policy are those of its channels, unless they say otherwise.
        let schema = kind.schema();
        let knows = |member: &str| schema.pointer(&format!("/properties/{member}")).is_some();
        for (member, value) in [
            ("language", json!(common.language)),
            ("timeZone", json!(common.time_zone.name())),
        ] {
            if knows(member) {
                own.entry(member).or_insert(value);
            }
        }
        let own = Value::Object(own);
        let found = kind.validate(&own, egress);
        // What is wrong with names was said once, where they stand.
        errors.extend(
            found
                .into_iter()
                .filter(|error| !error.pointer.starts_with("/people")),
        );
        if kind.needs_handshake(&own) {
            let detail = "a receiver that wants to be asked first needs a target of its own";
            errors.push(FieldError::new("/handshake", detail));
        }
        if errors.is_empty() {
            Ok(Channel {
                at: at.to_owned(),
                kind,
                settings: own,
            })
        } else {
            Err(errors)
        }
    }
}

impl Window {
    /// The windows in a zone; where none is given, in their own or the usual one.
    pub(crate) fn weekly(&self, zone: Option<&str>) -> Weekly {
        Weekly {
            time_zone: self.time_zone.clone().or_else(|| zone.map(str::to_owned)),
            windows: self.windows.clone(),
        }
    }
}
