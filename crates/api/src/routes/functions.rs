//! Functions beyond the document that is their draft: code, versions, aliases, invoking them, what is on record of it.
//!
//! The draft itself (`/v1/functions/{namespace}/{name}`) is a named document.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use belfry_app::catalog::Whole;
use belfry_app::cursor::{Listing, PageRequest};
use belfry_app::functions::{
    AliasView, CodeText, CodeView, FunctionsStatusView, InvocationFilter, InvocationView,
    InvokeView, Invoked, LiveLine, LiveView, PublishFunction, ValidateView, VersionView,
    WriteAlias,
};
use belfry_model::FunctionName;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{ChangeQuery, ConditionHeaders, NoQuery, PageQuery};
use crate::Shared;
use crate::answer::{changed, deleted, entity};
use crate::extract::{Caller, Conditions, JsonBody, OptionalJsonBody, PathOf, QueryOf, read_body};
use crate::live;
use crate::problem::Problem;

/// The function in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct FunctionPath {
    /// The function's namespace.
    #[param(example = "default")]
    namespace: String,
    /// The function's name.
    #[param(example = "restart")]
    name: String,
}

impl FunctionPath {
    fn function(&self) -> Result<FunctionName, Problem> {
        function(&self.namespace, &self.name)
    }
}

fn function(namespace: &str, name: &str) -> Result<FunctionName, Problem> {
    FunctionName::new(namespace, name).map_err(|error| Problem::at("path:name", error.to_string()))
}

/// The version in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct VersionPath {
    /// The function's namespace.
    #[param(example = "default")]
    namespace: String,
    /// The function's name.
    #[param(example = "restart")]
    name: String,
    /// The version's number.
    #[param(example = "3")]
    version: String,
}

/// The alias in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct AliasPath {
    /// The function's namespace.
    #[param(example = "default")]
    namespace: String,
    /// The function's name.
    #[param(example = "restart")]
    name: String,
    /// The alias's name; `DEFAULT` stands for `$DEFAULT`.
    #[param(example = "prod")]
    alias: String,
}

/// The invocation in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct InvocationPath {
    /// The invocation's request id.
    request_id: String,
}

/// Which code.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CodeQuery {
    /// Of this version; absent: of the draft.
    #[param(example = "3")]
    version: Option<String>,
}

/// Which invocations.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct InvocationsQuery {
    /// Of this function, `namespace/name`.
    #[param(example = "default/restart")]
    function: Option<String>,
    /// How they ended, such as `succeeded`; `failed`: any but that; `running`: not yet.
    #[param(example = "failed")]
    outcome: Option<String>,
    /// Not before: RFC 3339, or a span back from now such as `-15m`.
    since: Option<String>,
    /// Before: like `since`.
    until: Option<String>,
    /// Of this delivery.
    delivery: Option<String>,
    /// With this text in what is on record or in the log.
    text: Option<String>,
    /// Rows of the page; absent: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// What the page before gave as `next`.
    cursor: Option<String>,
}

/// How an invocation is shown.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FormatQuery {
    /// `text`: as Tencent SCF shows it; `json` (the default).
    #[param(example = "text")]
    format: Option<String>,
}

/// How a log is followed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogsQuery {
    /// `1`: as it happens. There is no other way; what was printed earlier stands in the invocations.
    #[param(example = "1")]
    follow: Option<String>,
}

/// What an invocation is asked with.
#[derive(ToSchema)]
#[schema(as = Invoke)]
#[expect(
    dead_code,
    reason = "only its shape is used; the use-case reads the body"
)]
pub(crate) struct InvokeBody {
    /// What the function is given; absent: `{}`.
    #[schema(value_type = Option<Object>)]
    event: Option<serde_json::Value>,
    /// An event of the catalog instead.
    #[schema(examples("cvm/disk-readonly"))]
    template: Option<String>,
    /// An event that was accepted instead; takes `history:read` too.
    #[schema(rename = "eventUid")]
    event_uid: Option<String>,
    /// A version, an alias, `$LATEST`; absent: `$DEFAULT`.
    qualifier: Option<String>,
    /// `sync` (the default): the answer is waited for; `async`: it is noted durably and done some time; `dryRun`: says only
    /// whether it could be made.
    #[schema(examples("sync"))]
    mode: Option<String>,
    /// Whether the answer shows the end of the log; absent: yes.
    #[schema(rename = "logTail")]
    log_tail: Option<bool>,
}

