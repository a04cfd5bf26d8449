//! `belfry alarm`: what is open now, and who was told of it.

use clap::Subcommand;
use serde_json::Value;

use super::resource::pages;
use super::show;
use crate::cli::Remote;
use crate::client::{Call, segment};
use crate::failure::Result;
use crate::output::{Format, Output};

/// Commands about alarms.
#[derive(Debug, Subcommand)]
pub enum AlarmCommand {
    /// Lists alarms, those with the newest event first; without options: what is open now
    List {
        /// Of this bus.
        #[arg(long)]
        bus: Option<String>,
        /// open, recovered or all.
        #[arg(long, default_value = "open")]
        state: String,
        /// At least so severe: critical, error, warning or info.
        #[arg(long)]
        severity: Option<String>,
        /// Whose last event has this type.
        #[arg(long)]
        r#type: Option<String>,
        /// Whose last event has this source.
        #[arg(long)]
        source: Option<String>,
        /// Whose last event has this subject.
        #[arg(long)]
        subject: Option<String>,
        /// At most so many.
        #[arg(short = 'n', long, default_value_t = 50)]
        limit: usize,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
    /// Shows an alarm, who was told of it, and what became of its first and last events
    Show {
        /// The alarm: alm_...
        id: String,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
}

/// Does it.
pub async fn run(command: AlarmCommand) -> Result {
    match command {
        AlarmCommand::List {
            bus,
            state,
            severity,
            r#type,
            source,
            subject,
            limit,
            remote,
        } => {
            let (client, out) = remote.open()?;
            let mut call = Call::get("/v1/alarms").query("state", &state);
            for (name, value) in [
                ("bus", bus),
                ("severity", severity),
                ("type", r#type),
                ("source", source),
                ("subject", subject),
            ] {
                if let Some(value) = value {
                    call = call.query(name, &value);
                }
            }
            let (items, more) = pages(&client, &call, limit).await?;
            show::list(out, show::ALARMS, &items)?;
            if more && out.format == Format::Table {
                out.note("there are more; show more with --limit");
            }
            Ok(())
        }
        AlarmCommand::Show { id, remote } => {
            let (client, out) = remote.open()?;
            let path = format!("/v1/alarms/{}", segment(&id));
            let answer = client.call(&Call::get(path)).await?;
            if out.format != Format::Table {
                return out.document(&answer.text());
            }
            show_alarm(out, &answer.json()?)
        }
    }
}

fn show_alarm(out: Output, found: &Value) -> Result {
    let of = |pointer: &str| show::cell(found, &[pointer]);
    show::facts(
        out,
        &[
            ("alarm", of("/alarm/id")),
            ("state", of("/alarm/state")),
            ("severity", of("/alarm/severity")),
            ("title", of("/alarm/title")),
            ("type", of("/alarm/type")),
            ("subject", of("/alarm/subject")),
            ("source", of("/alarm/source")),
            ("bus", of("/alarm/bus")),
            ("key", of("/alarm/key")),
            ("fired", of("/alarm/count")),
            ("since", of("/alarm/since")),
            ("last event", of("/alarm/lastAt")),
            ("recovered", of("/alarm/recoveredAt")),
        ],
    )?;
    for (heading, pointer, columns) in [
        ("told", "/alarm/told", show::TOLD),
        ("deliveries", "/deliveries", show::DELIVERIES),
    ] {
        let items = found.pointer(pointer).and_then(Value::as_array);
        let items = items.map(Vec::as_slice).unwrap_or_default();
        if !items.is_empty() {
            out.line("")?;
            out.line(format!("{heading}:"))?;
            show::list(out, columns, items)?;
        }
    }
    Ok(())
}
