//! The catalog: products of cloud vendors and the events they send, with names, severity, advice, preset patterns and
//! sample events.
//!
//! The data stands in `data/*.json`, one file a vendor, and is read once. A vendor's documents name the types;
//! severities of Tencent Cloud and JD Cloud are Belfry's own, for these vendors send none.
//!
//! It must never know where an event goes, nor how a request of a vendor is read.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use belfry_model::event::{SPEC_VERSION, timestamp};
use chrono::{DateTime, FixedOffset};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::alarm::Names;
use crate::severity::Severity;
use crate::sign::AlarmKey;
use crate::state::AlarmState;

/// The vendors, in the order in which they are shown.
const FILES: [&str; 3] = [
    include_str!("../data/tencent.json"),
    include_str!("../data/jdcloud.json"),
    include_str!("../data/alibaba.json"),
];
/// How the sources of every product of Tencent Cloud end. Some are guessed, so that an event is known by its type.
const TENCENT: &str = ".cloud.tencent";
/// Offset of the times that Chinese vendors write without one.
const BEIJING_SECONDS: i32 = 8 * 3600;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::read(&FILES));

/// A product of a vendor.
#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    /// The vendor's short name: `tencent`, `jdcloud`, `alibaba`.
    pub vendor: String,
    /// What the vendor is called.
    pub vendor_names: Names,
    /// The product's code, unlike that of any other: `cvm`, `jdcloud-vm`, `alibaba-ecs`.
    pub code: String,
    /// What it is called.
    pub names: Names,
    /// The `source` of its events; the first is what samples have.
    pub sources: Vec<String>,
    /// Whether the sources were seen in the vendor's documents, rather than concluded from others.
    pub verified: bool,
    /// What its events are about.
    pub resource: Names,
    /// The id of such a resource.
    pub example: String,
    /// A region it is offered in.
    pub region: String,
    data: Option<Value>,
}

/// A type of event that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The vendor's short name: `tencent`, `jdcloud`, `alibaba`.
    pub vendor: String,
    /// The product's code, such as `cvm`.
    pub product: String,
    /// The short name within the product, as in the template `cvm/ping-unreachable`.
    pub slug: String,
    /// The event's `source`.
    pub source: String,
    /// The canonical spelling of the event's `type`.
    pub kind: String,
    /// Other spellings of it that vendors use.
    pub aliases: Vec<String>,
    /// The type of the alarm that this event ends, if it does.
    pub recovers: Option<String>,
    /// What it is called.
    pub names: Names,
    /// What the product is called.
    pub product_names: Names,
    /// How bad it is, unless the event says. Of an event that ends an alarm, how bad that was.
    pub severity: Severity,
    /// The vendor's word for what sort of event it is: `exception`, `maintenance`, `billing`, `statusChange`,
    /// `notification`, `change`, `audit`, `operation`.
    pub class: String,
    /// Whether the vendor tells when it is over.
    pub recoverable: bool,
    /// Whether the vendor no longer sends it.
    pub retired: bool,
    /// What the event means, in a sentence.
    pub about: Names,
    /// What to do first.
    pub advice: Names,
    /// The state of an event that has no `status` of its own.
    pub state: AlarmState,
    states: BTreeMap<String, AlarmState>,
    group: Option<String>,
    vars: BTreeMap<String, String>,
    data: Option<Value>,
}

impl Entry {
    /// The type that stands in the alarm's key: the same for the event that begins an alarm and the one that ends it.
    pub fn alarm_type(&self) -> &str {
        self.recovers
            .as_deref()
            .or(self.group.as_deref())
            .unwrap_or(&self.kind)
    }

    /// What the vendor's own word for the state of an event means, such as `Executing`.
    pub fn state_of(&self, word: &str) -> AlarmState {
        self.states.get(word).copied().unwrap_or(self.state)
    }

    /// The name of the template, `cvm/ping-unreachable`.
    pub fn template(&self) -> String {
        format!("{}/{}", self.product, self.slug)
    }

    fn is_from(&self, source: &str) -> bool {
        self.source == source || (self.source.ends_with(TENCENT) && source.ends_with(TENCENT))
    }
}

/// What of a simulated event may be chosen; the rest is as the vendor sends it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Simulation<'a> {
    /// The id of the resource; the product's example by default.
    pub resource: Option<&'a str>,
    /// The payload; the vendor's sample by default.
    pub data: Option<&'a Value>,
    /// Whether the alarm fires or has recovered; by default it fires, if the vendor tells when it is over.
    pub status: Option<AlarmState>,
    /// The time of the event, ms since 1970.
    pub now_ms: i64,
    /// Its id.
    pub id: &'a str,
}

/// Every product, by vendor.
pub fn products() -> &'static [Product] {
    &CATALOG.products
}

