//! Speed of matching: citylots2-like with few rules, alarms with ever more.

use anyhow::{Context as _, Result};
use belfry_pattern::{Pattern, RuleList, RuleSet};

use crate::{
    alarms::Kind,
    data::{Data, Set},
    engines::{Belfry, Ceiling, Engine, Naive, Peer, Reading},
    figures,
    measure::{self, Quality, Rate},
    options::{Effort, Options},
    report::{Cell, Table},
};

/// Trying every rule takes too long with more than these.
const NAIVE_MOST: usize = 1000;
/// quamina takes a gigabyte for these, and panics with 100,000.
const QUAMINA_MOST: usize = 10_000;

/// The rule sets of citylots2-like.
pub(crate) fn parcels(options: &Options, data: &Data) -> Result<()> {
    const NAME: &str = "citylots";
    let effort = options.effort();
    let sets = data.sets()?;
    let wanted: Vec<_> = sets
        .iter()
        .filter(|set| options.wants(NAME, &set.name))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let events = data.parcels()?;
    let mut table = Table::new(
        NAME,
        format!(
            "citylots2-like: thousand events a second ({} events; {})",
            events.len(),
            data.described()
        ),
        &[
            "rule set",
            "matches",
            "reading only",
            "naive",
            "belfry, to the end",
            "belfry, early stop",
            "belfry, check and match",
            "quamina",
            "event-ruler",
            "quamina Go",
            "to the end / event-ruler",
            "early stop / event-ruler",
            "early stop / quamina",
            "to the end / reading only",
        ],
    );
    let mut quality = Quality::default();
    for set in wanted {
        let all = data.has_known_parcels(&events);
        let expected = set.expected.filter(|_| all);
        let rates = parcel_set(set, &events, expected, &effort)
            .with_context(|| format!("{NAME}/{}", set.name))?;
        quality.saw(&rates);
        let [reading, naive, end, early, checked, quamina] = thousands(&rates);
        let [by_reading, _, by_end, by_early, _, by_quamina] = rates.each_ref().map(Option::as_ref);
        let published = figures::parcels(&set.name);
        table.row(vec![
            set.name.as_str().into(),
            measure::matches(&rates),
            reading.into(),
            naive.into(),
            end.into(),
            early.into(),
            checked.into(),
            quamina.into(),
            published.event_ruler.into(),
            published.quamina_go.into(),
            Cell::ratio(end, published.event_ruler),
            Cell::ratio(early, published.event_ruler),
            times(by_early, by_quamina),
            times(by_end, by_reading),
        ]);
    }
    table.note(quality.note(&effort));
    table.note(figures::NOTE);
    table.finish(options.json.as_deref())
}

fn parcel_set(
    set: &Set,
    events: &[String],
    expected: Option<u64>,
    effort: &Effort,
) -> Result<[Option<Rate>; 6]> {
    let patterns = parse(&set.rules)?;
    let (rules, list) = compile(&patterns);
    let mut quamina = Peer::new(&set.rules)?;
    let mut reading = Ceiling;
    let mut naive = Naive(&list);
    let mut end = Belfry::new(&rules, Reading::ToTheEnd);
    let mut early = Belfry::new(&rules, Reading::EarlyStop);
    let mut checked = Belfry::new(&rules, Reading::Checked);
    let mut engines = [
        Some(&mut reading as &mut dyn Engine),
        Some(&mut naive),
        Some(&mut end),
        Some(&mut early),
        Some(&mut checked),
        quamina.as_mut().map(|quamina| quamina as &mut dyn Engine),
    ];
    measure::agree(&mut engines, &list, events, effort)?;
    measure::race(&mut engines, events, expected, effort)
}

