//! Changes of the configuration. Each states what it expects; a statement that then finds no row is a conflict.

use belfry_model::config::{Disabled, TargetSpec};
use belfry_model::{BusName, RuleName, TargetId};
use sqlx::Row as _;

use super::Conn;
use super::dialect::RAISE_VERSION;
use super::documents;
use super::rows::json_text;
use super::sources;
use crate::{Change, Expect, Result, StoreError};

/// When a change is made: by the clock, and by the version of the configuration that it leads to. Every row that a change
/// touches gets that version ([`super::config_read`] finds it by it), and so does the rule of a target, so that what
/// is read of a change tells where its targets belong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now_ms: i64,
    pub(super) version: i64,
}

/// Applies one change. The caller's transaction makes it all or nothing.
pub(super) async fn apply(conn: &mut Conn, change: &Change, at: Moment) -> Result<()> {
    match change {
        Change::PutBus { name, spec, expect } => {
            let spec = json_text(spec)?;
            match expect {
                Expect::Absent => insert_bus(conn, name.as_str(), &spec, at).await,
                Expect::Revision(revision) => {
                    let id = current(conn, BUS, 0, name.as_str(), *revision).await?;
                    update(conn, UPDATE_BUS, id, &spec, at).await
                }
            }
        }
        Change::DeleteBus { name, revision } => {
            let id = current(conn, BUS, 0, name.as_str(), *revision).await?;
            sources::forget_of_bus(conn, id).await?;
            delete(conn, &DELETE_BUS, id, at).await
        }
        Change::PutRule {
            bus,
            name,
            spec,
            expect,
        } => {
            let bus = bus_id(conn, bus).await?;
            let spec = json_text(spec)?;
            match expect {
                Expect::Absent => insert_rule(conn, bus, name.as_str(), &spec, at).await,
                Expect::Revision(revision) => {
                    let id = current(conn, RULE, bus, name.as_str(), *revision).await?;
                    update(conn, UPDATE_RULE, id, &spec, at).await
                }
            }
        }
        Change::DeleteRule {
            bus,
            name,
            revision,
        } => {
            let bus = bus_id(conn, bus).await?;
            let id = current(conn, RULE, bus, name.as_str(), *revision).await?;
            delete(conn, &DELETE_RULE, id, at).await
        }
        Change::PutTarget {
            bus,
            rule,
            name,
            spec,
            expect,
        } => {
            let rule = rule_id(conn, bus, rule).await?;
            match expect {
                Expect::Absent => insert_target(conn, rule, name.as_str(), spec, at).await?,
                Expect::Revision(revision) => {
                    let id = current(conn, TARGET, rule, name.as_str(), *revision).await?;
                    update_target(conn, id, spec, at).await?;
                }
            }
            touch_rule(conn, rule, at).await
        }
        Change::DeleteTarget {
            bus,
            rule,
            name,
            revision,
        } => {
            let rule = rule_id(conn, bus, rule).await?;
            let id = current(conn, TARGET, rule, name.as_str(), *revision).await?;
            delete(conn, &DELETE_TARGET, id, at).await?;
            touch_rule(conn, rule, at).await
        }
        Change::PutArchive {
            bus,
            name,
            spec,
            expect,
        } => {
            let bus = bus_id(conn, bus).await?;
            let spec = json_text(spec)?;
            match expect {
                Expect::Absent => insert_archive(conn, bus, name.as_str(), &spec, at).await,
                Expect::Revision(revision) => {
                    let id = current(conn, ARCHIVE, bus, name.as_str(), *revision).await?;
                    update(conn, UPDATE_ARCHIVE, id, &spec, at).await
                }
            }
        }
        Change::DeleteArchive {
            bus,
            name,
            revision,
        } => {
            let bus = bus_id(conn, bus).await?;
            let id = current(conn, ARCHIVE, bus, name.as_str(), *revision).await?;
            delete(conn, &DELETE_ARCHIVE, id, at).await
        }
        Change::PutDocument {
            place,
            spec,
            expect,
        } => documents::put(conn, place, spec, *expect, at).await,
        Change::DeleteDocument { place, revision } => {
            documents::delete(conn, place, *revision, at).await
        }
        Change::DisableTarget { target, disabled } => {
            disable(conn, *target, disabled.as_ref(), at).await
        }
    }
}

/// Counts a change, before it is made: until the transaction ends, no other can. Returns the version that it leads to.
pub(super) async fn raise_version(conn: &mut Conn) -> Result<i64> {
    let row = sqlx::query(RAISE_VERSION).fetch_one(conn).await?;
    Ok(row.try_get(0)?)
}

