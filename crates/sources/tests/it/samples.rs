use serde_json::{Value, json};

use belfry_sources::{Incoming, Outcome, formats};

use crate::support::{accepted, any, events, index, json_request, read, source};

const ATTRIBUTES: [&str; 9] = [
    "id", "source", "type", "subject", "time", "status", "severity", "region", "alarmkey",
];

/// Formats whose events are CloudEvents already.
const NATIVE: [&str; 3] = ["tencent-eb", "alibaba-eventbridge", "cloudevents"];

#[test]
fn every_sample_becomes_exactly_the_events_it_should_detected_and_named() {
    let samples = index();
    assert_eq!(samples.len(), 100, "the samples are all here");
    for sample in samples {
        for format in ["auto", sample.format.as_str()] {
            // Grafana's samples are not signed, which a source of that format alone would ask for.
            let secrets: &[&str] = match format {
                "grafana" => &[],
                _ => &["demo-client-secret", "demo-webhook-secret"],
            };
            let source = source(&json!({ "format": format, "signing": { "secrets": secrets } }));
            let name = format!("{} as {format}", sample.file);
            let read = read(&source, &sample.incoming()).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(read.format, sample.format, "{name}");
            if let Some(control) = &sample.control {
                check_control(&name, control, &read.outcome);
                continue;
            }
            let Outcome::Events(documents) = &read.outcome else {
                panic!("{name}: {read:?}");
            };
            assert_eq!(documents.len(), sample.events.len(), "{name}");
            let body = sample.body();
            for (document, expected) in documents.iter().zip(&sample.events) {
                accepted(document);
                let document: Value = serde_json::from_slice(document).unwrap();
                for attribute in ATTRIBUTES {
                    let got = document.get(attribute).and_then(Value::as_str);
                    let wanted = expected.get(attribute).map(String::as_str);
                    assert_eq!(got, wanted, "{name}: {attribute}");
                }
                check_data(&name, &read.format, &document, &body, documents.len());
            }
        }
    }
}

fn check_control(name: &str, control: &Value, outcome: &Outcome) {
    match outcome {
        Outcome::Handshake { confirm_url, topic } => {
            assert_eq!(control["url"], confirm_url.as_str(), "{name}");
            assert!(topic.ends_with("eventbus-alarms"), "{name}: {topic}");
        }
        Outcome::Answered(_) => assert_eq!(control["control"], "ping", "{name}"),
        other => panic!("{name}: {other:?}"),
    }
}

fn check_data(name: &str, format: &&str, document: &Value, body: &[u8], count: usize) {
    let data = &document["data"];
    let sent: Option<Value> = serde_json::from_slice(body).ok();
    if NATIVE.contains(format) {
        assert_eq!(
            Some(data),
            sent.as_ref().map(|sent| &sent["data"]),
            "{name}"
        );
        return;
    }
    let alarm = data["alarm"]
        .as_object()
        .unwrap_or_else(|| panic!("{name}: {data}"));
    for (fact, value) in alarm {
        let good = match fact.as_str() {
            "title" | "summary" | "resourceName" | "value" | "threshold" | "startedAt"
            | "endedAt" => value.as_str().is_some_and(|text| !text.is_empty()),
            "links" => value.as_array().is_some_and(|links| {
                links
                    .iter()
                    .all(|link| link["url"].is_string() && link["label"].is_string())
            }),
            "labels" => value
                .as_object()
                .is_some_and(|labels| labels.values().all(Value::is_string)),
            _ => false,
        };
        assert!(good, "{name}: {fact}: {value}");
    }
    match (sent, count) {
        // A form is kept as an object of its fields.
        (None, _) => assert!(data["raw"]["userId"].is_string(), "{name}"),
        (Some(sent), 1) => assert_eq!(data["raw"], sent, "{name}"),
        // Of several alerts each event has its own.
        (Some(sent), _) => {
            let own = &data["raw"]["alerts"];
            assert_eq!(own.as_array().map(Vec::len), Some(1), "{name}");
            assert!(
                sent["alerts"].as_array().unwrap().contains(&own[0]),
                "{name}"
            );
            assert_eq!(data["raw"]["groupKey"], sent["groupKey"], "{name}");
        }
    }
}

