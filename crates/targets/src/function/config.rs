//! The settings of a function target.

use std::time::Duration;

use belfry_model::{BusName, FieldError, FunctionName};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::settings::{check_range, optional_object};
use crate::target::Batch;

/// The most events that are given to a function at once.
const BATCH_COUNT_MAX: u64 = 10_000;
/// The longest that the first event of a batch waits for others, in seconds.
const BATCH_WAIT_SECONDS_MAX: u64 = 60;
/// The most bytes of bodies in a batch: a function is given 6 MiB, with what stands between them.
const BATCH_BYTES_MAX: usize = (6 << 20) - (64 << 10);
/// The longest name of a version or alias.
const QUALIFIER_BYTES_MAX: usize = 64;
/// What a function is run by that names no version.
const DEFAULT_QUALIFIER: &str = "$DEFAULT";
/// How the names of functions of Tencent SCF begin.
const QCS: &str = "qcs::scf:";

/// Settings of a function target.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FunctionSettings {
    /// The function: `namespace/name`, or `name` for one in namespace `default`. What Tencent calls it means the same:
    /// `qcs::scf:<region>:uin/<uin>:namespace/<namespace>/function/<name>/<version>`; region and account are not looked at.
    pub(crate) function: String,
    /// Which of it runs: a version (`3`), an alias, `$LATEST` (the draft) or `$DEFAULT` (the default).
    #[serde(default)]
    pub(crate) qualifier: Option<String>,
    /// Gives it events many at once, as `{"EventList": [...]}`. Absent: one by one.
    #[serde(default, deserialize_with = "optional_object")]
    pub(crate) batch: Option<BatchSettings>,
    /// Whether a run that failed by the function's own fault (an error, no time, no memory, an exit) is repeated: twice, after 1
    /// minute and after 2 more.
    #[serde(default = "yes")]
    pub(crate) retry_on_function_error: bool,
    /// Where its answer goes, as an event of type `belfry.function.succeeded`.
    #[serde(default, deserialize_with = "optional_object")]
    pub(crate) on_success: Option<Destination>,
    /// Where it is told that the function has failed and is not tried again, as an event of type `belfry.function.failed`.
    #[serde(default, deserialize_with = "optional_object")]
    pub(crate) on_failure: Option<Destination>,
}

/// How many events are given to a function at once.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BatchSettings {
    /// At most so many (1 to 10,000), and 6 MiB of them.
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) max_count: u32,
    /// How long the first of them waits for others at most, in seconds (1 to 60; 1).
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 60))]
    pub(crate) max_wait_seconds: u32,
}

/// Where events of a function's results go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Destination {
    /// The bus.
    #[schemars(with = "String")]
    pub(crate) bus: BusName,
}

const fn yes() -> bool {
    true
}

const fn one() -> u32 {
    1
}

/// Settings that hold together.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) function: FunctionName,
    pub(crate) qualifier: String,
    pub(crate) batch: Option<Batch>,
    pub(crate) retry_on_function_error: bool,
    pub(crate) on_success: Option<BusName>,
    pub(crate) on_failure: Option<BusName>,
}

