//! The catalog of products and events that are known, and simulated events made from it.
//!
//! Of a simulated event only what the vendors' own consoles let people edit can be chosen: the payload, the resource and whether
//! the alarm fires or has recovered. The rest is as the vendor sends it.

use belfry_alarm::catalog::{self, Entry, Product, Simulation};
use belfry_alarm::{AlarmState, Names, Severity};
use belfry_engine::AcceptContext;
use belfry_model::access::Scope;
use belfry_model::event::EventLimits;
use belfry_model::json::nearest;
use belfry_model::{BusName, Event};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::App;
use crate::actor::Actor;
use crate::error::{Code, Error, Fault, Result, faults_under};
use crate::input;
use crate::sources::Filler;

/// A text in English and in Chinese.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Names)]
pub struct NamesView {
    /// English.
    pub en: String,
    /// Chinese.
    pub zh: String,
}

impl From<&Names> for NamesView {
    fn from(names: &Names) -> Self {
        Self {
            en: names.en.clone(),
            zh: names.zh.clone(),
        }
    }
}

/// A product of a cloud vendor.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CatalogProduct)]
pub struct ProductView {
    /// Its code.
    #[schema(examples("cvm"))]
    pub code: String,
    /// What it is called.
    pub name: NamesView,
    /// The vendor's short name.
    #[schema(examples("tencent"))]
    pub vendor: String,
    /// What the vendor is called.
    pub vendor_name: NamesView,
    /// The `source` of its events.
    pub sources: Vec<String>,
    /// What its events are about.
    pub resource: NamesView,
    /// How many events of it are known.
    pub events: usize,
    /// A pattern for all of its events.
    #[schema(value_type = Object)]
    pub pattern: Value,
}

impl ProductView {
    fn new(product: &Product) -> Self {
        Self {
            code: product.code.clone(),
            name: (&product.names).into(),
            vendor: product.vendor.clone(),
            vendor_name: (&product.vendor_names).into(),
            sources: product.sources.clone(),
            resource: (&product.resource).into(),
            events: catalog::entries(&product.code).count(),
            pattern: catalog::product_pattern(product),
        }
    }
}

/// A type of event of a product.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CatalogEvent)]
pub struct EntryView {
    /// What `template` says to send a simulated one.
    #[schema(examples("cvm/ping-unreachable"))]
    pub template: String,
    /// What it is called.
    pub name: NamesView,
    /// What the product is called.
    pub product_name: NamesView,
    /// The vendor's short name.
    pub vendor: String,
    /// The event's `source`.
    pub source: String,
    /// The event's `type`.
    #[serde(rename = "type")]
    #[schema(examples("cvm:ErrorEvent:PingUnreachable"))]
    pub kind: String,
    /// Other spellings of the type that are sent.
    pub aliases: Vec<String>,
    /// How bad it is.
    #[schema(value_type = String, examples("critical"))]
    pub severity: Severity,
    /// What sort of event it is.
    #[schema(examples("exception"))]
    pub class: String,
    /// Whether the vendor tells when it is over.
    pub recoverable: bool,
    /// The type of the alarm that this event ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub recovers: Option<String>,
    /// Whether the vendor no longer sends it.
    pub retired: bool,
    /// What it means.
    pub about: NamesView,
    /// What to do first.
    pub advice: NamesView,
    /// A pattern for the alarm: the event, what ends it, and every spelling of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub pattern: Option<Value>,
    /// A sample event. Absent in lists, like the pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub sample: Option<Value>,
}

impl EntryView {
    fn new(entry: &Entry) -> Self {
        Self {
            template: entry.template(),
            name: (&entry.names).into(),
            product_name: (&entry.product_names).into(),
            vendor: entry.vendor.clone(),
            source: entry.source.clone(),
            kind: entry.kind.clone(),
            aliases: entry.aliases.clone(),
            severity: entry.severity,
            class: entry.class.clone(),
            recoverable: entry.recoverable,
            recovers: entry.recovers.clone(),
            retired: entry.retired,
            about: (&entry.about).into(),
            advice: (&entry.advice).into(),
            pattern: None,
            sample: None,
        }
    }
}

/// All there is, of a list that needs no pages.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Whole<T> {
    /// The rows.
    pub items: Vec<T>,
}

/// What of a simulated event can be chosen.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Simulate {
    /// Which event of the catalog.
    #[schema(examples("cvm/ping-unreachable"))]
    pub template: String,
    /// The id of the resource; absent: the product's example.
    #[serde(default)]
    #[schema(examples("ins-1a2b3c4d"))]
    pub resource: Option<String>,
    /// The payload; absent: the vendor's sample.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Value>,
    /// `1` fires, `0` has recovered, `-` is neither; absent: as the vendor begins.
    #[serde(default)]
    #[schema(examples("1"))]
    pub status: Option<String>,
}

/// A simulated event.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Simulated)]
pub struct SimulatedView {
    /// The event, as it was posted.
    #[schema(value_type = Object)]
    pub event: Value,
    /// The server's id; absent on a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, examples("evt_01jd0c4z8k000"))]
    pub event_uid: Option<String>,
    /// Where its history can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub url: Option<String>,
    /// Present and true when nothing was posted because `dryRun` was asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub dry_run: bool,
}