/// What is validated.
#[derive(ToSchema)]
#[schema(as = ValidateFunction)]
#[expect(
    dead_code,
    reason = "only its shape is used; the use-case reads the body"
)]
pub(crate) struct ValidateBody {
    /// A version, an alias; absent: `$LATEST`.
    qualifier: Option<String>,
}

/// An asynchronous invocation that was noted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = InvokeNoted)]
pub(crate) struct NotedView {
    /// Under which it is found.
    #[schema(value_type = String)]
    request_id: Uuid,
}

/// Takes a zip file with a function's code, and has the draft run it.
///
/// It is looked through before anything is changed. Without a draft of that name it is kept for a day: put the function with
/// `code.zip.sha256` of the answer.
#[utoipa::path(put, path = "/v1/functions/{namespace}/{name}/code", tag = "functions", params(FunctionPath, ChangeQuery, ConditionHeaders),
    request_body(content = Vec<u8>, content_type = "application/zip", description = "The zip file"), security(("key" = ["functions:write"])),
    responses((status = 200, description = "Kept", body = CodeView)))]
pub(crate) async fn put_function_code(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<FunctionPath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
    request: Request,
) -> Result<Response, Problem> {
    let function = path.function()?;
    let max = state.app.function_zip_bytes_max(&caller.actor)?;
    must_be_zip(request.headers())?;
    let zip = read_body(request, max, &state.settings).await?;
    let options = conditions.options(query.dry_run);
    let code = state
        .app
        .put_function_code(&caller.actor, &function, zip, &options)
        .await?;
    Ok(match code.revision {
        Some(revision) => entity(&code, revision),
        None => Json(code).into_response(),
    })
}

fn must_be_zip(headers: &HeaderMap) -> Result<(), Problem> {
    let sent = headers
        .get(CONTENT_TYPE)
        .map_or("", |value| value.to_str().unwrap_or_default());
    let essence = sent.split(';').next().unwrap_or_default().trim();
    let is_zip = [
        "application/zip",
        "application/octet-stream",
        "application/x-zip-compressed",
    ]
    .iter()
    .any(|known| essence.eq_ignore_ascii_case(known));
    if is_zip {
        Ok(())
    } else {
        let detail = "send the zip file itself, as application/zip";
        Err(Problem::new("UNSUPPORTED_MEDIA_TYPE", detail))
    }
}

/// Gives a function's code back: the zip file, or the text of the one file.
#[utoipa::path(get, path = "/v1/functions/{namespace}/{name}/code", tag = "functions", params(FunctionPath, CodeQuery), security(("key" = ["config:read"])),
    responses((status = 200, description = "The zip file; or the text of the one file, as text/plain", content_type = "application/zip", body = Vec<u8>)))]
pub(crate) async fn get_function_code(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<FunctionPath>,
    QueryOf(query): QueryOf<CodeQuery>,
) -> Result<Response, Problem> {
    let function = path.function()?;
    let code = state
        .app
        .get_function_code(&caller.actor, &function, query.version.as_deref())
        .await?;
    Ok(match code {
        CodeText::Inline(text) => text.into_response(),
        CodeText::Zip(bytes) => {
            let mut response = bytes.into_response();
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
            let name = format!("attachment; filename=\"{}.zip\"", function.name());
            if let Ok(name) = HeaderValue::from_str(&name) {
                headers.insert(CONTENT_DISPOSITION, name);
            }
            response
        }
    })
}

/// Publishes a function: freezes code and configuration of its draft as its next version.
#[utoipa::path(post, path = "/v1/functions/{namespace}/{name}/versions", tag = "functions", params(FunctionPath),
    request_body = Option<PublishFunction>, security(("key" = ["functions:write"])),
    responses((status = 201, description = "Published", body = VersionView)))]
