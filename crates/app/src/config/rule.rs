//! Rules, alone or with their targets.

use std::collections::BTreeMap;

use belfry_model::access::Scope;
use belfry_model::config::{Rule, Target};
use belfry_model::json::pointer_to;
use belfry_model::{BusId, BusName, RuleId, RuleName, TargetName};
use belfry_store::{AuditEntry, Change, Expect};

use super::bus::by_name;
use super::check::rule_faults;
use super::plan::{Place, Planned};
use super::rule_text::{Written, patched, read_rule};
use super::{
    ChangeOptions, Changed, Done, Index, Refusal, RuleConfig, RuleView, TargetView, Way, settle,
};
use crate::App;
use crate::actor::Actor;
use crate::cursor::{Listing, PageRequest};
use crate::error::{Code, Error, Result};
use crate::input;

/// Members that only the server writes.
const READ_ONLY: [&str; 4] = ["revision", "createdAt", "updatedAt", "dryRun"];

impl App {
    /// Rules of a bus by name.
    pub async fn list_rules(
        &self,
        actor: &Actor,
        bus: &BusName,
        page: &PageRequest,
    ) -> Result<Listing<RuleView>> {
        actor.require(&Scope::ConfigRead)?;
        let index = self.index().await?;
        let (limit, after) = (page.limit()?, page.after::<RuleName>('r')?);
        let rest = index
            .bus(bus)?
            .rules
            .iter()
            .filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after));
        Ok(by_name(rest, limit, 'r', |_, rule| {
            RuleView::stored(bus, rule)
        }))
    }

    /// One rule.
    pub async fn get_rule(
        &self,
        actor: &Actor,
        bus: &BusName,
        name: &RuleName,
    ) -> Result<RuleView> {
        actor.require(&Scope::ConfigRead)?;
        Ok(RuleView::stored(bus, self.index().await?.rule(bus, name)?))
    }

    /// Makes or replaces a rule; with `targets`, also the whole set of its targets.
    pub async fn put_rule(
        &self,
        actor: &Actor,
        bus: &BusName,
        name: &RuleName,
        body: &[u8],
        options: &ChangeOptions,
    ) -> Result<Changed<RuleView>> {
        actor.require(&Scope::ConfigWrite)?;
        let mut members = input::read_members(body, &["pattern"])?;
        members
            .drop_read_only(
                &READ_ONLY,
                &[("bus", bus.as_str()), ("name", name.as_str())],
            )
            .map_err(Refusal::from)?;
        let written = read_rule(bus, name, &mut members).map_err(Refusal::from)?;
        settle(|| async {
            let index = self.index().await?;
            self.change_rule(actor, &index, bus, name, written.clone(), options)
                .await
        })
        .await
    }

    /// Changes some members of a rule (JSON merge patch; `pattern` and `targets` are replaced whole).
    pub async fn patch_rule(
        &self,
        actor: &Actor,
        bus: &BusName,
        name: &RuleName,
        patch: &[u8],
        options: &ChangeOptions,
    ) -> Result<Changed<RuleView>> {
        actor.require(&Scope::ConfigWrite)?;
        let patch = input::read_members(patch, &["pattern"])?;
        settle(|| async {
            let index = self.index().await?;
            let old = &index.rule(bus, name)?.rule.spec;
            let mut members = patched(old, &patch)?;
            let written = read_rule(bus, name, &mut members).map_err(Refusal::from)?;
            self.change_rule(actor, &index, bus, name, written, options)
                .await
        })
        .await
    }

    async fn change_rule(
        &self,
        actor: &Actor,
        index: &Index,
        bus: &BusName,
        name: &RuleName,
        written: Written,
        options: &ChangeOptions,
    ) -> Result<Changed<RuleView>> {
        let on_bus = index.bus(bus)?;
        let old = on_bus.rules.get(name).map(|rule| &**rule);
        options.check(old.map(|old| old.rule.revision))?;
        let planned = self.plan_rule(index, bus, name, &written, old)?;
        let removed = removed_targets(&written, old);
        let same = old.filter(|old| {
            old.rule.spec == written.spec
                && removed.is_empty()
                && !planned.iter().any(|(_, plan)| plan.changed)
        });
        if let Some(same) = same {
            let value = RuleView {
                dry_run: options.dry_run,
                ..RuleView::stored(bus, same)
            };
            return Ok(Changed {
                value,
                done: Done::Unchanged,
            });
        }
        if old.is_none() && on_bus.rules.len() >= self.settings.rules_per_bus_max {
            let detail = format!(
                "bus {bus} has {} rules, as many as this server allows",
                on_bus.rules.len()
            );
            return Err(Error::new(Code::LimitReached, detail));
        }
        let way = options.way(actor, self.now_ms());
        let (changes, audit, value) = self
            .rule_changes(way, bus, name, written, planned, old)
            .await?;
        if !options.dry_run {
            self.apply(&changes, &audit, way.now_ms).await?;
        }
        Ok(Changed {
            value,
            done: Done::put(old),
        })
    }

    /// Checks the rule and every target that is given, and tells everything wrong at once.
    fn plan_rule(
        &self,
        index: &Index,
        bus: &BusName,
        name: &RuleName,
        written: &Written,
        old: Option<&RuleConfig>,
    ) -> Result<Vec<(TargetName, Planned)>> {
        let mut faults = rule_faults(&written.spec);
        let mut planned = Vec::new();
        for (target, spec) in written.targets.iter().flatten() {
            let place = Place {
                bus,
                rule: name,
                name: target,
            };
            let before = old.and_then(|old| old.targets.get(target));
            match self.plan_target(index, place, spec.clone(), before) {
                Ok(plan) => planned.push((target.clone(), plan)),
                Err(Refusal::Failed(error)) => return Err(error),
                Err(Refusal::Faults(errors)) => {
                    let prefix = format!("/targets{}", pointer_to(target.as_str()));
                    faults.extend(errors.into_iter().map(|fault| fault.under(&prefix)));
                }
            }
        }
        if faults.is_empty() {
            Ok(planned)
        } else {
            Err(Refusal::Faults(faults).into())
        }
    }

    /// The changes with their audit entries, and the rule as it will be.
    ///
    /// The rule's own revision counts also when only its targets change this way, so that its `ETag` covers all that
    /// the request could change.
    async fn rule_changes(
        &self,
        way: Way<'_>,
        bus: &BusName,
        name: &RuleName,
        written: Written,
        planned: Vec<(TargetName, Planned)>,
        old: Option<&RuleConfig>,
    ) -> Result<(Vec<Change>, Vec<AuditEntry>, RuleView)> {
        let Way {
            actor,
            now_ms: now,
            dry_run,
        } = way;
        let old_rule = old.map(|old| &old.rule);
        let new = Rule {
            id: old_rule.map_or(RuleId(0), |old| old.id),
            bus: old_rule.map_or(BusId(0), |old| old.bus),
            name: name.clone(),
            spec: written.spec.clone(),
            revision: old_rule.map_or(1, |old| old.revision + 1),
            created_at_ms: old_rule.map_or(now, |old| old.created_at_ms),
            updated_at_ms: now,
        };
        let removed = removed_targets(&written, old);
        let mut changes = vec![Change::PutRule {
            bus: bus.clone(),
            name: name.clone(),
            spec: written.spec,
            expect: old_rule.map_or(Expect::Absent, |old| Expect::Revision(old.revision)),
        }];
        let mut audit = Vec::new();
        for target in &removed {
            let (change, entry) = self.plan_removal(
                actor,
                Place {
                    bus,
                    rule: name,
                    name: &target.name,
                },
                target,
            )?;
            changes.push(change);
            audit.push(entry);
        }
        let mut targets: BTreeMap<TargetName, TargetView> = match (&written.targets, old) {
            (None, Some(old)) => old
                .targets
                .iter()
                .map(|(target, stored)| (target.clone(), TargetView::new(bus, name, stored)))
                .collect(),
            _ => BTreeMap::new(),
        };
        for (target, plan) in planned {
            let before = old.and_then(|old| old.targets.get(&target));
            if let (Some(before), false) = (before, plan.changed) {
                targets.insert(target, TargetView::new(bus, name, before));
                continue;
            }
            let place = Place {
                bus,
                rule: name,
                name: &target,
            };
            let (change, entry, view) = self
                .target_change(way, place, plan, before)
                .await
                .map_err(|error| {
                    error.under(&format!("/targets{}", pointer_to(target.as_str())))
                })?;
            changes.push(change);
            audit.push(entry);
            targets.insert(target, view);
        }
        let mut value = RuleView::new(bus, &new, targets);
        let before = old.map(|old| RuleView::new(bus, &old.rule, BTreeMap::new()));
        let after = RuleView::new(bus, &new, BTreeMap::new());
        audit.insert(
            0,
            self.audit(
                actor,
                "rule.put",
                &resource(bus, name),
                before.as_ref(),
                Some(&after),
            )?,
        );
        value.dry_run = dry_run;
        Ok((changes, audit, value))
    }

    /// Deletes a rule with its targets. Their history stays.
    pub async fn delete_rule(
        &self,
        actor: &Actor,
        bus: &BusName,
        name: &RuleName,
        options: &ChangeOptions,
    ) -> Result<RuleView> {
        actor.require(&Scope::ConfigWrite)?;
        settle(|| async {
            let index = self.index().await?;
            let old = index.rule(bus, name)?;
            options.check(Some(old.rule.revision))?;
            let mut value = RuleView::stored(bus, old);
            let change = Change::DeleteRule {
                bus: bus.clone(),
                name: name.clone(),
                revision: old.rule.revision,
            };
            self.carry_out(
                options.way(actor, self.now_ms()),
                ("rule.delete", &resource(bus, name)),
                Some(&value),
                None,
                &[change],
            )
            .await?;
            value.dry_run = options.dry_run;
            Ok(value)
        })
        .await
    }
}

fn resource(bus: &BusName, rule: &RuleName) -> String {
    format!("buses/{bus}/rules/{rule}")
}

/// The targets that are not in a set given whole.
fn removed_targets<'a>(written: &Written, old: Option<&'a RuleConfig>) -> Vec<&'a Target> {
    let (Some(targets), Some(old)) = (&written.targets, old) else {
        return Vec::new();
    };
    old.targets
        .values()
        .filter(|target| !targets.contains_key(&target.name))
        .collect()
}
