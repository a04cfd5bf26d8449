//! `belfry get`, `list` and `delete`: the same three for everything the API has.

use std::sync::LazyLock;

use belfry_app::documents::KINDS;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use http::Method;
use serde_json::Value;

use super::{delivery, show};
use crate::cli::Remote;
use crate::client::{Call, Client, segment};
use crate::failure::{Failure, Result};
use crate::output::Format;

/// What the API has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A bus.
    Bus,
    /// A rule.
    Rule,
    /// A target of a rule.
    Target,
    /// An archive.
    Archive,
    /// An API key.
    Key,
    /// A searchable log.
    Log,
    /// An accepted event.
    Event,
    /// One event for one target.
    Delivery,
    /// A server that shares the database.
    Node,
    /// A named document; the place of its kind among [`KINDS`].
    Document(usize),
}

/// What is no named document: the word for one, the word for several, what it is.
const WORDS: [(Kind, &str, &str, &str); 9] = [
    (Kind::Bus, "bus", "buses", "Where events are posted"),
    (Kind::Rule, "rule", "rules", "A pattern and its targets"),
    (
        Kind::Target,
        "target",
        "targets",
        "Where a rule's events go",
    ),
    (
        Kind::Archive,
        "archive",
        "archives",
        "Copies of a bus's events",
    ),
    (Kind::Key, "key", "keys", "An API key"),
    (Kind::Log, "log", "logs", "A searchable log"),
    (Kind::Event, "event", "events", "An accepted event"),
    (
        Kind::Delivery,
        "delivery",
        "deliveries",
        "One event for one target",
    ),
    (
        Kind::Node,
        "node",
        "nodes",
        "A server that shares the database (list only)",
    ),
];

impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Kind>> = LazyLock::new(|| {
            let documents = (0..KINDS.len()).map(Kind::Document);
            WORDS.iter().map(|word| word.0).chain(documents).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (one, several, about) = match *self {
            Self::Document(at) => {
                let kind = KINDS.get(at)?;
                let about = kind
                    .about()
                    .split_once(':')
                    .map_or_else(|| kind.about(), |cut| cut.0);
                (kind.one(), kind.name(), about.trim_end_matches('.'))
            }
            other => WORDS
                .iter()
                .find(|word| word.0 == other)
                .map(|(_, one, several, about)| (*one, *several, *about))?,
        };
        Some(PossibleValue::new(one).alias(several).help(about))
    }
}

/// Arguments of `get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// What.
    kind: Kind,
    /// Its name or id; what is on a bus also as BUS/NAME, a target as RULE/TARGET or BUS/RULE/TARGET.
    name: String,
    /// The bus, unless the name says it.
    #[arg(long, default_value = "default")]
    bus: String,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// What; a key is revoked.
    kind: Kind,
    /// Its name or id; what is on a bus also as BUS/NAME, a target as RULE/TARGET or BUS/RULE/TARGET.
    name: String,
    /// The bus, unless the name says it.
    #[arg(long, default_value = "default")]
    bus: String,
    /// Deletes a bus with all that is on it.
    #[arg(long)]
    cascade: bool,
    /// Says only whether it could be deleted.
    #[arg(long)]
    dry_run: bool,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// Which of the things to list.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct Filters {
    /// Of this bus.
    #[arg(long)]
    pub bus: Option<String>,
    /// Of this rule.
    #[arg(long)]
    pub rule: Option<String>,
    /// Of this target.
    #[arg(long)]
    pub target: Option<String>,
    /// In this state: queued, retrying, delivered, dead, expired, skipped. Several separated by commas.
    #[arg(long)]
    pub status: Option<String>,
    /// By their events.
    #[command(flatten)]
    pub event: EventFilters,
}

/// Which events something is about.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct EventFilters {
    /// Events of this type.
    #[arg(id = "type", long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Events of this source.
    #[arg(long)]
    pub source: Option<String>,
    /// Events with this subject.
    #[arg(long)]
    pub subject: Option<String>,
    /// With this text in it.
    #[arg(short, long = "text", value_name = "TEXT")]
    pub q: Option<String>,
    /// Not before: 2026-11-21T08:00:00Z, or a span back from now such as 15m, 2h, 7d.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before: like --since.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

type Pairs = Vec<(&'static str, String)>;

impl Filters {
    /// As parameters of the API.
    pub fn apply(&self, call: Call) -> Call {
        with(call, self.pairs())
    }

    /// Names and values of the API, of those that were given.
    pub fn pairs(&self) -> Pairs {
        let own = [
            ("bus", &self.bus),
            ("rule", &self.rule),
            ("target", &self.target),
            ("status", &self.status),
        ];
        let own = own
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)));
        own.chain(self.event.pairs()).collect()
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.pairs().is_empty()
    }
}

impl EventFilters {
    /// As parameters of the API.
    pub fn apply(&self, call: Call) -> Call {
        with(call, self.pairs())
    }

