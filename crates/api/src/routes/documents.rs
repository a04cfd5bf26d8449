//! Named documents: the same routes for every kind, and their part of the API document, made from what a kind says of
//! itself.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use belfry_app::config::ChangeOptions;
use belfry_app::documents::{DocumentKind, KINDS, Place};
use belfry_model::name::InvalidName;
use belfry_model::{BusName, DocumentName, Name};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{ChangeQuery, NoQuery, PageQuery};
use crate::Shared;
use crate::answer::{changed, deleted, entity};
use crate::document::a_problem;
use crate::extract::{Caller, Conditions, JsonBody, PathOf, QueryOf};
use crate::problem::Problem;

/// Where the documents of a kind are listed.
#[derive(Debug, Deserialize)]
pub(crate) struct ListPath {
    bus: Option<BusName>,
}

/// Where a document is. How many of the parts there are, the kind's route says.
#[derive(Debug, Deserialize)]
#[serde(try_from = "PathParts")]
pub(crate) struct DocumentPath {
    bus: Option<BusName>,
    name: DocumentName,
}

#[derive(Debug, Deserialize)]
struct PathParts {
    bus: Option<BusName>,
    namespace: Option<Name>,
    name: Name,
}

impl TryFrom<PathParts> for DocumentPath {
    type Error = InvalidName;
    fn try_from(path: PathParts) -> Result<Self, InvalidName> {
        let name = path.name.as_str();
        let name = match &path.namespace {
            Some(namespace) => DocumentName::of(&[namespace.as_str(), name])?,
            None => DocumentName::of(&[name])?,
        };
        Ok(Self {
            bus: path.bus,
            name,
        })
    }
}

impl DocumentPath {
    fn place(&self, kind: &'static dyn DocumentKind) -> Place<'_> {
        Place {
            kind,
            bus: self.bus.as_ref(),
            name: &self.name,
        }
    }
}

/// `?dryRun=&force=` of a deletion.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    dry_run: Option<bool>,
    force: Option<bool>,
}

type Kind = &'static dyn DocumentKind;
type Answer = Result<Response, Problem>;

/// The paths of a kind: of the list, and of one document.
fn paths(kind: Kind) -> (String, String) {
    let list = if kind.is_on_bus() {
        format!("/v1/buses/{{bus}}/{}", kind.name())
    } else {
        format!("/v1/{}", kind.name())
    };
    let one = kind
        .parts()
        .iter()
        .fold(list.clone(), |path, part| format!("{path}/{{{part}}}"));
    (list, one)
}

/// Adds the routes of all kinds.
pub(crate) fn register(router: Router<Shared>) -> Router<Shared> {
    KINDS.iter().fold(router, |router, kind| {
        let kind = *kind;
        let (list, one) = paths(kind);
        router
            .route(
                &list,
                get(move |state, caller, path, page| all(kind, state, caller, path, page)),
            )
            .route(
                &one,
                get(move |state, caller, path, query| read(kind, state, caller, path, query))
                    .put(move |state, caller, path, query, conditions, body| {
                        put(kind, state, caller, path, query, conditions, body)
                    })
                    .patch(move |state, caller, path, query, conditions, body| {
                        patch(kind, state, caller, path, query, conditions, body)
                    })
                    .delete(move |state, caller, path, query, conditions| {
                        delete(kind, state, caller, path, query, conditions)
                    }),
            )
    })
}

async fn all(
    kind: Kind,
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<ListPath>,
    QueryOf(page): QueryOf<PageQuery>,
) -> Answer {
    let bus = path.bus.as_ref();
    let found = state
        .app
        .list_documents(&caller.actor, kind, bus, &page.into())
        .await?;
    Ok(Json(found).into_response())
}

async fn read(
    kind: Kind,
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<DocumentPath>,
    _: QueryOf<NoQuery>,
) -> Answer {
    let place = path.place(kind);
    let document = state.app.get_document(&caller.actor, place).await?;
    Ok(entity(&document, document.revision))
}

async fn put(
    kind: Kind,
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<DocumentPath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
    JsonBody(body): JsonBody,
) -> Answer {
    let (place, options) = (path.place(kind), conditions.options(query.dry_run));
    let change = state
        .app
        .put_document(&caller.actor, place, &body, &options)
        .await?;
    let (revision, at) = (change.value.revision, format!("/v1/{}", place.path()));
    Ok(changed(&change, revision, options.dry_run, &at))
}

