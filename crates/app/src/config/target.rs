//! Targets: alone, and as part of a rule.

use belfry_model::access::Scope;
use belfry_model::config::{Target, TargetSpec};
use belfry_model::json::merge_patch;
use belfry_model::{BusId, BusName, RuleId, RuleName, TargetId, TargetName};
use belfry_store::{AuditEntry, Change, Expect};
use belfry_targets::{GeneratedSecret, Handshake, REGISTRY, TargetKind, unmask};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::bus::by_name;
use super::{
    ChangeOptions, Changed, Done, GeneratedSecretView, Index, Refusal, TargetKindView, TargetView,
    settle,
};
use crate::App;
use crate::actor::Actor;
use crate::cursor::{Listing, PageRequest};
use crate::error::{Code, Error, Fault, Result, faults_under};
use crate::input::{self, Members};
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

/// Where a target stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) bus: &'a BusName,
    pub(super) rule: &'a RuleName,
    pub(super) name: &'a TargetName,
}

impl Place<'_> {
    /// What its secrets are bound to.
    fn text(&self) -> String {
        format!("{}/{}/{}", self.bus, self.rule, self.name)
    }

    fn resource(&self) -> String {
        format!(
            "buses/{}/rules/{}/targets/{}",
            self.bus, self.rule, self.name
        )
    }
}

/// A change of a target, worked out and checked.
pub(super) struct Planned {
    kind: &'static dyn TargetKind,
    /// What is to be stored, secrets sealed.
    sealed: TargetSpec,
    /// Its settings in clear.
    clear: Value,
    generated: Vec<GeneratedSecret>,
    /// Whether anything is different.
    pub(super) changed: bool,
    /// Whether the receiver must be asked first.
    handshake: bool,
}

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