    fn pairs(&self) -> Pairs {
        [
            ("type", self.kind.clone()),
            ("source", self.source.clone()),
            ("subject", self.subject.clone()),
            ("q", self.q.clone()),
            ("since", self.since.as_deref().map(moment)),
            ("until", self.until.as_deref().map(moment)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

fn with(call: Call, pairs: Pairs) -> Call {
    pairs
        .into_iter()
        .fold(call, |call, (name, value)| call.query(name, value))
}

/// The API counts spans back from now with a minus sign, which would look like a flag here.
pub(super) fn moment(text: &str) -> String {
    let is_span = text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| "smhdw".contains(c));
    if is_span {
        format!("-{text}")
    } else {
        text.to_owned()
    }
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// What.
    kind: Kind,
    /// Which ones.
    #[command(flatten)]
    filters: Filters,
    /// At most so many.
    #[arg(short = 'n', long, default_value_t = 50)]
    limit: usize,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// Rows the server gives in one answer.
const PAGE_MAX: usize = 200;
const BUS_DEFAULT: &str = "default";

fn path(kind: Kind, bus: &str, name: &str) -> Result<String> {
    let parts: Vec<String> = name.split('/').map(segment).collect();
    let bus = segment(bus);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Ok(match (kind, parts.as_slice()) {
        (Kind::Bus, [name]) => format!("/v1/buses/{name}"),
        (Kind::Rule, [rule]) => format!("/v1/buses/{bus}/rules/{rule}"),
        (Kind::Rule, [bus, rule]) => format!("/v1/buses/{bus}/rules/{rule}"),
        (Kind::Archive, [archive]) => format!("/v1/buses/{bus}/archives/{archive}"),
        (Kind::Archive, [bus, archive]) => format!("/v1/buses/{bus}/archives/{archive}"),
        (Kind::Target, [rule, target]) => format!("/v1/buses/{bus}/rules/{rule}/targets/{target}"),
        (Kind::Target, [bus, rule, target]) => {
            format!("/v1/buses/{bus}/rules/{rule}/targets/{target}")
        }
        (Kind::Document(at), names) => document_path(at, &bus, names)
            .ok_or_else(|| Failure::usage(format!("{name}: expected {}", document_names(at))))?,
        (Kind::Key, [id]) => format!("/v1/keys/{id}"),
        (Kind::Log, _) => {
            return Err(Failure::usage(format!(
                "a log has only entries: belfry log search {name}"
            )));
        }
        (Kind::Node, _) => {
            return Err(Failure::usage(format!(
                "{name}: nodes are listed, each with all there is to say: belfry list nodes"
            )));
        }
        (Kind::Event, [id]) => format!("/v1/events/{id}"),
        (Kind::Delivery, [id]) => format!("/v1/deliveries/{id}"),
        (Kind::Target, _) => {
            return Err(Failure::usage(format!(
                "{name}: expected RULE/TARGET or BUS/RULE/TARGET"
            )));
        }
        _ => {
            return Err(Failure::usage(format!(
                "{name}: this name has too many parts"
            )));
        }
    })
}

/// The path of a named document, if it can have one of these names.
fn document_path(at: usize, bus: &str, names: &[&str]) -> Option<String> {
    let kind = KINDS.get(at)?;
    let (parts, name) = (kind.parts().len(), names.join("/"));
    match (kind.is_on_bus(), names) {
        (true, [bus, name]) if parts == 1 => {
            Some(format!("/v1/buses/{bus}/{}/{name}", kind.name()))
        }
        (true, names) if names.len() == parts => {
            Some(format!("/v1/buses/{bus}/{}/{name}", kind.name()))
        }
        (false, names) if names.len() == parts => Some(format!("/v1/{}/{name}", kind.name())),
        _ => None,
    }
}

/// How documents of a kind are named.
fn document_names(at: usize) -> String {
    let Some(kind) = KINDS.get(at) else {
        return String::new();
    };
    let name = kind.parts().join("/").to_uppercase();
    if kind.is_on_bus() {
        format!("{name} or BUS/{name}")
    } else {
        name
    }
}

/// Shows one thing.
pub async fn get(args: GetArgs) -> Result {
    let (client, out) = args.remote.open()?;
    match args.kind {
        Kind::Event if out.format == Format::Table => {
            return delivery::show_event(&client, out, &args.name).await;
        }
        Kind::Delivery if out.format == Format::Table => {
            return delivery::show_delivery(&client, out, &args.name).await;
        }
        _ => {}
    }
    let answer = client
        .call(&Call::get(path(args.kind, &args.bus, &args.name)?))
        .await?;
    out.document(&answer.text())
}

/// Lists things, page after page.
pub async fn list(args: ListArgs) -> Result {
    let (client, out) = args.remote.open()?;
    let bus = segment(args.filters.bus.as_deref().unwrap_or(BUS_DEFAULT));
    let mut of_kind = vec![("NAME", &["/name"] as &[_])];
    let (call, columns) = match args.kind {
        Kind::Bus => (Call::get("/v1/buses"), show::BUSES),
        Kind::Rule => (Call::get(format!("/v1/buses/{bus}/rules")), show::RULES),
        Kind::Target => {
            let Some(rule) = &args.filters.rule else {
                return Err(Failure::usage(
                    "targets belong to a rule: name it with --rule",
                ));
            };
            (
                Call::get(format!("/v1/buses/{bus}/rules/{}/targets", segment(rule))),
                show::TARGETS,
            )
        }
        Kind::Archive => (
            Call::get(format!("/v1/buses/{bus}/archives")),
            show::ARCHIVES,
        ),
        Kind::Document(at) => {
            let kind = KINDS
                .get(at)
                .ok_or_else(|| Failure::usage("no such kind"))?;
            of_kind.extend(kind.columns());
            of_kind.push(("UPDATED", &["/updatedAt"]));
            let path = if kind.is_on_bus() {
                format!("/v1/buses/{bus}/{}", kind.name())
            } else {
                format!("/v1/{}", kind.name())
            };
            (Call::get(path), of_kind.as_slice())
        }
        Kind::Key => (Call::get("/v1/keys"), show::KEYS),
        Kind::Log => (Call::get("/v1/logs"), show::LOGS),
        Kind::Node => (Call::get("/v1/nodes"), show::NODES),
        Kind::Event => (args.filters.apply(Call::get("/v1/events")), show::EVENTS),
        Kind::Delivery => (
            args.filters.apply(Call::get("/v1/deliveries")),
            show::DELIVERIES,
        ),
    };
    let (items, more) = pages(&client, &call, args.limit).await?;
    show::list(out, columns, &items)?;
    if more && out.format == Format::Table {
        out.note(format!(
            "there are more; show more with --limit, or narrow the filters ({} shown)",
            items.len()
        ));
    }
    Ok(())
}

/// Items of as many pages as needed, and whether there are more.
pub async fn pages(client: &Client, call: &Call, limit: usize) -> Result<(Vec<Value>, bool)> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = call
            .clone()
            .query(
                "limit",
                (limit - items.len()).clamp(1, PAGE_MAX).to_string(),
            )
            .maybe("cursor", cursor.take());
        let mut answer = client.value(&page).await?;
        if let Some(Value::Array(page)) = answer.get_mut("items").map(Value::take) {
            items.extend(page);
        }
        cursor = answer
            .get("next")
            .and_then(Value::as_str)
            .map(str::to_owned);
        if cursor.is_none() || items.len() >= limit {
            items.truncate(limit);
            return Ok((items, cursor.is_some()));
        }
    }
}

/// Deletes one thing.
pub async fn delete(args: DeleteArgs) -> Result {
    if matches!(
        args.kind,
        Kind::Event | Kind::Delivery | Kind::Log | Kind::Node
    ) {
        return Err(Failure::usage(
            "history is not deleted by hand; retention.age and retention.bytes bound it",
        ));
    }
    let (client, out) = args.remote.open()?;
    let mut call = Call::new(Method::DELETE, path(args.kind, &args.bus, &args.name)?);
    if args.cascade {
        call = call.query("cascade", "true");
    }
    if args.dry_run {
        call = call.query("dryRun", "true");
    }
    client.call(&call).await?;
    let done = match (args.dry_run, args.kind) {
        (true, _) => "could be deleted",
        (false, Kind::Key) => "revoked",
        (false, _) => "deleted",
    };
    let kind = args
        .kind
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default();
    out.note(format!("{kind} {} {done}", args.name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths() {
        assert_eq!(
            path(Kind::Rule, "default", "a").unwrap(),
            "/v1/buses/default/rules/a"
        );
        assert_eq!(
            path(Kind::Rule, "default", "b/a").unwrap(),
            "/v1/buses/b/rules/a"
        );
        assert_eq!(
            path(Kind::Archive, "default", "b/a").unwrap(),
            "/v1/buses/b/archives/a"
        );
        assert_eq!(
            path(Kind::Target, "default", "b/a/t").unwrap(),
            "/v1/buses/b/rules/a/targets/t"
        );
        assert_eq!(
            path(Kind::Bus, "x", "../keys").unwrap_err().exit,
            crate::failure::Exit::Usage
        );
        assert_eq!(
            path(Kind::Bus, "x", "a?b c").unwrap(),
            "/v1/buses/a%3Fb%20c"
        );
        assert!(path(Kind::Target, "default", "a").is_err());
        let document =
            |word: &str, name: &str| path(Kind::from_str(word, false).unwrap(), "default", name);
        assert_eq!(
            document("silences", "night").unwrap(),
            "/v1/buses/default/silences/night"
        );
        assert_eq!(
            document("silence", "b/night").unwrap(),
            "/v1/buses/b/silences/night"
        );
        assert_eq!(
            document("contact-group", "ops").unwrap(),
            "/v1/contact-groups/ops"
        );
        assert!(document("contact", "default/ann").is_err());
    }

    #[test]
    fn spans_count_back_from_now() {
        assert_eq!(moment("15m"), "-15m");
        assert_eq!(moment("2026-11-21T08:00:00Z"), "2026-11-21T08:00:00Z");
        assert_eq!(moment("now"), "now");
    }
}
