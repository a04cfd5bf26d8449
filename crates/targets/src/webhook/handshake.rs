//! CloudEvents webhook validation: asking a receiver for its consent.
//!
//! Consent is given by headers and never by the status: any web server answers OPTIONS with 200. Credentials are
//! not shown to a receiver that has not consented yet.

use belfry_egress::{HeaderMap, HeaderValue};

use super::config::HandshakeSettings;
use crate::target::Handshake;

/// The header that a receiver knows the asking system by; also on every delivery.
pub(crate) const ORIGIN: &str = "webhook-request-origin";

/// The headers of the question.
pub(crate) fn question(settings: &HandshakeSettings) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(origin) = HeaderValue::from_str(&settings.origin) {
        headers.insert(ORIGIN, origin);
    }
    if let Some(rate) = settings.rate {
        headers.insert("webhook-request-rate", HeaderValue::from(rate));
    }
    headers
}

/// What the answer's headers agree to.
pub(crate) fn consent(
    settings: &HandshakeSettings,
    status: u16,
    headers: &HeaderMap,
) -> Result<Handshake, String> {
    let allowed = headers
        .get_all("webhook-allowed-origin")
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut said = None;
    for origin in allowed {
        let origin = origin.trim();
        if origin == "*" || origin.eq_ignore_ascii_case(&settings.origin) {
            return Ok(Handshake {
                allowed_per_minute: allowed_rate(headers)?,
            });
        }
        said = Some(origin);
    }
    Err(match said {
        Some(_) => format!(
            "the receiver allows another origin than {} (WebHook-Allowed-Origin)",
            settings.origin
        ),
        None => format!(
            "the receiver answered OPTIONS with {status} but without WebHook-Allowed-Origin, so it has not consented"
        ),
    })
}

fn allowed_rate(headers: &HeaderMap) -> Result<Option<u32>, String> {
    let Some(value) = headers.get("webhook-allowed-rate") else {
        return Ok(None);
    };
    match value.to_str().map(str::trim) {
        Ok("*") => Ok(None),
        Ok(text) => match text.parse() {
            Ok(rate) if rate > 0 => Ok(Some(rate)),
            _ => Err(
                "the receiver's WebHook-Allowed-Rate is neither * nor a positive number".to_owned(),
            ),
        },
        Err(_) => Err("the receiver's WebHook-Allowed-Rate cannot be read".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pairs: &[(&'static str, &'static str)]) -> Result<Handshake, String> {
        let settings = HandshakeSettings {
            origin: "events.example.com".to_owned(),
            rate: Some(120),
        };
        let headers = pairs
            .iter()
            .map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v)))
            .collect();
        consent(&settings, 200, &headers)
    }

    #[test]
    fn only_headers_are_consent() {
        assert!(answer(&[]).unwrap_err().contains("has not consented"));
        assert!(answer(&[("allow", "POST")]).is_err());
        assert!(
            answer(&[("webhook-allowed-origin", "other.example.com")])
                .unwrap_err()
                .contains("another origin")
        );
        assert_eq!(
            answer(&[("webhook-allowed-origin", "*")]),
            Ok(Handshake::default())
        );
        assert_eq!(
            answer(&[("webhook-allowed-origin", "Events.Example.com")]),
            Ok(Handshake::default())
        );
    }

    #[test]
    fn the_allowed_rate_is_returned() {
        let with = |rate| {
            answer(&[
                ("webhook-allowed-origin", "*"),
                ("webhook-allowed-rate", rate),
            ])
        };
        assert_eq!(
            with("100"),
            Ok(Handshake {
                allowed_per_minute: Some(100)
            })
        );
        assert_eq!(
            with("*"),
            Ok(Handshake {
                allowed_per_minute: None
            })
        );
        for bad in ["0", "-1", "many", ""] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }
}
