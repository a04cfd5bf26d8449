//! Webhooks of GitHub: <https://docs.github.com/webhooks/webhook-events-and-payloads>.

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;
use serde_json::json;

use crate::body::{Node, visible};
use crate::draft::{Draft, Facts};
use crate::format::{Format, SignedBy};
use crate::signature::hmac;
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "github",
    title: ("GitHub", "GitHub 事件"),
    signed_by: SignedBy::Secret,
    proof: |request| {
        hmac(
            request,
            "x-hub-signature-256",
            "sha256=",
            &[request.bytes()],
        )
    },
    read,
};

const EVENT: &str = "x-github-event";
/// Events of something that runs and ends well or not.
const RUNS: [&str; 4] = ["workflow_run", "workflow_job", "check_run", "check_suite"];

pub(crate) fn seen(request: &Request<'_>) -> bool {
    request.header(EVENT).is_some()
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let Some(event) = request.header(EVENT).and_then(visible) else {
        let detail = "GitHub names the event in this header, and it is missing";
        return Err(FieldError::new(format!("header:{EVENT}"), detail));
    };
    let event = event.as_str();
    if event == "ping" {
        return Ok(Outcome::Answered(json!({ "pong": true })));
    }
    // A hook of content type "form" has the JSON in a field.
    let payload = request.node().get("payload").json();
    let body = payload.as_ref().map_or_else(|| request.node(), Node);
    let action = body.get("action").text();
    let source = ["repository", "organization", "enterprise"]
        .iter()
        .find_map(|owner| {
            let owner = body.get(owner);
            owner
                .get("html_url")
                .text()
                .or_else(|| owner.get("url").text())
        })
        .unwrap_or_else(|| "https://github.com".to_owned());
    let sign = if RUNS.contains(&event) {
        run(body.get(event), event, &source)
    } else if event.ends_with("_alert") {
        alert(body.get("alert"), event, action.as_deref(), &source)
    } else {
        other(body, event, &source)
    };
    let what = sign.what;
    let text = |name: &str| what.get(name).text();
    let labels = [
        ("repository", body.get("repository").get("full_name").text()),
        (
            "branch",
            text("head_branch").or_else(|| body.get("ref").text()),
        ),
        (
            "commit",
            text("head_sha").or_else(|| body.get("after").text()),
        ),
        ("sender", body.get("sender").get("login").text()),
    ];
    let kind = match &action {
        Some(action) => format!("github:{event}:{action}"),
        None => format!("github:{event}"),
    };
    Ok(request.event(Draft {
        id: request.header_id("x-github-delivery", "github"),
        kind,
        subject: sign.subject,
        time_ms: [
            "updated_at",
            "completed_at",
            "created_at",
            "published_at",
            "timestamp",
        ]
        .iter()
        .find_map(|name| request.time(what.get(name))),
        status: sign.status,
        severity: sign.severity,
        region: None,
        key: sign.key,
        facts: Facts {
            title: sign.title,
            summary: text("display_title").or_else(|| text("message")),
            links: vec![(
                "github",
                text("html_url").or_else(|| body.get("compare").text()),
            )],
            labels: labels
                .into_iter()
                .filter_map(|(name, text)| Some((name.to_owned(), text?)))
                .collect(),
            ..Facts::default()
        },
        source,
        raw: None,
    }))
}

/// What an event says of an alarm.
struct Sign<'v> {
    /// The part of the body that it is about.
    what: Node<'v>,
    subject: Option<String>,
    status: AlarmState,
    severity: Severity,
    key: AlarmKey,
    title: Option<String>,
}

/// A run of a workflow or check: the next good one of the same on the same branch ends the alarm.
fn run<'v>(run: Node<'v>, event: &str, source: &str) -> Sign<'v> {
    let conclusion = run.get("conclusion").text();
    let status = match conclusion.as_deref() {
        Some("failure" | "timed_out" | "startup_failure") => AlarmState::Firing,
        Some("success") => AlarmState::Recovered,
        _ => AlarmState::Stateless,
    };
    let name = run.get("name").text();
    let what = run.get("workflow_id").text().or_else(|| name.clone());
    let branch = run
        .get("head_branch")
        .text()
        .or_else(|| run.get("check_suite").get("head_branch").text());
    let title = [name, conclusion].into_iter().flatten().collect::<Vec<_>>();
    Sign {
        what: run,
        subject: run.get("id").text(),
        status,
        severity: if status == AlarmState::Stateless {
            Severity::Info
        } else {
            Severity::Error
        },
        key: AlarmKey::of([
            source,
            event,
            what.as_deref().unwrap_or_default(),
            branch.as_deref().unwrap_or_default(),
        ]),
        title: (!title.is_empty()).then(|| title.join(": ")),
    }
}

/// An alert about the code: a leak, a hole in a dependency.
fn alert<'v>(alert: Node<'v>, event: &str, action: Option<&str>, source: &str) -> Sign<'v> {
    let status = match action.unwrap_or_default() {
        "created" | "reopened" | "reopened_by_user" | "auto_reopened" | "appeared_in_branch"
        | "reintroduced" => AlarmState::Firing,
        "fixed" | "dismissed" | "auto_dismissed" | "resolved" | "closed_by_user" => {
            AlarmState::Recovered
        }
        _ => AlarmState::Stateless,
    };
    let advisory = alert.get("security_advisory");
    let rule = alert.get("rule");
    let word = advisory
        .get("severity")
        .text()
        .or_else(|| rule.get("security_severity_level").text())
        .or_else(|| rule.get("severity").text());
    let number = alert.get("number").text();
    Sign {
        what: alert,
        status,
        severity: word
            .and_then(|word| Severity::parse(&word))
            .unwrap_or(Severity::Warning),
        key: AlarmKey::of([source, event, number.as_deref().unwrap_or_default()]),
        subject: number,
        title: advisory
            .get("summary")
            .text()
            .or_else(|| rule.get("description").text())
            .or_else(|| alert.get("secret_type_display_name").text()),
    }
}

/// Anything else: something happened.
fn other<'v>(body: Node<'v>, event: &str, source: &str) -> Sign<'v> {
    let what = [
        event,
        "pull_request",
        "issue",
        "release",
        "deployment",
        "head_commit",
    ]
    .iter()
    .map(|name| body.get(name))
    .find(|part| part.0.is_object())
    .unwrap_or(body);
    let subject = ["number", "tag_name", "id"]
        .iter()
        .find_map(|name| what.get(name).text())
        .or_else(|| body.get("ref").text());
    Sign {
        what,
        status: AlarmState::Stateless,
        severity: Severity::Info,
        key: AlarmKey::of([source, event, subject.as_deref().unwrap_or_default()]),
        subject,
        title: what.get("title").text().or_else(|| what.get("name").text()),
    }
}
