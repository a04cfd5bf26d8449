//! Named documents: all kinds in one table.

use serde_json::Value;
use sqlx::Row as _;

use super::Conn;
use super::config_write::{Moment, bus_id};
use super::rows::json_text;
use super::sources;
use crate::{DocumentPlace, Expect, Result, StoreError};

// The whole server stands as bus 0, which no bus is.
const FIND: &str = "SELECT id, revision FROM document \
     WHERE kind = $1 AND coalesce(bus_id, 0) = $2 AND name = $3 AND deleted_at_ms IS NULL";
const INSERT: &str = "INSERT INTO document (kind, bus_id, name, spec, revision, created_at_ms, updated_at_ms, changed_version) \
     VALUES ($1, $2, $3, $4, 1, $5, $5, $6)";
const UPDATE: &str = "UPDATE document SET spec = $1, revision = revision + 1, updated_at_ms = $2, changed_version = $3 WHERE id = $4";
const DELETE: &str = "UPDATE document SET deleted_at_ms = $1, changed_version = $2 WHERE id = $3";

/// Makes or replaces a document.
pub(super) async fn put(
    conn: &mut Conn,
    place: &DocumentPlace,
    spec: &Value,
    expect: Expect,
    at: Moment,
) -> Result<()> {
    let bus = bus_of(conn, place).await?;
    let found = find(conn, place, bus).await?;
    let spec = json_text(spec)?;
    match (expect, found) {
        (Expect::Absent, None) => {
            sqlx::query(INSERT)
                .bind(&place.kind)
                .bind(bus)
                .bind(place.name.as_str())
                .bind(spec)
                .bind(at.now_ms)
                .bind(at.version)
                .execute(conn)
                .await?;
        }
        (Expect::Revision(revision), Some((id, found))) if found == revision => {
            sqlx::query(UPDATE)
                .bind(spec)
                .bind(at.now_ms)
                .bind(at.version)
                .bind(id)
                .execute(conn)
                .await?;
        }
        _ => return Err(StoreError::Conflict),
    }
    Ok(())
}

/// Deletes a document.
pub(super) async fn delete(
    conn: &mut Conn,
    place: &DocumentPlace,
    revision: i64,
    at: Moment,
) -> Result<()> {
    let bus = bus_of(conn, place).await?;
    let Some((id, _)) = find(conn, place, bus)
        .await?
        .filter(|(_, found)| *found == revision)
    else {
        return Err(StoreError::Conflict);
    };
    sqlx::query(DELETE)
        .bind(at.now_ms)
        .bind(at.version)
        .bind(id)
        .execute(&mut *conn)
        .await?;
    sources::forget(conn, id).await
}

async fn bus_of(conn: &mut Conn, place: &DocumentPlace) -> Result<Option<i64>> {
    match &place.bus {
        None => Ok(None),
        Some(bus) => bus_id(conn, bus).await.map(Some),
    }
}

/// The id and revision of a document.
async fn find(
    conn: &mut Conn,
    place: &DocumentPlace,
    bus: Option<i64>,
) -> Result<Option<(i64, i64)>> {
    let row = sqlx::query(FIND)
        .bind(&place.kind)
        .bind(bus.unwrap_or(0))
        .bind(place.name.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .transpose()
}
