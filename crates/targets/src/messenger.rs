//! The frame of the kinds that send messages: one HTTPS request to a vendor for each.
//!
//! A kind says what its settings are, how a message is written, how the request is made and what the vendor's answer
//! means ([`Messenger`]). Everything else is here, once: reading settings, composing, the operator's own text, sending,
//! records without secrets, previews, what follows from an answer that is none of the vendor's.
//!
//! It must never know a vendor.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use belfry_alarm::Alarm;
use belfry_egress::{
    EgressClient, HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Url,
};
use belfry_model::config::Schedule;
use belfry_model::delivery::Reason;
use belfry_model::{Clock, FieldError};
use belfry_transform::Escape;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::{judge_failure, judge_unclear, retry_after_ms};
use crate::kind::{ConnectContext, LabelPair, TargetKind};
use crate::message::settings::{self, Common};
use crate::message::{Message, compose, cut, escape, own_body};
use crate::record::{Scrub, request_record, response_record, shown_url, shown_url_text};
use crate::secret::{MASK, Secret};
use crate::target::{Attempted, Channel, ChannelLimit, Job, RequestRecord, Target, Verdict};

/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How much of a vendor's own words is kept in a detail, in characters.
const WORDS_CHARS_MAX: usize = 200;
/// Most parts of one delivery that a preview shows.
const PARTS_MAX: usize = 4;
/// At the end of a progress: a request of this delivery was sent and not answered.
const UNANSWERED: &str = "unanswered";

/// What a kind says of itself.
#[expect(
    clippy::struct_field_names,
    reason = "it is what TargetKind::about gives"
)]
pub(crate) struct About {
    /// The word in `"type"`.
    pub(crate) name: &'static str,
    /// A short title, in English and in Chinese.
    pub(crate) title: LabelPair,
    /// One or two sentences, in English and in Chinese.
    pub(crate) about: LabelPair,
    /// Who answers, in details for people.
    pub(crate) vendor: &'static str,
    /// Members that are secret and go to the vendor.
    pub(crate) secrets: &'static [&'static str],
    /// Members that are secret and go to nobody: signing secrets.
    pub(crate) signing: &'static [&'static str],
    /// Where the vendor listens, unless `baseUrl` or `url` says otherwise; empty: one of them is required.
    pub(crate) base: &'static str,
}

impl About {
    /// JSON pointers of the secrets in settings of any shape.
    pub(crate) fn secret_pointers(&self, settings: &Value) -> Vec<String> {
        let names = self.secrets.iter().chain(self.signing);
        names
            .filter(|name| settings.get(**name).is_some_and(Value::is_string))
            .map(|name| format!("/{name}"))
            .collect()
    }

    /// Who is shown the secret at `pointer`; nobody, if it only signs.
    pub(crate) fn shown_to(&self, settings: &Value, pointer: &str) -> Option<String> {
        if self.signing.contains(&pointer.trim_start_matches('/')) {
            return None;
        }
        let given = ["url", "baseUrl"]
            .into_iter()
            .find_map(|name| settings.get(name)?.as_str());
        let url = Url::parse(given.unwrap_or(self.base)).ok()?;
        Some(url.origin().ascii_serialization())
    }
}

