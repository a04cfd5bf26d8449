//! Requests to sources: what alarm senders post becomes events of a bus.
//!
//! What a request means is `belfry-sources`' to say; here is decided who may send, what is fetched to believe a signature,
//! and what becomes of the rest. Nothing that a sender posts is lost in silence: it is stored as events, or refused and,
//! if it comes from somebody who may send, kept for the operator to look at.
//!
//! | what comes | what becomes of it |
//! |---|---|
//! | alerts | one commit with all of them; the answer after that |
//! | a body that the format cannot be read from | refused, its beginning kept (the newest of each source) |
//! | a wrong signature, no credentials | refused, counted, not kept |
//! | a topic that asks to confirm its subscription | confirmed by one request to the vendor, or kept to be opened by hand |

mod fetch;
mod token;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use belfry_engine::AcceptContext;
use belfry_model::access::Scope;
use belfry_model::event::{EventErrors, EventLimits, Fill};
use belfry_model::{BusName, DocumentId, DocumentName, Event};
use belfry_sources::{Auth, HandshakeMode, Outcome, Refused, RefusedKind};
use belfry_store::{Change, DocumentPlace, Expect, Unparsed};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::App;
use crate::actor::Actor;
use crate::config::settle;
use crate::cursor::{self, Listing, PageRequest};
use crate::documents::{SOURCES, SourceDocument, set_tokens, tokens_of};
use crate::error::{Code, Error, Fault, Result};
use crate::input;
use crate::time::Stamp;

pub use belfry_sources::Incoming;
pub(crate) use fetch::Certificates;
pub(crate) use token::{SecretUrl, Token};

/// How long an old secret URL goes on working after a rotation unless the request says otherwise: a day.
pub const OVERLAP_SECONDS_DEFAULT: u32 = 86_400;
const OVERLAP_SECONDS_MAX: u32 = 30 * 86_400;
/// Most secret URLs of a source that work at once.
const TOKENS_MAX: usize = 8;

/// A source that a request is for.
#[derive(Debug, Clone)]
pub struct FoundSource {
    /// The bus of its events.
    pub bus: BusName,
    /// Its name.
    pub name: DocumentName,
    id: DocumentId,
    document: Arc<SourceDocument>,
}

/// Whether a request may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Given,
    /// If it comes with an API key that may post to the bus.
    WithKey,
    /// If it comes with the user name and password of the source.
    WithBasic,
    /// If it comes with the source's own header.
    WithHeader,
}

/// What became of a request.
#[derive(Debug)]
pub struct Receipt {
    /// The format that it was taken for.
    pub format: Option<&'static str>,
    /// What the sender is told.
    pub answer: Result<SourceAnswer>,
}

/// What a sender is told.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceAnswer {
    /// Its events are on disk.
    Accepted(AcceptedView),
    /// There was nothing to store; the format says what is answered.
    Answered(Value),
}

/// Stored events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SourceAccepted)]
pub struct AcceptedView {
    /// How many, duplicates included.
    pub accepted: usize,
    /// How many of them were known already.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub duplicates: usize,
    /// The server's ids, in the order of the request.
    #[schema(examples(json!(["evt_01jd0c4z8k000"])))]
    pub ids: Vec<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A request that a source could not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Unparsed)]
pub struct UnparsedView {
    /// When it came.
    pub at: Stamp,
    /// The format that it was taken for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub format: Option<String>,
    /// Why it could not be read.
    pub reason: String,
    /// What the sender called it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub content_type: Option<String>,
    /// How long its body was.
    pub bytes: u64,
    /// Whether only the beginning of it is kept.
    pub truncated: bool,
    /// The body, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub body: Option<String>,
    /// The body in base64, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub body_base64: Option<String>,
}

impl From<Unparsed> for UnparsedView {
    fn from(one: Unparsed) -> Self {
        let kept = one.body.len() as u64;
        let (body, body_base64) = match text_of(one.body) {
            Ok(text) => (Some(text), None),
            Err(bytes) => (None, Some(STANDARD.encode(bytes))),
        };
        Self {
            at: Stamp(one.at_ms),
            format: one.format,
            reason: one.reason,
            content_type: one.content_type,
            bytes: one.bytes,
            truncated: kept < one.bytes,
            body,
            body_base64,
        }
    }
}

/// A body as text. One that was cut within a character loses the rest of that character.
fn text_of(body: Vec<u8>) -> std::result::Result<String, Vec<u8>> {
    String::from_utf8(body).or_else(|error| {
        let (valid, cut) = (
            error.utf8_error().valid_up_to(),
            error.utf8_error().error_len(),
        );
        let mut bytes = error.into_bytes();
        if cut.is_some() {
            return Err(bytes);
        }
        bytes.truncate(valid);
        String::from_utf8(bytes).map_err(std::string::FromUtf8Error::into_bytes)
    })
}

