//! Secrets at rest: sealing, the keys it is done with, and the sealed members of a target's settings.
//!
//! A sealed text is `sealed:1:KEY:BASE64`, made with XChaCha20-Poly1305. The place it belongs to is associated data,
//! so that a sealed text moved to another target, or to another member, does not open. The first key of the file
//! seals, every key opens: to change keys, put a new one on top and keep the old ones.

mod keyfile;
mod settings;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use belfry_store::ConfigStore;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

use crate::random;

pub(crate) use settings::masked;

const PREFIX: &str = "sealed:1:";
const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;
/// Where a known text is kept, sealed, to tell a wrong key at the start and not at the first delivery.
const CHECK_META: &str = "secrets.check";
const CHECK_TEXT: &str = "belfry";

/// Why secrets cannot be sealed or opened. For the operator; holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file cannot be used.
    #[error("the key file {path} cannot be used: {why}")]
    KeyFile {
        /// Its path.
        path: String,
        /// Why.
        why: String,
    },
    /// A configured key is no key.
    #[error("expected base64 of {KEY_BYTES} bytes (make one with: openssl rand -base64 32)")]
    InvalidKey,
    /// A stored secret needs a key that is not there.
    #[error(
        "stored secrets are sealed with key {0}, which is not among the configured keys; put the key file that \
         belongs to this database back (or add its key to the present one)"
    )]
    MissingKey(String),
    /// A sealed text does not open: damaged, or moved from another place.
    #[error("the sealed secret of {0} does not open: it is damaged, or belongs to another place")]
    Damaged(String),
    /// The store failed.
    #[error("the check value of the secrets cannot be read or written")]
    Store(#[from] belfry_store::StoreError),
    /// The operating system gives no random bytes.
    #[error("no random bytes")]
    Random,
}

/// Seals and opens secrets.
pub struct Sealer {
    keys: Vec<(String, XChaCha20Poly1305)>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|(id, _)| id))
            .finish()
    }
}

impl Sealer {
    /// From keys of 32 bytes; the first one seals.
    pub fn from_keys(keys: &[[u8; KEY_BYTES]]) -> Result<Self, SealError> {
        if keys.is_empty() {
            return Err(SealError::InvalidKey);
        }
        let keys = keys
            .iter()
            .map(|key| (key_id(key), XChaCha20Poly1305::new(&(*key).into())))
            .collect();
        Ok(Self { keys })
    }

    /// From keys in base64, separated by blanks, commas or line ends; the first one seals.
    pub fn from_base64(text: &str) -> Result<Self, SealError> {
        let keys: Vec<_> = text
            .split(|c: char| c.is_whitespace() || c == ',')
            .filter(|part| !part.is_empty())
            .map(|part| {
                STANDARD
                    .decode(part)
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
            })
            .collect::<Option<_>>()
            .ok_or(SealError::InvalidKey)?;
        Self::from_keys(&keys)
    }

    /// Seals `clear` for the place `place`.
    pub fn seal(&self, place: &str, clear: &[u8]) -> Result<String, SealError> {
        let (id, cipher) = self.keys.first().ok_or(SealError::InvalidKey)?;
        let nonce = random::bytes::<NONCE_BYTES>().map_err(|_| SealError::Random)?;
        let bound = bound_to(place);
        let payload = Payload {
            msg: clear,
            aad: bound.as_bytes(),
        };
        let sealed = cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SealError::Damaged(place.to_owned()))?;
        let mut bytes = nonce.to_vec();
        bytes.extend_from_slice(&sealed);
        Ok(format!("{PREFIX}{id}:{}", STANDARD.encode(bytes)))
    }

    /// Opens what was sealed for the place `place`.
    pub fn open(&self, place: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        let damaged = || SealError::Damaged(place.to_owned());
        let (id, body) = sealed
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once(':'))
            .ok_or_else(damaged)?;
        let (_, cipher) = self
            .keys
            .iter()
            .find(|(known, _)| known == id)
            .ok_or_else(|| SealError::MissingKey(id.to_owned()))?;
        let bytes = STANDARD.decode(body).map_err(|_| damaged())?;
        let (nonce, text) = bytes
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or_else(damaged)?;
        let bound = bound_to(place);
        cipher
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: text,
                    aad: bound.as_bytes(),
                },
            )
            .map_err(|_| damaged())
    }

    /// Refuses to start with keys that do not belong to the database. The first start leaves a check value behind; of several
    /// at once the others are held against it, too.
    pub async fn check(&self, store: &dyn ConfigStore) -> Result<(), SealError> {
        let place = format!("meta/{CHECK_META}");
        if store.get_meta(CHECK_META).await?.is_none() {
            let sealed = self.seal(&place, CHECK_TEXT.as_bytes())?;
            store.set_meta(CHECK_META, &sealed).await?;
        }
        let sealed = store.get_meta(CHECK_META).await?;
        self.open(&place, &sealed.unwrap_or_default())?;
        // A key may have been dropped from the file while targets still need it.
        let config = store.load_config().await?;
        let texts: Vec<_> = config
            .targets
            .iter()
            .map(|target| &target.spec.settings)
            .chain(config.documents.iter().map(|document| &document.spec))
            .flat_map(settings::sealed_texts)
            .collect();
        let needed = texts
            .iter()
            .filter_map(|text| text.strip_prefix(PREFIX)?.split_once(':'));
        for (id, _) in needed {
            if !self.keys.iter().any(|(known, _)| known == id) {
                return Err(SealError::MissingKey(id.to_owned()));
            }
        }
        Ok(())
    }
}

