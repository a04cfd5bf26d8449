//! Deliveries and their attempts.

use belfry_model::DeliveryId;
use belfry_model::access::Scope;

use super::{AttemptView, DeliveryDetail, DeliveryFilter, DeliveryView};
use crate::App;
use crate::actor::Actor;
use crate::cursor::{self, Listing, PageRequest};
use crate::error::{Error, Result};

impl App {
    /// Deliveries, newest event first.
    pub async fn list_deliveries(
        &self,
        actor: &Actor,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Listing<DeliveryView>> {
        actor.require(&Scope::HistoryRead)?;
        let mut query = self.delivery_query("query:", filter).await?;
        query.limit = page.limit()?;
        query.before = page.after('d')?;
        let found = self.store.list_deliveries(&query).await?;
        let names = self
            .names(
                found
                    .items
                    .iter()
                    .map(|record| record.outcome.delivery.target),
                found.items.iter().map(|record| record.bus),
            )
            .await?;
        let items = found
            .items
            .into_iter()
            .map(|record| DeliveryView::new(record, &names))
            .collect();
        Ok(Listing::scanned(
            items,
            found.next.map(|at| cursor::write('d', &at)),
            query.limit,
        ))
    }

    /// One delivery with its attempts.
    pub async fn get_delivery(&self, actor: &Actor, id: DeliveryId) -> Result<DeliveryDetail> {
        actor.require(&Scope::HistoryRead)?;
        let delivery = self.delivery(id).await?;
        let attempts = self.store.list_attempts(id).await?;
        let waits_for = if delivery.status.is_final() {
            None
        } else {
            self.store.find_predecessor(id).await?
        };
        Ok(DeliveryDetail {
            delivery,
            waits_for,
            attempts: attempts.into_iter().map(AttemptView::from).collect(),
        })
    }

    pub(super) async fn delivery(&self, id: DeliveryId) -> Result<DeliveryView> {
        let record = self
            .store
            .find_delivery(id)
            .await?
            .ok_or_else(|| Error::not_found("delivery", &id))?;
        let names = self.names([id.target], [record.bus]).await?;
        Ok(DeliveryView::new(record, &names))
    }
}
