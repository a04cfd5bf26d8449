//! The SMTP conversation over one connection (RFC 5321, 3207, 4954): greeting, TLS, login, one message at a time.
//!
//! Each recipient has an answer of its own here, and what the server says is kept word for word. It must never know
//! what an answer means for a delivery: that is `answer`.

use std::fmt;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use belfry_egress::{ConnectError, Connection, EgressClient, Trust};
use belfry_model::delivery::Reason;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Longest reply of a server, all its lines together.
const REPLY_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of a reply's text that are kept.
const TEXT_BYTES_MAX: usize = 400;

/// Where a conversation stands when the server says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The connection was opened; the server speaks first.
    Greeting,
    /// `EHLO`.
    Hello,
    /// `STARTTLS`.
    StartTls,
    /// `AUTH`.
    Login,
    /// `MAIL FROM`.
    Sender,
    /// `RCPT TO`.
    Recipient,
    /// `DATA`.
    Data,
    /// The message itself.
    Content,
    /// `RSET`, between two messages.
    Reset,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "the connection",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Login => "AUTH",
            Self::Sender => "MAIL FROM",
            Self::Recipient => "RCPT TO",
            Self::Data => "DATA",
            Self::Content => "the message",
            Self::Reset => "RSET",
        })
    }
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The code, 200 to 599.
    pub(crate) code: u16,
    /// The text of all its lines, in one.
    pub(crate) text: String,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

/// Why a conversation did not get on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There is no conversation (any more).
    Broken {
        /// For programs.
        reason: Reason,
        /// For people.
        detail: String,
    },
    /// The server said no.
    Refused(Step, Reply),
    /// The server offers no way to log in that is known here (`PLAIN`, `LOGIN`).
    NoLogin,
}

impl From<ConnectError> for Trouble {
    fn from(error: ConnectError) -> Self {
        Self::Broken {
            reason: error.reason,
            detail: error.detail,
        }
    }
}

fn broken(reason: Reason, detail: impl Into<String>) -> Trouble {
    Trouble::Broken {
        reason,
        detail: detail.into(),
    }
}

/// How the connection is protected.
#[derive(Debug, Clone)]
pub(crate) enum Protection {
    /// TLS from the first byte.
    Tls(Trust),
    /// TLS after `STARTTLS`; without it nothing is sent.
    StartTls(Trust),
    /// None: only to this machine.
    None,
}

/// Whom to talk to, and as whom.
pub(crate) struct Server<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) protection: &'a Protection,
    /// The name in `EHLO`; absent: the address that the connection is from.
    pub(crate) hello: Option<&'a str>,
    /// User name and password.
    pub(crate) login: Option<(&'a str, &'a str)>,
}

/// What a server can do.
#[derive(Debug, Default)]
struct Abilities {
    starttls: bool,
    plain: bool,
    login: bool,
    size_max: Option<usize>,
}

/// A conversation that is ready for a message.
pub(crate) struct Session {
    connection: Connection,
    /// What has arrived and was not read yet.
    buffer: Vec<u8>,
    abilities: Abilities,
    /// Messages so far.
    pub(crate) messages: u32,
}

impl Session {
    /// Connects, protects the connection and logs in. The caller keeps the time.
    pub(crate) async fn open(egress: &EgressClient, server: &Server<'_>) -> Result<Self, Trouble> {
        let mut connection = egress.connect(server.host, server.port).await?;
        let hello = server
            .hello
            .map_or_else(|| literal(connection.local()), str::to_owned);
        match server.protection {
            Protection::Tls(trust) => {
                connection = egress.secure(connection, server.host, trust).await?;
            }
            Protection::None if !connection.remote().ip().is_loopback() => {
                let detail =
                    "security is none, but the server is not on this machine: nothing was sent";
                return Err(broken(Reason::BlockedAddress, detail));
            }
            Protection::StartTls(_) | Protection::None => {}
        }
        let mut session = Self {
            connection,
            buffer: Vec::new(),
            abilities: Abilities::default(),
            messages: 0,
        };
        let greeting = session.reply().await?;
        accept(Step::Greeting, greeting)?;
        session.hello(&hello).await?;
        if let Protection::StartTls(trust) = server.protection {
            session = session.start_tls(egress, server.host, trust).await?;
            session.hello(&hello).await?;
        }
        if let Some((user, password)) = server.login {
            session.login(user, password).await?;
        }
        Ok(session)
    }

    async fn hello(&mut self, name: &str) -> Result<(), Trouble> {
        self.write(format!("EHLO {name}\r\n").as_bytes()).await?;
        let lines = self.lines().await?;
        let reply = joined(&lines)?;
        self.abilities = abilities(&lines);
        accept(Step::Hello, reply).map(drop)
    }

