//! The keys of the last minutes' events, by which repeats are recognised: a row for each commit, so that a start reads a
//! million of them in a moment.

use belfry_model::{BusId, EventId};
use bytes::{Buf as _, BufMut as _};

use super::Store;
use super::rows::Columns;
use crate::{EventKey, NewEvent, RecentKey, RecentKeys, Result};

pub(super) const NEWEST: &str =
    "SELECT seq, keys FROM recent WHERE seq > $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";
pub(super) const FORGET: &str = "DELETE FROM recent WHERE seq IN \
     (SELECT seq FROM recent WHERE seq < $1 ORDER BY seq LIMIT $2)";

/// An event's number, its bus and its key, in order.
const ENTRY: usize = 8 + 4 + size_of::<EventKey>();
/// The events of a commit are no further apart.
const COMMIT_MS: i64 = 60_000;

/// The row of a commit with these events; `None` when none of them has a key.
pub(super) fn packed(events: &[NewEvent]) -> Option<(EventId, Vec<u8>)> {
    let first = events.iter().find(|new| new.key.is_some())?.id;
    let mut keys = Vec::with_capacity(events.len() * ENTRY);
    for (new, key) in events.iter().filter_map(|new| Some((new, new.key?))) {
        keys.put_i64(new.id.get());
        keys.put_i32(new.bus.0);
        keys.put_slice(&key);
    }
    Some((first, keys))
}

fn unpacked(keys: &[u8]) -> impl Iterator<Item = RecentKey> {
    keys.chunks_exact(ENTRY).map(|mut entry| {
        let id = EventId::from_stored(entry.get_i64());
        let bus = BusId(entry.get_i32());
        let mut key = EventKey::default();
        entry.copy_to_slice(&mut key);
        RecentKey { id, bus, key }
    })
}

impl Store {
    pub(super) async fn newest_keys(
        &self,
        after: EventId,
        before: EventId,
        commits_max: u32,
    ) -> Result<RecentKeys> {
        // The row of an event a little after may begin a little before.
        let begin = EventId::first_at(after.time_ms() - COMMIT_MS);
        let mut reader = self.reader().await?;
        let rows = sqlx::query(NEWEST)
            .bind(begin.get())
            .bind(before.get())
            .bind(i64::from(commits_max.max(1)))
            .fetch_all(reader.conn()?)
            .await?;
        let mut page = RecentKeys::default();
        let full = rows.len() >= commits_max as usize;
        for row in &rows {
            let mut columns = Columns::of(row);
            let first = columns.event_id()?;
            let keys = columns.bytes()?;
            page.keys
                .extend(unpacked(&keys).filter(|key| key.id > after));
            page.next = full.then_some(first);
        }
        Ok(page)
    }

    pub(super) async fn forget_keys(&self, before: EventId, commits_max: u32) -> Result<u64> {
        self.write(move |conn| {
            Box::pin(async move {
                let gone = sqlx::query(FORGET)
                    .bind(before.get())
                    .bind(i64::from(commits_max.max(1)))
                    .execute(conn)
                    .await?;
                Ok(gone.rows_affected())
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::fixtures::events;

    #[test]
    fn keys_are_read_back_as_they_were_packed() {
        let mut new = events(&[(1, &[]), (2, &[]), (3, &[])]).events;
        new[1].key = Some([7; 16]);
        new[2].key = Some([9; 16]);
        let (first, keys) = packed(&new).unwrap();
        assert_eq!(first, new[1].id);
        let read: Vec<_> = unpacked(&keys).collect();
        let expected = [1, 2].map(|n: usize| RecentKey {
            id: new[n].id,
            bus: new[n].bus,
            key: new[n].key.unwrap(),
        });
        assert_eq!(read, expected);
        assert_eq!(packed(&new[..1]), None);
    }
}
