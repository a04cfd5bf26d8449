//! The configuration of one moment, compiled: buses with their rule sets and archives, targets ready to deliver, named
//! documents read for use.
//!
//! A snapshot is never changed, only replaced whole, so that an event sees all of a change or nothing of it. What did
//! not change between two snapshots is the same object in both: a target keeps its connections and tokens.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use belfry_model::config::{Archive, Bus, CONCURRENCY_DEFAULT, RetryPolicy, Rule, Target};
use belfry_model::{ArchiveId, BusId, BusName, DocumentId, DocumentName, Event, RuleId, TargetId};
use belfry_pattern::{EventText, Pattern, RuleSet, Scratch};
use belfry_store::{Config, ConfigDiff};
use belfry_targets::Part;
use belfry_transform::{OnError, Transform, TransformError, TransformSpec};

use crate::api::Collaborators;
use crate::archives::Archives;
use crate::channel::Key;
use crate::documents::{Documents, ReadDocument};
use crate::order::KeyAt;
use crate::pages::Pages;

#[cfg(test)]
mod tests;

/// Buses, rules and targets of one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The configuration's version.
    pub version: i64,
    buses: HashMap<BusName, Arc<BusRules>>,
    targets: Pages<TargetEntry>,
    documents: Documents,
}

/// A bus with its rules, compiled.
#[derive(Debug, Clone)]
pub struct BusRules {
    /// The bus.
    pub bus: Bus,
    /// Its rules, disabled ones included.
    rules: Pages<RuleEntry>,
    /// The enabled ones, by their ids.
    set: RuleSet,
    /// Its archives.
    pub archives: Arc<Archives>,
}

/// A rule. Its pattern is in the bus's rule set, and in text in its spec.
#[derive(Debug)]
pub struct RuleEntry {
    /// The rule.
    pub rule: Rule,
    /// Its targets, by their ids.
    pub targets: Vec<TargetId>,
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
    /// What its vendor counts a limit by, if all its requests go through one channel.
    pub(crate) channel: Option<belfry_targets::Channel>,
    /// All channels that some request of it may go through.
    pub(crate) channels: Vec<belfry_targets::Channel>,
    /// Whether one message can tell of several events.
    pub(crate) folds: bool,
    /// How many events it takes at once, if it takes several.
    pub(crate) batch: Option<belfry_targets::Batch>,
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
    /// Whether it is asked of each delivery if and when it is to be sent: where alarms are told of, or many events go at
    /// once.
    pub(crate) fn is_gated(&self) -> bool {
        self.tells_alarms() || self.batch.is_some()
    }

    /// Whether it matters what its deliveries tell of alarms: where messages go to people, or alarms are chosen.
    pub(crate) fn tells_alarms(&self) -> bool {
        self.folds || !self.channels.is_empty() || self.target.spec.alarms.is_some()
    }

