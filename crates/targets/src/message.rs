//! What a message says, the same for every channel.
//!
//! ```text
//! event, group or digest ── compose ─► Message (plain values) ── cut to the channel's size ─► the kind's own markup
//! ```
//! | module | owns |
//! |---|---|
//! | `compose` | what is said of an alarm, an event, a group, a digest |
//! | `words` | both languages, times, durations |
//! | `escape` | making values harmless in each dialect |
//! | `markup` | writing a message as text in a dialect |
//! | `cut` | sizes |
//! | `look` | severities as colours, priorities, signs |
//! | `settings` | the settings that all kinds with messages share |
//!
//! It must never know any vendor's requests or answers: that is what kinds are for.

mod compose;
pub(crate) mod cut;
pub(crate) mod escape;
pub(crate) mod look;
pub(crate) mod markup;
pub(crate) mod settings;
pub(crate) mod words;

use belfry_alarm::Language;

pub(crate) use compose::{compose, own_body, what};
pub(crate) use look::Look;

/// A message before any channel's markup. Texts are plain: they come from outside and are escaped when they are
/// written, except `text`. Every text but that one is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// How bad it is, in brackets, in the message's language: the beginning of the title. Ours, so never escaped; empty
    /// when there is nothing to say.
    pub(crate) tag: String,
    /// What and which resource, the same for alarm, repeat and recovery: the rest of the title. At most 80 characters
    /// with the tag.
    pub(crate) subject: String,
    /// Of the worst alarm that is told of.
    pub(crate) look: Look,
    /// The most useful first.
    pub(crate) facts: Vec<Fact>,
    /// What to do first.
    pub(crate) advice: Option<String>,
    /// The alarms of a group or digest, the worst first.
    pub(crate) lines: Vec<Line>,
    /// How many more `lines` there would be.
    pub(crate) lines_left_out: usize,
    /// The operator's own text in the markup of the channel; stands in the place of facts, advice and lines.
    pub(crate) text: Option<String>,
    /// The first one leads to the delivery, if there is such a page.
    pub(crate) links: Vec<Link>,
    /// Rule, bus, event, delivery.
    pub(crate) footer: Option<String>,
    /// When it happened, ms since 1970.
    pub(crate) at_ms: i64,
    /// The language of its words.
    pub(crate) language: Language,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    /// What it is, in the message's language.
    pub(crate) label: &'static str,
    /// Something to be copied, such as an id.
    pub(crate) code: Option<String>,
    /// The value, or what is said besides the code.
    pub(crate) value: String,
    /// Whether it may be dropped when room is short.
    pub(crate) optional: bool,
}

/// One alarm of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its severity.
    pub(crate) look: Look,
    /// What it is.
    pub(crate) text: String,
}

/// An address to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// What is there; names the host when the address came with the event.
    pub(crate) label: String,
    /// `http` or `https`, nothing in it that ends markup.
    pub(crate) url: String,
}

impl Fact {
    /// Code and value as one plain text.
    pub(crate) fn plain(&self) -> String {
        match &self.code {
            Some(code) if self.value.is_empty() => code.clone(),
            Some(code) => format!("{code} {}", self.value),
            None => self.value.clone(),
        }
    }
}

impl Message {
    /// What a locked phone shows: how bad, what, which resource. Plain.
    pub(crate) fn title(&self) -> String {
        self.title_with(str::to_owned)
    }

    /// The title, what comes from outside written by `value`.
    pub(crate) fn title_with(&self, value: impl Fn(&str) -> String) -> String {
        let subject = value(&self.subject);
        if self.tag.is_empty() {
            subject
        } else {
            format!("{} {subject}", self.tag)
        }
    }

    /// Facts and advice in the order in which they are read: what to do stands before what is only good to know.
    pub(crate) fn told(&self) -> Vec<Fact> {
        let mut told = self.facts.clone();
        if let Some(advice) = &self.advice {
            let at = told.iter().position(|fact| fact.optional);
            let advice = Fact {
                label: self.say("Do first", "建议"),
                code: None,
                value: advice.clone(),
                optional: false,
            };
            told.insert(at.unwrap_or(told.len()), advice);
        }
        told
    }

    /// One of two texts, by the message's language.
    pub(crate) fn say<'t>(&self, en: &'t str, zh: &'t str) -> &'t str {
        words::say(self.language, en, zh)
    }

    /// What stands at the end of a text that was cut.
    pub(crate) fn cut_marker(&self) -> &'static str {
        words::cut_marker(self.language)
    }

    /// "…and 12 more", when lines were left out.
    pub(crate) fn more(&self) -> Option<String> {
        (self.lines_left_out > 0).then(|| match self.language {
            Language::En => format!("…and {} more", self.lines_left_out),
            Language::Zh => format!("…另有 {} 条", self.lines_left_out),
        })
    }

    /// The texts that may be shortened.
    fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        self.facts
            .iter_mut()
            .flat_map(|fact| fact.code.iter_mut().chain([&mut fact.value]))
            .chain(&mut self.advice)
            .chain(&mut self.footer)
    }

    /// Drops what is least useful; false when only title and the first link are left.
    fn drop_last(&mut self) -> bool {
        self.advice.take().is_some() || self.facts.pop().is_some() || self.footer.take().is_some()
    }
}
