//! Short messages and calls: what providers get, and what their answers lead to, number by number.

use std::sync::Arc;

use belfry_model::delivery::Reason;
use belfry_model::event::EventLimits;
use belfry_model::{Clock, Event, ManualClock, SystemClock};
use belfry_targets::{Attempted, ConnectContext, Job, Target, Verdict, find_kind};
use belfry_testkit::Im;
use belfry_transform::{ContentKind, Rendered};
use bytes::Bytes;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::sink::{Reply, Seen, Sink};
use crate::support::{context, egress, job, public_egress};

const NOW_MS: i64 = 1_700_000_000_000;

/// A target of a kind, its provider and its clock.
struct Rig {
    sink: Sink,
    clock: Arc<ManualClock>,
    target: Arc<dyn Target>,
}

impl Rig {
    /// The kind's example with the members of `more`, and a provider that answers like this.
    async fn start(
        kind: &str,
        more: &Value,
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let sink = Sink::start(answer).await;
        let kind = find_kind(kind).unwrap();
        let mut settings = kind.example();
        for (name, value) in more.as_object().unwrap() {
            settings[name] = value.clone();
        }
        if settings["people"].is_object() {
            settings["people"] = json!({});
        }
        let url = if settings["url"].is_string() {
            "url"
        } else {
            "baseUrl"
        };
        settings[url] = json!(sink.url("/"));
        settings["timeoutSeconds"] = json!(1);
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let context = ConnectContext {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            ..context(egress())
        };
        let target = kind
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
            ..job(event)
        };
        self.target.deliver(&job).await
    }
}

fn event(json: &Value) -> Event {
    Event::structured(Bytes::from(json.to_string()), &EventLimits::default()).unwrap()
}

fn alarm(status: &str) -> Event {
    event(&json!({
        "specversion": "1.0", "id": "1", "source": "cvm.cloud.tencent", "type": "cvm:ErrorEvent:PingUnreachable",
        "subject": "ins-demo0001", "region": "ap-guangzhou", "status": status, "severity": "critical",
        "time": "2023-11-14T22:13:20Z", "data": { "alarm": { "title": "ping 不可达" } },
    }))
}

/// An alarm whose texts hold what markup and providers would stumble over.
fn hostile() -> Event {
    let text = "</Say><Dial>110</Dial>\"&\r\n【银行】 https://evil.example/x";
    event(&json!({
        "specversion": "1.0", "id": "1", "source": "s", "type": "t", "subject": "【x】</Say>\"&", "status": "1",
        "severity": "critical", "data": { "alarm": { "title": text, "resourceName": text, "value": text } },
    }))
}

fn body(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap()
}

fn form(seen: &Seen) -> Vec<(String, String)> {
    form_urlencoded::parse(&seen.body).into_owned().collect()
}

/// What a verdict is, in a word, with its reason.
fn word(attempted: &Attempted) -> String {
    match &attempted.verdict {
        Verdict::Retry {
            reason,
            retry_after_ms,
            ..
        } => format!("retry {reason} {}", retry_after_ms.unwrap_or(0)),
        Verdict::Later {
            reason, wait_ms, ..
        } => format!("later {reason} {wait_ms}"),
        Verdict::Permanent { reason, .. } => format!("permanent {reason}"),
        Verdict::Delivered => "delivered".to_owned(),
        Verdict::More { .. } => "more".to_owned(),
        Verdict::Skipped { reason, .. } => format!("skipped {reason}"),
        Verdict::Busy { .. } => "busy".to_owned(),
        Verdict::Gone { .. } => "gone".to_owned(),
    }
}