#[test]
fn the_facts_of_an_alarm_are_what_a_person_wants_to_know() {
    for (file, facts) in [
        (
            "tencent/tcop-metric-cvm-cpu-recovered.json",
            json!({"title": "CPU 利用率", "value": "38.2%", "threshold": "> 90%",
                   "startedAt": "2023-11-14T22:13:20.000Z", "endedAt": "2023-11-14T22:25:20.000Z"}),
        ),
        (
            "alibaba/threshold-ecs-cpu-alert.form",
            json!({"title": "基础监控-ECS-CPU使用率", "value": "97.39%", "threshold": "$Average>=90",
                   "resourceName": "shop-api-01"}),
        ),
        (
            "cloudwatch-sns/alarm-sigv1.json",
            json!({"title": "shop-cpu-high", "threshold": "> 80.0",
                   "summary": "CPU 高于 80%\ndemo reason: OK to ALARM"}),
        ),
        (
            "huawei/alarm.json",
            json!({"title": "alarm-shop", "value": "97.08%", "threshold": ">= 80%",
                   "resourceName": "shop-ecs-01"}),
        ),
        (
            "azure/metric-fired.json",
            json!({"title": "vm-cpu-high", "value": "91.7", "threshold": "GreaterThan 80"}),
        ),
        (
            "grafana/nodata.json",
            json!({"title": "DatasourceNoData: QueueBacklog", "summary": "队列堆积"}),
        ),
        (
            "zabbix/update-ack.json",
            json!({"summary": "处理中", "value": "Current utilization: 97.2 %",
                   "links": [{"label": "zabbix", "url": "https://zabbix.example/tr_events.php?triggerid=23312&eventid=4721"}]}),
        ),
        (
            "github/ci-run-failure.json",
            json!({"title": "CI: failure"}),
        ),
        (
            "sentry/metric-alert-critical.json",
            json!({"title": "Critical: 错误率过高"}),
        ),
        (
            "datadog/triggered.json",
            json!({"summary": "CPU 过高", "resourceName": "shop-api-01"}),
        ),
        (
            "gcp/incident-open.json",
            json!({"value": "0.95", "threshold": "0.80"}),
        ),
    ] {
        let read = read(&any(), &crate::support::sample(file).incoming()).unwrap();
        let alarm = events(&read).remove(0)["data"]["alarm"].take();
        for (name, wanted) in facts.as_object().unwrap() {
            assert_eq!(&alarm[name], wanted, "{file}: {name}");
        }
    }
}

#[test]
fn a_batch_of_150_alerts_becomes_150_events_each_with_its_own_alert() {
    let alerts: Vec<Value> = (0..150)
        .map(|n| {
            json!({
                "status": "firing", "startsAt": "2023-11-14T22:13:20Z", "endsAt": "0001-01-01T00:00:00Z",
                "fingerprint": format!("{n:016x}"),
                "labels": {"alertname": "Down", "severity": "critical", "instance": format!("host-{n}")},
                "annotations": {},
            })
        })
        .collect();
    let body = json!({"version": "4", "groupKey": "g", "groupLabels": {}, "alerts": alerts});
    let read = read(&any(), &json_request(body.to_string())).unwrap();
    let events = events(&read);
    assert_eq!(events.len(), 150);
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event["subject"], format!("host-{n}"));
        assert_eq!(event["data"]["raw"]["alerts"], json!([alerts[n]]));
    }
}

