//! Numbers under leases: who holds one, who takes over from whom, and what nodes say about receivers.
//!
//! Whoever raises an epoch has won: each statement that does names the epoch it has seen, so that of several one finds
//! its row. A commit names its epoch too, and by the row's lock it is either before the raise (then what follows sees all
//! of it) or after (then it writes nothing).

use std::collections::HashSet;

use async_trait::async_trait;
use belfry_model::{NodeId, TargetId};

use super::rows::{Columns, DbRow};
use super::{Conn, Store, dialect, event_log};
use crate::error::{unavailable, unreadable};
use crate::process;
use crate::{
    CircuitNote, Joined, Membership, NodeIdentity, NodeInfo, NodeState, Nodes, Recovered, Result,
};

const LIST: &str = "SELECT node_id, epoch, name, version, state, lease_until_ms, started_at_ms, watermark FROM node ORDER BY node_id";
const PROCESSES: &str = "SELECT node_id, process FROM node";
const TAKE: &str = "UPDATE node SET epoch = epoch + 1, state = $1, lease_until_ms = $2, name = $3, version = $4, started_at_ms = $5, \
     process = $6 WHERE node_id = $7 AND epoch = $8";
const MAKE: &str = "INSERT INTO node (node_id, watermark, epoch, state, lease_until_ms, name, version, started_at_ms, process) \
     VALUES ($1, $2, 1, $3, $4, $5, $6, $7, $8) ON CONFLICT (node_id) DO NOTHING";
const MOVE_WATERMARK: &str = "UPDATE node SET watermark = $1 WHERE node_id = $2 AND watermark < $1";
const RENEW: &str =
    "UPDATE node SET lease_until_ms = $1, state = $2 WHERE node_id = $3 AND epoch = $4";
const LEAVE: &str = "UPDATE node SET epoch = epoch + 1, lease_until_ms = 0, state = $1 WHERE node_id = $2 AND epoch = $3";
const TAKE_OVER: &str = "UPDATE node SET epoch = epoch + 1, lease_until_ms = 0, state = $1 \
     WHERE node_id = $2 AND epoch = $3 AND lease_until_ms <= $4";
const NOTE: &str = "INSERT INTO circuit (target_id, node_id, open_until_ms, paused_until_ms, failures, at_ms) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (target_id) DO UPDATE SET node_id = excluded.node_id, \
     open_until_ms = excluded.open_until_ms, paused_until_ms = excluded.paused_until_ms, \
     failures = excluded.failures, at_ms = excluded.at_ms";
const NOTES: &str =
    "SELECT target_id, node_id, open_until_ms, paused_until_ms, failures FROM circuit";

