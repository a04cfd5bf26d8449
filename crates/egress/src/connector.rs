//! How the HTTP client connects: to vetted addresses, with TLS where the URL says so, within the limit on connections.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use tower::Service;

use crate::error::EgressError;
use crate::resolve::VettedResolver;

/// An unused connection is asked so often whether the receiver is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// A receiver that does not say so after so many times is gone.
const KEEPALIVE_RETRIES: u32 = 3;

type Https = HttpsConnector<HttpConnector<VettedResolver>>;

/// Makes the connections.
#[derive(Clone)]
pub(crate) struct Connector {
    https: Https,
    /// For name, TCP and TLS together.
    limit: Duration,
}

impl Connector {
    pub(crate) fn new(resolver: VettedResolver, tls: ClientConfig, limit: Duration) -> Self {
        let mut http = HttpConnector::new_with_resolver(resolver);
        http.enforce_http(false);
        // Requests are sent as a whole: waiting to fill a packet would only add latency.
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEPALIVE));
        http.set_keepalive_interval(Some(KEEPALIVE));
        http.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(http);
        Self { https, limit }
    }
}

impl Service<Uri> for Connector {
    type Response = <Https as Service<Uri>>::Response;
    type Error = <Https as Service<Uri>>::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = timeout(self.limit, self.https.call(uri));
        Box::pin(async move {
            connected
                .await
                .unwrap_or_else(|_elapsed| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
        })
    }
}

/// Believes the platform's authorities and `roots`.
pub(crate) fn tls(roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, EgressError> {
    let setup = |error: rustls::Error| EgressError::Setup(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls_platform_verifier::Verifier::new_with_extra_roots(roots, Arc::clone(&provider))
            .map_err(setup)?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(setup)?
        // The platform's own verifier is "custom" to the TLS library; it checks names, dates and chains.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}
