//! Names to addresses, vetted before anything can connect to them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;

use crate::policy::EgressPolicy;

/// The addresses of a host, some time.
pub type Resolving<'a> = BoxFuture<'a, io::Result<Vec<IpAddr>>>;

/// Turns host names into addresses. Need not judge them: that is done to whatever it answers.
pub trait Resolver: Send + Sync {
    /// All addresses of `host`, best first.
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a>;
}

/// Asks the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            // The port is a filler; the connector puts in the real one.
            Ok(tokio::net::lookup_host((host, 0))
                .await?
                .map(|found| found.ip())
                .collect())
        })
    }
}

/// Why a name gives no address to connect to. Found again in the error chain of the HTTP client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("{host} has no address: {cause}")]
    Unknown { host: String, cause: io::Error },
    #[error("{host} has no address")]
    Empty { host: String },
    #[error("{host} resolves to an address that is not allowed: {why}")]
    Blocked { host: String, why: String },
}

/// The resolver of every connection: hands out vetted addresses only (their port is a filler).
#[derive(Clone)]
pub(crate) struct VettedResolver {
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) policy: Arc<EgressPolicy>,
}

impl VettedResolver {
    pub(crate) async fn vetted(&self, host: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        let named = || host.to_owned();
        let found = match self.resolver.resolve(host).await {
            Ok(found) => found,
            Err(cause) => {
                return Err(ResolveError::Unknown {
                    host: named(),
                    cause,
                });
            }
        };
        let mut refused = None;
        let mut vetted = Vec::with_capacity(found.len());
        for address in found {
            match self.policy.check_address(address) {
                Ok(()) => vetted.push(SocketAddr::new(address, 0)),
                Err(why) => refused = Some(why),
            }
        }
        match (vetted.is_empty(), refused) {
            (false, _) => Ok(vetted),
            (true, Some(why)) => Err(ResolveError::Blocked { host: named(), why }),
            (true, None) => Err(ResolveError::Empty { host: named() }),
        }
    }
}

impl Service<Name> for VettedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = BoxFuture<'static, Result<Self::Response, ResolveError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move { Ok(resolver.vetted(name.as_str()).await?.into_iter()) })
    }
}
