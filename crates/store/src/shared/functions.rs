//! Functions: their code, what was run, what is to be run.

use async_trait::async_trait;
use belfry_model::{DeliveryId, FunctionName, NodeId, TargetId};
use sqlx::{AssertSqlSafe, QueryBuilder};
use uuid::Uuid;

use super::dialect::{DUE_CALLS, push_text_holds};
use super::rows::{Columns, DbRow};
use super::walk::{Key, Rows, Span, deadline, walk};
use super::{Conn, Db, Store, batch};
use crate::{
    CallBacklog, CallClaim, CallRetry, ClaimedCall, CodeInfo, EndedAs, Functions, InvocationQuery,
    LISTED_RECORD_BYTES_MAX, LeftBehind, NewCall, NewInvocation, Page, Result, SUCCEEDED,
};

const PUT_CODE: &str = "INSERT INTO function_code (sha256, created_at_ms, bytes) VALUES ($1, $2, $3) \
     ON CONFLICT (sha256) DO UPDATE SET created_at_ms = excluded.created_at_ms";
pub(super) const READ_CODE: &str = "SELECT bytes FROM function_code WHERE sha256 = $1";
const LIST_CODES: &str = "SELECT sha256, CAST(length(bytes) AS BIGINT), created_at_ms FROM function_code ORDER BY sha256";
const DELETE_CODE: &str = "DELETE FROM function_code WHERE sha256 = $1 AND created_at_ms < $2";

/// The columns of an invocation, in the order in which all statements have them.
pub(super) const COLUMNS: &str = "id, function, version, seq, target_id, started_at_ms, duration_us, outcome, node_id, \
     record, log";
/// What becomes of an invocation that is there already: one that has ended does not run again.
pub(super) const REPLACE: &str = "ON CONFLICT (id) DO UPDATE SET function = excluded.function, version = excluded.version, \
     seq = excluded.seq, target_id = excluded.target_id, started_at_ms = excluded.started_at_ms, \
     duration_us = excluded.duration_us, outcome = excluded.outcome, node_id = excluded.node_id, record = excluded.record, \
     log = excluded.log WHERE invocation.outcome IS NULL OR excluded.outcome IS NOT NULL";
pub(super) const PURGE: &str = "DELETE FROM invocation WHERE id IN (SELECT id FROM invocation WHERE id < $1 ORDER BY id LIMIT $2)";
pub(super) const LOSE: &str =
    "UPDATE invocation SET outcome = $1 WHERE outcome IS NULL AND id < $2 AND node_id = $3";

const PUT_CALL: &str = "INSERT INTO function_call (id, function, qualifier, caller, created_at_ms, due_at_ms, event, attempts, \
     failures) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0)";
const LEASE_CALL: &str = "UPDATE function_call SET due_at_ms = $1, owner = $2 WHERE id = $3";
const DELETE_CALL: &str = "DELETE FROM function_call WHERE id = $1";
const RETRY_CALL: &str = "UPDATE function_call SET due_at_ms = $1, attempts = $2, failures = $3, owner = NULL \
     WHERE id = $4 AND due_at_ms = $5";
pub(super) const FREE_CALLS: &str =
    "UPDATE function_call SET due_at_ms = $1, owner = NULL WHERE owner = $2";
const BACKLOG: &str = "SELECT count(*), min(due_at_ms) FROM function_call";

pub(super) fn find_of_id() -> String {
    format!("SELECT {COLUMNS} FROM invocation WHERE id = $1")
}

/// The id that all ids of this time and later follow.
fn first_at(ms: i64) -> Uuid {
    Uuid::from_u128(u128::from(u64::try_from(ms).unwrap_or(0)) << 80)
}

/// A walk goes by pairs of numbers, which here have the order of the ids.
fn key_of(id: Uuid) -> Key {
    let (high, low) = id.as_u64_pair();
    let signed = |half: u64| (half ^ (1 << 63)).cast_signed();
    (signed(high), signed(low))
}

fn id_of((high, low): Key) -> Uuid {
    let unsigned = |half: i64| half.cast_unsigned() ^ (1 << 63);
    Uuid::from_u64_pair(unsigned(high), unsigned(low))
}

