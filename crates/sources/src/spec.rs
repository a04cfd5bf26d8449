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

use crate::format::{SignedBy, find};
use crate::formats::generic::Mapping;
use crate::source::Incoming;

/// Longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 4096;
/// Most secrets of one source: the one in use, and those it is being changed from.
const SECRETS_MAX: usize = 8;
/// Longest secret, in bytes.
const SECRET_BYTES_MAX: usize = 1024;
/// Most topics that one source takes.
const TOPICS_MAX: usize = 100;
/// Longest name of a topic, in bytes.
const TOPIC_BYTES_MAX: usize = 512;

/// A named adapter on a bus for what a vendor sends.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SourceSpec {
    /// For people.
    pub description: String,
    /// The format of the requests; `auto` (the default) finds it for each request.
    #[schemars(example = &"alertmanager")]
    pub format: Option<String>,
    /// Who may send.
    pub auth: Auth,
    /// How requests are signed, of vendors that sign with a secret (GitHub, Sentry, Grafana). With secrets, an
    /// unsigned request of GitHub and Sentry is refused, and one of Grafana too if the format is `grafana`.
    pub signing: Option<SigningSpec>,
    /// Topics of SNS (ARN) and SMN (URN) whose messages are taken; empty: any topic.
    pub topic_arns: Vec<String>,
    /// What becomes of the request of a topic of SNS or SMN to confirm the subscription.
    pub handshake: HandshakeMode,
    /// Where the parts of the event stand, for format `generic`.
    pub generic: Option<GenericSpec>,
    /// The IANA name of the time zone of times that have none; the vendor's own by default (`Asia/Shanghai` for
    /// Chinese clouds, else UTC).
    #[schemars(example = &"Asia/Shanghai")]
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

impl Auth {
    /// Whether the request brings what this asks for. `None`: that is not for the request alone to show (an API key,
    /// the secret URL, a signature).
    pub fn admits(&self, incoming: &Incoming) -> Option<bool> {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        match self {
            Self::Key | Self::SecretUrl | Self::Signature => None,
            Self::Basic { username, password } => {
                let given = incoming.header("authorization").and_then(|value| {
                    let (scheme, token) = value.split_once(' ')?;
                    let basic = scheme.eq_ignore_ascii_case("basic");
                    STANDARD.decode(basic.then(|| token.trim())?).ok()
                });
                let wanted = Secret(format!("{username}:{}", password.expose()));
                Some(given.is_some_and(|given| wanted.is(&given)))
            }
            Self::Header { name, value } => {
                let given = incoming.header(&name.to_ascii_lowercase());
                Some(given.is_some_and(|given| value.is(given.as_bytes())))
            }
        }
    }
}

impl SourceSpec {
    /// Reads a source; every mistake comes with its pointer. What must hold between the members is in
    /// [`Self::check`].
    pub fn read(value: &Value) -> Result<Self, Vec<FieldError>> {
        if !value.is_object() {
            let detail = "expected an object with the settings of the source";
            return Err(vec![FieldError::new("", detail)]);
        }
        from_slice(value.to_string().as_bytes())
    }

