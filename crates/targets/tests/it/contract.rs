//! What holds for every kind of target, run over the whole registry.
use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::sink::{Reply, Sink};
use crate::support::{Fits, context, egress, job, public_egress, structured};
use belfry_model::delivery::Reason;
use belfry_targets::{
    ConnectContext, MASK, REGISTRY, TargetKind, Verdict, find_kind, mask, unmask,
};
use serde_json::{Value, json};

/// The example, as it is after saving.
fn saved(kind: &dyn TargetKind) -> Value {
    let mut settings = kind.example();
    kind.prepare(&mut settings, None);
    settings
}

#[test]
fn names_are_unique_and_titles_are_in_both_languages() {
    let names: HashSet<_> = REGISTRY.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), REGISTRY.len());
    for kind in REGISTRY {
        assert_eq!(
            find_kind(kind.name()).map(TargetKind::name).ok(),
            Some(kind.name())
        );
        for (en, zh) in [kind.title(), kind.about()] {
            assert!(!en.is_empty() && !zh.is_empty(), "{}", kind.name());
        }
    }
}

#[test]
fn the_example_fits_the_schema_validates_and_connects() {
    for kind in REGISTRY {
        let schema = kind.schema();
        for settings in [kind.example(), saved(*kind)] {
            schema
                .fits(&settings)
                .unwrap_or_else(|why| panic!("{}: {why}", kind.name()));
            assert_eq!(
                kind.validate(&settings, &public_egress()),
                [],
                "{}",
                kind.name()
            );
        }
        assert!(
            kind.connect(saved(*kind), &context(public_egress()))
                .is_ok(),
            "{}",
            kind.name()
        );
    }
}

#[test]
fn unknown_members_are_refused_where_they_stand() {
    for kind in REGISTRY {
        let mut settings = saved(*kind);
        settings["nobodyKnowsThis"] = json!(1);
        assert!(kind.schema().fits(&settings).is_err(), "{}", kind.name());
        let errors = kind.validate(&settings, &public_egress());
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].pointer, "/nobodyKnowsThis");
        assert!(kind.connect(settings, &context(public_egress())).is_err());
        // Every name with one letter missing is answered with the whole one.
        for name in kind.example().as_object().unwrap().keys() {
            let mut settings = saved(*kind);
            settings[&name[..name.len() - 1]] = json!(1);
            let errors = kind.validate(&settings, &public_egress());
            assert!(
                errors.iter().any(|error| error.detail.contains(name)),
                "{name}: {errors:?}"
            );
        }
    }
}

