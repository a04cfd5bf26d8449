//! Putting a request together and sending it.

use std::time::Duration;

use async_trait::async_trait;
use belfry_egress::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use belfry_model::delivery::Reason;
use bytes::Bytes;

use super::connect::Webhook;
use super::form::{Formed, form};
use super::handshake;
use super::oauth::Token;
use crate::answer::{judge, judge_failure};
use crate::record::{request_record, response_record};
use crate::secret::MASK;
use crate::target::{Attempted, Handshake, Job, RequestRecord, Target, Verdict};

/// The status by which a receiver refuses a token.
const UNAUTHORIZED: u16 = 401;

impl Webhook {
    /// The token for one attempt, and whether it is new.
    async fn token(&self) -> Result<Option<(Token, bool)>, String> {
        let Some(tokens) = &self.tokens else {
            return Ok(None);
        };
        // Waiting for somebody else's request counts as well.
        match tokio::time::timeout(self.token_timeout, tokens.token()).await {
            Ok(token) => token.map(Some),
            Err(_) => Err("no token within the limit".to_owned()),
        }
    }

    /// Every header of a delivery, beginning with those of its body. The signature covers the time, so that this happens
    /// when the request is sent.
    fn headers_for(
        &self,
        job: &Job<'_>,
        mut headers: HeaderMap,
        body: &[u8],
        token: Option<&Token>,
    ) -> HeaderMap {
        // Ours below, and what the client adds.
        headers.reserve(self.headers.len() + 8);
        // Custom headers win: a receiver may insist on `content-type: application/json`.
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        if let Some(token) = token {
            headers.insert("authorization", token.header.clone());
        }
        let id = job.delivery.to_string();
        let timestamp = self.clock.now_ms().div_euclid(1000).to_string();
        let signature = self
            .signer
            .as_ref()
            .map(|signer| signer.signature(&id, &timestamp, body));
        let ours = [
            ("webhook-id", Some(id)),
            ("webhook-timestamp", Some(timestamp)),
            ("webhook-signature", signature),
            ("belfry-replay", job.replay.map(|id| id.to_string())),
            ("traceparent", job.traceparent.clone()),
        ];
        for (name, text) in ours {
            if let Some(Ok(value)) = text.map(|text| HeaderValue::from_str(&text)) {
                headers.insert(name, value);
            }
        }
        headers
    }

    /// A refused token is dropped, so that the next attempt brings a new one. Nothing is sent again here: every
    /// request on the wire is an attempt that somebody can see.
    async fn after_refusal(
        &self,
        status: StatusCode,
        token: Option<&(Token, bool)>,
        verdict: Verdict,
    ) -> Verdict {
        let (Some(tokens), Some((token, fresh))) = (&self.tokens, token) else {
            return verdict;
        };
        if status.as_u16() != UNAUTHORIZED || verdict == Verdict::Delivered {
            return verdict;
        }
        tokens.forget(token).await;
        if *fresh {
            // A brand-new token is refused: another one will not help.
            return verdict;
        }
        let detail = "the receiver answered 401 and the token was not new; the next attempt fetches another one";
        Verdict::Retry {
            reason: Reason::AuthFailed,
            detail: detail.to_owned(),
            retry_after_ms: None,
        }
    }
}

#[async_trait]
impl Target for Webhook {
    async fn deliver(&self, job: &Job<'_>) -> Attempted {
        let Formed {
            body,
            headers,
            is_event,
        } = match form(self.form, job) {
            Ok(formed) => formed,
            Err(detail) => {
                return Attempted::unsent(Verdict::Permanent {
                    reason: Reason::TransformError,
                    detail,
                });
            }
        };
        let token = match self.token().await {
            Ok(token) => token,
            Err(detail) => {
                return Attempted::unsent(Verdict::Retry {
                    reason: Reason::AuthFailed,
                    detail,
                    retry_after_ms: None,
                });
            }
        };
        let known = token.as_ref().map(|(token, _)| token);
        let headers = self.headers_for(job, headers, &body, known);
        let record = request_record(
            self.method.as_str(),
            &self.shown_url,
            &headers,
            &self.secret_headers,
            &body,
            is_event,
        );
        let request = Request {
            method: self.method.clone(),
            url: self.url.clone(),
            headers,
            body,
            timeout: self.request_timeout,
            response_bytes_max: self.response_bytes_max,
        };
        let outcome = self.egress.send(request).await;
        let now_ms = self.clock.now_ms();
        let mut scrub = self.scrub.clone();
        if let Some((token, _)) = &token {
            scrub.add(&token.text);
        }
        let (verdict, answered, duration_ms, response) = match outcome {
            Ok(answer) => {
                let verdict = judge(
                    answer.status,
                    &answer.headers,
                    self.success.as_deref(),
                    now_ms,
                );
                let kept = response_record(
                    answer.status,
                    &answer.headers,
                    &answer.body,
                    answer.truncated,
                    &scrub,
                );
                (verdict, Some(answer.status), answer.duration_ms, Some(kept))
            }
            Err(error) => {
                let verdict = judge_failure(&error, self.success.as_deref(), now_ms);
                let kept = error
                    .answered
                    .as_ref()
                    .map(|begun| response_record(begun.status, &begun.headers, b"", true, &scrub));
                (
                    verdict,
                    error.answered.map(|begun| begun.status),
                    error.duration_ms,
                    kept,
                )
            }
        };
        let verdict = match answered {
            Some(status) => self.after_refusal(status, token.as_ref(), verdict).await,
            None => verdict,
        };
        Attempted {
            status: answered.map(|status| status.as_u16()),
            duration_ms,
            request: Some(record),
            response,
            ..Attempted::unsent(verdict)
        }
    }

    fn timeout(&self) -> Duration {
        let token = if self.tokens.is_some() {
            self.token_timeout
        } else {
            Duration::ZERO
        };
        self.request_timeout + token
    }

    fn preview(&self, job: &Job<'_>) -> Result<Vec<RequestRecord>, String> {
        let Formed {
            body,
            headers,
            is_event,
        } = form(self.form, job)?;
        let mut headers = self.headers_for(job, headers, &body, None);
        if self.tokens.is_some() {
            // A token would have to be fetched, and would be masked.
            headers.insert("authorization", HeaderValue::from_static(MASK));
        }
        let mut record = request_record(
            self.method.as_str(),
            &self.shown_url,
            &headers,
            &self.secret_headers,
            &body,
            is_event,
        );
        record.body = Some(String::from_utf8_lossy(&body).into_owned());
        Ok(vec![record])
    }

    async fn handshake(&self) -> Result<Handshake, String> {
        let Some(settings) = &self.handshake else {
            return Ok(Handshake::default());
        };
        let mut headers = handshake::question(settings);
        if let Some(value) = self.user_agent.clone() {
            headers.insert("user-agent", value);
        }
        let request = Request {
            method: Method::OPTIONS,
            url: self.bare_url.clone(),
            headers,
            body: Bytes::new(),
            timeout: self.request_timeout,
            response_bytes_max: self.response_bytes_max,
        };
        match self.egress.send(request).await {
            Ok(answer) => handshake::consent(settings, answer.status.as_u16(), &answer.headers),
            Err(error) => Err(format!("the receiver could not be asked: {}", error.detail)),
        }
    }
}
