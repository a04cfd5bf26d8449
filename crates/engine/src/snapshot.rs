//! The configuration of one moment, compiled: buses with their rule sets and archives, targets ready to deliver.
//!
//! A snapshot is never changed, only replaced whole, so that an event sees all of a change or nothing of it. What did
//! not change between two snapshots is the same object in both: a target keeps its connections and tokens.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use belfry_model::config::{Archive, Bus, CONCURRENCY_DEFAULT, RetryPolicy, Rule, Target};
use belfry_model::{ArchiveId, BusId, BusName, Event, RuleId, TargetId};
use belfry_pattern::{EventText, Pattern, RuleSet, Scratch};
use belfry_store::Config;
use belfry_transform::{OnError, Transform, TransformError, TransformSpec};

use crate::api::Collaborators;
use crate::archives::Archives;
use crate::order::KeyAt;

#[cfg(test)]
mod tests;

/// Buses, rules and targets of one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The configuration's version.
    pub version: i64,
    buses: HashMap<BusName, Arc<BusRules>>,
    targets: HashMap<TargetId, Arc<TargetEntry>>,
}

/// A bus with its rules, compiled.
#[derive(Debug)]
pub struct BusRules {
    /// The bus.
    pub bus: Bus,
    /// Its rules, disabled ones included, by name.
    pub rules: Vec<Arc<RuleEntry>>,
    /// The enabled ones, by their numbers.
    set: RuleSet,
    /// Where each number stands in `rules`.
    places: Vec<u32>,
    /// Its archives.
    pub archives: Arc<Archives>,
}

/// A rule. Its pattern is in the bus's rule set, and in text in its spec.
#[derive(Debug)]
pub struct RuleEntry {
    /// The rule.
    pub rule: Rule,
    /// Its targets.
    pub targets: Vec<TargetId>,
    /// What the rule is called in the bus's rule set; kept from one snapshot to the next.
    number: u32,
}

impl RuleEntry {
    /// The pattern, if events are to be held against it.
    fn active(&self) -> Option<&str> {
        let spec = &self.rule.spec;
        spec.enabled.then(|| spec.pattern.as_str())
    }
}

/// A target with all that a delivery needs.
pub struct TargetEntry {
    /// The target, secrets sealed.
    pub target: Target,
    /// Its bus's name.
    pub bus: BusName,
    /// Its rule's name.
    pub rule: String,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Whether answers 4xx are tried again.
    pub retry_on_4xx: bool,
    /// Requests on the wire at once.
    pub concurrency: usize,
    /// Why it cannot be used.
    pub problem: Option<String>,
    pub(crate) transform: Option<Transform>,
    pub(crate) send_original: bool,
    /// By what its deliveries are kept in order.
    pub(crate) order: Option<KeyAt>,
    pub(crate) handler: Option<Arc<dyn belfry_targets::Target>>,
}

impl std::fmt::Debug for TargetEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetEntry")
            .field("id", &self.target.id)
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}

impl TargetEntry {
    /// Why events for it are recorded as skipped, if they are.
    pub fn disabled(&self) -> Option<String> {
        if let Some(disabled) = &self.target.disabled {
            return Some(disabled.reason.clone());
        }
        (!self.target.spec.enabled).then(|| "the target is disabled".to_owned())
    }
}

impl Snapshot {
    /// The bus of this name.
    pub fn bus(&self, name: &BusName) -> Option<&Arc<BusRules>> {
        self.buses.get(name)
    }

    /// All buses.
    pub fn buses(&self) -> impl Iterator<Item = &Arc<BusRules>> {
        self.buses.values()
    }

    /// The target of this id.
    pub fn target(&self, id: TargetId) -> Option<&Arc<TargetEntry>> {
        self.targets.get(&id)
    }

    /// All targets.
    pub fn targets(&self) -> impl Iterator<Item = &Arc<TargetEntry>> {
        self.targets.values()
    }

    /// From when on events have to be remembered to recognise repeats: the longest window of any bus.
    pub(crate) fn dedup_since_ms(&self, now_ms: i64) -> i64 {
        let windows = self
            .buses
            .values()
            .map(|bus| bus.bus.spec.dedup.window_seconds);
        now_ms - i64::from(windows.max().unwrap_or(0)) * 1000
    }

