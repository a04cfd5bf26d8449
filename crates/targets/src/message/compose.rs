//! What is said of an alarm, of an event that is none, of a group, of a digest.
//!
//! The title has to be read alone, at night, on a locked phone: how bad, what, which resource. The most useful facts
//! come first, since a message that is too long loses its end.

use std::collections::BTreeMap;

use belfry_alarm::{Alarm, AlarmState, Language, Names, Severity};
use belfry_transform::{ContentKind, Escape};
use serde_json::{Map, Value};

use super::cut::{Unit, cut_text};
use super::escape::{one_line, safe_link};
use super::settings::Common;
use super::words::{clock_time, duration, local_time, say};
use super::{Fact, Line, Link, Look, Message};
use crate::target::{Folded, Job};

/// Longest title, in characters.
const TITLE_CHARS_MAX: usize = 80;
/// Of which the resource gets at most this many.
const RESOURCE_CHARS_MAX: usize = 48;
/// Longest value of a fact, in bytes: what is longer is a document, not a fact.
const VALUE_BYTES_MAX: usize = 1024;
/// Most alarms that are told of one by one.
const GROUP_LINES_MAX: usize = 20;
/// Most resources of a digest.
const DIGEST_LINES_MAX: usize = 10;
/// Most labels of the sender that are shown.
const LABELS_MAX: usize = 8;
/// A shorter life is not worth a word while the alarm goes on.
const LASTING_MS_MIN: i64 = 60_000;

/// The message of a delivery, or of several. `alarm` has been read of the job's event; `escape` is that of the kind.
pub(crate) fn compose(
    job: &Job<'_>,
    alarm: &Alarm,
    common: &Common,
    escape: Escape,
    now_ms: i64,
) -> Message {
    let told = Told {
        job,
        common,
        now_ms,
    };
    if job.folded.is_empty() {
        told.one(alarm, own_text(job, escape))
    } else {
        told.several(alarm)
    }
}

/// The operator's own request for the vendor: a transformation whose result is a JSON object.
pub(crate) fn own_body(job: &Job<'_>) -> Option<Map<String, Value>> {
    let rendered = own(job).filter(|rendered| is_json(&rendered.content_type))?;
    match serde_json::from_slice(&rendered.body) {
        Ok(Value::Object(body)) => Some(body),
        _ => None,
    }
}

/// The operator's own text, in the markup of the channel. The values of a text template were escaped when they were
/// inserted; the result of anything else is one value.
fn own_text(job: &Job<'_>, escape: Escape) -> Option<String> {
    let rendered = own(job)?;
    let text = String::from_utf8_lossy(&rendered.body);
    let text = if is_json(&rendered.content_type) {
        match serde_json::from_slice(&rendered.body) {
            Ok(Value::Object(_)) => return None,
            Ok(Value::String(text)) => escape.apply(&text).into_owned(),
            _ => escape.apply(&text).into_owned(),
        }
    } else {
        text.into_owned()
    };
    Some(text).filter(|text| !text.trim().is_empty())
}

/// What a transformation has made, if it is about this message and says anything else than the event does.
fn own<'a>(job: &Job<'a>) -> Option<&'a belfry_transform::Rendered> {
    job.body
        .filter(|rendered| job.folded.is_empty() && rendered.body != **job.event.doc())
}

fn is_json(kind: &ContentKind) -> bool {
    *kind == ContentKind::Json || kind.as_str().starts_with("application/json")
}

/// How an alarm looks.
fn look_of(alarm: &Alarm) -> Look {
    match (alarm.state, alarm.severity) {
        (AlarmState::Recovered, _) => Look::Recovered,
        (_, Severity::Critical) => Look::Critical,
        (_, Severity::Error) => Look::Error,
        (_, Severity::Warning) => Look::Warning,
        (_, Severity::Info) => Look::Info,
    }
}

/// An event that nobody meant as an alarm.
fn is_plain(alarm: &Alarm) -> bool {
    alarm.state == AlarmState::Stateless
        && alarm.severity == Severity::Info
        && alarm.entry.is_none()
        && alarm.title.is_none()
}

