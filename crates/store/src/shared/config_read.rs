//! Buses, rules, targets and archives, as they are and as history names them.

use belfry_model::config::{Archive, Bus, Disabled, Rule, Target};
use belfry_model::{ArchiveId, BusId, BusName, RuleId, RuleName, TargetId, TargetName};
use sqlx::{AssertSqlSafe, Connection as _, QueryBuilder, Row as _};

use super::dialect::BEGIN_SNAPSHOT;
use super::rows::{Columns, DbRow, from_json, in_list};
use super::{Conn, Db};
use crate::{Config, Result, TargetPath};

/// Most ids in one list.
const IDS_MAX: usize = 500;

const BUSES: &str = "SELECT id, name, spec, revision, created_at_ms, updated_at_ms FROM bus WHERE deleted_at_ms IS NULL ORDER BY id";
const RULES: &str = "SELECT id, bus_id, name, spec, revision, created_at_ms, updated_at_ms FROM rule \
     WHERE deleted_at_ms IS NULL ORDER BY id";
const TARGETS: &str = "SELECT t.id, t.rule_id, r.bus_id, t.name, t.spec, t.disabled_reason, t.disabled_at_ms, t.revision, \
     t.created_at_ms, t.updated_at_ms FROM target t JOIN rule r ON r.id = t.rule_id WHERE t.deleted_at_ms IS NULL ORDER BY t.id";
const ARCHIVES: &str = "SELECT id, bus_id, name, spec, revision, created_at_ms, updated_at_ms FROM archive \
     WHERE deleted_at_ms IS NULL ORDER BY id";
const PATHS: &str = "SELECT t.id, t.rule_id, b.name, r.name, t.name, t.kind, t.deleted_at_ms FROM target t \
     JOIN rule r ON r.id = t.rule_id JOIN bus b ON b.id = r.bus_id WHERE t.id IN ";

pub(super) async fn load_config(conn: &mut Conn) -> Result<Config> {
    // One view of all five: a change in between would give rules without their bus.
    let mut tx = conn.begin_with(BEGIN_SNAPSHOT).await?;
    let version = config_version(&mut tx).await?;
    let buses = sqlx::query(BUSES).fetch_all(&mut *tx).await?;
    let rules = sqlx::query(RULES).fetch_all(&mut *tx).await?;
    let targets = sqlx::query(TARGETS).fetch_all(&mut *tx).await?;
    let archives = sqlx::query(ARCHIVES).fetch_all(&mut *tx).await?;
    tx.rollback().await?;
    Ok(Config {
        version,
        buses: buses.iter().map(bus).collect::<Result<_>>()?,
        rules: rules.iter().map(rule).collect::<Result<_>>()?,
        targets: targets.iter().map(target).collect::<Result<_>>()?,
        archives: archives.iter().map(archive).collect::<Result<_>>()?,
    })
}

pub(super) async fn config_version(conn: &mut Conn) -> Result<i64> {
    Ok(sqlx::query("SELECT version FROM config_version")
        .fetch_one(conn)
        .await?
        .try_get(0)?)
}

fn bus(row: &DbRow) -> Result<Bus> {
    let mut columns = Columns::of(row);
    Ok(Bus {
        id: columns.bus_id()?,
        name: columns.parsed("bus name")?,
        spec: from_json("bus", &columns.text()?)?,
        revision: columns.integer()?,
        created_at_ms: columns.integer()?,
        updated_at_ms: columns.integer()?,
    })
}

fn rule(row: &DbRow) -> Result<Rule> {
    let mut columns = Columns::of(row);
    Ok(Rule {
        id: RuleId(columns.small("rule id")?),
        bus: columns.bus_id()?,
        name: columns.parsed("rule name")?,
        spec: from_json("rule", &columns.text()?)?,
        revision: columns.integer()?,
        created_at_ms: columns.integer()?,
        updated_at_ms: columns.integer()?,
    })
}

