//! Buses, rules, targets, archives and named documents, as they are and as history names them.

use belfry_model::config::{Archive, Bus, Disabled, Document, Rule, Target};
use belfry_model::{ArchiveId, BusId, BusName, DocumentId, RuleId, RuleName, TargetId, TargetName};
use sqlx::{AssertSqlSafe, Connection as _, QueryBuilder, Row as _};

use super::dialect::BEGIN_SNAPSHOT;
use super::rows::{Columns, from_json, in_list};
use super::{Conn, Db};
use crate::{ConfigDiff, Result, TargetPath};

/// Most ids in one list.
const IDS_MAX: usize = 500;

/// What there is in a table, and what was changed there after version `$1`: the same columns, when it was deleted first.
macro_rules! select {
    ($rows:literal) => {
        [
            concat!(
                "SELECT x.deleted_at_ms, ",
                $rows,
                " WHERE x.deleted_at_ms IS NULL ORDER BY x.id"
            ),
            concat!(
                "SELECT x.deleted_at_ms, ",
                $rows,
                " WHERE x.changed_version > $1 ORDER BY x.id"
            ),
        ]
    };
}
const BUSES: [&str; 2] =
    select!("x.id, x.name, x.spec, x.revision, x.created_at_ms, x.updated_at_ms FROM bus x");
const RULES: [&str; 2] = select!(
    "x.id, x.bus_id, x.name, x.spec, x.revision, x.created_at_ms, x.updated_at_ms FROM rule x"
);
const ARCHIVES: [&str; 2] = select!(
    "x.id, x.bus_id, x.name, x.spec, x.revision, x.created_at_ms, x.updated_at_ms FROM archive x"
);
const DOCUMENTS: [&str; 2] = select!(
    "x.id, x.kind, x.bus_id, x.name, x.spec, x.revision, x.created_at_ms, x.updated_at_ms FROM document x"
);
const TARGETS: [&str; 2] = select!(
    "x.id, x.rule_id, r.bus_id, x.name, x.spec, x.disabled_reason, x.disabled_at_ms, x.revision, x.created_at_ms, \
     x.updated_at_ms FROM target x JOIN rule r ON r.id = x.rule_id"
);
const PATHS: &str = "SELECT t.id, t.rule_id, b.name, r.name, t.name, t.kind, t.deleted_at_ms FROM target t \
     JOIN rule r ON r.id = t.rule_id JOIN bus b ON b.id = r.bus_id WHERE t.id IN ";

/// Everything, or what has changed since a version that this database has been at.
pub(super) async fn load_config_since(conn: &mut Conn, since: i64) -> Result<ConfigDiff> {
    // One view of all: a change in between would give rules without their bus.
    let mut tx = conn.begin_with(BEGIN_SNAPSHOT).await?;
    let version = config_version(&mut tx).await?;
    let since = Some(since).filter(|since| (1..=version).contains(since));
    let mut diff = ConfigDiff {
        whole: since.is_none(),
        ..ConfigDiff::default()
    };
    (diff.made.version, diff.gone.version) = (version, version);
    if since != Some(version) {
        (diff.made.buses, diff.gone.buses) = rows(&mut tx, BUSES, since, bus).await?;
        (diff.made.rules, diff.gone.rules) = rows(&mut tx, RULES, since, rule).await?;
        (diff.made.targets, diff.gone.targets) = rows(&mut tx, TARGETS, since, target).await?;
        (diff.made.archives, diff.gone.archives) = rows(&mut tx, ARCHIVES, since, archive).await?;
        (diff.made.documents, diff.gone.documents) =
            rows(&mut tx, DOCUMENTS, since, document).await?;
    }
    tx.rollback().await?;
    Ok(diff)
}

/// The rows of a table that are there, and those that were deleted.
async fn rows<T>(
    conn: &mut Conn,
    [all, changed]: [&'static str; 2],
    since: Option<i64>,
    read: fn(&mut Columns<'_>) -> Result<T>,
) -> Result<(Vec<T>, Vec<T>)> {
    let query = match since {
        None => sqlx::query(all),
        Some(since) => sqlx::query(changed).bind(since),
    };
    let (mut made, mut gone) = (Vec::new(), Vec::new());
    for row in &query.fetch_all(conn).await? {
        let mut columns = Columns::of(row);
        let deleted: Option<i64> = columns.take()?;
        let list = if deleted.is_none() {
            &mut made
        } else {
            &mut gone
        };
        list.push(read(&mut columns)?);
    }
    Ok((made, gone))
}

pub(super) async fn config_version(conn: &mut Conn) -> Result<i64> {
    Ok(sqlx::query("SELECT version FROM config_version")
        .fetch_one(conn)
        .await?
        .try_get(0)?)
}

fn bus(columns: &mut Columns<'_>) -> Result<Bus> {
    Ok(Bus {
        id: columns.bus_id()?,
        name: columns.parsed("bus name")?,
        spec: from_json("bus", &columns.text()?)?,
        revision: columns.integer()?,
        created_at_ms: columns.integer()?,
        updated_at_ms: columns.integer()?,
    })
}

fn rule(columns: &mut Columns<'_>) -> Result<Rule> {
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

fn target(columns: &mut Columns<'_>) -> Result<Target> {
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

fn archive(columns: &mut Columns<'_>) -> Result<Archive> {
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

fn document(columns: &mut Columns<'_>) -> Result<Document> {
    Ok(Document {
        id: DocumentId(columns.small("document id")?),
        kind: columns.text()?,
        bus: columns.optional_small("bus id")?.map(BusId),
        name: columns.parsed("document name")?,
        spec: from_json("document", &columns.text()?)?,
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