/// Takes a number that nobody holds, or that the last holder of this name has: when its lease has run out, or its process
/// has surely ended. Others whose lease has run out may only have lost sight of the database; they are left to a take-over.
/// `all`, where it is known, are the only holders that can still live, whatever the leases of the others say.
async fn join(
    conn: &mut Conn,
    who: &NodeIdentity,
    now_ms: i64,
    all: Option<&HashSet<NodeId>>,
) -> Result<Joined> {
    let now_ms = dialect::lease_clock(conn, now_ms).await?;
    let known = list(conn, now_ms).await?;
    // After the list: a process that was read with a later epoch than the one known is not taken for the earlier one's.
    let ended = ended(conn).await?;
    let mut free: Vec<&NodeInfo> = known
        .iter()
        .filter(|node| {
            !node.state.is_present()
                || (node.lease_left_ms <= 0 && node.name == who.name)
                || ended.contains(&node.member.node)
                || all.is_some_and(|all| !all.contains(&node.member.node))
        })
        .collect();
    // Its own first: then its work of before goes on at once.
    free.sort_by_key(|node| (node.name != who.name, node.member.node));
    for node in free {
        let taken = sqlx::query(TAKE)
            .bind(NodeState::Live.number())
            .bind(now_ms.saturating_add(who.lease_ms))
            .bind(&who.name)
            .bind(&who.version)
            .bind(now_ms)
            .bind(process::this())
            .bind(i64::from(node.member.node.0))
            .bind(node.member.epoch)
            .execute(&mut *conn)
            .await?
            .rows_affected();
        if taken == 0 {
            continue;
        }
        let member = Membership {
            epoch: node.member.epoch + 1,
            ..node.member
        };
        let recovered = if node.state.is_present() {
            event_log::recover(conn, member.node, now_ms).await?
        } else {
            skip_to_newest(conn, member.node).await?
        };
        return Ok(Joined { member, recovered });
    }
    for number in 0..=u8::MAX {
        if known.iter().any(|node| node.member.node.0 == number) {
            continue;
        }
        let made = sqlx::query(MAKE)
            .bind(i64::from(number))
            .bind(0_i64)
            .bind(NodeState::Live.number())
            .bind(now_ms.saturating_add(who.lease_ms))
            .bind(&who.name)
            .bind(&who.version)
            .bind(now_ms)
            .bind(process::this())
            .execute(&mut *conn)
            .await?
            .rows_affected();
        if made == 0 {
            continue;
        }
        let member = Membership {
            node: NodeId(number),
            epoch: 1,
        };
        let recovered = skip_to_newest(conn, member.node).await?;
        return Ok(Joined { member, recovered });
    }
    Err(unavailable(
        "all 256 node numbers are held; a number is free again when its node has left or was taken over",
    ))
}

/// The numbers whose holder's process has ended, as far as this machine can tell.
async fn ended(conn: &mut Conn) -> Result<HashSet<NodeId>> {
    let mut ended = HashSet::new();
    for row in &sqlx::query(PROCESSES).fetch_all(conn).await? {
        let mut columns = Columns::of(row);
        let node = NodeId(columns.small("node number")?);
        if process::has_ended(&columns.text()?) {
            ended.insert(node);
        }
    }
    Ok(ended)
}

/// Nothing of this number is unfinished: what others have written since need not be looked through.
async fn skip_to_newest(conn: &mut Conn, node: NodeId) -> Result<Recovered> {
    let newest = event_log::newest(conn).await?;
    if let Some(newest) = newest {
        sqlx::query(MOVE_WATERMARK)
            .bind(newest.get())
            .bind(i64::from(node.0))
            .execute(conn)
            .await?;
    }
    Ok(Recovered {
        newest,
        ..Recovered::default()
    })
}