/// How to rotate a secret URL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RotateSource {
    /// How long the old URLs go on working (0 to 30 days); absent: 24 hours.
    #[schema(maximum = 2_592_000)]
    pub overlap_seconds: Option<u32>,
}

/// A new secret URL.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RotatedSource)]
pub struct RotatedView {
    /// The path of the new one on this server. Shown only in this answer.
    #[schema(examples("/in/0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefghj0"))]
    pub url: String,
    /// Until when the old ones work.
    pub old_until: Stamp,
}

impl std::fmt::Debug for RotatedView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RotatedView")
            .field("old_until", &self.old_until)
            .finish_non_exhaustive()
    }
}

/// What an event is given that has no id or no time.
pub(crate) struct Filler(pub(crate) i64);

impl Fill for Filler {
    fn id(&mut self) -> String {
        Uuid::new_v4().to_string()
    }
    fn now_ms(&mut self) -> i64 {
        self.0
    }
}

impl App {
    /// The source of that name.
    pub fn find_source(&self, bus: &BusName, name: &DocumentName) -> Option<FoundSource> {
        let snapshot = self.engine.snapshot();
        let id = snapshot.bus(bus)?.bus.id;
        Some(FoundSource {
            bus: bus.clone(),
            name: name.clone(),
            id: snapshot.document_id(SOURCES, Some(id), name)?,
            document: snapshot.document(SOURCES, Some(id), name)?,
        })
    }

    /// The source with the secret URL of that token. All are compared, each in the same time.
    pub fn find_source_by_token(&self, token: &str) -> Option<FoundSource> {
        let (hash, now) = (token::hash(token), self.now_ms());
        let snapshot = self.engine.snapshot();
        let mut found = None;
        for bus in snapshot.buses() {
            let sources = snapshot.documents::<SourceDocument>(SOURCES, Some(bus.bus.id));
            for (name, document) in sources {
                if document.tokens.iter().any(|known| known.is(&hash, now)) {
                    found = Some((&bus.bus.name, name));
                }
            }
        }
        let (bus, name) = found?;
        self.find_source(bus, name)
    }

    /// Whether a request to a source by its name may be read; its body is not looked at.
    pub fn admission(&self, found: &FoundSource, incoming: &Incoming) -> Admission {
        let auth = &found.document.source.spec().auth;
        match (auth.admits(incoming), auth) {
            // Whoever may post to the bus may also try out a source that others reach by its URL.
            (_, Auth::Key | Auth::SecretUrl) => Admission::WithKey,
            // The signature is looked at with the body.
            (_, Auth::Signature) | (Some(true), _) => Admission::Given,
            (_, Auth::Basic { .. }) => Admission::WithBasic,
            (_, Auth::Header { .. }) => Admission::WithHeader,
        }
    }

    /// Takes a request that may be read.
    pub async fn post_to_source(
        &self,
        found: &FoundSource,
        incoming: &Incoming,
        limits: &EventLimits,
        trace_id: String,
    ) -> Receipt {
        let mut format = None;
        let answer = self
            .take(found, incoming, limits, trace_id, &mut format)
            .await;
        Receipt { format, answer }
    }