    async fn start_tls(
        mut self,
        egress: &EgressClient,
        host: &str,
        trust: &Trust,
    ) -> Result<Self, Trouble> {
        if !self.abilities.starttls {
            let detail = "the server does not offer STARTTLS, so nothing was sent; it may need security tls (port 465)";
            return Err(broken(Reason::TlsError, detail));
        }
        accept(Step::StartTls, self.command("STARTTLS").await?)?;
        if !self.buffer.is_empty() {
            // Somebody in between put words into the server's mouth, to be read as if they had come through TLS.
            let detail = "the server went on speaking in clear after STARTTLS; nothing was sent";
            return Err(broken(Reason::TlsError, detail));
        }
        self.connection = egress.secure(self.connection, host, trust).await?;
        Ok(self)
    }

    async fn login(&mut self, user: &str, password: &str) -> Result<(), Trouble> {
        // Settings do not let it come to this; a password must not depend on that.
        if !self.connection.is_secure() && !self.connection.remote().ip().is_loopback() {
            return Err(broken(
                Reason::TlsError,
                "credentials are not sent over a clear connection",
            ));
        }
        let last = if self.abilities.plain {
            let both = BASE64.encode(format!("\0{user}\0{password}"));
            self.command(&format!("AUTH PLAIN {both}")).await?
        } else if self.abilities.login {
            let mut asked = self.command("AUTH LOGIN").await?;
            for text in [user, password] {
                if asked.code != 334 {
                    break;
                }
                asked = self.command(&BASE64.encode(text)).await?;
            }
            asked
        } else {
            return Err(Trouble::NoLogin);
        };
        if last.code == 235 {
            Ok(())
        } else {
            Err(Trouble::Refused(Step::Login, last))
        }
    }

    /// The largest message that the server takes, if it said so.
    pub(crate) fn size_max(&self) -> Option<usize> {
        self.abilities.size_max
    }

    /// Begins a message.
    pub(crate) async fn sender(&mut self, address: &str, bytes: usize) -> Result<(), Trouble> {
        self.messages += 1;
        let size = if self.abilities.size_max.is_some() {
            format!(" SIZE={bytes}")
        } else {
            String::new()
        };
        let reply = self
            .command(&format!("MAIL FROM:<{address}>{size}"))
            .await?;
        accept(Step::Sender, reply).map(drop)
    }

    /// Names a recipient; the reply is an answer of its own, whatever it says. Only 421 ends the conversation.
    pub(crate) async fn recipient(&mut self, address: &str) -> Result<Reply, Trouble> {
        let reply = self.command(&format!("RCPT TO:<{address}>")).await?;
        if reply.code == 421 {
            return Err(Trouble::Refused(Step::Recipient, reply));
        }
        Ok(reply)
    }

    /// Sends the message to the recipients that were accepted. From here to the reply, nobody knows whether it arrived.
    pub(crate) async fn content(&mut self, message: &[u8]) -> Result<Reply, Trouble> {
        let go_on = self.command("DATA").await?;
        if go_on.code != 354 {
            return Err(Trouble::Refused(Step::Data, go_on));
        }
        self.write(&stuffed(message)).await?;
        let reply = self.reply().await?;
        accept(Step::Content, reply)
    }

    /// Forgets what was begun, and shows that the connection still lives.
    pub(crate) async fn reset(&mut self) -> Result<(), Trouble> {
        let reply = self.command("RSET").await?;
        accept(Step::Reset, reply).map(drop)
    }

    /// Says goodbye; what comes of it does not matter.
    pub(crate) async fn quit(mut self) {
        drop(self.write(b"QUIT\r\n").await);
        drop(self.connection.shutdown().await);
    }

    /// Sends one line and reads the reply. The line was made of checked parts and holds no line break.
    async fn command(&mut self, line: &str) -> Result<Reply, Trouble> {
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.reply().await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let written = async {
            self.connection.write_all(bytes).await?;
            self.connection.flush().await
        };
        written.await.map_err(|error| lost(&error))
    }

    async fn reply(&mut self) -> Result<Reply, Trouble> {
        joined(&self.lines().await?)
    }

    /// The lines of one reply, without line breaks. The last one has a blank after its code, others a hyphen.
    async fn lines(&mut self) -> Result<Vec<String>, Trouble> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        loop {
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                bytes += line.len();
                let line = String::from_utf8_lossy(&line);
                let line = line.trim_end_matches(['\r', '\n']);
                let last = line.as_bytes().get(3) != Some(&b'-');
                lines.push(line.to_owned());
                if last {
                    return Ok(lines);
                }
            }
            if bytes + self.buffer.len() > REPLY_BYTES_MAX {
                let detail = format!("the server's reply is longer than {REPLY_BYTES_MAX} bytes");
                return Err(broken(Reason::BadResponse, detail));
            }
            match self.connection.read_buf(&mut self.buffer).await {
                Ok(0) => {
                    let detail = "the server closed the connection before it had answered";
                    return Err(broken(Reason::ConnectionReset, detail));
                }
                Ok(_) => {}
                Err(error) => return Err(lost(&error)),
            }
        }
    }
}