async fn renew(
    conn: &mut Conn,
    member: Membership,
    leaving: bool,
    lease_ms: i64,
    now_ms: i64,
) -> Result<bool> {
    let now_ms = dialect::lease_clock(conn, now_ms).await?;
    let state = if leaving {
        NodeState::Leaving
    } else {
        NodeState::Live
    };
    let done = sqlx::query(RENEW)
        .bind(now_ms.saturating_add(lease_ms))
        .bind(state.number())
        .bind(i64::from(member.node.0))
        .bind(member.epoch)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

async fn leave(conn: &mut Conn, member: Membership, now_ms: i64) -> Result<Option<Recovered>> {
    let done = sqlx::query(LEAVE)
        .bind(NodeState::Left.number())
        .bind(i64::from(member.node.0))
        .bind(member.epoch)
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    event_log::recover(conn, member.node, now_ms)
        .await
        .map(Some)
}

async fn take_over(conn: &mut Conn, dead: Membership, now_ms: i64) -> Result<Option<Recovered>> {
    let lease_now_ms = dialect::lease_clock(conn, now_ms).await?;
    let done = sqlx::query(TAKE_OVER)
        .bind(NodeState::Dead.number())
        .bind(i64::from(dead.node.0))
        .bind(dead.epoch)
        .bind(lease_now_ms)
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    event_log::recover(conn, dead.node, now_ms).await.map(Some)
}

/// All numbers; `now_ms` is the leases' clock.
async fn list(conn: &mut Conn, now_ms: i64) -> Result<Vec<NodeInfo>> {
    let rows = sqlx::query(LIST).fetch_all(conn).await?;
    rows.iter().map(|row| info(row, now_ms)).collect()
}

async fn list_nodes(conn: &mut Conn, now_ms: i64) -> Result<Vec<NodeInfo>> {
    let now_ms = dialect::lease_clock(conn, now_ms).await?;
    list(conn, now_ms).await
}

fn info(row: &DbRow, now_ms: i64) -> Result<NodeInfo> {
    let mut columns = Columns::of(row);
    Ok(NodeInfo {
        member: Membership {
            node: NodeId(columns.small("node number")?),
            epoch: columns.integer()?,
        },
        name: columns.text()?,
        version: columns.text()?,
        state: NodeState::from_number(columns.integer()?)
            .ok_or_else(|| unreadable("state of a node", "not known"))?,
        lease_left_ms: columns.integer()?.saturating_sub(now_ms),
        started_at_ms: columns.integer()?,
        watermark: columns.event_id()?,
    })
}

async fn note_circuits(
    conn: &mut Conn,
    notes: &[CircuitNote],
    closed: &[TargetId],
    now_ms: i64,
) -> Result<()> {
    for note in notes {
        sqlx::query(NOTE)
            .bind(note.target.0)
            .bind(i64::from(note.node.0))
            .bind(note.open_until_ms)
            .bind(note.paused_until_ms)
            .bind(i64::from(note.failures))
            .bind(now_ms)
            .execute(&mut *conn)
            .await?;
    }
    for target in closed {
        sqlx::query("DELETE FROM circuit WHERE target_id = $1")
            .bind(target.0)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

async fn list_circuits(conn: &mut Conn) -> Result<Vec<CircuitNote>> {
    let rows = sqlx::query(NOTES).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok(CircuitNote {
                target: columns.target_id()?,
                node: NodeId(columns.small("node number")?),
                open_until_ms: columns.integer()?,
                paused_until_ms: columns.integer()?,
                failures: columns.small("number of failures")?,
            })
        })
        .collect()
}

#[async_trait]
impl Nodes for Store {
    async fn join(&self, who: &NodeIdentity, now_ms: i64) -> Result<Joined> {
        let (who, all) = (who.clone(), self.holders());
        let joined = self
            .write(move |conn| {
                Box::pin(async move { join(conn, &who, now_ms, all.as_ref()).await })
            })
            .await?;
        self.add_holder(joined.member.node);
        Ok(joined)
    }

    async fn renew(
        &self,
        member: Membership,
        leaving: bool,
        lease_ms: i64,
        now_ms: i64,
    ) -> Result<bool> {
        self.write(move |conn| Box::pin(renew(conn, member, leaving, lease_ms, now_ms)))
            .await
    }

    async fn leave(&self, member: Membership, now_ms: i64) -> Result<Option<Recovered>> {
        self.write(move |conn| Box::pin(leave(conn, member, now_ms)))
            .await
    }

    async fn list_nodes(&self, now_ms: i64) -> Result<Vec<NodeInfo>> {
        list_nodes(self.reader().await?.conn()?, now_ms).await
    }

    async fn take_over(&self, dead: Membership, now_ms: i64) -> Result<Option<Recovered>> {
        self.write(move |conn| Box::pin(take_over(conn, dead, now_ms)))
            .await
    }

    async fn note_circuits(
        &self,
        notes: &[CircuitNote],
        closed: &[TargetId],
        now_ms: i64,
    ) -> Result<()> {
        if notes.is_empty() && closed.is_empty() {
            return Ok(());
        }
        let (notes, closed) = (notes.to_vec(), closed.to_vec());
        self.write(move |conn| {
            Box::pin(async move { note_circuits(conn, &notes, &closed, now_ms).await })
        })
        .await
    }

    async fn list_circuits(&self) -> Result<Vec<CircuitNote>> {
        list_circuits(self.reader().await?.conn()?).await
    }
}
