//! A source as an operator writes it.

use std::fmt;
use std::str::FromStr;

use belfry_model::FieldError;
use belfry_model::json::from_slice;
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::format::find;
use crate::formats::generic::Mapping;
use crate::source::Incoming;

/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 4096;
/// Most secrets of one source: the one in use, and those it is being changed from.
pub const SECRETS_MAX: usize = 8;
/// Longest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 1024;
/// Most topics that one source takes.
pub const TOPICS_MAX: usize = 100;
/// Longest name of a topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 512;

/// A named adapter on a bus for what a vendor sends.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SourceSpec {
    /// For people.
    pub description: String,
    /// The format of the requests; `auto` (the default) finds it for each request.
    #[schemars(example = "alertmanager")]
    pub format: Option<String>,
    /// Who may send.
    pub auth: Auth,
    /// How requests are signed, of vendors that sign with a secret (GitHub, Sentry, Grafana). With secrets, an
    /// unsigned request of these formats is refused.
    pub signing: Option<SigningSpec>,
    /// Topics of SNS (ARN) and SMN (URN) whose messages are taken; empty: any topic.
    pub topic_arns: Vec<String>,
    /// What becomes of the request of a topic of SNS or SMN to confirm the subscription.
    pub handshake: HandshakeMode,
    /// Where the parts of the event stand, for format `generic`.
    pub generic: Option<GenericSpec>,
    /// The IANA name of the time zone of times that have none; the vendor's own by default (`Asia/Shanghai` for
    /// Chinese clouds, else UTC).
    #[schemars(example = "Asia/Shanghai")]
    pub time_zone: Option<String>,
    /// Whether the body is kept with the event, as `data.raw` (yes).
    pub keep_raw: Option<bool>,
}

/// Who may send to a source.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Auth {
    /// Whoever has an API key that may send events.
    #[default]
    Key,
    /// Whoever knows the source's secret URL.
    SecretUrl,
    /// Whoever has this user name and password (Basic).
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// Whoever sends this header.
    Header {
        /// The header's name.
        name: String,
        /// Its value.
        value: Secret,
    },
    /// Whoever signs as the vendor does; every other request is refused.
    Signature,
}

/// How a vendor signs.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SigningSpec {
    /// The secrets; a signature by any of them is good.
    pub secrets: Vec<Secret>,
    /// The header with the signature, of Grafana (`x-grafana-alerting-signature`).
    pub header: Option<String>,
    /// The header with the time that is signed too, of Grafana.
    pub timestamp_header: Option<String>,
}

/// What becomes of a request to confirm a subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HandshakeMode {
    /// It is confirmed, once its signature is found good and its address the vendor's.
    #[default]
    Confirm,
    /// The address is kept for the operator to open.
    Show,
}

/// Where the parts of an event stand in a body of any shape. Each is a path such as `$.host`, or a fixed text behind
/// `const:`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GenericSpec {
    /// The sender's own id of the notification; by default a hash of the body.
    pub id: Option<String>,
    /// By default `custom.webhook`.
    pub source: Option<String>,
    /// By default `custom:Event:generic`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The resource it is about.
    pub subject: Option<String>,
    /// When it happened.
    pub time: Option<String>,
    /// A word for how bad it is; by default the member `severity` or `level`.
    pub severity: Option<String>,
    /// Whether it fires or has recovered.
    pub status: Option<StatusSpec>,
    /// The region.
    pub region: Option<String>,
    /// What firing and recovery of an alarm have in common, beside the source.
    pub alarmkey: Vec<String>,
    /// The alarm in a few words; by default the member `title`, `name`, `message` or `msg`.
    pub title: Option<String>,
    /// The alarm in a few sentences.
    pub summary: Option<String>,
    /// What the resource is called.
    pub resource_name: Option<String>,
    /// What was measured.
    pub value: Option<String>,
    /// What it was compared with.
    pub threshold: Option<String>,
    /// Where more can be read.
    pub link: Option<String>,
}

/// How a body says whether the alarm fires or has recovered.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatusSpec {
    /// Where it says so.
    pub path: String,
    /// Values that mean firing.
    #[serde(default)]
    pub firing: Vec<String>,
    /// Values that mean recovered.
    #[serde(default)]
    pub recovered: Vec<String>,
}

/// A text that shows itself only when asked to.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent, extend("format" = "password", "writeOnly" = true))]
pub struct Secret(String);

impl Secret {
    /// The secret in clear.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is the secret, in a time that tells nothing of it but its length.
    pub fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}
