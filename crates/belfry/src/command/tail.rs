//! `belfry tail`: deliveries as they happen.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::show;
use crate::cli::Remote;
use crate::client::sse::{SseEvent, Stream};
use crate::client::{Call, Client};
use crate::failure::Result;
use crate::output::{Colour, Format, Output, printable};

/// Arguments of `tail`.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// Only of this bus.
    #[arg(long)]
    bus: Option<String>,
    /// Only of this rule.
    #[arg(long)]
    rule: Option<String>,
    /// Only of this target.
    #[arg(long)]
    target: Option<String>,
    /// Only in this state; several separated by commas.
    #[arg(long)]
    status: Option<String>,
    /// Only events of this type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Ends after so many.
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

const RECONNECT_FIRST: Duration = Duration::from_millis(500);
const RECONNECT_MAX: Duration = Duration::from_secs(10);

/// Shows them until interrupted; connects again when the server goes away.
pub async fn run(args: TailArgs) -> Result {
    let (client, out) = args.remote.open()?;
    let call = Call::get("/v1/deliveries:tail")
        .maybe("bus", args.bus.as_deref())
        .maybe("rule", args.rule.as_deref())
        .maybe("target", args.target.as_deref())
        .maybe("status", args.status.as_deref());
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut wait = RECONNECT_FIRST;
    let mut connected_once = false;
    loop {
        match client.open(&call).await {
            Ok(body) => {
                if out.format == Format::Table {
                    out.note(format!("connected to {}; ends with Ctrl-C", client.base()));
                }
                connected_once = true;
                wait = RECONNECT_FIRST;
                if follow(Stream::new(body), out, args.kind.as_deref(), &mut left).await? {
                    return Ok(());
                }
            }
            // What never worked will not start to; a refusal stays one. A server that restarts comes back.
            Err(failure) if !connected_once || !failure.transient => return Err(failure),
            Err(_) => {}
        }
        pause(&client, out, wait).await;
        wait = (wait * 2).min(RECONNECT_MAX);
    }
}

async fn pause(client: &Client, out: Output, wait: Duration) {
    out.note(format!(
        "connection to {} lost; trying again",
        client.base()
    ));
    tokio::time::sleep(wait).await;
}

/// Whether all that were asked for were shown.
async fn follow(
    mut stream: Stream,
    out: Output,
    kind: Option<&str>,
    left: &mut u64,
) -> Result<bool> {
    if *left == 0 {
        return Ok(true);
    }
    while let Some(events) = stream.next().await? {
        for event in events {
            if show(out, kind, &event)? {
                *left -= 1;
                if *left == 0 {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// Whether it was a delivery.
fn show(out: Output, kind: Option<&str>, event: &SseEvent) -> Result<bool> {
    let Ok(value) = serde_json::from_str::<Value>(&event.data) else {
        return Ok(false);
    };
    if event.name == "skipped" {
        out.note(format!(
            "{} deliveries were missed: more happened than could be shown",
            show::cell(&value, &["/count"])
        ));
    }
    if event.name != "delivery" {
        return Ok(false);
    }
    if kind.is_some_and(|kind| value.get("type").and_then(Value::as_str) != Some(kind)) {
        return Ok(false);
    }
    if out.format != Format::Table {
        // One object a line, for programs that read as it comes.
        out.line(&event.data)?;
        return Ok(true);
    }
    let of = |pointers: &[&str]| printable(&show::cell(&value, pointers));
    let status = of(&["/status"]);
    let padded = format!("{status:9}");
    let painted = Colour::of_status(&status)
        .map_or_else(|| padded.clone(), |colour| out.paint(colour, &padded));
    let mut line = format!(
        "{}  {painted}  {}/{}/{}  {}",
        time(&value),
        of(&["/bus"]),
        of(&["/rule"]),
        of(&["/target"]),
        of(&["/type"]),
    );
    for part in [
        of(&["/subject"]),
        of(&["/statusCode"]),
        of(&["/reason"]),
        of(&["/detail"]),
    ] {
        if !part.is_empty() {
            line.push_str("  ");
            line.push_str(&part);
        }
    }
    out.line(format!("{line}  {}", out.paint(Colour::Dim, &of(&["/id"]))))?;
    Ok(true)
}

fn time(value: &Value) -> String {
    let at = show::cell(value, &["/at"]);
    // Live: the day is today.
    chrono::DateTime::parse_from_rfc3339(&at)
        .map_or(at, |at| at.format("%H:%M:%S%.3fZ").to_string())
}
