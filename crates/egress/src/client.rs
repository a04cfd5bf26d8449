//! One request, one answer: caps on time and size, no second try.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use belfry_model::delivery::Reason;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::classify::classify;
use crate::error::{Answered, EgressError, SendError};
use crate::policy::EgressPolicy;
use crate::resolve::{Resolver, VettedResolver};
use crate::stream::read_roots;

/// Caps that hold for every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressLimits {
    /// For name, TCP and TLS together.
    pub connect_timeout: Duration,
    /// The most a request may ask for, body of the answer included.
    pub timeout_max: Duration,
    /// The most bytes of an answer's body that are read, whatever a request asks for.
    pub response_bytes_max: usize,
    /// The most bytes of an answer's headers, names and values together.
    pub response_header_bytes_max: usize,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Unused connections kept for one host. With fewer than are sent through at once, new ones are made all the time.
    pub idle_per_host_max: usize,
}

impl Default for EgressLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout_max: Duration::from_mins(5),
            response_bytes_max: 64 * 1024,
            response_header_bytes_max: 32 * 1024,
            // Below the 5 s after which common receivers (Node) close: a request sent into a connection that is
            // just being closed would fail for nothing.
            idle_timeout: Duration::from_secs(4),
            idle_per_host_max: 1000,
        }
    }
}

/// What to send.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to. Checked again before it is used.
    pub url: Url,
    /// The headers; `host` and `content-length` are made here.
    pub headers: HeaderMap,
    /// The body, sent as it is.
    pub body: Bytes,
    /// From the call to the last byte of the answer.
    pub timeout: Duration,
    /// How much of the answer's body is wanted; the rest is not read.
    pub response_bytes_max: usize,
}

impl fmt::Debug for Request {
    /// Leaves out what may be secret: path, query, headers, body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("host", &self.url.host_str())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or its beginning.
    pub body: Bytes,
    /// Whether the body was longer than wanted.
    pub truncated: bool,
    /// From the call to the last byte that was read.
    pub duration_ms: u32,
    /// Who answered.
    pub remote: Option<SocketAddr>,
}

/// Sends requests under a policy. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct EgressClient {
    http: reqwest::Client,
    policy: Arc<EgressPolicy>,
    pub(crate) limits: EgressLimits,
    /// The same that the HTTP client uses.
    pub(crate) resolver: VettedResolver,
    /// Certificates that are trusted beside the platform's.
    pub(crate) roots: Arc<[CertificateDer<'static>]>,
}

impl fmt::Debug for EgressClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressClient")
            .field("policy", &self.policy)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl EgressClient {
    /// A client that trusts the platform's certificates.
    pub fn new(
        policy: EgressPolicy,
        limits: EgressLimits,
        resolver: Arc<dyn Resolver>,
    ) -> Result<Self, EgressError> {
        Self::build(policy, limits, resolver, Vec::new())
    }

    /// A client that trusts the certificates in `roots_pem` as well (a company's own authority).
    pub fn with_roots(
        policy: EgressPolicy,
        limits: EgressLimits,
        resolver: Arc<dyn Resolver>,
        roots_pem: &[u8],
    ) -> Result<Self, EgressError> {
        Self::build(policy, limits, resolver, read_roots(roots_pem)?)
    }

    fn build(
        policy: EgressPolicy,
        limits: EgressLimits,
        resolver: Arc<dyn Resolver>,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, EgressError> {
        // The HTTP client panics when no provider is installed. An error means that one already is.
        drop(rustls::crypto::ring::default_provider().install_default());
        let policy = Arc::new(policy);
        let vetted = VettedResolver {
            resolver,
            policy: Arc::clone(&policy),
        };
        let header_bytes_max = u32::try_from(limits.response_header_bytes_max).unwrap_or(u32::MAX);
        let mut builder = reqwest::Client::builder()
            .dns_resolver(vetted.clone())
            // A proxy from the environment would connect for us, past the policy.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(limits.connect_timeout)
            .pool_idle_timeout(limits.idle_timeout)
            .pool_max_idle_per_host(limits.idle_per_host_max)
            .http1_max_headers(100)
            .http2_max_header_list_size(header_bytes_max)
            .tcp_nodelay(true);
        if !roots.is_empty() {
            let certificates = roots
                .iter()
                .map(|root| reqwest::Certificate::from_der(root))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| EgressError::Roots(innermost(&error)))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder
            .build()
            .map_err(|error| EgressError::Setup(innermost(&error)))?;
        Ok(Self {
            http,
            policy,
            limits,
            resolver: vetted,
            roots: roots.into(),
        })
    }

    /// The policy in force.
    pub fn policy(&self) -> &EgressPolicy {
        &self.policy
    }

    /// Reads a URL and checks all that can be told without asking the network; else says what is wrong.
    pub fn check_url(&self, url: &str) -> Result<Url, String> {
        self.policy.check_url(url)
    }

    /// Sends one request and reads the answer, inside its time and size. Never sends twice.
    pub async fn send(&self, request: Request) -> Result<Response, SendError> {
        let started = Instant::now();
        let deadline = started + request.timeout.min(self.limits.timeout_max);
        let body_max = request
            .response_bytes_max
            .min(self.limits.response_bytes_max);
        let failed = |reason, detail, answered| SendError {
            reason,
            detail,
            duration_ms: elapsed_ms(started),
            answered,
        };
        // A literal address never reaches the resolver, so it is judged here.
        if let Err(why) = self.policy.check_parsed(&request.url) {
            return Err(failed(Reason::BlockedAddress, why, None));
        }
        let mut outgoing = reqwest::Request::new(request.method, request.url);
        *outgoing.headers_mut() = request.headers;
        *outgoing.body_mut() = Some(request.body.into());
        let mut answer = match timeout_at(deadline, self.http.execute(outgoing)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let (reason, detail) = classify(&error);
                return Err(failed(reason, detail, None));
            }
            Err(_) => {
                return Err(failed(
                    Reason::Timeout,
                    "no answer within the limit".to_owned(),
                    None,
                ));
            }
        };
        let (status, remote) = (answer.status(), answer.remote_addr());
        let headers = std::mem::take(answer.headers_mut());
        if header_bytes(&headers) > self.limits.response_header_bytes_max {
            let detail = format!(
                "the headers of the answer are larger than {} bytes",
                self.limits.response_header_bytes_max
            );
            return Err(failed(Reason::BadResponse, detail, None));
        }
        match timeout_at(deadline, read_body(&mut answer, body_max)).await {
            Ok(Ok((body, truncated))) => Ok(Response {
                status,
                headers,
                body,
                truncated,
                duration_ms: elapsed_ms(started),
                remote,
            }),
            Ok(Err(error)) => {
                let (reason, detail) = classify(&error);
                Err(failed(
                    reason,
                    detail,
                    Some(Box::new(Answered { status, headers })),
                ))
            }
            Err(_) => {
                let detail = "the answer began but was not complete within the limit".to_owned();
                Err(failed(
                    Reason::Timeout,
                    detail,
                    Some(Box::new(Answered { status, headers })),
                ))
            }
        }
    }
}

/// Reads up to `max` bytes. What is left is not read: dropping the answer closes its connection.
async fn read_body(
    answer: &mut reqwest::Response,
    max: usize,
) -> Result<(Bytes, bool), reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = max - body.len();
        if chunk.len() > room {
            body.extend_from_slice(chunk.get(..room).unwrap_or_default());
            return Ok((body.freeze(), true));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), false))
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

fn elapsed_ms(started: Instant) -> u32 {
    u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX)
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