fn lost(error: &io::Error) -> Trouble {
    broken(
        Reason::ConnectionReset,
        format!("the connection broke: {error}"),
    )
}

/// A reply of 200 to 399 passes.
fn accept(step: Step, reply: Reply) -> Result<Reply, Trouble> {
    if reply.code < 400 {
        Ok(reply)
    } else {
        Err(Trouble::Refused(step, reply))
    }
}

/// One reply of its lines: the code of the last, the text of all.
fn joined(lines: &[String]) -> Result<Reply, Trouble> {
    let last = lines.last().map(String::as_str).unwrap_or_default();
    let code = last
        .get(..3)
        .and_then(|digits| digits.parse().ok())
        .filter(|code| (200..600).contains(code));
    let Some(code) = code else {
        let detail = "the server's reply is no SMTP";
        return Err(broken(Reason::BadResponse, detail));
    };
    let texts: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.get(4..))
        .map(str::trim)
        .collect();
    let mut text = texts.join(" ");
    text.retain(|c| !c.is_control());
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    Ok(Reply { code, text })
}

fn abilities(lines: &[String]) -> Abilities {
    let mut found = Abilities::default();
    // The first line is the server's name.
    for line in lines.iter().skip(1).filter_map(|line| line.get(4..)) {
        let mut words = line.split_ascii_whitespace();
        let Some(word) = words.next() else { continue };
        match word.to_ascii_uppercase().as_str() {
            "STARTTLS" => found.starttls = true,
            // 0 means that there is no fixed limit (RFC 1870).
            "SIZE" => {
                found.size_max = words
                    .next()
                    .and_then(|digits| digits.parse().ok())
                    .filter(|size| *size > 0);
            }
            "AUTH" => {
                for mechanism in words {
                    found.plain |= mechanism.eq_ignore_ascii_case("PLAIN");
                    found.login |= mechanism.eq_ignore_ascii_case("LOGIN");
                }
            }
            _ => {}
        }
    }
    found
}

/// The address that a connection is from, as `EHLO` writes it.
fn literal(address: Option<std::net::SocketAddr>) -> String {
    match address.map(|address| address.ip()) {
        Some(std::net::IpAddr::V4(v4)) => format!("[{v4}]"),
        Some(std::net::IpAddr::V6(v6)) => format!("[IPv6:{v6}]"),
        None => "[127.0.0.1]".to_owned(),
    }
}

/// A message as it goes over the wire: every line ends with CR LF, a dot at the start of a line is doubled, and a dot
/// alone ends it.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + message.len() / 32 + 8);
    for line in message.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.first() == Some(&b'.') {
            wire.push(b'.');
        }
        // A bare CR would be read as the end of a line by some, and smuggle a second message past others.
        wire.extend(line.iter().filter(|byte| **byte != b'\r'));
        wire.extend_from_slice(b"\r\n");
    }
    if message.ends_with(b"\n") {
        // The piece after the last line break was no line.
        wire.truncate(wire.len() - 2);
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_content_can_end_a_message_early() {
        for (message, wire) in [
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\nb\n", "a\r\nb\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            (
                "a\r\n.\r\nMAIL FROM:<x>\r\n",
                "a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n",
            ),
            ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r.\r\nb", "a.\r\nb\r\n.\r\n"),
            ("..x\r\n", "...x\r\n.\r\n"),
            ("", "\r\n.\r\n"),
        ] {
            assert_eq!(
                String::from_utf8(stuffed(message.as_bytes())).unwrap(),
                wire,
                "{message:?}"
            );
        }
    }

    #[test]
    fn replies_of_several_lines_are_read_as_one() {
        let lines = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        let hello = lines(&[
            "250-mx.example Hello",
            "250-SIZE 35882577",
            "250-auth login Plain XOAUTH2",
            "250-STARTTLS",
            "250 8BITMIME",
        ]);
        let found = abilities(&hello);
        assert!(found.starttls && found.plain && found.login);
        assert_eq!(found.size_max, Some(35_882_577));
        assert_eq!(abilities(&lines(&["250-a", "250 SIZE 0"])).size_max, None);
        assert_eq!(
            joined(&lines(&["550-5.1.1 no", "550 such user\u{7}"])).unwrap(),
            Reply {
                code: 550,
                text: "5.1.1 no such user".to_owned()
            }
        );
        assert_eq!(joined(&lines(&["354"])).unwrap().code, 354);
        for bad in [
            "",
            "99",
            "abc hello",
            "HTTP/1.1 400 Bad Request",
            "600 no",
            "+25 x",
        ] {
            assert!(joined(&lines(&[bad])).is_err(), "{bad}");
        }
    }
}
