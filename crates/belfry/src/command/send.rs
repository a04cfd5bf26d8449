//! `belfry send`: events from flags, files or standard input.
//!
//! One thread reads lines, batches of them are posted several at a time, and every line ends as accepted, duplicate
//! or failed; failed lines are named. An event without `id` gets one here, before the first try, so that a repeated
//! request is recognised by the server as the duplicate it is.

mod batch;
mod lines;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use http::Method;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::batch::{Outcome, Poster};
use self::lines::{Line, LineSource};
use super::read_input;
use crate::cli::Remote;
use crate::client::{Call, Client, segment};
use crate::failure::{Context as _, Exit, Failure, Result};
use crate::output::{Format, Output, Table};

/// Arguments of `send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Files with one event as JSON, or (.ndjson, .jsonl) one event a line; - for standard input, one event a line.
    #[arg(conflicts_with_all = ["source", "kind", "subject", "data", "id", "template"])]
    files: Vec<PathBuf>,
    /// The bus.
    #[arg(long, default_value = "default")]
    bus: String,
    /// Where the event comes from.
    #[arg(long, requires = "kind", help_heading = "Event")]
    source: Option<String>,
    /// What happened.
    #[arg(
        long = "type",
        value_name = "TYPE",
        requires = "source",
        group = "what",
        help_heading = "Event"
    )]
    kind: Option<String>,
    /// What it happened to.
    #[arg(long, requires = "kind", help_heading = "Event")]
    subject: Option<String>,
    /// The payload: JSON, or any text, which becomes a JSON text.
    #[arg(long, requires = "what", help_heading = "Event")]
    data: Option<String>,
    /// The event's id; made up if left out.
    #[arg(long, requires = "kind", help_heading = "Event")]
    id: Option<String>,
    /// Sends a simulated event of the catalog, such as cvm/ping-unreachable (`belfry catalog list`).
    #[arg(
        long,
        group = "what",
        conflicts_with_all = ["source", "kind"],
        help_heading = "Simulated event"
    )]
    template: Option<String>,
    /// The id of the resource it is about; the product's example if left out.
    #[arg(long, requires = "template", help_heading = "Simulated event")]
    resource: Option<String>,
    /// 1 fires, 0 has recovered.
    #[arg(
        long,
        requires = "template",
        allow_hyphen_values = true,
        help_heading = "Simulated event"
    )]
    status: Option<String>,
    /// Shows the event and sends nothing.
    #[arg(long, requires = "template", help_heading = "Simulated event")]
    dry_run: bool,
    /// Reads files as one event a line whatever they are called.
    #[arg(long, requires = "files")]
    lines: bool,
    /// Events in one request (1 to 500).
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=500), value_name = "N")]
    batch: u16,
    /// Requests under way at once (1 to 64).
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64), value_name = "N")]
    parallel: u8,
    /// How often a request is tried again after 429, 503 or a failed connection.
    #[arg(long, default_value_t = 8, value_name = "N")]
    retries: u32,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// What became of everything.
#[derive(Debug, Default)]
struct Totals {
    accepted: u64,
    duplicates: u64,
    failed: u64,
    /// Server ids, while they are few enough to be shown.
    shown: Vec<(String, bool)>,
}

/// Events that are listed one by one instead of counted.
const SHOWN_MAX: usize = 10;

impl Totals {
    fn add(&mut self, outcome: &Outcome, out: Output) {
        for (id, duplicate) in &outcome.accepted {
            if *duplicate {
                self.duplicates += 1;
            } else {
                self.accepted += 1;
            }
            if self.shown.len() <= SHOWN_MAX {
                self.shown.push((id.clone(), *duplicate));
            }
        }
        for (place, detail) in &outcome.failed {
            self.failed += 1;
            out.note(format!("{place}: {detail}"));
        }
    }

    fn count(&self) -> u64 {
        self.accepted + self.duplicates + self.failed
    }
}

/// Sends them.
pub async fn run(args: SendArgs) -> Result {
    let (client, out) = args.remote.open()?;
    if let Some(template) = &args.template {
        return simulate(&client, out, &args, template).await;
    }
    let sources = sources(&args)?;
    let poster = Arc::new(Poster {
        client,
        path: format!("/v1/buses/{}/events", segment(&args.bus)),
        retries: args.retries,
    });
    let progress = progress();
    let mut totals = Totals::default();
    let result = post_all(&args, sources, &poster, &progress, &mut totals, out).await;
    progress.finish_and_clear();
    if result.is_ok() || totals.count() > 0 {
        report(out, &args, &totals)?;
    }
    result?;
    if totals.failed > 0 {
        Err(Failure::silent(Exit::Failed))
    } else {
        Ok(())
    }
}

/// Has the server make an event of the catalog and post it.
async fn simulate(client: &Client, out: Output, args: &SendArgs, template: &str) -> Result {
    let mut body = json!({ "template": template });
    if let Some(resource) = &args.resource {
        body["resource"] = Value::from(resource.as_str());
    }
    if let Some(status) = &args.status {
        body["status"] = Value::from(status.as_str());
    }
    if let Some(data) = &args.data {
        body["data"] = serde_json::from_str(data).unwrap_or_else(|_| Value::from(data.as_str()));
    }
    let path = format!("/v1/buses/{}/events:simulate", segment(&args.bus));
    let mut call = Call::new(Method::POST, path).body("application/json", body.to_string());
    if args.dry_run {
        call = call.query("dryRun", "true");
    }
    let answer = client.call(&call).await?;
    if out.format != Format::Table {
        return out.document(&answer.text());
    }
    let answer = answer.json()?;
    match answer.get("eventUid").and_then(Value::as_str) {
        Some(uid) => {
            let mut table = Table::new(&["EVENT", "RESULT"]);
            table.row([uid, "accepted"]);
            out.table(&table)
        }
        None => out.document(&answer["event"].to_string()),
    }
}