/// A kind of target that sends messages.
pub(crate) trait Messenger: Sized + Send + Sync + 'static {
    /// Its own settings; those of [`Common`] stand beside them.
    type Settings: DeserializeOwned + JsonSchema;
    /// Name, titles, secrets.
    const ABOUT: About;
    /// The dialect of the operator's own text.
    const ESCAPE: Escape;
    /// Whether one message can tell of several events.
    const FOLDS: bool = true;
    /// Whether the vendor recognises a request that it gets twice.
    const REPEATABLE: bool = false;

    /// Settings that are valid.
    fn example() -> Value;
    /// Checks settings, secrets in clear, and takes them; nothing when `check` has got an error.
    fn new(settings: Self::Settings, check: &mut Check<'_>) -> Option<Self>;
    /// What the vendor counts its limit by, and a limit below it.
    fn channel(&self) -> Option<(String, ChannelLimit)>;
    /// The body of the request for a part of the delivery.
    fn body(&self, ask: &Ask<'_>) -> Value;
    /// Everything else of the request; a signature may go into the body.
    fn request(&self, ask: &Ask<'_>, body: &mut Value) -> Outgoing;
    /// What the answer means, as far as it is one of the vendor's.
    fn judge(&self, ask: &Ask<'_>, answer: &Answer<'_>) -> Said;
    /// The part that follows when this one has succeeded.
    fn after(&self, ask: &Ask<'_>) -> Option<String> {
        let _ = ask;
        None
    }
    /// Whether this part is the message itself, in whose place the operator's own body may stand.
    fn is_message(&self, ask: &Ask<'_>) -> bool {
        ask.part.is_none()
    }
}

/// What a request is about.
pub(crate) struct Ask<'a> {
    /// The delivery.
    pub(crate) job: &'a Job<'a>,
    /// The facts of its event.
    pub(crate) alarm: &'a Alarm,
    /// What is to be said.
    pub(crate) message: &'a Message,
    /// Which part of the delivery; absent: the first.
    pub(crate) part: Option<&'a str>,
    /// The time, ms since 1970.
    pub(crate) now_ms: i64,
}

impl Ask<'_> {
    /// The message, made smaller until it `fits`.
    pub(crate) fn fitted(&self, fits: impl Fn(&Message) -> bool) -> Message {
        let mut message = self.message.clone();
        cut::fit(&mut message, fits);
        message
    }

    /// What the vendor is to recognise the alarm by. That of a trial touches no real one.
    pub(crate) fn alarm_key(&self) -> Cow<'_, str> {
        let key = self.alarm.key.as_str();
        if self.job.trial {
            Cow::Owned(format!("test-{key}"))
        } else {
            Cow::Borrowed(key)
        }
    }

    /// What happened, where how bad it is stands beside it; of a trial with the sign that it is one.
    pub(crate) fn headline(&self, message: &Message) -> String {
        if self.job.trial {
            message.title()
        } else {
            message.subject.clone()
        }
    }

    /// What this target's first message of the alarm left behind.
    pub(crate) fn thread(&self) -> Option<&str> {
        self.job.alarm?.thread.as_deref()
    }
}

/// A request without its body.
pub(crate) struct Outgoing {
    /// The method.
    pub(crate) method: Method,
    /// Where to.
    pub(crate) url: Url,
    /// Headers besides content type and user agent.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// What is secret in this request besides the settings: signatures.
    pub(crate) secrets: Vec<String>,
}

impl Outgoing {
    /// A POST.
    pub(crate) fn post(url: Url) -> Self {
        Self {
            method: Method::POST,
            url,
            headers: Vec::new(),
            secrets: Vec::new(),
        }
    }
}

/// An answer that is complete, or as much of it as is read.
pub(crate) struct Answer<'a> {
    /// The status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: &'a HeaderMap,
    /// The body as text; what is not UTF-8 is replaced.
    pub(crate) text: &'a str,
    /// The body as JSON, if it is that.
    pub(crate) json: Value,
    /// The time, ms since 1970.
    pub(crate) now_ms: i64,
}

impl Answer<'_> {
    /// Whether the status is 200 to 299.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The member of the body that is a whole number or a text of one.
    pub(crate) fn number(&self, pointer: &str) -> Option<i64> {
        let value = self.json.pointer(pointer)?;
        value.as_i64().or_else(|| value.as_str()?.parse().ok())
    }

    /// The member of the body that is a text.
    pub(crate) fn word(&self, pointer: &str) -> Option<&str> {
        self.json.pointer(pointer)?.as_str()
    }

    /// How long the headers ask to wait.
    pub(crate) fn retry_after_ms(&self) -> Option<u64> {
        retry_after_ms(self.headers, self.now_ms)
    }
}

/// What a vendor's answer means.
#[derive(Debug)]
pub(crate) enum Said {
    /// The message was taken.
    Taken {
        /// What later messages of the same alarm refer to.
        thread: Option<String>,
    },
    /// Not in this form: the same again, as another part.
    Again {
        /// Which part.
        part: String,
        /// Why, for people.
        detail: String,
    },
    /// Refused, with a reason of the vendor's.
    Refused(Refusal),
    /// Nothing that the vendor is known to say: the HTTP status decides, and 2xx is no success.
    Unclear,
}

/// Why a vendor does not take a message.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What follows.
    pub(crate) class: Class,
    /// The vendor's code.
    pub(crate) code: String,
    /// The vendor's words.
    pub(crate) words: String,
    /// What it means, in English and in Chinese.
    pub(crate) why: LabelPair,
    /// How long the vendor asks to wait.
    pub(crate) retry_after_ms: Option<u64>,
}

