//! Notification policies: who is told by which channel, when, and what becomes of the delivery as a whole.

use std::sync::Arc;

use belfry_alarm::{Contact, ContactGroup};
use belfry_model::delivery::Reason;
use belfry_model::event::EventLimits;
use belfry_model::{Clock, Event, ManualClock};
use belfry_targets::{
    AlarmLife, Attempted, ConnectContext, Directory, Job, Target, Verdict, find_kind,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::sink::{Reply, Seen, Sink};
use crate::support::{context, egress, job, public_egress};

/// Wednesday, 2023-11-15 06:13:20 in Shanghai, Tuesday 23:13:20 in Berlin.
const NOW_MS: i64 = 1_700_000_000_000;
const HOUR_MS: i64 = 3_600_000;

/// Ann is in Shanghai, Bob in Berlin; Carol has no phone.
struct Crew;

impl Directory for Crew {
    fn contact(&self, name: &str) -> Option<Arc<Contact>> {
        let (phone, zone) = match name {
            "ann" => (Some("+8613800000001"), "Asia/Shanghai"),
            "bob" => (Some("+8613800000002"), "Europe/Berlin"),
            "carol" => (None, "Europe/Berlin"),
            _ => return None,
        };
        Some(Arc::new(Contact {
            phone: phone.map(str::to_owned),
            time_zone: Some(zone.to_owned()),
            ..Contact::default()
        }))
    }
    fn group(&self, name: &str) -> Option<Arc<ContactGroup>> {
        (name == "crew").then(|| {
            Arc::new(ContactGroup {
                description: String::new(),
                contacts: ["ann", "bob"].map(str::to_owned).to_vec(),
            })
        })
    }
}

/// A policy whose channels all end at one receiver, told apart by their paths.
struct Rig {
    sink: Sink,
    clock: Arc<ManualClock>,
    target: Arc<dyn Target>,
}

impl Rig {
    /// `answer` is asked with the name of the channel.
    async fn start(
        settings: Value,
        answer: impl Fn(&str, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let sink = Sink::start(move |seen| answer(channel_of(seen), seen)).await;
        let mut settings = settings;
        for channel in settings["channels"].as_array_mut().unwrap() {
            aim(channel, &sink);
        }
        if settings["fallback"].is_object() {
            aim(&mut settings["fallback"], &sink);
        }
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let context = ConnectContext {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            directory: Arc::new(Crew),
            functions: Arc::new(belfry_functions::NoFunctions),
            ..context(egress())
        };
        let target = find_kind("notification")
            .unwrap()
            .connect(settings, &context)
            .map_err(|errors| format!("{errors:?}"))
            .unwrap();
        Self {
            sink,
            clock,
            target,
        }
    }

    async fn deliver(&self, event: &Event, progress: Option<&str>) -> Attempted {
        let job = Job {
            progress,
            channel: self.target.next_part(event, progress, &|_| 0).channel,
            ..job(event)
        };
        self.target.deliver(&job).await
    }

    /// Attempts until it is over or has to wait.
    async fn run(&self, event: &Event) -> Attempted {
        let mut progress: Option<String> = None;
        for _ in 0..20 {
            let attempted = self.deliver(event, progress.as_deref()).await;
            if !matches!(attempted.verdict, Verdict::More { .. }) {
                return attempted;
            }
            progress = attempted.progress;
        }
        panic!("it does not come to an end");
    }

    /// Which channels were used, in order.
    fn used(&self) -> Vec<String> {
        self.sink
            .seen()
            .iter()
            .map(|seen| channel_of(seen).to_owned())
            .collect()
    }
}

/// The channel whose request this is.
fn channel_of(seen: &Seen) -> &'static str {
    match seen.target.as_str() {
        target if target.starts_with("/cgi-bin") => "wecom",
        target if target.starts_with("/bot") => "telegram",
        target if target.starts_with("/hook") => "webhook",
        _ => "sms",
    }
}

fn aim(channel: &mut Value, sink: &Sink) {
    let kind = channel["type"].as_str().unwrap().to_owned();
    let mut settings = find_kind(&kind).unwrap().example();
    for member in ["to", "people"] {
        if kind.ends_with("-sms") {
            settings.as_object_mut().unwrap().remove(member);
        }
    }
    match kind.as_str() {
        "webhook" => {
            settings = json!({ "url": sink.url("/hook"), "body": "callback", "signing": { "enabled": false } });
        }
        "tencent-sms" | "alibaba-sms" => settings["baseUrl"] = json!(sink.url("/")),
        _ => settings["baseUrl"] = json!(sink.url("")),
    }
    for (name, value) in channel.as_object().unwrap() {
        settings[name] = value.clone();
    }
    *channel = settings;
}

/// What each provider says when it takes a message.
fn taken(channel: &str, seen: &Seen) -> Reply {
    match channel {
        "wecom" => Reply::body(200, r#"{"errcode":0,"errmsg":"ok"}"#),
        "telegram" => Reply::body(200, r#"{"ok":true,"result":{"message_id":7}}"#),
        "sms" if seen.target.contains("&PhoneNumbers=") => {
            Reply::body(200, r#"{"Code":"OK","BizId":"b"}"#)
        }
        "sms" => {
            let body: Value = serde_json::from_slice(&seen.body).unwrap();
            let statuses: Vec<Value> = body["PhoneNumberSet"]
                .as_array()
                .unwrap()
                .iter()
                .map(|number| json!({ "PhoneNumber": number, "Code": "Ok" }))
                .collect();
            Reply::body(
                200,
                json!({ "Response": { "SendStatusSet": statuses } }).to_string(),
            )
        }
        _ => Reply::status(200),
    }
}

fn alarm(severity: &str) -> Event {
    let doc = json!({
        "specversion": "1.0", "id": "e-1", "source": "cvm.cloud.tencent", "type": "cvm:ErrorEvent:GuestReboot",
        "subject": "ins-0abc", "region": "ap-shanghai", "status": "1", "severity": severity, "time": "2021-10-19T03:15:47Z",
        "data": {
            "dimensions": { "unInstanceId": "ins-0abc", "objDetail": { "deviceLanIp": "10.0.0.5" }, "deviceName": "web-1" },
            "additionalMsg": { "alias": "web-1", "deviceLanIp": "10.0.0.5" },
        },
    });
    Event::structured(Bytes::from(doc.to_string()), &EventLimits::default()).unwrap()
}

fn later(attempted: &Attempted) -> (Reason, u64) {
    match &attempted.verdict {
        Verdict::Later {
            reason, wait_ms, ..
        } => (*reason, *wait_ms),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_channel_is_used_once_with_one_request_for_each_attempt() {
    let settings = json!({
        "people": { "contacts": ["ann"] },
        "channels": [{ "type": "wecom" }, { "type": "tencent-sms", "secondsPerNumber": 0 }, { "type": "webhook" }],
    });
    let rig = Rig::start(settings, taken).await;
    let event = alarm("error");
    let first = rig.deliver(&event, None).await;
    assert!(matches!(first.verdict, Verdict::More { .. }));
    assert_eq!(rig.used(), ["wecom"]);
    let second = rig.deliver(&event, first.progress.as_deref()).await;
    assert!(matches!(second.verdict, Verdict::More { .. }));
    assert!(first.request.is_some() && second.response.is_some());
    // The process ends before this is recorded: what was under way is repeated, nothing else.
    let again = rig.deliver(&event, first.progress.as_deref()).await;
    let last = rig.deliver(&event, again.progress.as_deref()).await;
    assert_eq!((last.verdict, last.note), (Verdict::Delivered, None));
    assert_eq!(rig.used(), ["wecom", "sms", "sms", "webhook"]);
    let sms: Value = serde_json::from_slice(&rig.sink.seen()[1].body).unwrap();
    assert_eq!(sms["PhoneNumberSet"], json!(["+8613800000001"]));
    let callback: Value = serde_json::from_slice(&rig.sink.seen()[3].body).unwrap();
    assert_eq!(
        callback,
        json!({
            "sessionId": "e-1", "alarmStatus": "1", "alarmType": "event",
            "alarmObjInfo": {
                "region": "sh",
                "dimensions": { "unInstanceId": "ins-0abc", "objDetail": { "deviceLanIp": "10.0.0.5" }, "deviceName": "web-1" },
            },
            "alarmPolicyInfo": {
                "policyName": "disks",
                "conditions": { "productName": "cvm", "eventName": "guest_reboot", "alarmNotifyType": "", "alarmNotifyPeriod": "" },
            },
            "additionalMsg": [{ "key": "alias", "value": "web-1" }, { "key": "deviceLanIp", "value": "10.0.0.5" }],
            "firstOccurTime": "2021-10-19 11:15:47", "durationTime": 0, "recoverTime": "0",
        })
    );
}

#[tokio::test]
async fn another_channel_takes_over_from_one_that_refuses_and_says_so() {
    let settings = json!({
        "people": { "contacts": ["ann", "carol"] },
        "channels": [{ "type": "tencent-sms" }],
        "fallback": { "type": "wecom" },
    });
    let rig = Rig::start(settings.clone(), |channel, seen| match channel {
        "sms" => Reply::body(200, r#"{"Response":{"SendStatusSet":[{"PhoneNumber":"+8613800000001","Code":"FailedOperation.PhoneNumberInBlacklist"}]}}"#),
        _ => taken(channel, seen),
    })
    .await;
    let attempted = rig.run(&alarm("critical")).await;
    assert_eq!(attempted.verdict, Verdict::Delivered);
    let note = attempted.note.unwrap();
    assert!(
        note.starts_with("tencent-sms: failed (0 of 1 reached; refused for good: +8613800000001")
            && note.ends_with("; wecom: delivered"),
        "{note}"
    );
    assert_eq!(rig.used(), ["sms", "wecom"]);
    let text = String::from_utf8(rig.sink.seen()[1].body.clone()).unwrap();
    assert!(
        text.contains("因 tencent-sms 发送失败，改由本渠道通知"),
        "{text}"
    );

    // A channel that succeeds needs nobody to take over.
    let rig = Rig::start(settings, taken).await;
    let attempted = rig.run(&alarm("critical")).await;
    assert_eq!(attempted.verdict, Verdict::Delivered);
    assert!(
        attempted
            .note
            .unwrap()
            .contains("not reached: contact carol: has no phone number")
    );
    assert_eq!(rig.used(), ["sms"]);
}

#[tokio::test]
async fn a_delivery_is_dead_only_when_nobody_was_told() {
    let settings =
        json!({ "channels": [{ "type": "wecom" }, { "type": "webhook" }], "triesMax": 2 });
    let refused = r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#;
    let rig = Rig::start(settings.clone(), move |channel, _| match channel {
        "wecom" => Reply::body(200, refused),
        _ => Reply::status(410),
    })
    .await;
    let attempted = rig.run(&alarm("error")).await;
    let Verdict::Permanent { reason, detail } = &attempted.verdict else {
        panic!("{attempted:?}")
    };
    assert_eq!(*reason, Reason::ProviderRejected);
    assert!(
        detail.starts_with("nobody was told: wecom: failed (WeCom says 93000")
            && detail.contains("webhook: failed"),
        "{detail}"
    );

    // One of two does not answer: the other is not held up, and in the end it counts.
    let rig = Rig::start(settings, |channel, seen| match channel {
        "wecom" => Reply::status(502),
        _ => taken(channel, seen),
    })
    .await;
    let event = alarm("error");
    let waiting = rig.run(&event).await;
    assert_eq!(later(&waiting), (Reason::Http5xx, 5000));
    assert_eq!(rig.used(), ["wecom", "webhook"]);
    rig.clock.advance(5000);
    let last = rig.deliver(&event, waiting.progress.as_deref()).await;
    assert_eq!(last.verdict, Verdict::Delivered);
    let note = last.note.unwrap();
    assert!(
        note.contains("wecom: failed") && note.contains("tried 2 times); webhook: delivered"),
        "{note}"
    );
    assert_eq!(rig.used(), ["wecom", "webhook", "wecom"]);
}

#[tokio::test]
async fn people_are_told_within_the_windows_of_their_own_zones() {
    let settings = |outside: &str| {
        json!({
            "people": { "groups": ["crew"] },
            "channels": [{ "type": "tencent-sms" }, { "type": "wecom" }, { "type": "webhook" }],
            "window": { "windows": [{ "from": "22:00", "to": "24:00" }], "outside": outside },
        })
    };
    let numbers = |rig: &Rig| -> Vec<Value> {
        rig.sink
            .seen()
            .iter()
            .filter(|seen| channel_of(seen) == "sms")
            .map(|seen| {
                serde_json::from_slice::<Value>(&seen.body).unwrap()["PhoneNumberSet"].clone()
            })
            .collect()
    };
    // It is 23:13 in Berlin and 06:13 in Shanghai, where the target is.
    let rig = Rig::start(settings("skip"), taken).await;
    let attempted = rig.run(&alarm("error")).await;
    assert_eq!(attempted.verdict, Verdict::Delivered);
    let note = attempted.note.unwrap();
    assert!(
        note.contains("contact ann: outside the window") && note.contains("wecom: skipped"),
        "{note}"
    );
    assert_eq!(rig.used(), ["sms", "webhook"]);
    assert_eq!(json!(numbers(&rig)), json!([["+8613800000002"]]));

    let rig = Rig::start(settings("wait"), taken).await;
    let event = alarm("error");
    let waiting = rig.run(&event).await;
    // Until 22:00 in Shanghai.
    let wait_ms = 15 * HOUR_MS + 46 * 60_000 + 40_000;
    assert_eq!(
        later(&waiting),
        (Reason::OutsideWindow, u64::try_from(wait_ms).unwrap())
    );
    rig.clock.advance(wait_ms);
    let mut next = rig.deliver(&event, waiting.progress.as_deref()).await;
    while matches!(next.verdict, Verdict::More { .. }) {
        next = rig.deliver(&event, next.progress.as_deref()).await;
    }
    assert_eq!(next.verdict, Verdict::Delivered);
    assert_eq!(rig.used(), ["sms", "webhook", "sms", "wecom"]);
    // Bob is told once.
    assert_eq!(
        json!(numbers(&rig)),
        json!([["+8613800000002"], ["+8613800000001"]])
    );

    // Somebody has to get up.
    let rig = Rig::start(settings("skip"), taken).await;
    let attempted = rig.run(&alarm("critical")).await;
    assert_eq!(
        (attempted.verdict, attempted.note),
        (Verdict::Delivered, None)
    );
    // Ann and Bob read different clocks, so each has a message of their own.
    assert_eq!(rig.used(), ["sms", "sms", "wecom", "webhook"]);

    let nobody = json!({ "channels": [{ "type": "wecom" }], "window": { "windows": [{ "from": "22:00", "to": "24:00" }] } });
    let rig = Rig::start(nobody, taken).await;
    let attempted = rig.run(&alarm("error")).await;
    assert!(
        matches!(
            attempted.verdict,
            Verdict::Skipped {
                reason: Reason::OutsideWindow,
                ..
            }
        ),
        "{attempted:?}"
    );
    assert!(rig.used().is_empty() && attempted.request.is_none());
}

#[tokio::test]
async fn contacts_are_reached_by_a_provider_that_takes_one_number_at_a_time() {
    let settings = json!({
        "people": { "groups": ["crew"], "contacts": ["carol"] },
        "channels": [{ "type": "alibaba-sms" }, { "type": "wecom" }],
    });
    let rig = Rig::start(settings, taken).await;
    let attempted = rig.run(&alarm("critical")).await;
    assert_eq!(attempted.verdict, Verdict::Delivered);
    assert_eq!(rig.used(), ["sms", "sms", "wecom"]);
    let seen = rig.sink.seen();
    for (seen, number) in seen.iter().zip(["13800000001", "13800000002"]) {
        assert!(seen.target.contains(&format!("PhoneNumbers={number}&")));
    }
    let note = attempted.note.unwrap();
    assert!(note.contains("carol: has no phone number"), "{note}");
}

#[tokio::test]
async fn each_channel_finds_its_own_thread_again() {
    let settings = json!({ "channels": [{ "type": "wecom" }, { "type": "telegram" }] });
    let rig = Rig::start(settings, taken).await;
    let mut life = AlarmLife {
        count: 1,
        first_at_ms: NOW_MS,
        ..AlarmLife::default()
    };
    let event = alarm("error");
    let mut progress: Option<String> = None;
    let mut thread = None;
    for _ in 0..2 {
        let attempted = rig
            .target
            .deliver(&Job {
                alarm: Some(&life),
                progress: progress.as_deref(),
                ..job(&event)
            })
            .await;
        progress = attempted.progress;
        thread = attempted.thread;
    }
    assert_eq!(thread.as_deref(), Some(r#"{"1":"7"}"#));
    life.thread = thread;
    life.count = 2;
    progress = None;
    for _ in 0..2 {
        let job = Job {
            alarm: Some(&life),
            progress: progress.as_deref(),
            ..job(&event)
        };
        progress = rig.target.deliver(&job).await.progress;
    }
    let last: Value = serde_json::from_slice(&rig.sink.seen()[3].body).unwrap();
    assert_eq!(last["reply_parameters"]["message_id"], 7);
}

#[test]
fn a_policy_that_cannot_work_is_refused_with_its_place() {
    let kind = find_kind("notification").unwrap();
    let egress = public_egress();
    assert_eq!(kind.validate(&kind.example(), &egress), []);
    let mail = kind.example()["channels"][0].clone();
    for (more, pointers) in [
        (json!({ "channels": [] }), &["/channels"][..]),
        (json!({ "channels": [{}] }), &["/channels/0/type"]),
        (json!({ "channels": [7] }), &["/channels/0"]),
        (
            json!({ "channels": [{ "type": "notification" }] }),
            &["/channels/0/type"],
        ),
        (
            json!({ "channels": [{ "type": "log", "log": "a" }] }),
            &["/channels/0/type"],
        ),
        (
            json!({ "channels": [{ "type": "wecom" }] }),
            &["/channels/0/key"],
        ),
        (
            json!({ "channels": [{ "type": "webhook", "url": "ftp://a.example" }] }),
            &["/channels/0/url"],
        ),
        (
            json!({ "channels": [mail], "people": {} }),
            &["/channels/0/type"],
        ),
        (
            json!({ "channels": [{ "type": "email", "to": ["a@b.example"] }] }),
            &["/channels/0/to"],
        ),
        (
            json!({ "fallback": { "type": "nonsense" } }),
            &["/fallback/type"],
        ),
        (
            json!({ "window": { "windows": [{ "from": "9", "to": "25:00" }] } }),
            &["/window/windows/0/from", "/window/windows/0/to"],
        ),
        (
            json!({ "window": { "windows": [{ "from": "09:00", "to": "10:00" }], "timeZone": "Mars" } }),
            &["/window/timeZone"],
        ),
        (json!({ "triesMax": 0 }), &["/triesMax"]),
        (
            json!({ "people": { "contacts": [""] } }),
            &["/people/contacts/0"],
        ),
    ] {
        let mut settings = kind.example();
        for (name, value) in more.as_object().unwrap() {
            settings[name] = value.clone();
        }
        let found = kind.validate(&settings, &egress);
        let places: Vec<&str> = found.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(places, pointers, "{more}: {found:?}");
    }
}

#[test]
fn secrets_of_channels_are_secrets_of_the_policy_and_go_to_nobody_else() {
    let kind = find_kind("notification").unwrap();
    let stored = kind.example();
    assert_eq!(kind.secret_pointers(&stored), ["/channels/0/smtp/password"]);
    let mut moved = stored.clone();
    belfry_targets::mask(kind, &mut moved);
    moved["channels"][0]["smtp"]["host"] = json!("evil.example.com");
    let errors = belfry_targets::unmask(kind, &mut moved, Some(&stored)).unwrap_err();
    assert_eq!(errors[0].pointer, "/channels/0/smtp/password");
}
