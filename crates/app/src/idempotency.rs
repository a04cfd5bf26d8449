//! `Idempotency-Key`: the same request sent twice is done once and answered twice.
//!
//! A key is scoped to credential, method and path; what it was used for is told by a hash of content type and body.
//! The answer is recorded in the same transaction as the effect, sealed, because it may hold a new secret.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use belfry_engine::IdempotencyKey;
use belfry_store::IdempotencyRecord;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::App;
use crate::actor::Actor;
use crate::error::{Error, Result, in_progress, mismatch};
use crate::random;
use crate::secrets::Sealer;

/// An answer, and whether it was given before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answered<T> {
    /// The answer.
    pub value: T,
    /// Whether it is the recorded answer to an earlier request with the same `Idempotency-Key`.
    pub replayed: bool,
}

impl<T> Answered<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value,
            replayed: false,
        }
    }
}

/// Hashes a request's `Idempotency-Key` in its scope, and what the request says.
pub fn idempotency_key(
    actor: &Actor,
    method: &str,
    path: &str,
    key: &str,
    content_type: &[u8],
    body: &[u8],
) -> IdempotencyKey {
    let scope = hash(&[
        actor.key_id.as_bytes(),
        method.as_bytes(),
        path.as_bytes(),
        key.as_bytes(),
    ]);
    IdempotencyKey {
        scope,
        fingerprint: hash(&[content_type, body]),
    }
}

/// An event id that is the same whenever the request is sent again with its `Idempotency-Key`.
pub fn derived_event_id(key: &IdempotencyKey, index: usize) -> String {
    let hash = hash(&[b"event", &key.scope, &index.to_be_bytes()]);
    format!("idk-{}", random::text(hash.get(..20).unwrap_or_default()))
}

/// Each part is preceded by its length, so that no two lists of parts read alike.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Requests with a key that are under way in this process.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<HashSet<[u8; 32]>>);

/// Ends a request's entry, however the request ends.
pub(crate) struct Guard<'a>(&'a UnderWay, [u8; 32]);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.1);
    }
}

impl UnderWay {
    fn enter(&self, scope: [u8; 32]) -> Result<Guard<'_>> {
        if self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(scope)
        {
            Ok(Guard(self, scope))
        } else {
            Err(in_progress())
        }
    }
}

impl App {
    /// Marks a request as under way; a second one with the same key is refused meanwhile.
    pub(crate) fn enter(&self, key: Option<&IdempotencyKey>) -> Result<Option<Guard<'_>>> {
        key.map(|key| self.under_way.enter(key.scope)).transpose()
    }

    /// The answer that was given before.
    pub(crate) async fn replay<T: DeserializeOwned>(
        &self,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<T>> {
        let Some(key) = key else { return Ok(None) };
        let Some(found) = self.store.find_idempotency(&key.scope).await? else {
            return Ok(None);
        };
        if found.fingerprint != key.fingerprint {
            return Err(mismatch());
        }
        let sealed = String::from_utf8(found.answer).map_err(Error::internal)?;
        let clear = self
            .sealer
            .open(&place(key), &sealed)
            .map_err(Error::internal)?;
        serde_json::from_slice(&clear)
            .map(Some)
            .map_err(Error::internal)
    }

    /// The record to be written with the effect.
    pub(crate) fn record<T: Serialize>(
        &self,
        key: Option<&IdempotencyKey>,
        answer: &T,
    ) -> Result<Option<IdempotencyRecord>> {
        key.map(|key| sealed(&self.sealer, key, answer, self.now_ms()))
            .transpose()
    }
}

/// The record of an answer.
pub(crate) fn sealed<T: Serialize>(
    sealer: &Sealer,
    key: &IdempotencyKey,
    answer: &T,
    at_ms: i64,
) -> Result<IdempotencyRecord> {
    let clear = serde_json::to_vec(answer).map_err(Error::internal)?;
    let answer = sealer.seal(&place(key), &clear).map_err(Error::internal)?;
    Ok(IdempotencyRecord {
        scope: key.scope,
        fingerprint: key.fingerprint,
        at_ms,
        answer: answer.into_bytes(),
    })
}

fn place(key: &IdempotencyKey) -> String {
    format!("idempotency/{}", hex::encode(key.scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_and_fingerprint_tell_requests_apart() {
        let actor = Actor::local("k");
        let key = |path: &str, key: &str, body: &[u8]| {
            idempotency_key(&actor, "POST", path, key, b"application/json", body)
        };
        assert_eq!(key("/a", "k", b"x"), key("/a", "k", b"x"));
        assert_ne!(key("/a", "k", b"x").scope, key("/b", "k", b"x").scope);
        assert_ne!(key("/a", "bk", b"x").scope, key("/ab", "k", b"x").scope);
        assert_eq!(key("/a", "k", b"x").scope, key("/a", "k", b"y").scope);
        assert_ne!(
            key("/a", "k", b"x").fingerprint,
            key("/a", "k", b"y").fingerprint
        );
        assert_eq!(
            derived_event_id(&key("/a", "k", b"x"), 0),
            derived_event_id(&key("/a", "k", b"y"), 0)
        );
        assert_ne!(
            derived_event_id(&key("/a", "k", b"x"), 0),
            derived_event_id(&key("/a", "k", b"x"), 1)
        );
    }

    #[test]
    fn a_second_request_is_refused_while_the_first_runs() {
        let under_way = UnderWay::default();
        let guard = under_way.enter([1; 32]).unwrap();
        assert!(under_way.enter([1; 32]).is_err());
        assert!(under_way.enter([2; 32]).is_ok());
        drop(guard);
        assert!(under_way.enter([1; 32]).is_ok());
    }
}
