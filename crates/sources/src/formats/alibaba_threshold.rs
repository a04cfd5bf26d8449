//! Metric alarms of Alibaba Cloud's `CloudMonitor`, a form or in older days JSON: <https://help.aliyun.com/zh/cms/cloudmonitor-1-0/user-guide/use-the-alert-callback-feature>.
//!
//! The member `signature` is not checked: nobody documents how it is made.

use std::collections::BTreeMap;

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;
use serde_json::Value;

use crate::body::Node;
use crate::draft::{Draft, Facts};
use crate::format::{Format, SignedBy};
use crate::signature::unsigned;
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "alibaba-threshold",
    title: ("Alibaba Cloud metric alarm", "阿里云监控阈值报警"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read,
};

pub(crate) fn in_form(request: &Request<'_>) -> bool {
    request.body.form && seen(request)
}

pub(crate) fn seen(request: &Request<'_>) -> bool {
    let body = request.node();
    body.get("alertName").exists() && body.get("alertState").exists()
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let body = request.node();
    let name = body.need("alertName")?;
    let state = body.need("alertState")?;
    let word = |name: &str| body.get(name).text().filter(|text| text != "null");
    let dimensions = dimensions(body.get("dimensions"));
    let dimension = |name: &str| dimensions.get(name).cloned();

    let namespace = word("namespace").or_else(|| word("metricProject"));
    let product = namespace.map(|namespace| {
        let product = namespace.strip_prefix("acs_").unwrap_or(&namespace);
        let product = product.strip_suffix("_dashboard").unwrap_or(product);
        product.to_lowercase()
    });
    let product = product.unwrap_or_else(|| "cms".to_owned());
    let source = format!("{product}.cloud.aliyun");
    let metric = word("rawMetricName").or_else(|| word("metricName"));
    let rule = word("ruleId");
    let status = match state.to_ascii_uppercase().as_str() {
        "ALERT" | "ALARM" => AlarmState::Firing,
        "OK" => AlarmState::Recovered,
        _ => AlarmState::Stateless,
    };
    // Of a recovery the level is OK: how bad the alarm was stands beside it.
    let level = word("triggerLevel").filter(|level| level != "OK");
    let before = word("preTriggerLevel").filter(|level| level != "OK");
    let level = if status == AlarmState::Recovered {
        before.or(level)
    } else {
        level
    };
    let told: Vec<String> = dimensions
        .iter()
        .filter(|(name, _)| *name != "userId")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let key = AlarmKey::of([
        source.as_str(),
        rule.as_ref().unwrap_or(&name),
        &told.join(","),
    ]);
    let time = request.beijing(body.get("timestamp"));
    let value = word("curValue").map(|value| {
        let unit = word("unit").unwrap_or_default();
        format!("{value}{unit}")
    });
    let mut labels: Vec<(String, String)> = dimensions.clone().into_iter().collect();
    for name in [
        "metricName",
        "productGroupName",
        "regionName",
        "ruleId",
        "lastTime",
    ] {
        labels.extend(word(name).map(|text| (name.to_owned(), text)));
    }
    Ok(request.event(Draft {
        id: request.hash_id("cms"),
        kind: format!(
            "{product}:MetricAlarm:{}",
            metric.as_deref().unwrap_or("unknown")
        ),
        source,
        subject: dimension("instanceId")
            .or_else(|| word("instanceName"))
            .or(rule)
            .or_else(|| Some(name.clone())),
        time_ms: time,
        status,
        severity: level
            .and_then(|level| Severity::parse(&level))
            .unwrap_or(Severity::Warning),
        region: dimension("region").or_else(|| word("regionId")),
        key,
        facts: Facts {
            title: Some(name),
            resource_name: word("instanceName"),
            value,
            threshold: word("expression"),
            started_at_ms: time.filter(|_| status == AlarmState::Firing),
            ended_at_ms: time.filter(|_| status == AlarmState::Recovered),
            labels,
            ..Facts::default()
        },
        raw: None,
    }))
}

/// The dimensions, in order of their names. They come as JSON, or as Java writes a map: `{a=1, b=x, y=z}`.
fn dimensions(node: Node<'_>) -> BTreeMap<String, String> {
    let json = node.json();
    let map = match &json {
        Some(Value::Array(list)) => list.first(),
        other => other.as_ref(),
    };
    if let Some(map) = map {
        return Node(map)
            .members()
            .filter_map(|(name, value)| Some((name.to_owned(), value.text()?)))
            .collect();
    }
    let text = node.text().unwrap_or_default();
    let inner = text.strip_prefix('{').unwrap_or(&text);
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let mut found: Vec<(String, String)> = Vec::new();
    for part in inner.split(", ") {
        match part.split_once('=') {
            Some((name, value)) if is_name(name) => {
                found.push((name.to_owned(), value.to_owned()));
            }
            // A comma in a value.
            _ => {
                if let Some((_, value)) = found.last_mut() {
                    value.push_str(", ");
                    value.push_str(part);
                }
            }
        }
    }
    found.into_iter().collect()
}

fn is_name(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    !text.is_empty() && text.bytes().all(word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dimensions_are_read_in_every_way_they_are_written() {
        for (value, expected) in [
            (
                json!("{userId=1, instanceId=i-1}"),
                "instanceId=i-1|userId=1",
            ),
            (json!("{a=1, 2, b=x=y}"), "a=1, 2|b=x=y"),
            (json!("{\"a\":\"1\",\"b\":2}"), "a=1|b=2"),
            (json!([{"a": "1"}, {"a": "2"}]), "a=1"),
            (json!({"a": "1", "b": null, "c": {}}), "a=1"),
            (json!("null"), ""),
            (json!("{}"), ""),
            (json!(null), ""),
            (json!("{=x, y"), ""),
        ] {
            let read = dimensions(Node(&value));
            let text: Vec<_> = read
                .iter()
                .map(|(name, is)| format!("{name}={is}"))
                .collect();
            assert_eq!(text.join("|"), expected, "{value}");
        }
    }
}
