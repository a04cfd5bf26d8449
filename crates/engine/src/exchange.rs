//! What nodes tell each other about receivers: which circuits are open, who has asked for a pause.
//!
//! A node says what its own lanes have found out, and heeds what others say. When one has got through, it takes back
//! what was said about the target, whoever said it, and the others close their circuits too.

use std::collections::HashMap;
use std::sync::Arc;

use belfry_model::TargetId;
use belfry_store::{CircuitNote, StoreError};

use crate::shared::Shared;

/// A note whose times have passed so long ago is of no use; its node has died, or has nothing to send.
const STALE_MS: i64 = 300_000;

/// What this node has said.
#[derive(Default)]
pub(crate) struct Exchange {
    said: HashMap<TargetId, CircuitNote>,
}

impl Exchange {
    /// Says what is new, then heeds what others say.
    pub(crate) async fn turn(&mut self, shared: &Arc<Shared>) -> Result<(), StoreError> {
        if !shared.lease.has_others() && self.said.is_empty() {
            return Ok(());
        }
        let now_ms = shared.clock.now_ms();
        let me = shared.lease.member.node;
        let lanes = shared.lanes();
        let say: HashMap<TargetId, CircuitNote> = lanes
            .iter()
            .filter_map(|lane| lane.note(me, now_ms))
            .map(|note| (note.target, note))
            .collect();
        let news: Vec<CircuitNote> = say
            .values()
            .filter(|note| self.said.get(&note.target) != Some(note))
            .copied()
            .collect();
        // A pause that has passed is not taken back: the note may be another's by now.
        let closed: Vec<TargetId> = self
            .said
            .values()
            .filter(|note| note.open_until_ms != 0 && !say.contains_key(&note.target))
            .map(|note| note.target)
            .collect();
        if !news.is_empty() || !closed.is_empty() {
            shared.store.note_circuits(&news, &closed, now_ms).await?;
        }
        self.said = say;
        self.heed(shared, now_ms).await
    }

    async fn heed(&mut self, shared: &Arc<Shared>, now_ms: i64) -> Result<(), StoreError> {
        let me = shared.lease.member.node;
        let heard = shared.store.list_circuits().await?;
        let stale: Vec<TargetId> = heard
            .iter()
            .filter(|note| note.open_until_ms.max(note.paused_until_ms) < now_ms - STALE_MS)
            .map(|note| note.target)
            .collect();
        if !stale.is_empty() {
            shared.store.note_circuits(&[], &stale, now_ms).await?;
        }
        let heard: HashMap<TargetId, CircuitNote> =
            heard.into_iter().map(|note| (note.target, note)).collect();
        for lane in shared.lanes() {
            let note = heard.get(&lane.target);
            lane.heed(note.filter(|note| note.node != me).copied());
            if note.is_none()
                && self
                    .said
                    .remove(&lane.target)
                    .is_some_and(|said| said.open_until_ms != 0)
            {
                lane.closed_elsewhere();
            }
        }
        Ok(())
    }
}
