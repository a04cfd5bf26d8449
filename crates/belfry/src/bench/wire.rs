//! As much of HTTP/1.1 as senders and receiver need, and no more: they share the machine with the server, so what they
//! use of it is missing there. Messages have a `content-length` and nothing else that matters.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Larger messages are nobody's here.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A connection that is read message by message.
pub(super) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
    used: usize,
}

/// A message; the first line is "POST /path HTTP/1.1" or "HTTP/1.1 202 Accepted".
pub(super) struct Message<'a> {
    pub(super) first_line: &'a [u8],
    pub(super) body: &'a [u8],
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            read: Vec::with_capacity(8192),
            used: 0,
        })
    }

    pub(super) async fn write(&mut self, message: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(message).await?;
        Ok(())
    }

    /// The next message; `None` when the other side has closed between two.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Message<'_>>> {
        self.read.drain(..self.used);
        self.used = 0;
        let head = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more().await? {
                if self.read.is_empty() {
                    return Ok(None);
                }
                bail!("the connection ended in the middle of a message");
            }
        };
        let length = content_length(self.read.get(..head).unwrap_or_default())?;
        while self.read.len() < head + length {
            if !self.more().await? {
                bail!("the connection ended in the middle of a message");
            }
        }
        self.used = head + length;
        let line = self
            .read
            .iter()
            .position(|&byte| byte == b'\r')
            .unwrap_or(0);
        Ok(Some(Message {
            first_line: self.read.get(..line).unwrap_or_default(),
            body: self.read.get(head..head + length).unwrap_or_default(),
        }))
    }

    async fn more(&mut self) -> anyhow::Result<bool> {
        if self.read.len() > MESSAGE_BYTES_MAX {
            bail!("a message is too large");
        }
        Ok(self.stream.read_buf(&mut self.read).await? > 0)
    }
}

fn content_length(head: &[u8]) -> anyhow::Result<usize> {
    const NAME: &[u8] = b"content-length:";
    let value = head
        .split(|&byte| byte == b'\n')
        .find_map(|line| {
            let (name, value) = line.split_at_checked(NAME.len())?;
            name.eq_ignore_ascii_case(NAME).then_some(value)
        })
        .context("a message without content-length")?;
    std::str::from_utf8(value)?
        .trim()
        .parse()
        .context("a content-length that is no number")
}