async fn patch(
    kind: Kind,
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<DocumentPath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
    JsonBody(body): JsonBody,
) -> Answer {
    let (place, options) = (path.place(kind), conditions.options(query.dry_run));
    let change = state
        .app
        .patch_document(&caller.actor, place, &body, &options)
        .await?;
    let (revision, at) = (change.value.revision, format!("/v1/{}", place.path()));
    Ok(changed(&change, revision, options.dry_run, &at))
}

async fn delete(
    kind: Kind,
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<DocumentPath>,
    QueryOf(query): QueryOf<DeleteQuery>,
    conditions: Conditions,
) -> Answer {
    if query.force.is_some() && !kind.is_needed() {
        let detail = format!(
            "a {} is deleted whoever needs it; leave this out",
            kind.one()
        );
        return Err(Problem::at("query:force", detail));
    }
    let place = path.place(kind);
    let options = ChangeOptions {
        cascade: query.force.unwrap_or_default(),
        ..conditions.options(query.dry_run)
    };
    let document = state
        .app
        .delete_document(&caller.actor, place, &options)
        .await?;
    Ok(deleted(&document, options.dry_run))
}

/// Describes the routes of all kinds.
pub(crate) fn describe(document: &mut Value) {
    for kind in KINDS {
        let kind = *kind;
        let (list, one) = paths(kind);
        let tag = json!({ "name": kind.name(), "description": kind.about().trim_end_matches('.') });
        if let Some(tags) = document["tags"].as_array_mut() {
            // Before what is about the server.
            tags.insert(tags.len().saturating_sub(2), tag);
        }
        for (name, schema) in schemas(kind) {
            document["components"]["schemas"][name] = schema;
        }
        add(document, &list, [("get", list_operation(kind))]);
        add(document, &one, operations(kind));
    }
}

/// Adds operations to a path, which may have others.
fn add<const N: usize>(document: &mut Value, path: &str, operations: [(&str, Value); N]) {
    for (method, mut operation) in operations {
        for status in ["400", "401", "403", "429", "503", "default"] {
            operation["responses"][status] = a_problem();
        }
        document["paths"][path][method] = operation;
    }
}

