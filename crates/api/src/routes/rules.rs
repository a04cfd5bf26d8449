//! Rules.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use belfry_app::config::RuleView;
use belfry_app::cursor::Listing;
use belfry_app::schema::RuleSpec;

use super::{BusPath, ChangeQuery, ConditionHeaders, NoQuery, PageQuery, RulePath};
use crate::Shared;
use crate::answer::{changed, deleted, entity};
use crate::extract::{Caller, Conditions, JsonBody, PathOf, QueryOf};
use crate::problem::Problem;

/// Lists the rules of a bus by name.
#[utoipa::path(get, path = "/v1/buses/{bus}/rules", tag = "rules", params(BusPath, PageQuery), security(("key" = ["config:read"])),
    responses((status = 200, description = "One page", body = Listing<RuleView>)))]
pub(crate) async fn list_rules(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<BusPath>,
    QueryOf(page): QueryOf<PageQuery>,
) -> Result<Json<Listing<RuleView>>, Problem> {
    Ok(Json(
        state
            .app
            .list_rules(&caller.actor, &path.bus, &page.into())
            .await?,
    ))
}

/// Reads a rule with its targets.
#[utoipa::path(get, path = "/v1/buses/{bus}/rules/{rule}", tag = "rules", params(RulePath), security(("key" = ["config:read"])),
    responses((status = 200, description = "The rule", body = RuleView)))]
pub(crate) async fn get_rule(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<RulePath>,
    _: QueryOf<NoQuery>,
) -> Result<Response, Problem> {
    let rule = state
        .app
        .get_rule(&caller.actor, &path.bus, &path.rule)
        .await?;
    Ok(entity(&rule, rule.revision))
}

/// Makes or replaces a rule.
///
/// With `targets`, the whole set of its targets is replaced with it, all or nothing; without, targets stay as they
/// are. The same request again changes nothing. What was read can be written back.
#[utoipa::path(put, path = "/v1/buses/{bus}/rules/{rule}", tag = "rules", params(RulePath, ChangeQuery, ConditionHeaders),
    request_body = RuleSpec, security(("key" = ["config:write"])),
    responses((status = 200, description = "Replaced, or as it was", body = RuleView), (status = 201, description = "Made", body = RuleView)))]
pub(crate) async fn put_rule(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<RulePath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let options = conditions.options(query.dry_run);
    let change = state
        .app
        .put_rule(&caller.actor, &path.bus, &path.rule, &body, &options)
        .await?;
    Ok(changed(
        &change,
        change.value.revision,
        options.dry_run,
        &location(&path),
    ))
}

/// Changes some members of a rule (JSON merge patch).
///
/// `pattern` and `targets` are replaced whole.
#[utoipa::path(patch, path = "/v1/buses/{bus}/rules/{rule}", tag = "rules", params(RulePath, ChangeQuery, ConditionHeaders),
    request_body(content = Object, content_type = "application/merge-patch+json", description = "A merge patch (RFC 7396) of `RuleSpec`: what is left out stays, null takes back"), security(("key" = ["config:write"])),
    responses((status = 200, description = "Changed, or as it was", body = RuleView)))]
pub(crate) async fn patch_rule(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<RulePath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let options = conditions.options(query.dry_run);
    let change = state
        .app
        .patch_rule(&caller.actor, &path.bus, &path.rule, &body, &options)
        .await?;
    Ok(changed(
        &change,
        change.value.revision,
        options.dry_run,
        &location(&path),
    ))
}

/// Deletes a rule with its targets.
///
/// Their history stays as long as it is kept.
#[utoipa::path(delete, path = "/v1/buses/{bus}/rules/{rule}", tag = "rules", params(RulePath, ChangeQuery, ConditionHeaders),
    security(("key" = ["config:write"])),
    responses((status = 204, description = "Deleted"), (status = 200, description = "Dry run: what would be deleted", body = RuleView)))]
pub(crate) async fn delete_rule(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<RulePath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let options = conditions.options(query.dry_run);
    let rule = state
        .app
        .delete_rule(&caller.actor, &path.bus, &path.rule, &options)
        .await?;
    Ok(deleted(&rule, options.dry_run))
}

fn location(path: &RulePath) -> String {
    format!("/v1/buses/{}/rules/{}", path.bus, path.rule)
}
