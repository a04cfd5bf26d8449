//! What messages say: built-in texts, groups, digests, the operator's own text, sizes, hostile values.

use crate::support::{context, job, public_egress};
use belfry_model::Event;
use belfry_model::event::EventLimits;
use belfry_model::{DeliveryId, EventId, TargetId};
use belfry_targets::{AlarmLife, Folded, Job, Target, find_kind};
use belfry_transform::{ContentKind, Rendered};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// An alarm: the members of `more` take the place of its own.
pub(crate) fn alarm(status: &str, more: &Value) -> Event {
    let mut doc = json!({
        "specversion": "1.0", "id": "e-1", "source": "cvm.example", "type": "cvm:ErrorEvent:PingUnreachable",
        "subject": "ins-demo0001", "time": "2023-11-14T22:13:20Z", "status": status, "severity": "critical",
        "region": "ap-guangzhou", "alarmkey": "00e723cf800f290f63d855883fe59952",
        "data": { "alarm": {
            "title": "云服务器 ping 不可达", "resourceName": "shop-api-01", "summary": "内网 ping 不可达",
            "value": "97%", "threshold": "90%",
            "links": [{ "label": "Runbook", "url": "https://wiki.example/ping" }],
        } },
    });
    for (name, value) in more.as_object().unwrap() {
        if let Some(name) = name.strip_prefix("alarm.") {
            doc["data"]["alarm"][name] = value.clone();
        } else if let Some(text) = value.as_str() {
            // Attributes with control characters are refused when an event is posted.
            let plain: String = text.chars().filter(|c| !c.is_control()).collect();
            doc[name] = json!(plain);
        } else {
            doc[name] = value.clone();
        }
    }
    event(&doc)
}

pub(crate) fn event(doc: &Value) -> Event {
    let bytes = Bytes::from(doc.to_string());
    Event::structured(bytes, &EventLimits::default()).unwrap()
}

/// A target of a kind with its example's settings and these.
pub(crate) fn target(kind: &str, more: &Value) -> Arc<dyn Target> {
    let kind = find_kind(kind).unwrap();
    let mut settings = kind.example();
    let members = settings.as_object_mut().unwrap();
    members.shift_remove("mentions");
    members.extend(more.as_object().unwrap().clone());
    kind.connect(settings, &context(public_egress()))
        .map_err(|errors| format!("{errors:?}"))
        .unwrap()
}

/// The body of the first request that a preview shows.
pub(crate) fn body(target: &dyn Target, job: &Job<'_>) -> Value {
    let records = target.preview(job).unwrap();
    serde_json::from_str(records[0].body.as_deref().unwrap()).unwrap()
}

fn wecom(more: &Value, job: &Job<'_>) -> String {
    let body = body(&*target("wecom", more), job);
    body["markdown"]["content"].as_str().unwrap().to_owned()
}

pub(crate) fn folded(events: &[Event]) -> Vec<Folded> {
    events
        .iter()
        .map(|event| Folded {
            delivery: DeliveryId {
                event: EventId::first_at(1_700_000_001_000),
                target: TargetId(7),
            },
            event: event.clone(),
            body: None,
        })
        .collect()
}