    async fn take(
        &self,
        found: &FoundSource,
        incoming: &Incoming,
        limits: &EventLimits,
        trace_id: String,
        format: &mut Option<&'static str>,
    ) -> Result<SourceAnswer> {
        if found.bus.is_system() {
            let detail =
                "bus system is for what Belfry itself reports; put the source on another bus";
            return Err(Error::new(Code::ReservedBus, detail));
        }
        let mut read = found.document.source.read(incoming, None);
        if let Ok(belfry_sources::Read {
            outcome: Outcome::NeedsCertificate { url },
            ..
        }) = &read
        {
            let (egress, agent) = (&self.connect.egress, &self.connect.user_agent);
            let certificate = self
                .certificates
                .get(egress, agent, url, self.now_ms())
                .await?;
            let certificate = certificate.ok_or_else(|| {
                let detail = "there is no certificate at the address that the request names";
                Error::new(Code::BadSignature, detail)
            })?;
            read = found.document.source.read(incoming, Some(&certificate));
        }
        let read = match read {
            Ok(read) => read,
            Err(refused) => {
                *format = refused.format;
                return Err(self.refuse(found, incoming, refused).await);
            }
        };
        *format = Some(read.format);
        match read.outcome {
            Outcome::Events(documents) => {
                let now = self.now_ms();
                let events: std::result::Result<Vec<Event>, EventErrors> = documents
                    .into_iter()
                    .map(|document| Event::lenient(document, &mut Filler(now), limits))
                    .collect();
                let events = match events {
                    Ok(events) => events,
                    Err(errors) => {
                        let detail = format!("an event made of it cannot be taken: {errors}");
                        self.keep(found, incoming, *format, &detail).await;
                        return Err(Error::new(Code::UnreadableBody, detail));
                    }
                };
                let context = AcceptContext {
                    trace_id: Some(trace_id),
                    ..AcceptContext::default()
                };
                let accepted = self.engine.accept(&found.bus, events, context).await?;
                Ok(SourceAnswer::Accepted(AcceptedView {
                    accepted: accepted.len(),
                    duplicates: accepted.iter().filter(|event| event.duplicate).count(),
                    ids: accepted
                        .iter()
                        .map(|event| event.event_uid.to_string())
                        .collect(),
                }))
            }
            Outcome::Answered(answer) => Ok(SourceAnswer::Answered(answer)),
            Outcome::Handshake { confirm_url, topic } => {
                let confirmed = self
                    .confirm_topic(found, incoming, *format, &confirm_url, &topic)
                    .await;
                Ok(SourceAnswer::Answered(
                    json!({ "accepted": 0, "ids": [], "confirmed": confirmed }),
                ))
            }
            Outcome::NeedsCertificate { .. } => Err(Error::new(
                Code::BadSignature,
                "the certificate at the address that the request names is none that signs it",
            )),
        }
    }

    /// What a sender is told whose request is not taken; one that only cannot be read is kept.
    async fn refuse(&self, found: &FoundSource, incoming: &Incoming, refused: Refused) -> Error {
        let code = match refused.kind {
            RefusedKind::Signature => Code::BadSignature,
            RefusedKind::Body => {
                let reason = refused.error.to_string();
                self.keep(found, incoming, refused.format, &reason).await;
                Code::UnreadableBody
            }
        };
        Error::invalid(code, vec![Fault::from(refused.error)])
    }

    /// Keeps the beginning of a request for the operator. When that fails, the request is refused all the same.
    async fn keep(
        &self,
        found: &FoundSource,
        incoming: &Incoming,
        format: Option<&'static str>,
        reason: &str,
    ) {
        let max = self.settings.unparsed_bytes_max;
        let body = incoming.body.get(..max).unwrap_or(&incoming.body);
        let unparsed = Unparsed {
            number: 0,
            source: found.id,
            at_ms: self.now_ms(),
            format: format.map(ToOwned::to_owned),
            reason: reason.chars().take(REASON_CHARS_MAX).collect(),
            content_type: incoming
                .content_type
                .as_ref()
                .map(|kind| kind.chars().take(CONTENT_TYPE_CHARS_MAX).collect()),
            bytes: incoming.body.len() as u64,
            body: body.to_vec(),
        };
        let kept = self
            .store
            .keep_unparsed(&unparsed, self.settings.unparsed_max)
            .await;
        if let Err(error) = kept {
            tracing::warn!(bus.name = %found.bus, source.name = %found.name, %error, "a request that could not be read was not kept");
        }
    }

    /// Confirms a subscription, or keeps its address to be opened by hand. The address is not logged: whoever has it can
    /// confirm.
    async fn confirm_topic(
        &self,
        found: &FoundSource,
        incoming: &Incoming,
        format: Option<&'static str>,
        url: &str,
        topic: &str,
    ) -> bool {
        if found.document.source.spec().handshake == HandshakeMode::Show {
            let reason = format!("topic {topic} asks to confirm its subscription; open {url}");
            self.keep(found, incoming, format, &reason).await;
            self.report(
                found,
                "belfry.source.subscription.waiting",
                json!({ "topic": topic }),
            )
            .await;
            return false;
        }
        let (egress, agent) = (&self.connect.egress, &self.connect.user_agent);
        let limit = self.settings.handshake_timeout;
        let failed = match fetch::fetch(egress, agent, url, limit).await {
            Ok(answer) if answer.status.is_success() => None,
            Ok(answer) => Some(format!("the vendor answered {}", answer.status.as_u16())),
            Err(why) => Some(why),
        };
        let (bus, source) = (&found.bus, &found.name);
        if let Some(why) = failed {
            tracing::warn!(bus.name = %bus, source.name = %source, topic, %why, "a subscription could not be confirmed");
            let reason =
                format!("topic {topic} asks to confirm its subscription, which failed: {why}");
            self.keep(found, incoming, format, &reason).await;
            let data = json!({ "topic": topic, "reason": why });
            self.report(found, "belfry.source.subscription.failed", data)
                .await;
            return false;
        }
        tracing::info!(bus.name = %bus, source.name = %source, topic, "a subscription was confirmed");
        self.report(
            found,
            "belfry.source.subscription.confirmed",
            json!({ "topic": topic }),
        )
        .await;
        true
    }