fn target(row: &DbRow) -> Result<Target> {
    let mut columns = Columns::of(row);
    Ok(Target {
        id: columns.target_id()?,
        rule: RuleId(columns.small("rule id")?),
        bus: columns.bus_id()?,
        name: columns.parsed("target name")?,
        spec: from_json("target", &columns.text()?)?,
        disabled: match (columns.optional_text()?, columns.take::<Option<i64>>()?) {
            (Some(reason), Some(at_ms)) => Some(Disabled { reason, at_ms }),
            _ => None,
        },
        revision: columns.integer()?,
        created_at_ms: columns.integer()?,
        updated_at_ms: columns.integer()?,
    })
}

fn archive(row: &DbRow) -> Result<Archive> {
    let mut columns = Columns::of(row);
    Ok(Archive {
        id: ArchiveId(columns.small("archive id")?),
        bus: columns.bus_id()?,
        name: columns.parsed("archive name")?,
        spec: from_json("archive", &columns.text()?)?,
        revision: columns.integer()?,
        created_at_ms: columns.integer()?,
        updated_at_ms: columns.integer()?,
    })
}

pub(super) async fn target_names(conn: &mut Conn, targets: &[TargetId]) -> Result<Vec<TargetPath>> {
    let mut paths = Vec::with_capacity(targets.len());
    for chunk in targets.chunks(IDS_MAX) {
        let ids = in_list(chunk.iter().map(|id| i64::from(id.0)));
        let sql = AssertSqlSafe(format!("{PATHS}{ids} ORDER BY t.id"));
        let rows = sqlx::query(sql)
            .persistent(false)
            .fetch_all(&mut *conn)
            .await?;
        for row in &rows {
            let mut columns = Columns::of(row);
            paths.push(TargetPath {
                id: columns.target_id()?,
                rule_id: RuleId(columns.small("rule id")?),
                bus: columns.parsed("bus name")?,
                rule: columns.parsed("rule name")?,
                target: columns.parsed("target name")?,
                kind: columns.text()?,
                deleted: columns.take::<Option<i64>>()?.is_some(),
            });
        }
    }
    Ok(paths)
}

pub(super) async fn find_targets(
    conn: &mut Conn,
    bus: Option<&BusName>,
    rule: Option<&RuleName>,
    target: Option<&TargetName>,
) -> Result<Vec<TargetId>> {
    let mut sql = QueryBuilder::<Db>::new(
        "SELECT t.id FROM target t JOIN rule r ON r.id = t.rule_id JOIN bus b ON b.id = r.bus_id WHERE 1 = 1",
    );
    let wanted = [
        ("b.name", bus.map(BusName::as_str)),
        ("r.name", rule.map(RuleName::as_str)),
        ("t.name", target.map(TargetName::as_str)),
    ];
    for (column, value) in wanted {
        if let Some(value) = value {
            sql.push(" AND ").push(column).push(" = ").push_bind(value);
        }
    }
    sql.push(" ORDER BY t.id");
    let rows = sql.build().fetch_all(conn).await?;
    rows.iter()
        .map(|row| Columns::of(row).target_id())
        .collect()
}

pub(super) async fn bus_names(conn: &mut Conn, buses: &[BusId]) -> Result<Vec<(BusId, BusName)>> {
    let mut names = Vec::with_capacity(buses.len());
    for chunk in buses.chunks(IDS_MAX) {
        let ids = in_list(chunk.iter().map(|id| i64::from(id.0)));
        let sql = AssertSqlSafe(format!(
            "SELECT id, name FROM bus WHERE id IN {ids} ORDER BY id"
        ));
        let rows = sqlx::query(sql)
            .persistent(false)
            .fetch_all(&mut *conn)
            .await?;
        for row in &rows {
            let mut columns = Columns::of(row);
            names.push((columns.bus_id()?, columns.parsed("bus name")?));
        }
    }
    Ok(names)
}
