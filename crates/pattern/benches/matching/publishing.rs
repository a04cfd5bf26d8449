//! Speed of matching while another thread changes rules and publishes each change.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use arc_swap::ArcSwap;
use belfry_pattern::{EventText, Pattern, RuleSet, Scratch};

use crate::{
    alarms::Kind,
    building::set_of,
    data::Data,
    matching::parse,
    options::Options,
    report::{Cell, Table},
};

/// How often the other thread changes something.
#[derive(Debug, Clone, Copy)]
enum Pace {
    Never,
    Every(Duration),
    AtOnce,
}

const PACES: [(&str, Pace); 3] = [
    ("none", Pace::Never),
    (
        "about 1,000 a second",
        Pace::Every(Duration::from_millis(1)),
    ),
    ("as fast as it can", Pace::AtOnce),
];

/// Mixed rules; every change takes a rule away or puts it back.
pub(crate) fn publish(options: &Options, data: &Data) -> Result<()> {
    const NAME: &str = "publishing";
    let effort = options.effort();
    let sizes = effort.built.iter().copied();
    let sizes: Vec<_> = sizes
        .filter(|size| options.wants(NAME, &size.to_string()))
        .collect();
    if sizes.is_empty() {
        return Ok(());
    }
    let events = data.alarms()?;
    let mut table = Table::new(
        NAME,
        format!(
            "Alarms with mixed rules, while another thread publishes changes: wall time ({})",
            data.described()
        ),
        &[
            "rules",
            "changes",
            "changes a second",
            "belfry, early stop, thousand events a second",
            "kept",
        ],
    );
    for size in sizes {
        let rules = parse(&data.rules(Kind::Mixed, size)?)?;
        let set = set_of(&rules);
        let mut alone = None;
        for (what, pace) in PACES {
            // The median of rounds by what was matched.
            let mut rounds = Vec::new();
            for _ in 0..effort.passes.min(5) {
                rounds.push(round(&rules, &set, &events, pace, effort.pass)?);
            }
            rounds.sort_unstable_by(|(a, _), (b, _)| f64::total_cmp(a, b));
            let (matched, changed) = rounds[rounds.len() / 2];
            alone = alone.or(Some(matched));
            table.row(vec![
                size.into(),
                what.into(),
                Cell::figure(changed),
                Cell::figure(matched / 1000.0),
                Cell::ratio(Some(matched), alone),
            ]);
        }
    }
    table.note(
        "Each event is matched with the set that is current then. Two free cores are needed for \
         this to mean something.",
    );
    table.finish(options.json.as_deref())
}

/// Events and changes a second over that time.
#[allow(clippy::cast_precision_loss, reason = "counts here are small")]
fn round(
    rules: &[Pattern],
    set: &RuleSet,
    events: &[String],
    pace: Pace,
    least: Duration,
) -> Result<(f64, f64)> {
    let current = ArcSwap::from_pointee(set.clone());
    let stop = AtomicBool::new(false);
    let changes = AtomicU64::new(0);
    thread::scope(|threads| {
        let writer = threads.spawn(|| write(rules, &current, pace, &stop, &changes));
        let mut scratch = Scratch::default();
        let (mut taken, mut matches) = (0_usize, 0);
        let (start, before) = (Instant::now(), changes.load(Ordering::Relaxed));
        // At least one event even where a single one takes long; the clock is asked now and then.
        for some in events.chunks(16).cycle() {
            for event in some {
                let event = EventText::trusted(event).with_unique_paths();
                matches += current.load().matches_text(event, &mut scratch).len();
            }
            taken += some.len();
            if start.elapsed() >= least {
                break;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let published = changes.load(Ordering::Relaxed) - before;
        std::hint::black_box(matches);
        stop.store(true, Ordering::Relaxed);
        writer.join().ok().context("the writing thread panicked")?;
        Ok((taken as f64 / seconds, published as f64 / seconds))
    })
}

/// Changes rules until told to stop.
fn write(
    rules: &[Pattern],
    current: &ArcSwap<RuleSet>,
    pace: Pace,
    stop: &AtomicBool,
    changes: &AtomicU64,
) {
    let mut next = RuleSet::clone(&current.load());
    for (id, rule) in (0..).zip(rules).cycle() {
        for back in [false, true] {
            match pace {
                Pace::Never => return,
                Pace::Every(pause) => thread::sleep(pause),
                Pace::AtOnce => {}
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            if back {
                next.add(id, rule);
            } else {
                next.remove(id);
            }
            current.store(Arc::new(next.clone()));
            changes.fetch_add(1, Ordering::Relaxed);
        }
    }
}
