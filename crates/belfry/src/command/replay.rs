//! `belfry replay`: stored events are put onto their bus again.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::resource::{moment, pages};
use super::{read_input, show};
use crate::cli::Remote;
use crate::client::{Call, segment};
use crate::failure::{Failure, Result};
use crate::output::{Format, Output};

/// Commands about replays.
#[derive(Debug, Subcommand)]
pub enum ReplayCommand {
    /// Puts stored events onto their bus again, or counts them
    Start(Box<StartArgs>),
    /// Shows a replay and where it stands
    Show(OneArgs),
    /// Lists replays, newest first
    List {
        /// At most so many.
        #[arg(short = 'n', long, default_value_t = 50)]
        limit: usize,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
    /// Makes a running replay wait
    Pause(OneArgs),
    /// Lets a paused replay go on
    Resume(OneArgs),
    /// Ends a replay; what it has put back stays
    Cancel(OneArgs),
}

/// One replay.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// The replay: rpl_...
    id: String,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// What to replay.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Events that were posted to this bus.
    #[arg(long, default_value = "default")]
    bus: String,
    /// Read from this archive of the bus, not from the history.
    #[arg(long)]
    archive: Option<String>,
    /// Accepted at or after: 2026-11-21T08:00:00Z, or a span back from now such as 15m, 2h, 7d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Accepted before: like --since. Never later than the start.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only events that match this pattern: a file, or - for standard input.
    #[arg(long, value_name = "FILE")]
    pattern: Option<std::path::PathBuf>,
    /// Only this event: evt_... Several: repeat it.
    #[arg(long = "event", value_delimiter = ',', value_name = "ID")]
    events: Vec<String>,
    /// Only to targets of this rule. Several: repeat it.
    #[arg(long = "rule", value_delimiter = ',', value_name = "RULE")]
    rules: Vec<String>,
    /// Only to this target: RULE/TARGET.
    #[arg(long, value_name = "RULE/TARGET", conflicts_with = "rules")]
    to: Option<String>,
    /// Most events in a second.
    #[arg(long, value_name = "EVENTS")]
    rate: Option<u32>,
    /// What it is for.
    #[arg(long, default_value = "")]
    description: String,
    /// Only say how many events it would put back.
    #[arg(long)]
    dry_run: bool,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

impl StartArgs {
    fn body(&self) -> Result<Value> {
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
        put(
            "from",
            match &self.archive {
                Some(archive) => json!({"bus": self.bus, "archive": archive}),
                None => json!({"bus": self.bus}),
            },
        );
        if !self.description.is_empty() {
            put("description", json!(self.description));
        }
        for (name, time) in [("since", &self.since), ("until", &self.until)] {
            if let Some(time) = time {
                put(name, json!(moment(time)));
            }
        }
        if let Some(path) = &self.pattern {
            let text = read_input(path)?;
            let pattern: Value = serde_json::from_str(&text).map_err(|error| {
                Failure::usage(format!(
                    "{}: the pattern is no JSON: {error}",
                    path.display()
                ))
            })?;
            put("pattern", pattern);
        }
        for (name, list) in [("eventUids", &self.events), ("rules", &self.rules)] {
            if !list.is_empty() {
                put(name, json!(list));
            }
        }
        if let Some(to) = &self.to {
            let (rule, target) = to
                .split_once('/')
                .ok_or_else(|| Failure::usage(format!("{to}: expected RULE/TARGET")))?;
            put("to", json!({"rule": rule, "target": target}));
        }
        if let Some(rate) = self.rate {
            put("ratePerSecond", json!(rate));
        }
        Ok(body.into())
    }
}

/// Does it.
pub async fn run(command: ReplayCommand) -> Result {
    match command {
        ReplayCommand::Start(args) => start(*args).await,
        ReplayCommand::Show(args) => one(&args, Method::GET, "").await,
        ReplayCommand::Pause(args) => one(&args, Method::POST, "/pause").await,
        ReplayCommand::Resume(args) => one(&args, Method::POST, "/resume").await,
        ReplayCommand::Cancel(args) => one(&args, Method::POST, "/cancel").await,
        ReplayCommand::List { limit, remote } => {
            let (client, out) = remote.open()?;
            let (items, more) = pages(&client, &Call::get("/v1/replays"), limit).await?;
            show::list(out, show::REPLAYS, &items)?;
            if more && out.format == Format::Table {
                out.note("there are more; show more with --limit");
            }
            Ok(())
        }
    }
}

async fn start(args: StartArgs) -> Result {
    let body = args.body()?;
    let (client, out) = args.remote.open()?;
    let mut call = Call::new(Method::POST, "/v1/replays").json(&body);
    if args.dry_run {
        call = call.query("dryRun", "true");
    }
    let answer = client.call(&call).await?;
    if out.format != Format::Table {
        return out.document(&answer.text());
    }
    let answer = answer.json()?;
    let of = |pointer: &str| show::cell(&answer, &[pointer]);
    if args.dry_run {
        let at_least = if of("/exact") == "yes" {
            ""
        } else {
            "at least "
        };
        return out.line(format!(
            "{at_least}{} events would be put back",
            of("/count")
        ));
    }
    out.line(format!("replay {} is running", of("/id")))?;
    out.note(format!("watch it with: belfry replay show {}", of("/id")));
    Ok(())
}

async fn one(args: &OneArgs, method: Method, action: &str) -> Result {
    let (client, out) = args.remote.open()?;
    let path = format!("/v1/replays/{}{action}", segment(&args.id));
    let answer = client.call(&Call::new(method, path)).await?;
    if out.format != Format::Table {
        return out.document(&answer.text());
    }
    show_replay(out, &answer.json()?)
}

fn show_replay(out: Output, replay: &Value) -> Result {
    let of = |pointer: &str| show::cell(replay, &[pointer]);
    show::facts(
        out,
        &[
            ("replay", of("/id")),
            ("state", of("/state")),
            ("done", format!("{} %", of("/percent"))),
            ("seconds left", of("/etaSeconds")),
            ("looked at", of("/lookedAt")),
            ("replayed", of("/replayed")),
            ("error", of("/error")),
            ("from bus", of("/from/bus")),
            ("from archive", of("/from/archive")),
            ("since", of("/since")),
            ("until", of("/until")),
            ("rules", of("/rules")),
            ("to", of("/to")),
            ("rate", of("/ratePerSecond")),
            ("started by", of("/createdBy")),
            ("started", of("/createdAt")),
            ("moved", of("/updatedAt")),
            ("ended", of("/endedAt")),
            ("description", of("/description")),
        ],
    )
}
