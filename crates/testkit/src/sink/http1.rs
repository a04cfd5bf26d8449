//! As much of HTTP/1.1 as a receiver of webhooks needs, with full control over the socket.

use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Received, Reply};

/// One connection of a sender.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// The next request, complete; `None` when the sender has closed the connection.
    pub(super) async fn read(&mut self) -> io::Result<Option<Received>> {
        let Some(head) = self.read_until(b"\r\n\r\n").await? else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&head).map_err(bad)?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let method: Method = words.next().unwrap_or_default().parse().map_err(bad)?;
        let path = words.next().unwrap_or_default().to_owned();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let name: HeaderName = name.parse().map_err(bad)?;
            headers.append(name, HeaderValue::from_str(value.trim()).map_err(bad)?);
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let body = if text("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
            self.read_chunks().await?
        } else {
            let length = text("content-length").unwrap_or("0").parse().map_err(bad)?;
            self.read_exactly(length).await?
        };
        Ok(Some(Received {
            at: Instant::now(),
            method,
            path,
            headers,
            body,
        }))
    }

    /// Answers; tells whether the connection can be used again.
    pub(super) async fn reply(&mut self, reply: Reply) -> io::Result<bool> {
        match reply {
            Reply::Answer {
                status,
                headers,
                body,
            } => self.answer(status, &headers, &body).await,
            Reply::Late { after, status } => {
                tokio::time::sleep(after).await;
                self.answer(status, &[], "").await
            }
            Reply::Hang => {
                // Until the sender has had enough.
                self.stream.read_buf(&mut self.buffer).await?;
                Ok(false)
            }
            Reply::Drip { every } => self.drip(every).await,
            Reply::Reset => {
                // Closing with a linger time of zero sends a reset instead of an orderly end.
                self.stream.set_zero_linger()?;
                Ok(false)
            }
        }
    }

    async fn answer(
        &mut self,
        status: u16,
        headers: &[(String, String)],
        body: &str,
    ) -> io::Result<bool> {
        let mut head = format!("HTTP/1.1 {status} -\r\n");
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        // A 204 has no body and no length; everything else says its length, also when it is 0.
        if status == 204 {
            head.push_str("\r\n");
        } else {
            head.extend([
                "content-length: ",
                &body.len().to_string(),
                "\r\n\r\n",
                body,
            ]);
        }
        self.stream.write_all(head.as_bytes()).await?;
        Ok(true)
    }

    async fn drip(&mut self, every: Duration) -> io::Result<bool> {
        self.stream
            .write_all(b"HTTP/1.1 200 -\r\ncontent-length: 1000000\r\n\r\n")
            .await?;
        loop {
            tokio::time::sleep(every).await;
            self.stream.write_all(b".").await?;
        }
    }

    /// Takes everything up to and with `end` from the connection, and gives it without `end`.
    async fn read_until(&mut self, end: &[u8]) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(at) = self
                .buffer
                .windows(end.len())
                .position(|window| window == end)
            {
                let mut taken = self.buffer.split_to(at + end.len());
                taken.truncate(at);
                return Ok(Some(taken.freeze()));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn read_exactly(&mut self, length: usize) -> io::Result<Bytes> {
        while self.buffer.len() < length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn read_chunks(&mut self) -> io::Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let line = self
                .read_until(b"\r\n")
                .await?
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            let text = std::str::from_utf8(&line).map_err(bad)?;
            let length = text.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(length, 16).map_err(bad)?;
            body.extend_from_slice(&self.read_exactly(length).await?);
            self.read_exactly(2).await?;
            if length == 0 {
                return Ok(body.freeze());
            }
        }
    }
}

fn bad(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
