//! The request of a gateway, out of templates.

use belfry_egress::{HeaderName, Method, Url};
use belfry_model::json::pointer_to;
use belfry_transform::{Context, Escape, Transform, TransformSpec};
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::config::{Body, GatewayMethod, GatewaySettings};
use crate::message::cut::Unit;
use crate::message::markup::{Plain, write};
use crate::message::settings::Common;
use crate::message::{what, words};
use crate::messenger::{Ask, Check};
use crate::phone::Call;

/// Most headers, and most parameters of a query or form.
const MEMBERS_MAX: usize = 50;
/// Headers that the connection or Belfry makes.
const RESERVED: [&str; 6] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "user-agent",
];

/// The templates of a request.
pub(crate) struct Form {
    method: Method,
    headers: Vec<(String, Transform)>,
    query: Vec<(String, Transform)>,
    body: Content,
    numbers_max: usize,
    chars_max: usize,
}

enum Content {
    None,
    Json(Transform),
    Form(Vec<(String, Transform)>),
    Text(Transform),
    Xml(Transform),
}

impl Form {
    /// Checks and compiles the templates.
    pub(crate) fn new(settings: GatewaySettings, check: &mut Check<'_>) -> Option<Self> {
        check.need(
            (1..=100).contains(&settings.numbers_max),
            "/numbersMax",
            "expected 1 to 100",
        );
        check.need(
            (20..=10_000).contains(&settings.chars_max),
            "/charsMax",
            "expected 20 to 10000",
        );
        let method = match settings.method {
            GatewayMethod::Post => Method::POST,
            GatewayMethod::Put => Method::PUT,
            GatewayMethod::Get => Method::GET,
        };
        check.need(
            method != Method::GET || settings.body.is_none(),
            "/body",
            "a GET has no body; use query",
        );
        for name in settings.headers.keys() {
            let lower = name.to_ascii_lowercase();
            let good = HeaderName::from_bytes(lower.as_bytes()).is_ok()
                && !RESERVED.contains(&lower.as_str());
            let pointer = format!("/headers{}", pointer_to(name));
            check.need(
                good,
                &pointer,
                "expected the name of a header that Belfry does not make itself",
            );
        }
        let headers = texts("/headers", settings.headers, check);
        let query = texts("/query", settings.query, check);
        let body = match settings.body {
            None => Some(Content::None),
            Some(Body::Json(template)) => {
                let spec = TransformSpec::Json {
                    template,
                    on_error: None,
                };
                compile("/body/json", &spec, check).map(Content::Json)
            }
            Some(Body::Form(fields)) => texts("/body/form", fields, check).map(Content::Form),
            Some(Body::Text(text)) => {
                compile("/body/text", &template(text), check).map(Content::Text)
            }
            Some(Body::Xml(text)) => compile("/body/xml", &template(text), check).map(Content::Xml),
        };
        Some(Self {
            method,
            headers: headers?,
            query: query?,
            body: body?,
            numbers_max: settings.numbers_max,
            chars_max: settings.chars_max,
        })
    }

    /// Most numbers in one request.
    pub(crate) fn numbers_max(&self) -> usize {
        self.numbers_max
    }

