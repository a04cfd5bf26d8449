//! Named documents: contacts, groups, silences ... all by the same use-cases.
//!
//! A document is a spec under a name, on a bus or of the whole server. What may stand in the spec is for its
//! [`DocumentKind`] to say; preconditions, dry runs, audit, secrets, pages and limits are the same for all of them, and
//! stand here. A new kind is a file in `kinds` and a line in [`KINDS`]: its routes, its commands, its files and its
//! place in the API document follow from that.
//!
//! Whether a name that stands in a spec leads anywhere is not asked: documents come in any order, and what is missing is
//! told where it is missed.

mod kind;
mod kinds;

use std::collections::BTreeMap;

use belfry_engine::{Parsed, ReadDocument};
use belfry_model::config::Document;
use belfry_model::json::merge_patch;
use belfry_model::{BusId, BusName, DocumentId, DocumentName};
use belfry_store::{Change, DocumentPlace, Expect};
use belfry_targets::{GeneratedSecret, MASK, unmask_with};
use serde::Serialize;
use serde_json::Value;

use crate::App;
use crate::actor::Actor;
use crate::config::{
    ChangeOptions, Changed, Done, GeneratedSecretView, Index, Refusal, by_name, settle,
    without_value,
};
use crate::cursor::{Listing, PageRequest};
use crate::error::{Code, Error, Fault, Result, faults_under};
use crate::functions;
use crate::input::{self, unknown_nulls_by};
use crate::secrets::{Sealer, masked};
use crate::time::Stamp;

pub(crate) use kinds::{
    ALIASES, AliasSpec, FUNCTIONS, FunctionDocument, SECRETS, SOURCES, Secret, SourceDocument,
    VERSIONS, VersionSpec, last_version, set_last_version, set_tokens, spec_of, tokens_of,
};

pub use kind::{Column, DocumentKind, KINDS, find_kind, unknown_word};

/// Members of answers that only the server writes; no member of a spec is called so.
pub const RESERVED: [&str; 7] = [
    "bus",
    "name",
    "revision",
    "createdAt",
    "updatedAt",
    "generatedSecrets",
    "dryRun",
];
/// Those of them that are dropped when what was read is written back. `bus` and `name` must be as in the path.
const READ_ONLY: [&str; 5] = [
    "revision",
    "createdAt",
    "updatedAt",
    "generatedSecrets",
    "dryRun",
];

/// A named document as a client reads it: the members of its spec, and what the server knows of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentView {
    /// Its bus, if its kind belongs to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus: Option<BusName>,
    /// Its name.
    pub name: DocumentName,
    /// What the client wrote, an object; secrets masked.
    #[serde(flatten)]
    pub spec: Value,
    /// Counts changes; the `ETag` is `"r<revision>"`.
    pub revision: i64,
    /// When it was made.
    pub created_at: Stamp,
    /// When it was last changed.
    pub updated_at: Stamp,
    /// Secrets that the server made just now. Shown only in this answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub generated_secrets: Vec<GeneratedSecretView>,
    /// Present and true when nothing was written because `dryRun` was asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

impl DocumentView {
    pub(crate) fn new(kind: &dyn DocumentKind, bus: Option<&BusName>, document: &Document) -> Self {
        let mut spec = masked(&document.spec);
        for pointer in kind.secret_pointers(&spec) {
            if let Some(secret) = spec.pointer_mut(&pointer) {
                *secret = Value::from(MASK);
            }
        }
        kind.hide(&mut spec);
        Self {
            bus: bus.cloned(),
            name: document.name.clone(),
            spec,
            revision: document.revision,
            created_at: Stamp(document.created_at_ms),
            updated_at: Stamp(document.updated_at_ms),
            generated_secrets: Vec::new(),
            dry_run: false,
        }
    }
}

/// Which document.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Of which kind.
    pub kind: &'static dyn DocumentKind,
    /// On which bus, if its kind belongs to one.
    pub bus: Option<&'a BusName>,
    /// Under which name.
    pub name: &'a DocumentName,
}

impl std::fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path())
    }
}

impl Place<'_> {
    /// Its path in the API, without the version; also what it is called in the audit log.
    pub fn path(&self) -> String {
        let (kind, name) = (self.kind.name(), self.name);
        match self.bus {
            Some(bus) => format!("buses/{bus}/{kind}/{name}"),
            None => format!("{kind}/{name}"),
        }
    }

    /// What is wrong with its name for one of its kind.
    fn name_fault(&self) -> Option<Fault> {
        let parts = self.kind.parts();
        let detail = if self.name.parts().count() == parts.len() {
            self.kind.name_fault(self.name)?
        } else {
            format!("expected {}, got {}", parts.join("/"), self.name)
        };
        Some(Fault::new("path:name", detail))
    }

    fn stored(&self) -> DocumentPlace {
        DocumentPlace {
            kind: self.kind.name().to_owned(),
            bus: self.bus.cloned(),
            name: self.name.clone(),
        }
    }

    fn find<'i>(&self, index: &'i Index) -> Result<Option<&'i Document>> {
        let bus = bus_id(index, self.bus)?;
        let found = index.documents(self.kind.name(), bus);
        Ok(found.and_then(|named| named.get(self.name)))
    }

    fn get<'i>(&self, index: &'i Index) -> Result<&'i Document> {
        let not_found = || match self.bus {
            Some(bus) => Error::not_found(self.kind.one(), &format!("{} on bus {bus}", self.name)),
            None => Error::not_found(self.kind.one(), self.name),
        };
        self.find(index)?.ok_or_else(not_found)
    }
}

