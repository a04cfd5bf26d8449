//! Conversations that wait for the next message.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::smtp::Session;

/// Messages over one connection.
const MESSAGES_MAX: u32 = 50;
/// How long a connection may wait.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Connections that wait at the same time.
const WAITING_MAX: usize = 4;

/// Conversations that wait for the next message, newest last.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<(Session, Instant)>>);

impl Pool {
    /// The conversation that has waited least. It may have been closed by the server meanwhile.
    pub(crate) fn take(&self) -> Option<Session> {
        let (session, since) = self.waiting().pop()?;
        (since.elapsed() < IDLE_MAX).then_some(session)
    }

    /// Keeps a conversation that is between two messages.
    pub(crate) fn give(self: &Arc<Self>, session: Session) {
        let mut waiting = self.waiting();
        if session.messages >= MESSAGES_MAX || waiting.len() >= WAITING_MAX {
            drop(waiting);
            tokio::spawn(session.quit());
            return;
        }
        waiting.push((session, Instant::now()));
        drop(waiting);
        // The pool goes with its target; its connections then close by themselves.
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(IDLE_MAX).await;
            let Some(pool) = pool.upgrade() else { return };
            for session in pool.too_old() {
                session.quit().await;
            }
        });
    }

    fn too_old(&self) -> Vec<Session> {
        self.waiting()
            .extract_if(.., |(_, since)| since.elapsed() >= IDLE_MAX)
            .map(|(session, _)| session)
            .collect()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<(Session, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