/// What follows from a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// May succeed later.
    Retry,
    /// Too many; the channel rests for at least so many milliseconds.
    Throttled(u64),
    /// This message will never be taken.
    Permanent,
    /// Too long.
    TooLarge,
    /// Nothing will be taken until somebody changes the settings.
    Misconfigured,
}

/// A row of a vendor's table.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "it is the vendor's word")]
pub(crate) struct Code {
    /// The vendor's code.
    pub(crate) code: &'static str,
    /// What follows.
    pub(crate) class: Class,
    /// What it means, in English and in Chinese.
    pub(crate) why: LabelPair,
}

/// A row of a vendor's table.
pub(crate) const fn code(
    code: &'static str,
    class: Class,
    en: &'static str,
    zh: &'static str,
) -> Code {
    Code {
        code,
        class,
        why: (en, zh),
    }
}

impl Code {
    /// The row of a code; where codes have parts (`LimitExceeded.AppDailyLimit`), the most exact one.
    pub(crate) fn find<'t>(table: &'t [Self], code: &str) -> Option<&'t Self> {
        table
            .iter()
            .filter(|row| {
                code.strip_prefix(row.code)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
            .max_by_key(|row| row.code.len())
    }
}

impl Said {
    /// [`Refusal::of`] as an answer.
    pub(crate) fn refused(table: &[Code], code: impl Into<String>, words: &str) -> Self {
        Self::Refused(Refusal::of(table, code, words))
    }

    /// The same under the vendor's own number, where rows tell apart what the vendor does not.
    pub(crate) fn shown_as(self, number: i64) -> Self {
        match self {
            Self::Refused(refusal) => Self::Refused(Refusal {
                code: number.to_string(),
                ..refusal
            }),
            other => other,
        }
    }

    /// The same with a pause that the vendor asks for.
    pub(crate) fn wait(self, retry_after_ms: Option<u64>) -> Self {
        match self {
            Self::Refused(refusal) => Self::Refused(Refusal {
                retry_after_ms,
                ..refusal
            }),
            other => other,
        }
    }
}

impl Refusal {
    /// The refusal of a code by the vendor's table; one that is not in it is permanent and shown as it is.
    pub(crate) fn of(table: &[Code], code: impl Into<String>, words: &str) -> Self {
        let code = code.into();
        let row = Code::find(table, &code);
        Self {
            class: row.map_or(Class::Permanent, |row| row.class),
            why: row.map_or(
                ("a code that Belfry does not know", "Belfry 不认识的错误码"),
                |row| row.why,
            ),
            code,
            words: words.to_owned(),
            retry_after_ms: None,
        }
    }

    /// The code and what it means, in both languages.
    pub(crate) fn in_words(&self) -> String {
        format!("{}: {}; {}", self.code, self.why.0, self.why.1)
    }

    /// What follows; `vendor` is who said it.
    pub(crate) fn verdict(self, vendor: &str) -> Verdict {
        let words = escape::one_line(&self.words);
        let words = cut::cut_text(&words, WORDS_CHARS_MAX, cut::Unit::Chars, "…");
        let said = if words.is_empty() || words == self.code {
            self.code
        } else {
            format!("{} ({words})", self.code)
        };
        let detail = format!("{vendor} says {said}: {}; {}", self.why.0, self.why.1);
        let permanent = |reason| Verdict::Permanent {
            reason,
            detail: detail.clone(),
        };
        match self.class {
            Class::Permanent => permanent(Reason::ProviderRejected),
            Class::TooLarge => permanent(Reason::RequestTooLarge),
            Class::Misconfigured => permanent(Reason::Misconfigured),
            Class::Retry => Verdict::Retry {
                reason: Reason::ProviderRejected,
                detail,
                retry_after_ms: self.retry_after_ms,
            },
            Class::Throttled(at_least_ms) => Verdict::Retry {
                reason: Reason::RateLimited,
                detail,
                retry_after_ms: Some(self.retry_after_ms.unwrap_or(0).max(at_least_ms)),
            },
        }
    }
}

/// Collects what is wrong with settings.
pub(crate) struct Check<'e> {
    egress: &'e EgressClient,
    errors: Vec<FieldError>,
}

impl<'e> Check<'e> {
    /// Nothing is wrong so far.
    pub(crate) fn new(egress: &'e EgressClient) -> Self {
        Self {
            egress,
            errors: Vec::new(),
        }
    }

