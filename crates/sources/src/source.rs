//! The one way in: from a request to what becomes of it.

use std::fmt;

use belfry_model::FieldError;
use bytes::Bytes;
use chrono_tz::Tz;

use crate::body::{Body, Node, visible};
use crate::draft::{Draft, hash};
use crate::format::{Format, detect, find};
use crate::formats::generic::Mapping;
use crate::moment;
use crate::signature::Proof;
use crate::spec::{Auth, Secret, SourceSpec};

/// Most events of one request.
pub const EVENTS_MAX: usize = 1000;

/// A request as it came in.
#[derive(Clone, Default)]
pub struct Incoming {
    /// Names in lower case; values that are no UTF-8 are left out by the caller.
    pub headers: Vec<(String, String)>,
    /// The header `content-type`.
    pub content_type: Option<String>,
    /// What stands behind the `?` of the address, undecoded. `format=` names the format where the source leaves it
    /// open.
    pub query: Option<String>,
    /// The body, whose size the caller has bounded.
    pub body: Bytes,
    /// When it came, in milliseconds since 1970.
    pub received_at_ms: i64,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers and query may hold secrets, the body what must not stand in a log.
        f.debug_struct("Incoming")
            .field("content_type", &self.content_type)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Incoming {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What a request was, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The format's name.
    pub format: &'static str,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// These events are to be published, each a document for [`Event::lenient`](belfry_model::Event::lenient); at
    /// least one. Their `time` may be absent, and is then the time of receipt.
    Events(Vec<Bytes>),
    /// A topic asks to confirm the subscription. Signature and address have been checked; whether the address is
    /// fetched or shown is the source's `handshake`. Nothing is published.
    Handshake {
        /// The address that confirms it, at the vendor's.
        confirm_url: String,
        /// The topic.
        topic: String,
    },
    /// Nothing to publish; this JSON is the answer (GitHub's ping, Sentry's installation).
    Answered(serde_json::Value),
    /// Nothing is known yet: the certificate at this address (checked to be the vendor's) decides. Fetch it, without
    /// following redirects, and read again with it.
    NeedsCertificate {
        /// Where the certificate is.
        url: String,
    },
}

/// Why a request is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Whose fault it is.
    pub kind: RefusedKind,
    /// The format, as far as it is known.
    pub format: Option<&'static str>,
    /// What is wrong, with a JSON pointer into the body, `header:NAME` or `query:NAME`.
    pub error: FieldError,
}

/// Whose fault a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedKind {
    /// The body is not what the format says (400; kept for the operator).
    Body,
    /// The sender is not who it should be: signature, certificate, topic (401; not kept).
    Signature,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Refused {}

/// A source, ready to read requests.
#[derive(Debug)]
pub struct Source {
    spec: SourceSpec,
    /// `None`: found for each request.
    format: Option<&'static Format>,
    zone: Option<Tz>,
    pub(crate) mapping: Mapping,
}

impl Source {
    /// A source of that spec, secrets in clear.
    pub fn new(spec: SourceSpec) -> Result<Self, Vec<FieldError>> {
        let errors = spec.check();
        if !errors.is_empty() {
            return Err(errors);
        }
        let fixed = spec.format.as_deref().filter(|name| *name != "auto");
        let one = |error| vec![error];
        Ok(Self {
            format: fixed
                .map(|name| find(name, "/format"))
                .transpose()
                .map_err(one)?,
            zone: spec.time_zone.as_deref().and_then(|zone| zone.parse().ok()),
            mapping: Mapping::compile(spec.generic.as_ref())?,
            spec,
        })
    }

    /// What the operator wrote.
    pub fn spec(&self) -> &SourceSpec {
        &self.spec
    }

