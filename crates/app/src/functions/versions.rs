//! Published versions of a function, and the aliases that point to them.

use std::collections::BTreeMap;

use belfry_functions::FunctionSpec;
use belfry_model::access::Scope;
use belfry_model::config::Document;
use belfry_model::{DocumentName, FunctionName};
use belfry_store::{Change, DocumentPlace, Expect};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DEFAULT, LATEST, resource};
use crate::App;
use crate::actor::Actor;
use crate::catalog::Whole;
use crate::config::{ChangeOptions, Changed, Done, Index, settle};
use crate::cursor::{self, Listing, PageRequest};
use crate::documents::{
    ALIASES, AliasSpec, FUNCTIONS, VERSIONS, VersionSpec, last_version, set_last_version, spec_of,
};
use crate::error::{Code, Error, Fault, Result};
use crate::input;
use crate::time::Stamp;

/// Most versions of one function.
const VERSIONS_MAX: usize = 1000;
/// Most aliases of one function.
const ALIASES_MAX: usize = 100;
/// Most other versions that an alias gives a part of the invocations to.
const WEIGHTS_MAX: usize = 5;
/// The longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 4096;

/// A published version: code and configuration as they were; it never changes.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FunctionVersion)]
pub struct VersionView {
    /// The function.
    #[schema(value_type = String, examples("default/restart"))]
    pub function: FunctionName,
    /// Its number; numbers go up and are not used again.
    #[schema(examples("3"))]
    pub version: String,
    /// What is said of it.
    pub description: String,
    /// When it was published.
    pub published_at: Stamp,
    /// The SHA-256 of its code, in hex; absent for code that lies in a folder and for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub code_sha256: Option<String>,
    /// The function as it was. Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub spec: Option<FunctionSpec>,
}

impl VersionView {
    fn new(function: &FunctionName, version: String, stored: VersionSpec) -> Self {
        Self {
            function: function.clone(),
            version,
            description: stored.description,
            published_at: stored.published_at,
            code_sha256: super::code::digest(&stored.spec),
            spec: Some(stored.spec),
        }
    }
}

/// What is said of a version when it is published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublishFunction {
    /// For people; at most 4,096 bytes.
    #[serde(default)]
    #[schema(required = false)]
    pub description: String,
}

/// Which version is meant by an alias.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = FunctionAliasSpec)]
pub struct WriteAlias {
    /// A version's number, or `$LATEST`: the draft.
    #[schema(examples("3"))]
    pub version: String,
    /// Other versions (at most 5), each with the part of the invocations that it gets, between 0 and 1. An event meets the
    /// same version at every attempt.
    #[serde(default)]
    #[schema(required = false)]
    pub weights: BTreeMap<String, f64>,
    /// For people; at most 4,096 bytes.
    #[serde(default)]
    #[schema(required = false)]
    pub description: String,
}

/// An alias: a name for a version, or for several by weight.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FunctionAlias)]
pub struct AliasView {
    /// The function.
    #[schema(value_type = String, examples("default/restart"))]
    pub function: FunctionName,
    /// Its name. `$DEFAULT` is always there.
    #[schema(examples("$DEFAULT"))]
    pub alias: String,
    /// The version that it means.
    #[schema(examples("3"))]
    pub version: String,
    /// Other versions, each with its part of the invocations.
    pub weights: BTreeMap<String, f64>,
    /// What is said of it.
    pub description: String,
    /// Counts changes; the `ETag` is `"r<revision>"`. 0: `$DEFAULT` as it is before anybody sets it.
    pub revision: i64,
    /// When it was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub updated_at: Option<Stamp>,
    /// Present and true when nothing was written because `dryRun` was asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub dry_run: bool,
}

impl AliasView {
    fn new(function: &FunctionName, alias: String, spec: AliasSpec, stored: &Document) -> Self {
        Self {
            function: function.clone(),
            alias,
            version: spec.version,
            weights: spec.weights,
            description: spec.description,
            revision: stored.revision,
            updated_at: Some(Stamp(stored.updated_at_ms)),
            dry_run: false,
        }
    }

    /// `$DEFAULT` before anybody has set it.
    fn unset(function: &FunctionName) -> Self {
        Self {
            function: function.clone(),
            alias: DEFAULT.to_owned(),
            version: LATEST.to_owned(),
            weights: BTreeMap::new(),
            description: String::new(),
            revision: 0,
            updated_at: None,
            dry_run: false,
        }
    }
}