/// Alarms with sets of rules of growing size.
pub(crate) fn alarms(options: &Options, data: &Data) -> Result<()> {
    const NAME: &str = "alarms";
    let effort = options.effort();
    let wanted: Vec<(Kind, Vec<usize>)> = Kind::ALL
        .map(|kind| {
            let sizes = effort.sizes.iter().copied();
            let wants = |size: &usize| options.wants(NAME, &format!("{}/{size}", kind.name()));
            (kind, sizes.filter(wants).collect())
        })
        .into();
    if wanted.iter().all(|(_, sizes)| sizes.is_empty()) {
        return Ok(());
    }
    let events = data.alarms()?;
    let mut table = Table::new(
        NAME,
        format!(
            "Alarms: thousand events a second ({} events; {})",
            events.len(),
            data.described()
        ),
        &[
            "kind",
            "rules",
            "matches",
            "reading only",
            "naive",
            "belfry, to the end",
            "belfry, early stop",
            "belfry, check and match",
            "quamina",
            "event-ruler",
            "quamina Go",
            "to the end / event-ruler",
            "early stop / event-ruler",
            "early stop / quamina",
            "early stop: kept of 1 rule",
            "early stop: kept of 10 rules",
        ],
    );
    let mut quality = Quality::default();
    for (kind, sizes) in wanted {
        let texts = data.rules(kind, sizes.iter().copied().max().unwrap_or_default())?;
        let patterns = parse(&texts)?;
        let (mut at_one, mut at_ten) = (None, None);
        for size in sizes {
            let known = figures::alarm_matches(kind, size);
            let rates = alarm_rules(
                &texts[..size],
                &patterns[..size],
                &events,
                known.filter(|_| data.has_known_alarms(&events)),
                &effort,
            )
            .with_context(|| format!("{NAME}/{}/{size}", kind.name()))?;
            quality.saw(&rates);
            let [reading, naive, end, early, checked, quamina] = thousands(&rates);
            let [_, _, _, by_early, _, by_quamina] = rates.each_ref().map(Option::as_ref);
            match size {
                1 => at_one = early,
                10 => at_ten = early,
                _ => {}
            }
            let published = figures::alarms(kind, size);
            table.row(vec![
                kind.name().into(),
                size.into(),
                measure::matches(&rates),
                reading.into(),
                naive.into(),
                end.into(),
                early.into(),
                checked.into(),
                quamina.into(),
                published.event_ruler.into(),
                published.quamina_go.into(),
                Cell::ratio(end, published.event_ruler),
                Cell::ratio(early, published.event_ruler),
                times(by_early, by_quamina),
                Cell::ratio(early, at_one),
                Cell::ratio(early, at_ten),
            ]);
        }
    }
    table.note(quality.note(&effort));
    table.note(figures::NOTE);
    table.finish(options.json.as_deref())
}

fn alarm_rules(
    texts: &[String],
    patterns: &[Pattern],
    events: &[String],
    expected: Option<u64>,
    effort: &Effort,
) -> Result<[Option<Rate>; 6]> {
    let (rules, list) = compile(patterns);
    let mut quamina = if texts.len() <= QUAMINA_MOST {
        Peer::new(texts)?
    } else {
        None
    };
    let mut reading = Ceiling;
    let mut naive = Naive(&list);
    let mut end = Belfry::new(&rules, Reading::ToTheEnd);
    let mut early = Belfry::new(&rules, Reading::EarlyStop);
    let mut checked = Belfry::new(&rules, Reading::Checked);
    let naive = (texts.len() <= NAIVE_MOST).then_some(&mut naive as &mut dyn Engine);
    let mut engines = [
        Some(&mut reading as &mut dyn Engine),
        naive,
        Some(&mut end),
        Some(&mut early),
        Some(&mut checked),
        quamina.as_mut().map(|quamina| quamina as &mut dyn Engine),
    ];
    measure::agree(&mut engines, &list, events, effort)?;
    measure::race(&mut engines, events, expected, effort)
}

/// Reads rules.
pub(crate) fn parse(rules: &[String]) -> Result<Vec<Pattern>> {
    let parse = |rule: &String| Pattern::parse(rule.as_bytes()).with_context(|| rule.clone());
    rules.iter().map(parse).collect()
}

/// Both ways to match, with rules numbered from 0.
fn compile(patterns: &[Pattern]) -> (RuleSet, RuleList) {
    let (mut rules, mut list) = (RuleSet::new(), RuleList::default());
    for (id, pattern) in (0..).zip(patterns) {
        rules.add(id, pattern);
        list.add(id, pattern);
    }
    (rules, list)
}

fn thousands<const N: usize>(rates: &[Option<Rate>; N]) -> [Option<f64>; N] {
    std::array::from_fn(|at| rates[at].as_ref().map(Rate::thousands))
}

fn times(rate: Option<&Rate>, other: Option<&Rate>) -> Cell {
    let both = rate.zip(other);
    both.map(|(rate, other)| rate.times(other)).into()
}
