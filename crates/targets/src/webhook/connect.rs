//! From settings to a webhook that is ready to send: everything that is the same for every request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use belfry_egress::{EgressClient, HeaderMap, HeaderName, HeaderValue, Method, Url};
use belfry_model::{Clock, FieldError};
use url::form_urlencoded::byte_serialize;

use super::check::{Checked, check};
use super::config::{Auth, BodyForm, HandshakeSettings, KeyPlace, WebhookMethod, WebhookSettings};
use super::handshake;
use super::oauth::{Credentials, TokenSource, basic};
use super::sign::Signer;
use crate::kind::ConnectContext;
use crate::record::{Scrub, sensitive_name, shown_url};
use crate::secret::{MASK, Secret};

/// The longest wait for a token, on top of the time for the request itself.
const TOKEN_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// A webhook that is ready to send.
pub(crate) struct Webhook {
    pub(super) url: Url,
    /// The URL as records have it.
    pub(super) shown_url: String,
    pub(super) method: Method,
    pub(super) form: BodyForm,
    /// What every request carries: custom headers, auth, user agent.
    pub(super) headers: HeaderMap,
    /// Names of headers that are secret though their names do not tell.
    pub(super) secret_headers: Vec<String>,
    pub(super) signer: Option<Signer>,
    pub(super) tokens: Option<TokenSource>,
    pub(super) token_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) response_bytes_max: usize,
    pub(super) success: Option<Vec<u16>>,
    pub(super) handshake: Option<HandshakeSettings>,
    /// Without custom headers and auth: what a receiver gets that has not consented yet.
    pub(super) bare_url: Url,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) scrub: Scrub,
    pub(super) egress: Arc<EgressClient>,
    pub(super) clock: Arc<dyn Clock>,
}

impl fmt::Debug for Webhook {
    /// Leaves out what may be secret: path, query, headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// Makes a webhook of settings with their secrets in clear.
    pub(crate) fn connect(
        settings: WebhookSettings,
        context: &ConnectContext,
    ) -> Result<Self, Vec<FieldError>> {
        let Checked { url, token_url } = check(&settings, &context.egress)?;
        let signer = settings.signing.enabled.then(|| {
            let texts = |list: &[Secret]| -> Vec<String> {
                list.iter()
                    .map(|secret| secret.expose().to_owned())
                    .collect()
            };
            let (secrets, keys) = (
                texts(&settings.signing.secrets),
                texts(&settings.signing.keys),
            );
            Signer::new(
                secrets.iter().map(String::as_str),
                keys.iter().map(String::as_str),
            )
        });
        if signer.as_ref().is_some_and(Signer::is_empty) {
            let detail = "signing is on but there is neither a secret nor a key";
            return Err(vec![FieldError::new("/signing", detail)]);
        }
        let request_timeout = Duration::from_secs(settings.timeout_seconds.into());
        let user_agent = HeaderValue::from_str(&context.user_agent).ok();
        let mut webhook = Self {
            bare_url: url.clone(),
            shown_url: shown_url(&url),
            url,
            method: match settings.method {
                WebhookMethod::Post => Method::POST,
                WebhookMethod::Put => Method::PUT,
            },
            form: settings.body,
            headers: HeaderMap::new(),
            secret_headers: Vec::new(),
            signer,
            tokens: None,
            token_timeout: request_timeout.min(TOKEN_TIMEOUT_MAX),
            request_timeout,
            response_bytes_max: usize::try_from(settings.response_bytes_max).unwrap_or(0),
            success: settings.success_status,
            handshake: settings.handshake,
            user_agent,
            scrub: Scrub::default(),
            egress: Arc::clone(&context.egress),
            clock: Arc::clone(&context.clock),
        };
        if let Some(value) = webhook.user_agent.clone() {
            webhook.headers.insert("user-agent", value);
        }
        for (name, value) in &settings.headers {
            webhook.put_header(name, value.expose(), sensitive_name(name));
        }
        if let Some(handshake) = &webhook.handshake
            && let Ok(origin) = HeaderValue::from_str(&handshake.origin)
        {
            webhook.headers.insert(handshake::ORIGIN, origin);
        }
        for secret in settings
            .signing
            .secrets
            .iter()
            .chain(&settings.signing.keys)
        {
            webhook.scrub.add(secret.expose());
        }
        webhook.scrub.add_url(&webhook.url);
        if let Some(auth) = &settings.auth {
            webhook.put_auth(auth, token_url);
        }
        Ok(webhook)
    }

    fn put_header(&mut self, name: &str, text: &str, secret: bool) {
        // Both were checked; what could not be read here would have been refused before.
        let (Ok(header), Ok(mut value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(text),
        ) else {
            return;
        };
        value.set_sensitive(secret);
        if secret {
            self.secret_headers.push(header.as_str().to_owned());
            self.scrub.add(text);
        }
        self.headers.insert(header, value);
    }

    fn put_auth(&mut self, auth: &Auth, token_url: Option<Url>) {
        match auth {
            Auth::Basic { username, password } => {
                self.scrub.add(password.expose());
                if let Some(value) = basic(username, password.expose()) {
                    self.scrub.add(
                        value
                            .to_str()
                            .unwrap_or_default()
                            .trim_start_matches("Basic "),
                    );
                    self.headers.insert("authorization", value);
                }
            }
            Auth::Bearer { token } => {
                self.scrub.add(token.expose());
                self.put_header("authorization", &format!("Bearer {}", token.expose()), true);
            }
            Auth::ApiKey {
                place: KeyPlace::Header,
                name,
                value,
            } => self.put_header(name, value.expose(), true),
            Auth::ApiKey {
                place: KeyPlace::Query,
                name,
                value,
            } => {
                self.scrub.add(value.expose());
                self.url.query_pairs_mut().append_pair(name, value.expose());
                let separator = if self.bare_url.query().is_some() {
                    "&"
                } else {
                    "?"
                };
                let name: String = byte_serialize(name.as_bytes()).collect();
                for part in [separator, &name, "=", MASK] {
                    self.shown_url.push_str(part);
                }
                // In the spelling of the URL too, which a receiver may echo.
                self.scrub
                    .add(&byte_serialize(value.expose().as_bytes()).collect::<String>());
                // A key in the query must at least not be kept by caches.
                self.headers
                    .insert("cache-control", HeaderValue::from_static("no-store"));
            }
            Auth::Oauth2 {
                client_id,
                client_secret,
                scope,
                audience,
                client_auth,
                ..
            } => {
                self.scrub.add(client_secret.expose());
                let credentials = Credentials {
                    client_id,
                    client_secret: client_secret.expose(),
                    scope: scope.as_deref(),
                    audience: audience.as_deref(),
                    client_auth: *client_auth,
                };
                self.tokens = token_url.map(|url| {
                    let (agent, egress) = (self.user_agent.clone(), Arc::clone(&self.egress));
                    TokenSource::new(url, &credentials, agent, egress, self.token_timeout)
                });
            }
        }
    }
}
