//! One measured run: a server of its own, a receiver, senders, phase after phase, and between the phases what the machine
//! does by itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::Place;
use super::load::{Load, Pace, Until};
use super::machine::{CpuTimes, Limits, limits};
use super::report::{Percentiles, Phase, Report};
use super::server::{Hooks, Server, family_cpu};
use super::sink::Sink;

/// How long the senders run before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// A receiver that has got nothing for so long will not get the rest.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is to be measured.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) fan_out: u16,
    pub(super) signed: bool,
    /// Requests of each target at once, if it is not the usual number.
    pub(super) concurrency: Option<u16>,
    /// Keys by which the targets keep order.
    pub(super) order_keys: Option<u32>,
    pub(super) event_bytes: usize,
    /// What a flush takes longer than it does.
    pub(super) flush_delay: Duration,
    pub(super) phases: Vec<PhasePlan>,
}

impl Plan {
    fn hooks(&self) -> Hooks {
        Hooks {
            count: self.fan_out,
            signed: self.signed,
            concurrency: self.concurrency,
            ordered: self.order_keys.is_some(),
        }
    }
}

/// One phase of it.
#[derive(Debug, Clone)]
pub(super) struct PhasePlan {
    pub(super) name: &'static str,
    pub(super) pace: PacePlan,
    pub(super) connections: u16,
    pub(super) window: Duration,
}

/// How fast a phase goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum PacePlan {
    /// As fast as answers come.
    Max,
    /// So many events a second.
    Rate(u32),
    /// Half of what the phase before reached.
    Half,
}

/// Runs the plan.
pub(super) async fn run(plan: &Plan, place: &Place) -> anyhow::Result<Report> {
    let scratch = place.scratch()?;
    let dir = &scratch.path;
    let sink = Sink::start().await?;
    let variables = place.variables(&scratch, plan.flush_delay);
    let server = Server::start(dir, &place.settings, &variables, None)
        .await
        .context("the server did not start")?;
    if plan.fan_out > 0 {
        server.make_rule(&sink.url(), &plan.hooks()).await?;
    }
    let idle_memory_bytes = server.memory_bytes()?;
    let load = Load::new(server.address, &server.key, plan.event_bytes, sink.clock());
    let load = Arc::new(load.with_keys(plan.order_keys));
    let expected = |load: &Load| load.accepted() * u64::from(plan.fan_out);
    // So that connections, caches and the database file are as in the middle of a day.
    let first = plan.phases.first().map_or(1, |phase| phase.connections);
    load.run(Pace::Closed, first, Until::Elapsed(WARM_UP))
        .await?;
    sink.settle(expected(&load), PATIENCE).await;

    let mut phases: Vec<Phase> = Vec::new();
    for phase in &plan.phases {
        write_out().await?;
        let speed = match phase.pace {
            PacePlan::Max => Pace::Closed,
            PacePlan::Rate(per_second) => Pace::Open { per_second },
            PacePlan::Half => Pace::Open {
                per_second: half(phases.last().map_or(0.0, |phase| reached(phase, plan))),
            },
        };
        let machine = || limits(dir, phase.connections, plan.event_bytes, speed);
        let before = machine().await?;
        let mut measured = measure(
            phase,
            speed,
            plan,
            &load,
            &sink,
            &server,
            place.postgres_pid,
        )
        .await?;
        measured.limits = before.mean(machine().await?);
        phases.push(measured);
    }

    let database_bytes = server.used_bytes().await?;
    let accepted = load.accepted();
    let report = Report {
        database: place.database.name(),
        flush_delay_ms: u64::try_from(plan.flush_delay.as_millis())?,
        ready_ms: u64::try_from(server.ready_after.as_millis())?,
        idle_memory_bytes,
        peak_memory_bytes: server.peak_memory_bytes()?,
        fan_out: plan.fan_out,
        signed: plan.signed,
        concurrency: plan.concurrency,
        order_keys: plan.order_keys,
        event_bytes: plan.event_bytes,
        events: accepted,
        database_bytes_per_event: database_bytes / accepted.max(1),
        delivered: sink.received(),
        duplicates: sink.duplicates(),
        lost: expected(&load).saturating_sub(sink.received() - sink.duplicates()),
        phases,
    };
    server.stop().await?;
    Ok(report)
}

/// What was written before, the warm-up and earlier phases, goes to the disk. Else the kernel does so in the middle of this
/// phase, at once, and flushes wait for it: half a gigabyte after ten seconds at the limit of Postgres, 0.3 s.
async fn write_out() -> anyhow::Result<()> {
    tokio::task::spawn_blocking(rustix::fs::sync).await?;
    Ok(())
}

async fn measure(
    phase: &PhasePlan,
    pace: Pace,
    plan: &Plan,
    load: &Arc<Load>,
    sink: &Sink,
    server: &Server,
    postgres_pid: Option<u32>,
) -> anyhow::Result<Phase> {
    let postgres_cpu = || postgres_pid.map(family_cpu).transpose();
    sink.begin_phase();
    let (cpu_before, postgres_before) = (server.cpu()?, postgres_cpu()?);
    let (received_before, written_before) = (sink.received(), server.written_bytes()?);
    let times_before = CpuTimes::now();
    let begun = tokio::time::Instant::now();
    let mut answers = load
        .run(pace, phase.connections, Until::Elapsed(phase.window))
        .await?;
    let sending = begun.elapsed().as_secs_f64();
    let received_at_end = sink.received();
    sink.settle(load.accepted() * u64::from(plan.fan_out), PATIENCE)
        .await;
    let stolen_percent = CpuTimes::now()
        .zip(times_before)
        .map(|(after, before)| after.stolen_percent(before));
    let cpu = server.cpu()?.saturating_sub(cpu_before);
    let written = server.written_bytes()?.saturating_sub(written_before);
    let postgres = postgres_cpu()?
        .zip(postgres_before)
        .map(|(after, before)| after.saturating_sub(before));
    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
    let (sent, received) = (
        answers.len() as f64,
        (received_at_end - received_before) as f64,
    );
    let per_event = |time: Duration| time.as_secs_f64() * 1e6 / sent.max(1.0);
    Ok(Phase {
        name: phase.name,
        connections: phase.connections,
        rate: match pace {
            Pace::Closed => None,
            Pace::Open { per_second } => Some(per_second),
        },
        seconds: sending,
        accepted_per_second: sent / sending,
        delivered_per_second: received / sending,
        accept_us: Percentiles::of(&mut answers),
        receipt_us: Percentiles::of(&mut sink.end_phase()),
        cpu_us_per_event: per_event(cpu),
        postgres_cpu_us_per_event: postgres.map(per_event),
        written_bytes_per_event: written / u64::try_from(answers.len())?.max(1),
        memory_bytes: server.memory_bytes()?,
        stolen_percent,
        limits: Limits::default(),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate of at most some 100,000"
)]
fn half(per_second: f64) -> u32 {
    ((per_second / 2.0) as u32).max(1)
}

/// Events a second that got through: those in order wait for each other after their 202.
fn reached(phase: &Phase, plan: &Plan) -> f64 {
    let delivered = phase.delivered_per_second / f64::from(plan.fan_out.max(1));
    if plan.order_keys.is_some() {
        phase.accepted_per_second.min(delivered)
    } else {
        phase.accepted_per_second
    }
}
