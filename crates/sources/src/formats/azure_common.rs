//! The common alert schema of Azure Monitor: <https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-common-schema>.

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;

use crate::body::missing;
use crate::draft::{Draft, Facts};
use crate::format::{Format, SignedBy};
use crate::signature::unsigned;
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "azure-common",
    title: ("Azure Monitor", "Azure Monitor 告警"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read,
};

pub(crate) fn seen(request: &Request<'_>) -> bool {
    let schema = request.node().get("schemaId").text();
    schema.as_deref() == Some("azureMonitorCommonAlertSchema")
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let data = request.node().get("data");
    let alert = data.get("essentials");
    let word = |name: &str| alert.get(name).text();
    let id = word("alertId").ok_or_else(|| missing(&["data", "essentials", "alertId"]))?;
    let condition = word("monitorCondition").unwrap_or_default();
    let status = match condition.as_str() {
        "Fired" => AlarmState::Firing,
        "Resolved" => AlarmState::Recovered,
        _ => AlarmState::Stateless,
    };
    let fired = request.time(alert.get("firedDateTime"));
    let resolved = request.time(alert.get("resolvedDateTime"));
    let over = status == AlarmState::Recovered;
    let rule = word("alertRule");
    let criterion = data
        .get("alertContext")
        .get("condition")
        .get("allOf")
        .first();
    let limit = criterion.get("threshold").text().map(|limit| {
        let operator = criterion.get("operator").text().unwrap_or_default();
        format!("{operator} {limit}").trim().to_owned()
    });
    let mut labels: Vec<_> = data
        .get("customProperties")
        .members()
        .filter_map(|(name, value)| Some((name.to_owned(), value.text()?)))
        .collect();
    labels.extend(word("monitoringService").map(|text| ("monitoringService".to_owned(), text)));
    Ok(request.event(Draft {
        id: format!("{}-{condition}", id.rsplit('/').next().unwrap_or(&id)),
        source: "azure.monitor".to_owned(),
        kind: format!(
            "azure:{}:{}",
            word("signalType").as_deref().unwrap_or("unknown"),
            rule.as_deref().unwrap_or("unknown")
        ),
        subject: alert.get("alertTargetIDs").first().text(),
        time_ms: if over { resolved.or(fired) } else { fired },
        status,
        severity: word("severity")
            .and_then(|word| Severity::parse(&word))
            .unwrap_or(Severity::Warning),
        region: None,
        key: AlarmKey::of(["azure.monitor", &id]),
        facts: Facts {
            title: rule,
            summary: word("description"),
            resource_name: alert.get("configurationItems").first().text(),
            value: criterion.get("metricValue").text(),
            threshold: limit,
            started_at_ms: fired,
            ended_at_ms: resolved.filter(|_| over),
            links: vec![
                ("investigation", word("investigationLink")),
                ("results", criterion.get("linkToSearchResultsUI").text()),
            ],
            labels,
        },
        raw: None,
    }))
}
