//! Events.

use std::collections::HashMap;

use belfry_model::access::Scope;
use belfry_model::delivery::DeliveryStatus;
use belfry_model::json::JsonText;
use belfry_model::{DeliveryId, EventId};
use belfry_store::{DeliveryRecord, EventRecord, Outcome};

use super::{DeliveryView, EventDetail, EventFilter, EventView};
use crate::App;
use crate::actor::Actor;
use crate::cursor::{self, Listing, PageRequest};
use crate::error::{Error, Result};
use crate::time::Stamp;

impl App {
    /// Events, newest first.
    pub async fn list_events(
        &self,
        actor: &Actor,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> Result<Listing<EventView>> {
        actor.require(&Scope::HistoryRead)?;
        let index = self.index().await?;
        let mut query = self.event_query(&index, filter)?;
        query.limit = page.limit()?;
        query.before = page.after('e')?;
        let found = self.store.list_events(&query).await?;
        let names = self
            .names(
                found
                    .items
                    .iter()
                    .flat_map(|event| event.fan.iter().copied()),
                found.items.iter().map(|event| event.bus),
            )
            .await?;
        let items = found
            .items
            .into_iter()
            .map(|event| EventView::new(event, &names))
            .collect();
        Ok(Listing::scanned(
            items,
            found.next.map(|at| cursor::write('e', &at)),
            query.limit,
        ))
    }

    /// One event with its document and its deliveries.
    pub async fn get_event(&self, actor: &Actor, id: EventId) -> Result<EventDetail> {
        actor.require(&Scope::HistoryRead)?;
        let event = self
            .store
            .find_event(id)
            .await?
            .ok_or_else(|| Error::not_found("event", &id))?;
        let recorded = self.store.list_event_deliveries(id).await?;
        let names = self
            .names(
                event
                    .fan
                    .iter()
                    .copied()
                    .chain(recorded.iter().map(|record| record.outcome.delivery.target)),
                [event.bus],
            )
            .await?;
        let mut by_target: HashMap<_, _> = recorded
            .into_iter()
            .map(|record| (record.outcome.delivery.target, record))
            .collect();
        let mut deliveries: Vec<_> = event
            .fan
            .iter()
            .map(|target| {
                let delivery = DeliveryId {
                    event: id,
                    target: *target,
                };
                let record = by_target
                    .remove(target)
                    .unwrap_or_else(|| waiting(&event, delivery));
                DeliveryView::new(record, &names)
            })
            .collect();
        deliveries.extend(
            by_target
                .into_values()
                .map(|record| DeliveryView::new(record, &names)),
        );
        deliveries.sort_by_key(|delivery| delivery.id);
        let text = std::str::from_utf8(&event.doc).map_err(Error::internal)?;
        Ok(EventDetail {
            event_uid: id,
            bus: names.bus(event.bus),
            accepted_at: Stamp(id.time_ms()),
            bytes: event.bytes,
            trace_id: event.trace_id,
            replay: event.replay.map(|mark| mark.replay),
            replay_of: event.replay.map(|mark| mark.of),
            event: JsonText::parse(text).map_err(Error::internal)?,
            deliveries,
        })
    }
}

/// A delivery that is still in memory for its first attempt: no state of it is stored yet.
fn waiting(event: &EventRecord, delivery: DeliveryId) -> DeliveryRecord {
    DeliveryRecord {
        outcome: Outcome {
            delivery,
            status: DeliveryStatus::Queued,
            attempts: 0,
            status_code: None,
            duration_ms: 0,
            at_ms: event.id.time_ms(),
            reason: None,
            detail: None,
        },
        due_at_ms: None,
        bus: event.bus,
        event: event.facts.clone(),
        trace_id: event.trace_id.clone(),
        replay: event.replay,
    }
}
