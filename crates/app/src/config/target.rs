//! Targets: alone, and as part of a rule.

use belfry_model::access::Scope;
use belfry_model::config::{Target, TargetSpec};
use belfry_model::json::merge_patch;
use belfry_model::{BusName, RuleName, TargetName};
use belfry_targets::{REGISTRY, find_kind};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::bus::by_name;
use super::plan::Place;
use super::{ChangeOptions, Changed, Done, Index, Refusal, TargetKindView, TargetView, settle};
use crate::App;
use crate::actor::Actor;
use crate::cursor::{Listing, PageRequest};
use crate::error::{Code, Error, Fault, Result, faults_under};
use crate::input::{self, Members};
use crate::secrets::masked;
use crate::time::Stamp;

/// Members that only the server writes.
const READ_ONLY: [&str; 7] = [
    "disabled",
    "revision",
    "createdAt",
    "updatedAt",
    "generatedSecrets",
    "handshake",
    "dryRun",
];

/// How a target's lane is doing, and whether it can be used at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Whether deliveries are made: enabled, not disabled by Belfry, usable.
    pub active: bool,
    /// Why the target cannot be used, or why its events are skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub problem: Option<String>,
    /// `closed` (normal), `open` (failing, waits) or `probing`.
    #[schema(examples("closed"))]
    pub circuit: &'static str,
    /// Until when nothing is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub paused_until: Option<Stamp>,
    /// Failures in a row.
    pub failures: u32,
    /// Deliveries waiting in memory.
    pub queued: usize,
    /// Requests on the wire.
    pub in_flight: usize,
}

/// Every kind of target there is.
pub fn target_kinds() -> Vec<TargetKindView> {
    REGISTRY
        .iter()
        .map(|kind| TargetKindView::new(*kind))
        .collect()
}

/// Reads a target as it is written in a PUT.
pub(crate) fn read_target(
    place: Place<'_>,
    mut members: Members,
) -> std::result::Result<TargetSpec, Vec<Fault>> {
    let path = [
        ("bus", place.bus.as_str()),
        ("rule", place.rule.as_str()),
        ("name", place.name.as_str()),
    ];
    members.drop_read_only(&READ_ONLY, &path)?;
    read_members(&mut members)
}

fn read_members(members: &mut Members) -> std::result::Result<TargetSpec, Vec<Fault>> {
    // The transform is kept as it was written, so it takes no part in reading the rest.
    let text = members.text(&["transform"]);
    let mut spec: TargetSpec = belfry_model::json::from_slice(text.as_bytes())
        .map_err(|errors| faults_under("", errors))?;
    spec.transform = members.take("transform");
    Ok(spec)
}

/// A target after a merge patch; the transform is replaced whole.
fn patched(old: &Target, patch: &Members) -> Result<TargetSpec> {
    let mut base = old.spec.clone();
    base.transform = None;
    let same_kind = patch.get("type").is_none_or(|text| {
        serde_json::from_str::<String>(text.as_str()).is_ok_and(|kind| kind == old.spec.kind)
    });
    base.settings = if same_kind {
        // Masks, which are taken back like those of a writer: else a patch of the URL alone would have the secrets
        // sent to another receiver.
        masked(&old.spec.settings)
    } else {
        // Another kind may have a member of the same name that is no secret.
        Value::Object(serde_json::Map::new())
    };
    let base = serde_json::to_value(&base).map_err(Error::internal)?;
    let mut change: Value = input::read(patch.text(&["transform"]).as_bytes())?;
    if let Value::Object(members) = &mut change {
        members.shift_remove("transform");
    }
    let merged = merge_patch(base, change).to_string();
    let mut members = Members::cut(merged.as_bytes(), &[]).map_err(Refusal::from)?;
    let transform = match patch.get("transform") {
        Some(text) => Some(text.clone()),
        None => old.spec.transform.clone(),
    };
    if let Some(transform) = transform {
        members.set("transform", transform);
    }
    Ok(read_members(&mut members).map_err(Refusal::from)?)
}

impl App {
    /// Kinds of targets.
    pub fn list_target_kinds(&self, actor: &Actor) -> Result<Vec<TargetKindView>> {
        actor.require(&Scope::ConfigRead)?;
        Ok(target_kinds())
    }

