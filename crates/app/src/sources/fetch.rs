//! What is fetched from vendors to believe them: certificates of signatures, and addresses that confirm a subscription.
//!
//! `belfry-sources` has found each address to be the vendor's before it names it; the egress policy holds all the same, and
//! no redirect is followed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use belfry_egress::{EgressClient, HeaderMap, HeaderValue, Method, Request, Response};
use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::error::{Code, Error, Result};

/// Certificates held at once; vendors have a few each.
const CERTIFICATES_MAX: usize = 64;
/// How long a certificate is held, and how long is remembered that there is none at an address.
const FRESH_MS: i64 = 24 * 3_600_000;
const MISSING_MS: i64 = 60_000;
/// Certificates fetched at once, and how long one may take: the sender waits for its answer.
const FETCHES_MAX: usize = 4;
const CERTIFICATE_TIME: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What is known of certificates, by their addresses.
#[derive(Debug)]
pub(crate) struct Certificates {
    known: Mutex<HashMap<String, Known>>,
    fetches: Semaphore,
}

#[derive(Debug, Clone)]
struct Known {
    /// The text, or that there is none.
    pem: Option<String>,
    until_ms: i64,
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            fetches: Semaphore::new(FETCHES_MAX),
        }
    }
}

impl Certificates {
    /// The certificate at an address. `None`: there is none.
    pub(crate) async fn get(
        &self,
        egress: &EgressClient,
        agent: &str,
        url: &str,
        now_ms: i64,
    ) -> Result<Option<String>> {
        if let Some(known) = self.lock().get(url).filter(|known| now_ms < known.until_ms) {
            return Ok(known.pem.clone());
        }
        let Ok(_turn) = self.fetches.try_acquire() else {
            return Err(unavailable("too many certificates are being fetched"));
        };
        let answer = fetch(egress, agent, url, CERTIFICATE_TIME)
            .await
            .map_err(|why| unavailable(&format!("the certificate of the signature: {why}")))?;
        if answer.status.is_server_error() {
            return Err(unavailable("the vendor does not give the certificate out"));
        }
        let pem = (answer.status.is_success() && !answer.truncated)
            .then(|| String::from_utf8(answer.body.to_vec()).ok())
            .flatten();
        let fresh = if pem.is_some() { FRESH_MS } else { MISSING_MS };
        let known = Known {
            pem: pem.clone(),
            until_ms: now_ms + fresh,
        };
        let mut all = self.lock();
        if all.len() >= CERTIFICATES_MAX {
            all.retain(|_, known| now_ms < known.until_ms && known.pem.is_some());
        }
        if all.len() >= CERTIFICATES_MAX {
            all.clear();
        }
        all.insert(url.to_owned(), known);
        Ok(pem)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(detail: &str) -> Error {
    Error::new(Code::Unavailable, format!("{detail}; send it again later"))
        .retry_after(Duration::from_secs(5))
}

/// Fetches an address once. The error says why not, for a person, without the address: it may hold a secret.
pub(crate) async fn fetch(
    egress: &EgressClient,
    agent: &str,
    url: &str,
    limit: Duration,
) -> std::result::Result<Response, String> {
    let url = egress.check_url(url)?;
    let mut headers = HeaderMap::new();
    if let Ok(agent) = HeaderValue::from_str(agent) {
        headers.insert("user-agent", agent);
    }
    let request = Request {
        method: Method::GET,
        url,
        headers,
        body: Bytes::new(),
        timeout: limit,
        response_bytes_max: ANSWER_BYTES_MAX,
    };
    egress.send(request).await.map_err(|error| error.detail)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use belfry_egress::{EgressLimits, EgressPolicy, SystemResolver};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Somewhere certificates are, and how often somebody asked.
    async fn vendor(answers: &'static [&'static str]) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/cert.pem", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let at = count.fetch_add(1, Ordering::SeqCst);
                let answer = answers[at.min(answers.len() - 1)];
                let _read = stream.read(&mut [0; 4096]).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (url, asked)
    }

    fn client(policy: EgressPolicy) -> EgressClient {
        EgressClient::new(policy, EgressLimits::default(), Arc::new(SystemResolver)).unwrap()
    }

    const PEM: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\n-PEM";
    const MOVED: &str = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    const BROKEN: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn a_certificate_is_fetched_once_a_day() {
        let (url, asked) = vendor(&[BROKEN, PEM]).await;
        let (certificates, egress) = (Certificates::default(), client(EgressPolicy::permissive()));
        let get = async |now_ms| certificates.get(&egress, "test", &url, now_ms).await;
        // A vendor that is away is no vendor without a certificate.
        assert_eq!(get(0).await.unwrap_err().code(), Code::Unavailable);
        for now_ms in [0, 1, FRESH_MS - 1] {
            assert_eq!(get(now_ms).await.unwrap().as_deref(), Some("-PEM"));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        get(FRESH_MS).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn no_redirect_is_followed_and_that_there_is_none_is_remembered_for_a_while() {
        let (url, asked) = vendor(&[MOVED]).await;
        let (certificates, egress) = (Certificates::default(), client(EgressPolicy::permissive()));
        for now_ms in [0, MISSING_MS - 1, MISSING_MS] {
            let found = certificates.get(&egress, "test", &url, now_ms).await;
            assert_eq!(found.unwrap(), None);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn the_egress_policy_holds() {
        let (url, asked) = vendor(&[PEM]).await;
        let policy = EgressPolicy {
            allow_loopback: false,
            allow: Vec::new(),
            ..EgressPolicy::permissive()
        };
        let refused = fetch(&client(policy), "test", &url, CERTIFICATE_TIME).await;
        assert!(!refused.unwrap_err().contains("cert.pem"));
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }
}