    /// Reads a request. `certificate` is the PEM text found at the address that an earlier
    /// [`Outcome::NeedsCertificate`] for the same request named. Who may send is for the caller to decide
    /// ([`Auth::admits`]), but for signatures.
    pub fn read(&self, incoming: &Incoming, certificate: Option<&str>) -> Result<Read, Refused> {
        let refused = |kind, format: Option<&Format>, error| Refused {
            kind,
            format: format.map(|format| format.name),
            error,
        };
        let body =
            Body::read(incoming).map_err(|error| refused(RefusedKind::Body, self.format, error))?;
        let request = Request {
            incoming,
            body,
            source: self,
            certificate,
        };
        let asked = request.query("format");
        let format = match (self.format, asked.as_deref()) {
            (Some(format), _) => format,
            (None, Some(name)) if name != "auto" => find(name, "query:format")
                .map_err(|error| refused(RefusedKind::Body, None, error))?,
            (None, _) => detect(&request),
        };
        let proof = (format.proof)(&request)
            .map_err(|error| refused(RefusedKind::Signature, Some(format), error))?;
        let outcome = match proof {
            Proof::Needs(url) => Outcome::NeedsCertificate { url },
            Proof::Unsigned if matches!(self.spec.auth, Auth::Signature) => {
                let detail = format!(
                    "this source takes signed requests only, and one of format {} without a secret or signature is none",
                    format.name
                );
                let error = FieldError::new("", detail);
                return Err(refused(RefusedKind::Signature, Some(format), error));
            }
            Proof::Unsigned | Proof::Good => (format.read)(&request)
                .map_err(|error| refused(RefusedKind::Body, Some(format), error))?,
        };
        Ok(Read {
            format: format.name,
            outcome,
        })
    }

    /// Whether it takes one format only.
    pub(crate) fn is_fixed(&self) -> bool {
        self.format.is_some()
    }

    pub(crate) fn secrets(&self) -> &[Secret] {
        let signing = self.spec.signing.as_ref();
        signing.map_or(&[], |signing| &signing.secrets)
    }

    /// Whether messages of this topic are taken.
    pub(crate) fn takes_topic(&self, topic: &str) -> bool {
        let topics = &self.spec.topic_arns;
        // Anybody has a topic of their own to sign with, so that a signature alone says nothing.
        let any = topics.is_empty() && !matches!(self.spec.auth, Auth::Signature);
        any || topics.iter().any(|known| known == topic)
    }

    /// Whether the body is kept with the event.
    fn keeps_raw(&self) -> bool {
        self.spec.keep_raw.unwrap_or(true)
    }
}

/// A request whose body has been read.
pub(crate) struct Request<'r> {
    pub(crate) incoming: &'r Incoming,
    pub(crate) body: Body,
    pub(crate) source: &'r Source,
    pub(crate) certificate: Option<&'r str>,
}

impl Request<'_> {
    /// The body.
    pub(crate) fn node(&self) -> Node<'_> {
        self.body.node()
    }

    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.incoming.header(name)
    }

    /// The id in a header, else one made of the body.
    pub(crate) fn header_id(&self, name: &str, prefix: &str) -> String {
        self.header(name)
            .and_then(visible)
            .unwrap_or_else(|| self.hash_id(prefix))
    }

    fn query(&self, name: &str) -> Option<String> {
        let query = self.incoming.query.as_deref()?;
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The bytes that stand for the request where the sender gives no id.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.incoming.body.is_empty() {
            self.body.text.as_bytes()
        } else {
            &self.incoming.body
        }
    }

    /// An id made of the body: the same body again has it again.
    pub(crate) fn hash_id(&self, prefix: &str) -> String {
        format!("{prefix}-{}", hash(self.bytes()))
    }

    /// A time of a sender whose times are UTC unless they say otherwise.
    pub(crate) fn time(&self, node: Node<'_>) -> Option<i64> {
        moment::of(node.0, self.source.zone.unwrap_or(Tz::UTC))
    }

    /// A time of a Chinese cloud.
    pub(crate) fn beijing(&self, node: Node<'_>) -> Option<i64> {
        moment::of(node.0, self.source.zone.unwrap_or(Tz::Asia__Shanghai))
    }

    /// The outcome of one event.
    pub(crate) fn event(&self, draft: Draft) -> Outcome {
        self.events(vec![draft])
    }

    /// The outcome of several events.
    pub(crate) fn events(&self, drafts: Vec<Draft>) -> Outcome {
        let raw = self.source.keeps_raw().then_some(self.body.text.as_str());
        let documents = drafts.into_iter().map(|draft| draft.document(raw));
        Outcome::Events(documents.collect())
    }
}