fn bytes(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

impl Columns<'_> {
    fn uuid(&mut self) -> Result<Uuid> {
        self.array("request id").map(Uuid::from_bytes)
    }
}

/// A row of [`COLUMNS`].
fn invocation(row: &DbRow) -> Result<NewInvocation> {
    let mut columns = Columns::of(row);
    Ok(NewInvocation {
        request_id: columns.uuid()?,
        function: columns.parsed("name of a function")?,
        version: columns.optional_text()?,
        delivery: {
            let event = columns.optional_event_id()?;
            let target = columns.optional_small("target id")?;
            event.zip(target).map(|(event, target)| DeliveryId {
                event,
                target: TargetId(target),
            })
        },
        started_at_ms: columns.integer()?,
        duration_us: columns.small("duration")?,
        outcome: columns.optional_text()?,
        node: NodeId(columns.small("node id")?),
        record: columns.text()?,
        log: columns.text()?,
    })
}

pub(super) struct Invocations<'q>(pub(super) &'q InvocationQuery);

impl Invocations<'_> {
    /// What an index answers, and nothing else: the walk counts what it looks at.
    fn push_span(&self, sql: &mut QueryBuilder<Db>, span: Span) {
        sql.push("i.id >= ")
            .push_bind(bytes(id_of(span.low)))
            .push(" AND i.id < ")
            .push_bind(bytes(id_of(span.high)));
        if let Some(delivery) = self.0.delivery {
            sql.push(" AND i.seq = ")
                .push_bind(delivery.event.get())
                .push(" AND i.target_id = ")
                .push_bind(i64::from(delivery.target.0));
        } else if let Some(function) = &self.0.function {
            sql.push(" AND i.function = ")
                .push_bind(function.to_string());
        } else {
            self.push_ended(sql);
        }
    }

    /// Said in so many words, so that its own index is used.
    fn push_ended(&self, sql: &mut QueryBuilder<Db>) {
        match &self.0.ended {
            None => {}
            Some(EndedAs::Running) => {
                sql.push(" AND i.outcome IS NULL");
            }
            Some(EndedAs::Word(word)) if word == SUCCEEDED => {}
            Some(EndedAs::Failed | EndedAs::Word(_)) => {
                sql.push(" AND i.outcome <> 'succeeded'");
            }
        }
    }
}

impl Rows for Invocations<'_> {
    type Item = NewInvocation;

    fn all_qualify(&self) -> bool {
        let query = self.0;
        let by_one = query.delivery.is_some() || query.function.is_some();
        query.text.is_none()
            && (query.delivery.is_none() || query.function.is_none())
            && match &query.ended {
                None => true,
                Some(EndedAs::Word(_)) => false,
                Some(EndedAs::Failed | EndedAs::Running) => !by_one,
            }
    }

    fn nth(&self, span: Span, skip: u32) -> QueryBuilder<Db> {
        let mut sql = QueryBuilder::new("SELECT i.id FROM invocation i WHERE ");
        self.push_span(&mut sql, span);
        sql.push(" ORDER BY i.id DESC LIMIT 1 OFFSET ")
            .push_bind(i64::from(skip));
        sql
    }

    fn newest(&self, span: Span, limit: u32) -> QueryBuilder<Db> {
        let query = self.0;
        let listed = COLUMNS.replace(
            "record, log",
            &format!("CASE WHEN octet_length(record) <= {LISTED_RECORD_BYTES_MAX} THEN record ELSE '' END, ''"),
        );
        let mut sql = QueryBuilder::new(format!("SELECT {listed} FROM invocation i WHERE "));
        self.push_span(&mut sql, span);
        if query.delivery.is_some() || query.function.is_some() {
            self.push_ended(&mut sql);
        }
        if let (Some(_), Some(function)) = (query.delivery, &query.function) {
            // No plain column: the walk goes by the delivery.
            sql.push(" AND i.function || '' = ")
                .push_bind(function.to_string());
        }
        if let Some(EndedAs::Word(word)) = &query.ended {
            sql.push(" AND i.outcome = ").push_bind(word.clone());
        }
        if let Some(text) = &query.text {
            sql.push(" AND (");
            push_text_holds(&mut sql, "i.record", text);
            sql.push(" OR ");
            push_text_holds(&mut sql, "i.log", text);
            sql.push(")");
        }
        sql.push(" ORDER BY i.id DESC LIMIT ")
            .push_bind(i64::from(limit));
        sql
    }

    fn read(&self, row: &DbRow) -> Result<NewInvocation> {
        invocation(row)
    }

    fn key(item: &NewInvocation) -> Key {
        key_of(item.request_id)
    }

    fn read_key(&self, row: &DbRow) -> Result<Key> {
        Columns::of(row).uuid().map(key_of)
    }
}

