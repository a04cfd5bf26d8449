//! How speed is measured: processor time of the measuring thread, the median of passes that take turns.
//!
//! Processor time, so that what else the machine does disturbs little; turns, so that what does
//! disturb hits every engine alike.

use std::time::Duration;

use anyhow::{Result, ensure};
use belfry_pattern::RuleList;
use rustix::time::{ClockId, clock_gettime};

use crate::{
    engines::{Answer, Engine},
    options::Effort,
    report::Cell,
};

/// What came of an engine's passes.
pub(crate) struct Rate {
    /// Seconds an event, of each pass.
    passes: Vec<f64>,
    /// Matches of all events together, if a pass took all.
    matches: Option<u64>,
}

impl Rate {
    fn new(seconds: Vec<f64>, events: usize, matches: Option<u64>) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "counts of events are small")]
        let each = |seconds: f64| seconds / events as f64;
        Self {
            passes: seconds.into_iter().map(each).collect(),
            matches,
        }
    }

    /// Thousand events a second; the median of the passes.
    pub(crate) fn thousands(&self) -> f64 {
        1.0 / quarter(&mut self.passes.clone(), 2) / 1000.0
    }

    /// How many times as fast as the other: the median over pairs of passes that ran one after the
    /// other, so that a machine which slows down for a while slows down both.
    pub(crate) fn times(&self, other: &Self) -> f64 {
        let pairs = other.passes.iter().zip(&self.passes);
        quarter(
            &mut pairs.map(|(other, own)| other / own).collect::<Vec<_>>(),
            2,
        )
    }

    /// The middle half of the passes spans this share of the median.
    fn spread(&self) -> f64 {
        let passes = &mut self.passes.clone();
        (quarter(passes, 3) - quarter(passes, 1)) / quarter(passes, 2)
    }
}

/// How many matches all events together have, if any engine could take them all.
pub(crate) fn matches(rates: &[Option<Rate>]) -> Cell {
    let found = rates.iter().flatten().find_map(|rate| rate.matches);
    found.map_or(Cell::Nothing, Cell::from)
}

/// What so many quarters of the figures do not exceed; of none, zero.
fn quarter(figures: &mut [f64], quarters: usize) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let place = figures.len().saturating_sub(1) * quarters / 4;
    figures.get(place).copied().unwrap_or_default()
}

/// Takes the processor time of the thread that started it.
pub(crate) struct Stopwatch(Duration);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Self::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Self::now().saturating_sub(self.0)
    }

    fn now() -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or_default(),
            u32::try_from(time.tv_nsec).unwrap_or_default(),
        )
    }
}

/// Measures engines over the same events, in turns. An engine that is too slow for all events in
/// a pass gets fewer; those that had all must have found the same number of matches, and the
/// expected one if there is one.
pub(crate) fn race<const N: usize>(
    engines: &mut [Option<&mut dyn Engine>; N],
    events: &[String],
    expected: Option<u64>,
    effort: &Effort,
) -> Result<[Option<Rate>; N]> {
    let mut lanes = Vec::new();
    for engine in engines.iter_mut() {
        lanes.push(match engine {
            Some(engine) => {
                let fit = fitting(*engine, events, effort.pass)?;
                Some((engine, &events[..fit], Vec::new(), 0))
            }
            None => None,
        });
    }
    for _ in 0..effort.passes {
        for (engine, events, seconds, matches) in lanes.iter_mut().flatten() {
            let watch = Stopwatch::start();
            *matches = engine.pass(events)?;
            seconds.push(watch.elapsed().as_secs_f64());
        }
    }
    let mut known = expected;
    let mut rates = [const { None }; N];
    for (rate, lane) in rates.iter_mut().zip(lanes) {
        let Some((engine, fit, seconds, matches)) = lane else {
            continue;
        };
        let all = engine.counts() && fit.len() == events.len();
        if all {
            let right = *known.get_or_insert(matches);
            ensure!(
                matches == right,
                "{} found {matches} matches, not {right}",
                engine.name()
            );
        }
        *rate = Some(Rate::new(seconds, fit.len(), all.then_some(matches)));
    }
    Ok(rates)
}

/// How many of the events the engine can do in a pass of at most that time. Finding out warms up.
fn fitting(engine: &mut dyn Engine, events: &[String], pass: Duration) -> Result<usize> {
    let mut count = events.len().min(8);
    engine.pass(&events[..count])?; // quamina finishes its automaton at the first event
    loop {
        let watch = Stopwatch::start();
        engine.pass(&events[..count])?;
        let took = watch.elapsed().max(Duration::from_nanos(1));
        let more = pass.as_secs_f64() / took.as_secs_f64();
        if count == events.len() && more >= 1.0 {
            return Ok(count);
        }
        if more < 4.0 {
            return Ok(scaled(count, more).clamp(1, events.len()));
        }
        // Never far at once: the first events run cold.
        count = scaled(count, (more / 2.0).min(16.0)).min(events.len());
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small count by a small positive factor"
)]
fn scaled(count: usize, factor: f64) -> usize {
    (count as f64 * factor) as usize
}

/// Compares the engines' answers with the naive matcher's, event by event, over events from all
/// parts of the corpus, for as long as there is time. A difference is an error.
pub(crate) fn agree(
    engines: &mut [Option<&mut dyn Engine>],
    naive: &RuleList,
    events: &[String],
    effort: &Effort,
) -> Result<()> {
    const FEWEST: usize = 10;
    let watch = Stopwatch::start();
    // A step that shares no factor with the number of events visits each, early ones no sooner.
    let step = (events.len() * 2 / 5..events.len())
        .find(|step| common_factor(*step, events.len()) == 1)
        .unwrap_or(1);
    for visit in 0..events.len() {
        if visit >= FEWEST && watch.elapsed() > effort.check {
            break;
        }
        let event = &events[visit * step % events.len()];
        let right = naive.matches(event.as_bytes())?;
        for engine in engines.iter_mut().flatten() {
            if let Answer::Rules(found) = engine.answer(event)? {
                ensure!(
                    found == right,
                    "{} finds rules {found:?}, the naive matcher {right:?}, for the event {event}",
                    engine.name()
                );
            }
        }
    }
    Ok(())
}

fn common_factor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_factor(b, a % b) }
}

/// Says of a table's rates how far passes differed and which engines had fewer events.
#[derive(Default)]
pub(crate) struct Quality {
    worst: f64,
}

impl Quality {
    pub(crate) fn saw(&mut self, rates: &[Option<Rate>]) {
        for rate in rates.iter().flatten() {
            self.worst = self.worst.max(rate.spread());
        }
    }

    pub(crate) fn note(&self, effort: &Effort) -> String {
        format!(
            "Processor time of one thread, median of {} passes; the middle half of the passes \
             spans at most {:.0} % of its median.",
            effort.passes,
            self.worst * 100.0
        )
    }
}
