use belfry_sources::{Auth, Incoming, Outcome, RefusedKind, Source, SourceSpec};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{NOW_MS, any, certificate, read, sample, source};

const SNS: &str = "cloudwatch-sns/alarm-sigv1.json";
const CONFIRMATION: &str = "cloudwatch-sns/subscription-confirmation.json";
const SMN: &str = "huawei/alarm.json";

fn refused(source: &Source, incoming: &Incoming) -> String {
    let refused = read(source, incoming).unwrap_err();
    assert_eq!(refused.kind, RefusedKind::Signature, "{refused}");
    refused.error.pointer
}

/// The sample with one member of its body changed.
fn changed(file: &str, member: &str, value: Value) -> Incoming {
    let mut incoming = sample(file).incoming();
    let mut body: Value = serde_json::from_slice(&incoming.body).unwrap();
    body[member] = value;
    incoming.body = Bytes::from(body.to_string());
    incoming
}

#[test]
fn nothing_of_a_topic_is_believed_before_its_certificate_was_seen() {
    for file in [
        SNS,
        CONFIRMATION,
        SMN,
        "huawei/subscription-confirmation.json",
    ] {
        let first = any().read(&sample(file).incoming(), None).unwrap();
        let Outcome::NeedsCertificate { url } = first.outcome else {
            panic!("{file}: {first:?}");
        };
        assert!(
            url.starts_with("https://s") && url.ends_with("demo.pem"),
            "{url}"
        );
    }
}

#[test]
fn a_message_that_was_changed_or_is_signed_by_somebody_else_is_refused() {
    let any = any();
    for (file, member) in [
        (SNS, "Message"),
        (SNS, "MessageId"),
        (SNS, "Subject"),
        (SNS, "Timestamp"),
        ("cloudwatch-sns/ok-sigv2.json", "Message"),
        (CONFIRMATION, "Token"),
        (SMN, "message"),
        (SMN, "subject"),
    ] {
        let pointer = refused(&any, &changed(file, member, json!("forged")));
        assert!(
            pointer.eq_ignore_ascii_case("/signature"),
            "{file}: {member}: {pointer}"
        );
    }
    // SubscribeURL, moved to another account of the vendor.
    let url = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=x";
    assert_eq!(
        refused(&any, &changed(CONFIRMATION, "SubscribeURL", json!(url))),
        "/Signature"
    );
    // The other algorithm.
    assert_eq!(
        refused(&any, &changed(SNS, "SignatureVersion", json!("2"))),
        "/Signature"
    );
    assert_eq!(
        refused(&any, &changed(SNS, "SignatureVersion", json!("3"))),
        "/SignatureVersion"
    );
    assert_eq!(
        refused(&any, &changed(SNS, "Signature", json!("%"))),
        "/Signature"
    );
    assert_eq!(
        refused(&any, &changed(SNS, "Signature", Value::Null)),
        "/Signature"
    );
    for bad in [
        "",
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let refused = any.read(&sample(SNS).incoming(), Some(bad)).unwrap_err();
        assert_eq!(refused.error.pointer, "/SigningCertURL", "{bad}");
    }
}

#[test]
fn a_certificate_is_asked_for_only_at_the_vendors_own_address() {
    for (file, member) in [
        (SNS, "SigningCertURL"),
        (CONFIRMATION, "SigningCertURL"),
        (SMN, "signing_cert_url"),
    ] {
        for url in [
            "https://evil.example/x.pem",
            "http://sns.us-east-1.amazonaws.com/x.pem",
            "https://sns.us-east-1.amazonaws.com.evil.example/x.pem",
            "https://sns.us-east-1.amazonaws.com@evil.example/x.pem",
            "https://sns.us-east-1.amazonaws.com/x.exe",
            "https://bucket.obs.cn-north-4.myhuaweicloud.com/x.pem",
            "https://169.254.169.254/latest/meta-data/x.pem",
            "https://localhost/x.pem",
            "",
        ] {
            let incoming = changed(file, member, json!(url));
            let refused = any().read(&incoming, None).unwrap_err();
            assert_eq!(refused.kind, RefusedKind::Signature, "{url}");
            assert_eq!(refused.error.pointer, format!("/{member}"), "{url}");
        }
    }
}

#[test]
fn only_the_topics_of_the_source_are_taken() {
    let other = source(&json!({"topicArns": ["arn:aws:sns:us-east-1:123456789012:other"]}));
    assert_eq!(refused(&other, &sample(SNS).incoming()), "/TopicArn");
    let mine = source(&json!({
        "auth": {"type": "signature"},
        "topicArns": ["arn:aws:sns:us-east-1:123456789012:eventbus-alarms"]
    }));
    assert!(read(&mine, &sample(SNS).incoming()).is_ok());
    assert_eq!(refused(&mine, &sample(SMN).incoming()), "/topic_urn");
    // Raw delivery is not signed.
    let raw = || {
        let body: Value = serde_json::from_slice(&sample(SNS).body()).unwrap();
        let mut incoming = sample(SNS).incoming();
        incoming
            .headers
            .push(("x-amz-sns-rawdelivery".to_owned(), "true".to_owned()));
        incoming.body = Bytes::from(body["Message"].as_str().unwrap().to_owned());
        incoming
    };
    refused(&mine, &raw());
    let read = read(&any(), &raw()).unwrap();
    assert_eq!(read.format, "aws-sns");
    assert_eq!(crate::support::events(&read)[0]["source"], "aws.cloudwatch");
}