fn bus_id(index: &Index, bus: Option<&BusName>) -> Result<Option<BusId>> {
    bus.map(|bus| Ok(index.bus(bus)?.bus.id)).transpose()
}

/// What the secrets of a document are bound to. No target has a place with a colon.
fn sealed_at(document: &Document) -> String {
    let bus = document.bus.map(|bus| bus.to_string());
    let (kind, name) = (&document.kind, &document.name);
    format!("{kind}:{}/{name}", bus.unwrap_or_default())
}

impl ReadDocument for Sealer {
    fn read(&self, document: &Document) -> std::result::Result<Parsed, String> {
        if let Some(read) = kinds::read_internal(&document.kind, &document.spec) {
            return read;
        }
        let kind = find_kind(&document.kind)
            .ok_or_else(|| format!("there is no kind of document called {}", document.kind))?;
        let spec = self
            .open_settings(&sealed_at(document), &document.spec)
            .map_err(|error| error.to_string())?;
        kind.read(spec)
    }
}

impl App {
    /// Documents of a kind by name.
    pub async fn list_documents(
        &self,
        actor: &Actor,
        kind: &'static dyn DocumentKind,
        bus: Option<&BusName>,
        page: &PageRequest,
    ) -> Result<Listing<DocumentView>> {
        actor.require(&kind.read_scope())?;
        let index = self.index().await?;
        let (limit, after) = (page.limit()?, page.after::<DocumentName>('d')?);
        let found = index.documents(kind.name(), bus_id(&index, bus)?);
        let rest = found
            .into_iter()
            .flatten()
            .filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after));
        Ok(by_name(rest, limit, 'd', |_, document| {
            DocumentView::new(kind, bus, document)
        }))
    }

    /// One document.
    pub async fn get_document(&self, actor: &Actor, place: Place<'_>) -> Result<DocumentView> {
        actor.require(&place.kind.read_scope())?;
        let index = self.index().await?;
        let document = place.get(&index)?;
        Ok(DocumentView::new(place.kind, place.bus, document))
    }

    /// Makes or replaces a document.
    pub async fn put_document(
        &self,
        actor: &Actor,
        place: Place<'_>,
        body: &[u8],
        options: &ChangeOptions,
    ) -> Result<Changed<DocumentView>> {
        actor.require(&place.kind.write_scope())?;
        let mut members = input::read_members(body, &[])?;
        let mut path = vec![("name", place.name.as_str())];
        path.extend(place.bus.map(|bus| ("bus", bus.as_str())));
        members
            .drop_read_only(&READ_ONLY, &path)
            .map_err(Refusal::from)?;
        let spec: Value = input::read(members.text(&[]).as_bytes())?;
        settle(|| async {
            let index = self.index().await?;
            self.change_document(actor, &index, place, spec.clone(), options)
                .await
        })
        .await
    }

    /// Changes some members of a document (JSON merge patch).
    pub async fn patch_document(
        &self,
        actor: &Actor,
        place: Place<'_>,
        patch: &[u8],
        options: &ChangeOptions,
    ) -> Result<Changed<DocumentView>> {
        let kind = place.kind;
        actor.require(&kind.write_scope())?;
        let members = input::read_members(patch, &[])?;
        let patch: Value = input::read(members.text(&[]).as_bytes())?;
        let faults = unknown_nulls_by(&patch, |alone| kind.check(alone));
        if !faults.is_empty() {
            return Err(Error::invalid(Code::InvalidRequest, faults));
        }
        settle(|| async {
            let index = self.index().await?;
            // Masks, which are taken back like those of a writer.
            let old = DocumentView::new(kind, place.bus, place.get(&index)?).spec;
            let spec = merge_patch(old, patch.clone());
            self.change_document(actor, &index, place, spec, options)
                .await
        })
        .await
    }

    pub(crate) async fn change_document(
        &self,
        actor: &Actor,
        index: &Index,
        place: Place<'_>,
        spec: Value,
        options: &ChangeOptions,
    ) -> Result<Changed<DocumentView>> {
        let (kind, now) = (place.kind, self.now_ms());
        let bus = bus_id(index, place.bus)?;
        if let Some(fault) = place.name_fault() {
            return Err(Error::invalid(Code::InvalidRequest, vec![fault]));
        }
        let old = place.find(index)?;
        options.check(old.map(|old| old.revision))?;
        let old_clear = old.and_then(|old| {
            self.sealer
                .open_settings(&sealed_at(old), &old.spec)
                .inspect_err(
                    |error| tracing::warn!(document = ?place, %error, "its secrets are lost"),
                )
                .ok()
        });
        let (spec, generated) = complete(kind, spec, old_clear.as_ref())?;
        if kind.name() == FUNCTIONS {
            self.check_function(&spec).await?;
        }
        if let Some(same) = old.filter(|_| old_clear.as_ref() == Some(&spec)) {
            let value = DocumentView {
                dry_run: options.dry_run,
                ..DocumentView::new(kind, place.bus, same)
            };
            return Ok(Changed {
                value,
                done: Done::Unchanged,
            });
        }
        let count = index.documents(kind.name(), bus).map_or(0, BTreeMap::len);
        if old.is_none() && count >= kind.max() {
            let detail = format!("there are {count} {}, as many as there can be", kind.name());
            return Err(Error::new(Code::LimitReached, detail));
        }
        let mut new = Document {
            id: old.map_or(DocumentId(0), |old| old.id),
            kind: kind.name().to_owned(),
            bus,
            name: place.name.clone(),
            spec,
            revision: old.map_or(1, |old| old.revision + 1),
            created_at_ms: old.map_or(now, |old| old.created_at_ms),
            updated_at_ms: now,
        };
        let (secret, at) = (kind.secret_pointers(&new.spec), sealed_at(&new));
        self.sealer
            .seal_settings(secret, &at, &mut new.spec)
            .map_err(Error::internal)?;
        let mut value = DocumentView::new(kind, place.bus, &new);
        let before = old.map(|old| DocumentView::new(kind, place.bus, old));
        let change = Change::PutDocument {
            place: place.stored(),
            spec: new.spec,
            expect: old.map_or(Expect::Absent, |old| Expect::Revision(old.revision)),
        };
        self.carry_out(
            options.way(actor, now),
            (&format!("{}.put", kind.one()), &place.path()),
            before.as_ref(),
            Some(&value),
            &[change],
        )
        .await?;
        value.dry_run = options.dry_run;
        if !options.dry_run {
            value.generated_secrets = generated.into_iter().map(shown).collect();
        }
        Ok(Changed {
            value,
            done: Done::put(old),
        })
    }

    /// Deletes a document.
    pub async fn delete_document(
        &self,
        actor: &Actor,
        place: Place<'_>,
        options: &ChangeOptions,
    ) -> Result<DocumentView> {
        actor.require(&place.kind.write_scope())?;
        settle(|| async {
            let index = self.index().await?;
            let old = place.get(&index)?;
            options.check(Some(old.revision))?;
            let mut changes = Vec::new();
            if place.kind.name() == FUNCTIONS {
                changes = functions::changes_with(&index, place.name, options.cascade)?;
            }
            let mut value = DocumentView::new(place.kind, place.bus, old);
            changes.push(Change::DeleteDocument {
                place: place.stored(),
                revision: old.revision,
            });
            self.carry_out(
                options.way(actor, self.now_ms()),
                (&format!("{}.delete", place.kind.one()), &place.path()),
                Some(&value),
                None,
                &changes,
            )
            .await?;
            value.dry_run = options.dry_run;
            Ok(value)
        })
        .await
    }
}

/// The spec as it is to be kept, secrets in clear, and what the server made for it: masks taken back, everything checked.
fn complete(
    kind: &dyn DocumentKind,
    mut spec: Value,
    old: Option<&Value>,
) -> Result<(Value, Vec<GeneratedSecret>)> {
    let secrets = |spec: &Value| kind.secret_pointers(spec);
    // Whoever sends to us is told none of them.
    let masks = unmask_with(&secrets, &|_, _| None, &mut spec, old);
    let masks = faults_under("", masks.err().unwrap_or_default());
    let errors = kind.check(&spec).into_iter().map(without_value).collect();
    let mut faults = faults_under("", errors);
    // The kind would complain about a mask left over as about any bad value; that the mask is one says more.
    faults.retain(|fault| !masks.iter().any(|mask| mask.pointer == fault.pointer));
    faults.extend(masks);
    if !faults.is_empty() {
        return Err(Refusal::Faults(faults).into());
    }
    let generated = kind.prepare(&mut spec, old)?;
    Ok((spec, generated))
}

fn shown(secret: GeneratedSecret) -> GeneratedSecretView {
    GeneratedSecretView {
        pointer: secret.pointer,
        value: secret.value,
    }
}

#[cfg(test)]
mod tests;
