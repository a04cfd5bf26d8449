//! Changes of targets, worked out and checked before anything is written.

use belfry_model::access::Scope;
use belfry_model::config::{Target, TargetSpec};
use belfry_model::{BusId, BusName, RuleId, RuleName, TargetId, TargetName};
use belfry_store::{AuditEntry, Change, Expect};
use belfry_targets::{GeneratedSecret, Handshake, TargetKind, unmask};
use serde_json::Value;

use super::{GeneratedSecretView, Index, Refusal, TargetView, Way};
use crate::App;
use crate::actor::Actor;
use crate::error::{Code, Error, Fault, Result, faults_under};
use crate::functions::TARGET;

/// Where a target stands.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) bus: &'a BusName,
    pub(crate) rule: &'a RuleName,
    pub(crate) name: &'a TargetName,
}

impl Place<'_> {
    /// What its secrets are bound to.
    pub(super) fn text(&self) -> String {
        format!("{}/{}/{}", self.bus, self.rule, self.name)
    }

    pub(super) fn resource(&self) -> String {
        format!(
            "buses/{}/rules/{}/targets/{}",
            self.bus, self.rule, self.name
        )
    }
}

/// A change of a target, worked out and checked.
pub(crate) struct Planned {
    kind: &'static dyn TargetKind,
    /// What is to be stored, secrets sealed.
    pub(crate) sealed: TargetSpec,
    /// Its settings in clear.
    clear: Value,
    generated: Vec<GeneratedSecret>,
    /// Whether anything is different.
    pub(super) changed: bool,
    /// Whether the receiver must be asked first.
    handshake: bool,
}

impl App {
    /// Works a change out: masks taken back, server-made members filled in, everything checked, secrets sealed.
    pub(crate) fn plan_target(
        &self,
        index: &Index,
        place: Place<'_>,
        mut spec: TargetSpec,
        old: Option<&Target>,
    ) -> std::result::Result<Planned, Refusal> {
        let old_clear = old.and_then(|old| {
            self.sealer
                .open_settings(&place.text(), &old.spec.settings)
                .ok()
        });
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
        let secret = kind.secret_pointers(&sealed.settings);
        self.sealer
            .seal_settings(secret, &place.text(), &mut sealed.settings)
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
    pub(super) async fn target_change(
        &self,
        way: Way<'_>,
        place: Place<'_>,
        planned: Planned,
        old: Option<&Target>,
    ) -> Result<(Change, AuditEntry, TargetView)> {
        let Way {
            actor,
            now_ms: now,
            dry_run,
        } = way;
        if planned.sealed.kind == TARGET {
            actor.require(&Scope::FunctionsUse)?;
            self.functions.must_be_enabled()?;
        }
        self.check_template(planned.sealed.transform.as_ref())
            .await?;
        let handshake = if planned.handshake && !dry_run {
            Some(self.shake_hands(&planned).await?)
        } else {
            None
        };
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
            let detail = format!("the receiver did not agree to get events: {why}");
            Error::invalid(
                Code::HandshakeRefused,
                vec![Fault::new("/settings/url", detail)],
            )
        })
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
