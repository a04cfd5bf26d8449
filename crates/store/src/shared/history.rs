//! Reading what happened: the shared lists, on a reading connection.

use async_trait::async_trait;
use belfry_model::{DeliveryId, EventId, LogName};

use super::{Store, find, list_deliveries, list_events, list_log, order};
use crate::{
    Attempt, DeliveryQuery, DeliveryRecord, EventQuery, EventRecord, History, LogEntry, LogQuery,
    Page, Result,
};

#[async_trait]
impl History for Store {
    async fn list_events(&self, query: &EventQuery) -> Result<Page<EventRecord, EventId>> {
        list_events::list_events(self.reader().await?.conn()?, query).await
    }

    async fn find_event(&self, id: EventId) -> Result<Option<EventRecord>> {
        find::find_event(self.reader().await?.conn()?, id).await
    }

    async fn list_event_deliveries(&self, id: EventId) -> Result<Vec<DeliveryRecord>> {
        find::list_event_deliveries(self.reader().await?.conn()?, id).await
    }

    async fn list_deliveries(
        &self,
        query: &DeliveryQuery,
    ) -> Result<Page<DeliveryRecord, DeliveryId>> {
        list_deliveries::list_deliveries(self.reader().await?.conn()?, query).await
    }

    async fn find_delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>> {
        find::find_delivery(self.reader().await?.conn()?, id).await
    }

    async fn find_predecessor(&self, id: DeliveryId) -> Result<Option<DeliveryId>> {
        order::find_predecessor(self.reader().await?.conn()?, id).await
    }

    async fn list_attempts(&self, id: DeliveryId) -> Result<Vec<Attempt>> {
        find::list_attempts(self.reader().await?.conn()?, id).await
    }

    async fn list_log_entries(
        &self,
        log: &LogName,
        query: &LogQuery,
    ) -> Result<Option<Page<LogEntry, DeliveryId>>> {
        list_log::list_log_entries(self.reader().await?.conn()?, log, query).await
    }
}