/// The product of that code.
pub fn product(code: &str) -> Option<&'static Product> {
    CATALOG.products.iter().find(|product| product.code == code)
}

/// The entries of a product, in the vendor's order.
pub fn entries(code: &str) -> impl Iterator<Item = &'static Entry> {
    CATALOG
        .entries
        .iter()
        .filter(move |entry| entry.product == code)
}

/// The entry of a template's name, such as `cvm/ping-unreachable`.
pub fn template(name: &str) -> Option<&'static Entry> {
    CATALOG.entries.get(*CATALOG.by_template.get(name)?)
}

/// The entry of an event by its source and type, in any of the type's known spellings.
pub fn find(source: &str, kind: &str) -> Option<&'static Entry> {
    let at = match CATALOG.by_kind.get(kind) {
        Some(at) => at,
        None if kind.contains(':') => CATALOG.by_plain.get(&plain(kind))?,
        None => return None,
    };
    CATALOG
        .entries
        .get(*at)
        .filter(|entry| entry.is_from(source))
}

/// The pattern of a rule for every event of a product.
pub fn product_pattern(product: &Product) -> Value {
    if product.verified {
        json!({ "source": product.sources })
    } else {
        json!({
            "source": [{ "suffix": TENCENT }],
            "type": [{ "prefix": format!("{}:", product.code) }],
        })
    }
}

/// The pattern of a rule for one alarm: the event, what ends it, and every spelling of both.
pub fn event_pattern(entry: &Entry) -> Value {
    let same = CATALOG.entries.iter().filter(|other| {
        other.kind != entry.kind
            && other.source == entry.source
            && other.alarm_type() == entry.alarm_type()
    });
    let mut types: Vec<&str> = Vec::new();
    let snakes: Vec<String> = std::iter::once(entry).filter_map(snake).collect();
    for one in std::iter::once(entry).chain(same) {
        types.push(&one.kind);
        types.extend(one.aliases.iter().map(String::as_str));
    }
    for spelling in &snakes {
        if !types.contains(&spelling.as_str()) {
            types.push(spelling);
        }
    }
    let product = product(&entry.product);
    if product.is_none_or(|product| product.verified) {
        json!({ "source": [entry.source], "type": types })
    } else {
        json!({ "type": types })
    }
}

/// A simulated event of an entry, as a structured event.
pub fn sample(entry: &Entry, wanted: &Simulation<'_>) -> Value {
    let product = product(&entry.product);
    let resource = wanted
        .resource
        .or_else(|| product.map(|product| product.example.as_str()))
        .unwrap_or_default();
    let state = wanted.status.unwrap_or(if entry.recoverable {
        AlarmState::Firing
    } else {
        entry.state
    });
    let time = timestamp(wanted.now_ms).unwrap_or_default();
    let data = wanted
        .data
        .cloned()
        .unwrap_or_else(|| sample_data(entry, product, resource, state, wanted));
    let mut doc = Map::new();
    let mut set = |name: &str, value: Value| {
        doc.insert(name.to_owned(), value);
    };
    set("specversion", json!(SPEC_VERSION));
    set("id", json!(wanted.id));
    set("source", json!(entry.source));
    set("type", json!(entry.kind));
    if !resource.is_empty() {
        set("subject", json!(resource));
    }
    set("time", json!(time));
    if let Some(product) = product {
        set("region", json!(product.region));
    }
    set("datacontenttype", json!("application/json"));
    set("status", json!(state.status()));
    set("severity", json!(entry.severity));
    let key = AlarmKey::of([entry.source.as_str(), entry.alarm_type(), resource]);
    set("alarmkey", json!(key.as_str()));
    set("data", data);
    Value::Object(doc)
}

/// The payload of a vendor's sample.
fn sample_data(
    entry: &Entry,
    product: Option<&Product>,
    resource: &str,
    state: AlarmState,
    wanted: &Simulation<'_>,
) -> Value {
    let word = entry
        .states
        .iter()
        .find(|(_, means)| **means == state)
        .or_else(|| entry.states.iter().next())
        .map_or("", |(word, _)| word);
    let time = timestamp(wanted.now_ms).unwrap_or_default();
    let beijing = FixedOffset::east_opt(BEIJING_SECONDS)
        .zip(DateTime::from_timestamp_millis(wanted.now_ms))
        .map_or_else(String::new, |(zone, now)| {
            let local = now.with_timezone(&zone);
            local.format("%Y-%m-%d %H:%M:%S").to_string()
        });
    let mut words: Vec<(&str, &str)> = vec![
        ("resource", resource),
        ("title", &entry.names.zh),
        ("id", wanted.id),
        ("time", &time),
        ("beijing", &beijing),
        ("state", word),
    ];
    words.extend(
        entry
            .vars
            .iter()
            .map(|(name, is)| (name.as_str(), is.as_str())),
    );
    let own = entry.data.as_ref();
    let template = own.or_else(|| product.and_then(|product| product.data.as_ref()));
    template.map_or(Value::Null, |template| filled(template, &words))
}