impl App {
    /// Products whose events are known, of one vendor or of all.
    pub fn list_products(&self, actor: &Actor, vendor: Option<&str>) -> Result<Whole<ProductView>> {
        actor.require(&Scope::ConfigRead)?;
        let wanted = |product: &&Product| vendor.is_none_or(|vendor| product.vendor == vendor);
        let items: Vec<_> = catalog::products()
            .iter()
            .filter(wanted)
            .map(ProductView::new)
            .collect();
        if items.is_empty() {
            let mut known: Vec<_> = catalog::products().iter().map(|one| &*one.vendor).collect();
            known.dedup();
            let detail = format!("expected one of {}", known.join(", "));
            return Err(Error::field("query:vendor", detail));
        }
        Ok(Whole { items })
    }

    /// The events of a product.
    pub fn list_product_events(&self, actor: &Actor, product: &str) -> Result<Whole<EntryView>> {
        actor.require(&Scope::ConfigRead)?;
        if catalog::product(product).is_none() {
            let known = catalog::products().iter().map(|product| &*product.code);
            return Err(unknown("product", product, known));
        }
        Ok(Whole {
            items: catalog::entries(product).map(EntryView::new).collect(),
        })
    }

    /// One event of the catalog, with a pattern for it and a sample.
    pub fn get_catalog_event(&self, actor: &Actor, template: &str) -> Result<EntryView> {
        actor.require(&Scope::ConfigRead)?;
        let entry = find(template)?;
        let simulation = Simulation {
            now_ms: self.now_ms(),
            id: "00000000-0000-4000-8000-000000000000",
            ..Simulation::default()
        };
        Ok(EntryView {
            pattern: Some(catalog::event_pattern(entry)),
            sample: Some(catalog::sample(entry, &simulation)),
            ..EntryView::new(entry)
        })
    }

    /// An event of the catalog, as its vendor would send it, marked as a test.
    pub(crate) fn sample(&self, template: &str) -> Result<String> {
        let id = Uuid::new_v4().to_string();
        let simulation = Simulation {
            now_ms: self.now_ms(),
            id: &id,
            ..Simulation::default()
        };
        let mut event = catalog::sample(asked(template)?, &simulation);
        event["belfrytest"] = true.into();
        Ok(event.to_string())
    }

    /// Makes an event of the catalog and posts it (or, on a dry run, shows it).
    pub async fn simulate_event(
        &self,
        actor: &Actor,
        bus: &BusName,
        body: &[u8],
        limits: &EventLimits,
        trace_id: String,
        dry_run: bool,
    ) -> Result<SimulatedView> {
        self.may_post(actor, bus)?;
        let wanted: Simulate = input::read(body)?;
        let entry = asked(&wanted.template)?;
        let status = wanted.status.as_deref().map(read_status).transpose()?;
        let id = Uuid::new_v4().to_string();
        let event = catalog::sample(
            entry,
            &Simulation {
                resource: wanted.resource.as_deref(),
                data: wanted.data.as_ref(),
                status,
                now_ms: self.now_ms(),
                id: &id,
            },
        );
        let text = Bytes::from(event.to_string());
        let read = Event::lenient(text, &mut Filler(self.now_ms()), limits).map_err(|errors| {
            Error::invalid(Code::InvalidRequest, faults_under("", errors.errors))
        })?;
        if dry_run {
            return Ok(SimulatedView {
                event,
                event_uid: None,
                url: None,
                dry_run,
            });
        }
        let context = AcceptContext {
            trace_id: Some(trace_id),
            ..AcceptContext::default()
        };
        let accepted = self.engine.accept(bus, vec![read], context).await?;
        let uid = accepted.first().map(|event| event.event_uid.to_string());
        Ok(SimulatedView {
            event,
            url: uid.as_ref().map(|uid| format!("/v1/events/{uid}")),
            event_uid: uid,
            dry_run,
        })
    }
}

fn find(template: &str) -> Result<&'static Entry> {
    catalog::template(template)
        .ok_or_else(|| Error::new(Code::NotFound, unknown_template(template)))
}

/// The event that a request names in `template`.
fn asked(template: &str) -> Result<&'static Entry> {
    catalog::template(template).ok_or_else(|| Error::field("/template", unknown_template(template)))
}

fn unknown_template(template: &str) -> String {
    let known: Vec<String> = catalog::products()
        .iter()
        .flat_map(|product| catalog::entries(&product.code))
        .map(Entry::template)
        .collect();
    not_there("event", template, known.iter().map(String::as_str))
}

fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    Error::new(Code::NotFound, not_there(what, name, known))
}

fn not_there<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let shown: String = name.chars().take(100).collect();
    let mut detail = format!("the catalog has no {what} {shown}");
    if let Some(near) = nearest(name, known) {
        detail.push_str("; did you mean ");
        detail.push_str(near);
        detail.push('?');
    }
    detail
}

fn read_status(text: &str) -> Result<AlarmState> {
    let state = AlarmState::parse(text);
    if state.status() == text {
        return Ok(state);
    }
    let detail = "expected \"1\" (fires), \"0\" (has recovered) or \"-\" (neither)";
    Err(Error::invalid(
        Code::InvalidRequest,
        vec![Fault::new("/status", detail)],
    ))
}