/// Reads a target as it is written in a PUT.
pub(super) fn read_target(
    place: Place<'_>,
    body: &[u8],
) -> std::result::Result<TargetSpec, Vec<Fault>> {
    let mut members = Members::cut(body, &[])?;
    let path = [
        ("bus", place.bus.as_str()),
        ("rule", place.rule.as_str()),
        ("name", place.name.as_str()),
    ];
    let faults = members.drop_read_only(&READ_ONLY, &path);
    if !faults.is_empty() {
        return Err(faults);
    }
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

impl App {
    /// Kinds of targets.
    pub fn list_target_kinds(&self, actor: &Actor) -> Result<Vec<TargetKindView>> {
        actor.require(&Scope::ConfigRead)?;
        Ok(REGISTRY
            .iter()
            .map(|kind| TargetKindView::new(*kind))
            .collect())
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
        let spec = read_target(place, body).map_err(Refusal::from)?;
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
        let patch = Members::cut(patch, &[]).map_err(Refusal::from)?;
        settle(|| async {
            let index = self.index().await?;
            let spec = self.patched(place, index.target(bus, rule, name)?, &patch)?;
            // Somebody who says `"enabled": true` to a target that Belfry has disabled means it.
            let enable = patch
                .get("enabled")
                .is_some_and(|text| text.as_str() == "true");
            self.change_target(actor, &index, place, spec, options, enable)
                .await
        })
        .await
    }

    fn patched(&self, place: Place<'_>, old: &Target, patch: &Members) -> Result<TargetSpec> {
        let mut base = old.spec.clone();
        base.transform = None;
        // Without the key the secrets cannot be had; the sealed texts are then never shown, nor sealed again.
        base.settings = self
            .sealer
            .open_settings(&place.text(), &old.spec)
            .unwrap_or_else(|_| TargetView::new(place.bus, place.rule, old).settings);
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
        let (change, audit, view) = self
            .carry_out(actor, place, planned, old, options.dry_run)
            .await?;
        if !options.dry_run {
            self.apply(&[change], &[audit]).await?;
        }
        Ok(Changed {
            value: view,
            done: if old.is_none() {
                Done::Created
            } else {
                Done::Updated
            },
        })
    }

    /// Works a change out: masks taken back, server-made members filled in, everything checked, secrets sealed.
    pub(super) fn plan_target(
        &self,
        index: &Index,
        place: Place<'_>,
        mut spec: TargetSpec,
        old: Option<&Target>,
    ) -> std::result::Result<Planned, Refusal> {
        let old_clear =
            old.and_then(|old| self.sealer.open_settings(&place.text(), &old.spec).ok());
        // Another kind's secrets are not carried over: they would turn up in a member they were never meant for.
        let kept = old_clear
            .as_ref()
            .filter(|_| old.is_some_and(|old| old.spec.kind == spec.kind));
        let mut generated = Vec::new();
        let mut masks = Vec::new();
        if let Ok(kind) = belfry_targets::find_kind(&spec.kind)
            && spec.settings.is_object()
        {
            match unmask(kind, &mut spec.settings, kept) {
                Ok(()) => generated = kind.prepare(&mut spec.settings, kept),
                Err(errors) => masks = faults_under("/settings", errors),
            }
        }
        let (mut faults, kind) = self.target_faults(index, &spec);
        // The kind would complain about a mask left over as about any bad value; that the mask is one says more.
        faults.retain(|fault| !masks.iter().any(|mask| mask.pointer == fault.pointer));
        faults.extend(masks);
        let (Some(kind), true) = (kind, faults.is_empty()) else {
            return Err(Refusal::Faults(faults));
        };

        let clear = spec.settings.clone();
        let changed = match (old, &old_clear) {
            (Some(old), Some(old_clear)) => {
                TargetSpec {
                    settings: Value::Null,
                    ..spec.clone()
                } != TargetSpec {
                    settings: Value::Null,
                    ..old.spec.clone()
                } || *old_clear != clear
            }
            _ => true,
        };
        let moved = kept.is_none_or(|kept| *kept != clear);
        let handshake = moved && kind.needs_handshake(&clear);
        let mut sealed = spec;
        self.sealer
            .seal_settings(kind, &place.text(), &mut sealed.settings)
            .map_err(Error::internal)?;
        Ok(Planned {
            kind,
            sealed,
            clear,
            generated,
            changed,
            handshake,
        })
    }

    /// Asks the receiver if need be, and gives what is to be written and shown.
    pub(super) async fn carry_out(
        &self,
        actor: &Actor,
        place: Place<'_>,
        planned: Planned,
        old: Option<&Target>,
        dry_run: bool,
    ) -> Result<(Change, AuditEntry, TargetView)> {
        let handshake = if planned.handshake && !dry_run {
            Some(self.shake_hands(&planned).await?)
        } else {
            None
        };
        let now = self.now_ms();
        let new = Target {
            id: old.map_or(TargetId(0), |old| old.id),
            rule: old.map_or(RuleId(0), |old| old.rule),
            bus: old.map_or(BusId(0), |old| old.bus),
            name: place.name.clone(),
            spec: planned.sealed.clone(),
            disabled: None,
            revision: old.map_or(1, |old| old.revision + 1),
            created_at_ms: old.map_or(now, |old| old.created_at_ms),
            updated_at_ms: now,
        };
        let mut view = TargetView::new(place.bus, place.rule, &new);
        let before = old.map(|old| TargetView::new(place.bus, place.rule, old));
        let audit = self.audit(
            actor,
            "target.put",
            &place.resource(),
            before.as_ref(),
            Some(&view),
        )?;
        view.handshake = handshake;
        view.dry_run = dry_run;
        if !dry_run {
            view.generated_secrets = planned
                .generated
                .into_iter()
                .map(GeneratedSecretView::from)
                .collect();
        }
        let change = Change::PutTarget {
            bus: place.bus.clone(),
            rule: place.rule.clone(),
            name: place.name.clone(),
            spec: Box::new(planned.sealed),
            expect: old.map_or(Expect::Absent, |old| Expect::Revision(old.revision)),
        };
        Ok((change, audit, view))
    }

    async fn shake_hands(&self, planned: &Planned) -> Result<Handshake> {
        let target = planned
            .kind
            .connect(planned.clear.clone(), &self.connect)
            .map_err(|errors| {
                Error::invalid(Code::InvalidRequest, faults_under("/settings", errors))
            })?;
        target.handshake().await.map_err(|why| {
            Error::new(
                Code::HandshakeRefused,
                format!("the receiver did not agree to get events: {why}"),
            )
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
                self.apply(&[change], &[audit]).await?;
            }
            Ok(TargetView {
                dry_run: options.dry_run,
                ..TargetView::new(bus, rule, old)
            })
        })
        .await
    }

    pub(super) fn plan_removal(
        &self,
        actor: &Actor,
        place: Place<'_>,
        old: &Target,
    ) -> Result<(Change, AuditEntry)> {
        let before = TargetView::new(place.bus, place.rule, old);
        let audit = self.audit(
            actor,
            "target.delete",
            &place.resource(),
            Some(&before),
            None,
        )?;
        let change = Change::DeleteTarget {
            bus: place.bus.clone(),
            rule: place.rule.clone(),
            name: place.name.clone(),
            revision: old.revision,
        };
        Ok((change, audit))
    }
}
