//! The settings that all kinds with messages share: they stand beside a kind's own.

use belfry_alarm::Language;
use belfry_model::FieldError;
use belfry_model::json::{nearest, pointer_to};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::people::Person;
use crate::settings;

/// Settings of every kind with messages.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Common {
    /// The language of built-in texts: `zh` or `en`.
    pub(crate) language: Language,
    /// The IANA name of the time zone in which times are shown.
    #[schemars(with = "String")]
    #[serde(deserialize_with = "zone")]
    pub(crate) time_zone: Tz,
    /// The longest wait for the complete answer, in seconds (1 to 60).
    #[schemars(range(min = 1, max = 60))]
    pub(crate) timeout_seconds: u16,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            language: Language::default(),
            time_zone: Tz::Asia__Shanghai,
            timeout_seconds: 10,
        }
    }
}

impl Common {
    /// The same in the language and time zone of a person.
    pub(crate) fn read_by(&self, person: &Person) -> Self {
        let zone = person.time_zone.as_deref();
        Self {
            language: person.language.unwrap_or(self.language),
            time_zone: zone
                .and_then(|name| name.parse().ok())
                .unwrap_or(self.time_zone),
            ..self.clone()
        }
    }
}

/// Settings that stand beside a kind's own, in the same object.
pub(crate) trait Beside: DeserializeOwned + JsonSchema {
    /// Their names; no kind has one of these itself.
    const MEMBERS: &'static [&'static str];
}

impl Beside for Common {
    const MEMBERS: &'static [&'static str] = &["language", "timeZone", "timeoutSeconds"];
}

/// Nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

impl Beside for Nothing {
    const MEMBERS: &'static [&'static str] = &[];
}

fn zone<'de, D: Deserializer<'de>>(input: D) -> Result<Tz, D::Error> {
    let name = String::deserialize(input)?;
    parse_zone(&name).map_err(serde::de::Error::custom)
}

/// A time zone by its IANA name.
pub(crate) fn parse_zone(name: &str) -> Result<Tz, String> {
    name.parse().map_err(|_| {
        "expected the IANA name of a time zone, for example Asia/Shanghai or Europe/Berlin"
            .to_owned()
    })
}

/// Reads settings of a kind that has [`Common`] beside its own.
pub(crate) fn read<T: DeserializeOwned + JsonSchema>(
    settings: &Value,
) -> Result<(Common, T), Vec<FieldError>> {
    read_with::<Nothing, T>(settings).map(|(common, _, own)| (common, own))
}

/// The same for a kind that has `B` beside its own too.
pub(crate) fn read_with<B: Beside, T: DeserializeOwned + JsonSchema>(
    settings: &Value,
) -> Result<(Common, B, T), Vec<FieldError>> {
    let Some(members) = settings.as_object() else {
        return Err(settings::read::<T>(settings).err().unwrap_or_default());
    };
    let (common, rest) = split::<Common>(members.clone());
    let (beside, own) = split::<B>(rest);
    match (
        settings::read::<Common>(&common.into()),
        settings::read::<B>(&beside.into()),
        settings::read::<T>(&own.into()),
    ) {
        (Ok(common), Ok(beside), Ok(own)) => {
            let mut errors = Vec::new();
            let timeout = common.timeout_seconds.into();
            settings::check_range("/timeoutSeconds", timeout, 1, 60, &mut errors);
            if errors.is_empty() {
                Ok((common, beside, own))
            } else {
                Err(errors)
            }
        }
        (common, beside, own) => {
            let mut errors = unknown_members(members, &schema_with::<B, T>());
            if errors.is_empty() {
                let read = [common.err(), beside.err(), own.err()];
                errors.extend(read.into_iter().flatten().flatten());
            }
            Err(errors)
        }
    }
}

/// The members of `B`, and the others.
fn split<B: Beside>(members: Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
    members
        .into_iter()
        .partition(|(name, _)| B::MEMBERS.contains(&name.as_str()))
}

/// Members that stand nowhere in the schema; the nearest name may be one of the kind's or one beside them.
fn unknown_members(members: &Map<String, Value>, schema: &Value) -> Vec<FieldError> {
    let known: Vec<&str> = schema
        .get("properties")
        .and_then(Value::as_object)
        .map(|known| known.keys().map(String::as_str).collect())
        .unwrap_or_default();
    members
        .keys()
        .filter(|name| !known.contains(&name.as_str()))
        .map(|name| {
            let hint = nearest(name, known.iter().copied())
                .map(|near| format!("; did you mean \"{near}\"?"))
                .unwrap_or_default();
            let known = known.join(", ");
            let detail = format!("unknown member{hint} (expected one of {known})");
            FieldError::new(pointer_to(name), detail)
        })
        .collect()
}

/// The JSON Schema of a kind's settings with [`Common`] beside them.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    schema_with::<Nothing, T>()
}

/// The same with `B` beside them too.
pub(crate) fn schema_with<B: Beside, T: JsonSchema>() -> Value {
    let mut schema = settings::schema_of::<T>();
    for mut beside in [settings::schema_of::<B>(), settings::schema_of::<Common>()] {
        for member in ["properties", "$defs"] {
            let Some(Value::Object(more)) = beside.get_mut(member).map(Value::take) else {
                continue;
            };
            let Some(schema) = schema.as_object_mut() else {
                continue;
            };
            let all = schema
                .entry(member)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Some(all) = all.as_object_mut() {
                all.extend(more);
            }
        }
    }
    schema
}
