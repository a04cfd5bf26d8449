//! Replays: where each stands, and the events it reads.
//!
//! A page of the history is cut by the key alone, so that a bus with few events costs no longer a look than others.

use async_trait::async_trait;
use belfry_model::replay::ReplayState;
use belfry_model::{ArchiveId, EventId, NodeId, ReplayId};
use futures_util::TryStreamExt as _;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Database, Row as _};

use super::rows::{Columns, DbRow, from_json, in_list, json_text};
use super::{Conn, Db, Store, keys};
use crate::error::unreadable;
use crate::{
    AuditEntry, NewReplay, Replay, ReplayAnswer, ReplayPage, ReplayProgress, ReplayRead, Replays,
    Result, StoreError,
};

const COLUMNS: &str = "SELECT id, spec, state, cursor, looked_at, replayed, detail, owner, lease_until_ms, created_by, \
     created_at_ms, updated_at_ms, ended_at_ms FROM replay ";
const ADD: &str = "INSERT INTO replay (spec, state, cursor, looked_at, replayed, lease_until_ms, created_by, created_at_ms, \
     updated_at_ms) VALUES ($1, 0, $2, 0, 0, 0, $3, $4, $4) RETURNING id";
const PURGE: &str =
    "DELETE FROM replay WHERE id IN (SELECT id FROM replay WHERE ended_at_ms < $1 LIMIT $2)";
const SET_STATE: &str = "UPDATE replay SET state = $1, detail = $2, updated_at_ms = $3, ended_at_ms = $4, owner = NULL WHERE id = $5";
pub(super) const CLAIM: &str = "UPDATE replay SET owner = $1, lease_until_ms = $2 WHERE id = $3 AND state = 0 \
     AND (owner IS NULL OR owner = $1 OR lease_until_ms <= $4)";
/// Only a replay that runs moves on: what is on its way when it is paused or ended is undone, and done again when it resumes.
pub(super) const ADVANCE: &str = "UPDATE replay SET cursor = $1, looked_at = looked_at + $2, replayed = replayed + $3, \
     state = CASE WHEN $4 = 1 THEN 3 ELSE state END, ended_at_ms = CASE WHEN $4 = 1 THEN $5 ELSE ended_at_ms END, \
     updated_at_ms = $5, lease_until_ms = $6 WHERE id = $7 AND cursor = $8 \
     AND state = 0 AND (owner = $9 OR owner IS NULL)";
pub(super) const HISTORY_END: &str =
    "SELECT seq FROM event WHERE seq > $1 AND seq < $2 ORDER BY seq LIMIT 1 OFFSET $3";
pub(super) const HISTORY: &str = "SELECT seq, doc FROM event WHERE seq > $1 AND seq <= $2 AND bus_id = $3 \
     AND replay_id IS NULL ORDER BY seq";
pub(super) const ARCHIVE: &str = "SELECT seq, doc FROM archived_event WHERE archive_id = $1 AND seq > $2 AND seq < $3 \
     ORDER BY seq LIMIT $4";
pub(super) const FIRST: &str = "SELECT min(seq) FROM event WHERE seq >= $1";
pub(super) const FIRST_ARCHIVED: &str =
    "SELECT min(seq) FROM archived_event WHERE archive_id = $1 AND seq >= $2";

fn replay(row: &DbRow) -> Result<Replay> {
    let mut columns = Columns::of(row);
    Ok(Replay {
        id: columns.small("replay id").map(ReplayId)?,
        plan: from_json("replay", &columns.text()?)?,
        state: columns.replay_state()?,
        cursor: columns.event_id()?,
        looked_at: columns.small("count")?,
        replayed: columns.small("count")?,
        detail: columns.optional_text()?,
        owner: columns.optional_small("node id")?.map(NodeId),
        lease_until_ms: columns.integer()?,
        created_by: columns.text()?,
        created_at_ms: columns.integer()?,
        updated_at_ms: columns.integer()?,
        ended_at_ms: columns.take()?,
    })
}