    /// Tells on bus `system` what Belfry did by itself.
    async fn report(&self, found: &FoundSource, kind: &str, mut data: Value) {
        let (bus, source) = (&found.bus, &found.name);
        data["bus"] = json!(bus);
        data["name"] = json!(source);
        let document = json!({
            "source": format!("belfry/buses/{bus}/sources/{source}"), "type": kind, "subject": source, "data": data,
        });
        self.engine.report(&document).await;
    }

    /// What a source could not read, newest first.
    pub async fn list_unparsed(
        &self,
        actor: &Actor,
        bus: &BusName,
        name: &DocumentName,
        page: &PageRequest,
    ) -> Result<Listing<UnparsedView>> {
        actor.require(&Scope::HistoryRead)?;
        let index = self.index().await?;
        let bus_id = index.bus(bus)?.bus.id;
        let source = index
            .documents(SOURCES, Some(bus_id))
            .and_then(|named| named.get(name))
            .ok_or_else(|| not_found(bus, name))?;
        let (limit, before) = (page.limit()?, page.after::<i64>('u')?);
        let mut found = self
            .store
            .list_unparsed(source.id, before, limit + 1)
            .await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let last = found.last().filter(|_| more);
        let next = last.map(|last| cursor::write('u', &last.number));
        Ok(Listing {
            items: found.into_iter().map(UnparsedView::from).collect(),
            next,
            partial: false,
        })
    }

    /// Gives a source another secret URL; the old ones go on working for a while.
    pub async fn rotate_source(
        &self,
        actor: &Actor,
        bus: &BusName,
        name: &DocumentName,
        body: &[u8],
    ) -> Result<RotatedView> {
        actor.require(&Scope::ConfigWrite)?;
        let rotate: RotateSource = if body.is_empty() {
            RotateSource::default()
        } else {
            input::read(body)?
        };
        let overlap = rotate.overlap_seconds.unwrap_or(OVERLAP_SECONDS_DEFAULT);
        if overlap > OVERLAP_SECONDS_MAX {
            let detail = format!("expected 0 to {OVERLAP_SECONDS_MAX}, got {overlap}");
            return Err(Error::field("/overlapSeconds", detail));
        }
        settle(|| async {
            let index = self.index().await?;
            let bus_id = index.bus(bus)?.bus.id;
            let old = index
                .documents(SOURCES, Some(bus_id))
                .and_then(|named| named.get(name))
                .ok_or_else(|| not_found(bus, name))?;
            let mut spec = old.spec.clone();
            let mut tokens = tokens_of(&spec);
            if tokens.is_empty() {
                let detail = "this source has no secret URL; set auth to {\"type\": \"secretUrl\"}";
                return Err(Error::new(Code::WrongState, detail));
            }
            let now = self.now_ms();
            let ends = now + i64::from(overlap) * 1000;
            tokens.retain(|token| token.works(now));
            for token in &mut tokens {
                token.until_ms = Some(token.until_ms.map_or(ends, |until| until.min(ends)));
            }
            let SecretUrl { path, token } = SecretUrl::make()?;
            tokens.insert(0, token);
            tokens.truncate(TOKENS_MAX);
            set_tokens(
                &mut spec,
                serde_json::to_value(&tokens).map_err(Error::internal)?,
            );
            let place = DocumentPlace {
                kind: SOURCES.to_owned(),
                bus: Some(bus.clone()),
                name: name.clone(),
            };
            let rotated = RotatedView {
                url: path,
                old_until: Stamp(ends),
            };
            let resource = format!("buses/{bus}/sources/{name}");
            let told = json!({ "oldUntil": rotated.old_until });
            let audit = self.audit(actor, "source.rotate", &resource, None, Some(&told))?;
            let change = Change::PutDocument {
                place,
                spec,
                expect: Expect::Revision(old.revision),
            };
            self.apply(&[change], &[audit], now).await?;
            Ok(rotated)
        })
        .await
    }
}

/// Longest reason that is kept.
const REASON_CHARS_MAX: usize = 4096;
/// Longest content type that is kept.
const CONTENT_TYPE_CHARS_MAX: usize = 256;

fn not_found(bus: &BusName, name: &DocumentName) -> Error {
    Error::not_found("source", &format!("{name} on bus {bus}"))
}
