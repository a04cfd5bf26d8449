//! Buses.

use belfry_model::access::Scope;
use belfry_model::config::{Bus, BusSpec, TargetSpec};
use belfry_model::json::merge_patch;
use belfry_model::{BusId, BusName};
use belfry_store::{BusSize, Change, Expect, Store, StoreError};
use belfry_targets::find_kind;
use serde_json::Value;

use super::index::BusConfig;
use super::{BusView, ChangeOptions, Changed, Done, Index, Refusal, settle};
use crate::App;
use crate::actor::Actor;
use crate::cursor::{self, Listing, PageRequest};
use crate::error::{Code, Error, Result, faults_under};
use crate::input;

/// Members that only the server writes.
const READ_ONLY: [&str; 6] = [
    "rules",
    "usage",
    "revision",
    "createdAt",
    "updatedAt",
    "dryRun",
];
/// Tells a first start from one after somebody deleted bus `default`.
const FIRST_START_META: &str = "first-start.done";

impl App {
    /// Buses by name.
    pub async fn list_buses(&self, actor: &Actor, page: &PageRequest) -> Result<Listing<BusView>> {
        actor.require(&Scope::ConfigRead)?;
        let index = self.index().await?;
        let (limit, after) = (page.limit()?, page.after::<BusName>('b')?);
        let sizes = self.store.bus_sizes().await?;
        let rest = index
            .buses
            .iter()
            .filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after));
        Ok(by_name(rest, limit, 'b', |_, bus| with_usage(bus, &sizes)))
    }

    /// One bus.
    pub async fn get_bus(&self, actor: &Actor, name: &BusName) -> Result<BusView> {
        actor.require(&Scope::ConfigRead)?;
        let index = self.index().await?;
        let bus = index.bus(name)?;
        Ok(with_usage(bus, &self.store.bus_sizes().await?))
    }

    /// Makes or replaces a bus.
    pub async fn put_bus(
        &self,
        actor: &Actor,
        name: &BusName,
        body: &[u8],
        options: &ChangeOptions,
    ) -> Result<Changed<BusView>> {
        actor.require(&Scope::ConfigWrite)?;
        not_system(name)?;
        let mut members = input::read_members(body, &[])?;
        members
            .drop_read_only(&READ_ONLY, &[("name", name.as_str())])
            .map_err(Refusal::from)?;
        let spec: BusSpec = input::read(members.text(&[]).as_bytes())?;
        settle(|| async {
            let index = self.index().await?;
            self.change_bus(actor, &index, name, spec.clone(), options)
                .await
        })
        .await
    }

    /// Changes some members of a bus (JSON merge patch).
    pub async fn patch_bus(
        &self,
        actor: &Actor,
        name: &BusName,
        patch: &[u8],
        options: &ChangeOptions,
    ) -> Result<Changed<BusView>> {
        actor.require(&Scope::ConfigWrite)?;
        not_system(name)?;
        let members = input::read_members(patch, &[])?;
        let patch: Value = input::read(members.text(&[]).as_bytes())?;
        let faults = input::unknown_nulls::<BusSpec>(&patch);
        if !faults.is_empty() {
            return Err(Error::invalid(Code::InvalidRequest, faults));
        }
        settle(|| async {
            let index = self.index().await?;
            let old = serde_json::to_value(&index.bus(name)?.bus.spec).map_err(Error::internal)?;
            let spec: BusSpec =
                input::read(merge_patch(old, patch.clone()).to_string().as_bytes())?;
            self.change_bus(actor, &index, name, spec, options).await
        })
        .await
    }

    async fn change_bus(
        &self,
        actor: &Actor,
        index: &Index,
        name: &BusName,
        spec: BusSpec,
        options: &ChangeOptions,
    ) -> Result<Changed<BusView>> {
        let errors = spec.check();
        if !errors.is_empty() {
            return Err(Error::invalid(
                Code::InvalidRequest,
                faults_under("", errors),
            ));
        }
        let old = index.buses.get(name).map(|bus| &**bus);
        options.check(old.map(|old| old.bus.revision))?;
        if let Some(same) = old.filter(|old| old.bus.spec == spec) {
            let value = BusView {
                dry_run: options.dry_run,
                ..view(same)
            };
            return Ok(Changed {
                value,
                done: Done::Unchanged,
            });
        }
        if old.is_none() && index.buses.len() >= self.settings.buses_max {
            let detail = format!(
                "there are {} buses, as many as this server allows",
                index.buses.len()
            );
            return Err(Error::new(Code::LimitReached, detail));
        }
        let now = self.now_ms();
        let new = Bus {
            id: old.map_or(BusId(0), |old| old.bus.id),
            name: name.clone(),
            spec: spec.clone(),
            revision: old.map_or(1, |old| old.bus.revision + 1),
            created_at_ms: old.map_or(now, |old| old.bus.created_at_ms),
            updated_at_ms: now,
        };
        let mut value = BusView::new(&new, old.map_or(0, |old| old.rules.len()));
        let before = old.map(view);
        let change = Change::PutBus {
            name: name.clone(),
            spec,
            expect: old.map_or(Expect::Absent, |old| Expect::Revision(old.bus.revision)),
        };
        self.carry_out(
            options.way(actor, now),
            ("bus.put", &format!("buses/{name}")),
            before.as_ref(),
            Some(&value),
            &[change],
        )
        .await?;
        value.dry_run = options.dry_run;
        Ok(Changed {
            value,
            done: Done::put(old),
        })
    }

    /// Deletes a bus. One with rules, archives or documents only if `cascade` is asked for; `default` only without any.
    pub async fn delete_bus(
        &self,
        actor: &Actor,
        name: &BusName,
        options: &ChangeOptions,
    ) -> Result<BusView> {
        actor.require(&Scope::ConfigWrite)?;
        not_system(name)?;
        settle(|| async {
            let index = self.index().await?;
            let old = index.bus(name)?;
            options.check(Some(old.bus.revision))?;
            refuse_if_needed(&index, old, options.cascade)?;
            let mut value = view(old);
            let change = Change::DeleteBus {
                name: name.clone(),
                revision: old.bus.revision,
            };
            self.carry_out(
                options.way(actor, self.now_ms()),
                ("bus.delete", &format!("buses/{name}")),
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

fn refuse_if_needed(index: &Index, old: &BusConfig, cascade: bool) -> Result<()> {
    let name = &old.bus.name;
    let held: Vec<_> = [
        (old.rules.len(), "rules"),
        (old.archives.len(), "archives"),
        (index.documents_on(old.bus.id), "sources or silences"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    if !held.is_empty() {
        let held = held.join(" and ");
        if name.as_str() == BusName::DEFAULT {
            let detail = format!("bus {name} has {held}; it can be deleted only without any");
            return Err(Error::new(Code::BusNotEmpty, detail));
        }
        if !cascade {
            let detail =
                format!("bus {name} has {held}; delete them first, or ask for cascade=true");
            return Err(Error::new(Code::BusNotEmpty, detail));
        }
    }
    let others = index.buses.values().filter(|bus| bus.bus.name != *name);
    let uses = |spec: &TargetSpec| {
        let dead = spec.dead_letter.as_ref();
        if dead.is_some_and(|dead| dead.bus == *name) {
            return Some("dead letters");
        }
        let kind = find_kind(&spec.kind).ok()?;
        let mut buses = kind.buses(&spec.settings).into_iter();
        buses.any(|(_, bus)| bus == *name).then_some("results")
    };
    let found = others
        .flat_map(|bus| bus.rules.values().map(move |rule| (bus, rule)))
        .find_map(|(bus, rule)| {
            let mut targets = rule.targets.values();
            let what = targets.find_map(|target| uses(&target.spec))?;
            Some((bus, rule, what))
        });
    match found {
        None => Ok(()),
        Some((bus, rule, what)) => Err(Error::new(
            Code::BusInUse,
            format!(
                "rule {} on bus {} sends its {what} to bus {name}; change that first",
                rule.rule.name, bus.bus.name
            ),
        )),
    }
}

fn not_system(name: &BusName) -> Result<()> {
    if name.is_system() {
        return Err(Error::new(
            Code::ReservedBus,
            "bus system is Belfry's own: it cannot be changed or deleted, only its rules can",
        ));
    }
    Ok(())
}

fn view(bus: &BusConfig) -> BusView {
    BusView::new(&bus.bus, bus.rules.len())
}

fn with_usage(bus: &BusConfig, sizes: &[BusSize]) -> BusView {
    let size = sizes.iter().find(|size| size.bus == bus.bus.id);
    BusView {
        usage: Some(size.map(Into::into).unwrap_or_default()),
        ..view(bus)
    }
}

/// One page of things in the order of their names.
pub(crate) fn by_name<'a, K: std::fmt::Display + 'a, V: 'a, T>(
    mut rest: impl Iterator<Item = (&'a K, &'a V)>,
    limit: u32,
    tag: char,
    view: impl Fn(&'a K, &'a V) -> T,
) -> Listing<T> {
    let mut last = None;
    let mut items = Vec::new();
    for (name, thing) in rest.by_ref().take(limit as usize) {
        items.push(view(name, thing));
        last = Some(name);
    }
    let more = rest.next().is_some();
    let next = last.filter(|_| more).map(|last| cursor::write(tag, last));
    Listing {
        items,
        next,
        partial: false,
    }
}

/// Makes bus `system` if it is not there, and on the first start bus `default`.
pub(crate) async fn ensure_buses(store: &dyn Store, now_ms: i64) -> Result<()> {
    let config = store.load_config().await?;
    let first = store.get_meta(FIRST_START_META).await?.is_none();
    let specs = [
        (
            BusName::SYSTEM,
            "What Belfry itself reports: targets disabled, circuits opened, deliveries given up.",
            true,
        ),
        (
            BusName::DEFAULT,
            "Where events go unless you make another bus.",
            first,
        ),
    ];
    let mut changes = Vec::new();
    for (name, description, wanted) in specs {
        let name: BusName = name.parse().map_err(Error::internal)?;
        if wanted && !config.buses.iter().any(|bus| bus.name == name) {
            let spec = BusSpec {
                description: description.to_owned(),
                ..BusSpec::default()
            };
            changes.push(Change::PutBus {
                name,
                spec,
                expect: Expect::Absent,
            });
        }
    }
    if !changes.is_empty() {
        match store.apply(&changes, &[], None, now_ms).await {
            // Another node that starts at the same moment makes the same buses.
            Ok(_) | Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if first {
        store.set_meta(FIRST_START_META, "yes").await?;
    }
    Ok(())
}