#[test]
fn cloudevents_may_come_several_in_one_request_also_of_several_vendors() {
    let body = json!([
        {"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "data": 1.50},
        {"specversion": "1.0", "id": "2", "source": "cvm.cloud.tencent",
         "type": "cvm:ErrorEvent:ping_unreachable", "status": 1, "time": 1_700_000_000_123_i64,
         "subject": "", "data": {"instanceId": "ins-1"}},
    ]);
    let read = read(&any(), &json_request(body.to_string())).unwrap();
    assert_eq!(read.format, "cloudevents");
    let events = events(&read);
    assert_eq!(events[0]["severity"], "info");
    assert_eq!(events[1]["severity"], "critical");
    assert_eq!(events[1]["subject"], "ins-1");
    assert_eq!(events[1]["status"], "1");
    assert_eq!(events[1]["time"], "2023-11-14T22:13:20.123Z");
}

#[test]
fn a_cloudevent_may_have_its_attributes_in_headers() {
    let mut incoming = json_request("{\"instanceId\":\"ins-1\"}");
    for (name, value) in [
        ("specversion", "1.0"),
        ("id", "7"),
        ("source", "cvm.cloud.tencent"),
        ("type", "cvm:ErrorEvent:PingUnreachable"),
        ("status", "0"),
    ] {
        incoming
            .headers
            .push((format!("ce-{name}"), value.to_owned()));
    }
    let read = read(&any(), &incoming).unwrap();
    assert_eq!(read.format, "tencent-eb");
    let event = events(&read).remove(0);
    assert_eq!(
        (&event["status"], &event["subject"]),
        (&json!("0"), &json!("ins-1"))
    );
    assert_eq!(event["data"], json!({"instanceId": "ins-1"}));
}

#[test]
fn alerts_that_the_sender_left_out_are_told_of() {
    let read = read(
        &any(),
        &crate::support::sample("alertmanager/mixed.json").incoming(),
    )
    .unwrap();
    for event in events(&read) {
        assert_eq!(event["data"]["alarm"]["labels"]["truncatedAlerts"], "7");
    }
}

#[test]
fn what_is_around_many_alerts_is_not_copied_without_bound() {
    let alert = json!({"status": "firing", "labels": {"alertname": "a"}});
    let body =
        json!({"groupLabels": {"x": "y".repeat(100_000)}, "alerts": vec![alert.clone(); 1000]});
    let read = read(&any(), &json_request(body.to_string())).unwrap();
    let Outcome::Events(documents) = &read.outcome else {
        panic!("{read:?}")
    };
    assert!(documents.iter().map(bytes::Bytes::len).sum::<usize>() < 2_000_000);
    assert_eq!(events(&read)[0]["data"]["raw"], json!({"alerts": [alert]}));
}

#[test]
fn a_body_is_kept_unless_the_source_says_no_and_at_most_64_kib_of_it() {
    let body = json!({"level": "error", "n": 1, "text": "磁盘".repeat(20_000)}).to_string();
    let keep = source(&json!({}));
    let read = belfry_sources::Source::read(&keep, &json_request(body.clone()), None).unwrap();
    let data = events(&read).remove(0)["data"].take();
    let raw = data["raw"].as_str().unwrap();
    assert!(body.starts_with(raw) && raw.len() <= 64 * 1024 && raw.len() > 64 * 1024 - 3);
    assert_eq!(data["rawTruncated"], true);
    let drop = source(&json!({"keepRaw": false}));
    let read = drop.read(&json_request("{\"a\":1.10}"), None).unwrap();
    assert_eq!(events(&read)[0]["data"], json!({"alarm": {}}));
    // Numbers keep their spelling.
    let read = keep.read(&json_request("{\"a\":1.10}"), None).unwrap();
    let Outcome::Events(documents) = read.outcome else {
        panic!()
    };
    assert!(String::from_utf8_lossy(&documents[0]).contains("{\"a\":1.10}"));
}

#[test]
fn the_sender_may_name_the_format_where_the_source_leaves_it_open() {
    let incoming = Incoming {
        query: Some("format=generic&x=1".to_owned()),
        ..crate::support::sample("zabbix/problem.json").incoming()
    };
    assert_eq!(read(&any(), &incoming).unwrap().format, "generic");
    let fixed = source(&json!({"format": "zabbix"}));
    assert_eq!(read(&fixed, &incoming).unwrap().format, "zabbix");
    let unknown = Incoming {
        query: Some("format=zabix".to_owned()),
        ..incoming
    };
    let refused = read(&any(), &unknown).unwrap_err();
    assert_eq!(refused.error.pointer, "query:format");
    assert!(
        refused.error.detail.ends_with("did you mean zabbix?"),
        "{refused}"
    );
}

#[test]
fn there_are_21_formats_and_each_is_there_once() {
    let names: Vec<_> = formats().map(|format| format.name).collect();
    assert_eq!(names.len(), 21);
    for sample in index() {
        assert!(names.contains(&sample.format.as_str()), "{}", sample.format);
    }
}
