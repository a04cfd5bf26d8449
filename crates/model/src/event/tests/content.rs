use super::*;

#[test]
fn the_way_in_follows_content_type_and_headers() {
    use ContentMode::{Batch, Binary, Lenient, Structured};
    let table: [(Option<&str>, bool, Option<ContentMode>); 20] = [
        (
            Some("application/cloudevents+json"),
            false,
            Some(Structured),
        ),
        (
            Some("Application/CloudEvents+JSON; charset=\"UTF-8\""),
            false,
            Some(Structured),
        ),
        (
            Some("application/cloudevents+json;charset=utf-8"),
            true,
            Some(Structured),
        ),
        (
            Some("application/cloudevents-batch+json ; charset=utf-8"),
            true,
            Some(Batch),
        ),
        (Some("application/cloudevents+avro"), true, None),
        (Some("application/cloudevents+protobuf"), false, None),
        (Some("application/cloudevents-batch+xml"), false, None),
        (Some("application/cloudevents"), false, None),
        (Some("application/json"), true, Some(Binary)),
        (Some("text/plain"), true, Some(Binary)),
        (None, true, Some(Binary)),
        (Some("application/json"), false, Some(Lenient)),
        (
            Some("application/JSON; charset=utf-8"),
            false,
            Some(Lenient),
        ),
        (Some("application/vnd.alarm+json"), false, Some(Lenient)),
        (Some("text/json"), false, Some(Lenient)),
        (Some("application/jsonx"), false, None),
        (Some("text/plain"), false, None),
        (Some("application/x-www-form-urlencoded"), false, None),
        (Some(""), false, None),
        (None, false, None),
    ];
    for (content_type, has_ce, want) in table {
        let got = content_mode(content_type.map(str::as_bytes), has_ce);
        if want.is_some() {
            assert_eq!(got.ok(), want, "{content_type:?}");
            continue;
        }
        let detail = got.unwrap_err().to_string();
        for accepted in [
            "application/cloudevents+json",
            "application/cloudevents-batch+json",
            "application/json",
            "ce-id",
        ] {
            assert!(detail.contains(accepted), "{content_type:?}: {detail}");
        }
    }
    assert!(content_mode(Some(b"\xff\xfe"), false).is_err());
}

#[test]
fn a_batch_is_cut_without_copying() {
    let body = Bytes::from_static(b" [ {\"a\" : 1 } ,[2],\n3 , \"x\"] ");
    let parts = split_batch(&body, &limits()).unwrap();
    assert_eq!(parts, ["{\"a\" : 1 }", "[2]", "3", "\"x\""]);
    let range = body.as_ptr_range();
    assert!(parts.iter().all(|part| range.contains(&part.as_ptr())));
    assert_eq!(
        split_batch(&Bytes::from_static(b"[]"), &limits()).unwrap(),
        Vec::<Bytes>::new()
    );
}

#[test]
fn broken_batches_are_refused() {
    for body in ["", "[", "[1,]", "[1] 2", "[{\"a\":]", "nope", "[\"\u{1}\"]"] {
        let errors = split_batch(&Bytes::copy_from_slice(body.as_bytes()), &limits()).unwrap_err();
        assert_eq!(errors.kind, EventErrorKind::NotJson, "{body}");
    }
    for body in ["{}", "3", "null"] {
        let errors = split_batch(&Bytes::from_static(body.as_bytes()), &limits()).unwrap_err();
        assert_eq!(errors.kind, EventErrorKind::NotCloudEvent, "{body}");
    }
    assert!(split_batch(&Bytes::from_static(b"[\"\xff\"]"), &limits()).is_err());
    let few = EventLimits {
        batch_events: 2,
        ..limits()
    };
    assert!(split_batch(&Bytes::from_static(b"[1,2]"), &few).is_ok());
    assert_eq!(
        split_batch(&Bytes::from_static(b"[1,2,3]"), &few)
            .unwrap_err()
            .kind,
        EventErrorKind::TooLarge
    );
}

#[test]
fn errors_of_an_element_carry_its_index() {
    let errors = structured("{}").unwrap_err().under("/3");
    assert_eq!(errors.errors[0].pointer, "/3/specversion");
}
