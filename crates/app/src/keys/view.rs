//! Keys as they are shown and asked for.

use belfry_model::access::Scope;
use belfry_store::ApiKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Code, Error, Fault, Result};
use crate::time::Stamp;

const NAME_CHARS_MAX: usize = 100;
const SCOPES_MAX: usize = 100;
const REQUESTS_PER_SECOND_MAX: u32 = 1_000_000;

/// A key as it is shown; the key itself is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// Its id.
    #[schema(examples("key_01jd0c4z8k3f9xq2"))]
    pub id: String,
    /// For people.
    pub name: String,
    /// What it may do.
    #[schema(value_type = Vec<String>, examples(json!(["events:write:default"])))]
    pub scopes: Vec<Scope>,
    /// Whether it works now.
    pub active: bool,
    /// Requests per second; absent: the server's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// When it was made.
    pub created_at: Stamp,
    /// When it stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Stamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Stamp>,
}

/// A key just made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedKey {
    /// The key itself, for the header `Authorization: Bearer`. Shown only now.
    #[schema(examples("bfy_01jd0c4z8k3f9xq2_k3v0..."))]
    pub key: String,
    /// What is known about it.
    pub info: KeyView,
    /// The key that it takes the place of, after a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<KeyView>,
}

impl std::fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedKey")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// What a new key is to be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewKey {
    /// For people: who or what uses it. 1 to 100 characters.
    #[schema(examples("order service"))]
    pub name: String,
    /// What it may do: `events:write`, `events:write:BUS`, `config:read`, `config:write`, `history:read`, `admin`.
    #[schema(value_type = Vec<String>, min_items = 1, examples(json!(["events:write:default"])))]
    pub scopes: Vec<Scope>,
    /// When it stops working; absent: never.
    #[serde(default)]
    pub expires_at: Option<Stamp>,
    /// Requests per second (1 to 1,000,000); absent: the server's default.
    #[serde(default)]
    pub requests_per_second: Option<u32>,
}

/// How to rotate a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RotateKey {
    /// How long the old key goes on working (0 to 30 days); absent: 24 hours.
    pub overlap_seconds: Option<u32>,
}

pub(super) fn check(new: &NewKey, now_ms: i64) -> Result<()> {
    let mut errors = Vec::new();
    let chars = new.name.chars().count();
    if chars == 0 || chars > NAME_CHARS_MAX || new.name.chars().any(char::is_control) {
        errors.push(Fault::new(
            "/name",
            format!("expected 1 to {NAME_CHARS_MAX} characters without control characters"),
        ));
    }
    if new.scopes.is_empty() || new.scopes.len() > SCOPES_MAX {
        errors.push(Fault::new(
            "/scopes",
            format!(
                "expected 1 to {SCOPES_MAX} scopes, got {}",
                new.scopes.len()
            ),
        ));
    }
    if new.expires_at.is_some_and(|at| at.0 <= now_ms) {
        errors.push(Fault::new("/expiresAt", "expected a time to come"));
    }
    if let Some(rate) = new.requests_per_second
        && !(1..=REQUESTS_PER_SECOND_MAX).contains(&rate)
    {
        errors.push(Fault::new(
            "/requestsPerSecond",
            format!("expected 1 to {REQUESTS_PER_SECOND_MAX}, got {rate}"),
        ));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::invalid(Code::InvalidRequest, errors))
    }
}

pub(super) fn is_active(key: &ApiKey, now_ms: i64) -> bool {
    key.revoked_at_ms.is_none() && key.expires_at_ms.is_none_or(|at| at > now_ms)
}

pub(super) fn view(key: &ApiKey, now_ms: i64) -> KeyView {
    KeyView {
        id: key.id.clone(),
        name: key.name.clone(),
        scopes: key.scopes.clone(),
        active: is_active(key, now_ms),
        requests_per_second: key.requests_per_second,
        created_at: Stamp(key.created_at_ms),
        expires_at: key.expires_at_ms.map(Stamp),
        revoked_at: key.revoked_at_ms.map(Stamp),
    }
}