// Each takes parent and name, in this order. A bus has no parent.
const BUS: &str =
    "SELECT id, revision FROM bus WHERE $1 = 0 AND name = $2 AND deleted_at_ms IS NULL";
const RULE: &str =
    "SELECT id, revision FROM rule WHERE bus_id = $1 AND name = $2 AND deleted_at_ms IS NULL";
const TARGET: &str =
    "SELECT id, revision FROM target WHERE rule_id = $1 AND name = $2 AND deleted_at_ms IS NULL";
const ARCHIVE: &str =
    "SELECT id, revision FROM archive WHERE bus_id = $1 AND name = $2 AND deleted_at_ms IS NULL";

const UPDATE_BUS: &str = "UPDATE bus SET spec = $1, revision = revision + 1, updated_at_ms = $2, changed_version = $3 WHERE id = $4";
const UPDATE_RULE: &str = "UPDATE rule SET spec = $1, revision = revision + 1, updated_at_ms = $2, changed_version = $3 WHERE id = $4";
const UPDATE_ARCHIVE: &str = "UPDATE archive SET spec = $1, revision = revision + 1, updated_at_ms = $2, changed_version = $3 WHERE id = $4";

// Children first: afterwards they could not be told from those deleted earlier.
const DELETE_BUS: [&str; 5] = [
    "UPDATE document SET deleted_at_ms = $1, changed_version = $2 WHERE deleted_at_ms IS NULL AND bus_id = $3",
    "UPDATE archive SET deleted_at_ms = $1, changed_version = $2 WHERE deleted_at_ms IS NULL AND bus_id = $3",
    "UPDATE target SET deleted_at_ms = $1, changed_version = $2 WHERE deleted_at_ms IS NULL AND rule_id IN \
     (SELECT id FROM rule WHERE bus_id = $3 AND deleted_at_ms IS NULL)",
    "UPDATE rule SET deleted_at_ms = $1, changed_version = $2 WHERE deleted_at_ms IS NULL AND bus_id = $3",
    "UPDATE bus SET deleted_at_ms = $1, changed_version = $2 WHERE id = $3",
];
const DELETE_RULE: [&str; 2] = [
    "UPDATE target SET deleted_at_ms = $1, changed_version = $2 WHERE deleted_at_ms IS NULL AND rule_id = $3",
    "UPDATE rule SET deleted_at_ms = $1, changed_version = $2 WHERE id = $3",
];
const DELETE_TARGET: [&str; 1] =
    ["UPDATE target SET deleted_at_ms = $1, changed_version = $2 WHERE id = $3"];
const DELETE_ARCHIVE: [&str; 1] =
    ["UPDATE archive SET deleted_at_ms = $1, changed_version = $2 WHERE id = $3"];

async fn find(
    conn: &mut Conn,
    sql: &'static str,
    parent: i64,
    name: &str,
) -> Result<Option<(i64, i64)>> {
    let row = sqlx::query(sql)
        .bind(parent)
        .bind(name)
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .transpose()
}

/// The id of the thing with this name, if it has the revision expected.
async fn current(
    conn: &mut Conn,
    sql: &'static str,
    parent: i64,
    name: &str,
    revision: i64,
) -> Result<i64> {
    match find(conn, sql, parent, name).await? {
        Some((id, found)) if found == revision => Ok(id),
        _ => Err(StoreError::Conflict),
    }
}

async fn expect_absent(conn: &mut Conn, sql: &'static str, parent: i64, name: &str) -> Result<()> {
    match find(conn, sql, parent, name).await? {
        Some(_) => Err(StoreError::Conflict),
        None => Ok(()),
    }
}

pub(super) async fn bus_id(conn: &mut Conn, name: &BusName) -> Result<i64> {
    let found = find(conn, BUS, 0, name.as_str()).await?;
    found.map(|(id, _)| id).ok_or(StoreError::NotFound("bus"))
}

async fn rule_id(conn: &mut Conn, bus: &BusName, name: &RuleName) -> Result<i64> {
    let bus = bus_id(conn, bus).await?;
    let found = find(conn, RULE, bus, name.as_str()).await?;
    found.map(|(id, _)| id).ok_or(StoreError::NotFound("rule"))
}

