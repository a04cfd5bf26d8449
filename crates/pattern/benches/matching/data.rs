//! Where events and rules come from: invented here, or files that were given.
//!
//! `BELFRY_PATTERN_DATA` may name a folder with files to measure with instead, all unpacked:
//! `citylots2-like.jsonl`, `citylots2-rules.json`, `alarms.jsonl`, and
//! `rules-{exact,mixed,wild,loose}.jsonl` with 100,000 rules each that were made for those alarms.
//! With these every engine's number of matches is also compared with the known one.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};

use crate::{
    alarms::{self, Kind},
    citylots,
};

const VARIABLE: &str = "BELFRY_PATTERN_DATA";
const SETS: &str = include_str!("citylots2-rules.json");
const ALARMS: usize = 20_000;

/// Invents events and rules, or reads them.
pub(crate) struct Data {
    folder: Option<PathBuf>,
    /// How many events of each sort at most.
    most: usize,
}

/// A few rules that are asked together.
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) rules: Vec<String>,
    /// How many matches all events together have, if that is known.
    pub(crate) expected: Option<u64>,
}

impl Data {
    pub(crate) fn new(most: usize) -> Self {
        let folder = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty());
        Self {
            folder: folder.map(PathBuf::from),
            most,
        }
    }

    /// What a reader of the figures must know of it.
    pub(crate) fn described(&self) -> String {
        match &self.folder {
            Some(folder) => format!("events and rules from {}", folder.display()),
            None => "events and rules invented by this program".to_owned(),
        }
    }

    /// Parcels of a city.
    pub(crate) fn parcels(&self) -> Result<Vec<String>> {
        self.lines("citylots2-like.jsonl", citylots::EVENTS, citylots::events)
    }

    /// Alarms of a cloud.
    pub(crate) fn alarms(&self) -> Result<Vec<String>> {
        self.lines("alarms.jsonl", ALARMS, |count| {
            (0..count).map(alarms::event).collect()
        })
    }

    /// Rules for the alarms.
    pub(crate) fn rules(&self, kind: Kind, count: usize) -> Result<Vec<String>> {
        let name = format!("rules-{}.jsonl", kind.name());
        let rules = match self.read(&name)? {
            Some(text) => text.lines().take(count).map(str::to_owned).collect(),
            None => (0..count)
                .map(|number| alarms::rule(kind, number))
                .collect::<Vec<_>>(),
        };
        ensure!(
            rules.len() == count,
            "{name} has {} rules; {count} are needed",
            rules.len()
        );
        Ok(rules)
    }

    /// The sets of rules for the parcels.
    pub(crate) fn sets(&self) -> Result<Vec<Set>> {
        let given = self.read("citylots2-rules.json")?;
        let text = given.as_deref().unwrap_or(SETS);
        read_sets(text).context("citylots2-rules.json")
    }

    /// Whether the known numbers of matches apply to these parcels.
    pub(crate) fn has_known_parcels(&self, parcels: &[String]) -> bool {
        self.folder.is_some() && parcels.len() == citylots::EVENTS
    }

    /// Whether the known numbers of matches apply to these alarms.
    pub(crate) fn has_known_alarms(&self, alarms: &[String]) -> bool {
        self.folder.is_some() && alarms.len() == ALARMS
    }

    fn lines(
        &self,
        name: &str,
        all: usize,
        invent: impl Fn(usize) -> Vec<String>,
    ) -> Result<Vec<String>> {
        Ok(match self.read(name)? {
            Some(text) => text.lines().take(self.most).map(str::to_owned).collect(),
            None => invent(all.min(self.most)),
        })
    }

    fn read(&self, name: &str) -> Result<Option<String>> {
        let Some(folder) = &self.folder else {
            return Ok(None);
        };
        let path = folder.join(name);
        let text = fs::read_to_string(&path).with_context(|| {
            format!("{VARIABLE} is set, but {} is not readable", path.display())
        })?;
        Ok(Some(text))
    }
}

/// Reads `{"sets":{NAME:{"rules":[...],"matches":[...]}},"combinations":{NAME:[SET, ...]}}`, where
/// `matches` may be missing.
fn read_sets(text: &str) -> Result<Vec<Set>> {
    let file: Value = serde_json::from_str(text)?;
    let sets = object(&file, "sets")?;
    let mut read = Vec::new();
    for (name, set) in sets {
        let rules = array(set, "rules")?.iter().map(Value::to_string).collect();
        let matches = set.get("matches").and_then(Value::as_array);
        read.push(Set {
            name: name.clone(),
            rules,
            expected: matches.map(|numbers| numbers.iter().filter_map(Value::as_u64).sum()),
        });
    }
    for (name, parts) in object(&file, "combinations")? {
        let parts = parts.as_array().context("a combination is an array")?;
        let mut together = Set {
            name: name.clone(),
            rules: Vec::new(),
            expected: Some(0),
        };
        for part in parts {
            let set = read.iter().find(|set| *part == *set.name);
            let set = set.with_context(|| format!("{name} names {part}, which is no set"))?;
            together.rules.extend_from_slice(&set.rules);
            together.expected = together.expected.zip(set.expected).map(|(a, b)| a + b);
        }
        read.push(together);
    }
    Ok(read)
}

fn object<'v>(value: &'v Value, name: &str) -> Result<&'v Map<String, Value>> {
    let member = value.get(name).and_then(Value::as_object);
    member.with_context(|| format!("`{name}` must be an object"))
}

fn array<'v>(value: &'v Value, name: &str) -> Result<&'v Vec<Value>> {
    let member = value.get(name).and_then(Value::as_array);
    member.with_context(|| format!("`{name}` must be an array"))
}