pub(crate) async fn publish_function(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<FunctionPath>,
    _: QueryOf<NoQuery>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, Problem> {
    let function = path.function()?;
    let version = state
        .app
        .publish_function(&caller.actor, &function, &body)
        .await?;
    Ok((StatusCode::CREATED, Json(version)).into_response())
}

/// Lists the versions of a function, newest first.
#[utoipa::path(get, path = "/v1/functions/{namespace}/{name}/versions", tag = "functions", params(FunctionPath, PageQuery), security(("key" = ["config:read"])),
    responses((status = 200, description = "One page", body = Listing<VersionView>)))]
pub(crate) async fn list_function_versions(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<FunctionPath>,
    QueryOf(page): QueryOf<PageQuery>,
) -> Result<Json<Listing<VersionView>>, Problem> {
    let function = path.function()?;
    let found = state
        .app
        .list_function_versions(&caller.actor, &function, &page.into())
        .await?;
    Ok(Json(found))
}

/// Reads a version of a function.
#[utoipa::path(get, path = "/v1/functions/{namespace}/{name}/versions/{version}", tag = "functions", params(VersionPath), security(("key" = ["config:read"])),
    responses((status = 200, description = "The version", body = VersionView)))]
pub(crate) async fn get_function_version(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<VersionPath>,
    _: QueryOf<NoQuery>,
) -> Result<Json<VersionView>, Problem> {
    let function = function(&path.namespace, &path.name)?;
    let found = state
        .app
        .get_function_version(&caller.actor, &function, &path.version)
        .await?;
    Ok(Json(found))
}

/// Deletes a version of a function that no alias means. Its number is not used again.
#[utoipa::path(delete, path = "/v1/functions/{namespace}/{name}/versions/{version}", tag = "functions", params(VersionPath), security(("key" = ["functions:write"])),
    responses((status = 204, description = "Deleted")))]
pub(crate) async fn delete_function_version(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<VersionPath>,
    _: QueryOf<NoQuery>,
) -> Result<StatusCode, Problem> {
    let function = function(&path.namespace, &path.name)?;
    state
        .app
        .delete_function_version(&caller.actor, &function, &path.version)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the aliases of a function by name, `$DEFAULT` first.
#[utoipa::path(get, path = "/v1/functions/{namespace}/{name}/aliases", tag = "functions", params(FunctionPath), security(("key" = ["config:read"])),
    responses((status = 200, description = "All of them", body = Whole<AliasView>)))]
pub(crate) async fn list_function_aliases(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<FunctionPath>,
    _: QueryOf<NoQuery>,
) -> Result<Json<Whole<AliasView>>, Problem> {
    let function = path.function()?;
    let found = state
        .app
        .list_function_aliases(&caller.actor, &function)
        .await?;
    Ok(Json(found))
}

/// Reads an alias of a function.
#[utoipa::path(get, path = "/v1/functions/{namespace}/{name}/aliases/{alias}", tag = "functions", params(AliasPath), security(("key" = ["config:read"])),
    responses((status = 200, description = "The alias", body = AliasView)))]
pub(crate) async fn get_function_alias(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<AliasPath>,
    _: QueryOf<NoQuery>,
) -> Result<Response, Problem> {
    let function = function(&path.namespace, &path.name)?;
    let found = state
        .app
        .get_function_alias(&caller.actor, &function, &path.alias)
        .await?;
    let mut answer = entity(&found, found.revision);
    if found.revision == 0 {
        // There is nothing that could be changed on a condition.
        answer.headers_mut().remove(ETAG);
    }
    Ok(answer)
}

/// Makes an alias of a function, or points it to another version.
#[utoipa::path(put, path = "/v1/functions/{namespace}/{name}/aliases/{alias}", tag = "functions", params(AliasPath, ChangeQuery, ConditionHeaders),
    request_body = WriteAlias, security(("key" = ["functions:write"])),
    responses((status = 200, description = "Changed, or as it was", body = AliasView), (status = 201, description = "Made", body = AliasView)))]
