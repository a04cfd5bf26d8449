//! `belfry transform test`: what does a transform make of an event?

use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::target::ChosenEvent;
use super::{read_input, show};
use crate::cli::Remote;
use crate::client::Call;
use crate::failure::{Exit, Failure, Result};
use crate::output::{Colour, Format, Output, printable};

/// Commands about transforms.
#[derive(Debug, Subcommand)]
pub enum TransformCommand {
    /// Shows what a transform makes of an event; exit code 4 if it fails on it
    Test(Trial),
}

/// Which transform, and with which event.
#[derive(Debug, Args)]
pub struct Trial {
    /// File with the transform as JSON, or with the source of a script; - for standard input.
    #[arg(short, long)]
    file: PathBuf,
    /// The event.
    #[command(flatten)]
    event: ChosenEvent,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// Does it.
pub async fn run(command: TransformCommand) -> Result {
    let TransformCommand::Test(trial) = command;
    let (client, out) = trial.remote.open()?;
    let text = read_input(&trial.file)?;
    let text = text.trim_start_matches('\u{feff}');
    let transform = if text.trim_start().starts_with('{') {
        serde_json::from_str(text)
            .map_err(|error| Failure::usage(format!("the transform is no JSON: {error}")))?
    } else {
        json!({ "kind": "script", "source": text })
    };
    let mut body = Map::new();
    body.insert("transform".to_owned(), transform);
    trial.event.add_to(&mut body)?;
    let body = Value::Object(body).to_string();
    let answer = client
        .call(&Call::new(Method::POST, "/v1/transforms:test").body("application/json", body))
        .await?;
    let value = answer.json()?;
    if out.format == Format::Table {
        shown(out, &value)?;
    } else {
        out.document(&answer.text())?;
    }
    match value.get("error") {
        Some(_) => Err(Failure::silent(Exit::Different)),
        None => Ok(()),
    }
}

fn shown(out: Output, value: &Value) -> Result {
    let printed = value.get("printed").and_then(Value::as_str);
    for line in printed.unwrap_or_default().lines() {
        out.note(format!("print: {}", printable(line)));
    }
    let skipped = show::cell(value, &["/skipped"]);
    if let Some(error) = value.get("error") {
        let mut place = show::cell(error, &["/line"]);
        if !place.is_empty() {
            place = format!("line {place} column {}: ", show::cell(error, &["/column"]));
        }
        let message = show::cell(error, &["/message"]);
        out.line(out.paint(Colour::Red, &format!("{place}{}", printable(&message))))?;
        let hint = show::cell(error, &["/hint"]);
        if !hint.is_empty() {
            out.line(format!("hint: {}", printable(&hint)))?;
        }
    } else if !skipped.is_empty() {
        out.line(format!("nothing would be sent: {}", printable(&skipped)))?;
    } else {
        let output = value.get("output").and_then(Value::as_str);
        for line in output.unwrap_or_default().lines() {
            out.line(printable(line))?;
        }
    }
    Ok(())
}
