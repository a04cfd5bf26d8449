//! Mail through a real mail server.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use belfry_alarm::{Contact, ContactGroup, Language};
use belfry_egress::{EgressClient, EgressLimits, EgressPolicy, Resolver, Resolving};
use belfry_model::delivery::Reason;
use belfry_model::event::EventLimits;
use belfry_model::{Clock, Event, ManualClock};
use belfry_targets::{
    AlarmLife, Attempted, ConnectContext, Directory, Job, Target, Verdict, find_kind,
};
use belfry_testkit::smtp::{Mail, Options, SmtpServer, Tls};
use belfry_transform::{ContentKind, Rendered};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{job, public_egress};

const CA: &str = include_str!("../../../egress/tests/fixtures/ca.pem");
const NOW_MS: i64 = 1_700_000_000_000;

/// Every name is this machine.
struct Here;

impl Resolver for Here {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolving<'a> {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

/// Ann reads Chinese, Bob English; Carol has no mail address.
struct Crew;

impl Directory for Crew {
    fn contact(&self, name: &str) -> Option<Arc<Contact>> {
        let (email, language) = match name {
            "ann" => (Some("ann@x.test"), Language::Zh),
            "bob" => (Some("bob@x.test"), Language::En),
            "carol" => (None, Language::En),
            _ => return None,
        };
        Some(Arc::new(Contact {
            display_name: format!("{name}, 值班"),
            email: email.map(str::to_owned),
            language: Some(language),
            ..Contact::default()
        }))
    }
    fn group(&self, name: &str) -> Option<Arc<ContactGroup>> {
        (name == "crew").then(|| {
            Arc::new(ContactGroup {
                description: String::new(),
                contacts: ["ann", "bob", "carol"].map(str::to_owned).to_vec(),
            })
        })
    }
}

/// A mail target and its server.
struct Rig {
    server: SmtpServer,
    clock: Arc<ManualClock>,
    target: Arc<dyn Target>,
}

fn fixture(name: &str) -> String {
    format!(
        "{}/../egress/tests/fixtures/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}

fn connect(settings: Value, clock: &Arc<ManualClock>) -> Arc<dyn Target> {
    let limits = EgressLimits {
        connect_timeout: Duration::from_secs(5),
        ..EgressLimits::default()
    };
    let egress = EgressClient::new(EgressPolicy::permissive(), limits, Arc::new(Here)).unwrap();
    let context = ConnectContext {
        egress: Arc::new(egress),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        user_agent: "Belfry/test".to_owned(),
        directory: Arc::new(Crew),
        functions: Arc::new(belfry_functions::NoFunctions),
    };
    find_kind("email")
        .unwrap()
        .connect(settings, &context)
        .map_err(|errors| format!("{errors:?}"))
        .unwrap()
}

impl Rig {
    /// A server of these options, and a target with the members of `more`.
    fn start(options: &Options, more: &Value) -> Self {
        let options = Options {
            certificate: Some((fixture("leaf.pem"), fixture("leaf.key"))),
            ..options.clone()
        };
        let server = SmtpServer::start(&options).unwrap();
        let mut settings = json!({
            "smtp": { "host": "127.0.0.1", "port": server.port, "security": "none" },
            "from": "告警 <alarms@belfry.test>",
            "to": ["ops@x.test"],
        });
        merge(&mut settings, more);
        settings["smtp"]["port"] = json!(server.port);
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let target = connect(settings, &clock);
        Self {
            server,
            clock,
            target,
        }
    }

    fn to(addresses: &[&str]) -> Self {
        Self::start(&Options::default(), &json!({ "to": addresses }))
    }

    async fn deliver(&self, event: &Event, progress: Option<&str>) -> Attempted {
        let job = Job {
            progress,
            ..job(event)
        };
        self.target.deliver(&job).await
    }

    /// The mails, once there are so many.
    async fn mails(&self, count: usize) -> Vec<Mail> {
        let limit = Duration::from_secs(10);
        let mails = belfry_testkit::wait_until("the mails", limit, async || {
            let mails = self.server.mails();
            Ok((mails.len() >= count).then_some(mails))
        });
        let mails = mails.await.unwrap();
        assert_eq!(mails.len(), count);
        mails
    }
}

fn merge(into: &mut Value, more: &Value) {
    for (name, value) in more.as_object().unwrap() {
        into[name] = value.clone();
    }
}

fn event(json: &Value) -> Event {
    Event::structured(Bytes::from(json.to_string()), &EventLimits::default()).unwrap()
}

fn alarm(status: &str) -> Event {
    event(&json!({
        "specversion": "1.0", "id": "1", "source": "cvm.cloud.tencent", "type": "cvm:ErrorEvent:PingUnreachable",
        "subject": "ins-demo0001", "region": "ap-guangzhou", "status": status, "severity": "critical",
        "time": "2023-11-14T22:13:20Z", "data": { "alarm": { "title": "ping 不可达", "resourceName": "shop-api-01" } },
    }))
}

/// The parts of a mail, decoded: text and HTML.
fn parts(mail: &Mail) -> (String, String) {
    let boundary = mail.header("content-type").unwrap();
    let boundary = boundary
        .split("boundary=\"")
        .nth(1)
        .unwrap()
        .trim_end_matches('"')
        .to_owned();
    let boundary = format!("--{boundary}");
    let mut parts = mail.content.split(&boundary).skip(1).map(|part| {
        let (head, body) = part.split_once("\r\n\r\n").unwrap_or((part, ""));
        let head = head.to_ascii_lowercase();
        assert!(
            part.trim() == "--" || head.contains("charset=utf-8"),
            "{head}"
        );
        assert!(part.lines().all(|line| line.len() <= 998));
        if head.contains("base64") {
            let text: String = body.split_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap();
            String::from_utf8(bytes).unwrap()
        } else if head.contains("quoted-printable") {
            unquote(body)
        } else {
            body.to_owned()
        }
    });
    (parts.next().unwrap(), parts.next().unwrap())
}

fn unquote(text: &str) -> String {
    let text = text.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        if *first == b'=' {
            let digits = std::str::from_utf8(&more[..2]).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &more[2..];
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// A header with its encoded words decoded.
fn decoded(mail: &Mail, name: &str) -> String {
    let raw = mail.header(name).unwrap();
    let mut text = String::new();
    let mut was_encoded = true;
    for word in raw.split(' ').filter(|word| !word.is_empty()) {
        let encoded = word
            .strip_prefix("=?utf-8?b?")
            .and_then(|rest| rest.strip_suffix("?="));
        // The blank between two encoded words belongs to neither.
        let between = was_encoded && encoded.is_some();
        if !text.is_empty() && !between {
            text.push(' ');
        }
        was_encoded = encoded.is_some();
        match encoded {
            Some(encoded) => {
                let engine = base64::engine::general_purpose::STANDARD;
                let bytes = engine.decode(encoded).unwrap();
                text.push_str(std::str::from_utf8(&bytes).unwrap());
            }
            None => text.push_str(word),
        }
    }
    text.trim().to_owned()
}

/// Reason, detail and wait, whether it is the receiver that failed or only this delivery that waits.
fn retry(attempted: &Attempted) -> (Reason, &str, Option<u64>) {
    match &attempted.verdict {
        Verdict::Retry {
            reason,
            detail,
            retry_after_ms,
        } => (*reason, detail, *retry_after_ms),
        Verdict::Later {
            reason,
            detail,
            wait_ms,
        } => (*reason, detail, Some(*wait_ms)),
        other => panic!("{other:?}"),
    }
}

fn permanent(attempted: &Attempted) -> (Reason, &str) {
    match &attempted.verdict {
        Verdict::Permanent { reason, detail } => (*reason, detail),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_refused_recipient_of_three_keeps_nobody_else_from_the_mail() {
    let rig = Rig::to(&["a@x.test", "refused@x.test", "b@x.test"]);
    let attempted = rig.deliver(&alarm("1"), None).await;
    assert_eq!(attempted.verdict, Verdict::Delivered);
    let note = attempted.note.unwrap();
    assert_eq!(
        note,
        "2 of 3 reached; refused for good: refused@x.test (550 5.1.1 no such user here)"
    );
    let mails = rig.mails(1).await;
    assert_eq!(mails[0].recipients, ["a@x.test", "b@x.test"]);
    assert_eq!(mails[0].sender, "alarms@belfry.test");
    let answers = attempted.response.unwrap();
    assert_eq!(answers.status, 250);
    assert_eq!(
        answers.body,
        "a@x.test: 250 2.1.5 OK\nrefused@x.test: 550 5.1.1 no such user here\nb@x.test: 250 2.1.5 OK\nmessage: 250 2.0.0 queued"
    );

    let nobody = Rig::to(&["refused@x.test", "relay@x.test"]);
    let attempted = nobody.deliver(&alarm("1"), None).await;
    let (reason, detail) = permanent(&attempted);
    assert_eq!(reason, Reason::ProviderRejected);
    assert!(detail.starts_with("0 of 2 reached") && detail.contains("relay access denied"));
    assert!(nobody.server.mails().is_empty());
}

#[tokio::test]
async fn a_greylisted_recipient_is_tried_again_alone_and_not_too_early() {
    let rig = Rig::to(&["a@x.test", "greylisted@x.test"]);
    let event = alarm("1");
    let first = rig.deliver(&event, None).await;
    let (reason, detail, wait_ms) = retry(&first);
    assert_eq!((reason, wait_ms), (Reason::ProviderRejected, Some(300_000)));
    assert!(detail.starts_with("1 of 2 reached; to be tried again: greylisted@x.test (450"));

    rig.clock.advance(299_000);
    let early = rig.deliver(&event, first.progress.as_deref()).await;
    assert_eq!(retry(&early).2, Some(1000));
    assert!(early.request.is_none());
    rig.clock.advance(1000);
    let second = rig.deliver(&event, first.progress.as_deref()).await;
    assert_eq!((second.verdict, second.note), (Verdict::Delivered, None));
    let mails = rig.mails(2).await;
    assert_eq!(mails[0].recipients, ["a@x.test"]);
    assert_eq!(mails[1].recipients, ["greylisted@x.test"]);
    // It is the same mail, so that nobody who gets both sees two.
    assert_eq!(mails[0].header("message-id"), mails[1].header("message-id"));
    assert_eq!(mails[0].header("to"), mails[1].header("to"));
}

#[tokio::test]
async fn repeat_and_recovery_stand_below_the_first_mail_of_their_alarm() {
    let rig = Rig::to(&["a@x.test"]);
    let mut life = AlarmLife {
        count: 1,
        first_at_ms: NOW_MS,
        told_at_ms: None,
        thread: None,
    };
    let firing = alarm("1");
    let first = rig
        .target
        .deliver(&Job {
            alarm: Some(&life),
            ..job(&firing)
        })
        .await;
    assert_eq!(first.verdict, Verdict::Delivered);
    let thread = first.thread.unwrap();
    life.count = 2;
    life.told_at_ms = Some(NOW_MS);
    life.thread = Some(thread.clone());
    let over = alarm("0");
    let recovery = rig
        .target
        .deliver(&Job {
            alarm: Some(&life),
            ..job(&over)
        })
        .await;
    assert_eq!(recovery.verdict, Verdict::Delivered);
    assert_eq!(recovery.thread, None);
    let mails = rig.mails(2).await;
    assert_eq!(mails[0].header("message-id"), Some(thread.clone()));
    assert!(
        thread.starts_with('<') && thread.ends_with(".1700000000000@belfry.test>"),
        "{thread}"
    );
    assert_eq!(mails[0].header("in-reply-to"), None);
    assert_ne!(mails[1].header("message-id"), Some(thread.clone()));
    assert_eq!(mails[1].header("in-reply-to"), Some(thread.clone()));
    assert_eq!(mails[1].header("references"), Some(thread));
    let (first, second) = (decoded(&mails[0], "subject"), decoded(&mails[1], "subject"));
    assert_eq!(
        first,
        "[严重] 云服务器 ping 不可达 · shop-api-01 (ins-demo0001)"
    );
    assert_eq!(
        second,
        "[恢复] 云服务器 ping 不可达 · shop-api-01 (ins-demo0001)"
    );
    for (mail, importance) in [(&mails[0], Some("high")), (&mails[1], None)] {
        assert_eq!(
            mail.header("auto-submitted").as_deref(),
            Some("auto-generated")
        );
        assert_eq!(mail.header("x-severity").as_deref(), Some("critical"));
        assert_eq!(mail.header("importance").as_deref(), importance);
        assert!(mail.header("date").is_some() && mail.header("mime-version").is_some());
        let (text, html) = parts(mail);
        assert!(text.contains("ins-demo0001") && html.contains("ins-demo0001"));
        assert_eq!(html.matches("<table").count(), 1);
        for remote in ["<img", "<script", "<link", "@import", "url("] {
            assert!(!html.contains(remote), "{remote}");
        }
    }
    assert!(parts(&mails[1]).1.contains("#12B76A"));
}

#[tokio::test]
async fn mail_goes_over_tls_and_with_a_login_of_either_kind() {
    for (tls, security, mechanism) in [
        (Tls::StartTls, "starttls", "PLAIN"),
        (Tls::StartTls, "starttls", "LOGIN"),
        (Tls::Implicit, "tls", "PLAIN"),
    ] {
        let options = Options {
            tls,
            login: Some(("bell".to_owned(), "hunter2-hunter2".to_owned())),
            mechanisms: vec![mechanism],
            ..Options::default()
        };
        let smtp = json!({
            "host": "sink.test", "security": security, "username": "bell", "password": "hunter2-hunter2", "ca": CA,
        });
        let rig = Rig::start(&options, &json!({ "smtp": smtp }));
        let attempted = rig.deliver(&alarm("1"), None).await;
        assert_eq!(
            attempted.verdict,
            Verdict::Delivered,
            "{security} {mechanism}"
        );
        assert!(!format!("{attempted:?}").contains("hunter2"));
        assert!(rig.mails(1).await[0].tls);
        assert_eq!(rig.server.logins(), [(mechanism.to_owned(), true)]);
    }
}

#[tokio::test]
async fn a_wrong_password_or_sender_is_a_matter_of_the_settings() {
    let options = Options {
        tls: Tls::StartTls,
        login: Some(("bell".to_owned(), "right".to_owned())),
        ..Options::default()
    };
    for (user, words) in [("bell", "535"), ("", "530")] {
        let mut smtp = json!({ "host": "sink.test", "ca": CA });
        if !user.is_empty() {
            merge(
                &mut smtp,
                &json!({ "username": user, "password": "wrong-wrong" }),
            );
        }
        let rig = Rig::start(&options, &json!({ "smtp": smtp }));
        let attempted = rig.deliver(&alarm("1"), None).await;
        let (reason, detail) = permanent(&attempted);
        assert_eq!(reason, Reason::Misconfigured);
        assert!(
            detail.contains(words) && !detail.contains("wrong-wrong"),
            "{detail}"
        );
        assert!(rig.server.named().is_empty());
    }
    let rig = Rig::start(
        &Options::default(),
        &json!({ "from": "forged@belfry.test" }),
    );
    let attempted = rig.deliver(&alarm("1"), None).await;
    assert_eq!(permanent(&attempted).0, Reason::Misconfigured);
}

#[tokio::test]
async fn nothing_is_sent_when_the_connection_is_not_what_the_settings_ask_for() {
    // Another authority; no STARTTLS; no TLS at all.
    for (tls, smtp) in [
        (Tls::StartTls, json!({ "host": "sink.test" })),
        (Tls::StartTls, json!({ "host": "other.test", "ca": CA })),
        (Tls::None, json!({ "host": "sink.test", "ca": CA })),
        (
            Tls::None,
            json!({ "host": "sink.test", "ca": CA, "security": "tls" }),
        ),
    ] {
        let options = Options {
            tls,
            ..Options::default()
        };
        let rig = Rig::start(&options, &json!({ "smtp": smtp }));
        let attempted = rig.deliver(&alarm("1"), None).await;
        assert_eq!(
            retry(&attempted).0,
            Reason::TlsError,
            "{smtp}: {attempted:?}"
        );
        assert!(rig.server.named().is_empty());
    }
}

/// A server that says its lines whatever it is told, each after one line of the other side.
async fn saying(lines: Vec<&'static str>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let lines = lines.clone();
            tokio::spawn(async move {
                for line in lines {
                    if stream.write_all(line.as_bytes()).await.is_err() {
                        return;
                    }
                    if stream.read(&mut [0; 4096]).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                drop(stream.read(&mut [0; 1]).await);
            });
        }
    });
    port
}

#[tokio::test]
async fn servers_that_misbehave_are_told_apart_and_believed_nothing() {
    let endless: &'static str = Box::leak("250-x\r\n".repeat(4000).into_boxed_str());
    for (lines, security, reason) in [
        (
            &[
                "220 hi\r\n",
                "250-me\r\n250 STARTTLS\r\n",
                "220 go\r\n250 me\r\n",
            ][..],
            "starttls",
            Reason::TlsError,
        ),
        (
            &["HTTP/1.1 400 Bad Request\r\n\r\n"],
            "none",
            Reason::BadResponse,
        ),
        (&["554 go away\r\n"], "none", Reason::ProviderRejected),
        (&["421 busy\r\n"], "none", Reason::RateLimited),
        (&["220 hi\r\n", endless], "none", Reason::BadResponse),
        (
            &["220 hi\r\n", "250 me\r\n", "451 later\r\n"],
            "none",
            Reason::ProviderRejected,
        ),
        (
            &[
                "220 hi\r\n",
                "250 me\r\n",
                "250 ok\r\n",
                "250 ok\r\n",
                "250 no 354\r\n",
            ],
            "none",
            Reason::ProviderRejected,
        ),
        (&[], "none", Reason::Timeout),
    ] {
        let port = saying(lines.to_vec()).await;
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let settings = json!({
            "smtp": { "host": if security == "none" { "127.0.0.1" } else { "sink.test" }, "port": port, "security": security, "ca": CA },
            "from": "a@belfry.test", "to": ["ops@x.test"], "timeoutSeconds": 1,
        });
        let target = connect(settings, &clock);
        let attempted = target.deliver(&job(&alarm("1"))).await;
        assert_eq!(retry(&attempted).0, reason, "{lines:?}: {attempted:?}");
    }
}

#[tokio::test]
async fn each_way_of_refusing_has_its_meaning() {
    for (address, reason, wait_ms) in [
        ("busy@x.test", Reason::RateLimited, Some(60_000)),
        ("drop@x.test", Reason::ConnectionReset, None),
        ("later@x.test", Reason::ProviderRejected, None),
        ("full@x.test", Reason::ProviderRejected, Some(60_000)),
    ] {
        let rig = Rig::to(&[address]);
        let attempted = rig.deliver(&alarm("1"), None).await;
        let (got, _, wait) = retry(&attempted);
        assert_eq!((got, wait), (reason, wait_ms), "{address}");
    }
    let rig = Rig::to(&["spam@x.test"]);
    let attempted = rig.deliver(&alarm("1"), None).await;
    assert_eq!(permanent(&attempted).0, Reason::ProviderRejected);
    assert_eq!(attempted.status, Some(554));
}

#[tokio::test]
async fn a_mail_that_is_too_large_goes_again_shortened_and_then_never() {
    for (size_max, delivered) in [(14_000, true), (1_000, false)] {
        let options = Options {
            size_max,
            ..Options::default()
        };
        let rig = Rig::start(&options, &json!({}));
        let text = "磁盘将满 ".repeat(4000);
        let event = alarm("1");
        let body = Rendered {
            body: text.into_bytes(),
            content_type: ContentKind::Text,
        };
        let ask = |progress| Job {
            body: Some(&body),
            progress,
            ..job(&event)
        };
        let first = rig.target.deliver(&ask(None)).await;
        let Verdict::More { detail } = &first.verdict else {
            panic!("{:?}", first.verdict)
        };
        assert!(detail.contains("552"), "{detail}");
        let second = rig.target.deliver(&ask(first.progress.as_deref())).await;
        if delivered {
            assert_eq!(second.verdict, Verdict::Delivered);
            let (text, _) = parts(&rig.mails(1).await[0]);
            assert!(text.contains("ping 不可达") && text.contains("…(已截断)"));
        } else {
            assert_eq!(permanent(&second).0, Reason::RequestTooLarge);
        }
    }
}

#[tokio::test]
async fn a_connection_is_used_for_many_mails_but_not_for_ever() {
    let rig = Rig::to(&["a@x.test"]);
    let event = alarm("1");
    for _ in 0..51 {
        assert_eq!(rig.deliver(&event, None).await.verdict, Verdict::Delivered);
    }
    let mut peers: Vec<u64> = rig.mails(51).await.iter().map(|mail| mail.peer).collect();
    peers.dedup();
    assert_eq!(peers.len(), 2);
}

#[tokio::test]
async fn people_are_looked_up_when_the_mail_is_sent_and_read_it_in_their_language() {
    let rig = Rig::start(
        &Options::default(),
        &json!({ "to": [], "cc": ["ops@x.test"], "people": { "groups": ["crew"], "contacts": ["eve"] } }),
    );
    let event = alarm("1");
    let mut attempted = rig.deliver(&event, None).await;
    assert!(
        matches!(attempted.verdict, Verdict::More { .. }),
        "{attempted:?}"
    );
    attempted = rig.deliver(&event, attempted.progress.as_deref()).await;
    assert_eq!(attempted.verdict, Verdict::Delivered);
    assert_eq!(
        attempted.note.unwrap(),
        "3 of 5 reached; not reached: contact eve: there is none of this name, contact carol: has no mail address"
    );
    let mails = rig.mails(2).await;
    assert_eq!(mails[0].recipients, ["ops@x.test", "ann@x.test"]);
    assert_eq!(mails[0].header("cc").as_deref(), Some("ops@x.test"));
    assert!(decoded(&mails[0], "to").contains("ann, 值班"));
    assert!(decoded(&mails[0], "to").contains("<ann@x.test>"));
    assert_eq!(mails[1].recipients, ["bob@x.test"]);
    assert!(decoded(&mails[0], "subject").starts_with("[严重]"));
    assert!(decoded(&mails[1], "subject").starts_with("[Critical]"));
}

#[tokio::test]
async fn nothing_of_an_event_gets_into_headers_or_markup() {
    let hostile =
        "x\r\nBcc: evil@x.test\r\n\r\n.\r\nQUIT\r\n</td><script>alert(1)</script>\"'&<b>\u{202e}";
    // Attributes of an event are one line already.
    let attribute =
        "x Bcc: evil@x.test </td><script>alert(1)</script>\"'&<b>\u{202e}=?utf-8?b?Cg==?=";
    let event = event(&json!({
        "specversion": "1.0", "id": "1", "source": "s", "type": "t", "subject": attribute, "region": attribute, "status": "1",
        "severity": "critical", "alarmkey": attribute, "data": { "alarm": {
            "title": hostile, "resourceName": hostile, "summary": hostile, "value": hostile,
            "links": [ { "label": hostile, "url": "javascript:alert(1)" }, { "label": hostile, "url": "https://a.example/\"><script>" } ],
        } },
    }));
    let life = AlarmLife {
        count: 1,
        first_at_ms: NOW_MS,
        ..AlarmLife::default()
    };
    let rig = Rig::to(&["a@x.test"]);
    let attempted = rig
        .target
        .deliver(&Job {
            alarm: Some(&life),
            ..job(&event)
        })
        .await;
    assert_eq!(attempted.verdict, Verdict::Delivered);
    let mails = rig.mails(1).await;
    assert_eq!(rig.server.named(), ["a@x.test"]);
    let mail = &mails[0];
    let head = mail.content.split("\r\n\r\n").next().unwrap();
    for line in head.lines() {
        let known = [
            "From",
            "To",
            "Subject",
            "Date",
            "Message-ID",
            "Auto-Submitted",
            "X-Auto-Response-Suppress",
            "Importance",
            "X-Priority",
            "X-Event-Id",
            "X-Alarm-Key",
            "X-Severity",
            "MIME-Version",
            "Content-Type",
        ];
        let name = line.split(':').next().unwrap();
        assert!(line.starts_with(' ') || known.contains(&name), "{line}");
        assert!(line.is_ascii() && line.len() <= 998);
    }
    let (text, html) = parts(mail);
    assert!(!html.contains("<script") && !html.contains("<b>") && !html.contains("javascript:"));
    assert!(html.contains("&lt;script&gt;"));
    for part in [text, html] {
        assert!(!part.contains('\u{202e}'));
    }
}

#[tokio::test]
async fn a_preview_shows_the_whole_mail_and_sends_nothing() {
    let rig = Rig::start(
        &Options::default(),
        &json!({ "people": { "contacts": ["ann"] } }),
    );
    let event = alarm("1");
    let records = rig.target.preview(&job(&event)).unwrap();
    assert_eq!(records.len(), 1);
    let record = &records[0];
    assert_eq!(
        (record.method.as_str(), record.url.as_str()),
        (
            "SMTP",
            format!("smtp://127.0.0.1:{}", rig.server.port).as_str()
        )
    );
    let body = record.body.as_ref().unwrap();
    assert!(body.contains("ins-demo0001") && body.ends_with("</html>\n"));
    assert!(
        record
            .headers
            .iter()
            .any(|(name, value)| name == "subject" && value.starts_with("[严重]"))
    );
    assert!(rig.server.named().is_empty());
}

#[test]
fn settings_that_cannot_work_are_refused_with_their_place() {
    let kind = find_kind("email").unwrap();
    let egress = public_egress();
    let good = kind.example();
    assert_eq!(kind.validate(&good, &egress), []);
    for (more, pointers) in [
        (
            json!({ "smtp": { "host": "127.0.0.1" } }),
            &["/smtp/host"][..],
        ),
        (json!({ "smtp": { "host": "a b" } }), &["/smtp/host"]),
        (
            json!({ "smtp": { "host": "smtp.example.com", "port": 0 } }),
            &["/smtp/port"],
        ),
        (
            json!({ "smtp": { "host": "smtp.example.com", "security": "none" } }),
            &["/smtp/security"],
        ),
        (
            json!({ "smtp": { "host": "smtp.example.com", "username": "a" } }),
            &["/smtp/password"],
        ),
        (
            json!({ "smtp": { "host": "smtp.example.com", "username": "a\r\nb", "password": "p" } }),
            &["/smtp/username"],
        ),
        (
            json!({ "smtp": { "host": "smtp.example.com", "ca": "nonsense" } }),
            &["/smtp/ca"],
        ),
        (
            json!({ "smtp": { "host": "smtp.example.com", "hello": "a b" } }),
            &["/smtp/hello"],
        ),
        (json!({ "from": "nobody" }), &["/from"]),
        (
            json!({ "from": "a@b.example\r\nBcc: c@d.example" }),
            &["/from"],
        ),
        (
            json!({ "bouncesTo": "x" , "replyTo": "y" }),
            &["/replyTo", "/bouncesTo"],
        ),
        (
            json!({ "to": ["a@b.example", "a b@c"], "cc": ["<x@y>"] }),
            &["/to/1", "/cc/0"],
        ),
        (json!({ "to": [], "people": {} }), &["/to"]),
        (
            json!({ "people": { "contacts": [""] } }),
            &["/people/contacts/0"],
        ),
    ] {
        let mut settings = good.clone();
        merge(&mut settings, &more);
        let found = kind.validate(&settings, &egress);
        let places: Vec<&str> = found.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(places, pointers, "{more}: {found:?}");
    }
    // Credentials on a clear connection, even on this machine.
    let local = EgressClient::new(
        EgressPolicy::permissive(),
        EgressLimits::default(),
        Arc::new(Here),
    )
    .unwrap();
    let mut settings = good;
    settings["smtp"] =
        json!({ "host": "127.0.0.1", "security": "none", "username": "a", "password": "b" });
    assert_eq!(
        kind.validate(&settings, &local)[0].pointer,
        "/smtp/username"
    );
}
