//! Tokens by OAuth 2.0 client credentials: fetched once for many deliveries, renewed before they run out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use belfry_egress::{EgressClient, HeaderMap, HeaderValue, Method, Request, Url};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::form_urlencoded;

use super::config::ClientAuth;

/// How long a token is taken for good when its maker does not say.
const LIFETIME_DEFAULT: Duration = Duration::from_mins(5);
/// No maker's word is taken for longer than this.
const LIFETIME_MAX: Duration = Duration::from_hours(24);
/// How long before its end a token is renewed; for short-lived ones a tenth of their life.
const MARGIN_MAX: Duration = Duration::from_mins(1);
/// How long a failure is the answer to everybody, so that waiting deliveries do not all ask in turn.
const FAILURE_KEPT: Duration = Duration::from_secs(2);
/// The most bytes of an answer; tokens with many claims reach several KiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Gives out tokens; one request at a time, however many ask.
pub(crate) struct TokenSource {
    request: Request,
    egress: Arc<EgressClient>,
    kept: Mutex<Kept>,
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

/// A token, ready to be a header.
#[derive(Clone)]
pub(crate) struct Token {
    /// `Bearer ...`, marked sensitive.
    pub(crate) header: HeaderValue,
    /// The token itself, to be found again in answers.
    pub(crate) text: Arc<str>,
}

enum Kept {
    Nothing,
    Token { token: Token, until: Instant },
    Failure { detail: String, until: Instant },
}

/// What a client shows and asks for.
pub(crate) struct Credentials<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) client_secret: &'a str,
    pub(crate) scope: Option<&'a str>,
    pub(crate) audience: Option<&'a str>,
    pub(crate) client_auth: ClientAuth,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    token_type: Option<String>,
    /// A number by the standard, a text with some makers.
    #[serde(default)]
    expires_in: Value,
}

impl TokenSource {
    /// Asks `url` for tokens, each time within `timeout`.
    pub(crate) fn new(
        url: Url,
        credentials: &Credentials<'_>,
        user_agent: Option<HeaderValue>,
        egress: Arc<EgressClient>,
        timeout: Duration,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert("accept", HeaderValue::from_static("application/json"));
        if let Some(value) = user_agent {
            headers.insert("user-agent", value);
        }
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        for (name, value) in [
            ("scope", credentials.scope),
            ("audience", credentials.audience),
        ] {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        match credentials.client_auth {
            ClientAuth::Body => {
                form.append_pair("client_id", credentials.client_id);
                form.append_pair("client_secret", credentials.client_secret);
            }
            ClientAuth::Header => {
                if let Some(value) = basic(
                    &encoded(credentials.client_id),
                    &encoded(credentials.client_secret),
                ) {
                    headers.insert("authorization", value);
                }
            }
        }
        let request = Request {
            method: Method::POST,
            url,
            headers,
            body: Bytes::from(form.finish()),
            timeout,
            response_bytes_max: ANSWER_BYTES_MAX,
        };
        Self {
            request,
            egress,
            kept: Mutex::new(Kept::Nothing),
        }
    }

    /// A token, kept or new, and whether it is new. The error is for people and holds no secrets.
    pub(crate) async fn token(&self) -> Result<(Token, bool), String> {
        // Held while asking: whoever comes meanwhile waits and takes what comes back.
        let mut kept = self.kept.lock().await;
        match &*kept {
            Kept::Token { token, until } if Instant::now() < *until => {
                return Ok((token.clone(), false));
            }
            Kept::Failure { detail, until } if Instant::now() < *until => {
                return Err(detail.clone());
            }
            _ => {}
        }
        match self.fetch().await {
            Ok((token, lifetime)) => {
                let until = Instant::now() + lifetime.saturating_sub(MARGIN_MAX.min(lifetime / 10));
                *kept = Kept::Token {
                    token: token.clone(),
                    until,
                };
                Ok((token, true))
            }
            Err(detail) => {
                *kept = Kept::Failure {
                    detail: detail.clone(),
                    until: Instant::now() + FAILURE_KEPT,
                };
                Err(detail)
            }
        }
    }

    /// Drops a token that the receiver refused, unless another one has taken its place.
    pub(crate) async fn forget(&self, refused: &Token) {
        let mut kept = self.kept.lock().await;
        if matches!(&*kept, Kept::Token { token, .. } if token.text == refused.text) {
            *kept = Kept::Nothing;
        }
    }

    async fn fetch(&self) -> Result<(Token, Duration), String> {
        let answer = self
            .egress
            .send(self.request.clone())
            .await
            .map_err(|error| format!("no token: {}", error.detail))?;
        let status = answer.status.as_u16();
        if !answer.status.is_success() {
            let code = error_code(&answer.body)
                .map(|code| format!(" ({code})"))
                .unwrap_or_default();
            return Err(format!("no token: the token URL answered {status}{code}"));
        }
        // Errors of the parser may quote the token, so that they are not passed on.
        let answer: Answer = serde_json::from_slice(&answer.body).map_err(|_| {
            format!("no token: the token URL answered {status} without an access_token")
        })?;
        if answer
            .token_type
            .is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer"))
        {
            return Err("no token: expected one of token_type Bearer".to_owned());
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {}", answer.access_token))
            .map_err(|_| "no token: it cannot stand in a header".to_owned())?;
        header.set_sensitive(true);
        let seconds = match &answer.expires_in {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let lifetime = seconds
            .map_or(LIFETIME_DEFAULT, Duration::from_secs)
            .min(LIFETIME_MAX);
        Ok((
            Token {
                header,
                text: answer.access_token.into(),
            },
            lifetime,
        ))
    }
}

/// `Authorization: Basic`, marked sensitive.
pub(crate) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!(
        "Basic {}",
        STANDARD.encode(format!("{user}:{password}"))
    ))
    .ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// RFC 6749 has id and secret form-encoded before they become a user name and a password.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The standard's error code, if it looks like one; descriptions may quote what was sent.
fn error_code(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let code = body.get("error")?.as_str()?;
    let plain = code.len() <= 40 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    plain.then(|| code.to_owned())
}
