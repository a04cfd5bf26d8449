//! Speed of building a set and of changing a large one while its former state is still held.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use belfry_pattern::{EventText, Pattern, RuleSet, Scratch};
use serde_json::{Map, Value, json};

use crate::{
    alarms::{self, Kind},
    data::Data,
    matching::parse,
    measure::Stopwatch,
    options::Options,
    report::{Cell, Table},
};

/// Parsing and adding all rules.
pub(crate) fn build(options: &Options, data: &Data) -> Result<()> {
    const NAME: &str = "building";
    const ROUNDS: usize = 3;
    let mut table = Table::new(
        NAME,
        format!("Building: processor time ({})", data.described()),
        &[
            "kind",
            "rules",
            "parse, us a rule",
            "add, us a rule",
            "all, ms",
        ],
    );
    for (kind, size) in sizes(options, NAME) {
        let rules = data.rules(kind, size)?;
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let watch = Stopwatch::start();
            let patterns = parse(&rules)?;
            let parsing = watch.elapsed();
            let watch = Stopwatch::start();
            let set = set_of(&patterns);
            times.push((parsing, watch.elapsed()));
            drop(set);
        }
        times.sort_unstable_by_key(|(parse, add)| *parse + *add);
        let (parse, add) = times[ROUNDS / 2];
        table.row(vec![
            kind.name().into(),
            size.into(),
            each(parse, size),
            each(add, size),
            Cell::figure((parse + add).as_secs_f64() * 1e3),
        ]);
    }
    table.note(format!(
        "Median of {ROUNDS} rounds; dropping what was built is not in it."
    ));
    table.finish(options.json.as_deref())
}

/// Adding, removing and replacing one rule, each seen at once in the new set and not in the old.
pub(crate) fn change(options: &Options, data: &Data) -> Result<()> {
    const NAME: &str = "changes";
    let effort = options.effort();
    let mut table = Table::new(
        NAME,
        format!(
            "Changing one rule of a set while the set from before is held: wall time ({})",
            data.described()
        ),
        &["kind", "rules", "what", "median, us", "p99, us", "most, us"],
    );
    for (kind, size) in sizes(options, NAME) {
        let context = || format!("{NAME}/{}/{size}", kind.name());
        let rules = parse(&data.rules(kind, size)?)?;
        // Each removes another rule, so there are no more of them than rules.
        let count = effort.changes.min(size);
        let more = (0..2 * count).map(|number| alarms::rule(kind, FOREIGN + number));
        let more = parse(&more.collect::<Vec<_>>())?;
        let mut times = Times::default();
        changes(&rules, &more, &mut times).with_context(context)?;
        for (what, mut times) in [
            ("clone", times.clone),
            ("add", times.add),
            ("replace", times.replace),
            ("remove", times.remove),
            ("drop of the set before", times.drop),
        ] {
            times.sort_unstable();
            let last = times.len() - 1;
            let at = |percent: usize| {
                let micros = times[last * percent / 100].as_secs_f64() * 1e6;
                Cell::figure(micros)
            };
            table.row(vec![
                kind.name().into(),
                size.into(),
                what.into(),
                at(50),
                at(99),
                at(100),
            ]);
        }
    }
    table.note(format!(
        "{} of each change, or one for each rule. Publishing a change takes a clone, the change, and a drop. \
         After each change an event made for the rule was matched with both sets.",
        effort.changes
    ));
    table.finish(options.json.as_deref())
}

/// Numbers from here on belong to no rule of a set and to no event.
const FOREIGN: usize = 10_000_000;

#[derive(Default)]
struct Times {
    clone: Vec<Duration>,
    add: Vec<Duration>,
    replace: Vec<Duration>,
    remove: Vec<Duration>,
    drop: Vec<Duration>,
}

