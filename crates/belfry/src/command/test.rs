//! `belfry rule test` and `belfry pattern test`: does it match, and why not?

use std::path::PathBuf;

use clap::Subcommand;
use http::Method;
use serde_json::Value;

use super::{read_input, show};
use crate::cli::Remote;
use crate::client::{Call, segment};
use crate::failure::{Exit, Failure, Result};
use crate::output::{Colour, Format, Output, printable};

/// Commands about rules.
#[derive(Debug, Subcommand)]
pub enum RuleCommand {
    /// Says which rules of a bus match an event, and for the others why not; exit code 4 if none does
    Test {
        /// File with the event, - for standard input.
        event: PathBuf,
        /// The bus.
        #[arg(long, default_value = "default")]
        bus: String,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
}

/// Commands about patterns.
#[derive(Debug, Subcommand)]
pub enum PatternCommand {
    /// Says whether a pattern matches an event, and why not; exit code 4 if it does not
    Test {
        /// File with the pattern as JSON, or the pattern itself.
        pattern: String,
        /// File with the event, - for standard input.
        event: PathBuf,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
}

/// Does it.
pub async fn rule(command: RuleCommand) -> Result {
    let RuleCommand::Test { event, bus, remote } = command;
    let (client, out) = remote.open()?;
    let event = read_input(&event)?;
    let body = json_text("the event", &event)?.to_owned();
    let path = format!("/v1/buses/{}/rules:test", segment(&bus));
    let answer = client
        .call(&Call::new(Method::POST, path).body("application/json", body))
        .await?;
    let value = answer.json()?;
    let rules = value
        .get("rules")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let matched = rules.iter().any(is_match);
    if out.format == Format::Table {
        if rules.is_empty() {
            out.note(format!("bus {bus} has no rules"));
        }
        for rule in &rules {
            let name = show::cell(rule, &["/rule"]);
            verdict(out, &name, rule)?;
        }
    } else {
        out.document(&answer.text())?;
    }
    if matched {
        Ok(())
    } else {
        Err(Failure::silent(Exit::Different))
    }
}

/// Does it.
pub async fn pattern(command: PatternCommand) -> Result {
    let PatternCommand::Test {
        pattern,
        event,
        remote,
    } = command;
    let (client, out) = remote.open()?;
    let text = if pattern.trim_start().starts_with('{') {
        pattern
    } else {
        read_input(&PathBuf::from(pattern))?
    };
    let event = read_input(&event)?;
    let body = format!(
        "{{\"pattern\":{},\"event\":{}}}",
        json_text("the pattern", &text)?,
        json_text("the event", &event)?
    );
    let answer = client
        .call(&Call::new(Method::POST, "/v1/patterns:test").body("application/json", body))
        .await?;
    let value = answer.json()?;
    if out.format == Format::Table {
        verdict(out, "pattern", &value)?;
    } else {
        out.document(&answer.text())?;
    }
    if is_match(&value) {
        Ok(())
    } else {
        Err(Failure::silent(Exit::Different))
    }
}

/// The text as it is, once it is known to be one JSON value: it becomes part of a larger one.
fn json_text<'a>(what: &str, text: &'a str) -> Result<&'a str> {
    serde_json::from_str::<&serde_json::value::RawValue>(text.trim_start_matches('\u{feff}'))
        .map(serde_json::value::RawValue::get)
        .map_err(|error| Failure::usage(format!("{what} is no JSON: {error}")))
}

fn is_match(value: &Value) -> bool {
    value.get("matched").and_then(Value::as_bool) == Some(true)
}

fn verdict(out: Output, name: &str, value: &Value) -> Result {
    let name = printable(name);
    if is_match(value) {
        return out.line(format!("{}  {name}", out.paint(Colour::Green, "match   ")));
    }
    out.line(format!("{}  {name}", out.paint(Colour::Red, "no match")))?;
    for leaf in leaves(value) {
        out.line(format!("          {}", printable(&leaf)))?;
    }
    Ok(())
}

/// The leaves of an explanation that did not match.
fn leaves(value: &Value) -> Vec<String> {
    let explanation = value.get("explanation").unwrap_or(&Value::Null);
    let leaves = explanation
        .get("leaves")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let mut lines: Vec<String> = leaves
        .filter(|leaf| leaf.get("satisfied").and_then(Value::as_bool) == Some(false))
        .map(|leaf| {
            format!(
                "{}: {}",
                show::cell(leaf, &["/path"]),
                show::cell(leaf, &["/message"])
            )
        })
        .collect();
    let texts = [explanation.get("reason"), value.get("problem")];
    lines.extend(
        texts
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned),
    );
    lines
}