    /// Something is wrong.
    pub(crate) fn error(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.errors.push(FieldError::new(pointer, detail));
    }

    /// The rule on a member; never quotes it, since it may be secret.
    pub(crate) fn need(&mut self, holds: bool, pointer: &str, expected: &str) {
        if !holds {
            self.error(pointer, expected);
        }
    }

    /// A credential: 6 to 512 characters that need no escape in a URL or header. A shorter one could not be masked
    /// where a vendor echoes it, and no vendor gives one.
    pub(crate) fn token(&mut self, pointer: &str, token: &Secret, expected: &str) {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:+=~".contains(&b);
        let token = token.expose();
        let good = (6..=512).contains(&token.len()) && token.bytes().all(plain);
        self.need(good, pointer, expected);
    }

    /// A URL that may be sent to.
    pub(crate) fn url(&mut self, pointer: &str, text: &str) -> Option<Url> {
        match self.egress.check_url(text) {
            Ok(url) => Some(url),
            Err(why) => {
                self.error(pointer, why);
                None
            }
        }
    }

    /// Where the vendor listens: `baseUrl`, or the vendor's own address.
    pub(crate) fn base(&mut self, given: Option<&str>, default: &str) -> Option<Url> {
        let Some(given) = given else {
            return Url::parse(default).ok();
        };
        let url = self.url("/baseUrl", given)?;
        if url.query().is_some() {
            self.error(
                "/baseUrl",
                "expected an address without ?query, for example https://example.com",
            );
            return None;
        }
        Some(url)
    }

    /// A list of people to mention.
    pub(crate) fn mentions(
        &mut self,
        pointer: &str,
        names: &[String],
        expected: &str,
        good: impl Fn(&str) -> bool,
    ) {
        const MENTIONS_MAX: usize = 50;
        self.need(names.len() <= MENTIONS_MAX, pointer, "at most 50");
        for (n, name) in names.iter().enumerate() {
            if name.len() > 128 || !good(name) {
                self.error(format!("{pointer}/{n}"), expected);
            }
        }
    }

    /// What was made, unless something is wrong.
    pub(crate) fn ok<T>(self, made: Option<T>) -> Result<T, Vec<FieldError>> {
        match made {
            Some(made) if self.errors.is_empty() => Ok(made),
            _ => Err(self.errors),
        }
    }
}

/// Letters, digits and `-_.@`: what ids of people are made of at every vendor.
pub(crate) fn is_plain_id(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b))
}

/// A phone number, with or without `+` and hyphens.
pub(crate) fn is_phone(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (5..=20).contains(&digits)
        && text
            .bytes()
            .enumerate()
            .all(|(n, b)| b.is_ascii_digit() || b == b'-' || (n == 0 && b == b'+'))
}

/// A path below a base; the path is ours.
pub(crate) fn below(base: &Url, path: &str) -> Url {
    let text = format!("{}{path}", base.as_str().trim_end_matches('/'));
    Url::parse(&text).unwrap_or_else(|_| base.clone())
}

/// An entry of the registry.
pub(crate) struct Kind<M>(PhantomData<fn() -> M>);

impl<M: Messenger> Kind<M> {
    /// The only one.
    pub(crate) const ENTRY: Self = Self(PhantomData);

    fn checked(settings: &Value, egress: &EgressClient) -> Result<(Common, M), Vec<FieldError>> {
        let (common, own) = settings::read::<M::Settings>(settings)?;
        let mut check = Check::new(egress);
        let made = M::new(own, &mut check);
        check.ok(made).map(|made| (common, made))
    }
}

