//! The routes, one file per noun, and the parameters that several of them take.
#![expect(
    unused_qualifications,
    reason = "utoipa's macro writes qualified paths in the place of our names"
)]

pub(crate) mod alarms;
pub(crate) mod archives;
pub(crate) mod audit;
pub(crate) mod buses;
pub(crate) mod catalog;
pub(crate) mod deliveries;
pub(crate) mod documents;
pub(crate) mod events;
pub(crate) mod functions;
pub(crate) mod ingest;
pub(crate) mod keys;
pub(crate) mod logs;
pub(crate) mod meta;
pub(crate) mod nodes;
pub(crate) mod replays;
pub(crate) mod rules;
pub(crate) mod sources;
pub(crate) mod tail;
pub(crate) mod targets;
pub(crate) mod testing;

use belfry_app::cursor::PageRequest;
use belfry_model::{ArchiveName, BusName, RuleName, TargetName};
use serde::Deserialize;
use utoipa::IntoParams;

/// `?limit=&cursor=` of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Rows of the page; absent: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// What the page before gave as `next`.
    cursor: Option<String>,
}

impl From<PageQuery> for PageRequest {
    fn from(query: PageQuery) -> Self {
        Self {
            limit: query.limit,
            cursor: query.cursor,
        }
    }
}

/// `?dryRun=` of a change.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangeQuery {
    /// `true` checks everything and answers what would be, but writes nothing.
    dry_run: Option<bool>,
}

/// No parameters at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoQuery {}

/// The bus in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct BusPath {
    /// The bus's name.
    #[param(value_type = String, example = "default")]
    pub(crate) bus: BusName,
}

/// The rule in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct RulePath {
    /// The bus's name.
    #[param(value_type = String, example = "default")]
    pub(crate) bus: BusName,
    /// The rule's name.
    #[param(value_type = String, example = "disk-full")]
    pub(crate) rule: RuleName,
}

/// The target in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TargetPath {
    /// The bus's name.
    #[param(value_type = String, example = "default")]
    pub(crate) bus: BusName,
    /// The rule's name.
    #[param(value_type = String, example = "disk-full")]
    pub(crate) rule: RuleName,
    /// The target's name.
    #[param(value_type = String, example = "on-call")]
    pub(crate) target: TargetName,
}

/// The archive in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ArchivePath {
    /// The bus's name.
    #[param(value_type = String, example = "default")]
    pub(crate) bus: BusName,
    /// The archive's name.
    #[param(value_type = String, example = "orders")]
    pub(crate) archive: ArchiveName,
}

/// Headers that make a change conditional.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(
    dead_code,
    reason = "only its shape is used; the extractor `Conditions` reads the headers"
)]
pub(crate) struct ConditionHeaders {
    /// Changes it only if its `ETag` is one of these (`*`: if it is there at all). Else 412.
    #[param(rename = "If-Match", example = "\"r3\"")]
    if_match: Option<String>,
    /// `*` makes it only if it is not there. Else 412.
    #[param(rename = "If-None-Match", example = "*")]
    if_none_match: Option<String>,
}

/// The header that makes a request repeatable.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(
    dead_code,
    reason = "only its shape is used; the extractor `Idempotent` reads the header"
)]
pub(crate) struct IdempotencyHeader {
    /// The same key with the same request within 24 hours is done once and answered alike; with another request: 422;
    /// while the first is under way: 409.
    #[param(
        rename = "Idempotency-Key",
        example = "8e03978e-40d5-43dd-bc93-6894a57f9324"
    )]
    idempotency_key: Option<String>,
}
