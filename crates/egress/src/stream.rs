//! Connections that are not HTTP (mail): a stream to a vetted address, and TLS on top of it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use belfry_model::delivery::Reason;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::EgressClient;
use crate::connector::tls;
use crate::error::{ConnectError, EgressError};
use crate::resolve::ResolveError;

/// Whom TLS believes: the platform's authorities, those of the server's settings, and perhaps one more.
#[derive(Clone)]
pub struct Trust(Arc<rustls::ClientConfig>);

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    remote: SocketAddr,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// Who is at the other end.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Our own end, if it is known.
    pub fn local(&self) -> Option<SocketAddr> {
        let tcp = match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        };
        tcp.local_addr().ok()
    }

    /// Whether TLS protects it.
    pub fn is_secure(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}

impl EgressClient {
    /// Checks a host (a name or a literal address) and a port as far as can be told without asking the network; else
    /// says what is wrong.
    pub fn check_host(&self, host: &str, port: u16) -> Result<(), String> {
        self.policy().check_host(host, port)
    }

    /// Connects to a host, under the policy: its name is resolved once, its addresses are vetted, and only what was
    /// vetted is connected to. Takes at most the limit on connections.
    pub async fn connect(&self, host: &str, port: u16) -> Result<Connection, ConnectError> {
        if let Err(why) = self.check_host(host, port) {
            return Err(ConnectError::new(Reason::BlockedAddress, why));
        }
        let deadline = Instant::now() + self.limits.connect_timeout;
        let too_late = || {
            let detail = "no connection within the limit".to_owned();
            ConnectError::new(Reason::ConnectTimeout, detail)
        };
        let literal: Option<IpAddr> = bare(host).parse().ok();
        let addresses = match literal {
            Some(address) => vec![SocketAddr::new(address, port)],
            None => match timeout_at(deadline, self.resolver.vetted(host)).await {
                Ok(Ok(found)) => found
                    .into_iter()
                    .map(|found| SocketAddr::new(found.ip(), port))
                    .collect(),
                Ok(Err(error)) => return Err(unresolved(&error)),
                Err(_) => return Err(too_late()),
            },
        };
        let mut failed = too_late();
        for (n, address) in addresses.iter().enumerate() {
            // An address that does not answer leaves time for those after it.
            let left = u32::try_from(addresses.len() - n).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            match timeout_at(Instant::now() + share, TcpStream::connect(*address)).await {
                Ok(Ok(stream)) => {
                    // Commands are short and wait for their answers.
                    drop(stream.set_nodelay(true));
                    return Ok(Connection {
                        stream: Stream::Plain(stream),
                        remote: *address,
                    });
                }
                Ok(Err(error)) => failed = unconnected(&error),
                Err(_) => failed = too_late(),
            }
        }
        Err(failed)
    }

    /// Whom to believe on connections of one target; `more_pem` holds further authorities, such as a company's own.
    /// Reads the platform's certificates, so keep what it gives.
    pub fn trust(&self, more_pem: Option<&str>) -> Result<Trust, EgressError> {
        let mut roots = self.roots.to_vec();
        if let Some(pem) = more_pem {
            roots.extend(read_roots(pem.as_bytes())?);
        }
        Ok(Trust(Arc::new(tls(roots)?)))
    }

    /// Puts TLS on a connection; `host` is the name that its certificate must have. The caller keeps the time.
    pub async fn secure(
        &self,
        connection: Connection,
        host: &str,
        trust: &Trust,
    ) -> Result<Connection, ConnectError> {
        let tls_error = |why: &dyn fmt::Display| {
            ConnectError::new(Reason::TlsError, format!("TLS failed: {why}"))
        };
        let Stream::Plain(stream) = connection.stream else {
            return Ok(connection);
        };
        let name =
            ServerName::try_from(bare(host).to_owned()).map_err(|error| tls_error(&error))?;
        let connector = TlsConnector::from(Arc::clone(&trust.0));
        match connector.connect(name, stream).await {
            Ok(stream) => Ok(Connection {
                stream: Stream::Tls(Box::new(stream)),
                remote: connection.remote,
            }),
            Err(error) => Err(tls_error(&error)),
        }
    }
}

/// Whether a text holds certificates (PEM) that [`EgressClient::trust`] can read.
pub fn check_roots(pem: &str) -> Result<(), EgressError> {
    read_roots(pem.as_bytes()).map(drop)
}

/// The certificates in a PEM text.
pub(crate) fn read_roots(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, EgressError> {
    let roots: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| EgressError::Roots(error.to_string()))?;
    if roots.is_empty() {
        return Err(EgressError::Roots("no certificate in it".to_owned()));
    }
    Ok(roots)
}

/// A literal IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host)
}

fn unresolved(error: &ResolveError) -> ConnectError {
    let reason = match error {
        ResolveError::Blocked { .. } => Reason::BlockedAddress,
        ResolveError::Unknown { .. } | ResolveError::Empty { .. } => Reason::DnsError,
    };
    ConnectError::new(reason, error.to_string())
}

fn unconnected(error: &io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::TimedOut => ConnectError::new(
            Reason::ConnectTimeout,
            "no connection within the limit".to_owned(),
        ),
        io::ErrorKind::ConnectionRefused => {
            ConnectError::new(Reason::ConnectRefused, "connection refused".to_owned())
        }
        _ => ConnectError::new(Reason::ConnectRefused, format!("no connection: {error}")),
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
