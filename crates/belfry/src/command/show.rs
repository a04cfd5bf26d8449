//! Tables of what the server sends.

use serde_json::Value;

use crate::failure::Result;
use crate::output::{Format, Output, Table};

/// A column: its heading, and where its value stands (the first pointer that finds something).
pub type Column = (&'static str, &'static [&'static str]);

/// Shows a list: as a table for people, else as it came.
pub fn list(out: Output, columns: &[Column], items: &[Value]) -> Result {
    if out.format != Format::Table {
        return out.document(&Value::from(items.to_vec()).to_string());
    }
    if items.is_empty() {
        out.note("nothing found");
        return Ok(());
    }
    let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
    let mut table = Table::new(&heads);
    for item in items {
        table.row(columns.iter().map(|(_, pointers)| cell(item, pointers)));
    }
    out.table(&table)
}

/// The text of one cell.
pub fn cell(item: &Value, pointers: &[&str]) -> String {
    pointers
        .iter()
        .find_map(|pointer| item.pointer(pointer))
        .map(text)
        .unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(members) => match (members.get("rule"), members.get("target")) {
            // What an event matched.
            (Some(rule), Some(target)) => format!("{}/{}", text(rule), text(target)),
            // Maps by name: the targets of a rule.
            _ => members.keys().cloned().collect::<Vec<_>>().join(", "),
        },
    }
}

/// Named values, one a line.
pub fn facts(out: Output, facts: &[(&str, String)]) -> Result {
    let width = facts
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0);
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        let value = crate::output::printable(value);
        out.line(format!(
            "{}  {value}",
            out.paint(crate::output::Colour::Dim, &format!("{name:width$}"))
        ))?;
    }
    Ok(())
}