/// The word in brackets at the beginning of a title.
fn tag(look: Look, language: Language) -> &'static str {
    match look {
        Look::Recovered => say(language, "[Recovered]", "[恢复]"),
        Look::Critical => say(language, "[Critical]", "[严重]"),
        Look::Error => say(language, "[Error]", "[错误]"),
        Look::Warning => say(language, "[Warning]", "[警告]"),
        Look::Info => say(language, "[Info]", "[提示]"),
    }
}

/// A name in the language, or in the other one when there is none.
fn name(names: &Names, language: Language) -> &str {
    let (first, second) = match language {
        Language::En => (&names.en, &names.zh),
        Language::Zh => (&names.zh, &names.en),
    };
    if first.is_empty() { second } else { first }
}

/// A text on one line, if anything of it can be seen.
fn seen(text: Option<&str>) -> Option<String> {
    text.map(one_line).filter(|text| !text.is_empty())
}

/// What happened, in a few words.
pub(crate) fn what(alarm: &Alarm, language: Language) -> String {
    if let Some(entry) = alarm.entry {
        let (product, event) = (
            name(&entry.product_names, language),
            name(&entry.names, language),
        );
        if !event.is_empty() {
            return if product.is_empty() || event.contains(product) {
                event.to_owned()
            } else {
                format!("{product} {event}")
            };
        }
    }
    let said = seen(alarm.title.as_deref()).or_else(|| seen(Some(&alarm.kind)));
    said.unwrap_or_else(|| say(language, "Event", "事件").to_owned())
}

/// Which resource: its name and its id.
fn resource(alarm: &Alarm) -> Option<String> {
    let id = seen(alarm.subject.as_deref());
    let name = seen(alarm.resource_name.as_deref());
    match (name, id) {
        (Some(name), Some(id)) if name != id => Some(format!("{name} ({id})")),
        (Some(one), _) | (None, Some(one)) => Some(one),
        (None, None) => None,
    }
}

/// What and which, within `chars`.
fn subject(alarm: &Alarm, language: Language, chars: usize) -> String {
    let what = what(alarm, language);
    let cut = |text: &str, chars| cut_text(text, chars, Unit::Chars, "…");
    let known = |resource: &String| {
        let says = |part: Option<&String>| part.is_some_and(|part| what.contains(part.as_str()));
        // A sender's title often names the resource already.
        !(what.contains(resource.as_str())
            || says(alarm.subject.as_ref())
            || says(alarm.resource_name.as_ref()))
    };
    match resource(alarm).filter(known) {
        Some(resource) => {
            let resource = cut(&resource, RESOURCE_CHARS_MAX);
            let room = chars.saturating_sub(Unit::Chars.count(&resource) + 3);
            format!("{} · {resource}", cut(&what, room))
        }
        None => cut(&what, chars),
    }
}

/// What is the same for every part of a message.
struct Told<'a> {
    job: &'a Job<'a>,
    common: &'a Common,
    now_ms: i64,
}

