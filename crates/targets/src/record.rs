//! What of a request and an answer may be kept.
//!
//! Records are read by people who may not know the target's secrets, so that whatever is or may be one is masked:
//! headers and query parameters by their names, path segments by their looks (the address of a chat bot or an
//! incoming hook is its credential), and the target's own secrets wherever a receiver echoes them.

use std::borrow::Cow;
use std::fmt;

use belfry_egress::{HeaderMap, StatusCode, Url};

use url::form_urlencoded;

use crate::secret::MASK;
use crate::target::{RequestRecord, ResponseRecord};

/// Most bytes of a request's body that are kept.
pub(crate) const REQUEST_BODY_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of an answer's body that are kept.
pub(crate) const RESPONSE_BODY_BYTES_MAX: usize = 4 * 1024;
/// Most headers of an answer that are kept.
const RESPONSE_HEADERS_MAX: usize = 32;
/// Most bytes of an answer's headers that are kept.
const RESPONSE_HEADER_BYTES_MAX: usize = 8 * 1024;

/// What every delivery has and whose names tell of no secret; looking closer would take longer than all the rest.
const PLAIN_HEADERS: [&str; 4] = [
    "content-type",
    "user-agent",
    "webhook-timestamp",
    "traceparent",
];

/// Whether a header or setting of this name holds a secret.
pub(crate) fn sensitive_name(name: &str) -> bool {
    const PARTS: [&str; 9] = [
        "auth",
        "token",
        "secret",
        "key",
        "cookie",
        "password",
        "passwd",
        "credential",
        "signature",
    ];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
}

/// Whether a query parameter of this name holds a secret.
pub(crate) fn sensitive_parameter(name: &str) -> bool {
    sensitive_name(name)
        || ["sig", "sign", "code", "pwd", "pass"]
            .iter()
            .any(|word| name.eq_ignore_ascii_case(word))
}

/// A URL without what may be secret in it.
pub(crate) fn shown_url(url: &Url) -> String {
    let mut shown = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        shown.push(':');
        shown.push_str(&port.to_string());
    }
    for segment in url.path_segments().into_iter().flatten() {
        shown.push('/');
        if looks_like_token(segment) {
            shown.extend(segment.chars().take(4));
            shown.push_str(MASK);
        } else {
            shown.push_str(segment);
        }
    }
    for (n, pair) in query_pairs(url).enumerate() {
        shown.push(if n == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if sensitive_pair(pair) => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(MASK);
            }
            // A query that is nothing but a value.
            None if looks_like_token(pair) => shown.push_str(MASK),
            _ => shown.push_str(pair),
        }
    }
    shown
}

/// The parts of a query as they are written.
fn query_pairs(url: &Url) -> impl Iterator<Item = &str> {
    url.query().into_iter().flat_map(|query| query.split('&'))
}

/// Whether a part of a query is named like a secret, however the name is written.
fn sensitive_pair(pair: &str) -> bool {
    form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| sensitive_parameter(&name))
}

/// The same for a text that may be no URL; such a text is not shown at all.
pub(crate) fn shown_url_text(text: &str) -> String {
    Url::parse(text).map_or_else(|_| MASK.to_owned(), |url| shown_url(&url))
}

/// Long, with letters and digits mixed: random rather than chosen by a person.
fn looks_like_token(text: &str) -> bool {
    text.len() >= 20
        && text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}

/// The target's secrets, to be found again in what a receiver answers.
#[derive(Clone, Default)]
pub(crate) struct Scrub(Vec<String>);

impl fmt::Debug for Scrub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl Scrub {
    /// Shorter secrets are not looked for: they would be found in innocent text.
    const BYTES_MIN: usize = 6;

    /// Adds a secret.
    pub(crate) fn add(&mut self, secret: &str) {
        if secret.len() >= Self::BYTES_MIN {
            self.0.push(secret.to_owned());
        }
    }

    /// Adds what is secret in a URL, as it is written there and as it reads.
    pub(crate) fn add_url(&mut self, url: &Url) {
        for segment in url.path_segments().into_iter().flatten() {
            if looks_like_token(segment) {
                self.add(segment);
            }
        }
        for pair in query_pairs(url) {
            match pair.split_once('=') {
                Some((_, written)) if sensitive_pair(pair) => {
                    self.add(written);
                    for (_, value) in form_urlencoded::parse(pair.as_bytes()) {
                        self.add(&value);
                    }
                }
                None if looks_like_token(pair) => self.add(pair),
                _ => {}
            }
        }
    }

    /// The text with every secret masked.
    pub(crate) fn clean(&self, mut text: String) -> String {
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        text
    }
}

/// The record of a request. `shown_url` has its secrets masked already; `secret_headers` are masked besides those whose names tell (names in lower case).
pub(crate) fn request_record(
    method: &str,
    shown_url: &str,
    headers: &HeaderMap,
    secret_headers: &[String],
    body: &[u8],
    body_is_event: bool,
) -> RequestRecord {
    let headers = headers
        .iter()
        .map(|(name, value)| {
            let (name, value) = (name.as_str(), shown_bytes(value.as_bytes()));
            let shown = if name == "webhook-signature" {
                value
                    .split(' ')
                    .map(shortened_signature)
                    .collect::<Vec<_>>()
                    .join(" ")
            } else if name == "webhook-id"
                || !(secret_headers.iter().any(|n| n == name)
                    || (!PLAIN_HEADERS.contains(&name) && sensitive_name(name)))
            {
                value.into_owned()
            } else {
                MASK.to_owned()
            };
            (name.to_owned(), shown)
        })
        .collect();
    RequestRecord {
        method: method.to_owned(),
        url: shown_url.to_owned(),
        headers,
        body_bytes: body.len(),
        body: (!body_is_event).then(|| lossy(body, REQUEST_BODY_BYTES_MAX)),
        body_is_event,
    }
}

