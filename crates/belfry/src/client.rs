//! The command line's HTTP client.
//!
//! It talks to the one server the user named, with the user's own key, so no egress policy applies; what servers send
//! on behalf of others goes through `belfry-egress` instead. Requests are repeated only when the server says so (429,
//! 503) or could not be reached, and only where the caller allows it.

pub mod problem;
pub mod sse;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use url::Url;

use crate::failure::{Context as _, Failure, Result, chain};
use crate::settings::DEFAULT_PORT;

/// Which server, and who asks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct ClientArgs {
    /// URL of the server.
    #[arg(long, env = "BELFRY_URL", default_value_t = format!("http://127.0.0.1:{DEFAULT_PORT}"), value_name = "URL")]
    pub url: String,
    /// API key.
    #[arg(
        long,
        env = "BELFRY_API_KEY",
        hide_env_values = true,
        value_name = "KEY",
        conflicts_with = "api_key_file"
    )]
    pub api_key: Option<String>,
    /// File that holds the API key.
    #[arg(long, env = "BELFRY_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
}

/// A request to the server.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    /// A request without body. `path` begins with `/` and is used as it is: see [`segment`].
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }
    /// `GET`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }
    /// Adds a parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }
    /// Adds a parameter if there is a value.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }
    /// Sets the body.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = body.into();
        self
    }
    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }
    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .context("the server's answer is no JSON (is this a Belfry server?)")
    }
    /// What `Retry-After` says, in seconds; only that form is used by our server.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self
            .headers
            .get(RETRY_AFTER)?
            .to_str()
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()?;
        Some(Duration::from_secs(seconds.min(300)))
    }
}

/// Longest answer that is read: a page of history with bodies stays far below.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// Talks to one server.
#[derive(Debug, Clone)]
pub struct Client {
    base: Url,
    key: Option<HeaderValue>,
    http: Legacy<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    /// From what the user gave.
    pub fn new(args: &ClientArgs) -> Result<Self> {
        let base = Url::parse(&args.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                Failure::usage(format!(
                    "--url: expected a URL such as http://127.0.0.1:{DEFAULT_PORT}, got {:?}",
                    args.url
                ))
            })?;
        let key = match (&args.api_key, &args.api_key_file) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(path)) => Some(
                std::fs::read_to_string(path)
                    .context(format!("--api-key-file {}", path.display()))?,
            ),
            (None, None) => None,
        };
        let key = key
            .map(|key| {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
                    .map_err(|_| Failure::usage("the API key holds characters that no key has"))?;
                value.set_sensitive(true);
                Ok::<_, Failure>(value)
            })
            .transpose()?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .try_with_platform_verifier()
            .context("TLS cannot be set up")?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = Legacy::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { base, key, http })
    }

    /// The server's address, for messages.
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>> {
        let mut url = self.base.clone();
        let path = format!("{}{}", self.base.path().trim_end_matches('/'), call.path);
        url.set_path(&path);
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut request = Request::builder().method(&call.method).uri(url.as_str());
        if let Some(headers) = request.headers_mut() {
            headers.extend(call.headers.clone());
            headers.insert(
                USER_AGENT,
                HeaderValue::from_static(concat!("belfry-cli/", env!("CARGO_PKG_VERSION"))),
            );
            if let Some(key) = &self.key {
                headers.insert(AUTHORIZATION, key.clone());
            }
        }
        request
            .body(Full::new(call.body.clone()))
            .context("the request cannot be made")
    }

    /// Sends it once and reads the whole answer, whatever its status.
    pub async fn send(&self, call: &Call) -> Result<Answer> {
        let request = self.request(call)?;
        let exchange = async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|error| self.unreachable(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|error| {
                    Failure::failed(format!("the answer of {} broke off: {error}", self.base()))
                })?;
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        tokio::time::timeout(ANSWER_TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| {
                Err(Failure::failed(format!(
                    "{} did not answer within {} s",
                    self.base(),
                    ANSWER_TIMEOUT.as_secs()
                )))
            })
    }

    /// Sends it once; an answer that is no success is a failure.
    pub async fn call(&self, call: &Call) -> Result<Answer> {
        let answer = self.send(call).await?;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(problem::failure(&answer, self.key.is_some()))
        }
    }

    /// The answer as JSON.
    pub async fn value(&self, call: &Call) -> Result<Value> {
        self.call(call).await?.json()
    }

    /// `None` when there is no such thing.
    pub async fn find(&self, call: &Call) -> Result<Option<Answer>> {
        let answer = self.send(call).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(answer)),
            _ => Err(problem::failure(&answer, self.key.is_some())),
        }
    }

    /// A stream of server-sent events; headers only, within the usual time.
    pub async fn open(&self, call: &Call) -> Result<Incoming> {
        let call = call
            .clone()
            .header("accept", HeaderValue::from_static("text/event-stream"));
        let request = self.request(&call)?;
        let response = tokio::time::timeout(ANSWER_TIMEOUT, self.http.request(request))
            .await
            .map_err(|_| Failure::failed(format!("{} did not answer", self.base())))?
            .map_err(|error| self.unreachable(&error))?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let body = Limited::new(body, ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
        Err(problem::failure(
            &Answer {
                status: head.status,
                headers: head.headers,
                body,
            },
            self.key.is_some(),
        ))
    }

    fn unreachable(&self, error: &hyper_util::client::legacy::Error) -> Failure {
        let failure = Failure::failed(format!(
            "{} cannot be reached: {}",
            self.base(),
            chain(error)
        ))
        .transient();
        if error.is_connect() {
            failure.hint("is the server running there? Start one with `belfry serve`, or name another with --url or BELFRY_URL")
        } else {
            failure
        }
    }
}

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}