pub(crate) async fn put_function_alias(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<AliasPath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let function = function(&path.namespace, &path.name)?;
    let options = conditions.options(query.dry_run);
    let change = state
        .app
        .put_function_alias(&caller.actor, &function, &path.alias, &body, &options)
        .await?;
    let at = format!("/v1/functions/{function}/aliases/{}", path.alias);
    Ok(changed(
        &change,
        change.value.revision,
        options.dry_run,
        &at,
    ))
}

/// Deletes an alias of a function. `$DEFAULT` means the draft then.
#[utoipa::path(delete, path = "/v1/functions/{namespace}/{name}/aliases/{alias}", tag = "functions", params(AliasPath, ChangeQuery, ConditionHeaders), security(("key" = ["functions:write"])),
    responses((status = 204, description = "Deleted"), (status = 200, description = "Dry run: what would be deleted", body = AliasView)))]
pub(crate) async fn delete_function_alias(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<AliasPath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let function = function(&path.namespace, &path.name)?;
    let options = conditions.options(query.dry_run);
    let alias = state
        .app
        .delete_function_alias(&caller.actor, &function, &path.alias, &options)
        .await?;
    Ok(deleted(&alias, options.dry_run))
}

/// Runs a function.
///
/// With `mode` `sync` the answer is 200 whatever the function did: `outcome` says how it ended. With `async` it is 202 once the
/// invocation is noted durably; it is tried again as deliveries to the function are. With `dryRun` nothing is run.
#[utoipa::path(post, path = "/v1/functions/{namespace}/{name}/invoke", tag = "functions", params(FunctionPath),
    request_body = Option<InvokeBody>, security(("key" = ["functions:invoke"])),
    responses((status = 200, description = "It has run; or, with `dryRun`, `version` is what would run", body = InvokeView), (status = 202, description = "Durable", body = NotedView)))]
pub(crate) async fn invoke_function(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<FunctionPath>,
    _: QueryOf<NoQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let function = path.function()?;
    // An event may be larger than what else is sent.
    let max = state.app.function_event_bytes_max(&caller.actor)? + state.settings.body_bytes_max;
    let body = read_body(request, max, &state.settings).await?;
    let invoked = state
        .app
        .invoke_function(&caller.actor, &function, &body)
        .await?;
    Ok(match invoked {
        Invoked::Done(done) => Json(done).into_response(),
        Invoked::Noted(request_id) => {
            (StatusCode::ACCEPTED, Json(NotedView { request_id })).into_response()
        }
        Invoked::Possible(version) => Json(json!({ "version": version })).into_response(),
    })
}

/// Starts a worker of a function, has it load the code, and ends it.
#[utoipa::path(post, path = "/v1/functions/{namespace}/{name}/validate", tag = "functions", params(FunctionPath),
    request_body = Option<ValidateBody>, security(("key" = ["functions:write"])),
    responses((status = 200, description = "Whether the code loads, and if not, why", body = ValidateView)))]
pub(crate) async fn validate_function(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<FunctionPath>,
    _: QueryOf<NoQuery>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Json<ValidateView>, Problem> {
    let function = path.function()?;
    let found = state
        .app
        .validate_function(&caller.actor, &function, &body)
        .await?;
    Ok(Json(found))
}

impl InvocationsQuery {
    fn split(self) -> (InvocationFilter, PageRequest) {
        let filter = InvocationFilter {
            function: self.function,
            outcome: self.outcome,
            delivery: self.delivery,
            since: self.since,
            until: self.until,
            text: self.text,
        };
        let page = PageRequest {
            limit: self.limit,
            cursor: self.cursor,
        };
        (filter, page)
    }
}

/// Lists the invocations of a function, newest first.
#[utoipa::path(get, path = "/v1/functions/{namespace}/{name}/invocations", tag = "functions", params(FunctionPath, InvocationsQuery), security(("key" = ["history:read"])),
    responses((status = 200, description = "One page", body = Listing<InvocationView>)))]