fn sources(args: &SendArgs) -> Result<Vec<LineSource>> {
    if let (Some(source), Some(kind)) = (&args.source, &args.kind) {
        let mut event = json!({ "source": source, "type": kind });
        if let Some(members) = event.as_object_mut() {
            members.extend(
                args.id
                    .as_ref()
                    .map(|id| ("id".to_owned(), Value::from(id.as_str()))),
            );
            members.extend(
                args.subject
                    .as_ref()
                    .map(|subject| ("subject".to_owned(), Value::from(subject.as_str()))),
            );
        }
        let mut text = event.to_string();
        if let Some(data) = &args.data {
            // As written, if it is JSON: numbers in it are not ours to rewrite.
            let raw = serde_json::from_str::<&serde_json::value::RawValue>(data).map_or_else(
                |_| Value::from(data.as_str()).to_string(),
                |raw| raw.get().to_owned(),
            );
            text.pop();
            for part in [",\"data\":", &raw, "}"] {
                text.push_str(part);
            }
        }
        return Ok(vec![LineSource::single("the event", text)]);
    }
    if args.files.is_empty() {
        return Err(Failure::usage("nothing to send")
            .hint("name a file, - for standard input, or give --source and --type (and --subject, --data), or --template"));
    }
    args.files
        .iter()
        .map(|file| source(file, args.lines))
        .collect()
}

fn source(file: &Path, lines: bool) -> Result<LineSource> {
    let by_name = file
        .extension()
        .is_some_and(|end| end == "ndjson" || end == "jsonl");
    if file == Path::new("-") {
        return Ok(LineSource::stdin());
    }
    if lines || by_name {
        return LineSource::file(file).context(file.display());
    }
    Ok(LineSource::single(
        &file.display().to_string(),
        read_input(file)?,
    ))
}

async fn post_all(
    args: &SendArgs,
    sources: Vec<LineSource>,
    poster: &Arc<Poster>,
    progress: &ProgressBar,
    totals: &mut Totals,
    out: Output,
) -> Result {
    let mut lines = lines::read(sources, usize::from(args.batch) * 2);
    let slots = Arc::new(Semaphore::new(usize::from(args.parallel)));
    let mut under_way: JoinSet<Result<Outcome>> = JoinSet::new();
    let mut ended = false;
    let mut failed = None;
    while !ended || !under_way.is_empty() {
        tokio::select! {
            Some(done) = under_way.join_next() => {
                match done.context("a request was given up")? {
                    Ok(outcome) => totals.add(&outcome, out),
                    // Nothing more is begun, but what is under way still counts.
                    Err(failure) => {
                        ended = true;
                        failed = failed.or(Some(failure));
                    }
                }
                progress.set_position(totals.count());
            }
            (batch, slot) = next(&mut lines, &slots, usize::from(args.batch)), if !ended => {
                if batch.is_empty() {
                    ended = true;
                    continue;
                }
                let poster = Arc::clone(poster);
                under_way.spawn(async move {
                    let outcome = poster.post(batch).await;
                    drop(slot);
                    outcome
                });
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

type Slot = Option<tokio::sync::OwnedSemaphorePermit>;

/// A place for a request, and lines for it. May be cut off: lines that were taken are kept for the next call.
async fn next(lines: &mut lines::Lines, slots: &Arc<Semaphore>, max: usize) -> (Vec<Line>, Slot) {
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    (lines.batch(max).await, slot)
}

fn progress() -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(None, target);
    match ProgressStyle::with_template("{spinner} {human_pos} events  {per_sec}  {elapsed}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn report(out: Output, args: &SendArgs, totals: &Totals) -> Result {
    if out.format != Format::Table {
        let events: Vec<Value> = totals
            .shown
            .iter()
            .take(SHOWN_MAX)
            .map(|(id, duplicate)| json!({ "eventUid": id, "duplicate": duplicate }))
            .collect();
        let report = json!({
            "bus": args.bus,
            "accepted": totals.accepted,
            "duplicates": totals.duplicates,
            "failed": totals.failed,
            "events": events,
        });
        return out.document(&report.to_string());
    }
    if totals.shown.len() <= SHOWN_MAX && !totals.shown.is_empty() {
        let mut table = Table::new(&["EVENT", "RESULT"]);
        for (id, duplicate) in &totals.shown {
            table.row([
                id.as_str(),
                if *duplicate {
                    "duplicate of this one"
                } else {
                    "accepted"
                },
            ]);
        }
        out.table(&table)?;
    }
    if totals.count() != 1 || totals.failed > 0 {
        out.line(format!(
            "accepted {}, duplicates {}, failed {}",
            totals.accepted, totals.duplicates, totals.failed
        ))?;
    }
    Ok(())
}
