//! Bytes on a socket, for what no proper client sends.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection to a server.
#[derive(Debug)]
pub struct Raw(TcpStream);

impl Raw {
    /// Connects to `host:port`.
    pub async fn connect(address: &str) -> Result<Self> {
        Ok(Self(
            TcpStream::connect(address)
                .await
                .with_context(|| address.to_owned())?,
        ))
    }

    /// Sends bytes as they are. Fails when the server has closed the connection.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.0.write_all(bytes.as_ref()).await?;
        Ok(())
    }

    /// Everything that the server sends until it closes the connection. An abrupt end is an end, too.
    pub async fn read_to_end(&mut self, limit: Duration) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut part = [0; 4096];
        let reading = async {
            while let Ok(1..) = self
                .0
                .read(&mut part)
                .await
                .inspect(|n| all.extend(&part[..*n]))
            {}
        };
        timeout(limit, reading)
            .await
            .context("the server did not close the connection in time")?;
        Ok(all)
    }
}

/// Sends the bytes of one request and gives the status and the body of its answer. The request should ask for
/// `connection: close`.
pub async fn exchange(address: &str, request: &[u8], limit: Duration) -> Result<(u16, Vec<u8>)> {
    let mut connection = Raw::connect(address).await?;
    // A server may refuse after a part of a request, and close before it has read the rest.
    let sent = connection.send(request).await;
    let answer = connection.read_to_end(limit).await?;
    let status = status(&answer);
    match (status, sent) {
        (Some(status), _) => {
            let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
            Ok((
                status,
                end.map_or(Vec::new(), |end| answer[end + 4..].to_vec()),
            ))
        }
        (None, Err(error)) => Err(error),
        (None, Ok(())) => anyhow::bail!("no answer but {:?}", String::from_utf8_lossy(&answer)),
    }
}

/// The status code at the beginning of an answer.
pub fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(line)
        .ok()?
        .strip_prefix("HTTP/1.1 ")?
        .get(..3)?
        .parse()
        .ok()
}
