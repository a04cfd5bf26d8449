//! A database on a server as the end of a copy: read at one moment, written in one transaction. Both hold a lock that
//! keeps servers from joining meanwhile.

use std::collections::BTreeSet;

use async_trait::async_trait;
use belfry_model::EventId;
use sqlx::{AssertSqlSafe, Row as _, Transaction};

use super::transfer::{self, Whole};
use super::{Db, PostgresStore, partitions};
use crate::copy::{Cell, Destination, Rows, Table};
use crate::{Maintenance as _, Result, StoreError};

/// All that is read sees one moment, from after the lock on. A long statement is meant to be long here.
pub(super) const BEGIN_WHOLE: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; \
     SET LOCAL statement_timeout = 0; LOCK TABLE node IN SHARE MODE";
const BEGIN_TO_FILL: &str = "SET LOCAL statement_timeout = 0; LOCK TABLE node IN EXCLUSIVE MODE";
const LIVE: &str =
    "SELECT count(*) FROM node WHERE lease_until_ms > extract(epoch FROM clock_timestamp()) * 1000";

impl Whole {
    /// On a server, nodes hold leases.
    pub(super) async fn nobody_uses_it(&mut self) -> Result<()> {
        let row = sqlx::query(LIVE).fetch_one(self.conn()?).await?;
        let live: i64 = row.try_get(0)?;
        if live > 0 {
            return Err(StoreError::Unusable(format!(
                "{live} Belfry servers use the database; stop them first"
            )));
        }
        Ok(())
    }
}

/// A database in the making.
struct Filling {
    store: PostgresStore,
    tx: Transaction<'static, Db>,
}

impl PostgresStore {
    /// To be filled by a copy.
    pub(crate) async fn into_destination(self) -> Result<Box<dyn Destination>> {
        let mut tx = self.writers.begin().await?;
        sqlx::raw_sql(BEGIN_TO_FILL).execute(&mut *tx).await?;
        Ok(Box::new(Filling { store: self, tx }))
    }
}

#[async_trait]
impl Destination for Filling {
    async fn empty(&mut self, table: &'static Table) -> Result<()> {
        transfer::empty(&mut self.tx, table).await
    }

    async fn write(&mut self, table: &'static Table, rows: Rows) -> Result<()> {
        if partitions::TABLES.contains(&table.name.as_str()) {
            // Their key begins with the event.
            let days: BTreeSet<i64> = rows
                .iter()
                .filter_map(|row| match row.first() {
                    Some(Cell::Number(Some(seq))) => Some(EventId::from_stored(*seq).time_ms()),
                    _ => None,
                })
                .map(partitions::day_of)
                .collect();
            if !days.is_empty() {
                partitions::make(&mut self.tx, days).await?;
            }
        }
        transfer::write(&mut self.tx, table, &rows).await
    }

    /// Numbers that the database gives out go on after the copied ones.
    async fn end(&mut self, table: &'static Table) -> Result<()> {
        let (name, Some(column)) = (&table.name, &table.numbered) else {
            return Ok(());
        };
        let sql = format!(
            "SELECT setval(pg_get_serial_sequence('{name}', '{column}'), coalesce(max({column}), 1), max({column}) IS NOT NULL) FROM {name}"
        );
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.tx.commit().await?;
        self.store.close().await;
        Ok(())
    }

    async fn abandon(self: Box<Self>) {
        if let Err(error) = self.tx.rollback().await {
            tracing::debug!(%error, "the transaction of a copy ended by itself");
        }
        self.store.close().await;
    }
}
