//! The configuration of one version, by name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use belfry_model::config::{Archive, Bus, Document, Rule, Target};
use belfry_model::{ArchiveName, BusId, BusName, DocumentName, RuleId, RuleName, TargetName};
use belfry_store::ConfigDiff;

use crate::App;
use crate::error::{Error, Result};

#[cfg(test)]
mod tests;

/// The configuration of one version. What nobody else holds is changed in place; of the rest that which changes is copied.
#[derive(Debug, Default, Clone)]
pub(crate) struct Index {
    version: i64,
    pub(crate) buses: BTreeMap<BusName, Arc<BusConfig>>,
    names: HashMap<BusId, BusName>,
    /// By kind and bus; none of them empty.
    documents: HashMap<String, HashMap<Option<BusId>, Arc<Named>>>,
}

/// The documents of one kind on one bus (or of the whole server).
pub(crate) type Named = BTreeMap<DocumentName, Document>;

/// A bus with its rules and archives.
#[derive(Debug, Clone)]
pub(crate) struct BusConfig {
    pub(crate) bus: Bus,
    pub(crate) rules: BTreeMap<RuleName, Arc<RuleConfig>>,
    pub(crate) archives: BTreeMap<ArchiveName, Archive>,
}

/// A rule with its targets.
#[derive(Debug, Clone)]
pub(crate) struct RuleConfig {
    pub(crate) rule: Rule,
    pub(crate) targets: BTreeMap<TargetName, Target>,
}

impl Index {
    /// Takes a difference up. `None`: it does not fit, and everything must be loaded.
    fn take(&mut self, diff: ConfigDiff) -> Option<()> {
        if diff.whole {
            *self = Self::default();
        }
        let ConfigDiff { made, gone, .. } = diff;
        // Whatever is told of a target, its rule is told too.
        let places: HashMap<RuleId, (BusId, RuleName)> = made
            .rules
            .iter()
            .map(|rule| (rule.id, (rule.bus, rule.name.clone())))
            .collect();
        for rule in &gone.rules {
            if let Some(rules) = self.rules_mut(rule.bus)
                && rules
                    .get(&rule.name)
                    .is_some_and(|known| known.rule.id == rule.id)
            {
                rules.remove(&rule.name);
            }
        }
        for archive in gone.archives {
            if let Some(archives) = self.archives_mut(archive.bus)
                && archives
                    .get(&archive.name)
                    .is_some_and(|known| known.id == archive.id)
            {
                archives.remove(&archive.name);
            }
        }
        for document in gone.documents {
            self.remove_document(&document);
        }
        for bus in gone.buses {
            if self.names.remove(&bus.id).is_some() {
                self.buses.remove(&bus.name);
            }
        }
        for bus in made.buses {
            self.names.insert(bus.id, bus.name.clone());
            match self.buses.get_mut(&bus.name) {
                Some(known) if known.bus.id == bus.id => Arc::make_mut(known).bus = bus,
                _ => {
                    let name = bus.name.clone();
                    let bus = BusConfig {
                        bus,
                        rules: BTreeMap::new(),
                        archives: BTreeMap::new(),
                    };
                    self.buses.insert(name, Arc::new(bus));
                }
            }
        }
        for rule in made.rules {
            let rules = self.rules_mut(rule.bus)?;
            match rules.get_mut(&rule.name) {
                Some(known) if known.rule.id == rule.id => Arc::make_mut(known).rule = rule,
                _ => {
                    let targets = BTreeMap::new();
                    let name = rule.name.clone();
                    rules.insert(name, Arc::new(RuleConfig { rule, targets }));
                }
            }
        }
        for target in gone.targets {
            // A rule that has gone has taken its targets along.
            if let Some(targets) = self.targets_mut(&places, target.rule)
                && targets
                    .get(&target.name)
                    .is_some_and(|known| known.id == target.id)
            {
                targets.remove(&target.name);
            }
        }
        for target in made.targets {
            let targets = self.targets_mut(&places, target.rule)?;
            targets.insert(target.name.clone(), target);
        }
        for archive in made.archives {
            let archives = self.archives_mut(archive.bus)?;
            archives.insert(archive.name.clone(), archive);
        }
        for document in made.documents {
            let kind = self.documents.entry(document.kind.clone()).or_default();
            let named = Arc::make_mut(kind.entry(document.bus).or_default());
            named.insert(document.name.clone(), document);
        }
        self.version = made.version;
        Some(())
    }