pub(crate) async fn list_function_invocations(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<FunctionPath>,
    QueryOf(query): QueryOf<InvocationsQuery>,
) -> Result<Json<Listing<InvocationView>>, Problem> {
    let function = path.function()?.to_string();
    if query
        .function
        .as_ref()
        .is_some_and(|asked| *asked != function)
    {
        let detail = "the path names another function";
        return Err(Problem::at("query:function", detail));
    }
    let (mut filter, page) = query.split();
    filter.function = Some(function);
    let found = state
        .app
        .list_invocations(&caller.actor, &filter, &page)
        .await?;
    Ok(Json(found))
}

/// Lists invocations of all functions, newest first.
#[utoipa::path(get, path = "/v1/invocations", tag = "functions", params(InvocationsQuery), security(("key" = ["history:read"])),
    responses((status = 200, description = "One page", body = Listing<InvocationView>)))]
pub(crate) async fn list_invocations(
    State(state): State<Shared>,
    caller: Caller,
    QueryOf(query): QueryOf<InvocationsQuery>,
) -> Result<Json<Listing<InvocationView>>, Problem> {
    let (filter, page) = query.split();
    let found = state
        .app
        .list_invocations(&caller.actor, &filter, &page)
        .await?;
    Ok(Json(found))
}

/// Reads an invocation with its log: as JSON, or (`format=text`, or `Accept: text/plain`) as Tencent SCF shows it.
#[utoipa::path(get, path = "/v1/invocations/{request_id}", tag = "functions", params(InvocationPath, FormatQuery), security(("key" = ["history:read"])),
    responses((status = 200, description = "The invocation", body = InvocationView)))]
pub(crate) async fn get_invocation(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<InvocationPath>,
    QueryOf(query): QueryOf<FormatQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ok(request_id) = path.request_id.parse::<Uuid>() else {
        return Err(Problem::at("path:request_id", "expected a UUID"));
    };
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let as_text = match query.format.as_deref() {
        Some("text") => true,
        Some("json") => false,
        Some(_) => return Err(Problem::at("query:format", "expected json or text")),
        None => accept.is_some_and(|accept| accept.trim_start().starts_with("text/plain")),
    };
    if as_text {
        let text = state
            .app
            .get_invocation_text(&caller.actor, request_id)
            .await?;
        return Ok(text.into_response());
    }
    let found = state.app.get_invocation(&caller.actor, request_id).await?;
    Ok(Json(found).into_response())
}

/// Shows how functions are doing on this server.
#[utoipa::path(get, path = "/v1/functions:status", tag = "functions", security(("key" = ["config:read"])),
    responses((status = 200, description = "Runtimes, isolation, workers", body = FunctionsStatusView)))]
pub(crate) async fn functions_status(
    State(state): State<Shared>,
    caller: Caller,
    _: QueryOf<NoQuery>,
) -> Result<Json<FunctionsStatusView>, Problem> {
    Ok(Json(state.app.functions_status(&caller.actor).await?))
}

/// Streams what a function prints on this server, as it happens.
///
/// Server-sent events: `start`, `line`, `end`; one named `skipped` says how many a slow listener has missed. A comment shows
/// every 15 seconds that the stream is alive.
#[utoipa::path(get, path = "/v1/functions/{namespace}/{name}/logs", tag = "functions", params(FunctionPath, LogsQuery), security(("key" = ["history:read"])),
    responses((status = 200, description = "The stream", content_type = "text/event-stream", body = LiveView)))]
pub(crate) async fn follow_function(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<FunctionPath>,
    QueryOf(query): QueryOf<LogsQuery>,
) -> Result<Response, Problem> {
    let function = path.function()?;
    if query
        .follow
        .is_some_and(|follow| !matches!(follow.as_str(), "1" | "true"))
    {
        let detail = "expected 1; what was printed earlier stands in the invocations";
        return Err(Problem::at("query:follow", detail));
    }
    let lines = state.app.follow_function(&caller.actor, &function)?;
    live::stream(state, caller.actor, lines, move |line: LiveLine| {
        let wanted = line.function == function;
        wanted.then(|| {
            let view = LiveView::from(line);
            Event::default().event(view.event()).json_data(view)
        })
    })
}