impl Checked {
    pub(crate) fn new(settings: FunctionSettings) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let named = named(&settings.function)
            .map_err(|detail| errors.push(FieldError::new("/function", detail)))
            .ok();
        let version = named.as_ref().and_then(|(_, version)| version.clone());
        if let Some(qualifier) = &settings.qualifier {
            if !is_qualifier(qualifier) {
                errors.push(FieldError::new(
                    "/qualifier",
                    format!(
                        "expected $LATEST, $DEFAULT, or the name of a version or alias: 1 to {QUALIFIER_BYTES_MAX} of a-z A-Z 0-9 - _"
                    ),
                ));
            } else if version.as_ref().is_some_and(|version| version != qualifier) {
                errors.push(FieldError::new(
                    "/qualifier",
                    "the function's name ends with another version; say it once",
                ));
            }
        }
        if let Some(batch) = settings.batch {
            let ranges = [
                ("maxCount", batch.max_count, BATCH_COUNT_MAX),
                (
                    "maxWaitSeconds",
                    batch.max_wait_seconds,
                    BATCH_WAIT_SECONDS_MAX,
                ),
            ];
            for (member, value, most) in ranges {
                let pointer = format!("/batch/{member}");
                check_range(&pointer, u64::from(value), 1, most, &mut errors);
            }
        }
        for (pointer, destination) in [
            ("/onSuccess/bus", &settings.on_success),
            ("/onFailure/bus", &settings.on_failure),
        ] {
            if destination.as_ref().is_some_and(|to| to.bus.is_system()) {
                errors.push(FieldError::new(
                    pointer,
                    "bus system is for Belfry's own reports; name another bus",
                ));
            }
        }
        let (Some((function, _)), []) = (named, errors.as_slice()) else {
            return Err(errors);
        };
        Ok(Self {
            function,
            qualifier: settings
                .qualifier
                .or(version)
                .unwrap_or_else(|| DEFAULT_QUALIFIER.to_owned()),
            batch: settings.batch.map(|batch| Batch {
                count: usize::try_from(batch.max_count).unwrap_or(usize::MAX),
                bytes: BATCH_BYTES_MAX,
                wait: Duration::from_secs(u64::from(batch.max_wait_seconds)),
            }),
            retry_on_function_error: settings.retry_on_function_error,
            on_success: settings.on_success.map(|to| to.bus),
            on_failure: settings.on_failure.map(|to| to.bus),
        })
    }
}

/// A function by its name, in our form or Tencent's, with the version that the name ends with. The error is for people.
pub(crate) fn named(text: &str) -> Result<(FunctionName, Option<String>), String> {
    let Some(rest) = text.strip_prefix(QCS) else {
        let function = text.parse().map_err(|error| format!("{error}"))?;
        return Ok((function, None));
    };
    let wrong = || {
        "expected qcs::scf:<region>:uin/<uin>:namespace/<namespace>/function/<name>/<version>"
            .to_owned()
    };
    let mut parts = rest.splitn(3, ':').skip(2);
    let resource: Vec<&str> = parts.next().ok_or_else(wrong)?.split('/').collect();
    let (namespace, name, version) = match resource.as_slice() {
        ["namespace", namespace, "function", name] => (*namespace, *name, None),
        ["namespace", namespace, "function", name, version] if is_qualifier(version) => {
            (*namespace, *name, Some((*version).to_owned()))
        }
        _ => return Err(wrong()),
    };
    let function = FunctionName::new(namespace, name).map_err(|error| error.to_string())?;
    Ok((function, version))
}

fn is_qualifier(text: &str) -> bool {
    matches!(text, "$LATEST" | "$DEFAULT")
        || ((1..=QUALIFIER_BYTES_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_named_in_our_form_or_tencents() {
        for (text, function, version) in [
            ("restart", "default/restart", None),
            ("ops/restart", "ops/restart", None),
            (
                "qcs::scf:ap-guangzhou:uin/100000000001:namespace/default/function/restart/$LATEST",
                "default/restart",
                Some("$LATEST"),
            ),
            (
                "qcs::scf:gz:uin/1:namespace/ops/function/a-b/3",
                "ops/a-b",
                Some("3"),
            ),
            (
                "qcs::scf:gz:uin/1:namespace/ops/function/a-b",
                "ops/a-b",
                None,
            ),
            ("qcs::scf::uin/:namespace/ops/function/a-b", "ops/a-b", None),
        ] {
            let (found, found_version) = named(text).unwrap();
            assert_eq!(found.to_string(), function, "{text}");
            assert_eq!(found_version.as_deref(), version, "{text}");
        }
        for text in [
            "",
            "/",
            "a/b/c",
            "1a",
            "qcs::scf:",
            "qcs::scf:gz:uin/1",
            "qcs::scf:gz:uin/1:function/restart",
            "qcs::scf:gz:uin/1:namespace/a/function/b/c/d",
            "qcs::scf:gz:uin/1:namespace/a/function/b/",
            "qcs::cls:gz:uin/1:namespace/a/function/b",
        ] {
            assert!(named(text).is_err(), "{text}");
        }
    }
}
