//! Writing a message as text in a channel's markup.

use super::look::Look;
use super::{Link, Message};

/// A dialect of markup. Values come plain and leave escaped.
pub(crate) trait Markup {
    /// Between two lines.
    const BREAK: &'static str;
    /// A value.
    fn value(&self, value: &str) -> String;
    /// Something to be copied.
    fn code(&self, value: &str) -> String {
        self.value(value)
    }
    /// The title, which is written already.
    fn title(&self, title: &str, look: Look) -> String;
    /// A fact; `value` is written already.
    fn fact(&self, label: &str, value: &str) -> String {
        format!("{label}: {value}")
    }
    /// One alarm of several; `text` is written already.
    fn line(&self, look: Look, text: &str) -> String {
        format!("{} {text}", look.style().emoji)
    }
    /// A link.
    fn link(&self, link: &Link) -> String {
        format!("{}: {}", self.value(&link.label), link.url)
    }
    /// What is least important; written already.
    fn footer(&self, text: &str) -> String {
        text.to_owned()
    }
}

/// Title and body.
pub(crate) fn write(message: &Message, markup: &impl Markup) -> String {
    let title = message.title_with(|value| markup.value(value));
    let title = markup.title(&title, message.look);
    let mut lines = body_lines(message, markup);
    lines.insert(0, title);
    join(&lines, markup)
}

/// Everything but the title.
pub(crate) fn write_body(message: &Message, markup: &impl Markup) -> String {
    join(&body_lines(message, markup), markup)
}

fn join<M: Markup>(lines: &[String], _: &M) -> String {
    lines.join(M::BREAK)
}

fn body_lines(message: &Message, markup: &impl Markup) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(text) = &message.text {
        lines.push(text.clone());
    } else {
        for fact in &message.told() {
            let value = match &fact.code {
                Some(code) if fact.value.is_empty() => markup.code(code),
                Some(code) => format!("{} {}", markup.code(code), markup.value(&fact.value)),
                None => markup.value(&fact.value),
            };
            lines.push(markup.fact(fact.label, &value));
        }
        for line in &message.lines {
            lines.push(markup.line(line.look, &markup.value(&line.text)));
        }
        lines.extend(message.more());
    }
    lines.extend(message.links.iter().map(|link| markup.link(link)));
    if let Some(footer) = &message.footer {
        lines.push(markup.footer(&markup.value(footer)));
    }
    lines
}

/// No markup at all: SMS gateways, push services, the text part of a mail.
pub(crate) struct Plain;

impl Markup for Plain {
    const BREAK: &'static str = "\n";
    fn value(&self, value: &str) -> String {
        value.to_owned()
    }
    fn title(&self, title: &str, _: Look) -> String {
        title.to_owned()
    }
}
