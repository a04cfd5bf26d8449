//! Callbacks of Tencent Cloud's monitoring and of "消息推送" of its EventBridge: <https://cloud.tencent.com/document/product/248/50409>.

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;

use super::tencent_eb::{Meaning, pascal};
use crate::body::Node;
use crate::draft::{Draft, Facts};
use crate::format::{Format, SignedBy};
use crate::signature::unsigned;
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "tencent-tcop",
    title: (
        "Tencent Cloud monitoring callback",
        "腾讯云可观测平台告警回调",
    ),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read,
};

/// Dimensions that name the resource, the best first; in lower case without underscores.
const SUBJECTS: [&str; 20] = [
    "uninstanceid",
    "uinstanceid",
    "instanceid",
    "diskid",
    "clusterid",
    "bucket",
    "domain",
    "uniqnatid",
    "vpnconnid",
    "directconnectconnid",
    "directconnectid",
    "directconnectgatewayid",
    "peeringconnectionid",
    "netdetectid",
    "filesystemid",
    "tkeclusterinstanceid",
    "target",
    "functionname",
    "vip",
    "objid",
];

/// The short names of regions in callbacks.
const REGIONS: [(&str, &str); 8] = [
    ("gz", "ap-guangzhou"),
    ("sh", "ap-shanghai"),
    ("bj", "ap-beijing"),
    ("cd", "ap-chengdu"),
    ("cq", "ap-chongqing"),
    ("nj", "ap-nanjing"),
    ("hk", "ap-hongkong"),
    ("sg", "ap-singapore"),
];

pub(crate) fn seen(request: &Request<'_>) -> bool {
    let body = request.node();
    body.get("sessionId").exists() && body.get("alarmPolicyInfo").exists()
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let body = request.node();
    let session = body.need("sessionId")?;
    let object = body.get("alarmObjInfo");
    let policy = body.get("alarmPolicyInfo");
    let conditions = policy.get("conditions");
    let dimensions = object.get("dimensions");

    let word = body.get("alarmStatus").text();
    let status = word
        .as_deref()
        .map_or(AlarmState::Stateless, AlarmState::parse);
    let duration = body.get("durationTime").text();
    let product = conditions.get("productName").text().or_else(|| {
        let namespace = object.get("namespace").text()?;
        namespace.rsplit('/').next().map(str::to_lowercase)
    });
    let product = product.unwrap_or_else(|| "tcop".to_owned());
    let source = format!("{product}.cloud.tencent");
    let subject = subject(dimensions);

    let event = conditions.get("eventName").text();
    let metric = conditions.get("metricName").text();
    let (kind, severity, key, ends);
    if let Some(event) = event {
        kind = if event.contains(':') {
            event
        } else {
            format!("{product}:ErrorEvent:{}", pascal(&event))
        };
        let meaning = Meaning::of(&source, &kind);
        let parts = [
            source.as_str(),
            &meaning.alarm_type,
            subject.as_deref().unwrap_or_default(),
        ];
        key = AlarmKey::of(parts);
        (severity, ends) = (meaning.severity, meaning.ends);
    } else {
        let metric = metric.as_deref().unwrap_or("unknown");
        kind = format!("{product}:MetricAlarm:{metric}");
        let id = policy
            .get("policyId")
            .text()
            .or_else(|| policy.get("policyName").text());
        let target = dimensions.get("objId").text().or_else(|| subject.clone());
        key = AlarmKey::of([
            source.as_str(),
            &kind,
            id.as_deref().unwrap_or_default(),
            target.as_deref().unwrap_or_default(),
        ]);
        // The callback says nothing of how bad it is.
        (severity, ends) = (Severity::Warning, false);
    }
    let status = if ends { AlarmState::Recovered } else { status };

    let began = request.beijing(body.get("firstOccurTime"));
    let ended = request.beijing(body.get("recoverTime"));
    let over = status == AlarmState::Recovered;
    let region = object.get("region").text().map(|region| {
        let known = REGIONS.iter().find(|(short, _)| *short == region);
        known.map_or(region, |(_, id)| (*id).to_owned())
    });
    Ok(request.event(Draft {
        id: format!(
            "tcop-{session}-{}-{}",
            word.as_deref().unwrap_or("-"),
            duration.as_deref().unwrap_or("0")
        ),
        source,
        kind,
        subject,
        time_ms: if over { ended.or(began) } else { began },
        status,
        severity,
        region,
        key,
        facts: facts(body, began, ended.filter(|_| over)),
        raw: None,
    }))
}

fn facts(body: Node<'_>, began: Option<i64>, ended: Option<i64>) -> Facts {
    let policy = body.get("alarmPolicyInfo");
    let conditions = policy.get("conditions");
    let dimensions = body.get("alarmObjInfo").get("dimensions");
    let word = |name: &str| conditions.get(name).text();
    let more = |wanted: &str| {
        let mut list = body.get("additionalMsg").list().iter().map(Node);
        list.find(|item| item.get("key").text().as_deref() == Some(wanted))
            .and_then(|item| item.get("value").text())
    };
    let unit = word("unit").unwrap_or_default();
    let limit = word("calcValue").map(|limit| {
        let calc = word("calcType").unwrap_or_default();
        let unit = word("calcUnit").unwrap_or_else(|| unit.clone());
        format!("{calc} {limit}{unit}")
    });
    let mut labels: Vec<_> = dimensions
        .members()
        .filter_map(|(name, value)| Some((name.to_owned(), value.text()?)))
        .collect();
    for name in ["policyId", "policyName", "policyTypeCName"] {
        labels.extend(policy.get(name).text().map(|text| (name.to_owned(), text)));
    }
    Facts {
        title: ["eventShowName", "metricShowName", "metricName"]
            .into_iter()
            .find_map(word),
        resource_name: dimensions
            .get("deviceName")
            .text()
            .or_else(|| more("alias"))
            .or_else(|| dimensions.get("objName").text()),
        value: word("currentValue").map(|value| format!("{value}{unit}")),
        threshold: limit,
        started_at_ms: began,
        ended_at_ms: ended,
        labels,
        ..Facts::default()
    }
}

/// The id of the resource: the best of the dimensions that are there.
fn subject(dimensions: Node<'_>) -> Option<String> {
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    SUBJECTS.iter().find_map(|wanted| {
        dimensions
            .members()
            .filter(|(name, _)| plain(name) == *wanted)
            .find_map(|(_, value)| value.text())
    })
}
