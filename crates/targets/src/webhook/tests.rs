//! Settings of a webhook: what is refused and where, what the server makes, what is secret.

use belfry_egress::{EgressLimits, EgressPolicy, SystemResolver};

use super::*;
use crate::secret::{MASK, mask, unmask};

fn errors_of(settings: &Value) -> Vec<FieldError> {
    let egress = EgressClient::new(
        EgressPolicy::default(),
        EgressLimits::default(),
        Arc::new(SystemResolver),
    );
    WebhookKind.validate(settings, &egress.unwrap())
}

#[track_caller]
fn refused(settings: &Value, pointer: &str, said: &str) {
    let errors = errors_of(settings);
    let found = errors
        .iter()
        .any(|error| error.pointer == pointer && error.detail.contains(said));
    assert!(found, "expected {pointer:?} {said:?} in {errors:?}");
}

fn with(name: &str, value: Value) -> Value {
    let mut settings = json!({ "url": "https://example.com/hook" });
    settings[name] = value;
    settings
}

#[test]
fn mistakes_are_told_with_their_place() {
    refused(&json!({}), "/url", "missing");
    refused(&json!([]), "", "expected an object");
    refused(
        &with("url", json!("http://example.com/")),
        "/url",
        "use https",
    );
    refused(
        &with("url", json!("https://127.0.0.1/")),
        "/url",
        "loopback",
    );
    refused(
        &with("url", json!("https://u:p@example.com/")),
        "/url",
        "use auth",
    );
    refused(&with("ulr", json!("x")), "/ulr", "url");
    refused(&with("method", json!("GET")), "/method", "POST");
    refused(&with("body", json!("binray")), "/body", "binary");
    refused(
        &with("timeoutSeconds", json!(0)),
        "/timeoutSeconds",
        "1 to 300",
    );
    refused(
        &with("timeoutSeconds", json!(301)),
        "/timeoutSeconds",
        "1 to 300",
    );
    refused(
        &with("responseBytesMax", json!(65_537)),
        "/responseBytesMax",
        "0 to 65536",
    );
    refused(
        &with("successStatus", json!([])),
        "/successStatus",
        "1 to 20",
    );
    for status in [199, 302, 410, 500] {
        refused(
            &with("successStatus", json!([200, status])),
            "/successStatus/1",
            "not 410",
        );
    }
    for origin in ["", "https://example.com", "a_b", "-a.example", "a..b"] {
        refused(
            &with("handshake", json!({ "origin": origin })),
            "/handshake/origin",
            "DNS name",
        );
    }
    refused(
        &with("handshake", json!({ "origin": "a.example", "rate": 0 })),
        "/handshake/rate",
        "1 to",
    );
}

#[test]
fn headers_that_are_made_here_cannot_be_set() {
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "connection",
        "webhook-id",
        "Webhook-Signature",
        "ce-type",
        "belfry-replay",
        "traceparent",
        "te",
        "upgrade",
        "accept-encoding",
        "svix-id",
    ] {
        refused(
            &with("headers", json!({ name: "x" })),
            &format!("/headers/{name}"),
            "cannot be set",
        );
    }
    for (name, value, said) in [
        ("x y", "a", "header name"),
        ("", "a", "header name"),
        ("x-a", "line\r\nx-b: c", "printable"),
        ("x-a", " a", "printable"),
        ("x-a", "磁盘", "printable"),
    ] {
        refused(
            &with("headers", json!({ name: value })),
            &format!("/headers/{name}"),
            said,
        );
    }
    refused(
        &with("headers", json!({ "X-A": "1", "x-a": "2" })),
        "/headers/x-a",
        "twice",
    );
    refused(
        &with("headers", json!({ "a/b": "1" })),
        "/headers/a~1b",
        "header name",
    );
    let mut twice = with("headers", json!({ "Authorization": "x" }));
    twice["auth"] = json!({ "type": "bearer", "token": "abc" });
    refused(&twice, "/headers/Authorization", "made by auth");
    let mut binary = with("headers", json!({ "content-type": "text/plain" }));
    assert_eq!(errors_of(&binary), []);
    binary["body"] = json!("binary");
    refused(&binary, "/headers/content-type", "payload");
}

#[test]
fn auth_is_checked() {
    let auth = |value: Value| with("auth", value);
    refused(
        &auth(json!({ "type": "basic", "username": "a:b", "password": "x" })),
        "/auth/username",
        "without colon",
    );
    refused(
        &auth(json!({ "type": "basic", "username": "a", "password": "\n" })),
        "/auth/password",
        "control",
    );
    refused(
        &auth(json!({ "type": "bearer", "token": "" })),
        "/auth/token",
        "printable",
    );
    refused(
        &auth(json!({ "type": "apiKey", "name": "ce-key", "value": "x" })),
        "/auth/name",
        "header",
    );
    refused(
        &auth(json!({ "type": "apiKey", "in": "query", "name": "", "value": "x" })),
        "/auth/name",
        "parameter",
    );
    let oauth = |url: &str| {
        auth(json!({ "type": "oauth2", "tokenUrl": url, "clientId": "a", "clientSecret": "b" }))
    };
    assert_eq!(errors_of(&oauth("https://id.example.com/token")), []);
    refused(
        &oauth("https://169.254.169.254/token"),
        "/auth/tokenUrl",
        "metadata",
    );
    refused(
        &oauth("http://id.example.com/token"),
        "/auth/tokenUrl",
        "https",
    );
    assert!(!errors_of(&auth(json!({ "type": "digest" }))).is_empty());
    assert!(
        !errors_of(&auth(
            json!({ "type": "bearer", "token": "a", "password": "b" })
        ))
        .is_empty()
    );
}

