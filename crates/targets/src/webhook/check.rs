//! What must hold between the settings of a webhook; pure but for the egress policy's word on addresses.

use belfry_egress::{EgressClient, HeaderName, HeaderValue, Url};
use belfry_model::FieldError;
use belfry_model::json::pointer_to;

use super::config::{Auth, BodyForm, KeyPlace, RESPONSE_BYTES_MAX, UrlText, WebhookSettings};
use super::sign;
use crate::settings::check_range;

const HEADERS_MAX: usize = 50;
const HEADER_VALUE_BYTES_MAX: usize = 4096;
const SIGNATURES_MAX: usize = 5;
const TEXT_BYTES_MAX: usize = 4096;

/// Headers that Belfry or the connection makes.
const RESERVED: [&str; 18] = [
    "host",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "http2-settings",
    "accept-encoding",
    "belfry-replay",
    "traceparent",
    "tracestate",
    "proxy-authorization",
    "proxy-connection",
    "proxy-authenticate",
];
const RESERVED_PREFIXES: [&str; 3] = ["webhook-", "ce-", "svix-"];

/// What checking finds out on the way.
pub(crate) struct Checked {
    /// The URL, without what auth adds.
    pub(crate) url: Url,
    /// The URL of the token endpoint.
    pub(crate) token_url: Option<Url>,
}

/// Checks settings that could be read.
pub(crate) fn check(
    settings: &WebhookSettings,
    egress: &EgressClient,
) -> Result<Checked, Vec<FieldError>> {
    let mut errors = Vec::new();
    let url = check_url("/url", &settings.url, egress, &mut errors);
    check_range(
        "/timeoutSeconds",
        settings.timeout_seconds.into(),
        1,
        300,
        &mut errors,
    );
    check_range(
        "/responseBytesMax",
        settings.response_bytes_max.into(),
        0,
        RESPONSE_BYTES_MAX.into(),
        &mut errors,
    );
    check_headers(settings, &mut errors);
    let token_url = match &settings.auth {
        Some(auth) => check_auth(auth, egress, &mut errors),
        None => None,
    };
    check_signing(settings, &mut errors);
    check_success(settings.success_status.as_deref(), &mut errors);
    if let Some(handshake) = &settings.handshake {
        if !is_dns_name(&handshake.origin) {
            let detail =
                "expected the DNS name of this system, for example events.mycompany.example";
            errors.push(FieldError::new("/handshake/origin", detail));
        }
        if let Some(rate) = handshake.rate {
            check_range("/handshake/rate", rate.into(), 1, 1_000_000, &mut errors);
        }
    }
    match url {
        Some(url) if errors.is_empty() => Ok(Checked { url, token_url }),
        _ => Err(errors),
    }
}

fn check_url(
    pointer: &str,
    url: &UrlText,
    egress: &EgressClient,
    errors: &mut Vec<FieldError>,
) -> Option<Url> {
    egress
        .check_url(&url.0)
        .map_err(|why| errors.push(FieldError::new(pointer, why)))
        .ok()
}

fn check_headers(settings: &WebhookSettings, errors: &mut Vec<FieldError>) {
    if settings.headers.len() > HEADERS_MAX {
        let detail = format!(
            "at most {HEADERS_MAX} headers, got {}",
            settings.headers.len()
        );
        errors.push(FieldError::new("/headers", detail));
    }
    let mut seen = Vec::new();
    for (name, value) in &settings.headers {
        let pointer = || format!("/headers{}", pointer_to(name));
        let lower = name.to_ascii_lowercase();
        if let Some(why) = header_name_fault(&lower, settings) {
            errors.push(FieldError::new(pointer(), why));
        } else if seen.contains(&lower) {
            errors.push(FieldError::new(
                pointer(),
                "the same header twice; names do not differ by case",
            ));
        }
        if !is_header_text(value.expose()) {
            errors.push(FieldError::new(pointer(), header_text_expected()));
        }
        seen.push(lower);
    }
}

fn header_name_fault(lower: &str, settings: &WebhookSettings) -> Option<String> {
    if HeaderName::from_bytes(lower.as_bytes()).is_err() {
        return Some("expected a header name: letters, digits and -".to_owned());
    }
    if RESERVED.contains(&lower)
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| lower.starts_with(prefix))
    {
        return Some(
            "this header is made by Belfry or by the connection and cannot be set".to_owned(),
        );
    }
    if lower == "content-type" && settings.body == BodyForm::Binary {
        return Some("in binary form the content type is that of the payload".to_owned());
    }
    if settings
        .auth
        .as_ref()
        .is_some_and(|auth| auth_header(auth).as_deref() == Some(lower))
    {
        return Some("this header is already made by auth".to_owned());
    }
    None
}