    /// The request for some numbers.
    pub(crate) fn call(
        &self,
        url: &Url,
        ask: &Ask<'_>,
        common: &Common,
        numbers: &[&str],
    ) -> Result<Call, String> {
        let job = ask.job;
        let (uid, delivery) = (job.delivery.event.to_string(), job.delivery.to_string());
        let context = Context {
            rule: job.rule,
            rule_arn: None,
            bus: job.bus,
            target: job.target,
            event_uid: &uid,
            delivery: &delivery,
            attempt: job.attempt,
            accepted_at_ms: job.accepted_at_ms,
            now_ms: ask.now_ms,
        };
        let facts = self.facts(ask, common, numbers).to_string();
        let render = |transform: &Transform, escape| {
            let rendered = transform.render_with(facts.as_bytes(), &context, escape);
            let rendered = rendered.map_err(|error| error.to_string())?;
            String::from_utf8(rendered.body).map_err(|error| error.to_string())
        };
        let mut url = url.clone();
        if !self.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in &self.query {
                pairs.append_pair(name, &render(value, Escape::None)?);
            }
        }
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            headers.push((name.to_ascii_lowercase(), render(value, Escape::Line)?));
        }
        let (content_type, body) = match &self.body {
            Content::None => (None, String::new()),
            Content::Json(template) => (Some("application/json"), render(template, Escape::None)?),
            Content::Text(template) => (
                Some("text/plain; charset=utf-8"),
                render(template, Escape::Line)?,
            ),
            Content::Xml(template) => (Some("application/xml"), render(template, Escape::Html)?),
            Content::Form(fields) => {
                let mut form = Serializer::new(String::new());
                for (name, value) in fields {
                    form.append_pair(name, &render(value, Escape::None)?);
                }
                (Some("application/x-www-form-urlencoded"), form.finish())
            }
        };
        Ok(Call {
            method: self.method.clone(),
            url,
            headers,
            content_type,
            body,
        })
    }

    /// What templates can insert.
    fn facts(&self, ask: &Ask<'_>, common: &Common, numbers: &[&str]) -> Value {
        let (alarm, language) = (ask.alarm, common.language);
        let text = |message: &_| write(message, &Plain);
        let fitted = ask.fitted(|message| Unit::Chars.count(&text(message)) <= self.chars_max);
        let number = numbers.first().copied().unwrap_or_default();
        let event: Value = serde_json::from_slice(ask.job.event.doc()).unwrap_or_default();
        json!({
            "number": number,
            "numbers": numbers.join(","),
            // Without the country, as providers within one want it.
            "nationalNumber": number.strip_prefix("+86").unwrap_or(number),
            "title": ask.message.title(),
            "subject": ask.message.subject,
            "text": text(&fitted),
            "severity": alarm.severity.as_str(),
            "severityName": words::say(language, alarm.severity.as_str(), alarm.severity.zh()),
            "status": alarm.state.status(),
            "alarmkey": alarm.key.as_str(),
            "product": alarm.product(),
            "eventName": what(alarm, language),
            "resource": alarm.subject,
            "resourceName": alarm.resource_name.as_ref().or(alarm.subject.as_ref()),
            "region": alarm.region,
            "account": alarm.account,
            "value": alarm.value,
            "time": words::local_time(ask.message.at_ms, common.time_zone),
            "link": ask.job.link,
            "delivery": ask.job.delivery.to_string(),
            "event": event,
        })
    }
}

fn template(text: String) -> TransformSpec {
    TransformSpec::Template {
        template: text,
        missing: None,
        content_type: None,
        on_error: None,
    }
}

fn compile(at: &str, spec: &TransformSpec, check: &mut Check<'_>) -> Option<Transform> {
    match Transform::compile(spec) {
        Ok(transform) => Some(transform),
        Err(errors) => {
            for error in errors {
                // The place within the template; its own pointer would name the template as a whole.
                let inner = error.pointer.trim_start_matches("/template");
                check.error(format!("{at}{inner}"), error.message.clone());
            }
            None
        }
    }
}

fn texts(
    at: &str,
    members: impl IntoIterator<Item = (String, String)>,
    check: &mut Check<'_>,
) -> Option<Vec<(String, Transform)>> {
    let mut compiled = Vec::new();
    let mut good = true;
    for (name, text) in members {
        let pointer = format!("{at}{}", pointer_to(&name));
        match compile(&pointer, &template(text), check) {
            Some(transform) => compiled.push((name, transform)),
            None => good = false,
        }
    }
    check.need(compiled.len() <= MEMBERS_MAX, at, "at most 50");
    good.then_some(compiled)
}