async fn insert_bus(conn: &mut Conn, name: &str, spec: &str, at: Moment) -> Result<()> {
    expect_absent(conn, BUS, 0, name).await?;
    sqlx::query("INSERT INTO bus (name, spec, revision, created_at_ms, updated_at_ms, changed_version) VALUES ($1, $2, 1, $3, $3, $4)")
        .bind(name)
        .bind(spec)
        .bind(at.now_ms)
        .bind(at.version)
        .execute(conn)
        .await?;
    Ok(())
}

async fn insert_rule(conn: &mut Conn, bus: i64, name: &str, spec: &str, at: Moment) -> Result<()> {
    expect_absent(conn, RULE, bus, name).await?;
    sqlx::query(
        "INSERT INTO rule (bus_id, name, spec, revision, created_at_ms, updated_at_ms, changed_version) \
         VALUES ($1, $2, $3, 1, $4, $4, $5)",
    )
    .bind(bus)
    .bind(name)
    .bind(spec)
    .bind(at.now_ms)
        .bind(at.version)
    .execute(conn)
    .await?;
    Ok(())
}

async fn insert_archive(
    conn: &mut Conn,
    bus: i64,
    name: &str,
    spec: &str,
    at: Moment,
) -> Result<()> {
    expect_absent(conn, ARCHIVE, bus, name).await?;
    sqlx::query(
        "INSERT INTO archive (bus_id, name, spec, revision, created_at_ms, updated_at_ms, changed_version) \
         VALUES ($1, $2, $3, 1, $4, $4, $5)",
    )
    .bind(bus)
    .bind(name)
    .bind(spec)
    .bind(at.now_ms)
    .bind(at.version)
    .execute(conn)
    .await?;
    Ok(())
}

async fn insert_target(
    conn: &mut Conn,
    rule: i64,
    name: &str,
    spec: &TargetSpec,
    at: Moment,
) -> Result<()> {
    expect_absent(conn, TARGET, rule, name).await?;
    sqlx::query(
        "INSERT INTO target (rule_id, name, kind, spec, revision, created_at_ms, updated_at_ms, changed_version) \
         VALUES ($1, $2, $3, $4, 1, $5, $5, $6)",
    )
    .bind(rule)
    .bind(name)
    .bind(&spec.kind)
    .bind(json_text(spec)?)
    .bind(at.now_ms)
        .bind(at.version)
    .execute(conn)
    .await?;
    Ok(())
}

async fn update(conn: &mut Conn, sql: &'static str, id: i64, spec: &str, at: Moment) -> Result<()> {
    sqlx::query(sql)
        .bind(spec)
        .bind(at.now_ms)
        .bind(at.version)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

async fn update_target(conn: &mut Conn, id: i64, spec: &TargetSpec, at: Moment) -> Result<()> {
    sqlx::query(
        "UPDATE target SET kind = $1, spec = $2, disabled_reason = NULL, disabled_at_ms = NULL, \
         revision = revision + 1, updated_at_ms = $3, changed_version = $4 WHERE id = $5",
    )
    .bind(&spec.kind)
    .bind(json_text(spec)?)
    .bind(at.now_ms)
    .bind(at.version)
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

async fn disable(
    conn: &mut Conn,
    target: TargetId,
    disabled: Option<&Disabled>,
    at: Moment,
) -> Result<()> {
    let done = sqlx::query(
        "UPDATE target SET disabled_reason = $1, disabled_at_ms = $2, revision = revision + 1, updated_at_ms = $3, \
         changed_version = $4 WHERE id = $5 AND deleted_at_ms IS NULL",
    )
    .bind(disabled.map(|disabled| disabled.reason.as_str()))
    .bind(disabled.map(|disabled| disabled.at_ms))
    .bind(at.now_ms)
        .bind(at.version)
    .bind(target.0)
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::NotFound("target"));
    }
    sqlx::query("UPDATE rule SET changed_version = $1 WHERE id = (SELECT rule_id FROM target WHERE id = $2)")
        .bind(at.version)
        .bind(target.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Says that something about a rule's targets has changed.
async fn touch_rule(conn: &mut Conn, rule: i64, at: Moment) -> Result<()> {
    sqlx::query("UPDATE rule SET changed_version = $1 WHERE id = $2")
        .bind(at.version)
        .bind(rule)
        .execute(conn)
        .await?;
    Ok(())
}

async fn delete(conn: &mut Conn, statements: &[&'static str], id: i64, at: Moment) -> Result<()> {
    for sql in statements {
        sqlx::query(*sql)
            .bind(at.now_ms)
            .bind(at.version)
            .bind(id)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}