/// Moves replays on, as a part of a commit; `false`: one of them is not where it is taken to be, or does not run any more,
/// so the commit must be undone.
pub(super) async fn advance(conn: &mut Conn, progress: &[ReplayProgress]) -> sqlx::Result<bool> {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    for step in progress {
        let done = sqlx::query::<Db>(ADVANCE)
            .bind(step.to.get())
            .bind(count(step.looked_at))
            .bind(count(step.replayed))
            .bind(i64::from(step.completed))
            .bind(step.at_ms)
            .bind(step.lease_until_ms)
            .bind(step.replay.0)
            .bind(step.from.get())
            .bind(i64::from(step.owner.0))
            .execute(&mut *conn)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// In one statement, so that a replay that completes meanwhile on another node stays completed.
async fn set_state(
    conn: &mut Conn,
    id: ReplayId,
    from: &[ReplayState],
    to: ReplayState,
    detail: Option<String>,
    now_ms: i64,
) -> Result<bool> {
    let from = in_list(from.iter().map(|state| state.number()));
    let done = sqlx::query::<Db>(AssertSqlSafe(format!("{SET_STATE} AND state IN {from}")))
        .bind(to.number())
        .bind(detail)
        .bind(now_ms)
        .bind(to.is_final().then_some(now_ms))
        .bind(id.0)
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() > 0 {
        return Ok(true);
    }
    let found = sqlx::query::<Db>("SELECT 1 FROM replay WHERE id = $1")
        .bind(id.0)
        .fetch_optional(conn)
        .await?;
    found.map(|_| false).ok_or(StoreError::NotFound("replay"))
}

/// Reads rows of `seq, doc` until there are too many bytes; `true`: all of them.
async fn take(
    conn: &mut Conn,
    query: Query<'_, Db, <Db as Database>::Arguments>,
    bytes_max: u64,
    page: &mut ReplayPage,
) -> Result<bool> {
    let mut rows = query.fetch(conn);
    let mut bytes: u64 = 0;
    while let Some(row) = rows.try_next().await? {
        let mut columns = Columns::of(&row);
        let id = columns.event_id()?;
        let event = columns
            .event()
            .map_err(|error| unreadable(&format!("event {id}"), error))?;
        bytes = bytes.saturating_add(u64::try_from(event.doc().len()).unwrap_or(u64::MAX));
        if bytes > bytes_max && !page.events.is_empty() {
            return Ok(false);
        }
        page.reached = id;
        page.events.push((id, event));
    }
    Ok(true)
}

async fn read(conn: &mut Conn, wanted: &ReplayRead<'_>) -> Result<ReplayPage> {
    let mut page = ReplayPage {
        events: Vec::new(),
        reached: wanted.after,
        ended: false,
    };
    let before = EventId::from_stored(wanted.before.get() - 1);
    let scan_max = wanted.scan_max.max(1);
    if let Some(ids) = wanted.events {
        let room = usize::try_from(scan_max).unwrap_or(usize::MAX);
        let rest = ids.partition_point(|id| *id <= wanted.after);
        let rest = ids.get(rest..).unwrap_or_default();
        let now = rest.get(..room.min(rest.len())).unwrap_or_default();
        let list = in_list(now.iter().map(|id| id.get()));
        let (table, column, owner) = match wanted.archive {
            Some(archive) => ("archived_event", "archive_id", archive.0),
            None => ("event", "bus_id", wanted.bus.0),
        };
        let sql = AssertSqlSafe(format!(
            "SELECT seq, doc FROM {table} WHERE {column} = {owner} AND seq IN {list} ORDER BY seq"
        ));
        let query = sqlx::query::<Db>(sql).persistent(false);
        if !now.is_empty() && !take(conn, query, wanted.bytes_max, &mut page).await? {
            return Ok(page);
        }
        page.reached = now.last().copied().unwrap_or(before).max(wanted.after);
        page.ended = now.len() == rest.len();
        return Ok(page);
    }
    let all = if let Some(archive) = wanted.archive {
        let query = sqlx::query::<Db>(ARCHIVE)
            .bind(archive.0)
            .bind(wanted.after.get())
            .bind(wanted.before.get())
            .bind(i64::from(scan_max));
        let all = take(conn, query, wanted.bytes_max, &mut page).await?;
        let full = page.events.len() >= usize::try_from(scan_max).unwrap_or(usize::MAX);
        page.ended = all && !full;
        all && !full
    } else {
        let end = sqlx::query::<Db>(HISTORY_END)
            .bind(wanted.after.get())
            .bind(wanted.before.get())
            .bind(i64::from(scan_max) - 1)
            .fetch_optional(&mut *conn)
            .await?;
        let end = end.map(|row| row.try_get::<i64, _>(0)).transpose()?;
        let query = sqlx::query::<Db>(HISTORY)
            .bind(wanted.after.get())
            .bind(end.unwrap_or_else(|| before.get()))
            .bind(wanted.bus.0);
        let all = take(conn, query, wanted.bytes_max, &mut page).await?;
        if let (true, Some(end)) = (all, end) {
            page.reached = EventId::from_stored(end);
        }
        page.ended = all && end.is_none();
        page.ended
    };
    if all {
        page.reached = before.max(wanted.after);
    }
    Ok(page)
}

#[async_trait]
impl Replays for Store {
    async fn add_replay(
        &self,
        replay: &NewReplay,
        audit: &[AuditEntry],
        answer: Option<ReplayAnswer>,
    ) -> Result<ReplayId> {
        let (replay, spec) = (replay.clone(), json_text(&replay.plan)?);
        let audit = audit.to_vec();
        self.write(move |conn| {
            Box::pin(async move {
                keys::add_audit(conn, &audit).await?;
                let row = sqlx::query::<Db>(ADD)
                    .bind(spec)
                    .bind(replay.cursor.get())
                    .bind(replay.created_by)
                    .bind(replay.at_ms)
                    .fetch_one(&mut *conn)
                    .await?;
                let id = Columns::of(&row).small("replay id").map(ReplayId)?;
                let answer = answer.map(|answer| answer(id)).transpose()?;
                keys::add_idempotency(conn, answer.as_ref()).await?;
                Ok(id)
            })
        })
        .await
    }

    async fn find_replay(&self, id: ReplayId) -> Result<Option<Replay>> {
        let mut reader = self.reader().await?;
        let row = sqlx::query::<Db>(AssertSqlSafe(format!("{COLUMNS} WHERE id = $1")))
            .bind(id.0)
            .fetch_optional(reader.conn()?)
            .await?;
        row.map(|row| replay(&row)).transpose()
    }

    async fn list_replays(&self, before: Option<ReplayId>, limit: u32) -> Result<Vec<Replay>> {
        let mut reader = self.reader().await?;
        let sql = format!("{COLUMNS} WHERE id < $1 ORDER BY id DESC LIMIT $2");
        let rows = sqlx::query::<Db>(AssertSqlSafe(sql))
            .bind(before.map_or(i64::MAX, |id| i64::from(id.0)))
            .bind(i64::from(limit))
            .fetch_all(reader.conn()?)
            .await?;
        rows.iter().map(replay).collect()
    }

    async fn running_replays(&self, limit: u32) -> Result<Vec<Replay>> {
        let mut reader = self.reader().await?;
        let sql = format!("{COLUMNS} WHERE state = 0 ORDER BY id LIMIT $1");
        let rows = sqlx::query::<Db>(AssertSqlSafe(sql))
            .bind(i64::from(limit))
            .fetch_all(reader.conn()?)
            .await?;
        rows.iter().map(replay).collect()
    }

    async fn set_replay_state(
        &self,
        id: ReplayId,
        from: &[ReplayState],
        to: ReplayState,
        detail: Option<&str>,
        now_ms: i64,
        audit: &[AuditEntry],
    ) -> Result<bool> {
        let (from, detail, audit) = (from.to_vec(), detail.map(str::to_owned), audit.to_vec());
        self.write(move |conn| {
            Box::pin(async move {
                let done = set_state(conn, id, &from, to, detail, now_ms).await?;
                if done {
                    keys::add_audit(conn, &audit).await?;
                }
                Ok(done)
            })
        })
        .await
    }

    async fn claim_replay(
        &self,
        id: ReplayId,
        owner: NodeId,
        now_ms: i64,
        lease_until_ms: i64,
    ) -> Result<bool> {
        self.write(move |conn| {
            Box::pin(async move {
                let done = sqlx::query::<Db>(CLAIM)
                    .bind(i64::from(owner.0))
                    .bind(lease_until_ms)
                    .bind(id.0)
                    .bind(now_ms)
                    .execute(conn)
                    .await?;
                Ok(done.rows_affected() > 0)
            })
        })
        .await
    }

    async fn purge_replays(&self, before_ms: i64, limit: u32) -> Result<u64> {
        self.write(move |conn| {
            Box::pin(async move {
                let done = sqlx::query::<Db>(PURGE)
                    .bind(before_ms)
                    .bind(i64::from(limit))
                    .execute(conn)
                    .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }

    async fn read_for_replay(&self, wanted: &ReplayRead<'_>) -> Result<ReplayPage> {
        read(self.reader().await?.conn()?, wanted).await
    }

    async fn first_for_replay(
        &self,
        archive: Option<ArchiveId>,
        from: EventId,
    ) -> Result<Option<EventId>> {
        let mut reader = self.reader().await?;
        let query = match archive {
            Some(archive) => sqlx::query::<Db>(FIRST_ARCHIVED)
                .bind(archive.0)
                .bind(from.get()),
            None => sqlx::query::<Db>(FIRST).bind(from.get()),
        };
        let row = query.fetch_one(reader.conn()?).await?;
        Columns::of(&row).optional_event_id()
    }
}