/// Enough of a signature to compare it by eye, too little to use it.
fn shortened_signature(token: &str) -> String {
    let mut shown: String = token.chars().take(12).collect();
    shown.push('…');
    shown
}

/// The record of an answer, or of its beginning.
pub(crate) fn response_record(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    truncated: bool,
    scrub: &Scrub,
) -> ResponseRecord {
    let mut room = RESPONSE_HEADER_BYTES_MAX;
    let mut kept = Vec::new();
    for (name, value) in headers.iter().take(RESPONSE_HEADERS_MAX) {
        let shown = if name == "set-cookie" {
            MASK.to_owned()
        } else {
            scrub.clean(lossy(value.as_bytes(), room))
        };
        let bytes = name.as_str().len() + shown.len();
        if bytes > room {
            break;
        }
        room -= bytes;
        kept.push((name.as_str().to_owned(), shown));
    }
    // Cleaned before it is cut, so that no half of a secret is left at the end.
    let text = scrub.clean(shown_bytes(body).into_owned());
    let cut = text.len() > RESPONSE_BODY_BYTES_MAX;
    ResponseRecord {
        status: status.as_u16(),
        headers: kept,
        body: cut_text(text, RESPONSE_BODY_BYTES_MAX),
        truncated: truncated || cut,
        bytes: body.len(),
    }
}

/// The first bytes as text; what is not UTF-8 is replaced.
pub(crate) fn lossy(bytes: &[u8], max: usize) -> String {
    // A character more than wanted, so that one cut in two is dropped by the cut below rather than replaced.
    let some = bytes.get(..bytes.len().min(max + 4)).unwrap_or_default();
    cut_text(shown_bytes(some).into_owned(), max)
}

/// As text; what is not UTF-8 is replaced. Nearly always nothing has to be.
fn shown_bytes(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

fn cut_text(mut text: String, max: usize) -> String {
    text.truncate(text.floor_char_boundary(max));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for (url, shown) in [
            ("https://example.com/hook", "https://example.com/hook"),
            (
                "https://example.com:8443/a?x=1&access_token=abc",
                "https://example.com:8443/a?x=1&access_token=********",
            ),
            (
                "https://example.com/?KEY=abc&sign=d&sig=e&Token=f",
                "https://example.com/?KEY=********&sign=********&sig=********&Token=********",
            ),
            (
                "https://hooks.slack.com/services/T000/B000/abcd1234efgh5678ijkl9012",
                "https://hooks.slack.com/services/T000/B000/abcd********",
            ),
            (
                "https://example.com/?%61ccess_t%6Fken=abc",
                "https://example.com/?%61ccess_t%6Fken=********",
            ),
            (
                "https://example.com/?0123456789abcdef0123",
                "https://example.com/?********",
            ),
        ] {
            assert_eq!(shown_url_text(url), shown);
        }
        assert_eq!(shown_url_text("no url: s3cret"), MASK);
    }

    #[test]
    fn an_answer_is_kept_in_part_and_without_secrets() {
        let mut scrub = Scrub::default();
        scrub.add("hunter2-hunter2");
        scrub.add("ab");
        let mut headers = HeaderMap::new();
        headers.insert("set-cookie", "session=1".parse().unwrap());
        headers.insert("x-echo", "Basic hunter2-hunter2".parse().unwrap());
        for n in 0..40 {
            headers.append("x-many", n.into());
        }
        let body = format!("{}hunter2-hunter2{}", "磁".repeat(1363), "ab".repeat(4000));
        let record = response_record(StatusCode::OK, &headers, body.as_bytes(), false, &scrub);
        assert_eq!(record.headers.len(), RESPONSE_HEADERS_MAX);
        assert_eq!(
            record.headers[0],
            ("set-cookie".to_owned(), MASK.to_owned())
        );
        assert_eq!(
            record.headers[1],
            ("x-echo".to_owned(), format!("Basic {MASK}"))
        );
        assert!(record.truncated && record.body.len() <= RESPONSE_BODY_BYTES_MAX);
        assert!(!record.body.contains("hunter"));
        assert_eq!(record.bytes, body.len());
    }

    #[test]
    fn records_round_trip_through_json() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer abc".parse().unwrap());
        headers.insert("webhook-id", "dlv_1".parse().unwrap());
        headers.insert(
            "webhook-signature",
            "v1,AAAAAAAAAAAAAAAAAAAA v1a,BBBBBBBBBBBBBBBBB"
                .parse()
                .unwrap(),
        );
        let record = request_record(
            "POST",
            "https://example.com/a",
            &headers,
            &[],
            "磁盘".as_bytes(),
            false,
        );
        assert_eq!(
            record.headers,
            [
                ("authorization".to_owned(), MASK.to_owned()),
                ("webhook-id".to_owned(), "dlv_1".to_owned()),
                (
                    "webhook-signature".to_owned(),
                    "v1,AAAAAAAAA… v1a,BBBBBBBB…".to_owned()
                ),
            ]
        );
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["bodyBytes"], 6);
        assert_eq!(json["bodyIsEvent"], false);
        assert_eq!(
            serde_json::from_value::<RequestRecord>(json).unwrap(),
            record
        );
    }
}