    /// The part of a delivery that goes next: the one that waits least for its channel. `progress`: what an attempt has left
    /// behind; `wait_ms`: how long a message would wait for a channel now.
    pub(crate) fn next_part(
        &self,
        event: &Event,
        progress: Option<&str>,
        wait_ms: impl Fn(&Key) -> i64 + Sync,
    ) -> Part {
        let handler = self.handler.as_ref();
        handler
            .map(|handler| handler.next_part(event, progress, &wait_ms))
            .unwrap_or_default()
    }

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
        self.targets.get(id.0)
    }

    /// All targets.
    pub fn targets(&self) -> impl Iterator<Item = &Arc<TargetEntry>> {
        self.targets.iter()
    }

    /// The named documents of a kind on a bus (absent: of the whole server), by name; those that are read into a `T`.
    pub fn documents<T: Any + Send + Sync>(
        &self,
        kind: &str,
        bus: Option<BusId>,
    ) -> impl Iterator<Item = (&DocumentName, Arc<T>)> {
        self.documents.list(kind, bus)
    }

    /// One named document.
    pub fn document<T: Any + Send + Sync>(
        &self,
        kind: &str,
        bus: Option<BusId>,
        name: &DocumentName,
    ) -> Option<Arc<T>> {
        self.documents.get(kind, bus, name)
    }

    /// The number of a named document.
    pub fn document_id(
        &self,
        kind: &str,
        bus: Option<BusId>,
        name: &DocumentName,
    ) -> Option<DocumentId> {
        self.documents.stored(kind, bus, name).map(|one| one.id)
    }

    /// From when on events have to be remembered to recognise repeats: the longest window of any bus.
    pub(crate) fn dedup_since_ms(&self, now_ms: i64) -> i64 {
        let windows = self
            .buses
            .values()
            .map(|bus| bus.bus.spec.dedup.window_seconds);
        now_ms - i64::from(windows.max().unwrap_or(0)) * 1000
    }

    /// The snapshot that a difference leads to, and the targets that are new, different or gone in it. What has not
    /// changed is shared with this one, so that it costs as much as the change is large. `None`: the difference does not
    /// fit, and everything must be loaded.
    pub(crate) fn changed(
        &self,
        mut diff: ConfigDiff,
        connect: impl Fn(Target, BusName, String) -> TargetEntry,
        read: &dyn ReadDocument,
    ) -> Option<(Self, Vec<TargetId>)> {
        if diff.whole {
            diff.gone = self.all_but(&diff.made);
        }
        let ConfigDiff { made, gone, whole } = diff;
        let mut names: HashMap<BusId, BusName> = self
            .buses
            .values()
            .map(|bus| (bus.bus.id, bus.bus.name.clone()))
            .collect();
        let (mut buses, mut targets) = (self.buses.clone(), self.targets.clone());
        let mut touched = Vec::new();
        // What becomes of the targets of rules: those that go, those that are there.
        let mut of_rules: HashMap<RuleId, [Vec<TargetId>; 2]> = HashMap::new();
        for target in &gone.targets {
            targets.remove(target.id.0);
            touched.push(target.id);
            of_rules.entry(target.rule).or_default()[0].push(target.id);
        }
        for target in &made.targets {
            of_rules.entry(target.rule).or_default()[1].push(target.id);
        }
        for rule in &gone.rules {
            of_rules.remove(&rule.id);
            if let Some(bus) = names.get(&rule.bus).and_then(|name| buses.get_mut(name)) {
                Arc::make_mut(bus).remove(rule.id);
            }
        }
        for bus in &gone.buses {
            if let Some(name) = names.remove(&bus.id) {
                buses.remove(&name);
            }
        }
        for bus in made.buses {
            names.insert(bus.id, bus.name.clone());
            match buses.get_mut(&bus.name) {
                Some(known) if known.bus.id == bus.id => {
                    if known.bus != bus {
                        Arc::make_mut(known).bus = bus;
                    }
                }
                _ => {
                    buses.insert(bus.name.clone(), Arc::new(BusRules::of(bus)));
                }
            }
        }
        for rule in made.rules {
            let [gone, made] = of_rules.remove(&rule.id).unwrap_or_default();
            let bus = names.get(&rule.bus).and_then(|name| buses.get_mut(name));
            let Some(bus) = bus else {
                if whole {
                    continue;
                }
                return None;
            };
            let known = bus.rules.get(rule.id.0);
            let mut targets = known.map_or_else(Vec::new, |known| known.targets.clone());
            targets.retain(|target| !gone.contains(target));
            targets.extend(made);
            targets.sort_unstable();
            targets.dedup();
            if known.is_none_or(|known| known.rule != rule || known.targets != targets) {
                Arc::make_mut(bus).put(RuleEntry { rule, targets });
            }
        }
        for target in made.targets {
            let bus = names.get(&target.bus).and_then(|name| buses.get(name));
            let found = bus.and_then(|bus| Some((bus, bus.rules.get(target.rule.0)?)));
            let Some((bus, rule)) = found else {
                if whole {
                    continue;
                }
                return None;
            };
            let known = targets.get(target.id.0);
            if known.is_none_or(|known| known.target != target) {
                let (id, name) = (target.id, rule.rule.name.to_string());
                targets.insert(id.0, Arc::new(connect(target, bus.bus.name.clone(), name)));
                touched.push(id);
            }
        }
        let mut of_buses: HashMap<BusId, [Vec<Archive>; 2]> = HashMap::new();
        for (of, archives) in [(0, gone.archives), (1, made.archives)] {
            for archive in archives {
                of_buses.entry(archive.bus).or_default()[of].push(archive);
            }
        }
        for (bus, [gone, made]) in of_buses {
            let Some(bus) = names.get(&bus).and_then(|name| buses.get_mut(name)) else {
                // They went with it.
                continue;
            };
            if let Some(archives) = bus.archives.changed(&gone, made) {
                Arc::make_mut(bus).archives = Arc::new(archives);
            }
        }
        // A rule that targets were told of without it.
        if !whole && !of_rules.is_empty() {
            return None;
        }
        let snapshot = Self {
            version: made.version,
            buses,
            targets,
            documents: self
                .documents
                .changed(&gone.documents, made.documents, read),
        };
        Some((snapshot, touched))
    }

    /// What is here and not in a configuration.
    fn all_but(&self, other: &Config) -> Config {
        let buses: HashSet<BusId> = other.buses.iter().map(|bus| bus.id).collect();
        let rules: HashSet<RuleId> = other.rules.iter().map(|rule| rule.id).collect();
        let targets: HashSet<TargetId> = other.targets.iter().map(|target| target.id).collect();
        let archives: HashSet<ArchiveId> = other.archives.iter().map(|one| one.id).collect();
        let documents: HashSet<DocumentId> = other.documents.iter().map(|one| one.id).collect();
        let mut rest = Config::default();
        for bus in self.buses.values() {
            if !buses.contains(&bus.bus.id) {
                rest.buses.push(bus.bus.clone());
            }
            let gone = bus.rules().filter(|entry| !rules.contains(&entry.rule.id));
            rest.rules.extend(gone.map(|entry| entry.rule.clone()));
            let gone = bus.archives.list.iter();
            let gone = gone.filter(|archive| !archives.contains(&archive.id));
            rest.archives.extend(gone.cloned());
        }
        let gone = self.targets().map(|entry| &entry.target);
        let gone = gone.filter(|target| !targets.contains(&target.id));
        rest.targets.extend(gone.cloned());
        let gone = self
            .documents
            .all()
            .filter(|one| !documents.contains(&one.id));
        rest.documents.extend(gone.cloned());
        rest
    }
}