/// Where a part of a function is kept.
pub(super) fn place(kind: &str, function: &FunctionName, part: &str) -> Result<DocumentPlace> {
    Ok(DocumentPlace {
        kind: kind.to_owned(),
        bus: None,
        name: part_name(function, part).ok_or_else(|| Error::not_found(kind, &part))?,
    })
}

/// The name of the document of a part: a version, an alias.
pub(super) fn part_name(function: &FunctionName, part: &str) -> Option<DocumentName> {
    DocumentName::of(&[function.namespace(), function.name(), part]).ok()
}

/// The parts of a function of one kind, each with the last part of its name.
pub(super) fn parts<'i>(
    index: &'i Index,
    kind: &str,
    function: &FunctionName,
) -> impl Iterator<Item = (&'i str, &'i Document)> {
    let prefix = format!("{function}/");
    let named = index.documents(kind, None).into_iter().flatten();
    named.filter_map(move |(name, document)| {
        let part = name.as_str().strip_prefix(&prefix)?;
        Some((part, document))
    })
}

/// The draft as it is stored.
pub(super) fn draft<'i>(index: &'i Index, function: &FunctionName) -> Result<&'i Document> {
    let named = index.documents(FUNCTIONS, None);
    let found = named.and_then(|named| named.get(&DocumentName::from(function)));
    found.ok_or_else(|| Error::not_found("function", function))
}

fn read<T: serde::de::DeserializeOwned>(stored: &Document) -> Result<T> {
    serde_json::from_value(stored.spec.clone()).map_err(Error::internal)
}

/// The name under which an alias is kept. `$` begins no name, so `$DEFAULT` is kept, and may be asked for, as `DEFAULT`.
pub(super) fn alias_part(alias: &str) -> &str {
    alias.strip_prefix('$').unwrap_or(alias)
}

fn alias_shown(part: &str) -> String {
    if part == alias_part(DEFAULT) {
        DEFAULT.to_owned()
    } else {
        part.to_owned()
    }
}

impl App {
    /// Freezes the draft of a function as its next version.
    pub async fn publish_function(
        &self,
        actor: &Actor,
        function: &FunctionName,
        body: &[u8],
    ) -> Result<VersionView> {
        actor.require(&Scope::FunctionsWrite)?;
        self.functions.must_be_enabled()?;
        let publish: PublishFunction = if body.is_empty() {
            PublishFunction::default()
        } else {
            input::read(body)?
        };
        description_fits(&publish.description)?;
        settle(|| async {
            let index = self.index().await?;
            let old = draft(&index, function)?;
            let spec = spec_of(&old.spec).map_err(Error::internal)?;
            if parts(&index, VERSIONS, function).count() >= VERSIONS_MAX {
                let detail = format!("{function} has {VERSIONS_MAX} versions, as many as it can have; delete old ones");
                return Err(Error::new(Code::LimitReached, detail));
            }
            let now = self.now_ms();
            let number = last_version(&old.spec) + 1;
            let version = VersionSpec {
                spec,
                description: publish.description.clone(),
                published_at: Stamp(now),
            };
            let mut counted = old.spec.clone();
            set_last_version(&mut counted, number);
            let number = number.to_string();
            let changes = [
                Change::PutDocument {
                    place: DocumentPlace {
                        kind: FUNCTIONS.to_owned(),
                        bus: None,
                        name: old.name.clone(),
                    },
                    spec: counted,
                    expect: Expect::Revision(old.revision),
                },
                Change::PutDocument {
                    place: place(VERSIONS, function, &number)?,
                    spec: serde_json::to_value(&version).map_err(Error::internal)?,
                    expect: Expect::Absent,
                },
            ];
            let view = VersionView::new(function, number.clone(), version);
            let resource = format!("{}/versions/{number}", resource(function));
            let audit = self.audit(actor, "function.publish", &resource, None, Some(&view))?;
            self.apply(&changes, &[audit], now).await?;
            Ok(view)
        })
        .await
    }

