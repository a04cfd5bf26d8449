//! API keys: who may do what.
//!
//! A key's text is `bfy_ID_SECRET`. The id finds it, so no secret is ever looked up; of the text only the SHA-256 is
//! kept, which is enough for 256 random bits. A key ends by time or by revocation, and never comes back.

mod auth;
mod view;

use belfry_engine::IdempotencyKey;
use belfry_model::access::Scope;
use belfry_store::{ApiKey, IdempotencyRecord, StoreError};
use sha2::{Digest, Sha256};

use crate::App;
use crate::actor::Actor;
use crate::cursor::{self, Listing, PageRequest};
use crate::error::{Code, Error, Result};
use crate::idempotency::Answered;
use crate::input;
use crate::random;
use crate::time::Stamp;

pub use auth::Authenticated;
pub(crate) use auth::KeyRing;
pub use view::{CreatedKey, KeyView, NewKey, RotateKey};
use view::{check, is_active, view};

const TEXT_PREFIX: &str = "bfy_";
const ID_PREFIX: &str = "key_";
/// How long the old key goes on working after a rotation unless the request says otherwise: a day, in which every
/// sender can be given the new one.
pub const OVERLAP_SECONDS_DEFAULT: u32 = 86_400;
const OVERLAP_SECONDS_MAX: u32 = 30 * 86_400;