    /// The JSON Schema.
    pub fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }

    /// A source that is valid.
    pub fn example() -> Value {
        json!({
            "description": "Alertmanager of the shop",
            "format": "alertmanager",
            "auth": { "type": "basic", "username": "alertmanager", "password": "a-long-password" }
        })
    }

    /// JSON pointers of the strings that are secret. Reads a source of any shape.
    pub fn secret_pointers(value: &Value) -> Vec<String> {
        let mut pointers = Vec::new();
        for name in ["password", "value"] {
            let pointer = format!("/auth/{name}");
            if value.pointer(&pointer).is_some_and(Value::is_string) {
                pointers.push(pointer);
            }
        }
        let secrets = value.pointer("/signing/secrets").and_then(Value::as_array);
        for (n, secret) in secrets.into_iter().flatten().enumerate() {
            if secret.is_string() {
                pointers.push(format!("/signing/secrets/{n}"));
            }
        }
        pointers
    }

    /// Everything wrong with it; empty when it can be saved.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |pointer: &str, detail: String| {
            errors.push(FieldError::new(pointer, detail));
        };
        if self.description.len() > DESCRIPTION_BYTES_MAX {
            let detail = format!("expected at most {DESCRIPTION_BYTES_MAX} bytes");
            wrong("/description", detail);
        }
        let format = self.format.as_deref().unwrap_or("auto");
        if format != "auto"
            && let Err(error) = find(format, "/format")
        {
            wrong(&error.pointer, error.detail);
        }
        self.check_auth(&mut wrong);
        if let Some(signing) = &self.signing {
            if signing.secrets.len() > SECRETS_MAX {
                let detail = format!("expected at most {SECRETS_MAX} secrets");
                wrong("/signing/secrets", detail);
            }
            for (n, secret) in signing.secrets.iter().enumerate() {
                check_secret(&format!("/signing/secrets/{n}"), secret, &mut wrong);
            }
            for (pointer, name) in [
                ("/signing/header", &signing.header),
                ("/signing/timestampHeader", &signing.timestamp_header),
            ] {
                if let Some(name) = name {
                    check_header(pointer, name, &mut wrong);
                }
            }
        }
        if self.topic_arns.len() > TOPICS_MAX {
            wrong(
                "/topicArns",
                format!("expected at most {TOPICS_MAX} topics"),
            );
        }
        for (n, topic) in self.topic_arns.iter().enumerate() {
            let known = topic.starts_with("arn:") || topic.starts_with("urn:");
            if !known || topic.len() > TOPIC_BYTES_MAX {
                let detail = "expected the ARN of an SNS topic or the URN of an SMN topic, such as \"arn:aws:sns:us-east-1:123456789012:alarms\"";
                wrong(&format!("/topicArns/{n}"), detail.to_owned());
            }
        }
        if let Some(zone) = &self.time_zone
            && Tz::from_str(zone).is_err()
        {
            let detail = "expected the IANA name of a time zone, such as \"Asia/Shanghai\"";
            wrong("/timeZone", detail.to_owned());
        }
        if self.generic.is_some() && !matches!(format, "auto" | "generic") {
            let detail = "this is for the format generic; leave it out";
            wrong("/generic", detail.to_owned());
        }
        errors.extend(
            Mapping::compile(self.generic.as_ref())
                .err()
                .into_iter()
                .flatten(),
        );
        errors
    }

    fn check_auth(&self, wrong: &mut dyn FnMut(&str, String)) {
        match &self.auth {
            Auth::Key | Auth::SecretUrl => {}
            Auth::Basic { username, password } => {
                if username.is_empty() || username.contains(|c: char| c == ':' || c.is_control()) {
                    let detail = "expected a user name without colon";
                    wrong("/auth/username", detail.to_owned());
                }
                check_secret("/auth/password", password, wrong);
            }
            Auth::Header { name, value } => {
                check_header("/auth/name", name, wrong);
                check_secret("/auth/value", value, wrong);
            }
            Auth::Signature => {
                let format = self.format.as_deref().filter(|format| *format != "auto");
                let signed_by = format
                    .and_then(|format| find(format, "").ok())
                    .map(|format| format.signed_by);
                let signing = self.signing.as_ref();
                let secrets = signing.is_some_and(|signing| !signing.secrets.is_empty());
                let topics = !self.topic_arns.is_empty();
                let missing = match signed_by {
                    Some(SignedBy::Nothing) => {
                        Some("nobody signs requests of this format; choose another type")
                    }
                    Some(SignedBy::Secret) if !secrets => {
                        Some("give the secret in signing.secrets")
                    }
                    Some(SignedBy::Certificate) if !topics => {
                        Some("give topicArns: anybody has a topic of their own to sign with")
                    }
                    None if !secrets && !topics => Some("give signing.secrets or topicArns"),
                    _ => None,
                };
                if let Some(missing) = missing {
                    wrong("/auth/type", missing.to_owned());
                }
            }
        }
    }
}

fn check_secret(pointer: &str, secret: &Secret, wrong: &mut dyn FnMut(&str, String)) {
    let length = secret.expose().len();
    if length == 0 || length > SECRET_BYTES_MAX {
        wrong(pointer, format!("expected 1 to {SECRET_BYTES_MAX} bytes"));
    }
}

fn check_header(pointer: &str, name: &str, wrong: &mut dyn FnMut(&str, String)) {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&b);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(token) {
        wrong(
            pointer,
            "expected the name of a header, such as \"x-token\"".to_owned(),
        );
    }
}