/// A template with `{name}` replaced in its strings. What is inserted is not read again.
fn filled(template: &Value, words: &[(&str, &str)]) -> Value {
    match template {
        Value::String(text) => {
            let mut out = String::with_capacity(text.len());
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once('{') {
                out.push_str(before);
                let word = after.split_once('}').and_then(|(name, behind)| {
                    let (_, word) = words.iter().find(|(known, _)| *known == name)?;
                    Some((*word, behind))
                });
                let (text, behind) = word.unwrap_or(("{", after));
                out.push_str(text);
                rest = behind;
            }
            out.push_str(rest);
            Value::String(out)
        }
        Value::Array(list) => list.iter().map(|item| filled(item, words)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| (name.clone(), filled(value, words)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// A type without what spellings differ in: case and underscores.
fn plain(kind: &str) -> String {
    kind.chars()
        .filter(|c| *c != '_')
        .flat_map(char::to_lowercase)
        .collect()
}

/// The older spelling of a type of Tencent Cloud: `cvm:ErrorEvent:ping_unreachable`.
fn snake(entry: &Entry) -> Option<String> {
    let (class, _) = entry.kind.rsplit_once(':')?;
    let old = entry.vendor == "tencent" && class.ends_with(":ErrorEvent");
    old.then(|| format!("{class}:{}", entry.slug.replace('-', "_")))
}

/// Everything, with its indices.
#[derive(Debug, Default)]
struct Catalog {
    products: Vec<Product>,
    entries: Vec<Entry>,
    by_kind: HashMap<String, usize>,
    by_plain: HashMap<String, usize>,
    by_template: HashMap<String, usize>,
}

/// A file of `data`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VendorData {
    vendor: String,
    name: Names,
    products: Vec<ProductData>,
    events: Vec<EventData>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProductData {
    code: String,
    name: Names,
    sources: Vec<String>,
    verified: bool,
    resource: Names,
    example: String,
    region: String,
    #[serde(default)]
    data: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventData {
    product: String,
    r#type: String,
    slug: String,
    name: Names,
    severity: Severity,
    kind: String,
    recoverable: bool,
    /// `1`, `0` or `-`.
    state: String,
    /// The vendor's own words for the state, and what they mean.
    #[serde(default)]
    states: BTreeMap<String, String>,
    #[serde(default)]
    aliases: Vec<String>,
    /// The type of the alarm that it ends.
    #[serde(default)]
    ends: Option<String>,
    /// What stands in the alarm's key where it is not the type.
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    retired: bool,
    about: Names,
    advice: Names,
    /// Words of its own for the product's sample.
    #[serde(default)]
    vars: BTreeMap<String, String>,
    /// A sample of its own.
    #[serde(default)]
    data: Option<Value>,
}

impl Catalog {
    /// A file that cannot be read is left out; a test reads them all.
    fn read(files: &[&str]) -> Self {
        let mut catalog = Self::default();
        for file in files {
            if let Ok(vendor) = serde_json::from_str(file) {
                catalog.add(vendor);
            }
        }
        catalog
    }

    fn add(&mut self, data: VendorData) {
        let first = self.products.len();
        self.products
            .extend(data.products.into_iter().map(|product| Product {
                vendor: data.vendor.clone(),
                vendor_names: data.name.clone(),
                code: product.code,
                names: product.name,
                sources: product.sources,
                verified: product.verified,
                resource: product.resource,
                example: product.example,
                region: product.region,
                data: product.data,
            }));
        for event in data.events {
            let mut own = self.products.iter().skip(first);
            let Some(product) = own.find(|product| product.code == event.product) else {
                continue;
            };
            let entry = Entry {
                vendor: data.vendor.clone(),
                source: product.sources.first().cloned().unwrap_or_default(),
                product_names: product.names.clone(),
                product: event.product,
                slug: event.slug,
                kind: event.r#type,
                aliases: event.aliases,
                recovers: event.ends,
                names: event.name,
                severity: event.severity,
                class: event.kind,
                recoverable: event.recoverable,
                retired: event.retired,
                about: event.about,
                advice: event.advice,
                state: AlarmState::parse(&event.state),
                states: event
                    .states
                    .into_iter()
                    .map(|(word, means)| (word, AlarmState::parse(&means)))
                    .collect(),
                group: event.group,
                vars: event.vars,
                data: event.data,
            };
            let at = self.entries.len();
            self.by_template.insert(entry.template(), at);
            for spelling in entry.aliases.iter().chain([&entry.kind]) {
                self.by_kind.insert(spelling.clone(), at);
                self.by_plain.insert(plain(spelling), at);
            }
            self.entries.push(entry);
        }
    }
}

#[cfg(test)]
mod tests;
