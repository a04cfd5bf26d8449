//! `belfry target preview` and `belfry target test`: what would be sent, and does it arrive?

use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::delivery::exchange;
use super::{read_input, show};
use crate::cli::Remote;
use crate::client::Call;
use crate::failure::{Exit, Failure, Result};
use crate::output::{Format, Output};

/// Commands about targets.
#[derive(Debug, Subcommand)]
pub enum TargetCommand {
    /// Shows what a target would send for an event; sends nothing
    Preview(Trial),
    /// Sends a marked test message and shows the receiver's answer; exit code 4 if it did not take it
    Test(Trial),
}

/// Which target, and with which event.
#[derive(Debug, Args)]
pub struct Trial {
    /// The target: RULE/TARGET or BUS/RULE/TARGET.
    target: String,
    /// The event.
    #[command(flatten)]
    event: ChosenEvent,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// The event that something is tried out with.
#[derive(Debug, Args)]
pub(super) struct ChosenEvent {
    /// File with the event, - for standard input; without it a sample alarm.
    #[arg(long, conflicts_with_all = ["event_id", "template"])]
    event: Option<PathBuf>,
    /// The id of a stored event.
    #[arg(long, conflicts_with = "template")]
    event_id: Option<String>,
    /// An event of the catalog, such as cvm/disk-readonly (`belfry catalog list`).
    #[arg(long)]
    template: Option<String>,
}

/// Does it.
pub async fn run(command: TargetCommand) -> Result {
    let (sends, trial) = match command {
        TargetCommand::Preview(trial) => (false, trial),
        TargetCommand::Test(trial) => (true, trial),
    };
    let (client, out) = trial.remote.open()?;
    let body = trial.body()?;
    let path = if sends {
        "/v1/targets:test"
    } else {
        "/v1/targets:preview"
    };
    let answer = client
        .call(&Call::new(Method::POST, path).body("application/json", body.to_string()))
        .await?;
    let value = answer.json()?;
    if out.format != Format::Table {
        out.document(&answer.text())?;
    } else if sends {
        show_test(out, &value)?;
    } else {
        show_preview(out, &value)?;
    }
    if sends && value.get("delivered").and_then(Value::as_bool) != Some(true) {
        return Err(Failure::silent(Exit::Different));
    }
    Ok(())
}

impl Trial {
    fn body(&self) -> Result<Value> {
        let parts: Vec<&str> = self.target.split('/').collect();
        let (bus, rule, name) = match parts.as_slice() {
            [rule, name] => ("default", *rule, *name),
            [bus, rule, name] => (*bus, *rule, *name),
            _ => {
                return Err(Failure::usage(format!(
                    "{}: expected RULE/TARGET or BUS/RULE/TARGET",
                    self.target
                )));
            }
        };
        let mut body = Map::new();
        body.insert("bus".to_owned(), json!(bus));
        body.insert("rule".to_owned(), json!(rule));
        body.insert("name".to_owned(), json!(name));
        self.event.add_to(&mut body)?;
        Ok(Value::Object(body))
    }
}

impl ChosenEvent {
    /// Says it in the body of a trial.
    pub(super) fn add_to(&self, body: &mut Map<String, Value>) -> Result {
        if let Some(path) = &self.event {
            let text = read_input(path)?;
            let event: Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
                .map_err(|error| Failure::usage(format!("the event is no JSON: {error}")))?;
            body.insert("event".to_owned(), event);
        }
        if let Some(id) = &self.event_id {
            body.insert("eventUid".to_owned(), json!(id));
        }
        if let Some(template) = &self.template {
            body.insert("template".to_owned(), json!(template));
        }
        Ok(())
    }
}

fn show_preview(out: Output, value: &Value) -> Result {
    let requests = list(value, "requests");
    if requests.is_empty() {
        let why = show::cell(value, &["/nothing"]);
        return out.line(format!("nothing would be sent: {why}"));
    }
    for (n, request) in requests.iter().enumerate() {
        exchange(
            out,
            &format!("request {}", n + 1),
            &json!({ "request": request }),
        )?;
    }
    Ok(())
}

fn show_test(out: Output, value: &Value) -> Result {
    for attempt in list(value, "attempts") {
        let mut title = show::cell(attempt, &["/verdict"]);
        for more in ["/reason", "/detail"] {
            let text = show::cell(attempt, &[more]);
            if !text.is_empty() {
                title = format!("{title}  {text}");
            }
        }
        exchange(out, &title, attempt)?;
    }
    Ok(())
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}