impl App {
    /// All keys, revoked ones included, by id.
    pub async fn list_keys(&self, actor: &Actor, page: &PageRequest) -> Result<Listing<KeyView>> {
        actor.require(&Scope::Admin)?;
        let (limit, after) = (page.limit()?, page.after::<String>('k')?);
        let mut keys = self.store.list_keys().await?;
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        let now = self.now_ms();
        let mut rest = keys
            .iter()
            .filter(|key| after.as_ref().is_none_or(|after| key.id > *after));
        let items: Vec<_> = rest
            .by_ref()
            .take(limit as usize)
            .map(|key| view(key, now))
            .collect();
        let more = rest.next().is_some();
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| cursor::write('k', &last.id));
        Ok(Listing {
            items,
            next,
            partial: false,
        })
    }

    /// One key.
    pub async fn get_key(&self, actor: &Actor, id: &str) -> Result<KeyView> {
        actor.require(&Scope::Admin)?;
        Ok(view(&self.find_key(id).await?, self.now_ms()))
    }

    /// Makes a key. The answer is the only place where it can be read.
    pub async fn create_key(
        &self,
        actor: &Actor,
        body: &[u8],
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Answered<CreatedKey>> {
        actor.require(&Scope::Admin)?;
        let new: NewKey = input::read(body)?;
        check(&new, self.now_ms())?;
        let _guard = self.enter(idempotency)?;
        if let Some(value) = self.replay(idempotency).await? {
            return Ok(Answered {
                value,
                replayed: true,
            });
        }
        let (text, key) = self.make_key(&new)?;
        let created = CreatedKey {
            key: text,
            info: view(&key, self.now_ms()),
            replaces: None,
        };
        let record = self.record(idempotency, &created)?;
        let audit = self.audit(
            actor,
            "key.create",
            &format!("keys/{}", key.id),
            None,
            Some(&created.info),
        )?;
        self.store.put_key(&key, &[audit], record.as_ref()).await?;
        self.refresh_keys().await?;
        Ok(Answered::new(created))
    }

    /// Makes a new key with the name and rights of an old one, which goes on working for a while.
    pub async fn rotate_key(
        &self,
        actor: &Actor,
        id: &str,
        body: &[u8],
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Answered<CreatedKey>> {
        actor.require(&Scope::Admin)?;
        let rotate: RotateKey = if body.is_empty() {
            RotateKey::default()
        } else {
            input::read(body)?
        };
        let overlap = rotate.overlap_seconds.unwrap_or(OVERLAP_SECONDS_DEFAULT);
        if overlap > OVERLAP_SECONDS_MAX {
            return Err(Error::field(
                "/overlapSeconds",
                format!("expected 0 to {OVERLAP_SECONDS_MAX}, got {overlap}"),
            ));
        }
        let _guard = self.enter(idempotency)?;
        let mut old = self.find_key(id).await?;
        if let Some(value) = self.replay::<CreatedKey>(idempotency).await? {
            // The first request may have ended between its two writes.
            if let Some(ends) = value.replaces.as_ref().and_then(|old| old.expires_at) {
                self.end_key(actor, &mut old, ends.0).await?;
            }
            return Ok(Answered {
                value,
                replayed: true,
            });
        }
        let now = self.now_ms();
        if !is_active(&old, now) {
            return Err(Error::new(
                Code::KeyNotActive,
                "this key was revoked or has expired; create a new one",
            ));
        }
        let (text, key) = self.make_key(&NewKey {
            name: old.name.clone(),
            scopes: old.scopes.clone(),
            expires_at: old.expires_at_ms.map(Stamp),
            requests_per_second: old.requests_per_second,
        })?;
        let ends = now + i64::from(overlap) * 1000;
        let ended = ApiKey {
            expires_at_ms: Some(old.expires_at_ms.map_or(ends, |at| at.min(ends))),
            ..old.clone()
        };
        let created = CreatedKey {
            key: text,
            info: view(&key, now),
            replaces: Some(view(&ended, now)),
        };
        let record = self.record(idempotency, &created)?;
        let audit = self.audit(
            actor,
            "key.rotate",
            &format!("keys/{}", old.id),
            None,
            Some(&created.info),
        )?;
        // The new key first: should the server stop in between, the old one still works.
        self.store.put_key(&key, &[audit], record.as_ref()).await?;
        self.end_key(actor, &mut old, ends).await?;
        self.refresh_keys().await?;
        Ok(Answered::new(created))
    }

    /// Revokes a key for good. Revoking it again changes nothing.
    pub async fn revoke_key(&self, actor: &Actor, id: &str) -> Result<KeyView> {
        actor.require(&Scope::Admin)?;
        let key = self.find_key(id).await?;
        let now = self.now_ms();
        if key.revoked_at_ms.is_some() {
            return Ok(view(&key, now));
        }
        if is_active(&key, now) && key.scopes.contains(&Scope::Admin) {
            let keys = self.store.list_keys().await?;
            let another = keys.iter().any(|other| {
                other.id != key.id && other.scopes.contains(&Scope::Admin) && is_active(other, now)
            });
            if !another {
                return Err(Error::new(
                    Code::LastAdminKey,
                    "this is the last key with scope admin that works; create another one first",
                ));
            }
        }
        let revoked = ApiKey {
            revoked_at_ms: Some(now),
            ..key.clone()
        };
        let audit = self.audit(
            actor,
            "key.revoke",
            &format!("keys/{}", key.id),
            Some(&view(&key, now)),
            Some(&view(&revoked, now)),
        )?;
        self.store.put_key(&revoked, &[audit], None).await?;
        self.refresh_keys().await?;
        Ok(view(&revoked, now))
    }

    /// On a database without any key: makes one that may do everything and returns it, to be shown once. Of several servers
    /// that start at once, one does.
    pub async fn ensure_admin_key(&self) -> Result<Option<String>> {
        if !self.store.list_keys().await?.is_empty() {
            return Ok(None);
        }
        let (text, key) = self.make_key(&NewKey {
            name: "admin".to_owned(),
            scopes: vec![Scope::Admin],
            expires_at: None,
            requests_per_second: None,
        })?;
        let info = view(&key, self.now_ms());
        let audit = self.audit(
            &Actor::local("system"),
            "key.create",
            &format!("keys/{}", key.id),
            None,
            Some(&info),
        )?;
        let first = IdempotencyRecord {
            scope: Sha256::digest("the first key").into(),
            fingerprint: [0; 32],
            at_ms: key.created_at_ms,
            answer: Vec::new(),
        };
        let made = self.store.put_key(&key, &[audit], Some(&first)).await;
        self.refresh_keys().await?;
        match made {
            Ok(()) => Ok(Some(text)),
            Err(StoreError::IdempotencyConflict) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn end_key(&self, actor: &Actor, key: &mut ApiKey, at_ms: i64) -> Result<()> {
        if key.expires_at_ms.is_some_and(|known| known <= at_ms) {
            return Ok(());
        }
        let now = self.now_ms();
        let before = view(key, now);
        key.expires_at_ms = Some(at_ms);
        let audit = self.audit(
            actor,
            "key.expire",
            &format!("keys/{}", key.id),
            Some(&before),
            Some(&view(key, now)),
        )?;
        Ok(self.store.put_key(key, &[audit], None).await?)
    }

    async fn find_key(&self, id: &str) -> Result<ApiKey> {
        let keys = self.store.list_keys().await?;
        keys.into_iter()
            .find(|key| key.id == id)
            .ok_or_else(|| Error::new(Code::NotFound, "there is no such key"))
    }

    fn make_key(&self, new: &NewKey) -> Result<(String, ApiKey)> {
        let now = self.now_ms();
        // The time in front makes ids sort by age; six bytes of it last until the year 10889.
        let [_, _, time @ ..] = now.to_be_bytes();
        let id = random::text(&time) + &random::text(&random::bytes::<5>()?);
        let text = format!(
            "{TEXT_PREFIX}{id}_{}",
            random::text(&random::bytes::<32>()?)
        );
        let key = ApiKey {
            id: format!("{ID_PREFIX}{id}"),
            name: new.name.clone(),
            hash: Sha256::digest(text.as_bytes()).into(),
            scopes: new.scopes.clone(),
            created_at_ms: now,
            expires_at_ms: new.expires_at.map(|at| at.0),
            revoked_at_ms: None,
            requests_per_second: new.requests_per_second,
        };
        Ok((text, key))
    }
}
