//! Order by key: which of the waiting deliveries may go.
//!
//! Of the work with the same target and key only the first (smallest `seq`) has a due time of its own; the rest is blocked
//! ([`BLOCKED_MS`]). That is decided where work is added, and put right by `RELEASE` in the transaction that ends a
//! delivery. A claim takes the first of a key with those behind it; [`run`] says how many.

use std::collections::HashMap;

use belfry_model::{DeliveryId, EventId, NodeId, OrderKey, TargetId};
use sqlx::Row as _;

use super::rows::{Columns, DbRow};
use super::{Conn, Db};
use crate::{BLOCKED_MS, Claim, Pending, Release, Result};

/// The first of a key, if it is another one than the given.
pub(super) const PREDECESSOR: &str = "SELECT (SELECT min(q.seq) FROM pending q WHERE q.target_id = p.target_id \
     AND q.order_key = p.order_key AND q.seq < p.seq) FROM pending p WHERE p.seq = $1 AND p.target_id = $2";
/// Blocked work of a target in order, with whether nothing is before it. The number is [`BLOCKED_MS`].
pub(super) const BLOCKED: &str = "SELECT p.seq, p.order_key, CASE WHEN EXISTS (SELECT 1 FROM pending q \
     WHERE q.target_id = p.target_id AND q.order_key = p.order_key AND q.seq < p.seq) THEN CAST(0 AS BIGINT) ELSE CAST(1 AS BIGINT) END \
     FROM pending p WHERE p.target_id = $1 AND p.due_at_ms = 253402300799000 AND p.seq > $2 ORDER BY p.seq LIMIT $3";

/// Work of one key, as a claim sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) seq: i64,
    pub(super) due_at_ms: i64,
    /// Of the event.
    pub(super) bytes: i64,
    /// Who has it, if somebody has.
    pub(super) owner: Option<NodeId>,
}

/// What a claim may still take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) count: usize,
    pub(super) bytes: u64,
    /// Whether something was taken: the first item is taken however big.
    pub(super) any: bool,
}

impl Room {
    /// Takes an item of so many bytes, if there is room.
    pub(super) fn take(&mut self, bytes: u64) -> bool {
        if self.count == 0 || (self.any && bytes > self.bytes) {
            return false;
        }
        self.count -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        self.any = true;
        true
    }
}

/// The keys of which something is due, in the order in which they were found, and what of each was found due.
#[derive(Debug, Default)]
pub(super) struct DueKeys {
    pub(super) keys: Vec<i64>,
    due: HashMap<i64, Vec<i64>>,
}

impl DueKeys {
    pub(super) fn add(&mut self, key: OrderKey, seq: i64) {
        let due = self.due.entry(key.0).or_default();
        if due.is_empty() {
            self.keys.push(key.0);
        }
        due.push(seq);
    }

    /// How many rows of each key to look at, so that every key gets a share of the room.
    pub(super) fn run_max(&self, claim: &Claim, room: Room) -> i64 {
        let share = room.count / self.keys.len().max(1);
        i64::try_from(share.clamp(1, claim.run_max.max(1) as usize)).unwrap_or(1)
    }
}

/// What to do with the work of the keys of which something is due.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    /// To be claimed, key after key, each in order.
    pub(super) take: Vec<i64>,
    /// Due, but not its turn: to be blocked, or it would be found again and again.
    pub(super) block: Vec<i64>,
}

/// Decides over the keys of which something is due. `waiting` holds the first rows of each in order of `seq`.
///
/// A key's rows are taken from the first on while each is due or blocked: one that is held by somebody else, or waits for
/// its own time, ends the run. A blocked first row counts as free: nothing is before it.
pub(super) fn runs(
    due: &DueKeys,
    waiting: &HashMap<i64, Vec<Waiting>>,
    claim: &Claim,
    mut room: Room,
) -> Runs {
    let mut runs = Runs::default();
    for key in &due.keys {
        let Some(rows) = waiting.get(key) else {
            continue;
        };
        let free = |row: &&Waiting| {
            (row.due_at_ms <= claim.until_ms() || row.due_at_ms == BLOCKED_MS)
                && !claim.is_held(row.due_at_ms, row.owner)
        };
        let first = runs.take.len();
        for row in rows.iter().take_while(free) {
            if !room.take(u64::try_from(row.bytes).unwrap_or(0)) {
                break;
            }
            runs.take.push(row.seq);
        }
        let taken = runs.take.get(first..).unwrap_or_default();
        let head = rows.first().map(|row| row.seq);
        let found = due.due.get(key).into_iter().flatten();
        let stays = found.filter(|seq| !taken.contains(seq) && Some(**seq) != head);
        runs.block.extend(stays);
    }
    runs
}

