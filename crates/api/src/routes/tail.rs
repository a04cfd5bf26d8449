//! Deliveries as they happen, as server-sent events.

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use belfry_app::history::NoticeView;
use belfry_engine::DeliveryNotice;
use belfry_model::BusName;
use belfry_model::delivery::DeliveryStatus;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::Shared;
use crate::extract::{Caller, QueryOf};
use crate::live;
use crate::problem::Problem;

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TailQuery {
    /// Of rules of this bus.
    bus: Option<String>,
    /// Of this rule.
    rule: Option<String>,
    /// Of targets of this name.
    target: Option<String>,
    /// In one of these states, separated by commas.
    #[param(example = "dead,retrying")]
    status: Option<String>,
}

struct Filter {
    query: TailQuery,
    statuses: Vec<DeliveryStatus>,
}

impl Filter {
    fn new(query: TailQuery) -> Result<Self, Problem> {
        let words = query
            .status
            .as_deref()
            .into_iter()
            .flat_map(|list| list.split(','));
        let statuses = words
            .map(|word| word.trim().parse())
            .collect::<Result<_, belfry_model::delivery::UnknownWord>>()
            .map_err(|error| Problem::at("query:status", error.to_string()))?;
        Ok(Self { query, statuses })
    }

    fn wants(&self, notice: &DeliveryNotice) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == found
        };
        is(&self.query.bus, notice.bus.as_ref().map(BusName::as_str))
            && is(&self.query.rule, notice.rule.as_deref())
            && is(&self.query.target, notice.target.as_deref())
            && (self.statuses.is_empty() || self.statuses.contains(&notice.status))
    }
}

/// Streams deliveries as they happen.
///
/// Server-sent events named `delivery`; one named `skipped` says how many a slow listener has missed. A comment shows
/// every 15 seconds that the stream is alive.
#[utoipa::path(get, path = "/v1/deliveries:tail", tag = "deliveries", params(TailQuery), security(("key" = ["history:read"])),
    responses((status = 200, description = "The stream", content_type = "text/event-stream", body = NoticeView)))]
pub(crate) async fn tail_deliveries(
    State(state): State<Shared>,
    caller: Caller,
    QueryOf(query): QueryOf<TailQuery>,
) -> Result<Response, Problem> {
    let notices = state.app.notices(&caller.actor)?;
    let filter = Filter::new(query)?;
    live::stream(state, caller.actor, notices, move |notice| {
        let wanted = filter.wants(&notice);
        wanted.then(|| {
            let view = NoticeView::from(notice);
            Event::default().event("delivery").json_data(view)
        })
    })
}