#[test]
fn secrets_are_masked_and_come_back() {
    for kind in REGISTRY {
        let settings = saved(*kind);
        let secrets: Vec<String> = kind
            .secret_pointers(&settings)
            .iter()
            .map(|pointer| {
                settings
                    .pointer(pointer)
                    .unwrap()
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        let mut masked = settings.clone();
        mask(*kind, &mut masked);
        for secret in &secrets {
            assert!(!masked.to_string().contains(secret), "{}", kind.name());
        }
        assert_eq!(masked.to_string().contains(MASK), !secrets.is_empty());
        unmask(*kind, &mut masked, Some(&settings)).unwrap();
        assert_eq!(masked, settings);
    }
}

#[test]
fn no_shape_of_settings_makes_a_kind_fall_over() {
    let shapes = [
        json!(null),
        json!(true),
        json!(-1),
        json!("x"),
        json!([]),
        json!([1]),
        json!({}),
        json!({ "a": [{}] }),
        json!(MASK),
    ];
    let egress = public_egress();
    let context = context(egress.clone());
    for kind in REGISTRY {
        let schema = kind.schema();
        let members: Vec<String> = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        let inner = [
            "enabled", "secrets", "keys", "type", "token", "tokenUrl", "origin",
        ];
        let mut settings = shapes.to_vec();
        for member in &members {
            for shape in &shapes {
                let mut one = kind.example();
                one[member] = shape.clone();
                settings.push(one);
                for name in inner {
                    let mut one = kind.example();
                    one[member] = json!({ name: shape });
                    settings.push(one);
                }
            }
        }
        for one in settings {
            let mut prepared = one.clone();
            kind.prepare(&mut prepared, Some(&one));
            for pointer in kind.secret_pointers(&prepared) {
                assert!(
                    prepared.pointer(&pointer).is_some_and(Value::is_string),
                    "{pointer} in {prepared}"
                );
            }
            let errors = kind.validate(&prepared, &egress);
            let connected = kind.connect(prepared.clone(), &context);
            assert!(
                !errors.is_empty() || connected.is_ok(),
                "{prepared} validates but does not connect"
            );
            kind.needs_handshake(&prepared);
            mask(*kind, &mut prepared);
            let _ = unmask(*kind, &mut prepared, None);
        }
    }
}

/// Settings of a kind that send to a receiver; none for kinds that send nothing.
fn aimed_at(kind: &dyn TargetKind, sink: &Sink) -> Option<Value> {
    let mut settings = saved(kind);
    let has = |member: &str| kind.schema()["properties"].get(member).is_some();
    if !has("url") && !has("baseUrl") {
        return None;
    }
    if settings.get("url").is_some() {
        settings["url"] = json!(sink.url("/hook?access_token=s3cret-in-the-query"));
    } else {
        settings["baseUrl"] = json!(sink.url(""));
    }
    // All kinds at once: more than it takes, on a machine that does something else as well.
    settings["timeoutSeconds"] = json!(3);
    Some(settings)
}

#[tokio::test]
async fn every_kind_survives_every_receiver_and_tells_no_secret() {
    let endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    // With what a kind makes of it that knows no vendor, and what one makes of it whose vendor says more.
    let replies = [
        (Reply::status(204), None, Some(Reason::BadResponse)),
        (
            Reply::with(302, "location", "/elsewhere"),
            Some(Reason::Redirect),
            Some(Reason::Redirect),
        ),
        (
            Reply::status(404),
            Some(Reason::Http4xx),
            Some(Reason::Misconfigured),
        ),
        (Reply::status(500), Some(Reason::Http5xx), None),
        (
            Reply::with(429, "retry-after", "7"),
            Some(Reason::RateLimited),
            None,
        ),
        (Reply::Reset, Some(Reason::ConnectionReset), None),
        (Reply::Hang(Vec::new()), Some(Reason::Timeout), None),
        (Reply::Drip(endless.clone()), Some(Reason::Timeout), None),
        (Reply::Endless(endless), None, Some(Reason::BadResponse)),
        (
            Reply::Raw(b"nonsense\r\n\r\n".to_vec()),
            Some(Reason::BadResponse),
            None,
        ),
    ];
    let mut kinds = tokio::task::JoinSet::new();
    // Made once: reading the system's certificates takes longer than all the rest.
    let context = context(egress());
    for kind in REGISTRY {
        let (replies, context) = (replies.clone(), context.clone());
        kinds.spawn(async move {
            for (reply, usual, of_a_vendor) in &replies {
                survives(*kind, &context, reply, [*usual, *of_a_vendor]).await;
            }
        });
    }
    while let Some(survived) = kinds.join_next().await {
        survived.unwrap();
    }
}

async fn survives(
    kind: &dyn TargetKind,
    context: &ConnectContext,
    reply: &Reply,
    expected: [Option<Reason>; 2],
) {
    let event = structured();
    // Says back everything it was told, as debugging receivers do.
    let answer = reply.clone();
    let sink = Sink::start(move |seen| match &answer {
        Reply::Answer(status, headers, _) => {
            let said = format!("{seen:?} {}", String::from_utf8_lossy(&seen.body));
            Reply::Answer(*status, headers.clone(), said.into_bytes())
        }
        other => other.clone(),
    })
    .await;
    let Some(settings) = aimed_at(kind, &sink) else {
        return;
    };
    let secrets: Vec<Value> = kind
        .secret_pointers(&settings)
        .iter()
        .filter_map(|pointer| settings.pointer(pointer).cloned())
        .collect();
    let target = kind
        .connect(settings, context)
        .map_err(|errors| format!("{errors:?}"))
        .unwrap();
    let started = Instant::now();
    let attempted = target.deliver(&job(&event)).await;
    let name = kind.name();
    assert!(
        started.elapsed() < target.timeout() + Duration::from_secs(1),
        "{name}: {reply:?}"
    );
    let reason = match &attempted.verdict {
        Verdict::Delivered => None,
        Verdict::Retry { reason, .. } | Verdict::Permanent { reason, .. } => Some(*reason),
        verdict => panic!("{name}: {reply:?}: {verdict:?}"),
    };
    assert!(
        expected.contains(&reason),
        "{name}: {reply:?}: {attempted:?}"
    );
    assert_eq!(sink.seen().len(), 1, "{name}: {reply:?}");
    let kept = format!("{attempted:?}");
    for secret in &secrets {
        assert!(
            !kept.contains(secret.as_str().unwrap()),
            "{name}: {secret} in {kept}"
        );
    }
    assert!(!kept.contains("s3cret"), "{name}: {kept}");
    let url = attempted.request.unwrap().url;
    assert!(url.starts_with(&sink.url("/")), "{name}: {url}");
    if name == "webhook" {
        // The mask at the end proves that the address was kept, and only its secret was not.
        assert!(url.ends_with("/hook?access_token=********"));
    }
}

#[test]
fn every_kind_shows_what_it_would_send_and_no_secret() {
    let event = structured();
    for kind in REGISTRY {
        let settings = saved(*kind);
        let target = kind
            .connect(settings.clone(), &context(public_egress()))
            .map_err(|errors| format!("{errors:?}"))
            .unwrap();
        // A kind may need people whom nobody knows here.
        let Ok(records) = target.preview(&job(&event)) else {
            assert!(
                ["email", "notification"].contains(&kind.name()),
                "{}",
                kind.name()
            );
            continue;
        };
        assert!(!records.is_empty(), "{}", kind.name());
        let shown = format!("{records:?}");
        for pointer in kind.secret_pointers(&settings) {
            let secret = settings.pointer(&pointer).and_then(Value::as_str).unwrap();
            assert!(!shown.contains(secret), "{}: {shown}", kind.name());
        }
        for record in records {
            let body = record.body.unwrap();
            // All of it, but for the signature in it; of a mail, what is read.
            assert!(
                body.len() == record.body_bytes
                    || body.contains(MASK)
                    || !record.url.starts_with("http"),
                "{}: {body}",
                kind.name()
            );
        }
    }
}

#[test]
fn a_kept_secret_does_not_go_to_another_receiver() {
    let kind = find_kind("webhook").unwrap();
    let stored = json!({
        "url": "https://a.example/hook",
        "auth": {"type": "bearer", "token": "t-o-k-e-n"},
        "signing": {"secrets": ["whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="]},
    });
    let mut same = stored.clone();
    mask(kind, &mut same);
    same["url"] = json!("https://a.example/other");
    unmask(kind, &mut same, Some(&stored)).unwrap();
    assert_eq!(same["auth"]["token"], "t-o-k-e-n");

    let mut moved = stored.clone();
    mask(kind, &mut moved);
    moved["url"] = json!("https://evil.example/hook");
    let errors = unmask(kind, &mut moved, Some(&stored)).unwrap_err();
    let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        ["/auth/token"],
        "the signing secret is not sent, so it may stay"
    );
}