/// Which of the work to be added waits behind other work that is added with it.
pub(super) fn behind_others<'p>(pending: impl Iterator<Item = &'p Pending> + Clone) -> Vec<bool> {
    let mut first: HashMap<(TargetId, OrderKey), EventId> = HashMap::new();
    for work in pending.clone() {
        if let Some(key) = work.order {
            let at = (work.delivery.target, key);
            let event = work.delivery.event;
            let least = first.entry(at).or_insert(event);
            *least = (*least).min(event);
        }
    }
    pending
        .map(|work| {
            let first = work
                .order
                .and_then(|key| first.get(&(work.delivery.target, key)));
            first.is_some_and(|first| *first < work.delivery.event)
        })
        .collect()
}

pub(super) async fn find_predecessor(
    conn: &mut Conn,
    id: DeliveryId,
) -> Result<Option<DeliveryId>> {
    let row: Option<DbRow> = sqlx::query::<Db>(PREDECESSOR)
        .bind(id.event.get())
        .bind(id.target.0)
        .fetch_optional(conn)
        .await?;
    let seq: Option<i64> = row.map(|row| row.try_get(0)).transpose()?.flatten();
    Ok(seq.map(|seq| DeliveryId {
        event: EventId::from_stored(seq),
        target: id.target,
    }))
}

/// Looks at up to `rows_max` blocked rows behind `after` (a target without any counts as one): those that wait behind nothing, and where to go on.
pub(super) async fn stuck(
    conn: &mut Conn,
    targets: &[TargetId],
    after: Option<DeliveryId>,
    rows_max: u32,
    now_ms: i64,
) -> Result<(Vec<Release>, Option<DeliveryId>)> {
    let (mut stuck, mut left) = (Vec::new(), rows_max);
    for target in targets {
        let from = match after {
            Some(after) if *target < after.target => continue,
            Some(after) if *target == after.target => after.event.get(),
            _ => -1,
        };
        let rows = sqlx::query::<Db>(BLOCKED)
            .bind(target.0)
            .bind(from)
            .bind(i64::from(left))
            .fetch_all(&mut *conn)
            .await?;
        let found = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let all = found < left;
        left = left.saturating_sub(found.max(1));
        let mut last = from;
        for row in &rows {
            let mut columns = Columns::of(row);
            last = columns.integer()?;
            let key = columns.optional_order_key()?;
            let free = columns.integer()? == 1;
            if let (Some(key), true) = (key, free) {
                stuck.push(Release {
                    target: *target,
                    key,
                    due_at_ms: now_ms,
                });
            }
        }
        if left == 0 && !(all && Some(target) == targets.last()) {
            let next = DeliveryId {
                event: EventId::from_stored(if all { i64::MAX } else { last }),
                target: *target,
            };
            return Ok((stuck, Some(next)));
        }
    }
    Ok((stuck, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::fixtures::claim;

    const NOW: i64 = 1000;

    fn waiting(rows: &[(i64, i64)]) -> HashMap<i64, Vec<Waiting>> {
        let row = |&(seq, due_at_ms): &(i64, i64)| Waiting {
            seq,
            due_at_ms,
            bytes: 10,
            owner: None,
        };
        HashMap::from([(7, rows.iter().map(row).collect())])
    }

    fn decide(rows: &[(i64, i64)], count: usize, bytes: u64) -> (Vec<i64>, Vec<i64>) {
        let mut due = DueKeys::default();
        for (seq, at) in rows {
            if *at <= NOW {
                due.add(OrderKey(7), *seq);
            }
        }
        let room = Room {
            count,
            bytes,
            any: false,
        };
        let runs = runs(&due, &waiting(rows), &claim(10, NOW), room);
        (runs.take, runs.block)
    }

    #[test]
    fn a_run_ends_before_what_is_held_or_has_a_time_of_its_own() {
        let rows = [(1, 5), (2, BLOCKED_MS), (3, 2000), (4, BLOCKED_MS)];
        assert_eq!(decide(&rows, 9, 99), (vec![1, 2], vec![]));
    }

    #[test]
    fn nothing_goes_past_a_first_one_that_waits_and_what_is_due_behind_it_is_blocked() {
        assert_eq!(
            decide(&[(1, 2000), (2, 5), (3, 6)], 9, 99),
            (vec![], vec![2, 3])
        );
    }

    #[test]
    fn a_blocked_first_one_is_free() {
        assert_eq!(
            decide(&[(1, BLOCKED_MS), (2, 5)], 9, 99),
            (vec![1, 2], vec![])
        );
    }

    #[test]
    fn what_has_no_room_waits_and_the_first_stays_due() {
        assert_eq!(
            decide(&[(1, 5), (2, 5), (3, 5)], 2, 99),
            (vec![1, 2], vec![3])
        );
        assert_eq!(
            decide(&[(1, 5), (2, 5), (3, 5)], 9, 15),
            (vec![1], vec![2, 3])
        );
        assert_eq!(decide(&[(1, 5), (2, 5)], 0, 99), (vec![], vec![2]));
        assert_eq!(
            decide(&[(1, 5), (2, 5)], 9, 1),
            (vec![1], vec![2]),
            "one, however big"
        );
    }
}