    /// Compiles a configuration, keeping from `before` what has not changed.
    pub(crate) fn compile(config: Config, before: &Self, with: &Collaborators) -> Self {
        let bus_names: HashMap<BusId, BusName> = config
            .buses
            .iter()
            .map(|bus| (bus.id, bus.name.clone()))
            .collect();
        let rule_names: HashMap<RuleId, String> = config
            .rules
            .iter()
            .map(|rule| (rule.id, rule.name.to_string()))
            .collect();
        let mut targets = HashMap::with_capacity(config.targets.len());
        let mut targets_by_rule: HashMap<RuleId, Vec<TargetId>> = HashMap::new();
        for target in config.targets {
            let (Some(bus), Some(rule)) =
                (bus_names.get(&target.bus), rule_names.get(&target.rule))
            else {
                continue;
            };
            targets_by_rule
                .entry(target.rule)
                .or_default()
                .push(target.id);
            let kept = before
                .targets
                .get(&target.id)
                .filter(|entry| entry.target == target)
                .cloned();
            let entry =
                kept.unwrap_or_else(|| Arc::new(connect(target, bus.clone(), rule.clone(), with)));
            targets.insert(entry.target.id, entry);
        }
        let mut rules_by_bus: HashMap<BusId, Vec<Rule>> = HashMap::new();
        for rule in config.rules {
            rules_by_bus.entry(rule.bus).or_default().push(rule);
        }
        let mut archives_by_bus: HashMap<BusId, Vec<Archive>> = HashMap::new();
        for archive in config.archives {
            archives_by_bus
                .entry(archive.bus)
                .or_default()
                .push(archive);
        }
        let mut buses = HashMap::with_capacity(config.buses.len());
        for bus in config.buses {
            let rules = rules_by_bus.remove(&bus.id).unwrap_or_default();
            let archives = archives_by_bus.remove(&bus.id).unwrap_or_default();
            let old = before.buses.get(&bus.name);
            let archives = compile_archives(archives, old);
            let entry = compile_bus(bus, rules, archives, &mut targets_by_rule, old);
            buses.insert(entry.bus.name.clone(), entry);
        }
        Self {
            version: config.version,
            buses,
            targets,
        }
    }
}

fn compile_archives(mut archives: Vec<Archive>, old: Option<&Arc<BusRules>>) -> Arc<Archives> {
    archives.sort_by(|a, b| a.name.cmp(&b.name));
    match old {
        Some(old) if old.archives.list == archives => Arc::clone(&old.archives),
        _ => Arc::new(Archives::compile(archives)),
    }
}

fn compile_bus(
    bus: Bus,
    mut rules: Vec<Rule>,
    archives: Arc<Archives>,
    targets_by_rule: &mut HashMap<RuleId, Vec<TargetId>>,
    old: Option<&Arc<BusRules>>,
) -> Arc<BusRules> {
    rules.sort_by(|a, b| a.name.cmp(&b.name));
    let old_rules = old.map_or(&[][..], |old| &old.rules);
    let before: HashMap<RuleId, &Arc<RuleEntry>> = old_rules
        .iter()
        .map(|entry| (entry.rule.id, entry))
        .collect();
    let mut set = old.map(|old| old.set.clone()).unwrap_or_default();
    // Numbers of rules that are no more are given to new ones.
    let stay: HashSet<RuleId> = rules.iter().map(|rule| rule.id).collect();
    let gone = old_rules
        .iter()
        .filter(|entry| !stay.contains(&entry.rule.id));
    let mut free = Vec::new();
    for entry in gone {
        update(&mut set, Some(entry), None);
        free.push(entry.number);
    }
    let first_new = old.map_or(0, |old| u32::try_from(old.places.len()).unwrap_or(u32::MAX));
    let mut numbers = free.into_iter().chain(first_new..);
    let mut entries: Vec<Arc<RuleEntry>> = Vec::with_capacity(rules.len());
    for rule in rules {
        let targets = targets_by_rule.remove(&rule.id).unwrap_or_default();
        let known = before.get(&rule.id).copied();
        let entry = match known {
            Some(known) if known.rule == rule && known.targets == targets => Arc::clone(known),
            _ => Arc::new(RuleEntry {
                number: known
                    .map(|known| known.number)
                    .or_else(|| numbers.next())
                    .unwrap_or_default(),
                rule,
                targets,
            }),
        };
        update(&mut set, known.map(|known| &**known), Some(&entry));
        entries.push(entry);
    }
    if let Some(old) = old {
        let same = old.bus == bus
            && Arc::ptr_eq(&old.archives, &archives)
            && old.rules.len() == entries.len()
            && old
                .rules
                .iter()
                .zip(&entries)
                .all(|(a, b)| Arc::ptr_eq(a, b));
        if same {
            return Arc::clone(old);
        }
    }
    let most = entries.iter().map(|entry| entry.number).max();
    let mut places = vec![0; most.map_or(0, |most| most as usize + 1)];
    for (place, entry) in (0..).zip(&entries) {
        if let Some(known) = places.get_mut(entry.number as usize) {
            *known = place;
        }
    }
    Arc::new(BusRules {
        bus,
        rules: entries,
        set,
        places,
        archives,
    })
}

/// Brings what changed about one rule into the set. A clone of a set shares everything that is not touched, so this
/// costs as much as the change is large, and the snapshot before goes on as it was.
fn update(set: &mut RuleSet, before: Option<&RuleEntry>, after: Option<&RuleEntry>) {
    if before.and_then(RuleEntry::active) == after.and_then(RuleEntry::active) {
        return;
    }
    if let Some(before) = before {
        set.remove(before.number);
    }
    if let Some((after, text)) = after.and_then(|after| Some((after, after.active()?))) {
        match Pattern::parse(text.as_bytes()) {
            Ok(pattern) => set.add(after.number, &pattern),
            Err(error) => {
                tracing::error!(rule.name = %after.rule.name, %error, "a stored pattern cannot be read; its rule matches nothing");
            }
        }
    }
}