impl Told<'_> {
    fn say<'t>(&self, en: &'t str, zh: &'t str) -> &'t str {
        say(self.common.language, en, zh)
    }

    /// The beginning of a title. Of a trial it says so: nobody is to get up for it.
    fn tag(&self, tag: &str) -> String {
        if self.job.trial {
            let trial = self.say("[Test]", "[测试]");
            format!("{trial} {tag}").trim_end().to_owned()
        } else {
            tag.to_owned()
        }
    }

    fn time(&self, ms: i64) -> String {
        local_time(ms, self.common.time_zone)
    }

    /// One alarm or event.
    fn one(&self, alarm: &Alarm, text: Option<String>) -> Message {
        let language = self.common.language;
        let look = look_of(alarm);
        let tag = self.tag(if is_plain(alarm) {
            ""
        } else {
            tag(look, language)
        });
        let room = TITLE_CHARS_MAX - Unit::Chars.count(&tag) - 1;
        Message {
            tag,
            subject: subject(alarm, language, room),
            look,
            facts: self.facts(alarm),
            advice: (alarm.state != AlarmState::Recovered)
                .then_some(alarm.entry)
                .flatten()
                .map(|entry| one_line(name(&entry.advice, language)))
                .filter(|advice| !advice.is_empty()),
            lines: Vec::new(),
            lines_left_out: 0,
            text,
            links: self.links(alarm),
            footer: Some(self.footer()),
            at_ms: alarm.time_ms.unwrap_or(self.job.accepted_at_ms),
            language,
        }
    }

    fn facts(&self, alarm: &Alarm) -> Vec<Fact> {
        let mut facts = Facts(Vec::new());
        if let Some(note) = self.job.note {
            facts.needed(self.say("Note", "备注"), one_line(note));
        }
        let id = seen(alarm.subject.as_deref());
        let name = seen(alarm.resource_name.as_deref()).filter(|name| Some(name) != id.as_ref());
        match (id, name) {
            (Some(id), name) => {
                facts.push(
                    self.say("Resource", "资源"),
                    Some(id),
                    name.unwrap_or_default(),
                );
            }
            (None, Some(name)) => facts.needed(self.say("Resource", "资源"), name),
            (None, None) => {}
        }
        if let Some(region) = &alarm.region {
            facts.needed(self.say("Region", "地域"), one_line(region));
        }
        match (&alarm.value, &alarm.threshold) {
            (Some(value), Some(threshold)) => facts.needed(
                self.say("Value", "当前值"),
                match self.common.language {
                    Language::En => {
                        format!("{} (threshold {})", one_line(value), one_line(threshold))
                    }
                    Language::Zh => format!("{}（阈值 {}）", one_line(value), one_line(threshold)),
                },
            ),
            (Some(value), None) => facts.needed(self.say("Value", "当前值"), one_line(value)),
            (None, Some(threshold)) => {
                facts.needed(self.say("Threshold", "阈值"), one_line(threshold));
            }
            (None, None) => {}
        }
        self.times(alarm, &mut facts);
        // What the catalog says is of an alarm that goes on.
        let about = seen(alarm.summary.as_deref()).or_else(|| {
            let entry = alarm
                .entry
                .filter(|_| alarm.state != AlarmState::Recovered)?;
            seen(Some(self::name(&entry.about, self.common.language)))
        });
        if let Some(about) = about {
            facts.needed(self.say("Meaning", "说明"), about);
        }
        if is_plain(alarm) {
            let payload = self.job.event.payload();
            let data = String::from_utf8_lossy(&payload.bytes);
            let data = one_line(&data);
            if !data.is_empty() && data != "null" {
                facts.optional(self.say("Data", "数据"), data);
            }
        }
        facts.optional(self.say("Event", "事件"), one_line(&alarm.kind));
        if let Some(account) = &alarm.account {
            facts.optional(self.say("Account", "账号"), one_line(account));
        }
        let labels: Vec<String> = alarm
            .labels
            .iter()
            .take(LABELS_MAX)
            .map(|(name, value)| format!("{}={}", one_line(name), one_line(value)))
            .collect();
        if !labels.is_empty() {
            facts.optional(self.say("Labels", "标签"), labels.join(", "));
        }
        facts.optional(self.say("Source", "来源"), one_line(&alarm.source));
        facts.0
    }

    /// Since when, until when, how long, how often.
    fn times(&self, alarm: &Alarm, facts: &mut Facts) {
        let life = self.job.alarm;
        let language = self.common.language;
        let happened = alarm.time_ms.unwrap_or(self.job.accepted_at_ms);
        let first = life.map(|life| life.first_at_ms).filter(|first| *first > 0);
        match alarm.state {
            AlarmState::Stateless => {
                facts.needed(self.say("Time", "时间"), self.time(happened));
            }
            AlarmState::Firing => {
                let began = alarm.started_at_ms.or(first).unwrap_or(happened);
                facts.needed(self.say("Started", "开始"), self.time(began));
                let lasting = self.now_ms.saturating_sub(began);
                if lasting >= LASTING_MS_MIN {
                    let words = duration(lasting, language);
                    facts.needed(
                        self.say("Lasting", "持续"),
                        match language {
                            Language::En => format!("for {words}"),
                            Language::Zh => format!("已持续 {words}"),
                        },
                    );
                }
            }
            AlarmState::Recovered => {
                let ended = alarm.ended_at_ms.unwrap_or(happened);
                facts.needed(self.say("Recovered", "恢复"), self.time(ended));
                if let Some(began) = alarm
                    .started_at_ms
                    .or(first)
                    .filter(|began| *began <= ended)
                {
                    let lasted = duration(ended.saturating_sub(began), language);
                    facts.needed(self.say("Lasted", "持续"), lasted);
                    facts.optional(self.say("Started", "开始"), self.time(began));
                }
            }
        }
        if let Some(life) = life.filter(|life| life.count > 1) {
            let first = clock_time(life.first_at_ms, self.now_ms, self.common.time_zone);
            facts.needed(
                self.say("Count", "次数"),
                match language {
                    Language::En => format!("{} times, first at {first}", life.count),
                    Language::Zh => format!("第 {} 次，首次 {first}", life.count),
                },
            );
        }
    }

    fn links(&self, alarm: &Alarm) -> Vec<Link> {
        let mut links = self.own_link();
        for link in &alarm.links {
            let Some(url) = safe_link(&link.url) else {
                continue;
            };
            let host = url::Url::parse(&url).ok();
            let host = host
                .as_ref()
                .and_then(|url| url.host_str())
                .unwrap_or_default();
            // Whoever taps it sees where it leads.
            let label = match one_line(&link.label) {
                label if label.is_empty() => host.to_owned(),
                label => format!("{} ({host})", cut_text(&label, 40, Unit::Chars, "…")),
            };
            links.push(Link { label, url });
        }
        links
    }

    fn own_link(&self) -> Vec<Link> {
        let link = self.job.link.and_then(safe_link);
        let label = self.say("View details", "查看详情").to_owned();
        link.map(|url| Link { label, url }).into_iter().collect()
    }

    fn footer(&self) -> String {
        let job = self.job;
        let event = job.delivery.event;
        match self.common.language {
            Language::En => format!(
                "rule {} · bus {} · {event} · {}",
                job.rule, job.bus, job.delivery
            ),
            Language::Zh => format!(
                "规则 {} · 总线 {} · {event} · {}",
                job.rule, job.bus, job.delivery
            ),
        }
    }

    /// A group, or a digest.
    fn several(&self, first: &Alarm) -> Message {
        let language = self.common.language;
        let folded: Vec<Alarm> = self.job.folded.iter().map(Folded::alarm).collect();
        let alarms: Vec<&Alarm> = std::iter::once(first).chain(&folded).collect();
        let counts = counts(&alarms, language);
        let look = alarms
            .iter()
            .map(|alarm| look_of(alarm))
            .max()
            .unwrap_or(Look::Info);
        let count = alarms.len();
        let subject = if self.job.digest {
            match language {
                Language::En => format!("{count} more alarms: {counts}"),
                Language::Zh => format!("另有 {count} 条告警: {counts}"),
            }
        } else {
            let what = common_what(&alarms, language);
            let whats = match language {
                Language::En => format!("{count} alarms: {what}"),
                Language::Zh => format!("{count} 条告警: {what}"),
            };
            cut_text(&whats, TITLE_CHARS_MAX - 12, Unit::Chars, "…")
        };
        let tag = self.tag(if self.job.digest {
            self.say("[Digest]", "[汇总]")
        } else {
            tag(look, language)
        });
        let mut facts = Facts(Vec::new());
        facts.needed(self.say("Alarms", "数量"), format!("{count} ({counts})"));
        if let Some(region) = &first.region
            && alarms.iter().all(|alarm| alarm.region == first.region)
        {
            facts.needed(self.say("Region", "地域"), one_line(region));
        }
        let times = alarms.iter().filter_map(|alarm| alarm.time_ms);
        if let (Some(from), Some(to)) = (times.clone().min(), times.max()) {
            let text = if from == to {
                self.time(from)
            } else {
                let from = clock_time(from, to, self.common.time_zone);
                format!("{from} – {}", self.time(to))
            };
            facts.needed(self.say("Time", "时间"), text);
        }
        let (lines, lines_left_out) = lines(&alarms, self.job.digest, language);
        Message {
            tag,
            subject,
            look,
            facts: facts.0,
            advice: None,
            lines,
            lines_left_out,
            text: None,
            links: self.own_link(),
            footer: Some(self.footer()),
            at_ms: first.time_ms.unwrap_or(self.job.accepted_at_ms),
            language,
        }
    }
}

