//! Standard Webhooks signatures: over id, time and the exact bytes of the body, made when a request is sent.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Reads base64 with or without padding, as different makers of secrets write it; writes it with.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const SECRET_PREFIX: &str = "whsec_";
const KEY_PREFIX: &str = "whsk_";

/// Every secret and key that is active, newest first.
pub(crate) struct Signer {
    secrets: Vec<Hmac<Sha256>>,
    keys: Vec<SigningKey>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Signer({} secrets, {} keys)",
            self.secrets.len(),
            self.keys.len()
        )
    }
}

impl Signer {
    /// A signer of the readable ones among the secrets and keys.
    pub(crate) fn new<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            secrets: secrets
                .into_iter()
                .filter_map(|text| read_secret(text).ok())
                .collect(),
            keys: keys
                .into_iter()
                .filter_map(|text| read_key(text).ok())
                .collect(),
        }
    }

    /// Whether there is nothing to sign with.
    pub(crate) fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.keys.is_empty()
    }

    /// The value of `webhook-signature`: one token for each secret and key, separated by exactly one space.
    pub(crate) fn signature(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut tokens = Vec::with_capacity(self.secrets.len() + self.keys.len());
        for keyed in &self.secrets {
            let mut mac = keyed.clone();
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                mac.update(part);
            }
            tokens.push(format!("v1,{}", BASE64.encode(mac.finalize().into_bytes())));
        }
        if !self.keys.is_empty() {
            let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
            for key in &self.keys {
                tokens.push(format!(
                    "v1a,{}",
                    BASE64.encode(key.sign(&signed).to_bytes())
                ));
            }
        }
        tokens.join(" ")
    }
}

/// Reads a shared secret. What is signed with is the decoded part, never the text.
pub(crate) fn read_secret(text: &str) -> Result<Hmac<Sha256>, &'static str> {
    const EXPECTED: &str = "expected whsec_ and base64 of 24 to 64 bytes";
    let bytes = text
        .strip_prefix(SECRET_PREFIX)
        .and_then(|encoded| BASE64.decode(encoded).ok())
        .filter(|bytes| (24..=64).contains(&bytes.len()))
        .ok_or(EXPECTED)?;
    Hmac::new_from_slice(&bytes).map_err(|_| EXPECTED)
}

/// Reads an Ed25519 key; its two halves must belong together.
pub(crate) fn read_key(text: &str) -> Result<SigningKey, &'static str> {
    const EXPECTED: &str =
        "expected whsk_ and base64 of 64 bytes: the Ed25519 seed and its public key";
    let bytes = text
        .strip_prefix(KEY_PREFIX)
        .and_then(|encoded| BASE64.decode(encoded).ok());
    let pair: [u8; 64] = bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(EXPECTED)?;
    SigningKey::from_keypair_bytes(&pair)
        .map_err(|_| "the public half of this key does not belong to its seed")
}

