//! What sources could not read.

use async_trait::async_trait;
use belfry_model::DocumentId;

use super::Conn;
use super::Store;
use super::rows::Columns;
use crate::{Result, Sources, Unparsed};

const INSERT: &str = "INSERT INTO unparsed (document_id, at_ms, format, reason, content_type, bytes, body) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";
const TRIM: &str = "DELETE FROM unparsed WHERE document_id = $1 AND id <= \
     (SELECT id FROM unparsed WHERE document_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)";
pub(super) const LIST: &str = "SELECT id, document_id, at_ms, format, reason, content_type, bytes, body FROM unparsed \
     WHERE document_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
const FORGET: &str = "DELETE FROM unparsed WHERE document_id = $1";
const FORGET_OF_BUS: &str =
    "DELETE FROM unparsed WHERE document_id IN (SELECT id FROM document WHERE bus_id = $1)";

#[async_trait]
impl Sources for Store {
    async fn keep_unparsed(&self, unparsed: &Unparsed, keep: u32) -> Result<()> {
        let unparsed = unparsed.clone();
        self.write(move |conn| {
            Box::pin(async move {
                let source = i64::from(unparsed.source.0);
                sqlx::query(INSERT)
                    .bind(source)
                    .bind(unparsed.at_ms)
                    .bind(unparsed.format)
                    .bind(unparsed.reason)
                    .bind(unparsed.content_type)
                    .bind(i64::try_from(unparsed.bytes).unwrap_or(i64::MAX))
                    .bind(unparsed.body)
                    .execute(&mut *conn)
                    .await?;
                sqlx::query(TRIM)
                    .bind(source)
                    .bind(i64::from(keep))
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    async fn list_unparsed(
        &self,
        source: DocumentId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Unparsed>> {
        let rows = sqlx::query(LIST)
            .bind(i64::from(source.0))
            .bind(before.unwrap_or(i64::MAX))
            .bind(i64::from(limit))
            .fetch_all(self.reader().await?.conn()?)
            .await?;
        rows.iter()
            .map(|row| unparsed(&mut Columns::of(row)))
            .collect()
    }
}

fn unparsed(columns: &mut Columns<'_>) -> Result<Unparsed> {
    Ok(Unparsed {
        number: columns.integer()?,
        source: DocumentId(columns.small("document id")?),
        at_ms: columns.integer()?,
        format: columns.optional_text()?,
        reason: columns.text()?,
        content_type: columns.optional_text()?,
        bytes: columns.small("bytes")?,
        body: columns.bytes()?,
    })
}

/// Forgets all of a source that is deleted.
pub(super) async fn forget(conn: &mut Conn, source: i64) -> Result<()> {
    sqlx::query(FORGET).bind(source).execute(conn).await?;
    Ok(())
}

/// Forgets all of the sources of a bus that is deleted.
pub(super) async fn forget_of_bus(conn: &mut Conn, bus: i64) -> Result<()> {
    sqlx::query(FORGET_OF_BUS).bind(bus).execute(conn).await?;
    Ok(())
}