#[tokio::test]
async fn tencent_gets_a_signed_request_and_has_a_word_for_each_number() {
    let rig = Rig::start(
        "tencent-sms",
        &json!({ "to": ["+8613800000001", "+8613800000002", "+8613800000003", "+12025550123"], "secondsPerNumber": 0 }),
        |seen| {
            let numbers = body(seen)["PhoneNumberSet"].as_array().unwrap().clone();
            let first = numbers.len() == 3;
            let statuses: Vec<Value> = numbers
                .iter()
                .map(|number| {
                    let code = match number.as_str().unwrap() {
                        "+8613800000002" => "FailedOperation.PhoneNumberInBlacklist",
                        "+8613800000003" if first => "LimitExceeded.PhoneNumberThirtySecondLimit",
                        _ => "Ok",
                    };
                    json!({ "PhoneNumber": number, "Code": code, "Message": "m", "SerialNo": "1" })
                })
                .rev()
                .collect();
            Reply::body(200, json!({ "Response": { "SendStatusSet": statuses, "RequestId": "r" } }).to_string())
        },
    )
    .await;
    let event = alarm("1");
    let first = rig.deliver(&event, None).await;
    // The number abroad cannot stand beside those of the mainland.
    assert_eq!(word(&first), "more");
    let second = rig.deliver(&event, first.progress.as_deref()).await;
    assert_eq!(word(&second), "later provider_rejected 30000");
    rig.clock.advance(30_000);
    let third = rig.deliver(&event, second.progress.as_deref()).await;
    assert_eq!(third.verdict, Verdict::Delivered);
    assert_eq!(
        third.note.unwrap(),
        "3 of 4 reached; refused for good: +8613800000002 (FailedOperation.PhoneNumberInBlacklist: the number wants no messages; 号码在黑名单中)"
    );
    let seen = rig.sink.seen();
    let sets: Vec<Value> = seen
        .iter()
        .map(|seen| body(seen)["PhoneNumberSet"].clone())
        .collect();
    assert_eq!(
        json!(sets),
        json!([
            ["+8613800000001", "+8613800000002", "+8613800000003"],
            ["+12025550123"],
            ["+8613800000003"]
        ])
    );
    let one = &seen[0];
    assert_eq!(one.target, "/");
    assert_eq!(one.header("x-tc-action"), Some("SendSms"));
    assert_eq!(one.header("x-tc-version"), Some("2021-01-11"));
    assert_eq!(one.header("x-tc-region"), Some("ap-guangzhou"));
    assert_eq!(one.header("x-tc-timestamp"), Some("1700000000"));
    assert_eq!(
        one.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    let authorization = one.header("authorization").unwrap();
    assert!(authorization.starts_with("TC3-HMAC-SHA256 Credential=AKIDexample0123456789/2023-11-14/sms/tc3_request, SignedHeaders=content-type;host;x-tc-action, Signature="));
    assert_eq!(
        body(one)["TemplateParamSet"],
        json!([
            "严重",
            "云服务器 ping 不可达",
            "ins-demo0001",
            "11-15 06:13"
        ])
    );
    let kept = format!("{first:?}");
    assert!(
        !kept.contains("Signature=") && !kept.contains("example-secret-key"),
        "{kept}"
    );
}

#[tokio::test]
async fn tencent_s_codes_are_told_apart() {
    for (kind, code, expected) in [
        (
            "tencent-sms",
            "AuthFailure.SignatureFailure",
            "permanent misconfigured",
        ),
        (
            "tencent-sms",
            "UnauthorizedOperation.SmsSdkAppIdVerifyFail",
            "permanent misconfigured",
        ),
        (
            "tencent-sms",
            "InternalError.Timeout",
            "retry provider_rejected 0",
        ),
        (
            "tencent-sms",
            "InternalError.SigVerificationFail",
            "permanent misconfigured",
        ),
        (
            "tencent-sms",
            "RequestLimitExceeded",
            "retry rate_limited 1000",
        ),
        (
            "tencent-sms",
            "LimitExceeded.DeliveryFrequencyLimit",
            "retry rate_limited 60000",
        ),
        (
            "tencent-sms",
            "InvalidParameterValue.TemplateParameterLengthLimit",
            "permanent request_too_large",
        ),
        (
            "tencent-sms",
            "Something.New",
            "permanent provider_rejected",
        ),
        (
            "tencent-voice",
            "FailedOperation.PhoneNumberOnBlacklist",
            "permanent provider_rejected",
        ),
        (
            "tencent-voice",
            "LimitExceeded.PhoneNumberOneHourLimit",
            "later provider_rejected 3600000",
        ),
        (
            "tencent-voice",
            "LimitExceeded.DeliveryFrequencyLimit",
            "retry rate_limited 60000",
        ),
        (
            "tencent-voice",
            "AuthFailure.SecretIdNotFound",
            "permanent misconfigured",
        ),
    ] {
        let answer = json!({ "Response": { "Error": { "Code": code, "Message": "secret? example-secret-key-0123456789" }, "RequestId": "r" } });
        let rig = Rig::start(kind, &json!({}), move |_| {
            Reply::body(200, answer.to_string())
        })
        .await;
        let attempted = rig.deliver(&alarm("1"), None).await;
        assert_eq!(word(&attempted), expected, "{kind} {code}");
        let kept = format!("{attempted:?}");
        assert!(
            kept.contains(code) && !kept.contains("example-secret-key"),
            "{kept}"
        );
    }
    // A code that concerns the account, told of each number: nobody got it, and it is no matter of the numbers.
    let rig = Rig::start("tencent-sms", &json!({}), |_| {
        let status = json!({ "PhoneNumber": "+8613800000000", "Code": "FailedOperation.InsufficientBalanceInSmsPackage", "Message": "no" });
        Reply::body(200, json!({ "Response": { "SendStatusSet": [status] } }).to_string())
    })
    .await;
    assert_eq!(
        word(&rig.deliver(&alarm("1"), None).await),
        "permanent misconfigured"
    );
    for (answer, expected) in [
        (Reply::body(200, "{}"), "retry bad_response 0"),
        (Reply::body(200, "<html>ok</html>"), "retry bad_response 0"),
        (Reply::status(502), "retry http_5xx 0"),
        (
            Reply::body(200, r#"{"Response":{"SendStatusSet":[]}}"#),
            "permanent provider_rejected",
        ),
    ] {
        let rig = Rig::start("tencent-sms", &json!({}), move |_| answer.clone()).await;
        assert_eq!(word(&rig.deliver(&alarm("1"), None).await), expected);
    }
}

#[tokio::test]
async fn calls_go_to_one_phone_after_the_other_and_never_for_a_recovery() {
    let rig = Rig::start(
        "tencent-voice",
        &json!({ "to": ["+8613800000001", "+8613800000002"] }),
        |_| Reply::body(200, r#"{"Response":{"SendStatus":{"CallId":"c-1","SessionContext":""},"RequestId":"r"}}"#),
    )
    .await;
    let event = alarm("1");
    let first = rig.deliver(&event, None).await;
    assert_eq!(word(&first), "more");
    let second = rig.deliver(&event, first.progress.as_deref()).await;
    assert_eq!((word(&second).as_str(), second.note), ("delivered", None));
    let called: Vec<Value> = rig
        .sink
        .seen()
        .iter()
        .map(|seen| body(seen)["CalledNumber"].clone())
        .collect();
    assert_eq!(called, ["+8613800000001", "+8613800000002"]);
    let one = body(&rig.sink.seen()[0]);
    assert_eq!(
        one["TemplateParamSet"],
        json!(["cvm", "ins-demo0001", "云服务器 ping 不可达"])
    );
    assert_eq!(one["PlayTimes"], 2);

    assert_eq!(
        word(&rig.deliver(&alarm("0"), None).await),
        "skipped nothing_to_send"
    );
    // The same phone is not called twice within five minutes.
    let again = rig.deliver(&event, None).await;
    assert_eq!(word(&again), "later provider_rejected 300000");
    rig.clock.advance(300_000);
    assert_eq!(
        word(&rig.deliver(&event, again.progress.as_deref()).await),
        "more"
    );
    assert_eq!(rig.sink.seen().len(), 3);
}

#[tokio::test]
async fn a_request_that_goes_unanswered_twice_is_not_sent_a_third_time() {
    let rig = Rig::start("tencent-voice", &json!({}), |_| Reply::Hang(Vec::new())).await;
    let event = alarm("1");
    let first = rig.deliver(&event, None).await;
    assert_eq!(word(&first), "retry timeout 0");
    let second = rig.deliver(&event, first.progress.as_deref()).await;
    assert_eq!(word(&second), "permanent provider_rejected");
    assert_eq!(rig.sink.seen().len(), 2);
}

#[tokio::test]
async fn twilio_gets_a_form_and_its_codes_are_told_apart() {
    let taken = || Reply::body(201, r#"{"sid":"SM1","status":"queued"}"#);
    let rig = Rig::start("twilio", &json!({ "charsMax": 70 }), move |_| taken()).await;
    assert_eq!(word(&rig.deliver(&alarm("1"), None).await), "delivered");
    let seen = rig.sink.seen().remove(0);
    assert_eq!(
        seen.target,
        "/2010-04-01/Accounts/AC00000000000000000000000000000001/Messages.json"
    );
    assert!(seen.header("authorization").unwrap().starts_with("Basic "));
    let sent = form(&seen);
    assert_eq!(sent[0], ("To".to_owned(), "+12025550123".to_owned()));
    assert_eq!(sent[1], ("From".to_owned(), "+12025550100".to_owned()));
    assert!(
        sent[2]
            .1
            .starts_with("[Critical] Cloud Virtual Machine Ping unreachable"),
        "{}",
        sent[2].1
    );
    assert!(sent[2].1.chars().count() <= 70);

    let rig = Rig::start(
        "twilio",
        &json!({ "medium": "call", "language": "zh" }),
        move |_| taken(),
    )
    .await;
    assert_eq!(word(&rig.deliver(&hostile(), None).await), "delivered");
    let seen = rig.sink.seen().remove(0);
    assert!(seen.target.ends_with("/Calls.json"));
    let twiml = &form(&seen)[2].1;
    assert!(
        twiml.starts_with("<Response><Say language=\"zh-CN\" loop=\"2\">[严重] &lt;/Say&gt;"),
        "{twiml}"
    );
    assert_eq!(twiml.matches("<Dial").count(), 0);

    for (status, code, expected) in [
        (400, 21211, "permanent provider_rejected"),
        (400, 21610, "permanent provider_rejected"),
        (401, 20003, "permanent misconfigured"),
        (400, 21606, "permanent misconfigured"),
        (429, 20429, "retry rate_limited 10000"),
        (400, 99999, "permanent provider_rejected"),
        (503, 20503, "retry http_5xx 0"),
    ] {
        let answer = json!({ "code": code, "message": "no", "status": status });
        let rig = Rig::start("twilio", &json!({}), move |_| {
            Reply::body(status, answer.to_string())
        })
        .await;
        assert_eq!(
            word(&rig.deliver(&alarm("1"), None).await),
            expected,
            "{code}"
        );
    }
    let rig = Rig::start("twilio", &json!({}), |_| Reply::body(200, "ok")).await;
    assert_eq!(
        word(&rig.deliver(&alarm("1"), None).await),
        "retry bad_response 0"
    );
}

const ALIBABA: (&str, &str) = ("LTAI5tExample", "example-secret-key-0123456789");

/// A target of a kind of Alibaba Cloud that ends at a double.
fn alibaba(kind: &str, im: &Im, more: &Value) -> Arc<dyn Target> {
    let kind = find_kind(kind).unwrap();
    let mut settings = json!({
        "accessKeyId": ALIBABA.0, "accessKeySecret": ALIBABA.1, "baseUrl": im.base(),
        "variables": { "event": "event", "id": "resource" },
    });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    // It stands still, so that waits are exact; the double takes no signature of another day.
    let context = ConnectContext {
        clock: Arc::new(ManualClock::new(SystemClock.now_ms())),
        ..context(egress())
    };
    kind.connect(settings, &context)
        .map_err(|errors| format!("{errors:?}"))
        .unwrap()
}

/// The parameters of a request without those that differ each time.
fn parameters(path: &str) -> Value {
    let (_, query) = path.split_once('?').unwrap();
    let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
    pairs
        .filter(|(name, _)| name != "OutId")
        .map(|(name, value)| (name, Value::from(value)))
        .collect()
}

#[tokio::test]
async fn alibaba_takes_what_is_signed_for_one_number_after_the_other() {
    let sms = json!({
        "signName": "演示 & 测试", "templateCode": "SMS_100001", "to": ["+8613800000001", "+12025550123"],
    });
    let im = Im::alibaba(ALIBABA, "演示 & 测试", "SMS_100001", &["event", "id"])
        .await
        .unwrap();
    let target = alibaba("alibaba-sms", &im, &sms);
    let event = alarm("1");
    let first = target.deliver(&job(&event)).await;
    assert_eq!(word(&first), "more");
    let next = Job {
        progress: first.progress.as_deref(),
        ..job(&event)
    };
    let second = target.deliver(&next).await;
    assert_eq!((word(&second).as_str(), second.note), ("delivered", None));
    let sent: Vec<Value> = im
        .taken()
        .iter()
        .map(|taken| parameters(&taken.path))
        .collect();
    let values = r#"{"event":"云服务器 ping 不可达","id":"ins-demo0001"}"#;
    assert_eq!(
        json!(sent),
        json!([
            { "PhoneNumbers": "13800000001", "SignName": "演示 & 测试", "TemplateCode": "SMS_100001", "TemplateParam": values },
            { "PhoneNumbers": "12025550123", "SignName": "演示 & 测试", "TemplateCode": "SMS_100001", "TemplateParam": values },
        ])
    );
    let received = im.received().remove(0);
    assert_eq!(received.header("x-acs-action"), Some("SendSms"));
    assert_eq!(received.header("content-length"), Some("0"));
    let kept = format!("{first:?}");
    assert!(
        !kept.contains("Signature=") && !kept.contains(ALIBABA.1),
        "{kept}"
    );

    // Whatever an event says, it stays a value that the provider takes.
    let im = Im::alibaba(ALIBABA, "演示", "SMS_1", &["t", "r"])
        .await
        .unwrap();
    let more = json!({
        "signName": "演示", "templateCode": "SMS_1", "variables": { "t": "title", "r": "name" }, "to": ["+8613800000001"],
        "variableCharsMax": 35,
    });
    let attempted = alibaba("alibaba-sms", &im, &more)
        .deliver(&job(&hostile()))
        .await;
    assert_eq!(word(&attempted), "delivered", "{:?}", im.refused());

    let im = Im::alibaba(ALIBABA, "", "TTS_1", &["event", "id"])
        .await
        .unwrap();
    let more =
        json!({ "ttsCode": "TTS_1", "calledShowNumber": "057112345678", "to": ["+8613800000001"] });
    let target = alibaba("alibaba-voice", &im, &more);
    assert_eq!(
        word(&target.deliver(&job(&alarm("0"))).await),
        "skipped nothing_to_send"
    );
    assert_eq!(word(&target.deliver(&job(&event)).await), "delivered");
    assert_eq!(
        parameters(&im.taken()[0].path),
        json!({
            "CalledNumber": "13800000001", "CalledShowNumber": "057112345678", "PlayTimes": "2", "TtsCode": "TTS_1",
            "TtsParam": values,
        })
    );
}

#[tokio::test]
async fn alibaba_refuses_what_is_wrong_and_says_what_it_is() {
    let good = json!({ "signName": "演示", "templateCode": "SMS_1", "to": ["+8613800000001"], "secondsPerNumber": 0 });
    for (more, expected, code) in [
        (json!({}), "delivered", ""),
        (
            json!({ "accessKeyId": "LTAIother" }),
            "permanent misconfigured",
            "InvalidAccessKeyId.NotFound",
        ),
        (
            json!({ "accessKeySecret": "another-secret" }),
            "permanent misconfigured",
            "SignatureDoesNotMatch",
        ),
        (
            json!({ "signName": "别人" }),
            "permanent misconfigured",
            "isv.SMS_SIGNATURE_ILLEGAL",
        ),
        (
            json!({ "templateCode": "SMS_2" }),
            "permanent misconfigured",
            "isv.SMS_TEMPLATE_ILLEGAL",
        ),
        (
            json!({ "variables": {} }),
            "permanent misconfigured",
            "isv.TEMPLATE_MISSING_PARAMETERS",
        ),
    ] {
        let im = Im::alibaba(ALIBABA, "演示", "SMS_1", &["event"])
            .await
            .unwrap();
        let mut settings = good.clone();
        for (name, value) in more.as_object().unwrap() {
            settings[name] = value.clone();
        }
        let target = alibaba("alibaba-sms", &im, &settings);
        let attempted = target.deliver(&job(&alarm("1"))).await;
        assert_eq!(word(&attempted), expected, "{more}: {attempted:?}");
        assert!(format!("{attempted:?}").contains(code), "{attempted:?}");
        if expected == "delivered" {
            // The provider's own limit of the number.
            let again = target.deliver(&job(&alarm("1"))).await;
            assert_eq!(word(&again), "later provider_rejected 60000");
        }
    }
    for (status, code, words, expected) in [
        (
            200,
            "isv.BUSINESS_LIMIT_CONTROL",
            "触发小时级流控Permits:5",
            "later provider_rejected 3600000",
        ),
        (
            200,
            "isv.BUSINESS_LIMIT_CONTROL",
            "触发天级流控Permits:10",
            "permanent provider_rejected",
        ),
        (
            200,
            "isv.MOBILE_NUMBER_ILLEGAL",
            "invalid",
            "permanent provider_rejected",
        ),
        (
            200,
            "isv.PARAM_LENGTH_LIMIT",
            "too long",
            "permanent request_too_large",
        ),
        (
            200,
            "isv.AMOUNT_NOT_ENOUGH",
            "no money",
            "permanent misconfigured",
        ),
        (
            200,
            "isv.SOMETHING_NEW",
            "new",
            "permanent provider_rejected",
        ),
        (200, "isp.SYSTEM_ERROR", "busy", "retry provider_rejected 0"),
        (
            200,
            "isp.RAM_PERMISSION_DENY",
            "no",
            "permanent misconfigured",
        ),
        (400, "Throttling.User", "slow", "retry rate_limited 1000"),
        (
            503,
            "ServiceUnavailable",
            "down",
            "retry provider_rejected 0",
        ),
        (503, "Nobody.KnowsThis", "down", "retry http_5xx 0"),
        (
            400,
            "SignatureDoesNotMatch",
            "secret? example-secret-key-0123456789",
            "permanent misconfigured",
        ),
        (500, "OK", "OK", "retry http_5xx 0"),
    ] {
        for kind in ["alibaba-sms", "alibaba-voice"] {
            let answer = json!({ "Code": code, "Message": words, "RequestId": "r" });
            let rig = Rig::start(kind, &json!({}), move |_| {
                Reply::body(status, answer.to_string())
            })
            .await;
            let attempted = rig.deliver(&alarm("1"), None).await;
            assert_eq!(word(&attempted), expected, "{kind} {code} {words}");
            let kept = format!("{attempted:?}");
            assert!(
                kept.contains(code) && !kept.contains("example-secret-key"),
                "{kept}"
            );
        }
    }
    for answer in [Reply::body(200, "{}"), Reply::body(200, "<html>ok</html>")] {
        let rig = Rig::start("alibaba-sms", &json!({}), move |_| answer.clone()).await;
        assert_eq!(
            word(&rig.deliver(&alarm("1"), None).await),
            "retry bad_response 0"
        );
    }
}

#[tokio::test]
async fn a_gateway_s_request_is_what_its_templates_say_and_values_stay_values() {
    let quoted = "</Say><Dial>110</Dial>\"&";
    for (more, kind, holds, not) in [
        (
            json!({ "body": { "json": { "to": "${$.number}", "all": ["${$.numbers}"], "text": "${$.text}", "id": "${$.event.id}" } } }),
            "application/json",
            "\\\"&",
            "\"&",
        ),
        (
            json!({ "body": { "form": { "mobile": "${$.nationalNumber}", "content": "${$.title}" } } }),
            "application/x-www-form-urlencoded",
            "mobile=13800000000",
            "<",
        ),
        (
            json!({ "body": { "xml": "<sms to=\"${$.number}\">${$.title}</sms>" } }),
            "application/xml",
            "&lt;Dial&gt;",
            "<Dial>",
        ),
        (
            json!({ "body": { "text": "${$.number} ${$.title}" } }),
            "text/plain; charset=utf-8",
            "+8613800000000 [严重]",
            "\r\n",
        ),
    ] {
        let rig = Rig::start("http-gateway", &more, |_| {
            Reply::body(200, r#"{"code":"0"}"#)
        })
        .await;
        let attempted = rig.deliver(&hostile(), None).await;
        assert_eq!(word(&attempted), "delivered", "{more}");
        let seen = rig.sink.seen().remove(0);
        assert_eq!(seen.header("content-type"), Some(kind));
        assert_eq!(seen.header("x-api-key"), Some("key-of-the-provider"));
        let text = String::from_utf8(seen.body.clone()).unwrap();
        assert!(text.contains(holds), "{text}");
        if kind == "application/json" {
            let sent = body(&seen);
            assert!(sent["text"].as_str().unwrap().contains(quoted));
            assert_eq!(
                (&sent["id"], &sent["all"]),
                (&json!("1"), &json!(["+8613800000000"]))
            );
        } else {
            assert!(!text.contains(not), "{text}");
        }
        assert!(!format!("{attempted:?}").contains("key-of-the-provider"));
    }
    let rig = Rig::start(
        "http-gateway",
        &json!({ "method": "GET", "body": null, "query": { "to": "${$.number}", "token": "s3cret-token", "t": "${$.title}" }, "to": [], "headers": { "x-title": "${$.title}" } }),
        |_| Reply::body(200, r#"{"code":0}"#),
    )
    .await;
    let attempted = rig.deliver(&hostile(), None).await;
    assert_eq!(word(&attempted), "delivered");
    let seen = rig.sink.seen().remove(0);
    assert_eq!((&*seen.method, seen.header("content-type")), ("GET", None));
    // Nobody is named: one request for whoever the receiver knows of.
    assert!(
        seen.target.starts_with("/?t=%5B") && seen.target.contains("&to=&token=s3cret-token"),
        "{}",
        seen.target
    );
    assert!(!format!("{attempted:?}").contains("s3cret-token"));
}

#[tokio::test]
async fn a_gateway_s_answers_mean_what_the_settings_say() {
    let answers = json!({
        "misconfigured": [{ "status": [401] }],
        "throttled": [{ "path": "$.code", "is": [4290] }, { "status": [503], "holds": "busy" }],
        "retry": [{ "path": "$.code", "is": ["E500", true] }],
        "permanent": [{ "path": "$.result.code", "is": [7] }],
        "delivered": [{ "status": [200], "path": "$.code", "is": ["0"] }],
        "words": "$.message",
    });
    for (answer, expected, words) in [
        (Reply::body(200, r#"{"code":0}"#), "delivered", ""),
        (Reply::body(200, r#"{"code":"0"}"#), "delivered", ""),
        (
            Reply::body(401, r#"{"message":"who are you"}"#),
            "permanent misconfigured",
            "who are you",
        ),
        (
            Reply::body(200, r#"{"code":4290,"message":"slow"}"#),
            "retry rate_limited 60000",
            "slow",
        ),
        (Reply::body(503, "busy now"), "retry rate_limited 60000", ""),
        (
            Reply::body(200, r#"{"code":"E500"}"#),
            "retry provider_rejected 0",
            "",
        ),
        (
            Reply::body(200, r#"{"code":true}"#),
            "retry provider_rejected 0",
            "",
        ),
        (
            Reply::body(200, r#"{"result":{"code":7},"message":"blocked"}"#),
            "permanent provider_rejected",
            "blocked",
        ),
        (
            Reply::body(200, r#"{"code":9}"#),
            "retry bad_response 0",
            "",
        ),
        (Reply::body(200, ""), "retry bad_response 0", ""),
        (Reply::status(500), "retry http_5xx 0", ""),
        (Reply::status(404), "retry http_4xx 0", ""),
    ] {
        let shown = format!("{answer:?}");
        let rig = Rig::start("http-gateway", &json!({ "answer": answers }), move |_| {
            answer.clone()
        })
        .await;
        let attempted = rig.deliver(&alarm("1"), None).await;
        assert_eq!(word(&attempted), expected, "{shown}");
        assert!(
            format!("{:?}", attempted.verdict).contains(words),
            "{attempted:?}"
        );
    }
    let rig = Rig::start("http-gateway", &json!({ "answer": {} }), |_| {
        Reply::status(204)
    })
    .await;
    assert_eq!(word(&rig.deliver(&alarm("1"), None).await), "delivered");
}

#[tokio::test]
async fn an_operator_s_own_values_stand_in_the_template() {
    let rig = Rig::start("tencent-sms", &json!({}), |_| {
        Reply::body(
            200,
            r#"{"Response":{"SendStatusSet":[{"PhoneNumber":"+8613800000000","Code":"Ok"}]}}"#,
        )
    })
    .await;
    let body = Rendered {
        body: br#"["a","\u3010b\u3011 https://x.example","",4]"#.to_vec(),
        content_type: ContentKind::Json,
    };
    let event = alarm("1");
    let own = |text: &str| Rendered {
        body: text.as_bytes().to_vec(),
        ..body.clone()
    };
    for (own, values) in [
        (
            own(r#"["a","【b】 https://x.example",""]"#),
            json!(["a", "b", "-"]),
        ),
        // Not a list of texts: the settings' own.
        (
            body.clone(),
            json!([
                "严重",
                "云服务器 ping 不可达",
                "ins-demo0001",
                "11-15 06:13"
            ]),
        ),
    ] {
        rig.clock.advance(60_000);
        let attempted = rig
            .target
            .deliver(&Job {
                body: Some(&own),
                ..job(&event)
            })
            .await;
        assert_eq!(word(&attempted), "delivered");
        let sent: Value = serde_json::from_slice(&rig.sink.seen().last().unwrap().body).unwrap();
        assert_eq!(sent["TemplateParamSet"], values);
    }
}

#[tokio::test]
async fn an_operator_s_own_values_stand_in_a_template_with_names() {
    let rig = Rig::start("alibaba-sms", &json!({}), |_| {
        Reply::body(200, r#"{"Code":"OK","BizId":"b"}"#)
    })
    .await;
    let event = alarm("1");
    let usual = r#"{"event":"云服务器 ping 不可达","id":"ins-demo0001","level":"严重","time":"11-15 06:13"}"#;
    for (own, values) in [
        (
            r#"{"a":"【b】 https://x.example","c":""}"#,
            r#"{"a":"b","c":"-"}"#,
        ),
        // No object of texts: the settings' own.
        (r#"["a"]"#, usual),
        (r#"{"a":1}"#, usual),
    ] {
        rig.clock.advance(60_000);
        let body = Rendered {
            body: own.as_bytes().to_vec(),
            content_type: ContentKind::Json,
        };
        let attempted = rig
            .target
            .deliver(&Job {
                body: Some(&body),
                ..job(&event)
            })
            .await;
        assert_eq!(word(&attempted), "delivered");
        let sent = parameters(&rig.sink.seen().last().unwrap().target);
        assert_eq!(sent["TemplateParam"], values);
    }
}

#[test]
fn settings_of_phones_that_cannot_work_are_refused_with_their_place() {
    let egress = public_egress();
    for (kind, more, pointers) in [
        ("tencent-sms", json!({}), &[][..]),
        ("tencent-sms", json!({ "to": ["13800000000"] }), &["/to/0"]),
        ("tencent-sms", json!({ "to": [], "people": {} }), &["/to"]),
        (
            "tencent-sms",
            json!({ "appId": "x", "templateId": "", "signName": "【a】" }),
            &["/appId", "/templateId", "/signName"],
        ),
        (
            "tencent-sms",
            json!({ "variableCharsMax": 0, "secondsPerNumber": 90000 }),
            &["/secondsPerNumber", "/variableCharsMax"],
        ),
        (
            "tencent-sms",
            json!({ "baseUrl": "https://sms.example.com/path" }),
            &["/baseUrl"],
        ),
        (
            "tencent-sms",
            json!({ "secretId": "a b", "secretKey": "\n" }),
            &["/secretId", "/secretKey"],
        ),
        (
            "tencent-sms",
            json!({ "variables": ["nonsense"] }),
            &["/variables/0"],
        ),
        ("tencent-voice", json!({ "playTimes": 4 }), &["/playTimes"]),
        ("alibaba-sms", json!({}), &[]),
        (
            "alibaba-sms",
            json!({ "accessKeyId": "a b", "accessKeySecret": "\n", "signName": "", "templateCode": "SMS 1" }),
            &[
                "/signName",
                "/templateCode",
                "/accessKeyId",
                "/accessKeySecret",
            ],
        ),
        (
            "alibaba-sms",
            json!({ "variables": { "a b": "title", "c": "nonsense" } }),
            &["/variables/c"],
        ),
        (
            "alibaba-sms",
            json!({ "variables": { "a b": "title" }, "baseUrl": "https://sms.example.com/path" }),
            &["/variables/a b", "/baseUrl"],
        ),
        (
            "alibaba-voice",
            json!({ "playTimes": 0, "calledShowNumber": "x", "ttsCode": "" }),
            &["/calledShowNumber", "/ttsCode", "/playTimes"],
        ),
        ("twilio", json!({ "accountSid": "AC1" }), &["/accountSid"]),
        ("twilio", json!({ "from": null }), &["/from"]),
        (
            "twilio",
            json!({ "messagingServiceSid": "MG00000000000000000000000000000001" }),
            &["/from"],
        ),
        (
            "twilio",
            json!({ "from": null, "messagingServiceSid": "MG00000000000000000000000000000001" }),
            &[],
        ),
        (
            "twilio",
            json!({ "medium": "call", "from": null, "messagingServiceSid": "MG00000000000000000000000000000001" }),
            &["/from"],
        ),
        (
            "http-gateway",
            json!({ "url": "http://sms.example.com" }),
            &["/url"],
        ),
        ("http-gateway", json!({ "method": "GET" }), &["/body"]),
        (
            "http-gateway",
            json!({ "headers": { "host": "x", "x-a": "${$.a" } }),
            &["/headers/host", "/headers/x-a"],
        ),
        (
            "http-gateway",
            json!({ "body": { "json": { "a": "${b}" } } }),
            &["/body/json/a"],
        ),
        (
            "http-gateway",
            json!({ "answer": { "retry": [{}], "throttled": [{ "path": "$.a" }], "permanent": [{ "path": "a", "is": [1] }], "words": "x" } }),
            &[
                "/answer/throttled/0/is",
                "/answer/retry/0",
                "/answer/permanent/0/path",
                "/answer/words",
            ],
        ),
    ] {
        let kind = find_kind(kind).unwrap();
        let mut settings = kind.example();
        for (name, value) in more.as_object().unwrap() {
            settings[name] = value.clone();
        }
        let found = kind.validate(&settings, &egress);
        let places: Vec<&str> = found.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(places, pointers, "{} {more}: {found:?}", kind.name());
    }
}

#[tokio::test]
async fn a_reason_is_never_lost_on_the_way() {
    // Nobody listens.
    let rig = Rig::start("twilio", &json!({}), |_| Reply::Reset).await;
    let attempted = rig.deliver(&alarm("1"), None).await;
    let Verdict::Retry { reason, .. } = attempted.verdict else {
        panic!("{attempted:?}")
    };
    assert_eq!(reason, Reason::ConnectionReset);
}