    fn rules_mut(&mut self, bus: BusId) -> Option<&mut BTreeMap<RuleName, Arc<RuleConfig>>> {
        let bus = self.buses.get_mut(self.names.get(&bus)?)?;
        Some(&mut Arc::make_mut(bus).rules)
    }

    fn archives_mut(&mut self, bus: BusId) -> Option<&mut BTreeMap<ArchiveName, Archive>> {
        let bus = self.buses.get_mut(self.names.get(&bus)?)?;
        Some(&mut Arc::make_mut(bus).archives)
    }

    fn remove_document(&mut self, document: &Document) {
        let Some(kind) = self.documents.get_mut(&document.kind) else {
            return;
        };
        if let Some(named) = kind.get_mut(&document.bus)
            && named
                .get(&document.name)
                .is_some_and(|known| known.id == document.id)
        {
            let named = Arc::make_mut(named);
            named.remove(&document.name);
            if named.is_empty() {
                kind.remove(&document.bus);
            }
        }
    }

    fn targets_mut(
        &mut self,
        places: &HashMap<RuleId, (BusId, RuleName)>,
        rule: RuleId,
    ) -> Option<&mut BTreeMap<TargetName, Target>> {
        let (bus, name) = places.get(&rule)?;
        let rule = self.rules_mut(*bus)?.get_mut(name)?;
        Some(&mut Arc::make_mut(rule).targets)
    }

    pub(crate) fn bus(&self, name: &BusName) -> Result<&BusConfig> {
        self.buses
            .get(name)
            .map(|bus| &**bus)
            .ok_or_else(|| Error::not_found("bus", name))
    }

    pub(crate) fn rule(&self, bus: &BusName, name: &RuleName) -> Result<&RuleConfig> {
        let found = self.bus(bus)?.rules.get(name);
        found
            .map(|rule| &**rule)
            .ok_or_else(|| Error::not_found("rule", &format!("{name} on bus {bus}")))
    }

    pub(crate) fn target(
        &self,
        bus: &BusName,
        rule: &RuleName,
        name: &TargetName,
    ) -> Result<&Target> {
        let found = self.rule(bus, rule)?.targets.get(name);
        found.ok_or_else(|| {
            Error::not_found("target", &format!("{name} of rule {rule} on bus {bus}"))
        })
    }

    pub(crate) fn archive(&self, bus: &BusName, name: &ArchiveName) -> Result<&Archive> {
        let found = self.bus(bus)?.archives.get(name);
        found.ok_or_else(|| Error::not_found("archive", &format!("{name} on bus {bus}")))
    }

    /// The named documents of a kind, if there are any.
    pub(crate) fn documents(&self, kind: &str, bus: Option<BusId>) -> Option<&Named> {
        Some(&**self.documents.get(kind)?.get(&bus)?)
    }

    /// How many named documents a bus has, of all kinds.
    pub(crate) fn documents_on(&self, bus: BusId) -> usize {
        let named = self
            .documents
            .values()
            .filter_map(|kind| kind.get(&Some(bus)));
        named.map(|named| named.len()).sum()
    }

    /// The name of a bus that is still there.
    pub(crate) fn bus_name(&self, id: BusId) -> Option<&BusName> {
        self.names.get(&id)
    }
}

impl App {
    /// The configuration as it is now. Its version is asked for each time, its rows only when they have changed.
    pub(crate) async fn index(&self) -> Result<Arc<Index>> {
        let version = self.store.config_version().await?;
        let mut known = self.index.lock().await;
        if known.version == version && version != 0 {
            return Ok(Arc::clone(&known));
        }
        let diff = self.store.load_config_since(known.version).await?;
        if Arc::make_mut(&mut known).take(diff).is_none() {
            // Half of it may have been taken up.
            *known = Arc::default();
            let whole = self.store.load_config_since(0).await?;
            let fits = Arc::make_mut(&mut known).take(whole);
            fits.ok_or_else(|| Error::internal("the stored configuration does not hold together"))?;
        }
        Ok(Arc::clone(&known))
    }
}