/// The header that an auth makes, in lower case.
fn auth_header(auth: &Auth) -> Option<String> {
    match auth {
        Auth::ApiKey {
            place: KeyPlace::Header,
            name,
            ..
        } => Some(name.to_ascii_lowercase()),
        Auth::ApiKey {
            place: KeyPlace::Query,
            ..
        } => None,
        Auth::Basic { .. } | Auth::Bearer { .. } | Auth::Oauth2 { .. } => {
            Some("authorization".to_owned())
        }
    }
}

fn check_auth(auth: &Auth, egress: &EgressClient, errors: &mut Vec<FieldError>) -> Option<Url> {
    let mut need = |pointer: &str, value: &str, good: bool, expected: &str| {
        if value.is_empty() || value.len() > TEXT_BYTES_MAX || !good {
            errors.push(FieldError::new(pointer, expected));
        }
    };
    match auth {
        Auth::Basic { username, password } => {
            let plain = !username.contains(':') && !username.chars().any(char::is_control);
            need(
                "/auth/username",
                username,
                plain,
                "expected a user name without colon",
            );
            let password = password.expose();
            // An empty password is usual where the user name is the key.
            let plain = password.len() <= TEXT_BYTES_MAX && !password.chars().any(char::is_control);
            need(
                "/auth/password",
                "-",
                plain,
                "expected a password without control characters",
            );
            None
        }
        Auth::Bearer { token } => {
            need(
                "/auth/token",
                token.expose(),
                is_header_text(token.expose()),
                header_text_expected(),
            );
            None
        }
        Auth::ApiKey {
            place: KeyPlace::Header,
            name,
            value,
        } => {
            let lower = name.to_ascii_lowercase();
            let good = HeaderName::from_bytes(lower.as_bytes()).is_ok()
                && !RESERVED.contains(&lower.as_str())
                && lower != "content-type"
                && !RESERVED_PREFIXES
                    .iter()
                    .any(|prefix| lower.starts_with(prefix));
            need(
                "/auth/name",
                name,
                good,
                "expected the name of a header that Belfry does not make itself",
            );
            need(
                "/auth/value",
                value.expose(),
                is_header_text(value.expose()),
                header_text_expected(),
            );
            None
        }
        Auth::ApiKey {
            place: KeyPlace::Query,
            name,
            value,
        } => {
            need(
                "/auth/name",
                name,
                true,
                "expected the name of the query parameter",
            );
            need("/auth/value", value.expose(), true, "expected the key");
            None
        }
        Auth::Oauth2 {
            token_url,
            client_id,
            client_secret,
            scope,
            audience,
            ..
        } => {
            need(
                "/auth/clientId",
                client_id,
                true,
                "expected the client's id",
            );
            need(
                "/auth/clientSecret",
                client_secret.expose(),
                true,
                "expected the client's secret",
            );
            for (pointer, text) in [("/auth/scope", scope), ("/auth/audience", audience)] {
                if let Some(text) = text {
                    need(pointer, text, true, "expected a text, or leave it out");
                }
            }
            check_url("/auth/tokenUrl", token_url, egress, errors)
        }
    }
}

fn check_signing(settings: &WebhookSettings, errors: &mut Vec<FieldError>) {
    let signing = &settings.signing;
    for (at, list) in [
        ("/signing/secrets", &signing.secrets),
        ("/signing/keys", &signing.keys),
    ] {
        if list.len() > SIGNATURES_MAX {
            let detail = format!("at most {SIGNATURES_MAX}, newest first, got {}", list.len());
            errors.push(FieldError::new(at, detail));
        }
    }
    for (n, secret) in signing.secrets.iter().enumerate() {
        if let Err(why) = sign::read_secret(secret.expose()) {
            errors.push(FieldError::new(format!("/signing/secrets/{n}"), why));
        }
    }
    for (n, key) in signing.keys.iter().enumerate() {
        if let Err(why) = sign::read_key(key.expose()) {
            errors.push(FieldError::new(format!("/signing/keys/{n}"), why));
        }
    }
}

fn check_success(statuses: Option<&[u16]>, errors: &mut Vec<FieldError>) {
    let Some(statuses) = statuses else { return };
    if statuses.is_empty() || statuses.len() > 20 {
        let detail = format!(
            "expected 1 to 20 statuses, got {}; leave it out for 200 to 299",
            statuses.len()
        );
        errors.push(FieldError::new("/successStatus", detail));
    }
    for (n, status) in statuses.iter().enumerate() {
        if !matches!(status, 200..=299 | 400..=409 | 411..=499) {
            errors.push(FieldError::new(
                format!("/successStatus/{n}"),
                format!("expected 200 to 299 or 400 to 499, and not 410, which disables the target; got {status}"),
            ));
        }
    }
}

fn is_header_text(text: &str) -> bool {
    text.len() <= HEADER_VALUE_BYTES_MAX
        && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        && text.trim() == text
        && HeaderValue::from_str(text).is_ok()
}

const fn header_text_expected() -> &'static str {
    "expected at most 4096 printable ASCII characters without spaces at the ends"
}

fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (1..=253).contains(&text.len()) && text.split('.').all(label)
}