impl Folded {
    fn alarm(&self) -> Alarm {
        Alarm::read(&self.event)
    }
}

/// How many of each severity, the worst first, and how many recoveries.
fn counts(alarms: &[&Alarm], language: Language) -> String {
    let mut of: BTreeMap<Look, usize> = BTreeMap::new();
    for alarm in alarms {
        *of.entry(look_of(alarm)).or_default() += 1;
    }
    let words: Vec<String> = of
        .iter()
        .rev()
        .map(|(look, count)| {
            let word = match look {
                Look::Recovered => say(language, "recovered", "恢复"),
                Look::Critical => say(language, "critical", "严重"),
                Look::Error => say(language, "error", "错误"),
                Look::Warning => say(language, "warning", "警告"),
                Look::Info => say(language, "info", "提示"),
            };
            format!("{word} {count}")
        })
        .collect();
    words.join(", ")
}

/// What they have in common, or what the worst of them is and that there are others.
fn common_what(alarms: &[&Alarm], language: Language) -> String {
    let worst = alarms
        .iter()
        .rev()
        .max_by_key(|alarm| look_of(alarm))
        .map(|alarm| what(alarm, language))
        .unwrap_or_default();
    if alarms.iter().all(|alarm| what(alarm, language) == worst) {
        worst
    } else {
        match language {
            Language::En => format!("{worst} and others"),
            Language::Zh => format!("{worst} 等"),
        }
    }
}