/// A new shared secret of 32 random bytes.
pub(crate) fn new_secret() -> String {
    format!(
        "{SECRET_PREFIX}{}",
        BASE64.encode(rand::random::<[u8; 32]>())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
    const OLD_SECRET: &str = "whsec_ZWZnaGlqa2xtbm9wcXJzdHV2d3h5ent8fX5/gIGCg4Q=";
    const KEY: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA==";
    const ID: &str = "msg_01JABCDEF0123456789XYZABCD";
    const TIME: &str = "1735689600";
    const BODY: &str = r#"{"specversion":"1.0","id":"evt-1","source":"cvm.cloud.tencent","type":"cvm:ErrorEvent:DiskReadonly","subject":"ins-abc123","data":{"level":"critical","msg":"磁盘只读"}}"#;
    const V1: &str = "v1,zVad3t/Sqa5Y+rCt62IXQSBnbgBQNUpOVigZuGJA0w8=";
    const V1_OLD: &str = "v1,Pu1b5IAbdM+hTSwxeC7rFOyKyWZftG2kbwJFA36qFq0=";
    const V1A: &str = "v1a,vKdjtiC5DaOA0m9YxTSaeW3/dkWaodhhbTcO6DqUJB5JjnYLZaz5P9mjIIbbHlNvShvjK7/XmPmAgtiYe72SAQ==";

    fn sign(secrets: &[&str], keys: &[&str], body: &str) -> String {
        Signer::new(secrets.iter().copied(), keys.iter().copied()).signature(
            ID,
            TIME,
            body.as_bytes(),
        )
    }

    #[test]
    fn signatures_equal_the_vectors() {
        assert_eq!(sign(&[SECRET], &[], BODY), V1);
        assert_eq!(sign(&[OLD_SECRET], &[], BODY), V1_OLD);
        assert_eq!(sign(&[], &[KEY], BODY), V1A);
        assert_eq!(
            sign(&[SECRET], &[], ""),
            "v1,I/4rnq0SGM8yWdqbBwpsnfY3vDt6LdCNqzme+ZDNtOY="
        );
    }

    #[test]
    fn several_signatures_are_separated_by_one_space_newest_first() {
        assert_eq!(
            sign(&[SECRET, OLD_SECRET], &[], BODY),
            format!("{V1} {V1_OLD}")
        );
        assert_eq!(sign(&[SECRET], &[KEY], BODY), format!("{V1} {V1A}"));
        for token in sign(&[SECRET, OLD_SECRET], &[KEY, KEY], BODY).split(' ') {
            assert_eq!(token.matches(',').count(), 1, "{token}");
        }
    }

    #[test]
    fn the_key_is_the_decoded_part_and_never_the_text() {
        for wrong in [
            "v1,iYCNZUjS1w0PwtObMEoMgr6WmeVkZaB2jFkH1THmUBU=",
            "v1,Vj78Rdh7UEx12FxPgsLXR2hRmEuqfPD/DaSw83BQ3Dc=",
        ] {
            assert_ne!(sign(&[SECRET], &[], BODY), wrong);
        }
    }

    #[test]
    fn the_reference_library_signs_alike() {
        let oracle = standardwebhooks::Webhook::new(SECRET).unwrap();
        for body in ["", "{}", BODY, "line\nbreak.and.dots"] {
            let expected = oracle.sign(ID, 1_735_689_600, body.as_bytes()).unwrap();
            assert_eq!(sign(&[SECRET], &[], body), expected);
        }
        let made = new_secret();
        let expected = standardwebhooks::Webhook::new(&made)
            .unwrap()
            .sign(ID, 1_735_689_600, b"x")
            .unwrap();
        assert_eq!(sign(&[&made], &[], "x"), expected);
    }

    #[test]
    fn the_public_key_verifies() {
        let public = BASE64
            .decode("A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=")
            .unwrap();
        let public = ed25519_dalek::VerifyingKey::from_bytes(&public.try_into().unwrap()).unwrap();
        let signature: [u8; 64] = BASE64.decode(&V1A[4..]).unwrap().try_into().unwrap();
        let signed = format!("{ID}.{TIME}.{BODY}");
        public
            .verify_strict(
                signed.as_bytes(),
                &ed25519_dalek::Signature::from_bytes(&signature),
            )
            .unwrap();
    }

    #[test]
    fn wrong_secrets_are_refused() {
        for text in [
            "",
            "whsec_",
            "whsec_AQID",
            "whsec_!!!",
            &SECRET[6..],
            &format!("{SECRET}{SECRET}"),
            KEY,
        ] {
            assert!(read_secret(text).is_err(), "{text}");
        }
        assert!(read_secret(SECRET.trim_end_matches('=')).is_ok());
        let mut other_half = BASE64.decode(&KEY[5..]).unwrap();
        other_half[40] ^= 1;
        for text in [
            "",
            "whsk_AQID",
            SECRET,
            &format!("whsk_{}", BASE64.encode(other_half)),
        ] {
            assert!(read_key(text).is_err(), "{text}");
        }
    }
}