fn connect(target: Target, bus: BusName, rule: String, with: &Collaborators) -> TargetEntry {
    let place = format!("{bus}/{rule}/{}", target.name);
    let kind = (with.kinds)(&target.spec.kind);
    let default_schedule = kind
        .as_ref()
        .map(|kind| kind.default_schedule())
        .unwrap_or_default();
    let default_4xx = kind.as_ref().is_ok_and(|kind| kind.default_retry_on_4xx());
    let retry = target
        .spec
        .retry
        .clone()
        .unwrap_or_else(|| RetryPolicy::of(default_schedule));
    let mut problem = None;
    let mut handler = kind
        .map_err(|error| error.to_string())
        .and_then(|kind| {
            let settings = with.unseal.unseal(&place, &target)?;
            kind.connect(settings, &with.connect).map_err(|errors| {
                errors
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("; ")
            })
        })
        .map_err(|error| problem = Some(error))
        .ok();
    let mut send_original = false;
    let transform = target.spec.transform.as_ref().and_then(|text| {
        let spec: Result<TransformSpec, _> = serde_json::from_str(text.as_str());
        let compiled = spec.map_err(|error| error.to_string()).and_then(|spec| {
            send_original = spec.on_error() == Some(OnError::SendOriginal);
            compile_transform(&spec).map_err(|errors| {
                errors
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("; ")
            })
        });
        compiled
            .map_err(|error| problem = Some(format!("transform: {error}")))
            .ok()
    });
    let order = target.spec.order.as_ref().and_then(|order| {
        KeyAt::compile(order)
            .map_err(|error| {
                // Rather nothing than out of order.
                handler = None;
                problem = Some(error);
            })
            .ok()
    });
    if let Some(problem) = &problem {
        tracing::error!(target.place = %place, %problem, "a stored target cannot be used; its deliveries fail");
    }
    TargetEntry {
        retry_on_4xx: retry.retry_on_4xx.unwrap_or(default_4xx),
        retry,
        concurrency: usize::from(target.spec.concurrency.unwrap_or(CONCURRENCY_DEFAULT)),
        problem,
        transform,
        send_original,
        order,
        handler,
        bus,
        rule,
        target,
    }
}

impl BusRules {
    /// The targets that an event goes to: those of every enabled rule that matches, each once, in order of their ids.
    pub(crate) fn fan_out(&self, event: &Event, scratch: &mut Scratch) -> Vec<TargetId> {
        self.fan_out_of(event, scratch, |_| true)
    }

    /// The same for some of the rules.
    pub(crate) fn fan_out_of(
        &self,
        event: &Event,
        scratch: &mut Scratch,
        of: impl Fn(&RuleEntry) -> bool,
    ) -> Vec<TargetId> {
        let Some(text) = self.text(event) else {
            return Vec::new();
        };
        let mut fan: Vec<TargetId> = Vec::new();
        for number in self.set.matches_text(text, scratch) {
            let place = self.places.get(*number as usize);
            if let Some(entry) = place.and_then(|place| self.rules.get(*place as usize))
                && of(entry)
            {
                fan.extend_from_slice(&entry.targets);
            }
        }
        fan.sort_unstable();
        fan
    }

    /// The archives that get a copy of an event; costs nothing where there are none.
    pub(crate) fn archives_of(&self, event: &Event, scratch: &mut Scratch) -> Vec<ArchiveId> {
        if self.archives.take_nothing() {
            return Vec::new();
        }
        self.text(event)
            .map(|text| self.archives.of(text, scratch))
            .unwrap_or_default()
    }

    fn text<'e>(&self, event: &'e Event) -> Option<EventText<'e>> {
        let Ok(doc) = std::str::from_utf8(event.doc()) else {
            // Documents are JSON, which is UTF-8.
            tracing::warn!(bus.name = %self.bus.name, "an event is no text; it goes nowhere");
            return None;
        };
        // Ingest has read the document, and refuses names that stand twice in an object.
        let text = EventText::trusted(doc);
        Some(if event.has_plain_names() {
            text.with_unique_paths()
        } else {
            text
        })
    }
}

/// Compiles a transformation. A filter step inside of it (Tencent's ETL) is an event pattern like a rule's.
pub fn compile_transform(spec: &TransformSpec) -> Result<Transform, Vec<TransformError>> {
    Transform::compile_with(spec, &|filter| {
        let pattern = Pattern::parse(filter.as_bytes()).map_err(|errors| errors.to_string())?;
        Ok(Arc::new(move |document: &[u8]| {
            pattern.matches(document).unwrap_or(false)
        }))
    })
}
