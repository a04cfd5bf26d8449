//! Alarms: what is open now, and who was told of it.

use axum::Json;
use axum::extract::State;
use belfry_app::cursor::{Listing, PageRequest};
use belfry_app::history::{AlarmDetail, AlarmFilter, AlarmView};
use belfry_model::AlarmId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::NoQuery;
use crate::Shared;
use crate::extract::{Caller, PathOf, QueryOf};
use crate::problem::Problem;

/// Which alarms.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AlarmsQuery {
    /// Of this bus.
    bus: Option<String>,
    /// `open`, `recovered` or `all`; absent: `open`.
    #[param(example = "open")]
    state: Option<String>,
    /// At least so severe: `critical`, `error`, `warning` or `info`.
    #[param(example = "error")]
    severity: Option<String>,
    /// Whose last event has this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Whose last event has this source.
    source: Option<String>,
    /// Whose last event has this subject.
    subject: Option<String>,
    /// Rows of the page; absent: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// What the page before gave as `next`.
    cursor: Option<String>,
}

/// The alarm in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct AlarmPath {
    /// The alarm's id.
    #[param(value_type = String, example = "alm_01jd0c4z8k000")]
    id: AlarmId,
}

/// Lists alarms, those with the newest event first. Without parameters: what is open now.
///
/// An alarm of which an event comes while pages are read moves to the front. A search looks at a bounded number of alarms; when it
/// stops early, the answer says `partial` and `next` goes on.
#[utoipa::path(get, path = "/v1/alarms", tag = "alarms", params(AlarmsQuery), security(("key" = ["history:read"])),
    responses((status = 200, description = "One page", body = Listing<AlarmView>)))]
pub(crate) async fn list_alarms(
    State(state): State<Shared>,
    caller: Caller,
    QueryOf(query): QueryOf<AlarmsQuery>,
) -> Result<Json<Listing<AlarmView>>, Problem> {
    let page = PageRequest {
        limit: query.limit,
        cursor: query.cursor,
    };
    let filter = AlarmFilter {
        bus: query.bus,
        state: query.state,
        severity: query.severity,
        kind: query.kind,
        source: query.source,
        subject: query.subject,
    };
    Ok(Json(
        state.app.list_alarms(&caller.actor, &filter, &page).await?,
    ))
}

/// Reads an alarm: since when it is open, how often it fired, who was told of it, and the deliveries of its first and last
/// events.
#[utoipa::path(get, path = "/v1/alarms/{id}", tag = "alarms", params(AlarmPath), security(("key" = ["history:read"])),
    responses((status = 200, description = "The alarm", body = AlarmDetail)))]
pub(crate) async fn get_alarm(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<AlarmPath>,
    _: QueryOf<NoQuery>,
) -> Result<Json<AlarmDetail>, Problem> {
    Ok(Json(state.app.get_alarm(&caller.actor, path.id).await?))
}