impl<M: Messenger> TargetKind for Kind<M> {
    fn name(&self) -> &'static str {
        M::ABOUT.name
    }
    fn title(&self) -> LabelPair {
        M::ABOUT.title
    }
    fn about(&self) -> LabelPair {
        M::ABOUT.about
    }
    fn schema(&self) -> Value {
        settings::schema_of::<M::Settings>()
    }
    fn example(&self) -> Value {
        M::example()
    }
    fn secret_pointers(&self, settings: &Value) -> Vec<String> {
        M::ABOUT.secret_pointers(settings)
    }
    fn shown_to(&self, settings: &Value, pointer: &str) -> Option<String> {
        M::ABOUT.shown_to(settings, pointer)
    }
    fn default_schedule(&self) -> Schedule {
        Schedule::Alarm
    }
    fn default_retry_on_4xx(&self) -> bool {
        false
    }
    fn validate(&self, settings: &Value, egress: &EgressClient) -> Vec<FieldError> {
        Self::checked(settings, egress).err().unwrap_or_default()
    }
    fn connect(
        &self,
        settings: Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn Target>, Vec<FieldError>> {
        let (common, messenger) = Self::checked(&settings, &context.egress)?;
        let mut scrub = Scrub::default();
        let about = M::ABOUT;
        let mut hides_url = false;
        for name in about.secrets.iter().chain(about.signing) {
            let Some(secret) = settings.get(*name).and_then(Value::as_str) else {
                continue;
            };
            scrub.add(secret);
            if let (&"url", Ok(url)) = (name, Url::parse(secret)) {
                hides_url = true;
                scrub.add_url(&url);
                if url.path().len() > 1 {
                    scrub.add(url.path());
                }
            }
        }
        Ok(Arc::new(Sender {
            messenger,
            timeout: Duration::from_secs(common.timeout_seconds.into()),
            common,
            scrub,
            hides_url,
            user_agent: HeaderValue::from_str(&context.user_agent).ok(),
            egress: Arc::clone(&context.egress),
            clock: Arc::clone(&context.clock),
        }))
    }
}

/// A target that is ready to send.
struct Sender<M> {
    messenger: M,
    common: Common,
    scrub: Scrub,
    /// Whether the address is a secret as a whole.
    hides_url: bool,
    timeout: Duration,
    user_agent: Option<HeaderValue>,
    egress: Arc<EgressClient>,
    clock: Arc<dyn Clock>,
}

impl<M: Messenger> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("kind", &M::ABOUT.name)
            .finish_non_exhaustive()
    }
}

/// A request, with what may be kept of it.
struct Ready {
    request: Request,
    record: RequestRecord,
    scrub: Scrub,
}

impl<M: Messenger> Sender<M> {
    fn message(&self, job: &Job<'_>, alarm: &Alarm, now_ms: i64) -> Message {
        compose(job, alarm, &self.common, M::ESCAPE, now_ms)
    }