/// What is written, what is read, and a page of it.
fn schemas(kind: Kind) -> [(String, Value); 3] {
    let title = kind.title();
    let spec = kind.schema();
    let text = |about: &str| json!({ "type": "string", "description": about });
    let moment =
        |about: &str| json!({ "type": "string", "format": "date-time", "description": about });
    let mut members = Map::new();
    if kind.is_on_bus() {
        members.insert("bus".to_owned(), text("Its bus."));
    }
    members.insert("name".to_owned(), text("Its name."));
    let mut needed: Vec<Value> = members.keys().cloned().map(Value::from).collect();
    members.extend(spec["properties"].as_object().cloned().unwrap_or_default());
    needed.extend(spec["required"].as_array().cloned().unwrap_or_default());
    for (name, schema) in [
        (
            "revision",
            json!({ "type": "integer", "format": "int64", "description": "Counts changes; the `ETag` is `\"r<revision>\"`." }),
        ),
        ("createdAt", moment("When it was made.")),
        ("updatedAt", moment("When it was last changed.")),
    ] {
        members.insert(name.to_owned(), schema);
        needed.push(Value::from(name));
    }
    let once = "Secrets that the server made just now. Shown only in this answer.";
    let dry = "Present and true when nothing was written because `dryRun` was asked for.";
    members.insert(
        "generatedSecrets".to_owned(),
        json!({ "type": "array", "items": reference("GeneratedSecret"), "description": once }),
    );
    members.insert(
        "dryRun".to_owned(),
        json!({ "type": "boolean", "description": dry }),
    );
    let whole = json!({ "type": "object", "description": kind.about(), "required": needed, "properties": members });
    let page = json!({
        "type": "object", "description": "One page of a list.", "required": ["items"],
        "properties": {
            "items": { "type": "array", "items": reference(title), "description": "The rows." },
            "next": text("Pass it as `cursor` to get the next page; absent on the last one."),
        },
    });
    [
        (format!("{title}Spec"), spec),
        (title.to_owned(), whole),
        (format!("Listing_{title}"), page),
    ]
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn answer(about: &str, schema: &str) -> Value {
    json!({ "description": about, "content": { "application/json": { "schema": reference(schema) } } })
}

fn parameter(place: &str, name: &str, kind: &str, about: &str) -> Value {
    json!({
        "name": name, "in": place, "description": about, "required": place == "path", "schema": { "type": kind },
    })
}

fn path_parameters(kind: Kind, one: bool) -> Vec<Value> {
    let mut parameters = Vec::new();
    if kind.is_on_bus() {
        parameters.push(parameter("path", "bus", "string", "The bus's name."));
    }
    if one {
        for part in kind.parts() {
            let about = format!("The {}'s {part}.", kind.one());
            parameters.push(parameter("path", part, "string", &about));
        }
    }
    parameters
}

fn list_operation(kind: Kind) -> Value {
    let mut parameters = path_parameters(kind, false);
    let mut limit = parameter("query", "limit", "integer", "Rows of the page; absent: 50.");
    limit["schema"]["minimum"] = 1.into();
    limit["schema"]["maximum"] = 200.into();
    parameters.push(limit);
    let about = "What the page before gave as `next`.";
    parameters.push(parameter("query", "cursor", "string", about));
    json!({
        "tags": [kind.name()],
        "summary": format!("Lists {} by name.", plural(kind)),
        "operationId": format!("list_{}", word(kind.name())),
        "parameters": parameters,
        "responses": { "200": answer("One page", &format!("Listing_{}", kind.title())) },
        "security": [{ "key": [kind.read_scope().to_string()] }],
    })
}

fn plural(kind: Kind) -> String {
    kind.name().replace('-', " ")
}

fn word(name: &str) -> String {
    name.replace('-', "_")
}

fn operations(kind: Kind) -> [(&'static str, Value); 4] {
    let title = kind.title();
    let one = kind.one().replace('-', " ");
    let id = word(kind.one());
    let (read, write) = (
        kind.read_scope().to_string(),
        kind.write_scope().to_string(),
    );
    let place = path_parameters(kind, true);
    let mut change = place.clone();
    for (part, name, kind, about) in [
        (
            "query",
            "dryRun",
            "boolean",
            "`true` checks everything and answers what would be, but writes nothing.",
        ),
        (
            "header",
            "If-Match",
            "string",
            "Changes it only if its `ETag` is one of these (`*`: if it is there at all). Else 412.",
        ),
        (
            "header",
            "If-None-Match",
            "string",
            "`*` makes it only if it is not there. Else 412.",
        ),
    ] {
        change.push(parameter(part, name, kind, about));
    }
    let operation = |verb: &str, summary: String, parameters: &[Value], scope: &str| {
        json!({
            "tags": [kind.name()], "summary": summary, "operationId": format!("{verb}_{id}"),
            "parameters": parameters, "responses": {}, "security": [{ "key": [scope] }],
        })
    };
    let mut get = operation("get", format!("Reads a {one}."), &place, &read);
    get["responses"]["200"] = answer(&format!("The {one}"), title);

    let mut put = operation(
        "put",
        format!("Makes or replaces a {one}."),
        &change,
        &write,
    );
    put["description"] =
        "The same request again changes nothing. What was read can be written back.".into();
    put["requestBody"] = json!({
        "required": true,
        "content": { "application/json": { "schema": reference(&format!("{title}Spec")), "example": kind.example() } },
    });
    put["responses"]["200"] = answer("Replaced, or as it was", title);
    put["responses"]["201"] = answer("Made", title);

    let summary = format!("Changes some members of a {one} (JSON merge patch).");
    let mut patch = operation("patch", summary, &change, &write);
    patch["requestBody"] = json!({
        "description": format!("A merge patch (RFC 7396) of `{title}Spec`: what is left out stays, null takes back"),
        "required": true,
        "content": { "application/merge-patch+json": { "schema": { "type": "object" } } },
    });
    patch["responses"]["200"] = answer("Changed, or as it was", title);

    if kind.is_needed() {
        let about = "`true` deletes it although rules need it.";
        change.push(parameter("query", "force", "boolean", about));
    }
    let mut delete = operation("delete", format!("Deletes a {one}."), &change, &write);
    delete["responses"]["204"] = json!({ "description": "Deleted" });
    delete["responses"]["200"] = answer("Dry run: what would be deleted", title);
    [
        ("get", get),
        ("put", put),
        ("patch", patch),
        ("delete", delete),
    ]
}