/// The ids that a list's times and cursor leave.
fn span(query: &InvocationQuery) -> Span {
    let until = query.until_ms.map_or(Uuid::max(), first_at);
    let before = query.before.unwrap_or(Uuid::max());
    Span {
        low: key_of(query.since_ms.map_or(Uuid::nil(), first_at)),
        high: key_of(until.min(before)),
    }
}

/// A row of [`DUE_CALLS`].
fn call(row: &DbRow, claim: CallClaim) -> Result<ClaimedCall> {
    let mut columns = Columns::of(row);
    let call = NewCall {
        id: columns.uuid()?,
        function: columns.parsed::<FunctionName>("name of a function")?,
        qualifier: columns.text()?,
        caller: columns.text()?,
        created_at_ms: columns.integer()?,
        due_at_ms: claim.lease_until_ms,
        event: columns.text()?,
    };
    Ok(ClaimedCall {
        call,
        attempts: columns.small("number of attempts")?,
        failures: columns.small("number of failures")?,
    })
}

async fn claim_calls(conn: &mut Conn, claim: CallClaim) -> Result<Vec<ClaimedCall>> {
    let rows = sqlx::query::<Db>(DUE_CALLS)
        .bind(claim.now_ms)
        .bind(i64::from(claim.limit))
        .fetch_all(&mut *conn)
        .await?;
    let mut taken = Vec::with_capacity(rows.len());
    for row in &rows {
        // One that cannot be read is set aside for the length of a lease, and keeps back no other.
        match call(row, claim) {
            Ok(call) => taken.push(call),
            Err(error) => tracing::error!(%error, "a call of a function cannot be read"),
        }
        let id = Columns::of(row).bytes()?;
        sqlx::query::<Db>(LEASE_CALL)
            .bind(claim.lease_until_ms)
            .bind(i64::from(claim.owner.0))
            .bind(id)
            .execute(&mut *conn)
            .await?;
    }
    Ok(taken)
}

#[async_trait]
impl Functions for Store {
    async fn put_code(&self, sha256: &[u8; 32], bytes: &[u8], now_ms: i64) -> Result<()> {
        let (sha256, bytes) = (sha256.to_vec(), bytes.to_vec());
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query::<Db>(PUT_CODE)
                    .bind(sha256)
                    .bind(now_ms)
                    .bind(bytes)
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    async fn read_code(&self, sha256: &[u8; 32]) -> Result<Option<Vec<u8>>> {
        let mut reader = self.reader().await?;
        let row = sqlx::query::<Db>(READ_CODE)
            .bind(sha256.as_slice())
            .fetch_optional(reader.conn()?)
            .await?;
        row.map(|row| Columns::of(&row).bytes()).transpose()
    }

    async fn list_codes(&self) -> Result<Vec<CodeInfo>> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query::<Db>(LIST_CODES)
            .fetch_all(reader.conn()?)
            .await?;
        let info = |row| {
            let mut columns = Columns::of(row);
            Ok(CodeInfo {
                sha256: columns.array("digest")?,
                bytes: columns.small("size")?,
                at_ms: columns.integer()?,
            })
        };
        rows.iter().map(info).collect()
    }

    async fn delete_codes(&self, sha256s: &[[u8; 32]], before_ms: i64) -> Result<u64> {
        let sha256s = sha256s.to_vec();
        self.write(move |conn| {
            Box::pin(async move {
                let mut removed = 0;
                for sha256 in sha256s {
                    removed += sqlx::query::<Db>(DELETE_CODE)
                        .bind(sha256.to_vec())
                        .bind(before_ms)
                        .execute(&mut *conn)
                        .await?
                        .rows_affected();
                }
                Ok(removed)
            })
        })
        .await
    }

