//! API keys, audit, logs, small values, answers for an `Idempotency-Key`.

use belfry_model::LogName;
use sqlx::{QueryBuilder, Row as _};

use super::rows::{Columns, DbRow, from_json, json_text};
use super::{Conn, Db};
use crate::error::is_duplicate;
use crate::{ApiKey, AuditEntry, AuditRecord, IdempotencyRecord, LogInfo, Result, StoreError};

pub(super) async fn list_keys(conn: &mut Conn) -> Result<Vec<ApiKey>> {
    let rows = sqlx::query(
        "SELECT id, name, hash, scopes, created_at_ms, expires_at_ms, revoked_at_ms, requests_per_second \
         FROM api_key ORDER BY created_at_ms, id",
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(key).collect()
}

fn key(row: &DbRow) -> Result<ApiKey> {
    let mut columns = Columns::of(row);
    Ok(ApiKey {
        id: columns.text()?,
        name: columns.text()?,
        hash: columns.array("hash of an API key")?,
        scopes: from_json("scopes of an API key", &columns.text()?)?,
        created_at_ms: columns.integer()?,
        expires_at_ms: columns.take()?,
        revoked_at_ms: columns.take()?,
        requests_per_second: columns.optional_small("requests per second")?,
    })
}

pub(super) async fn put_key(conn: &mut Conn, key: &ApiKey) -> Result<()> {
    sqlx::query(
        "INSERT INTO api_key (id, name, hash, scopes, created_at_ms, expires_at_ms, revoked_at_ms, requests_per_second) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
         hash = excluded.hash, scopes = excluded.scopes, created_at_ms = excluded.created_at_ms, \
         expires_at_ms = excluded.expires_at_ms, revoked_at_ms = excluded.revoked_at_ms, \
         requests_per_second = excluded.requests_per_second",
    )
    .bind(&key.id)
    .bind(&key.name)
    .bind(key.hash.as_slice())
    .bind(json_text(&key.scopes)?)
    .bind(key.created_at_ms)
    .bind(key.expires_at_ms)
    .bind(key.revoked_at_ms)
    .bind(key.requests_per_second.map(i64::from))
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn add_audit(conn: &mut Conn, entries: &[AuditEntry]) -> Result<()> {
    for entry in entries {
        sqlx::query(
            "INSERT INTO audit (at_ms, actor, action, resource, before_json, after_json, request_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(entry.at_ms)
        .bind(&entry.actor)
        .bind(&entry.action)
        .bind(&entry.resource)
        .bind(&entry.before)
        .bind(&entry.after)
        .bind(&entry.request_id)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

pub(super) async fn list_audit(
    conn: &mut Conn,
    before: Option<i64>,
    resource_prefix: &str,
    limit: u32,
) -> Result<Vec<AuditRecord>> {
    let mut sql = QueryBuilder::<Db>::new(
        "SELECT number, at_ms, actor, action, resource, before_json, after_json, request_id FROM audit WHERE number < ",
    );
    sql.push_bind(before.unwrap_or(i64::MAX));
    if !resource_prefix.is_empty() {
        sql.push(" AND substr(resource, 1, length(")
            .push_bind(resource_prefix)
            .push(")) = ");
        sql.push_bind(resource_prefix);
    }
    sql.push(" ORDER BY number DESC LIMIT ")
        .push_bind(i64::from(limit));
    let rows = sql.build().fetch_all(conn).await?;
    rows.iter().map(audit).collect()
}

fn audit(row: &DbRow) -> Result<AuditRecord> {
    let mut columns = Columns::of(row);
    Ok(AuditRecord {
        number: columns.integer()?,
        entry: AuditEntry {
            at_ms: columns.integer()?,
            actor: columns.text()?,
            action: columns.text()?,
            resource: columns.text()?,
            before: columns.optional_text()?,
            after: columns.optional_text()?,
            request_id: columns.optional_text()?,
        },
    })
}

pub(super) async fn list_logs(conn: &mut Conn) -> Result<Vec<LogInfo>> {
    let rows = sqlx::query(
        "SELECT name, retention_days, (SELECT max(seq) FROM log_entry e WHERE e.log_id = log.id) FROM log ORDER BY name",
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok(LogInfo {
                name: columns.parsed("log name")?,
                retention_days: columns.small("retention")?,
                newest: columns.optional_event_id()?,
            })
        })
        .collect()
}

pub(super) async fn put_log(conn: &mut Conn, name: &LogName, retention_days: u32) -> Result<()> {
    sqlx::query(
        "INSERT INTO log (name, retention_days) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET retention_days = excluded.retention_days",
    )
    .bind(name.as_str())
    .bind(i64::from(retention_days))
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn add_idempotency(
    conn: &mut Conn,
    record: Option<&IdempotencyRecord>,
) -> Result<()> {
    let Some(record) = record else { return Ok(()) };
    let done = sqlx::query(
        "INSERT INTO idempotency (scope, fingerprint, at_ms, answer) VALUES ($1, $2, $3, $4)",
    )
    .bind(record.scope.as_slice())
    .bind(record.fingerprint.as_slice())
    .bind(record.at_ms)
    .bind(&record.answer)
    .execute(conn)
    .await;
    match done {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate(&error) => Err(StoreError::IdempotencyConflict),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn get_meta(conn: &mut Conn, key: &str) -> Result<Option<String>> {
    let row = sqlx::query("SELECT value FROM meta WHERE key = $1")
        .bind(key)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

pub(super) async fn set_meta(conn: &mut Conn, key: &str, value: &str) -> Result<()> {
    sqlx::query("INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING")
        .bind(key)
        .bind(value)
        .execute(conn)
        .await?;
    Ok(())
}
