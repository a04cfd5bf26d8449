//! A real mail server (`aiosmtpd`) whose recipients are refused in every way a real server knows.
//!
//! What becomes of a recipient is said by its local part: see `smtp.py`. `cargo xtask test` installs what it needs.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// The interpreter for which the packages of the system are; a newer one in `PATH` does not know them.
pub const PYTHON: &str = "/usr/bin/python3";

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
    happened: Arc<Mutex<Vec<Value>>>,
    process: Child,
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
        let mut process = Command::new(PYTHON)
            .args(["-W", "ignore", "-c", include_str!("smtp.py")])
            .arg(arguments.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{PYTHON} for the mail server"))?;
        let output = process.stdout.take().context("its output")?;
        let mut lines = BufReader::new(output).lines();
        let Some(Ok(first)) = lines.next() else {
            bail!("the mail server did not start; `cargo xtask test` installs aiosmtpd");
        };
        let ready: Value = serde_json::from_str(&first)?;
        let port = ready["port"].as_u64().context("its port")?;
        let happened = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&happened);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::Null);
                log.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(event);
            }
        });
        Ok(Self {
            port: u16::try_from(port)?,
            happened,
            process,
        })
    }

    fn events(&self, name: &str) -> Vec<Value> {
        let happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        happened
            .iter()
            .filter(|event| event["event"] == name)
            .cloned()
            .collect()
    }

    /// Every mail so far. It is there before its sender is told, but may be read a moment later: wait for a count.
    pub fn mails(&self) -> Vec<Mail> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.events("mail")
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
        self.events("rcpt")
            .iter()
            .filter_map(|event| Some(event["address"].as_str()?.to_owned()))
            .collect()
    }

    /// Every login so far: by which mechanism, and whether it was good.
    pub fn logins(&self) -> Vec<(String, bool)> {
        self.events("login")
            .iter()
            .map(|event| {
                let mechanism = event["mechanism"].as_str().unwrap_or_default();
                (mechanism.to_owned(), event["good"] == true)
            })
            .collect()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