/// Columns of buses.
pub const BUSES: &[Column] = &[
    ("NAME", &["/name"]),
    ("RULES", &["/rules"]),
    ("DEDUP", &["/dedup/mode"]),
    ("EVENTS", &["/usage/events"]),
    ("BYTES", &["/usage/bytes"]),
    ("UPDATED", &["/updatedAt"]),
    ("DESCRIPTION", &["/description"]),
];
/// Columns of archives.
pub const ARCHIVES: &[Column] = &[
    ("NAME", &["/name"]),
    ("ENABLED", &["/enabled"]),
    ("EVENTS", &["/usage/events"]),
    ("BYTES", &["/usage/bytes"]),
    ("OLDEST", &["/usage/oldestAt"]),
    ("NEWEST", &["/usage/newestAt"]),
    ("DESCRIPTION", &["/description"]),
];
/// Columns of the catalog's products.
pub const CATALOG_PRODUCTS: &[Column] = &[
    ("PRODUCT", &["/code"]),
    ("VENDOR", &["/vendor"]),
    ("NAME", &["/name/en"]),
    ("NAME (ZH)", &["/name/zh"]),
    ("EVENTS", &["/events"]),
];
/// Columns of the catalog's events.
pub const CATALOG_EVENTS: &[Column] = &[
    ("TEMPLATE", &["/template"]),
    ("SEVERITY", &["/severity"]),
    ("NAME", &["/name/en"]),
    ("NAME (ZH)", &["/name/zh"]),
    ("TYPE", &["/type"]),
    ("RECOVERS", &["/recoverable"]),
];
/// Columns of replays.
pub const REPLAYS: &[Column] = &[
    ("REPLAY", &["/id"]),
    ("STATE", &["/state"]),
    ("BUS", &["/from/bus"]),
    ("ARCHIVE", &["/from/archive"]),
    ("PERCENT", &["/percent"]),
    ("REPLAYED", &["/replayed"]),
    ("STARTED", &["/createdAt"]),
    ("DESCRIPTION", &["/description"]),
];
/// Columns of functions.
pub const FUNCTIONS: &[Column] = &[
    ("FUNCTION", &["/name"]),
    ("RUNTIME", &["/runtime"]),
    ("HANDLER", &["/handler"]),
    ("ENABLED", &["/enabled"]),
    ("DESCRIPTION", &["/description"]),
    ("CHANGED", &["/updatedAt"]),
];
/// Columns of versions of a function.
pub const FUNCTION_VERSIONS: &[Column] = &[
    ("VERSION", &["/version"]),
    ("PUBLISHED", &["/publishedAt"]),
    ("DESCRIPTION", &["/description"]),
];
/// Columns of aliases of a function.
pub const FUNCTION_ALIASES: &[Column] = &[
    ("ALIAS", &["/alias"]),
    ("VERSION", &["/version"]),
    ("ALSO", &["/weights"]),
    ("DESCRIPTION", &["/description"]),
];
/// Columns of invocations.
pub const INVOCATIONS: &[Column] = &[
    ("INVOCATION", &["/requestId"]),
    ("STARTED", &["/startedAt"]),
    ("FUNCTION", &["/function"]),
    ("VERSION", &["/version"]),
    ("OUTCOME", &["/outcome"]),
    ("MS", &["/durationMs"]),
    ("TRIGGER", &["/trigger"]),
    ("TRY", &["/attempt"]),
    ("DELIVERY", &["/delivery"]),
    ("ERROR", &["/error/message"]),
];
/// Columns of rules.
pub const RULES: &[Column] = &[
    ("NAME", &["/name"]),
    ("ENABLED", &["/enabled"]),
    ("TARGETS", &["/targets"]),
    ("UPDATED", &["/updatedAt"]),
    ("DESCRIPTION", &["/description"]),
];
/// Columns of targets.
pub const TARGETS: &[Column] = &[
    ("NAME", &["/name"]),
    ("TYPE", &["/type"]),
    ("ENABLED", &["/enabled"]),
    ("DISABLED", &["/disabled/reason"]),
    (
        "TO",
        &["/settings/url", "/settings/log", "/settings/function"],
    ),
    ("DESCRIPTION", &["/description"]),
];
/// Columns of keys.
pub const KEYS: &[Column] = &[
    ("ID", &["/id"]),
    ("NAME", &["/name"]),
    ("ACTIVE", &["/active"]),
    ("SCOPES", &["/scopes"]),
    ("CREATED", &["/createdAt"]),
    ("EXPIRES", &["/revokedAt", "/expiresAt"]),
];
/// Columns of logs.
pub const LOGS: &[Column] = &[
    ("NAME", &["/name"]),
    ("KEPT (DAYS)", &["/retentionDays"]),
    ("NEWEST", &["/newestAt"]),
];
/// Columns of nodes.
pub const NODES: &[Column] = &[
    ("NUMBER", &["/number"]),
    ("NAME", &["/name"]),
    ("STATE", &["/state"]),
    ("VERSION", &["/version"]),
    ("STARTED", &["/startedAt"]),
    ("LEASE LEFT (MS)", &["/leaseLeftMs"]),
    ("SETTLED UNTIL", &["/settledUntil"]),
];
/// Columns of events.
pub const EVENTS: &[Column] = &[
    ("EVENT", &["/eventUid"]),
    ("ACCEPTED", &["/acceptedAt"]),
    ("BUS", &["/bus"]),
    ("TYPE", &["/event/type"]),
    ("SUBJECT", &["/event/subject"]),
    ("SOURCE", &["/event/source"]),
    ("MATCHED", &["/matches"]),
];
/// Columns of alarms.
pub const ALARMS: &[Column] = &[
    ("ALARM", &["/id"]),
    ("STATE", &["/state"]),
    ("SEVERITY", &["/severity"]),
    ("SINCE", &["/since"]),
    ("FIRED", &["/count"]),
    ("LAST", &["/lastAt"]),
    ("BUS", &["/bus"]),
    ("TYPE", &["/type"]),
    ("SUBJECT", &["/subject"]),
    ("TITLE", &["/title"]),
    ("TOLD", &["/told"]),
];
/// Columns of who was told of an alarm.
pub const TOLD: &[Column] = &[
    ("RULE", &["/rule"]),
    ("TARGET", &["/target"]),
    ("TYPE", &["/type"]),
    ("STATE", &["/state"]),
    ("MESSAGES", &["/count"]),
    ("FIRST", &["/firstAt"]),
    ("LAST", &["/lastAt"]),
    ("DELIVERY", &["/delivery"]),
];
/// Columns of deliveries.
pub const DELIVERIES: &[Column] = &[
    ("DELIVERY", &["/id"]),
    ("UPDATED", &["/updatedAt"]),
    ("STATUS", &["/status"]),
    ("RULE", &["/rule"]),
    ("TARGET", &["/target"]),
    ("EVENT TYPE", &["/event/type"]),
    ("SUBJECT", &["/event/subject"]),
    ("TRIES", &["/attempts"]),
    ("CODE", &["/statusCode"]),
    // A success has no reason, but may have something to tell: who was not reached, in which message it went.
    ("REASON", &["/reason", "/detail"]),
];
/// Columns of attempts.
pub const ATTEMPTS: &[Column] = &[
    ("#", &["/number"]),
    ("STARTED", &["/startedAt"]),
    ("MS", &["/durationMs"]),
    ("TRIGGER", &["/trigger"]),
    ("CODE", &["/statusCode"]),
    ("REASON", &["/reason"]),
    ("DETAIL", &["/detail"]),
    ("NEXT", &["/nextAttemptAt"]),
];
/// Columns of log entries.
pub const ENTRIES: &[Column] = &[
    ("AT", &["/at"]),
    ("EVENT TYPE", &["/event/type"]),
    ("SUBJECT", &["/event/subject"]),
    ("TEXT", &["/text"]),
];