/// For each two of `more`: adds one, replaces it by the other, and removes a rule of the set.
fn changes(rules: &[Pattern], more: &[Pattern], times: &mut Times) -> Result<()> {
    let mut set = set_of(rules);
    let first = u32::try_from(rules.len())?;
    let mut witness = Witness::default();
    for (number, pair) in (0..).zip(more.chunks_exact(2)) {
        let [added, other] = pair else { continue };
        let id = first + number;

        let before = times.keep(&set);
        let start = Instant::now();
        set.add(id, added);
        times.add.push(start.elapsed());
        witness.sees(added, id, &set, &before)?;
        times.let_go(before);

        let before = times.keep(&set);
        let start = Instant::now();
        let removed = set.remove(id);
        set.add(id, other);
        times.replace.push(start.elapsed());
        ensure!(removed, "the added rule {id} was not there to replace");
        witness.sees(other, id, &set, &before)?;
        witness.sees(added, id, &before, &set)?;
        times.let_go(before);

        // One from all over the set, never the same twice as long as there are enough.
        let place = number as usize * rules.len() / (more.len() / 2);
        let id = u32::try_from(place)?;
        let before = times.keep(&set);
        let start = Instant::now();
        let removed = set.remove(id);
        times.remove.push(start.elapsed());
        ensure!(removed, "rule {id} was not there to remove");
        witness.sees(&rules[place], id, &before, &set)?;
        times.let_go(before);
    }
    Ok(())
}

impl Times {
    fn keep(&mut self, set: &RuleSet) -> RuleSet {
        let start = Instant::now();
        let kept = set.clone();
        self.clone.push(start.elapsed());
        kept
    }

    fn let_go(&mut self, set: RuleSet) {
        let start = Instant::now();
        drop(set);
        self.drop.push(start.elapsed());
    }
}

/// Looks whether a rule is in a set.
#[derive(Default)]
struct Witness {
    scratch: Scratch,
}

impl Witness {
    /// The rule must be in the one set and not in the other.
    fn sees(&mut self, rule: &Pattern, id: u32, with: &RuleSet, without: &RuleSet) -> Result<()> {
        let event = satisfying(&serde_json::from_str(rule.text())?).to_string();
        ensure!(
            rule.matches(event.as_bytes())?,
            "{} does not match the event made for it: {event}",
            rule.text()
        );
        let text = EventText::trusted(&event).with_unique_paths();
        ensure!(
            with.matches_text(text, &mut self.scratch).contains(&id),
            "rule {id} is not seen: {event}"
        );
        ensure!(
            !without.matches_text(text, &mut self.scratch).contains(&id),
            "rule {id} is seen where it is not: {event}"
        );
        Ok(())
    }
}

/// An event that an alarm rule matches.
fn satisfying(rule: &Value) -> Value {
    let fields = rule.as_object().into_iter().flatten();
    let event = fields.filter_map(|(name, asked)| {
        let value = match asked {
            Value::Array(alternatives) => value(alternatives.first()?)?,
            nested => satisfying(nested),
        };
        Some((name.clone(), value))
    });
    Value::Object(event.collect::<Map<_, _>>())
}

/// A value that one alternative of a field accepts; none where the field must be absent.
fn value(alternative: &Value) -> Option<Value> {
    let Some((operator, operand)) = alternative.as_object().and_then(|all| all.iter().next())
    else {
        return Some(alternative.clone());
    };
    match operator.as_str() {
        "exists" => None,
        "anything-but" => Some(json!("something else")),
        "numeric" => operand.get(1).cloned(),
        "cidr" => Some(json!(operand.as_str()?.split('/').next())),
        "wildcard" => Some(json!(operand.as_str()?.replace('*', ""))),
        _ => Some(operand.clone()),
    }
}

fn sizes(options: &Options, name: &str) -> Vec<(Kind, usize)> {
    let built = options.effort().built;
    let all = Kind::ALL
        .into_iter()
        .flat_map(|kind| built.iter().map(move |size| (kind, *size)));
    all.filter(|(kind, size)| options.wants(name, &format!("{}/{size}", kind.name())))
        .collect()
}

/// The set of these rules, numbered from 0.
pub(crate) fn set_of(patterns: &[Pattern]) -> RuleSet {
    let mut set = RuleSet::new();
    for (id, pattern) in (0..).zip(patterns) {
        set.add(id, pattern);
    }
    set
}

#[allow(clippy::cast_precision_loss, reason = "counts of rules are small")]
fn each(time: Duration, count: usize) -> Cell {
    Cell::figure(time.as_secs_f64() * 1e6 / count as f64)
}
