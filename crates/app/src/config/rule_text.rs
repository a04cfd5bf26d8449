//! Rules as they are written: their members, of which pattern and targets stay text until their turn.

use std::collections::BTreeMap;

use belfry_model::config::{RuleSpec, TARGETS_PER_RULE_MAX, TargetSpec};
use belfry_model::json::{self, JsonText, merge_patch, pointer_to};
use belfry_model::{BusName, RuleName, TargetName};
use belfry_pattern::Pattern;
use serde::Deserialize;
use serde_json::Value;

use super::Refusal;
use super::check::pattern_faults;
use super::plan::Place;
use super::target::read_target;
use crate::error::{Code, Error, Fault, Result, faults_under};
use crate::input::{Members, unknown_nulls};

/// Members that take no part in reading the rest.
const TEXTS: [&str; 2] = ["pattern", "targets"];

/// A rule as it is written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) spec: RuleSpec,
    /// The whole set of targets, when it is given.
    pub(super) targets: Option<BTreeMap<TargetName, TargetSpec>>,
}

/// The members of a rule. The two texts stand for themselves as null while the others are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    #[serde(default)]
    description: String,
    #[serde(default = "yes")]
    enabled: bool,
    pattern: JsonText,
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "named here so that a misspelt name is answered with it"
    )]
    targets: Option<JsonText>,
}

const fn yes() -> bool {
    true
}

pub(super) fn read_rule(
    bus: &BusName,
    rule: &RuleName,
    members: &mut Members,
) -> std::result::Result<Written, Vec<Fault>> {
    let body: std::result::Result<Body, _> = json::from_slice(members.text(&TEXTS).as_bytes());
    let targets = members
        .take("targets")
        .map(|text| read_targets(bus, rule, &text))
        .transpose();
    let pattern = members.take("pattern");
    match (body, targets) {
        (Ok(body), Ok(targets)) => {
            let spec = RuleSpec {
                description: body.description,
                enabled: body.enabled,
                pattern: pattern.unwrap_or(body.pattern),
            };
            Ok(Written { spec, targets })
        }
        (body, targets) => {
            let mut faults = faults_under("", body.err().unwrap_or_default());
            // Everything wrong is told at once, so the pattern has its turn here too.
            if let Some(Err(errors)) = pattern.map(|text| Pattern::parse(text.as_str().as_bytes()))
            {
                faults.extend(pattern_faults("/pattern", errors));
            }
            faults.extend(targets.err().unwrap_or_default());
            Err(faults)
        }
    }
}

fn read_targets(
    bus: &BusName,
    rule: &RuleName,
    text: &JsonText,
) -> std::result::Result<BTreeMap<TargetName, TargetSpec>, Vec<Fault>> {
    let under = |faults: Vec<Fault>, prefix: &str| {
        faults
            .into_iter()
            .map(|fault| fault.under(prefix))
            .collect::<Vec<_>>()
    };
    let members =
        Members::cut(text.as_str().as_bytes(), &[]).map_err(|faults| under(faults, "/targets"))?;
    let (mut targets, mut faults) = (BTreeMap::new(), Vec::new());
    for (name, text) in members.iter() {
        let pointer = format!("/targets{}", pointer_to(name));
        let name: TargetName = match name.parse() {
            Ok(name) => name,
            Err(error) => {
                faults.push(Fault::new(pointer, error.to_string()));
                continue;
            }
        };
        let place = Place {
            bus,
            rule,
            name: &name,
        };
        let members = Members::cut(text.as_str().as_bytes(), &[]);
        match members.and_then(|members| read_target(place, members)) {
            Ok(spec) => {
                targets.insert(name, spec);
            }
            Err(errors) => faults.extend(under(errors, &pointer)),
        }
    }
    if targets.len() > TARGETS_PER_RULE_MAX {
        faults.push(Fault::new(
            "/targets",
            format!(
                "at most {TARGETS_PER_RULE_MAX} targets, got {}",
                targets.len()
            ),
        ));
    }
    if faults.is_empty() {
        Ok(targets)
    } else {
        Err(faults)
    }
}

/// A rule's members after a merge patch; the pattern keeps its text, from the patch or from before.
pub(super) fn patched(old: &RuleSpec, patch: &Members) -> Result<Members> {
    let base = serde_json::json!({ "description": old.description, "enabled": old.enabled });
    let mut change: Value = serde_json::from_str(&patch.text(&TEXTS)).map_err(Error::internal)?;
    let mut faults = unknown_nulls::<Body>(&change);
    if patch
        .get("targets")
        .is_some_and(|text| text.as_str() == "null")
    {
        let detail =
            "expected an object; {} removes every target, and without this member they stay";
        faults.push(Fault::new("/targets", detail));
    }
    if !faults.is_empty() {
        return Err(Error::invalid(Code::InvalidRequest, faults));
    }
    if let Value::Object(members) = &mut change {
        members.retain(|name, _| !TEXTS.contains(&name.as_str()));
    }
    let merged = merge_patch(base, change).to_string();
    let mut members = Members::cut(merged.as_bytes(), &[]).map_err(Refusal::from)?;
    members.set(
        "pattern",
        patch.get("pattern").unwrap_or(&old.pattern).clone(),
    );
    if let Some(targets) = patch.get("targets") {
        members.set("targets", targets.clone());
    }
    Ok(members)
}
