//! `belfry key`: API keys.

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::{resource, show};
use crate::cli::Remote;
use crate::client::{Answer, Call, segment};
use crate::failure::{Failure, Result};
use crate::output::{Format, Output};
use crate::settings::{Raw, SettingValue as _};

/// Commands about API keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Makes a key and prints it, once
    Create {
        /// Who or what uses it.
        #[arg(long)]
        name: String,
        /// What it may do: events:write, events:write:BUS, config:read, config:write, history:read, functions:write,
        /// functions:invoke, functions:use, admin. Several: repeat it.
        #[arg(
            long = "scope",
            required = true,
            value_delimiter = ',',
            value_name = "SCOPE"
        )]
        scopes: Vec<String>,
        /// When it stops working: 2027-01-01T00:00:00Z, or after a span such as 90d.
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        /// Requests per second; else the server's default.
        #[arg(long, value_name = "N")]
        requests_per_second: Option<u32>,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
    /// Lists keys; the keys themselves are not kept by the server
    List {
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
    /// Ends a key at once
    Revoke {
        /// The key's id: key_...
        id: String,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
    /// Makes a new key with the same rights; the old one goes on working for a while
    Rotate {
        /// The key's id: key_...
        id: String,
        /// How long the old key goes on working.
        #[arg(long, default_value = "24h", value_name = "SPAN")]
        overlap: String,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
}

/// Does it.
pub async fn run(command: KeyCommand) -> Result {
    match command {
        KeyCommand::Create {
            name,
            scopes,
            expires,
            requests_per_second,
            remote,
        } => {
            let (client, out) = remote.open()?;
            let expires = expires.map(|text| expiry(&text)).transpose()?;
            let body = json!({
                "name": name,
                "scopes": scopes,
                "expiresAt": expires,
                "requestsPerSecond": requests_per_second,
            });
            let answer = client
                .call(&Call::new(Method::POST, "/v1/keys").json(&without_nulls(body)))
                .await?;
            made(out, &answer)
        }
        KeyCommand::List { remote } => {
            let (client, out) = remote.open()?;
            let (keys, _) = resource::pages(&client, &Call::get("/v1/keys"), 10_000).await?;
            show::list(out, show::KEYS, &keys)
        }
        KeyCommand::Revoke { id, remote } => {
            let (client, out) = remote.open()?;
            client
                .call(&Call::new(
                    Method::DELETE,
                    format!("/v1/keys/{}", segment(&id)),
                ))
                .await?;
            out.note(format!("key {id} revoked"));
            Ok(())
        }
        KeyCommand::Rotate {
            id,
            overlap,
            remote,
        } => {
            let (client, out) = remote.open()?;
            let body = json!({ "overlapSeconds": span(&overlap)?.as_secs() });
            let path = format!("/v1/keys/{}/rotate", segment(&id));
            let answer = client
                .call(&Call::new(Method::POST, path).json(&body))
                .await?;
            made(out, &answer)
        }
    }
}

/// A new key: the key alone on standard output, so that `KEY=$(belfry key create ...)` works.
fn made(out: Output, answer: &Answer) -> Result {
    if out.format != Format::Table {
        return out.document(&answer.text());
    }
    let value = answer.json()?;
    let of = |pointers: &[&str]| show::cell(&value, pointers);
    out.note(format!(
        "{} {} ({}); shown only now:",
        of(&["/info/id"]),
        of(&["/info/name"]),
        of(&["/info/scopes"])
    ));
    out.line(of(&["/key"]))
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .collect(),
        other => other,
    }
}

fn span(text: &str) -> Result<std::time::Duration> {
    if text == "0" || text == "0s" {
        return Ok(std::time::Duration::ZERO);
    }
    std::time::Duration::read(&Raw::Text(text.to_owned())).ok_or_else(|| {
        Failure::usage(format!(
            "expected a span such as 30s, 15m, 24h or 90d, got {text:?}"
        ))
    })
}

/// A time as it is, a span counted from now.
fn expiry(text: &str) -> Result<String> {
    if chrono::DateTime::parse_from_rfc3339(text).is_ok() {
        return Ok(text.to_owned());
    }
    let now = belfry_model::Clock::now_ms(&belfry_model::SystemClock);
    let at = i64::try_from(span(text)?.as_millis())
        .ok()
        .and_then(|span| now.checked_add(span));
    at.and_then(belfry_model::event::timestamp)
        .ok_or_else(|| Failure::usage(format!("--expires {text}: this is too far away")))
}
