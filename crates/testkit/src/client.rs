//! A small HTTP client for one credential.

use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

/// No answer takes longer unless something hangs; said otherwise by [`Client::with_timeout`].
const TIMEOUT: Duration = Duration::from_secs(30);

/// Talks to one server with one credential, or none.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    key: Option<String>,
    timeout: Duration,
    http: reqwest::Client,
}

impl Client {
    /// A client of the server at `base`, such as `http://127.0.0.1:7311`.
    pub fn new(base: &str, key: Option<&str>) -> Result<Self> {
        static PROVIDER: Once = Once::new();
        // reqwest is built without a cryptography provider of its own. A second one in the process is no harm.
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .context("the test's HTTP client")?;
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            key: key.map(str::to_owned),
            timeout: TIMEOUT,
            http,
        })
    }

    /// The same server with another credential, or none.
    #[must_use]
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self {
            base: self.base.clone(),
            key: key.map(str::to_owned),
            timeout: self.timeout,
            http: self.http.clone(),
        }
    }

    /// The same with another limit for each answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Sends any request; the credential is added.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let mut request = self
            .http
            .request(method.clone(), self.url(path))
            .timeout(self.timeout)
            .body(body.into());
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let what = || format!("{method} {path}");
        let response = request.send().await.with_context(what)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.with_context(what)?;
        Ok(Answer {
            request: what(),
            status,
            headers,
            body,
        })
    }

    /// Reads something.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.json(Method::POST, path, body).await
    }

    /// Puts JSON.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.json(Method::PUT, path, body).await
    }

    /// Deletes something.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(Method::DELETE, path, &[], Bytes::new()).await
    }

    /// Posts an event to a bus in its structured form.
    pub async fn post_event(&self, bus: &str, event: &Value) -> Result<Answer> {
        let headers = [("content-type", "application/cloudevents+json")];
        let path = format!("/v1/buses/{bus}/events");
        self.send(Method::POST, &path, &headers, event.to_string())
            .await
    }

    async fn json(&self, method: Method, path: &str, body: &Value) -> Result<Answer> {
        self.send(
            method,
            path,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was asked, for messages.
    request: String,
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A header's value as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text, for messages and searches.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{}: no JSON: {}", self.request, self.text()))
    }

    /// The body as JSON of an answer with this status; any other status is an error that shows the body.
    pub fn expect(&self, status: u16) -> Result<Value> {
        if self.status.as_u16() != status {
            bail!(
                "{}: expected {status}, got {}: {}",
                self.request,
                self.status,
                self.text()
            );
        }
        if self.body.is_empty() {
            Ok(Value::Null)
        } else {
            self.json()
        }
    }

    /// The problem document of an answer with this status and this code; checks what every problem document has.
    pub fn problem(&self, status: u16, code: &str) -> Result<Value> {
        let problem = self.expect(status)?;
        let what = format!("{}: {problem}", self.request);
        ensure!(
            self.header("content-type") == Some("application/problem+json"),
            "no problem: {what}"
        );
        ensure!(
            problem["status"] == status,
            "status of the document: {what}"
        );
        ensure!(problem["code"] == code, "expected code {code}: {what}");
        for member in ["type", "title", "detail", "requestId"] {
            ensure!(
                problem[member]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{member}: {what}"
            );
        }
        Ok(problem)
    }
}
