//! `belfry bench`: how many events this machine accepts and delivers with full durability, and how fast.
//!
//! It starts this very program as a server of its own in a new directory, with the settings that a user would have, a
//! webhook receiver, and senders, all on this machine; so the server's share is what is left beside them. It owns the
//! method and the numbers, and must never reach into the server: everything goes over HTTP, as for any sender.

mod load;
mod machine;
mod report;
mod server;
mod sink;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::failure::{Failure, Result};
use crate::output::{Format, Output};

use self::load::{Load, Pace};
use self::report::{Phase, Report};
use self::server::Server;
use self::sink::Sink;

/// Measures events accepted and delivered per second, and their latency, on this machine.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchArgs {
    /// Seconds of each phase.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Connections that send.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=2048))]
    pub connections: u16,
    /// Webhook targets that every event goes to.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub fan_out: u16,
    /// Events per second of the second phase; absent: half of what the first phase reached.
    #[arg(long)]
    pub rate: Option<u32>,
    /// Sign deliveries (Standard Webhooks), as targets do by default.
    #[arg(long)]
    pub signed: bool,
    /// Size of an event in bytes.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(300..=200_000))]
    pub event_bytes: u32,
    /// Where the database is made; it is removed afterwards. Absent: a new directory beside the current one.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Settings for the server, as for `serve --set`.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub settings: Vec<String>,
    /// Print the figures as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs the benchmark and prints the figures.
pub fn main(args: BenchArgs) -> Result {
    let output = Output::new(if args.json {
        Format::Json
    } else {
        Format::Table
    });
    // Senders and receiver need both cores as much as the server does: one thread would measure itself.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime cannot be started: {error}")))?;
    let figures = runtime
        .block_on(run(args))
        .map_err(|error| Failure::failed(format!("{error:#}")))?;
    output.text(&figures)
}

async fn run(args: BenchArgs) -> anyhow::Result<String> {
    let parent = args.dir.clone().unwrap_or_else(|| PathBuf::from("."));
    let dir = server::scratch_dir(&parent)?;
    let flush = machine::flush_times(&dir.path)?;
    let sink = Sink::start().await?;
    let server = Server::start(&dir.path, &args.settings)
        .await
        .context("the server did not start")?;
    server
        .make_rule(&sink.url(), args.fan_out, args.signed)
        .await?;

    let mut phases = Vec::new();
    let window = Duration::from_secs(args.seconds);
    let load = Arc::new(Load::new(
        server.address,
        &server.key,
        usize::try_from(args.event_bytes)?,
        sink.clock(),
    ));
    // A short warm-up, so that connections, caches and the database file are as in the middle of a day.
    load.run(Pace::Closed, args.connections, Duration::from_secs(1))
        .await?;
    sink.settle(load.accepted() * u64::from(args.fan_out)).await;

    phases.push(
        phase(
            "as fast as possible",
            &args,
            &load,
            &sink,
            &server,
            Pace::Closed,
            window,
        )
        .await?,
    );
    let reached = phases
        .first()
        .map_or(0.0, |phase: &Phase| phase.accepted_per_second);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate of at most some 100,000"
    )]
    let rate = args.rate.unwrap_or((reached / 2.0) as u32).max(1);
    phases.push(
        phase(
            "at a fixed rate",
            &args,
            &load,
            &sink,
            &server,
            Pace::Open { per_second: rate },
            window,
        )
        .await?,
    );

    let database_bytes = machine::bytes_below(&dir.path);
    let accepted = load.accepted();
    server.stop().await?;
    let report = Report {
        flush,
        phases,
        fan_out: args.fan_out,
        signed: args.signed,
        event_bytes: args.event_bytes,
        connections: args.connections,
        events: accepted,
        database_bytes,
        delivered: sink.received(),
        duplicates: sink.duplicates(),
        lost: (accepted * u64::from(args.fan_out))
            .saturating_sub(sink.received() - sink.duplicates()),
    };
    if args.json {
        report.json()
    } else {
        Ok(report.text())
    }
}

async fn phase(
    name: &'static str,
    args: &BenchArgs,
    load: &Arc<Load>,
    sink: &Sink,
    server: &Server,
    pace: Pace,
    window: Duration,
) -> anyhow::Result<Phase> {
    sink.begin_phase();
    let before = server.cpu()?;
    let received_before = sink.received();
    let begun = tokio::time::Instant::now();
    let mut answers = load.run(pace, args.connections, window).await?;
    let sending = begun.elapsed().as_secs_f64();
    let received_at_end = sink.received();
    sink.settle(load.accepted() * u64::from(args.fan_out)).await;
    let cpu = server.cpu()?.saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
    let (sent, received) = (
        answers.len() as f64,
        (received_at_end - received_before) as f64,
    );
    Ok(Phase {
        name,
        rate: match pace {
            Pace::Closed => None,
            Pace::Open { per_second } => Some(per_second),
        },
        seconds: sending,
        accepted_per_second: sent / sending,
        delivered_per_second: received / sending,
        accept_us: report::Percentiles::of(&mut answers),
        receipt_us: report::Percentiles::of(&mut sink.end_phase()),
        cpu_us_per_event: cpu.as_secs_f64() * 1e6 / sent.max(1.0),
        memory_bytes: server.memory_bytes()?,
    })
}
