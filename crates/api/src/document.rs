//! The API document: the routes with their descriptions, and what all of them have in common.

use axum::Router;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Shared;
use crate::problem::ProblemDocument;
use crate::routes::{
    alarms, archives, audit, buses, catalog, deliveries, documents, events, functions, ingest,
    keys, logs, meta, nodes, replays, rules, sources, tail, targets, testing,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Belfry",
        description = "A self-hosted event bus: takes events over HTTP, makes them durable, matches them against patterns, delivers them \
                       to targets, and can say what became of every one.\n\nTimes are RFC 3339 in UTC with milliseconds. Lists are paged: pass \
                       `next` as `cursor`. Errors are problem documents (RFC 9457) with a stable `code`. Every change of the configuration takes `dryRun=true`; \
                       what was read can be written back.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "events", description = "Posting events, and reading them again"),
        (name = "buses", description = "Where events are posted; a bus holds rules"),
        (name = "rules", description = "Patterns, and trying them out"),
        (name = "targets", description = "Where matching events go"),
        (name = "archives", description = "Copies of events that outlive the history"),
        (name = "alarms", description = "What is open now, since when, how often, and who was told"),
        (name = "catalog", description = "Products and events that are known; sending simulated ones"),
        (name = "deliveries", description = "What became of events, and making deliveries again"),
        (name = "replays", description = "Putting stored events onto their bus again"),
        (name = "logs", description = "Searchable logs that targets of kind `log` write to"),
        (name = "keys", description = "API keys and what they may do"),
        (name = "server", description = "Health, status, audit, documentation")
    ),
    components(schemas(ProblemDocument))
)]
struct Base;

/// The name of the scheme and of the answer that operations refer to.
const KEY: &str = "key";
const PROBLEM: &str = "Problem";

/// The routes, and the document that describes them.
pub(crate) fn split() -> (Router<Shared>, Value) {
    let (router, mut document) = OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(ingest::post_events, ingest::event_options))
        .routes(routes!(events::list_events))
        .routes(routes!(events::get_event))
        .routes(routes!(buses::list_buses))
        .routes(routes!(
            buses::get_bus,
            buses::put_bus,
            buses::patch_bus,
            buses::delete_bus
        ))
        .routes(routes!(rules::list_rules))
        .routes(routes!(
            rules::get_rule,
            rules::put_rule,
            rules::patch_rule,
            rules::delete_rule
        ))
        .routes(routes!(testing::test_rules))
        .routes(routes!(testing::preview_target))
        .routes(routes!(testing::test_target))
        .routes(routes!(testing::test_pattern))
        .routes(routes!(targets::list_targets))
        .routes(routes!(
            targets::get_target,
            targets::put_target,
            targets::patch_target,
            targets::delete_target
        ))
        .routes(routes!(targets::target_status))
        .routes(routes!(targets::list_target_kinds))
        .routes(routes!(archives::list_archives))
        .routes(routes!(
            archives::get_archive,
            archives::put_archive,
            archives::patch_archive,
            archives::delete_archive
        ))
        .routes(routes!(sources::post_to_source))
        .routes(routes!(
            sources::post_to_url,
            sources::probe_url,
            sources::url_options
        ))
        .routes(routes!(sources::list_unparsed))
        .routes(routes!(sources::rotate_source))
        .routes(routes!(catalog::list_products))
        .routes(routes!(catalog::list_product_events))
        .routes(routes!(catalog::get_catalog_event))
        .routes(routes!(catalog::simulate_event))
        .routes(routes!(deliveries::list_deliveries))
        .routes(routes!(tail::tail_deliveries))
        .routes(routes!(deliveries::retry_deliveries))
        .routes(routes!(deliveries::get_delivery))
        .routes(routes!(deliveries::retry_delivery))
        .routes(routes!(alarms::list_alarms))
        .routes(routes!(alarms::get_alarm))
        .routes(routes!(replays::list_replays, replays::start_replay))
        .routes(routes!(replays::get_replay))
        .routes(routes!(replays::pause_replay))
        .routes(routes!(replays::resume_replay))
        .routes(routes!(replays::cancel_replay))
        .routes(routes!(logs::list_logs))
        .routes(routes!(logs::put_log))
        .routes(routes!(logs::list_log_entries))
        .routes(routes!(
            functions::put_function_code,
            functions::get_function_code
        ))
        .routes(routes!(
            functions::publish_function,
            functions::list_function_versions
        ))
        .routes(routes!(
            functions::get_function_version,
            functions::delete_function_version
        ))
        .routes(routes!(functions::list_function_aliases))
        .routes(routes!(
            functions::get_function_alias,
            functions::put_function_alias,
            functions::delete_function_alias
        ))
        .routes(routes!(functions::invoke_function))
        .routes(routes!(functions::validate_function))
        .routes(routes!(functions::list_function_invocations))
        .routes(routes!(functions::follow_function))
        .routes(routes!(functions::list_invocations))
        .routes(routes!(functions::get_invocation))
        .routes(routes!(functions::functions_status))
        .routes(routes!(keys::list_keys, keys::create_key))
        .routes(routes!(keys::get_key, keys::revoke_key))
        .routes(routes!(keys::rotate_key))
        .routes(routes!(audit::list_audit))
        .routes(routes!(meta::status))
        .routes(routes!(nodes::list_nodes))
        .routes(routes!(meta::healthz))
        .routes(routes!(meta::readyz))
        .routes(routes!(meta::openapi_json))
        .routes(routes!(meta::docs))
        .routes(routes!(meta::style))
        .routes(routes!(meta::problem))
        .routes(routes!(meta::welcome))
        .split_for_parts();
    finish(&mut document);
    let mut document = serde_json::to_value(document).unwrap_or_default();
    documents::describe(&mut document);
    (documents::register(router), document)
}