#[test]
fn the_signature_of_a_secret_is_held_against_the_bytes() {
    let any = any();
    for (file, header) in [
        ("github/ci-run-failure.json", "x-hub-signature-256"),
        ("github/ping.json", "x-hub-signature-256"),
        ("sentry/issue-created.json", "sentry-hook-signature"),
    ] {
        let good = sample(file).incoming();
        assert!(read(&any, &good).is_ok(), "{file}");
        let at = format!("header:{header}");
        let mut spaced = good.clone();
        spaced.body = Bytes::from([good.body.as_ref(), b" "].concat());
        assert_eq!(refused(&any, &spaced), at);
        for bad in [
            "",
            "sha256=",
            "sha256=00",
            "zz",
            &"0".repeat(64),
            &format!("sha256={}", "é".repeat(32)),
        ] {
            let mut forged = good.clone();
            for (name, value) in &mut forged.headers {
                if name == header {
                    bad.clone_into(value);
                }
            }
            assert_eq!(refused(&any, &forged), at, "{bad}");
        }
        let mut unsigned = good.clone();
        unsigned.headers.retain(|(name, _)| name != header);
        assert_eq!(refused(&any, &unsigned), at);
        // Without a secret nothing is asked, unless a signature is all there is.
        assert!(read(&source(&json!({})), &unsigned).is_ok());
        let other = source(&json!({"signing": {"secrets": ["another"]}}));
        assert_eq!(refused(&other, &good), at);
    }
    let strict = source(&json!({"auth": {"type": "signature"}, "signing": {"secrets": ["x"]}}));
    assert_eq!(
        refused(&strict, &sample("zabbix/problem.json").incoming()),
        ""
    );
}

#[test]
fn the_signature_of_github_is_the_documented_one() {
    let source = source(&json!({
        "format": "github",
        "signing": {"secrets": ["It's a Secret to Everybody"]}
    }));
    let incoming = Incoming {
        headers: vec![
            ("x-github-event".to_owned(), "ping".to_owned()),
            (
                "x-hub-signature-256".to_owned(),
                "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
                    .to_owned(),
            ),
        ],
        body: Bytes::from_static(b"Hello, World!"),
        ..Incoming::default()
    };
    // The signature is good: what is wrong is the body.
    assert_eq!(
        source.read(&incoming, None).unwrap_err().kind,
        RefusedKind::Body
    );
}

#[test]
fn grafana_may_sign_the_time_too_and_it_must_be_now() {
    let signing = json!({"secrets": ["s3cret"], "timestampHeader": "X-Time"});
    let unsigned = sample("grafana/firing.json").incoming();
    assert!(read(&source(&json!({ "signing": signing })), &unsigned).is_ok());
    let source = source(&json!({ "format": "grafana", "signing": signing }));
    assert_eq!(
        refused(&source, &unsigned),
        "header:x-grafana-alerting-signature"
    );
    let request = |seconds: i64| {
        let mut incoming = sample("grafana/firing.json").incoming();
        let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret").unwrap();
        mac.update(format!("{seconds}:").as_bytes());
        mac.update(&incoming.body);
        let hex: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        incoming
            .headers
            .push(("x-grafana-alerting-signature".to_owned(), hex));
        incoming
            .headers
            .push(("x-time".to_owned(), seconds.to_string()));
        incoming
    };
    let now = NOW_MS / 1000;
    assert!(read(&source, &request(now - 299)).is_ok());
    assert_eq!(refused(&source, &request(now - 301)), "header:x-time");
    let mut moved = request(now);
    moved.headers.last_mut().unwrap().1 = (now + 1).to_string();
    assert_eq!(
        refused(&source, &moved),
        "header:x-grafana-alerting-signature"
    );
}

#[test]
fn who_may_send_is_told_from_the_request() {
    let basic = json!({"auth": {"type": "basic", "username": "tcop", "password": "p:w"}});
    let header = json!({"auth": {"type": "header", "name": "X-Token", "value": "t0ken"}});
    let with = |name: &str, value: &str| Incoming {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..Incoming::default()
    };
    for (spec, name, value, expected) in [
        (&basic, "authorization", "Basic dGNvcDpwOnc=", Some(true)),
        (&basic, "authorization", "basic dGNvcDpwOnc=", Some(true)),
        (&basic, "authorization", "Basic dGNvcDpwOng=", Some(false)),
        (&basic, "authorization", "Bearer dGNvcDpwOnc=", Some(false)),
        (&basic, "authorization", "Basic %", Some(false)),
        (&basic, "x", "", Some(false)),
        (&header, "x-token", "t0ken", Some(true)),
        (&header, "x-token", "t0ken2", Some(false)),
        (&header, "x", "t0ken", Some(false)),
        (&json!({}), "x", "", None),
    ] {
        let spec = SourceSpec::read(spec).unwrap();
        assert_eq!(
            spec.auth.admits(&with(name, value)),
            expected,
            "{name}: {value}"
        );
        assert!(matches!(
            spec.auth,
            Auth::Key | Auth::Basic { .. } | Auth::Header { .. }
        ));
    }
}

#[test]
fn secrets_show_themselves_nowhere() {
    let spec = json!({
        "auth": {"type": "basic", "username": "u", "password": "hunter2"},
        "signing": {"secrets": ["hunter3"]}
    });
    let mut incoming = sample("github/ping.json").incoming();
    incoming.query = Some("token=hunter1".to_owned());
    incoming
        .headers
        .push(("authorization".to_owned(), "hunter2".to_owned()));
    let shown = format!("{:?} {incoming:?}", source(&spec));
    assert!(!shown.contains("hunter"), "{shown}");
    assert_eq!(
        SourceSpec::secret_pointers(&spec),
        ["/auth/password", "/signing/secrets/0"]
    );
    assert!(!certificate().is_empty());
}
