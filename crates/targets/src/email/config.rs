//! Settings of a mail target.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::people::People;
use crate::secret::Secret;
use crate::settings::object;

/// Settings of a mail target; those of every message stand beside them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EmailSettings {
    /// The server that takes the mail.
    #[serde(deserialize_with = "object")]
    pub(crate) smtp: Smtp,
    /// Who the mail is from, for example `Alarms <alarms@example.com>`.
    pub(crate) from: String,
    /// Where notices of failure go that come back later as mail. Absent: the address in `from`.
    #[serde(default)]
    pub(crate) bounces_to: Option<String>,
    /// Where answers go. Absent: the address in `from`.
    #[serde(default)]
    pub(crate) reply_to: Option<String>,
    /// Mail addresses, at most 100.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub(crate) to: Vec<String>,
    /// Mail addresses that get a copy, at most 100.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub(crate) cc: Vec<String>,
    /// Contacts and groups whose mail addresses are added to `to`.
    #[serde(default, deserialize_with = "object")]
    pub(crate) people: People,
}

/// A mail server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Smtp {
    /// Its name, for example `smtp.example.com`; the certificate must be for this name.
    pub(crate) host: String,
    /// Its port. Absent: 587, with `tls` 465, with `none` 25.
    #[serde(default)]
    #[schemars(range(min = 1, max = 65535))]
    pub(crate) port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub(crate) security: Security,
    /// The name to log in with; absent: no login.
    #[serde(default)]
    pub(crate) username: Option<String>,
    /// The password, or what the provider gives out instead of one.
    #[serde(default)]
    pub(crate) password: Option<Secret>,
    /// Certificates (PEM) that are trusted beside those of the system, for a server with a certificate of your own authority.
    #[serde(default)]
    pub(crate) ca: Option<String>,
    /// The name by which Belfry introduces itself (`EHLO`). Absent: the address that it connects from.
    #[serde(default)]
    pub(crate) hello: Option<String>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Security {
    /// TLS from the server's `STARTTLS` on; without it nothing is sent.
    #[default]
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// No protection; only to this machine.
    None,
}

impl Smtp {
    /// The port, given or usual.
    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(match self.security {
            Security::StartTls => 587,
            Security::Tls => 465,
            Security::None => 25,
        })
    }
}
