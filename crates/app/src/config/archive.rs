//! Archives.

use belfry_model::access::Scope;
use belfry_model::config::{ARCHIVES_PER_BUS_MAX, Archive, ArchiveSpec};
use belfry_model::json::{self, merge_patch};
use belfry_model::{ArchiveId, ArchiveName, BusId, BusName};
use belfry_pattern::Pattern;
use belfry_store::{ArchiveSize, Change, Expect};
use serde_json::Value;

use super::bus::by_name;
use super::check::pattern_faults;
use super::{ArchiveView, ChangeOptions, Changed, Done, Index, Refusal, settle};
use crate::App;
use crate::actor::Actor;
use crate::cursor::{Listing, PageRequest};
use crate::error::{Code, Error, Fault, Result, faults_under};
use crate::input::{self, Members, unknown_nulls};

/// Members that only the server writes.
const READ_ONLY: [&str; 5] = ["usage", "revision", "createdAt", "updatedAt", "dryRun"];
/// The member that stays text until its turn.
const PATTERN: &str = "pattern";

impl App {
    /// Archives of a bus by name.
    pub async fn list_archives(
        &self,
        actor: &Actor,
        bus: &BusName,
        page: &PageRequest,
    ) -> Result<Listing<ArchiveView>> {
        actor.require(&Scope::ConfigRead)?;
        let index = self.index().await?;
        let (limit, after) = (page.limit()?, page.after::<ArchiveName>('a')?);
        let archives = &index.bus(bus)?.archives;
        let sizes = self.store.archive_sizes().await?;
        let rest = archives
            .iter()
            .filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after));
        Ok(by_name(rest, limit, 'a', |_, archive| {
            with_usage(bus, archive, &sizes)
        }))
    }

    /// One archive.
    pub async fn get_archive(
        &self,
        actor: &Actor,
        bus: &BusName,
        name: &ArchiveName,
    ) -> Result<ArchiveView> {
        actor.require(&Scope::ConfigRead)?;
        let index = self.index().await?;
        let archive = index.archive(bus, name)?;
        let sizes = self.store.archive_sizes().await?;
        Ok(with_usage(bus, archive, &sizes))
    }

    /// Makes or replaces an archive. What is in it stays.
    pub async fn put_archive(
        &self,
        actor: &Actor,
        bus: &BusName,
        name: &ArchiveName,
        body: &[u8],
        options: &ChangeOptions,
    ) -> Result<Changed<ArchiveView>> {
        actor.require(&Scope::ConfigWrite)?;
        let mut members = input::read_members(body, &[PATTERN])?;
        members
            .drop_read_only(
                &READ_ONLY,
                &[("bus", bus.as_str()), ("name", name.as_str())],
            )
            .map_err(Refusal::from)?;
        let spec = read_archive(&mut members).map_err(Refusal::from)?;
        settle(|| async {
            let index = self.index().await?;
            self.change_archive(actor, &index, bus, name, spec.clone(), options)
                .await
        })
        .await
    }

    /// Changes some members of an archive (JSON merge patch; `pattern` is replaced whole).
    pub async fn patch_archive(
        &self,
        actor: &Actor,
        bus: &BusName,
        name: &ArchiveName,
        patch: &[u8],
        options: &ChangeOptions,
    ) -> Result<Changed<ArchiveView>> {
        actor.require(&Scope::ConfigWrite)?;
        let patch = input::read_members(patch, &[PATTERN])?;
        settle(|| async {
            let index = self.index().await?;
            let old = &index.archive(bus, name)?.spec;
            let mut members = patched(old, &patch)?;
            let spec = read_archive(&mut members).map_err(Refusal::from)?;
            self.change_archive(actor, &index, bus, name, spec, options)
                .await
        })
        .await
    }

    async fn change_archive(
        &self,
        actor: &Actor,
        index: &Index,
        bus: &BusName,
        name: &ArchiveName,
        spec: ArchiveSpec,
        options: &ChangeOptions,
    ) -> Result<Changed<ArchiveView>> {
        let archives = &index.bus(bus)?.archives;
        let old = archives.get(name);
        options.check(old.map(|old| old.revision))?;
        if let Some(same) = old.filter(|old| old.spec == spec) {
            let value = ArchiveView {
                dry_run: options.dry_run,
                ..ArchiveView::new(bus, same)
            };
            return Ok(Changed {
                value,
                done: Done::Unchanged,
            });
        }
        if old.is_none() && archives.len() >= ARCHIVES_PER_BUS_MAX {
            let detail =
                format!("bus {bus} has {ARCHIVES_PER_BUS_MAX} archives, as many as a bus can have");
            return Err(Error::new(Code::LimitReached, detail));
        }
        let now = self.now_ms();
        let new = Archive {
            id: old.map_or(ArchiveId(0), |old| old.id),
            bus: old.map_or(BusId(0), |old| old.bus),
            name: name.clone(),
            spec: spec.clone(),
            revision: old.map_or(1, |old| old.revision + 1),
            created_at_ms: old.map_or(now, |old| old.created_at_ms),
            updated_at_ms: now,
        };
        let mut value = ArchiveView::new(bus, &new);
        let before = old.map(|old| ArchiveView::new(bus, old));
        let change = Change::PutArchive {
            bus: bus.clone(),
            name: name.clone(),
            spec,
            expect: old.map_or(Expect::Absent, |old| Expect::Revision(old.revision)),
        };
        self.carry_out(
            options.way(actor, now),
            ("archive.put", &resource(bus, name)),
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

    /// Deletes an archive with what is in it.
    pub async fn delete_archive(
        &self,
        actor: &Actor,
        bus: &BusName,
        name: &ArchiveName,
        options: &ChangeOptions,
    ) -> Result<ArchiveView> {
        actor.require(&Scope::ConfigWrite)?;
        settle(|| async {
            let index = self.index().await?;
            let old = index.archive(bus, name)?;
            options.check(Some(old.revision))?;
            let mut value = ArchiveView::new(bus, old);
            let change = Change::DeleteArchive {
                bus: bus.clone(),
                name: name.clone(),
                revision: old.revision,
            };
            self.carry_out(
                options.way(actor, self.now_ms()),
                ("archive.delete", &resource(bus, name)),
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

fn resource(bus: &BusName, archive: &ArchiveName) -> String {
    format!("buses/{bus}/archives/{archive}")
}

fn with_usage(bus: &BusName, archive: &Archive, sizes: &[ArchiveSize]) -> ArchiveView {
    let size = sizes.iter().find(|size| size.archive == archive.id);
    ArchiveView {
        usage: Some(size.map(Into::into).unwrap_or_default()),
        ..ArchiveView::new(bus, archive)
    }
}

/// An archive as it is written; everything wrong is told at once.
fn read_archive(members: &mut Members) -> std::result::Result<ArchiveSpec, Vec<Fault>> {
    let spec = json::from_slice::<ArchiveSpec>(members.text(&[PATTERN]).as_bytes());
    let pattern = members.take(PATTERN);
    let mut faults = match &spec {
        Ok(spec) => faults_under("", spec.check()),
        Err(errors) => faults_under("", errors.clone()),
    };
    if let Some(text) = &pattern
        && let Err(errors) = Pattern::parse(text.as_str().as_bytes())
    {
        faults.extend(pattern_faults("/pattern", errors));
    }
    match spec {
        Ok(spec) if faults.is_empty() => Ok(ArchiveSpec { pattern, ..spec }),
        _ => Err(faults),
    }
}

/// An archive's members after a merge patch; the pattern keeps its text, from the patch or from before.
fn patched(old: &ArchiveSpec, patch: &Members) -> Result<Members> {
    let mut change: Value =
        serde_json::from_str(&patch.text(&[PATTERN])).map_err(Error::internal)?;
    let faults = unknown_nulls::<ArchiveSpec>(&change);
    if !faults.is_empty() {
        return Err(Error::invalid(Code::InvalidRequest, faults));
    }
    if let Value::Object(members) = &mut change {
        members.remove(PATTERN);
    }
    let plain = ArchiveSpec {
        pattern: None,
        ..old.clone()
    };
    let base = serde_json::to_value(plain).map_err(Error::internal)?;
    let merged = merge_patch(base, change).to_string();
    let mut members = Members::cut(merged.as_bytes(), &[]).map_err(Refusal::from)?;
    if let Some(pattern) = patch.get(PATTERN).or(old.pattern.as_ref()) {
        members.set(PATTERN, pattern.clone());
    }
    Ok(members)
}
