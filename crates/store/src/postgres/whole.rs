//! Whole tables, for copies: everything is written in one transaction.

use std::collections::BTreeSet;

use belfry_model::EventId;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, Transaction};
use tokio::sync::mpsc;

use super::{Db, PostgresStore, partitions, transfer};
use crate::copy::{CONFIG_VERSION, Cell, Table};
use crate::{Result, StoreError};

/// A long statement is meant to be long here.
const NO_TIMEOUT: &str = "SET LOCAL statement_timeout = 0";
const LIVE: &str =
    "SELECT count(*) FROM node WHERE lease_until_ms > extract(epoch FROM clock_timestamp()) * 1000";

impl PostgresStore {
    /// Refuses while a node holds its lease.
    pub(crate) async fn is_at_rest(&self) -> Result<()> {
        let row = sqlx::query(LIVE).fetch_one(&self.readers).await?;
        let live: i64 = row.try_get(0)?;
        if live > 0 {
            return Err(StoreError::Unusable(format!(
                "{live} Belfry servers use the database; stop them first"
            )));
        }
        Ok(())
    }

    pub(crate) async fn pour(
        &self,
        table: &'static Table,
        out: &mpsc::Sender<Vec<Vec<Cell>>>,
    ) -> Result<()> {
        let mut conn = self.readers.acquire().await?;
        let mut tx = conn.begin().await?;
        sqlx::query(NO_TIMEOUT).execute(&mut *tx).await?;
        transfer::read(&mut tx, table, out).await?;
        tx.rollback().await?;
        Ok(())
    }

    pub(crate) async fn count(&self, table: &'static Table) -> Result<u64> {
        transfer::count(self.reader().await?.conn()?, table).await
    }

    /// The transaction that a copy is written in.
    pub(crate) async fn begin_fill(&self) -> Result<Transaction<'static, Db>> {
        let mut tx = self.writers.begin().await?;
        sqlx::query(NO_TIMEOUT).execute(&mut *tx).await?;
        Ok(tx)
    }

    /// Refuses a table that holds anything but what a new database does, and removes that.
    pub(crate) async fn empty(
        tx: &mut Transaction<'static, Db>,
        table: &'static Table,
    ) -> Result<()> {
        if table.name == CONFIG_VERSION {
            let sql = format!("DELETE FROM {} WHERE version = 0", table.name);
            sqlx::query(AssertSqlSafe(sql)).execute(&mut **tx).await?;
        }
        let rows = transfer::count(tx, table).await?;
        if rows > 0 {
            return Err(StoreError::Unusable(format!(
                "the destination is not empty: its table {} has {rows} rows; use an empty database or schema",
                table.name
            )));
        }
        Ok(())
    }

    pub(crate) async fn fill(
        tx: &mut Transaction<'static, Db>,
        table: &'static Table,
        rows: &[Vec<Cell>],
    ) -> Result<()> {
        if partitions::TABLES.contains(&table.name) {
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
                partitions::make(tx, days).await?;
            }
        }
        transfer::write(tx, table, rows).await
    }

    /// Numbers that the database gives out go on after the copied ones.
    pub(crate) async fn number_on(
        tx: &mut Transaction<'static, Db>,
        table: &'static Table,
    ) -> Result<()> {
        let Some(column) = table.numbered() else {
            return Ok(());
        };
        let name = table.name;
        let sql = format!(
            "SELECT setval(pg_get_serial_sequence('{name}', '{column}'), coalesce(max({column}), 1), max({column}) IS NOT NULL) FROM {name}"
        );
        sqlx::query(AssertSqlSafe(sql)).execute(&mut **tx).await?;
        Ok(())
    }
}
