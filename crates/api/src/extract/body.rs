//! Bodies: bounded in size and in time, before anything looks at them.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, HeaderValue};
use belfry_app::Fault;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::sole;
use crate::problem::Problem;
use crate::{ApiSettings, Shared};

/// Most that is read of a body that is refused for its size.
const DISCARD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest time for that.
const DISCARD_TIME: Duration = Duration::from_secs(2);
/// Most memory that is taken for a body before it is there.
const RESERVE_BYTES_MAX: usize = 64 * 1024;

/// A JSON body, as it was sent.
#[derive(Debug)]
pub(crate) struct JsonBody(pub(crate) Bytes);

/// A JSON body that may be left out.
#[derive(Debug)]
pub(crate) struct OptionalJsonBody(pub(crate) Bytes);

impl FromRequest<Shared> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        must_be_json(request.headers())?;
        let max = state.settings.body_bytes_max;
        let body = read_body(request, max, &state.settings).await?;
        must_be_text(&body)?;
        Ok(Self(body))
    }
}

impl FromRequest<Shared> for OptionalJsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        let kind = must_be_json(request.headers());
        let body = read_body(request, state.settings.body_bytes_max, &state.settings).await?;
        if !body.is_empty() {
            kind?;
            must_be_text(&body)?;
        }
        Ok(Self(body))
    }
}

fn must_be_json(headers: &HeaderMap) -> Result<(), Problem> {
    let sent = sole(headers, &CONTENT_TYPE)?
        .map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    let essence = sent
        .as_deref()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    match essence.as_str() {
        "application/json" | "application/merge-patch+json" => Ok(()),
        "" => Err(unsupported(
            "the request has no content type; send application/json",
        )),
        other => {
            let shown: String = other.chars().take(100).collect();
            Err(unsupported(&format!(
                "content type {shown} is not taken here; send application/json"
            )))
        }
    }
}

/// Says of what the parser would only call no value what it is.
pub(crate) fn must_be_text(body: &[u8]) -> Result<(), Problem> {
    let detail = match body {
        [] => "the body is empty; expected JSON",
        [0xef, 0xbb, 0xbf, ..] => {
            "the body begins with a byte order mark (EF BB BF); send the JSON without it"
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the body is UTF-16; JSON is sent as UTF-8",
        _ => return Ok(()),
    };
    Err(Problem::new("INVALID_JSON", detail).with_errors(vec![Fault::new("", detail)]))
}

/// A compressed body would be taken for damaged JSON, or stored as it is.
fn must_be_plain(headers: &HeaderMap) -> Result<(), Problem> {
    let coded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if !coded {
        return Ok(());
    }
    let problem =
        unsupported("a body with Content-Encoding is not taken; send it without compression");
    Err(problem.with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

fn unsupported(detail: &str) -> Problem {
    Problem::new("UNSUPPORTED_MEDIA_TYPE", detail)
}

/// What is still on its way when the answer is known is read and thrown away, within limits: most clients look for an
/// answer only after they have sent everything, and a connection closed before that hides it from them.
async fn discard(body: &mut Body) {
    let read = async {
        let mut left = DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // Out of time or not: the answer is the same.
    let _elapsed = timeout(DISCARD_TIME, read).await;
}

/// Reads a body of at most `max` bytes that arrives within the deadline.
pub(crate) async fn read_body(
    request: Request,
    max: usize,
    settings: &ApiSettings,
) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            "TOO_LARGE",
            format!("the body may have at most {max} bytes"),
        )
    };
    let headers = request.headers();
    must_be_plain(headers)?;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    // Who waits for a "continue" has not sent anything yet and is told before it does.
    let waits = headers.contains_key(EXPECT);
    let mut body = request.into_body();
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > max)) {
        if !waits {
            discard(&mut body).await;
        }
        return Err(too_large());
    }
    match timeout(settings.body_deadline, collect(&mut body, announced, max)).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => {
            discard(&mut body).await;
            Err(too_large())
        }
        Ok(Err(_)) => Err(Problem::at(
            "",
            "the body ends too early, or its chunks (Transfer-Encoding) are malformed",
        )),
        Err(_) => Err(Problem::new(
            "BODY_TIMEOUT",
            format!(
                "the body did not arrive within {} seconds",
                settings.body_deadline.as_secs()
            ),
        )),
    }
}

/// The whole body; `None` when it is larger than allowed.
///
/// It is a copy, also of a body that comes in one piece: that is a part of its connection's buffer of 8 KB and more, which
/// would stay in memory as long as the event and could not be read into again.
async fn collect(
    body: &mut Body,
    announced: Option<u64>,
    max: usize,
) -> Result<Option<Bytes>, axum::Error> {
    let announced = announced.and_then(|length| usize::try_from(length).ok());
    let mut all = Vec::with_capacity(announced.unwrap_or_default().min(RESERVE_BYTES_MAX));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if all.len() + data.len() > max {
            return Ok(None);
        }
        all.extend_from_slice(&data);
    }
    Ok(Some(Bytes::from(all)))
}