#[test]
fn signing_material_is_checked_without_quoting_it() {
    let settings = with(
        "signing",
        json!({ "secrets": ["whsec_s3cret"], "keys": ["whsk_s3cret"] }),
    );
    refused(&settings, "/signing/secrets/0", "24 to 64 bytes");
    refused(&settings, "/signing/keys/0", "Ed25519");
    assert!(!format!("{:?}", errors_of(&settings)).contains("s3cret"));
    let many: Vec<_> = (0..6).map(|_| sign::new_secret()).collect();
    refused(
        &with("signing", json!({ "secrets": many })),
        "/signing/secrets",
        "at most 5",
    );
}

#[test]
fn a_signing_secret_is_made_when_there_is_none() {
    for mut settings in [
        with("method", json!("POST")),
        with("signing", json!(null)),
        with("signing", json!({})),
        with(
            "signing",
            json!({ "enabled": true, "secrets": [], "keys": [] }),
        ),
    ] {
        let made = WebhookKind.prepare(&mut settings, None);
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].pointer, "/signing/secrets/0");
        assert_eq!(
            settings.pointer(&made[0].pointer).unwrap(),
            &json!(made[0].value)
        );
        assert!(!format!("{made:?}").contains(&made[0].value));
        assert_eq!(errors_of(&settings), [], "{settings}");
        // A second round changes nothing.
        assert!(WebhookKind.prepare(&mut settings, None).is_empty());
    }
}

#[test]
fn no_signing_secret_is_made_where_one_is_given_kept_or_unwanted() {
    for mut settings in [
        with("signing", json!({ "enabled": false })),
        with("signing", json!({ "secrets": ["whsec_x"] })),
        with("signing", json!({ "keys": ["whsk_x"] })),
        with("signing", json!({ "secrets": "no list" })),
        with("signing", json!(7)),
        json!("no object"),
    ] {
        let before = settings.clone();
        assert!(WebhookKind.prepare(&mut settings, None).is_empty());
        assert_eq!(settings, before);
    }
    let mut settings = with("url", json!("https://example.org/"));
    let existing = with(
        "signing",
        json!({ "secrets": ["whsec_kept"], "keys": ["whsk_kept"] }),
    );
    assert!(
        WebhookKind
            .prepare(&mut settings, Some(&existing))
            .is_empty()
    );
    assert_eq!(settings["signing"], existing["signing"]);
}

fn full() -> Value {
    json!({
        "url": "https://example.com/hook?access_token=s3cret-1&x=1",
        "headers": { "x-tenant": "blue", "X-Auth": "s3cret-2", "x~y/token": "s3cret-3" },
        "auth": { "type": "oauth2", "tokenUrl": "https://id.example.com/t?key=s3cret-4", "clientId": "me", "clientSecret": "s3cret-5" },
        "signing": { "secrets": ["s3cret-6", "s3cret-7"], "keys": ["s3cret-8"] }
    })
}

#[test]
fn every_secret_is_masked_and_comes_back() {
    let mut settings = full();
    mask(&WebhookKind, &mut settings);
    let text = settings.to_string();
    assert!(
        !text.contains("s3cret") && text.contains("blue") && text.contains("\"me\""),
        "{text}"
    );
    assert_eq!(settings["headers"]["x~y/token"], MASK);
    unmask(&WebhookKind, &mut settings, Some(&full())).unwrap();
    assert_eq!(settings, full());
}

#[test]
fn a_mask_without_a_stored_secret_is_an_error() {
    let mut settings = with("auth", json!({ "type": "bearer", "token": MASK }));
    settings["headers"] = json!({ "x-key": MASK, "x-plain": MASK });
    for existing in [None, Some(full()), Some(json!(null))] {
        let errors = unmask(&WebhookKind, &mut settings, existing.as_ref()).unwrap_err();
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/headers/x-key", "/auth/token"]);
    }
}

#[test]
fn a_signing_secret_can_be_rotated_without_knowing_the_old_one() {
    let rotated = |list: Value| {
        let mut settings = with("signing", json!({ "secrets": list }));
        unmask(&WebhookKind, &mut settings, Some(&full()))
            .map(|()| settings["signing"]["secrets"].clone())
    };
    assert_eq!(
        rotated(json!(["new", MASK])),
        Ok(json!(["new", "s3cret-6"]))
    );
    assert_eq!(
        rotated(json!(["new", MASK, MASK])),
        Ok(json!(["new", "s3cret-6", "s3cret-7"]))
    );
    assert_eq!(rotated(json!([MASK])), Ok(json!(["s3cret-6"])));
    assert_eq!(
        rotated(json!([MASK, MASK, MASK])).unwrap_err()[0].pointer,
        "/signing/secrets/2"
    );
}

#[test]
fn settings_show_no_secret_of_themselves() {
    let read: WebhookSettings = read(&full()).unwrap();
    let text = format!("{read:?}");
    assert!(!text.contains("s3cret"), "{text}");
    assert!(
        text.contains("https://example.com/hook?access_token=********&x=1"),
        "{text}"
    );
}
