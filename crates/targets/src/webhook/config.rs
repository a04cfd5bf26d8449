//! The settings of a webhook, as an operator writes them.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::record::shown_url_text;
use crate::secret::Secret;
use crate::settings::{object, optional_object};

/// Settings of a webhook target.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WebhookSettings {
    /// Where events are sent: an absolute URL. `http` and private addresses only where the server's egress policy allows them.
    pub(crate) url: UrlText,
    /// The HTTP method.
    #[serde(default)]
    pub(crate) method: WebhookMethod,
    /// The form in which an event is sent. A transformation replaces the body in every form.
    #[serde(default)]
    pub(crate) body: BodyForm,
    /// More headers, for example `{"x-tenant": "blue"}`. Values of names that sound secret (`auth`, `token`, `secret`, `key`, `cookie`, ...) are sealed and masked.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(crate) headers: BTreeMap<String, Secret>,
    /// How Belfry shows who it is.
    #[serde(default, deserialize_with = "optional_object")]
    pub(crate) auth: Option<Auth>,
    /// Signatures by which the receiver knows that a request is from here (Standard Webhooks).
    #[serde(default, deserialize_with = "object")]
    pub(crate) signing: Signing,
    /// The longest that one attempt may take, the answer's body included (1 to 300 seconds).
    #[serde(default = "timeout_default")]
    #[schemars(range(min = 1, max = 300))]
    pub(crate) timeout_seconds: u32,
    /// How much of an answer's body is read (0 to 65,536 bytes).
    #[serde(default = "response_bytes_default")]
    #[schemars(range(min = 0, max = 65536))]
    pub(crate) response_bytes_max: u32,
    /// The statuses that mean delivered (200 to 299 or 400 to 499, not 410). Absent: 200 to 299.
    #[serde(default)]
    #[schemars(length(min = 1, max = 20))]
    pub(crate) success_status: Option<Vec<u16>>,
    /// Ask the receiver for its consent before anything is sent (CloudEvents webhook validation).
    #[serde(default, deserialize_with = "optional_object")]
    pub(crate) handshake: Option<HandshakeSettings>,
}

const fn timeout_default() -> u32 {
    15
}
const fn response_bytes_default() -> u32 {
    RESPONSE_BYTES_MAX
}

/// The most that `responseBytesMax` may say.
pub(crate) const RESPONSE_BYTES_MAX: u32 = 65_536;

/// A URL as written; shows itself without what may be secret in it.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent, extend("format" = "uri"))]
pub(crate) struct UrlText(pub(crate) String);

impl fmt::Debug for UrlText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown_url_text(&self.0))
    }
}

/// The HTTP method.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum WebhookMethod {
    /// What receivers expect.
    #[default]
    #[serde(rename = "POST")]
    Post,
    /// For receivers that store.
    #[serde(rename = "PUT")]
    Put,
}

/// The form in which an event is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum BodyForm {
    /// The document exactly as it was accepted.
    #[default]
    Event,
    /// The structured form of CloudEvents (`application/cloudevents+json`), whatever was accepted.
    Cloudevents,
    /// The binary form of CloudEvents: attributes as `ce-` headers, the payload as the body.
    Binary,
    /// Nothing but the payload.
    Data,
    /// The notification callback of Tencent Cloud's monitoring, for receivers that know it.
    Callback,
}

/// How Belfry shows who it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub(crate) enum Auth {
    /// A user name and a password (`Authorization: Basic`).
    Basic {
        /// The user name; holds no colon.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token (`Authorization: Bearer`).
    Bearer {
        /// The token.
        token: Secret,
    },
    /// A key in a header or in the query.
    ApiKey {
        /// Where it goes.
        #[serde(default, rename = "in")]
        place: KeyPlace,
        /// The name of the header or of the query parameter.
        name: String,
        /// The key.
        value: Secret,
    },
    /// A token that Belfry fetches and renews (OAuth 2.0 client credentials).
    Oauth2 {
        /// Where tokens are had; under the same egress policy.
        token_url: UrlText,
        /// The client's id.
        client_id: String,
        /// The client's secret.
        client_secret: Secret,
        /// The scopes to ask for, separated by spaces.
        #[serde(default)]
        scope: Option<String>,
        /// The audience to ask for; some providers need it.
        #[serde(default)]
        audience: Option<String>,
        /// How the client's id and secret are sent to the token URL.
        #[serde(default)]
        client_auth: ClientAuth,
    },
}

/// Where an API key goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum KeyPlace {
    /// Into a header.
    #[default]
    Header,
    /// Into the query of the URL. Receivers and proxies tend to log it there.
    Query,
}

/// How a client shows itself to the token URL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ClientAuth {
    /// In the `Authorization` header (Basic).
    #[default]
    Header,
    /// In the form.
    Body,
}

/// How requests are signed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Signing {
    /// Whether requests are signed.
    pub(crate) enabled: bool,
    /// Shared secrets (`whsec_` and base64 of 24 to 64 bytes), newest first, at most 5; each makes a `v1` signature. Belfry makes one when there is neither a secret nor a key.
    #[schemars(length(max = 5))]
    pub(crate) secrets: Vec<Secret>,
    /// Ed25519 keys (`whsk_` and base64 of seed and public key), newest first, at most 5; each makes a `v1a` signature.
    #[schemars(length(max = 5))]
    pub(crate) keys: Vec<Secret>,
}

impl Default for Signing {
    fn default() -> Self {
        Self {
            enabled: true,
            secrets: Vec::new(),
            keys: Vec::new(),
        }
    }
}

/// CloudEvents webhook validation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HandshakeSettings {
    /// The DNS name under which this system asks, for example `events.mycompany.example`.
    pub(crate) origin: String,
    /// The requests a minute that it asks for (1 to 1,000,000).
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) rate: Option<u32>,
}
