//! The configuration of one version, by name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use belfry_model::config::{Archive, Bus, Rule, Target};
use belfry_model::{ArchiveName, BusId, BusName, RuleId, RuleName, TargetName};
use belfry_store::Config;

use crate::App;
use crate::error::{Error, Result};

/// The configuration of one version.
#[derive(Debug, Default)]
pub(crate) struct Index {
    version: i64,
    pub(crate) buses: BTreeMap<BusName, BusConfig>,
    names: HashMap<BusId, BusName>,
}

/// A bus with its rules and archives.
#[derive(Debug)]
pub(crate) struct BusConfig {
    pub(crate) bus: Bus,
    pub(crate) rules: BTreeMap<RuleName, RuleConfig>,
    pub(crate) archives: BTreeMap<ArchiveName, Archive>,
}

/// A rule with its targets.
#[derive(Debug)]
pub(crate) struct RuleConfig {
    pub(crate) rule: Rule,
    pub(crate) targets: BTreeMap<TargetName, Target>,
}

impl Index {
    fn new(config: Config) -> Self {
        let mut targets: HashMap<RuleId, BTreeMap<TargetName, Target>> = HashMap::new();
        for target in config.targets {
            targets
                .entry(target.rule)
                .or_default()
                .insert(target.name.clone(), target);
        }
        let mut rules: HashMap<BusId, BTreeMap<RuleName, RuleConfig>> = HashMap::new();
        for rule in config.rules {
            let targets = targets.remove(&rule.id).unwrap_or_default();
            rules
                .entry(rule.bus)
                .or_default()
                .insert(rule.name.clone(), RuleConfig { rule, targets });
        }
        let mut archives: HashMap<BusId, BTreeMap<ArchiveName, Archive>> = HashMap::new();
        for archive in config.archives {
            archives
                .entry(archive.bus)
                .or_default()
                .insert(archive.name.clone(), archive);
        }
        let mut index = Self {
            version: config.version,
            ..Self::default()
        };
        for bus in config.buses {
            let rules = rules.remove(&bus.id).unwrap_or_default();
            let archives = archives.remove(&bus.id).unwrap_or_default();
            index.names.insert(bus.id, bus.name.clone());
            let name = bus.name.clone();
            let bus = BusConfig {
                bus,
                rules,
                archives,
            };
            index.buses.insert(name, bus);
        }
        index
    }

    pub(crate) fn bus(&self, name: &BusName) -> Result<&BusConfig> {
        self.buses
            .get(name)
            .ok_or_else(|| Error::not_found("bus", name))
    }

    pub(crate) fn rule(&self, bus: &BusName, name: &RuleName) -> Result<&RuleConfig> {
        let found = self.bus(bus)?.rules.get(name);
        found.ok_or_else(|| Error::not_found("rule", &format!("{name} on bus {bus}")))
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

    /// The name of a bus that is still there.
    pub(crate) fn bus_name(&self, id: BusId) -> Option<&BusName> {
        self.names.get(&id)
    }
}

impl App {
    /// The configuration as it is now. Its version is asked for each time, its rows only after a change.
    pub(crate) async fn index(&self) -> Result<Arc<Index>> {
        let version = self.store.config_version().await?;
        let known = self.index.load_full();
        if known.version == version && version != 0 {
            return Ok(known);
        }
        let read = Arc::new(Index::new(self.store.load_config().await?));
        self.index.store(Arc::clone(&read));
        Ok(read)
    }
}
