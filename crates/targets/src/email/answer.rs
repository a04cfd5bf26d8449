//! What a mail server's answers mean.

use belfry_model::delivery::Reason;

use super::smtp::{Reply, Step, Trouble};
use crate::target::Verdict;

/// How long a server that is busy is left alone.
const BUSY_MS: u64 = 60_000;
/// How long a recipient waits whose server greylists: most want five minutes.
const GREYLISTED_MS: u64 = 5 * 60_000;

/// What trouble with a conversation means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// For the whole delivery.
    Verdict(Verdict),
    /// The message is too large for this server; the text is what it said.
    TooLarge(String),
}

/// The meaning of trouble.
pub(crate) fn judge(trouble: &Trouble) -> Meaning {
    let (step, reply) = match trouble {
        Trouble::Broken { reason, detail } => {
            return Meaning::Verdict(Verdict::Retry {
                reason: *reason,
                detail: detail.clone(),
                retry_after_ms: None,
            });
        }
        Trouble::NoLogin => {
            return permanent(
                Reason::Misconfigured,
                "the server offers no login that Belfry knows (AUTH PLAIN, AUTH LOGIN)".to_owned(),
            );
        }
        Trouble::Refused(step, reply) => (*step, reply),
    };
    let said = format!("the mail server answered {step} with {reply}");
    let later = |reason, retry_after_ms| {
        Meaning::Verdict(Verdict::Retry {
            reason,
            detail: said.clone(),
            retry_after_ms,
        })
    };
    match (step, reply.code) {
        // Too many connections or messages, or on its way down: the account as a whole has to wait.
        (_, 421) => later(Reason::RateLimited, Some(BUSY_MS)),
        (Step::Login, 400..=499) => later(Reason::AuthFailed, None),
        // The last is: not this sender, with this login; a matter of the setting `from`.
        (Step::Login, _) | (_, 530 | 534 | 535 | 538) | (Step::Sender, 553) => {
            permanent(Reason::Misconfigured, said)
        }
        (Step::StartTls, _) => later(Reason::TlsError, None),
        (Step::Sender | Step::Data | Step::Content, 523 | 552) => Meaning::TooLarge(said),
        // The server as such refuses to speak; that says nothing of the message.
        (Step::Greeting | Step::Hello | Step::Reset, _) | (_, 0..=499) => {
            later(Reason::ProviderRejected, None)
        }
        _ => permanent(Reason::ProviderRejected, said),
    }
}

fn permanent(reason: Reason, detail: String) -> Meaning {
    Meaning::Verdict(Verdict::Permanent { reason, detail })
}

/// What an answer to `RCPT TO` means for that recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForOne {
    /// Will get the message.
    Taken,
    /// May be taken later, after so many ms.
    Later(u64),
    /// Not within one message; the next one at once.
    TooMany,
    /// Never.
    Never,
}

/// The meaning of an answer to `RCPT TO`. 421 and what concerns the login never come here.
pub(crate) fn for_one(reply: &Reply) -> ForOne {
    match reply.code {
        200..=299 => ForOne::Taken,
        452 if reply.text.starts_with("4.5.3") => ForOne::TooMany,
        450 | 451 => ForOne::Later(GREYLISTED_MS),
        300..=499 => ForOne::Later(BUSY_MS),
        _ => ForOne::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_meaning() {
        let retry = |reason| format!("Retry {reason:?}");
        let never = |reason| format!("Permanent {reason:?}");
        let too_large = || "TooLarge".to_owned();
        for (step, code, expected) in [
            (Step::Greeting, 421, retry(Reason::RateLimited)),
            (Step::Greeting, 554, retry(Reason::ProviderRejected)),
            (Step::Hello, 502, retry(Reason::ProviderRejected)),
            (Step::StartTls, 454, retry(Reason::TlsError)),
            (Step::StartTls, 501, retry(Reason::TlsError)),
            (Step::Login, 454, retry(Reason::AuthFailed)),
            (Step::Login, 535, never(Reason::Misconfigured)),
            (Step::Login, 504, never(Reason::Misconfigured)),
            (Step::Sender, 530, never(Reason::Misconfigured)),
            (Step::Sender, 553, never(Reason::Misconfigured)),
            (Step::Sender, 451, retry(Reason::ProviderRejected)),
            (Step::Sender, 550, never(Reason::ProviderRejected)),
            (Step::Sender, 552, too_large()),
            (Step::Recipient, 421, retry(Reason::RateLimited)),
            (Step::Data, 451, retry(Reason::ProviderRejected)),
            (Step::Data, 250, retry(Reason::ProviderRejected)),
            (Step::Data, 554, never(Reason::ProviderRejected)),
            (Step::Content, 452, retry(Reason::ProviderRejected)),
            (Step::Content, 552, too_large()),
            (Step::Content, 523, too_large()),
            (Step::Content, 550, never(Reason::ProviderRejected)),
            (Step::Content, 421, retry(Reason::RateLimited)),
        ] {
            let reply = Reply {
                code,
                text: "why".to_owned(),
            };
            let found = match judge(&Trouble::Refused(step, reply)) {
                Meaning::TooLarge(_) => too_large(),
                Meaning::Verdict(Verdict::Retry { reason, .. }) => retry(reason),
                Meaning::Verdict(Verdict::Permanent { reason, .. }) => never(reason),
                Meaning::Verdict(other) => format!("{other:?}"),
            };
            assert_eq!(found, expected, "{step} {code}");
        }
        for (code, text, expected) in [
            (250, "ok", ForOne::Taken),
            (251, "forwarded", ForOne::Taken),
            (450, "4.2.0 greylisted", ForOne::Later(GREYLISTED_MS)),
            (451, "later", ForOne::Later(GREYLISTED_MS)),
            (452, "4.5.3 too many recipients", ForOne::TooMany),
            (452, "4.2.2 full", ForOne::Later(BUSY_MS)),
            (550, "5.1.1 no such user", ForOne::Never),
            (554, "5.7.1 relay denied", ForOne::Never),
        ] {
            let text = text.to_owned();
            assert_eq!(for_one(&Reply { code, text }), expected, "{code}");
        }
    }
}
