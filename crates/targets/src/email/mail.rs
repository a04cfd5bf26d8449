//! One mail as text: headers, a plain part, an HTML part.

use std::time::{Duration, UNIX_EPOCH};

use belfry_transform::Escape;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart, header};

use crate::message::{Message, markup};

/// What a mail is made of.
#[derive(Debug)]
pub(crate) struct Mail<'a> {
    pub(crate) from: &'a Mailbox,
    pub(crate) reply_to: Option<&'a Mailbox>,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) cc: Vec<Mailbox>,
    /// With its angle brackets.
    pub(crate) message_id: String,
    /// The id of the first mail of the same alarm, if this is not it.
    pub(crate) thread: Option<String>,
    /// When it is made, ms since 1970.
    pub(crate) at_ms: i64,
    /// Whether mail programs are to show it as important.
    pub(crate) important: bool,
    /// Headers for programs that sort mail.
    pub(crate) marks: Vec<(&'static str, String)>,
    pub(crate) message: &'a Message,
}

impl Mail<'_> {
    /// Its headers, decoded, as a person reads them.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let list = |all: &[Mailbox]| {
            let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
            texts.join(", ")
        };
        let mut headers = vec![("from", self.from.to_string()), ("to", list(&self.to))];
        if !self.cc.is_empty() {
            headers.push(("cc", list(&self.cc)));
        }
        headers.push(("subject", line(&self.message.title())));
        headers.push(("message-id", self.message_id.clone()));
        if let Some(thread) = &self.thread {
            headers.push(("in-reply-to", thread.clone()));
        }
        headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .chain(
                self.marks
                    .iter()
                    .map(|(name, value)| (name.to_ascii_lowercase(), line(value))),
            )
            .collect()
    }

    /// The plain part.
    pub(crate) fn text(&self) -> String {
        markup::write(self.message, &markup::Plain)
    }

    /// The whole mail as it goes over the wire, but for the dots of SMTP.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, String> {
        let since = Duration::from_millis(u64::try_from(self.at_ms).unwrap_or(0));
        let mut builder = lettre::Message::builder()
            .from(self.from.clone())
            .subject(line(&self.message.title()))
            .date(UNIX_EPOCH + since)
            .message_id(Some(self.message_id.clone()))
            .header(header::To::from(Mailboxes::from(self.to.clone())));
        if let Some(reply_to) = self.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        if !self.cc.is_empty() {
            builder = builder.header(header::Cc::from(Mailboxes::from(self.cc.clone())));
        }
        if let Some(thread) = &self.thread {
            builder = builder
                .in_reply_to(thread.clone())
                .references(thread.clone());
        }
        // No machine is to answer a machine.
        let mut marks = vec![
            ("Auto-Submitted", "auto-generated".to_owned()),
            ("X-Auto-Response-Suppress", "All".to_owned()),
        ];
        if self.important {
            marks.push(("Importance", "high".to_owned()));
            marks.push(("X-Priority", "1".to_owned()));
        }
        for (name, value) in marks.iter().chain(&self.marks) {
            let name = HeaderName::new_from_ascii((*name).to_owned())
                .map_err(|error| format!("the header {name} cannot be written: {error}"))?;
            builder = builder.raw_header(HeaderValue::new(name, line(value)));
        }
        let parts = MultiPart::alternative_plain_html(self.text(), html(self.message));
        let mail = builder
            .multipart(parts)
            .map_err(|error| format!("the mail cannot be written: {error}"))?;
        Ok(mail.formatted())
    }
}

/// A value of a header: one line, nothing that cannot be seen, nothing that would be decoded (RFC 2047).
fn line(text: &str) -> String {
    Escape::Line.apply(text).replace("=?", "= ?")
}

/// The HTML part: one table, styles on the elements, nothing from elsewhere.
pub(crate) fn html(message: &Message) -> String {
    let esc = |text: &str| Escape::Html.apply(text).into_owned();
    let colour = format!("#{:06X}", message.look.style().rgb);
    let wide = |style: &str, content: &str| {
        format!("<tr><td colspan=\"2\" style=\"padding:6px 16px;{style}\">{content}</td></tr>\n")
    };
    let row = |label: &str, value: &str| {
        format!(
            "<tr><td style=\"padding:4px 8px 4px 16px;color:#667085;white-space:nowrap;vertical-align:top\">{}</td>\
             <td style=\"padding:4px 16px 4px 8px;word-break:break-word\">{value}</td></tr>\n",
            esc(label)
        )
    };
    let mut rows = wide(
        &format!("border-top:4px solid {colour};font-size:17px;font-weight:600;padding-top:14px"),
        &esc(&message.title()),
    );
    if let Some(text) = &message.text {
        let text = esc(text).replace("\r\n", "\n").replace('\n', "<br>\n");
        rows.push_str(&wide("", &text));
    } else {
        for fact in &message.told() {
            let code = fact.code.as_ref().map(|code| {
                format!(
                    "<code style=\"font-family:Consolas,Menlo,monospace;font-size:13px\">{}</code> ",
                    esc(code)
                )
            });
            let value = code.unwrap_or_default() + &esc(&fact.value);
            rows.push_str(&row(fact.label, value.trim_end()));
        }
        for one in &message.lines {
            let colour = format!("#{:06X}", one.look.style().rgb);
            let text = format!(
                "<span style=\"color:{colour}\">&#9679;</span> {}",
                esc(&one.text)
            );
            rows.push_str(&wide("", &text));
        }
        if let Some(more) = message.more() {
            rows.push_str(&wide("color:#667085", &esc(&more)));
        }
    }
    for link in &message.links {
        let link = format!(
            "<a href=\"{}\" style=\"color:#175CD3\">{}</a>",
            esc(&link.url),
            esc(&link.label)
        );
        rows.push_str(&wide("", &link));
    }
    if let Some(footer) = &message.footer {
        rows.push_str(&wide(
            "color:#98A2B3;font-size:12px;padding-bottom:14px",
            &esc(footer),
        ));
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"{}\">\n<head><meta charset=\"utf-8\"><title>{}</title></head>\n\
         <body style=\"margin:0;padding:16px;background:#F2F4F7\">\n\
         <table role=\"presentation\" cellspacing=\"0\" cellpadding=\"0\" style=\"max-width:640px;width:100%;margin:0 auto;\
         background:#FFFFFF;border-collapse:collapse;font:14px/1.5 -apple-system,'Segoe UI','PingFang SC','Microsoft YaHei',sans-serif;color:#101828\">\n\
         {rows}</table>\n</body>\n</html>\n",
        message.say("en", "zh-CN"),
        esc(&message.title()),
    )
}
