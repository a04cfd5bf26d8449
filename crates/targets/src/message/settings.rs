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

/// The members of [`Common`].
const MEMBERS: [&str; 3] = ["language", "timeZone", "timeoutSeconds"];

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

/// Reads settings of a kind that has these beside its own.
pub(crate) fn read<T: DeserializeOwned + JsonSchema>(
    settings: &Value,
) -> Result<(Common, T), Vec<FieldError>> {
    let Some(members) = settings.as_object() else {
        return settings::read(settings).map(|own| (Common::default(), own));
    };
    let (common, own): (Map<_, _>, Map<_, _>) = members
        .clone()
        .into_iter()
        .partition(|(name, _)| MEMBERS.contains(&name.as_str()));
    let (common, own) = (Value::Object(common), Value::Object(own));
    match (settings::read::<Common>(&common), settings::read::<T>(&own)) {
        (Ok(common), Ok(own)) => {
            let mut errors = Vec::new();
            let timeout = common.timeout_seconds.into();
            settings::check_range("/timeoutSeconds", timeout, 1, 60, &mut errors);
            if errors.is_empty() {
                Ok((common, own))
            } else {
                Err(errors)
            }
        }
        (common, own) => {
            let mut errors = unknown_members::<T>(members);
            if errors.is_empty() {
                let read = [common.err(), own.err()];
                errors.extend(read.into_iter().flatten().flatten());
            }
            Err(errors)
        }
    }
}

/// Members that neither the kind nor every kind has; the nearest name may be one of either.
fn unknown_members<T: JsonSchema>(members: &Map<String, Value>) -> Vec<FieldError> {
    let schema = schema_of::<T>();
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

/// The JSON Schema of a kind's settings with these beside them.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let mut schema = settings::schema_of::<T>();
    let mut common = settings::schema_of::<Common>();
    for member in ["properties", "$defs"] {
        let Some(more) = common.get_mut(member).map(Value::take) else {
            continue;
        };
        let Value::Object(more) = more else { continue };
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
    schema
}
