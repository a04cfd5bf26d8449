use std::collections::HashSet;

use belfry_model::Event;
use belfry_model::event::EventLimits;
use bytes::Bytes;

use super::*;
use crate::Alarm;

#[test]
fn the_data_can_be_read_and_is_consistent() {
    let mut events = 0;
    let mut seen = HashSet::new();
    for file in FILES {
        let vendor: VendorData = serde_json::from_str(file).unwrap();
        events += vendor.events.len();
        let codes: HashSet<_> = vendor.products.iter().map(|p| p.code.as_str()).collect();
        for event in &vendor.events {
            let name = &event.r#type;
            assert!(codes.contains(event.product.as_str()), "{name}");
            assert!(
                seen.insert(format!("{}/{}", event.product, event.slug)),
                "{name}: two events have one template name"
            );
            let spellings: HashSet<_> = std::iter::once(name)
                .chain(&event.aliases)
                .map(|spelling| plain(spelling))
                .collect();
            for spelling in spellings {
                assert!(seen.insert(spelling), "{name}: a spelling means two events");
            }
            for names in [&event.name, &event.about, &event.advice] {
                assert!(!names.en.is_empty() && !names.zh.is_empty(), "{name}");
                assert!(
                    names.en.is_ascii() || !names.en.contains(|c: char| c >= '\u{4e00}'),
                    "{name}: {}",
                    names.en
                );
            }
            if let Some(ended) = &event.ends {
                let alarm = find(&template_source(&event.product), ended).expect(ended);
                assert_eq!(
                    (event.state.as_str(), event.severity),
                    ("0", alarm.severity)
                );
            }
            assert!(
                event
                    .slug
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{}",
                event.slug
            );
        }
    }
    assert_eq!(CATALOG.entries.len(), events);
    assert_eq!(events, 192 + 14 + 168);
}

fn template_source(code: &str) -> String {
    product(code)
        .and_then(|product| product.sources.first().cloned())
        .unwrap()
}

#[test]
fn an_event_is_known_in_every_spelling_of_its_type() {
    let known = |kind: &str| find("cvm.cloud.tencent", kind).map(|entry| entry.kind.as_str());
    let ping = Some("cvm:ErrorEvent:PingUnreachable");
    assert_eq!(known("cvm:ErrorEvent:PingUnreachable"), ping);
    assert_eq!(known("cvm:ErrorEvent:ping_unreachable"), ping);
    assert_eq!(
        known("cvm:ErrorEvent:DiskReadOnly"),
        Some("cvm:ErrorEvent:DiskReadonly")
    );
    assert_eq!(
        known("cvm:ErrorEvent:guest_core_error"),
        Some("cvm:ErrorEvent:GuestCoreError")
    );
    assert_eq!(known("cvm:ErrorEvent:Nobody"), None);
    assert_eq!(known(""), None);
    // The same type from elsewhere is somebody else's.
    assert_eq!(find("/shop", "cvm:ErrorEvent:PingUnreachable"), None);
    assert!(find("jcloud.vm", "vm:StatusNotification:SystemFailure.Migrate").is_some());
}

#[test]
fn what_ends_an_alarm_has_its_key_and_its_severity() {
    let over = find(
        "cvm.cloud.tencent",
        "cvm:ErrorEvent:InstanceDiskErrorExecuted",
    )
    .unwrap();
    assert_eq!(
        over.alarm_type(),
        "cvm:ErrorEvent:InstanceDiskErrorExecuting"
    );
    assert_eq!(
        (over.severity, over.state),
        (Severity::Critical, AlarmState::Recovered)
    );
    let executed = template("alibaba-ecs/instance-system-failure-reboot-executed").unwrap();
    assert_eq!(executed.alarm_type(), "Instance:SystemFailure.Reboot");
    let reboot = template("jdcloud-vm/system-failure-reboot").unwrap();
    assert_eq!(reboot.state_of("Executed"), AlarmState::Recovered);
    assert_eq!(reboot.state_of("?"), AlarmState::Stateless);
}