/// Adds what all operations have in common: how keys are shown, and problem documents.
fn finish(document: &mut utoipa::openapi::OpenApi) {
    let components = document.components.get_or_insert_with(Default::default);
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("bfy_...")
        .description(Some(
            "An API key. The scope that an operation needs stands beside it.",
        ))
        .build();
    components
        .security_schemes
        .insert(KEY.to_owned(), RefOr::T(SecurityScheme::Http(bearer)));
    let header = ApiKey::Header(ApiKeyValue::with_description(
        "X-Api-Key",
        "The same key, for senders that cannot set Authorization.",
    ));
    components.security_schemes.insert(
        "keyHeader".to_owned(),
        RefOr::T(SecurityScheme::ApiKey(header)),
    );
    components
        .responses
        .insert(PROBLEM.to_owned(), RefOr::T(problem()));
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            let common = || RefOr::Ref(Ref::from_response_name(PROBLEM));
            let responses = &mut operation.responses.responses;
            if operation.security.is_some() {
                for status in ["400", "401", "403", "429", "503"] {
                    responses.entry(status.to_owned()).or_insert_with(common);
                }
            }
            responses.entry("default".to_owned()).or_insert_with(common);
        }
    }
}

/// What refers to the answer to a request that cannot be done.
pub(crate) fn a_problem() -> Value {
    json!({ "$ref": format!("#/components/responses/{PROBLEM}") })
}

fn problem() -> Response {
    let schema = RefOr::Ref(Ref::from_schema_name(PROBLEM));
    ResponseBuilder::new()
        .description("What is wrong, and what to change (RFC 9457)")
        .content(
            "application/problem+json",
            ContentBuilder::new().schema(Some(schema)).build(),
        )
        .build()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.options,
        &mut item.patch,
    ]
    .into_iter()
    .filter_map(Option::as_mut)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// `UPDATE_OPENAPI=1` (`cargo xtask openapi`) writes the file instead of comparing it.
    #[test]
    fn the_checked_in_document_is_the_one_that_is_served() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/openapi.json");
        let now = serde_json::to_string_pretty(&crate::openapi()).unwrap() + "\n";
        if std::env::var_os("UPDATE_OPENAPI").is_some_and(|value| value == "1") {
            std::fs::write(&path, &now).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == now,
            "docs/reference/openapi.json is not what the routes say; run: cargo xtask openapi"
        );
    }
}
