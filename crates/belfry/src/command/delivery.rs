//! `belfry event` and `belfry delivery`: what became of one event, and sending again.

use clap::Subcommand;
use http::Method;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::resource::Filters;
use super::show;
use crate::cli::Remote;
use crate::client::{Call, Client, segment};
use crate::failure::{Failure, Result};
use crate::output::{Colour, Format, Output, pretty, printable};

/// Commands about one event.
#[derive(Debug, Subcommand)]
pub enum EventCommand {
    /// Shows an event, the rules that matched and what became of each delivery
    Show {
        /// The event: evt_...
        id: String,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
}

/// Commands about deliveries.
#[derive(Debug, Subcommand)]
#[expect(
    clippy::large_enum_variant,
    reason = "made once, from the command line"
)]
pub enum DeliveryCommand {
    /// Shows a delivery with every attempt: request, answer, what comes next
    Show {
        /// The delivery: dlv_...
        id: String,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
    /// Sends again what was given up: one delivery, or all that the filters find
    Retry {
        /// The delivery: dlv_...; leave it out and give filters for many.
        #[arg(required_unless_present_any = ["bus", "rule", "target", "status", "type", "source", "subject", "q", "since", "until"])]
        id: Option<String>,
        /// Which ones.
        #[command(flatten)]
        filters: Filters,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
}

/// Does it.
pub async fn event(command: EventCommand) -> Result {
    let EventCommand::Show { id, remote } = command;
    let (client, out) = remote.open()?;
    if out.format == Format::Table {
        return show_event(&client, out, &id).await;
    }
    out.document(
        &client
            .call(&Call::get(format!("/v1/events/{}", segment(&id))))
            .await?
            .text(),
    )
}

/// Does it.
pub async fn delivery(command: DeliveryCommand) -> Result {
    match command {
        DeliveryCommand::Show { id, remote } => {
            let (client, out) = remote.open()?;
            if out.format == Format::Table {
                return show_delivery(&client, out, &id).await;
            }
            out.document(
                &client
                    .call(&Call::get(format!("/v1/deliveries/{}", segment(&id))))
                    .await?
                    .text(),
            )
        }
        DeliveryCommand::Retry {
            id: Some(id),
            filters,
            remote,
        } => {
            if !filters.is_empty() {
                return Err(Failure::usage("give either a delivery or filters"));
            }
            let (client, out) = remote.open()?;
            let answer = client
                .call(
                    &Call::new(
                        Method::POST,
                        format!("/v1/deliveries/{}/retry", segment(&id)),
                    )
                    .json(&json!({})),
                )
                .await?;
            if out.format == Format::Table {
                out.note(format!(
                    "delivery {id} is queued again; watch it with: belfry delivery show {id}"
                ));
                return Ok(());
            }
            out.document(&answer.text())
        }
        DeliveryCommand::Retry {
            id: None,
            filters,
            remote,
        } => {
            let (client, out) = remote.open()?;
            let filter: serde_json::Map<String, Value> = filters
                .pairs()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), Value::from(value)))
                .collect();
            let body = json!({ "filter": filter });
            let answer = client
                .call(&Call::new(Method::POST, "/v1/deliveries:retry").json(&body))
                .await?;
            if out.format != Format::Table {
                return out.document(&answer.text());
            }
            let answer = answer.json()?;
            out.line(format!(
                "{} deliveries are queued again",
                show::cell(&answer, &["/count"])
            ))?;
            if answer.get("next").is_some() {
                out.note("there may be more: repeat the command");
            }
            Ok(())
        }
    }
}

/// An event for people.
pub async fn show_event(client: &Client, out: Output, id: &str) -> Result {
    let answer = client
        .call(&Call::get(format!("/v1/events/{}", segment(id))))
        .await?;
    let event = answer.json()?;
    let of = |pointers: &[&str]| show::cell(&event, pointers);
    show::facts(
        out,
        &[
            ("event", of(&["/eventUid"])),
            ("bus", of(&["/bus"])),
            ("accepted", of(&["/acceptedAt"])),
            ("id", of(&["/event/id"])),
            ("type", of(&["/event/type"])),
            ("source", of(&["/event/source"])),
            ("subject", of(&["/event/subject"])),
            ("trace", of(&["/traceId"])),
        ],
    )?;
    if let Some(Value::Array(deliveries)) = event.get("deliveries") {
        out.line("")?;
        if deliveries.is_empty() {
            out.line("no rule matched")?;
        } else {
            show::list(out, show::DELIVERIES, deliveries)?;
        }
    }
    if let Some(document) = document_of(&answer.body) {
        out.line("")?;
        out.line(pretty(document.get()))?;
    }
    Ok(())
}

