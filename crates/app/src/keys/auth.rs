//! From the text of a key to an actor.
//!
//! Keys are held in memory; the configuration version, looked at once a second at most, tells when another process has
//! changed them. A change made by this process is in force at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use belfry_store::ApiKey;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{ID_PREFIX, TEXT_PREFIX, is_active};
use crate::App;
use crate::actor::Actor;
use crate::error::{Code, Error, Result};
use crate::rate::{Limiter, RateState};

/// How old the keys in memory may be.
const FRESH_MS: i64 = 1000;
/// A request does not wait longer for keys to be looked at: those in memory are used.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// No key is longer.
const TEXT_CHARS_MAX: usize = 200;

/// The keys in memory.
#[derive(Debug, Default)]
pub(crate) struct KeyRing {
    keys: ArcSwap<Keys>,
    looked_at_ms: AtomicI64,
    pub(crate) limiter: Limiter,
}

#[derive(Debug, Default)]
struct Keys {
    version: i64,
    by_id: HashMap<String, Arc<Known>>,
}

/// A key, and whoever shows it.
#[derive(Debug)]
struct Known {
    key: ApiKey,
    holder: Actor,
}

impl Known {
    fn new(key: ApiKey) -> Self {
        let holder = Actor {
            key_id: Arc::from(key.id.as_str()),
            name: Arc::from(key.name.as_str()),
            scopes: Arc::from(key.scopes.as_slice()),
            request_id: None,
        };
        Self { key, holder }
    }
}

/// Somebody who has shown a key that works.
#[derive(Debug, Clone)]
pub struct Authenticated {
    /// Who.
    pub actor: Actor,
    /// What is left of the key's requests, if they are limited.
    pub rate: Option<RateState>,
}

impl App {
    /// Tells who shows the key `text`, and counts the request.
    pub async fn authenticate(
        &self,
        text: &str,
        request_id: Option<&Arc<str>>,
    ) -> Result<Authenticated> {
        let known = self.known_key(text).await?;
        let key = &known.key;
        let rate = match key
            .requests_per_second
            .or(self.settings.requests_per_second)
        {
            None => None,
            Some(quota) => Some(
                self.key_ring
                    .limiter
                    .take(&key.id, quota, self.now_ms())
                    .map_err(|(rate, wait)| {
                        Error::new(
                            Code::RateLimited,
                            format!(
                                "this key may make {quota} requests per second; send more slowly"
                            ),
                        )
                        .retry_after(wait)
                        .with_rate(rate)
                    })?,
            ),
        };
        Ok(Authenticated {
            actor: Actor {
                request_id: request_id.cloned(),
                ..known.holder.clone()
            },
            rate,
        })
    }

    /// Whether the key of `actor` still works; for answers that go on for long.
    pub async fn is_still_valid(&self, actor: &Actor) -> bool {
        if self.look_at_keys().await.is_err() {
            // The database is away. What was allowed a moment ago stays allowed.
            return true;
        }
        let keys = self.key_ring.keys.load();
        keys.by_id
            .get(&*actor.key_id)
            .is_some_and(|known| is_active(&known.key, self.now_ms()))
    }

    async fn known_key(&self, text: &str) -> Result<Arc<Known>> {
        let unknown = || Error::new(Code::Unauthenticated, "this API key is not known");
        let id = text
            .strip_prefix(TEXT_PREFIX)
            .filter(|rest| rest.len() <= TEXT_CHARS_MAX)
            .and_then(|rest| rest.split_once('_'))
            .map(|(id, _)| format!("{ID_PREFIX}{id}"))
            .ok_or_else(|| {
                Error::new(
                    Code::Unauthenticated,
                    "expected an API key such as bfy_..._...",
                )
            })?;
        if let Err(error) = self.look_at_keys().await {
            tracing::warn!(%error, "the keys cannot be read; those in memory are used");
        }
        let keys = self.key_ring.keys.load();
        let known = keys.by_id.get(&id).ok_or_else(unknown)?;
        let key = &known.key;
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        if !bool::from(hash.ct_eq(&key.hash)) {
            return Err(unknown());
        }
        // Only to somebody who has shown the whole key is it said what became of it.
        if key.revoked_at_ms.is_some() {
            return Err(Error::new(Code::KeyRevoked, "this API key was revoked"));
        }
        if !is_active(key, self.now_ms()) {
            return Err(Error::new(Code::KeyExpired, "this API key has expired"));
        }
        Ok(Arc::clone(known))
    }

    /// Reads the keys again if they may have changed and nobody else is looking.
    async fn look_at_keys(&self) -> Result<()> {
        let now = self.now_ms();
        let last = self.key_ring.looked_at_ms.load(Ordering::Relaxed);
        let fresh = last != 0 && (now - last).abs() < FRESH_MS;
        let mine = || {
            self.key_ring
                .looked_at_ms
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        if fresh || !mine() {
            return Ok(());
        }
        let look = async {
            if self.store.config_version().await? != self.key_ring.keys.load().version {
                self.refresh_keys().await?;
            }
            Ok(())
        };
        tokio::time::timeout(LOOK_LIMIT, look)
            .await
            .unwrap_or_else(|_elapsed| {
                Err(Error::new(
                    Code::Unavailable,
                    "the database does not answer in time",
                ))
            })
    }

    /// Reads the keys.
    pub(crate) async fn refresh_keys(&self) -> Result<()> {
        // The version first: a change in between is then seen the next time.
        let version = self.store.config_version().await?;
        let by_id: HashMap<_, _> = self
            .store
            .list_keys()
            .await?
            .into_iter()
            .map(|key| (key.id.clone(), Arc::new(Known::new(key))))
            .collect();
        self.key_ring.limiter.retain(|id| by_id.contains_key(id));
        self.key_ring.keys.store(Arc::new(Keys { version, by_id }));
        Ok(())
    }
}
