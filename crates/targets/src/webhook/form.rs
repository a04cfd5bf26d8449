//! The body of a request and the headers that belong to it, in each form.

use belfry_egress::{HeaderMap, HeaderName, HeaderValue};
use belfry_model::Event;
use belfry_model::event::percent_encode;
use bytes::Bytes;

use super::callback;
use super::config::BodyForm;
use crate::target::Job;

const CLOUDEVENTS_JSON: HeaderValue = HeaderValue::from_static("application/cloudevents+json");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A body with its headers.
pub(crate) struct Formed {
    /// The exact bytes to sign and to send.
    pub(crate) body: Bytes,
    /// `content-type` and, in binary form, the attributes.
    pub(crate) headers: HeaderMap,
    /// Whether the body is the event as accepted.
    pub(crate) is_event: bool,
}

/// Forms the body; the error names what cannot be sent.
pub(crate) fn form(form: BodyForm, job: &Job<'_>) -> Result<Formed, String> {
    let event = job.event;
    let mut headers = HeaderMap::new();
    if form == BodyForm::Binary {
        attribute_headers(event, &mut headers)?;
    }
    let (body, content_type) = if let Some(rendered) = job.body {
        let content_type = header_value(
            "the content type of the transformation",
            rendered.content_type.as_str(),
        )?;
        (Bytes::copy_from_slice(&rendered.body), Some(content_type))
    } else {
        match form {
            BodyForm::Event if event.is_cloudevent() => {
                (event.doc().clone(), Some(CLOUDEVENTS_JSON))
            }
            BodyForm::Event => (event.doc().clone(), Some(JSON)),
            BodyForm::Cloudevents => (event.to_cloudevent(), Some(CLOUDEVENTS_JSON)),
            BodyForm::Callback => (callback::body(job), Some(JSON)),
            BodyForm::Binary | BodyForm::Data => {
                let payload = event.payload();
                let content_type = match &payload.content_type {
                    Some(text) => Some(header_value("datacontenttype", text)?),
                    None => None,
                };
                (Bytes::copy_from_slice(&payload.bytes), content_type)
            }
        }
    };
    if let Some(content_type) = content_type {
        headers.insert("content-type", content_type);
    }
    let is_event = job.body.is_none() && body == *event.doc();
    Ok(Formed {
        body,
        headers,
        is_event,
    })
}

fn attribute_headers(event: &Event, headers: &mut HeaderMap) -> Result<(), String> {
    for (name, value) in event.attributes() {
        let header = HeaderName::from_bytes(format!("ce-{name}").as_bytes())
            .map_err(|_| format!("attribute {name} cannot be a header"))?;
        headers.insert(header, header_value(&name, &percent_encode(&value))?);
    }
    Ok(())
}

fn header_value(what: &str, text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_| format!("{what} cannot be sent in a header"))
}
