//! Measures bytes a rule and allocations an event: the benchmark `memory`, beside `matching`.
//!
//! A program of its own, because counting allocations slows them down, and engines that allocate
//! more than ours would look worse than they are.

#![allow(
    clippy::print_stdout,
    reason = "tables on standard output are what it is for"
)]

mod alarms;
mod citylots;
#[allow(dead_code, reason = "`matching` uses all of it")]
mod data;
#[allow(dead_code, reason = "`matching` uses all of it")]
mod options;
mod random;
#[allow(dead_code, reason = "`matching` uses all of it")]
mod report;

use std::alloc::System;

use anyhow::{Context as _, Result};
use belfry_pattern::{EventText, Pattern, RuleSet, Scratch};
use quamina::{Quamina, QuaminaBuilder};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::{
    alarms::Kind,
    data::Data,
    options::Options,
    report::{Cell, Table},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<()> {
    let Some(options) = Options::read()? else {
        return Ok(());
    };
    let data = Data::new(options.effort().events);
    bytes(&options, &data)?;
    allocations(&options, &data)
}

/// What a set holds when the patterns it was made from are gone.
fn bytes(options: &Options, data: &Data) -> Result<()> {
    const NAME: &str = "memory";
    /// quamina takes 100 kB a rule.
    const QUAMINA_MOST: usize = 1000;
    let mut table = Table::new(
        NAME,
        format!("Heap held by a set of rules ({})", data.described()),
        &[
            "kind",
            "rules",
            "bytes of a rule's text",
            "belfry, bytes a rule",
            "quamina, bytes a rule",
        ],
    );
    for kind in Kind::ALL {
        for size in options.effort().built.iter().copied() {
            if !options.wants(NAME, &format!("{}/{size}", kind.name())) {
                continue;
            }
            let rules = data.rules(kind, size)?;
            let (ours, set) = held(|| set_of(&rules))?;
            drop(set);
            let quamina = if size <= QUAMINA_MOST {
                let (bytes, quamina) = held(|| quamina_of(&rules))?;
                drop(quamina);
                each(bytes, size)
            } else {
                Cell::Nothing
            };
            let text: usize = rules.iter().map(String::len).sum();
            table.row(vec![
                kind.name().into(),
                size.into(),
                each(text, size),
                each(ours, size),
                quamina,
            ]);
        }
    }
    table.finish(options.json.as_deref())
}

/// Allocations of an event once working memory has its size.
fn allocations(options: &Options, data: &Data) -> Result<()> {
    const NAME: &str = "allocations";
    let mut table = Table::new(
        NAME,
        format!(
            "Allocations an event, in the steady state ({})",
            data.described()
        ),
        &[
            "events",
            "rules",
            "to the end",
            "early stop",
            "check and match",
        ],
    );
    let parcels = data.parcels()?;
    for set in data.sets()? {
        if options.wants(NAME, &format!("citylots/{}", set.name)) {
            let mut row = vec!["citylots".into(), set.name.as_str().into()];
            row.extend(steady(&set_of(&set.rules)?, &parcels)?);
            table.row(row);
        }
    }
    drop(parcels);
    let alarms = data.alarms()?;
    for kind in Kind::ALL {
        for size in options.effort().built.iter().copied() {
            let name = format!("{}/{size}", kind.name());
            if options.wants(NAME, &format!("alarms/{name}")) {
                let mut row = vec!["alarms".into(), name.as_str().into()];
                row.extend(steady(&set_of(&data.rules(kind, size)?)?, &alarms)?);
                table.row(row);
            }
        }
    }
    table.finish(options.json.as_deref())
}

/// The allocations of the three ways to read, each over all events for the second time.
fn steady(rules: &RuleSet, events: &[String]) -> Result<[Cell; 3]> {
    let mut scratch = Scratch::default();
    let end = counted(events, |event| {
        rules.matches_text(EventText::trusted(event), &mut scratch);
        Ok(())
    })?;
    let mut scratch = Scratch::default();
    let early = counted(events, |event| {
        let event = EventText::trusted(event).with_unique_paths();
        rules.matches_text(event, &mut scratch);
        Ok(())
    })?;
    let mut scratch = Scratch::default();
    let checked = counted(events, |event| {
        rules.matches(event.as_bytes(), &mut scratch)?;
        Ok(())
    })?;
    Ok([end, early, checked])
}

fn counted(events: &[String], mut take: impl FnMut(&str) -> Result<()>) -> Result<Cell> {
    for event in events {
        take(event)?;
    }
    let region = Region::new(ALLOCATOR);
    for event in events {
        take(event)?;
    }
    let change = region.change();
    Ok(each(
        change.allocations + change.reallocations,
        events.len(),
    ))
}

/// What is made, and the bytes of heap that it holds.
fn held<T>(make: impl FnOnce() -> Result<T>) -> Result<(usize, T)> {
    let region = Region::new(ALLOCATOR);
    let result = make()?;
    let change = region.change();
    let bytes = change.bytes_allocated.checked_sub(change.bytes_deallocated);
    Ok((bytes.context("more was freed than taken")?, result))
}

/// The set of these rules; what parsing left behind is gone.
fn set_of(rules: &[String]) -> Result<RuleSet> {
    let mut set = RuleSet::new();
    for (id, rule) in (0..).zip(rules) {
        set.add(id, &Pattern::parse(rule.as_bytes())?);
    }
    Ok(set)
}

/// The same in quamina, which finishes its automaton with the first event.
fn quamina_of(rules: &[String]) -> Result<Quamina<u32>> {
    let builder = QuaminaBuilder::new().with_arena_byte_budget(usize::MAX);
    let mut quamina = builder.build()?;
    for (id, rule) in (0..).zip(rules) {
        quamina.add_pattern(id, rule)?;
    }
    quamina.matches_for_event(b"{\"source\":\"none\"}")?;
    Ok(quamina)
}

#[allow(clippy::cast_precision_loss, reason = "counts here are small")]
fn each(sum: usize, count: usize) -> Cell {
    Cell::figure(sum as f64 / count.max(1) as f64)
}
