//! Connections that are not HTTP: the policy holds for them too, and TLS believes whom it should.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail any way it likes"
)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use belfry_egress::{
    EgressClient, EgressLimits, EgressPolicy, Resolver, Resolving, SystemResolver, check_roots,
};
use belfry_model::delivery::Reason;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const CA: &str = include_str!("fixtures/ca.pem");

/// Every name is these addresses.
struct Fixed(Vec<IpAddr>);

impl Resolver for Fixed {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolving<'a> {
        let found = self.0.clone();
        Box::pin(async move { Ok(found) })
    }
}

fn client(policy: EgressPolicy, addresses: &[&str]) -> EgressClient {
    let limits = EgressLimits {
        connect_timeout: Duration::from_millis(800),
        ..EgressLimits::default()
    };
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    EgressClient::new(policy, limits, Arc::new(Fixed(addresses))).unwrap()
}

/// Sends back the first five bytes; over TLS if asked to.
async fn echo(tls: bool) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let certificates = CertificateDer::pem_slice_iter(include_bytes!("fixtures/leaf.pem"))
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("fixtures/leaf.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 5];
                if tls {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    stream.read_exact(&mut bytes).await.unwrap();
                    stream.write_all(&bytes).await.unwrap();
                    stream.shutdown().await.unwrap();
                } else {
                    stream.read_exact(&mut bytes).await.unwrap();
                    stream.write_all(&bytes).await.unwrap();
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn only_vetted_addresses_are_connected_to() {
    let port = echo(false).await;
    for (host, addresses) in [
        ("mail.example.com", &["127.0.0.1"][..]),
        ("mail.example.com", &["10.0.0.1", "169.254.169.254"]),
        ("127.0.0.1", &[]),
        ("[::1]", &[]),
        ("localhost", &["127.0.0.1"]),
    ] {
        let error = client(EgressPolicy::default(), addresses)
            .connect(host, port)
            .await
            .unwrap_err();
        assert_eq!(error.reason, Reason::BlockedAddress, "{host}: {error}");
    }
    // What is allowed of several is used, the first that answers.
    let mut connection = client(
        EgressPolicy::permissive(),
        &["169.254.169.254", "127.0.0.1"],
    )
    .connect("mail.example.com", port)
    .await
    .unwrap();
    assert!(connection.remote().ip().is_loopback() && !connection.is_secure());
    connection.write_all(b"hello").await.unwrap();
    let mut bytes = [0; 5];
    connection.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
}

#[tokio::test]
async fn who_does_not_answer_is_told_apart() {
    let client = client(EgressPolicy::permissive(), &[]);
    let none = client.connect("mail.example.com", 25).await.unwrap_err();
    assert_eq!(none.reason, Reason::DnsError);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let refused = client.connect("127.0.0.1", port).await.unwrap_err();
    assert_eq!(refused.reason, Reason::ConnectRefused);
}

#[tokio::test]
async fn tls_believes_the_given_authority_and_only_for_the_right_name() {
    let port = echo(true).await;
    let client = client(EgressPolicy::permissive(), &["127.0.0.1"]);
    let ours = client.trust(Some(CA)).unwrap();
    let connection = client.connect("sink.test", port).await.unwrap();
    let mut connection = client.secure(connection, "sink.test", &ours).await.unwrap();
    assert!(connection.is_secure());
    connection.write_all(b"hello").await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"hello");

    let connection = client.connect("other.test", port).await.unwrap();
    let error = client
        .secure(connection, "other.test", &ours)
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::TlsError, "{error}");
    // Without the authority: not even when this machine has no authorities of its own.
    if let Ok(platform) = client.trust(None) {
        let connection = client.connect("sink.test", port).await.unwrap();
        let error = client
            .secure(connection, "sink.test", &platform)
            .await
            .unwrap_err();
        assert_eq!(error.reason, Reason::TlsError, "{error}");
        assert!(error.to_string().contains("not trusted here"), "{error}");
    }
    assert!(check_roots(CA).is_ok());
    assert!(check_roots("no certificate").is_err());
}

#[test]
fn a_host_is_a_name_or_an_address_and_nothing_else() {
    let client = EgressClient::new(
        EgressPolicy {
            ports: vec![25, 587],
            ..EgressPolicy::default()
        },
        EgressLimits::default(),
        Arc::new(SystemResolver),
    )
    .unwrap();
    for (host, port, good) in [
        ("smtp.example.com", 587, true),
        ("smtp.example.com", 465, false),
        ("smtp.example.com", 0, false),
        ("8.8.8.8", 25, true),
        ("127.0.0.1", 25, false),
        ("127.1", 25, false),
        ("0x7f000001", 25, false),
        ("2130706433", 25, false),
        ("[::ffff:127.0.0.1]", 25, false),
        ("localhost", 25, false),
        ("", 25, false),
        ("smtp.example.com:25", 25, false),
        ("https://smtp.example.com", 25, false),
        ("smtp example", 25, false),
        ("smtp.example.com\r\n", 25, false),
    ] {
        assert_eq!(client.check_host(host, port).is_ok(), good, "{host}:{port}");
    }
}
