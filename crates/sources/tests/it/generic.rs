use belfry_sources::{Incoming, SourceSpec};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::{events, json_request, read, source};

fn mapped() -> Value {
    json!({
        "format": "generic",
        "timeZone": "Asia/Tokyo",
        "generic": {
            "id": "$.uid", "source": "const:backup", "type": "const:backup.failed", "subject": "$.host",
            "time": "$.ts", "severity": "$.level",
            "status": {"path": "$.state", "firing": ["down"], "recovered": ["UP"]},
            "region": "$.where", "alarmkey": ["$.host", "$.check"], "title": "$['the title']",
            "summary": "$.text[0]", "resourceName": "$.host", "value": "$.v", "threshold": "const:10",
            "link": "$.url"
        }
    })
}

#[test]
fn every_part_of_an_event_is_found_by_its_path() {
    let body = json!({
        "uid": 77, "host": "db-1", "check": "disk", "ts": "2023-11-15 07:13:20", "level": "P1", "state": "Down",
        "where": "tyo", "the title": "Disk full", "text": ["a", "b"], "v": 9.5, "url": "https://x.example/1"
    });
    let read = read(&source(&mapped()), &json_request(body.to_string())).unwrap();
    let event = events(&read).remove(0);
    let key = belfry_alarm::AlarmKey::of(["backup", "db-1", "disk"]);
    assert_eq!(
        event,
        json!({
            "specversion": "1.0", "id": "77", "source": "backup", "type": "backup.failed", "subject": "db-1",
            "time": "2023-11-14T22:13:20.000Z", "datacontenttype": "application/json", "status": "1",
            "severity": "critical", "region": "tyo", "alarmkey": key.as_str(),
            "data": {
                "alarm": {"title": "Disk full", "resourceName": "db-1", "value": "9.5", "threshold": "10",
                          "summary": "a", "links": [{"label": "source", "url": "https://x.example/1"}]},
                "raw": body
            }
        })
    );
}

#[test]
fn what_is_not_there_is_left_out_and_recovery_has_the_key_of_its_alarm() {
    let source = source(&mapped());
    let down = read(&source, &json_request(r#"{"host":"db-1","state":"down"}"#)).unwrap();
    let up = read(
        &source,
        &json_request(r#"{"host":"db-1","state":"up","level":"?"}"#),
    )
    .unwrap();
    let (down, up) = (events(&down).remove(0), events(&up).remove(0));
    assert_eq!((&down["status"], &up["status"]), (&json!("1"), &json!("0")));
    assert_eq!(down["alarmkey"], up["alarmkey"]);
    assert_eq!(
        (&up["severity"], &up["subject"]),
        (&json!("info"), &json!("db-1"))
    );
    assert_eq!(
        up["data"]["alarm"],
        json!({"resourceName": "db-1", "threshold": "10"})
    );
}

#[test]
fn a_form_is_read_by_the_same_paths() {
    let incoming = Incoming {
        content_type: Some("application/x-www-form-urlencoded".to_owned()),
        body: Bytes::from_static(b"host=db%201&state=down&level=%E8%AD%A6%E5%91%8A"),
        ..Incoming::default()
    };
    let event = events(&read(&source(&mapped()), &incoming).unwrap()).remove(0);
    assert_eq!(
        (&event["subject"], &event["severity"]),
        (&json!("db 1"), &json!("warning"))
    );
    assert_eq!(
        event["data"]["raw"],
        json!({"host": "db 1", "state": "down", "level": "警告"})
    );
}

#[test]
fn what_is_wrong_with_a_source_is_told_with_its_place() {
    for (spec, pointer) in [
        (json!([]), ""),
        (json!({"fromat": "auto"}), "/fromat"),
        (json!({"format": "zabix"}), "/format"),
        (
            json!({"auth": {"type": "basic", "username": "a:b", "password": "x"}}),
            "/auth/username",
        ),
        (
            json!({"auth": {"type": "header", "name": "a b", "value": "x"}}),
            "/auth/name",
        ),
        (
            json!({"auth": {"type": "header", "name": "a", "value": ""}}),
            "/auth/value",
        ),
        (json!({"auth": {"type": "signature"}}), "/auth/type"),
        (
            json!({"format": "zabbix", "auth": {"type": "signature"}, "signing": {"secrets": ["x"]}}),
            "/auth/type",
        ),
        (
            json!({"format": "github", "auth": {"type": "signature"}, "topicArns": ["arn:x"]}),
            "/auth/type",
        ),
        (
            json!({"format": "aws-sns", "auth": {"type": "signature"}, "signing": {"secrets": ["x"]}}),
            "/auth/type",
        ),
        (json!({"signing": {"secrets": [""]}}), "/signing/secrets/0"),
        (json!({"topicArns": ["x"]}), "/topicArns/0"),
        (json!({"timeZone": "Mars/Base"}), "/timeZone"),
        (json!({"handshake": "never"}), "/handshake"),
        (json!({"generic": {"id": "uid"}}), "/generic/id"),
        (
            json!({"generic": {"alarmkey": ["$..x"]}}),
            "/generic/alarmkey/0",
        ),
        (
            json!({"generic": {"status": {"path": "$["}}}),
            "/generic/status/path",
        ),
        (json!({"format": "zabbix", "generic": {}}), "/generic"),
    ] {
        let errors = match SourceSpec::read(&spec) {
            Ok(read) => read.check(),
            Err(errors) => errors,
        };
        assert_eq!(
            errors.first().map(|error| error.pointer.as_str()),
            Some(pointer),
            "{spec}: {errors:?}"
        );
    }
    assert_eq!(SourceSpec::read(&mapped()).unwrap().check(), []);
    assert_eq!(
        SourceSpec::read(&SourceSpec::example()).unwrap().check(),
        []
    );
    assert!(SourceSpec::schema()["properties"]["generic"].is_object());
}