    /// The versions of a function, newest first.
    pub async fn list_function_versions(
        &self,
        actor: &Actor,
        function: &FunctionName,
        page: &PageRequest,
    ) -> Result<Listing<VersionView>> {
        actor.require(&Scope::ConfigRead)?;
        let index = self.index().await?;
        draft(&index, function)?;
        let (limit, before) = (page.limit()?, page.after::<u64>('v')?);
        let mut found: Vec<_> = parts(&index, VERSIONS, function)
            .filter_map(|(part, document)| Some((part.parse::<u64>().ok()?, document)))
            .filter(|(number, _)| before.is_none_or(|before| *number < before))
            .collect();
        found.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let last = found.last().filter(|_| more);
        let next = last.map(|(number, _)| cursor::write('v', number));
        let views = found.into_iter().map(|(number, document)| {
            let view = VersionView::new(function, number.to_string(), read(document)?);
            Ok(VersionView { spec: None, ..view })
        });
        Ok(Listing {
            items: views.collect::<Result<_>>()?,
            next,
            partial: false,
        })
    }

    /// One version of a function.
    pub async fn get_function_version(
        &self,
        actor: &Actor,
        function: &FunctionName,
        version: &str,
    ) -> Result<VersionView> {
        actor.require(&Scope::ConfigRead)?;
        let index = self.index().await?;
        draft(&index, function)?;
        let stored = stored_version(&index, function, version)?;
        Ok(VersionView::new(
            function,
            version.to_owned(),
            read(stored)?,
        ))
    }

    /// Deletes a version that no alias means. Its number is not used again.
    pub async fn delete_function_version(
        &self,
        actor: &Actor,
        function: &FunctionName,
        version: &str,
    ) -> Result<()> {
        actor.require(&Scope::FunctionsWrite)?;
        settle(|| async {
            let index = self.index().await?;
            draft(&index, function)?;
            let old = stored_version(&index, function, version)?;
            for (part, alias) in parts(&index, ALIASES, function) {
                let alias: AliasSpec = read(alias)?;
                if alias.version == version || alias.weights.contains_key(version) {
                    let detail = format!(
                        "alias {} means this version; point it to another first",
                        alias_shown(part)
                    );
                    return Err(Error::new(Code::WrongState, detail));
                }
            }
            let before = VersionView::new(function, version.to_owned(), read(old)?);
            let resource = format!("{}/versions/{version}", resource(function));
            let audit = self.audit(
                actor,
                "function.version.delete",
                &resource,
                Some(&before),
                None,
            )?;
            let change = Change::DeleteDocument {
                place: place(VERSIONS, function, version)?,
                revision: old.revision,
            };
            self.apply(&[change], &[audit], self.now_ms()).await
        })
        .await
    }

    /// The aliases of a function by name; `$DEFAULT` first.
    pub async fn list_function_aliases(
        &self,
        actor: &Actor,
        function: &FunctionName,
    ) -> Result<Whole<AliasView>> {
        actor.require(&Scope::ConfigRead)?;
        let index = self.index().await?;
        draft(&index, function)?;
        let mut items = vec![find_alias(&index, function, DEFAULT)?];
        for (part, stored) in parts(&index, ALIASES, function) {
            if part != alias_part(DEFAULT) {
                items.push(AliasView::new(
                    function,
                    part.to_owned(),
                    read(stored)?,
                    stored,
                ));
            }
        }
        Ok(Whole { items })
    }

    /// One alias of a function.
    pub async fn get_function_alias(
        &self,
        actor: &Actor,
        function: &FunctionName,
        alias: &str,
    ) -> Result<AliasView> {
        actor.require(&Scope::ConfigRead)?;
        let index = self.index().await?;
        draft(&index, function)?;
        find_alias(&index, function, alias)
    }