/// The event as it was stored: as text, so that its numbers are shown as they are.
fn document_of(answer: &[u8]) -> Option<Box<RawValue>> {
    #[derive(serde::Deserialize)]
    struct Detail {
        event: Box<RawValue>,
    }
    serde_json::from_slice::<Detail>(answer)
        .ok()
        .map(|detail| detail.event)
}

/// A delivery for people.
pub async fn show_delivery(client: &Client, out: Output, id: &str) -> Result {
    let detail = client
        .value(&Call::get(format!("/v1/deliveries/{}", segment(id))))
        .await?;
    let delivery = detail.get("delivery").unwrap_or(&Value::Null);
    let of = |pointers: &[&str]| show::cell(delivery, pointers);
    let status = of(&["/status"]);
    let status = Colour::of_status(&status)
        .map_or_else(|| status.clone(), |colour| out.paint(colour, &status));
    out.line(format!("{} {status}", of(&["/id"])))?;
    show::facts(
        out,
        &[
            ("event", of(&["/eventUid"])),
            ("bus", of(&["/bus"])),
            ("rule", of(&["/rule"])),
            ("target", of(&["/target"])),
            ("event type", of(&["/event/type"])),
            ("subject", of(&["/event/subject"])),
            ("reason", of(&["/reason"])),
            ("detail", of(&["/detail"])),
            ("next attempt", of(&["/nextAttemptAt"])),
        ],
    )?;
    let Some(Value::Array(attempts)) = detail.get("attempts") else {
        return Ok(());
    };
    if attempts.is_empty() {
        let may_come = matches!(
            show::cell(delivery, &["/status"]).as_str(),
            "queued" | "retrying"
        );
        return out.line(if may_come {
            "no attempt yet"
        } else {
            "no attempt of its own"
        });
    }
    out.line("")?;
    show::list(out, show::ATTEMPTS, attempts)?;
    for attempt in attempts {
        show_exchange(out, attempt)?;
    }
    Ok(())
}

/// Lines of a body that are shown; the rest is in `-o json`.
const BODY_LINES_MAX: usize = 40;

/// Request and answer of one attempt.
fn show_exchange(out: Output, attempt: &Value) -> Result {
    let Some(record) = attempt.get("record").filter(|record| {
        let has = |part: &str| record.get(part).is_some_and(Value::is_object);
        has("request") || has("invocation")
    }) else {
        return Ok(());
    };
    let number = show::cell(attempt, &["/number"]);
    exchange(out, &format!("attempt {number}"), record)
}

/// The `request` and the `response` of a value, under a heading.
pub(super) fn exchange(out: Output, title: &str, of: &Value) -> Result {
    let part = |name: &str| of.get(name).filter(|part| part.is_object());
    out.line("")?;
    out.line(out.paint(Colour::Bold, title))?;
    if let Some(run) = part("invocation") {
        let version = match show::cell(run, &["/version"]) {
            none if none.is_empty() => none,
            version => format!(" of version {version}"),
        };
        out.line(format!(
            "invocation {}{version}: {}",
            show::cell(run, &["/requestId"]),
            show::cell(run, &["/outcome"]),
        ))?;
        out.note(format!(
            "see its log with: belfry function logs {}",
            show::cell(run, &["/requestId"])
        ));
    }
    let Some(request) = part("request") else {
        return Ok(());
    };
    out.line(format!(
        "> {} {}",
        show::cell(request, &["/method"]),
        printable(&show::cell(request, &["/url"]))
    ))?;
    headers(out, '>', request)?;
    body(out, '>', request)?;
    let Some(response) = part("response") else {
        return Ok(());
    };
    out.line(format!("< {}", show::cell(response, &["/status"])))?;
    headers(out, '<', response)?;
    body(out, '<', response)
}

fn headers(out: Output, mark: char, message: &Value) -> Result {
    for header in message
        .get("headers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let (name, value) = (show::cell(header, &["/0"]), show::cell(header, &["/1"]));
        out.line(format!(
            "{mark} {}: {}",
            printable(&name),
            printable(&value)
        ))?;
    }
    Ok(())
}

fn body(out: Output, mark: char, message: &Value) -> Result {
    if message.get("bodyIsEvent").and_then(Value::as_bool) == Some(true) {
        return out.line(format!("{mark}   (the event, see `belfry event show`)"));
    }
    let text = show::cell(message, &["/body"]);
    for line in text.lines().take(BODY_LINES_MAX) {
        out.line(format!("{mark}   {}", printable(line)))?;
    }
    Ok(())
}
