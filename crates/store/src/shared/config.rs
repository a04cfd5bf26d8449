//! Configuration, keys, audit, logs: the shared statements, in this database's transactions.

use async_trait::async_trait;
use belfry_model::{BusId, BusName, LogName, RuleName, TargetId, TargetName};

use super::config_write::Moment;
use super::{Store, config_read, config_write, keys};
use crate::{
    ApiKey, AuditEntry, AuditRecord, Change, ConfigDiff, ConfigStore, IdempotencyRecord, LogInfo,
    Result, TargetPath,
};

#[async_trait]
impl ConfigStore for Store {
    async fn load_config_since(&self, since: i64) -> Result<ConfigDiff> {
        config_read::load_config_since(self.reader().await?.conn()?, since).await
    }

    async fn config_changed(&self) {
        self.told().await;
    }

    async fn config_version(&self) -> Result<i64> {
        config_read::config_version(self.reader().await?.conn()?).await
    }

    async fn apply(
        &self,
        changes: &[Change],
        audit: &[AuditEntry],
        idempotency: Option<&IdempotencyRecord>,
        now_ms: i64,
    ) -> Result<i64> {
        let (changes, audit, idempotency) =
            (changes.to_vec(), audit.to_vec(), idempotency.cloned());
        self.write(move |conn| {
            Box::pin(async move {
                // First: a repeated request must learn that it is one, not that its expectation is not met.
                keys::add_idempotency(conn, idempotency.as_ref()).await?;
                let version = if changes.is_empty() {
                    config_read::config_version(conn).await?
                } else {
                    config_write::raise_version(conn).await?
                };
                for change in &changes {
                    config_write::apply(conn, change, Moment { now_ms, version }).await?;
                }
                keys::add_audit(conn, &audit).await?;
                Ok(version)
            })
        })
        .await
    }

    async fn target_names(&self, targets: &[TargetId]) -> Result<Vec<TargetPath>> {
        config_read::target_names(self.reader().await?.conn()?, targets).await
    }

    async fn find_targets(
        &self,
        bus: Option<&BusName>,
        rule: Option<&RuleName>,
        target: Option<&TargetName>,
    ) -> Result<Vec<TargetId>> {
        config_read::find_targets(self.reader().await?.conn()?, bus, rule, target).await
    }

    async fn bus_names(&self, buses: &[BusId]) -> Result<Vec<(BusId, BusName)>> {
        config_read::bus_names(self.reader().await?.conn()?, buses).await
    }

    async fn list_keys(&self) -> Result<Vec<ApiKey>> {
        keys::list_keys(self.reader().await?.conn()?).await
    }

    async fn put_key(
        &self,
        key: &ApiKey,
        audit: &[AuditEntry],
        idempotency: Option<&IdempotencyRecord>,
    ) -> Result<()> {
        let (key, audit, idempotency) = (key.clone(), audit.to_vec(), idempotency.cloned());
        self.write(move |conn| {
            Box::pin(async move {
                keys::add_idempotency(conn, idempotency.as_ref()).await?;
                keys::put_key(conn, &key).await?;
                keys::add_audit(conn, &audit).await?;
                config_write::raise_version(conn).await.map(drop)
            })
        })
        .await
    }

    async fn list_audit(
        &self,
        before: Option<i64>,
        resource_prefix: &str,
        limit: u32,
    ) -> Result<Vec<AuditRecord>> {
        keys::list_audit(self.reader().await?.conn()?, before, resource_prefix, limit).await
    }

    async fn add_audit(&self, audit: &[AuditEntry]) -> Result<()> {
        let audit = audit.to_vec();
        self.write(move |conn| Box::pin(async move { keys::add_audit(conn, &audit).await }))
            .await
    }

    async fn list_logs(&self) -> Result<Vec<LogInfo>> {
        keys::list_logs(self.reader().await?.conn()?).await
    }

    async fn put_log(
        &self,
        name: &LogName,
        retention_days: u32,
        audit: &[AuditEntry],
    ) -> Result<()> {
        let (name, audit) = (name.clone(), audit.to_vec());
        self.write(move |conn| {
            Box::pin(async move {
                keys::put_log(conn, &name, retention_days).await?;
                keys::add_audit(conn, &audit).await
            })
        })
        .await
    }

    async fn get_meta(&self, key: &str) -> Result<Option<String>> {
        keys::get_meta(self.reader().await?.conn()?, key).await
    }

    async fn set_meta(&self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.write(move |conn| Box::pin(async move { keys::set_meta(conn, &key, &value).await }))
            .await
    }
}