    /// Points an alias to a version.
    pub async fn put_function_alias(
        &self,
        actor: &Actor,
        function: &FunctionName,
        alias: &str,
        body: &[u8],
        options: &ChangeOptions,
    ) -> Result<Changed<AliasView>> {
        actor.require(&Scope::FunctionsWrite)?;
        self.functions.must_be_enabled()?;
        let written: WriteAlias = input::read(body)?;
        let part = alias_part(alias);
        let is_name = part_name(function, part).is_some()
            && (!alias.starts_with('$') || alias == DEFAULT)
            && part != alias_part(LATEST)
            && !part.bytes().all(|b| b.is_ascii_digit());
        if !is_name {
            let detail = format!("expected {DEFAULT} or a name that is no number, got {alias:?}");
            return Err(Error::field("path:alias", detail));
        }
        settle(|| async {
            let index = self.index().await?;
            draft(&index, function)?;
            let faults = alias_faults(&index, function, &written);
            if !faults.is_empty() {
                return Err(Error::invalid(Code::InvalidRequest, faults));
            }
            let old = stored_alias(&index, function, part);
            options.check(old.map(|old| old.revision))?;
            let spec = AliasSpec {
                version: written.version.clone(),
                weights: written.weights.clone(),
                description: written.description.clone(),
            };
            let before = old
                .map(|old| {
                    Ok::<_, Error>(AliasView::new(function, alias_shown(part), read(old)?, old))
                })
                .transpose()?;
            let now = self.now_ms();
            let mut value = AliasView {
                alias: alias_shown(part),
                version: spec.version.clone(),
                weights: spec.weights.clone(),
                description: spec.description.clone(),
                revision: old.map_or(1, |old| old.revision + 1),
                updated_at: Some(Stamp(now)),
                ..AliasView::unset(function)
            };
            let unchanged = |old: &Document| read::<AliasSpec>(old).is_ok_and(|old| old == spec);
            if let (Some(before), true) = (&before, old.is_some_and(unchanged)) {
                return Ok(Changed {
                    value: AliasView {
                        dry_run: options.dry_run,
                        ..before.clone()
                    },
                    done: Done::Unchanged,
                });
            }
            if old.is_none() && parts(&index, ALIASES, function).count() >= ALIASES_MAX {
                let detail =
                    format!("{function} has {ALIASES_MAX} aliases, as many as it can have");
                return Err(Error::new(Code::LimitReached, detail));
            }
            value.dry_run = options.dry_run;
            if !options.dry_run {
                let resource = format!("{}/aliases/{}", resource(function), value.alias);
                let audit = self.audit(
                    actor,
                    "function.alias.put",
                    &resource,
                    before.as_ref(),
                    Some(&value),
                )?;
                let change = Change::PutDocument {
                    place: place(ALIASES, function, part)?,
                    spec: serde_json::to_value(&spec).map_err(Error::internal)?,
                    expect: old.map_or(Expect::Absent, |old| Expect::Revision(old.revision)),
                };
                self.apply(&[change], &[audit], now).await?;
            }
            Ok(Changed {
                value,
                done: if old.is_some() || part == alias_part(DEFAULT) {
                    Done::Updated
                } else {
                    Done::Created
                },
            })
        })
        .await
    }

    /// Deletes an alias. `$DEFAULT` means the draft then.
    pub async fn delete_function_alias(
        &self,
        actor: &Actor,
        function: &FunctionName,
        alias: &str,
        options: &ChangeOptions,
    ) -> Result<AliasView> {
        actor.require(&Scope::FunctionsWrite)?;
        let part = alias_part(alias);
        settle(|| async {
            let index = self.index().await?;
            draft(&index, function)?;
            let old =
                stored_alias(&index, function, part).ok_or_else(|| no_alias(function, alias))?;
            options.check(Some(old.revision))?;
            let mut value = AliasView::new(function, alias_shown(part), read(old)?, old);
            let resource = format!("{}/aliases/{}", resource(function), value.alias);
            let audit = self.audit(
                actor,
                "function.alias.delete",
                &resource,
                Some(&value),
                None,
            )?;
            value.dry_run = options.dry_run;
            if !options.dry_run {
                let change = Change::DeleteDocument {
                    place: place(ALIASES, function, part)?,
                    revision: old.revision,
                };
                self.apply(&[change], &[audit], self.now_ms()).await?;
            }
            Ok(value)
        })
        .await
    }
}

fn description_fits(description: &str) -> Result<()> {
    let bytes = description.len();
    if bytes > DESCRIPTION_BYTES_MAX {
        let detail = format!("expected at most {DESCRIPTION_BYTES_MAX} bytes, got {bytes}");
        return Err(Error::field("/description", detail));
    }
    Ok(())
}

fn stored_version<'i>(
    index: &'i Index,
    function: &FunctionName,
    version: &str,
) -> Result<&'i Document> {
    let named = index.documents(VERSIONS, None);
    named
        .and_then(|named| named.get(&part_name(function, version)?))
        .ok_or_else(|| Error::not_found("version", &format!("{version} of function {function}")))
}

