use super::super::text::{
    absolute_uri, is_json, legal_name, legal_string, media_type, uri_reference,
};
use super::*;

#[test]
fn header_values_are_encoded_by_the_table() {
    for (value, header) in [
        ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("a \"b\" 100%", "a%20%22b%22%20100%25"),
        ("磁盘只读", "%E7%A3%81%E7%9B%98%E5%8F%AA%E8%AF%BB"),
        ("https://x/y?a=1,b=2", "https://x/y?a=1,b=2"),
        ("!~/:;,=&", "!~/:;,=&"),
        ("\u{7f}", "%7F"),
        ("", ""),
    ] {
        assert_eq!(percent_encode(value), header);
        assert_eq!(percent_decode_header(header.as_bytes()).unwrap(), value);
    }
}

#[test]
fn header_values_are_decoded_tolerantly_but_once() {
    for (header, want) in [
        ("%41%e7%a3%81", "A磁"),
        ("%2541", "%41"),
        ("100%", "100%"),
        ("5%zz %4", "5%zz %4"),
        ("%%41", "%A"),
        ("\"a b\"", "a b"),
        (r#""a \"b\" \\ c""#, r#"a "b" \ c"#),
        (r#""%41""#, "A"),
        (r#""a" or "b""#, r#""a" or "b""#),
        (r#""open"#, r#""open"#),
        (r#""escaped end\""#, r#""escaped end\""#),
        ("\"", "\""),
        ("\"\"", ""),
        ("磁盘", "磁盘"),
        ("  padded\t", "padded"),
    ] {
        assert_eq!(
            percent_decode_header(header.as_bytes()).unwrap(),
            want,
            "{header}"
        );
    }
    for bad in [
        b"%C0%A0".as_slice(),
        b"%ED%A0%80",
        b"%FF",
        b"\xff",
        b"ab%E7%A3",
    ] {
        assert!(percent_decode_header(bad).is_err(), "{bad:?}");
    }
    assert!(
        percent_decode_header(b"ab%FF")
            .unwrap_err()
            .to_string()
            .contains("byte 2")
    );
}

#[test]
fn times_follow_the_grammar() {
    for (text, ms) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T08:00:00+08:00", 0),
        ("1970-01-01T00:00:00-00:00", 0),
        ("1970-01-01T00:00:00.1Z", 100),
        ("1970-01-01T00:00:00.123456789Z", 123),
        ("1970-01-01T00:00:00.123456789123456Z", 123),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
    ] {
        assert_eq!(parse_timestamp_ms(text), Some(ms), "{text}");
    }
    assert!(
        parse_timestamp_ms("2016-12-31T23:59:60Z").is_some(),
        "leap second"
    );
    assert!(parse_timestamp_ms("0000-01-01T00:00:00+23:59").is_some());
    assert!(parse_timestamp_ms("9999-12-31T23:59:59.999999999-23:59").is_some());
    for bad in [
        "",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-01-01 00:00:00Z",
        "2024-01-01T00:00Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00+0800",
        "2024-01-01T00:00:00+08",
        "2024-13-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:00:00\u{2212}08:00",
        "2024-01-01T00:00:00Z ",
        " 2024-01-01T00:00:00Z",
        "+2024-01-01T00:00:00Z",
        "2024-01-01T00:00:00+24:00",
        "2024-1-1T00:00:00Z",
        "磁盘磁盘磁盘磁盘",
        "2024-01-01T00:00:61Z",
        "2024-01-01T00:00:00ZZ",
    ] {
        assert_eq!(parse_timestamp_ms(bad), None, "{bad}");
    }
    assert_eq!(timestamp(i64::MAX), None);
    assert_eq!(
        timestamp(253_402_300_799_999).as_deref(),
        Some("9999-12-31T23:59:59.999Z")
    );
    assert_eq!(
        timestamp(-62_167_219_200_000).as_deref(),
        Some("0000-01-01T00:00:00.000Z")
    );
}

#[test]
fn uris_are_told_apart() {
    for good in [
        "/a/b",
        "cvm.cloud.tencent",
        "a",
        "urn:x:y",
        "https://x.example:80/a?b=c#d",
        "mailto:a@b",
        "?q",
        "#f",
        "//host/path",
        "http://[::1]:8080/",
        "http://u:p@host/",
        "a/b:c",
        "%41",
        "",
    ] {
        assert_eq!(uri_reference(good), !good.is_empty(), "{good}");
    }
    for bad in [
        "a b",
        "磁盘",
        "1a:b",
        ":a",
        "%4",
        "%zz",
        "a#b#c",
        "a[1]",
        "a\"b",
        "<a>",
        "a|b",
        "a\\b",
        "{a}",
        "a^b",
        "`",
        "http://host:port/",
        "http://[::1",
        "http://a]b/",
        "//[x]y",
    ] {
        assert!(!uri_reference(bad), "{bad}");
    }
    for (uri, want) in [
        ("https://x/y", true),
        ("urn:a", true),
        ("/x", false),
        ("x", false),
        ("x:", false),
        ("", false),
    ] {
        assert_eq!(absolute_uri(uri), want, "{uri}");
    }
}

#[test]
fn media_types_are_told_apart() {
    for good in [
        "application/json",
        "TEXT/plain",
        "text/plain; charset=utf-8",
        "text/plain;charset=\"utf-8\"",
        "text/plain;",
        "text/plain; ; a=b",
        "multipart/x; a=\"\\\"; b=c\"; d=e",
        "a/b+c",
        "text/plain ; a=b ",
    ] {
        assert!(media_type(good), "{good}");
    }
    for bad in [
        "",
        "json",
        "/",
        "a/",
        "/b",
        "a b/c",
        "a/b/c",
        "text/plain; charset",
        "text/plain; a=",
        "text/plain; a=\"b",
        "text/plain; =b",
        "text/plain; a=\"b\"c",
        "文/本",
        "a/b\n",
    ] {
        assert!(!media_type(bad), "{bad:?}");
    }
    for (text, want) in [
        ("application/json", true),
        ("Text/JSON; a=b", true),
        ("a/x+JSON", true),
        ("a/+json", true),
        ("a/jsonx", false),
        ("json", false),
        ("a/xjson", false),
        ("a/磁盘json", false),
        ("", false),
    ] {
        assert_eq!(is_json(text), want, "{text}");
    }
}

#[test]
fn names_and_strings_are_checked() {
    for (name, want) in [
        ("a", true),
        ("0", true),
        ("abc123", true),
        ("", false),
        ("A", false),
        ("a-b", false),
        ("a_b", false),
        ("ä", false),
    ] {
        assert_eq!(legal_name(name), want, "{name}");
    }
    for bad in [
        '\u{0}',
        '\u{1f}',
        '\u{7f}',
        '\u{9f}',
        '\u{fdd0}',
        '\u{fdef}',
        '\u{fffe}',
        '\u{ffff}',
        '\u{1fffe}',
        '\u{10ffff}',
    ] {
        assert!(!legal_string(&format!("a{bad}")), "{bad:?}");
    }
    for good in [
        ' ',
        '~',
        '\u{a0}',
        '\u{fdcf}',
        '\u{fdf0}',
        '\u{fffd}',
        '\u{1fffd}',
        '磁',
    ] {
        assert!(legal_string(&format!("a{good}")), "{good:?}");
    }
}

#[test]
fn traceparents_are_valid_or_absent() {
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let parsed = parse_traceparent(good).unwrap();
    assert_eq!(parsed.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((parsed.parent_id, parsed.flags), ("00f067aa0ba902b7", 1));
    assert!(valid_traceparent(
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-more"
    ));
    assert!(valid_traceparent(
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    ));
    for bad in [
        "",
        "00",
        "磁盘",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
        "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
    ] {
        assert!(!valid_traceparent(bad), "{bad}");
    }
}