/// The worst first: of a group alarm by alarm, of a digest resource by resource. With the number of those left out.
fn lines(alarms: &[&Alarm], digest: bool, language: Language) -> (Vec<Line>, usize) {
    struct Same<'a> {
        worst: &'a Alarm,
        last: &'a Alarm,
        count: usize,
    }
    let mut all: BTreeMap<String, Same<'_>> = BTreeMap::new();
    for alarm in alarms {
        let key = if digest {
            resource(alarm).unwrap_or_else(|| one_line(&alarm.source))
        } else {
            alarm.key.as_str().to_owned()
        };
        all.entry(key)
            .and_modify(|same| {
                same.count += 1;
                same.last = alarm;
                if look_of(alarm) > look_of(same.worst) {
                    same.worst = alarm;
                }
            })
            .or_insert(Same {
                worst: alarm,
                last: alarm,
                count: 1,
            });
    }
    // Of a group the last word on an alarm counts, of a digest the worst on a resource.
    let look = |same: &Same<'_>| look_of(if digest { same.worst } else { same.last });
    let mut sorted: Vec<(String, Same<'_>)> = all.into_iter().collect();
    sorted.sort_by_key(|(_, same)| (std::cmp::Reverse(look(same)), std::cmp::Reverse(same.count)));
    let max = if digest {
        DIGEST_LINES_MAX
    } else {
        GROUP_LINES_MAX
    };
    let left_out = sorted.len().saturating_sub(max);
    let lines = sorted
        .into_iter()
        .take(max)
        .map(|(key, same)| {
            let times = if same.count > 1 {
                format!(" ×{}", same.count)
            } else {
                String::new()
            };
            let text = if digest {
                let key = cut_text(&key, RESOURCE_CHARS_MAX, Unit::Chars, "…");
                format!("{key}{times}: {}", what(same.worst, language))
            } else {
                format!("{}{times}", subject(same.last, language, TITLE_CHARS_MAX))
            };
            Line {
                look: look(&same),
                text,
            }
        })
        .collect();
    (lines, left_out)
}

/// Facts in the making; values are bounded here, once.
struct Facts(Vec<Fact>);

impl Facts {
    fn push(&mut self, label: &'static str, code: Option<String>, value: String) {
        if code.is_none() && value.is_empty() {
            return;
        }
        let bounded = |text: String| cut_text(&text, VALUE_BYTES_MAX, Unit::Bytes, "…");
        self.0.push(Fact {
            label,
            code: code.map(bounded),
            value: bounded(value),
            optional: false,
        });
    }

    fn needed(&mut self, label: &'static str, value: String) {
        self.push(label, None, value);
    }

    fn optional(&mut self, label: &'static str, value: String) {
        let before = self.0.len();
        self.push(label, None, value);
        if let Some(fact) = self.0.get_mut(before) {
            fact.optional = true;
        }
    }
}
