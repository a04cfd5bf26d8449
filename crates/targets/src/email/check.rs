//! What must hold between the settings of a mail target.

use belfry_alarm::{MAIL_ADDRESS_EXPECTED, is_mail_address};
use belfry_egress::{EgressClient, check_roots};
use belfry_model::FieldError;
use lettre::message::Mailbox;

use super::config::{EmailSettings, Security, Smtp};

/// Most addresses in `to`, and in `cc`.
const ADDRESSES_MAX: usize = 100;
/// Longest user name or password, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// Checks settings that could be read.
pub(crate) fn check(settings: &EmailSettings, egress: &EgressClient) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check_smtp(&settings.smtp, egress, &mut errors);
    if mailbox(&settings.from).is_none() {
        errors.push(FieldError::new("/from", MAILBOX_EXPECTED));
    }
    if let Some(text) = &settings.reply_to
        && mailbox(text).is_none()
    {
        errors.push(FieldError::new("/replyTo", MAILBOX_EXPECTED));
    }
    if let Some(text) = &settings.bounces_to
        && !is_mail_address(text)
    {
        errors.push(FieldError::new("/bouncesTo", MAIL_ADDRESS_EXPECTED));
    }
    for (member, addresses) in [("to", &settings.to), ("cc", &settings.cc)] {
        if addresses.len() > ADDRESSES_MAX {
            let detail = format!("at most {ADDRESSES_MAX} addresses, got {}", addresses.len());
            errors.push(FieldError::new(format!("/{member}"), detail));
        }
        for (n, address) in addresses.iter().enumerate() {
            if !is_mail_address(address) {
                errors.push(FieldError::new(
                    format!("/{member}/{n}"),
                    MAIL_ADDRESS_EXPECTED,
                ));
            }
        }
    }
    let people = settings.people.check();
    errors.extend(people.into_iter().map(|error| error.under("/people")));
    if settings.to.is_empty() && settings.people.is_empty() {
        let detail = "nobody gets the mail: name an address here, or contacts or groups in people";
        errors.push(FieldError::new("/to", detail));
    }
    errors
}

fn check_smtp(smtp: &Smtp, egress: &EgressClient, errors: &mut Vec<FieldError>) {
    if let Err(why) = egress.check_host(&smtp.host, smtp.port()) {
        let at = if smtp.port == Some(0) {
            "/smtp/port"
        } else {
            "/smtp/host"
        };
        errors.push(FieldError::new(at, why));
    }
    let local = matches!(smtp.host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
    if smtp.security == Security::None && !local {
        let detail = "none is only for a server on this machine (localhost, 127.0.0.1, [::1])";
        errors.push(FieldError::new("/smtp/security", detail));
    }
    match (&smtp.username, &smtp.password) {
        (Some(_), None) => errors.push(FieldError::new(
            "/smtp/password",
            "a user name needs its password",
        )),
        (None, Some(_)) => errors.push(FieldError::new(
            "/smtp/username",
            "a password needs its user name",
        )),
        (Some(_), Some(_)) if smtp.security == Security::None => errors.push(FieldError::new(
            "/smtp/username",
            "credentials are not sent over a clear connection; use starttls or tls",
        )),
        _ => {}
    }
    let password = smtp.password.as_ref().map(crate::secret::Secret::expose);
    for (pointer, text) in [
        ("/smtp/username", smtp.username.as_deref()),
        ("/smtp/password", password),
    ] {
        let fits = |text: &str| {
            !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
        };
        if text.is_some_and(|text| !fits(text)) {
            let detail = format!("expected 1 to {TEXT_BYTES_MAX} bytes without control characters");
            errors.push(FieldError::new(pointer, detail));
        }
    }
    if let Some(pem) = &smtp.ca
        && let Err(why) = check_roots(pem)
    {
        errors.push(FieldError::new("/smtp/ca", why.to_string()));
    }
    if let Some(hello) = &smtp.hello {
        let plain = !hello.is_empty()
            && hello.len() <= 255
            && hello
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.[]:".contains(&byte));
        if !plain {
            let detail = "expected the name of this machine, such as events.example.com";
            errors.push(FieldError::new("/smtp/hello", detail));
        }
    }
}

const MAILBOX_EXPECTED: &str =
    "expected a mail address, alone or with a name: Alarms <alarms@example.com>";

/// An address, alone or with a name before it.
pub(crate) fn mailbox(text: &str) -> Option<Mailbox> {
    if text.chars().any(char::is_control) {
        return None;
    }
    let mailbox: Mailbox = text.parse().ok()?;
    is_mail_address(mailbox.email.as_ref()).then_some(mailbox)
}