    /// The request of a part.
    fn ready(&self, ask: &Ask<'_>, whole_body: bool) -> Ready {
        let own = self
            .messenger
            .is_message(ask)
            .then(|| own_body(ask.job))
            .flatten();
        let mut body = own.map_or_else(|| self.messenger.body(ask), Value::Object);
        let outgoing = self.messenger.request(ask, &mut body);
        let mut scrub = self.scrub.clone();
        for secret in &outgoing.secrets {
            scrub.add(secret);
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        if let Some(agent) = &self.user_agent {
            headers.insert("user-agent", agent.clone());
        }
        for (name, value) in outgoing.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let text = body.to_string();
        let shown = if self.hides_url {
            format!("{}/{MASK}", outgoing.url.origin().ascii_serialization())
        } else {
            let cleaned = scrub.clean(outgoing.url.to_string());
            Url::parse(&cleaned).map_or_else(|_| shown_url_text(""), |url| shown_url(&url))
        };
        let cleaned = scrub.clean(text.clone());
        let mut record = request_record(
            outgoing.method.as_str(),
            &shown,
            &headers,
            &[],
            cleaned.as_bytes(),
            false,
        );
        record.body_bytes = text.len();
        if whole_body {
            record.body = Some(cleaned);
        }
        Ready {
            request: Request {
                method: outgoing.method,
                url: outgoing.url,
                headers,
                body: Bytes::from(text),
                timeout: self.timeout,
                response_bytes_max: ANSWER_BYTES_MAX,
            },
            record,
            scrub,
        }
    }

    /// What an answer means, and what it leaves behind.
    fn verdict(
        &self,
        ask: &Ask<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now_ms: i64,
    ) -> Attempted {
        let text = String::from_utf8_lossy(body);
        let answer = Answer {
            status: status.as_u16(),
            headers,
            text: &text,
            json: serde_json::from_slice(body).unwrap_or_default(),
            now_ms,
        };
        match self.messenger.judge(ask, &answer) {
            Said::Taken { thread } => {
                let next = self.messenger.after(ask);
                let verdict = match &next {
                    None => Verdict::Delivered,
                    Some(_) => Verdict::More {
                        detail: format!("{} took a part of it", M::ABOUT.vendor),
                    },
                };
                Attempted {
                    progress: next,
                    thread,
                    ..Attempted::unsent(verdict)
                }
            }
            Said::Again { part, detail } => {
                let detail = format!("{}: {detail}", M::ABOUT.vendor);
                Attempted {
                    progress: Some(part),
                    ..Attempted::unsent(Verdict::More { detail })
                }
            }
            Said::Refused(refusal) => Attempted::unsent(refusal.verdict(M::ABOUT.vendor)),
            Said::Unclear => {
                Attempted::unsent(judge_unclear(status, headers, M::ABOUT.vendor, now_ms))
            }
        }
    }
}

/// Part and whether a request of it went unanswered.
fn read_progress(progress: Option<&str>) -> (Option<&str>, bool) {
    let Some(progress) = progress else {
        return (None, false);
    };
    let (part, unanswered) = match progress.strip_suffix(UNANSWERED) {
        Some(part) => (part.trim_end(), true),
        None => (progress, false),
    };
    (Some(part).filter(|part| !part.is_empty()), unanswered)
}

#[async_trait]
impl<M: Messenger> Target for Sender<M> {
    async fn deliver(&self, job: &Job<'_>) -> Attempted {
        let now_ms = self.clock.now_ms();
        let alarm = Alarm::read(job.event);
        let message = self.message(job, &alarm, now_ms);
        let (part, unanswered) = read_progress(job.progress);
        let ask = Ask {
            job,
            alarm: &alarm,
            message: &message,
            part,
            now_ms,
        };
        let Ready {
            request,
            record,
            scrub,
        } = self.ready(&ask, false);
        let outcome = self.egress.send(request).await;
        let now_ms = self.clock.now_ms();
        let (mut attempted, status, duration_ms, response) = match outcome {
            Ok(answer) => {
                let attempted =
                    self.verdict(&ask, answer.status, &answer.headers, &answer.body, now_ms);
                let kept = response_record(
                    answer.status,
                    &answer.headers,
                    &answer.body,
                    answer.truncated,
                    &scrub,
                );
                (
                    attempted,
                    Some(answer.status),
                    answer.duration_ms,
                    Some(kept),
                )
            }
            Err(error) => {
                let mut attempted = Attempted::unsent(judge_failure(&error, None, now_ms));
                if error.reason == Reason::Timeout && !M::REPEATABLE {
                    if unanswered {
                        attempted.verdict = Verdict::Permanent {
                            reason: Reason::Timeout,
                            detail: format!(
                                "two requests were sent and not answered in time; {} may have taken them, so a third is not sent",
                                M::ABOUT.vendor
                            ),
                        };
                    }
                    attempted.progress = Some(
                        format!("{} {UNANSWERED}", part.unwrap_or_default())
                            .trim()
                            .to_owned(),
                    );
                }
                let kept = error
                    .answered
                    .as_ref()
                    .map(|begun| response_record(begun.status, &begun.headers, b"", true, &scrub));
                let status = error.answered.map(|begun| begun.status);
                (attempted, status, error.duration_ms, kept)
            }
        };
        // Vendors quote what they got.
        match &mut attempted.verdict {
            Verdict::Retry { detail, .. }
            | Verdict::Permanent { detail, .. }
            | Verdict::More { detail } => *detail = scrub.clean(std::mem::take(detail)),
            _ => {}
        }
        Attempted {
            status: status.map(|status| status.as_u16()),
            duration_ms,
            request: Some(record),
            response,
            ..attempted
        }
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn channel(&self) -> Option<Channel> {
        let (counted_by, limit) = self.messenger.channel()?;
        Some(Channel::of(M::ABOUT.name, &counted_by, limit))
    }

    fn folds(&self) -> bool {
        M::FOLDS
    }

    fn escape(&self) -> Escape {
        M::ESCAPE
    }

    fn preview(&self, job: &Job<'_>) -> Result<Vec<RequestRecord>, String> {
        let now_ms = self.clock.now_ms();
        let alarm = Alarm::read(job.event);
        let message = self.message(job, &alarm, now_ms);
        let mut records = Vec::new();
        let mut part: Option<String> = None;
        for _ in 0..PARTS_MAX {
            let ask = Ask {
                job,
                alarm: &alarm,
                message: &message,
                part: part.as_deref(),
                now_ms,
            };
            records.push(self.ready(&ask, true).record);
            part = self.messenger.after(&ask);
            if part.is_none() {
                break;
            }
        }
        Ok(records)
    }
}