/// The same with what grows with the time of day left out.
fn without_lasting(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.contains("已持续") && !line.contains("Lasting"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn an_alarm_says_how_bad_what_which_and_since_when() {
    let event = alarm("1", &json!({}));
    let life = AlarmLife {
        count: 4,
        first_at_ms: 1_700_000_000_000 - 3_600_000,
        ..AlarmLife::default()
    };
    let mut job = job(&event);
    job.link = Some("https://eb.example/a/00e723");
    job.alarm = Some(&life);
    let text = wecom(&json!({}), &job);
    assert!(text.contains("\n> 持续: 已持续 "), "{text}");
    assert_eq!(
        without_lasting(&text),
        format!(
            "<font color=\"warning\">[严重] 云服务器 ping 不可达 · shop-api-01 (ins-demo0001)</font>\n\
             > 资源: `ins-demo0001` shop-api-01\n\
             > 地域: ap-guangzhou\n\
             > 当前值: 97%（阈值 90%）\n\
             > 开始: 2023-11-15 05:13:20 CST (UTC+8)\n\
             > 次数: 第 4 次，首次 11-15 05:13\n\
             > 说明: 内网 ping 不可达\n\
             > 事件: cvm:ErrorEvent:PingUnreachable\n\
             > 来源: cvm.example\n\
             [查看详情](https://eb.example/a/00e723)\n\
             [Runbook (wiki.example)](https://wiki.example/ping)\n\
             <font color=\"comment\">规则 disks · 总线 default · {} · {}</font>",
            job.delivery.event, job.delivery
        )
    );
    let english = json!({ "language": "en", "timeZone": "Europe/Berlin" });
    let text = wecom(&english, &job);
    for line in [
        "[Critical] 云服务器 ping 不可达 · shop-api-01 (ins-demo0001)",
        "> Value: 97% (threshold 90%)",
        "> Started: 2023-11-14 22:13:20 CET (UTC+1)",
        "> Count: 4 times, first at 11-14 22:13",
        "[View details](https://eb.example/a/00e723)",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn a_recovery_has_the_same_title_and_says_how_long_it_lasted() {
    let event = alarm("0", &json!({ "time": "2023-11-14T22:20:20Z" }));
    let life = AlarmLife {
        count: 1,
        first_at_ms: 1_700_000_000_000,
        ..AlarmLife::default()
    };
    let mut job = job(&event);
    job.alarm = Some(&life);
    let text = wecom(
        &json!({ "mentions": { "users": ["zhangsan"], "all": true } }),
        &job,
    );
    for line in [
        "<font color=\"info\">[恢复] 云服务器 ping 不可达 · shop-api-01 (ins-demo0001)</font>",
        "> 恢复: 2023-11-15 06:20:20 CST (UTC+8)",
        "> 持续: 7 分钟",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("<@"), "a recovery calls nobody: {text}");
}

#[test]
fn what_the_catalog_knows_is_told_in_either_language() {
    let event = alarm(
        "1",
        &json!({ "source": "cvm.cloud.tencent", "alarm.title": null, "alarm.summary": null }),
    );
    let mut job = job(&event);
    let chinese = wecom(&json!({}), &job);
    assert!(chinese.contains("[严重] 云服务器 "), "{chinese}");
    // What to do stands before what is only good to know.
    let (advice, event) = (chinese.find("\n> 建议: "), chinese.find("\n> 事件: "));
    assert!(advice.is_some() && advice < event, "{chinese}");
    let english = wecom(&json!({ "language": "en" }), &job);
    assert!(
        english.contains("[Critical] Cloud Virtual Machine "),
        "{english}"
    );
    assert!(english.contains("\n> Do first: "), "{english}");
    // A trial is told as what it is.
    job.trial = true;
    let trial = wecom(&json!({}), &job);
    assert!(trial.contains("[测试] [严重] 云服务器 "), "{trial}");
    // What is over neither means nor needs anything any more.
    let over = alarm(
        "0",
        &json!({ "source": "cvm.cloud.tencent", "alarm.title": null, "alarm.summary": null }),
    );
    let recovery = wecom(&json!({}), &self::job(&over));
    assert!(
        recovery.contains("[恢复] 云服务器 ") && !recovery.contains("> 说明: "),
        "{recovery}"
    );
    assert!(!recovery.contains("> 建议: "), "{recovery}");
}

#[test]
fn a_trial_is_marked_on_every_channel_and_stands_for_no_real_alarm() {
    let event = alarm("1", &json!({}));
    let mut job = job(&event);
    job.trial = true;
    for kind in [
        "wecom",
        "dingtalk",
        "feishu",
        "slack",
        "teams",
        "telegram",
        "discord",
        "pagerduty",
        "opsgenie",
        "ntfy",
        "gotify",
        "bark",
        "email",
        "tencent-sms",
        "tencent-voice",
        "twilio",
        "http-gateway",
    ] {
        let records = target(kind, &json!({ "language": "zh" }))
            .preview(&job)
            .unwrap();
        let shown = format!("{records:?}");
        assert!(
            shown.contains("测试") || shown.contains("%E6%B5%8B%E8%AF%95"),
            "{kind}: {shown}"
        );
        // A vendor that knows alarms by their key would take it for the real one.
        let key = "\\\"00e723cf800f290f63d855883fe59952\\\"";
        assert!(!shown.contains(key), "{kind}: {shown}");
    }
}

#[test]
fn a_preview_shows_as_many_requests_as_are_made() {
    let numbers =
        json!({ "to": ["+8613800000000", "+4915100000000", "+8613800000001"], "people": {} });
    let records = target("tencent-sms", &numbers)
        .preview(&job(&alarm("1", &json!({}))))
        .unwrap();
    let numbers: Vec<Value> = records
        .iter()
        .map(|record| serde_json::from_str(record.body.as_deref().unwrap()).unwrap())
        .map(|body: Value| body["PhoneNumberSet"].clone())
        .collect();
    assert_eq!(
        numbers,
        [
            json!(["+8613800000000", "+8613800000001"]),
            json!(["+4915100000000"])
        ]
    );
}

#[test]
fn a_callback_names_the_instance_whatever_the_dimensions_hold() {
    let callback = json!({ "body": "callback", "signing": { "enabled": false } });
    for (data, dimensions) in [
        (json!({}), json!({ "unInstanceId": "ins-demo0001" })),
        (
            json!({ "dimensions": { "ip": "10.0.1.11" } }),
            json!({ "ip": "10.0.1.11", "unInstanceId": "ins-demo0001" }),
        ),
        (
            json!({ "dimensions": { "unInstanceId": "ins-other" } }),
            json!({ "unInstanceId": "ins-other" }),
        ),
    ] {
        let event = alarm("1", &json!({ "data": data }));
        let body = body(&*target("webhook", &callback), &job(&event));
        assert_eq!(body["alarmObjInfo"]["dimensions"], dimensions);
    }
}

#[test]
fn long_links_of_an_event_take_nothing_of_what_happened() {
    let links: Vec<Value> = (0..8)
        .map(|n| json!({ "label": n.to_string(), "url": format!("https://e.example/{}", "a".repeat(1500)) }))
        .collect();
    let event = alarm("1", &json!({ "alarm.links": links }));
    let own = rendered("own text", false);
    let mut job = job(&event);
    job.link = Some("https://eb.example/a/1");
    let text = wecom(&json!({}), &job);
    job.body = Some(&own);
    let of_its_own = wecom(&json!({}), &job);
    for line in [
        "> 资源: `ins-demo0001`",
        "> 开始: ",
        "> 说明: ",
        "(https://eb.example/a/1)",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(
        text.contains("https://e.example/"),
        "as many as there is room for"
    );
    assert!(of_its_own.contains("own text\n"), "{of_its_own}");
}

#[test]
fn an_event_that_is_no_alarm_is_told_of_by_its_type_and_subject() {
    let event = event(&json!({
        "specversion": "1.0", "id": "1", "source": "/shop", "type": "order.created", "subject": "order-17",
        "data": { "total": 12.50 },
    }));
    let text = wecom(&json!({}), &job(&event));
    assert!(
        text.starts_with("<font color=\"comment\">order.created · order-17</font>\n"),
        "{text}"
    );
    assert!(
        text.contains("> 数据: {\"total\":12.50}") || text.contains("> 数据: {\"total\":12.5}"),
        "{text}"
    );
}

#[test]
fn a_title_is_no_longer_than_a_locked_phone_shows_and_keeps_the_resource() {
    let event = alarm("1", &json!({ "alarm.title": "磁".repeat(300) }));
    let text = wecom(&json!({}), &job(&event));
    let title = text.lines().next().unwrap();
    let title = title.split(['<', '>']).nth(2).unwrap();
    assert_eq!(title.chars().count(), 80, "{title}");
    assert!(
        title.starts_with("[严重] 磁磁") && title.ends_with("… · shop-api-01 (ins-demo0001)"),
        "{title}"
    );
}

#[test]
fn a_group_lists_the_worst_first_and_a_digest_counts_exactly() {
    let of = |severity: &str, status: &str, n: usize, at: usize| {
        alarm(
            status,
            &json!({
                "severity": severity, "subject": format!("ins-{at}"), "alarmkey": format!("key-{n}"),
                "alarm.resourceName": null, "time": format!("2023-11-14T22:{:02}:00Z", n % 60),
            }),
        )
    };
    let mut events = Vec::new();
    for n in 0..32 {
        events.push(of("warning", "1", n, n % 15));
    }
    for n in 32..37 {
        events.push(of("error", "1", n, 3));
    }
    events.push(of("critical", "1", 37, 5));
    events.push(of("warning", "0", 38, 6));
    let first = of("warning", "1", 39, 0);
    let folded = folded(&events);
    let mut job = job(&first);
    job.folded = &folded;
    job.digest = true;
    let text = wecom(&json!({}), &job);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "<font color=\"warning\">[汇总] 另有 40 条告警: 严重 1, 错误 5, 警告 33, 恢复 1</font>"
    );
    assert_eq!(lines[1], "> 数量: 40 (严重 1, 错误 5, 警告 33, 恢复 1)");
    assert_eq!(lines[2], "> 地域: ap-guangzhou");
    assert_eq!(lines[3], "> 时间: 06:00 – 2023-11-15 06:39:00 CST (UTC+8)");
    assert!(lines[4].starts_with("🔴 ins-5 ×"), "{text}");
    assert!(lines[5].starts_with("🟠 ins-3 ×"), "{text}");
    assert!(text.contains("\n…另有 5 条\n"), "{text}");
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("🟡")).count(),
        8
    );

    job.digest = false;
    let text = wecom(&json!({ "language": "en" }), &job);
    assert!(
        text.contains("[Critical] 40 alarms: 云服务器 ping 不可达"),
        "{text}"
    );
    assert!(
        text.contains("\n🔴 云服务器 ping 不可达 · ins-5\n🟠 "),
        "{text}"
    );
    assert!(text.contains("…and 20 more"), "{text}");
}

pub(crate) fn rendered(text: &str, json: bool) -> Rendered {
    Rendered {
        body: text.as_bytes().to_vec(),
        content_type: if json {
            ContentKind::Json
        } else {
            ContentKind::Text
        },
    }
}

#[test]
fn the_operators_own_text_stands_between_title_and_link() {
    let event = alarm("1", &json!({}));
    let own = rendered("**CPU** of `x`\nlook at it", false);
    let mut job = job(&event);
    job.body = Some(&own);
    job.link = Some("https://eb.example/a/1");
    let text = wecom(&json!({}), &job);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("[严重]"));
    assert_eq!(
        lines[1..4],
        [
            "**CPU** of `x`",
            "look at it",
            "[查看详情](https://eb.example/a/1)"
        ]
    );
    assert!(!text.contains("地域"));

    // A value that is the whole result was escaped by nobody.
    let own = rendered("\"<@all> [x](http://evil.example)\"", true);
    job.body = Some(&own);
    let text = wecom(&json!({}), &job);
    assert!(
        text.contains("\n＜@all＞ ［x］(http://evil.example)\n"),
        "{text}"
    );

    // An object is the vendor's body.
    let own = rendered(r#"{"msgtype":"text","text":{"content":"hi"}}"#, true);
    job.body = Some(&own);
    let own_body = body(&*target("wecom", &json!({})), &job);
    assert_eq!(own_body, json!({"msgtype":"text","text":{"content":"hi"}}));
    // The signature is added to it.
    let signed = body(&*target("feishu", &json!({})), &job);
    assert_eq!(signed["msgtype"], "text");
    assert_eq!(signed["sign"], "********");
    // Of a text that only looks like one, it is a text: an event could have written it.
    let own = rendered(r#"{"msgtype":"text","text":{"content":"hi"}}"#, false);
    job.body = Some(&own);
    assert!(wecom(&json!({}), &job).contains("{\"msgtype\""));
}

/// Every format of every kind that writes markup, with where its texts are and how long they may be.
struct Measured {
    kind: &'static str,
    settings: Value,
    limit: usize,
    measure: fn(&Value) -> usize,
}

fn text<'b>(body: &'b Value, pointer: &str) -> &'b str {
    body.pointer(pointer).and_then(Value::as_str).unwrap()
}

fn measured() -> Vec<Measured> {
    let sized = |kind, settings, limit, measure| Measured {
        kind,
        settings,
        limit,
        measure,
    };
    let whole: fn(&Value) -> usize = |body| body.to_string().len();
    vec![
        sized("wecom", json!({}), 4096, |body| {
            text(body, "/markdown/content").len()
        }),
        sized("wecom", json!({ "format": "markdown_v2" }), 4096, |body| {
            text(body, "/markdown_v2/content").len()
        }),
        sized("wecom", json!({ "format": "text" }), 2048, |body| {
            text(body, "/text/content").len()
        }),
        sized("dingtalk", json!({}), 20_000, whole),
        sized("dingtalk", json!({ "format": "actionCard" }), 20_000, whole),
        // What the signature takes is left free: 128 bytes, of which a mask and a time are in a preview.
        sized("feishu", json!({ "secret": null }), 19_872, whole),
        sized(
            "feishu",
            json!({ "secret": null, "format": "text" }),
            19_872,
            whole,
        ),
        sized("slack", json!({}), 3000, |body| {
            text(body, "/attachments/0/blocks/0/text/text")
                .chars()
                .count()
        }),
        sized("teams", json!({}), 28 * 1024, whole),
        sized("telegram", json!({}), 4096, |body| {
            let mut html = text(body, "/text").to_owned();
            for entity in ["&lt;", "&gt;", "&quot;", "&#39;", "&amp;"] {
                html = html.replace(entity, "x");
            }
            let mut plain = String::new();
            let mut inside = false;
            for c in html.chars() {
                match c {
                    '<' => inside = true,
                    '>' => inside = false,
                    c if !inside => plain.push(c),
                    _ => {}
                }
            }
            plain.encode_utf16().count()
        }),
        sized("discord", json!({}), 4096, |body| {
            text(body, "/embeds/0/description").chars().count()
        }),
        sized("ntfy", json!({}), 4096, |body| text(body, "/message").len()),
        sized("gotify", json!({}), 16 * 1024, |body| {
            text(body, "/message").len()
        }),
        sized("opsgenie", json!({}), 15_000, |body| {
            text(body, "/description").chars().count()
        }),
    ]
}

#[test]
fn a_message_of_just_the_size_is_whole_and_one_more_is_cut_within_it() {
    let event = alarm("1", &json!({ "alarm.links": [] }));
    for Measured {
        kind,
        settings,
        limit,
        measure,
    } in measured()
    {
        let target = target(kind, &settings);
        let made = |text: &str| {
            let own = rendered(text, false);
            let mut job = job(&event);
            job.body = Some(&own);
            job.link = Some("https://eb.example/a/1");
            let body = body(&*target, &job);
            (measure(&body), body)
        };
        // How long a text is in the channel's measure.
        let (short, _) = made("a");
        let (wide, _) = made("a告");
        let of_one = wide - short;
        let room = limit - (short - 1);
        for missing in [1_usize, 0] {
            let count = (room - missing) / of_one;
            let text = format!(
                "{}{}",
                "告".repeat(count),
                "a".repeat(room - missing - count * of_one)
            );
            let (size, body) = made(&text);
            assert_eq!(size, limit - missing, "{kind} {settings}");
            assert!(!body.to_string().contains("已截断"), "{kind} {settings}");
        }
        for more in [1, 2, 3, 500, 100_000] {
            let count = room / of_one;
            let mut text = "告".repeat(count);
            text.push_str(&"a".repeat(room - count * of_one));
            text.push_str(&"告a".repeat(more));
            let (size, body) = made(&text);
            assert!(size <= limit, "{kind} {settings}: {size}");
            assert!(size + 40 > limit, "{kind} {settings}: {size} leaves room");
            let shown = body.to_string();
            assert!(shown.contains("…(已截断)"), "{kind} {settings}");
            assert!(
                shown.contains("https://eb.example/a/1"),
                "{kind}: the link is kept"
            );
        }
    }
}

#[test]
fn values_of_any_length_in_every_field_stay_within_every_channels_size() {
    let long = "磁盘<&\"*_`[]()>".repeat(400);
    let labels: Value = (0..16)
        .map(|n| (format!("label{n}{long}"), json!(long)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let links: Vec<Value> = (0..8)
        .map(|n| json!({ "label": long, "url": format!("https://e{n}.example/{}", "a".repeat(1900)) }))
        .collect();
    let event = Event::structured(
        Bytes::from(
            json!({
                "specversion": "1.0", "id": "1", "source": "/x", "type": format!("t{}", "y".repeat(20_000)), "status": "1",
                "severity": "critical", "region": long, "account": long,
                "data": { "alarm": {
                    "title": long, "resourceName": long, "summary": long, "value": long, "threshold": long,
                    "links": links, "labels": labels,
                } },
            })
            .to_string(),
        ),
        &EventLimits {
            event_bytes: 64 << 20,
            identity_bytes: 1 << 20,
            attribute_bytes: 1 << 20,
            ..EventLimits::default()
        },
    )
    .unwrap();
    for Measured {
        kind,
        settings,
        limit,
        measure,
    } in measured()
    {
        if kind == "slack" {
            // Its parts have limits of their own; the double of the vendor checks them.
            continue;
        }
        let body = body(&*target(kind, &settings), &job(&event));
        assert!(
            measure(&body) <= limit,
            "{kind} {settings}: {}",
            measure(&body)
        );
        let shown = body.to_string();
        assert!(shown.contains("磁盘"), "{kind}: the title is kept");
    }
}