/// What a version is.
pub(super) fn stored_version_spec(
    index: &Index,
    function: &FunctionName,
    version: &str,
) -> Result<FunctionSpec> {
    let stored: VersionSpec = read(stored_version(index, function, version)?)?;
    Ok(stored.spec)
}

fn stored_alias<'i>(index: &'i Index, function: &FunctionName, part: &str) -> Option<&'i Document> {
    index
        .documents(ALIASES, None)?
        .get(&part_name(function, part)?)
}

fn no_alias(function: &FunctionName, alias: &str) -> Error {
    Error::not_found("alias", &format!("{alias} of function {function}"))
}

fn find_alias(index: &Index, function: &FunctionName, alias: &str) -> Result<AliasView> {
    let part = alias_part(alias);
    match stored_alias(index, function, part) {
        Some(stored) => Ok(AliasView::new(
            function,
            alias_shown(part),
            read(stored)?,
            stored,
        )),
        None if part == alias_part(DEFAULT) => Ok(AliasView::unset(function)),
        None => Err(no_alias(function, alias)),
    }
}

/// Everything wrong with an alias.
fn alias_faults(index: &Index, function: &FunctionName, written: &WriteAlias) -> Vec<Fault> {
    let mut faults = Vec::new();
    let is_there =
        |version: &str| version == LATEST || stored_version(index, function, version).is_ok();
    let missing = |version: &str| {
        let shown: String = version.chars().take(64).collect();
        format!("{function} has no version {shown:?}; expected a number of one, or {LATEST}")
    };
    if !is_there(&written.version) {
        faults.push(Fault::new("/version", missing(&written.version)));
    }
    if written.weights.len() > WEIGHTS_MAX {
        let detail = format!("expected at most {WEIGHTS_MAX} versions");
        faults.push(Fault::new("/weights", detail));
    }
    for (version, weight) in &written.weights {
        let pointer = format!("/weights{}", belfry_model::json::pointer_to(version));
        if *version == written.version {
            faults.push(Fault::new(&pointer, "is the alias's own version"));
        } else if !is_there(version) {
            faults.push(Fault::new(&pointer, missing(version)));
        }
        if !(*weight > 0.0 && *weight < 1.0) {
            faults.push(Fault::new(&pointer, "expected more than 0 and less than 1"));
        }
    }
    if written.weights.values().sum::<f64>() > 1.0 {
        faults.push(Fault::new("/weights", "expected at most 1 altogether"));
    }
    if let Err(error) = description_fits(&written.description) {
        faults.extend(error.errors().iter().cloned());
    }
    faults
}

/// Which version an alias means for one who is routed by `routing`: a share of all numbers for each.
pub(super) fn choose(alias: &AliasSpec, routing: u64) -> &str {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share of the invocations is no exact thing"
    )]
    let at = routing as f64 / 2_f64.powi(64);
    let mut end = 0.0;
    for (version, weight) in &alias.weights {
        end += weight;
        if at < end {
            return version;
        }
    }
    &alias.version
}

/// The documents that go with a function.
pub(super) fn changes_with(index: &Index, function: &FunctionName) -> Result<Vec<Change>> {
    [VERSIONS, ALIASES]
        .into_iter()
        .flat_map(|kind| {
            parts(index, kind, function).map(move |(part, stored)| (kind, part, stored))
        })
        .map(|(kind, part, stored)| {
            Ok(Change::DeleteDocument {
                place: place(kind, function, part)?,
                revision: stored.revision,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_gives_each_version_its_share_and_always_the_same_one() {
        let alias = AliasSpec {
            version: "3".to_owned(),
            weights: BTreeMap::from([("4".to_owned(), 0.25), ("5".to_owned(), 0.25)]),
            description: String::new(),
        };
        let quarter = u64::MAX / 4;
        assert_eq!(choose(&alias, 0), "4");
        assert_eq!(choose(&alias, quarter - 1000), "4");
        assert_eq!(choose(&alias, quarter + 1000), "5");
        assert_eq!(choose(&alias, 2 * quarter + 1000), "3");
        assert_eq!(choose(&alias, u64::MAX), "3");
    }
}