    async fn put_invocations(&self, invocations: &[NewInvocation]) -> Result<()> {
        let invocations = invocations.to_vec();
        self.write(move |conn| {
            Box::pin(async move { batch::put_invocations(conn, &invocations).await })
        })
        .await
    }

    async fn find_invocation(&self, request_id: Uuid) -> Result<Option<NewInvocation>> {
        let mut reader = self.reader().await?;
        let row = sqlx::query::<Db>(AssertSqlSafe(find_of_id()))
            .bind(bytes(request_id))
            .fetch_optional(reader.conn()?)
            .await?;
        row.map(|row| invocation(&row)).transpose()
    }

    async fn list_invocations(&self, query: &InvocationQuery) -> Result<Page<NewInvocation, Uuid>> {
        let mut reader = self.reader().await?;
        let walked = walk(
            reader.conn()?,
            &Invocations(query),
            span(query),
            query.limit,
            query.scan_max,
            deadline(),
        )
        .await?;
        Ok(Page {
            items: walked.items,
            next: walked.reached.map(id_of),
        })
    }

    async fn purge_invocations(&self, before_ms: i64, invocations_max: u32) -> Result<u64> {
        self.write(move |conn| {
            Box::pin(async move {
                let purged = sqlx::query::<Db>(PURGE)
                    .bind(bytes(first_at(before_ms)))
                    .bind(i64::from(invocations_max.max(1)))
                    .execute(conn)
                    .await?;
                Ok(purged.rows_affected())
            })
        })
        .await
    }

    async fn free_functions(&self, node: NodeId, lost: &str, now_ms: i64) -> Result<LeftBehind> {
        let lost = lost.to_owned();
        self.write(move |conn| {
            Box::pin(async move {
                let lost = sqlx::query::<Db>(LOSE)
                    .bind(lost)
                    .bind(bytes(first_at(now_ms)))
                    .bind(i64::from(node.0))
                    .execute(&mut *conn)
                    .await?
                    .rows_affected();
                let freed = sqlx::query::<Db>(FREE_CALLS)
                    .bind(now_ms)
                    .bind(i64::from(node.0))
                    .execute(conn)
                    .await?
                    .rows_affected();
                Ok(LeftBehind { lost, freed })
            })
        })
        .await
    }

    async fn put_call(&self, call: &NewCall) -> Result<()> {
        let call = call.clone();
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query::<Db>(PUT_CALL)
                    .bind(bytes(call.id))
                    .bind(call.function.to_string())
                    .bind(call.qualifier)
                    .bind(call.caller)
                    .bind(call.created_at_ms)
                    .bind(call.due_at_ms)
                    .bind(call.event)
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    async fn claim_calls(&self, claim: &CallClaim) -> Result<Vec<ClaimedCall>> {
        let claim = *claim;
        self.write(move |conn| Box::pin(claim_calls(conn, claim)))
            .await
    }

    async fn finish_call(&self, id: Uuid, invocation: &NewInvocation) -> Result<()> {
        let invocation = invocation.clone();
        self.write(move |conn| {
            Box::pin(async move {
                batch::put_invocations(&mut *conn, &[invocation]).await?;
                sqlx::query::<Db>(DELETE_CALL)
                    .bind(bytes(id))
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    async fn retry_call(
        &self,
        retry: &CallRetry,
        invocation: Option<&NewInvocation>,
    ) -> Result<()> {
        let (retry, invocation) = (*retry, invocation.cloned());
        self.write(move |conn| {
            Box::pin(async move {
                batch::put_invocations(&mut *conn, invocation.as_slice()).await?;
                sqlx::query::<Db>(RETRY_CALL)
                    .bind(retry.due_at_ms)
                    .bind(i64::from(retry.attempts))
                    .bind(i64::from(retry.failures))
                    .bind(bytes(retry.id))
                    .bind(retry.lease_until_ms)
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    async fn call_backlog(&self) -> Result<CallBacklog> {
        let mut reader = self.reader().await?;
        let row = sqlx::query::<Db>(BACKLOG).fetch_one(reader.conn()?).await?;
        let mut columns = Columns::of(&row);
        Ok(CallBacklog {
            count: columns.small("count")?,
            next_due_ms: columns.take()?,
        })
    }
}
