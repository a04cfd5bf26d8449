//! Chaos: servers under load while things go wrong, and the proof that nothing accepted is lost.
//!
//! | module | owns |
//! |---|---|
//! | [`scenario`] | the table: which faults meet which set-up, and what that shows |
//! | `fault` | everything that can go wrong, and how it is made to |
//! | `world` | nodes, their receiver, and the lines between them |
//! | `supervisor` | starting nodes again that have ended by themselves |
//! | `sender` | the load |
//! | `ledger` | what senders were told, what the receiver got |
//! | [`check`] | what is lost, unaccounted, out of order or repeated: pure |
//! | [`report`] | the same in words |
//!
//! The seed gives the plan: order, place and length of the faults and the load between them. It does not give what
//! processes and disks do in the meantime, so that a repeat of a seed is the same kind of run, not the same run.

pub mod check;
mod fault;
mod ledger;
pub mod report;
pub mod scenario;
mod sender;
mod supervisor;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use fault::{Fault, Struck};
use report::Report;
use scenario::Scenario;
use sender::Load;
use world::World;

/// Events accepted between two faults, in thousandths of the rate, drawn at random: from the middle of a commit to deep
/// in the load.
const CALM: std::ops::Range<usize> = 50..500;
/// How often a fault that strikes again does so.
const PULSE: Duration = Duration::from_millis(100);

/// How much of a scenario to run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What everything random comes from.
    pub seed: u64,
    /// All faults strike at least so many times; absent: as often as the scenario says ...
    pub rounds: Option<usize>,
    /// ... and until so much time has passed.
    pub at_least: Duration,
    /// Events a second.
    pub rate: u32,
}

impl Options {
    /// The short form.
    pub fn short(seed: u64) -> Self {
        Self {
            seed,
            rounds: None,
            at_least: Duration::ZERO,
            rate: 120,
        }
    }
}

/// Runs a scenario. An error says that the run itself could not be made; what went wrong in it is in the report.
pub async fn run(scenario: &'static Scenario, options: Options) -> Result<Report> {
    let mut world = World::start(scenario).await?;
    let start = Instant::now();
    let load = Load::start(&world.book, &world.ledger, options.rate);
    let mut course = Course::default();
    let result = course.run(scenario, options, &mut world).await;
    // What did not work again is a finding; the checker still looks at what there is.
    let stuck = result.err().map(|error| format!("{error:#}"));
    load.stop().await?;
    let under_load = start.elapsed();
    let start = Instant::now();
    let history = world.history().await?;
    let drain = start.elapsed();
    let verdict = check::check(&world.ledger.entries(), &world.arrivals.arrived(), &history);
    Ok(Report {
        scenario,
        seed: options.seed,
        verdict,
        faults: course.faults,
        slowest: course.slowest,
        stuck,
        load: under_load,
        drain,
        ended: world.ended().await,
        said: world.said().await,
    })
}

/// What has happened so far.
#[derive(Default)]
struct Course {
    faults: BTreeMap<String, usize>,
    slowest: Option<(Duration, String)>,
}

impl Course {
    async fn run(
        &mut self,
        scenario: &Scenario,
        options: Options,
        world: &mut World,
    ) -> Result<()> {
        let mut chance = StdRng::seed_from_u64(options.seed);
        let rate = usize::try_from(options.rate).unwrap_or(usize::MAX);
        let calm = |thousandths: usize| rate.saturating_mul(thousandths) / 1000;
        let start = Instant::now();
        let rounds = options.rounds.unwrap_or(scenario.rounds);
        let mut round = 0;
        while round < rounds || start.elapsed() < options.at_least {
            let mut left = scenario.faults.concat();
            left.shuffle(&mut chance);
            while !left.is_empty() {
                let group = take_group(&mut left, scenario.at_once);
                world.accept(calm(chance.random_range(CALM))).await?;
                self.strike(&group, world, &mut chance).await?;
            }
            round += 1;
        }
        // Deep in the load, nothing wrong any more.
        world.accept(calm(CALM.end)).await
    }

    /// Lets faults happen, waits, makes everything well again and waits until it works again.
    async fn strike(
        &mut self,
        group: &[Fault],
        world: &mut World,
        chance: &mut StdRng,
    ) -> Result<()> {
        let names: Vec<_> = group.iter().map(ToString::to_string).collect();
        let mut struck: Vec<Struck> = Vec::new();
        for (fault, name) in group.iter().zip(&names) {
            *self.faults.entry(name.clone()).or_default() += 1;
            struck.push(fault.strike(world, chance).await?);
        }
        let lasts = group
            .iter()
            .map(|fault| chance.random_range(fault.lasts_ms()));
        let end = Instant::now() + Duration::from_millis(lasts.max().unwrap_or_default());
        while Instant::now() < end {
            tokio::time::sleep_until(end.min(Instant::now() + PULSE)).await;
            for one in &struck {
                one.goes_on(world);
            }
        }
        let lifted = Instant::now();
        struck.sort_by_key(|one| one.fault.family());
        for one in struck {
            one.lift(world).await?;
        }
        let targets: Vec<_> = group.iter().map(|fault| fault.shows_at()).collect();
        let names = names.join(" and ");
        let recovered = world.recovered(&targets).await;
        recovered.map_err(|error| error.context(format!("after: {names}")))?;
        let took = lifted.elapsed();
        if self
            .slowest
            .as_ref()
            .is_none_or(|(slowest, _)| took > *slowest)
        {
            self.slowest = Some((took, names));
        }
        Ok(())
    }
}

/// Takes the next faults, of different families.
fn take_group(left: &mut Vec<Fault>, at_once: usize) -> Vec<Fault> {
    let mut group: Vec<Fault> = Vec::new();
    left.retain(|fault| {
        let free = group.iter().all(|one| one.family() != fault.family());
        let taken = group.len() < at_once && free;
        if taken {
            group.push(*fault);
        }
        !taken
    });
    group
}

#[cfg(test)]
mod tests {
    use super::fault::{LINE, NODE, RECEIVER};
    use super::*;

    #[test]
    fn groups_take_each_fault_once_and_one_of_a_family_at_a_time() {
        let mut left = [NODE, RECEIVER, LINE].concat();
        let mut all = left.clone();
        left.shuffle(&mut StdRng::seed_from_u64(1));
        let mut taken = Vec::new();
        while !left.is_empty() {
            let group = take_group(&mut left, 2);
            assert!((1..=2).contains(&group.len()));
            assert!(group.len() == 1 || group[0].family() != group[1].family());
            taken.extend(group);
        }
        all.sort();
        taken.sort();
        assert_eq!(taken, all);
    }
}