    /// Targets of a rule by name.
    pub async fn list_targets(
        &self,
        actor: &Actor,
        bus: &BusName,
        rule: &RuleName,
        page: &PageRequest,
    ) -> Result<Listing<TargetView>> {
        actor.require(&Scope::ConfigRead)?;
        let index = self.index().await?;
        let (limit, after) = (page.limit()?, page.after::<TargetName>('t')?);
        let targets = &index.rule(bus, rule)?.targets;
        let rest = targets
            .iter()
            .filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after));
        Ok(by_name(rest, limit, 't', |_, target| {
            TargetView::new(bus, rule, target)
        }))
    }

    /// One target.
    pub async fn get_target(
        &self,
        actor: &Actor,
        bus: &BusName,
        rule: &RuleName,
        name: &TargetName,
    ) -> Result<TargetView> {
        actor.require(&Scope::ConfigRead)?;
        Ok(TargetView::new(
            bus,
            rule,
            self.index().await?.target(bus, rule, name)?,
        ))
    }

    /// How a target is doing at this moment.
    pub async fn target_status(
        &self,
        actor: &Actor,
        bus: &BusName,
        rule: &RuleName,
        name: &TargetName,
    ) -> Result<TargetStatus> {
        actor.require(&Scope::ConfigRead)?;
        let index = self.index().await?;
        let target = index.target(bus, rule, name)?;
        let snapshot = self.engine.snapshot();
        let entry = snapshot.target(target.id);
        let problem = entry.and_then(|entry| entry.problem.clone().or_else(|| entry.disabled()));
        let lane = self.engine.lane_status(target.id);
        let lane = lane.as_ref();
        Ok(TargetStatus {
            active: entry.is_some() && problem.is_none(),
            problem,
            circuit: lane.map_or("closed", |lane| lane.circuit),
            paused_until: lane.and_then(|lane| lane.paused_until_ms).map(Stamp),
            failures: lane.map_or(0, |lane| lane.failures),
            queued: lane.map_or(0, |lane| lane.queued),
            in_flight: lane.map_or(0, |lane| lane.in_flight),
        })
    }

    /// Makes or replaces a target.
    pub async fn put_target(
        &self,
        actor: &Actor,
        bus: &BusName,
        rule: &RuleName,
        name: &TargetName,
        body: &[u8],
        options: &ChangeOptions,
    ) -> Result<Changed<TargetView>> {
        actor.require(&Scope::ConfigWrite)?;
        let place = Place { bus, rule, name };
        let members = input::read_members(body, &[])?;
        let spec = read_target(place, members).map_err(Refusal::from)?;
        settle(|| async {
            let index = self.index().await?;
            self.change_target(actor, &index, place, spec.clone(), options, false)
                .await
        })
        .await
    }

    /// Changes some members of a target (JSON merge patch; `transform` is replaced whole).
    pub async fn patch_target(
        &self,
        actor: &Actor,
        bus: &BusName,
        rule: &RuleName,
        name: &TargetName,
        patch: &[u8],
        options: &ChangeOptions,
    ) -> Result<Changed<TargetView>> {
        actor.require(&Scope::ConfigWrite)?;
        let place = Place { bus, rule, name };
        let patch = input::read_members(patch, &[])?;
        settle(|| async {
            let index = self.index().await?;
            let spec = patched(index.target(bus, rule, name)?, &patch)?;
            self.refuse_unknown_nulls(&spec.kind, &patch)?;
            // Somebody who says `"enabled": true` to a target that Belfry has disabled means it.
            let enable = patch
                .get("enabled")
                .is_some_and(|text| text.as_str() == "true");
            self.change_target(actor, &index, place, spec, options, enable)
                .await
        })
        .await
    }

    /// Refuses a patch that removes what a target of this kind cannot have.
    fn refuse_unknown_nulls(&self, kind: &str, patch: &Members) -> Result<()> {
        let change: Value = input::read(patch.text(&["transform"]).as_bytes())?;
        let mut faults = input::unknown_nulls::<TargetSpec>(&change);
        if let (Ok(kind), Some(settings)) = (find_kind(kind), change.get("settings")) {
            let egress = &self.connect.egress;
            let unknown = input::unknown_nulls_by(settings, |alone| kind.validate(alone, egress));
            faults.extend(unknown.into_iter().map(|fault| fault.under("/settings")));
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Error::invalid(Code::InvalidRequest, faults))
        }
    }

    async fn change_target(
        &self,
        actor: &Actor,
        index: &Index,
        place: Place<'_>,
        spec: TargetSpec,
        options: &ChangeOptions,
        enable: bool,
    ) -> Result<Changed<TargetView>> {
        let rule = index.rule(place.bus, place.rule)?;
        let old = rule.targets.get(place.name);
        options.check(old.map(|old| old.revision))?;
        let mut planned = self.plan_target(index, place, spec, old)?;
        if let Some(same) = old
            && !planned.changed
        {
            if !(enable && same.disabled.is_some()) {
                let value = TargetView {
                    dry_run: options.dry_run,
                    ..TargetView::new(place.bus, place.rule, same)
                };
                return Ok(Changed {
                    value,
                    done: Done::Unchanged,
                });
            }
            planned.changed = true;
        }
        if old.is_none() && rule.targets.len() >= belfry_model::config::TARGETS_PER_RULE_MAX {
            let detail = format!(
                "rule {} has {} targets, as many as a rule may have",
                place.rule,
                rule.targets.len()
            );
            return Err(Error::new(Code::LimitReached, detail));
        }
        let way = options.way(actor, self.now_ms());
        let (change, audit, view) = self.target_change(way, place, planned, old).await?;
        if !options.dry_run {
            self.apply(&[change], &[audit], way.now_ms).await?;
        }
        Ok(Changed {
            value: view,
            done: Done::put(old),
        })
    }

    /// Deletes a target. Its history stays.
    pub async fn delete_target(
        &self,
        actor: &Actor,
        bus: &BusName,
        rule: &RuleName,
        name: &TargetName,
        options: &ChangeOptions,
    ) -> Result<TargetView> {
        actor.require(&Scope::ConfigWrite)?;
        let place = Place { bus, rule, name };
        settle(|| async {
            let index = self.index().await?;
            let old = index.target(bus, rule, name)?;
            options.check(Some(old.revision))?;
            let (change, audit) = self.plan_removal(actor, place, old)?;
            if !options.dry_run {
                self.apply(&[change], &[audit], self.now_ms()).await?;
            }
            Ok(TargetView {
                dry_run: options.dry_run,
                ..TargetView::new(bus, rule, old)
            })
        })
        .await
    }
}
