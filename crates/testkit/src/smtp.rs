//! A real mail server (`aiosmtpd`) whose recipients are refused in every way a real server knows.
//!
//! What becomes of a recipient is said by its local part: see `smtp.py`. `cargo xtask test` installs what it needs.

use anyhow::Result;
use serde_json::{Value, json};

use crate::script::Script;

/// How connections are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    None,
    /// By `STARTTLS`, without which nothing is taken.
    StartTls,
    /// From the first byte.
    Implicit,
}

/// How the server is.
#[derive(Debug, Clone)]
pub struct Options {
    /// How connections are protected.
    pub tls: Tls,
    /// Paths of certificate and key (PEM); needed with TLS.
    pub certificate: Option<(String, String)>,
    /// User name and password, without which nothing is taken.
    pub login: Option<(String, String)>,
    /// The mechanisms of login that it offers.
    pub mechanisms: Vec<&'static str>,
    /// The largest message it takes, in bytes.
    pub size_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: Tls::None,
            certificate: None,
            login: None,
            mechanisms: vec!["LOGIN", "PLAIN"],
            size_max: 32 * 1024 * 1024,
        }
    }
}

/// A mail that arrived.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The envelope's sender.
    pub sender: String,
    /// The envelope's recipients.
    pub recipients: Vec<String>,
    /// Everything from the first header on.
    pub content: String,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The port it came from: the same for mails over one connection.
    pub peer: u64,
}

impl Mail {
    /// A header, unfolded but not decoded.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.content.split("\r\n\r\n").next()?;
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let prefix = format!("{}:", name.to_ascii_lowercase());
        let line = unfolded
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with(&prefix))?;
        Some(line.get(prefix.len()..)?.trim().to_owned())
    }
}

/// A running mail server; ends with this value.
#[derive(Debug)]
pub struct SmtpServer {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    script: Script,
}

impl SmtpServer {
    /// Starts a server. Blocks until it listens.
    pub fn start(options: &Options) -> Result<Self> {
        let mut arguments = json!({
            "tls": match options.tls { Tls::None => "none", Tls::StartTls => "starttls", Tls::Implicit => "tls" },
            "size": options.size_max,
            "mechanisms": options.mechanisms,
        });
        if let Some((certificate, key)) = &options.certificate {
            arguments["cert"] = json!(certificate);
            arguments["key"] = json!(key);
        }
        if let Some((user, password)) = &options.login {
            arguments["user"] = json!(user);
            arguments["password"] = json!(password);
        }
        let script = Script::start("the mail server", include_str!("smtp.py"), &arguments)?;
        Ok(Self {
            port: script.port,
            script,
        })
    }

    /// Every mail so far. It is there before its sender is told, but may be read a moment later: wait for a count.
    pub fn mails(&self) -> Vec<Mail> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.script
            .events("mail")
            .iter()
            .map(|event| Mail {
                sender: text(&event["sender"]),
                recipients: event["recipients"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(text)
                    .collect(),
                content: text(&event["content"]),
                tls: event["tls"] == true,
                peer: event["peer"].as_u64().unwrap_or_default(),
            })
            .collect()
    }

    /// Every recipient that was named so far, refused or not.
    pub fn named(&self) -> Vec<String> {
        self.script
            .events("rcpt")
            .iter()
            .filter_map(|event| Some(event["address"].as_str()?.to_owned()))
            .collect()
    }

    /// Every login so far: by which mechanism, and whether it was good.
    pub fn logins(&self) -> Vec<(String, bool)> {
        self.script
            .events("login")
            .iter()
            .map(|event| {
                let mechanism = event["mechanism"].as_str().unwrap_or_default();
                (mechanism.to_owned(), event["good"] == true)
            })
            .collect()
    }
}