/// What a sealed text is bound to: the format's version and its place.
fn bound_to(place: &str) -> String {
    format!("belfry:1:{place}")
}

/// A key's name: enough of a hash to tell keys apart, nothing that helps to guess them.
fn key_id(key: &[u8; KEY_BYTES]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"belfry key id");
    hash.update(key);
    hex::encode(hash.finalize().as_slice().get(..4).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use belfry_store::SqliteStore;
    use belfry_store::sqlite::SqliteOptions;

    use super::*;

    #[test]
    fn a_secret_opens_only_in_its_place() {
        let sealer = Sealer::from_keys(&[[7; 32]]).unwrap();
        let text = sealer.seal("a/b/c/secret", b"hunter2").unwrap();
        assert!(!text.contains("hunter2"));
        assert_eq!(sealer.open("a/b/c/secret", &text).unwrap(), b"hunter2");
        assert!(matches!(
            sealer.open("a/b/d/secret", &text),
            Err(SealError::Damaged(_))
        ));
        assert_ne!(text, sealer.seal("a/b/c/secret", b"hunter2").unwrap());
    }

    #[test]
    fn a_new_key_on_top_still_opens_what_the_old_one_sealed() {
        let old = Sealer::from_keys(&[[1; 32]]).unwrap();
        let sealed = old.seal("p", b"x").unwrap();
        let both = Sealer::from_keys(&[[2; 32], [1; 32]]).unwrap();
        assert_eq!(both.open("p", &sealed).unwrap(), b"x");
        assert!(matches!(
            old.open("p", &both.seal("p", b"x").unwrap()),
            Err(SealError::MissingKey(_))
        ));
    }

    #[test]
    fn damaged_texts_are_errors() {
        let sealer = Sealer::from_keys(&[[7; 32]]).unwrap();
        for bad in ["", "plain", "sealed:1:", "sealed:1:00000000:AAAA"] {
            assert!(sealer.open("p", bad).is_err(), "{bad}");
        }
        let text = sealer.seal("p", b"x").unwrap();
        let (head, _) = text.split_at(text.len() - 8);
        assert!(sealer.open("p", head).is_err());
    }

    #[test]
    fn keys_come_from_base64() {
        let text = STANDARD.encode([9; 32]);
        assert_eq!(
            Sealer::from_base64(&format!("{text}\n{text}"))
                .unwrap()
                .keys
                .len(),
            2
        );
        for bad in ["", "abc", "AAAA"] {
            assert!(Sealer::from_base64(bad).is_err());
        }
    }

    #[tokio::test]
    async fn a_database_is_opened_only_with_a_key_it_was_used_with() {
        let store = SqliteStore::open(SqliteOptions::memory()).await.unwrap();
        let (first, other) = (
            Sealer::from_keys(&[[1; 32]]).unwrap(),
            Sealer::from_keys(&[[2; 32]]).unwrap(),
        );
        first.check(&store).await.unwrap();
        first.check(&store).await.unwrap();
        let refused = other.check(&store).await.unwrap_err();
        assert!(matches!(refused, SealError::MissingKey(_)));
        assert!(refused.to_string().contains("put the key file"));
        Sealer::from_keys(&[[2; 32], [1; 32]])
            .unwrap()
            .check(&store)
            .await
            .unwrap();
    }
}