/// What a rule is called in a bus's rule set.
fn number(rule: RuleId) -> u32 {
    rule.0.unsigned_abs()
}

/// Brings what changed about one rule into the set. A clone of a set shares everything that is not touched, so this
/// costs as much as the change is large, and the snapshot before goes on as it was.
fn update(set: &mut RuleSet, before: Option<&RuleEntry>, after: Option<&RuleEntry>) {
    if before.and_then(RuleEntry::active) == after.and_then(RuleEntry::active) {
        return;
    }
    if let Some(before) = before {
        set.remove(number(before.rule.id));
    }
    if let Some((after, text)) = after.and_then(|after| Some((after, after.active()?))) {
        match Pattern::parse(text.as_bytes()) {
            Ok(pattern) => set.add(number(after.rule.id), &pattern),
            Err(error) => {
                tracing::error!(rule.name = %after.rule.name, %error, "a stored pattern cannot be read; its rule matches nothing");
            }
        }
    }
}

/// Makes a target ready to deliver.
pub(crate) fn connect(
    target: Target,
    bus: BusName,
    rule: String,
    with: &Collaborators,
) -> TargetEntry {
    let place = format!("{bus}/{rule}/{}", target.name);
    let kind = (with.kinds)(&target.spec.kind);
    let default_schedule = kind
        .as_ref()
        .map(|kind| kind.default_schedule())
        .unwrap_or_default();
    let default_concurrency = kind
        .as_ref()
        .map_or(CONCURRENCY_DEFAULT, |kind| kind.default_concurrency());
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
            // Of a message, a badly formatted one beats none.
            let messages = handler.as_ref().is_some_and(|handler| handler.folds());
            send_original = spec
                .on_error()
                .map_or(messages, |on_error| on_error == OnError::SendOriginal);
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
        concurrency: usize::from(target.spec.concurrency.unwrap_or(default_concurrency)),
        problem,
        transform,
        send_original,
        order,
        channel: handler.as_ref().and_then(|handler| handler.channel()),
        channels: handler
            .as_ref()
            .map(|handler| handler.channels())
            .unwrap_or_default(),
        folds: handler.as_ref().is_some_and(|handler| handler.folds()),
        batch: handler.as_ref().and_then(|handler| handler.batch()),
        handler,
        bus,
        rule,
        target,
    }
}

impl BusRules {
    fn of(bus: Bus) -> Self {
        Self {
            bus,
            rules: Pages::default(),
            set: RuleSet::default(),
            archives: Arc::default(),
        }
    }

    /// Its rules, disabled ones included.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<RuleEntry>> {
        self.rules.iter()
    }

    fn put(&mut self, entry: RuleEntry) {
        let known = self.rules.get(entry.rule.id.0);
        update(&mut self.set, known.map(|known| &**known), Some(&entry));
        self.rules.insert(entry.rule.id.0, Arc::new(entry));
    }

    fn remove(&mut self, rule: RuleId) {
        let known = self.rules.get(rule.0);
        update(&mut self.set, known.map(|known| &**known), None);
        self.rules.remove(rule.0);
    }

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
            let rule = i32::try_from(*number).ok();
            if let Some(entry) = rule.and_then(|rule| self.rules.get(rule))
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
