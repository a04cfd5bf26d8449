//! Events in the history.

use axum::Json;
use axum::extract::State;
use belfry_app::cursor::{Listing, PageRequest};
use belfry_app::history::{EventDetail, EventFilter, EventView};
use belfry_model::EventId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::NoQuery;
use crate::Shared;
use crate::extract::{Caller, PathOf, QueryOf};
use crate::problem::Problem;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Posted to this bus.
    bus: Option<String>,
    /// Accepted at or after this time (RFC 3339, or back from now such as `-1h`).
    #[param(example = "-1h")]
    since: Option<String>,
    /// Accepted before this time.
    until: Option<String>,
    /// With this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// With this source.
    source: Option<String>,
    /// With this subject.
    subject: Option<String>,
    /// With this sender's id.
    id: Option<String>,
    /// Whose document holds this text (case-sensitive).
    q: Option<String>,
    /// `true`: only those that matched some rule; `false`: only those that matched none.
    matched: Option<bool>,
    /// Rows of the page; absent: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// What the page before gave as `next`.
    cursor: Option<String>,
}

/// The event in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct EventPath {
    /// The server's id of the event.
    #[param(value_type = String, example = "evt_01jd0c4z8k000")]
    id: EventId,
}

/// Lists events, newest first.
///
/// A search looks at a bounded number of events; when it stops early, the answer says `partial` and `next` goes on.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(EventsQuery), security(("key" = ["history:read"])),
    responses((status = 200, description = "One page", body = Listing<EventView>)))]
pub(crate) async fn list_events(
    State(state): State<Shared>,
    caller: Caller,
    QueryOf(query): QueryOf<EventsQuery>,
) -> Result<Json<Listing<EventView>>, Problem> {
    let page = PageRequest {
        limit: query.limit,
        cursor: query.cursor,
    };
    let filter = EventFilter {
        bus: query.bus,
        since: query.since,
        until: query.until,
        kind: query.kind,
        source: query.source,
        subject: query.subject,
        id: query.id,
        q: query.q,
        matched: query.matched,
    };
    Ok(Json(
        state.app.list_events(&caller.actor, &filter, &page).await?,
    ))
}

/// Reads an event: its document, the targets that matched, and each delivery's state.
#[utoipa::path(get, path = "/v1/events/{id}", tag = "events", params(EventPath), security(("key" = ["history:read"])),
    responses((status = 200, description = "The event", body = EventDetail)))]
pub(crate) async fn get_event(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<EventPath>,
    _: QueryOf<NoQuery>,
) -> Result<Json<EventDetail>, Problem> {
    Ok(Json(state.app.get_event(&caller.actor, path.id).await?))
}
