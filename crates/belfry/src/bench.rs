//! `belfry bench`: how many events this machine accepts and delivers with full durability, and how fast.
//!
//! It starts this very program as a server of its own in a new directory, with the settings that a user would have, a
//! webhook receiver, and senders, all on this machine; so the server's share is what is left beside them. It owns the
//! method and the numbers, and must never reach into the server: everything goes over HTTP, as for any sender.
//!
//! | module | owns |
//! |---|---|
//! | `run` | one server through several phases of load |
//! | `budget` | what every quantity must be, and the runs that show it |
//! | `backlog` | a dead receiver with a great many deliveries waiting |
//! | `load`, `sink`, `wire` | senders and receiver |
//! | `server` | the server as a child, and what the kernel says of it |
//! | `machine` | what the machine does by itself |
//! | `report` | the figures of a run |

mod backlog;
mod budget;
mod load;
mod machine;
mod report;
mod run;
mod server;
mod sink;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::failure::{Failure, Result};
use crate::output::{Format, Output};

use self::run::{PacePlan, PhasePlan, Plan};
use self::server::ScratchDir;

/// Measures events accepted and delivered per second, and their latency, on this machine.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchArgs {
    /// What to measure; absent: one run, as fast as possible and then at a fixed rate.
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Connections that send.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=2048))]
    connections: u16,
    /// Webhook targets that every event goes to; 0: events are only stored.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=20))]
    fan_out: u16,
    /// Events per second of the second phase; absent: half of what the first phase reached.
    #[arg(long)]
    rate: Option<u32>,
    /// Sign deliveries (Standard Webhooks), as targets do by default.
    #[arg(long)]
    signed: bool,
    /// Requests that each target has on the way at once; absent: as many as targets do by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: Option<u16>,
    /// The targets keep order, by a key of which there are so many; absent: no order.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    order_keys: Option<u32>,
    /// Size of an event in bytes.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(300..=200_000))]
    event_bytes: u32,
    /// As on a slow disk: each commit takes so many milliseconds longer.
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1000))]
    commit_delay: u64,
}

/// What to measure.
#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// Every quantity of the budget, with what it must be: several runs, about six minutes.
    Budget {
        /// Deliveries that wait for a dead receiver; 0 leaves that part out.
        #[arg(long, default_value_t = 1_000_000)]
        pending: u64,
    },
    /// A dead receiver with a great many deliveries waiting: memory, restart, and how fast they go when it is back.
    Backlog {
        /// How many wait.
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
        pending: u64,
    },
}

/// Where and how the server runs.
#[derive(Debug, Clone, clap::Args)]
struct PlaceArgs {
    /// Seconds of each phase.
    #[arg(long, global = true, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// The database: `sqlite`, or the URL of a Postgres database, in which each server of the benchmark makes a schema of
    /// its own that stays there.
    #[arg(long, global = true, default_value = "sqlite", value_name = "sqlite|URL", value_parser = Database::read)]
    store: Database,
    /// The first process of that Postgres (its `postmaster.pid`), if it runs here: its CPU time is counted as well.
    #[arg(long, global = true, value_name = "PID")]
    postgres_pid: Option<u32>,
    /// Where database and scratch files are made; they are removed afterwards. Absent: below the current directory.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    /// Settings for the server, as for `serve --set`.
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
    /// How the figures are shown.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Format,
}

/// Which database the server is measured with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Database {
    /// A file in the scratch directory.
    Sqlite,
    /// The database at a URL.
    Postgres(String),
}

impl Database {
    fn read(text: &str) -> std::result::Result<Self, String> {
        match text {
            "sqlite" => Ok(Self::Sqlite),
            url if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                Ok(Self::Postgres(url.to_owned()))
            }
            _ => Err("expected sqlite, or a URL postgres://...".to_owned()),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "Postgres",
        }
    }
}

/// Where the servers of a benchmark run.
#[derive(Debug, Clone)]
struct Place {
    database: Database,
    postgres_pid: Option<u32>,
    parent: PathBuf,
    settings: Vec<String>,
}

impl Place {
    /// A directory for one server.
    fn scratch(&self) -> anyhow::Result<ScratchDir> {
        server::scratch_dir(&self.parent)
    }

    /// The settings of one server, as variables: arguments, of which the URL may hold a password, can be read by others.
    fn variables(&self, scratch: &ScratchDir, commit_delay: Duration) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        let mut set = |name: &str, value: String| {
            variables.push((format!("BELFRY_STORE__{name}"), value));
        };
        if !commit_delay.is_zero() {
            set("COMMIT_DELAY_MS", commit_delay.as_millis().to_string());
        }
        if let Database::Postgres(url) = &self.database {
            set("URL", url.clone());
            set("SCHEMA", scratch.name.clone());
        }
        variables
    }
}

/// Runs the benchmark and prints the figures.
pub fn main(args: BenchArgs) -> Result {
    let output = Output::new(args.place.output);
    // Senders and receiver need both cores as much as the server does: one thread would measure itself.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime cannot be started: {error}")))?;
    runtime.block_on(measure(args, output))
}

async fn measure(args: BenchArgs, output: Output) -> Result {
    let window = Duration::from_secs(args.place.seconds);
    let place = Place {
        database: args.place.store.clone(),
        postgres_pid: args.place.postgres_pid,
        parent: args.place.dir.clone().unwrap_or_else(|| PathBuf::from(".")),
        settings: args.place.settings.clone(),
    };
    let failed = |error: anyhow::Error| Failure::failed(format!("{error:#}"));
    match args.what {
        None => {
            let report = run::run(&plan(&args, window), &place)
                .await
                .map_err(failed)?;
            show(output, &report, || report.text())
        }
        Some(What::Budget { pending }) => {
            let remark = |text: &str| output.note(text);
            let budget = budget::measure(window, pending, &place, remark)
                .await
                .map_err(failed)?;
            show(output, &budget, || budget.text())
        }
        Some(What::Backlog { pending }) => {
            let event_bytes = usize::try_from(args.event_bytes).unwrap_or(600);
            let figures = backlog::run(pending, event_bytes, &place)
                .await
                .map_err(failed)?;
            show(output, &figures, || figures.text())
        }
    }
}

fn show(output: Output, figures: &impl Serialize, text: impl FnOnce() -> String) -> Result {
    if output.format == Format::Table {
        return output.text(&text());
    }
    let json = serde_json::to_string(figures)
        .map_err(|error| Failure::failed(format!("the figures cannot be shown: {error}")))?;
    output.document(&json)
}

fn plan(args: &BenchArgs, window: Duration) -> Plan {
    let phase = |name, pace| PhasePlan {
        name,
        pace,
        connections: args.connections,
        window,
    };
    Plan {
        fan_out: args.fan_out,
        signed: args.signed,
        concurrency: args.concurrency,
        order_keys: args.order_keys,
        event_bytes: usize::try_from(args.event_bytes).unwrap_or(600),
        flush_delay: Duration::from_millis(args.commit_delay),
        phases: vec![
            phase("as fast as possible", PacePlan::Max),
            phase(
                "at a fixed rate",
                args.rate.map_or(PacePlan::Half, PacePlan::Rate),
            ),
        ],
    }
}