#[test]
fn a_preset_pattern_names_the_alarm_and_what_ends_it() {
    let ping = template("cvm/ping-unreachable").unwrap();
    assert_eq!(
        event_pattern(ping),
        json!({
            "source": ["cvm.cloud.tencent"],
            "type": ["cvm:ErrorEvent:PingUnreachable", "cvm:ErrorEvent:ping_unreachable"],
        })
    );
    let disk = template("cvm/instance-disk-error-executing").unwrap();
    let types = event_pattern(disk)["type"].to_string();
    for kind in [
        "DiskErrorExecuting",
        "DiskErrorExecuted",
        "DiskErrorAvoided",
        "DiskErrorCanceled",
    ] {
        assert!(types.contains(kind), "{types}");
    }
    // A source that is only guessed is not asked for.
    let guessed = entries("vpngw").next().unwrap();
    assert!(event_pattern(guessed).get("source").is_none());
    assert_eq!(
        product_pattern(product("cvm").unwrap()),
        json!({"source": ["cvm.cloud.tencent"]})
    );
}

#[test]
fn every_sample_is_an_event_that_the_catalog_knows_again() {
    for product in products() {
        for entry in entries(&product.code) {
            for status in [None, Some(AlarmState::Recovered)] {
                let wanted = Simulation {
                    resource: Some("a{resource}b"),
                    status,
                    now_ms: 1_700_000_000_123,
                    id: "sim-1",
                    ..Simulation::default()
                };
                let doc = sample(entry, &wanted);
                let text = doc.to_string();
                let left = text.replace("a{resource}b", "").replace("\"data\":{", "");
                for open in [
                    "{title",
                    "{time",
                    "{id",
                    "{name",
                    "{level",
                    "{status",
                    "{state",
                    "{resource",
                ] {
                    assert!(!left.contains(open), "{}: {left}", entry.kind);
                }
                let event = Event::structured(Bytes::from(text), &EventLimits::default()).unwrap();
                let alarm = Alarm::read(&event);
                assert_eq!(alarm.entry, Some(entry));
                assert_eq!(alarm.severity, entry.severity);
                assert_eq!(alarm.subject.as_deref(), Some("a{resource}b"));
                assert_eq!(
                    alarm.key,
                    AlarmKey::of([entry.source.as_str(), entry.alarm_type(), "a{resource}b"])
                );
            }
        }
    }
}

#[test]
fn of_a_simulated_event_data_resource_and_status_can_be_chosen() {
    let ping = template("cvm/ping-unreachable").unwrap();
    let data = json!({"instanceId": "ins-1"});
    let wanted = Simulation {
        resource: Some("ins-1"),
        data: Some(&data),
        status: Some(AlarmState::Recovered),
        now_ms: 1_700_000_000_123,
        id: "sim-1",
    };
    assert_eq!(
        sample(ping, &wanted),
        json!({
            "specversion": "1.0", "id": "sim-1", "source": "cvm.cloud.tencent",
            "type": "cvm:ErrorEvent:PingUnreachable", "subject": "ins-1",
            "time": "2023-11-14T22:13:20.123Z", "region": "ap-guangzhou",
            "datacontenttype": "application/json", "status": "0", "severity": "critical",
            "alarmkey": AlarmKey::of(["cvm.cloud.tencent", "cvm:ErrorEvent:PingUnreachable", "ins-1"]).as_str(),
            "data": {"instanceId": "ins-1"},
        })
    );
    let firing = sample(
        ping,
        &Simulation {
            id: "sim-2",
            ..Simulation::default()
        },
    );
    assert_eq!(firing["status"], "1");
    assert_eq!(firing["data"]["instanceId"], "ins-demo0001");
    let reboot = template("jdcloud-vm/system-failure-reboot").unwrap();
    let over = sample(
        reboot,
        &Simulation {
            status: Some(AlarmState::Recovered),
            ..wanted_at(0)
        },
    );
    assert_eq!(over["data"]["raw"]["detail"]["eventState"], "Executed");
    assert_eq!(
        over["data"]["raw"]["detail"]["eventTime"],
        "1970-01-01 08:00:00"
    );
}

fn wanted_at(now_ms: i64) -> Simulation<'static> {
    Simulation {
        now_ms,
        id: "sim-3",
        ..Simulation::default()
    }
}
